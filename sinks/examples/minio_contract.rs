//! Runs the sink contract on a real S3-compatible server, and what only a real server can show.
//!
//! Reads `HYDRANT_TEST_S3_ENDPOINT`, `_ACCESS_KEY_ID`, `_SECRET_ACCESS_KEY`, `_BUCKET`; makes the bucket, which must be new.
//! Prints `N passed, M failed` and fails if anything failed.
#![allow(clippy::print_stdout)]

#[path = "../src/contract.rs"]
mod contract;

use std::process::ExitCode;
use std::sync::Arc;

use contract::{Place, pattern, staged};
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use http::Method;
use hydrant_config::{ObjectStore, S3Connection, S3Keys, S3Options, Secret};
use hydrant_disk::RealDisk;
use hydrant_sinks::{Delivery, Receipt, Sink, SinkErrorKind, StoreClass};
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::{HttpRequest, HttpRequestBody};

const REGION: &str = "us-east-1";
const ROUNDS: usize = 20;

struct Server {
    endpoint: String,
    key_id: String,
    secret: String,
    bucket: String,
    sink: Arc<dyn Sink>,
}

impl Server {
    fn from_environment() -> Result<Server, String> {
        let read = |name: &str| {
            let name = format!("HYDRANT_TEST_S3_{name}");
            std::env::var(&name).map_err(|_| format!("{name} is not set"))
        };
        let endpoint = read("ENDPOINT")?.trim_end_matches('/').to_owned();
        let (key_id, secret, bucket) = (read("ACCESS_KEY_ID")?, read("SECRET_ACCESS_KEY")?, read("BUCKET")?);
        let sink = sink(&endpoint, &key_id, &secret, &bucket)?;
        Ok(Server { endpoint, key_id, secret, bucket, sink })
    }

    /// One signed request outside the sink. `below` is an encoded key or a query.
    async fn request(&self, method: Method, below: &str, body: &[u8]) -> Result<(u16, Vec<u8>), String> {
        let url = format!("{}/{}{below}", self.endpoint, self.bucket);
        let credential = AwsCredential { key_id: self.key_id.clone(), secret_key: self.secret.clone(), token: None };
        let mut request = HttpRequest::new(HttpRequestBody::from(body.to_vec()));
        *request.method_mut() = method;
        *request.uri_mut() = url.parse().map_err(|error| format!("{url}: {error}"))?;
        AwsAuthorizer::new(&credential, "s3", REGION)
            .try_authorize(&mut request, None)
            .map_err(|error| error.to_string())?;
        let (parts, _) = request.into_parts();
        let client = reqwest::Client::new();
        let sent = client.request(parts.method, url).headers(parts.headers).body(body.to_vec()).send().await;
        let response = sent.map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let bytes = response.bytes().await.map_err(|error| error.to_string())?;
        Ok((status, bytes.to_vec()))
    }

    /// Every key of the bucket, as the server lists it, URL-encoded so that no character is lost in XML.
    async fn list(&self) -> Result<Vec<String>, String> {
        let mut names: Vec<String> = Vec::new();
        loop {
            let after = names.last().map(|name| format!("&start-after={}", encoded(name))).unwrap_or_default();
            let (status, body) =
                self.request(Method::GET, &format!("?encoding-type=url&list-type=2{after}"), b"").await?;
            let text = String::from_utf8_lossy(&body).into_owned();
            if status != 200 {
                return Err(format!("list answered {status}: {text:.300}"));
            }
            let keys = text.split("<Key>").skip(1).filter_map(|rest| rest.split_once("</Key>"));
            names.extend(keys.map(|(key, _)| decoded(key)));
            if !text.contains("<IsTruncated>true</IsTruncated>") {
                return Ok(names);
            }
        }
    }
}

impl Place for Server {
    fn sink(&self) -> Arc<dyn Sink> {
        self.sink.clone()
    }
    fn names(&self) -> BoxFuture<'_, Vec<String>> {
        self.list().map(|names| names.unwrap_or_else(|error| vec![error])).boxed()
    }
    fn read<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Vec<u8>> {
        async move {
            match self.request(Method::GET, &format!("/{}", encoded(key)), b"").await {
                Ok((200, bytes)) => bytes,
                other => format!("cannot read {key}: {other:?}").into_bytes(),
            }
        }
        .boxed()
    }
    fn write<'a>(&'a self, key: &'a str, bytes: &'a [u8]) -> BoxFuture<'a, ()> {
        async move {
            let written = self.request(Method::PUT, &format!("/{}", encoded(key)), bytes).await;
            assert!(matches!(written, Ok((200, _))), "{key}: {written:?}");
        }
        .boxed()
    }
    fn odd_keys(&self) -> Vec<String> {
        [
            "odd/a b",
            "odd/year=2026/%2F%25",
            "odd/+&?#;:@,$",
            "odd/ü/日本語.gz",
            "odd/~!'()*[]{}^`|\"<>",
            "odd/..hidden..",
            "odd/end ",
        ]
        .map(str::to_owned)
        .to_vec()
    }
}

fn sink(endpoint: &str, key_id: &str, secret: &str, bucket: &str) -> Result<Arc<dyn Sink>, String> {
    sink_with(endpoint, (key_id, secret), bucket, S3Options::default())
}

fn sink_with(
    endpoint: &str,
    (key_id, secret): (&str, &str),
    bucket: &str,
    options: S3Options,
) -> Result<Arc<dyn Sink>, String> {
    let prefix = |kind| hydrant_config::Prefix::parse("", kind).map_err(|error| error.to_string());
    let naming = hydrant_config::Naming {
        prefix: prefix(hydrant_config::PrefixKind::Output)?,
        error_output_prefix: prefix(hydrant_config::PrefixKind::ErrorOutput)?,
        time_zone: "UTC".parse().map_err(|error| format!("{error}"))?,
        file_extension: None,
    };
    let keys =
        S3Keys { access_key_id: Secret::new(key_id), secret_access_key: Secret::new(secret), session_token: None };
    let connection = S3Connection {
        endpoint: Some(endpoint.parse().map_err(|error| format!("{endpoint}: {error}"))?),
        region: REGION.to_owned(),
        keys: Some(keys),
        profile: None,
        ca: None,
        path_style: true,
    };
    let place = hydrant_config::Place::S3 { bucket: bucket.to_owned(), connection, options };
    hydrant_sinks::object_sink(&ObjectStore { place, naming }, Arc::new(RealDisk::new()))
        .map_err(|error| error.to_string())
}

#[tokio::main]
async fn main() -> ExitCode {
    let results = match prepared().await {
        Ok(server) => {
            let mut results = contract::run(&server, ROUNDS).await;
            results.extend(only_real(&server).await);
            results
        }
        Err(error) => vec![("a server and a new bucket", Err(error))],
    };
    let failed = results.iter().filter(|(_, result)| result.is_err()).count();
    for (name, result) in &results {
        match result {
            Ok(()) => println!("ok      {name}"),
            Err(error) => println!("FAILED  {name}: {error}"),
        }
    }
    println!("{} passed, {failed} failed", results.len() - failed);
    ExitCode::from(u8::from(failed > 0))
}

async fn prepared() -> Result<Server, String> {
    let server = Server::from_environment()?;
    match server.request(Method::PUT, "", b"").await? {
        (200, _) => Ok(server),
        (status, body) => Err(format!("making the bucket answered {status}: {}", String::from_utf8_lossy(&body))),
    }
}

async fn only_real(server: &Server) -> Vec<(&'static str, Result<(), String>)> {
    let Server { endpoint, key_id, secret, bucket, .. } = server;
    let elsewhere = |key_id: &str, secret: &str, bucket: &str| sink(endpoint, key_id, secret, bucket);
    let bad_secret = elsewhere(key_id, "wrong-secret", bucket);
    let bad_key = elsewhere("nobody", secret, bucket);
    let bad_bucket = elsewhere(key_id, secret, "no-such-bucket-here");
    vec![
        ("a wrong secret is a wrong setting", expect_code(bad_secret, "S3.SignatureDoesNotMatch").await),
        ("a wrong key is a wrong setting", expect_code(bad_key, "S3.InvalidAccessKeyId").await),
        ("a missing bucket is a wrong setting", expect_code(bad_bucket, "S3.NoSuchBucket").await),
        ("equal deliveries race to one object and receipts for all that were told", equal_race(server).await),
        ("an attempt given up half-way is settled by its repeat", given_up(server).await),
        ("headers arrive", headers(server).await),
        ("a probe finds that nothing is overwritten, and leaves nothing", probe(server).await),
        ("storage class and tags arrive", options(server).await),
        ("a bucket is made where it may be", made_bucket(server).await),
    ]
}

async fn expect_code(sink: Result<Arc<dyn Sink>, String>, code: &str) -> Result<(), String> {
    let sink = sink?;
    for (length, check) in [(5, true), (3 << 20, false)] {
        let delivery = staged("wrong", &pattern(length));
        let error = match sink.deliver(&delivery).await {
            Ok(receipt) => return Err(format!("got {receipt:?}")),
            Err(error) => error,
        };
        if error.kind != SinkErrorKind::Misconfigured || (check && error.code != code) {
            return Err(format!("{length} bytes: got {} {:?}: {error}", error.code, error.kind));
        }
    }
    match sink.check().await {
        Err(error) if error.kind == SinkErrorKind::Misconfigured => Ok(()),
        other => Err(format!("check: got {other:?}")),
    }
}

/// Nobody hears of a stranger when all send the same; one makes the object.
async fn equal_race(server: &Server) -> Result<(), String> {
    for round in 0..ROUNDS {
        let delivery = staged(&format!("equal/{round}"), b"the same bytes");
        let results = join_all((0..contract::RACERS).map(|_| server.sink.deliver(&delivery))).await;
        let made = results.iter().filter(|result| matches!(result, Ok(receipt) if !receipt.was_there)).count();
        let error =
            results.iter().filter_map(|result| result.as_ref().err()).find(|e| e.kind != SinkErrorKind::Transient);
        if made != 1 || error.is_some() {
            return Err(format!("round {round}: {made} made it, {error:?}"));
        }
    }
    Ok(())
}

/// The future of an attempt is dropped at many moments; whatever the server made of it, the repeat says what is true.
async fn given_up(server: &Server) -> Result<(), String> {
    let bytes = pattern((4 << 20) + 5);
    for millis in 0..30 {
        let delivery: Delivery = staged(&format!("given-up/{millis}"), &bytes);
        let patience = std::time::Duration::from_millis(millis);
        let _ = tokio::time::timeout(patience, server.sink.deliver(&delivery)).await;
        let repeated = server.sink.deliver(&delivery).await;
        match repeated {
            Ok(_) if server.read(&delivery.key).await == bytes => {}
            Ok(_) => return Err(format!("{}: other bytes", delivery.key)),
            Err(error) => return Err(format!("{}: {error}", delivery.key)),
        }
    }
    Ok(())
}

async fn headers(server: &Server) -> Result<(), String> {
    let mut delivery = staged("headers/a.gz", b"bytes");
    delivery.content_encoding = Some("gzip".to_owned());
    server.sink.deliver(&delivery).await.map_err(|error| error.to_string())?;
    let again = server.sink.deliver(&delivery).await.map_err(|error| error.to_string())?;
    if again == (Receipt::taken(true)) { Ok(()) } else { Err(format!("got {again:?}")) }
}

async fn probe(server: &Server) -> Result<(), String> {
    let before = server.list().await?;
    for _ in 0..ROUNDS {
        let class = server.sink.probe().await.map_err(|error| error.to_string())?;
        if class != Some(StoreClass::Exclusive) {
            return Err(format!("got {class:?}"));
        }
    }
    if server.list().await? == before { Ok(()) } else { Err("a probe is left behind".to_owned()) }
}

async fn options(server: &Server) -> Result<(), String> {
    let options = S3Options {
        storage_class: Some("REDUCED_REDUNDANCY".to_owned()),
        acl: Some("bucket-owner-full-control"),
        tags: [("team".to_owned(), "web + more".to_owned())].into(),
        ..S3Options::default()
    };
    let keys = (server.key_id.as_str(), server.secret.as_str());
    let sink = sink_with(&server.endpoint, keys, &server.bucket, options)?;
    sink.deliver(&staged("options/a", b"bytes")).await.map_err(|error| error.to_string())?;
    let (status, tags) = server.request(Method::GET, "/options/a?tagging=", b"").await?;
    let tags = String::from_utf8_lossy(&tags).into_owned();
    let (_, listed) = server.request(Method::GET, "?list-type=2&prefix=options%2F", b"").await?;
    let listed = String::from_utf8_lossy(&listed).into_owned();
    let tagged = tags.contains("<Key>team</Key><Value>web + more</Value>");
    let classed = listed.contains("<StorageClass>REDUCED_REDUNDANCY</StorageClass>");
    if tagged && classed { Ok(()) } else { Err(format!("{status} {tags} {listed}")) }
}

async fn made_bucket(server: &Server) -> Result<(), String> {
    let options = S3Options { create_bucket: true, ..S3Options::default() };
    let keys = (server.key_id.as_str(), server.secret.as_str());
    let sink = sink_with(&server.endpoint, keys, "made-on-demand", options)?;
    let delivery = staged("a", b"bytes");
    match sink.deliver(&delivery).await {
        Err(error) if error.kind == SinkErrorKind::Transient && error.code == "S3.NoSuchBucket" => {}
        other => return Err(format!("got {other:?}")),
    }
    sink.deliver(&delivery).await.map(|_| ()).map_err(|error| error.to_string())
}

fn encoded(key: &str) -> String {
    key.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        rest = match (first, hex.and_then(|two| u8::from_str_radix(two, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                &tail[2..]
            }
            (b'+', _) => {
                bytes.push(b' ');
                tail
            }
            _ => {
                bytes.push(*first);
                tail
            }
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
