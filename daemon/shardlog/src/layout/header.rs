//! Both ends of a segment.
//!
//! ```text
//! segment header, 4096 bytes                          footer, 64 bytes
//!   0  8  magic "HYDRSEG\0"                             0  8  magic "HYDREND\0"
//!   8  2  format version, 1                             8  8  salt
//!  10  1  1 if the blocks had an earlier life          16  8  its own offset
//!  11  5  zero                                         24  8  LSN after the last record
//!  16 16  log id                                       32  4  segment number
//!  32  8  salt                                         36  4  chain: CRC of the last header
//!  40  8  epoch                                        40  1  reason: 1 rolled, 2 closed
//!  48  8  base LSN: of its first record                41  7  zero
//!  56  4  segment number                               48  8  end of the last frame before the index
//!  60  4  number of the previous segment, 0 if none    56  4  zero
//!  64  8  verified end of the previous segment         60  4  CRC32C of the salt and bytes 0..60
//!  72  8  first kept LSN: where the log began when this segment was made
//!  80  4  first kept segment number: of the segment that begins there
//!  84  …  zero
//! 4092 4  CRC32C of the salt and bytes 0..4092
//! ```

use hydrant_record::{Epoch, LogId, Lsn};

use super::{FOOTER_BYTES, Fault, SEGMENT_BYTES_MAX, SEGMENT_HEADER_BYTES, VERSION, crc, lsn_at, u32_at, u64_at};

const SEGMENT_MAGIC: &[u8; 8] = b"HYDRSEG\0";
const FOOTER_MAGIC: &[u8; 8] = b"HYDREND\0";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// Behind the last frame there may be bytes of an earlier life instead of zeros.
    pub(crate) recycled: bool,
    pub(crate) log_id: LogId,
    pub(crate) salt: u64,
    pub(crate) epoch: Epoch,
    pub(crate) base: Lsn,
    pub(crate) number: u32,
    pub(crate) previous: u32,
    pub(crate) previous_end: u64,
    /// Segments with lower numbers, and the records before this LSN, were trimmed before this segment was made.
    pub(crate) kept: (Lsn, u32),
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut out = [0; SEGMENT_HEADER_BYTES];
        out[..8].copy_from_slice(SEGMENT_MAGIC);
        out[8..10].copy_from_slice(&VERSION.to_le_bytes());
        out[10] = u8::from(self.recycled);
        out[16..32].copy_from_slice(&self.log_id.0);
        out[32..40].copy_from_slice(&self.salt.to_le_bytes());
        out[40..48].copy_from_slice(&self.epoch.0.to_le_bytes());
        out[48..56].copy_from_slice(&self.base.get().to_le_bytes());
        out[56..60].copy_from_slice(&self.number.to_le_bytes());
        out[60..64].copy_from_slice(&self.previous.to_le_bytes());
        out[64..72].copy_from_slice(&self.previous_end.to_le_bytes());
        out[72..80].copy_from_slice(&self.kept.0.get().to_le_bytes());
        out[80..84].copy_from_slice(&self.kept.1.to_le_bytes());
        let sum = crc(self.salt, &out[..4092]);
        out[4092..].copy_from_slice(&sum.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<SegmentHeader, Fault> {
        if bytes.len() != SEGMENT_HEADER_BYTES || &bytes[..8] != SEGMENT_MAGIC {
            return Err(Fault::Damaged("no segment header"));
        }
        let salt = u64_at(bytes, 32);
        if u32_at(bytes, 4092) != crc(salt, &bytes[..4092]) {
            return Err(Fault::Damaged("the checksum of the segment header does not match"));
        }
        if bytes[8..10] != VERSION.to_le_bytes() {
            return Err(Fault::Newer("format version"));
        }
        let mut log_id = [0; 16];
        log_id.copy_from_slice(&bytes[16..32]);
        let lsn = |at| lsn_at(bytes, at).ok_or(Fault::Damaged("the segment header has no LSN"));
        let header = SegmentHeader {
            recycled: bytes[10] != 0,
            log_id: LogId(log_id),
            salt,
            epoch: Epoch(u64_at(bytes, 40)),
            base: lsn(48)?,
            number: u32_at(bytes, 56),
            previous: u32_at(bytes, 60),
            previous_end: u64_at(bytes, 64),
            kept: (lsn(72)?, u32_at(bytes, 80)),
        };
        let follows = header.previous < header.number && header.previous_end <= SEGMENT_BYTES_MAX;
        if follows && header.kept.0 <= header.base && header.kept.1 <= header.number {
            Ok(header)
        } else {
            Err(Fault::Damaged("the segment header contradicts itself"))
        }
    }

    /// What the first frame is chained to.
    pub(crate) fn chain(&self) -> u32 {
        u32_at(&self.encode(), 4092)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sealed {
    /// The next segment was durable before this footer was written.
    Rolled = 1,
    /// A clean stop.
    Closed = 2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) offset: u64,
    /// All frames before this were synced before the footer was written; the index, which follows, was not.
    pub(crate) frames_end: u64,
    pub(crate) next: Lsn,
    pub(crate) number: u32,
    pub(crate) chain: u32,
    pub(crate) sealed: Sealed,
}

impl Footer {
    pub(crate) fn encode(&self, salt: u64) -> [u8; FOOTER_BYTES] {
        let mut out = [0; FOOTER_BYTES];
        out[..8].copy_from_slice(FOOTER_MAGIC);
        out[8..16].copy_from_slice(&salt.to_le_bytes());
        out[16..24].copy_from_slice(&self.offset.to_le_bytes());
        out[24..32].copy_from_slice(&self.next.get().to_le_bytes());
        out[32..36].copy_from_slice(&self.number.to_le_bytes());
        out[36..40].copy_from_slice(&self.chain.to_le_bytes());
        out[40] = self.sealed as u8;
        out[48..56].copy_from_slice(&self.frames_end.to_le_bytes());
        let sum = crc(salt, &out[..60]);
        out[60..].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// The footer of segment `number` at `offset`, if one stands there.
    pub(crate) fn decode(bytes: &[u8], salt: u64, number: u32, offset: u64) -> Option<Footer> {
        let whole = bytes.len() == FOOTER_BYTES
            && &bytes[..8] == FOOTER_MAGIC
            && u64_at(bytes, 8) == salt
            && u64_at(bytes, 16) == offset
            && u32_at(bytes, 32) == number
            && u32_at(bytes, 60) == crc(salt, &bytes[..60]);
        if !whole {
            return None;
        }
        let sealed = match bytes[40] {
            1 => Sealed::Rolled,
            2 => Sealed::Closed,
            _ => return None,
        };
        let (frames_end, next) = (u64_at(bytes, 48), lsn_at(bytes, 24)?);
        Some(Footer { offset, frames_end, next, number, chain: u32_at(bytes, 36), sealed })
    }
}
