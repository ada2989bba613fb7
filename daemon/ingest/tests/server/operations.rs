//! What works.

use hydrant_ingest::record_id;
use hydrant_record::{Lsn, StreamId};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::client::{GOOD, Signer, read, send};
use crate::house::{House, s3_request};

#[tokio::test]
async fn records_are_stored_before_the_reply_and_named_by_it() {
    let house = House::open().await;
    let one = house.call("PutRecord", &json!({ "DeliveryStreamName": "demo", "Record": { "Data": "aGVsbG8K" } })).await;
    assert_eq!((one.status, &one.body["Encrypted"]), (200, &json!(false)), "{one:?}");
    let head = one.head.to_ascii_lowercase();
    for header in ["x-amzn-requestid: ", "x-amz-id-2: ", "date: ", "content-type: application/x-amz-json-1.1"] {
        assert!(head.contains(header), "{head}");
    }
    let batch =
        json!({ "DeliveryStreamName": "demo", "Records": [{ "Data": "YQ==" }, { "Data": "" }, { "Data": "Yg==" }] });
    let answer = house.call("PutRecordBatch", &batch).await;
    assert_eq!(answer.body["FailedPutCount"], 0, "{answer:?}");
    let replies = answer.body["RequestResponses"].as_array().unwrap();
    let named: Vec<_> =
        replies.iter().map(|reply| record_id::decode(reply["RecordId"].as_str().unwrap()).unwrap()).collect();
    let stored = house.log.tail(None).next(1 << 20).unwrap().unwrap().into_records();
    let data: Vec<&[u8]> = stored.iter().map(|record| &record.data[..]).collect();
    assert_eq!(data, [&b"hello\n"[..], b"a", b"", b"b"]);
    for (place, (stream, identity)) in named.into_iter().enumerate() {
        assert_eq!((stream, identity.log), (StreamId([1; 16]), house.log.id()));
        assert_eq!((identity.lsn, identity.epoch), (stored[place + 1].lsn, stored[place + 1].epoch));
    }
    assert_eq!((house.counters.accepted_records(), house.counters.accepted_bytes()), (4, 8));
    house.close().await;
}

#[tokio::test]
async fn a_connection_is_kept_and_closed_when_the_server_stops() {
    let house = House::open().await;
    let body = json!({ "DeliveryStreamName": "demo", "Record": { "Data": "YQ==" } }).to_string();
    let mut stream = TcpStream::connect(house.addr).await.unwrap();
    for round in 1..=3 {
        stream.write_all(&GOOD.request("PutRecord", body.as_bytes())).await.unwrap();
        assert_eq!(read(&mut stream).await.unwrap().status, 200);
        assert_eq!(house.log.last(), Lsn::new(round));
    }
    assert_eq!(house.counters.connections(), 1);
    house.close().await;
    assert!(read(&mut stream).await.is_none());
}

#[tokio::test]
async fn a_stream_is_created_described_listed_and_deleted() {
    let house = House::open().await;
    let created = house.call("CreateDeliveryStream", &s3_request("made")).await;
    let arn = "arn:aws:firehose:us-east-1:123456789012:deliverystream/made";
    assert_eq!((created.status, &created.body["DeliveryStreamARN"]), (200, &json!(arn)), "{created:?}");
    let again = house.call("CreateDeliveryStream", &s3_request("made")).await;
    assert_eq!(
        (again.code(), again.message()),
        ("ResourceInUseException", "Firehose made under accountId 123456789012 already exists")
    );
    let taken = house.call("CreateDeliveryStream", &s3_request("demo")).await;
    assert_eq!(taken.code(), "ResourceInUseException");

    let description = &house.call("DescribeDeliveryStream", &json!({ "DeliveryStreamName": "made" })).await.body["DeliveryStreamDescription"];
    assert_eq!((&description["DeliveryStreamStatus"], &description["VersionId"]), (&json!("ACTIVE"), &json!("1")));
    assert_eq!(description["CreateTimestamp"], json!(1_705_320_000.123));
    let destination = &description["Destinations"][0];
    assert_eq!(destination["DestinationId"], "destinationId-000000000001");
    for kind in ["S3DestinationDescription", "ExtendedS3DestinationDescription"] {
        assert_eq!(destination[kind]["BucketARN"], "arn:aws:s3:::logs");
        assert_eq!(destination[kind]["BufferingHints"], json!({ "SizeInMBs": 5, "IntervalInSeconds": 300 }));
    }
    assert_eq!(destination["ExtendedS3DestinationDescription"]["S3BackupMode"], "Disabled");

    let put = json!({ "DeliveryStreamName": "made", "Record": { "Data": "YQ==" } });
    assert_eq!(house.call("PutRecord", &put).await.status, 200);
    let elsewhere = Signer { region: "eu-west-1", ..GOOD };
    let missing = house
        .refuses(&elsewhere.request("PutRecord", put.to_string().as_bytes()), 400, "ResourceNotFoundException")
        .await;
    assert_eq!(missing.message(), "Firehose made not found under account 123456789012.");

    assert_eq!(
        house.call("ListDeliveryStreams", &json!({ "Limit": 1 })).await.body,
        json!({ "DeliveryStreamNames": ["demo"], "HasMoreDeliveryStreams": true })
    );
    let rest = json!({ "ExclusiveStartDeliveryStreamName": "demo" });
    assert_eq!(
        house.call("ListDeliveryStreams", &rest).await.body,
        json!({ "DeliveryStreamNames": ["made"], "HasMoreDeliveryStreams": false })
    );

    let name = json!({ "DeliveryStreamName": "made" });
    assert_eq!(house.call("DeleteDeliveryStream", &name).await.body, json!({}));
    assert_eq!(house.call("PutRecord", &put).await.code(), "ResourceNotFoundException");
    house.close().await;
}

#[tokio::test]
async fn a_stream_from_yaml_is_described_and_not_deleted() {
    let house = House::open().await;
    let name = json!({ "DeliveryStreamName": "demo" });
    let answer = house.call("DescribeDeliveryStream", &name).await;
    let s3 = &answer.body["DeliveryStreamDescription"]["Destinations"][0]["ExtendedS3DestinationDescription"];
    assert_eq!(
        (&s3["BucketARN"], &s3["CompressionFormat"]),
        (&json!("arn:aws:s3:::logs"), &json!("UNCOMPRESSED")),
        "{answer:?}"
    );
    let refused = house.call("DeleteDeliveryStream", &name).await;
    assert_eq!(refused.code(), "InvalidArgumentException");
    assert!(refused.message().contains("managed by YAML"), "{refused:?}");
    house.close().await;
}

#[tokio::test]
async fn many_producers_at_once_lose_nothing() {
    let house = House::open().await;
    let body = json!({ "DeliveryStreamName": "demo", "Records": vec![json!({ "Data": "YQ==" }); 100] }).to_string();
    let request = GOOD.request("PutRecordBatch", body.as_bytes());
    let calls = (0..20).map(|_| send(house.addr, &request));
    let answers = futures::future::join_all(calls).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(house.log.last(), Lsn::new(2000));
    assert_eq!(house.counters.accepted_records(), 2000);
    house.close().await;
}
