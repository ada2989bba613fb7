//! Kinesis Data Streams' operations. Each checks the constraints of its shape first, then what the request means here.

mod consumers;
mod daily;
mod event_stream;
mod get;
mod growth;
mod iterator;
mod model;
mod modes;
mod put;
mod resource;
mod settings;
mod shards;
mod stream;
mod streams;
mod subscribe;
mod subscriptions;
mod throttle;
mod token;
mod unsent;

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use hydrant_config::KinesisLimits;
use hydrant_record::StreamId;
use hydrant_shardlog::ShardLog;
use serde_json::Value;

use crate::answer::Answer;
use crate::request::Operations;
use crate::wire::Wire;
use crate::{ApiError, ControlError, StoredKinesis};

pub(crate) use model::parse_arn;
pub(crate) use put::{Put, mistyped};
pub(crate) use resource::policy_of;
pub use stream::{KinesisStream, KinesisStreams};
pub use throttle::Calls as KinesisCalls;
pub(crate) use throttle::MANAGE_RATE;
pub(crate) use token::stream_of_token;
pub use unsent::EventBudget;

pub(crate) const TARGET: &str = "Kinesis_20131202.";
/// PutRecords has up to 10 MiB of data, which base64 makes a third larger.
pub(crate) const BODY_FACTOR: usize = 2;

/// The Kinesis streams, and who makes them durable.
#[derive(Clone, Debug)]
pub struct Kinesis {
    pub streams: Arc<KinesisStreams>,
    pub plane: Arc<dyn KinesisPlane>,
    pub limits: Arc<KinesisLimits>,
    pub calls: Arc<KinesisCalls>,
    pub events: Arc<EventBudget>,
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
    RegisterConsumer,
    DeregisterConsumer,
    DescribeConsumer,
    ListConsumers,
    TagResource,
    UntagResource,
    ListResourceTags,
    PutPolicy,
    GetPolicy,
    DeletePolicy,
    UpdateMode,
    UpdateMaxRecordSize,
    Monitoring {
        enable: bool,
    },
    Encryption {
        start: bool,
    },
    DescribeAccount,
    UpdateAccount,
    SubscribeToShard,
    /// Kinesis has it, this version has not.
    Unbuilt(&'static str),
}

impl Operation {
    /// `None` if Kinesis has no such operation.
    pub(crate) fn parse(name: &str) -> Option<Operation> {
        const UNBUILT: [&str; 19] = [
            "AcknowledgeDeadLetterQueueRecords",
            "AcknowledgeQueueRecords",
            "CreateChannel",
            "CreateQueue",
            "DeleteChannel",
            "DeleteQueue",
            "DescribeChannel",
            "DescribeQueue",
            "ListChannels",
            "ListQueues",
            "ReceiveDeadLetterQueueRecords",
            "ReceiveQueueRecords",
            "RestoreDeadLetterQueueRecords",
            "UpdateChannel",
            "UpdateDeadLetterQueueRecordsVisibility",
            "UpdateQueue",
            "UpdateQueueRecordsVisibility",
            "UpdateStreamRecordDistributionStrategy",
            "UpdateStreamWarmThroughput",
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
            "RegisterStreamConsumer" => Operation::RegisterConsumer,
            "DeregisterStreamConsumer" => Operation::DeregisterConsumer,
            "DescribeStreamConsumer" => Operation::DescribeConsumer,
            "ListStreamConsumers" => Operation::ListConsumers,
            "SubscribeToShard" => Operation::SubscribeToShard,
            "TagResource" => Operation::TagResource,
            "UntagResource" => Operation::UntagResource,
            "ListTagsForResource" => Operation::ListResourceTags,
            "PutResourcePolicy" => Operation::PutPolicy,
            "GetResourcePolicy" => Operation::GetPolicy,
            "DeleteResourcePolicy" => Operation::DeletePolicy,
            "UpdateStreamMode" => Operation::UpdateMode,
            "UpdateMaxRecordSize" => Operation::UpdateMaxRecordSize,
            "EnableEnhancedMonitoring" => Operation::Monitoring { enable: true },
            "DisableEnhancedMonitoring" => Operation::Monitoring { enable: false },
            "StartStreamEncryption" => Operation::Encryption { start: true },
            "StopStreamEncryption" => Operation::Encryption { start: false },
            "DescribeAccountSettings" => Operation::DescribeAccount,
            "UpdateAccountSettings" => Operation::UpdateAccount,
            _ => Operation::Unbuilt(UNBUILT.into_iter().find(|known| *known == name)?),
        })
    }
}

/// Who asks, and for what: the members of the request, not checked yet.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) body: Value,
    pub(crate) region: String,
    /// For events and records; all other answers are encoded where they are sent.
    pub(crate) wire: Wire,
    pub(crate) operations: Arc<Operations>,
}

pub(crate) async fn run(operation: Operation, request: Request) -> Result<Answer, ApiError> {
    if request.body.get("DryRun").is_some_and(|flag| *flag == Value::Bool(true)) {
        return Err(ApiError::dry_run());
    }
    let kinesis = request.kinesis();
    if !kinesis.calls.may_call(&request.region, operation, &kinesis.limits) {
        return Err(ApiError::limit_exceeded(format!("Rate exceeded for account {}.", request.account())));
    }
    let text = match operation {
        Operation::GetRecords => return get::records(&request).await.map(Answer::Encoded),
        Operation::GetShardIterator => iterator::give(&request).await,
        Operation::DescribeStream => streams::describe(&request),
        Operation::DescribeStreamSummary => streams::summary(&request),
        Operation::DescribeLimits => Ok(streams::limits(&request)),
        Operation::ListStreams => streams::list(&request),
        Operation::ListShards => shards::list(&request),
        Operation::ListTags => settings::list_tags(&request),
        Operation::SubscribeToShard => return subscribe::subscribe(&request).await.map(Answer::Events),
        Operation::DescribeConsumer => consumers::describe(&request),
        Operation::ListConsumers => consumers::list(&request),
        Operation::ListResourceTags => resource::list_tags(&request),
        Operation::GetPolicy => resource::get_policy(&request),
        Operation::DescribeAccount => Ok(modes::account()),
        Operation::UpdateAccount => modes::update_account(&request),
        Operation::Unbuilt(name) => Err(crate::firehose::unsupported(name)),
        _ => change(operation, request).await,
    };
    text.map(Answer::Json)
}

/// Runs to its end in a task of its own, so that a client that goes away leaves nothing half done.
async fn change(operation: Operation, request: Request) -> Result<String, ApiError> {
    let running = tokio::spawn(async move {
        match operation {
            Operation::CreateStream => streams::create(&request).await,
            Operation::DeleteStream => streams::delete(&request).await,
            Operation::SplitShard => shards::split(&request).await,
            Operation::MergeShards => shards::merge(&request).await,
            Operation::UpdateShardCount => shards::update_count(&request).await,
            Operation::Retention { increase } => settings::retention(increase, &request).await,
            Operation::RegisterConsumer => consumers::register(&request).await,
            Operation::DeregisterConsumer => consumers::deregister(&request).await,
            Operation::TagResource => resource::tag(&request).await,
            Operation::UntagResource => resource::untag(&request).await,
            Operation::PutPolicy => resource::put_policy(&request).await,
            Operation::DeletePolicy => resource::delete_policy(&request).await,
            Operation::UpdateMode => modes::update_mode(&request).await,
            Operation::UpdateMaxRecordSize => modes::max_record_size(&request).await,
            Operation::Monitoring { enable } => modes::monitoring(enable, &request).await,
            Operation::Encryption { start } => modes::encryption(start, &request).await,
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

    fn limits(&self) -> &KinesisLimits {
        &self.operations.kinesis.limits
    }
}
