//! Puts the frames of one commit together.
//!
//! Invariant: a frame holds records of one shard in the order of their LSNs; within a submission the records of one
//! shard keep the order in which they were given.

use hydrant_record::{Epoch, Lsn, NewRecord, Placement, ShardIx, Timestamp};

use crate::layout::{ALIGN, BODY_BYTES_TARGET, FRAME_HEADER_BYTES, FrameHeader, Kind, Lost};
use crate::layout::{compress, crc, encode_record, record_bytes};
use crate::shards::ShardMap;
use crate::{Appended, Compression};

/// A record and the shard that it goes to.
pub(crate) type Placed<'a> = (ShardIx, &'a NewRecord);

/// Where one submission went.
pub(crate) struct Place {
    first: Lsn,
    count: u64,
    shard: ShardIx,
    scattered: Vec<(ShardIx, Lsn)>,
}

impl Place {
    pub(crate) fn appended(self, epoch: Epoch, arrived_at: Timestamp) -> Appended {
        let last = self.first.plus(self.count - 1);
        Appended { first: self.first, last, epoch, arrived_at, shard: self.shard, scattered: self.scattered }
    }
}

/// Gives each record its shard and, by its position in the result, its LSN from `next` on.
pub(crate) fn place<'a>(members: &'a [Vec<NewRecord>], shards: &ShardMap, next: Lsn) -> (Vec<Placed<'a>>, Vec<Place>) {
    let only = shards.first_open();
    let undivided = shards.open().nth(1).is_none();
    let shard_of = |record: &NewRecord| match record.placement {
        Placement::Hash(hash) if !undivided => shards.route(hash),
        _ => only,
    };
    let mut records: Vec<Placed<'a>> = Vec::with_capacity(members.iter().map(Vec::len).sum());
    let mut places = Vec::with_capacity(members.len());
    for member in members {
        let (start, first) = (records.len(), next.plus(records.len() as u64));
        records.extend(member.iter().map(|record| (shard_of(record), record)));
        let placed = &mut records[start..];
        let shard = placed[0].0;
        let mut scattered = Vec::new();
        if placed.iter().any(|(other, _)| *other != shard) {
            scattered = scatter(placed, first);
        }
        places.push(Place { first, count: member.len() as u64, shard, scattered });
    }
    (records, places)
}

/// Sorts by shard, and says for each record as it was given where it went.
fn scatter(placed: &mut [Placed<'_>], first: Lsn) -> Vec<(ShardIx, Lsn)> {
    let mut order: Vec<usize> = (0..placed.len()).collect();
    order.sort_by_key(|index| placed[*index].0);
    let mut went = vec![(ShardIx(0), first); placed.len()];
    for (position, index) in order.iter().enumerate() {
        went[*index] = (placed[*index].0, first.plus(position as u64));
    }
    placed.sort_by_key(|(shard, _)| *shard);
    went
}

/// Records that make one frame.
pub(crate) struct Run<'r, 'a> {
    pub(crate) records: &'r [Placed<'a>],
    pub(crate) body_bytes: usize,
}

/// Cuts records into frames: of one shard, and not over the target unless it is a single record.
pub(crate) fn runs<'r, 'a>(mut records: &'r [Placed<'a>]) -> impl Iterator<Item = Run<'r, 'a>> {
    std::iter::from_fn(move || {
        let shard = records.first()?.0;
        let (mut body_bytes, mut count) = (0, 0);
        for (other, record) in records {
            let more = record_bytes(record);
            if *other != shard || (count > 0 && body_bytes + more > BODY_BYTES_TARGET) {
                break;
            }
            body_bytes += more;
            count += 1;
        }
        let (run, rest) = records.split_at(count);
        records = rest;
        Some(Run { records: run, body_bytes })
    })
}

/// What all frames of one commit share.
pub(crate) struct Stamp {
    pub(crate) salt: u64,
    /// Segment and offset: all before it is synced.
    pub(crate) durable: (u32, u64),
    pub(crate) now: Timestamp,
    pub(crate) commit: u64,
    pub(crate) compression: Compression,
    pub(crate) mends: bool,
}

/// Frames, one behind the other, at the end of a buffer.
pub(crate) struct Frames<'b> {
    buffer: &'b mut Vec<u8>,
    stamp: Stamp,
    next: Lsn,
    chain: u32,
    written: Vec<(FrameHeader, u64)>,
}

impl<'b> Frames<'b> {
    /// `next` is the LSN of the first record, `chain` the CRC of the header before.
    pub(crate) fn new(buffer: &'b mut Vec<u8>, stamp: Stamp, (next, chain): (Lsn, u32)) -> Frames<'b> {
        Frames { buffer, stamp, next, chain, written: Vec::new() }
    }

    pub(crate) fn records(&mut self, run: &Run<'_, '_>) {
        let start = self.begin(run.body_bytes);
        for (_, record) in run.records {
            encode_record(record, self.buffer);
        }
        let compression = compress(self.stamp.compression, self.buffer, start + FRAME_HEADER_BYTES);
        let count = u32::try_from(run.records.len()).expect("a body is limited");
        self.end(start, (Kind::Records, compression), (run.records[0].0, count));
    }

    /// A frame that takes no LSN.
    pub(crate) fn control(&mut self, kind: Kind, body: &[u8]) {
        let start = self.begin(body.len());
        self.buffer.extend_from_slice(body);
        self.end(start, (kind, Compression::None), (ShardIx(0), 0));
    }

    /// A frame that stands for lost records, with a body of this length.
    pub(crate) fn lost(&mut self, lost: Lost, body_bytes: usize) {
        self.control(Kind::Lost, &lost.encode(body_bytes));
        self.next = lost.next;
    }

    /// Bytes so far.
    pub(crate) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// The LSN and the chain for what comes next, and each frame with its offset in the buffer.
    pub(crate) fn finish(self) -> (Lsn, u32, Vec<(FrameHeader, u64)>) {
        (self.next, self.chain, self.written)
    }

    fn begin(&mut self, body_bytes: usize) -> usize {
        let start = self.buffer.len();
        self.buffer.reserve(FRAME_HEADER_BYTES + body_bytes + usize::try_from(ALIGN).expect("64"));
        self.buffer.resize(start + FRAME_HEADER_BYTES, 0);
        start
    }

    fn end(&mut self, start: usize, (kind, compression): (Kind, Compression), (shard, count): (ShardIx, u32)) {
        let body = &self.buffer[start + FRAME_HEADER_BYTES..];
        let frame = FrameHeader {
            kind,
            compression,
            body_bytes: u32::try_from(body.len()).expect("a body is limited"),
            body_crc: crc(self.stamp.salt, body),
            base: self.next,
            durable_segment: self.stamp.durable.0,
            durable_offset: u32::try_from(self.stamp.durable.1).unwrap_or(u32::MAX),
            arrived_at: self.stamp.now,
            commit: self.stamp.commit,
            shard,
            count,
            chain: self.chain,
            mends: self.stamp.mends,
        };
        let header = frame.encode(self.stamp.salt);
        self.buffer[start..start + FRAME_HEADER_BYTES].copy_from_slice(&header);
        let whole = start + usize::try_from(frame.whole_bytes()).expect("fits in memory");
        self.buffer.resize(whole, 0);
        self.chain = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
        self.next = frame.next();
        self.written.push((frame, start as u64));
    }
}
