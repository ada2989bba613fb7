//! A backlog that is in the log before anything is measured. It stands in a Kinesis stream, so that one after another, new
//! delivery streams read the same records from their beginning.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::client::{self, PUT_RECORDS};
use crate::daemon::{self, Daemon};

const CONNECTIONS: usize = 4;
const SOURCE: &str = "streams: [{ name: source, shards: 1 }]\n";

pub(crate) struct Stored {
    binary: PathBuf,
    directory: PathBuf,
    pub(crate) records: u64,
    /// Of the records alone.
    pub(crate) bytes: usize,
    /// What a daemon needs to be ready that delivers nothing.
    start: Cost,
}

/// What the delivery of all of them took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Until the last receipt, without the time in which a daemon starts.
    pub(crate) took: Duration,
    /// Of the daemon, without its start.
    pub(crate) cpu: Duration,
}

impl Stored {
    /// So many of `batches`, round and round.
    pub(crate) fn put(directory: &Path, batches: &[Vec<Vec<u8>>], count: usize) -> Result<Stored> {
        let (binary, directory) = (daemon::binary()?, directory.to_owned());
        let nothing = format!("{SOURCE}delivery_streams: []\n");
        let daemon = Daemon::start(&binary, &directory, &nothing)?;
        let host = daemon.api_host();
        let requests = batches.iter().map(|batch| client::signed(PUT_RECORDS, &host, "source", batch)).collect();
        client::send_all(&host, PUT_RECORDS, requests, (CONNECTIONS, count))?;
        daemon.stop()?;
        let began = Instant::now();
        let daemon = Daemon::start(&binary, &directory, &nothing)?;
        let start = Cost { took: began.elapsed(), cpu: daemon.cpu()? };
        daemon.stop()?;
        let sent = || (0..count).map(|number| &batches[number % batches.len()]);
        let records = sent().map(|batch| batch.len() as u64).sum();
        let bytes = sent().flatten().map(Vec::len).sum();
        Ok(Stored { binary, directory, records, bytes, start })
    }

    /// All of them by a new delivery stream of this name, whose other settings are in `yaml`, indented by four.
    pub(crate) fn deliver(&self, name: &str, yaml: &str) -> Result<Cost> {
        let yaml = format!(
            "{SOURCE}delivery_streams:\n  - name: {name}\n    from_stream: {{ name: source, start: trim_horizon }}\n{yaml}"
        );
        let began = Instant::now();
        let mut daemon = Daemon::start(&self.binary, &self.directory, &yaml)?;
        daemon.wait_drained(name, self.records)?;
        let took = began.elapsed().saturating_sub(self.start.took);
        let cost = Cost { took, cpu: daemon.cpu()?.saturating_sub(self.start.cpu) };
        daemon.stop()?;
        Ok(cost)
    }
}
