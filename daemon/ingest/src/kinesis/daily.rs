//! What AWS counts by the day, where its rates are kept to.
//!
//! Invariant: a call that changed nothing is not counted.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hydrant_record::Timestamp;

use super::{KinesisStream, Request};
use crate::ApiError;

const DAY: Duration = Duration::from_secs(86_400);

/// A change that AWS allows a few times a day for each stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Quota {
    ShardCount,
    Mode,
    StartEncryption,
    StopEncryption,
}

/// The changes of one stream in the last day.
#[derive(Debug, Default)]
pub(crate) struct Daily(Mutex<HashMap<Quota, Vec<Timestamp>>>);

/// One that is under way. It is taken back with this value, unless it was kept.
#[derive(Debug)]
pub(super) struct Counted<'a>(Option<(&'a Daily, Quota, Timestamp)>);

impl Quota {
    fn most(self) -> (&'static str, usize) {
        match self {
            Quota::ShardCount => ("UpdateShardCount", 10),
            Quota::Mode => ("UpdateStreamMode", 2),
            Quota::StartEncryption => ("StartStreamEncryption", 25),
            Quota::StopEncryption => ("StopStreamEncryption", 25),
        }
    }
}

impl Daily {
    fn count(&self, quota: Quota, now: Timestamp) -> Option<Counted<'_>> {
        let mut all = self.lock();
        let made = all.entry(quota).or_default();
        made.retain(|at| now.since(*at) < DAY);
        if made.len() >= quota.most().1 {
            return None;
        }
        made.push(now);
        Some(Counted(Some((self, quota, now))))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Quota, Vec<Timestamp>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted<'_> {
    /// The change was made.
    pub(super) fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let Some((daily, quota, at)) = self.0 else { return };
        let mut all = daily.lock();
        let made = all.entry(quota).or_default();
        if let Some(index) = made.iter().rposition(|made_at| *made_at == at) {
            made.remove(index);
        }
    }
}

impl Request {
    /// One more change of the stream today, if AWS's rates hold and allow it.
    pub(super) fn count<'s>(&self, quota: Quota, stream: &'s KinesisStream) -> Result<Counted<'s>, ApiError> {
        if !self.limits().control_calls {
            return Ok(Counted(None));
        }
        let (operation, most) = quota.most();
        stream.daily.count(quota, self.operations.clock.now()).ok_or_else(|| {
            ApiError::limit_exceeded(format!(
                "{operation} was called {most} times within 24 hours for stream {} under account {}, which is the limit.",
                stream.name,
                self.account()
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_its_number_of_changes_and_what_failed_is_none() {
        let daily = Daily::default();
        let at = |hours: u64| Timestamp::from_millis(hours * 3_600_000);
        for hour in 0..2 {
            daily.count(Quota::Mode, at(hour)).unwrap().keep();
        }
        assert!(daily.count(Quota::Mode, at(23)).is_none());
        drop(daily.count(Quota::StartEncryption, at(23)).unwrap());
        assert!(daily.lock()[&Quota::StartEncryption].is_empty(), "it was not made");
        drop(daily.count(Quota::Mode, at(24)).unwrap());
        daily.count(Quota::Mode, at(24)).unwrap().keep();
        assert!(daily.count(Quota::Mode, at(24)).is_none(), "the second of the day before was an hour later");
        assert!(daily.count(Quota::Mode, at(25)).is_some());
    }
}
