//! What opening finds: a whole log, a torn tail, or rot.
//!
//! Invariant: records are given up only where nothing proves that they had been synced. A later frame stamped past the
//! bad position, a footer behind it, a next segment, or an LSN that another durable file names is such a proof.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hydrant_disk::{Disk, read_exact_at};
use hydrant_record::{LogId, Lsn};

use crate::layout::{ALIGN, FOOTER_BYTES, FRAME_HEADER_BYTES, Fault, Footer, FrameHeader, SEGMENT_HEADER_BYTES};
use crate::layout::{Sealed, SegmentHeader};
use crate::segment::{Name, Segment, Window, name};
use crate::{LogOptions, OpenError};

/// Finished segments that are read whole at opening: about a tenth of a second.
const VERIFIED_BYTES: u64 = 256 << 20;

/// The segments of a log that holds together.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) log_id: LogId,
    /// Oldest first, each with its verified end.
    pub(crate) segments: Vec<(Arc<Segment>, u64)>,
    pub(crate) next: Lsn,
    pub(crate) clean: bool,
    pub(crate) torn_bytes: u64,
}

/// Looks through `dir`. `None` if no log was ever made there; scratch files are removed.
pub(crate) fn recover(disk: &dyn Disk, dir: &Path, options: &LogOptions) -> Result<Option<Found>, OpenError> {
    let numbers = segment_numbers(disk, dir)?;
    if numbers.is_empty() {
        return match options.known_durable {
            None => Ok(None),
            Some(known) => Err(lost(dir, 0, (Lsn::FIRST, known), "all segments are missing")),
        };
    }
    Search { disk, dir, options }.segments(&numbers).map(Some)
}

fn segment_numbers(disk: &dyn Disk, dir: &Path) -> Result<Vec<u32>, OpenError> {
    let mut numbers = Vec::new();
    for path in disk.list(dir).map_err(|error| OpenError::io(dir, error))? {
        match Name::of(&path) {
            Name::Segment(number) => numbers.push(number),
            Name::Scratch => disk.remove(&dir.join(&path)).map_err(|error| OpenError::io(dir, error))?,
            Name::Label => {}
            Name::Foreign => {
                let reason =
                    "not a file of a log; a log is made only in an empty directory, so move it away".to_owned();
                return Err(OpenError::Unsupported { path: dir.join(path), reason });
            }
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

struct Search<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    options: &'a LogOptions,
}

impl Search<'_> {
    fn segments(&self, numbers: &[u32]) -> Result<Found, OpenError> {
        let mut headers: Vec<SegmentHeader> = Vec::new();
        for &number in numbers {
            match self.header(number)? {
                Ok(header) => headers.push(header),
                Err(reason) => return Err(self.header_lost(&headers, numbers, number, reason)),
            }
        }
        for pair in headers.windows(2) {
            self.link(&pair[0], &pair[1])?;
        }
        self.verify_latest(&headers)?;
        let last = headers[headers.len() - 1];
        let end = self.tail_end(&last)?;
        if let Some(known) = self.options.known_durable.filter(|known| *known >= end.next) {
            let reason = "another durable file names records past the end of the log";
            return Err(lost(&self.path(last.number), end.offset, (end.next, known), reason));
        }
        let ends = headers[1..].iter().map(|header| header.previous_end).chain([end.offset]);
        let segments = headers.iter().map(|header| Arc::new(Segment::new(self.dir, *header))).zip(ends).collect();
        Ok(Found { log_id: last.log_id, segments, next: end.next, clean: end.clean, torn_bytes: end.torn_bytes })
    }

    /// The outer error is of I/O or version; the inner says why the header is damaged.
    fn header(&self, number: u32) -> Result<Result<SegmentHeader, &'static str>, OpenError> {
        let path = self.path(number);
        let file = self.disk.open(&path).map_err(|error| OpenError::io(&path, error))?;
        let mut bytes = vec![0; SEGMENT_HEADER_BYTES];
        match read_exact_at(&*file, &mut bytes, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Err("the file is cut short")),
            other => other.map_err(|error| OpenError::io(&path, error))?,
        }
        match SegmentHeader::decode(&bytes) {
            Ok(header) if header.number == number => Ok(Ok(header)),
            Ok(_) => Ok(Err("the file has the name of another segment")),
            Err(Fault::Damaged(reason)) => Ok(Err(reason)),
            Err(Fault::Newer(what)) => Err(newer(&path, what)),
        }
    }

    fn header_lost(&self, before: &[SegmentHeader], all: &[u32], number: u32, reason: &'static str) -> OpenError {
        let first = match before.last().map(|header| self.walk(header)) {
            Some(Ok(walk)) => walk.next,
            Some(Err(error)) => return error,
            None => Lsn::FIRST,
        };
        let after = all.iter().filter(|other| **other > number).find_map(|other| self.header(*other).ok()?.ok());
        let last = after.and_then(|header| header.base.previous()).or(self.options.known_durable).unwrap_or(first);
        lost(&self.path(number), 0, (first, last.max(first)), reason)
    }

    /// The next header proves everything that this segment held.
    fn link(&self, segment: &SegmentHeader, next: &SegmentHeader) -> Result<(), OpenError> {
        let path = self.path(segment.number);
        let upto = next.base.previous().unwrap_or(Lsn::FIRST);
        if segment.log_id != next.log_id {
            let reason = format!("a segment of log {}, among those of log {}", next.log_id, segment.log_id);
            return Err(OpenError::Unsupported { path: self.path(next.number), reason });
        }
        if next.previous != segment.number {
            let first = self.walk(segment)?.next;
            return Err(lost(&self.path(segment.number + 1), 0, (first, upto.max(first)), "the segment is missing"));
        }
        let file = self.disk.open(&path).map_err(|error| OpenError::io(&path, error))?;
        let len = file.len().map_err(|error| OpenError::io(&path, error))?;
        if len < next.previous_end || next.base < segment.base {
            let walk = self.walk(segment)?;
            return Err(lost(&path, walk.offset, (walk.next, upto.max(walk.next)), "the file is cut short"));
        }
        let mut bytes = [0; FOOTER_BYTES];
        if len < next.previous_end + FOOTER_BYTES as u64 {
            return Ok(());
        }
        read_exact_at(&*file, &mut bytes, next.previous_end).map_err(|error| OpenError::io(&path, error))?;
        match Footer::decode(&bytes, segment.salt, segment.number, next.previous_end) {
            Some(footer) if footer.next != next.base => {
                let range = (footer.next.min(next.base), upto.max(footer.next));
                Err(lost(&path, next.previous_end, range, "its footer disagrees with the next segment"))
            }
            _ => Ok(()),
        }
    }

    /// Reads the latest finished segments whole, so that rot in what will be delivered next is told at the start. Older ones
    /// are checked when they are read: opening must not take longer the more is stored.
    fn verify_latest(&self, headers: &[SegmentHeader]) -> Result<(), OpenError> {
        let mut left = VERIFIED_BYTES;
        for pair in headers.windows(2).rev() {
            let end = pair[1].previous_end;
            match left.checked_sub(end) {
                Some(rest) => left = rest,
                None => return Ok(()),
            }
            self.verify(&pair[0], (end, pair[1].base))?;
        }
        Ok(())
    }

    /// Every frame up to `end`, behind which `next` comes, was synced.
    fn verify(&self, header: &SegmentHeader, (end, next): (u64, Lsn)) -> Result<(), OpenError> {
        let path = self.path(header.number);
        let io = |error| OpenError::io(&path, error);
        let file = self.disk.open(&path).map_err(io)?;
        let len = file.len().map_err(io)?;
        let mut window = Window::new(&*file, len);
        let walk = walk(&mut window, header).map_err(io)?;
        if walk.offset >= end {
            return Ok(());
        }
        let resumes = look_behind(&mut window, header, &walk).map_err(io)?.resumes.unwrap_or(next);
        let last = resumes.previous().unwrap_or(walk.next).max(walk.next);
        Err(lost(&path, walk.offset, (walk.next, last), walk.stop.reason()))
    }

    /// Where the last segment ends, on the medium.
    fn tail_end(&self, header: &SegmentHeader) -> Result<TailEnd, OpenError> {
        let path = self.path(header.number);
        let io = |error| OpenError::io(&path, error);
        let file = self.disk.open_write(&path).map_err(io)?;
        let len = file.len().map_err(io)?;
        if let Some(footer) = closing_footer(&*file, header, len).map_err(io)? {
            self.verify(header, (footer.offset, footer.next))?;
            return self.sealed(header, footer);
        }
        // After a failed sync the page cache shows bytes that the medium does not hold.
        file.forget(0, len).map_err(io)?;
        let mut window = Window::new(&*file, len);
        let walk = walk(&mut window, header).map_err(io)?;
        let footer_at = window.at(walk.offset, FOOTER_BYTES).map_err(io)?;
        let footer = footer_at.and_then(|bytes| Footer::decode(bytes, header.salt, header.number, walk.offset));
        if let Some(footer) = footer.filter(|footer| footer.next == walk.next) {
            return self.sealed(header, footer);
        }
        if let Stop::Newer(what) = walk.stop {
            return Err(newer(&path, what));
        }
        let behind = look_behind(&mut window, header, &walk).map_err(io)?;
        if behind.proof {
            let last = behind.resumes.or(self.options.known_durable.map(Lsn::next)).and_then(Lsn::previous);
            let range = (walk.next, last.unwrap_or(walk.next).max(walk.next));
            return Err(lost(&path, walk.offset, range, walk.stop.reason()));
        }
        file.sync_data().map_err(io)?;
        let torn_bytes = behind.dirty_end.saturating_sub(walk.offset);
        Ok(TailEnd { offset: walk.offset, next: walk.next, clean: false, torn_bytes })
    }

    fn sealed(&self, header: &SegmentHeader, footer: Footer) -> Result<TailEnd, OpenError> {
        if footer.sealed == Sealed::Rolled {
            let last = self.options.known_durable.unwrap_or(footer.next).max(footer.next);
            return Err(lost(&self.path(header.number + 1), 0, (footer.next, last), "the segment is missing"));
        }
        Ok(TailEnd { offset: footer.offset, next: footer.next, clean: true, torn_bytes: 0 })
    }

    fn walk(&self, header: &SegmentHeader) -> Result<Walk, OpenError> {
        let path = self.path(header.number);
        let io = |error| OpenError::io(&path, error);
        let file = self.disk.open(&path).map_err(io)?;
        let len = file.len().map_err(io)?;
        walk(&mut Window::new(&*file, len), header).map_err(io)
    }

    fn path(&self, number: u32) -> PathBuf {
        self.dir.join(name(number))
    }
}

struct TailEnd {
    offset: u64,
    next: Lsn,
    clean: bool,
    torn_bytes: u64,
}

/// How far the frames of a segment hold together.
#[derive(Debug)]
struct Walk {
    /// The first position that holds no valid frame.
    offset: u64,
    next: Lsn,
    stop: Stop,
}

#[derive(Clone, Copy, Debug)]
enum Stop {
    Bad(&'static str),
    Newer(&'static str),
}

impl Stop {
    fn reason(self) -> &'static str {
        match self {
            Stop::Bad(reason) | Stop::Newer(reason) => reason,
        }
    }
}

fn walk(window: &mut Window<'_>, header: &SegmentHeader) -> io::Result<Walk> {
    let mut walk =
        Walk { offset: SEGMENT_HEADER_BYTES as u64, next: header.base, stop: Stop::Bad("the file is cut short") };
    let mut chain = header.chain();
    loop {
        let Some(bytes) = window.at(walk.offset, FRAME_HEADER_BYTES)? else { return Ok(walk) };
        let crc = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        let frame = match FrameHeader::decode(bytes, header.salt) {
            Ok(frame) => frame,
            Err(fault) => {
                walk.stop = match fault {
                    Fault::Damaged(reason) => Stop::Bad(reason),
                    Fault::Newer(what) => Stop::Newer(what),
                };
                return Ok(walk);
            }
        };
        if frame.base != walk.next || frame.chain != chain {
            walk.stop = Stop::Bad("a frame does not follow the one before it");
            return Ok(walk);
        }
        let inside = walk.offset + frame.whole_bytes() <= window.end();
        let body = window.at(walk.offset + FRAME_HEADER_BYTES as u64, frame.body_bytes as usize)?;
        if !(inside && body.is_some_and(|body| frame.body_matches(header.salt, body))) {
            walk.stop = Stop::Bad("the checksum of a frame's records does not match");
            return Ok(walk);
        }
        chain = crc;
        walk.next = frame.next();
        walk.offset += frame.whole_bytes();
    }
}

/// What stands past the bad position.
#[derive(Debug, Default)]
struct Behind {
    /// Bytes at the bad position had been synced.
    proof: bool,
    /// The first LSN after the hole that can be read, or that would come next.
    resumes: Option<Lsn>,
    /// After the last byte that is not zero.
    dirty_end: u64,
}

fn look_behind(window: &mut Window<'_>, header: &SegmentHeader, walk: &Walk) -> io::Result<Behind> {
    let mut behind = Behind::default();
    let mut at = walk.offset;
    while at < window.end() {
        let bytes = usize::try_from(ALIGN.min(window.end() - at)).expect("at most 64");
        let Some(block) = window.at(at, bytes)? else { break };
        if let Some(dirty) = block.iter().rposition(|byte| *byte != 0) {
            behind.dirty_end = at + dirty as u64 + 1;
            if let Ok(frame) = FrameHeader::decode(block, header.salt) {
                let stamped_past = frame.durable_segment > header.number
                    || (frame.durable_segment == header.number && u64::from(frame.durable_offset) > walk.offset);
                behind.proof |= at > walk.offset && stamped_past;
                let body = window.at(at + FRAME_HEADER_BYTES as u64, frame.body_bytes as usize)?;
                let whole = body.is_some_and(|body| frame.body_matches(header.salt, body));
                if whole && frame.base > walk.next && behind.resumes.is_none() {
                    behind.resumes = Some(frame.base);
                }
            } else if let Some(footer) = Footer::decode(block, header.salt, header.number, at) {
                behind.proof |= footer.offset > walk.offset;
                behind.resumes = behind.resumes.or(Some(footer.next));
            }
        }
        at += ALIGN;
    }
    Ok(behind)
}

/// A file that was sealed ends with its footer.
fn closing_footer(file: &dyn hydrant_disk::DiskFile, header: &SegmentHeader, len: u64) -> io::Result<Option<Footer>> {
    let Some(offset) = len.checked_sub(FOOTER_BYTES as u64).filter(|at| *at >= SEGMENT_HEADER_BYTES as u64) else {
        return Ok(None);
    };
    let mut bytes = [0; FOOTER_BYTES];
    read_exact_at(file, &mut bytes, offset)?;
    Ok(Footer::decode(&bytes, header.salt, header.number, offset))
}

fn lost(segment: &Path, offset: u64, (first_lost, last_lost): (Lsn, Lsn), reason: &'static str) -> OpenError {
    OpenError::Corrupt { segment: segment.to_owned(), offset, first_lost, last_lost, reason }
}

fn newer(path: &Path, what: &str) -> OpenError {
    let reason = format!("written by a newer version ({what}); open it with that version");
    OpenError::Unsupported { path: path.to_owned(), reason }
}
