//! A device that fails, one that hangs, and one that comes back in time.

use bytes::Bytes;
use hydrant_disk::faulty::Fault;
use hydrant_disk::{Disk, FaultyDisk, RealDisk};
use hydrant_record::{NewRecord, Placement};
use hydrant_shardlog::{AppendError, Appended};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;
use crate::store::{Machine, Opener, Store, random_id};

struct Bench {
    _dir: tempfile::TempDir,
    disk: FaultyDisk,
    engine: Arc<Engine>,
    log: hydrant_shardlog::ShardLog,
}

impl Bench {
    fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let yaml = "delivery_streams: [{ name: s, destination: { file: { directory: ./lake } } }]";
        let path = dir.path().join("hydrant.yaml");
        let loaded = hydrant_config::load_text(yaml, &path, &hydrant_config::Environment::of([]));
        let config = loaded.unwrap().config;
        let disk = FaultyDisk::new(Arc::new(RealDisk::new()));
        let faulty: Arc<dyn Disk> = Arc::new(disk.clone());
        let opener = Opener { machine: &Machine::this().unwrap(), adopt: false };
        let store = Store::open(faulty, &config.data_dir, opener).unwrap();
        let stream = config.delivery_streams[0].clone();
        let engine = Arc::new(Engine::open(config, store, Vec::new(), mpsc::channel(1).0).unwrap());
        let log = engine.open_stream(&stream, (random_id().unwrap(), None)).unwrap().log;
        Bench { _dir: dir, disk, engine, log }
    }

    fn append(&self) -> JoinHandle<Result<Appended, AppendError>> {
        let log = self.log.clone();
        tokio::task::spawn_blocking(move || log.append(vec![record()]))
    }
}

fn record() -> NewRecord {
    NewRecord { placement: Placement::Any, partition_key: None, data: Bytes::from_static(b"x") }
}

/// Whether `/ready` has a reason to say no, once the watch has looked for `seconds`.
async fn slow_after(engine: &Arc<Engine>, seconds: u64) -> Option<String> {
    let watched = tokio::time::timeout(Duration::from_secs(seconds), logs(engine)).await;
    assert!(watched.is_err(), "{watched:?}");
    engine.slow()
}

#[tokio::test]
async fn a_sync_that_fails_is_never_acked_and_ends_the_daemon_with_74() {
    let bench = Bench::new();
    bench.disk.inject(Fault::From(bench.disk.calls() + 1));
    assert!(matches!(bench.append().await.unwrap(), Err(AppendError::Poisoned(_))));
    let Alarm::Failed(failure) = watch(&bench.engine).await else { panic!("the others can be drained") };
    assert_eq!(failure.exit_code(), std::process::ExitCode::from(74));
    assert!(failure.to_string().contains("the log of delivery stream `s` failed: injected"), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn a_sync_that_hangs_makes_it_not_ready_and_then_ends_it_with_74() {
    let bench = Bench::new();
    bench.disk.hold_syncs(true);
    let (log, (done, appended)) = (bench.log.clone(), std::sync::mpsc::sync_channel(1));
    log.submit(vec![record()], Box::new(move |result| done.send(result).unwrap())).unwrap();
    bench.disk.await_held_sync();
    // Each look of `logs` begins anew.
    assert_eq!(slow_after(&bench.engine, 9).await, None);
    let slow = slow_after(&bench.engine, 12).await.unwrap();
    assert!(slow.starts_with("storing records of delivery stream `s` has taken 1"), "{slow}");
    let alarm = tokio::time::timeout(Duration::from_secs(59), logs(&bench.engine)).await;
    assert!(alarm.is_err(), "{alarm:?}");
    let Alarm::Stuck(failure) = logs(&bench.engine).await else { panic!("a drain would hang") };
    assert_eq!(failure.exit_code(), std::process::ExitCode::from(74));
    assert!(
        failure.to_string().contains("has taken 60 s, and is not done: the device hangs (60 s is the limit)"),
        "{failure}"
    );
    bench.disk.hold_syncs(false);
    appended.recv().unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_slow_sync_that_comes_back_makes_it_ready_again() {
    let bench = Bench::new();
    bench.disk.hold_syncs(true);
    let (log, (done, appended)) = (bench.log.clone(), std::sync::mpsc::sync_channel(1));
    log.submit(vec![record()], Box::new(move |result| done.send(result).unwrap())).unwrap();
    bench.disk.await_held_sync();
    assert!(slow_after(&bench.engine, 30).await.is_some());
    bench.disk.hold_syncs(false);
    appended.recv().unwrap().unwrap();
    bench.log.close().unwrap();
    assert_eq!(slow_after(&bench.engine, 2).await, None);
}

#[test]
fn many_quick_commits_are_not_one_slow_one() {
    let (id, start) = (StreamId([1; 16]), Instant::now());
    let mut paces = BTreeMap::new();
    for second in 0..100 {
        let progress = Progress { committing: true, commits: second };
        paces = paced(&paces, vec![(id, "s".to_owned(), progress)], start + Duration::from_secs(second));
        assert_eq!(paces[&id].took, Duration::ZERO);
    }
    let idle = Progress { committing: false, commits: 99 };
    paces = paced(&paces, vec![(id, "s".to_owned(), idle)], start + Duration::from_secs(1000));
    assert_eq!(paces[&id].took, Duration::ZERO);
}
