//! What all readers share: finding the segment of a record, and going along its frames.
//!
//! Invariant: no byte past the durable end of a segment is ever looked at, and no record leaves whose CRC was not checked.

use std::io;

use bytes::{Bytes, BytesMut};
use hydrant_disk::{DiskFile, read_exact_at};
use hydrant_record::{Lsn, Record, ShardIx};

use crate::ReadError;
use crate::layout::{FRAME_HEADER_BYTES, FrameHeader, Index, Kind, Lost, decode_records, expand};
use crate::log::Shared;
use crate::segment::{FRAMES_START, Segment, Window};
use crate::sync::Arc;
use crate::tail::READ_BYTES_MAX;

impl Shared {
    /// The segment of a durable record and its durable end; `None` if the record is the next to come.
    pub(crate) fn holder(&self, wanted: Lsn, after: Option<Lsn>) -> Result<Option<(Arc<Segment>, u64)>, ReadError> {
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
    pub(crate) fn end_of(&self, segment: &Segment) -> (u64, bool) {
        let state = self.state();
        let at = state.segments.partition_point(|(other, _)| other.header.number < segment.header.number);
        match state.segments.get(at) {
            Some((found, end)) if found.header.number == segment.header.number => (*end, at + 1 < state.segments.len()),
            _ => (segment.end_when_trimmed.get().copied().unwrap_or(0), true),
        }
    }
}

/// The start of a frame, of which all before is known.
pub(crate) struct Place {
    pub(crate) segment: Arc<Segment>,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) offset: u64,
    /// The LSN of the next record.
    pub(crate) next: Lsn,
    /// What was read last, to be read into again once nobody has records of it.
    room: BytesMut,
}

impl Place {
    pub(crate) fn at_start(segment: Arc<Segment>, file: Arc<dyn DiskFile>) -> Place {
        Place { next: segment.header.base, segment, file, offset: FRAMES_START, room: BytesMut::new() }
    }

    /// The start of a stretch of its segment, at or before a record. `None` if the segment was trimmed and the log has
    /// nothing left to say about it.
    pub(crate) fn open(
        log: &Shared,
        segment: Arc<Segment>,
        lsn: Lsn,
        after: Option<Lsn>,
    ) -> Result<Option<Place>, ReadError> {
        match log.disk.open(&segment.path) {
            Ok(file) => {
                let mut place = Place::at_start(segment, file);
                if lsn > place.next {
                    let end = log.end_of(&place.segment).0;
                    (place.next, place.offset) = place.with_index(end, |index| {
                        index
                            .stretch(index.before(lsn))
                            .map_or((place.next, FRAMES_START), |found| (found.base, found.offset))
                    })?;
                }
                Ok(Some(place))
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
    pub(crate) fn follow(&mut self, log: &Shared) -> Result<Option<Place>, ReadError> {
        let after = self.next.previous();
        let Some((segment, _)) = log.holder(self.next, after)? else { return Ok(None) };
        let mut place = Place::open(log, segment, self.next, after)?;
        if let Some(place) = &mut place {
            place.room = std::mem::take(&mut self.room);
        }
        Ok(place)
    }

    /// There is nothing more to read for now.
    pub(crate) fn rest(&mut self) {
        self.room = BytesMut::new();
    }

    /// Goes on to the frame that holds `wanted`, which is before `end`.
    pub(crate) fn advance(&mut self, end: u64, wanted: Lsn) -> Result<(), ReadError> {
        let file = Arc::clone(&self.file);
        let mut window = Window::new(&*file, end);
        loop {
            let (header, next) = self.peek(&mut window)?;
            if next > wanted {
                return Ok(());
            }
            self.offset += header.whole_bytes();
            self.next = next;
        }
    }

    /// The header of the frame here, and the LSN behind it.
    pub(crate) fn peek(&self, window: &mut Window<'_>) -> Result<(FrameHeader, Lsn), ReadError> {
        let cut_short = || self.corrupt("the file is cut short");
        let bytes = window.at(self.offset, FRAME_HEADER_BYTES).map_err(|error| self.io(error))?;
        let header = self.header(bytes.ok_or_else(cut_short)?)?;
        if header.kind != Kind::Lost {
            return Ok((header, header.next()));
        }
        let body = window.at(self.offset + FRAME_HEADER_BYTES as u64, header.body_bytes as usize);
        let body = body.map_err(|error| self.io(error))?.ok_or_else(cut_short)?;
        Ok((header, self.lost(&header, body)?.next))
    }

    /// Reads whole frames from here on: about `wanted` bytes, one frame at least. Records that were lost stop a reader of
    /// everything: an error if they come first. Who reads `only` one shard passes them, and the bodies of the others.
    pub(crate) fn read(
        &mut self,
        (end, wanted): (u64, u64),
        only: Option<ShardIx>,
        mut out: impl FnMut(Record),
    ) -> Result<(), ReadError> {
        let mut bytes = self.bytes(wanted.max(FRAME_HEADER_BYTES as u64).min(end - self.offset))?;
        let first = self.header(bytes.get(..FRAME_HEADER_BYTES).unwrap_or_default())?;
        if first.whole_bytes() > end - self.offset {
            return Err(self.corrupt("a frame goes past the end of its segment"));
        }
        if first.whole_bytes() > bytes.len() as u64 {
            bytes = self.bytes(first.whole_bytes())?;
        }
        let start = self.offset;
        while bytes.len() >= FRAME_HEADER_BYTES {
            let header = self.header(&bytes[..FRAME_HEADER_BYTES])?;
            let whole = usize::try_from(header.whole_bytes()).expect("a frame is limited");
            if whole > bytes.len() {
                break;
            }
            let body = bytes.slice(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + header.body_bytes as usize);
            let next = match header.kind {
                Kind::Records if only.is_none_or(|only| only == header.shard) => {
                    self.records(&header, body, &mut out)?
                }
                Kind::Records | Kind::Shards | Kind::Index => header.next(),
                Kind::Lost => {
                    let Lost { first, next } = self.lost(&header, &body)?;
                    if only.is_none() && first < next {
                        let last = next.previous().expect("not the first");
                        return if self.offset > start { Ok(()) } else { Err(ReadError::Lost { first, last }) };
                    }
                    next
                }
            };
            bytes = bytes.slice(whole..);
            self.next = next;
            self.offset += whole as u64;
        }
        Ok(())
    }

    fn records(&self, header: &FrameHeader, body: Bytes, out: &mut impl FnMut(Record)) -> Result<Lsn, ReadError> {
        if !header.body_matches(self.segment.header.salt, &body) {
            return Err(self.corrupt("the checksum of a frame's records does not match"));
        }
        // All of a frame or nothing: what is wrong is found before a record leaves.
        let mut records = Vec::with_capacity(header.count as usize);
        expand(header.compression, body)
            .and_then(|body| decode_records(header, self.segment.header.epoch, body, |record| records.push(record)))
            .map_err(|reason| self.corrupt(reason))?;
        records.into_iter().for_each(out);
        Ok(header.next())
    }

    fn lost(&self, header: &FrameHeader, body: &[u8]) -> Result<Lost, ReadError> {
        if !header.body_matches(self.segment.header.salt, body) {
            return Err(self.corrupt("the checksum of a frame does not match"));
        }
        Lost::decode(header, body).map_err(|reason| self.corrupt(reason))
    }

    /// The index of this segment up to `end`; built here if nobody has needed it yet.
    pub(crate) fn with_index<T>(&self, end: u64, look: impl FnOnce(&Index) -> T) -> Result<T, ReadError> {
        let mut known = self.segment.index();
        if known.is_none() {
            let found = match self.stored_index(end)? {
                Some(index) => index,
                None => self.rebuilt_index(end)?,
            };
            *known = Some(found);
        }
        Ok(look(known.as_ref().expect("it was just put there")))
    }

    /// Behind the last frame of a sealed segment.
    fn stored_index(&self, end: u64) -> Result<Option<Index>, ReadError> {
        let salt = self.segment.header.salt;
        let len = self.file.len().map_err(|error| self.io(error))?;
        let mut window = Window::new(&*self.file, len);
        let bytes = window.at(end, FRAME_HEADER_BYTES).map_err(|error| self.io(error))?;
        let Some(header) = bytes.and_then(|bytes| FrameHeader::decode(bytes, salt).ok()) else { return Ok(None) };
        if header.kind != Kind::Index {
            return Ok(None);
        }
        let body = window.at(end + FRAME_HEADER_BYTES as u64, header.body_bytes as usize);
        let body = body.map_err(|error| self.io(error))?;
        let whole = body.filter(|body| header.body_matches(salt, body));
        Ok(whole.and_then(|body| Index::decode(body, self.segment.header.base)))
    }

    fn rebuilt_index(&self, end: u64) -> Result<Index, ReadError> {
        let (segment, file) = (Arc::clone(&self.segment), Arc::clone(&self.file));
        let mut index = Index::new(segment.header.base);
        let mut window = Window::new(&*self.file, end);
        let mut place = Place::at_start(segment, file);
        while place.offset < end {
            let (header, next) = place.peek(&mut window)?;
            index.add(&header, place.offset);
            place.offset += header.whole_bytes();
            place.next = next;
        }
        Ok(index)
    }

    fn bytes(&mut self, len: u64) -> Result<Bytes, ReadError> {
        let bytes = usize::try_from(len).expect("a read is limited");
        // A frame that is longer than a read gets room of its own, so that few records don't hold much for long.
        let mut buffer = if len > READ_BYTES_MAX {
            BytesMut::zeroed(bytes)
        } else {
            self.room.resize(bytes, 0);
            self.room.split()
        };
        read_exact_at(&*self.file, &mut buffer, self.offset).map_err(|error| self.io(error))?;
        Ok(buffer.freeze())
    }

    fn header(&self, bytes: &[u8]) -> Result<FrameHeader, ReadError> {
        let header =
            FrameHeader::decode(bytes, self.segment.header.salt).map_err(|fault| self.corrupt(fault.reason()))?;
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
