//! GetShardIterator: from what a reader says to a place in the log.

use hydrant_record::{Lsn, SequenceNumber, ShardIx, Timestamp};
use hydrant_shardlog::{Shard, ShardLog};
use serde_json::json;

use super::model::{Named, blocking, check_decimal, parse_shard_id, required_id, shard_id, timestamp};
use super::token::{Kind, Token};
use super::{KinesisStream, Request};
use crate::ApiError;
use crate::shape::{Shape, Violations};

const TYPES: [&str; 5] = ["AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER", "TRIM_HORIZON", "LATEST", "AT_TIMESTAMP"];

/// A reader's place in a shard: behind `after`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ShardIterator {
    pub(super) shard: ShardIx,
    pub(super) after: Option<Lsn>,
    pub(super) issued_at: Timestamp,
}

impl ShardIterator {
    pub(super) fn seal(&self, stream: &KinesisStream, log: &ShardLog) -> String {
        let words = [u64::from(self.shard.0), self.after.map_or(0, Lsn::get), 0];
        Token { kind: Kind::Iterator, words, issued_at: self.issued_at }.seal(stream.id, log)
    }

    pub(super) fn of(token: &Token) -> Option<ShardIterator> {
        let [shard, after, _] = token.words;
        let shard = ShardIx(u32::try_from(shard).ok()?);
        Some(ShardIterator { shard, after: Lsn::new(after), issued_at: token.issued_at })
    }
}

pub(super) async fn give(at: &Request) -> Result<String, ApiError> {
    let shape = Shape::root(&at.body)?;
    let mut violations = Violations::default();
    let named = Named::of(&shape, &mut violations)?;
    let id = required_id(&shape, "ShardId", &mut violations)?;
    let kind = violations.required(&shape, "ShardIteratorType", shape.text("ShardIteratorType")?).unwrap_or_default();
    if shape.has("ShardIteratorType") {
        violations.choice("shardIteratorType", kind, &TYPES);
    }
    let number = shape.text("StartingSequenceNumber")?;
    let start = Start { operation: "GetShardIterator", kind, number, time: timestamp(&shape, "Timestamp")? };
    start.check("startingSequenceNumber", &mut violations);
    violations.finish()?;
    let stream = named.find(at)?;
    let log = at.log(&stream)?.clone();
    let shards = log.shards();
    let shard = parse_shard_id(id).and_then(|ix| shards.get(ix)).copied().ok_or_else(|| at.no_shard(id, &stream))?;
    if !stream.flows.may_iterate(shard.ix, at.limits()) {
        return Err(ApiError::throughput_exceeded(at.rate_exceeded(shard.ix, &stream)));
    }
    let issued_at = at.operations.clock.now();
    let after = place(start, &shard, (&stream, &log), at).await?;
    let iterator = ShardIterator { shard: shard.ix, after, issued_at };
    Ok(json!({ "ShardIterator": iterator.seal(&stream, &log) }).to_string())
}

/// Where a reader wants to begin, in its words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start<'a> {
    pub(super) operation: &'static str,
    pub(super) kind: &'a str,
    pub(super) number: Option<&'a str>,
    pub(super) time: Option<Timestamp>,
}

impl Start<'_> {
    pub(super) fn check(&self, at: &str, violations: &mut Violations) {
        if let Some(number) = self.number {
            check_decimal(number, 129, at, violations);
        }
    }
}

/// Where that is in the log: behind the record of this LSN.
pub(super) async fn place(
    start: Start<'_>,
    shard: &Shard,
    (stream, log): (&KinesisStream, &ShardLog),
    at: &Request,
) -> Result<Option<Lsn>, ApiError> {
    let now = at.operations.clock.now();
    let Start { operation, kind, number, time } = start;
    let after = match (kind, number, time) {
        ("AT_SEQUENCE_NUMBER" | "AFTER_SEQUENCE_NUMBER", Some(number), _) => {
            let place = behind(number, kind == "AT_SEQUENCE_NUMBER", shard, log);
            place.map_err(|why| wrong_number(number, (operation, &why), stream, at))?
        }
        ("AT_TIMESTAMP", None, Some(time)) if time > now => {
            return Err(ApiError::invalid_argument(format!(
                "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. timestampInMillis: \
                 {}, currentTimestampInMillis: {}",
                time.as_millis(),
                now.as_millis()
            )));
        }
        ("AT_TIMESTAMP", None, Some(time)) => {
            let log = log.clone();
            blocking(move || log.seek_time(time).map_err(|error| unreadable(&error))).await?
        }
        ("TRIM_HORIZON", None, _) => None,
        ("LATEST", None, _) => log.last(),
        _ => return Err(contradiction(kind, number)),
    };
    Ok(after.max(floor(shard, log)))
}

/// Nothing of the shard that can still be read stands before or at it.
pub(super) fn floor(shard: &Shard, log: &ShardLog) -> Option<Lsn> {
    let horizon = log.first().map_or_else(|| log.last(), Lsn::previous);
    horizon.max(shard.first.previous())
}

pub(super) fn unreadable(error: &hydrant_shardlog::ReadError) -> ApiError {
    tracing::error!(%error, "records of a Kinesis stream cannot be read");
    ApiError::internal(format!("the records cannot be read: {error}"))
}

/// The place at or behind the record of this number.
fn behind(number: &str, at: bool, shard: &Shard, log: &ShardLog) -> Result<Option<Lsn>, String> {
    const STRANGE: &str = "because it did not come from this stream.";
    let number: SequenceNumber = number.parse().map_err(|_| STRANGE)?;
    if number.shard() != shard.ix {
        let (of, used) = (shard_id(number.shard()), shard_id(shard.ix));
        return Err(format!("because it encodes {of}, while it was used in a call to a shard with {used}"));
    }
    if number.shard_created_secs() != shard.created_at.as_millis() / 1000 {
        return Err(STRANGE.to_owned());
    }
    match (number.lsn(), shard.closed) {
        (Some(lsn), _) if Some(lsn) > log.last() => Err(STRANGE.to_owned()),
        (Some(lsn), _) => Ok(if at { lsn.previous() } else { Some(lsn) }),
        (None, _) if !number.is_end() => Ok(None),
        (None, Some(closed)) => Ok(closed.before.previous()),
        (None, None) => Err(STRANGE.to_owned()),
    }
}

fn wrong_number(number: &str, (operation, why): (&str, &str), stream: &KinesisStream, at: &Request) -> ApiError {
    ApiError::invalid_argument(format!(
        "StartingSequenceNumber {number} used in {operation} on stream {} under account {} is invalid {why}",
        stream.name,
        at.account()
    ))
}

fn contradiction(kind: &str, number: Option<&str>) -> ApiError {
    if kind == "AT_TIMESTAMP" && number.is_none() {
        return ApiError::invalid_argument(
            "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP.",
        );
    }
    let given = if number.is_some() { "also a StartingSequenceNumber" } else { "no StartingSequenceNumber" };
    ApiError::invalid_argument(format!(
        "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or (2) TRIM_HORIZON \
         or LATEST and no StartingSequenceNumber. Request specified {kind} and {given}."
    ))
}

/// The stream, the log and the place that an iterator names, if it is good.
pub(super) fn open(
    text: &str,
    streams: &super::KinesisStreams,
) -> Option<(std::sync::Arc<KinesisStream>, ShardIterator)> {
    let (token, stream) = Token::open(text, Kind::Iterator, streams)?;
    Some((stream, ShardIterator::of(&token)?))
}

pub(super) fn expired(issued_at: Timestamp, now: Timestamp) -> ApiError {
    let shown = |at: Timestamp| {
        let millis = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
        let time = chrono::DateTime::from_timestamp_millis(millis).unwrap_or_default();
        time.format("%a %b %d %H:%M:%S UTC %Y").to_string()
    };
    ApiError::expired_iterator(format!(
        "Iterator expired. The iterator was created at time {} while right now it is {} which is further in the future than \
         the tolerated delay of 300000 milliseconds.",
        shown(issued_at),
        shown(now)
    ))
}
