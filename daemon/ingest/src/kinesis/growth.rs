//! On-demand streams that get more shards when they are written to more, where shards have limits at all.
//!
//! Invariant: a stream has at most twice the shards that it had a quarter of an hour before, and never fewer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hydrant_config::KinesisLimits;
use hydrant_record::{NewRecord, ShardIx, Timestamp};

use super::{KinesisStream, Request, shards};
use crate::StreamMode;

/// What is written is looked at over this time. AWS does not say over which its peak is.
const WINDOW: Duration = Duration::from_secs(60);
/// AWS throttles who doubles sooner.
const PAUSE: Duration = Duration::from_secs(15 * 60);

/// What one stream has taken lately.
#[derive(Debug, Default)]
pub(crate) struct Growth(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    since: Option<Timestamp>,
    records: u64,
    bytes: u64,
    grown_at: Option<Timestamp>,
}

impl Growth {
    /// Notes what was taken. True if it is time for twice as many shards: the last window had more than half of what
    /// `open` shards can take.
    fn note(&self, (records, bytes): (u64, u64), open: usize, limits: &KinesisLimits, now: Timestamp) -> bool {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = *taken.since.get_or_insert(now);
        taken.records += records;
        taken.bytes += bytes;
        if now.since(since) < WINDOW {
            return false;
        }
        let millis = now.since(since).as_millis();
        let busy = |amount: u64, rate: Option<u64>| {
            rate.is_some_and(|rate| u128::from(amount) * 2000 > u128::from(rate) * open as u128 * millis)
        };
        let grows = busy(taken.records, limits.shard_records_in) || busy(taken.bytes, limits.shard_bytes_in);
        let rested = taken.grown_at.is_none_or(|at| now.since(at) >= PAUSE);
        let grown_at = if grows && rested { Some(now) } else { taken.grown_at };
        *taken = Taken { since: Some(now), grown_at, ..Taken::default() };
        grows && rested
    }
}

/// To be told of every put that limits apply to, with the verdict on each of its records.
pub(super) fn note(stream: &Arc<KinesisStream>, records: &[NewRecord], refused: &[Option<ShardIx>], at: &Request) {
    if stream.from_yaml || stream.settings().mode != StreamMode::OnDemand {
        return;
    }
    let Some(log) = stream.log() else { return };
    let taken = records.iter().zip(refused).filter(|(_, refused)| refused.is_none()).map(|(record, _)| record);
    let size = |record: &NewRecord| (record.data.len() + record.partition_key.as_ref().map_or(0, Bytes::len)) as u64;
    let taken = taken.fold((0, 0), |(count, bytes), record| (count + 1, bytes + size(record)));
    let open = log.shards().open().count();
    if stream.growth.note(taken, open, at.limits(), at.operations.clock.now()) {
        tokio::spawn(grow(Arc::clone(stream), open * 2, at.clone()));
    }
}

async fn grow(stream: Arc<KinesisStream>, count: usize, at: Request) {
    if let Err(error) = shards::grow(&stream, count, &at).await {
        tracing::warn!(stream = stream.name, count, %error, "an on-demand stream cannot have more shards");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + secs * 1000)
    }

    #[test]
    fn more_than_half_of_what_the_shards_take_doubles_them_once_in_a_quarter_of_an_hour() {
        let limits = KinesisLimits { shard_bytes_in: Some(100), shard_records_in: Some(10), ..Default::default() };
        let growth = Growth::default();
        let taken = |records, bytes, secs| growth.note((records, bytes), 4, &limits, at(secs));
        assert!(!taken(0, 12_000, 0), "the window has just begun");
        assert!(!taken(1200, 0, 60), "half is not more than half");
        assert!(!taken(0, 12_001, 119), "not yet over");
        assert!(taken(0, 0, 120));
        assert!(!taken(0, 24_000, 180), "too soon");
        assert!(!taken(1199, 11_999, 1060), "that was long ago");
        assert!(taken(1201, 0, 1120), "records count as bytes do");
        let free = Growth::default();
        assert!(![0, 60].iter().any(|secs| free.note((1 << 40, 1 << 40), 1, &KinesisLimits::default(), at(*secs))));
    }
}
