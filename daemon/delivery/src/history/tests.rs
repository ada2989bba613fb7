use hydrant_disk::{FaultyDisk, RealDisk};

use super::*;
use crate::accounting::Counts;
use crate::journal::About;
use crate::manifest::{Holds, Route};
use crate::rows::RowsWriter;

const DAY: u64 = 86_400_000;

fn chunk(number: u64) -> StagedChunk {
    StagedChunk {
        chunk: number,
        from: number,
        to: number,
        counts: Counts { delivered: 1, ..Counts::default() },
        destination: "file:/lake".to_owned(),
        backup: None,
        manifest: None,
        inline: None,
        verdicts: None,
        about: About::default(),
    }
}

fn object(key: String) -> SentObject {
    let object = StagedObject {
        key,
        to: Route::Destination,
        holds: Some(Holds::Records),
        offset: 0,
        length: 1,
        sha256: "00".repeat(32),
        crc64: None,
        content_encoding: None,
        records: 1,
        first: 1,
        last: 1,
        items: None,
        rows: Some(RowsWriter::default().finish()),
        row_each: true,
    };
    SentObject { object, attempts: 1, trouble: None, redirected: false }
}

fn history(disk: Arc<dyn Disk>, dir: &Path, retention_days: u64, size_max: u64) -> History {
    let retention = std::time::Duration::from_millis(retention_days * DAY);
    History::new(disk, dir.join("history"), HistoryPolicy { retention, size_max }, "s".to_owned())
}

fn known(dir: &Path) -> Vec<u64> {
    let mut chunks = Vec::new();
    read(&RealDisk::new(), &dir.join("history"), &mut |settled| chunks.push(settled.chunk.chunk)).unwrap();
    chunks
}

fn real() -> Arc<dyn Disk> {
    Arc::new(RealDisk::new())
}

fn note(history: &History, number: u64, day: u64) {
    history.note(chunk(number), vec![object(format!("key-{number}"))], Timestamp::from_millis(day * DAY));
}

#[test]
fn what_was_noted_is_there_after_restarts_and_a_torn_line_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    for number in 1..=3 {
        note(&history(real(), dir.path(), 7, 1 << 20), number, 1);
        let mut files: Vec<_> =
            std::fs::read_dir(dir.path().join("history")).unwrap().map(|one| one.unwrap().path()).collect();
        files.sort();
        let last = files.last().unwrap();
        let mut torn = std::fs::read(last).unwrap();
        torn.extend_from_slice(b"0123456789abcdef {\"done_ms\":");
        std::fs::write(last, torn).unwrap();
    }
    assert_eq!(known(dir.path()), [1, 2, 3]);
}

#[test]
fn old_ones_go_by_their_age_and_by_their_size() {
    let dir = tempfile::tempdir().unwrap();
    let by_age = history(real(), dir.path(), 8, 1 << 30);
    for day in 1..=30 {
        note(&by_age, day, day);
    }
    let left = known(dir.path());
    assert!(left.last() == Some(&30) && left.contains(&23) && !left.contains(&20), "{left:?}");

    let dir = tempfile::tempdir().unwrap();
    let by_size = history(real(), dir.path(), 365, 64 << 10);
    for number in 1..=1_000 {
        note(&by_size, number, 1);
    }
    let bytes: u64 =
        std::fs::read_dir(dir.path().join("history")).unwrap().map(|one| one.unwrap().metadata().unwrap().len()).sum();
    assert!((48 << 10..=64 << 10).contains(&bytes), "{bytes}");
    assert_eq!(known(dir.path()).last(), Some(&1_000));
}

#[test]
fn a_history_that_is_switched_off_forgets_what_there_was() {
    let dir = tempfile::tempdir().unwrap();
    note(&history(real(), dir.path(), 7, 1 << 20), 1, 1);
    note(&history(real(), dir.path(), 0, 1 << 20), 2, 1);
    assert!(known(dir.path()).is_empty());
}

#[test]
fn a_chunk_with_too_many_objects_is_remembered_without_them() {
    let dir = tempfile::tempdir().unwrap();
    let history = history(real(), dir.path(), 7, 8 << 10);
    let objects = (0..100).map(|number| object(format!("key-{number}"))).collect();
    history.note(chunk(1), objects, Timestamp::from_millis(DAY));
    let mut all = Vec::new();
    read(&RealDisk::new(), &dir.path().join("history"), &mut |settled| all.push(settled)).unwrap();
    assert!(all[0].cut && all[0].objects.is_empty() && all[0].chunk == chunk(1), "{all:?}");
}

#[test]
fn a_device_that_fails_makes_a_gap_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new(real());
    let history = history(Arc::new(disk.clone()), dir.path(), 7, 1 << 20);
    note(&history, 1, 1);
    disk.set_full(true);
    note(&history, 2, 1);
    disk.set_full(false);
    note(&history, 3, 1);
    assert_eq!(known(dir.path()), [1, 3]);
}
