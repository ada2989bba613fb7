//! Failing calls and full disks.

use hydrant_disk::FaultyDisk;
use hydrant_disk::faulty::Fault;

use super::*;

fn faulty() -> FaultyDisk {
    FaultyDisk::new(Arc::new(RealDisk::new()))
}

/// A short life with a roll, a trim, a shrinking, an expiry and a reopening. Returns the acked records with their LSNs.
fn life(disk: &FaultyDisk, dir: &Path) -> Vec<(u64, NewRecord)> {
    let mut acked = Vec::new();
    for round in 0..2 {
        let Ok((log, _)) = open_on(Arc::new(disk.clone()), dir) else { return acked };
        for step in 0..3 {
            let given: Vec<_> = (0..2).map(|n| numbered(round * 6 + step * 2 + n, 30)).collect();
            if step == 1 {
                let _ = log.roll();
            }
            match log.append(given.clone()) {
                Ok(appended) => acked.extend((appended.first.get()..).zip(given)),
                Err(AppendError::Poisoned(_)) => {
                    assert!(log.poisoned().is_some());
                    assert!(matches!(log.append(given), Err(AppendError::Poisoned(_))), "it stays poisoned");
                    assert!(log.close().is_err());
                    return acked;
                }
                Err(other) => panic!("{other}"),
            }
        }
        let _ = log.trim(lsn(1));
        let _ = log.shrink(None);
        let _ = log.expire(&Limits { before: None, bytes_max: Some(0) }, Expendable::Through(Some(lsn(4))));
        let _ = log.close();
    }
    acked
}

#[test]
fn whichever_call_fails_the_acked_records_are_there_and_none_is_invented() {
    for kind in [Fault::Call, Fault::Sync, Fault::From] {
        for number in 1.. {
            let dir = scratch();
            let disk = faulty();
            disk.inject(kind(number));
            let acked = life(&disk, dir.path());
            let done = number > if matches!(kind(1), Fault::Sync(_)) { disk.syncs() } else { disk.calls() };
            disk.heal();
            let (log, _) = open_on(Arc::new(disk), dir.path()).unwrap();
            let after = log.first().map_or(log.last(), Lsn::previous);
            let found = read_all(&log, after);
            let at = |lsn: u64| found.iter().find(|record| record.lsn.get() == lsn);
            for (lsn, given) in acked.iter().filter(|(lsn, _)| after.is_none_or(|after| *lsn > after.get())) {
                let record = at(*lsn).unwrap_or_else(|| panic!("{:?}: acked record {lsn} is lost", kind(number)));
                assert_eq!(payloads(std::slice::from_ref(record)), std::slice::from_ref(given));
            }
            let known: Vec<_> = (0..12).map(|number| numbered(number, 30)).collect();
            assert!(payloads(&found).iter().all(|record| known.contains(record)), "nothing is invented");
            if done {
                assert!(number > 20 || matches!(kind(1), Fault::Sync(_)), "the faults never struck");
                break;
            }
        }
    }
}

#[test]
fn a_full_disk_refuses_at_a_roll_and_the_log_recovers_by_itself() {
    let dir = scratch();
    let disk = faulty();
    let (log, _) = open_on(Arc::new(disk.clone()), dir.path()).unwrap();
    log.append(some(0..1)).unwrap();
    disk.set_full(true);
    // There is room in the segment that was prepared before.
    log.append(some(1..2)).unwrap();
    log.roll().unwrap();
    for _ in 0..3 {
        assert!(matches!(log.append(some(2..3)), Err(AppendError::DiskFull)));
    }
    assert!(log.poisoned().is_none());
    disk.set_full(false);
    assert_eq!(log.append(some(2..3)).unwrap().first, lsn(3));
    assert_eq!(segments(dir.path()).len(), 2, "the roll was not forgotten");
    assert_eq!(payloads(&read_all(&log, None)), some(0..3));
    log.close().unwrap();
}

#[test]
fn a_log_on_a_full_disk_opens_reads_and_trims() {
    let dir = scratch();
    let disk = faulty();
    let (log, _) = open_on(Arc::new(disk.clone()), dir.path()).unwrap();
    log.append(some(0..1)).unwrap();
    log.roll().unwrap();
    log.append(some(1..2)).unwrap();
    drop(log);
    disk.set_full(true);
    let (log, _) = open_on(Arc::new(disk.clone()), dir.path()).unwrap();
    assert_eq!(payloads(&read_all(&log, None)), some(0..2));
    assert!(matches!(log.append(some(2..3)), Err(AppendError::DiskFull)));
    log.trim(lsn(2)).unwrap();
    assert_eq!(segments(dir.path()).len(), 1);
    disk.set_full(false);
    assert_eq!(log.append(some(2..3)).unwrap().first, lsn(3));
    assert_eq!(payloads(&read_all(&log, Some(lsn(1)))), some(1..3));
}

#[test]
fn the_reserve_stays_free() {
    let dir = scratch();
    let disk = faulty();
    let options = LogOptions { reserve_bytes: 1, clock: Arc::new(Stepping::default()), ..options() };
    let (log, _) = ShardLog::open(Arc::new(disk.clone()), dir.path(), options).unwrap();
    log.append(some(0..1)).unwrap();
    disk.set_full(true);
    assert!(matches!(log.append(some(1..2)), Err(AppendError::DiskFull)));
    disk.set_full(false);
    assert_eq!(log.append(some(1..2)).unwrap().first, lsn(2));
}

/// A second passes between any two looks.
#[derive(Debug, Default)]
struct Stepping(std::sync::atomic::AtomicU64);

impl Clock for Stepping {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.fetch_add(1000, std::sync::atomic::Ordering::SeqCst))
    }
}
