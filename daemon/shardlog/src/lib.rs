//! The embedded shard log: what was acked is on the medium, and what was cut off was never seen.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hydrant_disk::Disk;
use hydrant_record::{Batch, Epoch, LogId, Lsn, NewRecord, Timestamp};

/// Called once, from a thread of the log, when the group that holds the records is durable or has failed. Must not block.
pub type Completion = Box<dyn FnOnce(Result<Appended, AppendError>) + Send>;

/// One log in one directory. Cheap to share; all methods may be called from many threads.
#[derive(Debug, Clone)]
pub struct ShardLog {
    _private: (),
}

/// How a log is opened.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Records waiting for their sync, in bytes; more is [`AppendError::Full`].
    pub queue_bytes_max: usize,
    /// Segments start small and double up to this.
    pub segment_bytes_max: u64,
    /// Bytes that must stay free on the disk; an append that would go below is [`AppendError::DiskFull`].
    pub reserve_bytes: u64,
    pub clock: Arc<dyn Clock>,
}

/// Where arrival times come from.
pub trait Clock: Send + Sync + fmt::Debug {
    fn now(&self) -> Timestamp;
}

/// The wall clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(0)
    }
}

/// What opening found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    pub log_id: LogId,
    pub epoch: Epoch,
    /// The first record still there, and the last; `None` if the log is empty.
    pub first: Option<Lsn>,
    pub last: Option<Lsn>,
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
    #[error("segment `{segment}` is corrupt at byte {offset}: records {first_lost}..={last_lost} were stored and cannot be read: {reason}")]
    Corrupt { segment: PathBuf, offset: u64, first_lost: Lsn, last_lost: Lsn, reason: &'static str },
    #[error("{path}: {reason}")]
    Unsupported { path: PathBuf, reason: String },
    #[error("cannot open the log in `{path}`")]
    Io { path: PathBuf, #[source] source: io::Error },
}

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("segment `{segment}` is corrupt at byte {offset}: {reason}")]
    Corrupt { segment: PathBuf, offset: u64, reason: &'static str },
    #[error("the records after {after:?} were trimmed; the log begins at {first}")]
    Trimmed { after: Option<Lsn>, first: Lsn },
    #[error("cannot read segment `{segment}`")]
    Io { segment: PathBuf, #[source] source: io::Error },
}

impl ShardLog {
    /// Opens the log in an existing directory, or creates it there if the directory is empty.
    pub fn open(_disk: Arc<dyn Disk>, _dir: &Path, _options: LogOptions) -> Result<(ShardLog, Recovery), OpenError> {
        unreachable!()
    }
    /// Queues records as one group member; `done` runs after the `fdatasync` that covers them. Errors that need no I/O
    /// come back at once and `done` is dropped uncalled.
    pub fn submit(&self, _records: Vec<NewRecord>, _done: Completion) -> Result<(), AppendError> {
        unreachable!()
    }
    /// `submit`, awaited on this thread.
    pub fn append(&self, _records: Vec<NewRecord>) -> Result<Appended, AppendError> {
        unreachable!()
    }
    /// Reads what is durable after `after` (`None`: from the first record), then waits for more.
    pub fn tail(&self, _after: Option<Lsn>) -> Tail {
        unreachable!()
    }
    /// Records through `through` are not needed any more; whole segments of them are removed.
    pub fn trim(&self, _through: Lsn) -> Result<(), io::Error> {
        unreachable!()
    }
    /// Starts a new segment with the next append, so that what came before can be trimmed as a whole.
    pub fn roll(&self) -> Result<(), AppendError> {
        unreachable!()
    }
    /// The last durable record.
    pub fn last(&self) -> Option<Lsn> {
        unreachable!()
    }
    /// The first record that is still there.
    pub fn first(&self) -> Option<Lsn> {
        unreachable!()
    }
    pub fn id(&self) -> LogId {
        unreachable!()
    }
    pub fn epoch(&self) -> Epoch {
        unreachable!()
    }
    /// `Some` once a write or sync failed: the daemon exits 74.
    pub fn poisoned(&self) -> Option<Arc<io::Error>> {
        unreachable!()
    }
    /// Finishes what is queued, seals the last segment (a clean stop), and refuses more. Idempotent.
    pub fn close(&self) -> Result<(), io::Error> {
        unreachable!()
    }
}

/// A reader's place in the log.
#[derive(Debug)]
pub struct Tail {
    _private: (),
}

impl Tail {
    /// The next durable records, at most `bytes_max` of data (one record at least); `None` when caught up. Reads disk.
    pub fn next(&mut self, _bytes_max: usize) -> Result<Option<Batch>, ReadError> {
        unreachable!()
    }
    /// Registers one waker, replacing the last: called (at least once) after records beyond this tail's place became durable,
    /// at once if there are some already. Must not block.
    pub fn on_more(&mut self, _wake: Arc<dyn Fn() + Send + Sync>) {
        unreachable!()
    }
    /// The last record it has given out, or where it was opened.
    pub fn position(&self) -> Option<Lsn> {
        unreachable!()
    }
}
