//! What Hydrant costs, beside the plainest program that does the same to the same disk in the same run.
//!
//! `bench [PART…]`: `delivery` (the whole daemon), `api` (taking records), `partitions` and `partitions-s3` (many beside one), `connections` (idle ones),
//! `catalog` (a thousand Kinesis streams), `subscriber` (how fast it hears), `minio` and `opensearch` (beside a plain client of
//! the same real server), `outage` (a backlog of gigabytes), `outbox` (beside delivery that has none), `log` (the shard log alone:
//! all of the following), `throughput`, `acks`, `streams`,
//! `reading`, `backlog`. No part named: everything. Each part has a process of its own, so that the
//! memory and CPU time of one never stand in the figures of another.
//!
//! It prints tables and judges nothing: other programs share the machine, so only ratios within a run and CPU seconds
//! mean anything. `HYDRANT_BENCH_DIR` names the directory whose disk is measured.
#![expect(clippy::print_stdout, reason = "the tables are the result")]

mod api;
mod catalog;
mod client;
mod connections;
mod daemon;
mod delivery;
mod discard;
mod log;
mod meter;
mod minio;
mod opensearch;
mod outage;
mod outbox;
mod partitions;
mod plain_server;
mod records;
mod servers;
mod stored;
mod subscriber;

use std::env;
use std::process::Command;

use anyhow::{Context, Result, bail};

type Part = (&'static str, fn() -> Result<()>);

const DAEMON: &[Part] = &[
    ("delivery", delivery::run),
    ("api", api::run),
    ("partitions", partitions::run),
    ("partitions-s3", partitions::run_s3),
    ("connections", connections::run),
    ("catalog", catalog::run),
    ("subscriber", subscriber::run),
    ("minio", minio::run),
    ("opensearch", opensearch::run),
    ("outage", outage::run),
    ("outbox", outbox::run),
];
const LOG: &[Part] = &[
    ("throughput", log::throughput::run),
    ("acks", log::acks::run),
    ("streams", log::streams::run),
    ("reading", log::reading::run),
    ("backlog", log::backlog::run),
];

fn main() -> Result<()> {
    let mut parts: Vec<Part> = Vec::new();
    for name in env::args().skip(1) {
        let all = || LOG.iter().chain(DAEMON);
        match name.as_str() {
            "log" => parts.extend(LOG),
            name => match all().find(|(known, _)| *known == name) {
                Some(part) => parts.push(*part),
                None => {
                    let known: Vec<&str> = all().map(|(known, _)| *known).collect();
                    bail!("no part `{name}`; there are: log, {}", known.join(", "))
                }
            },
        }
    }
    if parts.is_empty() {
        parts.extend(LOG);
        parts.extend(DAEMON);
    }
    if let [(_, run)] = parts[..] {
        return run();
    }
    for (name, _) in parts {
        let status =
            Command::new(env::current_exe()?).arg(name).status().with_context(|| format!("starting {name}"))?;
        if !status.success() {
            bail!("`bench {name}` ended with {status}");
        }
    }
    Ok(())
}
