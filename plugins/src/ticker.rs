//! Moves the engine's epoch while guests run, so that each of them is asked now and then how long it has had.
//!
//! One thread per host. It sleeps for good while nothing runs and ends with the host.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, thread};

use wasmtime::Engine;

/// A CPU limit is noticed at most this late.
const TICK: Duration = Duration::from_millis(5);

pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// While this lives, the epoch moves.
pub(crate) struct Running<'a>(&'a Shared);

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    running: usize,
    ended: bool,
}

impl Ticker {
    pub(crate) fn start(engine: Engine) -> io::Result<Ticker> {
        let shared = Arc::new(Shared { state: Mutex::default(), wake: Condvar::new() });
        let of_thread = Arc::clone(&shared);
        let body = move || of_thread.tick(&engine);
        let thread = thread::Builder::new().name("plugin-epochs".to_owned()).spawn(body)?;
        Ok(Ticker { shared, thread: Some(thread) })
    }

    pub(crate) fn run(&self) -> Running<'_> {
        let mut state = self.shared.lock();
        state.running += 1;
        if state.running == 1 {
            self.shared.wake.notify_one();
        }
        Running(&self.shared)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // It has nothing to report and cannot have panicked.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn tick(&self, engine: &Engine) {
        let mut state = self.lock();
        while !state.ended {
            if state.running == 0 {
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state = self.wake.wait_timeout(state, TICK).unwrap_or_else(PoisonError::into_inner).0;
            engine.increment_epoch();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
