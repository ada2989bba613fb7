//! Bulk requests, byte for byte, and the cuts between them.

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use hydrant_config::{DocumentId, IndexRotation, OpenSearch};
use hydrant_record::{Epoch, LogId, Lsn, StreamId, Timestamp, Unit};
use proptest::prelude::*;
use serde_json::Value;

use super::BulkEncoder;
use crate::{EncodedRequest, RequestEncoder, RequestIdentity, RequestRecord};

/// 2016-02-25T13:00Z, the guide's own example.
const EXAMPLE_MILLIS: u64 = 1_456_405_200_000;

fn search() -> OpenSearch {
    OpenSearch {
        endpoint: "http://127.0.0.1:9200".parse().unwrap(),
        index: "myindex".to_owned(),
        rotation: IndexRotation::None,
        type_name: None,
        document_id: DocumentId::Default,
        login: None,
        ca: None,
        retry: Duration::from_secs(300),
        request_size: 5 << 20,
        request_timeout: Duration::from_secs(60),
    }
}

fn identity() -> RequestIdentity {
    RequestIdentity {
        log: LogId([1; 16]),
        delivery_stream: StreamId([2; 16]),
        epoch: Epoch(3),
        chunk: 4,
        part: 5,
        made_at: Timestamp::from_millis(EXAMPLE_MILLIS),
    }
}

fn record(lsn: u64, data: &[u8]) -> RequestRecord {
    let unit = Unit { lsn: Lsn::new(lsn).unwrap(), sub: 0 };
    let (arrived_at, data) = (Timestamp::from_millis(EXAMPLE_MILLIS), Bytes::copy_from_slice(data));
    RequestRecord { unit, arrived_at, data, document_id: None }
}

/// All requests that these records make.
fn requests(search: &OpenSearch, records: Vec<RequestRecord>) -> Vec<(EncodedRequest, String)> {
    let mut source = records.into_iter().map(io::Result::Ok);
    let source: &mut dyn Iterator<Item = io::Result<RequestRecord>> = &mut source;
    let mut source = source.peekable();
    let mut encoder = BulkEncoder::new(search);
    let mut made = Vec::new();
    while source.peek().is_some() {
        let mut out = Vec::new();
        let request = encoder.encode(&identity(), &mut source, &mut out).unwrap();
        made.push((request, String::from_utf8(out).unwrap()));
    }
    made
}

fn one(search: &OpenSearch, records: Vec<RequestRecord>) -> (EncodedRequest, String) {
    let mut made = requests(search, records);
    assert_eq!(made.len(), 1);
    made.remove(0)
}

/// Index and id of every action.
fn addresses(body: &str) -> Vec<(String, Option<String>)> {
    let actions = body.lines().step_by(2).map(|line| serde_json::from_str::<Value>(line).unwrap());
    let text = |value: &Value| value.as_str().map(str::to_owned);
    actions.map(|action| (text(&action["create"]["_index"]).unwrap(), text(&action["create"]["_id"]))).collect()
}

#[test]
fn a_request_is_an_action_and_a_document_for_each_record() {
    let (request, body) = one(&search(), vec![record(1, b"{\"n\":1}"), record(2, b" {\"n\" :\r\n2}\n")]);
    assert_eq!(
        body,
        concat!(
            "{\"create\":{\"_index\":\"myindex\",\"_id\":\"BLBYjI5waHuh7r1RdwWgrc8ZhdA\"}}\n{\"n\":1}\n",
            "{\"create\":{\"_index\":\"myindex\",\"_id\":\"RTL8Oia21RenV9nUz8iRxQf_n3Q\"}}\n{\"n\" :2}\n",
        )
    );
    assert_eq!(request, EncodedRequest { key: "bulk-4-5".to_owned(), records: 2, rejected: Vec::new() });
}

#[test]
fn a_document_that_failed_before_keeps_its_id_unless_the_server_makes_the_ids() {
    let again = || RequestRecord { document_id: Some("495.0".to_owned()), ..record(1, b"{}") };
    let id = |search: &OpenSearch| addresses(&one(search, vec![again()]).1).remove(0).1;
    assert_eq!(id(&search()).as_deref(), Some("495.0"));
    assert_eq!(id(&OpenSearch { document_id: DocumentId::None, ..search() }), None);
}

#[test]
fn indices_rotate_by_arrival_as_firehose_names_them() {
    let name = |rotation, millis| {
        let search = OpenSearch { rotation, ..search() };
        let record = RequestRecord { arrived_at: Timestamp::from_millis(millis), ..record(1, b"{}") };
        addresses(&one(&search, vec![record]).1).remove(0).0
    };
    for (rotation, expected) in [
        (IndexRotation::None, "myindex"),
        (IndexRotation::OneHour, "myindex-2016-02-25-13"),
        (IndexRotation::OneDay, "myindex-2016-02-25"),
        (IndexRotation::OneWeek, "myindex-2016-w08"),
        (IndexRotation::OneMonth, "myindex-2016-02"),
    ] {
        assert_eq!(name(rotation, EXAMPLE_MILLIS), expected);
    }
    // The first day of 2021 is in the last week of 2020; the last millisecond of an hour is still in it.
    assert_eq!(name(IndexRotation::OneWeek, 1_609_459_200_000), "myindex-2020-w53");
    assert_eq!(name(IndexRotation::OneHour, 1_609_459_199_999), "myindex-2020-12-31-23");
    assert_eq!(name(IndexRotation::OneDay, 0), "myindex-1970-01-01");
}

#[test]
fn one_request_may_hold_several_indices() {
    let search = OpenSearch { rotation: IndexRotation::OneDay, ..search() };
    let at = |lsn, day: u64| {
        let arrived_at = Timestamp::from_millis(EXAMPLE_MILLIS + day * 86_400_000);
        RequestRecord { arrived_at, ..record(lsn, b"{}") }
    };
    let (_, body) = one(&search, vec![at(1, 0), at(2, 1), at(3, 0)]);
    let indices: Vec<String> = addresses(&body).into_iter().map(|(index, _)| index).collect();
    assert_eq!(indices, ["myindex-2016-02-25", "myindex-2016-02-26", "myindex-2016-02-25"]);
}

#[test]
fn an_id_depends_on_all_that_a_record_is_and_on_nothing_else() {
    let id = |identity: &RequestIdentity, record: &RequestRecord| {
        super::Documents::new(&search()).id(identity, record.unit, record.arrived_at).unwrap()
    };
    let base = id(&identity(), &record(1, b"{}"));
    let sub = RequestRecord { unit: Unit { lsn: Lsn::FIRST, sub: 1 }, ..record(1, b"{}") };
    let later = RequestRecord { arrived_at: Timestamp::from_millis(EXAMPLE_MILLIS + 1), ..record(1, b"{}") };
    let others = [
        id(&RequestIdentity { log: LogId([9; 16]), ..identity() }, &record(1, b"{}")),
        id(&RequestIdentity { delivery_stream: StreamId([9; 16]), ..identity() }, &record(1, b"{}")),
        id(&RequestIdentity { epoch: Epoch(9), ..identity() }, &record(1, b"{}")),
        id(&identity(), &record(2, b"{}")),
        id(&identity(), &sub),
        id(&identity(), &later),
    ];
    let distinct: HashSet<&String> = others.iter().chain([&base]).collect();
    assert_eq!(distinct.len(), others.len() + 1);
    // Not on how a chunk was cut, nor on when.
    let recut = RequestIdentity { chunk: 9, part: 9, made_at: Timestamp::from_millis(0), ..identity() };
    assert_eq!(id(&recut, &record(1, b"other")), base);
    assert!(base.len() <= 512 && !base.starts_with('_'));
}

#[test]
fn ids_and_types_as_configured() {
    let search = OpenSearch { document_id: DocumentId::None, type_name: Some("a \"type\"".to_owned()), ..search() };
    let (_, body) = one(&search, vec![record(1, b"{}")]);
    assert_eq!(body, "{\"create\":{\"_index\":\"myindex\",\"_type\":\"a \\\"type\\\"\"}}\n{}\n");
}

#[test]
fn what_is_not_one_json_object_is_rejected_and_leaves_no_trace() {
    let deep = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    let bad: &[&[u8]] = &[
        b"",
        b"  \n",
        b"text",
        b"1",
        b"\"a\"",
        b"[{}]",
        b"null",
        b"{",
        b"{\"a\":1",
        b"{\"a\":1}{\"a\":2}",
        b"{\"a\":1}\n{\"a\":2}",
        b"{\"a\":1,}",
        b"{'a':1}",
        b"{\"a\":\"line\nbreak\"}",
        b"{\"a\":\"\xff\"}",
        b"\xef\xbb\xbf{}",
    ];
    let good: &[&[u8]] = &[b"{}", b"{\"a\":{\"b\":[1,\"\\n\"]}}", deep.as_bytes(), b"{\"a\":1,\"a\":2}"];
    let mut records = Vec::new();
    for (at, data) in bad.iter().chain(good).enumerate() {
        records.push(record(at as u64 + 1, data));
    }
    let (request, body) = one(&search(), records);
    assert_eq!(request.records as usize, good.len());
    assert_eq!(body.lines().count(), 2 * good.len());
    assert_eq!(request.rejected.iter().map(|rejected| rejected.index).collect::<Vec<_>>(), Vec::from_iter(0..16));
    for rejected in &request.rejected {
        assert_eq!(rejected.code, "400");
        let message: Value = serde_json::from_str(&rejected.message).unwrap();
        assert_eq!(message["type"], "mapper_parsing_exception");
        assert!(message["reason"].as_str().unwrap().starts_with("the record is not "), "{message}");
    }
}

#[test]
fn a_request_ends_before_the_record_that_would_be_too_much() {
    let small = OpenSearch { request_size: 1000, ..search() };
    let large = format!("{{\"pad\":\"{}\"}}", "x".repeat(2000));
    let mut records: Vec<RequestRecord> = (1..=20).map(|lsn| record(lsn, b"{\"n\":1}")).collect();
    records.insert(10, record(21, large.as_bytes()));
    records.push(record(22, large.as_bytes()));
    let made = requests(&small, records);
    let ids: Vec<_> = made.iter().flat_map(|(_, body)| addresses(body)).collect();
    assert_eq!(ids.len(), 22);
    assert_eq!(HashSet::<&(String, Option<String>)>::from_iter(&ids).len(), 22, "every record once");
    for (request, body) in &made {
        assert!(body.len() <= 1000 || request.records == 1, "{}", body.len());
    }
    assert!(made.len() <= 8, "{} requests are more than needed", made.len());
}

#[test]
fn a_failing_source_fails_the_request() {
    let mut source = [Ok(record(1, b"{}")), Err(io::Error::other("broken"))].into_iter();
    let source: &mut dyn Iterator<Item = io::Result<RequestRecord>> = &mut source;
    let mut source = source.peekable();
    let mut encoder = BulkEncoder::new(&search());
    assert_eq!(encoder.encode(&identity(), &mut source, &mut Vec::new()).unwrap().records, 1);
    encoder.encode(&identity(), &mut source, &mut Vec::new()).unwrap_err();
}

proptest! {
    /// Whatever the records are: item and action stay in step, and what is taken is taken whole.
    #[test]
    fn any_records_make_requests_that_hold_together(
        records in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            "\\{\"[a-z\n]{0,5}\":[ \n]{0,2}[0-9]{1,5}\\}".prop_map(String::into_bytes),
        ], 1..60),
        request_size in 1_u64..3000,
    ) {
        let search = OpenSearch { request_size, ..search() };
        let given = records.len();
        let records = records.iter().enumerate().map(|(at, data)| record(at as u64 + 1, data)).collect();
        let mut seen = 0;
        for (request, body) in requests(&search, records) {
            prop_assert!(body.is_empty() || body.ends_with('\n'));
            prop_assert_eq!(body.lines().count(), 2 * request.records as usize);
            for line in body.lines() {
                prop_assert!(serde_json::from_str::<Value>(line).unwrap().is_object());
            }
            seen += request.records as usize + request.rejected.len();
        }
        prop_assert_eq!(seen, given);
    }
}
