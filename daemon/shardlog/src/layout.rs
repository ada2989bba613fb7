//! What the bytes on disk mean. All numbers are little-endian.
//!
//! Invariant: every structure carries a CRC32C that starts from the salt of its own segment, so bytes of another
//! segment, or an older life of the same blocks, never pass for bytes of this one.
//!
//! ```text
//! segment   | header 4096 | frame | frame | … | index frame | footer 64 | older bytes or zeros |
//!           frames begin at multiples of 64; the bytes between a body and the next frame are zero;
//!           index and footer stand only in a sealed segment
//! ```
//!
//! `header` draws the segment header and the footer, `frame` the header of a frame, `body` what a frame holds,
//! `index` the sparse index, and `shards` (beside this module) the map of shards.

mod body;
mod frame;
mod header;
mod index;

pub(crate) use body::{Lost, compress, decode_records, encode_record, expand, record_bytes, storable};
pub(crate) use frame::{FrameHeader, Kind, frame_bytes};
pub(crate) use header::{Footer, Sealed, SegmentHeader};
pub(crate) use index::{Index, index_bytes_max};

use crc_fast::{CrcAlgorithm, Digest};
use hydrant_record::Lsn;

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
/// No segment is longer. A repair fills what a header says of the segment before, so a header must not say just anything.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 256 << 20;
/// The records of one append, together: with them, and all that stands around them, a segment keeps to its limit.
pub(crate) const APPEND_BYTES_MAX: usize = 128 << 20;

/// No log comes near this, so that LSNs can be counted on from any that was read.
pub(crate) const LSN_MAX: u64 = u64::MAX / 2;

/// Why bytes are not what should stand there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Damaged(&'static str),
    /// Whole, but written by a newer version.
    Newer(&'static str),
}

impl Fault {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Fault::Damaged(reason) | Fault::Newer(reason) => reason,
        }
    }
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

/// `None` for numbers that are no LSN of a log.
fn lsn_at(bytes: &[u8], offset: usize) -> Option<Lsn> {
    Lsn::new(u64_at(bytes, offset)).filter(|lsn| lsn.get() <= LSN_MAX)
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
