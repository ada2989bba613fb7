//! HTTP/2 with prior knowledge: what works, and what one client may take.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use hydrant_ingest::Limits;
use hyper::body::{Body, Frame};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::GOOD;
use crate::house::House;

const TARGET: &str = "Firehose_20150804.PutRecord";
const ONE: &[u8] = br#"{"DeliveryStreamName":"demo","Record":{"Data":"aGVsbG8K"}}"#;

pub(crate) async fn open<B>(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> SendRequest<B>
where
    B: Body<Data = Bytes, Error = std::io::Error> + Send + Unpin + 'static,
{
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn connect<B>(addr: SocketAddr) -> SendRequest<B>
where
    B: Body<Data = Bytes, Error = std::io::Error> + Send + Unpin + 'static,
{
    open(TcpStream::connect(addr).await.unwrap()).await
}

pub(crate) type Whole =
    http_body_util::combinators::MapErr<Full<Bytes>, fn(std::convert::Infallible) -> std::io::Error>;

pub(crate) fn whole(body: &[u8]) -> Whole {
    Full::new(Bytes::copy_from_slice(body)).map_err(|never| match never {})
}

pub(crate) fn signed<B>(body: &[u8], sent: B) -> Request<B> {
    let mut request = Request::post("http://localhost/");
    for (name, value) in GOOD.headers("firehose", TARGET, body) {
        request = request.header(name, value);
    }
    request.body(sent).unwrap()
}

pub(crate) async fn send<B>(sender: &mut SendRequest<B>, request: Request<B>) -> (StatusCode, Value)
where
    B: Body<Data = Bytes, Error = std::io::Error> + Send + Unpin + 'static,
{
    sender.ready().await.unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn many_requests_share_a_connection_and_are_signed_for_its_authority() {
    let house = House::open().await;
    let sender = connect(house.addr).await;
    let puts = (0..100).map(|_| {
        let mut sender = sender.clone();
        async move { send(&mut sender, signed(ONE, whole(ONE))).await }
    });
    for (status, answer) in futures::future::join_all(puts).await {
        assert_eq!((status, &answer["Encrypted"]), (StatusCode::OK, &Value::Bool(false)), "{answer}");
    }
    assert_eq!((house.counters.connections(), house.counters.accepted_records()), (1, 100));
    let mut elsewhere = signed(ONE, whole(ONE));
    *elsewhere.uri_mut() = "http://elsewhere/".parse().unwrap();
    let (_, answer) = send(&mut sender.clone(), elsewhere).await;
    assert_eq!(answer["__type"], "InvalidSignatureException");
    house.close().await;
}

#[tokio::test]
async fn an_authority_and_a_host_that_differ_are_refused() {
    let house = House::open().await;
    let mut sender = connect(house.addr).await;
    for (host, code) in [("localhost", Value::Null), ("elsewhere", "InvalidSignatureException".into())] {
        let mut request = signed(ONE, whole(ONE));
        request.headers_mut().insert("host", host.parse().unwrap());
        assert_eq!(send(&mut sender, request).await.1["__type"], code);
    }
    // A signature for the header is none for the authority.
    let mut request = signed(ONE, whole(ONE));
    *request.uri_mut() = "http://elsewhere/".parse().unwrap();
    request.headers_mut().insert("host", "localhost".parse().unwrap());
    assert_eq!(send(&mut sender, request).await.1["__type"], "InvalidSignatureException");
    house.close().await;
}

#[tokio::test]
async fn what_is_too_large_spoils_its_own_stream_only() {
    let house = House::open().await;
    let mut sender = connect(house.addr).await;
    let large = vec![b' '; (8 << 20) + 1];
    let (status, answer) = send(&mut sender, signed(ONE, whole(&large))).await;
    assert_eq!((status, &answer["__type"]), (StatusCode::PAYLOAD_TOO_LARGE, &"RequestEntityTooLargeException".into()));
    let mut bomb = signed(ONE, whole(ONE));
    for count in 0..100 {
        let name: http::HeaderName = format!("x-{count}").parse().unwrap();
        bomb.headers_mut().insert(name, "x".repeat(1000).parse().unwrap());
    }
    sender.ready().await.unwrap();
    let refused = sender.send_request(bomb).await;
    assert!(refused.is_err() || refused.unwrap().status() == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    assert_eq!(send(&mut sender, signed(ONE, whole(ONE))).await.0, StatusCode::OK);
    assert_eq!(house.counters.connections(), 1);
    house.close().await;
}

#[tokio::test]
async fn a_slow_body_is_given_up_and_its_neighbours_are_not() {
    let limits = Limits { body_timeout: Duration::from_millis(200), ..Limits::default() };
    let house = House::with(limits, 1 << 20).await;
    let sender = connect(house.addr).await;
    let stalled = StreamBody::new(futures::stream::pending::<Result<Frame<Bytes>, std::io::Error>>());
    let quick = StreamBody::new(futures::stream::iter([Ok(Frame::data(Bytes::from_static(ONE)))]));
    let boxed = [signed(ONE, stalled.boxed()), signed(ONE, quick.boxed())];
    let sent = boxed.map(|request| {
        let mut sender = sender.clone();
        async move { send(&mut sender, request).await.0 }
    });
    let statuses = futures::future::join_all(sent).await;
    assert_eq!(statuses, [StatusCode::REQUEST_TIMEOUT, StatusCode::OK]);
    house.close().await;
}

/// Reads until the server has closed the connection.
async fn closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut read = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut read)).await.expect("it is closed");
    read
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

#[tokio::test]
async fn streams_that_are_reset_at_once_end_the_connection() {
    let house = House::open().await;
    let mut stream = TcpStream::connect(house.addr).await.unwrap();
    stream.write_all(&[PREFACE, SETTINGS].concat()).await.unwrap();
    let mut frames = Vec::new();
    for id in (1_u32..2001).step_by(2) {
        // HEADERS with `:method: POST`, `:scheme: http`, `:path: /`, and RST_STREAM with CANCEL.
        frames.extend([&[0, 0, 3, 1, 4][..], &id.to_be_bytes(), &[0x83, 0x86, 0x84]].concat());
        frames.extend([&[0, 0, 4, 3, 0][..], &id.to_be_bytes(), &[0, 0, 0, 8]].concat());
    }
    let _ = stream.write_all(&frames).await;
    let told = closed(&mut stream).await;
    // The last frame is a GOAWAY with ENHANCE_YOUR_CALM, unless the reset of the connection was quicker.
    assert!(told.windows(4).any(|code| code == [0, 0, 0, 11]) || told.len() < 100, "{told:?}");
    assert_eq!(send(&mut connect(house.addr).await, signed(ONE, whole(ONE))).await.0, StatusCode::OK);
    house.close().await;
}

#[tokio::test]
async fn connections_without_a_request_are_closed() {
    let limits = Limits { head_timeout: Duration::from_millis(100), ..Limits::default() };
    let house = House::with(limits, 1 << 20).await;
    for sent in [&PREFACE[..10], PREFACE, &[PREFACE, SETTINGS].concat()] {
        let mut stream = TcpStream::connect(house.addr).await.unwrap();
        stream.write_all(sent).await.unwrap();
        closed(&mut stream).await;
    }
    house.close().await;
}
