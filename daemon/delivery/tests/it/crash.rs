//! The device dies at every single call of a run; after a restart on a good one every record is in exactly one object.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{GRACE, Place, numbered};
use hydrant_disk::faulty::Fault;
use hydrant_disk::{Disk, FaultyDisk, RealDisk};

const RECORDS: usize = 12;

/// Runs with a device that is gone from the `n`-th call on. Whether it was still there at the end.
async fn run_until_gone(place: &Place, n: u64) -> bool {
    let disk = FaultyDisk::new(Arc::new(RealDisk::new()));
    disk.inject(Fault::From(n));
    let faulty: Arc<dyn Disk> = Arc::new(disk.clone());
    let Ok(log) = place.log(Arc::clone(&faulty)) else { return false };
    let Ok(pipeline) = place.start(faulty, &log, place.file_sink(), None) else { return false };
    let drained = pipeline.drain(Duration::from_secs(3)).await.is_ok() && pipeline.status().accounting.backlog == 0;
    drained && log.close().is_ok() && disk.calls() < n
}

fn assert_exactly_once(place: &Place, n: u64) {
    let mut found = place.lines_below("");
    let mut wanted: Vec<String> = ["a", "b", "c"].iter().flat_map(|batch| numbered(batch, RECORDS / 3)).collect();
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted, "the device died at call {n}");
    let strays: Vec<_> = place.objects().into_keys().filter(|key| key.contains("/.")).collect();
    assert!(strays.is_empty(), "{strays:?}");
}

#[tokio::test(start_paused = true)]
async fn a_device_that_dies_at_any_call_loses_and_doubles_nothing() {
    for n in 1.. {
        let place = Place::lines();
        for batch in ["a", "b", "c"] {
            let records = numbered(batch, RECORDS / 3);
            place.append(&records.iter().map(String::as_str).collect::<Vec<_>>());
        }
        let survived = run_until_gone(&place, n).await;
        let status = place.deliver_all(None).await;
        assert_exactly_once(&place, n);
        assert!(status.accounting.holds(), "{status:?}");
        assert_eq!((status.accounting.stored, status.accounting.delivered), (12, 12), "the device died at call {n}");
        if survived {
            assert!(n > 50, "the run had only {n} calls; does it still go through the disk?");
            return;
        }
    }
}

/// A call that fails once and then works must not be taken for one that worked.
#[tokio::test(start_paused = true)]
async fn a_single_failing_call_loses_and_doubles_nothing() {
    for n in 1.. {
        let place = Place::lines();
        for batch in ["a", "b", "c"] {
            let records = numbered(batch, RECORDS / 3);
            place.append(&records.iter().map(String::as_str).collect::<Vec<_>>());
        }
        let disk = FaultyDisk::new(Arc::new(RealDisk::new()));
        disk.inject(Fault::Call(n));
        let faulty: Arc<dyn Disk> = Arc::new(disk.clone());
        if let Ok(log) = place.log(Arc::clone(&faulty))
            && let Ok(pipeline) = place.start(faulty, &log, place.file_sink(), None)
        {
            // An error is fine: the daemon would end and be started again.
            let _ = pipeline.drain(GRACE).await;
        }
        place.deliver_all(None).await;
        assert_exactly_once(&place, n);
        if disk.calls() < n {
            return;
        }
    }
}

/// What a restart sends is what was staged, whatever the configuration says now.
#[tokio::test(start_paused = true)]
async fn what_was_staged_goes_out_under_its_old_name() {
    let mut place = Place::lines();
    place.append(&["one", "two"]);
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new());
    let log = place.log(Arc::clone(&disk)).unwrap();
    let down = Arc::new(Down);
    let pipeline = place.start(Arc::clone(&disk), &log, down, None).unwrap();
    while pipeline.status().staged_chunks == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    pipeline.stop().await.unwrap();
    drop(log);
    let changed = "    buffering: { interval: 900 s }\n    destination: { file: { directory: LAKE, prefix: new/ } }";
    let lake = place.lake().display().to_string();
    let changed = Place::new(&changed.replace("LAKE", &lake));
    place.stream = changed.stream.clone();
    place.append(&["three"]);
    place.deliver_all(None).await;
    assert_eq!(place.lines_below("new/"), ["three"]);
    assert_eq!(place.lines_below("2"), ["one", "two"], "the default prefix begins with the year");
}

#[derive(Debug)]
struct Down;

impl std::fmt::Display for Down {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a destination that is down")
    }
}

impl hydrant_sinks::Sink for Down {
    fn deliver<'a>(
        &'a self,
        _: &'a hydrant_sinks::Delivery,
    ) -> futures::future::BoxFuture<'a, Result<hydrant_sinks::Receipt, hydrant_sinks::SinkError>> {
        Box::pin(std::future::pending())
    }

    fn check(&self) -> futures::future::BoxFuture<'_, Result<(), hydrant_sinks::SinkError>> {
        Box::pin(std::future::pending())
    }
}
