//! Where records went, asked of a delivery stream while and after it delivers: held against what is in the objects.

use std::sync::Arc;
use std::time::Duration;

use crate::flow::{BY_KEY, ByWord};
use crate::requests::ENDPOINT;
use crate::server::{Broken, Server};
use crate::support::{Place, append, numbered};
use hydrant_delivery::{Explained, RecordState, Traces};
use hydrant_disk::{Disk, RealDisk};
use hydrant_record::Lsn;
use hydrant_sinks::Sink;

pub(crate) fn traces(place: &Place) -> Traces {
    Traces::open(Arc::new(RealDisk::new()), &place.delivery_dir()).unwrap()
}

pub(crate) fn explain(place: &Place, lsn: u64) -> Explained {
    traces(place).record(Lsn::new(lsn).unwrap(), None).unwrap()
}

/// The line that a record is said to be at.
fn line_of(place: &Place, explained: &Explained, at: usize) -> String {
    let said = &explained.places[at];
    assert!(said.row_each, "{said:?}");
    let objects = place.objects();
    let text = String::from_utf8(objects[&said.object.key].clone()).unwrap();
    let line = text.lines().nth(usize::try_from(said.position.unwrap()).unwrap() - 1);
    line.unwrap().to_owned()
}

#[tokio::test]
async fn every_record_is_where_it_is_said_to_be() {
    let place = Place::new(&BY_KEY.replace("partitions_max: 2", "partitions_max: 20"));
    let records: Vec<String> = (0..500)
        .map(|n| match n % 10 {
            3 => format!("drop {n}"),
            7 => format!("fail {n}"),
            key => format!("{key} number-{n}"),
        })
        .collect();
    place.append(&records.iter().map(String::as_str).collect::<Vec<_>>());
    place.deliver_all(Some(Box::new(ByWord))).await;
    for (n, record) in records.iter().enumerate() {
        let explained = explain(&place, n as u64 + 1);
        match record.split_once(' ').unwrap() {
            ("drop", _) => assert_eq!((explained.state, explained.places.len()), (RecordState::Dropped, 0)),
            ("fail", why) => {
                assert_eq!(explained.state, RecordState::Failed);
                assert!(line_of(&place, &explained, 0).contains(&format!("\"errorMessage\":\"{why}\"")));
            }
            (_, text) => {
                assert_eq!(explained.state, RecordState::Delivered);
                assert_eq!(line_of(&place, &explained, 0), text);
                assert_eq!(explained.places[0].object.attempts, Some(1));
            }
        }
        assert!(explained.chunk.unwrap().done_ms.is_some());
    }
    for (key, bytes) in place.objects() {
        let found = traces(&place).objects(&format!("s3://bucket/{key}")).unwrap();
        assert_eq!((found.len(), found[0].1.bytes), (1, bytes.len() as u64));
        assert_eq!(found[0].1.records, String::from_utf8(bytes).unwrap().lines().count() as u64);
    }
    assert!(traces(&place).objects("no/such/key").unwrap().is_empty());
    assert_eq!(explain(&place, 501).state, RecordState::Backlog);
}

#[tokio::test]
async fn records_that_the_encoder_refused_are_not_counted_among_the_rows() {
    let place = Place::new(
        "    buffering: { interval: 900 s }\n    format: { parquet: { columns: { n: int } } }\n    \
         destination: { file: { directory: LAKE, prefix: ok/, error_output_prefix: errors/ } }",
    );
    place.append(&[r#"{"n":1}"#, "not json", r#"{"n":2}"#, r#"{"n":"x"}"#, r#"{"n":3}"#]);
    place.deliver_all(None).await;
    let told: Vec<_> = (1..=5)
        .map(|lsn| {
            let explained = explain(&place, lsn);
            (explained.state, explained.places[0].position.unwrap(), explained.places[0].row_each)
        })
        .collect();
    use RecordState::{Delivered, Failed};
    assert_eq!(
        told,
        [(Delivered, 1, true), (Failed, 1, true), (Delivered, 2, true), (Failed, 2, true), (Delivered, 3, true)]
    );
}

#[tokio::test(start_paused = true)]
async fn a_record_on_its_way_is_told_while_the_daemon_runs() {
    let place = Place::lines();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new());
    let log = place.log(Arc::clone(&disk)).unwrap();
    let pipeline = place.start(disk, &log, Arc::new(Broken), None).unwrap();
    append(&log, &["one", "two"]);
    while pipeline.status().problem.is_none() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let explained = explain(&place, 2);
    let said = &explained.places[0];
    assert_eq!((explained.state, said.position, said.object.attempts), (RecordState::Staged, Some(2), None));
    assert_eq!(explained.chunk.unwrap().done_ms, None);
    let key = said.object.key.clone();
    assert_eq!(traces(&place).objects(&key).unwrap().len(), 1);
    assert_eq!(explain(&place, 3).state, RecordState::Backlog);
    pipeline.stop().await.unwrap();
    log.close().unwrap();

    place.deliver_all(None).await;
    assert_eq!(explain(&place, 2).places[0].object.key, key, "the name that it was staged under");
    assert_eq!(explain(&place, 2).state, RecordState::Delivered);
}

#[tokio::test(start_paused = true)]
async fn items_of_requests_are_told_with_their_verdicts() {
    let place = Place::new(ENDPOINT);
    place.append(&["ok-1", "bad-1", "ok-2"]);
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new());
    let log = place.log(Arc::clone(&disk)).unwrap();
    let server: Arc<dyn Sink> = Arc::new(Server::default());
    let pipeline = place.start(disk, &log, server, None).unwrap();
    pipeline.drain(crate::support::GRACE).await.unwrap();
    let (taken, refused) = (explain(&place, 3), explain(&place, 2));
    assert_eq!((taken.state, taken.places.len(), taken.places[0].object.is_request), (RecordState::Delivered, 1, true));
    assert_eq!(refused.state, RecordState::Failed);
    let places: Vec<_> = refused.places.iter().map(|said| (said.object.holds, said.position)).collect();
    assert_eq!(places.iter().filter(|(holds, _)| *holds == "errors").count(), 1, "{places:?}");
}

#[tokio::test]
async fn what_is_not_remembered_is_said_to_be_so() {
    let place = Place::new(
        "    buffering: { interval: 0 s }\n    history: { retention: 0 s }\n    destination: { file: { directory: LAKE } }",
    );
    let records = numbered("r", 3);
    place.append(&records.iter().map(String::as_str).collect::<Vec<_>>());
    place.deliver_all(None).await;
    let explained = explain(&place, 2);
    assert_eq!((explained.state, explained.note.as_deref()), (RecordState::Forgotten, Some("the history is empty")));
}

#[tokio::test]
async fn a_record_of_another_life_of_the_log_is_not_taken_for_the_one_that_is_there() {
    let place = Place::lines();
    place.append(&["one"]);
    place.deliver_all(None).await;
    let traces = traces(&place);
    assert_eq!(traces.record(Lsn::FIRST, Some(1)).unwrap().state, RecordState::Replaced);
    let log = place.log(Arc::new(RealDisk::new())).unwrap();
    assert_eq!(traces.log(), Some(log.id().to_string().as_str()));
}
