use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use hydrant_disk::RealDisk;
use hydrant_record::{NewRecord, Placement};

use super::*;
use crate::ShardLog;

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn options() -> LogOptions {
    LogOptions { segment_bytes_max: 1 << 20, ..LogOptions::on(Committers::inline()) }
}

fn open(dir: &Path) -> ShardLog {
    ShardLog::open(Arc::new(RealDisk::new()), dir, options()).unwrap().0
}

fn some(numbers: std::ops::Range<u64>) -> Vec<NewRecord> {
    let one = |number: u64| NewRecord {
        placement: Placement::Any,
        partition_key: Some(Bytes::from(format!("key {number}"))),
        data: Bytes::from(format!("record {number}")),
    };
    numbers.map(one).collect()
}

/// Three segments of two commits of two records each: LSNs 1 to 12.
fn history() -> tempfile::TempDir {
    let dir = scratch();
    let log = open(dir.path());
    for commit in 0..6 {
        if commit % 2 == 0 {
            log.roll().unwrap();
        }
        log.append(some(commit * 2..commit * 2 + 2)).unwrap();
    }
    dir
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    found.sort();
    found
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

/// Names, bytes and times of all files.
fn state(dir: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let read = |path: PathBuf| {
        let changed = path.metadata().unwrap().modified().unwrap();
        (path.clone(), (std::fs::read(&path).unwrap(), changed))
    };
    std::fs::read_dir(dir).unwrap().map(|entry| read(entry.unwrap().path())).collect()
}

/// Verifies, dumps, and holds both against what opening a copy says. Nothing in `dir` is changed.
fn looked_at(dir: &Path) -> Survey {
    let before = state(dir);
    let disk = RealDisk::new();
    let quick = survey(&disk, dir, &mut |_, _| {}).unwrap();
    let mut told = (0, 0);
    let whole = verify(&disk, dir, &mut |done, total| told = (done, total)).unwrap();
    assert_eq!(told.0, told.1, "all was read");
    assert_eq!((quick.opening, quick.log_id, quick.records()), (whole.opening, whole.log_id, whole.records()));
    let dumped = lsns(dir, &Selection::default());
    assert_eq!(dumped.len() as u64, whole.records(), "what verify can read, dump can");
    assert_eq!(state(dir), before, "nothing was changed");

    let copy = scratch();
    for (path, (bytes, _)) in before {
        std::fs::write(copy.path().join(path.file_name().unwrap()), bytes).unwrap();
    }
    match ShardLog::open(Arc::new(disk), copy.path(), options()) {
        Ok((_, found)) if whole.segments.is_empty() => assert_eq!((whole.opening, found.last), (Opening::Empty, None)),
        Ok((_, found)) => {
            let torn_bytes = found.torn_bytes;
            let opening = if found.clean { Opening::Whole } else { Opening::Unclosed { torn_bytes } };
            assert_eq!((whole.opening, whole.next()), (opening, Some(Lsn::after(found.last))));
            assert_eq!(whole.log_id, Some(found.log_id));
        }
        Err(OpenError::Corrupt { .. }) => assert_eq!(whole.opening, Opening::Corrupt),
        Err(other) => panic!("{other}"),
    }
    whole
}

fn lsns(dir: &Path, selection: &Selection) -> Vec<u64> {
    let mut found = Vec::new();
    let mut take = |met| {
        if let Dumped::Record(record) = met {
            found.push(record.lsn.get());
        }
        ControlFlow::Continue(())
    };
    dump(&RealDisk::new(), dir, selection, &mut take).unwrap();
    found
}

fn ranges(survey: &Survey) -> Vec<(u64, Option<u64>)> {
    survey.damage.iter().map(|damage| (damage.first.get(), damage.next.map(Lsn::get))).collect()
}

use std::ops::ControlFlow;

#[test]
fn a_healthy_log_is_whole_closed_or_not() {
    let dir = history();
    let found = looked_at(dir.path());
    assert_eq!(found.opening, Opening::Unclosed { torn_bytes: 0 });
    assert_eq!((found.first(), found.next(), found.records()), (Lsn::new(1), Lsn::new(13), 12));
    let seals: Vec<_> = found.facts().map(|facts| facts.seal).collect();
    assert_eq!(seals, [Seal::Rolled, Seal::Rolled, Seal::Open]);
    let first = found.facts().next().unwrap();
    assert_eq!((first.base.get(), first.next.get(), first.shards.len()), (1, 5, 1));
    assert_eq!(first.compressions, [Compression::None]);
    assert!(first.arrived.is_some() && first.record_bytes > 40);
    assert_eq!(found.shards.as_ref().map(|map| map.shards().len()), Some(1));
    open(dir.path()).close().unwrap();
    assert_eq!(looked_at(dir.path()).opening, Opening::Whole);
    let empty = scratch();
    assert_eq!(looked_at(empty.path()).opening, Opening::Empty);
}

#[test]
fn a_log_that_is_open_looks_whole_at_every_moment() {
    let dir = scratch();
    let log = open(dir.path());
    for round in 0..40_u64 {
        log.append(some(round..round + 1)).unwrap();
        if round % 7 == 3 {
            log.roll().unwrap();
            log.trim(Lsn::new(round).unwrap()).unwrap();
        }
        let found = verify(&RealDisk::new(), dir.path(), &mut |_, _| {}).unwrap();
        assert_eq!((found.opening, found.damage), (Opening::Unclosed { torn_bytes: 0 }, vec![]), "round {round}");
        assert_eq!(lsns(dir.path(), &Selection::default()).last(), Some(&(round + 1)));
    }
}

#[test]
fn a_writer_beside_a_look_is_not_taken_for_damage() {
    let dir = scratch();
    let log = ShardLog::open(
        Arc::new(RealDisk::new()),
        dir.path(),
        LogOptions { committers: Committers::shared(), ..options() },
    );
    let log = log.unwrap().0;
    let writer = std::thread::spawn(move || {
        for round in 0..1500_u64 {
            let last = log.append(some(round..round + 20)).unwrap().last;
            if round % 50 == 49 {
                log.roll().unwrap();
                log.trim(Lsn::new(last.get() - 10).unwrap()).unwrap();
            }
        }
    });
    while !writer.is_finished() {
        let found = verify(&RealDisk::new(), dir.path(), &mut |_, _| {}).unwrap();
        assert_eq!(found.damage, []);
        let mut take = |met| {
            assert!(matches!(met, Dumped::Record(_)), "{met:?}");
            ControlFlow::Continue(())
        };
        dump(&RealDisk::new(), dir.path(), &Selection::default(), &mut take).unwrap();
    }
    writer.join().unwrap();
}

/// What trimming does to the file under whoever has it open: it is emptied, or other bytes are written over it.
#[test]
fn a_segment_that_goes_while_it_is_read_is_no_damage() {
    let empty = |path: &Path| std::fs::File::create(path).map(drop).unwrap();
    let write_over = |path: &Path| std::fs::write(path, vec![7; 3 << 20]).unwrap();
    for change in [&empty as &dyn Fn(&Path), &write_over] {
        let dir = scratch();
        let options = LogOptions { segment_bytes_max: 8 << 20, segment_bytes_min: 8 << 20, ..options() };
        let log = ShardLog::open(Arc::new(RealDisk::new()), dir.path(), options).unwrap().0;
        let large = || NewRecord { data: Bytes::from(vec![b'x'; 1_000_000]), ..some(0..1).remove(0) };
        (0..3).for_each(|_| drop(log.append(vec![large()]).unwrap()));
        log.roll().unwrap();
        log.append(some(0..1)).unwrap();
        let (first, mut came) = (segments(dir.path())[0].clone(), Vec::new());
        let mut take = |met| {
            let Dumped::Record(record) = met else { panic!("{met:?}") };
            if came.is_empty() {
                change(&first);
                std::fs::remove_file(&first).unwrap();
            }
            came.push(record.lsn.get());
            ControlFlow::Continue(())
        };
        dump(&RealDisk::new(), dir.path(), &Selection::default(), &mut take).unwrap();
        assert_eq!(came, [1, 4], "the rest of its segment is gone, and what comes behind it is read");
    }
}

#[test]
fn a_torn_tail_is_no_damage() {
    let dir = history();
    let last = segments(dir.path())[2].clone();
    flip(&last, starts(&last)[1] + 70);
    let found = looked_at(dir.path());
    assert!(matches!(found.opening, Opening::Unclosed { torn_bytes: 1.. }), "{:?}", found.opening);
    assert_eq!((found.damage.len(), found.next()), (0, Lsn::new(11)));
}

#[test]
fn rot_is_named_place_by_place() {
    let dir = history();
    let paths = segments(dir.path());
    flip(&paths[0], starts(&paths[0])[1] + 3);
    flip(&paths[1], 100);
    flip(&paths[2], starts(&paths[2])[0] + 66);
    let found = looked_at(dir.path());
    assert_eq!(ranges(&found), [(3, Some(5)), (5, Some(9)), (9, Some(11))]);
    assert_eq!(found.opening, Opening::Corrupt);
    assert_eq!(lsns(dir.path(), &Selection::default()), [1, 2, 11, 12]);
    let place = &found.damage[2];
    assert_eq!((&place.segment, place.offset), (&paths[2], starts(&paths[2])[0]));
}

#[test]
fn every_byte_that_rots_is_judged_as_opening_does() {
    let dir = history();
    let paths = segments(dir.path());
    for path in &paths {
        let first = starts(path)[0];
        for at in (0..88).chain([4095]).chain(first - 64..first + 320).step_by(7) {
            flip(path, at);
            looked_at(dir.path());
            flip(path, at);
        }
    }
}

#[test]
fn missing_segments_are_named() {
    for (gone, expected) in [(0, (1, 5)), (1, (5, 9)), (2, (9, 0))] {
        let dir = history();
        std::fs::remove_file(&segments(dir.path())[gone]).unwrap();
        let found = looked_at(dir.path());
        let next = Some(expected.1).filter(|next| *next > 0);
        assert_eq!((ranges(&found), found.opening), (vec![(expected.0, next)], Opening::Corrupt), "{gone}");
    }
}

#[test]
fn what_was_given_up_is_lost_and_no_damage() {
    let dir = history();
    let path = segments(dir.path())[1].clone();
    flip(&path, starts(&path)[0] + 80);
    let accepting = LogOptions { accept_loss: true, ..options() };
    drop(ShardLog::open(Arc::new(RealDisk::new()), dir.path(), accepting).unwrap());
    let found = looked_at(dir.path());
    let lost: Vec<_> = found.facts().flat_map(|facts| facts.lost.clone()).collect();
    assert_eq!(lost, [(Lsn::new(5).unwrap(), Lsn::new(6).unwrap())]);
    assert_eq!((found.damage.len(), found.set_aside.len()), (0, 1));
    assert_eq!(lsns(dir.path(), &Selection::default()), [1, 2, 3, 4, 7, 8, 9, 10, 11, 12]);
}

#[test]
fn a_trimmed_log_begins_later() {
    let dir = history();
    let log = open(dir.path());
    log.trim(Lsn::new(8).unwrap()).unwrap();
    let found = looked_at(dir.path());
    assert_eq!((found.first(), found.trim_mark.is_some()), (Lsn::new(9), true));
    assert_eq!(lsns(dir.path(), &Selection::default()), [9, 10, 11, 12]);
    drop(log);
    open(dir.path()).close().unwrap();
    assert_eq!(looked_at(dir.path()).opening, Opening::Whole);
}

#[test]
fn a_segment_on_recycled_blocks_holds_nothing_of_its_earlier_life() {
    let dir = scratch();
    let log = open(dir.path());
    let mut last = Lsn::FIRST;
    for _ in 0..40 {
        let record = NewRecord { placement: Placement::Any, partition_key: None, data: Bytes::from(vec![7; 100_000]) };
        last = log.append(vec![record]).unwrap().last;
        log.trim(last.previous().unwrap_or(last)).unwrap();
    }
    let found = looked_at(dir.path());
    assert!(found.facts().any(|facts| facts.recycled), "{found:?}");
    assert_eq!((found.damage.len(), found.next()), (0, Some(last.next())));
}

#[test]
fn a_selection_is_kept_to() {
    let dir = history();
    let of = |selection| lsns(dir.path(), &selection);
    let (from, to) = (Lsn::new(4), Lsn::new(9));
    assert_eq!(of(Selection { from, to, ..Selection::default() }), [4, 5, 6, 7, 8, 9]);
    assert_eq!(of(Selection { from: Lsn::new(13), ..Selection::default() }), []);
    assert_eq!(of(Selection { shard: Some(ShardIx(1)), ..Selection::default() }), []);
    let found = looked_at(dir.path());
    let (first, _) = found.facts().nth(1).unwrap().arrived.unwrap();
    let later = of(Selection { since: Some(first), ..Selection::default() });
    assert!(later.ends_with(&[5, 6, 7, 8, 9, 10, 11, 12]), "{later:?}");
    let earlier = of(Selection { until: Some(first), ..Selection::default() });
    assert_eq!([earlier, later].concat(), (1..13).collect::<Vec<_>>());
}
