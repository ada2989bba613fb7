//! Clients that ask and never take the answer: they are cut off, and the next one is served.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hydrant_ingest::Limits;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};

use crate::client::GOOD;
use crate::house::House;
use crate::http2::{self, whole};

const PATIENCE: Duration = Duration::from_millis(300);
/// Far more, so that a slow machine fails no test.
const LONG: Duration = Duration::from_secs(60);

/// A house with a stream of 9 MB, and the call that gets it.
async fn filled() -> (House, Value) {
    let house = House::with(Limits { write_timeout: PATIENCE, ..Limits::default() }, 64 << 20).await;
    assert_eq!(house.kinesis("CreateStream", json!({ "StreamName": "s", "ShardCount": 1 })).await.status, 200);
    let record = json!({ "Data": "A".repeat(1_000_000), "PartitionKey": "k" });
    for _ in 0..2 {
        let put = json!({ "StreamName": "s", "Records": vec![record.clone(); 6] });
        let answer = house.kinesis("PutRecords", put).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let first = json!({ "StreamName": "s", "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON" });
    let iterator = house.kinesis("GetShardIterator", first).await.body["ShardIterator"].clone();
    (house, json!({ "ShardIterator": iterator }))
}

#[tokio::test]
async fn a_client_that_never_reads_is_cut_off() {
    let (house, get) = filled().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(house.addr).await.unwrap();
    stream.write_all(&GOOD.kinesis("GetRecords", get.to_string().as_bytes())).await.unwrap();
    // What is sent behind the request is not read while the answer waits, so this ends when the connection does.
    let until_refused = async { while stream.write_all(&[b'x'; 4096]).await.is_ok() {} };
    tokio::time::timeout(LONG, until_refused).await.expect("the connection is ended");
    assert_eq!(house.kinesis("GetRecords", get).await.status, 200);
    house.close().await;
}

/// A connection that gives each answer so much room, and all together that much.
async fn with_windows(house: &House, each: u32, all: u32) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(house.addr).await.unwrap();
    let (sender, connection) = Builder::new(TokioExecutor::new())
        .initial_connection_window_size(all)
        .initial_stream_window_size(each)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

fn kinesis(operation: &str, body: &Value) -> hyper::Request<Full<Bytes>> {
    let body = body.to_string();
    let mut request = hyper::Request::post("http://localhost/");
    for (name, value) in GOOD.headers("kinesis", &format!("Kinesis_20131202.{operation}"), body.as_bytes()) {
        request = request.header(name, value);
    }
    request.body(Full::new(body.into())).unwrap()
}

#[tokio::test]
async fn a_client_whose_windows_stay_shut_is_cut_off() {
    let (house, get) = filled().await;
    let mut sender = with_windows(&house, 65_535, 65_535).await;
    let mut answers = Vec::new();
    for _ in 0..2 {
        sender.ready().await.unwrap();
        answers.push(sender.send_request(kinesis("GetRecords", &get)).await.unwrap());
    }
    let cut_off = async {
        while sender.ready().await.is_ok() && !sender.is_closed() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, cut_off).await.expect("the connection is ended");
    for answer in answers {
        assert!(answer.into_body().collect().await.is_err(), "no answer is whole");
    }
    let mut other = http2::open(TcpStream::connect(house.addr).await.unwrap()).await;
    let put = br#"{"DeliveryStreamName":"demo","Record":{"Data":"aGVsbG8K"}}"#;
    assert_eq!(http2::send(&mut other, http2::signed(put, whole(put))).await.0, 200);
    house.close().await;
}

/// Some of the answer is taken, and what comes on other streams is taken, too.
#[tokio::test]
async fn a_client_that_shuts_the_window_of_one_answer_is_cut_off() {
    let (house, get) = filled().await;
    let mut sender = with_windows(&house, 100_000, 64 << 20).await;
    sender.ready().await.unwrap();
    let shut = sender.send_request(kinesis("GetRecords", &get)).await.unwrap();
    let others = async {
        while sender.ready().await.is_ok() {
            let Ok(answer) = sender.send_request(kinesis("ListStreams", &json!({}))).await else { return };
            let _ = answer.into_body().collect().await;
        }
    };
    tokio::time::timeout(LONG, others).await.expect("the connection is ended");
    assert!(shut.into_body().collect().await.is_err(), "the answer is not whole");
    house.close().await;
}
