//! WebAssembly in Lambda's place: loads plugins, keeps them within their limits, and answers for every record.
//!
//! [`Host`] compiles a component and checks that it is one of ours; [`LoadedPlugin`] is the result, shared by whoever
//! needs instances of it; [`Chain`] runs the plugins of one delivery stream one after the other. The invariant: n records
//! in, n outcomes out, whatever the guest does. A guest has no file, network, clock or randomness.

mod bindings;
mod cache;
mod chain;
mod guest;
mod host;
mod load;
mod loaded;
mod processor;
mod ticker;
mod voice;

use std::fmt;

use bytes::Bytes;
use hydrant_record::{Timestamp, Unit};

pub use cache::CacheError;
pub use chain::Chain;
pub use host::{Host, HostError, HostOptions};
pub use load::LoadError;
pub use loaded::{LoadedPlugin, PluginInfo};

/// One record on its way into a transform.
#[derive(Clone, Debug)]
pub struct Input {
    pub unit: Unit,
    pub arrived_at: Timestamp,
    /// Kinesis sources only.
    pub source: Option<SourceMeta>,
    pub data: Bytes,
}

/// Where a record of a Kinesis stream came from.
#[derive(Clone, Debug)]
pub struct SourceMeta {
    pub shard: String,
    pub sequence: String,
    /// Among the user records of one record of the stream.
    pub subsequence: u64,
    pub partition_key: Option<String>,
}

/// The verdict on one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok {
        data: Bytes,
        partition_keys: Vec<(String, String)>,
    },
    /// Only a plugin may say this. It is counted.
    Dropped,
    ProcessingFailed {
        code: FailureCode,
        message: String,
        plugin: PluginName,
    },
}

/// Firehose's code for an error record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureCode {
    /// The plugin said so: `Lambda.ProcessingFailedStatus`.
    ProcessingFailedStatus,
    /// A trap or a limit: `Lambda.FunctionError`.
    FunctionError,
}

/// The ARN a plugin was configured by, else `urn:hydrant:plugin:<sha256>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginName(pub std::sync::Arc<str>);

/// A batch in, one outcome per record out, in the same order. Blocks; call it off the async threads.
pub trait Transform: Send + fmt::Debug {
    fn transform(&mut self, records: &[Input]) -> Result<Vec<Outcome>, TransformError>;
}

/// The transform as a whole could not answer and `on_error: stop` is set, or the host itself failed. Nothing is lost:
/// the batch is given again later.
#[derive(Debug, thiserror::Error)]
#[error("plugin `{plugin}`: {message}")]
pub struct TransformError {
    pub plugin: String,
    pub message: String,
}
