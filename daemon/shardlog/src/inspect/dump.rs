//! The records of a log that is not open.
//!
//! Invariant: no record leaves whose checksum does not match, and whatever is passed over is named.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use hydrant_disk::Disk;
use hydrant_record::{Lsn, Record, ShardIx, Timestamp};

use super::chain::Chain;
use super::scan::{Limits, resumes};
use super::{Committers, Damage};
use crate::layout::SegmentHeader;
use crate::reader::Place;
use crate::segment::{Segment, Window};
use crate::tail::READ_BYTES_MAX;
use crate::walk::{Walk, look_behind};
use crate::{LogOptions, OpenError, ReadError};

/// Which records; all of them by default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Selection {
    pub from: Option<Lsn>,
    /// The last one.
    pub to: Option<Lsn>,
    pub shard: Option<ShardIx>,
    /// Arrived then or later.
    pub since: Option<Timestamp>,
    /// Arrived before.
    pub until: Option<Timestamp>,
}

/// What is met on the way through a log.
#[derive(Debug)]
pub enum Dumped {
    Record(Record),
    /// Given up before; not told to who asks for one shard.
    Lost {
        first: Lsn,
        last: Lsn,
    },
    Damage(Damage),
}

/// Takes what is met; `Break` ends the dump.
type Out<'a> = dyn FnMut(Dumped) -> ControlFlow<()> + 'a;

/// Reads records in the order of their LSNs, until there are none or `out` has enough.
pub fn dump(disk: &dyn Disk, dir: &Path, selection: &Selection, out: &mut Out<'_>) -> Result<(), OpenError> {
    let options = LogOptions::on(Committers::inline());
    let chain = Chain::read(disk, dir, &options)?;
    let mut came = None;
    for at in 0..chain.heads.len() {
        if dump_segment((&chain, at), &mut came, selection, out)?.is_break() {
            return Ok(());
        }
    }
    Ok(())
}

/// One segment and what is missing before and behind it. `came` is the LSN behind what was passed so far.
fn dump_segment(
    (chain, at): (&Chain<'_>, usize),
    came: &mut Option<Lsn>,
    selection: &Selection,
    out: &mut Out<'_>,
) -> Result<ControlFlow<()>, OpenError> {
    let gap = chain.gap_before(at, *came)?;
    *came = gap.as_ref().map_or(*came, |gap| gap.next.or(*came));
    if tell(gap, selection, out).is_break() {
        return Ok(ControlFlow::Break(()));
    }
    let Ok(header) = chain.heads[at].header else { return Ok(ControlFlow::Continue(())) };
    if selection.to.is_some_and(|to| header.base > to) {
        return Ok(ControlFlow::Break(()));
    }
    let mut missing = None;
    let (end, next) = match chain.next_of(at) {
        Some(known) => known,
        // Where the frames end that are no torn tail, only reading them tells.
        None => match chain.scan(at, Limits { next: None, whole: true }, &mut |_| {})? {
            Some(scan) => {
                missing = if at + 1 == chain.heads.len() { chain.behind_last(Some(&scan.facts))? } else { None };
                (scan.facts.frames_end, scan.facts.next)
            }
            None => return Ok(ControlFlow::Continue(())),
        },
    };
    *came = Some(next);
    let unwanted = selection.from.is_some_and(|from| next <= from);
    let reading = if unwanted { None } else { Reading::open(chain, header, (end, next), selection)? };
    if let Some(mut reading) = reading
        && reading.run(selection, out)?.is_break()
    {
        return Ok(ControlFlow::Break(()));
    }
    Ok(tell(missing, selection, out))
}

/// Damage counts where it may have hit what is wanted.
fn tell(damage: Option<Damage>, selection: &Selection, out: &mut Out<'_>) -> ControlFlow<()> {
    let hits = |damage: &Damage| {
        damage.next.is_none_or(|next| selection.from.is_none_or(|from| next > from))
            && selection.to.is_none_or(|to| damage.first <= to)
    };
    damage.filter(hits).map_or(ControlFlow::Continue(()), |damage| out(Dumped::Damage(damage)))
}

/// One segment that is being read.
struct Reading<'a> {
    disk: &'a dyn Disk,
    place: Place,
    end: u64,
    next: Lsn,
}

impl<'a> Reading<'a> {
    /// Near the first record that is wanted; `None` if the segment holds none, or was trimmed meanwhile.
    fn open(
        chain: &Chain<'a>,
        header: SegmentHeader,
        (end, next): (u64, Lsn),
        selection: &Selection,
    ) -> Result<Option<Reading<'a>>, OpenError> {
        let disk = chain.search.disk;
        let segment = Arc::new(Segment::new(chain.search.dir, header, None));
        let file = match disk.open(&segment.path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(OpenError::io(&segment.path, error)),
        };
        let mut place = Place::at_start(segment, file);
        if selection.from.is_none() && selection.since.is_none() {
            return Ok(Some(Reading { disk, place, end, next }));
        }
        let found = place.with_index(end, |index| {
            let by_lsn = selection.from.and_then(|from| index.stretch(index.before(from))).copied();
            let by_time = selection.since.map(|since| index.at_time(since));
            match by_time {
                Some(None) => None,
                Some(Some(time)) => Some(by_lsn.filter(|lsn| lsn.offset > time.offset).unwrap_or(time)),
                None => by_lsn,
            }
        });
        match found {
            Ok(Some(stretch)) => (place.next, place.offset) = (stretch.base, stretch.offset),
            Ok(None) => return Ok(None),
            // Without an index it is read from its start.
            Err(_) => {}
        }
        Ok(Some(Reading { disk, place, end, next }))
    }

    fn run(&mut self, selection: &Selection, out: &mut Out<'_>) -> Result<ControlFlow<()>, OpenError> {
        while self.place.offset < self.end {
            if selection.to.is_some_and(|to| self.place.next > to) {
                return Ok(ControlFlow::Break(()));
            }
            let mut records = Vec::new();
            let read = self.place.read((self.end, READ_BYTES_MAX), selection.shard, |record| records.push(record));
            for record in records.into_iter().filter(|record| selection.takes(record)) {
                if out(Dumped::Record(record)).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            let Err(error) = read else { continue };
            let passed = self.pass(error);
            // A daemon may let go of a segment while it is read, and empty its file or make another segment of it.
            let path = &self.place.segment.path;
            if !self.disk.exists(path).map_err(|error| OpenError::io(path, error))? {
                break;
            }
            let flow = match passed? {
                Dumped::Damage(damage) => tell(Some(damage), selection, out),
                other => out(other),
            };
            if flow.is_break() {
                return Ok(flow);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Goes over what cannot be read, if that is because it is lost or damaged.
    fn pass(&mut self, error: ReadError) -> Result<Dumped, OpenError> {
        match error {
            ReadError::Lost { first, last } => {
                self.pass_lost()?;
                Ok(Dumped::Lost { first, last })
            }
            ReadError::Corrupt { reason, .. } => Ok(Dumped::Damage(self.pass_damage(reason)?)),
            other => Err(self.failed(other)),
        }
    }

    fn pass_lost(&mut self) -> Result<(), OpenError> {
        let file = Arc::clone(&self.place.file);
        let peeked = self.place.peek(&mut Window::new(&*file, self.end));
        let (header, next) = peeked.map_err(|error| self.failed(error))?;
        self.place.offset += header.whole_bytes();
        self.place.next = next;
        Ok(())
    }

    fn pass_damage(&mut self, reason: &'static str) -> Result<Damage, OpenError> {
        let header = self.place.segment.header;
        let path = self.place.segment.path.clone();
        let mut walk = Walk::new(&header);
        walk.resume(self.place.offset, self.place.next);
        let mut window = Window::new(&*self.place.file, self.end);
        let behind = look_behind(&mut window, &header, &walk).map_err(|error| OpenError::io(&path, error))?;
        let (at, next) = resumes(&behind, self.end).unwrap_or((self.end, self.next.max(walk.next)));
        (self.place.offset, self.place.next) = (at, next);
        let first = walk.next;
        Ok(Damage { segment: path, offset: walk.offset, first, next: Some(next), reason, stops_opening: false })
    }

    fn failed(&self, error: ReadError) -> OpenError {
        let path = &self.place.segment.path;
        match error {
            ReadError::Io { source, .. } => OpenError::io(path, source),
            other => OpenError::io(path, std::io::Error::other(other)),
        }
    }
}

impl Selection {
    fn takes(&self, record: &Record) -> bool {
        self.from.is_none_or(|from| record.lsn >= from)
            && self.to.is_none_or(|to| record.lsn <= to)
            && self.shard.is_none_or(|shard| record.shard == shard)
            && self.since.is_none_or(|since| record.arrived_at >= since)
            && self.until.is_none_or(|until| record.arrived_at < until)
    }
}
