//! What goes by age and by size, and what an idle log holds.

use std::sync::atomic::{AtomicU64, Ordering};

use hydrant_disk::SimDisk;
use hydrant_record::Timestamp;

use super::*;

/// Stands still until it is set.
#[derive(Debug, Default)]
struct Hand(AtomicU64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

fn at(millis: u64) -> Limits {
    Limits { before: Some(Timestamp::from_millis(millis)), bytes_max: None }
}

const SMALL: u64 = 64 << 10;

struct Aging {
    dir: tempfile::TempDir,
    hand: Arc<Hand>,
}

impl Aging {
    fn new() -> Aging {
        Aging { dir: scratch(), hand: Arc::new(Hand::default()) }
    }

    fn open(&self) -> ShardLog {
        let clock: Arc<dyn Clock> = self.hand.clone();
        let options = LogOptions { clock, segment_bytes_min: SMALL, segment_bytes_max: 4 << 20, ..options() };
        ShardLog::open(Arc::new(RealDisk::new()), self.dir.path(), options).unwrap().0
    }

    /// Two records in a segment of their own, which arrive then.
    fn put(&self, log: &ShardLog, millis: u64) {
        self.hand.0.store(millis, Ordering::SeqCst);
        log.roll().unwrap();
        log.append(some(0..2)).unwrap();
    }

    fn bytes_of_files(&self) -> u64 {
        std::fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
    }
}

fn range(first: u64, last: u64) -> Option<Expired> {
    Some(Expired { first: lsn(first), last: lsn(last) })
}

#[test]
fn old_segments_go_whole_and_only_what_is_expendable() {
    for reopened in [false, true] {
        let place = Aging::new();
        let mut log = place.open();
        for millis in [100, 200, 150, 300] {
            place.put(&log, millis);
        }
        if reopened {
            drop(log);
            log = place.open();
        }
        let through = |lsn| Expendable::Through(Lsn::new(lsn));
        assert_eq!(log.expire(&at(1000), through(0)).unwrap(), None, "nothing was delivered");
        assert_eq!(log.expire(&at(1000), through(1)).unwrap(), None, "half of a segment");
        assert_eq!(log.expire(&at(100), through(8)).unwrap(), None, "not older than itself");
        assert_eq!(log.expire(&at(101), through(8)).unwrap(), range(1, 2));
        // The third is older than the second, which still holds it.
        assert_eq!(log.expire(&at(160), through(8)).unwrap(), None);
        assert_eq!(log.expire(&at(300), through(3)).unwrap(), None);
        assert_eq!(log.expire(&at(300), Expendable::All).unwrap(), range(3, 6));
        assert_eq!(log.first(), Some(lsn(7)));
        let mut tail = log.tail(Some(lsn(4)));
        assert!(
            matches!(tail.next(1), Err(ReadError::Trimmed { after, first }) if (after, first) == (Lsn::new(4), lsn(7)))
        );
        tail.skip_lost();
        assert_eq!(tail.next(1).unwrap().unwrap().first(), lsn(7));
    }
}

#[test]
fn the_segment_in_use_goes_once_all_of_it_is_too_old() {
    let place = Aging::new();
    let log = place.open();
    place.put(&log, 100);
    assert_eq!(log.expire(&at(101), Expendable::Through(Lsn::new(1))).unwrap(), None);
    assert_eq!(log.expire(&at(101), Expendable::Through(Lsn::new(2))).unwrap(), range(1, 2));
    assert_eq!((log.first(), log.last()), (None, Some(lsn(2))));
    assert_eq!(log.expire(&at(101), Expendable::All).unwrap(), None, "an empty one stays");
    assert_eq!(segments(place.dir.path()).len(), 1);
    drop(log);
    let log = place.open();
    assert_eq!(log.append(some(2..4)).unwrap().first, lsn(3));
    assert_eq!(payloads(&read_all(&log, Some(lsn(2)))), some(2..4));
}

#[test]
fn over_its_size_a_log_loses_its_oldest_segments() {
    let place = Aging::new();
    let log = place.open();
    for millis in [100, 200, 300, 400] {
        place.put(&log, millis);
    }
    let bytes = log.bytes().unwrap();
    assert_eq!(bytes, place.bytes_of_files());
    let under = |bytes_max| Limits { before: None, bytes_max: Some(bytes_max) };
    assert_eq!(log.expire(&under(bytes), Expendable::All).unwrap(), None);
    assert_eq!(log.expire(&under(bytes - 1), Expendable::Through(Lsn::new(6))).unwrap(), range(1, 2));
    assert_eq!(log.expire(&under(0), Expendable::Through(Lsn::new(5))).unwrap(), range(3, 4));
    assert_eq!(log.expire(&under(0), Expendable::All).unwrap(), range(5, 6), "but never the one in use");
    assert_eq!(payloads(&read_all(&log, Some(lsn(6)))), some(0..2));
}

#[test]
fn bytes_are_those_of_the_files_after_a_restart_too() {
    let place = Aging::new();
    let log = place.open();
    place.put(&log, 1);
    log.append(vec![numbered(0, 300_000)]).unwrap();
    assert_eq!(log.bytes().unwrap(), place.bytes_of_files());
    drop(log);
    let log = place.open();
    assert_eq!(log.bytes().unwrap(), place.bytes_of_files());
}

#[test]
fn an_idle_log_gives_back_what_it_grew_to() {
    let place = Aging::new();
    let log = place.open();
    let given: Vec<_> = (0..40).map(|number| numbered(number, 200_000)).collect();
    for record in &given {
        log.append(vec![record.clone()]).unwrap();
    }
    assert!(log.bytes().unwrap() > 8 << 20);
    // Half of it is still needed.
    log.shrink(Lsn::new(20)).unwrap();
    assert_eq!(payloads(&read_all(&log, Some(lsn(20)))), given[20..]);
    let commits = log.progress().commits;
    log.shrink(Lsn::new(40)).unwrap();
    assert_eq!(log.progress().commits, commits, "a small segment stays in use");
    assert!(place.bytes_of_files() <= 1 << 20, "{}", place.bytes_of_files());
    assert_eq!(log.bytes().unwrap(), SMALL);
    assert_eq!(log.append(some(0..1)).unwrap().first, lsn(41));
    drop(log);
    assert_eq!(payloads(&read_all(&place.open(), Some(lsn(40)))), some(0..1));
}

/// Work is done where it is brought, so that nothing is made ready at a moment of its own.
fn large_segments(reserve_bytes: u64) -> LogOptions {
    let (bytes, committers) = (4 << 20, Committers::inline());
    LogOptions { segment_bytes_min: bytes, segment_bytes_max: bytes, reserve_bytes, committers, ..options() }
}

/// Full segments, so that they are worth keeping.
fn fill(log: &ShardLog, segments: usize) {
    for number in 0..segments * 4 {
        log.append(vec![numbered(number, (1 << 20) - 4096)]).unwrap();
    }
}

#[test]
fn segments_that_go_together_wait_together_to_be_used_again() {
    let (disk, options) = (SimDisk::new(1), large_segments(0));
    let open = |disk: &SimDisk| ShardLog::open(Arc::new(disk.clone()), Path::new("/"), options.clone()).unwrap().0;
    let log = open(&disk);
    let names = |ending: &str| {
        let all = disk.list(Path::new("/")).unwrap();
        all.iter().filter(|name| name.to_string_lossy().ends_with(ending)).count()
    };
    fill(&log, 8);
    let needed = log.last().unwrap();
    log.trim(needed).unwrap();
    assert_eq!(names(".seg.free") + names(".seg.tmp"), options.spares_max);
    let kept = log.bytes().unwrap();
    assert!(kept >= 5 * (4 << 20), "{kept}");
    // None is made while there are those.
    fill(&log, 3);
    assert!(log.bytes().unwrap() <= kept);
    let read = payloads(&read_all(&log, Some(needed)));
    assert_eq!(read, (0..12).map(|number| numbered(number, (1 << 20) - 4096)).collect::<Vec<_>>());
    // What waits when the power goes is of no use to the next opening, and does not stay.
    log.trim(needed).unwrap();
    assert_eq!(payloads(&read_all(&open(&disk.power_loss(2)), Some(needed))), read);
}

#[test]
fn a_disk_that_fills_gets_back_what_waits() {
    let (disk, hand) = (SimDisk::new(1), Arc::new(Hand::default()));
    let options = LogOptions { clock: hand.clone(), ..large_segments(1 << 20) };
    let log = ShardLog::open(Arc::new(disk.clone()), Path::new("/"), options).unwrap().0;
    fill(&log, 8);
    log.trim(log.last().unwrap()).unwrap();
    let kept = log.bytes().unwrap();
    // Others take most of what is free, which is looked at once a second.
    disk.set_capacity(Some(kept + (20 << 20)));
    hand.0.store(2000, Ordering::SeqCst);
    log.append(some(0..1)).unwrap();
    assert_eq!(log.bytes().unwrap(), kept - 3 * (4 << 20));
    // And those that are let go from now on are gone, but for one.
    fill(&log, 4);
    log.trim(log.last().unwrap()).unwrap();
    assert!(log.bytes().unwrap() <= 2 * (4 << 20), "{}", log.bytes().unwrap());
}
