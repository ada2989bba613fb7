//! The threads that transform and encode: one a CPU, for all delivery streams together. And those that wait for a disk.
//!
//! A pool of their own, because what an encoder frees stays with the thread that freed it: on the many threads of an async
//! runtime's blocking pool the same work was measured to hold twice the memory.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinError;

/// Cheap to share.
#[derive(Clone, Debug)]
pub struct CpuPool(Kind);

#[derive(Clone)]
enum Kind {
    Threads(Arc<Threads>),
    /// Those for blocking work of the runtime that asks.
    Callers,
    Inline(Arc<dyn Fn() -> Duration + Send + Sync>),
}

/// A runtime whose blocking pool is all that is used of it: it has so many threads, hands the answer of a step straight to the
/// task that waits, and its threads sleep when there is nothing to do, where a work-stealing pool spins for a while first.
struct Threads {
    /// Taken when dropped.
    runtime: Option<Runtime>,
    handle: Handle,
}

/// They are never let go, so that what they have freed is used again.
const KEEP_ALIVE: Duration = Duration::from_secs(365 * 86_400);

/// The system gave no threads.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the threads of delivery")]
pub struct CpuPoolError(#[from] io::Error);

impl CpuPool {
    pub fn new(threads: usize) -> Result<CpuPool, CpuPoolError> {
        let mut builder = Builder::new_current_thread();
        let runtime = builder.max_blocking_threads(threads).thread_keep_alive(KEEP_ALIVE).thread_name("delivery");
        let runtime = runtime.build()?;
        Ok(CpuPool(Kind::Threads(Arc::new(Threads { handle: runtime.handle().clone(), runtime: Some(runtime) }))))
    }

    /// Threads of the runtime that asks, as many as it likes. A paused clock of that runtime stands still while one of them works,
    /// and would run on beside threads that it does not know.
    #[must_use]
    pub fn of_callers() -> CpuPool {
        CpuPool(Kind::Callers)
    }

    /// No threads: every step is done by the task that asks for it, and takes as long as `pause` says by tokio's clock, a part
    /// of it before the step and a part behind. So the same calls give the same order of things, which simulations need.
    #[must_use]
    pub fn inline(pause: Arc<dyn Fn() -> Duration + Send + Sync>) -> CpuPool {
        CpuPool(Kind::Inline(pause))
    }

    /// Runs one step of `owner`'s work when a thread is free.
    ///
    /// # Panics
    /// If the step does.
    pub(crate) async fn run<T, R>(&self, mut owner: T, step: impl FnOnce(&mut T) -> R + Send + 'static) -> (T, R)
    where
        T: Send + 'static,
        R: Send + 'static,
    {
        let work = move || {
            let answer = step(&mut owner);
            (owner, answer)
        };
        match &self.0 {
            Kind::Threads(threads) => done(threads.handle.spawn_blocking(work).await),
            Kind::Callers => done(tokio::task::spawn_blocking(work).await),
            Kind::Inline(pause) => inline(pause, work).await,
        }
    }

    /// Runs what waits for a disk and needs little CPU.
    ///
    /// # Panics
    /// If the work does.
    pub(crate) async fn block<R: Send + 'static>(&self, work: impl FnOnce() -> R + Send + 'static) -> R {
        match &self.0 {
            Kind::Threads(_) | Kind::Callers => done(tokio::task::spawn_blocking(work).await),
            Kind::Inline(pause) => inline(pause, work).await,
        }
    }
}

fn done<R>(outcome: Result<R, JoinError>) -> R {
    outcome.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
}

async fn inline<R>(pause: &Arc<dyn Fn() -> Duration + Send + Sync>, work: impl FnOnce() -> R) -> R {
    tokio::time::sleep(pause()).await;
    let done = work();
    tokio::time::sleep(pause()).await;
    done
}

impl Drop for Threads {
    /// The last user may be a task, which must not wait; nobody waits for a step any more.
    fn drop(&mut self) {
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Threads(_) => "Threads",
            Kind::Callers => "Callers",
            Kind::Inline(_) => "Inline",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn so_many_steps_run_at_once_and_the_pool_may_end_in_a_task() {
        let pool = CpuPool::new(2).unwrap();
        let shared = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0), Barrier::new(2)));
        let steps = (0..6).map(|_| {
            let (pool, owner) = (pool.clone(), Arc::clone(&shared));
            tokio::spawn(async move {
                let step = |owner: &mut Arc<(AtomicUsize, AtomicUsize, Barrier)>| {
                    let (running, most, both) = &**owner;
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    both.wait();
                    running.fetch_sub(1, Ordering::SeqCst);
                };
                pool.run(owner, step).await;
            })
        });
        futures::future::try_join_all(steps.collect::<Vec<_>>()).await.unwrap();
        assert_eq!(shared.1.load(Ordering::SeqCst), 2);
        tokio::spawn(async move { drop(pool) }).await.unwrap();
    }

    #[tokio::test]
    #[should_panic(expected = "the step fails")]
    async fn a_step_that_panics_panics_where_it_is_awaited() {
        CpuPool::new(1).unwrap().run((), |()| panic!("the step fails")).await;
    }
}
