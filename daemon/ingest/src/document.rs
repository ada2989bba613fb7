//! An answer that is written piece by piece in the encoding of its request: what has many records is written once, straight from
//! the log's bytes.
//!
//! Invariant: the bytes are those that [`crate::cbor::from_json`] makes of the same answer as JSON, or that JSON itself.

use serde::Serialize;
use serde_json::Value;

use crate::cbor::{self, from_json};
use crate::wire::Wire;

/// One object. Whoever opens something closes it.
#[derive(Debug)]
pub(crate) struct Document {
    wire: Wire,
    out: Vec<u8>,
    /// In JSON, something stands in front of what comes next.
    follows: bool,
}

impl Document {
    /// Behind what `out` holds already.
    pub(crate) fn open(wire: Wire, out: Vec<u8>) -> Document {
        let mut document = Document { wire, out, follows: false };
        document.open_map();
        document
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.close_map();
        self.out
    }

    /// The next member of a map; its value comes next.
    pub(crate) fn member(&mut self, name: &str) -> &mut Document {
        self.text(name);
        if self.is_json() {
            self.out.push(b':');
            self.follows = false;
        }
        self
    }

    /// As the next item of a list, for example.
    pub(crate) fn open_map(&mut self) {
        self.begin("{", cbor::open_map);
        self.follows = false;
    }

    pub(crate) fn close_map(&mut self) {
        self.close(b'}');
    }

    pub(crate) fn open_list(&mut self) {
        self.begin("[", cbor::open_list);
        self.follows = false;
    }

    pub(crate) fn close_list(&mut self) {
        self.close(b']');
    }

    /// One that needs no escapes.
    pub(crate) fn text(&mut self, text: &str) {
        self.begin("\"", |out| cbor::text(out, text));
        if self.is_json() {
            self.out.extend_from_slice(text.as_bytes());
            self.out.push(b'"');
        }
    }

    /// Any text.
    pub(crate) fn any_text(&mut self, text: &str) {
        self.json_or(text, |out| cbor::text(out, text));
    }

    pub(crate) fn blob(&mut self, bytes: &[u8]) {
        self.begin("\"", |out| cbor::blob(out, bytes));
        if self.is_json() {
            base64_simd::STANDARD.encode_append(bytes, &mut self.out);
            self.out.push(b'"');
        }
    }

    /// In JSON as seconds.
    pub(crate) fn time(&mut self, seconds: f64, millis: u64) {
        self.json_or(&seconds, |out| cbor::time(out, millis));
    }

    pub(crate) fn number(&mut self, number: u64) {
        self.json_or(&number, |out| cbor::number(out, number));
    }

    /// What is small; it has neither blobs nor times.
    pub(crate) fn value(&mut self, value: &Value) {
        self.json_or(value, |out| out.extend(from_json(&value.to_string())));
    }

    fn is_json(&self) -> bool {
        self.wire != Wire::Cbor
    }

    fn json_or(&mut self, value: &(impl Serialize + ?Sized), in_cbor: impl FnOnce(&mut Vec<u8>)) {
        self.begin("", in_cbor);
        if self.is_json() {
            serde_json::to_writer(&mut self.out, value).expect("numbers and texts are JSON, and a Vec takes them");
        }
    }

    fn begin(&mut self, in_json: &str, in_cbor: impl FnOnce(&mut Vec<u8>)) {
        if self.is_json() {
            if self.follows {
                self.out.push(b',');
            }
            self.out.extend_from_slice(in_json.as_bytes());
        } else {
            in_cbor(&mut self.out);
        }
        self.follows = true;
    }

    fn close(&mut self, in_json: u8) {
        self.out.push(if self.is_json() { in_json } else { cbor::CLOSE });
        self.follows = true;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(wire: Wire, out: Vec<u8>) -> Vec<u8> {
        let mut document = Document::open(wire, out);
        document.member("Records").open_list();
        for (key, data) in [("a", &b""[..]), ("q\"\\\n\u{1f600}", b"\xff\x00\x10"), ("", &[7; 70_000])] {
            document.open_map();
            document.member("SequenceNumber").text("49646437577108476416916876405825929425585429676275269634");
            document.member("ArrivalTimestamp").time(1_705_320_000.123, 1_705_320_000_123);
            document.member("Data").blob(data);
            document.member("PartitionKey").any_text(key);
            document.close_map();
        }
        document.close_list();
        document.member("Empty").open_list();
        document.close_list();
        document.member("MillisBehindLatest").number(u64::MAX);
        document.member("ChildShards").value(&json!([{ "ShardId": "x", "ParentShards": ["y", "z"] }, {}]));
        document.finish()
    }

    #[test]
    fn it_is_the_same_answer_in_both_encodings() {
        let mut records = Vec::new();
        for (key, data) in
            [("a", String::new()), ("q\"\\\n\u{1f600}", "/wAQ".to_owned()), ("", "BwcH".repeat(70_000 / 3))]
        {
            let data = if data.len() > 4 { data + "Bw==" } else { data };
            records.push(format!(
                r#"{{"SequenceNumber":"49646437577108476416916876405825929425585429676275269634","ArrivalTimestamp":1705320000.123,"Data":"{data}","PartitionKey":{}}}"#,
                Value::from(key)
            ));
        }
        let json = format!(
            r#"{{"Records":[{}],"Empty":[],"MillisBehindLatest":18446744073709551615,"ChildShards":[{{"ParentShards":["y","z"],"ShardId":"x"}},{{}}]}}"#,
            records.join(",")
        );
        assert_eq!(String::from_utf8(written(Wire::AmzJson, Vec::new())).unwrap(), json);
        assert!(written(Wire::Cbor, Vec::new()) == from_json(&json));
        assert_eq!(written(Wire::Json, b"head".to_vec()), [b"head", json.as_bytes()].concat());
    }
}
