//! SubscribeToShard: the records of one shard as they are stored, as events on one answer.
//!
//! Invariant: the next event is made when the one before was taken, so a slow reader is waited for; and what an event continues
//! from is behind all the records that were given, and before all that were not.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use hydrant_record::{Lsn, Record, SequenceNumber};
use hydrant_shardlog::{ReadError, Shard, ShardLog, ShardTail};
use serde_json::Value;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::{Instant, sleep_until};

use super::consumers::ConsumerArn;
use super::get::{children, give, is_end, room_for};
use super::iterator::{self, Start, floor};
use super::model::{parse_shard_id, required_id, shard_id, timestamp};
use super::subscriptions::{End, Refused, Slot};
use super::unsent::Unsent;
use super::{KinesisStream, Request, event_stream};
use crate::ApiError;
use crate::document::Document;
use crate::request::Operations;
use crate::shape::{Shape, Violations};
use crate::wire::Wire;

/// Clients take a silent stream for a dead one.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Between two reads, so that a busy stream is not read for every record alone.
const PAUSE: Duration = Duration::from_millis(10);
/// Data of one event, if one record is not larger.
const EVENT_BYTES: usize = 512 << 10;
const EVENT_RECORDS: usize = 10_000;
const TYPES: [&str; 5] = ["AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER", "TRIM_HORIZON", "LATEST", "AT_TIMESTAMP"];

/// A subscription that is under way.
struct Subscription {
    stream: Arc<KinesisStream>,
    log: ShardLog,
    shard: Shard,
    tail: ShardTail,
    /// The record behind those that were given out, if it was read.
    ahead: Vec<Record>,
    after: Option<Lsn>,
    more: Arc<Notify>,
    slot: Slot,
    ends_at: Instant,
    last_event: Instant,
    last_read: Instant,
    /// The event before has had its time, where there is a limit.
    ready_at: Instant,
    operations: Arc<Operations>,
    wire: Wire,
    unsent: Arc<Unsent>,
    /// Bytes of the event that were not taken yet.
    left: usize,
    last: bool,
}

enum Step {
    Event(Bytes, Option<OwnedSemaphorePermit>),
    Last(Bytes),
    Over,
}

pub(super) async fn subscribe(at: &Request) -> Result<BoxStream<'static, Bytes>, ApiError> {
    let shape = Shape::root(&at.body)?;
    let mut violations = Violations::default();
    let consumer = ConsumerArn::of(&shape, &mut violations)?;
    if !shape.has("ConsumerARN") {
        violations.missing("consumerARN");
    }
    let id = required_id(&shape, "ShardId", &mut violations)?;
    let start = start(&shape, &mut violations)?;
    violations.finish()?;
    let consumer = consumer.ok_or_else(|| ApiError::validation("ConsumerARN must be the ARN of a consumer."))?;
    let (stream, consumer) = consumer.find(at)?;
    let log = at.log(&stream)?.clone();
    let shard = parse_shard_id(id).and_then(|ix| log.shards().get(ix).copied());
    let shard = shard.ok_or_else(|| at.no_shard(id, &stream))?;
    let after = iterator::place(start, &shard, (&stream, &log), at).await?;
    let slot = stream.subscriptions.open(consumer.created_at_ms, shard.ix).map_err(|why| match why {
        Refused::TooSoon => ApiError::in_use(format!(
            "Another active subscription exists for this consumer: {}, shard: {id}; call again 5 seconds after it was made.",
            at.consumer_arn(&stream, &consumer)
        )),
        Refused::Gone => at.no_stream(&stream.name),
    })?;
    // It may have been deregistered meanwhile, when there was nothing yet that could be ended.
    if !stream.settings().consumers.iter().any(|known| known.created_at_ms == consumer.created_at_ms) {
        return Err(at.no_consumer(&consumer.name));
    }
    tracing::debug!(stream = stream.name, consumer = consumer.name, shard = id, "a subscription begins");
    let subscription = Subscription::new((stream, log), shard, after, slot, at);
    Ok(subscription.events().boxed())
}

fn start<'a>(shape: &Shape<'a>, violations: &mut Violations) -> Result<Start<'a>, ApiError> {
    let mut start = Start { operation: "SubscribeToShard", kind: "", number: None, time: None };
    let Some(part) = shape.part("StartingPosition")? else {
        violations.missing("startingPosition");
        return Ok(start);
    };
    if let Some(kind) = violations.required(&part, "Type", part.text("Type")?) {
        violations.choice("startingPosition.type", kind, &TYPES);
        start.kind = kind;
    }
    start.number = part.text("SequenceNumber")?;
    start.time = timestamp(&part, "Timestamp")?;
    start.check(&part.at("SequenceNumber"), violations);
    Ok(start)
}

impl Subscription {
    fn new(
        (stream, log): (Arc<KinesisStream>, ShardLog),
        shard: Shard,
        after: Option<Lsn>,
        slot: Slot,
        at: &Request,
    ) -> Subscription {
        let now = Instant::now();
        let more = Arc::new(Notify::new());
        Subscription {
            tail: tail(&log, &shard, after, &more),
            ahead: Vec::new(),
            after,
            more,
            slot,
            ends_at: now + at.limits().subscription,
            ready_at: now,
            last_event: now,
            last_read: now - PAUSE,
            unsent: at.operations.kinesis.events.unsent(),
            left: 0,
            last: false,
            operations: Arc::clone(&at.operations),
            wire: at.wire,
            stream,
            log,
            shard,
        }
    }

    fn events(self) -> impl futures::Stream<Item = Bytes> + Send {
        let first = event_stream::initial_response(self.wire);
        let rest = stream::unfold(self, |mut live| async move { live.piece().await.map(|piece| (piece, live)) });
        stream::iter([first]).chain(rest)
    }

    /// A piece of the event under way, or of the next one. `None` ends the answer.
    async fn piece(&mut self) -> Option<Bytes> {
        if self.left == 0 {
            if self.last {
                return None;
            }
            let (event, paid) = match self.step().await {
                Step::Event(event, paid) => (event, paid),
                Step::Last(event) => {
                    self.last = true;
                    (event, None)
                }
                Step::Over => return None,
            };
            self.left = event.len();
            self.unsent.put(event, paid);
        }
        let piece = self.unsent.take();
        if piece.is_none() {
            tracing::debug!(stream = self.stream.name, "a subscription was cut off: its reader has stopped reading");
        }
        self.left -= piece.as_ref().map_or(0, Bytes::len);
        piece
    }

    async fn step(&mut self) -> Step {
        loop {
            if let Some(end) = self.slot.ended() {
                return self.end(end);
            }
            if Instant::now() >= self.ends_at {
                return Step::Over;
            }
            if !self.pause().await {
                continue;
            }
            let Some(paid) = self.pay().await else {
                if self.is_silent() {
                    return Step::Event(self.event(&[], None), None);
                }
                continue;
            };
            match self.read().await {
                Ok(records) if !records.is_empty() => {
                    return Step::Event(self.event(&records, None), Some(paid));
                }
                Ok(_) if self.is_end() => {
                    let children = children(&self.shard, &self.log.shards());
                    return Step::Last(self.event(&[], Some(&children)));
                }
                Ok(_) => {
                    drop(paid);
                    if self.wait().await {
                        return Step::Event(self.event(&[], None), None);
                    }
                }
                // What it wanted to read is gone; what is left is read.
                Err(ReadError::Trimmed { .. }) => {
                    let after = self.after.max(floor(&self.shard, &self.log));
                    (self.after, self.tail) = (after, tail(&self.log, &self.shard, after, &self.more));
                }
                Err(error) => {
                    let error = iterator::unreadable(&error);
                    return Step::Last(event_stream::exception("InternalFailureException", &error.message, self.wire));
                }
            }
        }
    }

    /// Keeps to the limit of this subscription. False if something else must be looked at first.
    async fn pause(&mut self) -> bool {
        let until = self.ready_at.min(self.ends_at);
        if until <= Instant::now() {
            return true;
        }
        tokio::select! {
            () = sleep_until(until) => until < self.ends_at,
            _ = self.slot.end() => false,
        }
    }

    /// For one event. `None` if something else must be looked at first.
    async fn pay(&mut self) -> Option<OwnedSemaphorePermit> {
        let events = &self.operations.kinesis.events;
        let heartbeat = self.last_event + HEARTBEAT;
        tokio::select! {
            paid = events.pay() => paid,
            _ = self.slot.end() => None,
            () = sleep_until(heartbeat.min(self.ends_at)) => None,
        }
    }

    fn is_silent(&self) -> bool {
        Instant::now() >= self.last_event + HEARTBEAT
    }

    /// The next records, none when caught up; and looks ahead, which tells how far behind the reader is.
    async fn read(&mut self) -> Result<Vec<Record>, ReadError> {
        sleep_until(self.last_read + PAUSE).await;
        let first = std::mem::take(&mut self.ahead);
        let (log, shard, more) = (self.log.clone(), self.shard, Arc::clone(&self.more));
        let after = self.after;
        // A tail that did not come back, because reading panicked, is made anew.
        let mut reader = std::mem::replace(&mut self.tail, self.log.shard_tail(self.shard.ix, after));
        let running = tokio::task::spawn_blocking(move || {
            let read = next(&mut reader, EVENT_BYTES, first);
            // The error of looking ahead comes again when it is its turn.
            let ahead = if read.as_ref().is_ok_and(|records| !records.is_empty()) {
                next(&mut reader, 1, Vec::new()).unwrap_or_default()
            } else {
                Vec::new()
            };
            (read, ahead, reader)
        });
        let Ok((read, ahead, reader)) = running.await else {
            self.tail = tail(&log, &shard, after, &more);
            return Ok(Vec::new());
        };
        self.tail = reader;
        self.last_read = Instant::now();
        let records = read?;
        let behind = if ahead.is_empty() { self.tail.position() } else { records.last().map(|record| record.lsn) };
        self.after = behind.max(self.after);
        self.ahead = ahead;
        Ok(records)
    }

    /// True if it is time for a sign of life.
    async fn wait(&mut self) -> bool {
        let heartbeat = self.last_event + HEARTBEAT;
        tokio::select! {
            () = self.more.notified() => false,
            _ = self.slot.end() => false,
            () = sleep_until(heartbeat.min(self.ends_at)) => heartbeat < self.ends_at,
        }
    }

    fn is_end(&self) -> bool {
        // A shard that has expired meanwhile was closed before.
        self.log.shards().get(self.shard.ix).is_none_or(|shard| is_end(shard, self.after))
    }

    fn event(&mut self, records: &[Record], children: Option<&Value>) -> Bytes {
        self.last_event = Instant::now();
        if let Some(rate) = self.operations.kinesis.limits.shard_bytes_out {
            let bytes: usize = records.iter().map(|record| record.data.len()).sum();
            self.ready_at = self.last_event + Duration::from_micros(bytes as u64 * 1_000_000 / rate);
        }
        let now = self.operations.clock.now();
        let behind = records.last().filter(|_| !self.ahead.is_empty()).map(|last| now.since(last.arrived_at));
        // One that could not even read is behind, and nobody knows how far.
        let waiting = records.is_empty() && children.is_none() && self.log.last() > self.after;
        let behind =
            behind.map_or(u64::from(waiting), |behind| u64::try_from(behind.as_millis()).unwrap_or(u64::MAX).max(1));
        let (created, ix) = (self.shard.created_at, self.shard.ix);
        let number = SequenceNumber::new(created, ix, self.after.map_or(0, Lsn::get), now);
        let encryption = self.stream.settings().encryption();
        event_stream::event("SubscribeToShardEvent", self.wire, room_for(records), |frame| {
            let mut event = Document::open(self.wire, frame);
            give(records, &self.shard, encryption, &mut event);
            if children.is_none() {
                event.member("ContinuationSequenceNumber").text(number.digits().as_str());
            }
            event.member("MillisBehindLatest").number(behind);
            if let Some(children) = children {
                event.member("ChildShards").value(children);
            }
            event.finish()
        })
    }

    fn end(&self, why: End) -> Step {
        let shard = shard_id(self.shard.ix);
        let (code, text) = match why {
            End::TakenOver => ("ResourceInUseException", format!("The consumer has subscribed to {shard} again.")),
            End::Gone => ("ResourceNotFoundException", "The stream or its consumer was deleted.".to_owned()),
        };
        Step::Last(event_stream::exception(code, &text, self.wire))
    }
}

fn tail(log: &ShardLog, shard: &Shard, after: Option<Lsn>, more: &Arc<Notify>) -> ShardTail {
    let mut tail = log.shard_tail(shard.ix, after);
    let more = Arc::clone(more);
    tail.on_more(Arc::new(move || more.notify_one()));
    tail
}

/// More records behind the first, about so many bytes of data, after those of other shards were passed. Reads disk.
fn next(tail: &mut ShardTail, bytes_max: usize, mut records: Vec<Record>) -> Result<Vec<Record>, ReadError> {
    let had = records.iter().map(|record| record.data.len()).sum::<usize>();
    while let Some(batch) = tail.next(bytes_max.saturating_sub(had), EVENT_RECORDS)? {
        if !batch.records.is_empty() {
            records.extend(batch.records);
            break;
        }
    }
    Ok(records)
}
