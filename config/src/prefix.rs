//! Prefixes with Firehose's expressions, parsed once.
//!
//! A [`Partition`] is the prefix with its keys filled in; the holes left in it are control characters, which neither
//! the text of a prefix nor an escaped value can hold.

mod escape;
mod parse;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;

use chrono_tz::Tz;
use hydrant_record::Timestamp;

use crate::time_pattern::TimePattern;

/// Hole for a timestamp: this, the pattern, [`PATTERN_END`].
const PATTERN: char = '\u{1}';
const PATTERN_END: char = '\u{2}';
const RANDOM_STRING: char = '\u{3}';
const ERROR_OUTPUT_TYPE: char = '\u{4}';

/// Where a prefix stands decides which expressions it may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefixKind {
    Output,
    ErrorOutput,
}

/// Which namespace a partition key is asked of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeySource {
    Query,
    Lambda,
}

/// A parsed prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix {
    text: Arc<str>,
    parts: Vec<Part>,
    keys: BTreeSet<(KeySource, String)>,
    /// The partition of every record, if there are no keys.
    only: Option<Partition>,
}

/// Records with equal partitions go into the same objects: the prefix with its keys filled in, its times and random strings not yet.
///
/// Two partitions of a prefix are equal if and only if the prefixes that they evaluate to at one moment are, random strings apart.
/// A clone costs no allocation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(Arc<str>);

/// What the text of an expression is at staging, once per object.
pub struct PrefixValues<'a> {
    /// Arrival of the oldest record in the object.
    pub time: Timestamp,
    pub time_zone: Tz,
    /// `processing-failed` and so on; for error output prefixes only.
    pub error_output_type: Option<&'a str>,
    /// 16 fresh bytes per call, derived from the chunk's identity by the caller.
    pub random: &'a mut dyn FnMut() -> [u8; 16],
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PrefixError {
    /// Byte offset in the prefix text.
    pub offset: usize,
    pub message: String,
    pub hint: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Timestamp { pattern: String, parsed: TimePattern },
    RandomString,
    ErrorOutputType,
    Key(KeySource, String),
}

impl std::fmt::Debug for PrefixValues<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrefixValues").field("time", &self.time).finish_non_exhaustive()
    }
}

impl Prefix {
    /// Takes text with expressions `!{namespace:value}` (Firehose developer guide, "Custom prefixes").
    pub fn parse(text: &str, kind: PrefixKind) -> Result<Prefix, PrefixError> {
        let parts = parse::parts(text, kind)?;
        let keys: BTreeSet<_> = parts
            .iter()
            .filter_map(|part| match part {
                Part::Key(source, key) => Some((*source, key.clone())),
                _ => None,
            })
            .collect();
        let mut prefix = Prefix { text: text.into(), parts, keys, only: None };
        if prefix.keys.is_empty() {
            prefix.only = prefix.partition(&|_, _| None).ok();
        }
        Ok(prefix)
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    #[must_use]
    pub fn has_expressions(&self) -> bool {
        self.parts.iter().any(|part| !matches!(part, Part::Text(_)))
    }

    #[must_use]
    pub fn has_timestamp(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Timestamp { .. }))
    }

    #[must_use]
    pub fn has_error_output_type(&self) -> bool {
        self.parts.contains(&Part::ErrorOutputType)
    }

    /// The partition keys it asks for.
    #[must_use]
    pub fn keys(&self) -> &BTreeSet<(KeySource, String)> {
        &self.keys
    }

    /// Fills in the keys, escaped as Hive does. `Err` names the key that `lookup` had no value for.
    /// Without keys it is a clone of one partition, made at parsing.
    pub fn partition<'a>(&self, lookup: &dyn Fn(KeySource, &str) -> Option<&'a str>) -> Result<Partition, String> {
        if let Some(only) = &self.only {
            return Ok(only.clone());
        }
        let mut out = String::with_capacity(self.text.len() + 64);
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Timestamp { pattern, .. } => {
                    out.push(PATTERN);
                    out.push_str(pattern);
                    out.push(PATTERN_END);
                }
                Part::RandomString => out.push(RANDOM_STRING),
                Part::ErrorOutputType => out.push(ERROR_OUTPUT_TYPE),
                Part::Key(source, key) => {
                    escape::push_escaped(&mut out, lookup(*source, key).ok_or_else(|| key.clone())?);
                }
            }
        }
        Ok(Partition(out.into()))
    }

    /// The prefix of one object of a partition. `partition` may be of an older prefix, from the spool: it carries all it needs.
    #[must_use]
    pub fn evaluate(&self, partition: &Partition, values: &mut PrefixValues<'_>) -> String {
        let mut out = String::with_capacity(partition.0.len() + 16);
        let mut rest = &*partition.0;
        while let Some(at) = rest.find([PATTERN, RANDOM_STRING, ERROR_OUTPUT_TYPE]) {
            out.push_str(&rest[..at]);
            let hole = &rest[at..];
            rest = &hole[1..];
            if hole.starts_with(RANDOM_STRING) {
                push_random(&mut out, (values.random)());
            } else if hole.starts_with(ERROR_OUTPUT_TYPE) {
                out.push_str(values.error_output_type.unwrap_or_default());
            } else if let Some((pattern, after)) = rest.split_once(PATTERN_END) {
                self.push_time(&mut out, pattern, values);
                rest = after;
            }
        }
        out.push_str(rest);
        out
    }

    fn push_time(&self, out: &mut String, pattern: &str, values: &PrefixValues<'_>) {
        let own = self.parts.iter().find_map(|part| match part {
            Part::Timestamp { pattern: text, parsed } if text == pattern => Some(parsed),
            _ => None,
        });
        match own {
            Some(parsed) => parsed.format(values.time, values.time_zone, out),
            None => {
                if let Ok(parsed) = TimePattern::parse(pattern) {
                    parsed.format(values.time, values.time_zone, out);
                }
            }
        }
    }
}

impl Partition {
    /// For a spool; [`Partition::from_bytes`] reads it back.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// `None` if [`Partition::as_bytes`] cannot have given these bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Partition> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut rest = text;
        while let Some(at) = rest.find(|c: char| c.is_ascii_control()) {
            let hole = &rest[at..];
            rest = match hole.chars().next()? {
                RANDOM_STRING | ERROR_OUTPUT_TYPE => &hole[1..],
                PATTERN => {
                    let (pattern, after) = hole[1..].split_once(PATTERN_END)?;
                    TimePattern::parse(pattern).ok()?;
                    after
                }
                _ => return None,
            };
        }
        Some(Partition(text.into()))
    }
}

/// The first 11 characters of a UUID: `046b6c7f-0b`.
fn push_random(out: &mut String, random: [u8; 16]) {
    let [a, b, c, d, e, ..] = random;
    write!(out, "{a:02x}{b:02x}{c:02x}{d:02x}-{e:02x}").expect("a String takes every text");
}
