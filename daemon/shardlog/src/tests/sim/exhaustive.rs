//! One short history, stopped at every call and damaged at every sector.

use hydrant_disk::faulty::Fault;
use hydrant_disk::sim::{Fate, SECTOR_BYTES, SyncFault, Unsynced};

use super::rot::{judge, laid};
use super::truth::{Identities, Truth};
use super::world::submit_all;
use super::*;

/// Append, a group of three, roll, append, trim, append, shrink, append, expire, append, close, reopen, append; as far as the
/// disk lets it.
struct History {
    disk: Arc<dyn Disk>,
    truth: Truth,
    identities: Identities,
    records: u64,
}

impl History {
    fn new(disk: Arc<dyn Disk>) -> History {
        History { disk, truth: Truth::default(), identities: Identities::default(), records: 0 }
    }

    /// `seen` is called after each step. `None` where the disk let it down.
    fn run(&mut self, mut seen: impl FnMut(&Truth)) -> Option<()> {
        let log = self.open()?;
        self.append(&log, 1)?;
        seen(&self.truth);
        self.append(&log, 3)?;
        seen(&self.truth);
        log.roll().ok()?;
        self.append(&log, 1)?;
        seen(&self.truth);
        self.truth.trimmed = 2;
        log.trim(lsn(2)).ok()?;
        self.append(&log, 2)?;
        seen(&self.truth);
        log.shrink(None).ok()?;
        self.append(&log, 1)?;
        let (through, before) = (self.truth.last() - 2, Timestamp::from_millis(Stopped.now().as_millis() + 1));
        self.truth.trimmed = through;
        let limits = Limits { before: Some(before), bytes_max: None };
        log.expire(&limits, Expendable::Through(Lsn::new(through))).ok()?;
        self.append(&log, 1)?;
        log.close().ok()?;
        seen(&self.truth);
        let log = self.open()?;
        self.append(&log, 1)?;
        seen(&self.truth);
        Some(())
    }

    fn open(&mut self) -> Option<ShardLog> {
        match open_sim(Arc::clone(&self.disk), None) {
            // Nothing has failed before this, and what can be read is judged after the accident.
            Ok((log, _)) => {
                assert_eq!(value(log.last()), self.truth.last());
                self.truth.id.get_or_insert(log.id());
                Some(log)
            }
            Err(OpenError::Io { .. }) => None,
            Err(error) => panic!("{error}"),
        }
    }

    fn append(&mut self, log: &ShardLog, submissions: u64) -> Option<()> {
        let mut record = |len| {
            self.records += 1;
            unique(self.records, len)
        };
        let groups: Vec<_> = (0..submissions).map(|_| vec![record(700), record(30)]).collect();
        let outcomes = submit_all(log, &groups);
        for (records, outcome) in groups.into_iter().zip(outcomes) {
            match outcome {
                Ok(Ok(appended)) => self.truth.ack(&appended, records, &mut self.identities),
                Ok(Err(_)) => self.truth.unacked.push(records),
                Err(_) => {}
            }
        }
        log.poisoned().is_none().then_some(())
    }
}

/// All that may become of a disk: the process killed; everything unsynced lost or there; one thing lost, there or torn.
fn accidents(sim: &SimDisk, mut each: impl FnMut(SimDisk, &str)) {
    each(sim.crash(), "killed");
    let mut things = 0;
    each(
        counted(sim, &mut |_, count| {
            things = count;
            Fate::Arrived
        }),
        "all there",
    );
    each(sim.power_loss_by(&mut |_| Fate::Lost), "all lost");
    for thing in 1..=things {
        let other = |fate, others| move |_, count| if count == thing { fate } else { others };
        each(counted(sim, &mut other(Fate::Lost, Fate::Arrived)), "one lost");
        each(counted(sim, &mut other(Fate::Arrived, Fate::Lost)), "one there");
        for cut in [8, 64, 130, 500] {
            each(counted(sim, &mut other(Fate::Torn(cut), Fate::Arrived)), "one torn");
        }
    }
}

fn counted(sim: &SimDisk, decide: &mut dyn FnMut(Unsynced, u64) -> Fate) -> SimDisk {
    let mut count = 0;
    sim.power_loss_by(&mut |unsynced| {
        count += 1;
        decide(unsynced, count)
    })
}

/// Runs the history on a disk with one fault, then every accident. True if the fault never came.
fn survives(what: &str, arm: impl Fn(&SimDisk, &FaultyDisk) -> u64) -> bool {
    let sim = new_disk(7);
    let device = FaultyDisk::new(Arc::new(sim.clone()));
    let limit = arm(&sim, &device);
    let mut history = History::new(Arc::new(device.clone()));
    let whole = history.run(|_| {}).is_some();
    accidents(&sim, |after, accident| {
        let mut truth = history.truth.clone();
        let (log, recovery) = match open_sim(Arc::new(after.clone()), None) {
            Ok(opened) => opened,
            Err(error) => panic!("{what}, {accident}: {error}"),
        };
        truth.check_opened(&log, &recovery, &mut Identities::default());
        // The verdict is on record, so it stays what it was.
        drop(log);
        let (log, recovery) = open_sim(Arc::new(after.power_loss_by(&mut |_| Fate::Lost)), None).unwrap();
        truth.check_opened(&log, &recovery, &mut Identities::default());
    });
    whole && device.calls().max(sim.syncs()) < limit
}

#[test]
fn the_machine_stops_at_any_call() {
    let calls = (1..).take_while(|call| {
        !survives(&format!("stopped at call {call}"), |_, device| {
            device.inject(Fault::From(*call));
            *call
        })
    });
    assert!(calls.count() > 60);
}

#[test]
fn any_single_call_fails() {
    let calls = (1..).take_while(|call| {
        !survives(&format!("call {call} failed"), |_, device| {
            device.inject(Fault::Call(*call));
            *call
        })
    });
    assert!(calls.count() > 60);
}

#[test]
fn any_sync_fails_and_leaves_pages_that_count_as_clean() {
    for sync in 1..60 {
        survives(&format!("sync {sync} failed"), |sim, _| {
            sim.fail_sync(sync, SyncFault::Reported);
            0
        });
    }
}

/// A segment of which only the page cache knows must not be missed once the next one is durable.
#[test]
fn two_openings_in_a_row_fail_at_any_sync() {
    let syncs = || (1..8).flat_map(|first| (1..8).map(move |second| (first, second)));
    for (seed, (first, second)) in (0..8).flat_map(|seed| syncs().map(move |syncs| (seed, syncs))) {
        // What a failed sync leaves undone depends on the seed.
        let mut sim = new_disk(seed);
        let mut history = History::new(Arc::new(sim.clone()));
        let log = history.open().unwrap();
        history.append(&log, 2).unwrap();
        for sync in [first, second] {
            sim = sim.crash();
            sim.fail_sync(sync, SyncFault::Reported);
            let _ = open_sim(Arc::new(sim.clone()), None);
        }
        accidents(&sim, |after, accident| {
            let opened = open_sim(Arc::new(after), None);
            let (log, recovery) = opened.unwrap_or_else(|error| panic!("{first}, {second}, {accident}: {error}"));
            history.truth.clone().check_opened(&log, &recovery, &mut Identities::default());
        });
    }
}

#[test]
fn any_sector_rots_at_any_stage() {
    let sim = new_disk(7);
    let mut stages = Vec::new();
    History::new(Arc::new(sim.clone())).run(|truth| stages.push((sim.crash(), truth.clone())));
    assert_eq!(stages.len(), 6);
    for (stage, (sim, truth)) in stages.iter().enumerate() {
        let log = laid(sim);
        for (at, segment) in log.iter().enumerate() {
            for sector in 0..segment.end.div_ceil(SECTOR_BYTES) + 1 {
                let damage = sector * SECTOR_BYTES..(sector + 1) * SECTOR_BYTES;
                let damaged = sim.crash();
                for offset in damage {
                    damaged.rot(&segment.path, offset, 0xa5).unwrap();
                }
                damaged.drop_caches();
                println!("stage {stage}, segment {at}, sector {sector}"); // Shown if it fails.
                judge(&log, &damaged, truth, None);
            }
        }
    }
}
