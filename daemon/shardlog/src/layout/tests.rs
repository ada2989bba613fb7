use bytes::Bytes;
use hydrant_record::{Epoch, LogId, Lsn, NewRecord, Placement, ShardIx, Timestamp};

use super::*;
use crate::Compression;

const SALT: u64 = 0x0123_4567_89ab_cdef;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn frame() -> FrameHeader {
    FrameHeader {
        kind: Kind::Records,
        compression: Compression::None,
        body_bytes: 20,
        body_crc: 0xaabb_ccdd,
        base: Lsn::new(7).unwrap(),
        durable_segment: 3,
        durable_offset: 4160,
        arrived_at: Timestamp::from_millis(1_700_000_000_123),
        commit: 9,
        shard: ShardIx(5),
        count: 2,
        chain: 0x1122_3344,
        mends: false,
    }
}

fn record(key: Option<&'static str>, data: &'static str) -> NewRecord {
    NewRecord {
        placement: Placement::Any,
        partition_key: key.map(|key| Bytes::from_static(key.as_bytes())),
        data: Bytes::from_static(data.as_bytes()),
    }
}

#[test]
fn a_segment_header_has_its_documented_bytes() {
    let header = SegmentHeader {
        recycled: true,
        log_id: LogId([0xab; 16]),
        salt: SALT,
        epoch: Epoch(0x1111_2222_3333_4444),
        base: Lsn::new(7).unwrap(),
        number: 3,
        previous: 2,
        previous_end: 8192,
        kept: (Lsn::new(5).unwrap(), 2),
    };
    let bytes = header.encode();
    assert_eq!(
        hex(&bytes[..88]),
        "4859445253454700\
         0100010000000000\
         abababababababababababababababab\
         efcdab8967452301\
         4444333322221111\
         0700000000000000\
         0300000002000000\
         0020000000000000\
         0500000000000000\
         0200000000000000"
    );
    assert!(bytes[88..4092].iter().all(|byte| *byte == 0));
    assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
    for at in [0, 8, 20, 32, 48, 60, 70, 2000, 4095] {
        let mut damaged = bytes;
        damaged[at] ^= 1;
        assert!(matches!(SegmentHeader::decode(&damaged), Err(Fault::Damaged(_))), "byte {at}");
    }
}

#[test]
fn a_whole_header_of_another_version_is_newer_and_not_damaged() {
    let header = SegmentHeader {
        recycled: false,
        log_id: LogId([1; 16]),
        salt: SALT,
        epoch: Epoch(1),
        base: Lsn::FIRST,
        number: 1,
        previous: 0,
        previous_end: 0,
        kept: (Lsn::FIRST, 1),
    };
    let mut bytes = header.encode();
    bytes[8] = 2;
    let sum = crc(SALT, &bytes[..4092]);
    bytes[4092..].copy_from_slice(&sum.to_le_bytes());
    assert!(matches!(SegmentHeader::decode(&bytes), Err(Fault::Newer(_))));
}

#[test]
fn a_frame_header_has_its_documented_bytes() {
    let bytes = frame().encode(SALT);
    assert_eq!(&bytes[..4], b"HFRM");
    assert_eq!(
        hex(&bytes[8..]),
        "14000000ddccbbaa\
         0700000000000000\
         0300000040100000\
         7b68e5cf8b010000\
         0900000000000000\
         0500000002000000\
         4433221101000000"
    );
    assert_eq!(FrameHeader::decode(&bytes, SALT), Ok(frame()));
    assert!(FrameHeader::decode(&bytes, SALT + 1).is_err(), "another segment's salt");
    for bit in 0..FRAME_HEADER_BYTES * 8 {
        let mut damaged = bytes;
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(FrameHeader::decode(&damaged, SALT), Err(Fault::Damaged(_))), "bit {bit}");
    }
}

#[test]
fn impossible_lengths_are_refused_before_anything_is_allocated() {
    let huge = FrameHeader { body_bytes: u32::MAX, ..frame() };
    let empty = FrameHeader { count: 0, ..frame() };
    let crowded = FrameHeader { count: 3, ..frame() };
    for header in [huge, empty, crowded] {
        assert!(matches!(FrameHeader::decode(&header.encode(SALT), SALT), Err(Fault::Damaged(_))), "{header:?}");
    }
}

#[test]
fn unknown_kinds_and_flags_are_newer_and_never_skipped() {
    for at in [60, 61, 62] {
        let mut bytes = frame().encode(SALT);
        bytes[at] = 5;
        let sum = crc(SALT, &bytes[8..]);
        bytes[4..8].copy_from_slice(&sum.to_le_bytes());
        assert!(matches!(FrameHeader::decode(&bytes, SALT), Err(Fault::Newer(_))));
    }
}

#[test]
fn a_footer_is_one_only_in_its_own_place() {
    let footer = Footer {
        offset: 4160,
        frames_end: 4128,
        next: Lsn::new(9).unwrap(),
        number: 3,
        chain: 0x1122_3344,
        sealed: Sealed::Closed,
    };
    let bytes = footer.encode(SALT);
    assert_eq!(
        hex(&bytes[..60]),
        "48594452454e4400\
         efcdab8967452301\
         4010000000000000\
         0900000000000000\
         0300000044332211\
         0200000000000000\
         201000000000000000000000"
    );
    assert_eq!(Footer::decode(&bytes, SALT, 3, 4160), Some(footer));
    assert_eq!(Footer::decode(&bytes, SALT, 3, 4224), None);
    assert_eq!(Footer::decode(&bytes, SALT, 4, 4160), None);
    assert_eq!(Footer::decode(&bytes, SALT + 1, 3, 4160), None);
}

#[test]
fn the_checksum_is_crc32c_of_the_salt_and_the_bytes() {
    // RFC 3720, B.4: 32 bytes of zero; eight of them are the salt here.
    assert_eq!(crc(0, &[0; 24]), 0x8a91_36aa);
}

#[test]
fn records_read_back_as_written() {
    let records = [record(Some("key"), "data"), record(Some(""), ""), record(None, "x")];
    let mut body = Vec::new();
    records.iter().for_each(|record| encode_record(record, &mut body));
    assert_eq!(hex(&body[..14]), "0300040000000".to_owned() + "16b657964617461");
    let header = FrameHeader { count: 3, body_bytes: u32::try_from(body.len()).unwrap(), ..frame() };
    let mut found = Vec::new();
    decode_records(&header, Epoch(1), Bytes::from(body.clone()), |record| found.push(record)).unwrap();
    assert_eq!(found.iter().map(|record| record.lsn.get()).collect::<Vec<_>>(), [7, 8, 9]);
    for (found, given) in found.iter().zip(&records) {
        assert_eq!((&found.partition_key, &found.data), (&given.partition_key, &given.data));
    }
    body.push(0);
    assert!(decode_records(&header, Epoch(1), Bytes::from(body.clone()), |_| ()).is_err(), "a byte too many");
    body.truncate(body.len() - 2);
    assert!(decode_records(&header, Epoch(1), Bytes::from(body), |_| ()).is_err(), "a byte too few");
}

#[test]
fn a_compressed_body_unfolds_to_the_same_bytes_and_one_that_would_grow_is_left_alone() {
    let plain = b"the same words again and again ".repeat(40);
    for how in [Compression::Lz4, Compression::Zstd] {
        let mut buffer = [&b"head"[..], &plain].concat();
        assert_eq!(compress(how, &mut buffer, 4), how);
        assert!(buffer.len() < plain.len() / 2 && buffer.starts_with(b"head"));
        let body = Bytes::copy_from_slice(&buffer[4..]);
        assert_eq!(expand(how, body.clone()).unwrap(), plain);
        let mut longer = body.to_vec();
        longer[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(expand(how, Bytes::from(longer)).is_err(), "checked before it is allocated");
        for cut in 0..body.len() {
            assert!(expand(how, body.slice(..cut)).is_err(), "cut at {cut}");
        }
        let mut noise = (0..=255_u8).collect::<Vec<_>>();
        assert_eq!(compress(how, &mut noise, 0), Compression::None);
        assert_eq!(noise, (0..=255).collect::<Vec<_>>());
    }
}

#[test]
fn what_was_lost_reads_back_and_nonsense_does_not() {
    let lost = Lost { first: Lsn::new(7).unwrap(), next: Lsn::new(12).unwrap() };
    let body = lost.encode(64);
    assert_eq!(hex(&body[..24]), "07000000000000000c000000000000000000000000000000");
    assert_eq!((body.len(), lost.encode(0).len()), (64, Lost::BYTES));
    let header = FrameHeader { kind: Kind::Lost, count: 0, body_bytes: 64, ..frame() };
    assert_eq!(Lost::decode(&header, &body), Ok(lost));
    assert!(Lost::decode(&FrameHeader { base: Lsn::FIRST, ..header }, &body).is_err());
    assert!(Lost::decode(&header, &Lost { next: Lsn::FIRST, ..lost }.encode(64)).is_err());
    assert!(Lost::decode(&header, &body[..15]).is_err());
    assert_eq!(Lost::decode(&header, &[]), Ok(Lost { next: lost.first, ..lost }), "only a filling");
}

#[test]
fn the_index_finds_stretches_by_lsn_time_and_shard() {
    let lsn = |value| Lsn::new(value).unwrap();
    let frame_of = |base, shard, at| FrameHeader {
        base: lsn(base),
        shard: ShardIx(shard),
        arrived_at: Timestamp::from_millis(at),
        ..frame()
    };
    let mut index = Index::new(lsn(1));
    index.add(&frame_of(1, 0, 1000), 4096);
    index.add(&frame_of(3, 1, 3000), 600_000);
    // The clock has gone back.
    index.add(&frame_of(5, 65, 2000), 1_100_000);
    index.add(&frame_of(7, 2, 4000), 2_200_000);
    assert_eq!(index.latest(), Timestamp::from_millis(4000));
    let starts: Vec<_> = (0..3).map(|at| index.stretch(at).map(|found| found.offset)).collect();
    assert_eq!(starts, [Some(4096), Some(1_100_000), Some(2_200_000)]);
    assert_eq!([1, 4, 5, 6, 7, 99].map(|value| index.before(lsn(value))), [0, 0, 1, 1, 2, 2]);
    let at = |millis| index.at_time(Timestamp::from_millis(millis)).map(|found| found.offset);
    assert_eq!(
        [0, 1000, 3000, 3001, 4000, 4001].map(at),
        [Some(4096), Some(4096), Some(4096), Some(2_200_000), Some(2_200_000), None]
    );
    let holds = |at, shard| index.stretch(at).unwrap().may_hold(ShardIx(shard));
    assert_eq!(
        [holds(0, 0), holds(0, 1), holds(0, 2), holds(1, 1), holds(2, 2), holds(2, 1)],
        [true, true, false, true, true, false]
    );
    let body = index.encode();
    assert_eq!(body.len(), 8 + 3 * 32);
    assert!(body.len() <= index_bytes_max(3_000_000));
    assert_eq!(Index::decode(&body, lsn(1)), Some(index));
    assert_eq!(Index::decode(&body, lsn(2)), None, "of another segment");
    assert_eq!(Index::decode(&body[..body.len() - 1], lsn(1)), None);
    assert_eq!(Index::decode(&body[..8], lsn(1)), None);
}
