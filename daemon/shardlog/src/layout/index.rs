//! The sparse index: where to begin to read for an LSN, a time or a shard. Derived from the frames and rebuilt from
//! them when it is missing, so it is never the only way to find a record.
//!
//! ```text
//! index, the body of the last frame of a sealed segment
//!   0  8  latest arrival in the segment, milliseconds since 1970
//!   8  …  stretches of about 1 MiB, in order, 32 bytes each:
//!           0  8  base LSN of its first frame
//!           8  8  byte offset of that frame
//!          16  8  latest arrival in the segment before it, 0 if none
//!          24  8  shards with records in it: bit n is set for the shards whose number modulo 64 is n
//! ```

use hydrant_record::{Lsn, ShardIx, Timestamp};

use super::{FrameHeader, Kind, SEGMENT_HEADER_BYTES, lsn_at, u64_at};

const STRETCH_BYTES: u64 = 1 << 20;
const HEAD_BYTES: usize = 8;
const ENTRY_BYTES: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) base: Lsn,
    pub(crate) offset: u64,
    latest_before: Timestamp,
    shards: u64,
}

impl Stretch {
    /// False only if no frame of the shard is in it.
    pub(crate) fn may_hold(&self, shard: ShardIx) -> bool {
        self.shards & bit(shard) != 0
    }
}

/// Never empty: the first stretch begins behind the segment header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Index {
    latest: Timestamp,
    stretches: Vec<Stretch>,
}

impl Index {
    /// Of a segment without frames.
    pub(crate) fn new(base: Lsn) -> Index {
        let zero = Timestamp::from_millis(0);
        let first = Stretch { base, offset: SEGMENT_HEADER_BYTES as u64, latest_before: zero, shards: 0 };
        Index { latest: zero, stretches: vec![first] }
    }

    /// Takes in the frame at `offset`. Frames come in order.
    pub(crate) fn add(&mut self, frame: &FrameHeader, offset: u64) {
        let last = self.stretches.last_mut().expect("never empty");
        if offset >= last.offset + STRETCH_BYTES {
            self.stretches.push(Stretch { base: frame.base, offset, latest_before: self.latest, shards: 0 });
        }
        if frame.kind == Kind::Records {
            self.stretches.last_mut().expect("never empty").shards |= bit(frame.shard);
            self.latest = self.latest.max(frame.arrived_at);
        }
    }

    /// The latest arrival in the segment; 1970 if it holds no record.
    pub(crate) fn latest(&self) -> Timestamp {
        self.latest
    }

    /// The last stretch that begins at or before a record.
    pub(crate) fn before(&self, lsn: Lsn) -> usize {
        self.stretches.partition_point(|stretch| stretch.base <= lsn).max(1) - 1
    }

    /// The stretch that holds the first record that arrived at `at` or later, if the segment holds one.
    pub(crate) fn at_time(&self, at: Timestamp) -> Option<Stretch> {
        let behind = self.stretches.partition_point(|stretch| stretch.latest_before < at);
        (self.latest >= at).then(|| self.stretches[behind.max(1) - 1])
    }

    pub(crate) fn stretch(&self, index: usize) -> Option<&Stretch> {
        self.stretches.get(index)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_BYTES + ENTRY_BYTES * self.stretches.len());
        out.extend_from_slice(&self.latest.as_millis().to_le_bytes());
        for stretch in &self.stretches {
            out.extend_from_slice(&stretch.base.get().to_le_bytes());
            out.extend_from_slice(&stretch.offset.to_le_bytes());
            out.extend_from_slice(&stretch.latest_before.as_millis().to_le_bytes());
            out.extend_from_slice(&stretch.shards.to_le_bytes());
        }
        out
    }

    /// `None` if this is not an index of a segment that begins at `base`: it is rebuilt then.
    pub(crate) fn decode(body: &[u8], base: Lsn) -> Option<Index> {
        let entries = body.get(HEAD_BYTES..)?;
        if entries.is_empty() || !entries.len().is_multiple_of(ENTRY_BYTES) {
            return None;
        }
        let mut stretches = Vec::with_capacity(entries.len() / ENTRY_BYTES);
        for entry in entries.chunks_exact(ENTRY_BYTES) {
            stretches.push(Stretch {
                base: lsn_at(entry, 0)?,
                offset: u64_at(entry, 8),
                latest_before: Timestamp::from_millis(u64_at(entry, 16)),
                shards: u64_at(entry, 24),
            });
        }
        let first = stretches[0];
        let ascending =
            stretches.windows(2).all(|pair| pair[0].base <= pair[1].base && pair[0].offset < pair[1].offset);
        let begins = first.base == base && first.offset == SEGMENT_HEADER_BYTES as u64;
        (ascending && begins).then(|| Index { latest: Timestamp::from_millis(u64_at(body, 0)), stretches })
    }
}

/// The body of the index of a segment of `capacity` bytes is at most this long.
pub(crate) fn index_bytes_max(capacity: u64) -> usize {
    let stretches = usize::try_from(capacity / STRETCH_BYTES).expect("a segment is limited") + 1;
    HEAD_BYTES + ENTRY_BYTES * stretches
}

fn bit(shard: ShardIx) -> u64 {
    1 << (shard.0 % 64)
}
