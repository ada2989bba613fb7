//! Going through one segment to its end, over whatever is damaged.
//!
//! Invariant: bytes count as damaged by the rules of opening: only what is proved to have been synced.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use hydrant_disk::DiskFile;
use hydrant_record::Lsn;

use super::{Damage, Seal, SegmentFacts};
use crate::layout::{FrameHeader, Kind, SegmentHeader};
use crate::recover::sealed_at;
use crate::segment::Window;
use crate::shards::ShardMap;
use crate::walk::{Behind, Stop, Walk, look_behind};

/// What is known of a segment before it is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Where its frames end and the LSN behind them, if the next segment says so.
    pub(super) next: Option<(u64, Lsn)>,
    /// Bodies of records are checked too.
    pub(super) whole: bool,
}

/// What a segment holds.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) facts: SegmentFacts,
    pub(super) damage: Vec<Damage>,
    pub(super) shards: Option<ShardMap>,
    pub(super) torn_bytes: u64,
}

/// One segment under the eyes of a scan.
struct Scanner<'a> {
    path: &'a Path,
    file: &'a dyn DiskFile,
    header: SegmentHeader,
    limits: Limits,
    walk: Walk,
    scan: Scan,
}

/// `progress` is told the bytes that are done.
pub(super) fn scan(
    (path, file): (&Path, &dyn DiskFile),
    header: SegmentHeader,
    limits: Limits,
    progress: &mut dyn FnMut(u64),
) -> io::Result<Scan> {
    let len = file.len()?;
    let mut window = Window::new(file, len);
    let walk = Walk { whole: limits.whole, ..Walk::new(&header) };
    let scan = Scan { facts: nothing_yet(&header), damage: Vec::new(), shards: None, torn_bytes: 0 };
    let mut scanner = Scanner { path, file, header, limits, walk, scan };
    let end = limits.next.map_or(len, |(end, _)| end);
    loop {
        scanner.go_on(&mut window, end, progress)?;
        let walk = &scanner.walk;
        if limits.next.is_some_and(|(end, next)| walk.offset >= end && walk.next == next) {
            break;
        }
        if limits.next.is_none() && sealed_at(&mut window, &header, walk)?.is_some() {
            break;
        }
        if !scanner.hole(&mut window, end)? {
            break;
        }
    }
    let seal = sealed_at(&mut window, &header, &scanner.walk)?.map_or(Seal::Open, Seal::from);
    let Scanner { walk, scan, .. } = scanner;
    let facts = SegmentFacts { next: walk.next, frames_end: walk.offset, seal, ..scan.facts };
    Ok(Scan { facts, shards: walk.shards, ..scan })
}

fn nothing_yet(header: &SegmentHeader) -> SegmentFacts {
    SegmentFacts {
        epoch: header.epoch,
        base: header.base,
        next: header.base,
        frames_end: 0,
        recycled: header.recycled,
        seal: Seal::Open,
        records: 0,
        record_bytes: 0,
        arrived: None,
        shards: BTreeSet::new(),
        compressions: Vec::new(),
        lost: Vec::new(),
    }
}

impl Scanner<'_> {
    /// As far as the frames hold together.
    fn go_on(&mut self, window: &mut Window<'_>, end: u64, progress: &mut dyn FnMut(u64)) -> io::Result<()> {
        self.walk.stop = Stop::End;
        while self.walk.offset < end {
            let from = self.walk.next;
            match self.walk.step(window, &self.header)? {
                Ok(Some(frame)) => self.count(&frame, from),
                Ok(None) => break,
                Err(stop) => {
                    self.walk.stop = stop;
                    break;
                }
            }
            progress(self.walk.offset);
        }
        Ok(())
    }

    fn count(&mut self, frame: &FrameHeader, from: Lsn) {
        let facts = &mut self.scan.facts;
        if frame.kind == Kind::Lost && from < self.walk.next {
            facts.lost.push((from, self.walk.next.previous().expect("behind another")));
        }
        if frame.kind != Kind::Records {
            return;
        }
        facts.records += u64::from(frame.count);
        facts.record_bytes += u64::from(frame.body_bytes);
        let (first, last) = facts.arrived.unwrap_or((frame.arrived_at, frame.arrived_at));
        facts.arrived = Some((first.min(frame.arrived_at), last.max(frame.arrived_at)));
        facts.shards.insert(frame.shard);
        if !facts.compressions.contains(&frame.compression) {
            facts.compressions.push(frame.compression);
        }
    }

    /// Judges the place where the walk stopped, and goes over it; false if nothing comes behind it.
    fn hole(&mut self, window: &mut Window<'_>, end: u64) -> io::Result<bool> {
        let behind = look_behind(window, &self.header, &self.walk)?;
        let open = self.limits.next.is_none();
        if open && self.has_grown()? {
            return Ok(false);
        }
        if open && self.walk.shards.is_some() && !behind.proof {
            self.scan.torn_bytes = behind.dirty_end.saturating_sub(self.walk.offset);
            return Ok(false);
        }
        let resumes = resumes(&behind, end);
        let next = match (resumes, self.limits.next) {
            (Some((_, lsn)), _) | (None, Some((_, lsn))) => Some(lsn),
            (None, None) => behind.resumes.or(behind.named),
        };
        let next = next.map(|next| next.max(self.walk.next));
        self.scan.damage.push(Damage {
            segment: self.path.to_owned(),
            offset: self.walk.offset,
            first: self.walk.next,
            next,
            reason: self.walk.stop.reason(),
            stops_opening: true,
        });
        let (at, next) = (resumes.map_or(end, |(at, _)| at), next.unwrap_or(self.walk.next));
        self.walk.resume(at, next);
        Ok(resumes.is_some())
    }

    /// Whether a daemon has put a good frame by now where there was none: then all is well, and what comes behind it is newer
    /// than this look.
    fn has_grown(&mut self) -> io::Result<bool> {
        let mut window = Window::new(self.file, self.file.len()?);
        let from = self.walk.next;
        let Ok(Some(frame)) = self.walk.step(&mut window, &self.header)? else { return Ok(false) };
        self.count(&frame, from);
        Ok(true)
    }
}

/// Where a whole frame comes behind a hole, and its LSN.
pub(super) fn resumes(behind: &Behind, end: u64) -> Option<(u64, Lsn)> {
    behind.resumes_at.zip(behind.resumes).filter(|(at, _)| *at < end && behind.is_frame)
}
