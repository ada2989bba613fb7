//! The log as its users see it: a directory, acks, and what is read back.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use hydrant_disk::{Disk, RealDisk};
use hydrant_record::{Lsn, NewRecord, Placement, Record};

use super::*;

mod bad_input;
mod crash;
mod faults;
#[cfg(feature = "shuttle")]
mod interleavings;
mod loss;
mod model;
mod reading;
mod retention;
mod sim;
mod use_cases;

/// In memory where the machine has such a place: these tests crash by leaving, not by power loss.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn options() -> LogOptions {
    LogOptions { segment_bytes_max: 1 << 20, ..LogOptions::new() }
}

fn open(dir: &Path) -> (ShardLog, Recovery) {
    open_on(Arc::new(RealDisk::new()), dir).unwrap()
}

fn open_on(disk: Arc<dyn Disk>, dir: &Path) -> Result<(ShardLog, Recovery), OpenError> {
    ShardLog::open(disk, dir, options())
}

/// A record whose data tells its number, filled up to a length.
fn numbered(number: usize, len: usize) -> NewRecord {
    let mut data = format!("record {number} ").into_bytes();
    data.resize(data.len().max(len), b'.');
    let key = (!number.is_multiple_of(3)).then(|| Bytes::from(format!("key {number}")));
    NewRecord { placement: Placement::Any, partition_key: key, data: Bytes::from(data) }
}

fn some(numbers: std::ops::Range<usize>) -> Vec<NewRecord> {
    numbers.map(|number| numbered(number, 20)).collect()
}

fn read_all(log: &ShardLog, after: Option<Lsn>) -> Vec<Record> {
    let mut tail = log.tail(after);
    let mut all = Vec::new();
    while let Some(batch) = tail.next(1000).unwrap() {
        all.extend(batch.into_records());
    }
    all
}

fn payloads(records: &[Record]) -> Vec<NewRecord> {
    let plain = |record: &Record| NewRecord {
        placement: Placement::Any,
        partition_key: record.partition_key.clone(),
        data: record.data.clone(),
    };
    records.iter().map(plain).collect()
}

fn lsn(value: u64) -> Lsn {
    Lsn::new(value).unwrap()
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    found.sort();
    found
}

fn copy_of(dir: &Path) -> tempfile::TempDir {
    let copy = scratch();
    for path in segments(dir) {
        std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    copy
}
