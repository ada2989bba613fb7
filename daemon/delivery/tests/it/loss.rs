//! What an operator gave up is counted; everything beside it is delivered exactly once.

use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use crate::support::{Place, numbered, options};
use hydrant_disk::RealDisk;
use hydrant_shardlog::{LogOptions, OpenError};

fn accepting() -> LogOptions {
    LogOptions { accept_loss: true, ..options() }
}

fn put(place: &Place, batch: &str, count: usize) {
    let records = numbered(batch, count);
    place.append(&records.iter().map(String::as_str).collect::<Vec<_>>());
}

/// Changes the stored bytes of this text, wherever in the log they are.
fn damage(place: &Place, text: &str) {
    let mut damaged = 0;
    for entry in std::fs::read_dir(place.log_dir()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(text.len()).position(|window| window == text.as_bytes()) {
            let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.write_all_at(b"?", at as u64).unwrap();
            damaged += 1;
        }
    }
    assert_eq!(damaged, 1, "`{text}` is stored once");
}

fn delivered(place: &Place) -> Vec<String> {
    let mut lines = place.lines_below("");
    lines.sort();
    lines
}

fn wanted(batches: &[(&str, usize)]) -> Vec<String> {
    batches.iter().flat_map(|(batch, count)| numbered(batch, *count)).collect()
}

#[tokio::test(start_paused = true)]
async fn lost_records_are_counted_and_the_others_delivered_exactly_once() {
    let place = Place::lines();
    put(&place, "a", 2);
    place.deliver_all(None).await;
    for (batch, count) in [("b", 2), ("c", 3), ("d", 4)] {
        put(&place, batch, count);
    }
    damage(&place, "c-1");
    let Err(OpenError::Corrupt { first_lost, last_lost, .. }) = place.log(Arc::new(RealDisk::new())) else {
        panic!("rot in what was synced is told");
    };
    assert_eq!((first_lost.get(), last_lost.get()), (5, 7));

    let sums = |status: &hydrant_delivery::Status| {
        let accounting = status.accounting;
        assert!(accounting.holds(), "{accounting:?}");
        (accounting.stored, accounting.delivered, accounting.lost, accounting.backlog)
    };
    assert_eq!(sums(&place.deliver(accepting(), None).await), (11, 8, 3, 0));
    assert_eq!(delivered(&place), wanted(&[("a", 2), ("b", 2), ("d", 4)]));
    // Counted once, whatever comes after it.
    put(&place, "e", 1);
    for _ in 0..2 {
        assert_eq!(sums(&place.deliver_all(None).await), (12, 9, 3, 0));
    }
    assert_eq!(delivered(&place), wanted(&[("a", 2), ("b", 2), ("d", 4), ("e", 1)]));
}

#[tokio::test(start_paused = true)]
async fn a_chunk_of_which_all_is_lost_has_no_object_and_moves_the_cursor() {
    let place = Place::lines();
    put(&place, "a", 3);
    damage(&place, "a-0");
    for options in [accepting(), options()] {
        let status = place.deliver(options, None).await;
        let accounting = status.accounting;
        assert_eq!((accounting.stored, accounting.lost, accounting.backlog), (3, 3, 0));
        assert_eq!((status.objects, status.staged_chunks), (0, 0));
    }
    assert!(place.objects().is_empty());
    put(&place, "b", 2);
    assert!(place.deliver_all(None).await.accounting.holds());
    assert_eq!(delivered(&place), wanted(&[("b", 2)]));
}

/// The error lines of refused records are read from the log again, across what it has lost.
#[tokio::test]
async fn records_refused_on_both_sides_of_a_loss_are_in_the_error_output() {
    let place = Place::new(
        "    buffering: { interval: 900 s }\n    format: { parquet: { columns: { n: int } } }\n    \
         destination: { file: { directory: LAKE, prefix: ok/, error_output_prefix: errors/ } }",
    );
    for records in [["no json", r#"{"n":1}"#], [r#"{"n":2}"#, r#"{"n":3}"#], [r#"{"n":4}"#, "nor this"]] {
        place.append(&records);
    }
    damage(&place, r#"{"n":3}"#);
    let accounting = place.deliver(accepting(), None).await.accounting;
    assert!(accounting.holds());
    assert_eq!((accounting.delivered, accounting.failed, accounting.lost, accounting.backlog), (2, 2, 2, 0));
    let refused = place.lines_below("errors/");
    let refused: Vec<_> = refused.iter().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()).collect();
    let places: Vec<_> = refused.iter().map(|line| line["sequenceNumber"].as_str().unwrap()).collect();
    assert_eq!(places, ["1", "6"]);
}
