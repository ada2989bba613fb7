//! Who may do what, asked by the server itself.

use hydrant_ingest::Refusal;
use serde_json::{Value, json};

use crate::client::{Answer, GOOD, READER, Signer, send};
use crate::house::House;

async fn call(house: &House, by: &Signer, operation: &str, body: &Value) -> Answer {
    send(house.addr, &by.kinesis(operation, body.to_string().as_bytes())).await
}

fn denied(answer: &Answer) -> bool {
    (answer.status, answer.code()) == (400, "AccessDeniedException")
}

#[tokio::test]
async fn a_bound_credential_may_do_what_it_is_allowed() {
    let house = House::open().await;
    let one = json!({ "DeliveryStreamName": "demo", "Record": { "Data": "YQ==" } }).to_string();
    let answer = house.refuses(&READER.request("PutRecord", one.as_bytes()), 400, "AccessDeniedException").await;
    assert!(answer.message().contains("firehose:PutRecord on resource: arn:aws:firehose:us-east-1:"), "{answer:?}");
    // A stream that is not there is not told of.
    let nobody = one.replace("demo", "nobody");
    house.refuses(&READER.request("PutRecord", nobody.as_bytes()), 400, "AccessDeniedException").await;
    // Nor is a record that is wrong.
    house.refuses(&READER.request("PutRecord", br#"{"Record":7}"#), 400, "AccessDeniedException").await;
    house.refuses(&READER.request("ListDeliveryStreams", b"{}"), 400, "AccessDeniedException").await;
    let described = READER.request("DescribeDeliveryStream", br#"{"DeliveryStreamName":"demo"}"#);
    assert_eq!(send(house.addr, &described).await.status, 200);
    assert_eq!(house.counters.refused(Refusal::Denied), 4);
    house.close().await;
}

#[tokio::test]
async fn the_policy_of_a_stream_is_asked_for_its_records_and_its_iterators() {
    let house = House::open().await;
    let name = json!({ "StreamName": "s" });
    let made = call(&house, &GOOD, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 })).await;
    assert_eq!(made.status, 200, "{made:?}");
    let put = json!({ "StreamName": "s", "Data": "YQ==", "PartitionKey": "k" });
    let first = json!({ "StreamName": "s", "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON" });
    let iterator = call(&house, &GOOD, "GetShardIterator", &first).await.body["ShardIterator"].clone();
    let get = json!({ "ShardIterator": iterator });
    for (operation, body) in [("PutRecord", &put), ("GetShardIterator", &first), ("GetRecords", &get)] {
        assert!(denied(&call(&house, &READER, operation, body).await), "{operation}");
    }
    assert_eq!(call(&house, &READER, "DescribeStream", &name).await.status, 200);

    let arn = "arn:aws:kinesis:us-east-1:123456789012:stream/s";
    let policy = |effect: &str, user: &str, action: &str| {
        let principal = format!("arn:aws:iam::123456789012:user/{user}");
        let statement =
            json!({ "Effect": effect, "Principal": { "AWS": principal }, "Action": action, "Resource": arn });
        json!({ "ResourceARN": arn, "Policy": json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string() })
    };
    let set = call(&house, &GOOD, "PutResourcePolicy", &policy("Allow", READER.key, "kinesis:Get*")).await;
    assert_eq!(set.status, 200, "{set:?}");
    assert_eq!(call(&house, &READER, "GetShardIterator", &first).await.status, 200);
    assert_eq!(call(&house, &READER, "GetRecords", &get).await.status, 200);
    assert!(denied(&call(&house, &READER, "PutRecord", &put).await));

    let set = call(&house, &GOOD, "PutResourcePolicy", &policy("Deny", GOOD.key, "kinesis:PutRecord")).await;
    assert_eq!(set.status, 200, "{set:?}");
    let refused = call(&house, &GOOD, "PutRecord", &put).await;
    assert!(denied(&refused) && refused.message().ends_with("in a resource-based policy"), "{refused:?}");
    assert_eq!(call(&house, &GOOD, "GetRecords", &get).await.status, 200);
    let everybody = json!({ "Effect": "Deny", "Principal": "*", "Action": "*" });
    let closed = json!({ "ResourceARN": arn, "Policy": json!({ "Statement": everybody }).to_string() });
    assert_eq!(call(&house, &GOOD, "PutResourcePolicy", &closed).await.status, 200);
    assert!(
        denied(&call(&house, &GOOD, "GetRecords", &get).await)
            && denied(&call(&house, &GOOD, "DeleteStream", &name).await)
    );
    let on = json!({ "ResourceARN": arn });
    assert!(denied(&call(&house, &READER, "DeleteResourcePolicy", &on).await));
    assert_eq!(call(&house, &GOOD, "GetResourcePolicy", &on).await.body["Policy"], closed["Policy"]);
    assert_eq!(call(&house, &GOOD, "DeleteResourcePolicy", &on).await.status, 200);
    assert_eq!(call(&house, &GOOD, "GetRecords", &get).await.status, 200);
    let strange = json!({ "ResourceARN": arn, "Policy": policy("Maybe", "A", "*")["Policy"] });
    let refused = call(&house, &GOOD, "PutResourcePolicy", &strange).await;
    assert_eq!((refused.status, refused.code()), (400, "InvalidArgumentException"));
    house.close().await;
}
