//! Clients that ask and never take the answer: they are cut off, and the next one is served.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hydrant_ingest::Limits;
use hyper::client::conn::http2::Builder;
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

#[tokio::test]
async fn a_client_whose_windows_stay_shut_is_cut_off() {
    let (house, get) = filled().await;
    let stream = TcpStream::connect(house.addr).await.unwrap();
    let (mut sender, connection) = Builder::new(TokioExecutor::new())
        .initial_connection_window_size(65_535)
        .initial_stream_window_size(65_535)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let body = get.to_string();
    let mut answers = Vec::new();
    for _ in 0..2 {
        let mut request = hyper::Request::post("http://localhost/");
        for (name, value) in GOOD.headers("kinesis", "Kinesis_20131202.GetRecords", body.as_bytes()) {
            request = request.header(name, value);
        }
        let request = request.body(whole(body.as_bytes())).unwrap();
        sender.ready().await.unwrap();
        answers.push(sender.send_request(request).await.unwrap());
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
