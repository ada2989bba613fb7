//! What a fuzzer calls: one function for each thing that is decoded, and one that opens a damaged directory.
//!
//! Invariant: any bytes may be given. A function returns, or it panics because a promise of the format was broken; it
//! puts the checksums right first, since a fuzzer that has to guess a CRC never gets behind it.

mod directory;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use hydrant_record::{Epoch, HashKey, Lsn, NewRecord, Placement, ShardIx, Timestamp};

use crate::layout::{BODY_BYTES_MAX, FOOTER_BYTES, FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES, crc, frame_bytes};
use crate::layout::{Footer, FrameHeader, Index, Kind, Lost, SegmentHeader, compress, decode_records, encode_record};
use crate::layout::{LSN_MAX, SEGMENT_BYTES_MAX, expand};
use crate::{Compression, Reshard, ShardMap};

const SALT: u64 = 0x0123_4567_89ab_cdef;
/// A fuzzer that unfolds megabytes again and again finds nothing more.
const ROUND_TRIP_BYTES: usize = 1 << 20;

/// The name of a target, and what it runs.
pub type Target = (&'static str, fn(&[u8]));

/// All targets, by the names of their files.
pub const TARGETS: [Target; 8] = [
    ("frame_header", frame_header),
    ("records", records),
    ("segment_header", segment_header),
    ("footer", footer),
    ("index", index),
    ("shard_map", shard_map),
    ("lost", lost),
    ("open_log", open_log),
];

/// A header that is taken encodes to one that is taken for the same, and its lengths are within the limits.
pub fn frame_header(data: &[u8]) {
    let mut bytes: [u8; FRAME_HEADER_BYTES] = filled(data);
    let _ = FrameHeader::decode(data, SALT);
    seal_frame_header(&mut bytes, SALT);
    let Ok(header) = FrameHeader::decode(&bytes, SALT) else { return };
    assert_eq!(FrameHeader::decode(&header.encode(SALT), SALT), Ok(header));
    assert!(header.whole_bytes() <= frame_bytes(BODY_BYTES_MAX) && header.whole_bytes().is_multiple_of(64));
    assert!(header.next().get() <= LSN_MAX);
}

/// Two bytes of count, one of compression, and a body: what decodes are the records that make the same body.
pub fn records(data: &[u8]) {
    let Some((head, body)) = data.split_first_chunk::<3>() else { return };
    let compression = [Compression::None, Compression::Lz4, Compression::Zstd][usize::from(head[2] % 3)];
    let header = frame(Kind::Records, compression, (body.len(), u16::from_le_bytes([head[0], head[1]]).into()));
    if FrameHeader::decode(&header.encode(SALT), SALT).is_err() {
        return;
    }
    let Ok(plain) = expand(compression, Bytes::copy_from_slice(body)) else { return };
    assert!(plain.len() <= BODY_BYTES_MAX);
    let mut found = Vec::new();
    if decode_records(&header, Epoch(1), plain.clone(), |record| found.push(record)).is_err() {
        return;
    }
    assert!(found.iter().zip(7..).all(|(record, lsn)| record.lsn.get() == lsn));
    if plain.len() > ROUND_TRIP_BYTES {
        return;
    }
    let mut again = Vec::new();
    for record in found {
        let new = NewRecord { placement: Placement::Any, partition_key: record.partition_key, data: record.data };
        encode_record(&new, &mut again);
    }
    assert_eq!(again, plain);
    let how = compress(compression, &mut again, 0);
    assert_eq!(expand(how, Bytes::from(again)).as_ref(), Ok(&plain));
}

/// As [`frame_header`], and no segment contradicts itself.
pub fn segment_header(data: &[u8]) {
    let mut bytes: [u8; SEGMENT_HEADER_BYTES] = filled(data);
    let _ = SegmentHeader::decode(data);
    seal_segment_header(&mut bytes);
    let Ok(header) = SegmentHeader::decode(&bytes) else { return };
    assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
    assert!(header.previous < header.number && header.kept.1 <= header.number && header.kept.0 <= header.base);
    assert!(header.previous_end <= SEGMENT_BYTES_MAX);
}

/// A footer is one only in its own place.
pub fn footer(data: &[u8]) {
    let mut bytes: [u8; FOOTER_BYTES] = filled(data);
    let _ = Footer::decode(data, SALT, 3, 4096);
    seal_footer(&mut bytes, SALT);
    let (offset, number) = (long(&bytes, 16), u32::try_from(long(&bytes, 32) & 0xffff_ffff).expect("32 bits"));
    let Some(footer) = Footer::decode(&bytes, SALT, number, offset) else { return };
    assert_eq!(Footer::decode(&footer.encode(SALT), SALT, number, offset), Some(footer));
    assert_eq!(Footer::decode(&bytes, SALT, number, offset ^ 64), None);
}

/// An index that is taken is the one whose bytes these are, and every question to it has an answer inside of it.
pub fn index(data: &[u8]) {
    let Some(base) = data.get(8..16).and_then(|field| Lsn::new(long(field, 0))) else { return };
    let Some(index) = Index::decode(data, base) else { return };
    assert_eq!(index.encode(), data);
    for stretch in data[8..].chunks_exact(32) {
        let lsn = Lsn::new(long(stretch, 0)).expect("it was decoded");
        assert!(index.stretch(index.before(lsn)).is_some_and(|found| found.base <= lsn));
        let _ = index.at_time(Timestamp::from_millis(long(stretch, 16)));
        let _ = index.stretch(0).map(|found| found.may_hold(ShardIx(data[8].into())));
    }
    assert!(index.at_time(index.latest()).is_some());
}

/// A map that is taken is the one whose bytes these are, routes every key, and can be changed.
pub fn shard_map(data: &[u8]) {
    let Ok(map) = ShardMap::decode(data) else { return };
    assert_eq!(map.encode(), data);
    for key in [HashKey::MIN, HashKey(long(data, 4).into()), HashKey(u128::MAX / 2), HashKey::MAX] {
        let shard = map.get(map.route(key)).expect("an open shard is in the map");
        assert!(shard.range.contains(key) && shard.closed.is_none());
    }
    let first_kept = Lsn::new(long(data, 0)).unwrap_or(Lsn::FIRST);
    assert_eq!(map.forget(first_kept).open().count(), map.open().count());
    // A log refuses a map that is ahead of its records.
    let Some(next) = map.open().map(|shard| shard.first).max() else { return };
    let open: Vec<ShardIx> = map.open().map(|shard| shard.ix).collect();
    let new_start = HashKey(u128::MAX / 3);
    let now = Timestamp::from_millis(long(data, 64));
    let changes = [
        Reshard::Split { shard: map.route(new_start), new_start },
        Reshard::Merge { shard: open[0], adjacent: open[open.len() - 1] },
        Reshard::Uniform { count: u32::from(data[0]) + 1 },
    ];
    for change in changes {
        if let Ok(changed) = map.apply(&change, now, next) {
            assert_eq!(ShardMap::decode(&changed.encode()), Ok(changed));
        }
    }
}

/// Eight bytes of base LSN, and a body: what is lost begins there and ends no earlier.
pub fn lost(data: &[u8]) {
    let Some(base) = data.get(..8).and_then(|field| Lsn::new(long(field, 0))) else { return };
    let body = &data[8..];
    let header = FrameHeader { base, ..frame(Kind::Lost, Compression::None, (body.len(), 0)) };
    if FrameHeader::decode(&header.encode(SALT), SALT).is_err() {
        return;
    }
    let Ok(lost) = Lost::decode(&header, body) else { return };
    assert!(lost.first == base && lost.next >= base && lost.next.get() <= LSN_MAX);
    assert_eq!(Lost::decode(&header, &lost.encode(body.len())), Ok(lost));
}

/// A written log, damaged as the bytes say, is opened, read, and written on.
pub fn open_log(data: &[u8]) {
    directory::open(data);
}

fn frame(kind: Kind, compression: Compression, (body, count): (usize, u32)) -> FrameHeader {
    FrameHeader {
        kind,
        compression,
        body_bytes: u32::try_from(body).unwrap_or(u32::MAX),
        body_crc: 0,
        base: Lsn::FIRST.plus(6),
        durable_segment: 3,
        durable_offset: 4160,
        arrived_at: Timestamp::from_millis(1_700_000_000_123),
        commit: 9,
        shard: ShardIx(5),
        count,
        chain: 0,
        mends: false,
    }
}

fn seal_frame_header(bytes: &mut [u8], salt: u64) {
    bytes[..4].copy_from_slice(b"HFRM");
    let sum = crc(salt, &bytes[8..FRAME_HEADER_BYTES]);
    bytes[4..8].copy_from_slice(&sum.to_le_bytes());
}

fn seal_segment_header(bytes: &mut [u8]) {
    bytes[..8].copy_from_slice(b"HYDRSEG\0");
    let sum = crc(long(bytes, 32), &bytes[..4092]);
    bytes[4092..SEGMENT_HEADER_BYTES].copy_from_slice(&sum.to_le_bytes());
}

fn seal_footer(bytes: &mut [u8], salt: u64) {
    bytes[..8].copy_from_slice(b"HYDREND\0");
    bytes[8..16].copy_from_slice(&salt.to_le_bytes());
    let sum = crc(salt, &bytes[..60]);
    bytes[60..FOOTER_BYTES].copy_from_slice(&sum.to_le_bytes());
}

/// Zeros where the bytes end early.
fn filled<const N: usize>(data: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    let len = data.len().min(N);
    out[..len].copy_from_slice(&data[..len]);
    out
}

/// Zeros where the bytes end early.
fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(filled(bytes.get(at..).unwrap_or_default()))
}
