//! 50,000 open partitions beside one: the same records, the same bytes, one object a partition in the end. To a directory, beside
//! the plainest program that makes such files durable; and to a store that keeps nothing, where objects cost no disk.
//!
//! `HYDRANT_BENCH_RECORDS` (2,000,000, which one chunk can hold) and `HYDRANT_BENCH_PARTITIONS` (50,000): an object has a price of its
//! own, which the records in it carry together.

use std::env;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::client::{self, PUT_RECORD_BATCH};
use crate::daemon::{self, Daemon};
use crate::{discard, meter};

const PARTITIONS_DEFAULT: usize = 50_000;
const BATCH: usize = 500;
const RECORD_BYTES: usize = 500;
const CONNECTIONS: usize = 4;
const RECORDS_DEFAULT: usize = 2_000_000;
const RATIO_MAX: &str = "1.50";

struct Load {
    records: usize,
    partitions: usize,
    destination: String,
}

struct Cost {
    cpu_per_million: f64,
    rss_peak_bytes: u64,
    objects: u64,
}

/// To a directory.
pub(crate) fn run() -> Result<()> {
    let directory = meter::scratch()?;
    let load = Load::new("    destination: { file: { directory: ./lake, NAMES } }\n")?;
    let [one, many] = both(&load, directory.path())?;
    let files = plain_files(&directory.path().join("plain"), &load)?;
    load.print("files in a directory", [&one, &many]);
    meter::row("CPU s per million records, the same files by a plain program", &format!("{files:.2}"), "");
    let beside = many.cpu_per_million / (one.cpu_per_million + files);
    meter::row("many / (one + the plain program)", &format!("{beside:.2}"), "");
    Ok(())
}

/// To a store.
pub(crate) fn run_s3() -> Result<()> {
    let (directory, store) = (meter::scratch()?, discard::address()?);
    discard::listen(&store)?;
    let load = Load::new(&format!(
        "    destination: {{ s3: {{ bucket: lake, NAMES }} }}\n\
         s3: {{ endpoint: \"http://{store}\", access_key_id: \"plain:key\", secret_access_key: \"plain:secret\" }}\n"
    ))?;
    let [one, many] = both(&load, directory.path())?;
    load.print("PUTs to a store that keeps nothing", [&one, &many]);
    Ok(())
}

impl Load {
    fn new(destination: &str) -> Result<Load> {
        let partitions = match env::var("HYDRANT_BENCH_PARTITIONS") {
            Ok(text) => {
                text.parse().with_context(|| format!("HYDRANT_BENCH_PARTITIONS must be a number, got `{text}`"))?
            }
            Err(_) => PARTITIONS_DEFAULT,
        };
        let names = "prefix: \"p=!{partitionKeyFromQuery:p}/\", error_output_prefix: errors/";
        let records = meter::records(RECORDS_DEFAULT)?;
        ensure!(records % BATCH == 0 && partitions % BATCH == 0, "whole batches of {BATCH} are sent");
        Ok(Load { records, partitions, destination: destination.replace("NAMES", names) })
    }

    fn yaml(&self) -> String {
        format!(
            "delivery_streams:\n  - name: bench\n    buffering: {{ size: 1 GiB, interval: 60 s }}\n    \
             partitioning: {{ jq: {{ p: .p }}, partitions_max: {PARTITIONS_DEFAULT} }}\n    format: {{ lines: {{}} }}\n{}",
            self.destination
        )
    }

    fn print(&self, kind: &str, [one, many]: [&Cost; 2]) {
        let (partitions, records) = (self.partitions, self.records);
        meter::heading(&format!("{partitions} partitions beside one, {records} records of {RECORD_BYTES} B, {kind}"));
        meter::row("CPU s per million records, one partition", &format!("{:.2}", one.cpu_per_million), "");
        meter::row("CPU s per million records, many", &format!("{:.2}", many.cpu_per_million), "");
        meter::row("many / one", &format!("{:.2}", many.cpu_per_million / one.cpu_per_million), RATIO_MAX);
        meter::row("peak MiB, one partition", &format!("{:.0}", meter::kib(one.rss_peak_bytes) / 1024.0), "");
        meter::row("peak MiB, many", &format!("{:.0}", meter::kib(many.rss_peak_bytes) / 1024.0), "512");
        meter::row("objects of many", &many.objects.to_string(), &partitions.to_string());
    }
}

fn both(load: &Load, directory: &Path) -> Result<[Cost; 2]> {
    let one = measure(&directory.join("one"), load, |_| 0)?;
    let many = measure(&directory.join("many"), load, |number| number)?;
    Ok([one, many])
}
/// `partition` of the n-th record.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn measure(directory: &Path, load: &Load, partition: impl Fn(usize) -> usize) -> Result<Cost> {
    let mut daemon = Daemon::start(&daemon::binary()?, directory, &load.yaml())?;
    let records = load.records;
    let host = daemon.api_host();
    let record = |number: usize| {
        let mut record = format!("{{\"p\":\"{:05}\",\"text\":\"", partition(number)).into_bytes();
        record.resize(RECORD_BYTES - 2, b'x');
        record.extend_from_slice(b"\"}");
        record
    };
    let batch = |batch: usize| (batch * BATCH..(batch + 1) * BATCH).map(record).collect::<Vec<_>>();
    let requests = (0..load.partitions / BATCH)
        .map(|number| client::signed(PUT_RECORD_BATCH, &host, "bench", &batch(number)))
        .collect();
    let cpu = daemon.cpu()?;
    client::send_all(&host, PUT_RECORD_BATCH, requests, (CONNECTIONS, records / BATCH))?;
    daemon.wait_drained("bench", (records / BATCH * BATCH) as u64)?;
    let cpu = daemon.cpu()?.saturating_sub(cpu);
    let objects = daemon.status("bench")?["objects"].as_u64().context("no `objects` in /status")?;
    let rss_peak_bytes = daemon.rss_peak_bytes()?;
    daemon.stop()?;
    ensure!(objects > 0, "nothing was delivered");
    std::fs::remove_dir_all(directory)?;
    Ok(Cost { cpu_per_million: cpu.as_secs_f64() / (records as f64 / 1e6), rss_peak_bytes, objects })
}

/// CPU seconds per million records. A directory each, a file each, its bytes and both names durable before the next.
#[expect(clippy::disallowed_methods, reason = "this is what the product is compared with, and it stands outside of it")]
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn plain_files(directory: &Path, load: &Load) -> Result<f64> {
    let bytes = vec![b'x'; load.records / load.partitions * RECORD_BYTES];
    let before = meter::process_cpu();
    fs::create_dir(directory)?;
    let lake = File::open(directory)?;
    for number in 0..load.partitions {
        let partition = directory.join(format!("p={number:05}"));
        fs::create_dir(&partition)?;
        lake.sync_all()?;
        let (temporary, name) = (partition.join(".object.part"), partition.join("object"));
        let mut file = File::create_new(&temporary)?;
        file.write_all(&bytes)?;
        file.sync_data()?;
        fs::rename(&temporary, &name)?;
        File::open(&partition)?.sync_all()?;
    }
    let cpu = meter::process_cpu() - before;
    fs::remove_dir_all(directory)?;
    Ok(cpu.as_secs_f64() / (load.records as f64 / 1e6))
}
