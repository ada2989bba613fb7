//! AWS's rates and daily quotas, as raw answers, where the YAML wishes them.

use std::time::Duration;

use hydrant_config::KinesisLimits;
use serde_json::{Value, json};

use crate::client::{Answer, GOOD, Signer, send};
use crate::house::House;

const STREAM: &str = "stream s under account 123456789012";
const ARN: &str = "arn:aws:kinesis:us-east-1:123456789012:stream/s";
const DAY: Duration = Duration::from_secs(86_400);

async fn with_stream(limits: KinesisLimits, made: Value) -> House {
    let house = House::with_kinesis(limits).await;
    let made = house.kinesis("CreateStream", made).await;
    assert_eq!(made.status, 200, "{made:?}");
    house
}

async fn like_aws() -> House {
    let limits = KinesisLimits { control_calls: true, ..Default::default() };
    with_stream(limits, json!({ "StreamName": "s", "ShardCount": 2 })).await
}

fn refused(answer: &Answer, code: &str, message: &str) {
    assert_eq!((answer.status, answer.code(), answer.message()), (400, code, message), "{answer:?}");
}

/// The first of `most` answers that is no success.
async fn until_refused(house: &House, most: usize, operation: &str, body: Value) -> Answer {
    for _ in 0..most {
        let answer = house.kinesis(operation, body.clone()).await;
        if answer.status != 200 {
            return answer;
        }
    }
    panic!("{operation} was never refused");
}

/// Calls until the rate of a second allows it.
async fn slowly(house: &House, operation: &str, body: Value) -> Answer {
    loop {
        let answer = house.kinesis(operation, body.clone()).await;
        if answer.message() != "Rate exceeded for account 123456789012." {
            return answer;
        }
    }
}

#[tokio::test]
async fn iterators_of_a_shard_are_given_as_often_as_at_aws() {
    let house = like_aws().await;
    let body = json!({ "StreamName": "s", "ShardId": "shardId-000000000000", "ShardIteratorType": "LATEST" });
    // A bucket of five that fills by five a second; the machine may be slow, but not as slow as that.
    let answer = until_refused(&house, 1000, "GetShardIterator", body).await;
    let text = format!("Rate exceeded for shard shardId-000000000000 in {STREAM}.");
    refused(&answer, "ProvisionedThroughputExceededException", &text);
    house.close().await;
}

#[tokio::test]
async fn delivery_streams_are_managed_as_often_as_at_aws() {
    let house = like_aws().await;
    for _ in 0..1000 {
        let answer = house.call("ListDeliveryStreams", &json!({})).await;
        if answer.status != 200 {
            let text =
                "Please slow down. Max limit of 5 RPS has breached for ListDeliveryStreams of account 123456789012.";
            refused(&answer, "ThrottlingException", text);
            let put = json!({ "DeliveryStreamName": "demo", "Record": { "Data": "eA==" } });
            assert_eq!(house.call("PutRecord", &put).await.status, 200, "puts are no such calls");
            return house.close().await;
        }
    }
    panic!("never refused");
}

#[tokio::test]
async fn changes_of_a_day_are_counted_when_they_were_made() {
    let house = like_aws().await;
    let to = |count: u32| json!({ "StreamName": "s", "TargetShardCount": count, "ScalingType": "UNIFORM_SCALING" });
    for count in [3, 2].into_iter().cycle().take(10) {
        assert_eq!(slowly(&house, "UpdateShardCount", to(count)).await.status, 200);
        let wrong = slowly(&house, "UpdateShardCount", to(9)).await;
        assert_eq!(wrong.code(), "LimitExceededException", "more than twice as many, and not counted: {wrong:?}");
    }
    let text = |operation: &str, most: u32| {
        format!("{operation} was called {most} times within 24 hours for {STREAM}, which is the limit.")
    };
    let most = text("UpdateShardCount", 10);
    refused(&slowly(&house, "UpdateShardCount", to(3)).await, "LimitExceededException", &most);
    let mode = |mode: &str| json!({ "StreamARN": ARN, "StreamModeDetails": { "StreamMode": mode } });
    for name in ["PROVISIONED", "ON_DEMAND", "ON_DEMAND", "PROVISIONED", "PROVISIONED"] {
        assert_eq!(house.kinesis("UpdateStreamMode", mode(name)).await.status, 200, "two of them switch");
    }
    let most = text("UpdateStreamMode", 2);
    refused(&house.kinesis("UpdateStreamMode", mode("ON_DEMAND")).await, "LimitExceededException", &most);
    let key = json!({ "StreamName": "s", "EncryptionType": "KMS", "KeyId": "alias/aws/kinesis" });
    for operation in ["StartStreamEncryption", "StopStreamEncryption"] {
        let answer = until_refused(&house, 26, operation, key.clone()).await;
        refused(&answer, "LimitExceededException", &text(operation, 25));
    }
    house.later(DAY);
    let tomorrow = Signer { date: "20240116T120000Z", ..GOOD };
    for (operation, body) in [("UpdateStreamMode", mode("ON_DEMAND")), ("StopStreamEncryption", key)] {
        let answer = send(house.addr, &tomorrow.kinesis(operation, body.to_string().as_bytes())).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    house.close().await;
}

async fn open_shards(house: &House) -> Value {
    let about = house.kinesis("DescribeStreamSummary", json!({ "StreamName": "s" })).await;
    about.body["StreamDescriptionSummary"]["OpenShardCount"].clone()
}

#[tokio::test]
async fn an_on_demand_stream_that_is_busy_gets_more_shards() {
    let limits = KinesisLimits { shard_bytes_in: Some(1000), shards: Some(10), ..Default::default() };
    let made = json!({ "StreamName": "s", "StreamModeDetails": { "StreamMode": "ON_DEMAND" } });
    let house = with_stream(limits, made).await;
    // A record that is larger than a full bucket goes through: more in a minute than half of what four shards take.
    let put = json!({ "StreamName": "s", "Data": "A".repeat(200_000), "PartitionKey": "k" });
    assert_eq!(house.kinesis("PutRecord", put.clone()).await.status, 200);
    assert_eq!(open_shards(&house).await, json!(4));
    house.later(Duration::from_secs(60));
    let small = json!({ "StreamName": "s", "Data": "eA==", "PartitionKey": "k", "ExplicitHashKey": "0" });
    assert_eq!(house.kinesis("PutRecord", small.clone()).await.status, 200);
    let doubled = async {
        while open_shards(&house).await != json!(8) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), doubled).await.expect("twice as many shards");
    house.close().await;
}
