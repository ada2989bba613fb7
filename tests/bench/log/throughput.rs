//! How much of the disk's speed the log passes on, and at what CPU.
//!
//! The baseline that is fair writes what the log writes, in groups of the size that the log's groups had in the run just
//! before, one write and one fdatasync each, into a file that grows: it has to be durable, and nothing more. Beside it
//! stand an easier disk (the file was filled with zeros before, outside of the measurement) and a program without group
//! commit (one thread, one batch for each sync).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use hydrant_record::{NewRecord, Timestamp};
use hydrant_shardlog::{Clock, LogOptions, ShardLog};

use super::plain::Plain;
use super::{BATCH, BATCH_BYTES, RECORD_BYTES, WARM_UP_BYTES, batch, fill, noise, while_trimmed};
use crate::meter::{self, heading, median, mega, row};

const ROUNDS: usize = 7;
const BATCHES: usize = 1000;
const PRODUCERS: usize = 8;

pub(crate) fn run() -> Result<()> {
    let scratch = meter::scratch()?;
    let options = || LogOptions { clock: Arc::new(Steps::default()), ..LogOptions::new() };
    let trimmed = super::open(&scratch.path().join("trimmed"), options())?;
    let growing = super::open(&scratch.path().join("growing"), options())?;
    for log in [&trimmed, &growing] {
        while_trimmed(log, || fill(log, WARM_UP_BYTES))?;
    }
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push(round(scratch.path(), &trimmed, &growing)?);
        growing.trim(growing.last().expect("it was filled"))?;
    }
    print(&rounds);
    Ok(())
}

/// A clock that tells each commit from every other.
#[derive(Debug, Default)]
struct Steps(AtomicU64);

impl Clock for Steps {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1 + self.0.fetch_add(1, Ordering::Relaxed))
    }
}

#[derive(Clone, Copy, Debug)]
struct Cost {
    wall: Duration,
    cpu: Duration,
    user: Duration,
}

#[derive(Debug)]
struct Round {
    making: Cost,
    trimmed: Cost,
    growing: Cost,
    grouped: Cost,
    grouped_zeroed: Cost,
    single: Cost,
    batches_a_group: usize,
}

fn round(dir: &Path, trimmed: &ShardLog, growing: &ShardLog) -> Result<Round> {
    let records = batch(BATCH, RECORD_BYTES);
    let making = cost(|| {
        (0..BATCHES).for_each(|_| drop(std::hint::black_box(records.clone())));
        Ok(())
    })?;
    let mut groups = 0;
    let trimmed = cost(|| {
        groups = while_trimmed(trimmed, || produce(trimmed, &records))?;
        Ok(())
    })?;
    let batches_a_group = BATCHES.div_ceil(groups);
    let (group, one) = (noise(BATCH * RECORD_BYTES * batches_a_group), noise(BATCH * RECORD_BYTES));
    let mut zeroed = Plain::zeroed(&dir.join("zeroed"), BATCH_BYTES * BATCHES as u64)?;
    let grouped_zeroed = plain(&mut zeroed, &group)?;
    let grouped = plain(&mut Plain::growing(&dir.join("grouped"))?, &group)?;
    let growing = cost(|| produce(growing, &records).map(drop))?;
    let single = plain(&mut Plain::growing(&dir.join("single"))?, &one)?;
    Ok(Round { making, trimmed, growing, grouped, grouped_zeroed, single, batches_a_group })
}

fn cost(work: impl FnOnce() -> Result<()>) -> Result<Cost> {
    let (began, cpu, user) = (Instant::now(), meter::process_cpu(), meter::user_cpu()?);
    work()?;
    let user = meter::user_cpu()?.saturating_sub(user);
    Ok(Cost { wall: began.elapsed(), cpu: meter::process_cpu() - cpu, user })
}

/// All batches from all producers; how many groups they became.
fn produce(log: &ShardLog, records: &[NewRecord]) -> Result<usize> {
    let mut commits = thread::scope(|scope| -> Result<Vec<u64>> {
        let producer = || -> Result<Vec<u64>> {
            let batches = 0..BATCHES / PRODUCERS;
            batches.map(|_| Ok(log.append(records.to_vec())?.arrived_at.as_millis())).collect()
        };
        let producers: Vec<_> = (0..PRODUCERS).map(|_| scope.spawn(producer)).collect();
        let mut commits = Vec::new();
        for producer in producers {
            commits.extend(producer.join().map_err(|_| anyhow::anyhow!("a producer panicked"))??);
        }
        Ok(commits)
    })?;
    commits.sort_unstable();
    commits.dedup();
    Ok(commits.len())
}

fn plain(file: &mut Plain, bytes: &[u8]) -> Result<Cost> {
    cost(|| {
        let writes = (BATCH_BYTES * BATCHES as u64).div_ceil(bytes.len() as u64);
        (0..writes).try_for_each(|_| Ok(file.write_and_sync(bytes)?))
    })
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn print(rounds: &[Round]) {
    let bytes = mega(BATCH_BYTES * BATCHES as u64);
    let millions = (BATCH * BATCHES) as f64 / 1e6;
    let of = |pick: &dyn Fn(&Round) -> f64| median(rounds.iter().map(pick));
    let speed = |pick: fn(&Round) -> Cost| format!("{:.0} MB/s", of(&|round| bytes / pick(round).wall.as_secs_f64()));
    let share = |log: fn(&Round) -> Cost, plain: fn(&Round) -> Cost| {
        format!("{:.0} %", of(&|round| 100.0 * plain(round).wall.as_secs_f64() / log(round).wall.as_secs_f64()))
    };
    // The median of what has few ticks in each round would be a tick or none.
    let mean = |pick: &dyn Fn(&Round) -> f64| rounds.iter().map(pick).sum::<f64>() / rounds.len() as f64 / millions;
    let seconds = |seconds: f64| format!("{seconds:.3} s");
    let cpu = |pick: fn(&Round) -> Cost| seconds(of(&|round| pick(round).cpu.as_secs_f64()) / millions);
    let log_cpu = |pick: fn(&Round) -> Cost| {
        seconds(of(&|round| pick(round).cpu.as_secs_f64() - round.making.cpu.as_secs_f64()) / millions)
    };
    let log_user = |pick: fn(&Round) -> Cost| {
        seconds(mean(&|round| pick(round).user.as_secs_f64() - round.making.user.as_secs_f64()))
    };
    heading(&format!(
        "{PRODUCERS} producers, batches of {BATCH} records of {RECORD_BYTES} B, median of {ROUNDS} rounds"
    ));
    let a_group = of(&|round| round.batches_a_group as f64);
    row("batches in a group of the log", &format!("{a_group:.0}"), "");
    row("the log, trimmed from behind", &speed(|round| round.trimmed), "");
    row("the log, growing", &speed(|round| round.growing), "");
    row("plain write + fdatasync of such groups, growing file", &speed(|round| round.grouped), "");
    row("the same, file filled with zeros before", &speed(|round| round.grouped_zeroed), "");
    row("plain, one batch a sync", &speed(|round| round.single), "");
    row("the log, trimmed, of the plain groups", &share(|round| round.trimmed, |round| round.grouped), ">= 80 %");
    row("the log, growing, of the plain groups", &share(|round| round.growing, |round| round.grouped), ">= 80 %");
    row(
        "the log, trimmed, of the zeroed plain groups",
        &share(|round| round.trimmed, |round| round.grouped_zeroed),
        "",
    );
    row("the log, trimmed, of one batch a sync", &share(|round| round.trimmed, |round| round.single), ">= 80 %");
    row("CPU s of a million records without making them: the log, trimmed", &log_cpu(|round| round.trimmed), "");
    row("  of that outside of the kernel: the log itself", &log_user(|round| round.trimmed), "<= 0.15 s");
    row("CPU s of a million records without making them: the log, growing", &log_cpu(|round| round.growing), "");
    row("  of that outside of the kernel: the log itself", &log_user(|round| round.growing), "<= 0.15 s");
    row("CPU s of the plain groups", &cpu(|round| round.grouped), "");
    row("CPU s of the zeroed plain groups", &cpu(|round| round.grouped_zeroed), "");
    row("CPU s of making the records (taken off above)", &cpu(|round| round.making), "");
}
