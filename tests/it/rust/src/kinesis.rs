//! The operations of Kinesis Data Streams, by what they are about.

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::{
    EncryptionType, MetricsName, MinimumThroughputBillingCommitmentInput,
    MinimumThroughputBillingCommitmentInputStatus, PutRecordsRequestEntry, Record, ScalingType, ShardIteratorType,
    StartingPosition, StreamMode, StreamModeDetails, SubscribeToShardEventStream,
};
use serde_json::{Value, json};

use crate::{Answer, blob, done, map, number, text, texts, told, unknown};

pub(crate) async fn call(client: &Client, operation: &str, p: &Value) -> Answer {
    if let Some(answer) = streams(client, operation, p).await {
        return answer;
    }
    if let Some(answer) = tags_and_policies(client, operation, p).await {
        return answer;
    }
    if let Some(answer) = records(client, operation, p).await {
        return answer;
    }
    if let Some(answer) = consumers(client, operation, p).await {
        return answer;
    }
    if let Some(answer) = shards(client, operation, p).await {
        return answer;
    }
    settings(client, operation, p).await.unwrap_or_else(|| unknown(operation))
}

async fn streams(client: &Client, operation: &str, p: &Value) -> Option<Answer> {
    let (name, arn) = (text(p, "StreamName"), text(p, "StreamARN"));
    Some(match operation {
        "CreateStream" => {
            let wanted = client.create_stream().set_stream_name(name).set_shard_count(number(p, "ShardCount"));
            done(wanted.set_tags(map(p, "Tags")).send().await)
        }
        "DescribeStream" => done(client.describe_stream().set_stream_name(name).send().await),
        "DescribeStreamSummary" => {
            done(client.describe_stream_summary().set_stream_name(name).set_stream_arn(arn).send().await)
        }
        "DescribeLimits" => done(client.describe_limits().send().await),
        "ListStreams" => done(client.list_streams().send().await),
        "UpdateStreamMode" => {
            let mode = text(&p["StreamModeDetails"], "StreamMode").map(|mode| StreamMode::from(mode.as_str()));
            let details = StreamModeDetails::builder().set_stream_mode(mode).build().expect("a mode");
            done(client.update_stream_mode().set_stream_arn(arn).stream_mode_details(details).send().await)
        }
        "UpdateMaxRecordSize" => {
            let wanted = client.update_max_record_size().set_stream_arn(arn);
            done(wanted.set_max_record_size_in_kib(number(p, "MaxRecordSizeInKiB")).send().await)
        }
        "DeleteStream" => done(client.delete_stream().set_stream_name(name).send().await),
        _ => return None,
    })
}

async fn tags_and_policies(client: &Client, operation: &str, p: &Value) -> Option<Answer> {
    let (name, arn) = (text(p, "StreamName"), text(p, "ResourceARN"));
    Some(match operation {
        "AddTagsToStream" => {
            done(client.add_tags_to_stream().set_stream_name(name).set_tags(map(p, "Tags")).send().await)
        }
        "ListTagsForStream" => done(client.list_tags_for_stream().set_stream_name(name).send().await),
        "RemoveTagsFromStream" => {
            done(client.remove_tags_from_stream().set_stream_name(name).set_tag_keys(texts(p, "TagKeys")).send().await)
        }
        "TagResource" => done(client.tag_resource().set_resource_arn(arn).set_tags(map(p, "Tags")).send().await),
        "ListTagsForResource" => {
            let answer = client.list_tags_for_resource().set_resource_arn(arn).send().await;
            let one = |tag: &aws_sdk_kinesis::types::Tag| json!({ "Key": tag.key, "Value": tag.value });
            answer.map(|answer| json!({ "Tags": answer.tags().iter().map(one).collect::<Vec<_>>() })).map_err(told)
        }
        "UntagResource" => {
            done(client.untag_resource().set_resource_arn(arn).set_tag_keys(texts(p, "TagKeys")).send().await)
        }
        "PutResourcePolicy" => {
            done(client.put_resource_policy().set_resource_arn(arn).set_policy(text(p, "Policy")).send().await)
        }
        "GetResourcePolicy" => {
            let answer = client.get_resource_policy().set_resource_arn(arn).send().await;
            answer.map(|answer| json!({ "Policy": answer.policy })).map_err(told)
        }
        "DeleteResourcePolicy" => done(client.delete_resource_policy().set_resource_arn(arn).send().await),
        _ => return None,
    })
}

async fn records(client: &Client, operation: &str, p: &Value) -> Option<Answer> {
    let (name, arn) = (text(p, "StreamName"), text(p, "StreamARN"));
    Some(match operation {
        "PutRecord" => {
            let wanted = client.put_record().set_stream_name(name).set_data(blob(p));
            let wanted = wanted.set_partition_key(text(p, "PartitionKey"));
            done(wanted.set_explicit_hash_key(text(p, "ExplicitHashKey")).send().await)
        }
        "PutRecords" => {
            let entries = p["Records"].as_array().expect("records").iter().map(entry).collect();
            done(client.put_records().set_stream_arn(arn).set_records(Some(entries)).send().await)
        }
        "ListShards" => {
            let answer = client.list_shards().set_stream_name(name).send().await;
            let names = |shard: &aws_sdk_kinesis::types::Shard| json!({ "ShardId": shard.shard_id });
            answer
                .map(|answer| json!({ "Shards": answer.shards().iter().map(names).collect::<Vec<_>>() }))
                .map_err(told)
        }
        "GetShardIterator" => {
            let kind = text(p, "ShardIteratorType").map(|kind| ShardIteratorType::from(kind.as_str()));
            let wanted = client.get_shard_iterator().set_stream_name(name).set_shard_id(text(p, "ShardId"));
            let answer = wanted.set_shard_iterator_type(kind).send().await;
            answer.map(|answer| json!({ "ShardIterator": answer.shard_iterator })).map_err(told)
        }
        "GetRecords" => {
            let answer = client.get_records().set_shard_iterator(text(p, "ShardIterator")).send().await;
            answer.map(|answer| json!({ "Records": plain(answer.records()) })).map_err(told)
        }
        _ => return None,
    })
}

async fn consumers(client: &Client, operation: &str, p: &Value) -> Option<Answer> {
    let (arn, name) = (text(p, "StreamARN"), text(p, "ConsumerName"));
    Some(match operation {
        "RegisterStreamConsumer" => {
            let answer = client.register_stream_consumer().set_stream_arn(arn).set_consumer_name(name).send().await;
            let consumer = answer.map(|answer| answer.consumer.expect("a consumer").consumer_arn);
            consumer.map(|arn| json!({ "Consumer": { "ConsumerARN": arn } })).map_err(told)
        }
        "DescribeStreamConsumer" => {
            done(client.describe_stream_consumer().set_consumer_arn(text(p, "ConsumerARN")).send().await)
        }
        "ListStreamConsumers" => done(client.list_stream_consumers().set_stream_arn(arn).send().await),
        "SubscribeToShard" => first_event(client, p).await,
        "DeregisterStreamConsumer" => {
            done(client.deregister_stream_consumer().set_stream_arn(arn).set_consumer_name(name).send().await)
        }
        _ => return None,
    })
}

async fn first_event(client: &Client, p: &Value) -> Answer {
    let kind = text(&p["StartingPosition"], "Type").map(|kind| ShardIteratorType::from(kind.as_str()));
    let wanted = client.subscribe_to_shard().set_consumer_arn(text(p, "ConsumerARN")).set_shard_id(text(p, "ShardId"));
    let position = StartingPosition::builder().set_type(kind).build().expect("a type");
    let mut answer = wanted.starting_position(position).send().await.map_err(told)?;
    while let Some(event) = answer.event_stream.recv().await.map_err(told)? {
        if let SubscribeToShardEventStream::SubscribeToShardEvent(event) = event {
            return Ok(json!({ "Records": plain(event.records()) }));
        }
    }
    Err(json!({ "type": "none", "message": "the event stream has ended" }))
}

async fn shards(client: &Client, operation: &str, p: &Value) -> Option<Answer> {
    let name = text(p, "StreamName");
    Some(match operation {
        "SplitShard" => {
            let wanted = client.split_shard().set_stream_name(name).set_shard_to_split(text(p, "ShardToSplit"));
            done(wanted.set_new_starting_hash_key(text(p, "NewStartingHashKey")).send().await)
        }
        "MergeShards" => {
            let wanted = client.merge_shards().set_stream_name(name).set_shard_to_merge(text(p, "ShardToMerge"));
            done(wanted.set_adjacent_shard_to_merge(text(p, "AdjacentShardToMerge")).send().await)
        }
        "UpdateShardCount" => {
            let scaling = text(p, "ScalingType").map(|kind| ScalingType::from(kind.as_str()));
            let wanted = client.update_shard_count().set_stream_name(name).set_scaling_type(scaling);
            done(wanted.set_target_shard_count(number(p, "TargetShardCount")).send().await)
        }
        _ => return None,
    })
}

async fn settings(client: &Client, operation: &str, p: &Value) -> Option<Answer> {
    let (name, hours) = (text(p, "StreamName"), number(p, "RetentionPeriodHours"));
    let metrics = texts(p, "ShardLevelMetrics");
    let metrics = metrics.map(|names| names.iter().map(|name| MetricsName::from(name.as_str())).collect());
    let encryption = text(p, "EncryptionType").map(|kind| EncryptionType::from(kind.as_str()));
    let key = text(p, "KeyId");
    Some(match operation {
        "IncreaseStreamRetentionPeriod" => {
            let wanted = client.increase_stream_retention_period().set_stream_name(name);
            done(wanted.set_retention_period_hours(hours).send().await)
        }
        "DecreaseStreamRetentionPeriod" => {
            let wanted = client.decrease_stream_retention_period().set_stream_name(name);
            done(wanted.set_retention_period_hours(hours).send().await)
        }
        "EnableEnhancedMonitoring" => {
            let wanted = client.enable_enhanced_monitoring().set_stream_name(name);
            done(wanted.set_shard_level_metrics(metrics).send().await)
        }
        "DisableEnhancedMonitoring" => {
            let wanted = client.disable_enhanced_monitoring().set_stream_name(name);
            done(wanted.set_shard_level_metrics(metrics).send().await)
        }
        "StartStreamEncryption" => {
            let wanted = client.start_stream_encryption().set_stream_name(name);
            done(wanted.set_encryption_type(encryption).set_key_id(key).send().await)
        }
        "StopStreamEncryption" => {
            let wanted = client.stop_stream_encryption().set_stream_name(name);
            done(wanted.set_encryption_type(encryption).set_key_id(key).send().await)
        }
        "DescribeAccountSettings" => done(client.describe_account_settings().send().await),
        "UpdateAccountSettings" => {
            let status = text(&p["MinimumThroughputBillingCommitment"], "Status")
                .map(|status| MinimumThroughputBillingCommitmentInputStatus::from(status.as_str()));
            let commitment = MinimumThroughputBillingCommitmentInput::builder().set_status(status).build();
            let wanted = client.update_account_settings();
            done(wanted.minimum_throughput_billing_commitment(commitment.expect("a status")).send().await)
        }
        _ => return None,
    })
}

fn entry(p: &Value) -> PutRecordsRequestEntry {
    let entry = PutRecordsRequestEntry::builder().set_data(blob(p)).set_partition_key(text(p, "PartitionKey"));
    entry.set_explicit_hash_key(text(p, "ExplicitHashKey")).build().expect("data and a key")
}

fn plain(records: &[Record]) -> Vec<Value> {
    records.iter().map(|record| json!({ "Data": aws_smithy_types::base64::encode(record.data.as_ref()) })).collect()
}
