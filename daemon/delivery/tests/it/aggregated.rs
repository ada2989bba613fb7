//! Records that are taken apart: what is counted, delivered and refused is their units, each once, whatever fails in between.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hydrant_delivery::{Pipeline, RecordState, Status, Traces};
use hydrant_disk::faulty::Fault;
use hydrant_disk::{Disk, FaultyDisk, RealDisk};
use hydrant_plugins::{Input, Outcome, SourceMeta, Transform, TransformError};
use hydrant_record::{Lsn, NewRecord, Placement, SequenceNumber};
use hydrant_shardlog::ShardLog;
use hydrant_sinks::{Sink, SinkErrorKind};
use md5::{Digest, Md5};
use serde_json::Value;

use crate::flow::ByWord;
use crate::requests::ENDPOINT;
use crate::server::{Server, text};
use crate::support::{GRACE, Place, numbered};

const SOURCE: &str = "    from_stream: { name: clicks }\n";
const WHOLE: &str = "    from_stream: { name: clicks, deaggregate: false }\n";

/// One record with these in it, as the Kinesis Producer Library makes it. Each of fewer than 120 bytes.
fn aggregate(records: &[&str]) -> Vec<u8> {
    let mut message = b"\x0a\x03key".to_vec();
    for record in records {
        let length = u8::try_from(record.len()).unwrap();
        message.extend_from_slice(&[0x1a, length + 4, 0x08, 0, 0x1a, length]);
        message.extend_from_slice(record.as_bytes());
    }
    let digest = Md5::digest(&message);
    [&b"\xf3\x89\x9a\xc2"[..], &message, &digest[..]].concat()
}

fn append(place: &Place, records: &[Vec<u8>]) {
    let log = place.log(Arc::new(RealDisk::new())).unwrap();
    let record = |data: &Vec<u8>| NewRecord {
        placement: Placement::Any,
        partition_key: Some(Bytes::from_static(b"key")),
        data: Bytes::copy_from_slice(data),
    };
    log.append(records.iter().map(record).collect()).unwrap();
    log.close().unwrap();
}

fn lines(rest: &str) -> Place {
    Place::new(&format!("{SOURCE}    buffering: {{ interval: 0 s }}\n{rest}"))
}

/// Stored, split off, delivered and failed; nothing is left.
fn split_sums(status: &Status) -> (u64, u64, u64, u64) {
    let accounting = status.accounting;
    assert!(accounting.holds() && accounting.backlog == 0 && !status.accounting_mismatch, "{status:?}");
    (accounting.stored, accounting.split_off, accounting.delivered, accounting.failed)
}

#[tokio::test(start_paused = true)]
async fn the_users_records_are_delivered_and_counted_one_by_one() {
    let place = lines("    destination: { file: { directory: LAKE } }");
    append(&place, &[b"plain".to_vec(), aggregate(&["a", "", "b"]), aggregate(&["c"]), b"last".to_vec()]);
    assert_eq!(split_sums(&place.deliver_all(None).await), (4, 2, 6, 0));
    assert_eq!(place.lines_below(""), ["plain", "a", "", "b", "c", "last"]);
    // After a restart, too: what was split off is in the journal.
    append(&place, &[aggregate(&["d", "e"])]);
    assert_eq!(split_sums(&place.deliver_all(None).await), (5, 3, 8, 0));
}

/// Answers with where each record came from.
#[derive(Debug)]
struct Whence;

impl Transform for Whence {
    fn transform(&mut self, records: &[Input]) -> Result<Vec<Outcome>, TransformError> {
        let told = |record: &Input| {
            let SourceMeta { shard, sequence, subsequence, partition_key } = record.source.clone().expect("a source");
            let number: SequenceNumber = sequence.parse().expect("a sequence number");
            let lsn = number.lsn().map(Lsn::get);
            let data = format!("{shard} {lsn:?} {subsequence} {}", partition_key.unwrap_or_default());
            Outcome::Ok { data: data.into(), partition_keys: Vec::new() }
        };
        Ok(records.iter().map(told).collect())
    }
}

#[tokio::test(start_paused = true)]
async fn plugins_are_told_where_in_the_kinesis_stream_a_record_came_from() {
    let place = lines(
        "    processing: { plugins: [{ path: PLUGIN }] }\n    destination: { file: { directory: LAKE, prefix: ok/ } }",
    );
    append(&place, &[b"plain".to_vec(), aggregate(&["a", "b"])]);
    assert_eq!(split_sums(&place.deliver_all(Some(Box::new(Whence))).await), (2, 1, 3, 0));
    let first = "shardId-000000000000";
    let told = [(1, 0), (2, 0), (2, 1)].map(|(lsn, sub)| format!("{first} Some({lsn}) {sub} key"));
    assert_eq!(place.lines_below("ok/"), told);
}

#[tokio::test(start_paused = true)]
async fn what_only_looks_like_an_aggregate_is_delivered_as_it_was_put() {
    let place = lines("    processing: { append_delimiter: false }\n    destination: { file: { directory: LAKE } }");
    let mut damaged = aggregate(&["a", "b"]);
    *damaged.last_mut().unwrap() ^= 1;
    append(&place, &[damaged.clone()]);
    assert_eq!(split_sums(&place.deliver_all(None).await), (1, 0, 1, 0));
    assert_eq!(place.objects().into_values().collect::<Vec<_>>(), [damaged]);
    // And so is an aggregate, if it was put to the delivery stream itself or its source is to be left alone.
    for source in ["", WHOLE] {
        let place = Place::new(&format!(
            "{source}    processing: {{ append_delimiter: false }}\n    destination: {{ file: {{ directory: LAKE }} }}"
        ));
        append(&place, &[aggregate(&["a", "b"])]);
        assert_eq!(split_sums(&place.deliver_all(None).await), (1, 0, 1, 0));
        assert_eq!(place.objects().into_values().collect::<Vec<_>>(), [aggregate(&["a", "b"])]);
    }
}

#[tokio::test(start_paused = true)]
async fn every_unit_has_its_own_partition_and_its_own_error_line() {
    let place = lines(
        r#"    partitioning: { jq: { key: .key } }
    processing: { deaggregate: { json: {} } }
    destination: { file: { directory: LAKE, prefix: "ok/!{partitionKeyFromQuery:key}/", error_output_prefix: errors/ } }"#,
    );
    let of = |key: &str| format!("{{\"key\":\"{key}\"}}");
    let two = of("a") + &of("b");
    append(&place, &[aggregate(&[&two, "no json", &of("a")]), two.clone().into_bytes(), b"[]".to_vec()]);
    assert_eq!(split_sums(&place.deliver_all(None).await), (3, 4, 5, 2));
    assert_eq!(place.lines_below("ok/a/"), [of("a"), of("a"), of("a")]);
    assert_eq!(place.lines_below("ok/b/"), [of("b"), of("b")]);
    let failed: Vec<Value> =
        place.lines_below("errors/").iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let raw: Vec<_> = failed.iter().map(|line| text(line["rawData"].as_str().unwrap())).collect();
    assert_eq!(raw, ["no json", "[]"], "the unit as it was put, not the record that it came in");
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_the_encoder_refuses_is_found_again_in_its_record() {
    let place = lines(
        "    format: { parquet: { columns: { n: int } } }\n    \
         destination: { file: { directory: LAKE, prefix: ok/, error_output_prefix: errors/ } }",
    );
    append(&place, &[aggregate(&[r#"{"n":1}"#, "bad", r#"{"n":2}"#, "worse"]), b"plain".to_vec()]);
    assert_eq!(split_sums(&place.deliver_all(None).await), (2, 3, 2, 3));
    let failed: Vec<Value> =
        place.lines_below("errors/").iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let found = failed.iter().map(|line| {
        let raw = text(line["rawData"].as_str().unwrap());
        (line["sequenceNumber"].as_str().unwrap(), line["subSequenceNumber"].as_u64().unwrap(), raw)
    });
    assert_eq!(
        found.collect::<Vec<_>>(),
        [("1", 1, "bad".to_owned()), ("1", 3, "worse".to_owned()), ("2", 0, "plain".to_owned())]
    );
}

#[tokio::test(start_paused = true)]
async fn a_backup_of_all_has_the_users_records_before_anything_was_done_with_them() {
    let place = lines(
        r#"    partitioning: { jq: { key: .key } }
    processing: { deaggregate: { json: {} } }
    destination: { file: { directory: LAKE, prefix: "ok/!{partitionKeyFromQuery:key}/", error_output_prefix: errors/ } }
    backup: { records: all, file: { directory: LAKE, prefix: all/ } }"#,
    );
    let two = r#"{"key":"a"}{"key":"b"}"#;
    append(&place, &[aggregate(&[two, r#"{"key":"a"}"#])]);
    assert_eq!(split_sums(&place.deliver_all(None).await), (1, 2, 3, 0));
    assert_eq!(place.lines_below("all/"), [two, r#"{"key":"a"}"#]);
}

#[tokio::test(start_paused = true)]
async fn it_is_told_of_every_unit_where_it_went() {
    let place = lines(
        r#"    processing: { plugins: [{ path: PLUGIN }] }
    destination:
      file:
        directory: LAKE
        prefix: "ok/key=!{partitionKeyFromLambda:key}/"
        error_output_prefix: errors/"#,
    );
    append(
        &place,
        &[aggregate(&["a 1", "drop x", "b 2", "fail y", "a 3"]), b"b 4".to_vec(), aggregate(&["a 5", "a 6"])],
    );
    let status = place.deliver_all(Some(Box::new(ByWord))).await;
    assert_eq!((split_sums(&status), status.accounting.dropped), ((3, 5, 6, 1), 1));
    let traces = Traces::open(Arc::new(RealDisk::new()), &place.delivery_dir()).unwrap();
    let explained: Vec<_> = (1..=3).map(|lsn| traces.record(Lsn::new(lsn).unwrap(), None).unwrap()).collect();
    assert_eq!(
        explained.iter().map(|one| one.state).collect::<Vec<_>>(),
        [RecordState::Divided, RecordState::Delivered, RecordState::Delivered]
    );
    let note = explained[0].note.as_deref().unwrap_or_default();
    assert!(note.contains("a plugin may have dropped"), "{note}");
    let objects = place.objects();
    let mut found: Vec<_> = explained
        .iter()
        .flat_map(|one| one.places.iter().map(move |place| (one.lsn, place)))
        .filter(|(_, place)| place.object.holds == "records")
        .map(|(lsn, place)| {
            let text = String::from_utf8(objects[&place.object.key].clone()).unwrap();
            let at = usize::try_from(place.position.unwrap()).unwrap() - 1;
            (lsn, place.sub.unwrap(), text.lines().nth(at).unwrap().to_owned())
        })
        .collect();
    found.sort();
    let expected = [(1, 0, "1"), (1, 2, "2"), (1, 4, "3"), (2, 0, "4"), (3, 0, "5"), (3, 1, "6")];
    assert_eq!(found, expected.map(|(lsn, sub, text)| (lsn, sub, text.to_owned())));
}

const FAILED: &str = "failed/http-endpoint-failed/";

fn endpoint(source: &str) -> Place {
    Place::new(&format!("{source}{ENDPOINT}"))
}

fn begin(place: &Place, disk: Arc<dyn Disk>, server: &Arc<Server>) -> Option<(ShardLog, Pipeline)> {
    let log = place.log(Arc::clone(&disk)).ok()?;
    let server: Arc<dyn Sink> = Arc::clone(server) as Arc<dyn Sink>;
    let pipeline = place.start(disk, &log, server, None).ok()?;
    Some((log, pipeline))
}

async fn deliver(place: &Place, server: &Arc<Server>) -> Status {
    let (log, pipeline) = begin(place, Arc::new(RealDisk::new()), server).unwrap();
    pipeline.drain(Duration::from_secs(3600)).await.unwrap();
    pipeline.reconcile();
    let status = pipeline.status();
    log.close().unwrap();
    status
}

/// `(dataId, record)` of what is in the backup.
fn refused(place: &Place) -> Vec<(String, String)> {
    let lines = place.lines_below(FAILED);
    let lines = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut found: Vec<_> = lines
        .map(|line| (line["dataId"].as_str().unwrap().to_owned(), text(line["rawData"].as_str().unwrap())))
        .collect();
    found.sort();
    found
}

/// The splitter is asked again for what is refused, long after it was asked first: it must answer the same, whatever the
/// configuration says by then.
#[tokio::test(start_paused = true)]
async fn verdicts_are_on_units_also_when_the_configuration_has_changed_since() {
    let mut place = endpoint(SOURCE);
    append(&place, &[aggregate(&["ok-1", "bad-1", "ok-2", "bad-2"])]);
    let server = Arc::new(Server::down(SinkErrorKind::Transient));
    let (log, pipeline) = begin(&place, Arc::new(RealDisk::new()), &server).unwrap();
    while pipeline.status().staged_chunks == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    pipeline.stop().await.unwrap();
    log.close().unwrap();
    *server.down.lock().unwrap() = None;
    let lake = place.lake().display().to_string();
    place.stream = Place::new(&format!("{WHOLE}{}", ENDPOINT.replace("LAKE", &lake))).stream.clone();
    assert_eq!(split_sums(&deliver(&place, &server).await), (1, 3, 2, 2));
    assert_eq!(refused(&place), [("1.1", "bad-1"), ("1.3", "bad-2")].map(|(id, raw)| (id.to_owned(), raw.to_owned())));
}

const WORDS: [&str; 4] = ["ok", "bad", "busy", "lost"];

fn filled(place: Place) -> Place {
    for word in WORDS {
        let records = numbered(word, 3);
        append(
            &place,
            &[aggregate(&records.iter().map(String::as_str).collect::<Vec<_>>()), format!("{word}-3").into_bytes()],
        );
    }
    place
}

#[tokio::test(start_paused = true)]
async fn a_device_that_fails_at_any_call_gives_every_unit_one_fate() {
    for n in 1.. {
        let (place, server) = (filled(endpoint(SOURCE)), Arc::new(Server::default()));
        let disk = FaultyDisk::new(Arc::new(RealDisk::new()));
        disk.inject(Fault::From(n));
        if let Some((log, pipeline)) = begin(&place, Arc::new(disk.clone()), &server) {
            // An error is fine: the daemon would end and be started again.
            let _ = pipeline.drain(Duration::from_secs(10)).await;
            let _ = log.close();
        }
        let status = deliver(&place, &server).await;
        assert_eq!(split_sums(&status), (8, 8, 12, 4), "call {n}");
        let found: Vec<_> = refused(&place).into_iter().map(|(_, record)| record).collect();
        assert_eq!(found, numbered("bad", 4), "call {n}");
        assert_eq!(server.taken().len(), 12, "call {n}");
        if disk.calls() < n {
            assert!(n > 40, "the run had only {n} calls; does it still go through the disk?");
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_that_dies_at_any_call_delivers_every_unit_to_one_object() {
    for n in 1.. {
        let place = filled(lines("    destination: { file: { directory: LAKE } }"));
        let disk = FaultyDisk::new(Arc::new(RealDisk::new()));
        disk.inject(Fault::From(n));
        let faulty: Arc<dyn Disk> = Arc::new(disk.clone());
        if let Ok(log) = place.log(Arc::clone(&faulty))
            && let Ok(pipeline) = place.start(faulty, &log, place.file_sink(), None)
        {
            let _ = pipeline.drain(GRACE).await;
            let _ = log.close();
        }
        assert_eq!(split_sums(&place.deliver_all(None).await), (8, 8, 16, 0), "call {n}");
        let mut found = place.lines_below("");
        found.sort();
        let mut wanted: Vec<_> = WORDS.iter().flat_map(|word| numbered(word, 4)).collect();
        wanted.sort();
        assert_eq!(found, wanted, "call {n}");
        if disk.calls() < n {
            assert!(n > 40, "the run had only {n} calls; does it still go through the disk?");
            return;
        }
    }
}
