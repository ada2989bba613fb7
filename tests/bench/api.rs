//! What it costs to take records: signed requests, answered after fsync. No delivery stream reads them where a Kinesis stream
//! takes them; a Firehose put is measured with delivery gathering beside it.
//!
//! Rows are measured in turns, several rounds each, so that what else the machine does falls on all of them.

use std::time::Instant;

use anyhow::Result;

use crate::client::{self, Call, PUT_RECORD, PUT_RECORD_BATCH, PUT_RECORDS, PUT_RECORDS_CBOR};
use crate::daemon::{self, Daemon};
use crate::{meter, records};

const ROUNDS: usize = 5;
const BATCH: usize = 500;
const DISTINCT: usize = 64;
/// Records of one round: in batches, and one at a time.
const IN_BATCHES: usize = 200_000;
const SINGLE: usize = 50_000;
/// So that groups form; AWS allows a record of each key a place of its own in the order, so clients wait for each answer.
const SINGLE_CONNECTIONS: usize = 64;
const BATCH_CONNECTIONS: usize = 4;

const YAML: &str = "memory: 1 GiB\nstreams: [{ name: bench, shards: 4 }]\n\
     delivery_streams:\n  - name: bench\n    buffering: { size: 1 GiB, interval: 15 m }\n    format: { lines: {} }\n    \
     destination: { file: { directory: ./lake } }\n";

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
    // 500 bytes each.
    let payloads: Vec<Vec<Vec<u8>>> = records::batches(DISTINCT, BATCH)
        .into_iter()
        .map(|batch| {
            batch
                .into_iter()
                .map(|mut record| {
                    record.resize(500, b' ');
                    record
                })
                .collect()
        })
        .collect();
    let mut costs: [Vec<(f64, f64)>; KINDS.len()] = Default::default();
    for round in 0..ROUNDS {
        let daemon = Daemon::start(&daemon::binary()?, &directory.path().join(round.to_string()), YAML)?;
        for (kind, costs) in KINDS.iter().zip(&mut costs) {
            costs.push(measure(&daemon, kind, &payloads)?);
        }
        drop(daemon);
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
    let pairs = costs[2].iter().zip(&costs[1]).map(|(cbor, json)| cbor.0 / json.0);
    meter::row("CPU of CBOR / CPU of JSON, in the same round", &format!("{:.2}", meter::median(pairs)), "1.00");
    Ok(())
}

/// CPU seconds of the daemon per million records, and records a second.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn measure(daemon: &Daemon, kind: &Kind, payloads: &[Vec<Vec<u8>>]) -> Result<(f64, f64)> {
    let host = daemon.api_host();
    let requests = payloads.iter().map(|batch| client::signed(kind.call, &host, "bench", batch)).collect();
    let count = if kind.connections == SINGLE_CONNECTIONS { kind.records } else { kind.records / BATCH };
    let (cpu, began) = (daemon.cpu()?, Instant::now());
    client::send_all(&host, kind.call, requests, (kind.connections, count))?;
    let took = began.elapsed();
    let cpu = daemon.cpu()?.saturating_sub(cpu);
    let millions = kind.records as f64 / 1e6;
    Ok((cpu.as_secs_f64() / millions, kind.records as f64 / took.as_secs_f64()))
}
