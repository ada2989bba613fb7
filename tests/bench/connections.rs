//! What idle connections hold: each has put one record and stays. Figures are taken when the last one has been idle for some seconds,
//! as nearly all of many connections are.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::client::{self, Connection, PUT_RECORD};
use crate::daemon::{self, Daemon};
use crate::meter;

const IDLE: usize = 10_000;
const IDLE_FOR: Duration = Duration::from_secs(10);
const YAML: &str = "streams: [{ name: bench, shards: 1 }]\ndelivery_streams: []\n";

pub(crate) fn run() -> Result<()> {
    // Ours, beside the daemon's.
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
        .context("raising the limit of open files")?;
    let directory = meter::scratch()?;
    let daemon = Daemon::start(&daemon::binary()?, directory.path(), YAML)?;
    let host = daemon.api_host();
    let request = client::signed(PUT_RECORD, &host, "bench", &[b"hello".to_vec()]);
    // So that what the first requests leave behind is not counted.
    drop(open(&host, &request, IDLE / 100)?);
    let before = daemon.rss_bytes()?;
    let idle = open(&host, &request, IDLE)?;
    thread::park_timeout(IDLE_FOR);
    let held = daemon.rss_bytes()?.saturating_sub(before);
    meter::heading(&format!("{IDLE} idle connections"));
    meter::row("memory that they hold, MB", &format!("{:.1}", meter::mega(held)), "<= 100");
    meter::row("of each, KiB", &format!("{:.1}", meter::kib(held / IDLE as u64)), "");
    let peak = meter::mega(daemon.rss_peak_bytes()?);
    meter::row("the whole daemon at most, MB", &format!("{peak:.1}"), "");
    drop(idle);
    daemon.stop()
}

fn open(host: &str, request: &[u8], count: usize) -> Result<Vec<Connection>> {
    (0..count)
        .map(|_| {
            let mut connection = Connection::open(host)?;
            while !connection.put(PUT_RECORD, request)? {}
            Ok(connection)
        })
        .collect()
}
