//! Many worlds, each made and repeated by one number.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::world::World;

/// Of each kind, in an ordinary test run; `HYDRANT_SCENARIOS` says otherwise.
const SCENARIOS: u64 = 5000;

#[test]
fn crash_scenarios() {
    for_each_seed("crash_scenarios", |seed| World::new(seed).run());
}

#[test]
fn rot_scenarios() {
    for_each_seed("rot_scenarios", super::rot::scenario);
}

#[test]
fn swallowed_sync_scenarios() {
    for_each_seed("swallowed_sync_scenarios", super::rot::swallowed);
}

/// Runs the seed that `HYDRANT_SEED` names, or all of them on all processors; `HYDRANT_FIRST_SEED` lets a long total be run
/// in parts.
fn for_each_seed(test: &'static str, scenario: impl Fn(u64) + Sync) {
    let run = |seed| {
        let replay = Replay { test, seed };
        scenario(seed);
        drop(replay);
    };
    if let Some(seed) = number_of("HYDRANT_SEED") {
        return run(seed);
    }
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
}

fn number_of(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, got `{text}`")))
}

/// Says how to see a failure again.
struct Replay {
    test: &'static str,
    seed: u64,
}

impl Drop for Replay {
    fn drop(&mut self) {
        if thread::panicking() {
            let Replay { test, seed } = self;
            eprintln!("to repeat it: HYDRANT_SEED={seed} cargo test --release -p hydrant-shardlog {test}");
        }
    }
}
