//! The collector sink against a double that holds Splunk's protocol strictly, and against one that fails in its every way.

use std::time::Duration;

use hydrant_config::{Secret, Splunk, SplunkEndpoint};

use super::{Pace, SplunkSink};
use crate::contract::staged;
use crate::loopback::{Loopback, Reply, Request};
use crate::{Delivery, Receipt, Sink, SinkError, SinkErrorKind};

const TOKEN: &str = "B5A79AAD-D822-46CC-80D1-819F80D7BFB0";
const TAKEN: &str = r#"{"text":"Success","code":0,"ackId":7}"#;
const ACKED: &str = r#"{"acks":{"7":true}}"#;

fn sink(server: &Loopback, kind: SplunkEndpoint) -> SplunkSink {
    let splunk = Splunk {
        endpoint: server.url("/splunk/").parse().unwrap(),
        token: Secret::new(TOKEN),
        endpoint_type: kind,
        ack_timeout: Duration::from_millis(400),
        retry: Duration::from_secs(3600),
        ca: None,
    };
    let pace = Pace { first: Duration::from_millis(1), slowest: Duration::from_millis(20) };
    SplunkSink::with_pace(&splunk, pace).unwrap()
}

fn request(body: &[u8]) -> Delivery {
    Delivery { content_type: "text/plain", metadata: Vec::new(), ..staged("ed4acda5", body) }
}

fn is_ack(request: &Request) -> bool {
    request.path.starts_with("/splunk/services/collector/ack?")
}

/// What becomes of a request that is answered so; its acknowledgement would come at once.
async fn refusal(reply: Reply) -> SinkError {
    let server =
        Loopback::start(move |_, request| if is_ack(request) { Reply::json(200, ACKED) } else { reply.clone() }).await;
    let sink = sink(&server, SplunkEndpoint::Raw);
    let error = sink.deliver(&request(b"events")).await.unwrap_err();
    let told = format!("{error} {error:?} {sink} {sink:?}");
    assert!(!told.contains(TOKEN), "{told}");
    error
}

#[tokio::test]
async fn a_request_is_taken_when_the_indexer_acknowledges_it() {
    for (kind, path) in [(SplunkEndpoint::Raw, "raw"), (SplunkEndpoint::Event, "event")] {
        let server = Loopback::start(|before, request| match (is_ack(request), before) {
            (false, _) => Reply::of(200, "set-cookie: sticky=a1; Path=/; HttpOnly\r\nset-cookie: b=2\r\n", TAKEN),
            (true, 1) => Reply::json(200, r#"{"acks":{"7":false}}"#),
            (true, 2) => Reply::json(503, r#"{"text":"Server is busy","code":9}"#),
            (true, 3) => Reply::Cut(Vec::new()),
            (true, _) => Reply::json(200, ACKED),
        })
        .await;
        let receipt = sink(&server, kind).deliver(&request(b"events")).await.unwrap();
        assert_eq!(receipt, Receipt::taken(false));
        let requests = server.requests();
        assert_eq!(requests.len(), 5, "asked until it is acknowledged, whatever comes between");
        let channel = requests[0].header("x-splunk-request-channel").unwrap().to_owned();
        assert_eq!(channel.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert_eq!(requests[0].path, format!("/splunk/services/collector/{path}?channel={channel}"));
        assert_eq!(
            (requests[0].body.as_slice(), requests[0].header("content-type")),
            (&b"events"[..], Some("text/plain"))
        );
        for asked in &requests[1..] {
            assert_eq!(asked.path, format!("/splunk/services/collector/ack?channel={channel}"));
            assert_eq!(
                (asked.body.as_slice(), asked.header("cookie")),
                (&br#"{"acks":[7]}"#[..], Some("sticky=a1; b=2"))
            );
        }
        let authorization = format!("Splunk {TOKEN}");
        assert!(requests.iter().all(|request| request.header("authorization") == Some(&authorization)));
        assert!(requests.iter().all(|request| request.method == "POST"));
    }
}

#[tokio::test]
async fn every_code_of_the_collector_says_what_comes_next() {
    use SinkErrorKind::{Rejected, Transient};
    for (status, code, kind, expected) in [
        (403, 1, Transient, "Splunk.DisabledToken"),
        (401, 2, Transient, "Splunk.InvalidToken"),
        (401, 3, Transient, "Splunk.InvalidToken"),
        (403, 4, Transient, "Splunk.InvalidToken"),
        (400, 5, Rejected, "Splunk.InvalidDataFormat"),
        (400, 6, Rejected, "Splunk.InvalidDataFormat"),
        (400, 7, Transient, "Splunk.InvalidIndex"),
        (500, 8, Transient, "Splunk.ServerError"),
        (503, 9, Transient, "Splunk.ServerError"),
        (400, 10, Transient, "Splunk.ProxyWithoutStickySessions"),
        (400, 11, Transient, "Splunk.ProxyWithoutStickySessions"),
        (400, 12, Rejected, "Splunk.InvalidDataFormat"),
        (400, 13, Rejected, "Splunk.InvalidDataFormat"),
        (400, 14, Transient, "Splunk.DisabledAck"),
    ] {
        let error = refusal(Reply::json(status, &format!(r#"{{"text":"it is so","code":{code}}}"#))).await;
        assert_eq!((error.kind, error.code.as_str()), (kind, expected), "{status} {code}: {error}");
        assert!(error.message.contains("it is so"), "{error}");
    }
}

#[tokio::test]
async fn what_is_no_collector_is_told_from_one() {
    use SinkErrorKind::{Rejected, Transient};
    let endless = Reply::Endless(b"HTTP/1.1 200 x\r\ntransfer-encoding: chunked\r\n\r\n7fffffff\r\n".to_vec());
    for (reply, kind, code) in [
        (Reply::of(404, "", "not found"), Transient, "Splunk.InvalidEndpoint"),
        (Reply::of(302, "location: http://127.0.0.1:1/login\r\n", ""), Transient, "Splunk.InvalidEndpoint"),
        (Reply::of(200, "", "<html>"), Transient, "Splunk.InvalidEndpoint"),
        (endless, Transient, "Splunk.InvalidEndpoint"),
        (Reply::of(413, "", ""), Rejected, "Splunk.InvalidDataFormat"),
        (Reply::of(502, "", ""), Transient, "Splunk.ServerError"),
        (Reply::of(200, "", r#"{"text":"Success","code":0}"#), Transient, "Splunk.DisabledAck"),
        (Reply::Cut(Vec::new()), Transient, "Splunk.ConnectionClosed"),
    ] {
        let error = refusal(reply).await;
        assert_eq!((error.kind, error.code.as_str()), (kind, code), "{error}");
    }
    let busy = refusal(Reply::of(503, "retry-after: 9\r\n", "")).await;
    assert_eq!(busy.retry_after, Some(Duration::from_secs(9)));
}

#[tokio::test]
async fn an_acknowledgement_is_waited_for_and_no_longer_than_its_time() {
    for never in [Reply::json(200, r#"{"acks":{"7":false}}"#), Reply::json(200, r#"{"acks":{"8":true}}"#), Reply::Hang]
    {
        let server =
            Loopback::start(move |_, request| if is_ack(request) { never.clone() } else { Reply::json(200, TAKEN) })
                .await;
        let error = sink(&server, SplunkEndpoint::Raw).deliver(&request(b"events")).await.unwrap_err();
        assert_eq!((error.kind, error.code.as_str()), (SinkErrorKind::Transient, "Splunk.AckTimeout"), "{error}");
    }
}

#[tokio::test]
async fn bytes_that_are_not_what_was_staged_never_make_a_whole_request() {
    let server = Loopback::start(|_, _| Reply::json(200, TAKEN)).await;
    let mut damaged = request(b"events");
    damaged.body.crc64 = Some(7);
    let error = sink(&server, SplunkEndpoint::Raw).deliver(&damaged).await.unwrap_err();
    assert_eq!((error.kind, server.requests().len()), (SinkErrorKind::Staged, 0));
}

#[tokio::test]
async fn check_asks_for_the_collectors_health() {
    let server = Loopback::start(|before, request| {
        assert_eq!((&*request.method, &*request.path), ("GET", "/splunk/services/collector/health"));
        Reply::json([200, 503][before], r#"{"text":"HEC is healthy","code":17}"#)
    })
    .await;
    let sink = sink(&server, SplunkEndpoint::Raw);
    sink.check().await.unwrap();
    assert_eq!(sink.check().await.unwrap_err().code, "Splunk.ServerError");
}
