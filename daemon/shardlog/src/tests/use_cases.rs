//! What the log is for.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::*;

#[test]
fn what_was_acked_is_read_back_after_a_clean_stop_and_after_none() {
    for clean in [true, false] {
        let dir = scratch();
        let (log, recovery) = open(dir.path());
        assert_eq!((recovery.first, recovery.last, recovery.clean), (None, None, true));
        let appended = log.append(some(0..5)).unwrap();
        assert_eq!((appended.first, appended.last, appended.epoch), (lsn(1), lsn(5), log.epoch()));
        assert_eq!(log.append(some(5..7)).unwrap().first, lsn(6));
        assert_eq!(payloads(&read_all(&log, None)), some(0..7));
        if clean {
            log.close().unwrap();
            log.close().unwrap();
            assert!(matches!(log.append(some(0..1)), Err(AppendError::Closed)));
        }
        let id = log.id();
        drop(log);
        let (log, recovery) = open(dir.path());
        assert_eq!((recovery.log_id, recovery.clean, recovery.torn_bytes), (id, clean, 0));
        assert_eq!((log.first(), log.last()), (Some(lsn(1)), Some(lsn(7))));
        assert_ne!(log.epoch(), appended.epoch);
        assert_eq!(log.append(some(7..9)).unwrap().first, lsn(8));
        let records = read_all(&log, None);
        assert_eq!(payloads(&records), some(0..9));
        assert_eq!((records[0].epoch, records[8].epoch), (appended.epoch, log.epoch()));
        assert_eq!(payloads(&read_all(&log, Some(lsn(3)))), some(3..9));
    }
}

#[test]
fn a_batch_keeps_to_its_bytes_and_gives_one_record_at_least() {
    let dir = scratch();
    let (log, _) = open(dir.path());
    log.append((0..50).map(|number| numbered(number, 100)).collect()).unwrap();
    let mut tail = log.tail(None);
    assert_eq!(tail.next(0).unwrap().unwrap().records().len(), 1);
    assert_eq!(tail.next(99).unwrap().unwrap().records().len(), 1);
    assert_eq!(tail.next(399).unwrap().unwrap().records().len(), 3);
    assert_eq!(tail.position(), Some(lsn(5)));
    assert_eq!(tail.next(usize::MAX).unwrap().unwrap().last(), lsn(50));
    assert!(tail.next(1).unwrap().is_none());
}

#[test]
fn large_records_and_groups_over_a_segment_are_stored() {
    let dir = scratch();
    let (log, _) = open(dir.path());
    let given: Vec<_> = [3 << 20, 10, 9 << 20, 0].iter().map(|len| numbered(1, *len)).collect();
    log.append(given.clone()).unwrap();
    assert_eq!(payloads(&read_all(&log, None)), given);
    assert_eq!(payloads(&read_all(&log, Some(lsn(2)))), given[2..]);
}

#[test]
fn trimming_removes_whole_segments_and_the_numbers_go_on() {
    let dir = scratch();
    let (log, _) = open(dir.path());
    log.append(some(0..3)).unwrap();
    log.roll().unwrap();
    log.append(some(3..6)).unwrap();
    let mut slow = log.tail(None);
    assert_eq!(slow.next(1).unwrap().unwrap().last(), lsn(1));
    log.trim(lsn(2)).unwrap();
    assert_eq!(log.first(), Some(lsn(1)), "record 3 is still needed");
    log.trim(lsn(3)).unwrap();
    assert_eq!((log.first(), log.last(), segments(dir.path()).len()), (Some(lsn(4)), Some(lsn(6)), 1));
    assert_eq!(slow.next(usize::MAX).unwrap().unwrap().first(), lsn(2), "a reader may finish what it holds");
    let gone = log.tail(Some(lsn(1))).next(1);
    assert!(matches!(gone, Err(ReadError::Trimmed { after, first }) if after == Some(lsn(1)) && first == lsn(4)));
    log.trim(lsn(6)).unwrap();
    assert_eq!(log.first(), Some(lsn(4)), "the segment in use stays");
    log.close().unwrap();
    let (log, _) = open(dir.path());
    log.trim(lsn(6)).unwrap();
    assert_eq!((log.first(), log.last()), (None, Some(lsn(6))));
    drop(log);
    let (log, recovery) = open(dir.path());
    assert_eq!((recovery.first, recovery.last, segments(dir.path()).len()), (None, Some(lsn(6)), 1));
    assert_eq!(log.append(some(6..7)).unwrap().first, lsn(7));
    assert_eq!(payloads(&read_all(&log, Some(lsn(6)))), some(6..7));
}

#[test]
fn a_place_past_the_end_is_an_error_and_not_a_wait() {
    let dir = scratch();
    let (log, _) = open(dir.path());
    log.append(some(0..3)).unwrap();
    for far in [4, u64::MAX - 1, u64::MAX] {
        assert!(matches!(log.tail(Some(lsn(far))).next(1), Err(ReadError::Corrupt { .. })), "{far}");
        let mut shard = log.shard_tail(hydrant_record::ShardIx(0), Some(lsn(far)));
        assert!(matches!(shard.next(1, 1), Err(ReadError::Corrupt { .. })), "{far}");
    }
    assert!(log.tail(Some(lsn(3))).next(1).unwrap().is_none());
}

#[test]
fn many_producers_and_a_reader_see_one_order_without_gaps() {
    const EACH: usize = 200;
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    let mut tail = log.tail(None);
    let (more, woken) = std::sync::mpsc::sync_channel(1);
    tail.on_more(Arc::new(move || {
        let _ = more.try_send(());
    }));
    let reader = thread::spawn(move || {
        let mut all: Vec<Record> = Vec::new();
        while all.len() < 8 * EACH {
            match tail.next(5000).unwrap() {
                Some(batch) => all.extend(batch.into_records()),
                None => woken.recv().unwrap(),
            }
        }
        all
    });
    let producers: Vec<_> = (0..8)
        .map(|producer| {
            let log = log.clone();
            thread::spawn(move || {
                (0..EACH)
                    .map(|n| log.append(vec![numbered(producer * EACH + n, 300)]).unwrap().first)
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let acked: Vec<Vec<Lsn>> = producers.into_iter().map(|producer| producer.join().unwrap()).collect();
    let all = reader.join().unwrap();
    assert!(all.iter().enumerate().all(|(index, record)| record.lsn == lsn(index as u64 + 1)));
    for (producer, lsns) in acked.iter().enumerate() {
        assert!(lsns.is_sorted());
        for (n, at) in lsns.iter().enumerate() {
            let index = usize::try_from(at.get()).unwrap() - 1;
            assert_eq!(payloads(&all[index..=index]), [numbered(producer * EACH + n, 300)]);
        }
    }
    assert_eq!(payloads(&read_all(&log, None)), payloads(&all));
    assert!(segments(dir.path()).len() > 1, "it has rolled");
}

#[test]
fn a_full_queue_refuses_and_completes_what_it_took() {
    let dir = scratch();
    let options = LogOptions { queue_bytes_max: 1000, ..options() };
    let (log, _) = ShardLog::open(Arc::new(RealDisk::new()), dir.path(), options).unwrap();
    // The first completion holds the commit thread, so what follows must queue.
    let (release, held) = std::sync::mpsc::sync_channel::<()>(0);
    let hold = move |_| held.recv().unwrap_or_default();
    log.submit(some(0..1), Box::new(hold)).unwrap();
    let done = Arc::new(AtomicUsize::new(0));
    let mut taken = 0;
    loop {
        let done = Arc::clone(&done);
        let count = move |result: Result<Appended, AppendError>| {
            result.unwrap();
            done.fetch_add(1, Ordering::SeqCst);
        };
        match log.submit(some(0..1), Box::new(count)) {
            Ok(()) => taken += 1,
            Err(AppendError::Full) => break,
            Err(other) => panic!("{other}"),
        }
    }
    assert!((1..=10).contains(&taken), "{taken}");
    release.send(()).unwrap();
    log.close().unwrap();
    assert_eq!(done.load(Ordering::SeqCst), taken);
}
