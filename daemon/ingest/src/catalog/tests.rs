use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use hydrant_disk::RealDisk;
use hydrant_shardlog::LogOptions;
use serde_json::json;

use super::*;

fn open(dir: &Path) -> Catalog {
    let (log, _) = ShardLog::open(Arc::new(RealDisk::new()), dir, LogOptions::default()).unwrap();
    Catalog::open(log).unwrap()
}

fn api(region: &str, request: Value) -> StoredOrigin {
    StoredOrigin::Api { region: region.to_owned(), request }
}

fn stream(id: u8, name: &str) -> StoredStream {
    StoredStream {
        id: StreamId([id; 16]),
        name: StreamName::parse(name).unwrap(),
        version_id: 1,
        status: StoredStatus::Active,
        created_at: Timestamp::from_millis(1_700_000_000_123),
        origin: api("us-east-1", json!({ "DeliveryStreamName": name })),
        source: None,
        settings: StreamSettings::default(),
    }
}

#[test]
fn what_was_written_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = open(dir.path());
    assert!(catalog.streams().is_empty());
    for (id, name) in [(1, "a"), (2, "b"), (3, "c")] {
        catalog.insert(stream(id, name)).unwrap();
    }
    catalog.mark_deleting(StreamId([2; 16])).unwrap();
    catalog.remove(StreamId([1; 16])).unwrap();
    catalog.close().unwrap();
    let deleting = StoredStream { status: StoredStatus::Deleting, ..stream(2, "b") };
    assert_eq!(open(dir.path()).streams(), [deleting, stream(3, "c")]);
}

#[test]
fn a_name_is_taken_once_even_by_two_at_the_same_time() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = open(dir.path());
    let won = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..4)
            .map(|id| {
                scope.spawn({
                    let catalog = &catalog;
                    move || catalog.insert(stream(id, "a")).is_ok()
                })
            })
            .collect();
        tries.into_iter().map(|one| one.join().unwrap()).filter(|won| *won).count()
    });
    assert_eq!(won, 1);
    let elsewhere = StoredStream { origin: api("eu-west-1", Value::Null), ..stream(9, "a") };
    catalog.insert(elsewhere).unwrap();
    let yaml = StoredStream { origin: StoredOrigin::Yaml, ..stream(8, "a") };
    catalog.insert(yaml.clone()).unwrap();
    assert!(matches!(catalog.insert(yaml), Err(CatalogError::Exists { .. })));
    assert!(matches!(catalog.insert(stream(10, "a")), Err(CatalogError::Exists { .. })));
    assert!(matches!(catalog.remove(StreamId([77; 16])), Err(CatalogError::NotFound(_))));
}

#[test]
fn old_states_are_removed_and_the_last_one_stays() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = open(dir.path());
    let large = StoredStream { origin: api("us-east-1", json!("x".repeat(100_000))), ..stream(1, "large") };
    catalog.insert(large.clone()).unwrap();
    for round in 0..40 {
        let id = 2 + round;
        catalog.insert(stream(id, "small")).unwrap();
        catalog.remove(StreamId([id; 16])).unwrap();
    }
    assert!(catalog.log.first() > Some(hydrant_record::Lsn::FIRST.plus(60)), "{:?}", catalog.log.first());
    catalog.close().unwrap();
    assert_eq!(open(dir.path()).streams(), [large]);
}

#[test]
fn a_change_that_is_not_durable_did_not_happen() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = open(dir.path());
    catalog.insert(stream(1, "a")).unwrap();
    catalog.close().unwrap();
    assert!(matches!(catalog.insert(stream(2, "b")), Err(CatalogError::Write(AppendError::Closed))));
    assert_eq!(catalog.streams(), [stream(1, "a")]);
}

fn kinesis(id: u8, name: &str) -> StoredKinesis {
    StoredKinesis {
        id: StreamId([id; 16]),
        name: name.to_owned(),
        region: "us-east-1".to_owned(),
        status: StoredStatus::Active,
        created_at: Timestamp::from_millis(1_700_000_000_123),
        shards: 3,
        from_yaml: false,
        settings: KinesisSettings {
            tags: [("team".to_owned(), "data".to_owned())].into(),
            ..KinesisSettings::new(StreamMode::Provisioned)
        },
    }
}

#[test]
fn kinesis_streams_have_names_of_their_own_and_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = open(dir.path());
    catalog.insert(stream(1, "a")).unwrap();
    catalog.insert_kinesis(kinesis(2, "a")).unwrap();
    assert!(matches!(catalog.insert_kinesis(kinesis(3, "a")), Err(CatalogError::Exists { name }) if name == "a"));
    catalog.insert_kinesis(StoredKinesis { region: "eu-west-1".to_owned(), ..kinesis(3, "a") }).unwrap();
    let everywhere = StoredKinesis { region: String::new(), from_yaml: true, ..kinesis(4, "a") };
    assert!(matches!(catalog.insert_kinesis(everywhere), Err(CatalogError::Exists { .. })));
    catalog.remove_kinesis(StreamId([3; 16])).unwrap();
    let changed = StoredKinesis { status: StoredStatus::Deleting, ..kinesis(2, "a") };
    catalog.update_kinesis(changed.clone()).unwrap();
    assert!(matches!(catalog.update_kinesis(kinesis(9, "b")), Err(CatalogError::NotFound(_))));
    catalog.close().unwrap();
    let catalog = open(dir.path());
    assert_eq!((catalog.streams(), catalog.kinesis_streams()), (vec![stream(1, "a")], vec![changed]));
}

#[test]
fn a_state_of_another_format_is_not_guessed_at() {
    assert!(matches!(read(br#"{"format":5,"streams":[]}"#), Err(CatalogError::Unreadable(text)) if text.contains('5')));
    assert!(read(b"{}").is_err());
    let old = Streams { delivery: vec![stream(1, "a")], kinesis: Vec::new() };
    assert_eq!(read(&write(&old)).unwrap(), old);
    // What an older version reads must not name what it does not know.
    let text = String::from_utf8(write(&old)).unwrap();
    assert!(text.starts_with(r#"{"format":1,"#) && !text.contains("kinesis"), "{text}");
    let new = Streams { kinesis: vec![kinesis(2, "k")], ..old };
    assert!(write(&new).starts_with(br#"{"format":2,"#));
    assert_eq!(read(&write(&new)).unwrap(), new);
    let consumer =
        StoredConsumer { name: "c".to_owned(), created_at_ms: 7, tags: BTreeMap::new(), policy: Some("{}".to_owned()) };
    let newer = |edit: fn(&mut StoredKinesis, StoredConsumer)| {
        let mut streams = new.clone();
        edit(&mut streams.kinesis[0], consumer.clone());
        assert!(write(&streams).starts_with(br#"{"format":3,"#), "{streams:?}");
        assert_eq!(read(&write(&streams)).unwrap(), streams);
    };
    newer(|stream, consumer| stream.settings.consumers.push(consumer));
    newer(|stream, _| stream.settings.metrics.extend(["ALL".to_owned()]));
    newer(|stream, _| stream.settings.key_id = Some("alias/aws/kinesis".to_owned()));
    newer(|stream, _| stream.settings.policy = Some("{}".to_owned()));
    newer(|stream, _| stream.from_yaml = true);
}

#[test]
fn a_source_and_settings_are_there_after_reopening_and_older_versions_refuse_them() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = open(dir.path());
    catalog.insert_kinesis(kinesis(7, "clicks")).unwrap();
    let source = Some(StoredSource { stream: StreamId([7; 16]), after: Lsn::new(5) });
    catalog.insert(StoredStream { source, ..stream(1, "a") }).unwrap();
    let settings = StreamSettings { encrypted: true, updated_at_ms: Some(9), tags: [("k".into(), "v".into())].into() };
    catalog.update(StreamId([1; 16]), |stored| (stored.version_id, stored.settings) = (2, settings.clone())).unwrap();
    catalog.close().unwrap();
    let catalog = open(dir.path());
    assert_eq!(catalog.streams(), [StoredStream { source, version_id: 2, settings, ..stream(1, "a") }]);
    let text = write(&catalog.lock().streams);
    assert!(text.starts_with(br#"{"format":4,"#), "a version without sources must refuse it");
}

#[test]
fn a_kinesis_stream_and_its_reader_agree_whoever_comes_first() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = open(dir.path());
    let reader = |id, of| StoredStream {
        source: Some(StoredSource { stream: StreamId([of; 16]), after: None }),
        ..stream(id, &format!("reader-{id}"))
    };
    assert!(matches!(catalog.insert(reader(1, 7)), Err(CatalogError::NoSource)));
    catalog.insert_kinesis(kinesis(7, "clicks")).unwrap();
    catalog.insert(reader(1, 7)).unwrap();
    let deleting = StoredKinesis { status: StoredStatus::Deleting, ..kinesis(7, "clicks") };
    let refused = catalog.update_kinesis(deleting.clone()).unwrap_err();
    assert_eq!(refused.to_string(), "the delivery stream `reader-1` reads it; delete that first");
    catalog.mark_deleting(StreamId([1; 16])).unwrap();
    catalog.update_kinesis(deleting).unwrap();
    assert!(matches!(catalog.insert(reader(2, 7)), Err(CatalogError::NoSource)));
    let gone = catalog.update(StreamId([1; 16]), |_| unreachable!("it is being deleted"));
    assert!(matches!(gone, Err(CatalogError::NotFound(_))));
}
