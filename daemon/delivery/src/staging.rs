//! One chunk is staged while the next one is gathered.
//!
//! Invariant: chunks are staged one at a time, in the order in which they were cut. Where one fails, whoever gathers learns of
//! it before another is begun.

use std::future::Future;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{self, error::TrySendError};

use crate::cpu::CpuPool;
use crate::gather::Gathered;
use crate::journal::StagedChunk;
use crate::send::Staged;
use crate::stage::{StageError, Stager};

/// A stager, idle or at work.
pub(crate) struct Staging {
    cpu: CpuPool,
    out: mpsc::Sender<Staged>,
    /// Idle.
    stager: Option<Stager>,
    /// At work.
    busy: Option<Busy>,
    ended: Option<Ended>,
}

struct Busy {
    done: BoxFuture<'static, (Stager, Result<StagedChunk, StageError>)>,
    slot: OwnedSemaphorePermit,
    bytes: u64,
}

/// What became of a chunk.
pub(crate) enum Ended {
    /// It is on its way.
    Staged,
    /// It was thrown away, with the size that it had.
    Failed { error: StageError, bytes: u64 },
}

impl Staging {
    /// What is staged goes to `out`, which has room for a chunk a slot.
    pub(crate) fn new(stager: Stager, cpu: CpuPool, out: mpsc::Sender<Staged>) -> Staging {
        Staging { cpu, out, stager: Some(stager), busy: None, ended: None }
    }

    /// # Panics
    /// If another is not staged yet.
    pub(crate) fn begin(&mut self, gathered: Gathered, slot: OwnedSemaphorePermit) {
        let stager = self.stager.take().expect("chunks are staged one at a time");
        let (cpu, bytes) = (self.cpu.clone(), gathered.bytes);
        let done = async move { cpu.run(stager, move |stager| stager.stage(gathered)).await };
        self.busy = Some(Busy { done: done.boxed(), slot, bytes });
    }

    /// Does other work meanwhile.
    pub(crate) async fn beside<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = self.rest(), if self.is_busy() => {}
        }
        work.await
    }

    /// Waits until nothing is being staged. It may be cancelled and called again.
    pub(crate) async fn rest(&mut self) {
        let Some(busy) = &mut self.busy else { return };
        let (stager, staged) = (&mut busy.done).await;
        self.stager = Some(stager);
        let Some(Busy { slot, bytes, .. }) = self.busy.take() else { return };
        self.ended = Some(match staged {
            Ok(chunk) => match self.out.try_send((chunk, slot)) {
                // Whoever sends has ended, and says why; the chunk is in the journal.
                Ok(()) | Err(TrySendError::Closed(_)) => Ended::Staged,
                Err(TrySendError::Full(_)) => unreachable!("there is room for a chunk a slot"),
            },
            Err(error) => Ended::Failed { error, bytes },
        });
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.busy.is_some()
    }

    /// What became of the last one, told once.
    pub(crate) fn ended(&mut self) -> Option<Ended> {
        self.ended.take()
    }
}
