//! The same documents into the same real OpenSearch, in requests of 5 MB at the same concurrency: by a plain loader that has the
//! requests in memory, and by a delivery stream that has the records in its log. In turns, on one machine; every other round the
//! delivery stream comes first, for a server that has run longer is quicker.
//!
//! `HYDRANT_BENCH_RECORDS` (120,000) may be set.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};

use crate::client::{self, Connection};
use crate::servers::Server;
use crate::stored::Stored;
use crate::{meter, records};

const ROUNDS: usize = 4;
const RECORDS_DEFAULT: usize = 120_000;
const BATCH: usize = 500;
const REQUEST_BYTES: usize = 5 << 20;
/// As many chunks of a delivery stream are on their way at once, each of one request.
const AT_ONCE: usize = 4;

pub(crate) fn run() -> Result<()> {
    let directory = meter::scratch()?;
    let batches = records::batches(meter::records(RECORDS_DEFAULT)?.div_ceil(BATCH), BATCH);
    let documents: Vec<&Vec<u8>> = batches.iter().flatten().collect();
    let stored = Stored::put(&directory.path().join("hydrant"), &batches, batches.len())?;
    let server = Server::start("opensearch", &directory.path().join("opensearch"))?;
    // What a virtual machine learns is learned before anything is measured.
    load(&server, requests(&documents, "warm", true))?;
    let (mut named, mut unnamed, mut delivered, mut cpus) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let mut plain = || -> Result<()> {
            for (costs, ids) in [(&mut named, true), (&mut unnamed, false)] {
                costs.push(load(&server, requests(&documents, &format!("plain-{ids}-{round}"), ids))?.as_secs_f64());
            }
            Ok(())
        };
        let mut ours = || -> Result<()> {
            let name = format!("delivered-{round}");
            let cost = stored.deliver(&name, &yaml(&server, &name))?;
            delivered.push(cost.took.as_secs_f64());
            cpus.push(cost.cpu.as_secs_f64());
            Ok(())
        };
        if round % 2 == 0 { plain().and_then(|()| ours()) } else { ours().and_then(|()| plain()) }?;
    }
    print((&named, &unnamed, &delivered), &cpus, (documents.len(), stored.bytes));
    Ok(())
}

fn yaml(server: &Server, index: &str) -> String {
    format!(
        "    buffering: {{ interval: 10 s }}\n    destination: {{ opensearch: {{ endpoint: \"{}\", index: {index}, \
         index_rotation: none }} }}\n    backup: {{ file: {{ directory: ./lake }} }}\n",
        server.endpoint()
    )
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn print((named, unnamed, delivered): (&[f64], &[f64], &[f64]), cpus: &[f64], (documents, bytes): (usize, usize)) {
    meter::heading(&format!("{documents} documents to OpenSearch in requests of 5 MB, {AT_ONCE} at once"));
    let mega = bytes as f64 / 1e6;
    let rate = |seconds: &[f64]| format!("{:.1}", mega / meter::median(seconds.iter().copied()));
    meter::row("plain loader, names of its own: MB/s", &rate(named), "");
    meter::row("plain loader, named by the server: MB/s", &rate(unnamed), "");
    meter::row("delivery stream, names of its own: MB/s", &rate(delivered), "");
    for (what, plain, target) in [("named alike", named, ">= 0.90"), ("named by the server", unnamed, "")] {
        let pairs = plain.iter().zip(delivered).map(|(plain, ours)| plain / ours);
        let ratio = format!("{:.2}", meter::median(pairs));
        meter::row(&format!("delivery stream / plain loader, {what}, in the same round"), &ratio, target);
    }
    let per_million = meter::median(cpus.iter().copied()) / (documents as f64 / 1e6);
    meter::row("CPU s of the daemon per million documents", &format!("{per_million:.1}"), "");
}

/// Bulk requests that make these documents.
fn requests(documents: &[&Vec<u8>], index: &str, named: bool) -> Vec<Vec<u8>> {
    let mut requests: Vec<Vec<u8>> = vec![Vec::new()];
    for (number, document) in documents.iter().enumerate() {
        let last = requests.last_mut().expect("there is one from the beginning");
        let request = if last.len() + document.len() > REQUEST_BYTES {
            requests.push(Vec::new());
            requests.last_mut().expect("it was just added")
        } else {
            last
        };
        // As long as those of a delivery stream, and as little in order.
        let id = || client::sha256(format!("{index}-{number}").as_bytes());
        let id = if named { format!(r#","_id":"{}""#, &id()[..43]) } else { String::new() };
        request.extend_from_slice(format!("{{\"create\":{{\"_index\":\"{index}\"{id}}}}}\n").as_bytes());
        request.extend_from_slice(document);
        request.push(b'\n');
    }
    requests
}

fn load(server: &Server, requests: Vec<Vec<u8>>) -> Result<Duration> {
    let (requests, next) = (Arc::new(requests), Arc::new(AtomicUsize::new(0)));
    let began = Instant::now();
    let loaders: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let (requests, next, host) = (Arc::clone(&requests), Arc::clone(&next), server.host().to_owned());
            thread::spawn(move || post_all(&host, &requests, &next))
        })
        .collect();
    loaders.into_iter().try_for_each(|loader| loader.join().map_err(|_| anyhow!("a loader panicked"))?)?;
    Ok(began.elapsed())
}

fn post_all(host: &str, requests: &[Vec<u8>], next: &AtomicUsize) -> Result<()> {
    let mut connection = Connection::open(host)?;
    while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
        let (status, answer) = connection.post(host, "/_bulk", request)?;
        let taken = answer.windows(14).any(|window| window == br#""errors":false"#);
        ensure!(status == 200 && taken, "a bulk request was not taken, status {status}");
    }
    Ok(())
}
