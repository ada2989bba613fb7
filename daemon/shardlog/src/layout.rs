//! What the bytes on disk mean. All numbers are little-endian.
//!
//! Invariant: every structure carries a CRC32C that starts from the salt of its own segment, so bytes of another
//! segment, or an older life of the same blocks, never pass for bytes of this one.
//!
//! ```text
//! segment   | header 4096 | frame | frame | … | footer 64 (sealed only) | zeros up to the prepared length |
//!           frames begin at multiples of 64; the bytes between a body and the next frame are zero
//!
//! segment header, 4096 bytes                          frame header, 64 bytes
//!   0  8  magic "HYDRSEG\0"                             0  4  magic "HFRM"
//!   8  2  format version, 1                             4  4  CRC32C of the salt and bytes 8..64
//!  10  6  zero                                          8  4  body length
//!  16 16  log id                                       12  4  CRC32C of the salt and the body
//!  32  8  salt                                         16  8  base LSN: of its first record
//!  40  8  epoch                                        24  4  durable position: segment number
//!  48  8  base LSN: of its first record                28  4  durable position: byte offset
//!  56  4  segment number                               32  8  arrival, milliseconds since 1970
//!  60  4  number of the previous segment, 0 if none    40  8  commit number, from 1 in each segment
//!  64  8  verified end of the previous segment         48  4  shard
//!  72  …  zero                                         52  4  count of records
//! 4092 4  CRC32C of the salt and bytes 0..4092         56  4  chain: CRC of the previous header in the segment
//!                                                      60  1  kind: 1 records
//! footer, 64 bytes                                     61  1  flags: 0
//!   0  8  magic "HYDREND\0"                            62  2  zero
//!   8  8  salt
//!  16  8  its own offset                             record, in the body of a frame
//!  24  8  LSN after the last record                    0  2  partition key length
//!  32  4  segment number                               2  4  data length
//!  36  4  chain: CRC of the last header                6  1  hash key kind: 0 no partition key, 1 MD5 of the partition key
//!  40  1  reason: 1 rolled, 2 closed                   7  …  partition key, then data
//!  41 19  zero
//!  60  4  CRC32C of the salt and bytes 0..60
//! ```

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};
use hydrant_record::{Epoch, LogId, Lsn, NewRecord, Record, ShardIx, Timestamp};

pub(crate) const VERSION: u16 = 1;
pub(crate) const SEGMENT_HEADER_BYTES: usize = 4096;
pub(crate) const FRAME_HEADER_BYTES: usize = 64;
pub(crate) const FOOTER_BYTES: usize = 64;
/// Frames begin at multiples of this, which makes the search for a later frame cheap.
pub(crate) const ALIGN: u64 = 64;
/// A frame is cut before it grows past this.
pub(crate) const BODY_BYTES_TARGET: usize = 8 << 20;
/// A frame of one record may be this long; a longer one was never written.
pub(crate) const BODY_BYTES_MAX: usize = 64 << 20;
const RECORD_HEADER_BYTES: usize = 7;
const KIND_RECORDS: u8 = 1;

const SEGMENT_MAGIC: &[u8; 8] = b"HYDRSEG\0";
const FRAME_MAGIC: &[u8; 4] = b"HFRM";
const FOOTER_MAGIC: &[u8; 8] = b"HYDREND\0";

/// Why bytes are not what should stand there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Damaged(&'static str),
    /// Whole, but written by a newer version.
    Newer(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) log_id: LogId,
    pub(crate) salt: u64,
    pub(crate) epoch: Epoch,
    pub(crate) base: Lsn,
    pub(crate) number: u32,
    pub(crate) previous: u32,
    pub(crate) previous_end: u64,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut out = [0; SEGMENT_HEADER_BYTES];
        out[..8].copy_from_slice(SEGMENT_MAGIC);
        out[8..10].copy_from_slice(&VERSION.to_le_bytes());
        out[16..32].copy_from_slice(&self.log_id.0);
        out[32..40].copy_from_slice(&self.salt.to_le_bytes());
        out[40..48].copy_from_slice(&self.epoch.0.to_le_bytes());
        out[48..56].copy_from_slice(&self.base.get().to_le_bytes());
        out[56..60].copy_from_slice(&self.number.to_le_bytes());
        out[60..64].copy_from_slice(&self.previous.to_le_bytes());
        out[64..72].copy_from_slice(&self.previous_end.to_le_bytes());
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
        Ok(SegmentHeader {
            log_id: LogId(log_id),
            salt,
            epoch: Epoch(u64_at(bytes, 40)),
            base: Lsn::new(u64_at(bytes, 48)).ok_or(Fault::Damaged("the segment header has no base LSN"))?,
            number: u32_at(bytes, 56),
            previous: u32_at(bytes, 60),
            previous_end: u64_at(bytes, 64),
        })
    }

    /// What the first frame is chained to.
    pub(crate) fn chain(&self) -> u32 {
        u32_at(&self.encode(), 4092)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
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
        out[60] = KIND_RECORDS;
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
        if bytes[60] != KIND_RECORDS || bytes[61] != 0 {
            return Err(Fault::Newer("frame kind or flags"));
        }
        let header = FrameHeader {
            body_bytes: u32_at(bytes, 8),
            body_crc: u32_at(bytes, 12),
            base: Lsn::new(u64_at(bytes, 16)).ok_or(Fault::Damaged("the frame has no base LSN"))?,
            durable_segment: u32_at(bytes, 24),
            durable_offset: u32_at(bytes, 28),
            arrived_at: Timestamp::from_millis(u64_at(bytes, 32)),
            commit: u64_at(bytes, 40),
            shard: ShardIx(u32_at(bytes, 48)),
            count: u32_at(bytes, 52),
            chain: u32_at(bytes, 56),
        };
        let (bytes, count) = (header.body_bytes as usize, header.count as usize);
        if bytes > BODY_BYTES_MAX || count == 0 || count > bytes / RECORD_HEADER_BYTES {
            return Err(Fault::Damaged("the lengths in the frame header are impossible"));
        }
        Ok(header)
    }

    /// Header, body and the zeros that align the next frame.
    pub(crate) fn whole_bytes(&self) -> u64 {
        aligned(FRAME_HEADER_BYTES + self.body_bytes as usize)
    }

    /// The LSN after its last record.
    pub(crate) fn next(&self) -> Lsn {
        self.base.plus(u64::from(self.count))
    }

    pub(crate) fn body_matches(&self, salt: u64, body: &[u8]) -> bool {
        body.len() == self.body_bytes as usize && crc(salt, body) == self.body_crc
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
        let sealed = match bytes.get(40)? {
            1 => Sealed::Rolled,
            2 => Sealed::Closed,
            _ => return None,
        };
        whole.then_some(Footer { offset, next: Lsn::new(u64_at(bytes, 24))?, number, chain: u32_at(bytes, 36), sealed })
    }
}

/// The next run of records that makes one frame: of one shard, and not over the target unless it is a single record.
pub(crate) fn frame_run(records: &[NewRecord]) -> (&[NewRecord], usize) {
    let mut bytes = 0;
    let mut count = 0;
    for record in records {
        let more = record_bytes(record);
        if count > 0 && (record.shard != records[0].shard || bytes + more > BODY_BYTES_TARGET) {
            break;
        }
        bytes += more;
        count += 1;
    }
    (&records[..count], bytes)
}

/// Bytes that these records take in a segment, framed.
pub(crate) fn framed_bytes(mut records: &[NewRecord]) -> u64 {
    let mut total = 0;
    while !records.is_empty() {
        let (run, body) = frame_run(records);
        total += aligned(FRAME_HEADER_BYTES + body);
        records = &records[run.len()..];
    }
    total
}

/// The longest record that a frame can hold, with its key.
pub(crate) fn storable(record: &NewRecord) -> bool {
    let key = record.partition_key.as_ref().map_or(0, Bytes::len);
    u16::try_from(key).is_ok() && record_bytes(record) <= BODY_BYTES_MAX
}

pub(crate) fn encode_record(record: &NewRecord, out: &mut Vec<u8>) {
    let key = record.partition_key.as_deref().unwrap_or_default();
    let key_bytes = u16::try_from(key.len()).expect("checked when it was submitted");
    let data_bytes = u32::try_from(record.data.len()).expect("checked when it was submitted");
    out.extend_from_slice(&key_bytes.to_le_bytes());
    out.extend_from_slice(&data_bytes.to_le_bytes());
    out.push(u8::from(record.partition_key.is_some()));
    out.extend_from_slice(key);
    out.extend_from_slice(&record.data);
}

/// The records of a frame whose body was found whole, as slices of it.
pub(crate) fn decode_records(
    header: &FrameHeader,
    epoch: Epoch,
    mut body: Bytes,
    mut out: impl FnMut(Record),
) -> Result<(), &'static str> {
    for index in 0..u64::from(header.count) {
        if body.len() < RECORD_HEADER_BYTES {
            return Err("a record ends past its frame");
        }
        let head = body.split_to(RECORD_HEADER_BYTES);
        let key_bytes = usize::from(u16::from_le_bytes([head[0], head[1]]));
        let data_bytes = u32_at(&head, 2) as usize;
        if body.len() < key_bytes + data_bytes {
            return Err("a record ends past its frame");
        }
        let key = body.split_to(key_bytes);
        let partition_key = match head[6] {
            0 if key.is_empty() => None,
            1 => Some(key),
            _ => return Err("a record has an unknown kind of hash key"),
        };
        out(Record {
            lsn: header.base.plus(index),
            epoch,
            shard: header.shard,
            arrived_at: header.arrived_at,
            partition_key,
            data: body.split_to(data_bytes),
        });
    }
    if body.is_empty() { Ok(()) } else { Err("a frame has bytes after its last record") }
}

pub(crate) fn aligned(bytes: usize) -> u64 {
    (bytes as u64).next_multiple_of(ALIGN)
}

pub(crate) fn crc(salt: u64, bytes: &[u8]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(&salt.to_le_bytes());
    digest.update(bytes);
    u32::try_from(digest.finalize()).expect("a CRC32C has 32 bits")
}

fn record_bytes(record: &NewRecord) -> usize {
    RECORD_HEADER_BYTES + record.partition_key.as_ref().map_or(0, Bytes::len) + record.data.len()
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    let mut field = [0; 4];
    field.copy_from_slice(&bytes[offset..offset + 4]);
    u32::from_le_bytes(field)
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    let mut field = [0; 8];
    field.copy_from_slice(&bytes[offset..offset + 8]);
    u64::from_le_bytes(field)
}

#[cfg(test)]
mod tests;
