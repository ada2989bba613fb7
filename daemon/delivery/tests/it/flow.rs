//! What becomes of records: partitions, limits, refusals, retries, and the sum of all of it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::support::{GRACE, Place, append, numbered};
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use hydrant_disk::{Disk, FaultyDisk, RealDisk};
use hydrant_plugins::{FailureCode, Input, Outcome, PluginName, Transform, TransformError};
use hydrant_sinks::{Delivery, Receipt, Sink, SinkError, SinkErrorKind};

/// Answers by the record's first word.
#[derive(Debug)]
pub(crate) struct ByWord;

impl Transform for ByWord {
    fn transform(&mut self, records: &[Input]) -> Result<Vec<Outcome>, TransformError> {
        let outcome = |input: &Input| {
            let text = String::from_utf8(input.data.to_vec()).unwrap();
            match text.split_once(' ') {
                Some(("drop", _)) => Outcome::Dropped,
                Some(("fail", why)) => Outcome::ProcessingFailed {
                    code: FailureCode::ProcessingFailedStatus,
                    message: why.to_owned(),
                    plugin: PluginName("urn:hydrant:plugin:test".into()),
                },
                Some((key, rest)) => Outcome::Ok {
                    data: Bytes::from(rest.to_owned()),
                    partition_keys: vec![("key".to_owned(), key.to_owned())],
                },
                None => Outcome::Ok { data: Bytes::from(text), partition_keys: Vec::new() },
            }
        };
        Ok(records.iter().map(outcome).collect())
    }
}

pub(crate) const BY_KEY: &str = r#"    buffering: { interval: 900 s }
    processing: { plugins: [{ path: PLUGIN }] }
    partitioning: { partitions_max: 2 }
    destination:
      file:
        directory: LAKE
        prefix: "ok/key=!{partitionKeyFromLambda:key}/"
        error_output_prefix: "errors/!{firehose:error-output-type}/""#;

fn json(line: &str) -> serde_json::Value {
    serde_json::from_str(line).unwrap()
}

#[tokio::test]
async fn every_record_goes_exactly_one_way() {
    let place = Place::new(BY_KEY);
    place.append(&["a 1", "b 2", "drop x", "a 3", "fail too old", "c over the limit", "nokey", "b 4", "a/../b 5"]);
    let status = place.deliver_all(Some(Box::new(ByWord))).await;
    let accounting = status.accounting;
    assert!(accounting.holds());
    assert_eq!(
        (accounting.stored, accounting.delivered, accounting.failed, accounting.dropped, accounting.backlog),
        (9, 4, 4, 1, 0)
    );
    assert_eq!(place.lines_below("ok/key=a/"), ["1", "3"]);
    assert_eq!(place.lines_below("ok/key=b/"), ["2", "4"]);
    let failed = place.lines_below("errors/processing-failed/");
    assert_eq!(failed.len(), 1);
    let failed = json(&failed[0]);
    assert_eq!(failed["rawData"], "ZmFpbCB0b28gb2xk", "the record as it was put");
    assert_eq!(
        (&failed["errorCode"], &failed["errorMessage"], &failed["attemptsMade"]),
        (&"Lambda.ProcessingFailedStatus".into(), &"too old".into(), &1.into())
    );
    assert_eq!(place.lines_below("errors/activePartitionExceeded/").len(), 2, "a third key, and a fourth");
    let keyless = place.lines_below("errors/metadata-extraction-failed/");
    assert!(keyless[0].contains("partition key `key`"), "{keyless:?}");
}

#[tokio::test]
async fn a_partition_value_cannot_leave_its_prefix_nor_make_a_name_too_long() {
    let place = Place::new(BY_KEY);
    let long = format!("{} x", "k".repeat(300));
    place.append(&["../../../etc 1", &long]);
    let status = place.deliver_all(Some(Box::new(ByWord))).await;
    assert_eq!((status.accounting.delivered, status.accounting.failed), (1, 1));
    let keys: Vec<_> = place.objects().into_keys().collect();
    assert!(keys.iter().any(|key| key.starts_with("ok/key=..%2F..%2F..%2Fetc/")), "{keys:?}");
    let refused = place.lines_below("errors/metadata-extraction-failed/");
    assert!(refused[0].contains("shorten the partition keys"), "{refused:?}");
    assert_eq!(json(&refused[0])["rawData"].as_str().unwrap().len(), long.len().div_ceil(3) * 4);
}

#[tokio::test]
async fn what_does_not_fit_the_schema_is_in_the_error_output_as_it_was_put() {
    let place = Place::new(
        "    buffering: { interval: 900 s }\n    format: { parquet: { columns: { n: int, s: string } } }\n    \
         destination: { file: { directory: LAKE, prefix: ok/, error_output_prefix: errors/ } }",
    );
    place.append(&[r#"{"n":1,"s":"a"}"#, r#"{"n":"no number"}"#, "not json", r#"{"n":2}"#]);
    let status = place.deliver_all(None).await;
    assert_eq!((status.accounting.delivered, status.accounting.failed), (2, 2));
    let refused: Vec<_> = place.lines_below("errors/").iter().map(|line| json(line)).collect();
    let codes: Vec<_> = refused.iter().map(|line| line["lastErrorCode"].as_str().unwrap()).collect();
    assert_eq!(codes, ["DataFormatConversion.MalformedData", "DataFormatConversion.ParseError"]);
    assert_eq!(refused[1]["rawData"], "bm90IGpzb24=");
    assert_eq!(refused[1]["sequenceNumber"], "3");
}

#[tokio::test]
async fn a_chunk_in_which_everything_is_dropped_moves_the_cursor_without_an_object() {
    let place = Place::new(BY_KEY);
    place.append(&["drop 1", "drop 2"]);
    let status = place.deliver_all(Some(Box::new(ByWord))).await;
    assert_eq!((status.accounting.dropped, status.accounting.backlog, status.objects), (2, 0, 0));
    assert!(place.objects().is_empty());
}

#[tokio::test]
async fn size_cuts_a_chunk_before_its_interval() {
    let place =
        Place::new("    buffering: { size: 1 MiB, interval: 900 s }\n    destination: { file: { directory: LAKE } }");
    let line = "x".repeat(200_000);
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new());
    let log = place.log(Arc::clone(&disk)).unwrap();
    let pipeline = place.start(disk, &log, place.file_sink(), None).unwrap();
    append(&log, &[line.as_str(); 6]);
    while place.objects().is_empty() {
        tokio::task::yield_now().await;
    }
    append(&log, &["a small one"]);
    pipeline.drain(GRACE).await.unwrap();
    let mut sizes: Vec<_> = place.objects().values().map(Vec::len).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [12, 1_200_006]);
}

/// More than the spool holds in memory, mixed over many partitions: each gets its own, all of it, in order.
#[tokio::test]
async fn many_partitions_keep_their_records_apart_and_in_order() {
    let place = Place::new(&BY_KEY.replace("partitions_max: 2", "partitions_max: 200"));
    let pad = "x".repeat(2_000);
    let records: Vec<_> = (0..4_000).map(|n| format!("{} {n} {pad}", n * 7 % 100)).collect();
    place.append(&records.iter().map(String::as_str).collect::<Vec<_>>());
    let status = place.deliver_all(Some(Box::new(ByWord))).await;
    assert_eq!((status.accounting.delivered, status.objects), (4_000, 100));
    for key in 0..100 {
        let lines = place.lines_below(&format!("ok/key={key}/"));
        let found: Vec<_> = lines.iter().map(|line| line.split(' ').next().unwrap().parse::<u32>().unwrap()).collect();
        let wanted: Vec<_> = (0..4_000).filter(|n| n * 7 % 100 == key).collect();
        assert_eq!(found, wanted, "partition {key}");
    }
}

/// Fails the first attempts at each thing, then hands on.
#[derive(Debug)]
struct Flaky {
    inner: Arc<dyn Sink>,
    kind: SinkErrorKind,
    failures: AtomicU32,
}

impl fmt::Display for Flaky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("flaky")
    }
}

impl Sink for Flaky {
    fn deliver<'a>(&'a self, delivery: &'a Delivery) -> BoxFuture<'a, Result<Receipt, SinkError>> {
        async move {
            let left = self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            if left.is_err() {
                return self.inner.deliver(delivery).await;
            }
            // Every second failure is one whose answer was lost: the object is there.
            if left.is_ok_and(|left| left % 2 == 0) {
                self.inner.deliver(delivery).await?;
            }
            let (code, message) = ("Test.Down".to_owned(), "it is down".to_owned());
            Err(SinkError { kind: self.kind, code, message, retry_after: None, source: None })
        }
        .boxed()
    }

    fn check(&self) -> BoxFuture<'_, Result<(), SinkError>> {
        async { Ok(()) }.boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_fails_for_a_while_gets_every_record_once() {
    for kind in [SinkErrorKind::Transient, SinkErrorKind::Misconfigured, SinkErrorKind::Rejected] {
        let place = Place::lines();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new());
        let log = place.log(Arc::clone(&disk)).unwrap();
        let sink = Arc::new(Flaky { inner: place.file_sink(), kind, failures: AtomicU32::new(7) });
        let pipeline = place.start(disk, &log, sink, None).unwrap();
        let records = numbered("r", 40);
        for record in &records {
            append(&log, &[record]);
        }
        pipeline.drain(Duration::from_secs(3600)).await.unwrap();
        let mut found = place.lines_below("");
        found.sort_by_key(|line| line[2..].parse::<u32>().unwrap());
        assert_eq!(found, records);
        assert_eq!(pipeline.status().problem, None, "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn staged_bytes_that_changed_stop_the_stream_and_nothing_is_sent() {
    let place = Place::lines();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new());
    let log = place.log(Arc::clone(&disk)).unwrap();
    let sink = Arc::new(Flaky { inner: place.file_sink(), kind: SinkErrorKind::Staged, failures: AtomicU32::new(1) });
    let pipeline = place.start(disk, &log, sink, None).unwrap();
    append(&log, &["one"]);
    let error = pipeline.ended().await.unwrap_err();
    assert_eq!(error.to_string(), "the staged bytes of chunk 1 cannot be sent: it is down");
    assert!(!error.is_storage_failure(), "a restart would not help");
    assert_eq!(pipeline.status().accounting.backlog, 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_stalls_delivery_until_there_is_space() {
    let place = Place::lines();
    place.append(&["one", "two"]);
    let disk = FaultyDisk::new(Arc::new(RealDisk::new()));
    let faulty: Arc<dyn Disk> = Arc::new(disk.clone());
    let log = place.log(Arc::clone(&faulty)).unwrap();
    let pipeline = place.start(faulty, &log, place.file_sink(), None).unwrap();
    disk.set_full(true);
    while pipeline.status().problem.is_none() && place.objects().is_empty() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    disk.set_full(false);
    pipeline.drain(GRACE).await.unwrap();
    let mut found = place.lines_below("");
    found.sort();
    assert_eq!(found, ["one", "two"]);
}

#[tokio::test]
async fn the_next_chunk_is_gathered_while_one_is_staged() {
    let plugin = "    buffering: { size: 1 MiB, interval: 0 s }\n    processing: { plugins: [{ path: PLUGIN }] }\n";
    let place = Place::new(&format!("{plugin}    destination: {{ file: {{ directory: LAKE }} }}"));
    let log = place.log(Arc::new(RealDisk::new())).unwrap();
    let disk = FaultyDisk::new(Arc::new(RealDisk::new()));
    let pipeline = place.start(Arc::new(disk.clone()), &log, place.file_sink(), Some(Box::new(ByWord))).unwrap();
    disk.hold_syncs(true);
    let numbers = numbered(&"x".repeat(1_000), 3_000);
    append(&log, &numbers.iter().map(String::as_str).collect::<Vec<_>>());
    let held = disk.clone();
    tokio::task::spawn_blocking(move || held.await_held_sync()).await.unwrap();
    let gathered = || std::fs::read_dir(place.delivery_dir().join("spool")).unwrap().count();
    for _ in 0..3_000 {
        if gathered() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (spools, status) = (gathered(), pipeline.status());
    disk.hold_syncs(false);
    assert_eq!((spools, status.staged_chunks), (2, 0), "one is staged, and the next has a spool of its own");
    pipeline.drain(GRACE).await.unwrap();
    let found = place.lines_below("");
    assert_eq!((found.len(), gathered()), (3_000, 0));
    assert!(numbers.iter().all(|number| found.contains(number)));
}

#[tokio::test]
async fn records_that_leave_as_they_were_put_stand_in_the_log_until_they_are_staged() {
    let place = Place::new("    destination: { file: { directory: LAKE } }");
    let log = place.log(Arc::new(RealDisk::new())).unwrap();
    let disk = FaultyDisk::new(Arc::new(RealDisk::new()));
    let pipeline = place.start(Arc::new(disk.clone()), &log, place.file_sink(), None).unwrap();
    let numbers = numbered(&"x".repeat(1_000), 3_000);
    append(&log, &numbers.iter().map(String::as_str).collect::<Vec<_>>());
    disk.hold_syncs(true);
    let (held, drained) = (disk.clone(), pipeline.drain(GRACE));
    let looked = async {
        tokio::task::spawn_blocking(move || held.await_held_sync()).await.unwrap();
        let files = |of: &str| std::fs::read_dir(place.delivery_dir().join(of)).unwrap().count();
        let found = (files("staged"), files("spool"));
        disk.hold_syncs(false);
        assert_eq!(found, (1, 0));
    };
    let (drained, ()) = tokio::join!(drained, looked);
    drained.unwrap();
    assert_eq!(place.lines_below(""), numbers);
}
