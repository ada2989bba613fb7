//! Files that hold one stretch of the log: their names, how one comes to be, and reading along one.
//!
//! Invariant: a file has its final name only once its header and its zeros are synced.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use hydrant_disk::{Disk, DiskFile};
use hydrant_record::Lsn;

use crate::layout::{SEGMENT_HEADER_BYTES, SegmentHeader};

pub(crate) const SEGMENT_BYTES_MIN: u64 = 256 << 10;
/// Zeros are pushed out in pieces of this size, so that they never crowd out the small syncs beside them.
const PREPARE_PIECE: u64 = 4 << 20;
/// A place is noted about each MiB, so that a reader need not walk a whole segment to its start.
const NOTE_EVERY: u64 = 1 << 20;
const READ_AHEAD: usize = 256 << 10;

/// One segment as the running log knows it.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) header: SegmentHeader,
    pub(crate) path: PathBuf,
    /// Set when it leaves the log, for readers that still hold it.
    pub(crate) end_when_trimmed: OnceLock<u64>,
    /// Known starts of frames, ascending; derived, and never the only way to find a record.
    places: Mutex<Vec<(Lsn, u64)>>,
}

impl Segment {
    pub(crate) fn new(dir: &Path, header: SegmentHeader) -> Segment {
        let places = Mutex::new(vec![(header.base, SEGMENT_HEADER_BYTES as u64)]);
        Segment { header, path: dir.join(name(header.number)), end_when_trimmed: OnceLock::new(), places }
    }

    /// The last known start of a frame at or before `lsn`.
    pub(crate) fn place_before(&self, lsn: Lsn) -> (Lsn, u64) {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places[places.partition_point(|(base, _)| *base <= lsn).max(1) - 1]
    }

    /// Notes where a frame starts, if it is far enough behind the last note.
    pub(crate) fn note(&self, base: Lsn, offset: u64) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.last().is_some_and(|(last, at)| *last < base && at + NOTE_EVERY <= offset) {
            places.push((base, offset));
        }
    }
}

pub(crate) fn name(number: u32) -> String {
    format!("{number:020}.seg")
}

/// What a name in a log's directory is.
pub(crate) enum Name {
    Segment(u32),
    /// Left by a crash: never held a record.
    Scratch,
    /// For humans.
    Label,
    Foreign,
}

impl Name {
    pub(crate) fn of(path: &Path) -> Name {
        let text = path.to_string_lossy();
        if text == "NAME" {
            return Name::Label;
        }
        if text.ends_with(".seg.tmp") {
            return Name::Scratch;
        }
        let number = text.strip_suffix(".seg").and_then(|digits| digits.parse().ok());
        match number {
            Some(number) if number > 0 && text == name(number) => Name::Segment(number),
            _ => Name::Foreign,
        }
    }
}

/// Why there is no new segment.
#[derive(Debug)]
pub(crate) enum CreateError {
    /// No room; nothing was left behind, and trying again later is fine.
    Full,
    Failed(io::Error),
}

impl From<io::Error> for CreateError {
    fn from(error: io::Error) -> CreateError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => CreateError::Full,
            _ => CreateError::Failed(error),
        }
    }
}

/// A file of synced zeros that has no header yet.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) number: u32,
    pub(crate) capacity: u64,
    scratch: PathBuf,
}

impl Prepared {
    /// Takes between `least` and `wanted` bytes, by halves, so that `reserve` bytes stay free on the disk.
    pub(crate) fn new(disk: &dyn Disk, dir: &Path, request: &Request) -> Result<Prepared, CreateError> {
        let free = disk.free_bytes(dir)?;
        let mut capacity = request.wanted.max(request.least);
        while free < capacity.saturating_add(request.reserve) {
            if capacity == request.least {
                return Err(CreateError::Full);
            }
            capacity = (capacity / 2).max(request.least);
        }
        // Never a name that somebody else could be about to use: two openings of a log in one process stay apart.
        let scratch = dir.join(format!("{:020}.{:016x}.seg.tmp", request.number, disk.random()?));
        let filled = fill(disk, &scratch, capacity);
        if filled.is_err() {
            let _ = disk.remove(&scratch);
        }
        Ok(Prepared { file: filled?, number: request.number, capacity, scratch })
    }

    /// Gives it a header and its name; durable on return.
    pub(crate) fn install(&self, disk: &dyn Disk, dir: &Path, header: &SegmentHeader) -> Result<(), CreateError> {
        let named = (|| {
            self.file.write_at(&header.encode(), 0)?;
            self.file.sync_data()?;
            disk.rename_new(&self.scratch, &dir.join(name(header.number)))
        })();
        if let Err(error) = named {
            self.discard(disk);
            return Err(error.into());
        }
        disk.sync_dir(dir).map_err(CreateError::Failed)
    }

    pub(crate) fn discard(&self, disk: &dyn Disk) {
        let _ = disk.remove(&self.scratch);
    }
}

/// How large a new segment is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) number: u32,
    pub(crate) wanted: u64,
    pub(crate) least: u64,
    pub(crate) reserve: u64,
}

fn fill(disk: &dyn Disk, scratch: &Path, capacity: u64) -> io::Result<Arc<dyn DiskFile>> {
    let file = disk.create(scratch)?;
    let mut at = 0;
    while at < capacity {
        let piece = PREPARE_PIECE.min(capacity - at);
        file.fill_zero(at, piece)?;
        file.push_out(at, piece)?;
        at += piece;
    }
    Ok(file)
}

/// Reads along a file through one bounded buffer.
pub(crate) struct Window<'a> {
    file: &'a dyn DiskFile,
    /// Nothing at or past this is read.
    end: u64,
    start: u64,
    buffer: Vec<u8>,
}

impl<'a> Window<'a> {
    pub(crate) fn new(file: &'a dyn DiskFile, end: u64) -> Window<'a> {
        Window { file, end, start: 0, buffer: Vec::new() }
    }

    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// `None` if the range goes past the end.
    pub(crate) fn at(&mut self, offset: u64, len: usize) -> io::Result<Option<&[u8]>> {
        if offset.saturating_add(len as u64) > self.end {
            return Ok(None);
        }
        let held = self.start..self.start + self.buffer.len() as u64;
        if !(held.contains(&offset) && offset + len as u64 <= held.end) {
            let ahead = usize::try_from(self.end - offset).unwrap_or(usize::MAX).min(READ_AHEAD.max(len));
            self.buffer.resize(ahead, 0);
            self.start = offset;
            if let Err(error) = hydrant_disk::read_exact_at(self.file, &mut self.buffer, offset) {
                self.buffer.clear();
                return Err(error);
            }
        }
        let from = usize::try_from(offset - self.start).expect("inside the buffer");
        Ok(Some(&self.buffer[from..from + len]))
    }
}
