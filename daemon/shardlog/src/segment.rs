//! Files that hold one stretch of the log: their names, how one comes to be, and reading along one.
//!
//! Invariant: a file has its final name only once its header, its first frames and its blocks are synced.

use std::io;
use std::path::{Path, PathBuf};

use hydrant_disk::{Disk, DiskFile};

use crate::layout::{Index, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Zeros are pushed out in pieces of this size, so that they never crowd out the small syncs beside them.
const PREPARE_PIECE: u64 = 4 << 20;
const READ_AHEAD: usize = 256 << 10;

/// One segment as the running log knows it.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) header: SegmentHeader,
    pub(crate) path: PathBuf,
    /// Set when it leaves the log, for readers that still hold it.
    pub(crate) end_when_trimmed: OnceLock<u64>,
    /// Of the file; 0 while nobody has asked.
    length: AtomicU64,
    /// Whole up to the durable end, or not known yet.
    index: Mutex<Option<Index>>,
}

impl Segment {
    pub(crate) fn new(dir: &Path, header: SegmentHeader, index: Option<Index>) -> Segment {
        let path = dir.join(name(header.number));
        let (length, index) = (AtomicU64::new(0), Mutex::new(index));
        Segment { header, path, end_when_trimmed: OnceLock::new(), length, index }
    }

    /// Bytes on the disk; 0 for a file that was taken away meanwhile.
    pub(crate) fn length(&self, disk: &dyn Disk) -> io::Result<u64> {
        let known = self.length.load(Ordering::Relaxed);
        if known > 0 {
            return Ok(known);
        }
        match disk.open(&self.path).and_then(|file| file.len()) {
            Ok(length) => {
                self.note_length(length);
                Ok(length)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn note_length(&self, length: u64) {
        self.length.store(length, Ordering::Relaxed);
    }

    pub(crate) fn index(&self) -> MutexGuard<'_, Option<Index>> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn name(number: u32) -> String {
    format!("{number:020}.seg")
}

/// Says that this segment and those before it were trimmed; its blocks may wait here for their next life.
pub(crate) fn trimmed_name(number: u32) -> String {
    format!("{number:020}.seg.free")
}

/// Of a file that means nothing. Never one that somebody else could be about to use: two openings of a log in one process stay
/// apart.
pub(crate) fn scratch_name(disk: &dyn Disk) -> io::Result<String> {
    Ok(format!("{:016x}.seg.tmp", disk.random()?))
}

/// What a name in a log's directory is.
pub(crate) enum Name {
    Segment(u32),
    /// A trim mark.
    Trimmed(u32),
    /// Left by a crash: holds no record, or only some that were let go.
    Scratch,
    /// For humans: `NAME`, and what was set aside when loss was accepted.
    Label,
    Foreign,
}

impl Name {
    pub(crate) fn of(path: &Path) -> Name {
        let text = path.to_string_lossy();
        if text == "NAME" || text.ends_with(".seg.damaged") {
            return Name::Label;
        }
        if text.ends_with(".seg.tmp") {
            return Name::Scratch;
        }
        let number = |suffix| text.strip_suffix(suffix)?.parse().ok().filter(|number| *number > 0);
        match (number(".seg"), number(".seg.free").filter(|number| *number < u32::MAX)) {
            (Some(number), _) if text == name(number) => Name::Segment(number),
            (_, Some(number)) if text == trimmed_name(number) => Name::Trimmed(number),
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

/// A file with synced blocks that is no segment yet.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) capacity: u64,
    /// It was a segment before. Its blocks aren't zeroed again: nothing of that life passes for a frame of the next one,
    /// whose salt, segment number and LSNs differ.
    pub(crate) recycled: bool,
    /// Of a file that has no meaning, or of a trim mark.
    pub(crate) path: PathBuf,
    pub(crate) is_mark: bool,
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
        let path = dir.join(scratch_name(disk)?);
        let filled = fill(disk, &path, capacity);
        if filled.is_err() {
            let _ = disk.remove(&path);
        }
        Ok(Prepared { file: filled?, capacity, recycled: false, path, is_mark: false })
    }

    /// Gives it a header, the frames that follow it, and its name; durable on return.
    pub(crate) fn install(&self, disk: &dyn Disk, dir: &Path, (number, head): (u32, &[u8])) -> Result<(), CreateError> {
        let named = (|| {
            self.file.write_at(head, 0)?;
            self.file.sync_data()?;
            disk.rename_new(&self.path, &dir.join(name(number)))
        })();
        if let Err(error) = named {
            self.discard(disk);
            return Err(error.into());
        }
        // Without this a recycled file could have its old name again after power loss.
        disk.sync_dir(dir).map_err(CreateError::Failed)
    }

    /// Gives its space back. A trim mark keeps its name.
    pub(crate) fn discard(&self, disk: &dyn Disk) {
        let _ = if self.is_mark { self.file.set_len(0) } else { disk.remove(&self.path) };
    }
}

/// How large a new segment is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
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

/// Where the frames of a segment begin.
pub(crate) const FRAMES_START: u64 = SEGMENT_HEADER_BYTES as u64;
