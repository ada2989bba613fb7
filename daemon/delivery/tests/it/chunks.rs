//! What an operator decides about chunks that cannot be delivered.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::explain::{explain, traces};
use crate::requests::{ENDPOINT, sums};
use crate::server::{Broken, Server};
use crate::support::{Place, options};
use hydrant_config::ObjectStore;
use hydrant_delivery::{ChunkError, Chunks, ChunksParts, Claim, Places, RecordState, Redirected};
use hydrant_disk::{Disk, RealDisk};
use hydrant_record::StreamId;
use hydrant_sinks::{Sink, SinkErrorKind};

fn chunks(place: &Place) -> Chunks {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new());
    let log = place.log(Arc::clone(&disk)).unwrap();
    let (stream, dir) = (place.stream.clone(), place.delivery_dir());
    let stream_id = StreamId([7; 16]);
    Chunks::open(ChunksParts { stream, stream_id, dir, disk, log, claim: Claim::Own, journal_options: options() })
        .unwrap()
}

/// Runs until a chunk is staged that `sink` or the backup does not take, and stops.
async fn stuck(place: &Place, sink: Arc<dyn Sink>) {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new());
    let log = place.log(Arc::clone(&disk)).unwrap();
    let pipeline = place.start(disk, &log, sink, None).unwrap();
    while pipeline.status().problem.is_none() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    pipeline.stop().await.unwrap();
    log.close().unwrap();
}

fn elsewhere(place: &Place) -> (Arc<dyn Sink>, PathBuf) {
    let directory = place.lake().with_file_name("elsewhere");
    let naming = place.stream.error_store().naming.clone();
    let store = ObjectStore { place: hydrant_config::Place::File { directory: directory.clone() }, naming };
    (hydrant_sinks::object_sink(&store, Arc::new(RealDisk::new())).unwrap(), directory)
}

fn files(directory: &PathBuf) -> usize {
    std::fs::read_dir(directory).map_or(0, Iterator::count)
}

#[tokio::test(start_paused = true)]
async fn a_discarded_chunk_is_counted_and_the_next_one_is_delivered() {
    let place = Place::lines();
    place.append(&["one", "two"]);
    stuck(&place, Arc::new(Broken)).await;
    let open = chunks(&place);
    let listed = open.list().unwrap();
    assert_eq!((listed.len(), listed[0].chunk, listed[0].from, listed[0].to, listed[0].objects), (1, 1, 1, 2, 1));
    assert_eq!(traces(&place).open_chunks().unwrap(), listed, "without the lock");
    assert!(matches!(open.discard(2), Err(ChunkError::NotOpen(2))));
    assert_eq!(open.discard(1).unwrap(), listed[0]);
    assert!(matches!(open.discard(1), Err(ChunkError::NotOpen(1))), "once");
    open.close().unwrap();
    place.append(&["three"]);
    for _ in 0..2 {
        let status = place.deliver_all(None).await;
        assert!(status.accounting.holds());
        assert_eq!((sums(&status), status.accounting.discarded), ((1, 0, 0), 2));
    }
    assert_eq!(place.lines_below(""), ["three"]);
    assert!(chunks(&place).list().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_redirected_chunk_is_elsewhere_unless_its_own_place_takes_it() {
    for works in [false, true] {
        let place = Place::lines();
        place.append(&["one", "two"]);
        stuck(&place, Arc::new(Broken)).await;
        let (to, directory) = elsewhere(&place);
        let own: Arc<dyn Sink> = if works { place.file_sink() } else { Arc::new(Broken) };
        let open = chunks(&place);
        let places = Places { destination: own, backup: None };
        let done = open.redirect(1, &places, (&*to, "file:elsewhere".to_owned())).await.unwrap();
        open.close().unwrap();
        let own_place = u64::from(works);
        assert_eq!(done, Redirected { at_their_own_place: own_place, redirected: 1 - own_place });
        let status = place.deliver_all(None).await;
        assert_eq!((sums(&status), status.accounting.discarded), ((2, 0, 0), 0));
        assert_eq!((files(&directory) > 0, !place.objects().is_empty()), (!works, works));
    }
}

/// Before the next start, after it, and when it was told a second time that the chunk is done.
#[tokio::test(start_paused = true)]
async fn the_object_of_a_redirected_chunk_is_remembered() {
    for works in [false, true] {
        let place = Place::lines();
        place.append(&["one", "two"]);
        stuck(&place, Arc::new(Broken)).await;
        let (to, _) = elsewhere(&place);
        let own: Arc<dyn Sink> = if works { place.file_sink() } else { Arc::new(Broken) };
        let key = explain(&place, 2).places[0].object.key.clone();
        let open = chunks(&place);
        let places = Places { destination: own, backup: None };
        open.redirect(1, &places, (&*to, "file:elsewhere".to_owned())).await.unwrap();
        open.close().unwrap();
        let lake = format!("file:{}", place.lake().display());
        let (state, at) =
            if works { (RecordState::Delivered, &*lake) } else { (RecordState::Redirected, "file:elsewhere") };
        for done in [false, true] {
            let told = explain(&place, 2);
            let said = &told.places[0];
            assert_eq!(
                (told.state, said.position, &*said.object.key, &*said.object.place),
                (state, Some(2), &*key, at)
            );
            assert_eq!(told.chunk.unwrap().done_ms.is_some(), done);
            let found = traces(&place).objects(&key).unwrap();
            assert_eq!((found.len(), &*found[0].1.place), (1, at));
            place.deliver_all(None).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn error_objects_for_a_backup_that_is_gone_can_be_redirected_and_requests_cannot() {
    let place = Place::new(ENDPOINT);
    place.append(&["bad-1", "ok-1"]);
    let down: Arc<dyn Sink> = Arc::new(Server::down(SinkErrorKind::Transient));
    stuck(&place, Arc::clone(&down)).await;
    let (to, directory) = elsewhere(&place);
    let places = Places { destination: down, backup: Some(Arc::new(Broken)) };
    let open = chunks(&place);
    let refused = open.redirect(1, &places, (&*to, "file:elsewhere".to_owned())).await;
    assert!(matches!(refused, Err(ChunkError::Requests(1))));
    open.close().unwrap();

    std::fs::write(place.lake(), "no directory").unwrap();
    let server = Arc::new(Server::default());
    stuck(&place, Arc::clone(&server) as Arc<dyn Sink>).await;
    let open = chunks(&place);
    assert_eq!((open.list().unwrap()[0].counts.delivered, open.list().unwrap()[0].counts.failed), (1, 1));
    let done = open.redirect(1, &places, (&*to, "file:elsewhere".to_owned())).await.unwrap();
    assert_eq!(done, Redirected { at_their_own_place: 0, redirected: 1 });
    open.close().unwrap();
    let status = place.deliver_all(None).await;
    assert_eq!(sums(&status), (1, 1, 0));
    assert!(files(&directory) > 0);
}
