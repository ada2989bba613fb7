//! One good request, and every way to spoil it: each must be refused, with the code that AWS's clients know.

use http::HeaderValue;

use super::tests::{BODY, SIGNED, good, head, keys};
use super::*;

const NOON_SECONDS: u64 = 1_705_320_000;

const MISMATCH: &str = "InvalidSignatureException";
const INCOMPLETE: &str = "IncompleteSignatureException";
const UNKNOWN: &str = "UnrecognizedClientException";
const MISSING: &str = "MissingAuthenticationTokenException";

struct Sent {
    head: Parts,
    body: Vec<u8>,
    /// Seconds since 1970.
    now: u64,
}

impl Sent {
    fn good() -> Sent {
        Sent { head: head(&[]), body: BODY.into(), now: NOON_SECONDS }
    }

    fn set(&mut self, name: &'static str, value: &str) {
        self.head.headers.insert(name, HeaderValue::from_str(value).unwrap());
    }

    fn add(&mut self, name: &'static str, value: &str) {
        self.head.headers.append(name, HeaderValue::from_str(value).unwrap());
    }

    fn remove(&mut self, name: &str) {
        self.head.headers.remove(name).unwrap();
    }

    fn at(&mut self, uri: &str) {
        self.head.uri = uri.parse().unwrap();
    }

    /// Changes a part of the `Authorization` header.
    fn sign(&mut self, from: &str, to: &str) {
        let changed = good().replacen(from, to, 1);
        assert_ne!(changed, good(), "{from}");
        self.set("authorization", &changed);
    }

    fn verify(&self, auth: &Auth) -> Result<Caller, ApiError> {
        auth.verify(&self.head, &self.body, "firehose", Timestamp::from_millis(self.now * 1000))
    }
}

type Spoil = fn(&mut Sent);

#[rustfmt::skip]
const CASES: &[(&str, Spoil, &str)] = &[
    ("another method", |it| it.head.method = http::Method::GET, MISMATCH),
    ("another path", |it| it.at("/other"), MISMATCH),
    ("a path behind slashes", |it| it.at("//other"), MISMATCH),
    ("a query", |it| it.at("/?a=b"), MISMATCH),
    ("a query without a value", |it| it.at("/?a"), MISMATCH),
    ("another host", |it| it.set("host", "firehose.eu-west-1.amazonaws.com"), MISMATCH),
    ("a port", |it| it.set("host", "firehose.us-east-1.amazonaws.com:443"), MISMATCH),
    ("no host", |it| it.remove("host"), MISMATCH),
    ("the host twice", |it| it.add("host", "firehose.us-east-1.amazonaws.com"), MISMATCH),
    ("another content type", |it| it.set("content-type", "application/json"), MISMATCH),
    ("a parameter of the content type", |it| it.set("content-type", "application/x-amz-json-1.1; a=b"), MISMATCH),
    ("no content type", |it| it.remove("content-type"), MISMATCH),
    ("the content type twice", |it| it.add("content-type", "application/x-amz-json-1.1"), MISMATCH),
    ("another target", |it| it.set("x-amz-target", "Firehose_20150804.DeleteDeliveryStream"), MISMATCH),
    ("no target", |it| it.remove("x-amz-target"), MISMATCH),
    ("the target twice", |it| it.add("x-amz-target", "Firehose_20150804.PutRecord"), MISMATCH),
    ("another second", |it| it.set("x-amz-date", "20240115T120001Z"), MISMATCH),
    ("another day", |it| it.set("x-amz-date", "20240116T120000Z"), MISMATCH),
    ("no date", |it| it.remove("x-amz-date"), INCOMPLETE),
    ("a date with dashes", |it| it.set("x-amz-date", "2024-01-15T12:00:00Z"), INCOMPLETE),
    ("the date twice", |it| it.add("x-amz-date", "20240115T120000Z"), MISMATCH),
    ("a byte of the body", |it| it.body[30] ^= 1, MISMATCH),
    ("no body", |it| it.body.clear(), MISMATCH),
    ("more body", |it| it.body.push(b' '), MISMATCH),
    ("the hash of another body", |it| it.set("x-amz-content-sha256", &"0".repeat(64)), MISMATCH),
    ("an unsigned body", |it| it.set("x-amz-content-sha256", "UNSIGNED-PAYLOAD"), MISMATCH),
    ("a body signed in chunks", |it| it.set("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), MISMATCH),
    ("no authorization", |it| it.remove("authorization"), MISSING),
    ("two authorizations", |it| it.add("authorization", &good()), INCOMPLETE),
    ("both forms", |it| it.at("/?X-Amz-Algorithm=AWS4-HMAC-SHA256"), MISMATCH),
    ("another algorithm", |it| it.sign("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), INCOMPLETE),
    ("the algorithm in small letters", |it| it.sign("AWS4-HMAC", "aws4-hmac"), INCOMPLETE),
    ("a bearer", |it| it.set("authorization", "Bearer token"), INCOMPLETE),
    ("nothing but the algorithm", |it| it.set("authorization", "AWS4-HMAC-SHA256"), INCOMPLETE),
    ("no credential", |it| it.sign("Credential=", "Other="), INCOMPLETE),
    ("no signed headers", |it| it.sign("SignedHeaders=", "Other="), INCOMPLETE),
    ("no signature", |it| it.sign("Signature=", "Other="), INCOMPLETE),
    ("two signatures", |it| it.sign("Signature=", "Signature=00, Signature="), INCOMPLETE),
    ("two credentials", |it| it.sign("Credential=", "Credential=A/b, Credential="), INCOMPLETE),
    ("a short credential", |it| it.sign("/firehose/", "/"), INCOMPLETE),
    ("a long credential", |it| it.sign("/firehose/", "/firehose/x/"), INCOMPLETE),
    ("another terminator", |it| it.sign("aws4_request", "aws5_request"), INCOMPLETE),
    ("an unknown key", |it| it.sign("AKIDEXAMPLE", "AKIDOTHER"), UNKNOWN),
    ("the key in small letters", |it| it.sign("AKIDEXAMPLE", "akidexample"), UNKNOWN),
    ("an empty key", |it| it.sign("AKIDEXAMPLE", ""), UNKNOWN),
    ("a scope of another day", |it| it.sign("20240115/", "20240114/"), MISMATCH),
    ("a scope of another region", |it| it.sign("us-east-1", "us-east-2"), MISMATCH),
    ("a scope of no region", |it| it.sign("us-east-1", ""), MISMATCH),
    ("a scope of an impossible region", |it| it.sign("us-east-1", "US_EAST"), MISMATCH),
    ("a scope of another service", |it| it.sign("/firehose/", "/kinesis/"), MISMATCH),
    ("another signature", |it| it.sign("Signature=1", "Signature=2"), MISMATCH),
    ("a short signature", |it| it.sign("Signature=17", "Signature="), INCOMPLETE),
    ("a signature that is no number", |it| it.sign("Signature=1", "Signature=g"), INCOMPLETE),
    ("signed headers in another order", |it| it.sign("content-type;host", "host;content-type"), MISMATCH),
    ("a signed header less", |it| it.sign("content-type;host", "host"), MISMATCH),
    ("a signed header more", |it| it.sign("x-amz-target", "x-amz-target;x-other"), MISMATCH),
    ("a signed header twice", |it| it.sign("content-type;host", "content-type;host;host"), MISMATCH),
    ("the host not signed", |it| it.sign("content-type;host", "content-type"), MISMATCH),
    ("the date not signed", |it| it.sign("x-amz-date;", ""), MISMATCH),
    ("no header signed", |it| it.sign(SIGNED, ""), MISMATCH),
    ("a session token of nobody", |it| it.set("x-amz-security-token", "token"), UNKNOWN),
    ("16 minutes late", |it| it.now += 16 * 60, MISMATCH),
    ("16 minutes early", |it| it.now -= 16 * 60, MISMATCH),
    ("a day late", |it| it.now += 86_400, MISMATCH),
    ("a year early", |it| it.now -= 365 * 86_400, MISMATCH),
];

#[test]
fn whatever_is_changed_is_refused() {
    assert!(CASES.len() >= 40);
    let auth = Auth::Keys(keys());
    for (name, spoil, code) in CASES {
        // Before the derived key is remembered, and after.
        for _ in 0..2 {
            let mut sent = Sent::good();
            spoil(&mut sent);
            match sent.verify(&auth) {
                Ok(caller) => panic!("{name}: taken from {caller:?}"),
                Err(error) => assert_eq!((error.code, error.status.as_u16()), (*code, 400), "{name}: {error}"),
            }
            Sent::good().verify(&auth).unwrap();
        }
    }
}

#[test]
fn what_means_the_same_is_taken() {
    let auth = Auth::Keys(keys());
    let same: &[(&str, Spoil)] = &[
        // Within the window: SDKs repeat a request as it is. Only TLS keeps others from seeing it.
        ("the same again", |_| {}),
        ("slashes", |it| it.at("//")),
        ("dots", |it| it.at("/./x/..")),
        ("an address", |it| it.at("http://firehose.us-east-1.amazonaws.com")),
        ("white space", |it| it.set("content-type", "  application/x-amz-json-1.1 ")),
        ("an unsigned header", |it| it.set("user-agent", "x")),
        ("no spaces", |it| it.set("authorization", &good().replace(", ", ","))),
        ("14 minutes late", |it| it.now += 14 * 60),
        ("14 minutes early", |it| it.now -= 14 * 60),
    ];
    for (name, change) in same {
        let mut sent = Sent::good();
        change(&mut sent);
        sent.verify(&auth).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn temporary_credentials_need_their_token() {
    let mut credential = Credential::new("AKIDEXAMPLE", Secret::new(super::tests::SECRET));
    credential.session_token = Some(Secret::new("the token"));
    let auth = Auth::Keys(Keys::new(&[credential]));
    assert_eq!(Sent::good().verify(&auth).unwrap_err().code, UNKNOWN);
    for (token, taken) in [("the token", true), ("the tokem", false), ("", false)] {
        let mut sent = Sent::good();
        sent.set("x-amz-security-token", token);
        assert_eq!(sent.verify(&auth).is_ok(), taken, "{token}");
    }
}
