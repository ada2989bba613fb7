//! The shard log alone, without a daemon around it.

pub(crate) mod acks;
pub(crate) mod backlog;
mod plain;
pub(crate) mod reading;
mod sparse;
pub(crate) mod streams;
pub(crate) mod throughput;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use hydrant_disk::RealDisk;
use hydrant_record::{NewRecord, Placement};
use hydrant_shardlog::{LogOptions, ShardLog};

const RECORD_BYTES: usize = 500;
const BATCH: usize = 500;
const BATCH_BYTES: u64 = (RECORD_BYTES * BATCH) as u64;
/// A log that was just made has small segments; after so many bytes it has those of a busy one.
const WARM_UP_BYTES: u64 = 300 << 20;

/// Bytes that no compressor could make smaller, the same in every run.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).flatten().take(bytes).collect()
}

/// Records as a front door has them: slices of one buffer.
fn batch(count: usize, record_bytes: usize) -> Vec<NewRecord> {
    let whole = Bytes::from(noise(count * record_bytes));
    (0..count).map(|index| record(whole.slice(index * record_bytes..(index + 1) * record_bytes))).collect()
}

fn record(data: Bytes) -> NewRecord {
    NewRecord { placement: Placement::Any, partition_key: None, data }
}

fn open(dir: &Path, options: LogOptions) -> Result<ShardLog> {
    fs::create_dir_all(dir)?;
    Ok(ShardLog::open(Arc::new(RealDisk::new()), dir, options)?.0)
}

/// Stores `bytes` in large groups.
fn fill(log: &ShardLog, bytes: u64) -> Result<()> {
    let records = batch(BATCH * 8, RECORD_BYTES);
    for _ in 0..bytes.div_ceil(BATCH_BYTES * 8) {
        log.append(records.clone())?;
    }
    Ok(())
}

/// Does `work` while the log is trimmed from behind, as by a delivery that keeps up.
fn while_trimmed<T>(log: &ShardLog, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let trimmer = scope.spawn(|| -> Result<()> {
            while !stop.load(Ordering::Relaxed) {
                if let Some(last) = log.last() {
                    log.trim(last)?;
                }
                thread::park_timeout(Duration::from_millis(100));
            }
            Ok(())
        });
        let done = work();
        stop.store(true, Ordering::Relaxed);
        trimmer.thread().unpark();
        trimmer.join().map_err(|_| anyhow::anyhow!("the trimmer panicked"))??;
        done
    })
}
