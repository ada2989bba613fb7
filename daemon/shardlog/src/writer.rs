//! Turns a group of submissions into frames, one write and one sync.
//!
//! Invariant: nothing is written after a write or sync that failed, and a group that was refused for space left no trace.

use std::io;
use std::sync::{Arc, PoisonError};

use hydrant_disk::DiskFile;
use hydrant_record::{Lsn, NewRecord, Timestamp};

use crate::Appended;
use crate::layout::{ALIGN, FOOTER_BYTES, FRAME_HEADER_BYTES, Footer, FrameHeader, SEGMENT_HEADER_BYTES, Sealed};
use crate::layout::{SegmentHeader, aligned, crc, encode_record, frame_run};
use crate::log::Shared;
use crate::segment::{CreateError, Prepared, Request, SEGMENT_BYTES_MIN, Segment};

/// A larger buffer is given back after the group that needed it.
const BUFFER_BYTES_KEPT: usize = 8 << 20;
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
    buffer: Vec<u8>,
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
        Writer { active: None, newest, next, buffer: Vec::new(), space }
    }

    /// Stores the members in order; durable on return. `bytes` is what they take, framed.
    pub(crate) fn commit(
        &mut self,
        log: &Arc<Shared>,
        members: &[Vec<NewRecord>],
        bytes: u64,
        roll: bool,
    ) -> Result<Committed, CommitError> {
        let now = log.options.clock.now();
        self.check_space(log, now, bytes)?;
        let fits = |active: &Active| {
            let begun = active.end > SEGMENT_HEADER_BYTES as u64;
            !(roll && begun) && active.end + bytes + FOOTER_BYTES as u64 <= active.capacity
        };
        if !self.active.as_ref().is_some_and(fits) {
            self.roll(log, bytes)?;
        }
        let active = self.active.as_mut().expect("rolling made one");
        active.commits += 1;
        let mut group = Group { next: self.next, now, chain: active.chain, buffer: std::mem::take(&mut self.buffer) };
        let appended = members.iter().map(|records| group.member(records, active, log)).collect();
        active.file.write_at(&group.buffer, active.end)?;
        active.file.sync_data()?;
        active.segment.note(self.next, active.end);
        active.end += group.buffer.len() as u64;
        active.chain = group.chain;
        self.next = group.next;
        let end = active.end;
        group.buffer.clear();
        group.buffer.shrink_to(BUFFER_BYTES_KEPT);
        self.buffer = group.buffer;
        self.ask_for_next(log);
        Ok(Committed { appended, next: self.next, end })
    }

    /// Makes the next segment durable, then seals the one before: so each proves the other.
    pub(crate) fn roll(&mut self, log: &Arc<Shared>, bytes: u64) -> Result<(), CommitError> {
        let (previous, end) =
            self.active.as_ref().map_or(self.newest, |active| (active.segment.header.number, active.end));
        let number = previous.checked_add(1).ok_or_else(|| io::Error::other("all segment numbers are used"))?;
        let header = SegmentHeader {
            log_id: log.id,
            salt: log.disk.random()?,
            epoch: log.epoch,
            base: self.next,
            number,
            previous,
            previous_end: end,
        };
        let request = self.request(log, number, bytes);
        let mut spare = log.spare.lock().unwrap_or_else(PoisonError::into_inner);
        spare.wanted = None;
        let ready = spare.ready.take().filter(|ready| ready.number == number && ready.capacity >= request.least);
        let prepared = match ready {
            Some(ready) => ready,
            None => Prepared::new(&*log.disk, &log.dir, &request)?,
        };
        drop(spare);
        prepared.install(&*log.disk, &log.dir, &header)?;
        self.seal(Sealed::Rolled)?;
        let segment = Arc::new(Segment::new(&log.dir, header));
        log.state().segments.push((Arc::clone(&segment), SEGMENT_HEADER_BYTES as u64));
        self.newest = (number, SEGMENT_HEADER_BYTES as u64);
        self.active = Some(Active {
            chain: header.chain(),
            segment,
            file: prepared.file,
            capacity: prepared.capacity,
            end: SEGMENT_HEADER_BYTES as u64,
            commits: 0,
            next_asked_for: false,
        });
        Ok(())
    }

    /// Writes the footer behind the last frame and gives the rest of the file back.
    pub(crate) fn seal(&mut self, sealed: Sealed) -> io::Result<()> {
        let Some(active) = self.active.take() else { return Ok(()) };
        let header = &active.segment.header;
        let footer = Footer { offset: active.end, next: self.next, number: header.number, chain: active.chain, sealed };
        active.file.write_at(&footer.encode(header.salt), active.end)?;
        active.file.set_len(active.end + FOOTER_BYTES as u64)?;
        self.newest = (header.number, active.end);
        active.file.sync_data()
    }

    fn request(&self, log: &Arc<Shared>, number: u32, bytes: u64) -> Request {
        let needed = SEGMENT_HEADER_BYTES as u64 + bytes + FOOTER_BYTES as u64;
        let least = needed.next_multiple_of(SEGMENT_HEADER_BYTES as u64).max(SEGMENT_BYTES_MIN);
        let doubled = self.active.as_ref().map_or(SEGMENT_BYTES_MIN, |active| active.capacity.saturating_mul(2));
        let wanted = doubled.min(log.options.segment_bytes_max).max(least);
        Request { number, wanted, least, reserve: log.options.reserve_bytes }
    }

    /// Has the next segment filled with zeros in the background once this one is half full.
    fn ask_for_next(&mut self, log: &Arc<Shared>) {
        let Some(active) =
            self.active.as_ref().filter(|active| !active.next_asked_for && active.end * 2 > active.capacity)
        else {
            return;
        };
        let Some(number) = active.segment.header.number.checked_add(1) else { return };
        let request = self.request(log, number, 0);
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
        }
        if self.space.low { Err(CommitError::DiskFull) } else { Ok(()) }
    }
}

/// The bytes of one commit while they are put together.
struct Group {
    next: Lsn,
    now: Timestamp,
    chain: u32,
    buffer: Vec<u8>,
}

impl Group {
    fn member(&mut self, mut records: &[NewRecord], active: &Active, log: &Arc<Shared>) -> Appended {
        let first = self.next;
        while !records.is_empty() {
            let (run, body_bytes) = frame_run(records);
            self.frame(run, body_bytes, active);
            records = &records[run.len()..];
        }
        let last = self.next.previous().expect("a member has records");
        Appended { first, last, epoch: log.epoch, arrived_at: self.now }
    }

    fn frame(&mut self, run: &[NewRecord], body_bytes: usize, active: &Active) {
        let salt = active.segment.header.salt;
        let start = self.buffer.len();
        let body = start + FRAME_HEADER_BYTES;
        self.buffer.reserve(FRAME_HEADER_BYTES + body_bytes + usize::try_from(ALIGN).expect("64"));
        self.buffer.resize(body, 0);
        for record in run {
            encode_record(record, &mut self.buffer);
        }
        let header = FrameHeader {
            body_bytes: u32::try_from(body_bytes).expect("a body is limited"),
            body_crc: crc(salt, &self.buffer[body..]),
            base: self.next,
            durable_segment: active.segment.header.number,
            durable_offset: u32::try_from(active.end).unwrap_or(u32::MAX),
            arrived_at: self.now,
            commit: active.commits,
            shard: run[0].shard,
            count: u32::try_from(run.len()).expect("a body is limited"),
            chain: self.chain,
        }
        .encode(salt);
        self.buffer[start..body].copy_from_slice(&header);
        self.chain = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
        let whole = start + usize::try_from(aligned(FRAME_HEADER_BYTES + body_bytes)).expect("fits in memory");
        self.buffer.resize(whole, 0);
        self.next = self.next.plus(run.len() as u64);
    }
}
