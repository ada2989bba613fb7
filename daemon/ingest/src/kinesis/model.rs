//! Members that many operations share: which stream is meant, shard ids, times; and how shards are shown.

use std::fmt;
use std::sync::Arc;

use hydrant_record::{HashRange, SequenceNumber, ShardIx, Timestamp};
use hydrant_shardlog::{Shard, ShardLog};
use serde_json::{Value, json};

use super::{KinesisStream, Request};
use crate::shape::{Shape, Violations};
use crate::{ApiError, ControlError, Refusal};

const NAME_PATTERN: &str = "[a-zA-Z0-9_.-]+";
const ARN_PATTERN: &str = r"arn:aws.*:kinesis:.*:\d{12}:stream/\S+";

/// The stream that a request names, by name or by ARN.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Named<'a> {
    pub(super) name: Option<&'a str>,
    pub(super) arn: Option<&'a str>,
}

impl<'a> Named<'a> {
    pub(super) fn of(shape: &Shape<'a>, violations: &mut Violations) -> Result<Named<'a>, ApiError> {
        let named = Named { name: shape.text("StreamName")?, arn: shape.text("StreamARN")? };
        named.check(violations);
        match shape.get("StreamId") {
            Some(_) => Err(crate::firehose::unsupported("StreamId")),
            None => Ok(named),
        }
    }

    pub(super) fn check(&self, violations: &mut Violations) {
        if let Some(name) = self.name {
            check_name(name, "streamName", violations);
        }
        if let Some(arn) = self.arn {
            violations.pattern("streamARN", arn, (ARN_PATTERN, parse_arn(arn).is_some()));
        }
    }

    pub(super) fn is_given(&self) -> bool {
        self.name.is_some() || self.arn.is_some()
    }

    /// The stream itself, in any state.
    pub(super) fn find(&self, at: &Request) -> Result<Arc<KinesisStream>, ApiError> {
        let name = match (self.name, self.arn.and_then(parse_arn)) {
            (None, None) => {
                return Err(ApiError::invalid_argument("Either StreamName or StreamARN must be specified."));
            }
            (Some(name), None) => name,
            (name, Some((region, account, of_arn))) => {
                if name.is_some_and(|name| name != of_arn) {
                    return Err(ApiError::invalid_argument("StreamName and StreamARN do not name the same stream."));
                }
                if region != at.region || account != at.account() {
                    return Err(ApiError::resource_not_found(format!(
                        "Stream {of_arn} under account {account} not found."
                    )));
                }
                of_arn
            }
        };
        at.kinesis().streams.find(&at.region, name).ok_or_else(|| at.no_stream(name))
    }
}

impl Request {
    pub(super) fn no_stream(&self, name: &str) -> ApiError {
        ApiError::resource_not_found(format!("Stream {name} under account {} not found.", self.account()))
    }

    pub(super) fn no_shard(&self, shard: &str, stream: &KinesisStream) -> ApiError {
        ApiError::resource_not_found(format!(
            "Shard {shard} in stream {} under account {} does not exist",
            stream.name,
            self.account()
        ))
    }

    /// Of a stream that can be read and written; others are not found, as at AWS.
    pub(super) fn log<'s>(&self, stream: &'s KinesisStream) -> Result<&'s ShardLog, ApiError> {
        stream.log().ok_or_else(|| self.no_stream(&stream.name))
    }

    pub(super) fn rate_exceeded(&self, shard: ShardIx, stream: &KinesisStream) -> String {
        let account = self.account();
        format!("Rate exceeded for shard {} in stream {} under account {account}.", shard_id(shard), stream.name)
    }

    /// What the YAML says, only the YAML changes.
    pub(super) fn check_not_from_yaml(&self, stream: &KinesisStream) -> Result<(), ApiError> {
        if !stream.from_yaml {
            return Ok(());
        }
        Err(ApiError::invalid_argument(format!(
            "Stream {} is managed by the configuration file of this Hydrant: change it below `streams` there.",
            stream.name
        )))
    }

    pub(super) fn not_active(&self, stream: &KinesisStream) -> ApiError {
        ApiError::in_use(format!(
            "Stream {} under account {} not ACTIVE, instead in state {}",
            stream.name,
            self.account(),
            stream.status().as_str()
        ))
    }
}

/// Region, account and name.
pub(crate) fn parse_arn(arn: &str) -> Option<(&str, &str, &str)> {
    let (service, rest) = arn.split_once(":kinesis:")?;
    let (place, name) = rest.split_once(":stream/")?;
    let (region, account) = place.split_once(':')?;
    let digits = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    let plain = !name.is_empty() && !name.contains(char::is_whitespace);
    (service.starts_with("arn:aws") && digits && plain).then_some((region, account, name))
}

pub(super) fn check_name(name: &str, at: &str, violations: &mut Violations) {
    violations.length(at, name, 1..=128);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if !name.is_empty() {
        violations.pattern(at, name, (NAME_PATTERN, name.bytes().all(allowed)));
    }
}

/// A text that must be there and have the form of a name, as shard ids have.
pub(super) fn required_id<'a>(shape: &Shape<'a>, member: &str, to: &mut Violations) -> Result<&'a str, ApiError> {
    let id = to.required(shape, member, shape.text(member)?);
    if let Some(id) = id {
        check_name(id, &shape.at(member), to);
    }
    Ok(id.unwrap_or_default())
}

/// A number of up to `digits` decimal digits without leading zeros.
pub(super) fn check_decimal(text: &str, digits: usize, at: &str, violations: &mut Violations) {
    let plain = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    let fits = text.len() <= digits && (text == "0" || !text.starts_with('0'));
    let pattern = format!(r"0|([1-9]\d{{0,{}}})", digits - 1);
    violations.pattern(at, text, (&pattern, plain && fits));
}

pub(super) fn shard_id(ix: ShardIx) -> String {
    ShardId(ix).to_string()
}

/// As the API writes it.
pub(super) struct ShardId(pub(super) ShardIx);

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shardId-{:012}", self.0.0)
    }
}

/// `None` for a text that no shard is called by.
pub(super) fn parse_shard_id(text: &str) -> Option<ShardIx> {
    let digits = text.strip_prefix("shardId-").filter(|digits| digits.len() == 12)?;
    let plain = digits.bytes().all(|digit| digit.is_ascii_digit());
    digits.parse().ok().filter(|_| plain).map(ShardIx)
}

/// Seconds since 1970 with a fraction, as on the wire.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates, and below 1970 is 1970")]
pub(super) fn timestamp(shape: &Shape<'_>, member: &str) -> Result<Option<Timestamp>, ApiError> {
    let Some(value) = shape.get(member) else { return Ok(None) };
    let seconds = value.as_f64();
    let seconds = seconds.ok_or_else(|| ApiError::serialization("a String can not be converted to a Timestamp"))?;
    Ok(Some(Timestamp::from_millis((seconds * 1000.0).round() as u64)))
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of this age have 41 bits, and an f64 has 53")]
pub(super) fn seconds(at: Timestamp) -> f64 {
    at.as_millis() as f64 / 1000.0
}

pub(super) fn hash_range(range: &HashRange) -> Value {
    json!({ "StartingHashKey": range.start.to_string(), "EndingHashKey": range.end.to_string() })
}

pub(super) fn shard(shard: &Shard) -> Value {
    let starts = SequenceNumber::start_of_shard(shard.created_at, shard.ix);
    let mut shown = json!({
        "ShardId": shard_id(shard.ix),
        "HashKeyRange": hash_range(&shard.range),
        "SequenceNumberRange": { "StartingSequenceNumber": starts.to_string() },
    });
    if let Some(parent) = shard.parent {
        shown["ParentShardId"] = shard_id(parent).into();
    }
    if let Some(parent) = shard.adjacent_parent {
        shown["AdjacentParentShardId"] = shard_id(parent).into();
    }
    if let Some(closed) = shard.closed {
        let ends = SequenceNumber::end_of_shard(shard.created_at, shard.ix, closed.at);
        shown["SequenceNumberRange"]["EndingSequenceNumber"] = ends.to_string().into();
    }
    shown
}

pub(super) fn refused(error: ControlError) -> ApiError {
    match error {
        ControlError::Unavailable(text) => ApiError::unavailable(Refusal::Internal, text),
        ControlError::Refused(text) => ApiError::invalid_argument(text),
        ControlError::InUse(text) => ApiError::in_use(text),
        ControlError::LimitExceeded(text) => ApiError::limit_exceeded(text),
    }
}

/// For calls that read the disk.
pub(super) async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(act).await;
    done.unwrap_or_else(|_| Err(ApiError::internal("the operation failed; see the daemon's log")))
}
