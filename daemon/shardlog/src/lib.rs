//! The embedded shard log: what was acked is on the medium, and what was cut off was never seen.
//!
//! `log` is the front; `commit` forms groups and completes them; `frames` puts one together and `writer` syncs it;
//! `segment` makes files, `trim` and `retention` take them away; `recover` judges what an earlier life left; `tail`, `shard_tail`
//! and `seek` read, `inspect` looks without opening; `shards` says which shard a record goes to; `layout` draws the bytes.

mod clock_guard;
mod commit;
mod committers;
mod frames;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod inspect;
mod layout;
mod log;
mod reader;
mod recover;
mod repair;
mod retention;
mod seek;
mod segment;
mod shard_tail;
mod shards;
mod sync;
mod tail;
mod trim;
mod walk;
mod writer;

pub use clock_guard::{ClockGuard, Look, Trust};
pub use committers::Committers;
pub use inspect::{
    Damage, Dumped, Opening, Seal, SegmentFacts, SegmentSurvey, Selection, Survey, dump, survey, verify,
};
pub use log::ShardLog;
pub use retention::{Expendable, Expired, Limits};
pub use shard_tail::{ShardBatch, ShardTail};
pub use shards::{Closed, Reshard, ReshardError, Shard, ShardMap};
pub use tail::Tail;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hydrant_record::{Epoch, LogId, Lsn, ShardIx, Timestamp};

use crate::sync::Arc;

/// Called once, from a thread of the log, when the group that holds the records is durable or has failed. Must not block.
pub type Completion = Box<dyn FnOnce(Result<Appended, AppendError>) + Send>;

/// How a log is opened.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Records waiting for their sync, in bytes; more is [`AppendError::Full`].
    pub queue_bytes_max: usize,
    /// A segment after an opening or a quiet time is this small; each further one doubles, up to the maximum.
    pub segment_bytes_min: u64,
    pub segment_bytes_max: u64,
    /// Files of trimmed segments that wait to be used again, while the disk has much room.
    pub spares_max: usize,
    /// Bytes that must stay free on the disk; an append that would go below is [`AppendError::DiskFull`].
    pub reserve_bytes: u64,
    /// The highest LSN that another durable file names, for instance a delivery journal: a log that ends below it has
    /// lost synced records and opens as [`OpenError::Corrupt`].
    pub known_durable: Option<Lsn>,
    /// Records that were stored and cannot be read are given up, and their LSNs are marked as lost for ever, instead of
    /// [`OpenError::Corrupt`]. Damaged files are set aside beside the log.
    pub accept_loss: bool,
    /// How the bodies of frames are stored from now on; what was stored before is read whatever it was.
    pub compression: Compression,
    /// How many shards a new log has, from 1 to [`ShardMap::SHARDS_MAX`].
    pub shards: u32,
    pub clock: Arc<dyn Clock>,
    /// The threads that write and sync; those of the process unless given.
    pub committers: Committers,
}

impl LogOptions {
    /// The defaults with the wall clock; set what differs.
    #[must_use]
    pub fn new() -> LogOptions {
        LogOptions::on(Committers::shared())
    }

    fn on(committers: Committers) -> LogOptions {
        LogOptions {
            queue_bytes_max: 32 << 20,
            segment_bytes_min: 256 << 10,
            segment_bytes_max: 128 << 20,
            spares_max: 4,
            reserve_bytes: 0,
            known_durable: None,
            accept_loss: false,
            compression: Compression::None,
            shards: 1,
            clock: Arc::new(SystemClock),
            committers,
        }
    }
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions::new()
    }
}

/// How records are packed on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    #[default]
    None = 0,
    /// Little CPU.
    Lz4 = 1,
    /// Smaller, for more CPU.
    Zstd = 2,
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
    /// What this opening gave up because [`LogOptions::accept_loss`] said so: first and last LSN of each range.
    pub lost: Vec<(Lsn, Lsn)>,
}

/// Where an append went. Its records have the LSNs `first..=last`; [`Appended::place`] says which has which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    pub first: Lsn,
    pub last: Lsn,
    pub epoch: Epoch,
    pub arrived_at: Timestamp,
    /// Of all records, unless they were scattered.
    pub(crate) shard: ShardIx,
    /// For each record as given, if they went to more than one shard.
    pub(crate) scattered: Vec<(ShardIx, Lsn)>,
}

impl Appended {
    /// The shard and the LSN of the record at this index of the append.
    #[must_use]
    pub fn place(&self, index: usize) -> (ShardIx, Lsn) {
        self.scattered.get(index).copied().unwrap_or((self.shard, self.first.plus(index as u64)))
    }
}

/// Whether the log is getting on: two looks that differ are a sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// A group is queued or on its way to the medium.
    pub committing: bool,
    /// Groups that ended, well or badly.
    pub commits: u64,
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
    /// An operator has accepted that these are lost; see [`Tail::skip_lost`].
    #[error("LSNs {first} to {last} were lost and given up")]
    Lost { first: Lsn, last: Lsn },
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
