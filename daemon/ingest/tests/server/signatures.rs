//! One good request as bytes on a connection, and every way to spoil its signature: each with the error that a client sees.
//!
//! The signer is this file's own: it takes any text for any part, and knows nothing of how the server reads them.

mod cases;

use std::time::Duration;

use aws_lc_rs::{digest, hmac};

use crate::client::{Answer, GOOD, NOON, send};
use crate::house::{House, TEMPORARY, TOKEN};
use cases::{CHANGED, Case, Change, INCOMPLETE, INVALID, PRESIGNED, SIGNED};

const BODY: &str = r#"{"DeliveryStreamName":"demo","Record":{"Data":"aGVsbG8K"}}"#;
const TARGET: &str = "Firehose_20150804.PutRecord";
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// A request, and how it is signed.
#[derive(Clone)]
struct Asked {
    method: &'static str,
    path: String,
    /// What is signed for the path, if it is not the path.
    canonical_path: Option<&'static str>,
    /// Names and values as they stand, encoded.
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    signed: Vec<String>,
    body: Vec<u8>,
    /// What is signed for the body, if it is not its hash.
    body_hash: Option<&'static str>,
    algorithm: String,
    key: String,
    secret: String,
    /// Date, region, service, terminator.
    scope: [String; 4],
    timestamp: String,
}

impl Asked {
    fn good() -> Asked {
        let headers = [
            ("Host", "localhost"),
            ("Content-Type", GOOD.content_type),
            ("X-Amz-Date", NOON),
            ("X-Amz-Target", TARGET),
        ];
        Asked {
            method: "POST",
            path: "/".to_owned(),
            canonical_path: None,
            query: Vec::new(),
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            signed: ["content-type", "host", "x-amz-date", "x-amz-target"].map(str::to_owned).to_vec(),
            body: BODY.into(),
            body_hash: None,
            algorithm: ALGORITHM.to_owned(),
            key: GOOD.key.to_owned(),
            secret: GOOD.secret.to_owned(),
            scope: [&NOON[..8], "us-east-1", "firehose", "aws4_request"].map(str::to_owned),
            timestamp: NOON.to_owned(),
        }
    }

    fn temporary() -> Asked {
        Asked { key: TEMPORARY.key.to_owned(), ..Asked::good() }
    }

    fn set(&mut self, name: &str, value: &str) {
        let found = self.headers.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name));
        value.clone_into(&mut found.unwrap_or_else(|| panic!("no {name}")).1);
    }

    fn add(&mut self, name: &str, value: &str) {
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    fn remove(&mut self, name: &str) {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    }

    /// A header that is signed, too.
    fn add_signed(&mut self, name: &str, value: &str) {
        self.add(name, value);
        self.signed.push(name.to_ascii_lowercase());
        self.signed.sort();
    }

    /// The whole request is of another time.
    fn at(&mut self, timestamp: &str) {
        self.set("x-amz-date", timestamp);
        timestamp.clone_into(&mut self.timestamp);
        timestamp[..8].clone_into(&mut self.scope[0]);
    }

    /// Changes a part of the signed header.
    fn resign(&mut self, from: &str, to: &str) {
        let (_, value) = self.headers.iter().find(|(name, _)| name == "Authorization").unwrap();
        let changed = value.replacen(from, to, 1);
        assert_ne!(changed, *value, "{from}");
        self.set("authorization", &changed);
    }

    /// Takes so many letters from the end of the signed header, and puts others there.
    fn end_with(&mut self, less: usize, end: &str) {
        let (_, value) = self.headers.last().unwrap();
        let changed = format!("{}{end}", &value[..value.len() - less]);
        self.set("authorization", &changed);
    }

    /// Signs this word in the place of the body's hash, as S3 has it.
    fn sign_for_body(&mut self, word: &'static str) {
        self.body_hash = Some(word);
        self.add_signed("X-Amz-Content-Sha256", word);
    }

    fn requery(&mut self, name: &str, value: &str) {
        let found = self.query.iter_mut().find(|(known, _)| known == name);
        value.clone_into(&mut found.unwrap_or_else(|| panic!("no {name}")).1);
    }

    fn unquery(&mut self, name: &str) {
        self.query.retain(|(known, _)| known != name);
    }

    fn credential(&self) -> String {
        format!("{}/{}", self.key, self.scope.join("/"))
    }

    fn signature(&self) -> String {
        let mut query: Vec<String> = self.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        query.sort();
        let value = |name: &String| {
            let of = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
            format!("{name}:{}\n", of.map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(","))
        };
        let canonical = format!(
            "{}\n{}\n{}\n{}\n{}\n{}",
            self.method,
            self.canonical_path.unwrap_or(&self.path),
            query.join("&"),
            self.signed.iter().map(value).collect::<String>(),
            self.signed.join(";"),
            self.body_hash.map_or_else(|| hash(&self.body), str::to_owned)
        );
        let text = format!("{ALGORITHM}\n{}\n{}\n{}", self.timestamp, self.scope.join("/"), hash(canonical.as_bytes()));
        let mut key = format!("AWS4{}", self.secret).into_bytes();
        for part in &self.scope {
            key = mac(&key, part);
        }
        hex::encode(mac(&key, &text))
    }

    /// Signed by header.
    fn sign(mut self) -> Asked {
        let (credential, signed, signature) = (self.credential(), self.signed.join(";"), self.signature());
        let algorithm = &self.algorithm;
        let value = format!("{algorithm} Credential={credential}, SignedHeaders={signed}, Signature={signature}");
        self.add("Authorization", &value);
        self
    }

    /// Signed in the query, for an hour unless it says otherwise.
    fn presign(mut self) -> Asked {
        self.remove("x-amz-date");
        self.signed.retain(|name| name != "x-amz-date");
        let credential = self.credential().replace('/', "%2F");
        let expires = self.query.iter().find(|(name, _)| name == "X-Amz-Expires").map(|(_, value)| value.clone());
        self.unquery("X-Amz-Expires");
        for (name, value) in [
            ("X-Amz-Algorithm", self.algorithm.clone()),
            ("X-Amz-Credential", credential),
            ("X-Amz-Date", self.timestamp.clone()),
            ("X-Amz-Expires", expires.unwrap_or_else(|| "3600".to_owned())),
            ("X-Amz-SignedHeaders", self.signed.join("%3B")),
        ] {
            self.query.push((name.to_owned(), value));
        }
        let signature = self.signature();
        self.query.push(("X-Amz-Signature".to_owned(), signature));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let query: Vec<String> = self.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
        let mut head = format!("{} {}{query} HTTP/1.1\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        [format!("{head}Content-Length: {}\r\n\r\n", self.body.len()).as_bytes(), &self.body].concat()
    }
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

fn hash(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}

fn texts(parts: &[&str]) -> String {
    parts.iter().map(|part| format!("Authorization header requires {part}.")).collect::<Vec<_>>().join(" ")
}

/// `make` brings a request to the bytes that must be refused.
async fn all_are_refused(cases: &[Case], make: fn(Change) -> Asked) {
    let house = House::open().await;
    for (name, change, code, text) in cases {
        // Before the derived key is remembered, and after.
        for _ in 0..2 {
            let answer = house.refuses(&make(*change).bytes(), 400, code).await;
            assert_eq!(answer.message(), *text, "{name}");
            taken(&house, &Asked::good().sign()).await;
        }
    }
    house.close().await;
}

async fn taken(house: &House, request: &Asked) -> Answer {
    let answer = send(house.addr, &request.bytes()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

#[test]
fn so_many_are_told_apart() {
    assert_eq!([CHANGED, SIGNED, PRESIGNED].map(<[Case]>::len), [55, 21, 26]);
}

#[tokio::test]
async fn whatever_is_changed_after_signing_is_refused() {
    let made = |change: Change| {
        let mut asked = Asked::good().sign();
        change(&mut asked);
        asked
    };
    all_are_refused(CHANGED, made).await;
}

#[tokio::test]
async fn what_is_signed_but_wrong_is_refused() {
    let made = |change: Change| {
        let mut asked = Asked::good();
        change(&mut asked);
        asked.sign()
    };
    all_are_refused(SIGNED, made).await;
}

#[tokio::test]
async fn whatever_is_changed_in_a_signed_query_is_refused() {
    let made = |change: Change| {
        let mut asked = Asked::good().presign();
        change(&mut asked);
        asked
    };
    all_are_refused(PRESIGNED, made).await;
}

#[tokio::test]
async fn several_missing_parts_are_told_together() {
    let house = House::open().await;
    let mut nothing = Asked::good().sign();
    nothing.set("authorization", ALGORITHM);
    nothing.remove("x-amz-date");
    let answer = house.refuses(&nothing.bytes(), 400, INCOMPLETE).await;
    let date = "existence of either a 'X-Amz-Date' or a 'Date' header";
    let parts = ["'Credential' parameter", "'Signature' parameter", "'SignedHeaders' parameter", date];
    assert_eq!(answer.message(), texts(&parts));
    house.close().await;
}

#[tokio::test]
async fn a_request_without_a_path_is_no_http() {
    let house = House::open().await;
    let good = String::from_utf8(Asked::good().sign().bytes()).unwrap();
    let answer = send(house.addr, good.replacen("POST / ", "POST  ", 1).as_bytes()).await;
    assert_eq!((answer.status, answer.bytes.as_slice(), house.log.last()), (400, &b""[..], None));
    house.close().await;
}

#[tokio::test]
async fn a_signed_query_is_good_for_as_long_as_it_says() {
    let house = House::open().await;
    let mut week = Asked::good();
    week.query.push(("X-Amz-Expires".to_owned(), "604800".to_owned()));
    let (hour, week) = (Asked::good().presign(), week.presign());
    house.later(Duration::from_secs(3600));
    taken(&house, &hour).await;
    house.later(Duration::from_secs(1));
    let answer = house.refuses(&hour.bytes(), 400, INVALID).await;
    let text = "Signature expired: 20240115T120000Z is now earlier than 20240115T124501Z (20240115T130001Z - 15 min.)";
    assert_eq!(answer.message(), text);
    taken(&house, &week).await;
    house.later(Duration::from_secs(604_800 - 3600));
    house.refuses(&week.bytes(), 400, INVALID).await;
    house.close().await;
}

/// Within 15 minutes the same bytes are taken again, as at AWS: SDKs repeat a request as it is, and only TLS keeps others from
/// seeing it. After that they are not.
#[tokio::test]
async fn the_same_request_is_taken_again_within_the_window_and_not_behind_it() {
    let house = House::open().await;
    let request = Asked::good().sign();
    let first = taken(&house, &request).await;
    house.later(Duration::from_secs(15 * 60));
    let second = taken(&house, &request).await;
    assert_ne!(first.body["RecordId"], second.body["RecordId"], "it is another record");
    house.later(Duration::from_secs(1));
    house.refuses(&request.bytes(), 400, INVALID).await;
    house.close().await;
}

#[tokio::test]
async fn what_means_the_same_is_taken() {
    let house = House::open().await;
    let same: &[(&str, Change)] = &[
        ("slashes", |it| it.path = "//".to_owned()),
        ("dots", |it| it.path = "/./x/..".to_owned()),
        ("an address", |it| it.path = "http://localhost".to_owned()),
        ("white space", |it| it.set("content-type", "  application/x-amz-json-1.1 ")),
        ("an unsigned header", |it| it.add("User-Agent", "x")),
        ("headers in another order", |it| it.headers.reverse()),
        ("the hash of the body", |it| it.add("X-Amz-Content-Sha256", &hash(&it.body.clone()))),
        ("no spaces", |it| it.resign(", SignedHeaders", ",SignedHeaders")),
    ];
    for (name, change) in same {
        let mut request = Asked::good().sign();
        change(&mut request);
        let answer = send(house.addr, &request.bytes()).await;
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
    }
    for sign in [Asked::add_signed, Asked::add] {
        let mut request = Asked::temporary();
        sign(&mut request, "X-Amz-Security-Token", TOKEN);
        taken(&house, &request.sign()).await;
    }
    house.close().await;
}
