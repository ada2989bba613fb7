//! The device dies at every single call of a run; after a restart on a good one every record is in exactly one object.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{GRACE, Place, numbered};
use hydrant_disk::faulty::Fault;
use hydrant_disk::{Disk, FaultyDisk, RealDisk};

const RECORDS: usize = 12;

/// What each record begins with, so that a chunk is staged in the journal or in a file.
const SIZES: [usize; 2] = [1, 70 << 10];

fn batches(size: usize) -> Vec<Vec<String>> {
    ["a", "b", "c"].iter().map(|batch| numbered(&batch.repeat(size), RECORDS / 3)).collect()
}

fn filled(size: usize) -> Place {
    let place = Place::lines();
    for records in batches(size) {
        place.append(&records.iter().map(String::as_str).collect::<Vec<_>>());
    }
    place
}

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

fn assert_exactly_once(place: &Place, size: usize, n: u64) {
    let mut found = place.lines_below("");
    let mut wanted = batches(size).concat();
    found.sort();
    wanted.sort();
    assert!(found == wanted, "the device died at call {n}: got {} lines", found.len());
    let strays: Vec<_> = place.objects().into_keys().filter(|key| key.contains("/.")).collect();
    assert!(strays.is_empty(), "{strays:?}");
}

#[tokio::test(start_paused = true)]
async fn a_device_that_dies_at_any_call_loses_and_doubles_nothing() {
    for size in SIZES {
        dies_at_any_call(size).await;
    }
}

async fn dies_at_any_call(size: usize) {
    for n in 1.. {
        let place = filled(size);
        let survived = run_until_gone(&place, n).await;
        let status = place.deliver_all(None).await;
        assert_exactly_once(&place, size, n);
        assert!(status.accounting.holds(), "{status:?}");
        assert_eq!((status.accounting.stored, status.accounting.delivered), (12, 12), "the device died at call {n}");
        if survived {
            assert!(n > 40, "the run had only {n} calls; does it still go through the disk?");
            return;
        }
    }
}

/// A call that fails once and then works must not be taken for one that worked.
#[tokio::test(start_paused = true)]
async fn a_single_failing_call_loses_and_doubles_nothing() {
    for size in SIZES {
        fails_at_any_call(size).await;
    }
}

async fn fails_at_any_call(size: usize) {
    for n in 1.. {
        let place = filled(size);
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
        assert_exactly_once(&place, size, n);
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

#[tokio::test(start_paused = true)]
async fn scratch_that_a_crash_has_left_goes_at_the_next_start() {
    let place = Place::lines();
    place.deliver_all(None).await;
    let (staged, spool) = (place.delivery_dir().join("staged"), place.delivery_dir().join("spool"));
    for left in [staged.join("00000000000000000001.out"), spool.join("gathering"), spool.join("refused")] {
        std::fs::write(left, "half of something").unwrap();
    }
    place.deliver_all(None).await;
    for dir in [staged, spool] {
        assert_eq!(std::fs::read_dir(dir).unwrap().count(), 0);
    }
}

/// A small chunk costs the sync of its journal record and no other; a larger one also those of its file and its name.
#[tokio::test(start_paused = true)]
async fn a_small_chunk_is_staged_with_one_sync() {
    let syncs_of = async |size: usize| {
        let place = filled(size);
        let disk = FaultyDisk::new(Arc::new(RealDisk::new()));
        let faulty: Arc<dyn Disk> = Arc::new(disk.clone());
        let log = place.log(Arc::clone(&faulty)).unwrap();
        let before = disk.syncs();
        let pipeline = place.start(faulty, &log, Arc::new(Down), None).unwrap();
        let started = disk.syncs();
        while pipeline.status().staged_chunks == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let staged = disk.syncs();
        pipeline.stop().await.unwrap();
        assert!(started > before);
        staged - started
    };
    assert_eq!(syncs_of(SIZES[0]).await, 1);
    assert!(syncs_of(SIZES[1]).await >= 3);
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
