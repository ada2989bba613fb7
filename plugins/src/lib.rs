//! WebAssembly in Lambda's place: loads plugins, keeps them within their limits, and answers for every record.

use std::fmt;

use bytes::Bytes;
use hydrant_record::{Timestamp, Unit};

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
    pub partition_key: Option<String>,
}

/// The verdict on one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok { data: Bytes, partition_keys: Vec<(String, String)> },
    /// Only a plugin may say this. It is counted.
    Dropped,
    ProcessingFailed { code: FailureCode, message: String, plugin: PluginName },
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
