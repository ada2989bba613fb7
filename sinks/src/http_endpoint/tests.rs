//! The endpoint sink against a server that holds the protocol strictly, and against one that breaks it in every way.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use hydrant_config::{Authorities, ContentEncoding, HttpEndpoint, Secret};

use super::HttpEndpointSink;
use crate::contract::staged;
use crate::loopback::{Loopback, Reply, Request};
use crate::{Delivery, Receipt, Sink, SinkError, SinkErrorKind};

const ID: &str = "ed4acda5-034f-8f42-bba1-f29aea6d7d8f";
const KEY: &str = "s3cr3t access-key";
const ARN: &str = "arn:aws:firehose:us-east-1:123456789012:deliverystream/partner";
const GOOD: &str = r#"{"requestId":"ed4acda5-034f-8f42-bba1-f29aea6d7d8f","timestamp":1578090903599}"#;

fn endpoint(url: &str) -> HttpEndpoint {
    HttpEndpoint {
        url: url.parse().unwrap(),
        access_key: Some(Secret::new(KEY)),
        common_attributes: [("team", "web"), ("wer", "Jörg\n\u{1f600}")]
            .map(|(name, text)| (name.to_owned(), text.to_owned()))
            .into(),
        content_encoding: ContentEncoding::None,
        retry: Duration::from_secs(300),
        request_timeout: Duration::from_secs(20),
        ca: None,
        source_arn: ARN.to_owned(),
    }
}

fn request(body: &[u8]) -> Delivery {
    Delivery { content_type: "application/json", metadata: Vec::new(), ..staged(ID, body) }
}

/// What becomes of one request that is answered so, and what the server saw.
async fn answered(reply: Reply) -> (Result<Receipt, SinkError>, Vec<Request>) {
    let server = Loopback::start(move |_, _| reply.clone()).await;
    let sink = HttpEndpointSink::new(&endpoint(&server.url("/a?token=t0k3n"))).unwrap();
    let result = sink.deliver(&request(b"the body")).await;
    if let Err(error) = &result {
        let told = format!("{error} {error:?} {sink} {sink:?}");
        assert!(!told.contains(KEY) && !told.contains("t0k3n"), "{told}");
    }
    (result, server.requests())
}

async fn refusal(reply: Reply) -> SinkError {
    answered(reply).await.0.unwrap_err()
}

async fn times_out(reply: Reply) -> SinkError {
    let server = Loopback::start(move |_, _| reply.clone()).await;
    let hasty = HttpEndpoint { request_timeout: Duration::from_millis(300), ..endpoint(&server.url("/")) };
    HttpEndpointSink::new(&hasty).unwrap().deliver(&request(b"the body")).await.unwrap_err()
}

#[tokio::test]
async fn a_request_carries_the_headers_of_firehose() {
    let (result, requests) = answered(Reply::json(200, GOOD)).await;
    assert_eq!(result.unwrap(), Receipt::taken(false));
    let [post] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!((&*post.method, &*post.path, &*post.body), ("POST", "/a?token=t0k3n", &b"the body"[..]));
    for (name, value) in [
        ("x-amz-firehose-protocol-version", Some("1.0")),
        ("x-amz-firehose-request-id", Some(ID)),
        ("x-amz-firehose-source-arn", Some(ARN)),
        ("x-amz-firehose-access-key", Some(KEY)),
        (
            "x-amz-firehose-common-attributes",
            Some(r#"{"commonAttributes":{"team":"web","wer":"J\u00f6rg\n\ud83d\ude00"}}"#),
        ),
        ("content-type", Some("application/json")),
        ("content-length", Some("8")),
        ("content-encoding", None),
        ("transfer-encoding", None),
        ("user-agent", Some("Amazon Kinesis Data Firehose Agent/1.0")),
    ] {
        assert_eq!(post.header(name), value, "{name}");
    }
}

#[tokio::test]
async fn what_is_not_set_is_not_sent() {
    let server = Loopback::start(|_, _| Reply::json(200, GOOD)).await;
    let bare = HttpEndpoint { access_key: None, common_attributes: [].into(), ..endpoint(&server.url("/")) };
    let delivery = Delivery { content_encoding: Some("gzip".to_owned()), ..request(b"gzipped") };
    HttpEndpointSink::new(&bare).unwrap().deliver(&delivery).await.unwrap();
    let [post] = &server.requests()[..] else { panic!() };
    assert_eq!(post.header("content-encoding"), Some("gzip"));
    assert_eq!(
        (post.header("x-amz-firehose-access-key"), post.header("x-amz-firehose-common-attributes")),
        (None, None)
    );
}

#[tokio::test]
async fn a_success_that_does_not_keep_to_the_protocol_is_none() {
    let other_id = GOOD.replace("ed4a", "0000");
    let json = "content-type: application/json\r\n";
    let chunked = format!("HTTP/1.1 200 x\r\n{json}transfer-encoding: chunked\r\n\r\n4e\r\n{GOOD}\r\n0\r\n\r\n");
    for reply in [
        Reply::json(200, &other_id),
        Reply::json(200, ""),
        Reply::json(200, "ok"),
        Reply::json(200, &GOOD.replace("1578090903599", "\"1578090903599\"")),
        Reply::json(200, &GOOD.replace('{', r#"{"more":1,"#)),
        Reply::of(200, "", GOOD),
        Reply::of(200, "content-type: text/plain\r\n", GOOD),
        Reply::of(200, "content-type: application/json; charset=utf-8\r\n", GOOD),
        Reply::of(200, &format!("{json}content-encoding: identity\r\n"), GOOD),
        Reply::Whole(chunked.into_bytes()),
        Reply::Whole(format!("HTTP/1.1 200 x\r\n{json}\r\n{GOOD}").into_bytes()),
    ] {
        let told = format!("{reply:?}");
        let error = refusal(reply).await;
        let expected = (SinkErrorKind::Transient, "HttpEndpoint.InvalidResponseFromDestination");
        assert_eq!((error.kind, error.code.as_str()), expected, "{told}: {error}");
    }
}

#[tokio::test]
async fn every_other_status_is_tried_again_but_413() {
    let said = format!(r#"{{"requestId":"{ID}","timestamp":1,"errorMessage":"not\nnow"}}"#);
    for status in [201, 202, 204, 301, 400, 401, 403, 404, 429, 500, 502, 503] {
        let error = refusal(Reply::json(status, &said)).await;
        assert_eq!((error.kind, error.code.as_str()), (SinkErrorKind::Transient, "HttpEndpoint.DestinationException"));
        // 204 has no body.
        let message = if status == 204 { "answered 204;" } else { "saying: not now;" };
        assert!(error.message.contains(message) && error.message.contains(&status.to_string()), "{error}");
    }
    let error = refusal(Reply::of(413, "", "too much")).await;
    assert_eq!((error.kind, error.code.as_str()), (SinkErrorKind::Rejected, "HttpEndpoint.DestinationException"));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (result, requests) = answered(Reply::of(307, "location: http://127.0.0.1:1/elsewhere\r\n", "")).await;
    let error = result.unwrap_err();
    assert!(error.kind == SinkErrorKind::Transient && error.message.contains("redirects are not followed"), "{error}");
    assert_eq!(requests.len(), 1);
}

#[tokio::test]
async fn retry_after_is_passed_on() {
    let error = refusal(Reply::of(503, "retry-after: 7\r\n", "")).await;
    assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
    let date = |more: &str| format!("retry-after: Sat, 21 Nov 2026 12:00:30 GMT\r\n{more}");
    for (head, seconds) in [
        (date("date: Sat, 21 Nov 2026 12:00:10 GMT\r\n"), Some(20)),
        // Over already, and by no clock.
        (date("date: Sat, 21 Nov 2026 12:00:31 GMT\r\n"), None),
        (date(""), None),
        ("retry-after: soon\r\n".to_owned(), None),
    ] {
        let error = refusal(Reply::of(503, &head, "")).await;
        assert_eq!(error.retry_after, seconds.map(Duration::from_secs), "{head}");
    }
}

#[tokio::test]
async fn an_answer_may_come_slowly_but_not_for_ever() {
    let (slow, _) = answered(Reply::Trickle(Reply::json(200, GOOD).bytes())).await;
    assert_eq!(slow.unwrap(), Receipt::taken(false));
    let endless_head = Reply::Endless(b"HTTP/1.1 200 x\r\nx-long: ".to_vec());
    let endless_refusal = Reply::Endless(b"HTTP/1.1 500 x\r\ntransfer-encoding: chunked\r\n\r\n7fffffff\r\n".to_vec());
    let stuck = Reply::json(200, GOOD).bytes();
    for (reply, code) in [
        (Reply::Hang, "HttpEndpoint.RequestTimeout"),
        (endless_head, "HttpEndpoint.ConnectionReset"),
        (endless_refusal, "HttpEndpoint.DestinationException"),
        (Reply::Cut(stuck[..stuck.len() - 5].to_vec()), "HttpEndpoint.ConnectionReset"),
        (Reply::Cut(Vec::new()), "HttpEndpoint.ConnectionReset"),
        (Reply::Whole(b"220 mail.example.com ESMTP\r\n".to_vec()), "HttpEndpoint.ConnectionReset"),
    ] {
        let told = format!("{reply:?}");
        let error = if matches!(reply, Reply::Hang) { times_out(reply).await } else { refusal(reply).await };
        assert_eq!((error.kind, error.code.as_str()), (SinkErrorKind::Transient, code), "{told}: {error}");
    }
}

#[tokio::test]
async fn an_answer_of_more_than_a_mebibyte_is_not_read() {
    let padded = format!("{GOOD}{}", " ".repeat((1 << 20) - 300 - GOOD.len()));
    assert!(answered(Reply::json(200, &padded)).await.0.is_ok(), "white space is JSON's");
    let huge = refusal(Reply::json(200, &format!("{GOOD}{}", " ".repeat(1 << 20)))).await;
    assert_eq!((huge.kind, huge.code.as_str()), (SinkErrorKind::Transient, "HttpEndpoint.ResponseTooLarge"));
}

#[tokio::test]
async fn bytes_that_are_not_what_was_staged_never_make_a_whole_request() {
    let server = Loopback::start(|_, _| Reply::json(200, GOOD)).await;
    let mut damaged = request(b"the body");
    damaged.body.crc64 = Some(7);
    let error = HttpEndpointSink::new(&endpoint(&server.url("/"))).unwrap().deliver(&damaged).await.unwrap_err();
    assert_eq!(error.kind, SinkErrorKind::Staged);
    assert_eq!(server.requests().len(), 0);
}

#[tokio::test]
async fn nobody_listening_is_transient_and_check_tells_it() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let sink = HttpEndpointSink::new(&endpoint(&format!("http://{free}/"))).unwrap();
    for error in [sink.deliver(&request(b"a")).await.unwrap_err(), sink.check().await.unwrap_err()] {
        assert_eq!((error.kind, error.code.as_str()), (SinkErrorKind::Transient, "HttpEndpoint.ConnectionFailed"));
    }
    let server = Loopback::start(|_, _| Reply::of(405, "", "")).await;
    HttpEndpointSink::new(&endpoint(&server.url("/"))).unwrap().check().await.unwrap();
    assert_eq!(server.requests()[0].method, "HEAD", "nothing is delivered by a check");
}

/// A server with a certificate of an authority that no system knows. It answers one connection.
fn tls_server() -> (std::net::SocketAddr, std::thread::JoinHandle<()>) {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let certificate = CertificateDer::from_pem_slice(include_bytes!("tests/server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tests/server.key.pem")).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let connection = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        let mut tls = rustls::StreamOwned::new(connection, stream);
        let mut seen = Vec::new();
        let mut piece = [0; 4096];
        while !seen.ends_with(b"the body") {
            match tls.read(&mut piece) {
                Ok(1..) => {}
                // A client that does not trust the certificate hangs up.
                _ => return,
            }
            seen.extend_from_slice(piece.split(|byte| *byte == 0).next().unwrap());
            piece = [0; 4096];
        }
        let _ = tls.write_all(&Reply::json(200, GOOD).bytes());
        tls.conn.send_close_notify();
        let _ = tls.flush();
    });
    (address, server)
}

#[tokio::test]
async fn a_certificate_is_trusted_by_its_authority_alone() {
    let ca = Authorities { path: "ca.pem".into(), pem: include_bytes!("tests/ca.pem")[..].into() };
    for (ca, trusted) in [(Some(ca), true), (None, false)] {
        let (address, server) = tls_server();
        let port = address.port();
        let endpoint = HttpEndpoint { ca, ..endpoint(&format!("https://127.0.0.1:{port}/")) };
        let result = HttpEndpointSink::new(&endpoint).unwrap().deliver(&request(b"the body")).await;
        match (result, trusted) {
            (Ok(receipt), true) => assert_eq!(receipt, Receipt::taken(false)),
            (Err(error), false) => {
                assert_eq!(error.code, "HttpEndpoint.SSLHandshakeFailure", "{error}");
                assert!(error.message.contains("`ca`"), "{error}");
            }
            (result, _) => panic!("{result:?}"),
        }
        server.join().unwrap();
    }
}

#[test]
fn authorities_that_are_none_are_a_wrong_setting() {
    let pem = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"[..].into();
    let ca = Some(Authorities { path: "ca.pem".into(), pem });
    let error = HttpEndpointSink::new(&HttpEndpoint { ca, ..endpoint("https://h/") }).unwrap_err();
    assert_eq!(error.kind, SinkErrorKind::Misconfigured, "{error}");
    assert!(error.message.contains("ca.pem"), "{error}");
}
