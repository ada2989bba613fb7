//! The operations of Data Firehose.

use aws_sdk_firehose::Client;
use aws_sdk_firehose::types::{
    BufferingHints, CompressionFormat, DeliveryStreamType, ExtendedS3DestinationConfiguration,
    ExtendedS3DestinationUpdate, Record, Tag,
};
use serde_json::{Value, json};

use crate::{Answer, blob, done, number, text, texts, told, unknown};

pub(crate) async fn call(client: &Client, operation: &str, p: &Value) -> Answer {
    let name = text(p, "DeliveryStreamName");
    match operation {
        "CreateDeliveryStream" => {
            let destination = destination(&p["ExtendedS3DestinationConfiguration"]);
            let wanted = client.create_delivery_stream().set_delivery_stream_name(name).set_tags(tags(p));
            done(wanted.extended_s3_destination_configuration(destination).send().await)
        }
        "DescribeDeliveryStream" => describe(client, name).await,
        "ListDeliveryStreams" => {
            let kind = text(p, "DeliveryStreamType").map(|kind| DeliveryStreamType::from(kind.as_str()));
            done(
                client
                    .list_delivery_streams()
                    .set_limit(number(p, "Limit"))
                    .set_delivery_stream_type(kind)
                    .send()
                    .await,
            )
        }
        "PutRecord" => {
            done(client.put_record().set_delivery_stream_name(name).record(record(&p["Record"])).send().await)
        }
        "PutRecordBatch" => {
            let records = p["Records"].as_array().expect("records").iter().map(record).collect();
            done(client.put_record_batch().set_delivery_stream_name(name).set_records(Some(records)).send().await)
        }
        "UpdateDestination" => {
            let format = text(&p["ExtendedS3DestinationUpdate"], "CompressionFormat");
            let update = ExtendedS3DestinationUpdate::builder()
                .set_compression_format(format.map(|format| CompressionFormat::from(format.as_str())));
            let wanted = client.update_destination().set_delivery_stream_name(name);
            let wanted = wanted.set_current_delivery_stream_version_id(text(p, "CurrentDeliveryStreamVersionId"));
            let wanted = wanted.set_destination_id(text(p, "DestinationId"));
            done(wanted.extended_s3_destination_update(update.build()).send().await)
        }
        "StartDeliveryStreamEncryption" => {
            done(client.start_delivery_stream_encryption().set_delivery_stream_name(name).send().await)
        }
        "StopDeliveryStreamEncryption" => {
            done(client.stop_delivery_stream_encryption().set_delivery_stream_name(name).send().await)
        }
        "TagDeliveryStream" => {
            done(client.tag_delivery_stream().set_delivery_stream_name(name).set_tags(tags(p)).send().await)
        }
        "UntagDeliveryStream" => {
            let wanted = client.untag_delivery_stream().set_delivery_stream_name(name);
            done(wanted.set_tag_keys(texts(p, "TagKeys")).send().await)
        }
        "ListTagsForDeliveryStream" => list_tags(client, name).await,
        "DeleteDeliveryStream" => done(client.delete_delivery_stream().set_delivery_stream_name(name).send().await),
        _ => unknown(operation),
    }
}

async fn describe(client: &Client, name: Option<String>) -> Answer {
    let answer = client.describe_delivery_stream().set_delivery_stream_name(name).send().await.map_err(told)?;
    let of = answer.delivery_stream_description.expect("a description");
    let told = json!({ "VersionId": of.version_id, "DeliveryStreamStatus": of.delivery_stream_status.as_str() });
    Ok(json!({ "DeliveryStreamDescription": told }))
}

async fn list_tags(client: &Client, name: Option<String>) -> Answer {
    let answer = client.list_tags_for_delivery_stream().set_delivery_stream_name(name).send().await.map_err(told)?;
    let tags: Vec<_> = answer.tags.iter().map(|tag| json!({ "Key": tag.key, "Value": tag.value })).collect();
    Ok(json!({ "Tags": tags }))
}

fn destination(p: &Value) -> ExtendedS3DestinationConfiguration {
    let hints = &p["BufferingHints"];
    let hints = BufferingHints::builder()
        .set_size_in_mbs(number(hints, "SizeInMBs"))
        .set_interval_in_seconds(number(hints, "IntervalInSeconds"));
    ExtendedS3DestinationConfiguration::builder()
        .set_role_arn(text(p, "RoleARN"))
        .set_bucket_arn(text(p, "BucketARN"))
        .set_prefix(text(p, "Prefix"))
        .set_compression_format(text(p, "CompressionFormat").map(|format| CompressionFormat::from(format.as_str())))
        .buffering_hints(hints.build())
        .build()
        .expect("a role and a bucket")
}

fn record(p: &Value) -> Record {
    Record::builder().set_data(blob(p)).build().expect("data")
}

fn tags(p: &Value) -> Option<Vec<Tag>> {
    let one =
        |tag: &Value| Tag::builder().set_key(text(tag, "Key")).set_value(text(tag, "Value")).build().expect("a key");
    Some(p["Tags"].as_array()?.iter().map(one).collect())
}
