//! The threads that write and sync.
//!
//! Invariant: a log has at most one commit and one preparation queued here, so the queue is bounded by the number of logs.

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread;

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
        Committers { handle: Arc::new(Handle { pool }) }
    }

    /// Those of this process, started at the first call.
    #[must_use]
    pub fn shared() -> Committers {
        static SHARED: OnceLock<Committers> = OnceLock::new();
        const THREADS: NonZeroUsize = NonZeroUsize::new(8).expect("8 is not 0");
        SHARED.get_or_init(|| Committers::new(THREADS)).clone()
    }

    pub(crate) fn run(&self, job: Job) {
        let mut jobs = self.handle.pool.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.waiting.push_back(job);
        drop(jobs);
        self.handle.pool.more.notify_one();
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
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.pool.jobs.lock().unwrap_or_else(PoisonError::into_inner).stopping = true;
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
}

impl Pool {
    fn work(&self) {
        while let Some(job) = self.next() {
            // A panic in one log's job must not take the thread from the others; that log is left poisoned.
            let _ = catch_unwind(AssertUnwindSafe(job));
        }
    }

    fn next(&self) -> Option<Job> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
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
