//! Directories that were written once and must be read by every later version: see `golden/README.md`.
//!
//! Invariant: what stands under `golden/` is never written again. `HYDRANT_WRITE_GOLDEN=1` adds directories that are
//! missing; it changes none.

#![allow(clippy::unwrap_used, reason = "all of it is test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use hydrant_disk::{Disk, RealDisk, SimDisk, read_exact_at};
use hydrant_record::{HashKey, Lsn, NewRecord, Placement, Record, Timestamp};
use hydrant_shardlog::{Clock, Committers, Compression, LogOptions, ReadError, Recovery, Reshard, ShardLog};
use serde_json::{Value, json};

const DIR: &str = "/log";
const EXPECTED: &str = "expected.json";

/// Its name, whether its bytes are only ours, and its life. How records are packed is the business of the compressors,
/// whose next version may do better.
type History = (&'static str, bool, fn(&Life));

/// What the writer of today makes, each from its own seed.
const HISTORIES: [History; 8] = [
    ("keys", true, keys),
    ("lz4", false, |life| packed(life, Compression::Lz4)),
    ("zstd", false, |life| packed(life, Compression::Zstd)),
    ("resharded", true, resharded),
    ("trimmed", true, trimmed),
    ("lost", true, lost),
    ("torn", true, torn),
    ("recycled", true, recycled),
];

#[test]
fn every_golden_directory_reads_as_it_was_written() {
    let mut seen = 0;
    for version in fs::read_dir(golden()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        for dir in fs::read_dir(&version).unwrap().map(|entry| entry.unwrap().path()) {
            let copy = tempfile::tempdir().unwrap();
            let files = files_of(&dir);
            files.iter().for_each(|(name, bytes)| fs::write(copy.path().join(name), bytes).unwrap());
            let expected: Value = serde_json::from_slice(&fs::read(dir.join(EXPECTED)).unwrap()).unwrap();
            let found = survey(Arc::new(RealDisk::new()), copy.path());
            assert_eq!(found, expected, "{}", dir.display());
            seen += 1;
        }
    }
    assert!(seen >= HISTORIES.len(), "{seen} directories");
}

#[test]
fn the_writer_of_today_makes_the_newest_golden_directories() {
    for (seed, (name, ours, live)) in (1..).zip(HISTORIES) {
        let life = Life::new(seed);
        live(&life);
        let expected = survey(Arc::new(life.disk.crash()), Path::new(DIR));
        life.agrees_with(&expected);
        let dir = golden().join("v1").join(name);
        if !dir.exists() && std::env::var_os("HYDRANT_WRITE_GOLDEN").is_some() {
            fs::create_dir_all(&dir).unwrap();
            life.files().iter().for_each(|(name, bytes)| fs::write(dir.join(name), bytes).unwrap());
            fs::write(dir.join(EXPECTED), serde_json::to_vec_pretty(&expected).unwrap()).unwrap();
        }
        let stored: Value = serde_json::from_slice(&fs::read(dir.join(EXPECTED)).unwrap()).unwrap();
        assert_eq!(expected, stored, "{name}");
        let (made, stored) = (life.files(), files_of(&dir));
        assert!(made.keys().eq(stored.keys()), "{name}: {:?} and {:?}", made.keys(), stored.keys());
        for (file, bytes) in made.iter().filter(|_| ours) {
            let differs = bytes.iter().zip(&stored[file]).position(|(made, stored)| made != stored);
            assert!(bytes == &stored[file], "{name}/{file} differs from byte {differs:?} on: see golden/README.md");
        }
    }
}

fn keys(life: &Life) {
    let log = life.open(life.options());
    life.append(&log, 0..5);
    life.append(&log, 5..6);
    life.append(&log, 6..12);
    log.close().unwrap();
}

fn packed(life: &Life, compression: Compression) {
    let log = life.open(LogOptions { compression, shards: 2, ..life.options() });
    life.append(&log, 0..40);
    life.append(&log, 40..41);
    log.roll().unwrap();
    life.append(&log, 41..60);
    log.close().unwrap();
}

fn resharded(life: &Life) {
    let log = life.open(LogOptions { shards: 3, ..life.options() });
    life.append(&log, 0..9);
    let halves = Reshard::Split { shard: log.shards().route(HashKey(1 << 100)), new_start: HashKey(1 << 120) };
    log.reshard(halves).unwrap();
    life.append(&log, 9..15);
    log.roll().unwrap();
    life.append(&log, 15..18);
    let open: Vec<_> = log.shards().open().map(|shard| shard.ix).collect();
    log.reshard(Reshard::Merge { shard: open[2], adjacent: open[3] }).unwrap();
    life.append(&log, 18..27);
    log.close().unwrap();
}

fn trimmed(life: &Life) {
    let log = life.open(life.options());
    for part in 0..3 {
        life.append(&log, part * 4..part * 4 + 4);
        log.roll().unwrap();
    }
    life.append(&log, 12..14);
    log.trim(Lsn::new(9).unwrap()).unwrap();
    log.close().unwrap();
}

fn lost(life: &Life) {
    let log = life.open(life.options());
    (0..4).for_each(|part| life.append(&log, part * 3..part * 3 + 3));
    log.close().unwrap();
    drop(log);
    let path = life.paths()[0].clone();
    let bytes = content(&life.disk, &path);
    let third = (4096..bytes.len()).step_by(64).filter(|at| bytes[*at..].starts_with(b"HFRM")).nth(3).unwrap();
    life.disk.open_write(&path).unwrap().write_at(&[0; 8], third as u64).unwrap();
    let log = life.open(LogOptions { accept_loss: true, ..life.options() });
    life.append(&log, 12..14);
    log.close().unwrap();
}

fn torn(life: &Life) {
    let log = life.open(life.options());
    life.append(&log, 0..4);
    life.append(&log, 4..6);
    life.append(&log, 6..9);
    drop(log);
    // Power was lost while the last group was written, and so was the ack; the zeros behind it are cut to keep this small.
    let path = life.paths()[0].clone();
    let end = content(&life.disk, &path).iter().rposition(|byte| *byte != 0).unwrap();
    life.disk.open_write(&path).unwrap().set_len(end as u64 - 30).unwrap();
}

/// The last segment stands in the blocks of the first one, and is not full: behind it are bytes of that life.
fn recycled(life: &Life) {
    let options = LogOptions { segment_bytes_min: 12 << 10, segment_bytes_max: 12 << 10, ..life.options() };
    let log = life.open(options);
    life.append(&log, 0..110);
    log.roll().unwrap();
    life.append(&log, 110..113);
    log.trim(Lsn::new(110).unwrap()).unwrap();
    log.roll().unwrap();
    life.append(&log, 113..117);
    let newest = content(&life.disk, &life.paths()[1]);
    assert!(newest[10] == 1 && newest.len() == 12 << 10 && newest[8000..9000].iter().any(|byte| *byte != 0));
}

/// A log on a simulated disk: the same calls give the same bytes.
struct Life {
    disk: SimDisk,
    clock: Arc<Ticking>,
}

impl Life {
    fn new(seed: u64) -> Life {
        let disk = SimDisk::new(seed);
        disk.create_dir(Path::new(DIR)).unwrap();
        Life { disk, clock: Arc::new(Ticking(AtomicU64::new(1_700_000_000_000))) }
    }

    fn options(&self) -> LogOptions {
        let clock = Arc::clone(&self.clock);
        LogOptions { segment_bytes_min: 16 << 10, clock, committers: Committers::inline(), ..LogOptions::new() }
    }

    fn open(&self, options: LogOptions) -> ShardLog {
        ShardLog::open(Arc::new(self.disk.clone()), Path::new(DIR), options).unwrap().0
    }

    /// One group; each record tells its number.
    fn append(&self, log: &ShardLog, numbers: std::ops::Range<u64>) {
        log.append(numbers.map(record).collect()).unwrap();
    }

    fn paths(&self) -> Vec<PathBuf> {
        self.disk.list(Path::new(DIR)).unwrap().into_iter().map(|name| Path::new(DIR).join(name)).collect()
    }

    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.paths().iter().map(|path| (name_of(path), content(&self.disk, path))).collect()
    }

    /// What is there was written, each number once.
    fn agrees_with(&self, expected: &Value) {
        let records = expected["records"].as_array().unwrap();
        let mut numbers = Vec::new();
        for found in records {
            let number = found["data"].as_str().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
            let written = record(number);
            assert_eq!(found["data"].as_str().unwrap().as_bytes(), written.data);
            assert_eq!(found["key"].as_str().map(str::as_bytes), written.partition_key.as_deref());
            numbers.push(number);
        }
        numbers.sort_unstable();
        numbers.dedup();
        assert!(!records.is_empty() && numbers.len() == records.len());
    }
}

fn record(number: u64) -> NewRecord {
    let key = format!("käy {}", number % 7);
    let data = format!("record {number} {}", "and its words ".repeat(usize::try_from(number % 6).unwrap()));
    NewRecord {
        placement: Placement::Hash(HashKey::of_partition_key(key.as_bytes())),
        partition_key: (number % 5 != 3).then(|| Bytes::from(key)),
        data: Bytes::from(data),
    }
}

/// A second passes between any two looks.
#[derive(Debug)]
struct Ticking(AtomicU64);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.fetch_add(1000, Ordering::SeqCst))
    }
}

/// All that an opening tells about a log, and all that can be read of it.
fn survey(disk: Arc<dyn Disk>, dir: &Path) -> Value {
    let (log, recovery) = ShardLog::open(disk, dir, LogOptions::new()).unwrap();
    let Recovery { log_id, clean, torn_bytes, first, last, .. } = recovery;
    let number = |lsn: Option<Lsn>| lsn.map(Lsn::get);
    let (mut records, mut lost) = (Vec::new(), Vec::new());
    let mut tail = log.tail(log.first().map_or(log.last(), Lsn::previous));
    loop {
        match tail.next(usize::MAX) {
            Ok(Some(batch)) => records.extend(batch.into_records()),
            Ok(None) => break,
            Err(ReadError::Lost { first, last }) => {
                lost.push([first.get(), last.get()]);
                tail.skip_lost();
            }
            Err(error) => panic!("{error}"),
        }
    }
    json!({
        "log_id": log_id.to_string(),
        "clean": clean,
        "torn_bytes": torn_bytes,
        "first": number(first),
        "last": number(last),
        "lost": lost,
        "shards": shards(&log),
        "records": records.iter().map(told).collect::<Vec<_>>(),
    })
}

fn told(record: &Record) -> Value {
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    json!({
        "lsn": record.lsn.get(),
        "epoch": format!("{:016x}", record.epoch.0),
        "shard": record.shard.0,
        "arrived": record.arrived_at.as_millis(),
        "key": record.partition_key.as_ref().map(text),
        "data": text(&record.data),
    })
}

fn shards(log: &ShardLog) -> Vec<Value> {
    let told = |shard: &hydrant_shardlog::Shard| {
        json!({
            "shard": shard.ix.0,
            "parent": shard.parent.map(|ix| ix.0),
            "adjacent_parent": shard.adjacent_parent.map(|ix| ix.0),
            "range": [shard.range.start.to_string(), shard.range.end.to_string()],
            "created": shard.created_at.as_millis(),
            "first": shard.first.get(),
            "closed": shard.closed.map(|closed| [closed.at.as_millis(), closed.before.get()]),
        })
    };
    log.shards().shards().iter().map(told).collect()
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The files of a stored directory, without what is expected of them.
fn files_of(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (name_of(&path), fs::read(&path).unwrap())).filter(|(name, _)| name != EXPECTED).collect()
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

fn content(disk: &SimDisk, path: &Path) -> Vec<u8> {
    let file = disk.open(path).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    read_exact_at(&*file, &mut bytes, 0).unwrap();
    bytes
}
