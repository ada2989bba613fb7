//! Kinesis Data Streams' operations. Each checks the constraints of its shape first, then what the request means here.

mod get;
mod iterator;
mod model;
mod put;
mod settings;
mod shards;
mod stream;
mod streams;
mod token;

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use hydrant_record::StreamId;
use hydrant_shardlog::ShardLog;
use serde_json::Value;

use crate::answer::Answer;
use crate::request::Operations;
use crate::{ApiError, ControlError, StoredKinesis};

pub(crate) use put::{Put, mistyped};
pub use stream::{KinesisStream, KinesisStreams};

pub(crate) const TARGET: &str = "Kinesis_20131202.";
/// PutRecords has up to 10 MiB of data, which base64 makes a third larger.
pub(crate) const BODY_FACTOR: usize = 2;

/// The Kinesis streams, and who makes them durable.
#[derive(Clone, Debug)]
pub struct Kinesis {
    pub streams: Arc<KinesisStreams>,
    pub plane: Arc<dyn KinesisPlane>,
}

/// What the daemon does about Kinesis streams. Calls run to their end, even if the client is gone.
pub trait KinesisPlane: Send + Sync + fmt::Debug {
    /// Makes the stream durable and opens its log. After `Err` nothing of it is left.
    fn create(&self, new: StoredKinesis) -> BoxFuture<'_, Result<ShardLog, ControlError>>;

    /// Makes a changed stream durable. One that is deleting is deleted by a restart, whatever happens to `remove`.
    fn store(&self, changed: StoredKinesis) -> BoxFuture<'_, Result<(), ControlError>>;

    /// Closes the log, then removes it and the stream.
    fn remove(&self, id: StreamId) -> BoxFuture<'_, Result<(), ControlError>>;
}

/// An operation that Kinesis has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Put {
        batch: bool,
    },
    GetRecords,
    GetShardIterator,
    CreateStream,
    DeleteStream,
    DescribeStream,
    DescribeStreamSummary,
    DescribeLimits,
    ListStreams,
    ListShards,
    SplitShard,
    MergeShards,
    UpdateShardCount,
    Retention {
        increase: bool,
    },
    AddTags,
    RemoveTags,
    ListTags,
    /// Kinesis has it, this version has not.
    Unbuilt(&'static str),
}

impl Operation {
    /// `None` if Kinesis has no such operation.
    pub(crate) fn parse(name: &str) -> Option<Operation> {
        const UNBUILT: [&str; 23] = [
            "DeleteResourcePolicy",
            "DeregisterStreamConsumer",
            "DescribeAccountSettings",
            "DescribeStreamConsumer",
            "DisableEnhancedMonitoring",
            "EnableEnhancedMonitoring",
            "GetResourcePolicy",
            "ListStreamConsumers",
            "ListTagsForResource",
            "PutResourcePolicy",
            "RegisterStreamConsumer",
            "StartStreamEncryption",
            "StopStreamEncryption",
            "SubscribeToShard",
            "TagResource",
            "UntagResource",
            "UpdateAccountSettings",
            "UpdateMaxRecordSize",
            "UpdateStreamMode",
            "UpdateStreamRecordDistributionStrategy",
            "UpdateStreamWarmThroughput",
            "CreateChannel",
            "CreateQueue",
        ];
        Some(match name {
            "PutRecord" => Operation::Put { batch: false },
            "PutRecords" => Operation::Put { batch: true },
            "GetRecords" => Operation::GetRecords,
            "GetShardIterator" => Operation::GetShardIterator,
            "CreateStream" => Operation::CreateStream,
            "DeleteStream" => Operation::DeleteStream,
            "DescribeStream" => Operation::DescribeStream,
            "DescribeStreamSummary" => Operation::DescribeStreamSummary,
            "DescribeLimits" => Operation::DescribeLimits,
            "ListStreams" => Operation::ListStreams,
            "ListShards" => Operation::ListShards,
            "SplitShard" => Operation::SplitShard,
            "MergeShards" => Operation::MergeShards,
            "UpdateShardCount" => Operation::UpdateShardCount,
            "IncreaseStreamRetentionPeriod" => Operation::Retention { increase: true },
            "DecreaseStreamRetentionPeriod" => Operation::Retention { increase: false },
            "AddTagsToStream" => Operation::AddTags,
            "RemoveTagsFromStream" => Operation::RemoveTags,
            "ListTagsForStream" => Operation::ListTags,
            _ => Operation::Unbuilt(UNBUILT.into_iter().find(|known| *known == name)?),
        })
    }
}

/// Who asks, and for what: the members of the request, not checked yet.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) body: Value,
    pub(crate) region: String,
    pub(crate) operations: Arc<Operations>,
}

pub(crate) async fn run(operation: Operation, request: Request) -> Result<Answer, ApiError> {
    if request.body.get("DryRun").is_some_and(|flag| *flag == Value::Bool(true)) {
        return Err(ApiError::dry_run());
    }
    let text = match operation {
        Operation::GetRecords => get::records(&request).await,
        Operation::GetShardIterator => iterator::give(&request).await,
        Operation::DescribeStream => streams::describe(&request),
        Operation::DescribeStreamSummary => streams::summary(&request),
        Operation::DescribeLimits => Ok(streams::limits(&request)),
        Operation::ListStreams => streams::list(&request),
        Operation::ListShards => shards::list(&request),
        Operation::ListTags => settings::list_tags(&request),
        Operation::Unbuilt(name) => Err(crate::firehose::unsupported(name)),
        _ => change(operation, request).await,
    };
    text.map(Answer::Json)
}

/// Runs to its end in a task of its own, so that a client that goes away leaves nothing half done.
async fn change(operation: Operation, request: Request) -> Result<String, ApiError> {
    tracing::debug!(?operation, region = request.region, "control plane call");
    let running = tokio::spawn(async move {
        match operation {
            Operation::CreateStream => streams::create(&request).await,
            Operation::DeleteStream => streams::delete(&request).await,
            Operation::SplitShard => shards::split(&request).await,
            Operation::MergeShards => shards::merge(&request).await,
            Operation::UpdateShardCount => shards::update_count(&request).await,
            Operation::Retention { increase } => settings::retention(increase, &request).await,
            Operation::AddTags => settings::add_tags(&request).await,
            _ => settings::remove_tags(&request).await,
        }
    });
    running.await.unwrap_or_else(|_| Err(ApiError::internal("the operation failed; see the daemon's log")))
}

impl Request {
    fn account(&self) -> &str {
        self.operations.mappings.account.as_str()
    }

    fn arn(&self, name: &str) -> String {
        format!("arn:aws:kinesis:{}:{}:stream/{name}", self.region, self.account())
    }

    fn kinesis(&self) -> &Kinesis {
        &self.operations.kinesis
    }
}
