//! The header of a frame: everything that is written after the segment header is a frame or the footer.
//!
//! ```text
//! frame header, 64 bytes
//!   0  4  magic "HFRM"                               48  4  shard; 0 where the kind has none
//!   4  4  CRC32C of the salt and bytes 8..64         52  4  count of records; 0 in all kinds but 1
//!   8  4  body length, at most 64 MiB                56  4  chain: CRC of the previous header in the segment
//!  12  4  CRC32C of the salt and the body            60  1  kind: 1 records, 2 shards, 3 lost, 4 index
//!  16  8  base LSN: of its first record, or next     61  1  compression of the body: 0 none, 1 lz4, 2 zstd
//!  24  4  durable position: segment number           62  1  1 if it was put over damage: the chain begins anew
//!  28  4  durable position: byte offset              63  1  zero
//!  32  8  arrival, milliseconds since 1970
//!  40  8  commit number, from 1 in each segment
//! ```

use hydrant_record::{Lsn, ShardIx, Timestamp};

use super::body::RECORD_HEADER_BYTES;
use super::{BODY_BYTES_MAX, FRAME_HEADER_BYTES, Fault, LSN_MAX, aligned, crc, lsn_at, u32_at, u64_at};
use crate::Compression;

const FRAME_MAGIC: &[u8; 4] = b"HFRM";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Records of one shard. The only kind that takes LSNs.
    Records = 1,
    /// The whole map of shards, from here on.
    Shards = 2,
    /// A range of LSNs that an operator has given up, in the place of the bytes that could not be read.
    Lost = 3,
    /// The sparse index of the segment, derived.
    Index = 4,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) kind: Kind,
    pub(crate) compression: Compression,
    pub(crate) body_bytes: u32,
    pub(crate) body_crc: u32,
    pub(crate) base: Lsn,
    pub(crate) durable_segment: u32,
    pub(crate) durable_offset: u32,
    pub(crate) arrived_at: Timestamp,
    pub(crate) commit: u64,
    pub(crate) shard: ShardIx,
    pub(crate) count: u32,
    pub(crate) chain: u32,
    /// It stands over damage: what follows is chained to a header that is gone.
    pub(crate) mends: bool,
}

impl FrameHeader {
    pub(crate) fn encode(&self, salt: u64) -> [u8; FRAME_HEADER_BYTES] {
        let mut out = [0; FRAME_HEADER_BYTES];
        out[..4].copy_from_slice(FRAME_MAGIC);
        out[8..12].copy_from_slice(&self.body_bytes.to_le_bytes());
        out[12..16].copy_from_slice(&self.body_crc.to_le_bytes());
        out[16..24].copy_from_slice(&self.base.get().to_le_bytes());
        out[24..28].copy_from_slice(&self.durable_segment.to_le_bytes());
        out[28..32].copy_from_slice(&self.durable_offset.to_le_bytes());
        out[32..40].copy_from_slice(&self.arrived_at.as_millis().to_le_bytes());
        out[40..48].copy_from_slice(&self.commit.to_le_bytes());
        out[48..52].copy_from_slice(&self.shard.0.to_le_bytes());
        out[52..56].copy_from_slice(&self.count.to_le_bytes());
        out[56..60].copy_from_slice(&self.chain.to_le_bytes());
        out[60] = self.kind as u8;
        out[61] = self.compression as u8;
        out[62] = u8::from(self.mends);
        let sum = crc(salt, &out[8..]);
        out[4..8].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// Checks everything but the body, and every length before anybody allocates by it.
    pub(crate) fn decode(bytes: &[u8], salt: u64) -> Result<FrameHeader, Fault> {
        if bytes.len() != FRAME_HEADER_BYTES || &bytes[..4] != FRAME_MAGIC {
            return Err(Fault::Damaged("no frame header"));
        }
        if u32_at(bytes, 4) != crc(salt, &bytes[8..]) {
            return Err(Fault::Damaged("the checksum of the frame header does not match"));
        }
        let header = FrameHeader {
            kind: kind(bytes[60])?,
            compression: compression(bytes[61])?,
            body_bytes: u32_at(bytes, 8),
            body_crc: u32_at(bytes, 12),
            base: lsn_at(bytes, 16).ok_or(Fault::Damaged("the frame has no base LSN"))?,
            durable_segment: u32_at(bytes, 24),
            durable_offset: u32_at(bytes, 28),
            arrived_at: Timestamp::from_millis(u64_at(bytes, 32)),
            commit: u64_at(bytes, 40),
            shard: ShardIx(u32_at(bytes, 48)),
            count: u32_at(bytes, 52),
            chain: u32_at(bytes, 56),
            mends: mends(bytes[62])?,
        };
        if header.possible() {
            Ok(header)
        } else {
            Err(Fault::Damaged("the lengths in the frame header are impossible"))
        }
    }

    fn possible(&self) -> bool {
        let (bytes, count) = (self.body_bytes as usize, self.count as usize);
        // What a compressed body unfolds to is limited where it is unfolded.
        let counted = match (self.kind, self.compression) {
            (Kind::Records, Compression::None) => count > 0 && count <= bytes / RECORD_HEADER_BYTES,
            (Kind::Records, _) => count > 0 && count <= BODY_BYTES_MAX / RECORD_HEADER_BYTES,
            (_, compression) => count == 0 && compression == Compression::None,
        };
        bytes <= BODY_BYTES_MAX && counted && self.next().get() <= LSN_MAX
    }

    /// Header, body and the zeros that align the next frame.
    pub(crate) fn whole_bytes(&self) -> u64 {
        frame_bytes(self.body_bytes as usize)
    }

    /// The LSN after its last record. What a LOST frame skips stands in its body.
    pub(crate) fn next(&self) -> Lsn {
        self.base.plus(u64::from(self.count))
    }

    pub(crate) fn body_matches(&self, salt: u64, body: &[u8]) -> bool {
        body.len() == self.body_bytes as usize && crc(salt, body) == self.body_crc
    }
}

/// What a frame with such a body takes.
pub(crate) fn frame_bytes(body: usize) -> u64 {
    aligned(FRAME_HEADER_BYTES + body)
}

fn kind(byte: u8) -> Result<Kind, Fault> {
    match byte {
        1 => Ok(Kind::Records),
        2 => Ok(Kind::Shards),
        3 => Ok(Kind::Lost),
        4 => Ok(Kind::Index),
        _ => Err(Fault::Newer("frame kind")),
    }
}

fn mends(byte: u8) -> Result<bool, Fault> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Fault::Newer("frame flag")),
    }
}

fn compression(byte: u8) -> Result<Compression, Fault> {
    match byte {
        0 => Ok(Compression::None),
        1 => Ok(Compression::Lz4),
        2 => Ok(Compression::Zstd),
        _ => Err(Fault::Newer("compression")),
    }
}
