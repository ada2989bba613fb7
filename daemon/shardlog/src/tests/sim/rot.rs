//! What opening must say about bytes that were synced and are not there any more.

use std::collections::BTreeSet;
use std::ops::Range;

use hydrant_disk::faulty::Fault;
use hydrant_disk::read_exact_at;
use hydrant_disk::sim::{SECTOR_BYTES, SyncFault};

use super::truth::{Identities, Truth};
use super::world::submit_all;
use super::*;
use crate::layout::{FOOTER_BYTES, FRAME_HEADER_BYTES, Footer, FrameHeader, Kind, SEGMENT_HEADER_BYTES, SegmentHeader};

const HEADER: u64 = SEGMENT_HEADER_BYTES as u64;

/// A segment of a log as it was written.
pub(super) struct Laid {
    pub(super) path: PathBuf,
    bytes: Vec<u8>,
    header: SegmentHeader,
    frames: Vec<LaidFrame>,
    /// Derived, but stamped like the others.
    index: Option<LaidFrame>,
    /// Behind the last frame.
    pub(super) end: u64,
    /// Behind the index.
    footer: Option<u64>,
}

struct LaidFrame {
    offset: u64,
    /// Behind the last byte that a checksum covers.
    end: u64,
    first: u64,
    next: u64,
    durable: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Every record is there.
    Whole,
    /// Records from the first to the last are lost. `None` where nothing tells.
    Corrupt { first: Option<u64>, last: Option<u64> },
    /// What comes behind this is gone, and nothing could have told that it was ever synced.
    Torn { last: u64 },
}

/// The segments of a log as they lie on the disk.
pub(super) fn laid(disk: &SimDisk) -> Vec<Laid> {
    let names = disk.list(Path::new(DIR)).unwrap();
    let paths = names.iter().filter(|name| name.extension().is_some_and(|extension| extension == "seg"));
    let mut all: Vec<Laid> = paths.map(|name| laid_segment(disk, &Path::new(DIR).join(name))).collect();
    for at in 1..all.len() {
        let end = all[at].header.previous_end;
        all[at - 1].frames.retain(|frame| frame.offset < end);
        all[at - 1].end = end;
    }
    all
}

fn laid_segment(disk: &SimDisk, path: &Path) -> Laid {
    let bytes = content(disk, path);
    let header = SegmentHeader::decode(&bytes[..SEGMENT_HEADER_BYTES]).unwrap();
    let (mut frames, mut at) = (Vec::new(), SEGMENT_HEADER_BYTES);
    let laid_at = |at: usize, frame: &FrameHeader| LaidFrame {
        offset: at as u64,
        end: (at + FRAME_HEADER_BYTES) as u64 + u64::from(frame.body_bytes),
        first: frame.base.get(),
        next: frame.next().get(),
        durable: if frame.durable_segment == header.number { u64::from(frame.durable_offset) } else { 0 },
    };
    let frame_at = |at: usize| FrameHeader::decode(bytes.get(at..at + FRAME_HEADER_BYTES)?, header.salt).ok();
    while let Some(frame) = frame_at(at).filter(|frame| frame.kind != Kind::Index) {
        frames.push(laid_at(at, &frame));
        at += usize::try_from(frame.whole_bytes()).unwrap();
    }
    let index = frame_at(at).map(|index| laid_at(at, &index));
    let footer_at = at + frame_at(at).map_or(0, |index| usize::try_from(index.whole_bytes()).unwrap());
    let footer = bytes.get(footer_at..footer_at + FOOTER_BYTES);
    let footer = footer.filter(|bytes| Footer::decode(bytes, header.salt, header.number, footer_at as u64).is_some());
    let footer = footer.map(|_| footer_at as u64);
    Laid { path: path.to_owned(), header, frames, index, end: at as u64, footer, bytes }
}

fn content(disk: &SimDisk, path: &Path) -> Vec<u8> {
    let file = disk.open(path).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    read_exact_at(&*file, &mut bytes, 0).unwrap();
    bytes
}

/// What must be said of a log that was written like this and is found on that disk.
fn verdict(log: &[Laid], found: &SimDisk, known: Option<u64>) -> Verdict {
    let verdicts = (0..log.len()).map(|at| verdict_of(log, at, &content(found, &log[at].path), known));
    // The damage is in one segment only, but for the last, which may besides hold what was never synced.
    verdicts.fold(Verdict::Whole, |first, next| if first == Verdict::Whole { next } else { first })
}

/// LSNs of which the records are on that disk as they were written.
pub(super) fn readable(log: &[Laid], found: &SimDisk) -> BTreeSet<u64> {
    let mut all = BTreeSet::new();
    for segment in log {
        let bytes = content(found, &segment.path);
        if segment.intact(&bytes, 0, HEADER) {
            let whole = segment.frames.iter().filter(|frame| segment.intact(&bytes, frame.offset, frame.end));
            all.extend(whole.flat_map(|frame| frame.first..frame.next));
        }
    }
    all
}

impl Laid {
    fn intact(&self, found: &[u8], from: u64, to: u64) -> bool {
        let range = usize::try_from(from).unwrap()..usize::try_from(to).unwrap();
        found.get(range.clone()) == Some(&self.bytes[range])
    }
}

fn verdict_of(log: &[Laid], at: usize, found: &[u8], known: Option<u64>) -> Verdict {
    let (segment, after) = (&log[at], log.get(at + 1));
    let intact = |from: u64, to: u64| segment.intact(found, from, to);
    let base = segment.header.base.get();
    let next_base = after.map(|after| after.header.base.get());
    if !intact(0, HEADER) {
        // Its frames cannot be read without the salt, and of the oldest nothing but its header tells the first LSN.
        let last = next_base.map(|next| (next - 1).max(base));
        return Verdict::Corrupt { first: (at > 0).then_some(base), last };
    }
    let Some(at) = segment.frames.iter().position(|frame| !intact(frame.offset, frame.end)) else {
        return Verdict::Whole;
    };
    // The first frame, the map of shards, was synced before the segment got its name.
    let head = at == 0;
    let hit = &segment.frames[at];
    let later = || segment.frames[at + 1..].iter().chain(&segment.index);
    let footer = segment.footer.is_some_and(|at| intact(at, at + FOOTER_BYTES as u64));
    let proves = |frame: &&LaidFrame| {
        intact(frame.offset, frame.offset + FRAME_HEADER_BYTES as u64) && frame.durable > hit.offset
    };
    let proof = head || after.is_some() || footer || later().any(|frame| proves(&frame));
    let whole = later().find(|frame| intact(frame.offset, frame.end)).map(|frame| frame.first);
    let end = segment.frames.last().map(|frame| frame.next).filter(|_| footer);
    let named = later().filter(proves).map(|frame| frame.first).max();
    let resumes = whole.or(end).or(next_base).or(named).or(known.map(|known| known + 1));
    match known {
        _ if proof => Verdict::Corrupt {
            first: Some(hit.first),
            last: Some(resumes.map_or(hit.first, |next| (next - 1).max(hit.first))),
        },
        Some(known) if known >= hit.first => Verdict::Corrupt { first: Some(hit.first), last: Some(known) },
        _ => Verdict::Torn { last: hit.first - 1 },
    }
}

/// Opens what became of a log, and holds what is said against what must be.
pub(super) fn judge(log: &[Laid], found: &SimDisk, truth: &Truth, known: Option<u64>) {
    let mut truth = truth.clone();
    let expected = verdict(log, found, known);
    match (&expected, open_sim(Arc::new(found.clone()), known.and_then(Lsn::new))) {
        (Verdict::Corrupt { first, last }, Err(OpenError::Corrupt { first_lost, last_lost, .. })) => {
            let said = (first_lost.get(), last_lost.get());
            assert!(first.is_none_or(|first| first == said.0), "said {said:?}, expected {expected:?}");
            assert!(last.is_none_or(|last| last == said.1) && said.0 <= said.1, "said {said:?}, expected {expected:?}");
            super::loss::give_up(log, found, &truth, known);
        }
        (Verdict::Whole, Ok((log, recovery))) => {
            truth.check_opened(&log, &recovery, &mut Identities::default());
        }
        (Verdict::Torn { last }, Ok((log, recovery))) => {
            assert_eq!(value(recovery.last), *last);
            assert!(!recovery.clean);
            truth.lose_after(*last);
            truth.check_opened(&log, &recovery, &mut Identities::default());
        }
        (expected, Ok((_, recovery))) => panic!("opened with {recovery:?}, expected {expected:?}"),
        (expected, Err(error)) => panic!("said `{error}`, expected {expected:?}"),
    }
}

/// A history in which nothing goes wrong, then one damaged place; sometimes power is lost besides, in a last group.
pub(super) fn scenario(seed: u64) {
    let mut dice = Dice::new(seed);
    let mut past = Past::new(&mut dice);
    for _ in 0..1 + dice.below(12) {
        past.step(&mut dice);
    }
    let end = dice.below(4);
    match end {
        0 => past.log.close().unwrap(),
        1 => past.be_cut_off(&mut dice),
        2 => {
            // The footer may be there without the length that goes with it.
            past.device.inject(Fault::Sync(past.device.syncs() + 1));
            assert!(past.log.close().is_err());
        }
        _ => {}
    }
    let log = laid(&past.sim.crash());
    let found = past.sim.power_loss(dice.roll());
    let at = usize::try_from(dice.below(log.len() as u64)).unwrap();
    let damage = damage(&log[at], &mut dice);
    let known = if dice.chance(1, 4) { Some(dice.below(past.truth.last() + 1)) } else { None };
    rot(&found, &log[at].path, &damage, &mut dice);
    judge(&log, &found, &past.truth, known);
    rot(&past.sim, &log[at].path, &damage, &mut dice);
    // Bytes that wait to be written hide what is below them.
    if !matches!(end, 1 | 2) {
        read_up_to(&past, &log[at], &damage);
    }
}

/// Often one bit, sometimes a sector; more often in the header and the frames than elsewhere.
fn damage(segment: &Laid, dice: &mut Dice) -> Range<u64> {
    let from = if dice.chance(1, 8) { 0 } else { HEADER };
    let at = from + dice.below(segment.end + 600 - from);
    if dice.chance(3, 4) {
        return at..at + 1;
    }
    let sector = at / SECTOR_BYTES * SECTOR_BYTES;
    sector..sector + SECTOR_BYTES
}

fn rot(sim: &SimDisk, path: &Path, damage: &Range<u64>, dice: &mut Dice) {
    for offset in damage.clone() {
        sim.rot(path, offset, 1 << dice.below(8)).unwrap();
    }
    sim.drop_caches();
}

/// A log that runs gives what stands before the damage, then says so, and never goes past it.
fn read_up_to(past: &Past, segment: &Laid, damage: &Range<u64>) {
    let hit = segment.frames.iter().find(|frame| frame.end > damage.start && frame.offset < damage.end);
    let mut tail = past.log.tail(past.log.first().and_then(Lsn::previous));
    let from = value(tail.position());
    let end = loop {
        match tail.next(5000) {
            Ok(Some(batch)) => batch.records().iter().for_each(|record| past.truth.check(record)),
            Ok(None) => break None,
            Err(ReadError::Corrupt { .. }) => break Some(value(tail.position())),
            Err(other) => panic!("{other}"),
        }
    };
    let before = hit.map(|hit| (hit.first - 1).max(from));
    match hit {
        // A reader need not look at a frame that has no records.
        Some(hit) if hit.first == hit.next => assert!(end.is_none() || end == before, "stopped at {end:?}"),
        Some(hit) if hit.next <= from + 1 => assert_eq!(end, None),
        _ => assert_eq!(end, before, "the place before the damage, or the end"),
    }
    if end.is_none() && past.log.first().is_some() {
        assert_eq!(value(tail.position()), past.truth.last());
    }
}

/// A log on a disk that does what it says.
struct Past {
    sim: SimDisk,
    device: FaultyDisk,
    log: ShardLog,
    truth: Truth,
    identities: Identities,
    records: u64,
}

impl Past {
    fn new(dice: &mut Dice) -> Past {
        let sim = new_disk(dice.roll());
        let device = FaultyDisk::new(Arc::new(sim.clone()));
        let (log, recovery) = open_sim(Arc::new(device.clone()), None).unwrap();
        let (mut truth, mut identities) = (Truth::default(), Identities::default());
        truth.check_opened(&log, &recovery, &mut identities);
        Past { sim, device, log, truth, identities, records: 0 }
    }

    fn step(&mut self, dice: &mut Dice) {
        match dice.below(10) {
            0..6 => self.append(dice),
            6 => self.log.roll().unwrap(),
            7 => {
                self.truth.trimmed = self.truth.trimmed.max(1 + self.truth.last() / 2).min(self.truth.last());
                self.log.trim(lsn(self.truth.trimmed.max(1))).unwrap();
            }
            kind => {
                if kind == 8 {
                    self.log.close().unwrap();
                }
                self.sim = self.sim.crash();
                self.device = FaultyDisk::new(Arc::new(self.sim.clone()));
                let (log, recovery) = open_sim(Arc::new(self.device.clone()), None).unwrap();
                self.truth.check_opened(&log, &recovery, &mut self.identities);
                self.log = log;
            }
        }
    }

    /// A last group that is written and not synced: nothing of it is acked.
    fn be_cut_off(&mut self, dice: &mut Dice) {
        let records: Vec<_> = (0..1 + dice.below(4)).map(|_| self.record(dice)).collect();
        self.device.inject(Fault::Sync(self.device.syncs() + 1));
        assert!(self.log.append(records.clone()).is_err());
        self.truth.unacked = vec![records];
    }

    fn record(&mut self, dice: &mut Dice) -> NewRecord {
        self.records += 1;
        let limit = [100, 100, 1000, 9000][usize::try_from(self.records % 4).unwrap()];
        unique(self.records, usize::try_from(dice.below(limit)).unwrap())
    }

    fn append_one(&mut self, dice: &mut Dice) {
        let records = vec![self.record(dice)];
        let appended = self.log.append(records.clone()).unwrap();
        self.truth.ack(&appended, records, &mut self.identities);
    }

    fn append(&mut self, dice: &mut Dice) {
        let mut record = || self.record(dice);
        let groups = vec![vec![record(), record()], vec![record()], vec![record(), record(), record()]];
        let outcomes = submit_all(&self.log, &groups);
        for (records, outcome) in groups.into_iter().zip(outcomes) {
            self.truth.ack(&outcome.unwrap().unwrap(), records, &mut self.identities);
        }
    }
}

/// A sync that says it went well has lost bytes. The loss is told wherever anything was synced after it, and may go
/// unnoticed only in the very last group.
pub(super) fn swallowed(seed: u64) {
    let mut dice = Dice::new(seed);
    let mut past = Past::new(&mut dice);
    for _ in 0..dice.below(4) {
        past.step(&mut dice);
    }
    let struck = past.sim.syncs() + 1 + dice.below(8);
    past.sim.fail_sync(struck - past.sim.syncs(), SyncFault::Swallowed);
    let (mut safe, mut acked_after) = (past.truth.last(), false);
    for _ in 0..1 + dice.below(8) {
        let (syncs, last) = (past.sim.syncs(), past.truth.last());
        if dice.chance(1, 5) {
            past.log.roll().unwrap();
        }
        past.append_one(&mut dice);
        if syncs >= struck {
            acked_after = true;
        } else {
            safe = last;
        }
    }
    let (whole, found) = (past.sim.crash(), past.sim.power_loss(dice.roll()));
    judge(&laid(&whole), &found, &past.truth, None);
    let acked = past.truth.last();
    match open_sim(Arc::new(found), None) {
        Ok((_, recovery)) => {
            let last = value(recovery.last);
            assert!(last == acked || (last >= safe && !acked_after), "{last} are there, {safe} were synced well");
        }
        Err(OpenError::Corrupt { first_lost, last_lost, .. }) => {
            assert!(first_lost.get() > safe && last_lost.get() <= acked);
        }
        Err(other) => panic!("{other}"),
    }
}
