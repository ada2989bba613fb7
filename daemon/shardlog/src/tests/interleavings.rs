//! The log under a scheduler that decides, at each lock, wait, wake-up and call of the disk, who runs next.
//!
//! Only with the feature `shuttle`, and then only these tests: `tests/run interleavings`. All runs on one thread of the
//! operating system, so a schedule is the same each time: `HYDRANT_SCHEDULE` repeats the one that a failure has printed.
//! Whoever waits for ever is found as a deadlock. Completions assert nothing: the log takes panics in them lightly.

mod ends;
mod reads;
mod stepped;

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use hydrant_disk::SimDisk;
use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::sync::mpsc::{Receiver, sync_channel};
use shuttle::thread::{self, JoinHandle};
use shuttle::{Config, Runner};

use self::stepped::Stepped;
use super::*;

const DIR: &str = "/log";
/// Of each scheduler, in an ordinary run; `HYDRANT_INTERLEAVINGS` says otherwise.
const INTERLEAVINGS: usize = 100;
/// So small that a first record has the next segment made ready.
const SEGMENT_BYTES: u64 = 8 << 10;

type Acked = Vec<(Lsn, NewRecord)>;

/// Runs a scenario under many schedules: random ones, and ones with few switches at bad moments (PCT).
fn interleave(scenario: fn()) {
    if let Ok(schedule) = std::env::var("HYDRANT_SCHEDULE") {
        return shuttle::replay(scenario, &schedule);
    }
    let count = std::env::var("HYDRANT_INTERLEAVINGS").map_or(INTERLEAVINGS, |count| count.parse().unwrap());
    run(RandomScheduler::new(count), scenario);
    run(PctScheduler::new(3, count), scenario);
}

fn run(scheduler: impl Scheduler + 'static, scenario: fn()) {
    let mut config = Config::new();
    config.stack_size = 1 << 20;
    let result = catch_unwind(AssertUnwindSafe(|| Runner::new(scheduler, config).run(scenario)));
    if let Err(panic) = result {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        eprintln!(
            "to repeat it: HYDRANT_SCHEDULE=<the failing schedule> \
             cargo test --release -p hydrant-shardlog --features shuttle --lib {name}"
        );
        resume_unwind(panic);
    }
}

/// An empty directory on a new disk.
fn new_disk() -> SimDisk {
    let disk = SimDisk::new(thread_rng().r#gen());
    disk.create_dir(Path::new(DIR)).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk
}

fn threads(count: usize) -> Committers {
    Committers::new(NonZeroUsize::new(count).unwrap())
}

/// All of them by name: the defaults would start the threads of the process, which outlive a scenario.
fn stepped_options(committers: Committers) -> LogOptions {
    LogOptions {
        queue_bytes_max: 1 << 20,
        segment_bytes_min: SEGMENT_BYTES,
        segment_bytes_max: SEGMENT_BYTES,
        spares_max: 2,
        reserve_bytes: 0,
        known_durable: None,
        accept_loss: false,
        compression: Compression::None,
        shards: 1,
        clock: Arc::new(Stopped),
        committers,
    }
}

fn open_stepped(disk: &SimDisk, options: LogOptions) -> ShardLog {
    let disk: Arc<dyn Disk> = Arc::new(Stepped::new(disk));
    ShardLog::open(disk, Path::new(DIR), options).unwrap().0
}

/// Time stands still: nothing here depends on it.
#[derive(Debug)]
struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000)
    }
}

/// A thread that appends records one by one, from `number` on, until it has done `count` or one is refused.
fn producer(log: &ShardLog, numbers: std::ops::Range<usize>) -> JoinHandle<(Acked, Option<AppendError>)> {
    let log = log.clone();
    thread::spawn(move || {
        let mut acked = Vec::new();
        for number in numbers {
            match log.append(vec![numbered(number, 20)]) {
                Ok(appended) => acked.push((appended.first, numbered(number, 20))),
                Err(error) => return (acked, Some(error)),
            }
        }
        (acked, None)
    })
}

/// A waker, and where its call arrives. Calls before it is looked at count as one.
fn waker() -> (Arc<dyn Fn() + Send + Sync>, Receiver<()>) {
    let (more, woken) = sync_channel(1);
    let wake = move || {
        let _ = more.try_send(());
    };
    (Arc::new(wake), woken)
}

/// Power is lost now, or was cut a moment ago: whatever the medium holds, the log opens, with what was acked unless it
/// was trimmed. Returns all that it holds.
fn after_power_loss(disk: &SimDisk, acked: &Acked) -> Vec<Record> {
    let lost = disk.power_loss(thread_rng().r#gen());
    let (log, _) = ShardLog::open(Arc::new(lost), Path::new(DIR), stepped_options(Committers::inline())).unwrap();
    let first = log.first().or(log.last().map(Lsn::next)).unwrap_or(Lsn::FIRST);
    assert!(acked.iter().all(|(at, _)| Some(*at) <= log.last()), "{acked:?}, yet the log ends at {:?}", log.last());
    let found = read_all(&log, first.previous());
    for (at, given) in acked.iter().filter(|(at, _)| *at >= first) {
        let record = found.iter().find(|record| record.lsn == *at).expect("what was acked is there");
        assert_eq!(payloads(std::slice::from_ref(record)), std::slice::from_ref(given));
    }
    found
}

/// Each record once, each at its LSN, none in between.
fn assert_whole(found: &[Record], mut acked: Acked) {
    acked.sort_by_key(|(at, _)| *at);
    let given: Vec<_> = acked.iter().map(|(_, record)| record.clone()).collect();
    assert_eq!(payloads(found), given);
    assert!(found.iter().zip(1..).all(|(record, number)| record.lsn == lsn(number)));
    assert!(acked.iter().zip(1..).all(|((at, _), number)| *at == lsn(number)));
}
