//! The records in what a destination is sent.

use std::io::Read as _;

use bytes::Bytes;
use hydrant_sinks::Delivery;
use serde_json::Value;

use crate::record::units;
use crate::settings::{ERRORS, RECORDS, SOURCES};

/// What records an object or request has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Records,
    Errors,
    Sources,
}

impl Class {
    pub(crate) const COUNT: usize = 3;

    pub(crate) fn is_as_put(self) -> bool {
        self != Class::Records
    }
}

pub(crate) fn class(delivery: &Delivery) -> Class {
    let key = &delivery.key;
    if delivery.items.is_some() || RECORDS.iter().any(|prefix| key.starts_with(prefix)) {
        return Class::Records;
    }
    if key.starts_with(ERRORS) {
        return Class::Errors;
    }
    assert!(key.starts_with(SOURCES), "{key}");
    Class::Sources
}

/// Each record, in the order in which they stand there; of errors as they were put.
pub(crate) fn lines(delivery: &Delivery, class: Class, bytes: &[u8]) -> Vec<Bytes> {
    let text = text(delivery, bytes);
    if is_bulk(delivery, &text) {
        return text.lines().skip(1).step_by(2).map(|line| line.to_owned().into()).collect();
    }
    if delivery.items.is_some() {
        let body: Value = serde_json::from_str(&text).unwrap();
        return body["records"].as_array().unwrap().iter().map(|record| from_base64(&record["data"])).collect();
    }
    assert!(text.ends_with('\n'), "{}: the last line has no end", delivery.key);
    let lines = text.lines();
    match class {
        Class::Errors => {
            lines.map(|line| from_base64(&serde_json::from_str::<Value>(line).unwrap()["rawData"])).collect()
        }
        Class::Records => lines.map(|line| line.to_owned().into()).collect(),
        Class::Sources => lines.flat_map(|line| units(line.as_bytes())).collect(),
    }
}

/// What the documents of a bulk request are called; nothing else has names of its own for each record.
pub(crate) fn ids(delivery: &Delivery, bytes: &[u8]) -> Vec<String> {
    let text = text(delivery, bytes);
    if !is_bulk(delivery, &text) {
        return Vec::new();
    }
    let actions = text.lines().step_by(2).map(|line| serde_json::from_str::<Value>(line).unwrap());
    actions.map(|action| action["create"]["_id"].as_str().unwrap().to_owned()).collect()
}

fn is_bulk(delivery: &Delivery, text: &str) -> bool {
    delivery.items.is_some() && text.starts_with(r#"{"create""#)
}

fn text(delivery: &Delivery, bytes: &[u8]) -> String {
    match delivery.content_encoding.as_deref() {
        Some("gzip") => {
            let mut text = String::new();
            flate2::read::MultiGzDecoder::new(bytes).read_to_string(&mut text).unwrap();
            text
        }
        None => String::from_utf8(bytes.to_vec()).unwrap(),
        Some(other) => panic!("{other}"),
    }
}

fn from_base64(text: &Value) -> Bytes {
    base64_simd::STANDARD.decode_to_vec(text.as_str().unwrap()).unwrap().into()
}
