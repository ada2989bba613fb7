//! What it costs to take records: signed requests, answered after fsync. No delivery stream reads them where a Kinesis stream
//! takes them; a Firehose put is measured with delivery gathering beside it.
//!
//! Rows are measured in turns, several rounds each, so that what else the machine does falls on all of them. The log that batches
//! are put to has delivered before, as one that is used has: it has segments to use again, and need not fill new ones with zeros.
//! Beside it, in the same rounds, the plainest program that does what must be done for the same requests.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::client::{self, Call, PUT_RECORD, PUT_RECORD_BATCH, PUT_RECORDS, PUT_RECORDS_CBOR};
use crate::daemon::{self, Daemon};
use crate::plain_server::PlainServer;
use crate::{meter, records};

const ROUNDS: usize = 5;
const BATCH: usize = 500;
const RECORD_BYTES: usize = 500;
const DISTINCT: usize = 64;
/// Records of one round: in batches, and one at a time.
const IN_BATCHES: usize = 200_000;
const SINGLE: usize = 50_000;
/// So that groups form; AWS allows a record of each key a place of its own in the order, so clients wait for each answer.
const SINGLE_CONNECTIONS: usize = 64;
const BATCH_CONNECTIONS: usize = 4;

const YAML: &str = "memory: 1 GiB\nstreams: [{ name: bench, shards: 4 }]\n\
     delivery_streams:\n  - name: bench\n    buffering: { size: 256 MiB, interval: 15 m }\n    format: { lines: {} }\n    \
     destination: { file: { directory: ./lake } }\n";
/// Enough for one chunk to be delivered, and so little that none is due while anything is measured.
const BEFORE: usize = 600_000;

struct Kind {
    name: &'static str,
    call: Call,
    records: usize,
    connections: usize,
}

const KINDS: [Kind; 4] = [
    Kind { name: "PutRecordBatch, JSON", call: PUT_RECORD_BATCH, records: IN_BATCHES, connections: BATCH_CONNECTIONS },
    Kind { name: "PutRecords, JSON", call: PUT_RECORDS, records: IN_BATCHES, connections: BATCH_CONNECTIONS },
    Kind { name: "PutRecords, CBOR", call: PUT_RECORDS_CBOR, records: IN_BATCHES, connections: BATCH_CONNECTIONS },
    Kind { name: "PutRecord, JSON", call: PUT_RECORD, records: SINGLE, connections: SINGLE_CONNECTIONS },
];

pub(crate) fn run() -> Result<()> {
    let directory = meter::scratch()?;
    let payloads: Vec<Vec<Vec<u8>>> = records::batches(DISTINCT, BATCH)
        .into_iter()
        .map(|batch| {
            batch
                .into_iter()
                .map(|mut record| {
                    record.resize(RECORD_BYTES, b' ');
                    record
                })
                .collect()
        })
        .collect();
    let mut costs: [Vec<(f64, f64)>; KINDS.len()] = Default::default();
    let mut plain = Vec::new();
    for round in 0..ROUNDS {
        let mut daemon = Daemon::start(&daemon::binary()?, &directory.path().join(round.to_string()), YAML)?;
        send(&daemon.api_host(), &KINDS[0], BEFORE, &payloads)?;
        daemon.wait_delivered("bench", 1)?;
        for (kind, costs) in KINDS.iter().zip(&mut costs) {
            costs.push(measure(&daemon, kind, &payloads)?);
        }
        drop(daemon);
        plain.push(measure_plain(directory.path(), &payloads)?);
        std::fs::remove_dir_all(directory.path().join(round.to_string()))?;
    }
    meter::heading("taking records, signed, answered after fsync (medians)");
    let targets = ["1.5", "", "", ""];
    for ((kind, costs), target) in KINDS.iter().zip(&costs).zip(targets) {
        let cpu = meter::median(costs.iter().map(|cost| cost.0));
        let rate = meter::median(costs.iter().map(|cost| cost.1));
        meter::row(&format!("{}: CPU s per million records", kind.name), &format!("{cpu:.2}"), target);
        let target = if kind.records == SINGLE { "15000" } else { "" };
        meter::row(&format!("{}: records a second of CPU", kind.name), &format!("{:.0}", 1e6 / cpu), target);
        meter::row(&format!("{}: records a second", kind.name), &format!("{rate:.0}"), "");
    }
    let pairs = costs[0].iter().zip(&plain).map(|(daemon, plain)| daemon.0 / plain);
    let plain = meter::median(plain.iter().copied());
    meter::row("a plain program, for the batches: CPU s per million records", &format!("{plain:.2}"), "");
    meter::row("CPU of the daemon / CPU of that, in the same round", &format!("{:.2}", meter::median(pairs)), "");
    let pairs = costs[2].iter().zip(&costs[1]).map(|(cbor, json)| cbor.0 / json.0);
    meter::row("CPU of CBOR / CPU of JSON, in the same round", &format!("{:.2}", meter::median(pairs)), "1.00");
    Ok(())
}

/// CPU seconds of the daemon per million records, and records a second.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn measure(daemon: &Daemon, kind: &Kind, payloads: &[Vec<Vec<u8>>]) -> Result<(f64, f64)> {
    let cpu = daemon.cpu()?;
    let took = send(&daemon.api_host(), kind, kind.records, payloads)?;
    let cpu = daemon.cpu()?.saturating_sub(cpu);
    Ok((cpu.as_secs_f64() / (kind.records as f64 / 1e6), kind.records as f64 / took.as_secs_f64()))
}

/// The same of the plain program, for batches.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn measure_plain(directory: &Path, payloads: &[Vec<Vec<u8>>]) -> Result<f64> {
    let kind = &KINDS[0];
    let bytes = kind.records * RECORD_BYTES;
    let path = directory.join("plain");
    let server = PlainServer::start(&path, (kind.connections, bytes))?;
    send(&server.host()?, kind, kind.records, payloads)?;
    let cpu = server.stop()?;
    std::fs::remove_file(path)?;
    Ok(cpu.as_secs_f64() / (kind.records as f64 / 1e6))
}

/// Signed before: whoever sends must not take the CPU that is measured.
fn send(host: &str, kind: &Kind, records: usize, payloads: &[Vec<Vec<u8>>]) -> Result<Duration> {
    let requests = payloads.iter().map(|batch| client::signed(kind.call, host, "bench", batch)).collect();
    let count = if kind.connections == SINGLE_CONNECTIONS { records } else { records / BATCH };
    let began = Instant::now();
    client::send_all(host, kind.call, requests, (kind.connections, count))?;
    Ok(began.elapsed())
}
