//! How fast a subscriber hears: from the ack of a put to the event that has its record, one put after another.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::client::{self, Connection, DESCRIBE_STREAM, PUT_RECORD, REGISTER_CONSUMER, SUBSCRIBE, find};
use crate::daemon::{self, Daemon};
use crate::meter;

const PUTS: u64 = 500;
const PATIENCE: Duration = Duration::from_secs(60);
const YAML: &str = "streams: [{ name: bench, shards: 1 }]\ndelivery_streams: []\n";
/// Stands in front of the number of a record, and of nothing else.
const NUMBER: &[u8] = br#"{"SequenceNumber":""#;
const DIGITS: usize = 56;

/// A record, by its number, and when it was heard of.
type Heard = (Vec<u8>, Instant);

pub(crate) fn run() -> Result<()> {
    let directory = meter::scratch()?;
    let daemon = Daemon::start(&daemon::binary()?, directory.path(), YAML)?;
    let host = daemon.api_host();
    let mut connection = Connection::open(&host)?;
    let events = subscribe(&mut connection, &host)?;
    let put = client::signed(PUT_RECORD, &host, "bench", &[vec![b'x'; 500]]);
    let mut delays = Vec::new();
    for number in 0..PUTS {
        // At all distances from the event before.
        thread::park_timeout(Duration::from_millis(number * 7 % 40));
        let answer = connection.call(PUT_RECORD, &put)?.context("the daemon asks for patience")?;
        let acked = Instant::now();
        let wanted = numbers(&answer).next().context("an answer without a sequence number")?;
        let (heard, at) = events.recv_timeout(PATIENCE).context("no event came")?;
        if heard != wanted {
            bail!("an event has another record than was put");
        }
        delays.push(meter::millis(at.saturating_duration_since(acked)));
    }
    meter::heading("from the ack of a put to the event at a subscriber");
    meter::row("median, ms", &format!("{:.2}", meter::percentile(&mut delays, 50)), "<= 70");
    meter::row("p99, ms", &format!("{:.2}", meter::percentile(&mut delays, 99)), "");
    daemon.stop()
}

/// The records of the only shard from now on.
fn subscribe(connection: &mut Connection, host: &str) -> Result<Receiver<Heard>> {
    let mut call = |call, body: String| -> Result<Value> {
        let request = client::signed_body(call, host, body.as_bytes());
        let answer = connection.call(call, &request)?.context("the daemon asks for patience")?;
        Ok(serde_json::from_slice(&answer)?)
    };
    let described = call(DESCRIBE_STREAM, r#"{"StreamName":"bench"}"#.to_owned())?;
    let stream = described["StreamDescription"]["StreamARN"].as_str().context("a stream without an ARN")?;
    let consumer = call(REGISTER_CONSUMER, format!(r#"{{"StreamARN":"{stream}","ConsumerName":"bench"}}"#))?;
    let consumer = consumer["Consumer"]["ConsumerARN"].as_str().context("a consumer without an ARN")?;
    let body = format!(
        r#"{{"ConsumerARN":"{consumer}","ShardId":"shardId-000000000000","StartingPosition":{{"Type":"LATEST"}}}}"#
    );
    let mut subscription = Connection::open(host)?;
    subscription.ask(&client::signed_body(SUBSCRIBE, host, body.as_bytes()))?;
    let mut begun = Vec::new();
    while find(&begun, b"initial-response").is_none() {
        let more = subscription.follow()?;
        if more.is_empty() {
            bail!("no subscription: {}", String::from_utf8_lossy(&begun));
        }
        begun.extend(more);
    }
    // One record is under way at a time.
    let (sender, events) = sync_channel(1);
    thread::spawn(move || listen(subscription, &sender));
    Ok(events)
}

/// Until the connection ends or nobody wants to know.
fn listen(mut subscription: Connection, heard: &SyncSender<Heard>) {
    let mut received = Vec::new();
    while let Ok(more) = subscription.follow() {
        if more.is_empty() {
            return;
        }
        let at = Instant::now();
        received.extend(more);
        let found: Vec<Vec<u8>> = numbers(&received).collect();
        if found.is_empty() {
            continue;
        }
        received.clear();
        for number in found {
            if heard.send((number, at)).is_err() {
                return;
            }
        }
    }
}

fn numbers(mut text: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    std::iter::from_fn(move || {
        let start = find(text, NUMBER)? + NUMBER.len();
        let number = text.get(start..start + DIGITS)?.to_vec();
        text = &text[start + DIGITS..];
        Some(number)
    })
}
