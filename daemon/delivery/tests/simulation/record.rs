//! Records that say who they are, and the plugin that some of them meet.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hydrant_disk::sim::Dice;
use hydrant_plugins::{FailureCode, Input, Outcome, PluginName, Transform, TransformError};
use md5::{Digest as _, Md5};

use crate::outside::Outside;

const AGGREGATED: &[u8] = b"\xf3\x89\x9a\xc2";
const WORDS: [&str; 10] = ["keep", "keep", "keep", "keep", "keep", "keep", "drop", "fail", "bad", "busy"];

/// `{"n":7,"do":"keep","p":"a","x":"…"}`: its number, what becomes of it, its partition if it has one, and some length.
pub(crate) fn body(number: u64, dice: &mut Dice) -> Bytes {
    let at = |dice: &mut Dice, limit: usize| usize::try_from(dice.below(limit as u64)).unwrap();
    let word = WORDS[at(dice, WORDS.len())];
    let partition = [r#""p":"a","#, r#""p":"b","#, r#""p":"a/..","#, ""][at(dice, 4)];
    let length = [0, 10, 10, 40, 40, 300, 300, 1_500, 9_000][at(dice, 9)];
    let length = at(dice, length + 1);
    format!(r#"{{"n":{number},"do":"{word}",{partition}"x":"{}"}}"#, ".".repeat(length)).into()
}

/// One record that holds these: as the Kinesis Producer Library makes it, or one behind the other.
pub(crate) fn holding(bodies: &[Bytes], aggregated: bool) -> Bytes {
    if !aggregated {
        return bodies.concat().into();
    }
    let mut message = Vec::new();
    for (at, body) in bodies.iter().enumerate() {
        field(&mut message, 1, partition_key(number_of(body)).as_bytes());
        let mut entry = vec![0x08];
        varint(&mut entry, at);
        field(&mut entry, 3, body);
        field(&mut message, 3, &entry);
    }
    let digest = Md5::digest(&message);
    [AGGREGATED, &message, &digest].concat().into()
}

/// What each user record is put with.
pub(crate) fn partition_key(number: u64) -> String {
    format!("key-{number}")
}

fn field(message: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    message.push(number << 3 | 2);
    varint(message, bytes.len());
    message.extend_from_slice(bytes);
}

fn varint(message: &mut Vec<u8>, number: usize) {
    let mut rest = number;
    while rest > 0x7f {
        message.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
        rest >>= 7;
    }
    message.push(u8::try_from(rest).unwrap());
}

/// The bodies that a record of several has; of any other record it is the only one.
pub(crate) fn units(record: &[u8]) -> Vec<Bytes> {
    if record.starts_with(AGGREGATED) {
        let users = hydrant_record::user_records(record).expect("it was put together so");
        return users.into_iter().map(|user| Bytes::copy_from_slice(user.data)).collect();
    }
    let text = std::str::from_utf8(record).unwrap();
    let rest = text.strip_prefix('{').unwrap_or_else(|| panic!("invented: {text}"));
    let (whole, last) = rest.rsplit_once("}{").map_or((None, rest), |(whole, last)| (Some(whole), last));
    let before = whole.into_iter().flat_map(|whole| whole.split("}{")).map(|unit| format!("{{{unit}}}").into());
    before.chain([format!("{{{last}").into()]).collect()
}

pub(crate) fn number_of(body: &[u8]) -> u64 {
    let digits = body.strip_prefix(br#"{"n":"#).unwrap_or_else(|| panic!("invented: {}", body.escape_ascii()));
    let digits: Vec<u8> = digits.iter().copied().take_while(u8::is_ascii_digit).collect();
    String::from_utf8(digits).unwrap().parse().unwrap()
}

pub(crate) fn says(body: &[u8], word: &str) -> bool {
    let text = std::str::from_utf8(body).unwrap();
    let (_, rest) = text.split_once(r#","do":""#).unwrap();
    rest.starts_with(word)
}

/// What the plugin of this version makes of a record.
pub(crate) fn transformed(body: &[u8], version: u64) -> Bytes {
    let text = std::str::from_utf8(body).unwrap();
    let (head, tail) = text.split_once(",\"do\"").unwrap();
    format!(r#"{head},"v":{version},"do"{tail}"#).into()
}

/// Drops and fails by the record's word, and more of them with each version.
#[derive(Debug)]
pub(crate) struct Plugin {
    pub(crate) version: u64,
    pub(crate) outside: Arc<Mutex<Outside>>,
}

impl Transform for Plugin {
    fn transform(&mut self, records: &[Input]) -> Result<Vec<Outcome>, TransformError> {
        let mut outside = self.outside.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stops = || outside.chance(1, 40);
        if stops() {
            let message = "it does not answer today".to_owned();
            return Err(TransformError { plugin: "sim".to_owned(), message });
        }
        let outcomes = records.iter().map(|input| {
            let number = number_of(&input.data);
            let key = input.source.as_ref().and_then(|source| source.partition_key.clone());
            assert!(key.is_none_or(|key| key == partition_key(number)), "the plugin is told of another record");
            let another_day = number % 7 == self.version % 7;
            if says(&input.data, "drop") || another_day {
                outside.truth.said_drop(number);
                Outcome::Dropped
            } else if says(&input.data, "fail") {
                let plugin = PluginName("urn:hydrant:plugin:sim".into());
                let code = FailureCode::ProcessingFailedStatus;
                Outcome::ProcessingFailed { code, message: "it is to fail".to_owned(), plugin }
            } else {
                Outcome::Ok { data: transformed(&input.data, self.version), partition_keys: Vec::new() }
            }
        });
        Ok(outcomes.collect())
    }
}
