//! CreateStream, DeleteStream, the three Describe operations and ListStreams.

use std::collections::BTreeMap;
use std::sync::Arc;

use hydrant_record::StreamId;
use hydrant_shardlog::ShardMap;
use serde_json::{Value, json};

use super::model::{self, Named, check_name, parse_shard_id, refused, required_id, seconds};
use super::{KinesisStream, Request, modes, settings};
use crate::shape::{Shape, Violations};
use crate::{ApiError, KinesisSettings, KinesisStreams, StoredKinesis, StoredStatus, StreamMode};

const PAGE_MAX: usize = 100;
/// Of one stream, which AWS says of UpdateShardCount.
pub(super) const SHARDS_MAX: usize = 10_000;
/// What DescribeLimits says where there is no limit.
const UNLIMITED: u64 = 1_000_000_000;
/// What AWS gives an on-demand stream to begin with.
const ON_DEMAND_SHARDS: u32 = 4;

/// Takes its stream out of the registry again, unless the creation came to its end.
struct Reservation<'a> {
    streams: &'a KinesisStreams,
    stream: Option<Arc<KinesisStream>>,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take() {
            self.streams.remove(&stream);
        }
    }
}

/// Answers when the stream takes records; until then others see it as CREATING.
pub(super) async fn create(at: &Request) -> Result<String, ApiError> {
    let stored = wanted(at)?;
    let streams = &at.kinesis().streams;
    check_quota(&stored, at)?;
    let stream = KinesisStream::creating(stored.clone());
    let name = stream.name.clone();
    if !streams.insert(Arc::clone(&stream)) {
        return Err(ApiError::in_use(format!("Stream {name} under account {} already exists.", at.account())));
    }
    let mut reservation = Reservation { streams, stream: Some(stream) };
    let log = at.kinesis().plane.create(stored).await.map_err(refused)?;
    if let Some(stream) = reservation.stream.take() {
        stream.activate(log);
    }
    tracing::info!(stream = name, region = at.region, "created a Kinesis stream");
    Ok(String::new())
}

fn wanted(at: &Request) -> Result<StoredKinesis, ApiError> {
    let shape = Shape::root(&at.body)?;
    let mut violations = Violations::default();
    let name = required_id(&shape, "StreamName", &mut violations)?;
    let count = shape.integer("ShardCount")?;
    if let Some(count) = count {
        violations.range("shardCount", count, 1..=i64::from(i32::MAX));
    }
    let details = shape.part("StreamModeDetails")?;
    let mode = modes::mode(details.as_ref(), &mut violations)?.unwrap_or(StreamMode::Provisioned);
    let record_kib_max = shape.integer("MaxRecordSizeInKiB")?.unwrap_or(1024);
    violations.range("maxRecordSizeInKiB", record_kib_max, 1024..=10_240);
    let tags = settings::tags(&shape, "Tags", &mut violations)?;
    violations.finish()?;
    let strategy = shape.text("RecordDistributionStrategy")?.filter(|strategy| *strategy != "USER_PARTITION_KEY");
    if shape.has("WarmThroughputMiBps") || strategy.is_some() {
        return Err(crate::firehose::unsupported("WarmThroughputMiBps or RecordDistributionStrategy AUTO"));
    }
    settings::check_tag_count(&tags)?;
    let count = match (mode, count) {
        (StreamMode::OnDemand, None) => i64::from(ON_DEMAND_SHARDS),
        (StreamMode::OnDemand, Some(_)) => {
            return Err(ApiError::invalid_argument("ShardCount must not be given for a stream in ON_DEMAND mode."));
        }
        (StreamMode::Provisioned, Some(count)) => count,
        (StreamMode::Provisioned, None) => {
            return Err(ApiError::validation("ShardCount is required for a stream in PROVISIONED mode."));
        }
    };
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|error| ApiError::internal(format!("no randomness: {error}")))?;
    Ok(StoredKinesis {
        id: StreamId(id),
        name: name.to_owned(),
        region: at.region.clone(),
        status: StoredStatus::Active,
        created_at: at.operations.clock.now(),
        shards: u32::try_from(count).unwrap_or(u32::MAX),
        from_yaml: false,
        settings: KinesisSettings {
            record_kib_max: u32::try_from(record_kib_max).unwrap_or(1024),
            tags,
            ..KinesisSettings::new(mode)
        },
    })
}

fn check_quota(wanted: &StoredKinesis, at: &Request) -> Result<(), ApiError> {
    if wanted.settings.mode == StreamMode::OnDemand {
        check_on_demand_quota(at)?;
    }
    check_shard_quota(wanted.shards as usize, at)
}

/// One more.
pub(super) fn check_on_demand_quota(at: &Request) -> Result<(), ApiError> {
    let (_, on_demand) = usage(at);
    match at.limits().on_demand_streams {
        Some(most) if on_demand as u64 >= most => Err(ApiError::limit_exceeded(format!(
            "This request would exceed the on-demand stream limit for the account {}. Limit: {most}.",
            at.account()
        ))),
        _ => Ok(()),
    }
}

/// `more` shards than there are now.
pub(super) fn check_shard_quota(more: usize, at: &Request) -> Result<(), ApiError> {
    let (open, _) = usage(at);
    let Some(most) = at.limits().shards.filter(|most| (open + more) as u64 > *most) else { return Ok(()) };
    Err(ApiError::limit_exceeded(format!(
        "This request would exceed the shard limit for the account {} in {}. Current shard count for the account: {open}. \
         Limit: {most}. Number of additional shards that would have resulted from this request: {more}.",
        at.account(),
        at.region
    )))
}

/// Open shards and on-demand streams of the region.
fn usage(at: &Request) -> (usize, usize) {
    let streams = at.kinesis().streams.in_region(&at.region);
    let open = streams.iter().filter_map(|stream| stream.log()).map(|log| log.shards().open().count()).sum();
    let on_demand = streams.iter().filter(|stream| stream.settings().mode == StreamMode::OnDemand).count();
    (open, on_demand)
}

/// Answers when the promise to delete is durable; the rest goes on behind.
pub(super) async fn delete(at: &Request) -> Result<String, ApiError> {
    let shape = Shape::root(&at.body)?;
    let mut violations = Violations::default();
    let named = Named::of(&shape, &mut violations)?;
    let with_consumers = shape.flag("EnforceConsumerDeletion")?.unwrap_or(false);
    violations.finish()?;
    let stream = named.find(at)?;
    at.check_not_from_yaml(&stream)?;
    // Held as long as it may still come back to life.
    let changing = stream.begin_change().ok_or_else(|| at.not_active(&stream))?;
    let turn = stream.turn().await;
    let settings = stream.settings();
    if !settings.consumers.is_empty() && !with_consumers {
        return Err(ApiError::in_use(format!(
            "Stream {} under account {} has {} registered consumers; deregister them, or set EnforceConsumerDeletion.",
            stream.name,
            at.account(),
            settings.consumers.len()
        )));
    }
    let gone = stream.stored(StoredStatus::Deleting, KinesisSettings::clone(&settings));
    at.kinesis().plane.store(gone).await.map_err(refused)?;
    changing.end_in_deletion();
    drop(turn);
    stream.subscriptions.end_all();
    tracing::info!(stream = stream.name, region = at.region, "deleting a Kinesis stream");
    tokio::spawn(finish_delete(Arc::clone(&stream), at.clone()));
    Ok(String::new())
}

async fn finish_delete(stream: Arc<KinesisStream>, at: Request) {
    match at.kinesis().plane.remove(stream.id).await {
        Ok(()) => {
            at.kinesis().streams.remove(&stream);
            tracing::info!(stream = stream.name, "deleted the Kinesis stream");
        }
        Err(error) => {
            tracing::error!(stream = stream.name, %error, "the Kinesis stream could not be deleted; a restart tries again");
        }
    }
}

pub(super) fn describe(at: &Request) -> Result<String, ApiError> {
    let shape = Shape::root(&at.body)?;
    let mut violations = Violations::default();
    let named = Named::of(&shape, &mut violations)?;
    let limit = page(&shape, "Limit", PAGE_MAX, &mut violations)?;
    let start = shape.text("ExclusiveStartShardId")?;
    if let Some(start) = start {
        check_name(start, "exclusiveStartShardId", &mut violations);
    }
    violations.finish()?;
    let stream = named.find(at)?;
    let unknown = |start: &str| at.no_shard(start, &stream);
    let start = start.map(|start| parse_shard_id(start).ok_or_else(|| unknown(start))).transpose()?;
    let shards = stream.log().map(|log| log.shards());
    let all =
        shards.iter().flat_map(|shards| shards.shards()).filter(|shard| start.is_none_or(|start| shard.ix > start));
    let mut shown: Vec<Value> = all.take(limit + 1).map(model::shard).collect();
    let more = shown.len() > limit;
    shown.truncate(limit);
    let mut description = about(&stream, at);
    description["Shards"] = shown.into();
    description["HasMoreShards"] = more.into();
    Ok(json!({ "StreamDescription": description }).to_string())
}

pub(super) fn summary(at: &Request) -> Result<String, ApiError> {
    let shape = Shape::root(&at.body)?;
    let mut violations = Violations::default();
    let named = Named::of(&shape, &mut violations)?;
    violations.finish()?;
    let stream = named.find(at)?;
    let mut description = about(&stream, at);
    let open = stream.log().map_or(0, |log| ShardMap::open(&log.shards()).count());
    description["OpenShardCount"] = open.into();
    description["ConsumerCount"] = stream.settings().consumers.len().into();
    description["MaxRecordSizeInKiB"] = stream.settings().record_kib_max.into();
    Ok(json!({ "StreamDescriptionSummary": description }).to_string())
}

fn about(stream: &KinesisStream, at: &Request) -> Value {
    let mut about = json!({
        "StreamName": stream.name,
        "StreamARN": at.arn(&stream.name),
        "StreamStatus": stream.status().as_str(),
        "StreamModeDetails": { "StreamMode": mode(stream) },
        "RetentionPeriodHours": stream.settings().retention_hours,
        "StreamCreationTimestamp": seconds(stream.created_at),
    });
    modes::describe(stream, &mut about);
    about
}

fn mode(stream: &KinesisStream) -> &'static str {
    match stream.settings().mode {
        StreamMode::Provisioned => "PROVISIONED",
        StreamMode::OnDemand => "ON_DEMAND",
    }
}

pub(super) fn limits(at: &Request) -> String {
    let (open, on_demand) = usage(at);
    json!({
        "ShardLimit": at.limits().shards.unwrap_or(UNLIMITED),
        "OpenShardCount": open,
        "OnDemandStreamCount": on_demand,
        "OnDemandStreamCountLimit": at.limits().on_demand_streams.unwrap_or(UNLIMITED),
    })
    .to_string()
}

pub(super) fn list(at: &Request) -> Result<String, ApiError> {
    let shape = Shape::root(&at.body)?;
    let mut violations = Violations::default();
    let limit = page(&shape, "Limit", PAGE_MAX, &mut violations)?;
    let start = shape.text("ExclusiveStartStreamName")?;
    if let Some(start) = start {
        check_name(start, "exclusiveStartStreamName", &mut violations);
    }
    let token = shape.text("NextToken")?;
    violations.finish()?;
    // The name of the last stream of the page before: nothing secret, and good for ever.
    let after = match token {
        None => start.map(str::to_owned),
        Some(token) => {
            let bytes = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(token).ok();
            let name = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
            Some(name.ok_or_else(|| ApiError::invalid_argument("Invalid NextToken."))?)
        }
    };
    let mut streams = at.kinesis().streams.in_region(&at.region);
    streams.retain(|stream| after.as_ref().is_none_or(|after| stream.name > *after));
    let more = streams.len() > limit;
    streams.truncate(limit);
    let names: Vec<&str> = streams.iter().map(|stream| stream.name.as_str()).collect();
    let summary = |stream: &Arc<KinesisStream>| {
        json!({
            "StreamName": stream.name,
            "StreamARN": at.arn(&stream.name),
            "StreamStatus": stream.status().as_str(),
            "StreamModeDetails": { "StreamMode": mode(stream) },
            "StreamCreationTimestamp": seconds(stream.created_at),
        })
    };
    let summaries: Vec<Value> = streams.iter().map(summary).collect();
    let mut answer: BTreeMap<&str, Value> = BTreeMap::new();
    answer.insert("StreamNames", json!(names));
    answer.insert("HasMoreStreams", more.into());
    answer.insert("StreamSummaries", summaries.into());
    if let Some(last) = names.last().filter(|_| more) {
        answer.insert("NextToken", base64_simd::URL_SAFE_NO_PAD.encode_to_string(last).into());
    }
    Ok(json!(answer).to_string())
}

/// How long a page is: AWS allows to ask for 10,000 and gives at most `most`.
pub(super) fn page(shape: &Shape<'_>, member: &str, most: usize, to: &mut Violations) -> Result<usize, ApiError> {
    let Some(limit) = shape.integer(member)? else { return Ok(most) };
    to.range(&shape.at(member), limit, 1..=10_000);
    Ok(usize::try_from(limit).unwrap_or(1).min(most))
}
