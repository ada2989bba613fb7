//! Where the records of a Kinesis stream came from, as plugins are told of it.

use hydrant_plugins::SourceMeta;
use hydrant_record::{Record, SequenceNumber};
use hydrant_shardlog::ShardMap;

use crate::split::Splitter;

/// Of each user record of a record, in their order; of a record that was put alone, one. Sequence numbers are those that the
/// API of Kinesis gives.
pub(crate) fn sources(record: &Record, splitter: &Splitter, shards: &ShardMap) -> Vec<SourceMeta> {
    // A shard is forgotten after its records are.
    let Some(shard) = shards.get(record.shard) else { return Vec::new() };
    let sequence = SequenceNumber::new(shard.created_at, shard.ix, record.lsn.get(), record.arrived_at).to_string();
    let own = || record.partition_key.as_deref().map(|key| String::from_utf8_lossy(key).into_owned());
    let of_users = splitter.user_keys(&record.data);
    let keys = of_users.map_or_else(|| vec![own()], |keys| keys.into_iter().map(Some).collect());
    let source = |(subsequence, partition_key)| SourceMeta {
        shard: format!("shardId-{:012}", shard.ix.0),
        sequence: sequence.clone(),
        subsequence,
        partition_key,
    };
    (0..).zip(keys).map(source).collect()
}
