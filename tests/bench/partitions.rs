//! 50,000 open partitions beside one: the same records, the same bytes, one object a partition in the end.
//!
//! `HYDRANT_BENCH_RECORDS` (2,000,000, which one chunk can hold): an object has a price of its own, which the records in it
//! carry together.

use std::env;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::client::{self, PUT_RECORD_BATCH};
use crate::daemon::{self, Daemon};
use crate::meter;

const PARTITIONS: usize = 50_000;
const BATCH: usize = 500;
const RECORD_BYTES: usize = 500;
const CONNECTIONS: usize = 4;
const RECORDS_DEFAULT: usize = 2_000_000;

const YAML: &str = "delivery_streams:\n  - name: bench\n    buffering: { size: 1 GiB, interval: 60 s }\n    \
     partitioning: { jq: { p: .p }, partitions_max: 50000 }\n    format: { lines: {} }\n    \
     destination: { file: { directory: ./lake, prefix: \"p=!{partitionKeyFromQuery:p}/\", \
     error_output_prefix: errors/ } }\n";

struct Cost {
    cpu_per_million: f64,
    rss_peak_bytes: u64,
    objects: u64,
}

pub(crate) fn run() -> Result<()> {
    let records: usize = match env::var("HYDRANT_BENCH_RECORDS") {
        Ok(text) => text.parse().with_context(|| format!("HYDRANT_BENCH_RECORDS must be a number, got `{text}`"))?,
        Err(_) => RECORDS_DEFAULT,
    };
    let directory = meter::scratch()?;
    let one = measure(&directory.path().join("one"), records, |_| 0)?;
    let many = measure(&directory.path().join("many"), records, |number| number)?;
    meter::heading(&format!("{PARTITIONS} partitions beside one, {records} records of {RECORD_BYTES} B"));
    meter::row("CPU s per million records, one partition", &format!("{:.2}", one.cpu_per_million), "");
    meter::row("CPU s per million records, many", &format!("{:.2}", many.cpu_per_million), "");
    meter::row("many / one", &format!("{:.2}", many.cpu_per_million / one.cpu_per_million), "1.50");
    meter::row("peak MiB, one partition", &format!("{:.0}", meter::kib(one.rss_peak_bytes) / 1024.0), "");
    meter::row("peak MiB, many", &format!("{:.0}", meter::kib(many.rss_peak_bytes) / 1024.0), "512");
    meter::row("objects of many", &many.objects.to_string(), &PARTITIONS.to_string());
    Ok(())
}

/// `partition` of the n-th record.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn measure(directory: &Path, records: usize, partition: impl Fn(usize) -> usize) -> Result<Cost> {
    let mut daemon = Daemon::start(&daemon::binary()?, directory, YAML)?;
    let host = daemon.api_host();
    let record = |number: usize| {
        let mut record = format!("{{\"p\":\"{:05}\",\"text\":\"", partition(number)).into_bytes();
        record.resize(RECORD_BYTES - 2, b'x');
        record.extend_from_slice(b"\"}");
        record
    };
    let batch = |batch: usize| (batch * BATCH..(batch + 1) * BATCH).map(record).collect::<Vec<_>>();
    let requests = (0..PARTITIONS / BATCH)
        .map(|number| client::signed(PUT_RECORD_BATCH, &host, "bench", &batch(number)))
        .collect();
    let cpu = daemon.cpu()?;
    client::send_all(&host, PUT_RECORD_BATCH, requests, (CONNECTIONS, records / BATCH))?;
    daemon.wait_drained("bench", (records / BATCH * BATCH) as u64)?;
    let cpu = daemon.cpu()?.saturating_sub(cpu);
    let objects = daemon::files_below(&daemon.lake())?;
    let rss_peak_bytes = daemon.rss_peak_bytes()?;
    daemon.stop()?;
    ensure!(objects > 0, "nothing was delivered");
    std::fs::remove_dir_all(directory)?;
    Ok(Cost { cpu_per_million: cpu.as_secs_f64() / (records as f64 / 1e6), rss_peak_bytes, objects })
}
