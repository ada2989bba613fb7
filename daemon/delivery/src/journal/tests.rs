use std::path::PathBuf;

use hydrant_disk::{FaultyDisk, RealDisk};

use super::*;
use crate::inline::Inline;

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    /// A source log with ten records, and room for a journal.
    fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        for name in ["log", "journal"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let place = Place { dir };
        let log = place.log();
        let record = || NewRecord { placement: Placement::Any, partition_key: None, data: Bytes::from_static(b"x") };
        log.append((0..10).map(|_| record()).collect()).unwrap();
        log.close().unwrap();
        place
    }

    fn disk() -> Arc<dyn Disk> {
        Arc::new(RealDisk::new())
    }

    fn log(&self) -> ShardLog {
        ShardLog::open(Self::disk(), &self.dir.path().join("log"), LogOptions::new()).unwrap().0
    }

    /// Segments as small as those of the daemon.
    fn options() -> LogOptions {
        LogOptions { segment_bytes_max: 4 << 20, ..LogOptions::new() }
    }

    fn journal_dir(&self) -> PathBuf {
        self.dir.path().join("journal")
    }

    fn open(&self, stream: u8) -> Result<Journal, JournalError> {
        Journal::open(
            Self::disk(),
            &self.journal_dir(),
            StreamId([stream; 16]),
            (&self.log(), Claim::Own),
            Self::options(),
        )
    }
}

fn chunk(chunk: u64, from: u64, to: u64) -> StagedChunk {
    let counts = Counts { delivered: to - from, failed: 1, ..Counts::default() };
    StagedChunk {
        chunk,
        from,
        to,
        counts,
        destination: "file:/lake".to_owned(),
        backup: None,
        manifest: None,
        inline: None,
        verdicts: None,
        about: About::default(),
    }
}

#[test]
fn what_was_decided_is_there_after_reopening() {
    let place = Place::new();
    let journal = place.open(1).unwrap();
    journal.staged(chunk(1, 1, 4)).unwrap();
    journal.staged(chunk(2, 5, 7)).unwrap();
    journal.done(1).unwrap();
    let before = journal.snapshot();
    drop(journal);
    for _ in 0..3 {
        let state = place.open(1).unwrap().snapshot();
        assert_eq!(state, before);
        assert_eq!((state.cursor(), state.staged_through(), state.next_chunk()), (Lsn::new(4), Lsn::new(7), 3));
        assert_eq!(state.settled(), Counts { delivered: 3, failed: 1, ..Counts::default() });
        assert_eq!(state.open_chunks().map(|chunk| chunk.chunk).collect::<Vec<_>>(), [2]);
    }
}

#[test]
fn chunks_that_do_not_tile_are_refused_and_change_nothing() {
    let place = Place::new();
    let journal = place.open(1).unwrap();
    journal.staged(chunk(1, 1, 4)).unwrap();
    let before = journal.snapshot();
    let gap = chunk(2, 6, 7);
    let overlap = chunk(2, 4, 7);
    let renumbered = chunk(3, 5, 7);
    let miscounted = StagedChunk { counts: Counts::default(), ..chunk(2, 5, 7) };
    for wrong in [gap, overlap, renumbered, miscounted] {
        assert!(matches!(journal.staged(wrong.clone()), Err(JournalError::Invalid { .. })), "{wrong:?}");
    }
    journal.staged(chunk(2, 5, 7)).unwrap();
    assert!(matches!(journal.done(2), Err(JournalError::Invalid { .. })), "the first is not done");
    journal.done(1).unwrap();
    assert!(journal.done(1).is_err(), "done once");
    assert_ne!(journal.snapshot(), before);
}

#[test]
fn records_that_were_taken_apart_have_more_verdicts_than_there_are_of_them() {
    let place = Place::new();
    let journal = place.open(1).unwrap();
    let split = |delivered, split_off| StagedChunk {
        counts: Counts { delivered, split_off, ..Counts::default() },
        ..chunk(1, 1, 4)
    };
    for (delivered, split_off) in [(7, 0), (4, 3), (7, 4)] {
        assert!(journal.staged(split(delivered, split_off)).is_err(), "{delivered} {split_off}");
    }
    let settled =
        |journal: &Journal| journal.with(|state| (state.adds_up(), state.settled_records(), state.settled().split_off));
    journal.staged(split(7, 3)).unwrap();
    assert_eq!(settled(&journal), (Ok(()), 0, 0));
    journal.done(1).unwrap();
    drop(journal);
    assert_eq!(settled(&place.open(1).unwrap()), (Ok(()), 4, 3));
}

#[test]
fn a_journal_of_another_stream_and_one_ahead_of_its_log_are_refused() {
    let place = Place::new();
    let journal = place.open(1).unwrap();
    journal.staged(chunk(1, 1, 12)).unwrap();
    drop(journal);
    assert!(matches!(place.open(2), Err(JournalError::Foreign { .. })));
    assert!(matches!(place.open(1), Err(JournalError::LogBehind { staged: 12, last: 10 })));
}

#[test]
fn inline_bytes_survive_reopening_and_snapshots_and_cost_few_segments() {
    let place = Place::new();
    let journal = place.open(1).unwrap();
    let inline = Inline(Bytes::from(vec![0xa5; 200 << 10]));
    let manifest = Some(ManifestAt { offset: 0, length: 1, sha256: String::new() });
    for number in 1..=200 {
        let one = StagedChunk {
            chunk: number,
            inline: Some(inline.clone()),
            manifest: manifest.clone(),
            ..chunk(number, number, number)
        };
        journal.staged(one).unwrap();
        if number > 1 {
            journal.done(number - 1).unwrap();
            journal.compact().unwrap();
        }
    }
    assert_eq!(journal.with(State::inline_bytes), inline.len(), "done chunks hold nothing");
    let bytes: u64 =
        std::fs::read_dir(place.journal_dir()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert!(bytes < 200 * inline.len() as u64, "old segments go after some bytes, too: {bytes}");
    drop(journal);
    let state = replay(&ShardLog::open(Place::disk(), &place.journal_dir(), Place::options()).unwrap().0).unwrap();
    let open: Vec<_> = state.as_ref().unwrap().open_chunks().collect();
    assert_eq!((open.len(), open[0].inline.as_ref()), (1, Some(&inline)));
    assert!(open[0].files(Path::new("staged")).is_empty());
}

#[test]
fn a_chunk_of_before_bytes_were_inline_has_a_file() {
    let text = r#"{"chunk":1,"from":1,"to":2,"counts":{"delivered":2,"failed":0,"dropped":0},"destination":"file:/lake",
        "manifest":{"offset":10,"length":20,"sha256":"00"}}"#;
    let chunk: StagedChunk = serde_json::from_str(text).unwrap();
    assert_eq!(chunk.files(Path::new("staged")), [PathBuf::from("staged/00000000000000000001.out")]);
    let written = serde_json::to_string(&chunk).unwrap();
    assert!(!["inline", "backup", "verdicts"].iter().any(|new| written.contains(new)), "it is written as before");
}

#[test]
fn verdicts_move_records_from_delivered_to_failed_once() {
    let place = Place::new();
    let journal = place.open(1).unwrap();
    let manifest = ManifestAt { offset: 0, length: 1, sha256: String::new() };
    journal.staged(StagedChunk { manifest: Some(manifest.clone()), ..chunk(1, 1, 6) }).unwrap();
    let verdicts = |refused, expired| Verdicts { refused, expired, manifest: manifest.clone(), inline: None };
    assert!(journal.verdicts(2, verdicts(1, 0)).is_err(), "it is not staged");
    assert!(journal.verdicts(1, verdicts(5, 1)).is_err(), "only five were sent");
    let judged = journal.verdicts(1, verdicts(2, 1)).unwrap();
    assert_eq!(judged.counts, Counts { delivered: 2, failed: 3, expired: 1, ..Counts::default() });
    assert!(journal.verdicts(1, verdicts(1, 0)).is_err(), "once");
    drop(journal);
    for _ in 0..2 {
        let journal = place.open(1).unwrap();
        assert_eq!(journal.snapshot().open_chunks().collect::<Vec<_>>(), [&judged]);
    }
    place.open(1).unwrap().done(1).unwrap();
    assert_eq!(place.open(1).unwrap().snapshot().settled(), judged.counts);
}

#[test]
fn counts_of_before_losses_were_counted_have_none() {
    let counts: Counts = serde_json::from_str(r#"{"delivered":5,"failed":1,"dropped":2}"#).unwrap();
    assert_eq!(counts, Counts { delivered: 5, failed: 1, dropped: 2, ..Counts::default() });
}

#[test]
fn restarts_and_many_chunks_leave_few_segments() {
    let place = Place::new();
    for _ in 0..20 {
        drop(place.open(1).unwrap());
    }
    let segments = |place: &Place| std::fs::read_dir(place.journal_dir()).unwrap().count();
    assert!(segments(&place) <= 3, "{}", segments(&place));
}

#[test]
fn an_entry_that_needs_a_segment_waits_until_a_full_disk_has_space() {
    let place = Place::new();
    let disk = FaultyDisk::new(Place::disk());
    let options = LogOptions::new();
    let opened = Journal::open(
        Arc::new(disk.clone()),
        &place.journal_dir(),
        StreamId([1; 16]),
        (&place.log(), Claim::Own),
        options,
    )
    .unwrap();
    opened.log.roll().unwrap();
    disk.set_full(true);
    let asked = disk.calls();
    std::thread::scope(|scope| {
        let staged = scope.spawn(|| opened.staged(chunk(1, 1, 4)));
        while disk.calls() == asked {
            std::thread::yield_now();
        }
        disk.set_full(false);
        staged.join().unwrap().unwrap();
    });
    opened.close().unwrap();
    assert_eq!(place.open(1).unwrap().snapshot().staged_through(), Lsn::new(4));
}
