//! Destinations that take records: what they refuse is in the backup, once, whatever fails in between.

use std::sync::Arc;
use std::time::Duration;

use crate::server::{Broken, Server, text};
use crate::support::{GRACE, Place, numbered};
use hydrant_delivery::{Pipeline, Status};
use hydrant_disk::faulty::Fault;
use hydrant_disk::{Disk, FaultyDisk, RealDisk};
use hydrant_shardlog::ShardLog;
use hydrant_sinks::{Sink, SinkErrorKind};
use serde_json::Value;

pub(crate) const ENDPOINT: &str = r#"    buffering: { interval: 0 s }
    destination: { http_endpoint: { url: "http://127.0.0.1:9/", retry: 300 s } }
    backup: { records: failed, file: { directory: LAKE, prefix: all/, error_output_prefix: "failed/!{firehose:error-output-type}/" } }"#;

const FAILED: &str = "failed/http-endpoint-failed/";

fn begin(place: &Place, server: &Arc<Server>) -> (ShardLog, Pipeline) {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new());
    let log = place.log(Arc::clone(&disk)).unwrap();
    let server: Arc<dyn Sink> = Arc::clone(server) as Arc<dyn Sink>;
    let pipeline = place.start(disk, &log, server, None).unwrap();
    (log, pipeline)
}

async fn deliver(place: &Place, server: &Arc<Server>, grace: Duration) -> Status {
    let (log, pipeline) = begin(place, server);
    pipeline.drain(grace).await.unwrap();
    pipeline.reconcile();
    let status = pipeline.status();
    log.close().unwrap();
    assert!(status.accounting.holds() && !status.accounting_mismatch, "{status:?}");
    status
}

/// Delivered, failed and left.
pub(crate) fn sums(status: &Status) -> (u64, u64, u64) {
    let accounting = status.accounting;
    (accounting.delivered, accounting.failed, accounting.backlog)
}

/// What the backup has, as (record, code, attempts).
fn failed(place: &Place) -> Vec<(String, String, u64)> {
    let lines = place.lines_below(FAILED);
    let lines = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut found: Vec<_> = lines
        .map(|line| {
            let code = line["errorCode"].as_str().unwrap().to_owned();
            (text(line["rawData"].as_str().unwrap()), code, line["attemptsMade"].as_u64().unwrap())
        })
        .collect();
    found.sort();
    found
}

fn refused(records: &[&str], code: &str, attempts: u64) -> Vec<(String, String, u64)> {
    records.iter().map(|record| ((*record).to_owned(), code.to_owned(), attempts)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_verdict_on_an_item_is_final_and_only_the_others_are_sent_again() {
    let place = Place::new(ENDPOINT);
    place.append(&["ok-1", "bad-1", "busy-1", "ok-2", "bad-2", "busy-2"]);
    let server = Arc::new(Server::default());
    let status = deliver(&place, &server, Duration::from_secs(600)).await;
    assert_eq!(sums(&status), (4, 2, 0));
    assert_eq!(failed(&place), refused(&["bad-1", "bad-2"], "400", 1));
    let times = [("bad-1", 1), ("bad-2", 1), ("busy-1", 3), ("busy-2", 3), ("ok-1", 1), ("ok-2", 1)];
    assert_eq!(server.sent(), times.map(|(record, times)| (record.to_owned(), times)).into());
    let line: Value = serde_json::from_str(&place.lines_below(FAILED)[0]).unwrap();
    assert_eq!((&line["errorMessage"], &line["dataId"]), (&"`bad-1` is not liked".into(), &"2.0".into()));
    assert!(line["arrivalTimestamp"].as_u64() <= line["attemptEndingTimestamp"].as_u64());
    assert_eq!(place.objects().len(), 1, "and nothing else: {:?}", place.objects().keys());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_taken_within_the_retry_duration_goes_to_the_backup() {
    for kind in [SinkErrorKind::Transient, SinkErrorKind::Misconfigured] {
        let place = Place::new(ENDPOINT);
        place.append(&["ok-1", "ok-2"]);
        let server = Arc::new(Server::down(kind));
        let begun = tokio::time::Instant::now();
        let status = deliver(&place, &server, Duration::from_secs(3600)).await;
        assert_eq!(sums(&status), (0, 2, 0));
        assert!(begun.elapsed() >= Duration::from_secs(300), "{:?}", begun.elapsed());
        let attempts = server.times().len() as u64;
        assert!(attempts > 5);
        assert_eq!(failed(&place), refused(&["ok-1", "ok-2"], "Test.Down", attempts));
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_refused_whole_goes_to_the_backup_at_once() {
    let place = Place::new(ENDPOINT);
    place.append(&["ok-1", "ok-2"]);
    let server = Arc::new(Server::down(SinkErrorKind::Rejected));
    let status = deliver(&place, &server, GRACE).await;
    assert_eq!((sums(&status), status.problem), ((0, 2, 0), None));
    assert_eq!(failed(&place), refused(&["ok-1", "ok-2"], "Test.Down", 1));
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_was_asked_for_is_kept_and_a_lost_answer_asks_under_the_same_name() {
    let place = Place::new(ENDPOINT);
    place.append(&["busy-1", "lost-1"]);
    let server = Arc::new(Server { retry_after: Some(Duration::from_secs(45)), ..Server::default() });
    let status = deliver(&place, &server, Duration::from_secs(3600)).await;
    assert_eq!(sums(&status), (2, 0, 0));
    let (attempts, times) = (server.attempts(), server.times());
    assert_eq!(attempts.into_values().collect::<Vec<_>>(), [3]);
    assert!(times[2] - times[1] >= Duration::from_secs(45));
}

/// Its backup too: nothing is dropped and nothing done before it can be written.
#[tokio::test(start_paused = true)]
async fn a_backup_that_fails_blocks_its_chunk_and_is_told() {
    let place = Place::new(ENDPOINT);
    place.append(&["bad-1", "ok-1"]);
    std::fs::write(place.lake(), "a file where the directory should be").unwrap();
    let server = Arc::new(Server::default());
    let (log, pipeline) = begin(&place, &server);
    while pipeline.status().problem.is_none() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let status = pipeline.status();
    assert_eq!((sums(&status), status.staged_chunks), ((0, 0, 2), 1), "{status:?}");
    pipeline.stop().await.unwrap();
    log.close().unwrap();
    std::fs::remove_file(place.lake()).unwrap();
    let sent = server.sent();
    assert_eq!(sums(&deliver(&place, &server, GRACE).await), (1, 1, 0));
    assert_eq!(failed(&place), refused(&["bad-1"], "400", 1));
    assert_eq!(server.sent(), sent, "what has a verdict is not sent again after a restart");
}

#[tokio::test(start_paused = true)]
async fn a_backup_of_all_has_every_record_as_it_was_put() {
    let place = Place::new(&ENDPOINT.replace("records: failed", "records: all"));
    place.append(&["bad-1", "ok-1", "ok-2"]);
    let server = Arc::new(Server::default());
    assert_eq!(sums(&deliver(&place, &server, GRACE).await), (2, 1, 0));
    assert_eq!(place.lines_below("all/"), ["bad-1", "ok-1", "ok-2"]);
    assert_eq!(failed(&place).len(), 1);
    // Beside objects, and even in the same place under the same prefix.
    let place = Place::new(
        "    buffering: { interval: 0 s }\n    destination: { file: { directory: LAKE, prefix: a/ } }\n    \
         backup: { records: all, file: { directory: LAKE, prefix: a/ } }",
    );
    place.append(&["one", "two"]);
    let status = place.deliver_all(None).await;
    assert!(status.accounting.holds());
    assert_eq!((status.accounting.delivered, status.objects), (2, 2));
    assert_eq!(place.lines_below("a/"), ["one", "two", "one", "two"]);
}

const WORDS: [&str; 4] = ["ok", "bad", "busy", "lost"];

fn filled(size: usize) -> Place {
    let place = Place::new(ENDPOINT);
    for word in WORDS {
        let records: Vec<_> = numbered(&format!("{word}-{}", "x".repeat(size)), 3);
        place.append(&records.iter().map(String::as_str).collect::<Vec<_>>());
    }
    place
}

async fn run_until_gone(place: &Place, server: &Arc<Server>, fault: Fault) -> u64 {
    let disk = FaultyDisk::new(Arc::new(RealDisk::new()));
    disk.inject(fault);
    let faulty: Arc<dyn Disk> = Arc::new(disk.clone());
    if let Ok(log) = place.log(Arc::clone(&faulty))
        && let Ok(pipeline) = place.start(faulty, &log, Arc::clone(server) as Arc<dyn Sink>, None)
    {
        // An error is fine: the daemon would end and be started again.
        let _ = pipeline.drain(Duration::from_secs(10)).await;
        let _ = log.close();
    }
    disk.calls()
}

/// What a run and a restart on a good device came to.
async fn assert_each_record_has_one_fate(place: &Place, server: &Arc<Server>, size: usize, n: u64) {
    let (backed_up, before) = (!place.objects().is_empty(), server.sent());
    let status = deliver(place, server, Duration::from_secs(600)).await;
    assert_eq!(sums(&status), (9, 3, 0), "call {n}");
    let bad = numbered(&format!("bad-{}", "x".repeat(size)), 3);
    let found: Vec<_> = failed(place).into_iter().map(|(record, ..)| record).collect();
    assert!(found == bad, "call {n}: {} records in the backup", found.len());
    let (sent, taken) = (server.sent(), server.taken());
    assert_eq!(taken.len(), 9, "call {n}");
    assert!(bad.iter().all(|record| sent.contains_key(record) && !taken.contains_key(record)));
    if backed_up {
        assert!(sent == before, "call {n}: verdicts were durable before the backup had a byte");
    }
    let strays: Vec<_> = place.objects().into_keys().filter(|key| key.contains("/.")).collect();
    assert!(strays.is_empty(), "{strays:?}");
}

#[tokio::test(start_paused = true)]
async fn a_device_that_fails_at_any_call_gives_every_record_one_fate() {
    // In the journal, and in files.
    for (size, fault) in [(1, Fault::From as fn(u64) -> Fault), (1, Fault::Call), (40 << 10, Fault::From)] {
        for n in 1.. {
            let (place, server) = (filled(size), Arc::new(Server::default()));
            let calls = run_until_gone(&place, &server, fault(n)).await;
            assert_each_record_has_one_fate(&place, &server, size, n).await;
            if calls < n {
                assert!(n > 40, "the run had only {n} calls; does it still go through the disk?");
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn objects_are_tried_for_ever() {
    let place = Place::lines();
    place.append(&["one"]);
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new());
    let log = place.log(Arc::clone(&disk)).unwrap();
    let pipeline = place.start(disk, &log, Arc::new(Broken), None).unwrap();
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    let status = pipeline.status();
    assert_eq!((sums(&status), status.staged_chunks), ((0, 0, 1), 1));
    assert_eq!(status.problem.as_deref(), Some("a store: no access"));
    pipeline.stop().await.unwrap();
}
