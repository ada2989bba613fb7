//! One clock over all lives of a process: tokio's paused one within a life, and steps that nobody announces.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hydrant_record::Timestamp;
use hydrant_shardlog::Clock;
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

/// What a life runs in: one thread, and time that passes only while nobody has anything to do.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// Returns so much later.
pub(crate) async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

#[derive(Debug)]
pub(crate) struct SimClock(Mutex<State>);

#[derive(Debug)]
struct State {
    millis: u64,
    /// When it was so late; of this life.
    at: Instant,
}

impl SimClock {
    /// In a runtime.
    pub(crate) fn new() -> SimClock {
        SimClock(Mutex::new(State { millis: 1_700_000_000_000, at: Instant::now() }))
    }

    /// A life begins: in the runtime of it.
    pub(crate) fn begin(&self) {
        self.state().at = Instant::now();
    }

    /// A life ends, in its runtime.
    pub(crate) fn end(&self) {
        let millis = self.now().as_millis();
        self.state().millis = millis;
    }

    pub(crate) fn step(&self, by: Duration, forward: bool) {
        let by = u64::try_from(by.as_millis()).unwrap();
        let mut state = self.state();
        state.millis = if forward { state.millis + by } else { state.millis - by };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        let state = self.state();
        Timestamp::from_millis(state.millis + u64::try_from(state.at.elapsed().as_millis()).unwrap())
    }
}
