//! What is refused: the code, the text, and that nothing of it was stored.

use std::time::Duration;

use hydrant_ingest::{Limits, Refusal};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::client::{GOOD, Signer, read};
use crate::house::House;

const ONE: &str = r#"{"DeliveryStreamName":"demo","Record":{"Data":"aGVsbG8K"}}"#;

fn batch(count: usize, data_bytes: usize) -> Vec<u8> {
    let data = base64_simd::STANDARD.encode_to_string(vec![b'x'; data_bytes]);
    let records: Vec<Value> = vec![json!({ "Data": data }); count];
    json!({ "DeliveryStreamName": "demo", "Records": records }).to_string().into_bytes()
}

#[tokio::test]
async fn callers_that_are_not_known_good() {
    let house = House::open().await;
    let wrong_key = Signer { key: "AKIDOTHER", ..GOOD };
    house.refuses(&wrong_key.request("PutRecord", ONE.as_bytes()), 400, "UnrecognizedClientException").await;
    let wrong_secret = Signer { secret: "guess", ..GOOD };
    house.refuses(&wrong_secret.request("PutRecord", ONE.as_bytes()), 400, "InvalidSignatureException").await;
    let late = Signer { date: "20240115T114459Z", ..GOOD };
    let answer = house.refuses(&late.request("PutRecord", ONE.as_bytes()), 400, "InvalidSignatureException").await;
    assert!(answer.message().starts_with("Signature expired: 20240115T114459Z"), "{answer:?}");
    let unsigned =
        String::from_utf8(GOOD.request("PutRecord", ONE.as_bytes())).unwrap().replace("Authorization", "X-Other");
    house.refuses(unsigned.as_bytes(), 400, "MissingAuthenticationTokenException").await;
    assert_eq!(house.counters.refused(Refusal::Authentication), 4);
    house.close().await;
}

#[tokio::test]
async fn requests_that_break_the_shape() {
    let house = House::open().await;
    let cases: [(&str, Vec<u8>, &str); 10] = [
        ("PutRecord", ONE.replace("demo", "nobody").into_bytes(), "ResourceNotFoundException"),
        ("PutRecord", ONE.replace("aGVsbG8K", "a*VsbG8K").into_bytes(), "SerializationException"),
        ("PutRecord", ONE.as_bytes()[..30].to_vec(), "SerializationException"),
        ("PutRecord", b"[]".to_vec(), "SerializationException"),
        ("PutRecordBatch", batch(501, 1), "ValidationException"),
        ("PutRecordBatch", batch(1, 1_024_001), "ValidationException"),
        ("PutRecordBatch", batch(5, 900_000), "InvalidArgumentException"),
        ("UpdateDestination", b"{}".to_vec(), "ValidationException"),
        ("Nonsense", b"{}".to_vec(), "UnknownOperationException"),
        ("DescribeDeliveryStream", br#"{"DeliveryStreamName":7}"#.to_vec(), "SerializationException"),
    ];
    for (operation, body, code) in cases {
        house.refuses(&GOOD.request(operation, &body), 400, code).await;
    }
    let fits = house.call("PutRecordBatch", &serde_json::from_slice(&batch(4, 1_024_000)).unwrap()).await;
    assert_eq!(fits.status, 200);
    house.close().await;
}

#[tokio::test]
async fn requests_that_are_not_for_this_server() {
    let house = House::open().await;
    let good = String::from_utf8(GOOD.request("PutRecord", ONE.as_bytes())).unwrap();
    let untargeted = good.replace("X-Amz-Target", "X-Target").replace("x-amz-json-1.1", "xml");
    let methods = ["GET", "PUT", "DELETE", "PATCH"].map(|method| good.replacen("POST", method, 1));
    for request in methods.iter().chain([&untargeted]) {
        let answer = house.refuses(request.as_bytes(), 403, "").await;
        let text = "<AccessDeniedException>\n  <Message>Unable to determine service/operation name to be authorized</Message>\n\
                    </AccessDeniedException>\n";
        assert_eq!(String::from_utf8_lossy(&answer.bytes), text, "{request}");
        assert!(answer.head.to_ascii_lowercase().contains("content-type: application/xml"), "{}", answer.head);
    }
    house.refuses(good.replace("x-amz-json-1.1", "xml").as_bytes(), 404, "UnknownOperationException").await;
    let encoded = good.replace("Host:", "Content-Encoding: gzip\r\nHost:");
    house.refuses(encoded.as_bytes(), 400, "SerializationException").await;
    // A body that is no JSON is told before a signature that is wrong, as at AWS.
    let wrong = Signer { secret: "guess", ..GOOD };
    house.refuses(&wrong.request("PutRecord", b"{"), 400, "SerializationException").await;
    house.close().await;
}

#[tokio::test]
async fn bodies_over_the_cap_are_answered_and_the_connection_is_closed() {
    let house = House::open().await;
    let large = vec![b' '; (8 << 20) + 1];
    let answer = house.refuses(&GOOD.request("PutRecord", &large), 413, "RequestEntityTooLargeException").await;
    assert!(answer.head.to_ascii_lowercase().contains("connection: close"), "{}", answer.head);
    // Without a length, it is found out on the way.
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n800001\r\n";
    let chunked = [head.as_bytes(), &large, b"\r\n0\r\n\r\n"].concat();
    house.refuses(&chunked, 413, "RequestEntityTooLargeException").await;
    house.close().await;
}

#[tokio::test]
async fn no_memory_is_a_503_that_tells_to_slow_down() {
    let house = House::with(Limits::default(), 100).await;
    let answer = house.refuses(&GOOD.request("PutRecord", ONE.as_bytes()), 503, "ServiceUnavailableException").await;
    assert_eq!(answer.message(), "Slow down.");
    house.close().await;
}

#[tokio::test]
async fn a_failed_log_is_a_503_that_tells_why() {
    let house = House::open().await;
    house.log.close().unwrap();
    let answer = house.refuses(&GOOD.request("PutRecord", ONE.as_bytes()), 503, "ServiceUnavailableException").await;
    assert_eq!(answer.message(), "the log is closed");
    assert_eq!(house.counters.refused(Refusal::LogFailed), 1);
    house.close().await;
}

#[tokio::test]
async fn slow_heads_and_slow_bodies_are_given_up() {
    let short = Duration::from_millis(200);
    let house = House::with(Limits { head_timeout: short, body_timeout: short, ..Limits::default() }, 1 << 20).await;
    let request = GOOD.request("PutRecord", ONE.as_bytes());
    let mut head = TcpStream::connect(house.addr).await.unwrap();
    head.write_all(&request[..40]).await.unwrap();
    assert!(read(&mut head).await.is_none_or(|answer| answer.status == 408));
    let mut body = TcpStream::connect(house.addr).await.unwrap();
    body.write_all(&request[..request.len() - 5]).await.unwrap();
    let answer = read(&mut body).await.unwrap();
    assert_eq!((answer.status, answer.code()), (408, "RequestTimeoutException"));
    assert_eq!(house.log.last(), None);
    house.close().await;
}

#[tokio::test]
async fn heads_are_bounded() {
    let house = House::open().await;
    let long = format!("POST / HTTP/1.1\r\nHost: localhost\r\nX-Long: {}\r\n\r\n", "x".repeat(100 << 10));
    let mut stream = TcpStream::connect(house.addr).await.unwrap();
    let _ = stream.write_all(long.as_bytes()).await;
    assert!(read(&mut stream).await.is_none_or(|answer| answer.status == 431));
    house.close().await;
}
