//! What one connection is doing: how many requests are under way, and whether bytes are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// What is being answered on one connection; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Load(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    begun: AtomicUsize,
    under_way: AtomicUsize,
    /// Whole answers that the client's windows have no room for yet, and those that they had.
    waiting: AtomicUsize,
    taken: AtomicUsize,
    /// Bytes came that are of no request yet.
    heard: AtomicBool,
    /// Bytes wait for the client, which takes none.
    stuck: AtomicBool,
}

/// One request, until its answer was sent or given up.
#[derive(Debug)]
pub(super) struct UnderWay {
    counts: Arc<Counts>,
    answered: bool,
}

impl UnderWay {
    /// Its answer is there, as a whole.
    pub(super) fn answer(&mut self) {
        self.answered = true;
        self.counts.waiting.fetch_add(1, Ordering::Relaxed);
    }
}

impl Load {
    pub(super) fn begin(&self) -> UnderWay {
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        self.0.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay { counts: Arc::clone(&self.0), answered: false }
    }

    /// Completes when answers wait for the client's windows and none was taken for `timeout`, and at twice the time at the
    /// latest.
    pub(super) async fn stuck_for(&self, timeout: Duration) {
        let mut before = None;
        loop {
            let waiting = self.0.waiting.load(Ordering::Relaxed) > 0;
            let now = waiting.then(|| self.0.taken.load(Ordering::Relaxed));
            if now.is_some() && now == before {
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
            self.counts.waiting.fetch_sub(1, Ordering::Relaxed);
            self.counts.taken.fetch_add(1, Ordering::Relaxed);
        }
    }
}
