//! What a frame holds.
//!
//! ```text
//! record, `count` of them without gaps                lost
//!   0  2  partition key length                          0  8  first LSN that was given up
//!   2  4  data length                                   8  8  the LSN after the last one
//!   6  1  hash key: 0 no partition key, 1 its MD5      16  …  zero, as far as the damage went
//!   7  …  partition key, then data
//!
//! a compressed body: 4 bytes length of the plain body, then one lz4 block or one zstd frame
//! ```

use std::cell::RefCell;

use bytes::Bytes;
use hydrant_record::{Epoch, Lsn, NewRecord, Record};
use zstd::bulk::{Compressor, Decompressor};

use super::{BODY_BYTES_MAX, FrameHeader, lsn_at, u32_at};
use crate::Compression;

pub(crate) const RECORD_HEADER_BYTES: usize = 7;
const PLAIN_LENGTH_BYTES: usize = 4;
/// The fastest level that still finds more than lz4 does.
const ZSTD_LEVEL: i32 = 1;

thread_local! {
    // To make one takes longer than to pack a small frame. The threads of a log are few, and one of these is below 1.5 MB.
    static PACKING: RefCell<Option<Compressor<'static>>> = RefCell::new(Compressor::new(ZSTD_LEVEL).ok());
    static UNFOLDING: RefCell<Option<Decompressor<'static>>> = RefCell::new(Decompressor::new().ok());
}

pub(crate) fn record_bytes(record: &NewRecord) -> usize {
    RECORD_HEADER_BYTES + record.partition_key.as_ref().map_or(0, Bytes::len) + record.data.len()
}

/// No longer than the longest record that a frame can hold, with its key.
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

/// The records of a plain body that was found whole, as slices of it.
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

/// Makes the body that begins at `start` smaller in place; `None`, and nothing changed, if it would not become smaller.
pub(crate) fn compress(how: Compression, buffer: &mut Vec<u8>, start: usize) -> Compression {
    let plain = &buffer[start..];
    let packed = match how {
        Compression::None => return Compression::None,
        Compression::Lz4 => lz4_flex::block::compress(plain),
        // Failing to compress is no reason not to store.
        Compression::Zstd => PACKING.with_borrow_mut(|zstd| zstd.as_mut()?.compress(plain).ok()).unwrap_or_default(),
    };
    if packed.is_empty() || packed.len() + PLAIN_LENGTH_BYTES >= plain.len() {
        return Compression::None;
    }
    let length = u32::try_from(plain.len()).expect("a body is limited");
    buffer.truncate(start);
    buffer.extend_from_slice(&length.to_le_bytes());
    buffer.extend_from_slice(&packed);
    how
}

/// The plain body of a frame whose stored body was found whole.
pub(crate) fn expand(how: Compression, body: Bytes) -> Result<Bytes, &'static str> {
    if how == Compression::None {
        return Ok(body);
    }
    if body.len() < PLAIN_LENGTH_BYTES {
        return Err("a compressed body is cut short");
    }
    let length = u32_at(&body, 0) as usize;
    if length > BODY_BYTES_MAX {
        return Err("a compressed body is longer than any that is written");
    }
    let packed = &body[PLAIN_LENGTH_BYTES..];
    let plain = match how {
        Compression::Lz4 => lz4_flex::block::decompress(packed, length).ok(),
        _ => UNFOLDING.with_borrow_mut(|zstd| zstd.as_mut()?.decompress(packed, length).ok()),
    };
    match plain {
        Some(plain) if plain.len() == length => Ok(Bytes::from(plain)),
        _ => Err("a compressed body cannot be unfolded"),
    }
}

/// A range of LSNs that was given up: `first..next`, empty where a frame only fills a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) first: Lsn,
    pub(crate) next: Lsn,
}

impl Lost {
    pub(crate) const BYTES: usize = 16;

    /// `bytes` long, at least [`Lost::BYTES`].
    pub(crate) fn encode(self, bytes: usize) -> Vec<u8> {
        let mut out = vec![0; bytes.max(Lost::BYTES)];
        out[..8].copy_from_slice(&self.first.get().to_le_bytes());
        out[8..16].copy_from_slice(&self.next.get().to_le_bytes());
        out
    }

    pub(crate) fn decode(header: &FrameHeader, body: &[u8]) -> Result<Lost, &'static str> {
        let lsn = |at| body.get(at..at + 8).and_then(|field| lsn_at(field, 0));
        match (lsn(0), lsn(8)) {
            // Too small for a range: it only fills a hole.
            _ if body.is_empty() => Ok(Lost { first: header.base, next: header.base }),
            (Some(first), Some(next)) if first == header.base && next >= first => Ok(Lost { first, next }),
            _ => Err("a frame of lost records makes no sense"),
        }
    }
}
