//! One stored record to its units: what the Kinesis Producer Library has put together, and records that hold several others.
//!
//! Invariant: the same bytes and the same settings give the same units in the same order, so a unit can be found again by its
//! number; and a record that cannot be taken apart, or only into too many, is one unit as it is.

use bytes::Bytes;
use hydrant_config::{DeliveryStreamSpec, SubRecords};
use hydrant_record::{USER_RECORDS_MAX, user_records};
use memchr::memmem;
use serde_json::value::RawValue;

/// In one record, as at AWS.
const SUB_RECORDS_MAX: usize = 500;

/// How the records of a delivery stream are taken apart. By default they are not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Splitter {
    aggregates: bool,
    sub_records: Option<SubRecords>,
}

impl Splitter {
    pub(crate) fn new(stream: &DeliveryStreamSpec) -> Splitter {
        let aggregates = stream.source.as_ref().is_some_and(|source| source.deaggregate);
        Splitter { aggregates, sub_records: stream.processing.deaggregate.clone() }
    }

    /// Into what the producers put and no further.
    pub(crate) fn to_user_records(&self) -> Splitter {
        Splitter::of_aggregates(self.aggregates)
    }

    /// Of the units of requests, which have no dynamic partitions and so no records within records.
    pub(crate) fn of_aggregates(aggregates: bool) -> Splitter {
        Splitter { aggregates, sub_records: None }
    }

    pub(crate) fn takes_aggregates_apart(&self) -> bool {
        self.aggregates
    }

    /// The units of a record by their subs, at least one and at most [`USER_RECORDS_MAX`]. `None`: the record is its only unit.
    pub(crate) fn split(&self, record: &Bytes) -> Option<Vec<Bytes>> {
        self.parts(record).map(|parts| parts.into_iter().map(|(_, unit)| unit).collect())
    }

    /// The same, each with the number of the user record that it is, or is a part of.
    pub(crate) fn parts(&self, record: &Bytes) -> Option<Vec<(usize, Bytes)>> {
        let put = self.user_records(record);
        let Some(sub_records) = &self.sub_records else { return put.map(|put| (0..).zip(put).collect()) };
        let Some(put) = put else {
            let parts = split_sub_records(sub_records, record)?;
            return Some(parts.into_iter().map(|part| (0, part)).collect());
        };
        let mut room = USER_RECORDS_MAX - put.len();
        let mut units = Vec::with_capacity(put.len());
        for (number, one) in (0..).zip(put) {
            match split_sub_records(sub_records, &one).filter(|parts| parts.len() - 1 <= room) {
                Some(parts) => {
                    room -= parts.len() - 1;
                    units.extend(parts.into_iter().map(|part| (number, part)));
                }
                None => units.push((number, one)),
            }
        }
        Some(units)
    }

    /// The partition keys of the same records as [`Splitter::user_records`].
    pub(crate) fn user_keys(&self, record: &Bytes) -> Option<Vec<String>> {
        let users = self.aggregates.then(|| user_records(record))??;
        Some(users.into_iter().map(|user| user.partition_key.to_owned()).collect())
    }

    /// What the producers put, where a library put it together. `None`: the record itself.
    pub(crate) fn user_records(&self, record: &Bytes) -> Option<Vec<Bytes>> {
        let users = self.aggregates.then(|| user_records(record))??;
        Some(users.into_iter().map(|user| record.slice_ref(user.data)).collect())
    }
}

/// 1 to [`SUB_RECORDS_MAX`] of them; `None` if there are others or more.
fn split_sub_records(kind: &SubRecords, record: &Bytes) -> Option<Vec<Bytes>> {
    let mut parts = Vec::new();
    match kind {
        SubRecords::Json => {
            for value in serde_json::Deserializer::from_slice(record).into_iter::<&RawValue>() {
                let object = value.ok().map(RawValue::get).filter(|text| text.starts_with('{'))?;
                push(&mut parts, record.slice_ref(object.as_bytes()))?;
            }
        }
        SubRecords::Delimited { delimiter } => {
            let mut from = 0;
            let ends = memmem::find_iter(record, delimiter).map(|at| (at, at + delimiter.len()));
            for (end, next) in ends.chain([(record.len(), record.len())]) {
                if end > from {
                    push(&mut parts, record.slice(from..end))?;
                }
                from = next;
            }
        }
    }
    (!parts.is_empty()).then_some(parts)
}

fn push(parts: &mut Vec<Bytes>, part: Bytes) -> Option<()> {
    parts.push(part);
    (parts.len() <= SUB_RECORDS_MAX).then_some(())
}

#[cfg(test)]
impl Splitter {
    pub(crate) fn of_sub_records(kind: SubRecords) -> Splitter {
        Splitter { aggregates: false, sub_records: Some(kind) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys `pk1` and `pk2`, records (0, "hello") and (1, "world").
    const AGGREGATE: &str =
        "f3899ac20a03706b310a03706b321a0908001a0568656c6c6f1a0908011a05776f726c6487c22af1ed18e292eb55b018413a3cff";

    fn aggregate() -> Bytes {
        hex::decode(AGGREGATE).unwrap().into()
    }

    fn split(aggregates: bool, sub_records: Option<SubRecords>, record: &[u8]) -> Option<Vec<String>> {
        let units = Splitter { aggregates, sub_records }.split(&Bytes::copy_from_slice(record))?;
        Some(units.into_iter().map(|unit| String::from_utf8(unit.to_vec()).unwrap()).collect())
    }

    fn json(record: &str) -> Option<Vec<String>> {
        split(false, Some(SubRecords::Json), record.as_bytes())
    }

    fn delimited(record: &str) -> Option<Vec<String>> {
        split(false, SubRecords::delimited(b"##".to_vec()), record.as_bytes())
    }

    #[test]
    fn an_aggregate_is_its_users_records_where_that_is_asked_for() {
        assert_eq!(split(true, None, &aggregate()).unwrap(), ["hello", "world"]);
        assert_eq!(split(false, None, &aggregate()), None);
        assert_eq!(split(true, None, &aggregate()[1..]), None);
        assert_eq!(split(true, SubRecords::delimited(b"l".to_vec()), &aggregate()).unwrap(), ["he", "o", "wor", "d"]);
    }

    #[test]
    fn objects_stand_one_behind_the_other() {
        assert_eq!(json(r#"{"a":1}{"b":"}{"}"#).unwrap(), [r#"{"a":1}"#, r#"{"b":"}{"}"#]);
        assert_eq!(json(" {\"a\":{}}\r\n\n{}\t{} \n").unwrap(), [r#"{"a":{}}"#, "{}", "{}"]);
        assert_eq!(json("{}\n").unwrap(), ["{}"]);
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(json(&format!("{deep}{deep}")).unwrap(), [deep.as_str(); 2]);
    }

    #[test]
    fn a_record_with_anything_else_than_objects_is_left_as_it_is() {
        for record in ["", " ", "[{},{}]", "{}[]", "{} 1", "{},{}", "{}{", "{}x", "1", "{}\u{feff}{}"] {
            assert_eq!(json(record), None, "{record}");
        }
        assert_eq!(split(false, Some(SubRecords::Json), b"{}\xff"), None);
    }

    #[test]
    fn what_is_between_delimiters_is_a_record_and_nothing_is_none() {
        assert_eq!(delimited("a##b#c##d").unwrap(), ["a", "b#c", "d"]);
        assert_eq!(delimited("##a####b##").unwrap(), ["a", "b"]);
        assert_eq!(delimited("a##").unwrap(), ["a"]);
        assert_eq!(delimited("a").unwrap(), ["a"]);
        assert_eq!(delimited("a###b").unwrap(), ["a", "#b"]);
        assert_eq!((delimited("####"), delimited("")), (None, None));
    }

    #[test]
    fn a_record_of_more_than_500_is_left_as_it_is() {
        for (of, one) in [(json as fn(&str) -> Option<Vec<String>>, "{}"), (delimited, "a##")] {
            assert_eq!(of(&one.repeat(500)).unwrap().len(), 500);
            assert_eq!(of(&one.repeat(501)), None);
        }
    }
}
