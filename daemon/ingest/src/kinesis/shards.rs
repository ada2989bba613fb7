//! ListShards, SplitShard, MergeShards and UpdateShardCount.

use std::time::Duration;

use hydrant_record::{HashKey, Lsn, ShardIx, Timestamp};
use hydrant_shardlog::{Reshard, ReshardError, Shard, ShardLog, ShardMap};
use serde_json::{Value, json};

use super::daily::Quota;
use super::model::{
    self, Named, blocking, check_decimal, check_name, parse_shard_id, required_id, shard_id, timestamp,
};
use super::streams::{SHARDS_MAX, check_shard_quota, page};
use super::token::{Kind, Token};
use super::{KinesisStream, Request};
use crate::shape::{Shape, Violations};
use crate::{ApiError, StreamMode, durable};

const PAGE_MAX: usize = 1000;
const TOKEN_LIFETIME: Duration = Duration::from_secs(300);
const FILTERS: [&str; 6] =
    ["AFTER_SHARD_ID", "AT_TRIM_HORIZON", "FROM_TRIM_HORIZON", "AT_LATEST", "AT_TIMESTAMP", "FROM_TIMESTAMP"];

/// Which shards a list is of. As two words in a token: the place in [`FILTERS`], and the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filter {
    AtTrimHorizon,
    All,
    Open,
    OpenAt(Timestamp),
    Since(Timestamp),
}

impl Filter {
    fn words(self) -> [u64; 2] {
        match self {
            Filter::AtTrimHorizon => [1, 0],
            Filter::All => [2, 0],
            Filter::Open => [3, 0],
            Filter::OpenAt(time) => [4, time.as_millis()],
            Filter::Since(time) => [5, time.as_millis()],
        }
    }

    fn of_words([kind, time]: [u64; 2]) -> Filter {
        let time = Timestamp::from_millis(time);
        match kind {
            1 => Filter::AtTrimHorizon,
            3 => Filter::Open,
            4 => Filter::OpenAt(time),
            5 => Filter::Since(time),
            _ => Filter::All,
        }
    }

    /// `horizon` is the first record that is kept, or the next to come.
    fn holds(self, shard: &Shard, shards: &ShardMap, horizon: Lsn) -> bool {
        let open_after = |time: Timestamp| shard.closed.is_none_or(|closed| closed.at > time);
        match self {
            Filter::All => true,
            Filter::Open => shard.closed.is_none(),
            Filter::AtTrimHorizon => {
                shard.first <= horizon && shard.closed.is_none_or(|closed| closed.before > horizon)
            }
            Filter::Since(time) => open_after(time),
            // A time before all that is known is the horizon.
            Filter::OpenAt(time) if shards.shards().iter().all(|shard| shard.created_at > time) => {
                Filter::AtTrimHorizon.holds(shard, shards, horizon)
            }
            Filter::OpenAt(time) => shard.created_at <= time && open_after(time),
        }
    }
}

pub(super) fn list(at: &Request) -> Result<String, ApiError> {
    let shape = Shape::root(&at.body)?;
    let mut violations = Violations::default();
    let named = Named::of(&shape, &mut violations)?;
    let limit = page(&shape, "MaxResults", PAGE_MAX, &mut violations)?;
    let start = shape.text("ExclusiveStartShardId")?;
    if let Some(start) = start {
        check_name(start, "exclusiveStartShardId", &mut violations);
    }
    let created = timestamp(&shape, "StreamCreationTimestamp")?;
    let filtered = filter(&shape, &mut violations)?;
    let token = shape.text("NextToken")?;
    violations.finish()?;
    let now = at.operations.clock.now();
    let (stream, after, filter) = match token {
        Some(_) if named.name.is_some() || start.is_some() || created.is_some() => {
            return Err(ApiError::invalid_argument("NextToken and StreamName cannot be provided together."));
        }
        Some(token) => {
            let opened = Token::open(token, Kind::Shards, &at.kinesis().streams);
            let opened = opened.filter(|(_, stream)| stream.answers(&at.region));
            let (token, stream) = opened.ok_or_else(|| ApiError::invalid_argument("Invalid NextToken."))?;
            if now.since(token.issued_at) > TOKEN_LIFETIME {
                return Err(ApiError::expired_next_token());
            }
            let [after, kind, time] = token.words;
            (stream, u32::try_from(after).ok().map(ShardIx), Filter::of_words([kind, time]))
        }
        None => {
            let stream = named.find(at)?;
            if created.is_some_and(|created| created.as_millis() / 1000 != stream.created_at.as_millis() / 1000) {
                return Err(at.no_stream(&stream.name));
            }
            let (filter, after_id) = filtered;
            let known = |id: &str| parse_shard_id(id).ok_or_else(|| at.no_shard(id, &stream));
            let after = [start, after_id].into_iter().flatten().map(known).collect::<Result<Vec<_>, _>>()?;
            (stream, after.into_iter().max(), filter)
        }
    };
    let log = at.log(&stream)?;
    if !stream.flows.may_list(at.limits()) {
        let (name, account) = (&stream.name, at.account());
        return Err(ApiError::limit_exceeded(format!("Rate exceeded for stream {name} under account {account}.")));
    }
    let shards = log.shards();
    let horizon = log.first().unwrap_or_else(|| Lsn::after(log.last()));
    let wanted = |shard: &&Shard| after.is_none_or(|after| shard.ix > after) && filter.holds(shard, &shards, horizon);
    let found: Vec<&Shard> = shards.shards().iter().filter(wanted).take(limit + 1).collect();
    let shown: Vec<Value> = found.iter().take(limit).map(|one| model::shard(one)).collect();
    let mut answer = json!({ "Shards": shown });
    if found.len() > limit {
        let [kind, time] = filter.words();
        let words = [u64::from(found[limit - 1].ix.0), kind, time];
        answer["NextToken"] = Token { kind: Kind::Shards, words, issued_at: now }.seal(stream.id, log).into();
    }
    Ok(answer.to_string())
}

/// The filter, and the shard that a filter of AFTER_SHARD_ID names.
fn filter<'a>(shape: &Shape<'a>, violations: &mut Violations) -> Result<(Filter, Option<&'a str>), ApiError> {
    let Some(part) = shape.part("ShardFilter")? else { return Ok((Filter::All, None)) };
    let kind = violations.required(&part, "Type", part.text("Type")?);
    if let Some(kind) = kind {
        violations.choice("shardFilter.type", kind, &FILTERS);
    }
    let id = part.text("ShardId")?;
    if let Some(id) = id {
        check_name(id, "shardFilter.shardId", violations);
    }
    let time = timestamp(&part, "Timestamp")?;
    let needs = |what: &str| ApiError::invalid_argument(format!("ShardFilter of this Type needs a {what}."));
    Ok(match kind {
        Some("AFTER_SHARD_ID") => (Filter::All, Some(id.ok_or_else(|| needs("ShardId"))?)),
        Some("AT_TRIM_HORIZON") => (Filter::AtTrimHorizon, None),
        Some("AT_LATEST") => (Filter::Open, None),
        Some("AT_TIMESTAMP") => (Filter::OpenAt(time.ok_or_else(|| needs("Timestamp"))?), None),
        Some("FROM_TIMESTAMP") => (Filter::Since(time.ok_or_else(|| needs("Timestamp"))?), None),
        _ => (Filter::All, None),
    })
}

pub(super) async fn split(at: &Request) -> Result<String, ApiError> {
    let shape = Shape::root(&at.body)?;
    let mut violations = Violations::default();
    let named = Named::of(&shape, &mut violations)?;
    let id = required_id(&shape, "ShardToSplit", &mut violations)?;
    let start = violations.required(&shape, "NewStartingHashKey", shape.text("NewStartingHashKey")?);
    let start = start.unwrap_or_default();
    if shape.has("NewStartingHashKey") {
        check_decimal(start, 39, "newStartingHashKey", &mut violations);
    }
    violations.finish()?;
    let stream = named.find(at)?;
    at.check_not_from_yaml(&stream)?;
    check_provisioned(&stream)?;
    let shard = parse_shard_id(id).ok_or_else(|| at.no_shard(id, &stream))?;
    let outside = |_| ApiError::invalid_argument(format!("NewStartingHashKey {start} is above 2^128-1."));
    let new_start: HashKey = start.parse().map_err(outside)?;
    check_shard_quota(1, at)?;
    change(Reshard::Split { shard, new_start }, &stream, at).await?;
    Ok(String::new())
}

pub(super) async fn merge(at: &Request) -> Result<String, ApiError> {
    let shape = Shape::root(&at.body)?;
    let mut violations = Violations::default();
    let named = Named::of(&shape, &mut violations)?;
    let left = required_id(&shape, "ShardToMerge", &mut violations)?;
    let right = required_id(&shape, "AdjacentShardToMerge", &mut violations)?;
    violations.finish()?;
    let stream = named.find(at)?;
    at.check_not_from_yaml(&stream)?;
    check_provisioned(&stream)?;
    let shard = parse_shard_id(left).ok_or_else(|| at.no_shard(left, &stream))?;
    let adjacent = parse_shard_id(right).ok_or_else(|| at.no_shard(right, &stream))?;
    change(Reshard::Merge { shard, adjacent }, &stream, at).await?;
    Ok(String::new())
}

pub(super) async fn update_count(at: &Request) -> Result<String, ApiError> {
    let shape = Shape::root(&at.body)?;
    let mut violations = Violations::default();
    let named = Named::of(&shape, &mut violations)?;
    let target = violations.required(&shape, "TargetShardCount", shape.integer("TargetShardCount")?);
    let target = target.unwrap_or(1);
    violations.range("targetShardCount", target, 1..=i64::from(i32::MAX));
    let scaling = violations.required(&shape, "ScalingType", shape.text("ScalingType")?);
    if let Some(scaling) = scaling {
        violations.choice("scalingType", scaling, &["UNIFORM_SCALING"]);
    }
    violations.finish()?;
    let stream = named.find(at)?;
    at.check_not_from_yaml(&stream)?;
    check_provisioned(&stream)?;
    let current = at.log(&stream)?.shards().open().count();
    let target = usize::try_from(target).unwrap_or(usize::MAX);
    let name = &stream.name;
    if target == current {
        return Err(ApiError::invalid_argument(format!(
            "Stream {name} has {current} open shards already; TargetShardCount must be another number."
        )));
    }
    if target > current * 2 || target < current.div_ceil(2) || target > SHARDS_MAX {
        return Err(ApiError::limit_exceeded(format!(
            "UpdateShardCount cannot take stream {name} from {current} to {target} open shards: half to twice as many, and \
             {SHARDS_MAX} at most, are allowed."
        )));
    }
    check_shard_quota(target.saturating_sub(current), at)?;
    let counted = at.count(Quota::ShardCount, &stream)?;
    change(Reshard::Uniform { count: u32::try_from(target).unwrap_or(u32::MAX) }, &stream, at).await?;
    counted.keep();
    Ok(json!({
        "StreamName": name,
        "CurrentShardCount": current,
        "TargetShardCount": target,
        "StreamARN": at.arn(name),
    })
    .to_string())
}

/// What an on-demand stream does of itself.
pub(super) async fn grow(stream: &KinesisStream, count: usize, at: &Request) -> Result<(), ApiError> {
    let open = at.log(stream)?.shards().open().count();
    let count = count.min(SHARDS_MAX);
    if count <= open {
        return Ok(());
    }
    check_shard_quota(count - open, at)?;
    change(Reshard::Uniform { count: u32::try_from(count).unwrap_or(u32::MAX) }, stream, at).await
}

fn check_provisioned(stream: &KinesisStream) -> Result<(), ApiError> {
    match stream.settings().mode {
        StreamMode::Provisioned => Ok(()),
        StreamMode::OnDemand => Err(ApiError::validation(format!(
            "Stream {} is in ON_DEMAND mode, in which its shards cannot be changed by a request.",
            stream.name
        ))),
    }
}

/// One commit in the log: producers and readers go on meanwhile and after.
async fn change(change: Reshard, stream: &KinesisStream, at: &Request) -> Result<(), ApiError> {
    let _changing = stream.begin_change().ok_or_else(|| at.not_active(stream))?;
    let log: ShardLog = at.log(stream)?.clone();
    let shards = blocking(move || Ok(log.reshard(change))).await?;
    let shards = shards.map_err(|error| refused(&error, stream, at))?;
    tracing::info!(
        stream = stream.name,
        ?change,
        open = shards.open().count(),
        "changed the shards of a Kinesis stream"
    );
    Ok(())
}

fn refused(error: &ReshardError, stream: &KinesisStream, at: &Request) -> ApiError {
    let (name, account) = (&stream.name, at.account());
    match error {
        ReshardError::NoShard(ix) => ApiError::resource_not_found(format!(
            "Could not find shard {} in stream {name} under account {account}.",
            shard_id(*ix)
        )),
        ReshardError::NotOpen(ix) => ApiError::in_use(format!(
            "Shard {} in stream {name} under account {account} is closed; only an open shard can be split or merged.",
            shard_id(*ix)
        )),
        ReshardError::BadSplitPoint { shard, new_start, range } => ApiError::invalid_argument(format!(
            "NewStartingHashKey {new_start} used in SplitShard() on shard {} in stream {name} under account {account} is not \
             both greater than one plus the shard's StartingHashKey {} and less than the shard's EndingHashKey {}.",
            shard_id(*shard),
            range.start,
            range.end
        )),
        ReshardError::NotAdjacent { shard, adjacent } => ApiError::invalid_argument(format!(
            "Shards {} and {} in stream {name} under account {account} are not an adjacent pair of shards eligible for merging",
            shard_id(*shard),
            shard_id(*adjacent)
        )),
        ReshardError::BadCount { .. } => ApiError::invalid_argument(error.to_string()),
        ReshardError::Full | ReshardError::NoNumbersLeft => ApiError::limit_exceeded(error.to_string()),
        ReshardError::Log(error) => durable::refused(error),
    }
}
