//! How a log comes to an end while others are at it: closed, poisoned, broken in the middle of a commit, or let go.

use hydrant_disk::sim::SyncFault;
use shuttle::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::Appended;

type Outcome = Result<Appended, AppendError>;

#[test]
fn a_racing_close_takes_whole_or_refuses_and_leaves_nothing_under_way() {
    interleave(|| {
        let disk = new_disk();
        let log = open_stepped(&disk, stepped_options(threads(2)));
        let (taken, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let producers = [producer(&log, 0..2), producer(&log, 2..4), submitter(&log, &taken, &done)];
        let closers = [closer(&log, &done), closer(&log, &done)];
        let at_close = closers.map(|closer| closer.join().unwrap());
        let mut acked = Acked::new();
        for producer in producers {
            let (of_one, refusal) = producer.join().unwrap();
            assert!(matches!(refusal, None | Some(AppendError::Closed)), "{refusal:?}");
            acked.extend(of_one);
        }
        let (taken, done) = (taken.load(Ordering::SeqCst), done.load(Ordering::SeqCst));
        assert_eq!((taken, [done; 2]), (done, at_close), "what was taken was done before any `close` came back");
        assert!(matches!(log.append(some(0..1)), Err(AppendError::Closed)));
        assert_eq!(read_all(&log, None).len(), acked.len() + done);
        assert_eq!(after_power_loss(&disk, &acked).len(), acked.len() + done);
        let lost = disk.power_loss(thread_rng().r#gen());
        let options = stepped_options(Committers::inline());
        assert!(ShardLog::open(Arc::new(lost), Path::new(DIR), options).unwrap().1.clean);
    });
}

/// Submits without waiting, and counts what was taken and what has ended well.
fn submitter(
    log: &ShardLog,
    taken: &Arc<AtomicUsize>,
    done: &Arc<AtomicUsize>,
) -> JoinHandle<(Acked, Option<AppendError>)> {
    let (log, taken, done) = (log.clone(), Arc::clone(taken), Arc::clone(done));
    thread::spawn(move || {
        for number in 10..13 {
            let done = Arc::clone(&done);
            let count = move |result: Outcome| {
                done.fetch_add(usize::from(result.is_ok()), Ordering::SeqCst);
            };
            match log.submit(some(number..number + 1), Box::new(count)) {
                Ok(()) => taken.fetch_add(1, Ordering::SeqCst),
                Err(error) => return (Acked::new(), Some(error)),
            };
        }
        (Acked::new(), None)
    })
}

/// Closes, and looks how many have ended by then.
fn closer(log: &ShardLog, done: &Arc<AtomicUsize>) -> JoinHandle<usize> {
    let (log, done) = (log.clone(), Arc::clone(done));
    thread::spawn(move || {
        log.close().unwrap();
        assert!(!log.progress().committing);
        done.load(Ordering::SeqCst)
    })
}

#[test]
fn after_a_failed_sync_nothing_is_acked_and_nobody_waits() {
    interleave(|| {
        let disk = new_disk();
        let log = open_stepped(&disk, stepped_options(threads(2)));
        disk.fail_sync(thread_rng().gen_range(1..7), SyncFault::Reported);
        let readers = [read_until_poisoned(&log, 4), read_until_poisoned(&log, 4)];
        let producers = [producer(&log, 0..2), producer(&log, 2..4)];
        log.roll().unwrap_or_default();
        let mut acked = Acked::new();
        for producer in producers {
            let (of_one, refusal) = producer.join().unwrap();
            assert!(matches!(refusal, None | Some(AppendError::Poisoned(_))), "{refusal:?}");
            assert!(refusal.is_none() || log.poisoned().is_some());
            acked.extend(of_one);
        }
        let seen = readers.map(|reader| reader.join().unwrap());
        if log.poisoned().is_some() {
            assert!(matches!(log.append(some(9..10)), Err(AppendError::Poisoned(_))));
        }
        assert_eq!(log.close().is_err(), log.poisoned().is_some());
        assert!(!log.progress().committing);
        assert_eq!(log.last(), lsn(1 + acked.len() as u64).previous(), "what can be read is what was acked");
        acked.sort_by_key(|(at, _)| *at);
        for seen in seen {
            assert_whole(&seen, acked[..seen.len()].to_vec());
        }
        after_power_loss(&disk, &acked);
    });
}

/// Reads so many records, or until it finds that there will be no more.
fn read_until_poisoned(log: &ShardLog, count: usize) -> JoinHandle<Vec<Record>> {
    let log = log.clone();
    thread::spawn(move || {
        let mut tail = log.tail(None);
        let (wake, woken) = waker();
        tail.on_more(wake);
        let mut all = Vec::new();
        while all.len() < count {
            match tail.next(30).unwrap() {
                Some(batch) => all.extend(batch.into_records()),
                None if log.poisoned().is_some() => break,
                None => woken.recv().unwrap(),
            }
        }
        all
    })
}

#[test]
fn a_commit_that_breaks_off_poisons_and_nobody_waits() {
    interleave(|| {
        let disk = new_disk();
        let clock = Arc::new(Breaking(AtomicUsize::new(usize::MAX)));
        let options = LogOptions { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..stepped_options(threads(2)) };
        let log = open_stepped(&disk, options);
        clock.0.store(thread_rng().gen_range(1..5), Ordering::SeqCst);
        let reader = read_until_poisoned(&log, 5);
        let producers = [producer(&log, 0..2), producer(&log, 2..4)];
        // What a completion owns may want the log when it goes.
        let owned = log.tail(None);
        let _ = log.submit(some(4..5), Box::new(move |_| drop(owned)));
        let acked: Acked = producers.into_iter().flat_map(|producer| producer.join().unwrap().0).collect();
        reader.join().unwrap();
        clock.0.store(usize::MAX, Ordering::SeqCst);
        assert_eq!(log.close().is_err(), log.poisoned().is_some());
        assert!(!log.progress().committing);
        after_power_loss(&disk, &acked);
    });
}

/// Panics once, after so many looks at it.
#[derive(Debug)]
struct Breaking(AtomicUsize);

impl Clock for Breaking {
    fn now(&self) -> Timestamp {
        if self.0.fetch_sub(1, Ordering::SeqCst) == 1 {
            resume_unwind(Box::new("a clock that breaks"));
        }
        Stopped.now()
    }
}

/// The pool has one thread and ends with the last log: were it not to, it would be found waiting.
#[test]
fn neither_a_panicking_completion_nor_letting_go_stops_what_was_taken() {
    interleave(|| {
        let committers = threads(1);
        let disks = [new_disk(), new_disk()];
        let logs = disks.each_ref().map(|disk| open_stepped(disk, stepped_options(committers.clone())));
        drop(committers);
        let users = logs.map(|log| {
            thread::spawn(move || {
                let fault = |_: Outcome| resume_unwind(Box::new("its owner's fault"));
                log.submit(some(0..1), Box::new(fault)).unwrap();
                let (tell, told) = sync_channel(1);
                log.submit(some(1..2), Box::new(move |result| tell.send(result).unwrap())).unwrap();
                drop(log);
                told.recv().unwrap().unwrap().first
            })
        });
        for (user, disk) in users.into_iter().zip(disks) {
            assert_eq!(user.join().unwrap(), lsn(2));
            assert_eq!(payloads(&after_power_loss(&disk, &Acked::new())), some(0..2));
        }
    });
}
