//! What a million records cost the release daemon: signed `PutRecordBatch` over four connections, fsync on, into a local
//! directory as Parquet (zstd) and as gzip lines; beside it, the same bytes by plain write and fdatasync.
//!
//! Prints a table and judges nothing. `HYDRANT_BENCH_RECORDS` (2,000,000) may be set; `HYDRANT_BIN` names another
//! daemon.

mod baseline;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::client::{self, PUT_RECORD_BATCH};
use crate::daemon::{self, Daemon};
use crate::{meter, records};

const RECORDS_DEFAULT: usize = 2_000_000;
const BATCH: usize = 500;
/// Distinct batches; together they are larger than any compressor's window.
const DISTINCT_BATCHES: usize = 128;
const CONNECTIONS: usize = 4;
const STREAM: &str = "bench";

const PARQUET: &str = "parquet: { columns: { ts: timestamp, request_id: string, client: string, method: string, \
     path: string, query: string, status: int, bytes: bigint, latency_ms: double, referer: string, user_agent: string, \
     host: string, tls: string, cache: string, upstream: string }, compression: zstd }";
const GZIP: &str = "lines: { compression: gzip }";

/// What is sent, and to whom.
struct Load {
    binary: PathBuf,
    /// Distinct batches, sent round and round.
    payloads: Vec<Vec<Vec<u8>>>,
    batches: usize,
}

/// What one run cost.
#[derive(Debug)]
struct Cost {
    name: &'static str,
    cpu: Duration,
    /// Until the last record was acked.
    acked: Duration,
    /// Until the last record was delivered.
    drained: Duration,
    rss_peak_bytes: u64,
    written_bytes: u64,
}

pub(crate) fn run() -> Result<()> {
    let records = meter::records(RECORDS_DEFAULT)?;
    let load = Load {
        binary: daemon::binary()?,
        payloads: records::batches(DISTINCT_BATCHES, BATCH),
        batches: records.div_ceil(BATCH),
    };
    let distinct: usize = load.payloads.iter().flatten().map(Vec::len).sum();
    let record_bytes = distinct / (DISTINCT_BATCHES * BATCH);
    let directory = meter::scratch()?;
    println!("{} records of {record_bytes} B, {CONNECTIONS} connections, batches of {BATCH}", load.batches * BATCH);
    let baseline = baseline::write_and_sync(&directory.path().join("baseline"), &load)?;
    let mut costs = Vec::new();
    for kind in [("parquet zstd", PARQUET), ("gzip lines", GZIP)] {
        costs.push(measure(&load, &directory.path().join(kind.0.replace(' ', "-")), kind)?);
    }
    print_table(&baseline, &costs, load.batches * BATCH, record_bytes);
    Ok(())
}

fn measure(load: &Load, directory: &Path, (name, format): (&'static str, &str)) -> Result<Cost> {
    let yaml = format!(
        "delivery_streams:\n  - name: {STREAM}\n    buffering: {{ size: 64 MiB, interval: 5 s }}\n    format: {{ {format} }}\n    \
         destination: {{ file: {{ directory: ./lake }} }}\n"
    );
    let mut daemon = Daemon::start(&load.binary, directory, &yaml)?;
    let host = daemon.api_host();
    let requests = load.payloads.iter().map(|batch| client::signed(PUT_RECORD_BATCH, &host, STREAM, batch)).collect();
    let cpu_before = daemon.cpu()?;
    let began = Instant::now();
    client::send_all(&host, PUT_RECORD_BATCH, requests, (CONNECTIONS, load.batches))?;
    let acked = began.elapsed();
    daemon.wait_drained(STREAM, (load.batches * BATCH) as u64)?;
    let drained = began.elapsed();
    let cost = Cost {
        name,
        cpu: daemon.cpu()?.saturating_sub(cpu_before),
        acked,
        drained,
        rss_peak_bytes: daemon.rss_peak_bytes()?,
        written_bytes: daemon::bytes_below(&daemon.lake())?,
    };
    daemon.stop()?;
    std::fs::remove_dir_all(directory)?;
    Ok(cost)
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn print_table(baseline: &Cost, costs: &[Cost], records: usize, record_bytes: usize) {
    let millions = records as f64 / 1e6;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "\n{:<14} {:>12} {:>14} {:>10} {:>12} {:>12} {:>9} {:>10}",
        "", "CPU s per M", "records/s CPU", "vs. plain", "acked rec/s", "drained s", "peak MiB", "out MiB"
    );
    for cost in std::iter::once(baseline).chain(costs) {
        let per_million = cost.cpu.as_secs_f64() / millions;
        println!(
            "{:<14} {:>12.2} {:>14.0} {:>9.1}x {:>12.0} {:>12.1} {:>9.0} {:>10.0}",
            cost.name,
            per_million,
            1e6 / per_million,
            cost.cpu.as_secs_f64() / baseline.cpu.as_secs_f64(),
            records as f64 / cost.acked.as_secs_f64(),
            cost.drained.as_secs_f64(),
            mib(cost.rss_peak_bytes),
            mib(cost.written_bytes),
        );
    }
    println!(
        "\nCPU is the daemon's user and system time from the first request to the last delivery; in: {:.0} MiB",
        mib((records * record_bytes) as u64)
    );
}
