//! Many worlds, each made and repeated by one number.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::world::{Seen, World};

/// In an ordinary test run; `HYDRANT_SCENARIOS` says otherwise.
const SCENARIOS: u64 = 300;

#[test]
fn delivery_scenarios() {
    if let Some(seed) = number_of("HYDRANT_SEED") {
        World::run(seed, true);
        return;
    }
    let seen = Mutex::new(Vec::new());
    let run = |seed| {
        let replay = Replay(seed);
        let world = World::run(seed, false);
        drop(replay);
        seen.lock().unwrap().push(world);
    };
    let first = number_of("HYDRANT_FIRST_SEED").unwrap_or(0);
    let end = first + number_of("HYDRANT_SCENARIOS").unwrap_or(SCENARIOS);
    let next = AtomicU64::new(first);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, |threads| threads.get()) {
            scope.spawn(|| {
                loop {
                    match next.fetch_add(1, Ordering::Relaxed) {
                        seed if seed < end => run(seed),
                        _ => return,
                    }
                }
            });
        }
    });
    let seen = seen.into_inner().unwrap();
    if seen.len() >= 200 {
        assert_everything_happened(&seen);
    }
}

/// A simulation in which nothing goes wrong any more proves nothing.
fn assert_everything_happened(seen: &[Seen]) {
    let sum = |of: &dyn Fn(&Seen) -> u64| seen.iter().map(of).sum::<u64>();
    let sums = [
        ("delivered", sum(&|seen| seen.accounting.delivered)),
        ("failed", sum(&|seen| seen.accounting.failed)),
        ("dropped", sum(&|seen| seen.accounting.dropped)),
        ("expired", sum(&|seen| seen.accounting.expired)),
        ("discarded", sum(&|seen| seen.accounting.discarded)),
        ("records of aggregates", sum(&|seen| seen.aggregated)),
        ("times of resharding", sum(&|seen| seen.resharded)),
        ("staged in files", sum(&|seen| seen.staged_files)),
        ("processes that ended by themselves", sum(&|seen| seen.broken)),
    ];
    assert!(sums.iter().all(|(_, sum)| *sum >= seen.len() as u64 / 100), "{sums:?}");
}

#[test]
fn a_seed_gives_the_same_run() {
    for seed in 0..30 {
        assert_eq!(World::run(seed, false), World::run(seed, false), "seed {seed}");
    }
}

fn number_of(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, got `{text}`")))
}

/// Says how to see a failure again.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if thread::panicking() {
            let test = "cargo test --release --workspace --test simulation delivery_scenarios";
            eprintln!("to repeat it: HYDRANT_SEED={} {test}", self.0);
        }
    }
}
