//! How much goes through a shard in a second, and how often the control plane is called, where limits are set.
//!
//! Invariant: what is refused here was neither stored nor read.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hydrant_config::KinesisLimits;
use hydrant_record::{NewRecord, Placement, ShardIx};
use hydrant_shardlog::ShardMap;
use tokio::time::Instant;

const BUCKETS_MAX: usize = 50_000;
/// The largest record there is has refilled its shard by then, at AWS's rates.
const FULL_AFTER: Duration = Duration::from_secs(15);

/// Calls of GetShardIterator for a shard, of ListShards for a stream, and of each operation of Firehose that manages delivery
/// streams; a second, at AWS.
const ITERATOR_RATE: u64 = 5;
const LIST_RATE: u64 = 1000;
pub(crate) const MANAGE_RATE: u64 = 5;

/// What is counted of a shard. Each has a limit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Flow {
    RecordsIn,
    BytesIn,
    BytesOut,
    Reads,
    Iterators,
    /// Of the whole stream, kept with its first shard.
    Lists,
}

/// The shards of one stream.
#[derive(Debug, Default)]
pub(crate) struct ShardFlows(Buckets<(ShardIx, Flow)>);

/// The calls of the account in one region, by operation.
#[derive(Debug, Default)]
pub struct Calls(Buckets<(String, &'static str)>);

/// Each holds at most what one second lets through.
#[derive(Debug)]
struct Buckets<K>(Mutex<HashMap<K, Bucket>>);

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Below zero after something that was larger than what was left.
    level: f64,
    at: Instant,
}

impl<K> Default for Buckets<K> {
    fn default() -> Buckets<K> {
        Buckets(Mutex::default())
    }
}

impl<K: Eq + Hash> Buckets<K> {
    /// Whether this may be done once more now.
    fn may(&self, key: K, rate: u64) -> bool {
        let mut buckets = self.lock();
        let bucket = Bucket::filled(&mut buckets, key, rate);
        let fits = bucket.has(1, rate);
        if fits {
            bucket.level -= 1.0;
        }
        fits
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Bucket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bucket {
    /// As it is now.
    #[expect(clippy::cast_precision_loss, reason = "limits are far below 2^52")]
    fn filled<K: Eq + Hash>(all: &mut HashMap<K, Bucket>, key: K, rate: u64) -> &mut Bucket {
        let (now, rate) = (Instant::now(), rate as f64);
        if all.len() > BUCKETS_MAX {
            // One that nobody took from for so long is full again, as a new one is.
            all.retain(|_, bucket| now - bucket.at < FULL_AFTER);
        }
        let bucket = all.entry(key).or_insert(Bucket { level: rate, at: now });
        bucket.level = (bucket.level + rate * (now - bucket.at).as_secs_f64()).min(rate);
        bucket.at = now;
        bucket
    }

    /// Whether this much may go through; one that is larger than the whole bucket may when the bucket is full.
    #[expect(clippy::cast_precision_loss, reason = "amounts are far below 2^52")]
    fn has(&self, amount: u64, rate: u64) -> bool {
        self.level >= amount.min(rate) as f64
    }
}

impl ShardFlows {
    /// Which of the records may be stored, in their order. `None`: all of them.
    pub(super) fn admit(
        &self,
        records: &[NewRecord],
        shards: &ShardMap,
        limits: &KinesisLimits,
    ) -> Option<Vec<Option<ShardIx>>> {
        if limits.shard_records_in.is_none() && limits.shard_bytes_in.is_none() {
            return None;
        }
        let mut buckets = self.0.lock();
        let verdict = |record: &NewRecord| {
            let Placement::Hash(hash) = record.placement else { return None };
            let ix = shards.route(hash);
            let bytes = record.data.len() + record.partition_key.as_ref().map_or(0, Bytes::len);
            let wanted =
                [(Flow::RecordsIn, limits.shard_records_in, 1), (Flow::BytesIn, limits.shard_bytes_in, bytes as u64)];
            let fits = wanted.iter().all(|(flow, rate, amount)| {
                rate.is_none_or(|rate| Bucket::filled(&mut buckets, (ix, *flow), rate).has(*amount, rate))
            });
            if !fits {
                return Some(ix);
            }
            for (flow, rate, amount) in wanted {
                take(&mut buckets, (ix, flow), rate, amount);
            }
            None
        };
        Some(records.iter().map(verdict).collect())
    }

    /// Whether the shard may be read once more now.
    pub(super) fn may_read(&self, shard: ShardIx, limits: &KinesisLimits) -> bool {
        let mut buckets = self.0.lock();
        let wanted = [(Flow::Reads, limits.shard_reads), (Flow::BytesOut, limits.shard_bytes_out)];
        let fits = wanted
            .into_iter()
            .all(|(flow, rate)| rate.is_none_or(|rate| Bucket::filled(&mut buckets, (shard, flow), rate).has(1, rate)));
        if fits {
            take(&mut buckets, (shard, Flow::Reads), limits.shard_reads, 1);
        }
        fits
    }

    /// Whether the shard may be asked for one more iterator now.
    pub(super) fn may_iterate(&self, shard: ShardIx, limits: &KinesisLimits) -> bool {
        !limits.control_calls || self.0.may((shard, Flow::Iterators), ITERATOR_RATE)
    }

    /// Whether the shards may be listed once more now.
    pub(super) fn may_list(&self, limits: &KinesisLimits) -> bool {
        !limits.control_calls || self.0.may((ShardIx(0), Flow::Lists), LIST_RATE)
    }

    /// What a read has given out, which only then is known: the reads after it wait for it.
    pub(super) fn was_read(&self, shard: ShardIx, bytes: usize, limits: &KinesisLimits) {
        if limits.shard_bytes_out.is_some() {
            take(&mut self.0.lock(), (shard, Flow::BytesOut), limits.shard_bytes_out, bytes as u64);
        }
    }
}

impl Calls {
    /// Whether the operation may be called once more now. AWS's rates, a second and an account.
    pub(super) fn may_call(&self, region: &str, operation: super::Operation, limits: &KinesisLimits) -> bool {
        let Some((name, rate)) = rate_of(operation).filter(|_| limits.control_calls) else { return true };
        self.0.may((region.to_owned(), name), rate)
    }

    /// The same for the operations of Firehose that manage delivery streams, by their names.
    pub(crate) fn may_manage(&self, region: &str, operation: &'static str, limits: &KinesisLimits) -> bool {
        !limits.control_calls || self.0.may((region.to_owned(), operation), MANAGE_RATE)
    }
}

#[expect(clippy::cast_precision_loss, reason = "amounts are far below 2^52")]
fn take<K: Eq + Hash>(buckets: &mut HashMap<K, Bucket>, key: K, rate: Option<u64>, amount: u64) {
    if let Some(rate) = rate {
        Bucket::filled(buckets, key, rate).level -= amount as f64;
    }
}

fn rate_of(operation: super::Operation) -> Option<(&'static str, u64)> {
    use super::Operation as Op;
    Some(match operation {
        Op::CreateStream => ("CreateStream", 5),
        Op::DeleteStream => ("DeleteStream", 5),
        Op::DescribeStream => ("DescribeStream", 10),
        Op::DescribeStreamSummary => ("DescribeStreamSummary", 20),
        Op::DescribeLimits => ("DescribeLimits", 1),
        Op::ListStreams => ("ListStreams", 5),
        Op::SplitShard => ("SplitShard", 5),
        Op::MergeShards => ("MergeShards", 5),
        Op::UpdateShardCount => ("UpdateShardCount", 10),
        Op::Retention { increase: true } => ("IncreaseStreamRetentionPeriod", 5),
        Op::Retention { increase: false } => ("DecreaseStreamRetentionPeriod", 5),
        Op::Monitoring { enable: true } => ("EnableEnhancedMonitoring", 5),
        Op::Monitoring { enable: false } => ("DisableEnhancedMonitoring", 5),
        Op::AddTags => ("AddTagsToStream", 5),
        Op::RemoveTags => ("RemoveTagsFromStream", 5),
        Op::ListTags => ("ListTagsForStream", 5),
        Op::TagResource => ("TagResource", 5),
        Op::UntagResource => ("UntagResource", 5),
        Op::ListResourceTags => ("ListTagsForResource", 5),
        Op::RegisterConsumer => ("RegisterStreamConsumer", 5),
        Op::DeregisterConsumer => ("DeregisterStreamConsumer", 5),
        Op::DescribeConsumer => ("DescribeStreamConsumer", 20),
        Op::ListConsumers => ("ListStreamConsumers", 5),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use hydrant_record::{HashKey, Timestamp};

    use super::*;

    const FIRST: ShardIx = ShardIx(0);

    fn records(count: usize, bytes: usize) -> Vec<NewRecord> {
        let one =
            NewRecord { placement: Placement::Hash(HashKey(0)), partition_key: None, data: vec![0; bytes].into() };
        vec![one; count]
    }

    fn admitted(flows: &ShardFlows, records: &[NewRecord], limits: &KinesisLimits) -> usize {
        let shards = ShardMap::even(2, Timestamp::from_millis(0));
        let verdicts = flows.admit(records, &shards, limits).unwrap();
        assert!(verdicts.iter().flatten().all(|ix| *ix == FIRST));
        verdicts.iter().filter(|verdict| verdict.is_none()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_shard_takes_what_a_second_lets_through_in_records_and_in_bytes() {
        let flows = ShardFlows::default();
        let limits =
            KinesisLimits { shard_records_in: Some(1000), shard_bytes_in: Some(1 << 20), ..Default::default() };
        assert_eq!(admitted(&flows, &records(500, 1), &limits), 500);
        assert_eq!(admitted(&flows, &records(600, 1), &limits), 500);
        assert_eq!(admitted(&flows, &records(1, 1), &limits), 0);
        tokio::time::advance(Duration::from_millis(100)).await;
        assert_eq!(admitted(&flows, &records(200, 1), &limits), 100);
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(admitted(&flows, &records(9, 256 << 10), &limits), 4, "bytes");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(admitted(&flows, &records(2, 10 << 20), &limits), 1, "a large one when the bucket is full");
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(admitted(&flows, &records(1, 1), &limits), 0, "and it is paid for");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(admitted(&flows, &records(1, 1), &limits), 1);
        assert_eq!(
            flows.admit(&records(1, 1), &ShardMap::single(Timestamp::from_millis(0)), &KinesisLimits::default()),
            None
        );
    }

    #[tokio::test(start_paused = true)]
    async fn reads_are_counted_and_what_was_read_is_paid_for_afterwards() {
        let flows = ShardFlows::default();
        let limits = KinesisLimits { shard_reads: Some(5), shard_bytes_out: Some(2 << 20), ..Default::default() };
        assert_eq!((0..9).filter(|_| flows.may_read(FIRST, &limits)).count(), 5);
        assert!(flows.may_read(ShardIx(1), &limits));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(flows.may_read(FIRST, &limits));
        flows.was_read(FIRST, 10 << 20, &limits);
        tokio::time::advance(Duration::from_secs(4)).await;
        assert!(
            !flows.may_read(FIRST, &limits),
            "10 MiB keep a shard busy for 5 seconds, less the one that was saved up"
        );
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(flows.may_read(FIRST, &limits));
        assert!((0..99).all(|_| flows.may_read(FIRST, &KinesisLimits::default())));
    }

    #[tokio::test(start_paused = true)]
    async fn iterators_are_counted_by_the_shard_and_lists_by_the_stream_if_it_is_wished() {
        let flows = ShardFlows::default();
        let limits = KinesisLimits { control_calls: true, ..Default::default() };
        assert_eq!((0..9).filter(|_| flows.may_iterate(FIRST, &limits)).count(), 5);
        assert!(flows.may_iterate(ShardIx(1), &limits));
        assert_eq!((0..1001).filter(|_| flows.may_list(&limits)).count(), 1000);
        tokio::time::advance(Duration::from_millis(200)).await;
        assert_eq!((0..9).filter(|_| flows.may_iterate(FIRST, &limits)).count(), 1);
        assert_eq!((0..1001).filter(|_| flows.may_list(&limits)).count(), 200);
        let free = KinesisLimits::default();
        assert!((0..1001).all(|_| flows.may_list(&free) && flows.may_iterate(FIRST, &free)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_control_plane_is_called_as_often_as_at_aws_if_it_is_wished() {
        let calls = Calls::default();
        let limits = KinesisLimits { control_calls: true, ..Default::default() };
        let made =
            |region| (0..9).filter(|_| calls.may_call(region, super::super::Operation::CreateStream, &limits)).count();
        assert_eq!((made("us-east-1"), made("us-east-1"), made("eu-west-1")), (5, 0, 5));
        tokio::time::advance(Duration::from_millis(400)).await;
        assert_eq!(made("us-east-1"), 2);
        let free = KinesisLimits::default();
        assert!((0..99).all(|_| calls.may_call("us-east-1", super::super::Operation::CreateStream, &free)));
    }
}
