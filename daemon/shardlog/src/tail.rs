//! Reading along a log that grows.
//!
//! Invariant: no byte past the durable end of a segment is ever looked at, and no record leaves whose CRC was not checked.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use hydrant_disk::{DiskFile, read_exact_at};
use hydrant_record::{Batch, Lsn, Record};

use crate::ReadError;
use crate::layout::{FRAME_HEADER_BYTES, Fault, FrameHeader, decode_records};
use crate::log::Shared;
use crate::segment::{Segment, Window};

/// One read of the disk is between these, or one whole frame if that is longer.
const READ_BYTES_MIN: u64 = 64 << 10;
const READ_BYTES_MAX: u64 = 1 << 20;

/// A reader's place in the log.
pub struct Tail {
    log: Arc<Shared>,
    id: u64,
    position: Option<Lsn>,
    /// Read and checked, not yet given out. The first is the one after `position`.
    ready: VecDeque<Record>,
    place: Option<Place>,
}

/// Where the frame after the last of `ready` starts.
struct Place {
    segment: Arc<Segment>,
    file: Arc<dyn DiskFile>,
    offset: u64,
    next: Lsn,
}

impl Tail {
    pub(crate) fn new(log: Arc<Shared>, after: Option<Lsn>) -> Tail {
        let mut state = log.state();
        state.tails += 1;
        let id = state.tails;
        drop(state);
        Tail { log, id, position: after, ready: VecDeque::new(), place: None }
    }

    /// The next durable records, at most `bytes_max` of data (one record at least); `None` when caught up. Reads disk.
    pub fn next(&mut self, bytes_max: usize) -> Result<Option<Batch>, ReadError> {
        let mut records = Vec::new();
        let mut bytes = 0;
        loop {
            while let Some(record) = self.ready.front() {
                // An empty record counts as a byte, so that a batch of them is bounded too.
                bytes += record.data.len().max(1);
                if !records.is_empty() && bytes > bytes_max {
                    return Ok(self.give(records));
                }
                records.extend(self.ready.pop_front());
            }
            if !records.is_empty() && bytes >= bytes_max {
                return Ok(self.give(records));
            }
            // What was read before an error is given out first; the error comes again with the next call.
            match self.read_more(bytes_max.saturating_sub(bytes)) {
                Ok(true) => {}
                Ok(false) => return Ok(self.give(records)),
                Err(_) if !self.ready.is_empty() => {}
                Err(_) if !records.is_empty() => return Ok(self.give(records)),
                Err(error) => return Err(error),
            }
        }
    }

    /// Registers one waker, replacing the last: called after each commit, and at once if there are records already.
    /// Must not block.
    pub fn on_more(&mut self, wake: Arc<dyn Fn() + Send + Sync>) {
        let mut state = self.log.state();
        let at_once = (state.next > Lsn::after(self.position)).then(|| Arc::clone(&wake));
        state.wakers.retain(|(id, _)| *id != self.id);
        state.wakers.push((self.id, wake));
        drop(state);
        if let Some(wake) = at_once {
            wake();
        }
    }

    /// The last record it has given out, or where it was opened.
    pub fn position(&self) -> Option<Lsn> {
        self.position
    }

    fn give(&mut self, records: Vec<Record>) -> Option<Batch> {
        let batch = Batch::new(records)?;
        self.position = Some(batch.last());
        Some(batch)
    }

    /// Reads frames into `ready`; false if there are no more.
    fn read_more(&mut self, bytes_wanted: usize) -> Result<bool, ReadError> {
        loop {
            if self.place.is_none() {
                self.place = self.find_place()?;
                if !self.ready.is_empty() {
                    return Ok(true);
                }
            }
            let Some(place) = &mut self.place else { return Ok(false) };
            let (end, sealed) = self.log.end_of(&place.segment);
            if place.offset < end {
                let wanted = (bytes_wanted as u64).clamp(READ_BYTES_MIN, READ_BYTES_MAX);
                place.read(end, wanted, &mut self.ready)?;
                return Ok(true);
            }
            if !sealed {
                return Ok(false);
            }
            self.place = place.follow(&self.log)?;
            if self.place.is_none() {
                return Ok(false);
            }
        }
    }

    /// Walks to the frame that holds the record after the position, from the nearest known start of a frame.
    fn find_place(&mut self) -> Result<Option<Place>, ReadError> {
        let wanted = Lsn::after(self.position);
        let (segment, end) = match self.log.holder(wanted, self.position)? {
            Some(found) => found,
            None => return Ok(None),
        };
        let Some(mut place) = Place::open(&self.log, segment, wanted, self.position)? else { return Ok(None) };
        let file = Arc::clone(&place.file);
        let mut window = Window::new(&*file, end);
        loop {
            let offset = place.offset;
            let bytes = window.at(offset, FRAME_HEADER_BYTES).map_err(|error| place.io(error))?;
            let header = place.header(bytes.ok_or_else(|| place.corrupt("the file is cut short"))?)?;
            if header.next() > wanted {
                break;
            }
            place.offset += header.whole_bytes();
            place.next = header.next();
            place.segment.note(place.next, place.offset);
        }
        // The frame may begin before the wanted record.
        place.read(end, 0, &mut self.ready)?;
        while self.ready.front().is_some_and(|record| record.lsn < wanted) {
            self.ready.pop_front();
        }
        Ok(Some(place))
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.log.state().wakers.retain(|(id, _)| *id != self.id);
    }
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tail").field("position", &self.position).finish_non_exhaustive()
    }
}

impl Shared {
    /// The segment of a durable record and its durable end; `None` if the record is the next to come.
    fn holder(&self, wanted: Lsn, after: Option<Lsn>) -> Result<Option<(Arc<Segment>, u64)>, ReadError> {
        let state = self.state();
        let first = state.segments.first().map_or(state.next, |(segment, _)| segment.header.base);
        if wanted < first {
            return Err(ReadError::Trimmed { after, first });
        }
        let at = state.segments.partition_point(|(segment, _)| segment.header.base <= wanted);
        let Some((segment, end)) = at.checked_sub(1).map(|at| &state.segments[at]) else { return Ok(None) };
        if wanted > state.next {
            let reason = "the reader's place is past the end of the log";
            return Err(ReadError::Corrupt { segment: segment.path.clone(), offset: *end, reason });
        }
        Ok((wanted < state.next).then(|| (Arc::clone(segment), *end)))
    }

    /// The durable end of a segment, and whether it takes no more. A reader may finish one that was trimmed.
    fn end_of(&self, segment: &Segment) -> (u64, bool) {
        let state = self.state();
        let at = state.segments.partition_point(|(other, _)| other.header.number < segment.header.number);
        match state.segments.get(at) {
            Some((found, end)) if found.header.number == segment.header.number => (*end, at + 1 < state.segments.len()),
            _ => (segment.end_when_trimmed.get().copied().unwrap_or(0), true),
        }
    }
}

impl Place {
    /// `None` if the segment was trimmed and the log has nothing left to say about it.
    fn open(log: &Shared, segment: Arc<Segment>, lsn: Lsn, after: Option<Lsn>) -> Result<Option<Place>, ReadError> {
        match log.disk.open(&segment.path) {
            Ok(file) => {
                let (next, offset) = segment.place_before(lsn);
                Ok(Some(Place { segment, file, offset, next }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => match log.holder(lsn, after)? {
                // Still in the list, yet not in the directory.
                Some((found, _)) if found.header.number == segment.header.number => {
                    Err(ReadError::Io { segment: segment.path.clone(), source: error })
                }
                _ => Ok(None),
            },
            Err(error) => Err(ReadError::Io { segment: segment.path.clone(), source: error }),
        }
    }

    /// The start of the segment after this one.
    fn follow(&self, log: &Shared) -> Result<Option<Place>, ReadError> {
        let after = self.next.previous();
        match log.holder(self.next, after)? {
            Some((segment, _)) => Place::open(log, segment, self.next, after),
            None => Ok(None),
        }
    }

    /// Reads whole frames from here on: about `wanted` bytes, one frame at least.
    fn read(&mut self, end: u64, wanted: u64, out: &mut VecDeque<Record>) -> Result<(), ReadError> {
        let mut bytes = self.bytes(wanted.max(FRAME_HEADER_BYTES as u64).min(end - self.offset))?;
        let first = self.header(bytes.get(..FRAME_HEADER_BYTES).unwrap_or_default())?;
        if first.whole_bytes() > end - self.offset {
            return Err(self.corrupt("a frame goes past the end of its segment"));
        }
        if first.whole_bytes() > bytes.len() as u64 {
            bytes = self.bytes(first.whole_bytes())?;
        }
        while bytes.len() >= FRAME_HEADER_BYTES {
            let header = self.header(&bytes[..FRAME_HEADER_BYTES])?;
            let whole = usize::try_from(header.whole_bytes()).expect("a frame is limited");
            if whole > bytes.len() {
                break;
            }
            let frame = bytes.split_to(whole);
            let body = frame.slice(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + header.body_bytes as usize);
            if !header.body_matches(self.segment.header.salt, &body) {
                return Err(self.corrupt("the checksum of a frame's records does not match"));
            }
            let before = out.len();
            if let Err(reason) =
                decode_records(&header, self.segment.header.epoch, body, |record| out.push_back(record))
            {
                out.truncate(before);
                return Err(self.corrupt(reason));
            }
            self.next = header.next();
            self.offset += whole as u64;
        }
        Ok(())
    }

    fn bytes(&self, len: u64) -> Result<Bytes, ReadError> {
        let mut buffer = vec![0; usize::try_from(len).expect("a read is limited")];
        read_exact_at(&*self.file, &mut buffer, self.offset).map_err(|error| self.io(error))?;
        Ok(Bytes::from(buffer))
    }

    fn header(&self, bytes: &[u8]) -> Result<FrameHeader, ReadError> {
        let header = FrameHeader::decode(bytes, self.segment.header.salt).map_err(|fault| match fault {
            Fault::Damaged(reason) | Fault::Newer(reason) => self.corrupt(reason),
        })?;
        if header.base == self.next {
            Ok(header)
        } else {
            Err(self.corrupt("a frame does not follow the one before it"))
        }
    }

    fn io(&self, source: io::Error) -> ReadError {
        if source.kind() == io::ErrorKind::UnexpectedEof {
            return self.corrupt("the file is cut short");
        }
        ReadError::Io { segment: self.segment.path.clone(), source }
    }

    fn corrupt(&self, reason: &'static str) -> ReadError {
        ReadError::Corrupt { segment: self.segment.path.clone(), offset: self.offset, reason }
    }
}
