//! Readers beside writers, trimming and changes of the shards.

use std::sync::Mutex;

use hydrant_record::{HashKey, ShardIx};

use super::*;
use crate::{Appended, Reshard, Tail};

#[test]
fn no_wake_up_is_lost_and_all_see_one_order() {
    interleave(|| {
        let disk = new_disk();
        let log = open_stepped(&disk, stepped_options(threads(2)));
        let readers = [read_along(&log, 5, false), read_along(&log, 5, true)];
        let producers = [producer(&log, 0..2), producer(&log, 2..4), producer(&log, 4..5)];
        let acked: Acked = producers.into_iter().flat_map(|producer| producer.join().unwrap().0).collect();
        for reader in readers {
            assert_whole(&reader.join().unwrap(), acked.clone());
        }
        assert_whole(&after_power_loss(&disk, &acked), acked);
        log.close().unwrap();
        let progress = log.progress();
        assert!(!progress.committing && (1..=5).contains(&progress.commits), "{progress:?}");
    });
}

/// Reads so many records, and waits where there are no more: with one waker for all, or a new one each time.
fn read_along(log: &ShardLog, count: usize, anew: bool) -> JoinHandle<Vec<Record>> {
    let mut tail = log.tail(None);
    thread::spawn(move || {
        let (wake, mut woken) = waker();
        tail.on_more(wake);
        let mut all = Vec::new();
        while all.len() < count {
            match tail.next(30).unwrap() {
                Some(batch) => all.extend(batch.into_records()),
                None => {
                    if anew {
                        let (wake, fresh) = waker();
                        tail.on_more(wake);
                        woken = fresh;
                    }
                    woken.recv().expect("the log keeps its wakers");
                }
            }
        }
        all
    })
}

/// One record to a segment, and trimming right behind: segments are recycled under the readers, and files that are
/// made ready come and go. At any moment power may be lost.
#[test]
fn trimming_and_rolling_beside_readers_give_right_records_or_say_trimmed() {
    const COUNT: usize = 6;
    interleave(|| {
        let disk = new_disk();
        let log = open_stepped(&disk, large(stepped_options(threads(2))));
        let reader = {
            let log = log.clone();
            thread::spawn(move || read_what_is_left(&log, COUNT))
        };
        let shard_reader = {
            let log = log.clone();
            thread::spawn(move || read_shard(&log))
        };
        let acked = Arc::new(Mutex::new(Acked::new()));
        let writer = {
            let (log, acked) = (log.clone(), Arc::clone(&acked));
            thread::spawn(move || {
                for number in 0..COUNT {
                    let given = filling(number);
                    let appended = log.append(vec![given.clone()]).unwrap();
                    acked.lock().unwrap().push((appended.first, given));
                }
            })
        };
        let trimmer = {
            let (log, disk, acked) = (log.clone(), disk.clone(), Arc::clone(&acked));
            thread::spawn(move || {
                for _ in 0..3 {
                    if let Some(last) = log.last() {
                        log.trim(last).unwrap();
                    }
                    let acked = acked.lock().unwrap().clone();
                    after_power_loss(&disk, &acked);
                }
            })
        };
        for thread in [writer, trimmer, reader, shard_reader] {
            thread.join().unwrap();
        }
        let acked = acked.lock().unwrap().clone();
        assert_eq!(log.last(), Some(lsn(COUNT as u64)));
        after_power_loss(&disk, &acked);
        log.close().unwrap();
        after_power_loss(&disk, &acked);
    });
}

/// On a disk with room for three segments, so that the next one is what was just trimmed. Nobody reads, for the file of
/// a segment that is read is not recycled.
#[test]
fn a_file_that_is_recycled_while_a_segment_begins_is_never_lost() {
    interleave(|| {
        let disk = new_disk();
        let log = open_stepped(&disk, large(stepped_options(threads(2))));
        append_filling(&log, &disk, 0..3);
        disk.set_capacity(Some(13 * SEGMENT_BYTES));
        let writer = {
            let (log, disk) = (log.clone(), disk.clone());
            thread::spawn(move || append_filling(&log, &disk, 3..6))
        };
        let mut through = Lsn::FIRST;
        while log.last() < Some(lsn(6)) {
            log.trim(through).unwrap();
            through = through.next().min(log.last().unwrap());
            thread::yield_now();
        }
        writer.join().unwrap();
        log.close().unwrap();
    });
}

/// Segments that are full with one record: those that are nearly empty are cut, and not recycled.
fn large(options: LogOptions) -> LogOptions {
    LogOptions { segment_bytes_min: 4 * SEGMENT_BYTES, segment_bytes_max: 4 * SEGMENT_BYTES, ..options }
}

fn filling(number: usize) -> NewRecord {
    numbered(number, 22_000)
}

/// Each is there if power is lost right behind it. Waits for room.
fn append_filling(log: &ShardLog, disk: &SimDisk, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let appended = loop {
            match log.append(vec![filling(number)]) {
                Err(AppendError::DiskFull) => thread::yield_now(),
                other => break other.unwrap(),
            }
        };
        after_power_loss(disk, &vec![(appended.first, filling(number))]);
    }
}

/// Reads to LSN `count`, and goes on behind what was trimmed.
fn read_what_is_left(log: &ShardLog, count: usize) {
    let (mut after, end) = (None, Some(lsn(count as u64)));
    while after < end {
        let mut tail = log.tail(after);
        let (wake, woken) = waker();
        tail.on_more(wake);
        after = read_until_trimmed(&mut tail, &woken, end);
    }
}

fn read_until_trimmed(tail: &mut Tail, woken: &Receiver<()>, end: Option<Lsn>) -> Option<Lsn> {
    while tail.position() < end {
        match tail.next(30) {
            Ok(Some(batch)) => batch.records().iter().for_each(assert_right),
            Ok(None) => woken.recv().unwrap(),
            Err(ReadError::Trimmed { after, first }) => {
                assert!(after == tail.position() && first > Lsn::after(after), "{first} after {after:?}");
                return first.previous();
            }
            Err(other) => panic!("{other}"),
        }
    }
    tail.position()
}

/// Reads what there is of the only shard.
fn read_shard(log: &ShardLog) {
    let mut tail = log.shard_tail(ShardIx(0), None);
    loop {
        match tail.next(30, 2) {
            Ok(Some(batch)) => batch.records.iter().for_each(assert_right),
            Ok(None) | Err(ReadError::Trimmed { .. }) => return,
            Err(other) => panic!("{other}"),
        }
    }
}

/// The only writer has given record `n` the LSN `n + 1`.
fn assert_right(record: &Record) {
    let number = usize::try_from(record.lsn.get()).unwrap() - 1;
    assert_eq!(payloads(std::slice::from_ref(record)), [filling(number)]);
}

#[test]
fn a_change_of_shards_has_one_place_among_racing_appends() {
    interleave(|| {
        let disk = new_disk();
        let log = open_stepped(&disk, stepped_options(threads(2)));
        let producers = [keyed_producer(&log, [0, u128::MAX]), keyed_producer(&log, [u128::MAX, 0])];
        let changed = log.reshard(Reshard::Uniform { count: 2 }).unwrap();
        let first_new = changed.open().map(|shard| shard.first).min().unwrap();
        let after = log.append(vec![keyed(0)]).unwrap();
        assert!(after.first >= first_new);
        let mut appended: Vec<_> = producers.into_iter().flat_map(|producer| producer.join().unwrap()).collect();
        appended.push((0, after));
        let shards = log.shards();
        for (key, appended) in &appended {
            let (ix, at) = appended.place(0);
            let shard = shards.get(ix).unwrap();
            assert!(shard.range.contains(HashKey(*key)), "{shard:?} took {key}");
            assert!(shard.first <= at && shard.closed.is_none_or(|closed| at < closed.before), "{at} in {shard:?}");
        }
        log.close().unwrap();
        for log in [log, reopened(&disk)] {
            assert_eq!(log.shards().shards(), shards.shards());
            assert_shards_hold(&log, &appended);
        }
    });
}

fn reopened(disk: &SimDisk) -> ShardLog {
    let lost = disk.power_loss(thread_rng().r#gen());
    open_stepped(&lost, stepped_options(Committers::inline()))
}

fn keyed(key: u128) -> NewRecord {
    NewRecord { placement: Placement::Hash(HashKey(key)), ..numbered(0, 20) }
}

fn keyed_producer(log: &ShardLog, keys: [u128; 2]) -> JoinHandle<Vec<(u128, Appended)>> {
    let log = log.clone();
    thread::spawn(move || keys.map(|key| (key, log.append(vec![keyed(key)]).unwrap())).into())
}

/// Each shard has the records that were acked for it, in order, and no others.
fn assert_shards_hold(log: &ShardLog, appended: &[(u128, Appended)]) {
    for shard in log.shards().shards() {
        let mut given: Vec<_> = appended.iter().map(|(_, appended)| appended.place(0)).collect();
        given.retain(|(ix, _)| *ix == shard.ix);
        given.sort_by_key(|(_, at)| *at);
        let mut tail = log.shard_tail(shard.ix, None);
        let mut found = Vec::new();
        while let Some(batch) = tail.next(1000, 10).unwrap() {
            found.extend(batch.records.iter().map(|record| (shard.ix, record.lsn)));
        }
        assert_eq!(found, given);
    }
}
