//! One log, one disk, and random things that happen to them.

use std::sync::Mutex;

use hydrant_disk::faulty::Fault;
use hydrant_disk::sim::SyncFault;

use super::truth::{Identities, Truth};
use super::*;
use crate::Tail;

type Outcome = Result<Appended, AppendError>;

pub(super) struct World {
    dice: Dice,
    sim: SimDisk,
    /// The device: it dies when told to. The log runs on it, and so on `sim`.
    device: FaultyDisk,
    log: ShardLog,
    tails: Vec<Tail>,
    truth: Truth,
    identities: Identities,
    /// A fault is armed or has struck: errors of I/O are expected.
    armed: bool,
    full: bool,
    snapshot: Option<(SimDisk, Truth)>,
    records: u64,
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        let mut dice = Dice::new(seed);
        let (mut sim, mut truth, mut identities) = (new_disk(dice.roll()), Truth::default(), Identities::default());
        sim.set_short_reads(dice.chance(1, 8));
        let (device, log, armed) = boot(&mut dice, &mut sim, (&mut truth, &mut identities), false);
        World {
            dice,
            sim,
            device,
            log,
            tails: Vec::new(),
            truth,
            identities,
            armed,
            full: false,
            snapshot: None,
            records: 0,
        }
    }

    /// Does a few things, the last of which is a reopening.
    pub(super) fn run(&mut self) {
        for _ in 0..5 + self.dice.below(25) {
            self.step();
            if self.log.poisoned().is_some() {
                self.stay_poisoned();
            }
        }
        self.power_loss();
    }

    fn step(&mut self) {
        match self.dice.below(100) {
            0..38 => self.append(),
            38..52 => self.read(),
            52..58 => self.trim(),
            58..62 => self.expire(),
            62..65 => self.shrink(),
            65..70 => self.roll(),
            70..73 => self.reshard(),
            73..76 => self.reopen(),
            76..80 => self.restart(self.sim.crash(), false),
            80..84 => self.power_loss(),
            84..88 => self.arm_death(),
            88..91 => self.arm_sync_failure(),
            91..94 => self.set_full(),
            94..97 => self.snapshot = Some((self.sim.crash(), self.truth.clone())),
            _ => self.restore(),
        }
    }

    /// One submission, and some that come while it is committed, so that they make one group.
    fn append(&mut self) {
        let groups: Vec<Vec<NewRecord>> = (0..1 + self.dice.below(4)).map(|_| self.records()).collect();
        let outcomes = submit_all(&self.log, &groups);
        let mut failed = false;
        for (records, outcome) in groups.into_iter().zip(outcomes) {
            match outcome {
                Ok(Ok(appended)) => {
                    assert!(!failed, "an ack after a failure");
                    assert_eq!(appended.epoch, self.log.epoch());
                    self.truth.ack(&appended, records, &mut self.identities);
                }
                Ok(Err(AppendError::DiskFull)) => assert!(self.full, "the disk was not full"),
                Ok(Err(AppendError::Poisoned(error))) => {
                    assert!(self.armed, "nothing has failed, yet: {error}");
                    failed = true;
                    self.truth.unacked.push(records);
                }
                // It was not even queued.
                Err(AppendError::Poisoned(_)) => assert!(self.log.poisoned().is_some()),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(failed, failed && self.log.poisoned().is_some());
        assert_eq!(value(self.log.last()), self.truth.last(), "what is acked is visible, and nothing else");
    }

    fn records(&mut self) -> Vec<NewRecord> {
        let count = 1 + self.dice.below(5);
        (0..count)
            .map(|_| {
                self.records += 1;
                let limit = [60, 60, 60, 60, 60, 700, 700, 3000, 20_000, 20_000][self.at(10)];
                let limit = if self.dice.chance(1, 300) { 300_000 } else { limit };
                unique(self.records, usize::try_from(self.dice.below(limit)).unwrap())
            })
            .collect()
    }

    fn at(&mut self, limit: usize) -> usize {
        usize::try_from(self.dice.below(limit as u64)).unwrap()
    }

    fn read(&mut self) {
        if self.dice.chance(1, 3) {
            return self.read_shard();
        }
        if self.tails.len() < 3 && self.dice.chance(1, 2) {
            let first = value(self.log.first().and_then(Lsn::previous));
            let after = first + self.dice.below(self.truth.last() + 1 - first.min(self.truth.last()));
            self.tails.push(self.log.tail(Lsn::new(after)));
        }
        if self.tails.is_empty() {
            return;
        }
        let at = self.at(self.tails.len());
        let bytes = self.at(30_000);
        let wanted = value(self.tails[at].position()) + 1;
        match self.tails[at].next(bytes) {
            Ok(Some(batch)) => {
                assert_eq!(batch.first().get(), wanted, "a reader is never taken past a record");
                assert!(batch.data_bytes() <= bytes || batch.records().len() == 1);
                batch.records().iter().for_each(|record| self.truth.check(record));
            }
            Ok(None) => assert_eq!(wanted, self.truth.last() + 1, "a reader that is not at the end was given nothing"),
            Err(ReadError::Trimmed { first, .. }) => {
                assert!(wanted <= self.truth.trimmed && first.get() > wanted, "nobody trimmed {wanted}");
                self.tails.remove(at);
            }
            Err(ReadError::Io { source, .. }) => assert!(self.armed, "{source}"),
            Err(other) => panic!("{other}"),
        }
    }

    /// One shard from some place on, by itself.
    fn read_shard(&mut self) {
        let map = self.log.shards();
        let shard = map.shards()[self.at(map.shards().len())].ix;
        let after = value(self.log.first().map_or(self.log.last(), Lsn::previous));
        let after = after + self.dice.below(self.truth.last() + 1 - after);
        let mut tail = self.log.shard_tail(shard, Lsn::new(after));
        let (mut found, bytes, records) = (Vec::new(), self.at(9000), 1 + self.at(9));
        loop {
            match tail.next(bytes.max(1), records) {
                Ok(Some(batch)) => {
                    assert!(batch.records.len() <= records);
                    batch.records.iter().for_each(|record| self.truth.check(record));
                    found.extend(batch.records.iter().map(|record| record.lsn.get()));
                }
                Ok(None) => break,
                Err(ReadError::Io { .. }) if self.armed => return,
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(found, self.truth.of_shard(shard, after), "{shard:?} after {after}");
    }

    fn reshard(&mut self) {
        let map = self.log.shards();
        let open: Vec<_> = map.open().copied().collect();
        let one = open[self.at(open.len())];
        let change = match self.dice.below(3) {
            0 => {
                let (start, end) = (one.range.start.0, one.range.end.0);
                Reshard::Split { shard: one.ix, new_start: HashKey(start + (end - start) / 2 + 1) }
            }
            1 => Reshard::Merge { shard: one.ix, adjacent: open[self.at(open.len())].ix },
            _ => Reshard::Uniform { count: u32::try_from(1 + self.dice.below(4)).unwrap() },
        };
        let next = lsn(self.truth.last() + 1);
        let changed = map.apply(&change, Stopped.now(), next);
        match self.log.reshard(change) {
            Ok(map) => {
                assert_eq!(*map, changed.unwrap());
                self.truth.resharded(&map);
            }
            Err(ReshardError::Log(AppendError::Poisoned(_))) if changed.is_ok() => {
                assert!(self.armed);
                self.truth.perhaps_resharded(changed.ok().as_ref());
            }
            Err(ReshardError::Log(AppendError::DiskFull)) => assert!(self.full),
            Err(ReshardError::Log(AppendError::Poisoned(_))) => assert!(self.armed),
            Err(error) => assert!(changed.is_err(), "{error}"),
        }
    }

    fn trim(&mut self) {
        let through = 1 + self.dice.below(self.truth.last() + 2);
        // Also when it fails: some of it may be done.
        self.truth.trimmed = self.truth.trimmed.max(through.min(self.truth.last()));
        if let Err(error) = self.log.trim(lsn(through)) {
            assert!(self.armed || self.full, "{error}");
        }
    }

    /// By age, which stands still and so takes all or nothing, and by size.
    fn expire(&mut self) {
        let through = self.dice.below(self.truth.last() + 1);
        let (expendable, may_go) = match self.dice.chance(1, 2) {
            true => (Expendable::All, self.truth.last()),
            false => (Expendable::Through(Lsn::new(through)), through),
        };
        let before = Timestamp::from_millis(Stopped.now().as_millis() + self.dice.below(2));
        let limits = Limits {
            before: self.dice.chance(1, 2).then_some(before),
            bytes_max: self.dice.chance(1, 2).then(|| self.dice.below(200_000)),
        };
        // Also when it fails: some of it may be done.
        self.truth.trimmed = self.truth.trimmed.max(may_go);
        match self.log.expire(&limits, expendable) {
            Ok(Some(expired)) => {
                assert!(expired.last.get() <= may_go, "{expired:?} went, of {expendable:?}");
                let first = value(self.log.first().map_or(self.log.last(), Lsn::previous));
                assert_eq!(first, expired.last.get(), "what went is told, and nothing else went");
            }
            Ok(None) => {}
            Err(error) => assert!(self.armed || self.full, "{error}"),
        }
    }

    fn shrink(&mut self) {
        let unneeded = self.dice.below(self.truth.last() + 2);
        self.truth.trimmed = self.truth.trimmed.max(unneeded.min(self.truth.last()));
        if let Err(error) = self.log.shrink(Lsn::new(unneeded)) {
            assert!(self.armed || self.full, "{error}");
        }
    }

    fn roll(&mut self) {
        if let Err(error) = self.log.roll() {
            assert!(self.log.poisoned().is_some(), "{error}");
        }
    }

    fn reopen(&mut self) {
        let clean = self.log.close().is_ok();
        assert!(clean || self.armed, "a clean stop failed");
        assert!(matches!(
            self.log.append(self.records_of_nobody()),
            Err(AppendError::Closed | AppendError::Poisoned(_))
        ));
        let next = if self.dice.chance(1, 2) { self.sim.crash() } else { self.sim.power_loss(self.dice.roll()) };
        self.restart(next, clean);
    }

    fn power_loss(&mut self) {
        let next = self.sim.power_loss(self.dice.roll());
        self.restart(next, false);
    }

    /// The device answers nothing any more, from some call on: as if the machine had stopped there.
    fn arm_death(&mut self) {
        self.device.inject(Fault::From(self.device.calls() + 1 + self.dice.below(40)));
        self.armed = true;
    }

    fn arm_sync_failure(&mut self) {
        self.sim.fail_sync(1 + self.dice.below(6), SyncFault::Reported);
        self.armed = true;
    }

    fn set_full(&mut self) {
        self.device.set_full(true);
        self.full = true;
    }

    /// An older copy of the disk is put back, taken while the log ran.
    fn restore(&mut self) {
        let Some((sim, truth)) = &self.snapshot else { return };
        let sim = sim.power_loss(self.dice.roll());
        self.truth = truth.clone();
        self.restart(sim, false);
    }

    fn restart(&mut self, sim: SimDisk, clean: bool) {
        self.tails.clear();
        self.full = false;
        self.sim = sim;
        let checks = (&mut self.truth, &mut self.identities);
        (self.device, self.log, self.armed) = boot(&mut self.dice, &mut self.sim, checks, clean);
    }

    /// Nothing is acked any more, what was acked can still be read, and only a new opening helps.
    fn stay_poisoned(&mut self) {
        assert!(self.armed);
        for _ in 0..2 {
            assert!(matches!(self.log.append(self.records_of_nobody()), Err(AppendError::Poisoned(_))));
        }
        assert!(self.log.roll().is_err());
        self.read();
        if self.dice.chance(1, 2) {
            assert!(self.log.close().is_err());
        }
        let next = if self.dice.chance(1, 2) { self.sim.crash() } else { self.sim.power_loss(self.dice.roll()) };
        self.restart(next, false);
    }

    /// Records that must be refused: were they ever found, they would be invented.
    fn records_of_nobody(&self) -> Vec<NewRecord> {
        vec![unique(u64::MAX, 10)]
    }
}

/// The outer error is of `submit` itself.
pub(super) fn submit_all(log: &ShardLog, groups: &[Vec<NewRecord>]) -> Vec<Result<Outcome, AppendError>> {
    let outcomes: Arc<Mutex<Vec<_>>> = Arc::new(Mutex::new(groups.iter().map(|_| None).collect()));
    let put = |at: usize, outcome| outcomes.lock().unwrap()[at] = Some(outcome);
    let rest: Vec<_> = groups.iter().cloned().enumerate().skip(1).collect();
    let (again, filled) = (log.clone(), Arc::clone(&outcomes));
    let first = log.submit(
        groups[0].clone(),
        Box::new(move |outcome| {
            filled.lock().unwrap()[0] = Some(Ok(outcome));
            for (at, records) in rest {
                let inner = Arc::clone(&filled);
                let done = move |outcome| inner.lock().unwrap()[at] = Some(Ok(outcome));
                if let Err(error) = again.submit(records, Box::new(done)) {
                    filled.lock().unwrap()[at] = Some(Err(error));
                }
            }
        }),
    );
    if let Err(error) = first {
        (0..groups.len()).for_each(|at| put(at, Err(error.clone())));
    }
    let mut outcomes = outcomes.lock().unwrap();
    outcomes.drain(..).map(|outcome| outcome.expect("every submission is answered")).collect()
}

/// Opens the log, sometimes on a device that dies meanwhile. Returns with the opened log whether a fault is armed.
fn boot(
    dice: &mut Dice,
    sim: &mut SimDisk,
    (truth, identities): (&mut Truth, &mut Identities),
    mut clean: bool,
) -> (FaultyDisk, ShardLog, bool) {
    loop {
        let device = FaultyDisk::new(Arc::new(sim.clone()));
        let armed = dice.chance(1, 4);
        if armed && dice.chance(1, 2) {
            device.inject(Fault::From(1 + dice.below(60)));
        } else if armed {
            sim.fail_sync(1 + dice.below(8), SyncFault::Reported);
        }
        let known = if dice.chance(1, 2) { Lsn::new(dice.below(truth.last() + 1)) } else { None };
        let options = LogOptions { known_durable: known, compression: any_compression(dice), ..sim_options() };
        match open_with(Arc::new(device.clone()), options) {
            Ok((log, recovery)) => {
                assert!(!clean || (recovery.clean && recovery.torn_bytes == 0), "it was closed: {recovery:?}");
                device.heal();
                truth.check_opened(&log, &recovery, identities);
                return (device, log, armed);
            }
            Err(OpenError::Io { .. }) if armed => {
                // The verdict was perhaps written down, and perhaps not.
                clean = false;
                *sim = if dice.chance(1, 2) { sim.crash() } else { sim.power_loss(dice.roll()) };
            }
            Err(error) => panic!("a false alarm: {error}"),
        }
    }
}

pub(super) fn any_compression(dice: &mut Dice) -> Compression {
    [Compression::None, Compression::Lz4, Compression::Zstd][usize::try_from(dice.below(3)).unwrap()]
}
