//! Opening must not take longer, or more memory, the more is stored.
//!
//! The bodies of the old frames are holes ([`super::sparse`]), so that 100 GB fit on the disk of a laptop; all segments,
//! headers and footers are there, and the latest segments, which opening reads whole, are real.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use hydrant_disk::RealDisk;
use hydrant_shardlog::{LogOptions, ShardLog};

use super::sparse::SparseDisk;
use super::{fill, noise, record};
use crate::meter::{self, heading, kib, median, millis, row};

const BACKLOG_BYTES: u64 = 100_000_000_000;
/// More than opening reads whole.
const REAL_BYTES: u64 = 640 << 20;
const RECORD_BYTES: usize = 4 << 20;
const ROUNDS: usize = 5;
/// Names the directory for the process that only opens.
const OPENS: &str = "HYDRANT_BENCH_OPENS";

pub(crate) fn run() -> Result<()> {
    if let Some(dir) = env::var_os(OPENS) {
        return open(Path::new(&dir));
    }
    let scratch = meter::scratch()?;
    heading("opening a log after a clean close");
    for (name, holes, real) in [
        ("empty", 0, 0),
        ("0.7 GB", 0, REAL_BYTES),
        ("10 GB", BACKLOG_BYTES / 10, REAL_BYTES),
        ("100 GB", BACKLOG_BYTES, REAL_BYTES),
    ] {
        let dir = scratch.path().join("log");
        make(&dir, holes, real)?;
        let opened: Vec<[f64; 3]> = (0..ROUNDS).map(|_| open_elsewhere(&dir)).collect::<Result<_>>()?;
        let [wall, cpu, memory] = [0, 1, 2].map(|index| median(opened.iter().map(|figures| figures[index])));
        let files = fs::read_dir(&dir)?.count();
        row(&format!("{name}, {files} files: time"), &format!("{wall:.1} ms"), "");
        row("  CPU", &format!("{cpu:.1} ms"), "");
        row("  memory", &format!("{:.2} MiB", memory), "");
        fs::remove_dir_all(&dir)?;
    }
    Ok(())
}

fn make(dir: &Path, holes: u64, real: u64) -> Result<()> {
    fs::create_dir_all(dir)?;
    let disk = SparseDisk::new();
    if holes == 0 {
        disk.store_all();
    }
    let (log, _) = ShardLog::open(Arc::new(disk.clone()), dir, LogOptions::new())?;
    let data = Bytes::from(noise(RECORD_BYTES));
    for _ in 0..holes / RECORD_BYTES as u64 {
        log.append(vec![record(data.clone())])?;
    }
    disk.store_all();
    log.roll()?;
    fill(&log, real)?;
    Ok(log.close()?)
}

/// In a process of its own: wall and CPU milliseconds, and MiB of memory at most.
fn open_elsewhere(dir: &Path) -> Result<[f64; 3]> {
    let output = Command::new(env::current_exe()?).arg("backlog").env(OPENS, dir).output()?;
    if !output.status.success() {
        bail!("opening {} failed: {}", dir.display(), String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8(output.stdout)?;
    let figures: Vec<f64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    figures.try_into().ok().context("three figures")
}

fn open(dir: &Path) -> Result<()> {
    let before = meter::memory("VmRSS")?;
    let (began, cpu) = (Instant::now(), meter::process_cpu());
    let (log, _) = ShardLog::open(Arc::new(RealDisk::new()), dir, LogOptions::new())?;
    let (wall, cpu) = (millis(began.elapsed()), millis(meter::process_cpu() - cpu));
    let memory = kib(meter::memory("VmHWM")?.saturating_sub(before)) / 1024.0;
    println!("{wall} {cpu} {memory}");
    Ok(log.close()?)
}
