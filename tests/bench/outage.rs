//! A store that is down while a backlog piles up in front of it, beside a delivery stream that is well; then a `kill -9`, a restart
//! on the backlog while the store is still down, and another when it is back.
//!
//! `HYDRANT_BENCH_GB` (2) says how much piles up; `HYDRANT_LONG=1` makes it 20 where the disk has room.

use std::env;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::client::{self, Connection, PUT_RECORD_BATCH};
use crate::daemon::{self, Daemon};
use crate::{discard, meter, records};

const GB: u64 = 2;
const GB_LONG: u64 = 20;
/// Of the disk, beside the backlog: staged files, the log of the other, and whoever else works there.
const ROOM: u64 = 4_000_000_000;
const BATCH: usize = 500;
const DISTINCT: usize = 64;
const CONNECTIONS: usize = 4;
/// How long the other delivery stream is watched before anything piles up.
const ALONE: Duration = Duration::from_secs(8);
const LOOK_EVERY: Duration = Duration::from_millis(100);
const QUARTERS: usize = 4;

/// How the other delivery stream did.
#[derive(Debug, Default)]
struct Other {
    acks_ms: Vec<f64>,
    /// How long ago its last object was, at each look.
    ages_ms: Vec<f64>,
}

pub(crate) fn run() -> Result<()> {
    let directory = meter::scratch()?;
    let bytes = backlog_bytes(directory.path())?;
    let (binary, store) = (daemon::binary()?, discard::address()?);
    let yaml = yaml(&store);
    let start = || -> Result<(Daemon, f64, u64)> {
        let began = Instant::now();
        let daemon = Daemon::start(&binary, directory.path(), &yaml)?;
        let (took, rss) = (meter::millis(began.elapsed()), daemon.rss_bytes()?);
        Ok((daemon, took, rss))
    };
    start()?.0.stop()?;
    let (daemon, empty_ms, empty_rss) = start()?;
    let batches = records::batches(DISTINCT, BATCH);
    let count = usize::try_from(bytes)? / (batches.iter().flatten().map(Vec::len).sum::<usize>() / DISTINCT);
    let alone = watch(&daemon, ALONE)?;
    let (beside, memory, piled) = pile_up(&daemon, &batches, count)?;
    let put = beside.acks_ms.len() + alone.acks_ms.len();
    let mut daemon = daemon;
    daemon.wait_drained("other", (put * BATCH) as u64)?;
    drop(daemon); // kill -9
    let (daemon, down_ms, down_rss) = start()?;
    drop(daemon);
    discard::listen(&store)?;
    let began = Instant::now();
    let (mut daemon, up_ms, _) = start()?;
    daemon.wait_drained("down", (count * BATCH) as u64)?;
    let (took, cpu) = (began.elapsed(), daemon.cpu()?);
    meter::heading(&format!("a store that is down while {:.1} GB pile up", meter::mega(bytes) / 1e3));
    print_beside(alone, beside, piled);
    print_memory(empty_rss, &memory);
    meter::row("start on nothing: ms until it is ready", &format!("{empty_ms:.0}"), "");
    meter::row("start on the backlog, store down: ms until it is ready", &format!("{down_ms:.0}"), "as on nothing");
    meter::row("start on the backlog, store back: ms until it is ready", &format!("{up_ms:.0}"), "as on nothing");
    meter::row("start on the backlog, store down: MiB when it is ready", &mib(down_rss), "as on nothing");
    meter::row("catching up: MB/s", &format!("{:.0}", meter::mega(bytes) / took.as_secs_f64()), "");
    let cores = cpu.as_secs_f64() / took.as_secs_f64();
    meter::row("catching up: CPUs that the daemon had", &format!("{cores:.2}"), ">= 1 or sink");
    meter::row("catching up: CPU s per GB", &format!("{:.2}", cpu.as_secs_f64() / (meter::mega(bytes) / 1e3)), "");
    meter::row("catching up: MiB at most", &mib(daemon.rss_peak_bytes()?), "");
    daemon.stop()
}

fn yaml(store: &str) -> String {
    format!(
        "delivery_streams:\n  - name: down\n    buffering: {{ size: 64 MiB, interval: 10 s }}\n    backlog_max: 1 TiB\n    \
         format: {{ lines: {{}} }}\n    destination: {{ s3: {{ bucket: lake }} }}\n  - name: other\n    \
         buffering: {{ size: 1 MiB, interval: 1 s }}\n    format: {{ lines: {{}} }}\n    \
         destination: {{ file: {{ directory: ./lake }} }}\n\
         s3: {{ endpoint: \"http://{store}\", access_key_id: \"plain:key\", secret_access_key: \"plain:secret\" }}\n"
    )
}

fn backlog_bytes(directory: &Path) -> Result<u64> {
    let asked = match env::var("HYDRANT_BENCH_GB") {
        Ok(text) => text.parse().with_context(|| format!("HYDRANT_BENCH_GB must be a number, got `{text}`"))?,
        Err(_) if env::var_os("HYDRANT_LONG").is_some_and(|value| value == "1") => GB_LONG,
        Err(_) => GB,
    };
    let disk = rustix::fs::statvfs(directory)?;
    let free = disk.f_bavail * disk.f_frsize;
    ensure!(asked > 0, "HYDRANT_BENCH_GB must be at least 1, got 0");
    let gb = |bytes: u64| bytes * 1_000_000_000;
    if gb(asked) + ROOM <= free {
        return Ok(gb(asked));
    }
    if gb(GB) + ROOM > free {
        bail!(
            "{} MB are free at {}; at least {} must be",
            free / 1_000_000,
            directory.display(),
            (gb(GB) + ROOM) / 1_000_000
        );
    }
    println!("no room for {asked} GB: {} MB are free, so {GB} GB pile up", free / 1_000_000);
    Ok(gb(GB))
}

/// All batches to the delivery stream whose store is down, and how the other did meanwhile. Memory at each quarter.
fn pile_up(daemon: &Daemon, batches: &[Vec<Vec<u8>>], count: usize) -> Result<(Other, Vec<u64>, Duration)> {
    let host = daemon.api_host();
    let (mut memory, mut piled) = (Vec::new(), Duration::ZERO);
    let over = AtomicBool::new(false);
    let beside = thread::scope(|scope| -> Result<Other> {
        let other = scope.spawn(|| watch_until(daemon, || over.load(Ordering::Relaxed)));
        let mut send = || -> Result<()> {
            for quarter in 0..QUARTERS {
                let part = count * (quarter + 1) / QUARTERS - count * quarter / QUARTERS;
                // A signature is good for 15 minutes only.
                let requests =
                    batches.iter().map(|batch| client::signed(PUT_RECORD_BATCH, &host, "down", batch)).collect();
                let began = Instant::now();
                client::send_all(&host, PUT_RECORD_BATCH, requests, (CONNECTIONS, part))?;
                piled += began.elapsed();
                memory.push(daemon.rss_bytes()?);
            }
            Ok(())
        };
        let sent = send();
        over.store(true, Ordering::Relaxed);
        let other = other.join().map_err(|_| anyhow!("who watched panicked"))?;
        sent.and(other)
    })?;
    Ok((beside, memory, piled))
}

fn watch(daemon: &Daemon, time: Duration) -> Result<Other> {
    let began = Instant::now();
    watch_until(daemon, || began.elapsed() > time)
}

/// A batch at each look; the first of them, which nothing was delivered before, does not count.
fn watch_until(daemon: &Daemon, over: impl Fn() -> bool) -> Result<Other> {
    let (host, mut other) = (daemon.api_host(), Other::default());
    let mut connection = Connection::open(&host)?;
    let batch = records::batches(1, BATCH).concat();
    while !over() {
        let request = client::signed(PUT_RECORD_BATCH, &host, "other", &batch);
        let began = Instant::now();
        while !connection.put(PUT_RECORD_BATCH, &request)? {}
        other.acks_ms.push(meter::millis(began.elapsed()));
        let now = chrono::Utc::now().timestamp_millis();
        if let Some(last) = daemon.status("other")?["last_delivery_ms"].as_i64() {
            other.ages_ms.push(meter::millis(Duration::from_millis(u64::try_from(now - last).unwrap_or(0))));
        }
        thread::park_timeout(LOOK_EVERY);
    }
    Ok(other)
}

fn print_beside(mut alone: Other, mut beside: Other, piled: Duration) {
    meter::row("seconds in which it piled up", &format!("{:.1}", piled.as_secs_f64()), "");
    for (when, other) in [("before", &mut alone), ("meanwhile", &mut beside)] {
        let acks = [50, 99].map(|percent| format!("{:.0}", meter::percentile(&mut other.acks_ms, percent)));
        meter::row(&format!("other stream, {when}: acks, ms, p50 and p99"), &acks.join(" "), "");
        let ages = [50, 100].map(|percent| format!("{:.1}", meter::percentile(&mut other.ages_ms, percent) / 1e3));
        meter::row(&format!("other stream, {when}: s since its last object, p50, max"), &ages.join(" "), "");
    }
}

fn print_memory(empty: u64, memory: &[u64]) {
    meter::row("MiB with no backlog", &mib(empty), "");
    for (quarter, bytes) in memory.iter().enumerate() {
        meter::row(&format!("MiB at {} % of the backlog", 100 * (quarter + 1) / QUARTERS), &mib(*bytes), "flat");
    }
}

fn mib(bytes: u64) -> String {
    format!("{:.0}", meter::kib(bytes) / 1024.0)
}
