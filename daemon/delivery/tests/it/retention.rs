//! How long records stay in the log, and what becomes of those that it let go before they were delivered.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{GRACE, Place, append, numbered};
use hydrant_config::{DeliveryStream, LogPolicy};
use hydrant_delivery::{Accounting, Pipeline};
use hydrant_disk::{Disk, RealDisk};
use hydrant_record::{Lsn, Timestamp};
use hydrant_shardlog::{Clock as _, Expendable, Limits, ShardLog, SystemClock};

const DESTINATION: &str = "\n    destination: { file: { directory: LAKE } }";

fn begin(place: &Place) -> (ShardLog, Pipeline) {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new());
    let log = place.log(Arc::clone(&disk)).unwrap();
    let pipeline = place.start(disk, &log, place.file_sink(), None).unwrap();
    (log, pipeline)
}

/// So many minutes from now: records that arrived just now are that old then.
fn after_minutes(minutes: u64) -> Option<Timestamp> {
    Some(Timestamp::from_millis(SystemClock.now().as_millis() + minutes * 60_000))
}

fn expire_all(log: &ShardLog) {
    let limits = Limits { before: after_minutes(600), bytes_max: None };
    log.expire(&limits, Expendable::All).unwrap().unwrap();
}

async fn settled(pipeline: &Pipeline) {
    while pipeline.status().accounting.backlog > 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn delivered_records_stay_for_as_long_as_they_are_retained() {
    let place = Place::new(&("    buffering: { interval: 0 s }\n    log: { retention: 1 h }".to_owned() + DESTINATION));
    let (log, pipeline) = begin(&place);
    append(&log, &["one", "two"]);
    settled(&pipeline).await;
    for now in [None, after_minutes(59)] {
        pipeline.tend(now).unwrap();
        assert_eq!(log.first(), Some(Lsn::FIRST), "they can be read again");
    }
    pipeline.tend(after_minutes(61)).unwrap();
    assert_eq!(log.first(), None);
    pipeline.drain(GRACE).await.unwrap();
    assert_eq!(place.lines_below(""), ["one", "two"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_delivered_stays_however_old_it_is() {
    let place =
        Place::new(&("    buffering: { interval: 900 s }\n    log: { retention: 1 s }".to_owned() + DESTINATION));
    let (log, pipeline) = begin(&place);
    append(&log, &["one"]);
    for _ in 0..3 {
        pipeline.tend(after_minutes(600)).unwrap();
    }
    assert_eq!((log.first(), pipeline.status().accounting.backlog), (Some(Lsn::FIRST), 1));
    pipeline.drain(GRACE).await.unwrap();
    assert_eq!(place.lines_below(""), ["one"]);
}

/// Delivers one, lets three go before anything reads them, and puts one more.
async fn let_go(place: &Place) {
    place.append(&["one"]);
    place.deliver_all(None).await;
    let log = place.log(Arc::new(RealDisk::new())).unwrap();
    append(&log, &["two", "three", "four"]);
    expire_all(&log);
    append(&log, &["five"]);
    log.close().unwrap();
}

#[tokio::test(start_paused = true)]
async fn records_that_went_undelivered_by_the_policy_are_counted_once() {
    let log = "    buffering: { interval: 0 s }\n    log: { retention: 1 h, expire_undelivered: true }";
    let place = Place::new(&(log.to_owned() + DESTINATION));
    let_go(&place).await;
    for _ in 0..2 {
        let accounting = place.deliver_all(None).await.accounting;
        let wanted = Accounting { stored: 5, delivered: 2, expired: 3, ..Accounting::default() };
        assert!(accounting == wanted && accounting.holds(), "{accounting:?}");
    }
    let mut lines = place.lines_below("");
    lines.sort();
    assert_eq!(lines, ["five", "one"]);
}

/// What was gathered is read again when it is staged: then the log has it no more.
#[tokio::test(start_paused = true)]
async fn records_that_expire_between_gathering_and_staging_are_counted_once() {
    let log = "    buffering: { interval: 900 s }\n    log: { retention: 1 h, expire_undelivered: true }";
    let place = Place::new(&(log.to_owned() + DESTINATION));
    let (log, pipeline) = begin(&place);
    append(&log, &["one", "two", "three"]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    expire_all(&log);
    append(&log, &["four"]);
    pipeline.drain(GRACE).await.unwrap();
    let accounting = pipeline.status().accounting;
    let wanted = Accounting { stored: 4, delivered: 1, expired: 3, ..Accounting::default() };
    assert!(accounting == wanted && accounting.holds(), "{accounting:?}");
    assert_eq!(place.lines_below(""), ["four"]);
}

/// The policy lets records go, and is another one when their absence is met.
#[tokio::test(start_paused = true)]
async fn records_that_expired_are_counted_though_the_policy_is_another_by_then() {
    let log = "    buffering: { interval: 900 s }\n    log: { retention: 1 h, expire_undelivered: true }";
    let mut place = Place::new(&(log.to_owned() + DESTINATION));
    let (log, pipeline) = begin(&place);
    append(&log, &["one", "two", "three"]);
    pipeline.tend(after_minutes(61)).unwrap();
    assert_eq!(log.first(), None);
    append(&log, &["four"]);
    // Nothing was staged: what it had in memory goes with it.
    pipeline.stop().await.unwrap();
    log.close().unwrap();
    let mut spec = place.stream.clone().into_spec();
    (spec.log, spec.buffering.interval) = (LogPolicy::default(), Duration::ZERO);
    place.stream = DeliveryStream::new(spec).unwrap();
    for _ in 0..2 {
        let accounting = place.deliver_all(None).await.accounting;
        let wanted = Accounting { stored: 4, delivered: 1, expired: 3, ..Accounting::default() };
        assert!(accounting == wanted && accounting.holds(), "{accounting:?}");
    }
    assert_eq!(place.lines_below(""), ["four"]);
}

#[tokio::test(start_paused = true)]
async fn a_gap_that_no_policy_explains_stops_delivery() {
    let place = Place::lines();
    let_go(&place).await;
    let (_log, pipeline) = begin(&place);
    while pipeline.status().problem.is_none() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let status = pipeline.status();
    assert!(status.problem.unwrap().contains("were trimmed"));
    assert_eq!((status.accounting.delivered, status.accounting.backlog), (1, 4));
    pipeline.stop().await.unwrap();
    assert_eq!(place.lines_below(""), ["one"]);
}

#[tokio::test(start_paused = true)]
async fn an_idle_stream_holds_little_after_a_busy_time() {
    let place = Place::lines();
    let (log, pipeline) = begin(&place);
    let records: Vec<_> = numbered(&"x".repeat(2_000), 2_000);
    for batch in records.chunks(100) {
        append(&log, &batch.iter().map(String::as_str).collect::<Vec<_>>());
    }
    settled(&pipeline).await;
    pipeline.tend(None).unwrap();
    append(&log, &["busy"]);
    settled(&pipeline).await;
    let segments = log.bytes().unwrap();
    pipeline.tend(None).unwrap();
    assert_eq!(log.bytes().unwrap(), segments, "it was used since the last time");
    pipeline.tend(None).unwrap();
    assert!(log.bytes().unwrap() <= 256 << 10, "{}", log.bytes().unwrap());
    append(&log, &["and again"]);
    pipeline.drain(GRACE).await.unwrap();
    assert_eq!(pipeline.status().accounting.delivered, 2_002);
}
