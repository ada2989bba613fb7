//! Going on without records that were stored and cannot be read, because an operator said so.
//!
//! Invariant: what can still be read keeps its LSN and its place; every LSN that cannot is inside a LOST frame; a damaged
//! file is set aside as `N.seg.damaged` before another takes its name.

use std::io;
use std::path::{Path, PathBuf};

use hydrant_disk::{DiskFile, read_exact_at};
use hydrant_record::{Epoch, Lsn};

use crate::frames::{Frames, Stamp};
use crate::layout::{BODY_BYTES_MAX, FRAME_HEADER_BYTES, Kind, Lost, SegmentHeader, frame_bytes};
use crate::log::new_id;
use crate::recover::{Found, Names, Search};
use crate::segment::{FRAMES_START, Name, Window};
use crate::shards::ShardMap;
use crate::walk::{Walk, look_behind, walk_on};
use crate::{Compression, OpenError};

const COPY_BYTES: usize = 1 << 20;

/// One frame that takes the place of bytes that cannot be read.
struct Patch {
    offset: u64,
    frames: Vec<u8>,
}

/// The file that is to stand in the place of a damaged or missing one.
struct Replacement {
    header: SegmentHeader,
    /// The damaged file, if its header is good: bytes before `end` are taken from it.
    original: Option<PathBuf>,
    end: u64,
    patches: Vec<Patch>,
}

impl Search<'_> {
    /// Repairs one segment after the other until the log holds together.
    pub(crate) fn give_up(&self, mut found: Result<Option<Found>, OpenError>) -> Result<Found, OpenError> {
        let mut lost = Vec::new();
        let mut rounds = 8 + 4 * Names::of(self.disk, self.dir)?.segments.len();
        loop {
            let error = match found {
                Ok(Some(found)) => return Ok(Found { lost, ..found }),
                Ok(None) => return Err(OpenError::io(self.dir, io::ErrorKind::NotFound.into())),
                Err(error) => error,
            };
            let OpenError::Corrupt { segment, first_lost, last_lost, .. } = &error else { return Err(error) };
            let names = Names::of(self.disk, self.dir)?;
            let number = number_of(segment).unwrap_or(names.mark.map_or(1, |mark| mark + 1));
            rounds -= 1;
            match self.replacement(&names, number, *last_lost)? {
                Some(replacement) if rounds > 0 => self.put_in_place(&replacement)?,
                _ => return Err(error),
            }
            lost.push((*first_lost, *last_lost));
            found = self.found(&Names::of(self.disk, self.dir)?);
        }
    }

    /// `None` if there is no room for what would have to be written.
    fn replacement(&self, names: &Names, number: u32, last: Lsn) -> Result<Option<Replacement>, OpenError> {
        let before = names.segments.iter().rev().find(|other| **other < number);
        let after = names.segments.iter().find(|other| **other > number);
        let before = self.readable(before)?;
        let after = self.readable(after)?;
        let header = if names.segments.contains(&number) { self.header(number)?.ok() } else { None };
        let next = after.map(|header| (header.previous_end, header.base));
        match header {
            Some(header) => self.patched(header, before, (next, last)),
            None => {
                let first = self.readable(names.segments.first().filter(|first| **first < number))?;
                self.rebuilt((number, before, after), first, last)
            }
        }
    }

    fn readable(&self, number: Option<&u32>) -> Result<Option<SegmentHeader>, OpenError> {
        number.map_or(Ok(None), |number| Ok(self.header(*number)?.ok()))
    }

    /// A segment whose header is good: LOST frames go over the holes.
    fn patched(
        &self,
        header: SegmentHeader,
        before: Option<SegmentHeader>,
        (next, last): (Option<(u64, Lsn)>, Lsn),
    ) -> Result<Option<Replacement>, OpenError> {
        let path = self.path(header.number);
        let io = |error| OpenError::io(&path, error);
        let file = self.disk.open(&path).map_err(io)?;
        let len = file.len().map_err(io)?;
        let end = next.map_or(len, |(end, _)| end);
        let mut window = Window::new(&*file, len);
        let mut walk = Walk::new(&header);
        let mut patches = Vec::new();
        loop {
            walk_on(&mut walk, &mut window, &header, end).map_err(io)?;
            let stopped = (walk.offset, walk.next);
            if walk.offset >= end && walk.shards.is_some() && next.is_none_or(|(_, base)| base == walk.next) {
                break;
            }
            let map = if walk.shards.is_none() { Some(self.map_before(before.as_ref())?) } else { None };
            let behind = look_behind(&mut window, &header, &walk).map_err(io)?;
            let resumes = behind.resumes_at.zip(behind.resumes).filter(|(at, _)| *at < end && behind.is_frame);
            let (upto, lsn) = match (resumes, next) {
                (Some(resumes), _) => resumes,
                (None, Some(next)) => next,
                // The end of the log: as small as it can be.
                (None, None) if last >= walk.next => (walk.offset + smallest(map.as_ref()), last.next()),
                (None, None) => break,
            };
            let Some(patch) = self.patch(&header, &mut walk, (upto, lsn), map) else { return Ok(None) };
            patches.push(patch);
            if (walk.offset, walk.next) == stopped {
                return Ok(None);
            }
            if resumes.is_none() {
                break;
            }
        }
        Ok(Some(Replacement { header, original: Some(path.clone()), end: walk.offset, patches }))
    }

    /// A segment of which nothing can be read: all its LSNs are lost.
    fn rebuilt(
        &self,
        (number, before, after): (u32, Option<SegmentHeader>, Option<SegmentHeader>),
        oldest: Option<SegmentHeader>,
        last: Lsn,
    ) -> Result<Option<Replacement>, OpenError> {
        let random = || self.disk.random().map_err(|error| OpenError::io(self.dir, error));
        // Of several that are missing, one stands for all.
        let (wanted, number) = (number, after.map_or(number, |after| after.previous.max(number)));
        let (previous, previous_end, base) = match &before {
            Some(header) => {
                let (end, next) = self.salvageable(header)?;
                (header.number, end, next)
            }
            None => (wanted - 1, 0, after.map_or(Lsn::FIRST, |after| after.kept.0)),
        };
        let next = after.map_or(last.next(), |after| after.base).max(base);
        let known = before.or(after);
        let header = SegmentHeader {
            recycled: false,
            log_id: match known {
                Some(known) => known.log_id,
                None => new_id(self.disk).map_err(|error| OpenError::io(self.dir, error))?,
            },
            salt: random()?,
            epoch: Epoch(random()?),
            base,
            number,
            previous,
            previous_end,
            kept: match (after, oldest) {
                // Only the newest header knew what was trimmed since the one before it: the log begins with what is there.
                (None, Some(oldest)) => (oldest.base, oldest.number),
                _ => known.map_or((base, number), |known| known.kept),
            },
        };
        let map = self.map_before(before.as_ref().or(after.as_ref()))?;
        let mut walk = Walk::new(&header);
        let end = after.map_or(FRAMES_START + smallest(Some(&map)), |after| after.previous_end);
        let patch = self.patch(&header, &mut walk, (end, next), Some(map));
        Ok(patch.map(|patch| Replacement { header, original: None, end, patches: vec![patch] }))
    }

    /// Where the last frame of a segment ends that can be read, and the LSN behind it.
    fn salvageable(&self, header: &SegmentHeader) -> Result<(u64, Lsn), OpenError> {
        let path = self.path(header.number);
        let io = |error| OpenError::io(&path, error);
        let file = self.disk.open(&path).map_err(io)?;
        let len = file.len().map_err(io)?;
        let mut window = Window::new(&*file, len);
        let mut walk = Walk::new(header);
        loop {
            walk_on(&mut walk, &mut window, header, len).map_err(io)?;
            let behind = look_behind(&mut window, header, &walk).map_err(io)?;
            match behind.resumes_at.zip(behind.resumes).filter(|_| behind.is_frame) {
                Some((at, lsn)) => walk.resume(at, lsn),
                None => return Ok((walk.offset, walk.next)),
            }
        }
    }

    /// The shards as the segment before left them, as far as can be told.
    fn map_before(&self, before: Option<&SegmentHeader>) -> Result<ShardMap, OpenError> {
        let known = before.map(|header| self.walk(header)).transpose()?.and_then(|walk| walk.shards);
        let shards = self.options.shards.clamp(1, ShardMap::SHARDS_MAX);
        Ok(known.unwrap_or_else(|| ShardMap::even(shards, self.options.clock.now())))
    }

    /// Frames that fill the bytes from where `walk` stands to `upto`, and say that the LSNs before `next` are lost.
    fn patch(
        &self,
        header: &SegmentHeader,
        walk: &mut Walk,
        (upto, next): (u64, Lsn),
        map: Option<ShardMap>,
    ) -> Option<Patch> {
        let offset = walk.offset;
        let stamp = Stamp {
            salt: header.salt,
            durable: (header.number, offset),
            now: self.options.clock.now(),
            commit: 0,
            compression: Compression::None,
            mends: true,
        };
        let hole = usize::try_from(upto.checked_sub(offset)?).ok()?;
        let mut bytes = Vec::with_capacity(hole);
        let mut frames = Frames::new(&mut bytes, stamp, (walk.next, walk.chain.unwrap_or(0)));
        if let Some(map) = &map {
            frames.control(Kind::Shards, &map.encode());
        }
        let mut left = hole.checked_sub(frames.len())?;
        let mut lost = Lost { first: walk.next, next };
        while left > 0 {
            let whole = left.min(BODY_BYTES_MAX);
            let body = whole.checked_sub(FRAME_HEADER_BYTES)?;
            if body > 0 {
                frames.lost(lost, body);
                lost.first = lost.next;
            } else {
                frames.control(Kind::Lost, &[]);
            }
            left -= whole;
        }
        let told = lost.first == lost.next;
        walk.resume(upto, next);
        walk.shards = walk.shards.take().or(map);
        told.then_some(Patch { offset, frames: bytes })
    }

    /// Durable on return; the damaged file has another name then.
    fn put_in_place(&self, replacement: &Replacement) -> Result<(), OpenError> {
        let path = self.path(replacement.header.number);
        let io = |error| OpenError::io(&path, error);
        if self.disk.exists(&path).map_err(io)? {
            self.set_aside(&path).map_err(io)?;
        }
        let made = path.with_extension("seg.tmp");
        let file = self.disk.create(&made).map_err(io)?;
        let written = (|| {
            if let Some(original) = &replacement.original {
                copy(&*self.disk.open(original)?, &*file, replacement.end)?;
            }
            file.write_at(&replacement.header.encode(), 0)?;
            for patch in &replacement.patches {
                file.write_at(&patch.frames, patch.offset)?;
            }
            file.sync_data()?;
            self.disk.rename(&made, &path)?;
            self.disk.sync_dir(self.dir)
        })();
        written.map_err(io)
    }

    /// The first damaged state of a segment is kept for whoever wants to look.
    fn set_aside(&self, path: &Path) -> io::Result<()> {
        let aside = path.with_extension("seg.damaged");
        if self.disk.exists(&aside)? {
            return Ok(());
        }
        let scratch = path.with_extension("damaged.seg.tmp");
        let (from, to) = (self.disk.open(path)?, self.disk.create(&scratch)?);
        copy(&*from, &*to, u64::MAX)?;
        to.sync_data()?;
        self.disk.rename(&scratch, &aside)?;
        self.disk.sync_dir(self.dir)
    }
}

fn copy(from: &dyn DiskFile, to: &dyn DiskFile, end: u64) -> io::Result<()> {
    let end = from.len()?.min(end);
    let mut buffer = vec![0; COPY_BYTES];
    let mut at = 0;
    while at < end {
        let piece = &mut buffer[..usize::try_from(end - at).unwrap_or(COPY_BYTES).min(COPY_BYTES)];
        read_exact_at(from, piece, at)?;
        to.write_at(piece, at)?;
        at += piece.len() as u64;
    }
    Ok(())
}

/// A map, if there is to be one, and the smallest frame that can name what is lost.
fn smallest(map: Option<&ShardMap>) -> u64 {
    map.map_or(0, |map| frame_bytes(map.encode().len())) + frame_bytes(Lost::BYTES)
}

fn number_of(segment: &Path) -> Option<u32> {
    match Name::of(Path::new(segment.file_name()?)) {
        Name::Segment(number) => Some(number),
        _ => None,
    }
}
