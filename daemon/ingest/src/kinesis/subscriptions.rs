//! Who reads which shards of one stream by enhanced fan-out.
//!
//! Invariant: a consumer has at most one subscription to a shard; a later one ends the one before.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hydrant_record::ShardIx;
use tokio::sync::watch;
use tokio::time::Instant;

/// After a call that succeeded the same consumer may not call again for this shard, even if the subscription is over.
const PAUSE: Duration = Duration::from_secs(5);

/// Why a subscription is over before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The consumer has subscribed again.
    TakenOver,
    /// The stream or the consumer was deleted.
    Gone,
}

/// Why there is no subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    TooSoon,
    /// The stream is deleted.
    Gone,
}

#[derive(Debug, Default)]
pub(crate) struct Subscriptions(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// By the consumer, which is named by the time of its registration, and the shard.
    active: HashMap<(u64, ShardIx), Active>,
    over: bool,
}

#[derive(Debug)]
struct Active {
    since: Instant,
    end: watch::Sender<Option<End>>,
}

/// One subscription's right to be. It ends with this value, or when it is told so.
#[derive(Debug)]
pub(crate) struct Slot(watch::Receiver<Option<End>>);

impl Subscriptions {
    pub(super) fn open(&self, consumer: u64, shard: ShardIx) -> Result<Slot, Refused> {
        let mut state = self.lock();
        if state.over {
            return Err(Refused::Gone);
        }
        state.active.retain(|_, one| one.since.elapsed() < PAUSE || one.end.receiver_count() > 0);
        if state.active.get(&(consumer, shard)).is_some_and(|one| one.since.elapsed() < PAUSE) {
            return Err(Refused::TooSoon);
        }
        let (end, ended) = watch::channel(None);
        if let Some(before) = state.active.insert((consumer, shard), Active { since: Instant::now(), end }) {
            before.end.send_replace(Some(End::TakenOver));
        }
        Ok(Slot(ended))
    }

    /// Of a consumer that was deregistered.
    pub(super) fn end_consumer(&self, consumer: u64) {
        self.lock().active.retain(|(of, _), one| {
            if *of == consumer {
                one.end.send_replace(Some(End::Gone));
            }
            *of != consumer
        });
    }

    /// Of a stream that is deleted: there are none from now on.
    pub(super) fn end_all(&self) {
        let mut state = self.lock();
        state.over = true;
        for (_, one) in state.active.drain() {
            one.end.send_replace(Some(End::Gone));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    pub(super) fn ended(&self) -> Option<End> {
        *self.0.borrow()
    }

    /// Completes when it has ended.
    pub(super) async fn end(&mut self) -> End {
        // Where nobody is left who could tell, the stream itself is gone.
        self.0.wait_for(Option::is_some).await.map_or(End::Gone, |end| end.unwrap_or(End::Gone))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: ShardIx = ShardIx(1);

    #[tokio::test(start_paused = true)]
    async fn the_same_consumer_and_shard_wait_five_seconds_and_then_take_over() {
        let all = Subscriptions::default();
        let mut first = all.open(7, ONE).unwrap();
        assert!(all.open(7, ShardIx(2)).is_ok() && all.open(8, ONE).is_ok(), "others are free");
        tokio::time::advance(PAUSE - Duration::from_millis(1)).await;
        assert_eq!(all.open(7, ONE).unwrap_err(), Refused::TooSoon);
        assert_eq!(first.ended(), None);
        tokio::time::advance(Duration::from_millis(1)).await;
        let second = all.open(7, ONE).unwrap();
        assert_eq!((first.end().await, first.ended(), second.ended()), (End::TakenOver, Some(End::TakenOver), None));
        drop(second);
        assert_eq!(all.open(7, ONE).unwrap_err(), Refused::TooSoon, "also when it is over");
        tokio::time::advance(PAUSE).await;
        assert!(all.open(9, ONE).is_ok());
        assert_eq!(all.lock().active.len(), 1, "those that are over are forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn a_deregistered_consumer_and_a_deleted_stream_end_theirs() {
        let all = Subscriptions::default();
        let (gone, mut stays) = (all.open(7, ONE).unwrap(), all.open(8, ONE).unwrap());
        all.end_consumer(7);
        assert_eq!((gone.ended(), stays.ended()), (Some(End::Gone), None));
        all.end_all();
        assert_eq!(stays.end().await, End::Gone);
        assert_eq!(all.open(9, ONE).unwrap_err(), Refused::Gone);
    }
}
