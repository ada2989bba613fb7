//! Failed records straight to the destination: a repeat makes the same names from the same lines, and a device that dies at any
//! call doubles nothing.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hydrant_delivery::{Batched, FailedRecord, ResendError, Resender, ResenderParts, StagedBatch};
use hydrant_disk::faulty::Fault;
use hydrant_disk::{Disk, FaultyDisk, RealDisk};
use hydrant_plugins::Transform;
use hydrant_record::Timestamp;
use hydrant_sinks::{Sink, SinkErrorKind};
use tokio_util::sync::CancellationToken;

use crate::flow::{BY_KEY, ByWord};
use crate::requests::ENDPOINT;
use crate::server::{Broken, Server};
use crate::support::Place;

const PATIENCE: Duration = Duration::from_secs(30);
const OBJECT: (&str, &str) = ("errors-1", "9f86d081");

fn staging(place: &Place) -> PathBuf {
    let dir = place.lake().with_file_name("resend");
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

fn resender_on(disk: Arc<dyn Disk>, place: &Place, sink: Arc<dyn Sink>) -> Resender {
    let (stream, dir, stop) = (place.stream.clone(), staging(place), CancellationToken::new());
    Resender::new(ResenderParts { stream, dir, disk, transform: None, sink, stop })
}

fn resender(place: &Place, sink: Arc<dyn Sink>) -> Resender {
    resender_on(Arc::new(RealDisk::new()), place, sink)
}

fn with(place: &Place, transform: Box<dyn Transform>) -> Resender {
    let (stream, dir, stop) = (place.stream.clone(), staging(place), CancellationToken::new());
    let (disk, transform, sink) = (Arc::new(RealDisk::new()), Some(transform), place.file_sink());
    Resender::new(ResenderParts { stream, dir, disk, transform, sink, stop })
}

fn records(texts: &[&str]) -> Vec<FailedRecord> {
    let record = |(line, text): (u64, &&str)| FailedRecord {
        line,
        arrived_at: Timestamp::from_millis(1_789_000_000_000 + line),
        data: Bytes::copy_from_slice(text.as_bytes()),
        document_id: None,
    };
    (0..).zip(texts).map(record).collect()
}

fn lines(lines: &[u64]) -> BTreeSet<u64> {
    lines.iter().copied().collect()
}

#[tokio::test]
async fn a_repeat_finds_what_it_did_before_and_other_lines_make_other_objects() {
    let place = Place::lines();
    let all = records(&["a\n", "b\n", "c\n"]);
    let send = async |object: (&str, &str), records: &[FailedRecord]| {
        let mut resender = resender(&place, place.file_sink());
        let batch = resender.stage(object, records).unwrap().batch;
        // It goes over the journal of the command, as it would after a crash.
        let batch: StagedBatch = serde_json::from_str(&serde_json::to_string(&batch).unwrap()).unwrap();
        resender.send(&batch, PATIENCE).await.unwrap();
        resender.send(&batch, PATIENCE).await.unwrap();
        resender.clear().unwrap();
        assert_eq!(std::fs::read_dir(staging(&place)).unwrap().count(), 0, "nothing stays behind");
    };
    for _ in 0..2 {
        send(OBJECT, &all[..2]).await;
        assert_eq!(place.lines_below(""), ["a", "b"]);
    }
    send(OBJECT, &all[2..]).await;
    assert_eq!(place.lines_below("").len(), 3);
    // The same bytes of another error object, or at other lines, are other records.
    send(("errors-2", OBJECT.1), &all[..2]).await;
    send(OBJECT, &[FailedRecord { line: 7, ..all[0].clone() }]).await;
    assert_eq!((place.objects().len(), place.lines_below("").len()), (4, 6));
}

#[tokio::test]
async fn records_as_they_were_put_pass_the_plugins_and_what_fails_again_stays() {
    let place = Place::new(BY_KEY);
    let texts = ["a 1", "drop it", "fail too old", "b 2", "a 3", "c 4", "nokey"];
    let mut resender = with(&place, Box::new(ByWord));
    let Batched { batch, dropped, failed } = resender.stage(OBJECT, &records(&texts)).unwrap();
    let sent = resender.send(&batch, PATIENCE).await.unwrap();
    assert_eq!((sent.objects, sent.refused.len(), dropped), (2, 0, lines(&[1])));
    assert_eq!(place.lines_below("ok/key=a/"), ["1", "3"]);
    assert_eq!(place.lines_below("ok/key=b/"), ["2"]);
    let failed: Vec<_> = failed.into_iter().map(|failed| (failed.code, failed.lines)).collect();
    let code = |code: &str, at: u64| (code.to_owned(), lines(&[at]));
    let partitioning = "DynamicPartitioning.MetadataExtractionFailed";
    assert_eq!(
        failed,
        [
            code("DynamicPartitioning.ActivePartitionExceeded", 5),
            code(partitioning, 6),
            code("Lambda.ProcessingFailedStatus", 2)
        ]
    );
    assert!(place.lines_below("errors/").is_empty(), "they are in an error object already");
}

#[tokio::test]
async fn what_the_encoder_refuses_again_stays_and_the_rest_is_delivered() {
    let place = Place::new(
        "    format: { parquet: { columns: { n: int } } }\n    destination: { file: { directory: LAKE, prefix: ok/, error_output_prefix: errors/ } }",
    );
    let mut resender = resender(&place, place.file_sink());
    let staged = resender.stage(OBJECT, &records(&[r#"{"n":1}"#, "not json", r#"{"n":2}"#])).unwrap();
    assert_eq!(staged.failed.iter().map(|failed| failed.lines.clone()).collect::<Vec<_>>(), [lines(&[1])]);
    resender.send(&staged.batch, PATIENCE).await.unwrap();
    let objects = place.objects();
    assert_eq!(objects.len(), 1);
    let parquet = Bytes::from(objects.into_values().next().unwrap());
    assert_eq!(hydrant_formats::parquet_rows(&parquet).unwrap(), 2);
    let staged = resender.stage(OBJECT, &records(&["not json"])).unwrap();
    assert_eq!(resender.send(&staged.batch, PATIENCE).await.unwrap().objects, 0, "nothing is left to be sent");
}

#[tokio::test(start_paused = true)]
async fn requests_keep_their_ids_over_lost_answers_and_repeats() {
    let place = Place::new(ENDPOINT);
    let server = Arc::new(Server::default());
    let texts = records(&["ok-1", "bad-1", "busy-1", "lost-1", "ok-2"]);
    for round in 1..=2 {
        let mut resender = resender(&place, Arc::clone(&server) as Arc<dyn Sink>);
        let batch = resender.stage(OBJECT, &texts).unwrap().batch;
        let sent = resender.send(&batch, PATIENCE).await.unwrap();
        let refused: Vec<_> = sent.refused.iter().map(|one| (one.code.as_str(), one.lines.clone())).collect();
        assert_eq!(refused, [("400", lines(&[1]))], "round {round}");
    }
    assert_eq!(server.attempts().len(), 1, "one id at all attempts, also of the second run");
    assert!(place.objects().is_empty(), "no backup gets what is in an error object already");
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_only_fails_ends_it_and_what_is_staged_goes_on_later() {
    let place = Place::new(ENDPOINT);
    let server = Arc::new(Server::down(SinkErrorKind::Transient));
    let mut first = resender(&place, Arc::clone(&server) as Arc<dyn Sink>);
    let batch = first.stage(OBJECT, &records(&["ok-1", "ok-2"])).unwrap().batch;
    let Err(ResendError::Unreachable { problem }) = first.send(&batch, PATIENCE).await else { panic!("it is down") };
    assert!(problem.contains("it is down"), "{problem}");
    drop(first);
    *server.down.lock().unwrap() = None;
    let sent = resender(&place, Arc::clone(&server) as Arc<dyn Sink>).send(&batch, PATIENCE).await.unwrap();
    assert_eq!((sent.objects, server.attempts().len()), (1, 1), "under the same id");
    let elsewhere = Place::lines();
    std::fs::rename(staging(&place), staging(&elsewhere).join("x")).unwrap();
    let refused = resender(&elsewhere, Arc::new(Broken)).send(&batch, PATIENCE).await;
    assert!(matches!(refused, Err(ResendError::OtherDestination { .. })));
}

/// As the command does it: stage, note, send, note. What was noted is what a next run has.
async fn run(place: &Place, disk: Arc<dyn Disk>, noted: &mut (Option<StagedBatch>, bool)) -> Result<(), ResendError> {
    let mut resender = resender_on(disk, place, place.file_sink());
    let batch = match &noted.0 {
        Some(batch) => batch.clone(),
        None => resender.stage(OBJECT, &records(&["a\n", "b\n", "c\n"]))?.batch,
    };
    noted.0 = Some(batch.clone());
    resender.send(&batch, Duration::from_secs(1)).await?;
    noted.1 = true;
    Ok(resender.clear()?)
}

#[tokio::test(start_paused = true)]
async fn a_device_that_dies_at_any_call_doubles_nothing() {
    for n in 1.. {
        let place = Place::lines();
        let disk = FaultyDisk::new(Arc::new(RealDisk::new()));
        disk.inject(Fault::From(n));
        let mut noted = (None, false);
        let died = run(&place, Arc::new(disk.clone()), &mut noted).await.is_err();
        if !noted.1 {
            run(&place, Arc::new(RealDisk::new()), &mut noted).await.unwrap();
        }
        assert_eq!(place.lines_below(""), ["a", "b", "c"], "the device died at call {n}");
        if !died {
            assert!(n > 8, "the run had only {n} calls; does it still go through the disk?");
            return;
        }
    }
}
