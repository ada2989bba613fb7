//! Reading back: what a core can check and hand out, and what a reader far behind does to memory and to the writers.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use hydrant_shardlog::{LogOptions, ShardLog};
use rustix::fs::{Advice, fadvise};

use super::acks::Pace;
use super::fill;
use crate::meter::{self, heading, kib, median, percentile, row};

const STORED_BYTES: u64 = 2 << 30;
const CACHED_BYTES: u64 = 1 << 30;
const BATCH_BYTES: usize = 4 << 20;
const ROUNDS: usize = 5;
const READERS: [usize; 3] = [1, 2, 4];
const PHASES: usize = 5;
const PHASE: Duration = Duration::from_secs(8);

pub(crate) fn run() -> Result<()> {
    let scratch = meter::scratch()?;
    from_cache(&scratch.path().join("cached"))?;
    behind(&scratch.path().join("behind"))
}

fn from_cache(dir: &Path) -> Result<()> {
    let log = super::open(dir, LogOptions::new())?;
    fill(&log, CACHED_BYTES)?;
    heading("reading from the page cache, CRCs checked, 500 B records; CPU time of one core");
    plain(dir)?;
    let copies: Vec<f64> = (0..ROUNDS).map(|_| plain(dir)).collect::<Result<_>>()?;
    row("plain reads of the same files", &speed(median(copies)), "");
    for readers in READERS {
        let mut speeds = Vec::new();
        for _ in 0..ROUNDS {
            let before = meter::process_cpu();
            let bytes = thread::scope(|scope| -> Result<u64> {
                let tails: Vec<_> = (0..readers).map(|_| scope.spawn(|| read_all(&log))).collect();
                tails.into_iter().map(|tail| tail.join().map_err(|_| anyhow::anyhow!("a reader panicked"))?).sum()
            })?;
            speeds.push(per_second(bytes, meter::process_cpu() - before));
        }
        row(&format!("{readers} tails at once"), &speed(median(speeds)), ">= 1 GB/s");
    }
    log.close()?;
    Ok(fs::remove_dir_all(dir)?)
}

/// Data bytes of all records.
fn read_all(log: &ShardLog) -> Result<u64> {
    let mut tail = log.tail(None);
    let mut bytes = 0;
    while let Some(batch) = tail.next(BATCH_BYTES)? {
        bytes += batch.data_bytes() as u64;
    }
    Ok(bytes)
}

/// Bytes a second of CPU time.
fn plain(dir: &Path) -> Result<f64> {
    let before = meter::process_cpu();
    let (mut bytes, mut buffer) = (0, vec![0; 1 << 20]);
    for path in segments(dir)? {
        let mut file = File::open(path)?;
        while let count @ 1.. = file.read(&mut buffer)? {
            bytes += count as u64;
        }
    }
    Ok(per_second(bytes, meter::process_cpu() - before))
}

fn segments(dir: &Path) -> Result<Vec<std::path::PathBuf>> {
    fs::read_dir(dir)?.map(|entry| Ok(entry.context("a directory entry")?.path())).collect()
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn per_second(bytes: u64, time: Duration) -> f64 {
    bytes as f64 / time.as_secs_f64()
}

fn speed(bytes_per_second: f64) -> String {
    format!("{:.2} GB/s", bytes_per_second / 1e9)
}

fn behind(dir: &Path) -> Result<()> {
    let log = super::open(dir, LogOptions::new())?;
    fill(&log, STORED_BYTES)?;
    let plain = dir.with_file_name("plain");
    let (mut alone, mut beside) = (Pace::new(&plain)?, Pace::new(&plain)?);
    let (mut grown, mut read) = (Vec::new(), Vec::new());
    for _ in 0..PHASES {
        alone.keep(&log, PHASE)?;
        forget(dir)?;
        let before = meter::memory("VmRSS")?;
        meter::forget_memory_peak()?;
        read.push(meter::mega(while_read(&log, || beside.keep(&log, PHASE))?) / PHASE.as_secs_f64());
        grown.push(kib(meter::memory("VmHWM")?.saturating_sub(before)) / 1024.0);
    }
    heading("a reader 2 GiB behind, page cache dropped, beside 40 batches/s; in turns with none");
    row("memory that the reader takes (peak)", &format!("{:.1} MiB", median(grown)), "bounded");
    row("it reads", &format!("{:.0} MB/s", median(read)), "");
    for percent in [50, 99] {
        let [log_alone, log_beside, plain_alone, plain_beside] =
            [&mut alone.log, &mut beside.log, &mut alone.plain, &mut beside.plain]
                .map(|waits| percentile(waits, percent));
        row(&format!("ack p{percent} without it"), &format!("{log_alone:.2} ms"), "");
        row(&format!("ack p{percent} with it"), &format!("{log_beside:.2} ms"), "");
        row(&format!("ack p{percent}: with to without"), &format!("{:.2} x", log_beside / log_alone), "");
        row(
            &format!("plain fdatasync p{percent}: with to without"),
            &format!("{:.2} x", plain_beside / plain_alone),
            "",
        );
        let (with, without) = (log_beside / plain_beside, log_alone / plain_alone);
        row(&format!("ack to plain fdatasync p{percent}: with, without"), &format!("{with:.2} x {without:.2} x"), "");
    }
    Ok(())
}

/// Reads the log from its beginning, over and over, while `work` goes on; the bytes that were read.
fn while_read(log: &ShardLog, work: impl FnOnce() -> Result<()>) -> Result<u64> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| -> Result<u64> {
            let mut bytes = 0;
            let mut tail = log.tail(None);
            while !stop.load(Ordering::Relaxed) {
                match tail.next(BATCH_BYTES)? {
                    Some(batch) => bytes += batch.data_bytes() as u64,
                    None => tail = log.tail(None),
                }
            }
            Ok(bytes)
        });
        let done = work();
        stop.store(true, Ordering::Relaxed);
        let bytes = reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"))??;
        done.map(|()| bytes)
    })
}

/// Drops the files from the page cache, so that reading them is work for the disk.
fn forget(dir: &Path) -> Result<()> {
    segments(dir)?.iter().try_for_each(|path| Ok(fadvise(File::open(path)?, 0, None, Advice::DontNeed)?))
}
