//! The events of subscriptions that were made and that their readers have not taken yet.
//!
//! Invariant: together they hold no more than their budget, which is apart from that of other requests; and a reader that stopped
//! reading keeps others waiting for [`STALL`] at most, for then its subscription is cut off. Nothing is lost by that: it goes on
//! from the last event that it took whole.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// For a batch of records, its base64 and the text of the event. What one record is larger than that is not paid for, as in
/// GetRecords.
const COST: u32 = 3 << 20;
const STALL: Duration = Duration::from_secs(5);
/// What a connection gets at once, and keeps if it is stuck.
const PIECE_BYTES: usize = 64 << 10;

/// Of all subscriptions.
#[derive(Debug)]
pub struct EventBudget {
    permits: Arc<Semaphore>,
    all: Mutex<Vec<Weak<Unsent>>>,
}

/// Of one subscription: what is left of its event.
#[derive(Debug, Default)]
pub(super) struct Unsent(Mutex<Option<Rest>>);

#[derive(Debug)]
struct Rest {
    bytes: Bytes,
    /// Signs of life are too small to be paid for.
    _paid: Option<OwnedSemaphorePermit>,
    since: Instant,
}

impl EventBudget {
    #[must_use]
    pub fn new(bytes: u64) -> EventBudget {
        let permits = usize::try_from(bytes).unwrap_or(usize::MAX).clamp(COST as usize, Semaphore::MAX_PERMITS);
        EventBudget { permits: Arc::new(Semaphore::new(permits)), all: Mutex::default() }
    }

    pub(super) fn unsent(&self) -> Arc<Unsent> {
        let unsent = Arc::<Unsent>::default();
        let mut all = self.lock();
        all.retain(|one| one.strong_count() > 0);
        all.push(Arc::downgrade(&unsent));
        unsent
    }

    /// Waits until there is room for one event, and makes room if readers have stopped reading.
    pub(super) async fn pay(&self) -> Option<OwnedSemaphorePermit> {
        loop {
            let paid = Arc::clone(&self.permits).acquire_many_owned(COST);
            match tokio::time::timeout(STALL / 10, paid).await {
                Ok(paid) => return paid.ok(),
                Err(_) => self.cut_stalled(),
            }
        }
    }

    fn cut_stalled(&self) {
        for unsent in self.lock().iter().filter_map(Weak::upgrade) {
            let mut rest = unsent.lock();
            if rest.as_ref().is_some_and(|rest| rest.since.elapsed() >= STALL) {
                *rest = None;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Unsent>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Unsent {
    /// Of what was paid, it keeps what the event needs.
    pub(super) fn put(&self, event: Bytes, mut paid: Option<OwnedSemaphorePermit>) {
        if let Some(paid) = &mut paid {
            drop(paid.split(paid.num_permits().saturating_sub(event.len())));
        }
        *self.lock() = Some(Rest { bytes: event, _paid: paid, since: Instant::now() });
    }

    /// The next piece of the event; `None` behind the last, or if it was cut off.
    pub(super) fn take(&self) -> Option<Bytes> {
        let mut all = self.lock();
        let rest = all.as_mut()?;
        // A copy: the connection must not keep the whole event for a piece of it.
        let piece = Bytes::copy_from_slice(&rest.bytes[..rest.bytes.len().min(PIECE_BYTES)]);
        rest.bytes = rest.bytes.slice(piece.len()..);
        rest.since = Instant::now();
        if rest.bytes.is_empty() {
            *all = None;
        }
        Some(piece)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Rest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_reads_gets_the_room_of_who_has_stopped() {
        let budget = EventBudget::new(0);
        let (stuck, reads) = (budget.unsent(), budget.unsent());
        stuck.put(Bytes::from(vec![1; 2 * PIECE_BYTES + 1]), budget.pay().await);
        assert_eq!(stuck.take().unwrap().len(), PIECE_BYTES);
        let begun = Instant::now();
        let paid = budget.pay().await;
        assert!((STALL..STALL * 2).contains(&begun.elapsed()), "{:?}", begun.elapsed());
        assert_eq!(stuck.take(), None, "its event is cut off");
        reads.put(Bytes::from(vec![2; PIECE_BYTES + 1]), paid);
        assert_eq!(
            [reads.take(), reads.take(), reads.take()].map(|piece| piece.map_or(0, |piece| piece.len())),
            [PIECE_BYTES, 1, 0]
        );
        // All of it is free again, and what nobody holds is forgotten.
        assert_eq!(budget.permits.available_permits(), COST as usize);
        drop((stuck, reads));
        drop(budget.unsent());
        assert_eq!(budget.lock().len(), 1);
    }
}
