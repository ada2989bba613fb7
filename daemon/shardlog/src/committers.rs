//! The threads that write and sync.
//!
//! Invariant: a log has at most one commit and one preparation queued here, so the queue is bounded by the number of logs.

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::sync::thread;
use crate::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

/// All buffers that nobody uses together: a group of the largest size fits, and so do those of many small ones.
const BUFFER_BYTES_KEPT: usize = 12 << 20;

type Job = Box<dyn FnOnce() + Send>;

/// A few threads, shared by many logs. They end when the last handle is dropped.
#[derive(Clone)]
pub struct Committers {
    handle: Arc<Handle>,
}

impl Committers {
    /// Starts `threads` threads: as many syncs may be under way at once.
    ///
    /// # Panics
    /// If the operating system gives no thread.
    #[must_use]
    pub fn new(threads: NonZeroUsize) -> Committers {
        let pool = Arc::new(Pool::default());
        for number in 0..threads.get() {
            let pool = Arc::clone(&pool);
            thread::Builder::new()
                .name(format!("commit-{number}"))
                .spawn(move || pool.work())
                .expect("a process that cannot start a thread cannot store records");
        }
        Committers { handle: Arc::new(Handle { pool, inline: false }) }
    }

    /// No threads: work is done on the thread that brings it, before `submit` returns, and what that work brings is
    /// done after it. So the same calls give the same order of I/O, which simulations need.
    #[must_use]
    pub fn inline() -> Committers {
        Committers { handle: Arc::new(Handle { pool: Arc::default(), inline: true }) }
    }

    /// Those of this process, started at the first call.
    #[must_use]
    pub fn shared() -> Committers {
        static SHARED: OnceLock<Committers> = OnceLock::new();
        // Syncs of files whose blocks are there already run side by side in the kernel. For a thousand logs with one
        // record each, 32 took half the time of 8 or less; 64 and 128 gained nothing more.
        const THREADS: NonZeroUsize = NonZeroUsize::new(32).expect("32 is not 0");
        SHARED.get_or_init(|| Committers::new(THREADS)).clone()
    }

    pub(crate) fn run(&self, job: Job) {
        let mut jobs = self.handle.pool.jobs();
        jobs.waiting.push_back(job);
        if !self.handle.inline {
            drop(jobs);
            self.handle.pool.more.notify_one();
        } else if !std::mem::replace(&mut jobs.inline_busy, true) {
            drop(jobs);
            self.handle.pool.work_off();
        }
    }

    /// `run` for a job that is the last thing the job that brings it does. Nobody is woken: the thread that is about to end
    /// that one takes the next that waits. So a busy log stays on one thread, and still takes its turn.
    pub(crate) fn run_next(&self, job: Job) {
        self.handle.pool.jobs().waiting.push_back(job);
    }

    /// Lends an empty buffer, the one that was used last: its pages are there and warm.
    pub(crate) fn with_buffer<T>(&self, work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let mut buffer = self.handle.pool.jobs().take_buffer();
        let done = work(&mut buffer);
        buffer.clear();
        self.handle.pool.jobs().keep_buffer(buffer);
        done
    }
}

impl fmt::Debug for Committers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Committers").finish_non_exhaustive()
    }
}

/// Stops the threads once nobody can give them work.
struct Handle {
    pool: Arc<Pool>,
    inline: bool,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.pool.jobs().stopping = true;
        self.pool.more.notify_all();
    }
}

#[derive(Default)]
struct Pool {
    jobs: Mutex<Jobs>,
    more: Condvar,
}

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    stopping: bool,
    /// Somebody's thread is at work, in a pool that has none of its own.
    inline_busy: bool,
    /// Empty, the one used last at the end. Of the threads and not of the logs, so that an idle log costs no memory.
    buffers: Vec<Vec<u8>>,
    buffer_bytes: usize,
}

impl Jobs {
    fn take_buffer(&mut self) -> Vec<u8> {
        let buffer = self.buffers.pop().unwrap_or_default();
        self.buffer_bytes -= buffer.capacity();
        buffer
    }

    fn keep_buffer(&mut self, buffer: Vec<u8>) {
        if self.buffer_bytes + buffer.capacity() <= BUFFER_BYTES_KEPT {
            self.buffer_bytes += buffer.capacity();
            self.buffers.push(buffer);
        }
    }
}

impl Pool {
    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what waits, and what comes meanwhile: in a loop, so that jobs that bring jobs need no more stack.
    fn work_off(&self) {
        loop {
            let mut jobs = self.jobs();
            let Some(job) = jobs.waiting.pop_front() else {
                jobs.inline_busy = false;
                return;
            };
            drop(jobs);
            let _ = catch_unwind(AssertUnwindSafe(job));
        }
    }

    fn work(&self) {
        while let Some(job) = self.next() {
            // A panic in one log's job must not take the thread from the others; that log is left poisoned.
            let _ = catch_unwind(AssertUnwindSafe(job));
        }
    }

    fn next(&self) -> Option<Job> {
        let mut jobs = self.jobs();
        loop {
            if let Some(job) = jobs.waiting.pop_front() {
                return Some(job);
            }
            if jobs.stopping {
                return None;
            }
            jobs = self.more.wait(jobs).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inline_work_is_done_in_order_and_at_once_and_a_panic_stops_nothing() {
        let committers = Committers::inline();
        let done = Arc::new(Mutex::new(Vec::new()));
        let note = |what: &'static str| {
            let done = Arc::clone(&done);
            move || done.lock().unwrap().push(what)
        };
        let (outer, inner, after) = (note("outer"), note("inner"), note("after"));
        let again = committers.clone();
        committers.run(Box::new(move || {
            again.run(Box::new(inner));
            outer();
            panic!("a job that fails");
        }));
        committers.run(Box::new(after));
        assert_eq!(*done.lock().unwrap(), ["outer", "inner", "after"]);
    }
}
