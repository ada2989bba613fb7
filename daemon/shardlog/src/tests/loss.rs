//! What an operator gives up is named, counted and never more than cannot be read.

use std::os::unix::fs::FileExt;

use super::*;

/// Three segments of two commits of two records each: LSNs 1 to 12, not closed.
fn history() -> (tempfile::TempDir, Vec<NewRecord>) {
    let dir = scratch();
    let (log, _) = open(dir.path());
    let given = some(0..12);
    for (at, pair) in given.chunks(2).enumerate() {
        if at.is_multiple_of(2) {
            log.roll().unwrap();
        }
        log.append(pair.to_vec()).unwrap();
    }
    (dir, given)
}

fn accepting() -> LogOptions {
    LogOptions { accept_loss: true, ..options() }
}

/// What can be read, and what was lost.
fn survey(log: &ShardLog) -> (Vec<u64>, Vec<(u64, u64)>) {
    let (mut read, mut lost) = (Vec::new(), Vec::new());
    let mut tail = log.tail(log.first().map_or(log.last(), Lsn::previous));
    loop {
        match tail.next(usize::MAX) {
            Ok(Some(batch)) => read.extend(batch.records().iter().map(|record| record.lsn.get())),
            Ok(None) => return (read, lost),
            Err(ReadError::Lost { first, last }) => {
                lost.push((first.get(), last.get()));
                tail.skip_lost();
            }
            Err(other) => panic!("{other}"),
        }
    }
}

/// Opens with loss accepted; the verdict stands without that from then on, and the log goes on.
fn gives_up(dir: &Path, given: &[NewRecord], expected: &[(u64, u64)]) {
    let disk = || Arc::new(RealDisk::new());
    assert!(matches!(open_on(disk(), dir), Err(OpenError::Corrupt { .. })));
    let (log, recovery) = ShardLog::open(disk(), dir, accepting()).unwrap();
    let named: Vec<_> = recovery.lost.iter().map(|(first, last)| (first.get(), last.get())).collect();
    assert_eq!(named, expected);
    let next = log.last().unwrap().get() + 1;
    assert_eq!(log.append(some(50..52)).unwrap().first.get(), next);
    for reopened in [false, true] {
        let log = if reopened { open(dir).0 } else { log.clone() };
        let (read, lost) = survey(&log);
        assert_eq!(lost, expected);
        let is_lost = |lsn: &u64| expected.iter().any(|(first, last)| (first..=last).contains(&lsn));
        assert_eq!(read, (1..next + 2).filter(|lsn| !is_lost(lsn)).collect::<Vec<_>>(), "and nothing but that");
        for record in read_between(&log, &read) {
            let at = usize::try_from(record.lsn.get()).unwrap() - 1;
            let wanted =
                given.get(at).cloned().unwrap_or_else(|| numbered(50 + at + 1 - usize::try_from(next).unwrap(), 20));
            assert_eq!(payloads(std::slice::from_ref(&record)), [wanted]);
        }
    }
}

fn read_between(log: &ShardLog, lsns: &[u64]) -> Vec<Record> {
    let one = |at: &u64| log.tail(Lsn::new(at - 1)).next(1).unwrap().unwrap().into_records().remove(0);
    lsns.iter().map(one).collect()
}

fn flip(path: &Path, at: u64) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 4], at).unwrap();
}

/// Where the frames of records begin.
fn starts(path: &Path) -> Vec<u64> {
    let bytes = std::fs::read(path).unwrap();
    let records = |at: &usize| bytes[*at..].starts_with(b"HFRM") && bytes[at + 60] == 1;
    (4096..bytes.len() - 64).step_by(64).filter(records).map(|at| at as u64).collect()
}

#[test]
fn a_damaged_commit_in_a_finished_segment_is_lost_alone() {
    let (dir, given) = history();
    let path = segments(dir.path())[0].clone();
    let before = std::fs::read(&path).unwrap();
    flip(&path, starts(&path)[0] + 80);
    let damaged = std::fs::read(&path).unwrap();
    gives_up(dir.path(), &given, &[(1, 2)]);
    assert_eq!(std::fs::read(path.with_extension("seg.damaged")).unwrap(), damaged);
    assert_ne!(before, damaged);
}

#[test]
fn damage_in_many_places_is_given_up_place_by_place() {
    let (dir, given) = history();
    let paths = segments(dir.path());
    flip(&paths[0], starts(&paths[0])[1] + 3);
    flip(&paths[1], 100);
    flip(&paths[2], starts(&paths[2])[0] + 66);
    gives_up(dir.path(), &given, &[(3, 8), (9, 10)]);
}

#[test]
fn missing_segments_are_lost_whole() {
    for (gone, expected) in [(vec![0], (1, 4)), (vec![1], (5, 8)), (vec![0, 1], (1, 8))] {
        let (dir, given) = history();
        let paths = segments(dir.path());
        gone.iter().for_each(|at: &usize| std::fs::remove_file(&paths[*at]).unwrap());
        assert!(matches!(open_on(Arc::new(RealDisk::new()), dir.path()), Err(OpenError::Corrupt { .. })));
        let (log, _) = ShardLog::open(Arc::new(RealDisk::new()), dir.path(), accepting()).unwrap();
        assert_eq!(survey(&log).1, [expected], "{gone:?}");
        let kept: Vec<_> = (1..13).filter(|lsn| !(expected.0..=expected.1).contains(lsn)).collect();
        assert_eq!(survey(&log).0, kept);
        assert_eq!(payloads(&read_between(&log, &[12])), given[11..]);
        drop(log);
        assert_eq!(survey(&open(dir.path()).0).1, [expected]);
    }
}

#[test]
fn a_missing_end_and_what_other_files_name_are_lost() {
    let known = |accept_loss| LogOptions { known_durable: Lsn::new(20), accept_loss, ..options() };
    let disk = || Arc::new(RealDisk::new());
    for gone in [0, 1, 3] {
        let (dir, _) = history();
        let paths = segments(dir.path());
        paths[3 - gone..].iter().for_each(|path| std::fs::remove_file(path).unwrap());
        let refused = ShardLog::open(disk(), dir.path(), known(false));
        assert!(matches!(refused, Err(OpenError::Corrupt { .. })), "{gone}");
        let (log, _) = ShardLog::open(disk(), dir.path(), known(true)).unwrap();
        let kept = 12 - 4 * gone as u64;
        assert_eq!(log.append(some(50..51)).unwrap().first, lsn(21), "above all that was ever named");
        let (read, lost) = survey(&log);
        assert_eq!(read, (1..=kept).chain([21]).collect::<Vec<_>>());
        assert_eq!((lost[0].0, lost[lost.len() - 1].1), (kept + 1, 20), "{gone}: {lost:?}");
        drop(log);
        assert!(ShardLog::open(disk(), dir.path(), known(false)).is_ok());
    }
}

#[test]
fn a_reader_in_the_middle_of_what_was_lost_is_told_the_rest_of_it() {
    let (dir, _) = history();
    let path = segments(dir.path())[1].clone();
    flip(&path, 100);
    let (log, _) = ShardLog::open(Arc::new(RealDisk::new()), dir.path(), accepting()).unwrap();
    let mut tail = log.tail(Some(lsn(6)));
    for _ in 0..2 {
        assert!(matches!(tail.next(9), Err(ReadError::Lost { first, last }) if (first, last) == (lsn(7), lsn(8))));
    }
    assert_eq!(tail.position(), Some(lsn(6)));
    tail.skip_lost();
    tail.skip_lost();
    assert_eq!(tail.next(1).unwrap().unwrap().first(), lsn(9));
    let mut shard = log.shard_tail(hydrant_record::ShardIx(0), Some(lsn(2)));
    let batch = shard.next(usize::MAX, usize::MAX).unwrap().unwrap();
    assert_eq!(batch.records.iter().map(|record| record.lsn.get()).collect::<Vec<_>>(), [3, 4, 9, 10, 11, 12]);
}

#[test]
fn a_lost_map_of_shards_is_taken_from_the_segment_before() {
    let dir = scratch();
    let four = LogOptions { shards: 4, ..options() };
    let (log, _) = ShardLog::open(Arc::new(RealDisk::new()), dir.path(), four).unwrap();
    log.append(some(0..1)).unwrap();
    log.roll().unwrap();
    log.append(some(1..2)).unwrap();
    let shards = log.shards();
    drop(log);
    flip(&segments(dir.path())[1], 4096 + 70);
    let (log, recovery) = ShardLog::open(Arc::new(RealDisk::new()), dir.path(), accepting()).unwrap();
    assert_eq!(log.shards().shards(), shards.shards());
    assert_eq!(payloads(&read_between(&log, &[1, 2])), some(0..2), "{recovery:?}");
}
