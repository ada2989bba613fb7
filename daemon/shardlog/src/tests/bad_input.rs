//! Files, directories, clocks and records that are not as they should be: each with the verdict that it gets.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::layout::{BODY_BYTES_MAX, SegmentHeader, crc};

mod denied;

/// Three segments of two records each, not closed.
fn history() -> (tempfile::TempDir, Vec<PathBuf>) {
    let dir = scratch();
    let (log, _) = open(dir.path());
    for number in 0..3 {
        log.roll().unwrap();
        log.append(some(number * 2..number * 2 + 2)).unwrap();
    }
    drop(log);
    let paths = segments(dir.path());
    assert_eq!(paths.len(), 3);
    (dir, paths)
}

/// What opening says, in a word, with the LSNs that are lost; accepting loss or not.
fn verdict(dir: &Path, accept_loss: bool) -> String {
    match ShardLog::open(Arc::new(RealDisk::new()), dir, LogOptions { accept_loss, ..options() }) {
        Ok((_, recovery)) => format!("open to {}", recovery.last.map_or(0, Lsn::get)),
        Err(OpenError::Corrupt { first_lost, last_lost, .. }) => format!("corrupt {first_lost} to {last_lost}"),
        Err(OpenError::Unsupported { reason, .. }) => format!("unsupported: {reason}"),
        Err(OpenError::Io { source, .. }) => format!("i/o: {:?}", source.kind()),
    }
}

fn patch(path: &Path, at: usize, bytes: &[u8]) {
    let mut content = fs::read(path).unwrap();
    content[at..at + bytes.len()].copy_from_slice(bytes);
    fs::write(path, content).unwrap();
}

/// Where the first frame of records begins.
fn first_records(content: &[u8]) -> usize {
    (4096..content.len()).step_by(64).find(|at| content[*at..].starts_with(b"HFRM") && content[at + 60] == 1).unwrap()
}

#[test]
fn each_bad_file_has_its_verdict() {
    type Damage = fn(&[PathBuf]);
    let cases: [(&str, Damage, &str); 10] = [
        ("the first file is empty", |paths| fs::write(&paths[0], "").unwrap(), "corrupt 1 to 2"),
        ("the last file is empty", |paths| fs::write(&paths[2], "").unwrap(), "corrupt 5 to 5"),
        ("a header is cut short", |paths| cut(&paths[1], 4095), "corrupt 3 to 4"),
        ("only the header is left", |paths| cut(&paths[1], 4096), "corrupt 3 to 4"),
        ("the last has only its header", |paths| cut(&paths[2], 4096), "corrupt 5 to 5"),
        ("a file of zeros", |paths| fs::write(&paths[1], vec![0; 256 << 10]).unwrap(), "corrupt 3 to 4"),
        ("the frames are zeros", |paths| patch(&paths[0], 4096, &[0; 512]), "corrupt 1 to 2"),
        ("text", |paths| fs::write(&paths[0], "once upon a time ".repeat(1000)).unwrap(), "corrupt 1 to 2"),
        ("another segment's file", |paths| fs::copy(&paths[0], &paths[1]).map(|_| ()).unwrap(), "corrupt 3 to 4"),
        ("a missing one", |paths| fs::remove_file(&paths[1]).unwrap(), "corrupt 3 to 4"),
    ];
    for (what, damage, expected) in cases {
        let (dir, paths) = history();
        damage(&paths);
        let before: Vec<_> = segments(dir.path()).iter().map(|path| fs::read(path).unwrap()).collect();
        for _ in 0..2 {
            assert_eq!(verdict(dir.path(), false), expected, "{what}");
        }
        let after: Vec<_> = segments(dir.path()).iter().map(|path| fs::read(path).unwrap()).collect();
        assert!(before == after, "{what}: a log that does not open is left as it is");
        assert!(verdict(dir.path(), true).starts_with("open to "), "{what}");
    }
}

fn cut(path: &Path, len: u64) {
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(len).unwrap();
}

#[test]
fn what_is_not_ours_is_refused_and_never_given_up() {
    type Change = fn(&Path, &[PathBuf]);
    let foreign = "unsupported: not a file of a log";
    let cases: [(&str, Change, &str); 9] = [
        ("fewer digits", |dir, paths| fs::rename(&paths[1], dir.join("2.seg")).unwrap(), foreign),
        ("more digits", |dir, _| fs::write(dir.join("000000000000000000004.seg"), "").unwrap(), foreign),
        ("too large a number", |dir, _| fs::write(dir.join("00000000004294967296.seg"), "").unwrap(), foreign),
        (
            "the last number, let go",
            |dir, _| fs::write(dir.join("00000000004294967295.seg.free"), "").unwrap(),
            foreign,
        ),
        ("number zero", |dir, _| fs::write(dir.join("00000000000000000000.seg"), "").unwrap(), foreign),
        ("other digits", |dir, _| fs::write(dir.join("0000000000000000000٤.seg"), "").unwrap(), foreign),
        ("a sign", |dir, _| fs::write(dir.join("+0000000000000000004.seg"), "").unwrap(), foreign),
        ("a directory in it", |dir, _| fs::create_dir(dir.join("backup")).unwrap(), foreign),
        (
            "a segment of another log",
            |dir, _| {
                let (_other, paths) = history();
                fs::copy(&paths[2], dir.join("00000000000000000003.seg")).unwrap();
            },
            "unsupported: a segment of log ",
        ),
    ];
    for (what, change, expected) in cases {
        let (dir, paths) = history();
        change(dir.path(), &paths);
        for accept_loss in [false, true] {
            let found = verdict(dir.path(), accept_loss);
            assert!(found.starts_with(expected), "{what}, accepting loss {accept_loss}: {found}");
        }
    }
}

#[test]
fn what_a_newer_version_wrote_is_refused_and_never_given_up() {
    let newer = |what: &str| format!("unsupported: written by a newer version ({what}); open it with that version");
    for at in 0..3 {
        let (dir, paths) = history();
        let mut header = fs::read(&paths[at]).unwrap()[..4096].to_vec();
        let salt = SegmentHeader::decode(&header).unwrap().salt;
        header[8] = 2;
        let sum = crc(salt, &header[..4092]);
        header[4092..].copy_from_slice(&sum.to_le_bytes());
        patch(&paths[at], 0, &header);
        for accept_loss in [false, true] {
            assert_eq!(verdict(dir.path(), accept_loss), newer("format version"), "segment {at}");
        }
    }
    for (field, what) in [(60, "frame kind"), (61, "compression"), (62, "frame flag")] {
        for at in [0, 2] {
            let (dir, paths) = history();
            let content = fs::read(&paths[at]).unwrap();
            let salt = SegmentHeader::decode(&content[..4096]).unwrap().salt;
            let frame = first_records(&content);
            let mut header = content[frame..frame + 64].to_vec();
            header[field] = 9;
            let sum = crc(salt, &header[8..]);
            header[4..8].copy_from_slice(&sum.to_le_bytes());
            patch(&paths[at], frame, &header);
            for accept_loss in [false, true] {
                assert_eq!(verdict(dir.path(), accept_loss), newer(what), "segment {at}");
            }
        }
    }
}

#[test]
fn a_header_that_contradicts_itself_is_damage_and_no_panic() {
    type Twist = fn(&mut SegmentHeader);
    let twists: [Twist; 6] = [
        |header| header.kept.1 = 900,
        |header| header.kept.0 = lsn(900),
        |header| header.previous = header.number,
        |header| header.base = lsn(u64::MAX),
        |header| header.previous_end = u64::MAX,
        |header| header.previous_end = 7 << 32,
    ];
    for (number, twist) in twists.iter().enumerate() {
        let (dir, paths) = history();
        let mut header = SegmentHeader::decode(&fs::read(&paths[2]).unwrap()[..4096]).unwrap();
        twist(&mut header);
        patch(&paths[2], 0, &header.encode());
        assert!(verdict(dir.path(), false).starts_with("corrupt "), "twist {number}");
        // Nor is what it says written out by a repair.
        assert!(verdict(dir.path(), true).starts_with("open to "), "twist {number}");
        let sizes = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
        assert!(sizes.max() < Some(16 << 20), "twist {number}");
    }
}

#[test]
fn a_file_in_the_place_of_the_directory_and_none_at_all_are_io_errors() {
    let dir = scratch();
    let file = dir.path().join("log");
    fs::write(&file, "not a directory").unwrap();
    assert_eq!(verdict(&file, false), "i/o: NotADirectory");
    assert_eq!(verdict(&file, true), "i/o: NotADirectory");
    assert_eq!(verdict(&dir.path().join("nowhere"), false), "i/o: NotFound");
    assert_eq!(fs::read(&file).unwrap(), b"not a directory");
    let (dir, paths) = history();
    fs::remove_file(&paths[1]).unwrap();
    fs::create_dir(&paths[1]).unwrap();
    assert_eq!(verdict(dir.path(), false), "i/o: IsADirectory");
}

/// Shows what it is told to.
#[derive(Debug, Default)]
struct Hands(AtomicU64);

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

#[test]
fn a_clock_that_jumps_changes_arrivals_and_never_the_order() {
    const HOUR: u64 = 3_600_000;
    const NOON: u64 = 1_700_000_000_000;
    let times = [NOON, NOON - HOUR, NOON + 8766 * HOUR, NOON + 1, 0, NOON + 2];
    let dir = scratch();
    let clock = Arc::new(Hands::default());
    let options = LogOptions { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..options() };
    let (log, _) = ShardLog::open(Arc::new(RealDisk::new()), dir.path(), options).unwrap();
    for (number, time) in times.into_iter().enumerate() {
        clock.0.store(time, Ordering::SeqCst);
        if number == 3 {
            log.roll().unwrap();
        }
        let appended = log.append(some(number..number + 1)).unwrap();
        assert_eq!((appended.first.get(), appended.arrived_at.as_millis()), (number as u64 + 1, time));
    }
    log.close().unwrap();
    for log in [log, open(dir.path()).0] {
        let found = read_all(&log, None);
        assert_eq!(found.iter().map(|record| record.arrived_at.as_millis()).collect::<Vec<_>>(), times);
        assert_eq!(payloads(&found), some(0..6));
        for at in times.into_iter().flat_map(|time| [time.saturating_sub(1), time, time + 1]) {
            // Of all records that arrived then or later, the first in the log.
            let first = times.iter().position(|time| *time >= at).unwrap_or(times.len());
            let cursor = log.seek_time(Timestamp::from_millis(at)).unwrap();
            assert_eq!(cursor.map_or(0, Lsn::get), first as u64, "from {at} on");
        }
    }
}

#[test]
fn records_from_nothing_to_the_limit_come_back_whole() {
    let sized = |len: usize| NewRecord {
        placement: Placement::Any,
        partition_key: None,
        data: (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect(),
    };
    // What a frame holds beside its one record: seven bytes. AWS allows 1,000 KiB, and 10 MiB.
    let limit = BODY_BYTES_MAX - 7;
    let key = Bytes::from("🦀".repeat(256));
    let keyed = NewRecord { partition_key: Some(key), ..sized(5) };
    let longest_key = NewRecord { partition_key: Some(Bytes::from(vec![b'k'; 65_535])), ..sized(0) };
    let given = vec![sized(0), keyed, longest_key, sized(1000 << 10), sized(10 << 20), sized(limit), sized(0)];
    for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
        let dir = scratch();
        let options = || LogOptions { compression, ..options() };
        let (log, _) = ShardLog::open(Arc::new(RealDisk::new()), dir.path(), options()).unwrap();
        log.append(given.clone()).unwrap();
        assert!(payloads(&read_all(&log, None)) == given, "{compression:?}");
        log.close().unwrap();
        let (log, recovery) = ShardLog::open(Arc::new(RealDisk::new()), dir.path(), options()).unwrap();
        assert!(recovery.clean && payloads(&read_all(&log, None)) == given, "{compression:?}, again");
        let mut over = sized(limit + 1);
        let submitted = |record: NewRecord| {
            let log = log.clone();
            std::thread::spawn(move || log.append(vec![record]).is_ok()).join().is_ok()
        };
        assert!(!submitted(over.clone()), "one byte more is a mistake of the caller");
        over.data = Bytes::new();
        over.partition_key = Some(Bytes::from(vec![b'k'; 65_536]));
        assert!(!submitted(over));
        assert_eq!(log.append(some(0..1)).unwrap().first, lsn(8), "and leaves the log as it was");
    }
}

#[test]
fn a_name_that_means_nothing_to_the_log_changes_nothing() {
    let (dir, paths) = history();
    fs::write(dir.path().join("NAME"), "clicks\n").unwrap();
    fs::write(dir.path().join("00000000000000000002.seg.damaged"), "").unwrap();
    fs::write(dir.path().join("whatever.seg.tmp"), "left by a crash").unwrap();
    let before: BTreeMap<_, _> = paths.iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    assert_eq!(verdict(dir.path(), false), "open to 6");
    assert!(!dir.path().join("whatever.seg.tmp").exists());
    assert!(before.iter().all(|(path, bytes)| &fs::read(path).unwrap() == bytes));
}
