//! Bodies of requests, byte for byte.

use std::io::Read as _;
use std::path::Path;

use hydrant_config::{DeliveryStream, Environment};
use hydrant_record::Lsn;
use serde_json::Value;

use super::*;

fn stream(rest: &str) -> DeliveryStream {
    let yaml = format!("delivery_streams:\n  - name: s\n    backup: {{ file: {{ directory: b }} }}\n{rest}\n");
    let loaded = hydrant_config::load_text(&yaml, Path::new("t.yaml"), &Environment::of([]));
    loaded.unwrap_or_else(|problems| panic!("{problems}")).config.delivery_streams[0].clone()
}

fn http(rest: &str) -> Box<dyn RequestEncoder> {
    let yaml = format!("    destination: {{ http_endpoint: {{ url: \"http://127.0.0.1:1/\"{rest} }} }}");
    request_encoder(&stream(&yaml)).unwrap()
}

fn splunk(kind: &str) -> Box<dyn RequestEncoder> {
    let yaml = "    destination: { splunk: { endpoint: \"http://127.0.0.1:1\", token: plain:t, endpoint_type: KIND } }";
    request_encoder(&stream(&yaml.replace("KIND", kind))).unwrap()
}

fn identity() -> RequestIdentity {
    RequestIdentity {
        log: LogId([9; 16]),
        delivery_stream: StreamId([1; 16]),
        epoch: Epoch(2),
        chunk: 3,
        part: 0,
        made_at: Timestamp::from_millis(1_578_090_901_599),
    }
}

fn records(data: &[&[u8]]) -> Vec<io::Result<RequestRecord>> {
    let record = |(at, data): (u64, &&[u8])| {
        let unit = Unit { lsn: Lsn::FIRST.plus(at), sub: 0 };
        Ok(RequestRecord {
            unit,
            arrived_at: Timestamp::from_millis(1),
            data: Bytes::copy_from_slice(data),
            document_id: None,
        })
    };
    (0..).zip(data).map(record).collect()
}

/// Every request that the records make.
fn all(encoder: &mut dyn RequestEncoder, data: &[&[u8]]) -> Vec<(EncodedRequest, Vec<u8>)> {
    let mut source = records(data).into_iter();
    let source: &mut dyn Iterator<Item = io::Result<RequestRecord>> = &mut source;
    let mut records = source.peekable();
    let mut made = Vec::new();
    for part in 0.. {
        if records.peek().is_none() {
            break;
        }
        let mut out = Vec::new();
        let encoded = encoder.encode(&RequestIdentity { part, ..identity() }, &mut records, &mut out).unwrap();
        made.push((encoded, out));
    }
    made
}

fn one(encoder: &mut dyn RequestEncoder, data: &[&[u8]]) -> (EncodedRequest, Vec<u8>) {
    let mut made = all(encoder, data);
    assert_eq!(made.len(), 1);
    made.remove(0)
}

#[test]
fn an_http_request_is_firehoses() {
    let mut encoder = http("");
    let (encoded, body) = one(&mut *encoder, &[b"aGVsbG8", b"", b"\x00\xff"]);
    let expected = format!(
        r#"{{"records":[{{"data":"YUdWc2JHOA=="}},{{"data":""}},{{"data":"AP8="}}],"timestamp":1578090901599,"requestId":"{}"}}"#,
        encoded.key
    );
    assert_eq!(String::from_utf8(body).unwrap(), expected);
    assert_eq!((encoded.records, encoded.rejected.len()), (3, 0));
    assert_eq!((encoder.content_type(), encoder.content_encoding()), ("application/json", None));
    let parts: Vec<usize> = encoded.key.split('-').map(str::len).collect();
    assert_eq!(parts, [8, 4, 4, 4, 12]);
}

#[test]
fn gzip_holds_the_same_body() {
    let mut encoder = http(", content_encoding: gzip");
    assert_eq!(encoder.content_encoding(), Some("gzip"));
    let (_, body) = one(&mut *encoder, &[b"a", b"b"]);
    let mut plain = Vec::new();
    flate2::bufread::GzDecoder::new(&body[..]).read_to_end(&mut plain).unwrap();
    assert_eq!(plain, one(&mut *http(""), &[b"a", b"b"]).1);
}

#[test]
fn the_id_depends_on_place_and_records_alone() {
    let mut encoder = http("");
    let mut key = |identity: RequestIdentity, data: &[&[u8]]| {
        let mut source = records(data).into_iter();
        let source: &mut dyn Iterator<Item = io::Result<RequestRecord>> = &mut source;
        encoder.encode(&identity, &mut source.peekable(), &mut Vec::new()).unwrap().key
    };
    let first = key(identity(), &[b"a", b"bc"]);
    let later = RequestIdentity { made_at: Timestamp::from_millis(9), ..identity() };
    assert_eq!(key(later, &[b"a", b"bc"]), first, "a repeat after a crash before anything was staged");
    for other in [
        key(identity(), &[b"ab", b"c"]),
        key(RequestIdentity { part: 1, ..identity() }, &[b"a", b"bc"]),
        key(RequestIdentity { chunk: 4, ..identity() }, &[b"a", b"bc"]),
        key(RequestIdentity { epoch: Epoch(3), ..identity() }, &[b"a", b"bc"]),
        key(RequestIdentity { delivery_stream: StreamId([2; 16]), ..identity() }, &[b"a", b"bc"]),
    ] {
        assert_ne!(other, first);
    }
}

#[test]
fn a_request_ends_at_its_size_and_at_ten_thousand_records() {
    let mut encoder = http("");
    let large = vec![b'x'; 3 << 20];
    let counts: Vec<u32> = all(&mut *encoder, &[&large[..]; 5]).iter().map(|(made, _)| made.records).collect();
    assert_eq!(counts, [2, 2, 1], "5 MiB are reached with the second");
    let made = all(&mut *encoder, &[&b"x"[..]; 10_001]);
    assert_eq!(made.iter().map(|(made, _)| made.records).collect::<Vec<_>>(), [10_000, 1]);
    assert_ne!(made[0].0.key, made[1].0.key);
}

#[test]
fn a_body_stays_below_the_protocols_64_mib() {
    let yaml = "    buffering: { size: 64 MiB }\n    destination: { http_endpoint: { url: \"http://127.0.0.1:1/\" } }";
    let mut encoder = request_encoder(&stream(yaml)).unwrap();
    let record = vec![b'x'; 1_024_000];
    let made = all(&mut *encoder, &[&record[..]; 60]);
    assert_eq!(made.iter().map(|(made, _)| made.records).collect::<Vec<_>>(), [49, 11]);
    assert!(made.iter().all(|(_, body)| body.len() <= 64 << 20));
}

#[test]
fn a_delimiter_is_part_of_the_data() {
    let yaml = "    processing: { append_delimiter: true }\n    destination: { http_endpoint: { url: \"http://h/\" } }";
    let mut encoder = request_encoder(&stream(yaml)).unwrap();
    let (_, body) = one(&mut *encoder, &[b"a", b"b\n"]);
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&body["records"][0]["data"], &body["records"][1]["data"]), (&"YQo=".into(), &"Ygo=".into()));
}

#[test]
fn a_failing_source_fails_the_request() {
    for mut encoder in [http(""), splunk("raw")] {
        let mut source = [Err(io::Error::other("gone"))].into_iter();
        let source: &mut dyn Iterator<Item = io::Result<RequestRecord>> = &mut source;
        let made = encoder.encode(&identity(), &mut source.peekable(), &mut Vec::new());
        assert!(matches!(made, Err(EncodeError::Io(_))));
    }
}

#[test]
fn splunks_raw_endpoint_gets_lines() {
    let mut encoder = splunk("raw");
    let (encoded, body) = one(&mut *encoder, &[b"a", b"\xff\n", b"c"]);
    assert_eq!((body.as_slice(), encoded.records), (&b"a\n\xff\nc\n"[..], 3));
    assert_eq!((encoder.content_type(), encoder.content_encoding()), ("text/plain", None));
}

#[test]
fn splunks_event_endpoint_gets_events_only() {
    let mut encoder = splunk("event");
    let data: [&[u8]; 9] = [
        br#"{"event":"a"}"#,
        b"text",
        br#"{"event":{"b":1},"fields":{"c":"d"}}"#,
        br#"{"no":1}"#,
        br#"{"event":""}"#,
        b"",
        br#"{"event":1}{"event":2}"#,
        br#"{"event":1} and"#,
        b"[1]",
    ];
    let (encoded, body) = one(&mut *encoder, &data);
    let expected = r#"{"event":"a"}{"event":{"b":1},"fields":{"c":"d"}}{"event":1}{"event":2}"#;
    assert_eq!((String::from_utf8(body).unwrap().as_str(), encoded.records), (expected, 3));
    let rejected: Vec<u64> = encoded.rejected.iter().map(|rejected| rejected.index).collect();
    assert_eq!(rejected, [1, 3, 4, 5, 7, 8]);
    assert!(encoded.rejected.iter().all(|rejected| rejected.code == "Splunk.InvalidDataFormat"));
}
