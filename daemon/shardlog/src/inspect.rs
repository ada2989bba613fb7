//! Looking into the directory of a log without opening it: what is there, what is damaged, and the records themselves.
//!
//! Invariant: nothing is changed. No file is made, removed, locked, written or synced, so it works on a read-only file
//! system and beside a running daemon; what such a daemon does meanwhile is not taken for damage.

mod chain;
mod dump;
mod scan;

#[cfg(test)]
mod tests;

pub use dump::{Dumped, Selection, dump};

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hydrant_disk::Disk;
use hydrant_record::{Epoch, LogId, Lsn, ShardIx, Timestamp};

use crate::layout::Sealed;
use crate::recover::read_at_opening;
use crate::{Committers, Compression, LogOptions, OpenError, ShardMap};
use chain::Chain;
use scan::{Limits, Scan};

/// What stands in the directory of a log.
#[derive(Clone, Debug)]
pub struct Survey {
    /// `None` if no log was made here, or no segment header can be read.
    pub log_id: Option<LogId>,
    /// Oldest first, without those that were let go.
    pub segments: Vec<SegmentSurvey>,
    /// As the last whole map in the newest segment has them.
    pub shards: Option<ShardMap>,
    /// Segment that a trim mark names: it and those before it were let go.
    pub trim_mark: Option<u32>,
    /// Files that the next opening removes: they were let go, or were never finished.
    pub leftover: Vec<PathBuf>,
    /// Damaged files that were kept when loss was accepted.
    pub set_aside: Vec<PathBuf>,
    /// In the order of the log.
    pub damage: Vec<Damage>,
    pub opening: Opening,
}

/// One file of a log.
#[derive(Clone, Debug)]
pub struct SegmentSurvey {
    pub path: PathBuf,
    pub number: u32,
    pub file_bytes: u64,
    /// `None` if the header is damaged.
    pub facts: Option<SegmentFacts>,
}

/// What the frames of a segment say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentFacts {
    /// Of the opening that wrote it.
    pub epoch: Epoch,
    /// Of its first record.
    pub base: Lsn,
    /// Behind its last record.
    pub next: Lsn,
    /// The first byte behind its last frame; index and footer come there.
    pub frames_end: u64,
    /// Its blocks were a segment before.
    pub recycled: bool,
    pub seal: Seal,
    /// Those that can be read.
    pub records: u64,
    /// Of those records as they are stored, with their keys, compressed or not.
    pub record_bytes: u64,
    /// The earliest and the latest.
    pub arrived: Option<(Timestamp, Timestamp)>,
    /// Those with records in it.
    pub shards: BTreeSet<ShardIx>,
    /// Those that are used in it.
    pub compressions: Vec<Compression>,
    /// Given up before, by [`LogOptions::accept_loss`]: first and last of each range.
    pub lost: Vec<(Lsn, Lsn)>,
}

/// How a segment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seal {
    /// The next segment was durable then.
    Rolled,
    /// A clean stop.
    Closed,
    /// It was cut off, or is being written.
    Open,
}

/// A place that cannot be read though it was synced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub segment: PathBuf,
    pub offset: u64,
    /// The first record that cannot be read.
    pub first: Lsn,
    /// The first one behind it that can, or that would come next: the same as `first` if no record is hit. `None` if nothing
    /// tells how many are lost.
    pub next: Option<Lsn>,
    pub reason: &'static str,
    /// False in older segments, which are only checked when they are read.
    pub stops_opening: bool,
}

/// What opening would make of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// A new log would be made.
    Empty,
    /// Closed, and every record would be there.
    Whole,
    /// Not closed: it was cut off, or a daemon is writing to it. Every acked record would be there; so many bytes behind
    /// them, which were never acked, would not.
    Unclosed { torn_bytes: u64 },
    /// Synced bytes are damaged: [`OpenError::Corrupt`].
    Corrupt,
}

impl Survey {
    /// The next record would get this LSN.
    #[must_use]
    pub fn next(&self) -> Option<Lsn> {
        self.segments.iter().rev().find_map(|segment| Some(segment.facts.as_ref()?.next))
    }

    /// The first record that is still there, if there is one.
    #[must_use]
    pub fn first(&self) -> Option<Lsn> {
        let base = self.segments.iter().find_map(|segment| Some(segment.facts.as_ref()?.base));
        base.filter(|base| Some(*base) < self.next())
    }

    /// Records that can be read.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.facts().map(|facts| facts.records).sum()
    }

    /// Of its segments, as long as their files are.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.file_bytes).sum()
    }

    /// Of the segments whose headers can be read, oldest first.
    pub fn facts(&self) -> impl Iterator<Item = &SegmentFacts> {
        self.segments.iter().filter_map(|segment| segment.facts.as_ref())
    }
}

impl From<Sealed> for Seal {
    fn from(sealed: Sealed) -> Seal {
        match sealed {
            Sealed::Rolled => Seal::Rolled,
            Sealed::Closed => Seal::Closed,
        }
    }
}

/// Reads what opening would read, and of older segments only the headers of frames. `progress` is told bytes done and in all;
/// the first may fall back when a daemon changes the log meanwhile.
pub fn survey(disk: &dyn Disk, dir: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<Survey, OpenError> {
    look(disk, dir, false, progress)
}

/// Reads every frame of every segment and checks its checksums.
pub fn verify(disk: &dyn Disk, dir: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<Survey, OpenError> {
    look(disk, dir, true, progress)
}

fn look(
    disk: &dyn Disk,
    dir: &Path,
    everything: bool,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Survey, OpenError> {
    let options = LogOptions::on(Committers::inline());
    let chain = Chain::read(disk, dir, &options)?;
    let count = chain.heads.len();
    let read_at_opening = read_at_opening((1..count).rev().map_while(|at| Some(chain.next_of(at - 1)?.0)));
    let total = chain.bytes();
    let mut done = 0;
    let mut damage = Vec::new();
    let mut seen = Seen { segments: Vec::new(), shards: None, torn_bytes: 0, came: None };
    for at in 0..count {
        let gap = chain.gap_before(at, seen.came)?;
        seen.came = gap.as_ref().map_or(seen.came, |gap| gap.next.or(seen.came));
        damage.extend(gap);
        let judged = at + 1 + read_at_opening >= count;
        let limits = Limits { next: chain.next_of(at), whole: everything || judged };
        let scan = chain.scan(at, limits, &mut |bytes| progress(done + bytes, total))?;
        done += chain.bytes_of(at);
        progress(done, total);
        let scan = scan.map(|scan| seen.take_in(scan, &mut damage, judged));
        seen.segments.push(chain.segment(at, scan));
    }
    let end = seen.segments.last().and_then(|last| last.facts.as_ref());
    damage.extend(chain.behind_last(end)?);
    let closed = end.is_some_and(|facts| facts.seal == Seal::Closed);
    let opening = match () {
        () if damage.iter().any(|damage| damage.stops_opening) => Opening::Corrupt,
        () if count == 0 => Opening::Empty,
        () if closed => Opening::Whole,
        () => Opening::Unclosed { torn_bytes: seen.torn_bytes },
    };
    let Seen { segments, shards, .. } = seen;
    Ok(Survey {
        log_id: chain.newest().map(|header| header.log_id),
        segments,
        shards,
        trim_mark: chain.names.mark,
        leftover: chain.leftover(),
        set_aside: chain.set_aside()?,
        damage,
        opening,
    })
}

/// What was seen up to one segment.
struct Seen {
    segments: Vec<SegmentSurvey>,
    shards: Option<ShardMap>,
    torn_bytes: u64,
    /// The LSN behind the last record.
    came: Option<Lsn>,
}

impl Seen {
    fn take_in(&mut self, scan: Scan, damage: &mut Vec<Damage>, judged: bool) -> SegmentFacts {
        damage.extend(scan.damage.into_iter().map(|damage| Damage { stops_opening: judged, ..damage }));
        self.shards = scan.shards.or(self.shards.take());
        self.torn_bytes = scan.torn_bytes;
        self.came = Some(scan.facts.next);
        scan.facts
    }
}
