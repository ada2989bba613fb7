//! Whether a delivery stream takes records now, and how much it took.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::{ApiError, Refusal};

/// Clones share it. Open unless somebody closes it.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    closed: AtomicBool,
    records: AtomicU64,
    bytes: AtomicU64,
}

impl Gate {
    /// From now on producers are answered with ServiceUnavailableException, or not any more.
    pub fn set_closed(&self, closed: bool) {
        self.0.closed.store(closed, Ordering::Relaxed);
    }

    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::Relaxed)
    }

    /// Records that were stored through it, and the bytes of their data.
    #[must_use]
    pub fn taken(&self) -> (u64, u64) {
        (self.0.records.load(Ordering::Relaxed), self.0.bytes.load(Ordering::Relaxed))
    }

    pub(crate) fn check(&self) -> Result<(), ApiError> {
        match self.is_closed() {
            false => Ok(()),
            true => Err(ApiError::unavailable(
                Refusal::Backlog,
                "Slow down. The delivery stream has as much to deliver as its backlog_max allows.",
            )),
        }
    }

    pub(crate) fn count(&self, records: u64, bytes: u64) {
        self.0.records.fetch_add(records, Ordering::Relaxed);
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_gate_refuses_until_it_is_open_again() {
        let gate = Gate::default();
        assert!(gate.check().is_ok());
        gate.clone().set_closed(true);
        assert!(gate.check().is_err());
        gate.set_closed(false);
        assert!(gate.check().is_ok());
        gate.count(2, 30);
        assert_eq!(gate.taken(), (2, 30));
    }
}
