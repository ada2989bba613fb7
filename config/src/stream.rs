//! Kinesis data streams that a file manages, and how much of any one may use.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A Kinesis data stream of the YAML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataStream {
    pub name: DataStreamName,
    /// Pinned region, or any that the client signs for.
    pub region: Option<String>,
    pub on_demand: bool,
    /// Open ones.
    pub shards: u32,
    pub retention_hours: u32,
}

/// 1 to 128 of `[a-zA-Z0-9_.-]`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DataStreamName(Arc<str>);

impl DataStreamName {
    #[must_use]
    pub fn parse(text: &str) -> Option<DataStreamName> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        ((1..=128).contains(&text.len()) && text.bytes().all(allowed)).then(|| DataStreamName(text.into()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DataStreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DataStreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// What clients of Kinesis Data Streams may take. `None` is without end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KinesisLimits {
    /// Each second.
    pub shard_records_in: Option<u64>,
    /// Data and partition keys, each second.
    pub shard_bytes_in: Option<u64>,
    /// Each second; of GetRecords together, and of each subscription.
    pub shard_bytes_out: Option<u64>,
    /// Each second.
    pub shard_reads: Option<u64>,
    /// Whether AWS's rates hold for the operations that manage streams and delivery streams, and for asking where to read.
    pub control_calls: bool,
    /// Open ones of a region.
    pub shards: Option<u64>,
    /// Of a region.
    pub on_demand_streams: Option<u64>,
    /// Of a stream.
    pub consumers: Option<u64>,
    pub subscription: Duration,
}

impl Default for KinesisLimits {
    /// As without a section in the YAML.
    fn default() -> KinesisLimits {
        KinesisLimits {
            shard_records_in: None,
            shard_bytes_in: None,
            shard_bytes_out: None,
            shard_reads: None,
            control_calls: false,
            shards: Some(20_000),
            on_demand_streams: Some(50),
            consumers: Some(20),
            subscription: Duration::from_secs(300),
        }
    }
}
