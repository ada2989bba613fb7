//! What opening must say about bytes that were synced and are not there any more.

use std::ops::Range;

use hydrant_disk::read_exact_at;
use hydrant_disk::sim::{SECTOR_BYTES, SyncFault};

use super::truth::{Identities, Truth};
use super::world::submit_all;
use super::*;
use crate::layout::{FOOTER_BYTES, FRAME_HEADER_BYTES, Footer, FrameHeader, SEGMENT_HEADER_BYTES, SegmentHeader};

const HEADER: u64 = SEGMENT_HEADER_BYTES as u64;

/// A segment of a log in which nothing is damaged.
pub(super) struct Laid {
    pub(super) path: PathBuf,
    header: SegmentHeader,
    frames: Vec<LaidFrame>,
    /// Behind the last frame.
    pub(super) end: u64,
    footer: bool,
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
pub(super) enum Verdict {
    /// Every record is there.
    Whole,
    /// Records from the first to the last are lost. `None` where nothing tells.
    Corrupt { first: Option<u64>, last: Option<u64> },
    /// The last group is gone, and nothing could have told.
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
    while let Some(Ok(frame)) =
        bytes.get(at..at + FRAME_HEADER_BYTES).map(|head| FrameHeader::decode(head, header.salt))
    {
        frames.push(LaidFrame {
            offset: at as u64,
            end: (at + FRAME_HEADER_BYTES) as u64 + u64::from(frame.body_bytes),
            first: frame.base.get(),
            next: frame.next().get(),
            durable: u64::from(frame.durable_offset),
        });
        at += usize::try_from(frame.whole_bytes()).unwrap();
    }
    let footer = bytes
        .get(at..at + FOOTER_BYTES)
        .is_some_and(|bytes| Footer::decode(bytes, header.salt, header.number, at as u64).is_some());
    Laid { path: path.to_owned(), header, frames, end: at as u64, footer }
}

fn content(disk: &SimDisk, path: &Path) -> Vec<u8> {
    let file = disk.open(path).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    read_exact_at(&*file, &mut bytes, 0).unwrap();
    bytes
}

/// What must be said when these bytes of this segment are damaged.
pub(super) fn verdict(log: &[Laid], at: usize, damage: &Range<u64>, known: Option<u64>) -> Verdict {
    let (segment, after) = (&log[at], log.get(at + 1));
    let intact = |from: u64, to: u64| to <= damage.start || from >= damage.end;
    let base = segment.header.base.get();
    let next_base = after.map(|after| after.header.base.get());
    if !intact(0, HEADER) {
        // Its frames cannot be read without the salt, and of the oldest nothing but its header tells the first LSN.
        let last = next_base.map(|next| (next - 1).max(base));
        return Verdict::Corrupt { first: (at > 0).then_some(base), last };
    }
    let Some(hit) = segment.frames.iter().position(|frame| !intact(frame.offset, frame.end)) else {
        return Verdict::Whole;
    };
    let (hit, later) = (&segment.frames[hit], &segment.frames[hit + 1..]);
    let footer = segment.footer && intact(segment.end, segment.end + FOOTER_BYTES as u64);
    let header_intact = |frame: &&LaidFrame| intact(frame.offset, frame.offset + FRAME_HEADER_BYTES as u64);
    let proof = after.is_some() || footer || later.iter().filter(header_intact).any(|frame| frame.durable > hit.offset);
    let resumes = later.iter().find(|frame| intact(frame.offset, frame.end)).map(|frame| frame.first);
    let end = segment.frames.last().map(|frame| frame.next);
    let resumes = resumes.or(if footer { end } else { None }).or(next_base).or(known.map(|known| known + 1));
    match known {
        _ if proof => {
            Verdict::Corrupt { first: Some(hit.first), last: Some(resumes.map_or(hit.first, |next| next - 1)) }
        }
        Some(known) if known >= hit.first => Verdict::Corrupt { first: Some(hit.first), last: Some(known) },
        _ => Verdict::Torn { last: hit.first - 1 },
    }
}

/// Opens a log with this damage and holds what is said against what must be.
pub(super) fn judge(sim: &SimDisk, expected: &Verdict, truth: &Truth, known: Option<u64>) {
    let mut truth = truth.clone();
    let opened = open_sim(Arc::new(sim.clone()), known.and_then(Lsn::new));
    match (expected, opened) {
        (Verdict::Corrupt { first, last }, Err(OpenError::Corrupt { first_lost, last_lost, .. })) => {
            let said = (first_lost.get(), last_lost.get());
            assert!(first.is_none_or(|first| first == said.0), "said {said:?}, expected {expected:?}");
            assert!(last.is_none_or(|last| last == said.1) && said.0 <= said.1, "said {said:?}, expected {expected:?}");
        }
        (Verdict::Whole | Verdict::Torn { .. }, Ok((log, recovery))) => {
            if let Verdict::Torn { last } = expected {
                assert_eq!(value(recovery.last), *last);
                assert!(!recovery.clean && recovery.torn_bytes > 0);
                truth.lose_after(*last);
            }
            truth.check_opened(&log, &recovery, &mut Identities::default());
        }
        (expected, Ok((_, recovery))) => panic!("opened with {recovery:?}, expected {expected:?}"),
        (expected, Err(error)) => panic!("said `{error}`, expected {expected:?}"),
    }
}

/// A history in which nothing goes wrong, then one damaged place.
pub(super) fn scenario(seed: u64) {
    let mut dice = Dice::new(seed);
    let mut past = Past::new(&mut dice);
    for _ in 0..1 + dice.below(12) {
        past.step(&mut dice);
    }
    if dice.chance(1, 3) {
        past.log.close().unwrap();
    }
    let before = past.sim.crash();
    let log = laid(&before);
    let at = usize::try_from(dice.below(log.len() as u64)).unwrap();
    let damage = damage(&log[at], &mut dice);
    let known = if dice.chance(1, 4) { Some(dice.below(past.truth.last() + 1)) } else { None };
    let expected = verdict(&log, at, &damage, known);
    rot(&before, &log[at].path, &damage, &mut dice);
    judge(&before, &expected, &past.truth, known);
    rot(&past.sim, &log[at].path, &damage, &mut dice);
    read_up_to(&past, &log[at], &damage);
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
    let expected = hit.filter(|hit| hit.next > from + 1).map(|hit| hit.first - 1);
    assert_eq!(end, expected, "the place before the damage, or the end");
    if end.is_none() && past.log.first().is_some() {
        assert_eq!(value(tail.position()), past.truth.last());
    }
}

/// A log on a disk that does what it says.
struct Past {
    sim: SimDisk,
    log: ShardLog,
    truth: Truth,
    identities: Identities,
    records: u64,
}

impl Past {
    fn new(dice: &mut Dice) -> Past {
        let sim = new_disk(dice.roll());
        let (log, recovery) = open_sim(Arc::new(sim.clone()), None).unwrap();
        let (mut truth, mut identities) = (Truth::default(), Identities::default());
        truth.check_opened(&log, &recovery, &mut identities);
        Past { sim, log, truth, identities, records: 0 }
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
                let (log, recovery) = open_sim(Arc::new(self.sim.clone()), None).unwrap();
                self.truth.check_opened(&log, &recovery, &mut self.identities);
                self.log = log;
            }
        }
    }

    fn append(&mut self, dice: &mut Dice) {
        let mut record = || {
            self.records += 1;
            let len = dice.below([100, 100, 1000, 9000][usize::try_from(self.records % 4).unwrap()]);
            unique(self.records, usize::try_from(len).unwrap())
        };
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
    let after = past.sim.power_loss(dice.roll());
    let whole = past.sim.crash();
    let names = whole.list(Path::new(DIR)).unwrap();
    let lost =
        names.iter().map(|name| Path::new(DIR).join(name)).any(|path| content(&whole, &path) != content(&after, &path));
    let acked = past.truth.last();
    match open_sim(Arc::new(after), None) {
        Ok((log, recovery)) => {
            let last = value(recovery.last);
            assert!(last >= safe, "{last} are there, {safe} were synced well");
            assert!(last == acked || (lost && !acked_after), "a loss that later frames prove was not told");
            past.truth.lose_after(last);
            past.truth.check_opened(&log, &recovery, &mut past.identities);
        }
        Err(OpenError::Corrupt { first_lost, last_lost, .. }) => {
            assert!(lost, "a false alarm");
            assert!(first_lost.get() > safe && first_lost <= last_lost && last_lost.get() <= acked);
        }
        Err(other) => panic!("{other}"),
    }
}

impl Past {
    fn append_one(&mut self, dice: &mut Dice) {
        self.records += 1;
        let records = vec![unique(self.records, usize::try_from(dice.below(4000)).unwrap())];
        let appended = self.log.append(records.clone()).unwrap();
        self.truth.ack(&appended, records, &mut self.identities);
    }
}
