//! What the outbox costs: delivery as it is, beside delivery that stages nothing and notes nothing on a disk, so that a crash
//! would lose or repeat. The daemon has no switch for that: this program gives its pipeline a disk that holds the journal and
//! the staged files in memory, and a destination that trusts what it is given. All else is the same.
//!
//! The destination throws away what it has read, so that the outbox is as large a part of the whole as it can be; the records
//! are in the log before anything is measured. `HYDRANT_BENCH_RECORDS` (400,000) may be set.

mod memory;
mod sink;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use hydrant_config::{DeliveryStream, Environment};
use hydrant_delivery::{Bounds, Claim, CpuPool, Pipeline, PipelineParts};
use hydrant_disk::{Disk, RealDisk};
use hydrant_record::{NewRecord, Placement, StreamId};
use hydrant_shardlog::{LogOptions, ShardLog, SystemClock};

use self::memory::InMemory;
use self::sink::Discarding;
use crate::{meter, records};

const ROUNDS: usize = 3;
const RECORDS_DEFAULT: usize = 400_000;
const BATCH: usize = 500;
const GRACE: Duration = Duration::from_secs(300);

const PARQUET: &str = "parquet: { columns: { ts: timestamp, request_id: string, client: string, method: string, \
     path: string, query: string, status: int, bytes: bigint, latency_ms: double, referer: string, user_agent: string, \
     host: string, tls: string, cache: string, upstream: string }, compression: zstd }";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outbox {
    With,
    Without,
}

/// CPU seconds per million records, a round each.
#[derive(Debug, Default)]
struct Costs {
    with: Vec<f64>,
    without: Vec<f64>,
}

pub(crate) fn run() -> Result<()> {
    let directory = meter::scratch()?;
    let (log, count) = filled(&directory.path().join("log"), meter::records(RECORDS_DEFAULT)?)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    meter::heading(&format!("delivery with its outbox and without, {count} records from the log to nowhere"));
    for (name, format) in
        [("Parquet, zstd", PARQUET), ("lines, gzip", "lines: { compression: gzip }"), ("lines", "lines: {}")]
    {
        let stream = stream(format)?;
        let mut costs = Costs::default();
        for _ in 0..ROUNDS {
            for outbox in [Outbox::Without, Outbox::With] {
                let dir = directory.path().join("delivery");
                fs::create_dir(&dir)?;
                let cpu = meter::process_cpu();
                runtime.block_on(deliver(&log, (stream.clone(), count), &dir, outbox))?;
                let cpu = (meter::process_cpu() - cpu).as_secs_f64() / meter::mega(count);
                match outbox {
                    Outbox::With => costs.with.push(cpu),
                    Outbox::Without => costs.without.push(cpu),
                }
                fs::remove_dir_all(&dir)?;
            }
        }
        for (what, values) in [("with", &costs.with), ("without", &costs.without)] {
            let cpu = meter::median(values.iter().copied());
            meter::row(&format!("{name}: CPU s per million records, {what}"), &format!("{cpu:.2}"), "");
        }
        let more = costs.with.iter().zip(&costs.without).map(|(with, without)| 100.0 * (with / without - 1.0));
        meter::row(&format!("{name}: the outbox, % more"), &format!("{:.1}", meter::median(more)), "<= 10");
    }
    Ok(log.close()?)
}

fn filled(dir: &Path, count: usize) -> Result<(ShardLog, u64)> {
    fs::create_dir(dir)?;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new());
    let (log, _) = ShardLog::open(disk, dir, LogOptions::new())?;
    let batches = records::batches(count.div_ceil(BATCH).min(128), BATCH);
    for number in 0..count.div_ceil(BATCH) {
        let record = |data: &Vec<u8>| NewRecord {
            placement: Placement::Any,
            partition_key: None,
            data: Bytes::copy_from_slice(data),
        };
        log.append(batches[number % batches.len()].iter().map(record).collect())?;
    }
    Ok((log, (count.div_ceil(BATCH) * BATCH) as u64))
}

fn stream(format: &str) -> Result<DeliveryStream> {
    let yaml = format!(
        "delivery_streams:\n  - name: bench\n    buffering: {{ size: 64 MiB, interval: 0 s }}\n    format: {{ {format} }}\n    \
         destination: {{ file: {{ directory: ./lake, error_output_prefix: errors/ }} }}\n"
    );
    let loaded = hydrant_config::load_text(&yaml, Path::new("bench.yaml"), &Environment::of([]));
    let config = loaded.map_err(|problems| anyhow!("{problems}"))?.config;
    config.delivery_streams.first().cloned().context("it has one delivery stream")
}

async fn deliver(log: &ShardLog, (stream, count): (DeliveryStream, u64), dir: &Path, outbox: Outbox) -> Result<()> {
    let disk: Arc<dyn Disk> = match outbox {
        Outbox::With => Arc::new(RealDisk::new()),
        Outbox::Without => Arc::new(InMemory::new(["journal", "staged"].map(|name| dir.join(name)))),
    };
    let pipeline = Pipeline::start(PipelineParts {
        stream,
        stream_id: StreamId([7; 16]),
        dir: dir.to_owned(),
        disk,
        clock: Arc::new(SystemClock),
        log: log.clone(),
        // So that the records stay for the next round.
        claim: Claim::Shared { after: None },
        journal_options: LogOptions::new(),
        transform: None,
        sink: Arc::new(Discarding(outbox)),
        backup: None,
        cpu: CpuPool::new(2)?,
        bounds: Bounds::default(),
    })?;
    pipeline.drain(GRACE).await.map_err(|error| anyhow!("delivery ended: {error}"))?;
    let delivered = pipeline.status().accounting.delivered;
    ensure!(delivered == count, "{delivered} of {count} records were delivered");
    Ok(())
}
