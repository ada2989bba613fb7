use std::path::Path;

use bytes::Bytes;
use hydrant_config::Environment;
use hydrant_disk::RealDisk;
use hydrant_ingest::{KinesisSettings, StreamMode};
use hydrant_record::{HashKey, Lsn, NewRecord, Placement};
use tokio::sync::mpsc;

use super::*;
use crate::store::{Machine, Opener, Store};

const HOUR: u64 = 3_600_000;

fn engine(dir: &Path, yaml: &str) -> Arc<Engine> {
    let path = dir.join("hydrant.yaml");
    let yaml = format!("memory: 512 MiB\n{yaml}");
    let config = hydrant_config::load_text(&yaml, &path, &Environment::of([])).unwrap().config;
    let machine = Machine::this().unwrap();
    let opener = Opener { machine: &machine, adopt: false };
    let store = Store::open(Arc::new(RealDisk::new()), &config.data_dir, opener).unwrap();
    Arc::new(Engine::open(config, store, Vec::new(), mpsc::channel(1).0).unwrap())
}

fn stored(id: u8, retention_hours: u32) -> StoredKinesis {
    StoredKinesis {
        id: StreamId([id; 16]),
        name: format!("s{id}"),
        region: "us-east-1".to_owned(),
        status: StoredStatus::Active,
        created_at: Timestamp::from_millis(1_700_000_000_000),
        shards: 2,
        from_yaml: false,
        settings: KinesisSettings { retention_hours, ..KinesisSettings::new(StreamMode::Provisioned) },
    }
}

fn put(log: &ShardLog) -> Timestamp {
    let record = NewRecord { placement: Placement::Hash(HashKey(7)), partition_key: None, data: Bytes::from("x") };
    log.append(vec![record]).unwrap().arrived_at
}

#[tokio::test]
async fn records_go_when_their_stream_keeps_them_no_longer() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(dir.path(), "");
    let day = create(&engine, &stored(1, 24)).unwrap();
    let two_days = create(&engine, &stored(2, 48)).unwrap();
    let mut last = Timestamp::from_millis(0);
    for log in [&day, &two_days] {
        // A segment goes as a whole, and never the one in use.
        put(log);
        log.roll().unwrap();
        last = put(log);
    }
    let firsts = || [day.first().map(Lsn::get), two_days.first().map(Lsn::get)];
    let at = |hours: u64, more: u64| Timestamp::from_millis(last.as_millis() + hours * HOUR + more);
    expire(&engine, Timestamp::from_millis(last.as_millis() + 23 * HOUR));
    assert_eq!(firsts(), [Some(1), Some(1)]);
    expire(&engine, at(24, 60_000));
    assert_eq!(firsts().map(|first| first == Some(1)), [false, true]);
    // Kept for longer is kept from now on; kept for less goes at once.
    let settings = KinesisSettings { retention_hours: 24, ..stored(2, 48).settings };
    engine.catalog.update_kinesis(StoredKinesis { settings, ..stored(2, 48) }).unwrap();
    expire(&engine, at(24, 60_000));
    assert_eq!(firsts().map(|first| first == Some(1)), [false, false]);
}

#[tokio::test]
async fn a_stream_that_left_the_yaml_goes_only_if_it_is_empty_or_named() {
    let dir = tempfile::tempdir().unwrap();
    let streams = "streams: [{ name: full, shards: 3 }, { name: empty }]";
    {
        let engine = engine(dir.path(), streams);
        let kinesis = open_all(&engine, &[]).unwrap();
        assert_eq!(kinesis.streams.all().len(), 2);
        let full = engine.catalog.kinesis_streams().into_iter().find(|stream| stream.name == "full").unwrap();
        put(&engine.kinesis.log(full.id).unwrap());
        engine.kinesis.take_all().iter().for_each(|log| log.close().unwrap());
    }
    {
        let engine = engine(dir.path(), "");
        let failure = open_all(&engine, &["full".to_owned()]).unwrap_err();
        assert!(failure.to_string().contains("Kinesis stream `full`"), "{failure}");
        engine.kinesis.take_all().iter().for_each(|log| log.close().unwrap());
    }
    let engine = engine(dir.path(), "");
    let kinesis = open_all(&engine, &["kinesis/full".to_owned()]).unwrap();
    assert!(kinesis.streams.all().is_empty() && engine.catalog.kinesis_streams().is_empty());
}
