//! A thousand streams: what an idle one holds, and what happens when all of them store one record at the same moment.

use std::fs;
use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use hydrant_shardlog::{Committers, LogOptions, ShardLog};

use super::plain::Plain;
use super::{BATCH, RECORD_BYTES, batch, noise};
use crate::meter::{self, heading, kib, median, millis, row};

const STREAMS: usize = 1000;
const THREADS: [usize; 4] = [8, 32, 64, 128];
const ROUNDS: usize = 7;
const SYNCS: usize = 60;
const OPENERS: usize = 32;

pub(crate) fn run() -> Result<()> {
    let scratch = meter::scratch()?;
    let dirs: Vec<PathBuf> = (0..STREAMS).map(|number| scratch.path().join(format!("streams/{number:04}"))).collect();
    let mut disk = OneSync::new(scratch.path())?;
    heading(&format!("{STREAMS} streams"));
    // Before the heap holds pages that an earlier step gave back to it.
    let before = meter::memory("VmRSS")?;
    let logs = open_timed("made, one after the other", &dirs, &mut disk, 1)?;
    let held =
        |logs: &[ShardLog]| Ok::<_, anyhow::Error>(meter::memory("VmRSS")?.saturating_sub(before) / logs.len() as u64);
    row("memory of an idle stream", &format!("{:.1} KiB", kib(held(&logs)?)), "<= 32 KiB");
    for log in &logs {
        log.append(batch(BATCH, RECORD_BYTES))?;
    }
    row("memory of a stream that is idle again after 250 kB", &format!("{:.1} KiB", kib(held(&logs)?)), "<= 32 KiB");
    close(&logs)?;
    drop(logs);
    close(&open_timed("opened after a clean close, one after the other", &dirs, &mut disk, 1)?)?;
    let how = format!("opened after a clean close, by {OPENERS} threads");
    let logs = open_timed(&how, &dirs, &mut disk, OPENERS)?;
    let stored = blocks_below(&scratch.path().join("streams"))? / STREAMS as u64;
    row("disk of an idle stream", &format!("{:.0} KiB", kib(stored)), "<= 1024 KiB");
    close(&logs)?;
    drop(logs);
    at_once(scratch.path(), &mut disk)
}

fn open_timed(how: &str, dirs: &[PathBuf], disk: &mut OneSync, threads: usize) -> Result<Vec<ShardLog>> {
    let sync = disk.millis()?;
    let (began, before) = (Instant::now(), meter::process_cpu());
    let committers = Committers::shared();
    let logs = thread::scope(|scope| -> Result<Vec<ShardLog>> {
        let shares = dirs.chunks(dirs.len().div_ceil(threads));
        let openers: Vec<_> = shares.map(|share| scope.spawn(|| open_all(share, &committers))).collect();
        let mut logs = Vec::new();
        for opener in openers {
            logs.extend(opener.join().map_err(|_| anyhow::anyhow!("an opener panicked"))??);
        }
        Ok(logs)
    })?;
    let (wall, cpu) = (millis(began.elapsed()), millis(meter::process_cpu() - before));
    row(how, &format!("{:.2} s", wall / 1e3), "");
    row("  that is", &format!("{:.0} syncs", wall / sync), "");
    row("  CPU of all", &format!("{cpu:.0} ms"), "");
    Ok(logs)
}

fn open_all(dirs: &[PathBuf], committers: &Committers) -> Result<Vec<ShardLog>> {
    let options = || LogOptions { committers: committers.clone(), ..LogOptions::new() };
    dirs.iter().map(|dir| super::open(dir, options())).collect()
}

fn close(logs: &[ShardLog]) -> Result<()> {
    Ok(logs.iter().try_for_each(ShardLog::close)?)
}

/// As many streams for each number of threads, which take turns.
fn at_once(dir: &Path, disk: &mut OneSync) -> Result<()> {
    let files = (0..STREAMS).map(|number| Plain::zeroed(&dir.join(format!("plain-{number:04}")), 1 << 20));
    let mut files = files.collect::<Result<Vec<_>, _>>()?;
    let mut fleets = THREADS.map(|threads| Fleet::open(dir, threads)).into_iter().collect::<Result<Vec<_>>>()?;
    for _ in 0..ROUNDS {
        for fleet in &mut fleets {
            fleet.round(&mut files, disk)?;
        }
    }
    for fleet in &fleets {
        fleet.print();
        close(&fleet.logs)?;
    }
    Ok(())
}

struct Fleet {
    threads: usize,
    logs: Vec<ShardLog>,
    rounds: Vec<Round>,
}

/// All in milliseconds.
struct Round {
    wall: f64,
    cpu: f64,
    plain: f64,
    sync: f64,
}

impl Fleet {
    fn open(dir: &Path, threads: usize) -> Result<Fleet> {
        let dirs: Vec<_> = (0..STREAMS).map(|number| dir.join(format!("fleet-{threads}/{number:04}"))).collect();
        let committers = Committers::new(NonZeroUsize::new(threads).expect("a thread at least"));
        Ok(Fleet { threads, logs: open_all(&dirs, &committers)?, rounds: Vec::new() })
    }

    fn round(&mut self, files: &mut [Plain], disk: &mut OneSync) -> Result<()> {
        let before = disk.millis()?;
        let (wall, cpu) = burst(&self.logs)?;
        let sync = f64::midpoint(before, disk.millis()?);
        let plain = millis(plain_burst(files, self.threads)?);
        self.rounds.push(Round { wall: millis(wall), cpu: millis(cpu), plain, sync });
        Ok(())
    }

    fn print(&self) {
        let of = |pick: fn(&Round) -> f64| median(self.rounds.iter().map(pick));
        let ratio = format!("{:.1} syncs", of(|round| round.wall / round.sync));
        row(&format!("a record to each at once, {} committers: until the last ack", self.threads), &ratio, "<= 40");
        row("  that is", &format!("{:.1} ms", of(|round| round.wall)), "");
        row("  one sync with nothing beside it", &format!("{:.2} ms", of(|round| round.sync)), "");
        row("  as many plain files by as many threads", &format!("{:.1} ms", of(|round| round.plain)), "");
        row("  the log to those", &format!("{:.2} x", of(|round| round.wall / round.plain)), "");
        row("  CPU", &format!("{:.0} ms", of(|round| round.cpu)), "");
    }
}

/// The threads take one file after the other, as committers take logs.
fn plain_burst(files: &mut [Plain], threads: usize) -> Result<Duration> {
    let bytes = noise(RECORD_BYTES);
    let began = Instant::now();
    let left = Mutex::new(files.iter_mut());
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
    let write = || -> Result<()> {
        while let Some(file) = next() {
            file.write_and_sync(&bytes)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let writers: Vec<_> = (0..threads).map(|_| scope.spawn(write)).collect();
        writers.into_iter().try_for_each(|writer| writer.join().map_err(|_| anyhow::anyhow!("a writer panicked"))?)
    })?;
    Ok(began.elapsed())
}

fn burst(logs: &[ShardLog]) -> Result<(Duration, Duration)> {
    let records = batch(1, RECORD_BYTES);
    let (sender, receiver) = sync_channel(logs.len());
    let (began, before) = (Instant::now(), meter::process_cpu());
    for log in logs {
        let sender = sender.clone();
        let done = move |result: Result<_, _>| {
            let _ = sender.send(result.is_ok());
        };
        log.submit(records.clone(), Box::new(done))?;
    }
    drop(sender);
    let acked = receiver.iter().filter(|acked| *acked).count();
    if acked != logs.len() {
        bail!("{acked} of {} streams stored their record", logs.len());
    }
    Ok((began.elapsed(), meter::process_cpu() - before))
}

/// What one small write and fdatasync takes at the moment, with nothing beside it.
struct OneSync {
    file: Plain,
    bytes: Vec<u8>,
}

impl OneSync {
    fn new(dir: &Path) -> Result<OneSync> {
        Ok(OneSync { file: Plain::zeroed(&dir.join("plain"), 1 << 20)?, bytes: noise(RECORD_BYTES) })
    }

    fn millis(&mut self) -> Result<f64> {
        let mut waits = Vec::new();
        for _ in 0..SYNCS {
            let asked = Instant::now();
            self.file.write_and_sync(&self.bytes)?;
            waits.push(millis(asked.elapsed()));
        }
        Ok(median(waits))
    }
}

/// What `du` says.
fn blocks_below(directory: &Path) -> Result<u64> {
    let mut sum = fs::metadata(directory)?.blocks() * 512;
    for entry in fs::read_dir(directory)? {
        let (path, metadata) = (entry.as_ref().map(fs::DirEntry::path), entry.as_ref().map(fs::DirEntry::metadata));
        let (Ok(path), Ok(metadata)) = (path, metadata) else { bail!("the directory changed while it was counted") };
        let metadata = metadata?;
        sum += if metadata.is_dir() { blocks_below(&path)? } else { metadata.blocks() * 512 };
    }
    Ok(sum)
}
