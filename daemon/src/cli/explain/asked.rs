//! What `hydrant explain` is asked about, told from its text.

use hydrant_ingest::{StoredStream, record_id};
use hydrant_record::{Identity, Lsn, Record, SequenceNumber, StreamId};

use crate::exit::{Exit, Failure};

/// Digits of the largest LSN.
const LSN_DIGITS_MAX: usize = 20;

#[derive(Debug, PartialEq)]
pub(super) enum Asked {
    RecordId(StreamId, Identity),
    Sequence(SequenceNumber, Lsn),
    Lsn(Lsn),
    Key(String),
}

impl Asked {
    pub(super) fn parse(text: &str) -> Result<Asked, Failure> {
        if text.is_empty() {
            return Err(Failure::new(Exit::Usage, "got an empty text")
                .hint("give a RecordId, a sequence number, an LSN or the key of an object"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            let id = record_id::decode(text).map(|(stream, record)| Asked::RecordId(stream, record));
            return Ok(id.unwrap_or_else(|| Asked::Key(text.to_owned())));
        }
        let asked = if text.len() <= LSN_DIGITS_MAX {
            text.parse().ok().and_then(Lsn::new).map(Asked::Lsn)
        } else {
            let number: Option<SequenceNumber> = text.parse().ok();
            number.and_then(|number| number.lsn().map(|lsn| Asked::Sequence(number, lsn)))
        };
        asked.ok_or_else(|| {
            Failure::new(Exit::Usage, format!("`{text}` is no LSN and no sequence number of a record"))
                .hint("an LSN is a whole number from 1 on; a sequence number has 56 digits, as PutRecord of Kinesis answers it")
        })
    }

    /// Those of `streams` that may have taken it.
    pub(super) fn streams<'a>(&self, streams: &[&'a StoredStream]) -> Result<Vec<&'a StoredStream>, Failure> {
        let mut found = streams.to_vec();
        match self {
            Asked::RecordId(stream, _) => found.retain(|known| known.id == *stream),
            Asked::Sequence(..) => found.retain(|known| known.source.is_some()),
            Asked::Lsn(_) | Asked::Key(_) => {}
        }
        let mut sources: Vec<_> =
            found.iter().map(|stream| stream.source.map_or(stream.id, |source| source.stream)).collect();
        sources.sort_unstable();
        sources.dedup();
        let names = || streams.iter().map(|stream| stream.name.as_str()).collect::<Vec<_>>().join(", ");
        match (self, sources.len()) {
            (Asked::RecordId(stream, _), 0) => Err(Failure::new(
                Exit::Runtime,
                format!("the RecordId is of the delivery stream with the id {stream}, which is not asked about or not there any more"),
            )
            .hint(format!("asked were: {}", names()))),
            (_, 0) => Err(Failure::new(Exit::Usage, "no delivery stream that is asked about reads a Kinesis stream")
                .hint(format!("asked were: {}", names()))),
            (Asked::Lsn(_), 2..) => Err(Failure::new(Exit::Usage, "an LSN is one of a log, and there are several")
                .hint(format!("add `--stream` and one of: {}", names()))),
            (Asked::Sequence(..), 2..) => {
                Err(Failure::new(Exit::Usage, "a sequence number is one of a Kinesis stream, and several are read")
                    .hint(format!("add `--stream` and a delivery stream that reads the one that is meant: {}", names())))
            }
            _ => Ok(found),
        }
    }

    pub(super) fn lsn(&self) -> Lsn {
        match self {
            Asked::RecordId(_, record) => record.lsn,
            Asked::Sequence(_, lsn) | Asked::Lsn(lsn) => *lsn,
            Asked::Key(_) => Lsn::FIRST,
        }
    }

    /// What tells the record from one that took its number.
    pub(super) fn epoch(&self) -> Option<u64> {
        match self {
            Asked::RecordId(_, record) => Some(record.epoch.0),
            _ => None,
        }
    }

    /// Why the record with this number is not the one that is meant, by the log and what stands there now.
    pub(super) fn contradicts(&self, log: Option<&str>, there: Option<&Record>) -> Option<String> {
        match self {
            Asked::RecordId(_, record) => {
                if let Some(log) = log.filter(|log| **log != record.log.to_string()) {
                    return Some(format!("the RecordId is of log {}, this delivery stream reads {log}", record.log));
                }
                let other = there.filter(|there| there.epoch != record.epoch)?;
                Some(format!(
                    "the log has another record under this number: it was set back, and stored that in epoch {}",
                    other.epoch
                ))
            }
            Asked::Sequence(number, _) => {
                let there = there?;
                let same =
                    there.shard == number.shard() && there.arrived_at.as_millis() / 1000 == number.recorded_secs();
                (!same).then(|| {
                    format!(
                        "the record under this number is in shard {} and arrived at another time than the sequence number says: it is \
                         of another Kinesis stream",
                        there.shard.0
                    )
                })
            }
            Asked::Lsn(_) | Asked::Key(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use hydrant_record::{ShardIx, Timestamp};

    use super::*;

    #[test]
    fn what_is_meant_is_told_from_the_text() {
        let lsn = Lsn::new(4711).unwrap();
        assert_eq!(Asked::parse("4711").unwrap(), Asked::Lsn(lsn));
        let at = Timestamp::from_millis(1_779_006_600_250);
        let number = SequenceNumber::new(at, ShardIx(3), 4711, at);
        assert_eq!(Asked::parse(&number.to_string()).unwrap(), Asked::Sequence(number, lsn));
        let key = "data/2026/05/s-1-2026-05-17.parquet";
        assert_eq!(Asked::parse(key).unwrap(), Asked::Key(key.to_owned()));
        for wrong in ["", "0", "99999999999999999999", "999999999999999999999999999"] {
            assert!(Asked::parse(wrong).is_err(), "{wrong}");
        }
    }
}
