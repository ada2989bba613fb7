//! The embedded shard log: what was acked is on the medium, and what was cut off was never seen.
//!
//! `log` is the front; `commit` forms groups and completes them; `writer` frames and syncs one group; `segment` makes
//! files; `recover` judges what an earlier life left; `tail` reads; `layout` draws the bytes.

mod commit;
mod committers;
mod layout;
mod log;
mod recover;
mod segment;
mod shards;
mod tail;
mod writer;

pub use committers::Committers;
pub use log::ShardLog;
pub use shards::{Closed, Reshard, ReshardError, Shard, ShardMap};
pub use tail::Tail;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use hydrant_record::{Epoch, LogId, Lsn, Timestamp};

/// Called once, from a thread of the log, when the group that holds the records is durable or has failed. Must not block.
pub type Completion = Box<dyn FnOnce(Result<Appended, AppendError>) + Send>;

/// How a log is opened.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Records waiting for their sync, in bytes; more is [`AppendError::Full`].
    pub queue_bytes_max: usize,
    /// Segments start small and double up to this.
    pub segment_bytes_max: u64,
    /// Bytes that must stay free on the disk; an append that would go below is [`AppendError::DiskFull`].
    pub reserve_bytes: u64,
    /// The highest LSN that another durable file names, for instance a delivery journal: a log that ends below it has
    /// lost synced records and opens as [`OpenError::Corrupt`].
    pub known_durable: Option<Lsn>,
    pub clock: Arc<dyn Clock>,
    /// The threads that write and sync; those of the process unless given.
    pub committers: Committers,
}

impl LogOptions {
    /// The defaults with the wall clock; set what differs.
    #[must_use]
    pub fn new() -> LogOptions {
        LogOptions {
            queue_bytes_max: 32 << 20,
            segment_bytes_max: 128 << 20,
            reserve_bytes: 0,
            known_durable: None,
            clock: Arc::new(SystemClock),
            committers: Committers::shared(),
        }
    }
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions::new()
    }
}

/// Where arrival times come from.
pub trait Clock: Send + Sync + fmt::Debug {
    fn now(&self) -> Timestamp;
}

/// The wall clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that is handed in")]
    fn now(&self) -> Timestamp {
        Timestamp::from_system(SystemTime::now())
    }
}

/// What opening found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    pub log_id: LogId,
    pub epoch: Epoch,
    /// The first record still there; `None` if there is none.
    pub first: Option<Lsn>,
    /// The last record that was stored, also if it was trimmed since; `None` if there never was one.
    pub last: Option<Lsn>,
    /// The log was closed, not cut off.
    pub clean: bool,
    /// Bytes of a torn tail that were left behind: never acked.
    pub torn_bytes: u64,
}

/// Where an append went. Records have LSNs `first`, `first + 1`, … in the order given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    pub first: Lsn,
    pub last: Lsn,
    pub epoch: Epoch,
    pub arrived_at: Timestamp,
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    #[error("the append queue is full; try again after a moment")]
    Full,
    #[error("the disk is full; try again when space is freed")]
    DiskFull,
    #[error("the log failed earlier and takes no more records until the daemon is restarted: {0}")]
    Poisoned(Arc<io::Error>),
    #[error("the log is closed")]
    Closed,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Synced bytes are damaged: exit 65.
    #[error(
        "segment `{segment}` is corrupt at byte {offset}: LSNs {first_lost} to {last_lost} were stored and cannot be read: {reason}"
    )]
    Corrupt { segment: PathBuf, offset: u64, first_lost: Lsn, last_lost: Lsn, reason: &'static str },
    #[error("{path}: {reason}")]
    Unsupported { path: PathBuf, reason: String },
    #[error("cannot open the log in `{path}`")]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("segment `{segment}` is corrupt at byte {offset}: {reason}")]
    Corrupt { segment: PathBuf, offset: u64, reason: &'static str },
    #[error("the records after {after:?} were trimmed; the log begins at {first}")]
    Trimmed { after: Option<Lsn>, first: Lsn },
    #[error("cannot read segment `{segment}`")]
    Io {
        segment: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl OpenError {
    fn io(path: &Path, source: io::Error) -> OpenError {
        OpenError::Io { path: path.to_owned(), source }
    }
}

#[cfg(test)]
mod tests;
