//! What one connection is doing: how many requests are under way, and whether bytes are.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What is being answered on one connection; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Load(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    begun: AtomicUsize,
    under_way: AtomicUsize,
    /// Whole answers that the client's windows have no room for yet, each with the pieces of it that they had room for.
    waiting: Mutex<BTreeMap<usize, u64>>,
    /// Bytes came that are of no request yet.
    heard: AtomicBool,
    /// Bytes wait for the client, which takes none.
    stuck: AtomicBool,
}

/// One request, until its answer was sent or given up.
#[derive(Debug)]
pub(super) struct UnderWay {
    counts: Arc<Counts>,
    number: usize,
    answered: bool,
}

impl UnderWay {
    /// Its answer is there, as a whole.
    pub(super) fn answer(&mut self) {
        self.answered = true;
        self.counts.waiting().insert(self.number, 0);
    }

    /// A piece of its answer was taken.
    pub(super) fn moves(&self) {
        if let Some(pieces) = self.counts.waiting().get_mut(&self.number) {
            *pieces += 1;
        }
    }
}

impl Load {
    pub(super) fn begin(&self) -> UnderWay {
        let number = self.0.begun.fetch_add(1, Ordering::Relaxed);
        self.0.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay { counts: Arc::clone(&self.0), number, answered: false }
    }

    /// Completes when an answer waits for the client's windows and no piece of it was taken for `timeout`, whatever is taken of
    /// others; and at twice the time at the latest.
    pub(super) async fn stuck_for(&self, timeout: Duration) {
        let mut before = BTreeMap::new();
        loop {
            let now = self.0.waiting().clone();
            if now.iter().any(|(number, pieces)| before.get(number) == Some(pieces)) {
                return;
            }
            before = now;
            tokio::time::sleep(timeout).await;
        }
    }

    /// Completes when nothing was under way for `timeout`, and at twice the time at the latest.
    pub(super) async fn idle_for(&self, timeout: Duration) {
        self.quiet_for(timeout, || true).await;
    }

    /// The same, and neither side holds bytes of a request or of an answer that is not whole.
    pub(super) async fn resting_for(&self, timeout: Duration) {
        let between = || !self.0.heard.load(Ordering::Relaxed) && !self.0.stuck.load(Ordering::Relaxed);
        self.quiet_for(timeout, between).await;
    }

    pub(super) fn hear(&self) {
        self.0.heard.store(true, Ordering::Relaxed);
    }

    pub(super) fn set_stuck(&self, stuck: bool) {
        self.0.stuck.store(stuck, Ordering::Relaxed);
    }

    async fn quiet_for(&self, timeout: Duration, between: impl Fn() -> bool) {
        let mut before = usize::MAX;
        loop {
            let begun = self.0.begun.load(Ordering::Relaxed);
            if begun == before && self.0.under_way.load(Ordering::Relaxed) == 0 && between() {
                return;
            }
            before = begun;
            tokio::time::sleep(timeout).await;
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.counts.under_way.fetch_sub(1, Ordering::Relaxed);
        self.counts.heard.store(false, Ordering::Relaxed);
        if self.answered {
            self.counts.waiting().remove(&self.number);
        }
    }
}

impl Counts {
    fn waiting(&self) -> MutexGuard<'_, BTreeMap<usize, u64>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
