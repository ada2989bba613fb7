//! A device that fails.

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
        let engine = Arc::new(Engine::open(config, store, mpsc::channel(1).0).unwrap());
        let log = engine.open_stream(&stream, random_id().unwrap()).unwrap().log;
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

#[tokio::test]
async fn a_sync_that_fails_is_never_acked_and_ends_the_daemon_with_74() {
    let bench = Bench::new();
    bench.disk.inject(Fault::From(bench.disk.calls() + 1));
    assert!(matches!(bench.append().await.unwrap(), Err(AppendError::Poisoned(_))));
    let failure = watch(&bench.engine).await;
    assert_eq!(failure.exit_code(), std::process::ExitCode::from(74));
    assert!(failure.to_string().contains("the log of delivery stream `s` failed: injected"), "{failure}");
}
