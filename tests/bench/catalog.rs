//! A thousand Kinesis streams: the time to start on them, and what it costs to list and to describe them, which must not depend on
//! what is stored.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::client::{self, CREATE_STREAM, Call, Connection, DESCRIBE_STREAM, LIST_STREAMS, PUT_RECORDS};
use crate::daemon::{self, Daemon};
use crate::meter;

const STREAMS: usize = 1000;
const CALLS: usize = 300;
const STORED_MIB: usize = 256;
const YAML: &str = "delivery_streams: []\n";

pub(crate) fn run() -> Result<()> {
    let directory = meter::scratch()?;
    let binary = daemon::binary()?;
    meter::heading(&format!("{STREAMS} Kinesis streams of one shard"));
    let daemon = Daemon::start(&binary, directory.path(), YAML)?;
    let began = Instant::now();
    let mut connection = Connection::open(&daemon.api_host())?;
    for number in 0..STREAMS {
        let body = format!(r#"{{"StreamName":"{}","ShardCount":1}}"#, name(number));
        call(&mut connection, &daemon, CREATE_STREAM, &body)?;
    }
    row("made, one after the other", began.elapsed(), "");
    daemon.stop()?;
    let daemon = started(&binary, directory.path())?;
    let mut connection = Connection::open(&daemon.api_host())?;
    costs(&mut connection, &daemon, "with nothing stored")?;
    let records = vec![vec![b'x'; 100 << 10]; 10];
    let request = client::signed(PUT_RECORDS, &daemon.api_host(), &name(0), &records);
    for _ in 0..STORED_MIB {
        while !connection.put(PUT_RECORDS, &request)? {}
    }
    costs(&mut connection, &daemon, &format!("with {STORED_MIB} MiB stored in the first"))?;
    meter::row("memory of the daemon, MB", &format!("{:.1}", meter::mega(daemon.rss_bytes()?)), "");
    daemon.stop()
}

fn started(binary: &Path, directory: &Path) -> Result<Daemon> {
    let began = Instant::now();
    let daemon = Daemon::start(binary, directory, YAML)?;
    row("started after a clean stop", began.elapsed(), "<= 2000");
    Ok(daemon)
}

/// Medians of ListStreams with 100 names and of DescribeStream of the first.
fn costs(connection: &mut Connection, daemon: &Daemon, when: &str) -> Result<()> {
    let described = format!(r#"{{"StreamName":"{}"}}"#, name(0));
    for (what, operation, body) in
        [("ListStreams", LIST_STREAMS, r#"{"Limit":100}"#), ("DescribeStream", DESCRIBE_STREAM, &described)]
    {
        let mut times = Vec::new();
        for _ in 0..CALLS {
            let began = Instant::now();
            call(connection, daemon, operation, body)?;
            times.push(meter::millis(began.elapsed()));
        }
        let median = meter::median(times);
        meter::row(&format!("{what} {when}, median, ms"), &format!("{median:.2}"), "");
    }
    Ok(())
}

fn call(connection: &mut Connection, daemon: &Daemon, operation: Call, body: &str) -> Result<()> {
    let request = client::signed_body(operation, &daemon.api_host(), body.as_bytes());
    while !connection.put(operation, &request)? {}
    Ok(())
}

fn name(number: usize) -> String {
    format!("stream-{number:04}")
}

fn row(what: &str, time: Duration, target: &str) {
    meter::row(&format!("{what}, ms"), &format!("{:.0}", meter::millis(time)), target);
}
