//! What a log lets go by age and by size, and how little an idle one holds.
//!
//! Invariant: only whole segments go, from the oldest on, and none with a record that is not expendable.

use std::io;

use hydrant_record::{Lsn, Timestamp};

use crate::layout::Index;
use crate::log::{Shared, Submission, Work};
use crate::reader::Place;
use crate::segment::Segment;
use crate::sync::Arc;
use crate::sync::mpsc::sync_channel;
use crate::{AppendError, ReadError, ShardLog};

/// What a log may hold. A segment goes that is over one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// All records of a segment arrived before this.
    pub before: Option<Timestamp>,
    /// The segments together take more bytes on the disk.
    pub bytes_max: Option<u64>,
}

/// Which records may go at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expendable {
    /// Those up to here; `None`: not one of them yet.
    Through(Option<Lsn>),
    /// Also those that nobody has read. A reader meets [`ReadError::Trimmed`], and has to count them.
    All,
}

/// The first and the last of the records that were taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired {
    pub first: Lsn,
    pub last: Lsn,
}

impl ShardLog {
    /// Takes away the oldest segments that are over the limits, as [`ShardLog::trim`] does. Durable on return. The segment
    /// in use goes too once all of it is too old, after another was begun. Waits on this thread, which must not be one of
    /// the log's own.
    pub fn expire(&self, limits: &Limits, expendable: Expendable) -> io::Result<Option<Expired>> {
        let mut bytes = self.segment_bytes()?;
        let mut going = None;
        let (segments, next) = {
            let state = self.shared.state();
            (state.segments.clone(), state.next)
        };
        for (at, (segment, end)) in segments.iter().enumerate() {
            let behind = segments.get(at + 1).map_or(next, |(following, _)| following.header.base);
            let may_go = match expendable {
                Expendable::All => true,
                Expendable::Through(last) => behind <= Lsn::after(last),
            };
            let in_use = at + 1 == segments.len();
            let too_many = !in_use && limits.bytes_max.is_some_and(|max| bytes > max);
            if !may_go || !(too_many || self.is_older(segment, *end, limits.before)?) {
                break;
            }
            if in_use && (segment.header.base == next || !self.restart()?) {
                break;
            }
            bytes -= segment.length(&*self.shared.disk)?.min(bytes);
            going = Some(behind);
        }
        let Some(going) = going else { return Ok(None) };
        let gone = self.shared.remove_while(|_, following| following.base <= going)?;
        let range = gone.and_then(|(first, next)| Some((first, next.previous()?)));
        Ok(range.filter(|(first, last)| first <= last).map(|(first, last)| Expired { first, last }))
    }

    /// Bytes that the log takes on the disk. Looks at the disk only for segments that it has not asked about before.
    pub fn bytes(&self) -> io::Result<u64> {
        let spare = self.shared.spare();
        let spare: u64 = spare.ready.iter().map(|ready| ready.capacity).sum();
        Ok(self.segment_bytes()? + spare)
    }

    /// For a log that has had nothing to store for a while: what a busy one holds ready is given back, and records through
    /// `unneeded` go even if they are in the segment in use. An idle log then takes one smallest segment, beside what is
    /// still needed. Waits on this thread, which must not be one of the log's own.
    pub fn shrink(&self, unneeded: Option<Lsn>) -> io::Result<()> {
        let options = &self.shared.options;
        let grown = self.shared.writer().capacity() > options.segment_bytes_min.min(options.segment_bytes_max);
        if grown && !self.restart()? {
            return Ok(());
        }
        if let Some(unneeded) = unneeded {
            self.trim(unneeded)?;
        }
        self.shared.give_back_spare();
        Ok(())
    }

    /// Goes on in a smallest segment; false if there is no space for it or the log is closed.
    fn restart(&self) -> io::Result<bool> {
        let (sender, receiver) = sync_channel(1);
        let done = Box::new(move |result| {
            let _ = sender.send(result);
        });
        let restarted = self.enqueue(Submission { work: Work::Restart { done }, bytes: 0 });
        match restarted.and_then(|()| receiver.recv().unwrap_or(Err(AppendError::Closed))) {
            Ok(()) => Ok(true),
            Err(AppendError::DiskFull | AppendError::Full | AppendError::Closed) => Ok(false),
            Err(AppendError::Poisoned(error)) => Err(io::Error::new(error.kind(), error)),
        }
    }

    fn segment_bytes(&self) -> io::Result<u64> {
        let segments = self.shared.state().segments.clone();
        segments.iter().map(|(segment, _)| segment.length(&*self.shared.disk)).sum()
    }

    /// False too for a segment that was trimmed meanwhile.
    fn is_older(&self, segment: &Arc<Segment>, end: u64, before: Option<Timestamp>) -> io::Result<bool> {
        let Some(before) = before else { return Ok(false) };
        if let Some(index) = segment.index().as_ref() {
            return Ok(index.latest() < before);
        }
        let base = segment.header.base;
        let latest = Place::open(&self.shared, Arc::clone(segment), base, base.previous())
            .and_then(|place| place.map(|place| place.with_index(end, Index::latest)).transpose());
        match latest {
            Ok(latest) => Ok(latest.is_some_and(|latest| latest < before)),
            Err(ReadError::Trimmed { .. }) => Ok(false),
            Err(ReadError::Io { source, .. }) => Err(source),
            Err(other) => Err(io::Error::new(io::ErrorKind::InvalidData, other)),
        }
    }
}

impl Shared {
    /// Frees the files that wait to be the next segments.
    pub(crate) fn give_back_spare(&self) {
        let mut spare = self.spare();
        spare.wanted = None;
        spare.give_back(0, &*self.disk);
    }
}
