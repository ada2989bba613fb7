//! One attempt at one destination. A sink never retries, batches, spawns or decides; the retry decorator in `delivery` does.

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use hydrant_disk::DiskFile;

/// One object of a chunk, as it was staged. Every attempt sends these bytes under this name.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Object key, or path below the directory; exactly as evaluated.
    pub key: String,
    pub body: Body,
    pub content_type: &'static str,
    pub content_encoding: Option<String>,
    /// Object metadata, names without `x-amz-meta-`: `hydrant-range`, `hydrant-sha256`, …
    pub metadata: Vec<(String, String)>,
}

/// A range of a staged file.
#[derive(Clone)]
pub struct Body {
    pub file: Arc<dyn DiskFile>,
    pub offset: u64,
    pub length: u64,
    pub sha256: [u8; 32],
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("offset", &self.offset).field("length", &self.length).finish_non_exhaustive()
    }
}

/// Proof that the destination holds exactly these bytes under exactly this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// It was there already: an earlier attempt whose answer was lost.
    pub was_there: bool,
}

/// One attempt. `Display` names the destination for people, without secrets.
pub trait Sink: Send + Sync + fmt::Debug + fmt::Display {
    fn deliver<'a>(&'a self, delivery: &'a Delivery) -> BoxFuture<'a, Result<Receipt, SinkError>>;
    /// Whether a delivery could work now; changes nothing at the destination that stays.
    fn check(&self) -> BoxFuture<'_, Result<(), SinkError>>;
}

/// What the caller does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkErrorKind {
    /// Try again after a delay.
    Transient,
    /// The destination will never take this; to the backup.
    Rejected,
    /// Wrong settings at one of the two ends: pause, alarm, try again slowly. Never dropped.
    Misconfigured,
    /// The staged bytes cannot be read or are not what was staged: stop this delivery stream.
    Staged,
}

#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SinkError {
    pub kind: SinkErrorKind,
    /// AWS's or the destination's own code where there is one (`S3.NoSuchBucket`).
    pub code: String,
    /// Got, allowed, next step; without secrets.
    pub message: String,
    /// What a `Retry-After` asked for.
    pub retry_after: Option<std::time::Duration>,
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}
