//! The threads that transform and encode: one a CPU, for all delivery streams together. And those that wait for a disk.
//!
//! A pool of their own, because what an encoder frees stays with the thread that freed it: on the many threads of an async
//! runtime's blocking pool the same work was measured to hold twice the memory.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Cheap to share.
#[derive(Clone, Debug)]
pub struct CpuPool(Kind);

#[derive(Clone)]
enum Kind {
    Threads {
        threads: Arc<rayon::ThreadPool>,
        /// One a thread: who waits for a CPU waits as a task, and at most this many threads of the runtime wait for a step.
        free: Arc<Semaphore>,
    },
    Inline(Arc<dyn Fn() -> Duration + Send + Sync>),
}

/// The system gave no threads.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the threads of delivery")]
pub struct CpuPoolError(#[from] rayon::ThreadPoolBuildError);

impl CpuPool {
    pub fn new(threads: usize) -> Result<CpuPool, CpuPoolError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("delivery-{index}"))
            .build()?;
        Ok(CpuPool(Kind::Threads { threads: Arc::new(pool), free: Arc::new(Semaphore::new(threads)) }))
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
        let Kind::Threads { threads, free } = &self.0 else {
            return self
                .block(move || {
                    let answer = step(&mut owner);
                    (owner, answer)
                })
                .await;
        };
        let free = Arc::clone(free).acquire_owned().await.expect("the semaphore is never closed");
        let threads = Arc::clone(threads);
        self.block(move || {
            let answer = threads.install(|| step(&mut owner));
            drop(free);
            (owner, answer)
        })
        .await
    }

    /// Runs what waits for a disk and needs little CPU.
    ///
    /// # Panics
    /// If the work does.
    pub(crate) async fn block<R: Send + 'static>(&self, work: impl FnOnce() -> R + Send + 'static) -> R {
        match &self.0 {
            Kind::Threads { .. } => match spawn_blocking(work).await {
                Ok(done) => done,
                Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
            },
            Kind::Inline(pause) => {
                tokio::time::sleep(pause()).await;
                let done = work();
                tokio::time::sleep(pause()).await;
                done
            }
        }
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Threads { .. } => "Threads",
            Kind::Inline(_) => "Inline",
        })
    }
}
