//! Reading by time, by shard and by place, while the log grows, is packed, is divided anew, and is written over.

use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::*;
use hydrant_record::HashKey;

/// A second passes between any two looks.
#[derive(Debug, Default)]
struct Ticking(AtomicU64);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.fetch_add(1000, Ordering::SeqCst))
    }
}

fn open_with(dir: &Path, options: LogOptions) -> ShardLog {
    ShardLog::open(Arc::new(RealDisk::new()), dir, options).unwrap().0
}

fn keyed(number: usize, len: usize) -> NewRecord {
    let key = format!("key {number}");
    let hash = HashKey::of_partition_key(key.as_bytes());
    NewRecord { placement: Placement::Hash(hash), partition_key: Some(Bytes::from(key)), ..numbered(number, len) }
}

/// All records of a shard, read in small pieces.
fn read_shard(log: &ShardLog, shard: ShardIx, after: Option<Lsn>) -> Vec<Record> {
    let mut tail = log.shard_tail(shard, after);
    let mut all = Vec::new();
    while let Some(batch) = tail.next(1000, 10).unwrap() {
        assert!(batch.records.len() <= 10 && tail.position() == Some(batch.through));
        all.extend(batch.records);
    }
    all
}

/// As if no segment had been read since the log was opened.
fn forget_indexes(log: &ShardLog) {
    log.shared.state().segments.iter().for_each(|(segment, _)| *segment.index() = None);
}

fn flip(path: &Path, at: u64) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 4], at).unwrap();
}

/// Where the frames of a kind begin.
fn frames(path: &Path, kind: u8) -> Vec<u64> {
    let bytes = std::fs::read(path).unwrap();
    let found = |at: &usize| bytes[*at..].starts_with(b"HFRM") && bytes[at + 60] == kind;
    (4096..bytes.len() - 63).step_by(64).filter(found).map(|at| at as u64).collect()
}

#[test]
fn a_time_is_found_in_any_segment_by_any_index() {
    let dir = scratch();
    let log = open_with(dir.path(), LogOptions { clock: Arc::new(Ticking::default()), ..options() });
    for number in 0..20 {
        if number % 4 == 3 {
            log.roll().unwrap();
        }
        log.append(some(2 * number..2 * number + 2)).unwrap();
    }
    let records = read_all(&log, None);
    let holds = |log: &ShardLog, what: &str| {
        for at in (0..40_000).step_by(500) {
            let first = records.iter().find(|record| record.arrived_at.as_millis() >= at);
            let expected = first.map_or(Some(lsn(40)), |record| record.lsn.previous());
            assert_eq!(log.seek_time(Timestamp::from_millis(at)).unwrap(), expected, "{what}, {at}");
        }
    };
    holds(&log, "while it grows");
    log.close().unwrap();
    let (log, _) = open(dir.path());
    holds(&log, "opened again");
    forget_indexes(&log);
    holds(&log, "by the stored indexes");
    let paths = segments(dir.path());
    assert_eq!(paths.len(), 7);
    flip(&paths[1], frames(&paths[1], 4)[0] + 20);
    flip(&paths[3], frames(&paths[3], 4)[0] + 70);
    forget_indexes(&log);
    holds(&log, "with damaged indexes");
    assert_eq!(read_all(&log, Some(lsn(13))), records[13..]);
    drop(log);
    holds(&open(dir.path()).0, "opened with damaged indexes");
}

#[test]
fn the_stored_index_leads_past_what_need_not_be_read() {
    let dir = scratch();
    let large = || LogOptions { segment_bytes_max: 16 << 20, clock: Arc::new(Ticking::default()), ..options() };
    let log = open_with(dir.path(), large());
    log.append(vec![numbered(0, 4 << 20)]).unwrap();
    log.roll().unwrap();
    (1..9).for_each(|number| drop(log.append(vec![numbered(number, 600 << 10)]).unwrap()));
    let late = read_all(&log, Some(lsn(8)))[0].arrived_at;
    log.close().unwrap();
    let log = open_with(dir.path(), large());
    let path = &segments(dir.path())[1];
    // A header in the first stretch is gone, since the log was opened.
    flip(path, frames(path, 1)[0] + 9);
    forget_indexes(&log);
    assert_eq!(log.seek_time(late).unwrap(), Some(lsn(8)));
    assert_eq!(payloads(&read_all(&log, Some(lsn(8)))), [numbered(8, 600 << 10)]);
    assert!(matches!(log.tail(Some(lsn(2))).next(1), Err(ReadError::Corrupt { .. })));
    // Without the stored index all headers must be read, and the damage is met.
    flip(path, frames(path, 4)[0] + 70);
    forget_indexes(&log);
    assert!(matches!(log.seek_time(late), Err(ReadError::Corrupt { .. })));
}

#[test]
fn each_of_many_shards_reads_its_own_in_order() {
    let dir = scratch();
    let log = open_with(dir.path(), LogOptions { shards: 100, segment_bytes_min: 64 << 10, ..options() });
    for number in 0..40 {
        let records = (0..50).map(|at| keyed(50 * number + at, 100)).collect();
        log.append(records).unwrap();
    }
    let all = read_all(&log, None);
    assert_eq!(all.len(), 2000);
    for after in [None, Some(lsn(777)), Some(lsn(2000))] {
        let mut seen = 0;
        for shard in 0..100 {
            let own = |record: &&Record| record.shard == ShardIx(shard) && Some(record.lsn) > after;
            let expected: Vec<Record> = all.iter().filter(own).cloned().collect();
            assert_eq!(read_shard(&log, ShardIx(shard), after), expected, "shard {shard}");
            seen += expected.len();
        }
        assert_eq!(seen as u64, 2000 - after.map_or(0, Lsn::get));
    }
    assert!(read_shard(&log, ShardIx(100), None).is_empty());
}

#[test]
fn a_shard_skips_stretches_and_bodies_of_others() {
    let dir = scratch();
    let two = || LogOptions { shards: 2, segment_bytes_min: 8 << 20, segment_bytes_max: 8 << 20, ..options() };
    let log = open_with(dir.path(), two());
    let of = |shard: u128, number| NewRecord {
        placement: Placement::Hash(HashKey(u128::MAX * shard)),
        ..numbered(number, 600 << 10)
    };
    (0..6).for_each(|number| drop(log.append(vec![of(0, number)]).unwrap()));
    (6..8).for_each(|number| drop(log.append(vec![of(1, number)]).unwrap()));
    let path = &segments(dir.path())[0];
    let starts = frames(path, 1);
    // A header in a stretch without the shard, and a body in one with it.
    flip(path, starts[2] + 9);
    flip(path, starts[5] + 700);
    assert_eq!(payloads(&read_shard(&log, ShardIx(1), None)), [of(1, 6), of(1, 7)].map(plain));
    let mut tail = log.shard_tail(ShardIx(0), None);
    let first = tail.next(usize::MAX, usize::MAX).unwrap().unwrap();
    assert_eq!(first.records.iter().map(|record| record.lsn.get()).collect::<Vec<_>>(), [1, 2], "before the damage");
    for _ in 0..2 {
        assert!(matches!(tail.next(usize::MAX, usize::MAX), Err(ReadError::Corrupt { .. })));
        assert_eq!(tail.position(), Some(lsn(2)), "and it stays there");
    }
    flip(path, starts[2] + 9);
    let rest = tail.next(usize::MAX, usize::MAX).unwrap().unwrap();
    assert_eq!(
        rest.records.iter().map(|record| record.lsn.get()).collect::<Vec<_>>(),
        [3, 4, 5],
        "nothing was skipped"
    );
}

fn plain(record: NewRecord) -> NewRecord {
    NewRecord { placement: Placement::Any, ..record }
}

#[test]
fn a_reader_of_a_shard_hears_of_records_and_of_the_end_of_its_shard() {
    let dir = scratch();
    let log = open_with(dir.path(), LogOptions { shards: 2, ..options() });
    let of = |hash: u128, number| NewRecord { placement: Placement::Hash(HashKey(hash)), ..numbered(number, 8) };
    let (more, woken) = std::sync::mpsc::sync_channel(1);
    let more = Arc::new(move || {
        let _ = more.try_send(());
    });
    let mut tail = log.shard_tail(ShardIx(0), None);
    tail.on_more(Arc::clone(&more) as _);
    assert!(woken.try_recv().is_err(), "there is nothing yet");
    log.append(vec![of(0, 0)]).unwrap();
    woken.recv().unwrap();
    // Once more at once: nothing was read since.
    tail.on_more(Arc::clone(&more) as _);
    woken.recv().unwrap();
    assert_eq!(tail.next(9, 9).unwrap().unwrap().records.len(), 1);
    log.reshard(Reshard::Split { shard: ShardIx(0), new_start: HashKey(7) }).unwrap();
    woken.recv().unwrap();
    assert!(log.shards().get(ShardIx(0)).unwrap().closed.is_some());
    drop(tail);
    assert!(log.shared.state().wakers.is_empty());
}

#[test]
fn a_shard_gives_one_record_even_where_nothing_fits() {
    let dir = scratch();
    let (log, _) = open(dir.path());
    log.append(some(0..3)).unwrap();
    let mut tail = log.shard_tail(ShardIx(0), None);
    for (bytes_max, records_max, expected) in [(0, 9, 1), (9, 0, 2), (1, 1, 3)] {
        let batch = tail.next(bytes_max, records_max).unwrap().unwrap();
        assert_eq!((batch.records.len(), batch.through), (1, lsn(expected)));
    }
    assert!(tail.next(0, 0).unwrap().is_none());
}

#[test]
fn a_reader_finishes_a_trimmed_segment_and_never_sees_its_next_life() {
    let dir = scratch();
    let bytes = 64 << 10;
    let committers = Committers::inline();
    let sized = LogOptions { segment_bytes_min: bytes, segment_bytes_max: bytes, committers, ..options() };
    let log = open_with(dir.path(), sized);
    let fill = |from: usize| {
        log.append(vec![numbered(from, 400)]).unwrap();
        // The next segment is not wanted yet, so what is let go now may become it.
        if from >= 300 {
            log.trim(lsn(from as u64 - 200)).unwrap();
        }
        (from + 1..from + 100).for_each(|number| drop(log.append(vec![numbered(number, 400)]).unwrap()));
        log.roll().unwrap();
    };
    let recycled = || segments(dir.path()).iter().filter(|path| std::fs::read(path).unwrap()[10] == 1).count();
    (0..3).for_each(|part| fill(100 * part));
    let mut slow = log.tail(None);
    let mut shard = log.shard_tail(ShardIx(0), None);
    assert_eq!(slow.next(1).unwrap().unwrap().last(), lsn(1));
    assert_eq!(shard.next(1, 1).unwrap().unwrap().through, lsn(1));
    let mut reused = 0;
    for part in 3..12 {
        fill(100 * part);
        reused += recycled();
        let after = log.first().unwrap().previous();
        let from = usize::try_from(after.unwrap().get()).unwrap();
        let expected: Vec<_> = (from..100 * part + 100).map(|number| numbered(number, 400)).collect();
        assert_eq!(payloads(&read_all(&log, after)), expected);
    }
    assert!(reused > 0, "blocks have been used again");
    let mut read = 1;
    loop {
        match slow.next(5000) {
            Ok(Some(batch)) => {
                assert_eq!(batch.first(), lsn(read + 1));
                assert_eq!(payloads(&batch.records()[..1]), [numbered(usize::try_from(read).unwrap(), 400)]);
                read = batch.last().get();
            }
            Err(ReadError::Trimmed { after, first }) => {
                assert_eq!((after, Some(first)), (Some(lsn(read)), log.first()));
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(read >= 100, "it has finished what it held");
    assert!(matches!(shard.next(9, 9), Err(ReadError::Trimmed { .. })));
}

#[test]
fn every_compression_reads_back_whatever_the_log_packs_with_now() {
    let all = [Compression::Zstd, Compression::None, Compression::Lz4, Compression::Zstd];
    let dir = scratch();
    for (life, compression) in all.into_iter().enumerate() {
        let log = open_with(dir.path(), LogOptions { compression, ..options() });
        let given: Vec<_> = (0..50 * life).map(|number| numbered(number, 300)).collect();
        assert_eq!(payloads(&read_all(&log, None)), given);
        let new = (50 * life..50 * life + 50).map(|number| numbered(number, 300)).collect();
        log.append(new).unwrap();
        // In the middle of a frame.
        for after in (0..50 * life as u64 + 50).step_by(7) {
            let one = log.tail(Lsn::new(after)).next(1).unwrap().unwrap();
            assert_eq!(payloads(one.records()), [numbered(usize::try_from(after).unwrap(), 300)]);
        }
        log.close().unwrap();
    }
    let sizes: Vec<u64> = segments(dir.path()).iter().map(|path| std::fs::metadata(path).unwrap().len()).collect();
    assert!(sizes[0] < sizes[1] / 2 && sizes[2] < sizes[1] / 2, "{sizes:?}");
}

#[test]
fn each_record_of_a_scattered_append_is_where_it_was_said_to_be() {
    let dir = scratch();
    let log = open_with(dir.path(), LogOptions { shards: 8, ..options() });
    for number in 0..10 {
        let given: Vec<_> = (0..50).map(|at| keyed(50 * number + at, 20)).collect();
        let appended = log.append(given.clone()).unwrap();
        let mut places: Vec<Lsn> = (0..50).map(|index| appended.place(index).1).collect();
        for (index, record) in given.iter().enumerate() {
            let (shard, at) = appended.place(index);
            let found = log.tail(at.previous()).next(1).unwrap().unwrap().into_records().remove(0);
            assert_eq!((found.lsn, found.shard), (at, shard));
            assert_eq!(payloads(&[found]), [plain(record.clone())]);
            let Placement::Hash(hash) = record.placement else { unreachable!("all are keyed") };
            assert_eq!(log.shards().route(hash), shard);
        }
        places.sort_unstable();
        assert_eq!(places, (appended.first.get()..=appended.last.get()).map(lsn).collect::<Vec<_>>());
    }
}

#[test]
fn producers_and_readers_go_on_while_the_stream_is_divided() {
    const EACH: usize = 150;
    let dir = scratch();
    let log = open_with(dir.path(), LogOptions { shards: 2, segment_bytes_min: 64 << 10, ..options() });
    let producers: Vec<_> = (0..4)
        .map(|producer| {
            let log = log.clone();
            thread::spawn(move || {
                for number in 0..EACH {
                    let number = producer * EACH + number;
                    log.append((0..5).map(|part| keyed(5 * number + part, 60)).collect()).unwrap();
                }
            })
        })
        .collect();
    let reader = {
        let log = log.clone();
        thread::spawn(move || {
            let (mut tail, mut read) = (log.tail(None), 0);
            while read < 20 * EACH {
                match tail.next(10_000).unwrap() {
                    Some(batch) => read += batch.records().len(),
                    None => thread::yield_now(),
                }
            }
        })
    };
    for count in [3, 8, 5, 1, 6, 2] {
        assert_eq!(log.reshard(Reshard::Uniform { count }).unwrap().open().count(), count as usize);
    }
    producers.into_iter().for_each(|producer| producer.join().unwrap());
    reader.join().unwrap();
    let shards = log.shards();
    let number = |record: &Record| {
        let data = String::from_utf8(record.data.to_vec()).unwrap();
        data.split(' ').nth(1).unwrap().parse::<usize>().unwrap()
    };
    let mut seen = 0;
    for shard in shards.shards() {
        let mut last = [None; 4];
        for record in read_shard(&log, shard.ix, None) {
            assert!(record.lsn >= shard.first && shard.closed.is_none_or(|closed| record.lsn < closed.before));
            assert!(shard.range.contains(HashKey::of_partition_key(record.partition_key.as_ref().unwrap())));
            let number = number(&record);
            let before = last[number / (5 * EACH)].replace(number);
            assert!(before < Some(number), "{before:?} before {number} in shard {}", shard.ix.0);
            seen += 1;
        }
    }
    assert_eq!(seen, 20 * EACH);
    log.close().unwrap();
    assert_eq!(open(dir.path()).0.shards().shards(), shards.shards());
}
