//! Why an attempt failed, and what the caller does next.

use std::error::Error;
use std::time::Duration;

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
    pub retry_after: Option<Duration>,
    #[source]
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl SinkError {
    pub(crate) fn new(kind: SinkErrorKind, code: &str, message: impl Into<String>) -> SinkError {
        SinkError { kind, code: code.to_owned(), message: message.into(), retry_after: None, source: None }
    }

    pub(crate) fn transient(code: &str, message: impl Into<String>) -> SinkError {
        SinkError::new(SinkErrorKind::Transient, code, message)
    }

    pub(crate) fn misconfigured(code: &str, message: impl Into<String>) -> SinkError {
        SinkError::new(SinkErrorKind::Misconfigured, code, message)
    }

    pub(crate) fn staged(message: impl Into<String>) -> SinkError {
        SinkError::new(SinkErrorKind::Staged, "Staged.Unreadable", message)
    }

    pub(crate) fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> SinkError {
        self.source = Some(source.into());
        self
    }
}
