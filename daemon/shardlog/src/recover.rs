//! What opening finds: a whole log, a torn tail, or rot.
//!
//! Invariant: records are given up only where nothing proves that they had been synced. A later frame stamped past the
//! bad position, a footer behind it, a next segment, or an LSN that another durable file names is such a proof.

use std::io;
use std::path::{Path, PathBuf};

use hydrant_disk::{Disk, DiskFile, read_exact_at};
use hydrant_record::{LogId, Lsn};

use crate::layout::{FOOTER_BYTES, FRAME_HEADER_BYTES, Fault, Footer, FrameHeader, Index, Kind, SEGMENT_HEADER_BYTES};
use crate::layout::{Sealed, SegmentHeader};
use crate::segment::{FRAMES_START, Name, Segment, Window, name, trimmed_name};
use crate::shards::ShardMap;
use crate::sync::Arc;
use crate::trim::Trimming;
use crate::walk::{Stop, Walk, look_behind, walk};
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
    pub(crate) shards: ShardMap,
    pub(crate) clean: bool,
    pub(crate) torn_bytes: u64,
    pub(crate) lost: Vec<(Lsn, Lsn)>,
    pub(crate) trimming: Trimming,
}

impl Found {
    /// A log that is about to be made.
    pub(crate) fn new(log_id: LogId, options: &LogOptions) -> Found {
        let shards = ShardMap::even(options.shards.clamp(1, ShardMap::SHARDS_MAX), options.clock.now());
        Found {
            log_id,
            segments: Vec::new(),
            next: Lsn::FIRST,
            shards,
            clean: true,
            torn_bytes: 0,
            lost: Vec::new(),
            trimming: Trimming::default(),
        }
    }
}

/// Looks through `dir`. `None` if no log was ever made there; scratch files are removed.
pub(crate) fn recover(disk: &dyn Disk, dir: &Path, options: &LogOptions) -> Result<Option<Found>, OpenError> {
    let names = Names::of(disk, dir)?;
    for scratch in &names.scratch {
        disk.remove(scratch).map_err(|error| OpenError::io(dir, error))?;
    }
    let search = Search { disk, dir, options };
    let found = match search.found(&names) {
        found @ Err(OpenError::Corrupt { .. }) if options.accept_loss => search.give_up(found).map(Some),
        other => other,
    }?;
    found.iter().try_for_each(|found| search.settle(found))?;
    Ok(found)
}

/// What stands in the directory of a log.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    /// Ascending; none that a trim mark has let go.
    pub(crate) segments: Vec<u32>,
    /// The newest trim mark.
    pub(crate) mark: Option<u32>,
    pub(crate) leftover: Vec<PathBuf>,
    pub(crate) scratch: Vec<PathBuf>,
}

impl Names {
    pub(crate) fn of(disk: &dyn Disk, dir: &Path) -> Result<Names, OpenError> {
        let mut names = Names::default();
        let mut marks = Vec::new();
        for path in disk.list(dir).map_err(|error| OpenError::io(dir, error))? {
            match Name::of(&path) {
                Name::Segment(number) => names.segments.push(number),
                Name::Trimmed(number) => marks.push(number),
                Name::Scratch => names.scratch.push(dir.join(path)),
                Name::Label => {}
                Name::Foreign => {
                    let reason =
                        "not a file of a log; a log is made only in an empty directory, so move it away".to_owned();
                    return Err(OpenError::Unsupported { path: dir.join(path), reason });
                }
            }
        }
        names.segments.sort_unstable();
        marks.sort_unstable();
        names.mark = marks.pop();
        names.leftover.extend(marks.into_iter().map(|mark| dir.join(trimmed_name(mark))));
        names.drop_before(dir, names.mark.map_or(0, |mark| mark + 1));
        Ok(names)
    }

    /// Those with lower numbers were let go.
    fn drop_before(&mut self, dir: &Path, first: u32) {
        let kept = self.segments.partition_point(|number| *number < first);
        self.leftover.extend(self.segments.drain(..kept).map(|number| dir.join(name(number))));
    }
}

/// Looks and changes nothing, until it is told to [`Search::settle`] or [`Search::give_up`].
pub(crate) struct Search<'a> {
    pub(crate) disk: &'a dyn Disk,
    pub(crate) dir: &'a Path,
    pub(crate) options: &'a LogOptions,
}

impl Search<'_> {
    /// `None` if no log was ever made here.
    pub(crate) fn found(&self, names: &Names) -> Result<Option<Found>, OpenError> {
        if !names.segments.is_empty() {
            return self.segments(names).map(Some);
        }
        let reason = "all segments are missing";
        match (self.options.known_durable, names.mark) {
            (None, None) => Ok(None),
            (known, _) => Err(lost(self.dir, 0, (Lsn::FIRST, known.unwrap_or(Lsn::FIRST)), reason)),
        }
    }

    fn segments(&self, names: &Names) -> Result<Found, OpenError> {
        let (numbers, leftover) = self.kept(names)?;
        let mark = names.mark.map(|mark| self.dir.join(trimmed_name(mark)));
        let trimming = Trimming { leftover, mark };
        let mut headers: Vec<SegmentHeader> = Vec::new();
        for &number in &numbers {
            match self.header(number)? {
                Ok(header) => headers.push(header),
                Err(reason) => return Err(self.header_lost(&headers, &numbers, number, reason)),
            }
        }
        let last = headers[headers.len() - 1];
        self.first(&headers[0], &last, names.mark)?;
        for pair in headers.windows(2) {
            self.link(&pair[0], &pair[1])?;
        }
        let mut indexes = self.verify_latest(&headers)?;
        let end = self.tail_end(&last)?;
        if let Some(known) = self.options.known_durable.filter(|known| *known >= end.next) {
            let reason = "another durable file names records past the end of the log";
            return Err(lost(&self.path(last.number), end.offset, (end.next, known), reason));
        }
        indexes.push(Some(end.index));
        let ends = headers[1..].iter().map(|header| header.previous_end).chain([end.offset]);
        let segments = headers.iter().zip(indexes).map(|(header, index)| Segment::new(self.dir, *header, index));
        Ok(Found {
            log_id: last.log_id,
            segments: segments.map(Arc::new).zip(ends).collect(),
            next: end.next,
            shards: end.shards,
            clean: end.clean,
            torn_bytes: end.torn_bytes,
            lost: Vec::new(),
            trimming,
        })
    }

    /// The segments without those that the newest header lets go; and all files that were let go.
    pub(crate) fn kept(&self, names: &Names) -> Result<(Vec<u32>, Vec<PathBuf>), OpenError> {
        let (mut numbers, mut leftover) = (names.segments.clone(), names.leftover.clone());
        if let Some(newest) = numbers.last()
            && let Ok(header) = self.header(*newest)?
        {
            let kept = numbers.partition_point(|number| *number < header.kept.1);
            leftover.extend(numbers.drain(..kept).map(|number| self.path(number)));
        }
        Ok((numbers, leftover))
    }

    /// The outer error is of I/O or version; the inner says why the header is damaged.
    pub(crate) fn header(&self, number: u32) -> Result<Result<SegmentHeader, &'static str>, OpenError> {
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

    /// The log begins where the newest segment or a trim mark says.
    pub(crate) fn first(
        &self,
        first: &SegmentHeader,
        newest: &SegmentHeader,
        mark: Option<u32>,
    ) -> Result<(), OpenError> {
        let (kept, number) = newest.kept;
        let number = number.max(mark.map_or(0, |mark| mark + 1));
        // Where loss was accepted, one segment may stand for several.
        if first.number <= number || first.previous < number {
            return Ok(());
        }
        let upto = first.base.previous().unwrap_or(Lsn::FIRST);
        Err(lost(&self.path(number), 0, (kept.min(upto), upto), "the segment is missing"))
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
        Ok(())
    }

    /// Reads the latest finished segments whole, so that rot in what will be delivered next is told at the start. Older
    /// ones are checked when they are read: opening must not take longer the more is stored.
    fn verify_latest(&self, headers: &[SegmentHeader]) -> Result<Vec<Option<Index>>, OpenError> {
        let mut indexes = vec![None; headers.len() - 1];
        let unread = indexes.len() - read_at_opening(headers[1..].iter().rev().map(|next| next.previous_end));
        for (at, pair) in headers.windows(2).enumerate().skip(unread).rev() {
            indexes[at] = Some(self.verify(&pair[0], (pair[1].previous_end, pair[1].base))?);
        }
        Ok(indexes)
    }

    /// Every frame up to `end`, behind which `next` comes, was synced.
    pub(crate) fn verify(&self, header: &SegmentHeader, (end, next): (u64, Lsn)) -> Result<Index, OpenError> {
        let path = self.path(header.number);
        let io = |error| OpenError::io(&path, error);
        let file = self.disk.open(&path).map_err(io)?;
        let len = file.len().map_err(io)?;
        let mut window = Window::new(&*file, len);
        let walk = walk(&mut window, header, end).map_err(io)?;
        if let Stop::Newer(what) = walk.stop {
            return Err(newer(&path, what));
        }
        if walk.offset >= end && walk.next == next {
            return Ok(walk.index);
        }
        let resumes = look_behind(&mut window, header, &walk).map_err(io)?.resumes.unwrap_or(next);
        let last = resumes.previous().unwrap_or(walk.next).max(walk.next);
        Err(lost(&path, walk.offset, (walk.next, last), walk.stop.reason()))
    }

    /// Where the last segment ends, on the medium.
    fn tail_end(&self, header: &SegmentHeader) -> Result<TailEnd, OpenError> {
        let path = self.path(header.number);
        let io = |error| OpenError::io(&path, error);
        let file = self.disk.open(&path).map_err(io)?;
        let len = file.len().map_err(io)?;
        if !closed(&*file, header, len).map_err(io)? {
            // After a failed sync the page cache shows bytes that the medium does not hold.
            file.forget(0, len).map_err(io)?;
        }
        let mut window = Window::new(&*file, len);
        let walk = walk(&mut window, header, len).map_err(io)?;
        if let Some(sealed) = sealed_at(&mut window, header, &walk).map_err(io)? {
            return self.sealed(header, walk, sealed);
        }
        if let Stop::Newer(what) = walk.stop {
            return Err(newer(&path, what));
        }
        let behind = look_behind(&mut window, header, &walk).map_err(io)?;
        let Some(shards) = walk.shards.clone().filter(|_| !behind.proof) else {
            // The first frame has the map of shards; it was synced before the segment got its name.
            let last =
                behind.resumes.or(behind.named).or(self.options.known_durable.map(Lsn::next)).and_then(Lsn::previous);
            let range = (walk.next, last.unwrap_or(walk.next).max(walk.next));
            return Err(lost(&path, walk.offset, range, walk.stop.reason()));
        };
        let torn_bytes = behind.dirty_end.saturating_sub(walk.offset);
        Ok(TailEnd { offset: walk.offset, next: walk.next, shards, index: walk.index, clean: false, torn_bytes })
    }

    /// Makes durable what was found in a log that was cut off: it is seen, and need not be on the medium.
    fn settle(&self, found: &Found) -> Result<(), OpenError> {
        let Some((last, _)) = found.segments.last().filter(|_| !found.clean) else { return Ok(()) };
        let file = self.disk.open_write(&last.path);
        file.and_then(|file| file.sync_data()).map_err(|error| OpenError::io(&last.path, error))?;
        // Names too: the next segment must not come to the medium without this one.
        self.disk.sync_dir(self.dir).map_err(|error| OpenError::io(self.dir, error))
    }

    fn sealed(&self, header: &SegmentHeader, walk: Walk, sealed: Sealed) -> Result<TailEnd, OpenError> {
        if sealed == Sealed::Rolled {
            let last = self.options.known_durable.unwrap_or(walk.next).max(walk.next);
            return Err(lost(&self.path(header.number + 1), 0, (walk.next, last), "the segment is missing"));
        }
        match walk.shards {
            Some(shards) => Ok(TailEnd {
                offset: walk.offset,
                next: walk.next,
                shards,
                index: walk.index,
                clean: true,
                torn_bytes: 0,
            }),
            None => {
                let range = (header.base, header.base);
                Err(lost(&self.path(header.number), FRAMES_START, range, "the map of shards is missing"))
            }
        }
    }

    pub(crate) fn walk(&self, header: &SegmentHeader) -> Result<Walk, OpenError> {
        let path = self.path(header.number);
        let io = |error| OpenError::io(&path, error);
        let file = self.disk.open(&path).map_err(io)?;
        let len = file.len().map_err(io)?;
        walk(&mut Window::new(&*file, len), header, len).map_err(io)
    }

    pub(crate) fn path(&self, number: u32) -> PathBuf {
        self.dir.join(name(number))
    }
}

struct TailEnd {
    offset: u64,
    next: Lsn,
    shards: ShardMap,
    index: Index,
    clean: bool,
    torn_bytes: u64,
}

/// How many finished segments with these ends, the newest first, opening reads whole.
pub(crate) fn read_at_opening(ends: impl Iterator<Item = u64>) -> usize {
    let mut left = Some(VERIFIED_BYTES);
    ends.take_while(|end| {
        left = left.and_then(|left| left.checked_sub(*end));
        left.is_some()
    })
    .count()
}

/// Whether a footer follows the last frame: behind the index, which need not be whole, or at the end of the file.
pub(crate) fn sealed_at(window: &mut Window<'_>, header: &SegmentHeader, walk: &Walk) -> io::Result<Option<Sealed>> {
    let index = window.at(walk.offset, FRAME_HEADER_BYTES)?.map(|bytes| FrameHeader::decode(bytes, header.salt));
    let at = match index {
        Some(Ok(frame)) if frame.kind == Kind::Index => walk.offset + frame.whole_bytes(),
        _ => window.end().saturating_sub(FOOTER_BYTES as u64),
    };
    let bytes = window.at(at, FOOTER_BYTES)?;
    let footer = bytes.and_then(|bytes| Footer::decode(bytes, header.salt, header.number, at));
    let fits = |footer: &Footer| footer.next == walk.next && footer.frames_end == walk.offset;
    Ok(footer.filter(fits).map(|footer| footer.sealed))
}

/// A file that was closed ends with its footer.
fn closed(file: &dyn DiskFile, header: &SegmentHeader, len: u64) -> io::Result<bool> {
    let Some(offset) = len.checked_sub(FOOTER_BYTES as u64).filter(|at| *at >= FRAMES_START) else {
        return Ok(false);
    };
    let mut bytes = [0; FOOTER_BYTES];
    read_exact_at(file, &mut bytes, offset)?;
    Ok(Footer::decode(&bytes, header.salt, header.number, offset).is_some())
}

pub(crate) fn lost(
    segment: &Path,
    offset: u64,
    (first_lost, last_lost): (Lsn, Lsn),
    reason: &'static str,
) -> OpenError {
    OpenError::Corrupt { segment: segment.to_owned(), offset, first_lost, last_lost, reason }
}

fn newer(path: &Path, what: &str) -> OpenError {
    let reason = format!("written by a newer version ({what}); open it with that version");
    OpenError::Unsupported { path: path.to_owned(), reason }
}
