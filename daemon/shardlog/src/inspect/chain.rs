//! How the segments of a log hang together, by their names and headers alone.
//!
//! Invariant: what is said to be damaged was so in two looks, with the same files there: a daemon may roll and trim at any
//! moment.

use std::io;
use std::path::{Path, PathBuf};

use hydrant_disk::Disk;
use hydrant_record::Lsn;

use super::scan::{self, Limits, Scan};
use super::{Damage, Seal, SegmentFacts, SegmentSurvey};
use crate::layout::SegmentHeader;
use crate::recover::{Names, Search};
use crate::{LogOptions, OpenError};

/// Looks at a log that does not stand still.
const LOOKS_MAX: usize = 16;

/// The segments of a log.
pub(super) struct Chain<'a> {
    pub(super) search: Search<'a>,
    pub(super) names: Names,
    /// Oldest first, without those that were let go.
    pub(super) heads: Vec<Head>,
    let_go: Vec<PathBuf>,
}

#[derive(Debug)]
pub(super) struct Head {
    pub(super) number: u32,
    file_bytes: u64,
    /// Or why it is damaged.
    pub(super) header: Result<SegmentHeader, &'static str>,
}

impl<'a> Chain<'a> {
    pub(super) fn read(disk: &'a dyn Disk, dir: &'a Path, options: &'a LogOptions) -> Result<Chain<'a>, OpenError> {
        let search = Search { disk, dir, options };
        for look in 1.. {
            let names = Names::of(disk, dir)?;
            let read = search.kept(&names).and_then(|(numbers, let_go)| {
                let heads: Result<Vec<Head>, OpenError> =
                    numbers.into_iter().map(|number| Head::read(&search, number)).collect();
                Ok((heads?, let_go))
            });
            if look == LOOKS_MAX || Names::of(disk, dir)? == names {
                let (heads, let_go) = read?;
                return Ok(Chain { search, names, heads, let_go });
            }
        }
        unreachable!("the last look returns")
    }

    /// Where the frames of a segment end, and the LSN behind them, if the next segment says so.
    pub(super) fn next_of(&self, at: usize) -> Option<(u64, Lsn)> {
        let next = self.heads.get(at + 1)?.header.ok()?;
        (next.previous == self.heads[at].number).then_some((next.previous_end, next.base))
    }

    /// The newest header that can be read.
    pub(super) fn newest(&self) -> Option<SegmentHeader> {
        self.heads.iter().rev().find_map(|head| head.header.ok())
    }

    /// What is to be read of all segments.
    pub(super) fn bytes(&self) -> u64 {
        (0..self.heads.len()).map(|at| self.bytes_of(at)).sum()
    }

    pub(super) fn bytes_of(&self, at: usize) -> u64 {
        let head = &self.heads[at];
        let end = self.next_of(at).map_or(head.file_bytes, |(end, _)| end);
        if head.header.is_ok() { end } else { 0 }
    }

    /// What is missing or damaged from the LSN behind the segment before up to this segment, its header included.
    pub(super) fn gap_before(&self, at: usize, came: Option<Lsn>) -> Result<Option<Damage>, OpenError> {
        let head = &self.heads[at];
        let before = at.checked_sub(1).map(|before| &self.heads[before]);
        let header = match (head.header, before) {
            (Ok(header), None) => {
                let newest = self.newest().unwrap_or(header);
                return match self.search.first(&header, &newest, self.names.mark) {
                    Err(OpenError::Corrupt { segment, offset, first_lost, last_lost, reason }) => {
                        let next = Some(last_lost.next());
                        Ok(Some(Damage { segment, offset, first: first_lost, next, reason, stops_opening: true }))
                    }
                    other => other.map(|()| None),
                };
            }
            (Err(reason), _) => {
                let next = self.heads[at..].iter().find_map(|head| head.header.ok()).map(|next| next.base);
                let kept = self.newest().map_or(Lsn::FIRST, |newest| newest.kept.0);
                let first = came.unwrap_or(next.map_or(kept, |next| kept.min(next)));
                return Ok(Some(self.damage(head.number, (first, next), reason)));
            }
            (Ok(header), Some(_)) => header,
        };
        let before = before.expect("the first has returned");
        let reason = match before.header {
            Ok(before) if before.log_id != header.log_id => "it is a segment of another log",
            _ if header.previous != before.number => "the segment is missing",
            _ => return Ok(None),
        };
        let number = if header.previous == before.number { head.number } else { before.number + 1 };
        Ok(Some(self.damage(number, (came.unwrap_or(header.base), Some(header.base)), reason)))
    }

    /// What is missing behind the last segment, which holds this.
    pub(super) fn behind_last(&self, last: Option<&SegmentFacts>) -> Result<Option<Damage>, OpenError> {
        let reason = "the segment is missing";
        let Some(head) = self.heads.last() else {
            return Ok(self
                .names
                .mark
                .map(|mark| self.damage(mark + 1, (Lsn::FIRST, None), "all segments are missing")));
        };
        let Some(facts) = last.filter(|facts| facts.seal == Seal::Rolled) else { return Ok(None) };
        let rolled = Names::of(self.search.disk, self.search.dir)?.segments.last() > Some(&head.number);
        Ok((!rolled).then(|| self.damage(head.number + 1, (facts.next, None), reason)))
    }

    fn damage(&self, number: u32, (first, next): (Lsn, Option<Lsn>), reason: &'static str) -> Damage {
        let next = next.map(|next| next.max(first));
        Damage { segment: self.search.path(number), offset: 0, first, next, reason, stops_opening: true }
    }

    /// Reads one segment. `None` if its header is damaged, or if it was trimmed meanwhile.
    pub(super) fn scan(
        &self,
        at: usize,
        limits: Limits,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Option<Scan>, OpenError> {
        let Head { number, header: Ok(header), .. } = self.heads[at] else { return Ok(None) };
        let path = self.search.path(number);
        let mut before: Option<Vec<Damage>> = None;
        for look in 1.. {
            let file = self.search.disk.open(&path);
            let seen = file.and_then(|file| scan::scan((&path, &*file), header, limits, progress));
            let damage = match &seen {
                Ok(scan) if scan.damage.is_empty() => return seen_or(seen, &path),
                Ok(scan) => Some(scan.damage.clone()),
                // A file that is sealed is cut, and one that is trimmed is unlinked.
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => None,
                Err(_) => return seen_or(seen, &path),
            };
            if !Names::of(self.search.disk, self.search.dir)?.segments.contains(&number) {
                return Ok(None);
            }
            if look == LOOKS_MAX || (damage.is_some() && damage == before) {
                return seen_or(seen, &path);
            }
            before = damage;
        }
        unreachable!("the last look returns")
    }

    pub(super) fn segment(&self, at: usize, facts: Option<SegmentFacts>) -> SegmentSurvey {
        let Head { number, file_bytes, .. } = self.heads[at];
        SegmentSurvey { path: self.search.path(number), number, file_bytes, facts }
    }

    pub(super) fn leftover(&self) -> Vec<PathBuf> {
        self.let_go.iter().chain(&self.names.scratch).cloned().collect()
    }

    pub(super) fn set_aside(&self) -> Result<Vec<PathBuf>, OpenError> {
        let dir = self.search.dir;
        let names = self.search.disk.list(dir).map_err(|error| OpenError::io(dir, error))?;
        let damaged = names.into_iter().filter(|name| name.extension().is_some_and(|end| end == "damaged"));
        Ok(damaged.map(|name| dir.join(name)).collect())
    }
}

impl Head {
    fn read(search: &Search<'_>, number: u32) -> Result<Head, OpenError> {
        let path = search.path(number);
        let file_bytes = search.disk.open(&path).and_then(|file| file.len());
        let file_bytes = file_bytes.map_err(|error| OpenError::io(&path, error))?;
        Ok(Head { number, file_bytes, header: search.header(number)? })
    }
}

fn seen_or(seen: io::Result<Scan>, path: &Path) -> Result<Option<Scan>, OpenError> {
    seen.map(Some).map_err(|error| OpenError::io(path, error))
}
