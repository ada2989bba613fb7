//! Kinesis Data Streams, as raw answers.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{Answer, GOOD, send};
use crate::house::House;

const FIRST: &str = "shardId-000000000000";

async fn with_stream(shards: u32) -> House {
    let house = House::open().await;
    let made = house.kinesis("CreateStream", json!({ "StreamName": "s", "ShardCount": shards })).await;
    assert_eq!((made.status, &made.body), (200, &Value::Null), "{made:?}");
    house
}

async fn iterator(house: &House, kind: &str) -> String {
    let body = json!({ "StreamName": "s", "ShardId": FIRST, "ShardIteratorType": kind });
    let answer = house.kinesis("GetShardIterator", body).await;
    answer.body["ShardIterator"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

fn refused(answer: &Answer, code: &str) {
    assert_eq!((answer.status, answer.code()), (400, code), "{answer:?}");
}

#[tokio::test]
async fn an_iterator_is_good_for_five_minutes_and_for_nobody_elses_region() {
    let house = with_stream(1).await;
    let iterator = json!({ "ShardIterator": iterator(&house, "TRIM_HORIZON").await });
    let elsewhere = crate::client::Signer { region: "eu-west-1", ..GOOD };
    let answer = send(house.addr, &elsewhere.kinesis("GetRecords", iterator.to_string().as_bytes())).await;
    refused(&answer, "InvalidArgumentException");
    house.later(Duration::from_secs(300));
    let answer = house.kinesis("GetRecords", iterator.clone()).await;
    assert_eq!(
        (answer.status, &answer.body["Records"], &answer.body["MillisBehindLatest"]),
        (200, &json!([]), &json!(0))
    );
    house.later(Duration::from_millis(1));
    let answer = house.kinesis("GetRecords", iterator).await;
    refused(&answer, "ExpiredIteratorException");
    assert!(
        answer.message().starts_with("Iterator expired. The iterator was created at time Mon Jan 15 12:00:00 UTC 2024")
    );
    house.close().await;
}

#[tokio::test]
async fn no_character_of_an_iterator_may_change() {
    let house = with_stream(1).await;
    let good = iterator(&house, "LATEST").await;
    for at in 0..good.len() {
        let other = if good.as_bytes()[at] == b'Q' { "g" } else { "Q" };
        let bad = format!("{}{other}{}", &good[..at], &good[at + 1..]);
        refused(&house.kinesis("GetRecords", json!({ "ShardIterator": bad })).await, "InvalidArgumentException");
    }
    let token = json!({ "NextToken": good });
    refused(&house.kinesis("ListShards", token).await, "InvalidArgumentException");
    house.close().await;
}

#[tokio::test]
async fn a_long_list_goes_on_where_it_stopped_until_its_token_is_too_old() {
    let house = with_stream(5).await;
    let first = house.kinesis("ListShards", json!({ "StreamName": "s", "MaxResults": 3 })).await;
    let token = &first.body["NextToken"];
    let rest = house.kinesis("ListShards", json!({ "NextToken": token })).await;
    let ids: Vec<&Value> = rest.body["Shards"].as_array().unwrap().iter().map(|shard| &shard["ShardId"]).collect();
    assert_eq!(ids, ["shardId-000000000003", "shardId-000000000004"]);
    let both = json!({ "NextToken": token, "StreamName": "s" });
    refused(&house.kinesis("ListShards", both).await, "InvalidArgumentException");
    house.later(Duration::from_secs(301));
    let late = house.kinesis("ListShards", json!({ "NextToken": token })).await;
    refused(&late, "ExpiredNextTokenException");
    house.close().await;
}

#[tokio::test]
async fn filters_give_every_key_once_at_any_time() {
    let house = with_stream(1).await;
    let put = json!({ "StreamName": "s", "Data": "eA==", "PartitionKey": "k" });
    assert_eq!(house.kinesis("PutRecord", put).await.status, 200);
    let middle = (u128::MAX / 2 + 1).to_string();
    let split = json!({ "StreamName": "s", "ShardToSplit": FIRST, "NewStartingHashKey": middle });
    assert_eq!(house.kinesis("SplitShard", split.clone()).await.status, 200);
    refused(&house.kinesis("SplitShard", split).await, "ResourceInUseException");
    let at = 1_705_320_000.123;
    let cases = [
        (json!({ "Type": "AT_LATEST" }), "12"),
        (json!({ "Type": "AT_TRIM_HORIZON" }), "0"),
        (json!({ "Type": "FROM_TRIM_HORIZON" }), "012"),
        (json!({ "Type": "AT_TIMESTAMP", "Timestamp": at }), "0"),
        (json!({ "Type": "AT_TIMESTAMP", "Timestamp": at + 10.0 }), "12"),
        (json!({ "Type": "AT_TIMESTAMP", "Timestamp": 0 }), "0"),
        (json!({ "Type": "FROM_TIMESTAMP", "Timestamp": at }), "012"),
        (json!({ "Type": "FROM_TIMESTAMP", "Timestamp": at + 10.0 }), "12"),
        (json!({ "Type": "AFTER_SHARD_ID", "ShardId": "shardId-000000000001" }), "2"),
    ];
    for (filter, expected) in cases {
        let answer = house.kinesis("ListShards", json!({ "StreamName": "s", "ShardFilter": filter })).await;
        let ids = answer.body["Shards"].as_array().unwrap_or_else(|| panic!("{filter}: {answer:?}"));
        let last: String = ids.iter().filter_map(|shard| shard["ShardId"].as_str()?.chars().last()).collect();
        assert_eq!(last, expected, "{filter}");
    }
    house.close().await;
}

#[tokio::test]
async fn a_dry_run_stores_nothing_and_what_is_not_built_says_so() {
    let house = with_stream(1).await;
    let put = json!({ "StreamName": "s", "Data": "eA==", "PartitionKey": "k", "DryRun": true });
    refused(&house.kinesis("PutRecord", put).await, "DryRunOperationException");
    let iterator = json!({ "ShardIterator": iterator(&house, "TRIM_HORIZON").await });
    assert_eq!(house.kinesis("GetRecords", iterator).await.body["Records"], json!([]));
    let answer = house.kinesis("CreateQueue", json!({})).await;
    refused(&answer, "InvalidArgumentException");
    assert_eq!(answer.message(), "CreateQueue is not supported by this version of Hydrant");
    refused(&house.kinesis("Subscribe", json!({})).await, "UnknownOperationException");
    let wrong = GOOD.request("ListDeliveryStreams", b"{}");
    let wrong = String::from_utf8(wrong)
        .unwrap()
        .replace("Firehose_20150804.ListDeliveryStreams", "Kinesis_20131202.ListStreams");
    refused(&send(house.addr, wrong.as_bytes()).await, "InvalidSignatureException");
    house.close().await;
}

#[tokio::test]
async fn a_token_of_consumers_is_good_for_five_minutes_and_for_its_stream() {
    let house = with_stream(1).await;
    let arn = |stream: &str| format!("arn:aws:kinesis:us-east-1:123456789012:stream/{stream}");
    for name in ["a", "b", "c"] {
        let body = json!({ "StreamARN": arn("s"), "ConsumerName": name });
        let made = house.kinesis("RegisterStreamConsumer", body).await;
        assert_eq!((made.status, &made.body["Consumer"]["ConsumerStatus"]), (200, &json!("ACTIVE")), "{made:?}");
    }
    let first = house.kinesis("ListStreamConsumers", json!({ "StreamARN": arn("s"), "MaxResults": 2 })).await;
    let token = &first.body["NextToken"];
    let next = json!({ "StreamARN": arn("s"), "NextToken": token });
    let rest = house.kinesis("ListStreamConsumers", next.clone()).await;
    let names: Vec<&Value> =
        [&first, &rest].iter().flat_map(|page| page.body["Consumers"].as_array().unwrap()).collect();
    let names: Vec<&Value> = names.iter().map(|one| &one["ConsumerName"]).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert!(rest.body.get("NextToken").is_none());
    assert_eq!(house.kinesis("CreateStream", json!({ "StreamName": "t", "ShardCount": 1 })).await.status, 200);
    for (stream, token) in [("t", token.clone()), ("s", json!("x"))] {
        let wrong = json!({ "StreamARN": arn(stream), "NextToken": token });
        refused(&house.kinesis("ListStreamConsumers", wrong).await, "InvalidArgumentException");
    }
    house.later(Duration::from_secs(301));
    refused(&house.kinesis("ListStreamConsumers", next).await, "ExpiredNextTokenException");
    house.close().await;
}

#[tokio::test]
async fn how_far_a_reader_is_behind_is_told_by_the_clock() {
    let house = with_stream(1).await;
    for _ in 0..2 {
        let put = json!({ "StreamName": "s", "Data": "eA==", "PartitionKey": "k" });
        assert_eq!(house.kinesis("PutRecord", put).await.status, 200);
    }
    house.later(Duration::from_secs(60));
    let from = iterator(&house, "TRIM_HORIZON").await;
    let first = house.kinesis("GetRecords", json!({ "ShardIterator": from, "Limit": 1 })).await;
    assert_eq!(first.body["MillisBehindLatest"], json!(60_000), "{first:?}");
    let second = house.kinesis("GetRecords", json!({ "ShardIterator": first.body["NextShardIterator"] })).await;
    assert_eq!((&second.body["MillisBehindLatest"], second.body["Records"].as_array().unwrap().len()), (&json!(0), 1));
    house.close().await;
}

#[tokio::test]
async fn the_head_of_an_event_stream_leaves_a_client_of_http_1_the_time_to_end_its_request() {
    let house = with_stream(1).await;
    let body = json!({ "StreamARN": "arn:aws:kinesis:us-east-1:123456789012:stream/s", "ConsumerName": "c" });
    let consumer = house.kinesis("RegisterStreamConsumer", body).await.body["Consumer"]["ConsumerARN"].clone();
    let from = json!({ "Type": "TRIM_HORIZON" });
    let body = json!({ "ConsumerARN": consumer, "ShardId": FIRST, "StartingPosition": from });
    let begun = Instant::now();
    let mut stream = TcpStream::connect(house.addr).await.unwrap();
    stream.write_all(&GOOD.kinesis("SubscribeToShard", body.to_string().as_bytes())).await.unwrap();
    let mut head = [0; 15];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    assert!(begun.elapsed() >= Duration::from_millis(20));
    drop(stream);
    house.close().await;
}
