//! What the access log plugin costs: `cargo run --release -p hydrant-plugins --example cost`, in the crate's directory.
#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hydrant_config::{OnError, Plugin};
use hydrant_plugins::{Host, HostOptions, Input};
use hydrant_record::{Lsn, Timestamp, Unit};
use rustix::time::{ClockId, clock_gettime};

const ROUNDS: u32 = 20;

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let plugin = Plugin {
        path: root.join("plugins/access_log.wasm"),
        sha256: None,
        config: [].into(),
        memory: 128 << 20,
        cpu_per_batch: Duration::from_secs(2),
        on_error: OnError::FailRecord,
        arn: None,
    };
    let records = records(File::open(root.join("data/access_log.gz"))?)?;
    for (name, batches_per_instance) in [("reused", 256), ("fresh per batch", 1)] {
        let host = Host::new(HostOptions { batches_per_instance, ..HostOptions::default() })?;
        let began = Instant::now();
        let mut transform = host.load(&plugin, "cost")?.transform();
        let load = began.elapsed();
        let mut spent = f64::MAX;
        for _ in 0..ROUNDS {
            let began = cpu_seconds();
            for batch in records.chunks(500) {
                transform.transform(batch)?;
            }
            spent = spent.min(cpu_seconds() - began);
        }
        let micros = spent * 1e6 / records.len() as f64;
        println!("instance {name}: load {load:.1?}, {micros:.2} us of CPU per record in batches of 500");
    }
    Ok(())
}

fn records(file: File) -> Result<Vec<Input>, Box<dyn Error>> {
    let lines = BufReader::new(flate2::read::GzDecoder::new(file)).lines();
    let record = |(n, line): (u64, Result<String, _>)| {
        let unit = Unit { lsn: Lsn::FIRST.plus(n), sub: 0 };
        Ok(Input { unit, arrived_at: Timestamp::from_millis(0), source: None, data: Bytes::from(line?) })
    };
    (0..).zip(lines).map(record).collect()
}

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
