//! A destination, or its backup, as the process sees it: one attempt at a time, through bad weather.

use std::fmt;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use hydrant_disk::read_exact_at;
use hydrant_sinks::{Delivery, Receipt, Sink, SinkError, SinkErrorKind};

use crate::clock::pass;
use crate::outside::{Cargo, Course, Outside, Place};

#[derive(Debug)]
pub(crate) struct SimSink {
    pub(crate) place: Place,
    pub(crate) outside: Arc<Mutex<Outside>>,
}

impl SimSink {
    async fn attempt(&self, delivery: &Delivery) -> Result<Receipt, SinkError> {
        let bytes = read(delivery)?;
        let attempt = locked(&self.outside).begin(self.place, delivery, &bytes);
        let mut cargo = UnderWay { cargo: Some(attempt.cargo), outside: Arc::clone(&self.outside) };
        pass(attempt.there).await;
        match attempt.course {
            Course::KilledBefore => self.kill().await,
            Course::Refused(kind) => {
                cargo.cargo = None;
                pass(attempt.back).await;
                let mut error = error(kind.into(), "Sim.Refused", "not now");
                error.retry_after = attempt.retry_after;
                Err(error)
            }
            course => {
                let arrived = cargo.cargo.take().unwrap();
                let receipt = locked(&self.outside).arrive(&arrived);
                if course == Course::KilledBehind {
                    self.kill().await?;
                }
                pass(attempt.back).await;
                if course == Course::Lost {
                    return Err(error(SinkErrorKind::Transient, "Sim.Lost", "no answer came"));
                }
                Ok(Receipt { retry_after: attempt.retry_after, ..receipt })
            }
        }
    }

    /// Never returns: who waits here is gone.
    async fn kill(&self) -> Result<Receipt, SinkError> {
        locked(&self.outside).kill.notify_one();
        pending().await
    }
}

impl fmt::Display for SimSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.place)
    }
}

impl Sink for SimSink {
    fn deliver<'a>(&'a self, delivery: &'a Delivery) -> BoxFuture<'a, Result<Receipt, SinkError>> {
        self.attempt(delivery).boxed()
    }

    fn check(&self) -> BoxFuture<'_, Result<(), SinkError>> {
        async { Ok(()) }.boxed()
    }
}

/// Tells the outside if nobody waits any more.
struct UnderWay {
    cargo: Option<Cargo>,
    outside: Arc<Mutex<Outside>>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(cargo) = self.cargo.take() {
            locked(&self.outside).forgotten(cargo);
        }
    }
}

pub(crate) fn locked(outside: &Mutex<Outside>) -> MutexGuard<'_, Outside> {
    outside.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As a real sink reads: nothing but what was staged ever leaves.
fn read(delivery: &Delivery) -> Result<Vec<u8>, SinkError> {
    let body = &delivery.body;
    let mut bytes = vec![0; usize::try_from(body.length).unwrap()];
    read_exact_at(&*body.file, &mut bytes, body.offset)
        .map_err(|io| error(SinkErrorKind::Staged, "Staged.Unreadable", &io.to_string()))?;
    let found = digest::digest(&digest::SHA256, &bytes);
    assert_eq!(found.as_ref(), body.sha256, "{}: what is staged is not what was staged", delivery.key);
    let crc64 = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, &bytes);
    assert_eq!(Some(crc64), body.crc64, "{}: the checksum is of other bytes", delivery.key);
    Ok(bytes)
}

fn error(kind: SinkErrorKind, code: &str, message: &str) -> SinkError {
    SinkError { kind, code: code.to_owned(), message: message.to_owned(), retry_after: None, source: None }
}
