//! GetRecords.
//!
//! Invariant: the next iterator is missing exactly when the answer names the children of a closed shard, which is when all
//! of its records have been given out.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hydrant_record::{Lsn, Record, SequenceNumber, Timestamp};
use hydrant_shardlog::{ReadError, Shard, ShardLog, ShardMap};
use serde_json::{Value, json};
use tokio::sync::SemaphorePermit;

use super::iterator::{self, ShardIterator, floor, unreadable};
use super::model::{Named, blocking, hash_range, seconds, shard_id};
use super::{KinesisStream, Request};
use crate::ApiError;
use crate::document::Document;
use crate::shape::{Shape, Violations};
use crate::wire::Wire;

const RECORDS_MAX: i64 = 10_000;
const BYTES_MAX: usize = 10 << 20;
/// When memory is short.
const BYTES_SHORT: usize = 1 << 20;
/// A record, its base64, and the text of the answer.
const COST_PER_BYTE: usize = 4;
const LIFETIME: Duration = Duration::from_secs(300);

/// Records of one shard, and where reading goes on.
#[derive(Debug)]
struct Read {
    records: Vec<Record>,
    after: Option<Lsn>,
    /// There are more records of the shard by now.
    more: bool,
}

pub(super) async fn records(at: &Request) -> Result<Bytes, ApiError> {
    let shape = Shape::root(&at.body)?;
    let mut violations = Violations::default();
    let named = Named::of(&shape, &mut violations)?;
    let text = violations.required(&shape, "ShardIterator", shape.text("ShardIterator")?).unwrap_or_default();
    if shape.has("ShardIterator") {
        violations.length("shardIterator", text, 1..=512);
    }
    let limit = shape.integer("Limit")?.unwrap_or(RECORDS_MAX);
    violations.range("limit", limit, 1..=RECORDS_MAX);
    violations.finish()?;
    let invalid = || ApiError::invalid_argument("Invalid ShardIterator.");
    let (stream, iterator) = iterator::open(text, &at.kinesis().streams).ok_or_else(invalid)?;
    if !stream.answers(&at.region) || (named.is_given() && !Arc::ptr_eq(&named.find(at)?, &stream)) {
        return Err(invalid());
    }
    let now = at.operations.clock.now();
    if now.since(iterator.issued_at) > LIFETIME {
        return Err(iterator::expired(iterator.issued_at, now));
    }
    let log = at.log(&stream)?.clone();
    let shard = log.shards().get(iterator.shard).copied();
    let shard = shard.ok_or_else(|| at.no_shard(&shard_id(iterator.shard), &stream))?;
    if !stream.flows.may_read(shard.ix, at.limits()) {
        return Err(ApiError::throughput_exceeded(at.rate_exceeded(shard.ix, &stream)));
    }
    let (bytes_max, _permit) = room(at, iterator.after == log.last())?;
    let records_max = usize::try_from(limit).unwrap_or(1);
    let (from, limits, wire) = (log.clone(), Arc::clone(&at.kinesis().limits), at.wire);
    blocking(move || {
        let read = read(&from, &shard, iterator.after, (bytes_max, records_max))?;
        let bytes = read.records.iter().map(|record| record.data.len()).sum();
        stream.flows.was_read(shard.ix, bytes, &limits);
        Ok(answer(&read, (&stream, &from), &shard, (now, wire)).into())
    })
    .await
}

/// How much may be read, paid for.
fn room(at: &Request, caught_up: bool) -> Result<(usize, Option<SemaphorePermit<'_>>), ApiError> {
    if caught_up {
        return Ok((BYTES_SHORT, None));
    }
    for bytes in [BYTES_MAX, BYTES_SHORT] {
        let cost = u32::try_from(bytes * COST_PER_BYTE).unwrap_or(u32::MAX);
        if let Ok(permit) = at.operations.budget.try_acquire_many(cost) {
            return Ok((bytes, Some(permit)));
        }
    }
    Err(ApiError::throughput_exceeded("There is no memory for this read now; try again after a moment."))
}

/// Begins at the oldest record that is still there if its place was trimmed, also if that happens meanwhile.
fn read(log: &ShardLog, shard: &Shard, after: Option<Lsn>, limits: (usize, usize)) -> Result<Read, ApiError> {
    loop {
        match try_read(log, shard, after.max(floor(shard, log)), limits) {
            Err(ReadError::Trimmed { .. }) => {}
            outcome => return outcome.map_err(|error| unreadable(&error)),
        }
    }
}

fn try_read(log: &ShardLog, shard: &Shard, after: Option<Lsn>, limits: (usize, usize)) -> Result<Read, ReadError> {
    let (bytes_max, records_max) = limits;
    let mut tail = log.shard_tail(shard.ix, after);
    let mut read = Read { records: Vec::new(), after, more: false };
    while !is_end(shard, read.after)
        && let Some(batch) = tail.next(bytes_max, records_max)?
    {
        read.after = Some(batch.through);
        if !batch.records.is_empty() {
            read.records = batch.records;
            break;
        }
    }
    // A look ahead tells the end of the shard from records of other shards.
    while !read.more
        && !is_end(shard, read.after)
        && let Some(batch) = tail.next(1, 1)?
    {
        read.more = !batch.records.is_empty();
        if !read.more {
            read.after = Some(batch.through);
        }
    }
    Ok(read)
}

/// A closed shard has no records behind this place.
pub(super) fn is_end(shard: &Shard, after: Option<Lsn>) -> bool {
    shard.closed.is_some_and(|closed| Lsn::after(after) >= closed.before)
}

fn answer(
    read: &Read,
    (stream, log): (&KinesisStream, &ShardLog),
    shard: &Shard,
    (now, wire): (Timestamp, Wire),
) -> Vec<u8> {
    let shards = log.shards();
    // It may have been closed since, and then nothing more can come.
    let ended = !read.more && is_end(shards.get(shard.ix).unwrap_or(shard), read.after);
    let next = ShardIterator { shard: shard.ix, after: read.after, issued_at: now };
    let behind = read.records.last().filter(|_| read.more).map_or(Duration::ZERO, |last| now.since(last.arrived_at));
    let behind = u64::try_from(behind.as_millis()).unwrap_or(u64::MAX).max(u64::from(read.more));
    let mut answer = Document::open(wire, Vec::with_capacity(room_for(&read.records)));
    give(&read.records, shard, stream.settings().encryption(), &mut answer);
    if !ended {
        answer.member("NextShardIterator").text(&next.seal(stream, log));
    }
    answer.member("MillisBehindLatest").number(behind);
    if ended {
        answer.member("ChildShards").value(&children(shard, &shards));
    }
    answer.finish()
}

/// For an answer that gives these records; about as much as it will have.
pub(super) fn room_for(records: &[Record]) -> usize {
    let around = 256;
    let key = |record: &Record| record.partition_key.as_ref().map_or(0, Bytes::len);
    let each = |record: &Record| record.data.len().div_ceil(3) * 4 + key(record) + around;
    records.iter().map(each).sum::<usize>() + 2 * around
}

/// The member `Records`. Between the log's bytes and those of the answer, data is copied once.
pub(super) fn give(records: &[Record], shard: &Shard, encryption: Option<&str>, to: &mut Document) {
    to.member("Records").open_list();
    for record in records {
        let number = SequenceNumber::new(shard.created_at, shard.ix, record.lsn.get(), record.arrived_at);
        // Every key came in as text.
        let key = record.partition_key.as_deref().and_then(|key| std::str::from_utf8(key).ok()).unwrap_or_default();
        to.open_map();
        if let Some(kind) = encryption {
            to.member("EncryptionType").text(kind);
        }
        to.member("SequenceNumber").text(number.digits().as_str());
        to.member("ApproximateArrivalTimestamp").time(seconds(record.arrived_at), record.arrived_at.as_millis());
        to.member("Data").blob(&record.data);
        to.member("PartitionKey").any_text(key);
        to.close_map();
    }
    to.close_list();
}

pub(super) fn children(shard: &Shard, shards: &ShardMap) -> Value {
    let child = |child: &Shard| {
        let parents: Vec<String> = child.parent.into_iter().chain(child.adjacent_parent).map(shard_id).collect();
        json!({ "ShardId": shard_id(child.ix), "ParentShards": parents, "HashKeyRange": hash_range(&child.range) })
    };
    shards.children(shard.ix).into_iter().filter_map(|ix| shards.get(ix)).map(child).collect()
}
