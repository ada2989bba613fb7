//! Requests that no SDK sends. Each gets a clear refusal or a closed connection, nothing of it is stored, and the next client is
//! served.

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::client::{Answer, GOOD, Signer, read, send};
use crate::house::House;

const ONE: &str = r#"{"DeliveryStreamName":"demo","Record":{"Data":"aGVsbG8K"}}"#;

fn good() -> String {
    String::from_utf8(GOOD.request("PutRecord", ONE.as_bytes())).unwrap()
}

/// What the server answers before it closes, or answers at all.
async fn answers(house: &House, bytes: &[u8]) -> Vec<Answer> {
    let mut stream = TcpStream::connect(house.addr).await.unwrap();
    // The server may have closed before it read everything.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut answers = Vec::new();
    while let Some(answer) = read(&mut stream).await {
        answers.push(answer);
    }
    answers
}

async fn still_serves(house: &House, stored: u64) {
    assert_eq!(house.log.last().map_or(0, hydrant_record::Lsn::get), stored, "nothing of it is stored");
    let answer = send(house.addr, good().as_bytes()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn no_request_hides_in_another() {
    let house = House::open().await;
    let request = good();
    let length = format!("Content-Length: {}", ONE.len());
    let chunked = request.replace(&length, "Transfer-Encoding: chunked").replace(ONE, "");
    let with = |header: &str| request.replace("X-Amz-Date", &format!("{header}\r\nX-Amz-Date"));
    let chunks = |body: &str| format!("{chunked}{body}");
    let size = format!("{:x}", ONE.len());
    let hidden = format!("0\r\n\r\n{request}");
    let cases = [
        ("both lengths", with("Transfer-Encoding: chunked").replace(ONE, &hidden)),
        ("two lengths", with("Content-Length: 5")),
        ("a list of lengths", request.replace(&length, &format!("{length}, 5"))),
        ("a negative length", request.replace(&length, "Content-Length: -1")),
        ("a signed length", request.replace(&length, &format!("Content-Length: +{}", ONE.len()))),
        ("a huge length", request.replace(&length, "Content-Length: 99999999999999999999")),
        ("a length in hexadecimal", request.replace(&length, "Content-Length: 0x3b")),
        ("a space before the colon", request.replace("Content-Length:", "Content-Length :")),
        ("chunked not last", with("Transfer-Encoding: chunked, identity").replace(&length, "X-None: 1")),
        ("an unknown coding", with("Transfer-Encoding: xchunked").replace(&length, "X-None: 1")),
        ("a chunk size that is none", chunks(&format!("zz\r\n{ONE}\r\n0\r\n\r\n"))),
        ("a chunk size that overflows", chunks(&format!("fffffffffffffffff\r\n{ONE}\r\n0\r\n\r\n"))),
        ("a negative chunk size", chunks(&format!("-1\r\n{ONE}\r\n0\r\n\r\n"))),
        ("an empty chunk size", chunks(&format!("\r\n{ONE}\r\n0\r\n\r\n"))),
        ("a chunk longer than its size", chunks(&format!("5\r\n{ONE}\r\n0\r\n\r\n"))),
        ("a chunk shorter than its size", chunks(&format!("fff\r\n{ONE}\r\n0\r\n\r\n"))),
        ("no last chunk", chunks(&format!("{size}\r\n{ONE}\r\n"))),
        ("a bare line feed in the head", request.replacen("\r\nHost", "\n\nHost", 1)),
        ("a folded header", with("X-Folded: a\r\n b")),
        ("a null in the head", with("X-Null: a\0b")),
        ("no version", request.replacen(" HTTP/1.1", "", 1)),
        ("an unknown version", request.replacen("HTTP/1.1", "HTTP/3.0", 1)),
    ];
    for (name, bytes) in cases {
        assert_ne!(bytes, request, "{name}");
        let answers = answers(&house, bytes.as_bytes()).await;
        assert!(answers.iter().all(|answer| answer.status >= 400), "{name}: {answers:?}");
        assert_eq!(house.log.last(), None, "{name}");
    }
    let fine = chunks(&format!("{size};a=b\r\n{ONE}\r\n0\r\nX-Trailer: 1\r\n\r\n"));
    assert_eq!(answers(&house, fine.as_bytes()).await[0].status, 200);
    still_serves(&house, 1).await;
    house.close().await;
}

#[tokio::test]
async fn heads_that_explode_are_refused() {
    let house = House::open().await;
    let request = good();
    let with = |headers: String| request.replace("X-Amz-Date", &format!("{headers}X-Amz-Date"));
    for bytes in [
        with((0..1000).map(|n| format!("X-{n}: 1\r\n")).collect()),
        with("X: 1\r\n".repeat(1000)),
        with(format!("X-Long: {}\r\n", "x".repeat(1 << 20))),
        request.replacen("POST /", &format!("POST /{}", "a/".repeat(100_000)), 1),
        request.replacen("POST /", &format!("POST /?{}", "a=b&".repeat(20_000)), 1),
    ] {
        let answers = answers(&house, bytes.as_bytes()).await;
        assert!(answers.len() <= 1 && answers.iter().all(|answer| answer.status >= 400), "{answers:?}");
    }
    // Many signed headers cost no more than their bytes.
    let many = request.replace("SignedHeaders=", &format!("SignedHeaders={}", "a;".repeat(10_000)));
    assert!(answers(&house, many.as_bytes()).await.iter().all(|answer| answer.status >= 400));
    still_serves(&house, 0).await;
    house.close().await;
}

#[tokio::test]
async fn half_closed_and_broken_connections_store_what_was_whole() {
    let house = House::open().await;
    let request = good();
    // A client that has said everything may close its side.
    assert_eq!(answers(&house, request.as_bytes()).await.len(), 1);
    assert_eq!(house.log.last().unwrap().get(), 1);
    for cut in [1, 10, request.len() / 2, request.len() - 1] {
        let answers = answers(&house, &request.as_bytes()[..cut]).await;
        assert!(answers.iter().all(|answer| answer.status >= 400), "{cut}: {answers:?}");
    }
    // Gone before the answer.
    let mut stream = TcpStream::connect(house.addr).await.unwrap();
    stream.write_all(&request.as_bytes()[..request.len() - 1]).await.unwrap();
    drop(stream);
    still_serves(&house, 1).await;
    house.close().await;
}

#[tokio::test]
async fn bodies_that_are_almost_json() {
    let house = House::open().await;
    let put = |data: &str| format!(r#"{{"DeliveryStreamName":"demo","Record":{{"Data":{data}}}}}"#);
    let named = |name: &str| ONE.replace("demo", name);
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (put("NaN").into(), "SerializationException"),
        (put("Infinity").into(), "SerializationException"),
        (put("1e999").into(), "SerializationException"),
        (put("-0").into(), "SerializationException"),
        (put("'aGk='").into(), "SerializationException"),
        (put(r#""aGk=","#).into(), "SerializationException"),
        (put(r#""aGk\u00e9""#).into(), "SerializationException"),
        (put(r#""aGk=\u0000""#).into(), "SerializationException"),
        (put("\"aGk=\n\"").into(), "SerializationException"),
        (put(r#""\ud800""#).into(), "SerializationException"),
        (named(r"\ud83d").into(), "SerializationException"),
        (named(r"\udc00\ud83d").into(), "SerializationException"),
        (named("\u{7f}").into(), "ValidationException"),
        (named(r"\u0001").into(), "ValidationException"),
        (named("demo\u{200b}").into(), "ValidationException"),
        (named("../../etc/passwd").into(), "ValidationException"),
        (named(&"x".repeat(1 << 20)).into(), "ValidationException"),
        (named("\x01").into(), "SerializationException"),
        (b"\xff\xfe{\x00}\x00".to_vec(), "SerializationException"),
        (b"\xef\xbb\xbf{}".to_vec(), "SerializationException"),
        (format!("{ONE}{ONE}").into(), "SerializationException"),
        (format!("// {ONE}").into(), "SerializationException"),
        ("{\"a\":".repeat(100_000).into(), "SerializationException"),
        (format!("{{\"a\":{}1{}}}", "[".repeat(5000), "]".repeat(5000)).into(), "SerializationException"),
    ];
    for (body, code) in cases {
        let shown = String::from_utf8_lossy(&body[..body.len().min(100)]).into_owned();
        let answer = send(house.addr, &GOOD.request("PutRecord", &body)).await;
        assert_eq!((answer.status, answer.code()), (400, code), "{shown}: {answer:?}");
        assert!((1..3000).contains(&answer.message().len()), "{shown}");
    }
    still_serves(&house, 0).await;
    house.close().await;
}

#[tokio::test]
async fn partition_keys_have_an_end() {
    let house = House::open().await;
    assert_eq!(house.kinesis("CreateStream", json!({ "StreamName": "s", "ShardCount": 1 })).await.status, 200);
    let put = |key: &str| json!({ "StreamName": "s", "Data": "eA==", "PartitionKey": key });
    for (key, code) in [
        ("x".repeat(1 << 20), "ValidationException"),
        ("x".repeat(257), "ValidationException"),
        ("\u{1f600}".repeat(257), "ValidationException"),
        (String::new(), "ValidationException"),
    ] {
        let answer = house.kinesis("PutRecord", put(&key)).await;
        assert_eq!((answer.status, answer.code()), (400, code));
    }
    for key in ["\u{1f600}".repeat(256), "\0\u{1}\u{7f}".to_owned(), "\u{fffd}".to_owned()] {
        assert_eq!(house.kinesis("PutRecord", put(&key)).await.status, 200, "{key:?}");
    }
    house.close().await;
}

#[tokio::test]
async fn who_waits_for_leave_to_send_gets_it_after_the_head_was_checked() {
    let house = House::open().await;
    let request = good().replace("X-Amz-Date", "Expect: 100-continue\r\nX-Amz-Date");
    let (head, body) = request.split_at(request.len() - ONE.len());
    let mut stream = TcpStream::connect(house.addr).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let leave = read(&mut stream).await.unwrap();
    assert_eq!(leave.status, 100, "{leave:?}");
    stream.write_all(body.as_bytes()).await.unwrap();
    assert_eq!(read(&mut stream).await.unwrap().status, 200);
    // A head that is refused gets no leave.
    let large = head.replace(&format!("Content-Length: {}", ONE.len()), "Content-Length: 99999999");
    let mut stream = TcpStream::connect(house.addr).await.unwrap();
    stream.write_all(large.as_bytes()).await.unwrap();
    assert_eq!(read(&mut stream).await.unwrap().status, 413);
    still_serves(&house, 1).await;
    house.close().await;
}

#[tokio::test]
async fn browsers_are_answered_as_the_family_does() {
    let house = House::open().await;
    let preflight = "OPTIONS / HTTP/1.1\r\nHost: localhost\r\nOrigin: https://example.com\r\n\
                     Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: x-amz-target,authorization\r\n\r\n";
    let answer = send(house.addr, preflight.as_bytes()).await;
    let head = answer.head.to_ascii_lowercase();
    assert_eq!((answer.status, answer.bytes.len()), (200, 0), "{head}");
    for header in [
        "access-control-allow-origin: *",
        "access-control-allow-methods: post",
        "access-control-allow-headers: x-amz-target,authorization",
        "access-control-max-age: 172800",
    ] {
        assert!(head.contains(header), "{head}");
    }
    let from_a_page = good().replace("X-Amz-Date", "Origin: https://example.com\r\nX-Amz-Date");
    let spoilt = Signer { secret: "guess", ..GOOD }.request("PutRecord", ONE.as_bytes());
    let spoilt = String::from_utf8(spoilt).unwrap().replace("X-Amz-Date", "Origin: null\r\nX-Amz-Date");
    for (request, status) in [(from_a_page, 200), (spoilt, 400)] {
        let answer = send(house.addr, request.as_bytes()).await;
        let head = answer.head.to_ascii_lowercase();
        assert_eq!(answer.status, status, "{answer:?}");
        let exposed = "x-amzn-requestid,x-amzn-errortype,x-amz-request-id,x-amz-id-2,x-amzn-errormessage,date";
        assert!(head.contains("access-control-allow-origin: *"), "{head}");
        assert!(head.contains(&format!("access-control-expose-headers: {exposed}")), "{head}");
    }
    let plain = send(house.addr, good().as_bytes()).await;
    assert!(!plain.head.to_ascii_lowercase().contains("access-control"), "{}", plain.head);
    house.close().await;
}
