//! Clocks of CPU time, memory of this process, percentiles, and the table.

use std::env;
use std::fs;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

/// Where the files are made; its disk is what is measured.
pub(crate) fn scratch() -> Result<tempfile::TempDir> {
    Ok(match env::var_os("HYDRANT_BENCH_DIR") {
        Some(path) => tempfile::tempdir_in(path)?,
        None => tempfile::tempdir()?,
    })
}

/// How many records are measured: `HYDRANT_BENCH_RECORDS`, or what the part has for a default.
pub(crate) fn records(default: usize) -> Result<usize> {
    match env::var("HYDRANT_BENCH_RECORDS") {
        Ok(text) => text.parse().with_context(|| format!("HYDRANT_BENCH_RECORDS must be a number, got `{text}`")),
        Err(_) => Ok(default),
    }
}

/// These CPUs, for this thread and what it starts from now on: threads, and other programs.
pub(crate) fn pin(cpus: Range<usize>) -> Result<()> {
    let mut set = CpuSet::new();
    cpus.for_each(|cpu| set.set(cpu));
    sched_setaffinity(None, &set).context("choosing CPUs")
}

/// User and system time of all threads so far.
pub(crate) fn process_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.expect("time that was spent"), nanos.expect("less than a second"))
}

/// Of that, what was not spent in the kernel; counted in hundredths of a second, so only long stretches mean anything.
pub(crate) fn user_cpu() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').context("no name in /proc/self/stat")?;
    let ticks: u64 = fields.split_whitespace().nth(11).context("/proc/self/stat is short")?.parse()?;
    Ok(Duration::from_millis(10 * ticks))
}

/// Bytes of this process in memory now (`VmRSS`) or at most so far (`VmHWM`).
pub(crate) fn memory(field: &str) -> Result<u64> {
    memory_of(std::process::id(), field)
}

/// The same of another process.
pub(crate) fn memory_of(pid: u32, field: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kib: u64 = line.with_context(|| format!("no {field}"))?.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

/// Has the kernel count `VmHWM` anew.
pub(crate) fn forget_memory_peak() -> Result<()> {
    Ok(fs::write("/proc/self/clear_refs", "5")?)
}

/// The value that `percent` of the others don't exceed.
pub(crate) fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[(values.len() * percent / 100).min(values.len() - 1)]
}

pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    percentile(&mut values.into_iter().collect::<Vec<_>>(), 50)
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) fn mega(count: u64) -> f64 {
    count as f64 / 1e6
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) fn kib(bytes: u64) -> f64 {
    bytes as f64 / 1024.0
}

pub(crate) fn heading(title: &str) {
    println!("\n{title:<74} {:>14} {:>12}", "measured", "target");
}

/// A row without a target is there to explain the others.
pub(crate) fn row(what: &str, measured: &str, target: &str) {
    println!("  {what:<72} {measured:>14} {target:>12}");
}
