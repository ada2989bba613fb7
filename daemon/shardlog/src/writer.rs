//! Turns a group of submissions into frames, one write and one sync.
//!
//! Invariant: nothing is written after a write or sync that failed, and a group that was refused for space left no trace.

use std::io;

use hydrant_disk::DiskFile;
use hydrant_record::{Lsn, NewRecord, Timestamp};

use crate::Appended;
use crate::frames::{Frames, Run, Stamp, place, runs};
use crate::layout::{FOOTER_BYTES, Footer, FrameHeader, Index, Kind, SEGMENT_HEADER_BYTES, Sealed, SegmentHeader};
use crate::layout::{SEGMENT_BYTES_MAX, frame_bytes, index_bytes_max};
use crate::log::{Shared, Spare};
use crate::segment::{CreateError, FRAMES_START, Prepared, Request, Segment};
use crate::shards::{Reshard, ReshardError, ShardMap};
use crate::sync::Arc;

/// Free space is asked for again after so many bytes, or after a second.
const SPACE_BYTES: u64 = 32 << 20;
const SPACE_MILLIS: u64 = 1000;

/// Where the next group goes. Used by one thread at a time.
#[derive(Debug)]
pub(crate) struct Writer {
    active: Option<Active>,
    /// The newest segment: its number, and where it ends if it takes no more.
    newest: (u32, u64),
    next: Lsn,
    /// How large the next segment is to be: each one is twice as large as the one before.
    next_capacity: u64,
    space: Space,
}

#[derive(Debug)]
struct Active {
    segment: Arc<Segment>,
    file: Arc<dyn DiskFile>,
    capacity: u64,
    end: u64,
    chain: u32,
    commits: u64,
    next_asked_for: bool,
}

#[derive(Debug)]
struct Space {
    checked_at: Timestamp,
    bytes: u64,
    low: bool,
}

/// Why a group was not stored.
#[derive(Debug)]
pub(crate) enum CommitError {
    DiskFull,
    /// The change of shards makes no sense; nothing was written.
    Refused(ReshardError),
    /// The log is of no use any more.
    Failed(io::Error),
}

impl From<io::Error> for CommitError {
    fn from(error: io::Error) -> CommitError {
        CommitError::Failed(error)
    }
}

impl From<CreateError> for CommitError {
    fn from(error: CreateError) -> CommitError {
        match error {
            CreateError::Full => CommitError::DiskFull,
            CreateError::Failed(error) => CommitError::Failed(error),
        }
    }
}

/// What a durable group was.
pub(crate) struct Committed {
    pub(crate) appended: Vec<Appended>,
    pub(crate) next: Lsn,
    pub(crate) end: u64,
}

impl Writer {
    /// `newest` is the newest segment and its end; number 0 in a new log.
    pub(crate) fn new(newest: (u32, u64), next: Lsn) -> Writer {
        let space = Space { checked_at: Timestamp::from_millis(0), bytes: SPACE_BYTES, low: false };
        Writer { active: None, newest, next, next_capacity: 0, space }
    }

    /// Stores the members in order; durable on return.
    pub(crate) fn commit(
        &mut self,
        log: &Arc<Shared>,
        members: &[Vec<NewRecord>],
        roll: bool,
    ) -> Result<Committed, CommitError> {
        let now = log.options.clock.now();
        let shards = Arc::clone(&log.state().shards);
        let (records, places) = place(members, &shards, self.next);
        let runs: Vec<Run<'_, '_>> = runs(&records).collect();
        let bytes = runs.iter().map(|run| frame_bytes(run.body_bytes)).sum();
        self.check_space(log, now, bytes)?;
        self.make_room(log, bytes, roll)?;
        let end = self.write(log, (now, bytes), |frames| runs.iter().for_each(|run| frames.records(run)))?;
        self.ask_for_next(log);
        let appended = places.into_iter().map(|place| place.appended(log.epoch, now)).collect();
        Ok(Committed { appended, next: self.next, end })
    }

    /// Divides the stream anew: what was committed before lies in the old shards, what comes after in the new. Durable on
    /// return.
    pub(crate) fn reshard(&mut self, log: &Arc<Shared>, change: &Reshard) -> Result<(ShardMap, u64), CommitError> {
        let now = log.options.clock.now();
        let shards = log.state().shards.apply(change, now, self.next).map_err(CommitError::Refused)?;
        let body = shards.encode();
        let bytes = frame_bytes(body.len());
        self.check_space(log, now, bytes)?;
        self.make_room(log, bytes, false)?;
        let end = self.write(log, (now, bytes), |frames| frames.control(Kind::Shards, &body))?;
        Ok((shards, end))
    }

    /// Ends the segment in use, and goes on in one that is as small as the first.
    pub(crate) fn restart(&mut self, log: &Arc<Shared>) -> Result<(), CommitError> {
        log.give_back_spare();
        self.next_capacity = 0;
        self.roll(log, 0)
    }

    /// Bytes of the file that is written to; 0 if there is none.
    pub(crate) fn capacity(&self) -> u64 {
        self.active.as_ref().map_or(0, |active| active.capacity)
    }

    fn make_room(&mut self, log: &Arc<Shared>, bytes: u64, roll: bool) -> Result<(), CommitError> {
        let fits = |active: &Active| {
            !(roll && active.commits > 0) && active.end + bytes + tail_bytes(active.capacity) <= active.capacity
        };
        if self.active.as_ref().is_some_and(fits) { Ok(()) } else { self.roll(log, bytes) }
    }

    /// One write and one sync of the frames that `fill` makes, of so many bytes before compression. Returns where they end.
    fn write(
        &mut self,
        log: &Shared,
        (now, bytes): (Timestamp, u64),
        fill: impl FnOnce(&mut Frames<'_>),
    ) -> io::Result<u64> {
        let active = self.active.as_mut().expect("there is room");
        active.commits += 1;
        let stamp = Stamp {
            salt: active.segment.header.salt,
            durable: (active.segment.header.number, active.end),
            now,
            commit: active.commits,
            compression: log.options.compression,
            mends: false,
        };
        log.options.committers.with_buffer(|buffer| {
            // At once: a buffer that grows is copied each time.
            buffer.reserve(usize::try_from(bytes).map_err(io::Error::other)?);
            let mut frames = Frames::new(buffer, stamp, (self.next, active.chain));
            fill(&mut frames);
            let (next, chain, written) = frames.finish();
            active.file.write_at(buffer, active.end)?;
            active.file.sync_data()?;
            let start = active.end;
            active.segment.note(&written, start);
            active.end += buffer.len() as u64;
            active.chain = chain;
            self.next = next;
            Ok(active.end)
        })
    }

    /// Makes the next segment durable, then seals the one before: so each proves the other.
    pub(crate) fn roll(&mut self, log: &Arc<Shared>, bytes: u64) -> Result<(), CommitError> {
        let (previous, previous_end) =
            self.active.as_ref().map_or(self.newest, |active| (active.segment.header.number, active.end));
        let number = previous.checked_add(1).ok_or_else(|| io::Error::other("all segment numbers are used"))?;
        // Held until the file has its new name. What is recycled was trimmed before, and the header says so from here on,
        // since the mark goes with the old name; and no trim in between takes the file for a mark that has had its day.
        let mut spare = log.spare();
        let (kept, shards) = log.state().kept(self.next, number);
        let shards = shards.forget(kept.0);
        let map = shards.encode();
        let salt = log.disk.random()?;
        let prepared = self.prepared(log, &mut spare, bytes + frame_bytes(map.len()))?;
        let header = SegmentHeader {
            recycled: prepared.recycled,
            log_id: log.id,
            salt,
            epoch: log.epoch,
            base: self.next,
            number,
            previous,
            previous_end,
            kept,
        };
        let stamp = Stamp {
            salt,
            durable: (previous, previous_end),
            now: log.options.clock.now(),
            commit: 0,
            compression: log.options.compression,
            mends: false,
        };
        let mut head = header.encode().to_vec();
        let mut frames = Frames::new(&mut head, stamp, (self.next, header.chain()));
        frames.control(Kind::Shards, &map);
        let (_, chain, written) = frames.finish();
        prepared.install(&*log.disk, &log.dir, (number, &head))?;
        drop(spare);
        self.seal(log, Sealed::Rolled)?;
        let end = head.len() as u64;
        let segment = Arc::new(Segment::new(&log.dir, header, Some(Index::new(header.base))));
        segment.note(&written, 0);
        let mut state = log.state();
        state.segments.push((Arc::clone(&segment), end));
        state.shards = Arc::new(shards);
        drop(state);
        self.newest = (number, end);
        let (file, capacity) = (prepared.file, prepared.capacity);
        segment.note_length(capacity);
        self.next_capacity = capacity.saturating_mul(2);
        self.active = Some(Active { chain, segment, file, capacity, end, commits: 0, next_asked_for: false });
        Ok(())
    }

    /// The file that was made ready before, or else a new one.
    fn prepared(&self, log: &Arc<Shared>, spare: &mut Spare, bytes: u64) -> Result<Prepared, CreateError> {
        let request = self.request(log, bytes);
        spare.wanted = None;
        if let Some(ready) = spare.take(request.least) {
            return Ok(ready);
        }
        spare.give_back(0, &*log.disk);
        Prepared::new(&*log.disk, &log.dir, &request)
    }

    /// Writes the index and the footer behind the last frame, and gives the rest of the file back if it is much.
    pub(crate) fn seal(&mut self, log: &Shared, sealed: Sealed) -> io::Result<()> {
        let Some(active) = self.active.take() else { return Ok(()) };
        let header = &active.segment.header;
        let stamp = Stamp {
            salt: header.salt,
            durable: (header.number, active.end),
            now: log.options.clock.now(),
            commit: active.commits + 1,
            compression: log.options.compression,
            mends: false,
        };
        let index = active.segment.index().as_ref().map(Index::encode).unwrap_or_default();
        let mut out = Vec::new();
        let mut frames = Frames::new(&mut out, stamp, (self.next, active.chain));
        frames.control(Kind::Index, &index);
        let (_, chain, _) = frames.finish();
        let offset = active.end + out.len() as u64;
        let footer = Footer { offset, frames_end: active.end, next: self.next, number: header.number, chain, sealed };
        out.extend_from_slice(&footer.encode(header.salt));
        active.file.write_at(&out, active.end)?;
        let end = active.end + out.len() as u64;
        // A file that is nearly full keeps its length, for its next life.
        if sealed == Sealed::Closed || end < active.capacity / 4 * 3 {
            active.file.set_len(end)?;
            active.segment.note_length(end);
        }
        self.newest = (header.number, offset);
        active.file.sync_data()
    }

    fn request(&self, log: &Arc<Shared>, bytes: u64) -> Request {
        let smallest = log.options.segment_bytes_min.min(log.options.segment_bytes_max);
        let needed = FRAMES_START + bytes;
        let least = (needed + tail_bytes(needed)).next_multiple_of(SEGMENT_HEADER_BYTES as u64).max(smallest);
        let wanted = self.next_capacity.min(log.options.segment_bytes_max).min(SEGMENT_BYTES_MAX / 2).max(least);
        Request { wanted, least, reserve: log.options.reserve_bytes }
    }

    /// Has the next segment made ready in the background once this one is half full.
    fn ask_for_next(&mut self, log: &Arc<Shared>) {
        let due = |active: &Active| !active.next_asked_for && active.end * 2 > active.capacity;
        if !self.active.as_ref().is_some_and(due) {
            return;
        }
        let request = self.request(log, 0);
        if let Some(active) = self.active.as_mut() {
            active.next_asked_for = true;
        }
        log.prepare_later(request);
    }

    fn check_space(&mut self, log: &Arc<Shared>, now: Timestamp, bytes: u64) -> Result<(), CommitError> {
        if log.options.reserve_bytes == 0 {
            return Ok(());
        }
        self.space.bytes += bytes;
        let age = now.as_millis().abs_diff(self.space.checked_at.as_millis());
        if self.space.low || self.space.bytes >= SPACE_BYTES || age >= SPACE_MILLIS {
            let free = log.disk.free_bytes(&log.dir)?;
            self.space = Space { checked_at: now, bytes: 0, low: free < log.options.reserve_bytes };
            if !log.has_plenty(free) {
                log.spare().give_back(1, &*log.disk);
            }
        }
        if self.space.low { Err(CommitError::DiskFull) } else { Ok(()) }
    }
}

impl Segment {
    /// Takes frames into the index; `start` is where the buffer that held them was written.
    fn note(&self, written: &[(FrameHeader, u64)], start: u64) {
        if let Some(index) = self.index().as_mut() {
            written.iter().for_each(|(frame, at)| index.add(frame, start + at));
        }
    }
}

/// What sealing a segment of this size may need behind its last frame.
fn tail_bytes(capacity: u64) -> u64 {
    frame_bytes(index_bytes_max(capacity)) + FOOTER_BYTES as u64
}
