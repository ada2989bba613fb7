//! The same bytes to the same real MinIO, at the same concurrency: by a plain S3 client that has them in memory, and by a
//! delivery stream that has them as records in its log. In turns. The server has half of the CPUs and whoever writes to it the
//! other half, as if they were two machines: on the same CPUs the server gets what the other leaves, and the figure tells
//! who needs less of them.
//!
//! `HYDRANT_BENCH_RECORDS` (2,000,000) may be set.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::{ObjectStoreExt as _, path::Path};
use tokio::task::JoinSet;

use crate::servers::{MINIO_KEY, MINIO_SECRET, Server};
use crate::stored::Stored;
use crate::{meter, records};

const ROUNDS: usize = 2;
const RECORDS_DEFAULT: usize = 2_000_000;
const BATCH: usize = 500;
const DISTINCT: usize = 128;
/// As many chunks of a delivery stream are on their way at once, each of one object.
const AT_ONCE: usize = 4;
const OBJECT_BYTES: usize = 64 << 20;
const BUCKETS: [&str; 2] = ["plain", "delivered"];

#[derive(Default)]
struct Costs {
    bytes_per_second: Vec<f64>,
    cpu_per_gb: Vec<f64>,
    server_cpu_per_gb: Vec<f64>,
}

pub(crate) fn run() -> Result<()> {
    let directory = meter::scratch()?;
    let minio = directory.path().join("minio");
    for bucket in BUCKETS {
        // A bucket of MinIO is a directory.
        fs::create_dir_all(minio.join("data").join(bucket))?;
    }
    let batches = records::batches(DISTINCT, BATCH);
    let stored =
        Stored::put(&directory.path().join("hydrant"), &batches, meter::records(RECORDS_DEFAULT)?.div_ceil(BATCH))?;
    let lines = batches.iter().flatten().flat_map(|record| [record.as_slice(), b"\n"].concat());
    let object: Bytes = lines.clone().chain(lines).take(OBJECT_BYTES).collect::<Vec<u8>>().into();
    // Each is a line in its object.
    let bytes = stored.bytes + usize::try_from(stored.records)?;
    let cpus = thread::available_parallelism()?.get();
    let half = cpus.div_ceil(2);
    meter::pin(cpus - half..cpus)?;
    let server = Server::start("minio", &minio)?;
    meter::pin(0..half)?;
    let (mut plain, mut delivered) = (Costs::default(), Costs::default());
    for round in 0..ROUNDS {
        let (cpu, server_cpu) = (meter::process_cpu(), server.cpu()?);
        let took = by_plain_client(&server, (&object, bytes), round)?;
        plain.note(bytes, took, (meter::process_cpu() - cpu, server.cpu()?.saturating_sub(server_cpu)));
        let server_cpu = server.cpu()?;
        let cost = stored.deliver(&format!("round-{round}"), &yaml(&server))?;
        delivered.note(bytes, cost.took, (cost.cpu, server.cpu()?.saturating_sub(server_cpu)));
    }
    meter::pin(0..cpus)?;
    print(&plain, &delivered, (bytes, half));
    Ok(())
}

fn yaml(server: &Server) -> String {
    format!(
        "    buffering: {{ size: 64 MiB, interval: 10 s }}\n    format: {{ lines: {{}} }}\n    \
         destination: {{ s3: {{ bucket: {} }} }}\n\
         s3: {{ endpoint: \"{}\", access_key_id: \"plain:{MINIO_KEY}\", secret_access_key: \"plain:{MINIO_SECRET}\" }}\n",
        BUCKETS[1],
        server.endpoint(),
    )
}

impl Costs {
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    fn note(&mut self, bytes: usize, took: Duration, (cpu, server): (Duration, Duration)) {
        let bytes = bytes as f64;
        self.bytes_per_second.push(bytes / took.as_secs_f64());
        self.cpu_per_gb.push(cpu.as_secs_f64() / (bytes / 1e9));
        self.server_cpu_per_gb.push(server.as_secs_f64() / (bytes / 1e9));
    }
}

fn print(plain: &Costs, delivered: &Costs, (bytes, cpus): (usize, usize)) {
    let megabytes = bytes / 1_000_000;
    meter::heading(&format!("{megabytes} MB to MinIO in objects of 64 MiB, {AT_ONCE} at once, {cpus} CPUs each"));
    for (who, costs) in [("plain client", plain), ("delivery stream", delivered)] {
        let median = |values: &[f64]| meter::median(values.iter().copied());
        meter::row(&format!("{who}: MB/s"), &format!("{:.0}", median(&costs.bytes_per_second) / 1e6), "");
        meter::row(&format!("{who}: its CPU s per GB"), &format!("{:.2}", median(&costs.cpu_per_gb)), "");
        meter::row(&format!("{who}: CPU s of MinIO per GB"), &format!("{:.2}", median(&costs.server_cpu_per_gb)), "");
    }
    let pairs = delivered.bytes_per_second.iter().zip(&plain.bytes_per_second).map(|(ours, plain)| ours / plain);
    meter::row("delivery stream / plain client, in the same round", &format!("{:.2}", meter::median(pairs)), ">= 0.80");
}

/// `bytes` in copies of `object`, the last one shorter.
fn by_plain_client(server: &Server, (object, bytes): (&Bytes, usize), round: usize) -> Result<Duration> {
    let store = AmazonS3Builder::new()
        .with_endpoint(server.endpoint())
        .with_allow_http(true)
        .with_region("us-east-1")
        .with_bucket_name(BUCKETS[0])
        .with_access_key_id(MINIO_KEY)
        .with_secret_access_key(MINIO_SECRET)
        .build()?;
    let objects = bytes.div_ceil(OBJECT_BYTES);
    let objects =
        (0..objects).map(|number| (number, object.slice(..OBJECT_BYTES.min(bytes - number * OBJECT_BYTES)))).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let began = Instant::now();
    runtime.block_on(put_all(store, objects, round))?;
    Ok(began.elapsed())
}

async fn put_all(store: AmazonS3, objects: Vec<(usize, Bytes)>, round: usize) -> Result<()> {
    let mut under_way = JoinSet::new();
    for (number, object) in objects {
        if under_way.len() == AT_ONCE
            && let Some(put) = under_way.join_next().await
        {
            put??;
        }
        let store = store.clone();
        under_way.spawn(async move { store.put(&Path::from(format!("{round}-{number}")), object.into()).await });
    }
    while let Some(put) = under_way.join_next().await {
        put??;
    }
    Ok(())
}
