//! Prefixes with Firehose's expressions, parsed once.

use std::collections::BTreeSet;

use chrono_tz::Tz;
use hydrant_record::Timestamp;

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
    _private: (),
}

/// Records with equal partitions go into the same objects: the prefix with its keys filled in, its times and random strings not yet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(String);

/// What the text of an expression is at staging, once per object.
#[derive(Debug)]
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

impl Prefix {
    pub fn parse(_text: &str, _kind: PrefixKind) -> Result<Prefix, PrefixError> {
        unreachable!()
    }
    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        unreachable!()
    }
    #[must_use]
    pub fn has_expressions(&self) -> bool {
        unreachable!()
    }
    #[must_use]
    pub fn has_timestamp(&self) -> bool {
        unreachable!()
    }
    #[must_use]
    pub fn has_error_output_type(&self) -> bool {
        unreachable!()
    }
    /// The partition keys it asks for.
    #[must_use]
    pub fn keys(&self) -> &BTreeSet<(KeySource, String)> {
        unreachable!()
    }
    /// Fills in the keys, escaped as Hive does. `Err` names the key that `lookup` had no value for.
    pub fn partition<'a>(&self, _lookup: &dyn Fn(KeySource, &str) -> Option<&'a str>) -> Result<Partition, String> {
        unreachable!()
    }
    /// The prefix of one object of a partition.
    #[must_use]
    pub fn evaluate(&self, _partition: &Partition, _values: &mut PrefixValues<'_>) -> String {
        unreachable!()
    }
}
