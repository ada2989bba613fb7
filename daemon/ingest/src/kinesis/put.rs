//! PutRecord and PutRecords. All records of a call go to the log as one group member: all are durable or none is. So an entry of
//! an answer fails alone only if a limit that was set kept its record out. Which shard takes a record is decided at the commit.

use std::borrow::Cow;

use bytes::Bytes;
use hydrant_record::{HashKey, NewRecord, Placement, SequenceNumber, ShardIx};
use hydrant_shardlog::ShardLog;
use serde::Deserialize;
use serde_json::Value;

use super::model::{Named, check_decimal, shard_id};
use super::{KinesisStream, Request, growth};
use crate::document::Document;
use crate::sent::{Blob, Blobs, Listed, Text, too_long};
use crate::shape::{Shape, Violations};
use crate::wire::Wire;
use crate::{ApiError, Refusal, durable};

const RECORDS_MAX: usize = 500;
/// Of any stream; a stream may allow less.
const DATA_BYTES_MAX: usize = 10 << 20;
/// Data and partition keys of one call.
const CALL_BYTES_MAX: usize = 10 << 20;
/// What an answer says of a stored record.
const ENTRY_BYTES: usize = 128;

#[derive(Debug, Deserialize)]
struct SentEntry<'a> {
    #[serde(borrow, rename = "Data")]
    data: Option<Blob<'a>>,
    #[serde(borrow, rename = "PartitionKey")]
    key: Option<Text<'a>>,
    #[serde(borrow, rename = "ExplicitHashKey")]
    hash: Option<Text<'a>>,
}

/// Either operation: PutRecord has the members of an entry beside those of the call, and PutRecords a list of entries.
#[derive(Debug, Deserialize)]
pub(crate) struct Put<'a> {
    #[serde(borrow, rename = "StreamName")]
    name: Option<Text<'a>>,
    #[serde(borrow, rename = "StreamARN")]
    arn: Option<Text<'a>>,
    #[serde(rename = "StreamId")]
    id: Option<Text<'a>>,
    #[serde(rename = "DryRun")]
    dry_run: Option<bool>,
    #[serde(borrow, rename = "SequenceNumberForOrdering")]
    ordering: Option<Text<'a>>,
    #[serde(borrow, rename = "Records")]
    records: Option<Listed<SentEntry<'a>, RECORDS_MAX>>,
    #[serde(borrow, rename = "Data")]
    data: Option<Blob<'a>>,
    #[serde(borrow, rename = "PartitionKey")]
    key: Option<Text<'a>>,
    #[serde(borrow, rename = "ExplicitHashKey")]
    hash: Option<Text<'a>>,
}

/// Records whose shape is right.
#[derive(Debug)]
struct Valid<'a> {
    name: Option<Cow<'a, str>>,
    arn: Option<Cow<'a, str>>,
    ordering: Option<Cow<'a, str>>,
    records: Vec<NewRecord>,
}

impl<'a> Put<'a> {
    /// `None` if the body is no object of the right types; [`mistyped`] then tells which.
    pub(crate) fn parse(body: &'a [u8], wire: Wire) -> Option<Put<'a>> {
        wire.parse(body)
    }

    /// The name and the ARN of the stream, as far as they are given.
    pub(crate) fn stream(&self) -> (Option<&str>, Option<&str>) {
        (self.name.as_ref().map(|name| name.0.as_ref()), self.arn.as_ref().map(|arn| arn.0.as_ref()))
    }

    /// Validates, stores, and answers once the records are durable.
    pub(crate) async fn run(self, batch: bool, at: &Request) -> Result<Bytes, ApiError> {
        if self.dry_run == Some(true) {
            return Err(ApiError::dry_run());
        }
        if self.id.is_some() {
            return Err(crate::firehose::unsupported("StreamId"));
        }
        let Valid { name, arn, ordering, mut records } = self.validate(batch)?;
        let stream = Named { name: name.as_deref(), arn: arn.as_deref() }.find(at)?;
        check_sizes(&records, batch, &stream)?;
        let log = at.log(&stream)?;
        if let Some(number) = ordering {
            check_ordering(&number, log).map_err(|why| {
                let (name, account) = (&stream.name, at.account());
                ApiError::invalid_argument(format!(
                    "ExclusiveMinimumSequenceNumber {number} used in PutRecord on stream {name} under account {account} \
                     is invalid {why}"
                ))
            })?;
        }
        let (admitted, refused) = match stream.flows.admit(&records, &log.shards(), at.limits()) {
            None => (records.len(), vec![None; records.len()]),
            Some(refused) => {
                growth::note(&stream, &records, &refused, at);
                (refused.iter().filter(|refused| refused.is_none()).count(), refused)
            }
        };
        if let (false, Some(shard)) = (batch, refused[0]) {
            return Err(ApiError::throughput_exceeded(at.rate_exceeded(shard, &stream)));
        }
        if admitted == 0 {
            return reply(batch, &refused, &|_| None, (&stream, at));
        }
        let mut verdicts = refused.iter();
        records.retain(|_| verdicts.next().is_some_and(Option::is_none));
        let appended = durable::store(log, records, &at.operations.counters).await.map_err(|error| {
            let full = error.reason == Refusal::Overload;
            let text = || format!("Rate exceeded for stream {} under account {}.", stream.name, at.account());
            if full { ApiError::throughput_exceeded(text()) } else { error }
        })?;
        let shards = log.shards();
        let stored = |index: usize| {
            let (ix, lsn) = appended.place(index);
            let shard = shards.get(ix)?;
            Some((SequenceNumber::new(shard.created_at, ix, lsn.get(), appended.arrived_at), ix))
        };
        reply(batch, &refused, &stored, (&stream, at))
    }

    /// Whether the shape is right, for one record and for many.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn validated(self) -> bool {
        let batch = self.records.is_some();
        self.validate(batch).is_ok()
    }

    fn validate(self, batch: bool) -> Result<Valid<'a>, ApiError> {
        let mut violations = Violations::default();
        let one = SentEntry { data: self.data, key: self.key, hash: self.hash };
        let entries = match self.records {
            Some(records) if batch => {
                violations.count("records", Some(records.count), RECORDS_MAX);
                records.first
            }
            None if batch => {
                violations.missing("records");
                Vec::new()
            }
            _ => vec![Some(one)],
        };
        let at = |index: usize, member: &str| {
            if batch { format!("records.{}.member.{member}", index + 1) } else { member.to_owned() }
        };
        let sent = entries.iter().flatten().map(|entry| (entry.data.as_ref(), entry.key.as_ref()));
        let mut blobs = Blobs::for_entries(sent);
        let mut hashes = Vec::with_capacity(entries.len());
        for (index, entry) in entries.into_iter().enumerate() {
            let Some(SentEntry { data, key, hash }) = entry else {
                violations.missing(&format!("records.{}.member", index + 1));
                continue;
            };
            blobs.push(data.as_ref(), DATA_BYTES_MAX, || at(index, "data"), &mut violations)?;
            match &key {
                None => violations.missing(&at(index, "partitionKey")),
                Some(key) => violations.length(&at(index, "partitionKey"), &key.0, 1..=256),
            }
            if let Some(hash) = &hash {
                check_decimal(&hash.0, 39, &at(index, "explicitHashKey"), &mut violations);
            }
            // Beside its data, so that a record has no memory of its own.
            blobs.push_text(key.as_ref().map_or("", |key| &key.0));
            hashes.push(hash.map(|hash| hash.0));
        }
        let [name, arn, ordering] = [self.name, self.arn, self.ordering].map(|text| text.map(|text| text.0));
        if let Some(number) = &ordering {
            check_decimal(number, 129, "sequenceNumberForOrdering", &mut violations);
        }
        Named { name: name.as_deref(), arn: arn.as_deref() }.check(&mut violations);
        violations.finish()?;
        let mut slices = blobs.finish();
        let records = hashes.iter().map(|hash| {
            let (data, key) = slices.next().zip(slices.next()).expect("each entry has data and a key");
            record(data, key, hash.as_deref())
        });
        let records = records.collect::<Result<_, _>>()?;
        Ok(Valid { name, arn, ordering, records })
    }
}

/// What is wrong with a put that [`Put::parse`] did not understand; `Ok` if nothing is and the text given back reads.
pub(crate) fn mistyped(value: &Value) -> Result<Vec<u8>, ApiError> {
    let root = Shape::root(value)?;
    for member in ["StreamName", "StreamARN", "SequenceNumberForOrdering"] {
        root.text(member)?;
    }
    root.flag("DryRun")?;
    for entry in root.parts("Records")?.into_iter().chain([root]) {
        entry.text("PartitionKey")?;
        entry.text("ExplicitHashKey")?;
        if let Some(data) = entry.get("Data").filter(|data| !data.is_string()) {
            let found = if data.is_number() { "NUMBER_VALUE" } else { "a value that is no string" };
            return Err(ApiError::serialization(format!("{found} can not be converted to a Blob")));
        }
    }
    Ok(serde_json::to_vec(value).expect("a JSON value has text keys"))
}

fn record(data: Bytes, key: Bytes, hash: Option<&str>) -> Result<NewRecord, ApiError> {
    let placed = match hash {
        None => HashKey::of_partition_key(&key),
        Some(hash) => hash.parse().map_err(|_| {
            ApiError::invalid_argument(format!(
                "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was {hash}"
            ))
        })?,
    };
    Ok(NewRecord { placement: Placement::Hash(placed), partition_key: Some(key), data })
}

fn check_sizes(records: &[NewRecord], batch: bool, stream: &KinesisStream) -> Result<(), ApiError> {
    let most = stream.settings().record_kib_max as usize * 1024;
    let mut violations = Violations::default();
    let mut bytes = 0;
    for (index, record) in records.iter().enumerate() {
        bytes += record.data.len() + record.partition_key.as_ref().map_or(0, Bytes::len);
        if record.data.len() > most {
            let at = if batch { format!("records.{}.member.data", index + 1) } else { "data".to_owned() };
            too_long(record.data.len(), most, &at, &mut violations);
        }
    }
    violations.finish()?;
    if batch && bytes > CALL_BYTES_MAX {
        return Err(ApiError::invalid_argument("Records size exceeds 10 MB limit"));
    }
    Ok(())
}

/// Every number that a record gets is above all that were given out before, so the one to exceed must be one of those.
fn check_ordering(number: &str, log: &ShardLog) -> Result<(), &'static str> {
    const STRANGE: &str = "because it did not come from this stream.";
    let number: SequenceNumber = number.parse().map_err(|_| STRANGE)?;
    let shards = log.shards();
    let ours = shards
        .get(number.shard())
        .is_none_or(|shard| shard.created_at.as_millis() / 1000 == number.shard_created_secs());
    let ahead = number.lsn().is_some_and(|lsn| Some(lsn) > log.last());
    if ours && !ahead { Ok(()) } else { Err(STRANGE) }
}

/// Tells of each record where it was stored, or that its shard (in `refused`) took no more. `stored` is asked for those that
/// were, in their order.
fn reply(
    batch: bool,
    refused: &[Option<ShardIx>],
    stored: &dyn Fn(usize) -> Option<(SequenceNumber, ShardIx)>,
    (stream, at): (&KinesisStream, &Request),
) -> Result<Bytes, ApiError> {
    let encryption = stream.settings().encryption();
    let expired = || ApiError::internal("the shard of a stored record has expired already");
    let mut answer = Document::open(at.wire, Vec::with_capacity((refused.len() + 1) * ENTRY_BYTES));
    if let Some(kind) = encryption {
        answer.member("EncryptionType").text(kind);
    }
    if batch {
        answer.member("FailedRecordCount").number(refused.iter().flatten().count() as u64);
        answer.member("Records").open_list();
    }
    let mut places = 0..;
    for refused in refused {
        if batch {
            answer.open_map();
        }
        if let Some(shard) = refused {
            answer.member("ErrorCode").text("ProvisionedThroughputExceededException");
            answer.member("ErrorMessage").any_text(&at.rate_exceeded(*shard, stream));
        } else {
            let (number, ix) = places.next().and_then(stored).ok_or_else(expired)?;
            answer.member("SequenceNumber").text(number.digits().as_str());
            answer.member("ShardId").text(&shard_id(ix));
        }
        if batch {
            answer.close_map();
        }
    }
    if batch {
        answer.close_list();
    }
    Ok(answer.finish().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid(batch: bool, body: &str) -> Result<Valid<'_>, ApiError> {
        match Put::parse(body.as_bytes(), Wire::AmzJson) {
            Some(put) => put.validate(batch),
            None => Err(mistyped(&serde_json::from_str(body).unwrap()).unwrap_err()),
        }
    }

    #[test]
    fn a_record_is_placed_by_its_key_or_by_the_hash_given() {
        let body = r#"{"StreamName":"s","Records":[{"Data":"aGk=","PartitionKey":"user-42"},
            {"Data":"","PartitionKey":"a","ExplicitHashKey":"7"}]}"#;
        let records = valid(true, body).unwrap().records;
        let hash = HashKey(157_107_139_746_365_290_205_026_809_710_278_036_035);
        assert_eq!(records[0].placement, Placement::Hash(hash));
        assert_eq!(
            (records[0].data.as_ref(), records[0].partition_key.as_deref()),
            (&b"hi"[..], Some(&b"user-42"[..]))
        );
        assert_eq!(records[1].placement, Placement::Hash(HashKey(7)));
        let one = valid(false, r#"{"StreamName":"s","Data":"aGk=","PartitionKey":"k"}"#).unwrap();
        assert_eq!((one.records.len(), one.name.as_deref()), (1, Some("s")));
    }

    #[test]
    fn broken_constraints_are_listed_with_their_places() {
        let error =
            valid(true, r#"{"StreamName":"a b","Records":[{"Data":"","PartitionKey":""},null,{}]}"#).unwrap_err();
        assert_eq!(error.code, "ValidationException");
        for at in ["records.1.member.partitionKey", "records.2.member'", "records.3.member.data", "'streamName'"] {
            assert!(error.message.contains(at), "{at}: {}", error.message);
        }
        let many =
            format!(r#"{{"StreamName":"s","Records":[{}]}}"#, vec![r#"{"Data":"","PartitionKey":"k"}"#; 501].join(","));
        assert!(valid(true, &many).unwrap_err().message.ends_with("less than or equal to 500"));
        for hash in ["01", "-1", "x", &"9".repeat(40)] {
            let body = format!(r#"{{"StreamName":"s","Data":"","PartitionKey":"k","ExplicitHashKey":"{hash}"}}"#);
            assert_eq!(valid(false, &body).unwrap_err().code, "ValidationException", "{hash}");
        }
        let body =
            format!(r#"{{"StreamName":"s","Data":"","PartitionKey":"k","ExplicitHashKey":"{}"}}"#, "9".repeat(39));
        assert_eq!(valid(false, &body).unwrap_err().code, "InvalidArgumentException");
    }

    #[test]
    fn wrong_types_are_serialization_exceptions() {
        let wrong = [
            (true, r#"{"StreamName":1}"#),
            (true, r#"{"Records":{}}"#),
            (true, r#"{"Records":[{"Data":7}]}"#),
            (false, r#"{"Data":"a"}"#),
        ];
        for (batch, body) in wrong {
            assert_eq!(valid(batch, body).unwrap_err().code, "SerializationException", "{body}");
        }
    }
}
