//! The threads that transform and encode: one a CPU, for all delivery streams together.
//!
//! A pool of their own, because what an encoder frees stays with the thread that freed it: on the many threads of an async
//! runtime's blocking pool the same work was measured to hold twice the memory.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Cheap to share.
#[derive(Clone, Debug)]
pub struct CpuPool {
    threads: Arc<rayon::ThreadPool>,
    /// One a thread: who waits for a CPU waits as a task, and at most this many threads of the runtime wait for a step.
    free: Arc<Semaphore>,
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
        Ok(CpuPool { threads: Arc::new(pool), free: Arc::new(Semaphore::new(threads)) })
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
        let free = Arc::clone(&self.free).acquire_owned().await.expect("the semaphore is never closed");
        let threads = Arc::clone(&self.threads);
        let stepped = spawn_blocking(move || {
            let answer = threads.install(|| step(&mut owner));
            drop(free);
            (owner, answer)
        });
        match stepped.await {
            Ok(done) => done,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }
}
