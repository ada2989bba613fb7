//! The S3 sink against a store in memory, and against one that misbehaves by script.

mod double;

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use hydrant_config::{S3Connection, S3Keys, S3Options, Secret, ServerSideEncryption};

use self::double::{Answer, Double, Memory, Request, checksum};
use super::{S3Sink, Timeouts};
use crate::contract::{self, Place, pattern, staged};
use crate::{Receipt, Sink, SinkError, SinkErrorKind, StoreClass};

const SECRET: &str = "s3cr3t-k3y";

fn connection(endpoint: &str) -> S3Connection {
    let keys = S3Keys {
        access_key_id: Secret::new("AKTEST"),
        secret_access_key: Secret::new(SECRET),
        session_token: Some(Secret::new("t0k3n")),
    };
    S3Connection {
        endpoint: Some(endpoint.parse().unwrap()),
        region: "eu-west-1".to_owned(),
        keys: Some(keys),
        profile: None,
        ca: None,
        path_style: true,
    }
}

fn sink_at(endpoint: &str) -> S3Sink {
    let timeouts = Timeouts { connect: Duration::from_secs(5), idle: Duration::from_millis(300) };
    S3Sink::with_timeouts("lake", &connection(endpoint), timeouts).unwrap()
}

/// What a store that answers by `script` makes of one delivery, and what it was asked.
async fn scripted(script: Vec<Answer>) -> (Result<Receipt, SinkError>, Vec<Request>) {
    let double = Double::scripted(script).await;
    let sink = sink_at(&double.endpoint());
    let result = sink.deliver(&staged("a/b c", b"bytes")).await;
    if let Err(error) = &result {
        let told = format!("{error} {error:?} {sink} {sink:?}");
        assert!(!told.contains(SECRET) && !told.contains("t0k3n"), "{told}");
    }
    (result, double.requests())
}

async fn refusal(script: Vec<Answer>) -> SinkError {
    scripted(script).await.0.unwrap_err()
}

/// Of a store that tells the checksum of what it holds.
fn head_of(bytes: &[u8], digest_of: &[u8]) -> Answer {
    blind_head_of(bytes, digest_of).header("x-amz-checksum-sha256", &checksum(bytes))
}

/// Of one that does not.
fn blind_head_of(bytes: &[u8], digest_of: &[u8]) -> Answer {
    let digest = hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, digest_of));
    Answer::status(200).header("x-amz-meta-hydrant-sha256", &digest).header("content-length", &bytes.len().to_string())
}

fn ok() -> Answer {
    Answer::status(200).header("etag", "\"e\"")
}

struct MemoryPlace(Memory);

impl Place for MemoryPlace {
    fn sink(&self) -> Arc<dyn Sink> {
        let timeouts = Timeouts { connect: Duration::from_secs(5), idle: Duration::from_secs(20) };
        Arc::new(S3Sink::with_timeouts("lake", &connection(&self.0.endpoint()), timeouts).unwrap())
    }
    fn names(&self) -> BoxFuture<'_, Vec<String>> {
        async { self.0.names() }.boxed()
    }
    fn read<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Vec<u8>> {
        async { self.0.read(key) }.boxed()
    }
    fn write<'a>(&'a self, key: &'a str, bytes: &'a [u8]) -> BoxFuture<'a, ()> {
        async { self.0.write(key, bytes) }.boxed()
    }
    fn odd_keys(&self) -> Vec<String> {
        ["odd//a", "/odd", "odd/%2F=+ ü?&#日.gz", "odd/~!$'()*;:@,[]"].map(str::to_owned).to_vec()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contract_of_all_sinks() {
    let place = MemoryPlace(Double::memory().await);
    for (name, result) in contract::run(&place, 2).await {
        assert_eq!(result, Ok(()), "{name}");
    }
}

#[tokio::test]
async fn a_put_carries_all_that_proves_it() {
    let (result, requests) = scripted(vec![ok()]).await;
    assert_eq!(result.unwrap(), Receipt::taken(false));
    let [put] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!((put.method.as_str(), put.path.as_str(), put.body.as_slice()), ("PUT", "/lake/a/b%20c", &b"bytes"[..]));
    let sha256 = hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"bytes"));
    for (name, value) in [
        ("if-none-match", "*"),
        ("content-length", "5"),
        ("content-type", "application/octet-stream"),
        ("x-amz-content-sha256", &sha256),
        ("x-amz-meta-hydrant-sha256", &sha256),
        ("x-amz-meta-hydrant-range", "1-3"),
        ("x-amz-checksum-sha256", &super::base64(&hex::decode(&sha256).unwrap())),
        ("x-amz-security-token", "t0k3n"),
    ] {
        assert_eq!(put.header(name), Some(value), "{name}");
    }
    assert_eq!(put.header("transfer-encoding"), None);
    let signature = put.header("authorization").unwrap();
    for signed in ["if-none-match", "x-amz-checksum-sha256", "x-amz-meta-hydrant-sha256", "host", "content-type"] {
        assert!(signature.contains(signed), "{signed} is not signed: {signature}");
    }
}

#[tokio::test]
async fn a_taken_name_is_settled_by_head() {
    for status in [412, 409] {
        let (same, requests) = scripted(vec![Answer::status(status), head_of(b"bytes", b"bytes")]).await;
        assert_eq!(same.unwrap(), Receipt::taken(true));
        assert_eq!((requests[1].method.as_str(), requests[1].path.as_str()), ("HEAD", "/lake/a/b%20c"));
        let digest = refusal(vec![Answer::status(status), head_of(b"bytes", b"other")]).await;
        let length = refusal(vec![Answer::status(status), head_of(b"bytes and more", b"bytes")]).await;
        let stranger = refusal(vec![Answer::status(status), Answer::status(200).header("content-length", "5")]).await;
        for error in [digest, length, stranger] {
            assert_eq!((error.kind, error.code.as_str()), (SinkErrorKind::Misconfigured, "S3.ForeignObject"));
            assert!(error.message.contains("a/b c"), "{error}");
        }
        let gone = refusal(vec![Answer::status(status), Answer::status(404)]).await;
        assert_eq!(gone.kind, SinkErrorKind::Transient);
        let blind = refusal(vec![Answer::status(status), Answer::status(403)]).await;
        assert_eq!((blind.kind, blind.code.as_str()), (SinkErrorKind::Misconfigured, "S3.AccessDenied"));
    }
}

/// Our own metadata does not prove what a store holds.
#[tokio::test]
async fn an_object_of_ours_that_was_damaged_is_never_taken_for_delivered() {
    let taken = || Answer::status(412);
    let (ours, requests) = scripted(vec![taken(), head_of(b"bytes", b"bytes")]).await;
    assert_eq!((ours.unwrap(), requests[1].header("x-amz-checksum-mode")), (Receipt::taken(true), Some("ENABLED")));
    let told = refusal(vec![taken(), head_of(b"bYtes", b"bytes")]).await;
    let read = refusal(vec![taken(), blind_head_of(b"bytes", b"bytes"), Answer::status(200).body("bYtes")]).await;
    let short = refusal(vec![taken(), blind_head_of(b"bytes", b"bytes"), Answer::status(200).body("byte")]).await;
    for error in [told, read, short] {
        assert_eq!((error.kind, error.code.as_str()), (SinkErrorKind::Misconfigured, "S3.DamagedObject"));
        assert!(error.message.contains("a/b c") && error.message.contains("delete it"), "{error}");
    }
    let parts = blind_head_of(b"bytes", b"bytes").header("x-amz-checksum-sha256", "abc=-2");
    for head in [parts, blind_head_of(b"bytes", b"bytes")] {
        let (whole, requests) = scripted(vec![taken(), head.clone(), Answer::status(200).body("bytes")]).await;
        assert_eq!((whole.unwrap(), requests[2].method.as_str()), (Receipt::taken(true), "GET"));
        let cut = Answer::status(200).header("content-length", "9").body("bytes");
        for (answer, kind) in [
            (cut, SinkErrorKind::Transient),
            (Answer::reset(), SinkErrorKind::Transient),
            (Answer::status(404), SinkErrorKind::Transient),
            (Answer::status(403), SinkErrorKind::Misconfigured),
        ] {
            assert_eq!(refusal(vec![taken(), head.clone(), answer]).await.kind, kind);
        }
    }
}

#[tokio::test]
async fn a_lost_answer_is_settled_by_head() {
    for lost in [Answer::reset(), Answer::reset_after_head(), Answer::hang()] {
        let (same, _) = scripted(vec![lost.clone(), head_of(b"bytes", b"bytes")]).await;
        assert_eq!(same.unwrap(), Receipt::taken(true), "{lost:?}");
        let foreign = refusal(vec![lost.clone(), head_of(b"bytes", b"other")]).await;
        assert_eq!(foreign.code, "S3.ForeignObject");
        let (gone, requests) = scripted(vec![lost.clone(), Answer::status(404), Answer::status(200)]).await;
        assert_eq!(gone.unwrap_err().kind, SinkErrorKind::Transient);
        assert_eq!(requests[2].path, "/lake/", "is there a bucket at all?");
        let no_bucket = refusal(vec![lost.clone(), Answer::status(404), Answer::status(404)]).await;
        assert_eq!((no_bucket.kind, no_bucket.code.as_str()), (SinkErrorKind::Misconfigured, "S3.NoSuchBucket"));
        let still_down = refusal(vec![lost.clone(), Answer::status(500)]).await;
        assert_eq!(still_down.kind, SinkErrorKind::Transient);
        assert!(["S3.ConnectionLost", "S3.Timeout"].contains(&still_down.code.as_str()), "{}", still_down.code);
    }
}

#[tokio::test]
async fn every_refusal_says_what_comes_next() {
    use SinkErrorKind::{Misconfigured, Transient};
    for (status, body_code, kind, code, next) in [
        (500, "InternalError", Transient, "S3.InternalError", "tried again"),
        (500, "", Transient, "S3.InternalError", "tried again"),
        (503, "SlowDown", Transient, "S3.SlowDown", "tried again"),
        (507, "XMinioStorageFull", Transient, "S3.XMinioStorageFull", "tried again"),
        (408, "", Transient, "S3.RequestTimeout", "tried again"),
        (429, "", Transient, "S3.TooManyRequests", "tried again"),
        (400, "RequestTimeout", Transient, "S3.RequestTimeout", "tried again"),
        (400, "BadDigest", Transient, "S3.BadDigest", "tried again"),
        (404, "NoSuchBucket", Misconfigured, "S3.NoSuchBucket", "create the bucket"),
        (403, "AccessDenied", Misconfigured, "S3.AccessDenied", "s3:PutObject"),
        (403, "SignatureDoesNotMatch", Misconfigured, "S3.SignatureDoesNotMatch", "secret_access_key"),
        (403, "InvalidAccessKeyId", Misconfigured, "S3.InvalidAccessKeyId", "access_key_id"),
        (400, "ExpiredToken", Misconfigured, "S3.ExpiredToken", "session token"),
        (403, "RequestTimeTooSkewed", Misconfigured, "S3.RequestTimeTooSkewed", "clock"),
        (400, "KeyTooLongError", Misconfigured, "S3.KeyTooLongError", "settings"),
        (501, "NotImplemented", Misconfigured, "S3.NotImplemented", "conditional PUT"),
        (418, "", Misconfigured, "S3.Http418", "settings"),
    ] {
        let error = refusal(vec![Answer::error(status, body_code)]).await;
        assert_eq!((error.kind, error.code.as_str()), (kind, code), "{status} {body_code}");
        assert!(error.message.contains(next) && error.message.contains("s3://lake"), "{error}");
    }
}

#[tokio::test]
async fn retry_after_is_passed_on() {
    let error = refusal(vec![Answer::error(503, "SlowDown").header("retry-after", "7")]).await;
    assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
    let error = refusal(vec![Answer::error(503, "SlowDown").header("retry-after", "soon")]).await;
    assert_eq!(error.retry_after, None);
}

#[tokio::test]
async fn another_region_is_named_and_not_followed() {
    let moved = Answer::error(301, "PermanentRedirect").header("x-amz-bucket-region", "us-west-2");
    let (result, requests) = scripted(vec![moved.header("location", "http://127.0.0.1:1/")]).await;
    let error = result.unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (SinkErrorKind::Misconfigured, "S3.PermanentRedirect"));
    assert!(error.message.contains("`us-west-2`, not `eu-west-1`"), "{error}");
    assert_eq!(requests.len(), 1);
}

#[tokio::test]
async fn a_web_server_is_no_store() {
    let error = refusal(vec![Answer::status(200)]).await;
    assert_eq!((error.kind, error.code.as_str()), (SinkErrorKind::Misconfigured, "S3.NotAStore"));
    let error = refusal(vec![ok().header("x-amz-checksum-sha256", "AAAA")]).await;
    assert_eq!((error.kind, error.code.as_str()), (SinkErrorKind::Transient, "S3.BadDigest"));
}

#[tokio::test]
async fn an_endless_error_document_is_cut() {
    let error = refusal(vec![Answer::status(403).body(&"<x>".repeat(1 << 20))]).await;
    assert_eq!(error.code, "S3.AccessDenied");
    assert!(error.message.len() < 1000);
}

#[tokio::test]
async fn an_answer_that_drips_is_not_waited_for() {
    let dripping = tokio::time::timeout(Duration::from_secs(60), refusal(vec![Answer::Drip]));
    assert_eq!(dripping.await.expect("it has the time of one pause").code, "S3.ServiceUnavailable");
}

#[tokio::test]
async fn nobody_listening_is_transient() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let sink = sink_at(&format!("http://{free}"));
    let error = sink.deliver(&staged("a", b"bytes")).await.unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (SinkErrorKind::Transient, "S3.Unreachable"));
    assert_eq!(sink.check().await.unwrap_err().kind, SinkErrorKind::Transient);
}

#[tokio::test]
async fn check_asks_for_the_bucket() {
    let double = Double::scripted(vec![Answer::status(200), Answer::status(404), Answer::status(403)]).await;
    let sink = sink_at(&double.endpoint());
    assert!(sink.check().await.is_ok());
    assert_eq!(sink.check().await.unwrap_err().code, "S3.NoSuchBucket");
    assert_eq!(sink.check().await.unwrap_err().code, "S3.AccessDenied");
    assert!(double.requests().iter().all(|request| request.method == "HEAD" && request.path == "/lake/"));
}

#[tokio::test]
async fn a_large_body_arrives_whole_and_memory_is_given_back() {
    let double = Double::scripted(vec![ok()]).await;
    let sink = sink_at(&double.endpoint());
    let bytes = pattern((20 << 20) + 3);
    sink.deliver(&staged("large", &bytes)).await.unwrap();
    assert!(double.requests()[0].body == bytes);
    assert_eq!(sink.permits.available_permits(), super::PIECES_MAX);
}

#[tokio::test]
async fn metadata_that_no_header_can_carry_is_refused() {
    let sink = sink_at("http://127.0.0.1:1");
    let mut delivery = staged("a", b"bytes");
    delivery.metadata.push(("hydrant-note".to_owned(), "a\r\nx-evil: 1".to_owned()));
    assert_eq!(sink.deliver(&delivery).await.unwrap_err().code, "S3.InvalidMetadata");
}

fn options() -> S3Options {
    S3Options {
        encryption: Some(ServerSideEncryption::Kms { key_id: Some("key-1".to_owned()) }),
        storage_class: Some("STANDARD_IA".to_owned()),
        acl: Some("bucket-owner-full-control"),
        tags: [("team", "web & more"), ("ü", "")].map(|(name, text)| (name.to_owned(), text.to_owned())).into(),
        create_bucket: false,
    }
}

#[tokio::test]
async fn options_go_with_every_object_and_are_signed() {
    let double = Double::scripted(vec![ok()]).await;
    let sink = S3Sink::new("lake", &connection(&double.endpoint()), &options(), "").unwrap();
    sink.deliver(&staged("a", b"bytes")).await.unwrap();
    let [put] = &double.requests()[..] else { panic!() };
    let signature = put.header("authorization").unwrap();
    for (name, value) in [
        ("x-amz-server-side-encryption", "aws:kms"),
        ("x-amz-server-side-encryption-aws-kms-key-id", "key-1"),
        ("x-amz-storage-class", "STANDARD_IA"),
        ("x-amz-acl", "bucket-owner-full-control"),
        ("x-amz-tagging", "team=web+%26+more&%C3%BC="),
    ] {
        assert_eq!(put.header(name), Some(value), "{name}");
        assert!(signature.contains(name), "{name} is not signed: {signature}");
    }
    let aes = S3Options { encryption: Some(ServerSideEncryption::Aes256), ..S3Options::default() };
    assert_eq!(super::options::headers(&aes).unwrap()["x-amz-server-side-encryption"], "AES256");
}

#[tokio::test]
async fn a_probe_finds_a_store_that_lets_one_win() {
    let store = Double::memory().await;
    let sink = S3Sink::new("lake", &connection(&store.endpoint()), &S3Options::default(), "in/x=!{a}/").unwrap();
    assert_eq!(sink.probe().await.unwrap(), Some(StoreClass::Exclusive));
    assert_eq!(store.names(), Vec::<String>::new(), "the probe is removed");
    let requests = store.requests();
    assert_eq!(requests.iter().filter(|request| request.method == "PUT").count(), 8);
    assert!(requests.iter().all(|request| request.path.starts_with("/lake/in/.hydrant-probe-")), "{requests:?}");
}

#[tokio::test]
async fn a_probe_finds_a_store_that_ignores_the_condition() {
    let careless = Double::scripted(vec![ok(); 9]).await;
    assert_eq!(sink_at(&careless.endpoint()).probe().await.unwrap(), Some(StoreClass::Overwriting));
    let refusing = Double::scripted([vec![Answer::error(403, "AccessDenied"); 8], vec![ok()]].concat()).await;
    assert_eq!(sink_at(&refusing.endpoint()).probe().await.unwrap_err().code, "S3.AccessDenied");
    let busy = Double::scripted(vec![Answer::error(409, "ConditionalRequestConflict"); 8]).await;
    assert_eq!(sink_at(&busy.endpoint()).probe().await.unwrap_err().kind, SinkErrorKind::Transient);
}

#[tokio::test]
async fn a_missing_bucket_is_made_only_if_it_may() {
    let missing = Answer::error(404, "NoSuchBucket");
    for (create_bucket, kind, requests) in
        [(false, SinkErrorKind::Misconfigured, 1), (true, SinkErrorKind::Transient, 2)]
    {
        let double = Double::scripted(vec![missing.clone(), Answer::status(200), ok()]).await;
        let options = S3Options { create_bucket, ..S3Options::default() };
        let sink = S3Sink::new("lake", &connection(&double.endpoint()), &options, "").unwrap();
        let error = sink.deliver(&staged("a", b"bytes")).await.unwrap_err();
        assert_eq!((error.kind, error.code.as_str()), (kind, "S3.NoSuchBucket"), "{error}");
        assert_eq!(double.requests().len(), requests);
        if create_bucket {
            let made = &double.requests()[1];
            assert_eq!((made.method.as_str(), made.path.as_str()), ("PUT", "/lake/"));
            let body = String::from_utf8(made.body.clone()).unwrap();
            assert!(body.contains("<LocationConstraint>eu-west-1</LocationConstraint>"), "{body}");
            sink.deliver(&staged("a", b"bytes")).await.unwrap();
        }
    }
}
