use super::*;

const SALT: u64 = 0x0123_4567_89ab_cdef;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn frame() -> FrameHeader {
    FrameHeader {
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
    }
}

fn record(shard: u32, key: Option<&'static str>, data: &'static str) -> NewRecord {
    NewRecord {
        shard: ShardIx(shard),
        partition_key: key.map(|key| Bytes::from_static(key.as_bytes())),
        data: Bytes::from_static(data.as_bytes()),
    }
}

#[test]
fn a_segment_header_has_its_documented_bytes() {
    let header = SegmentHeader {
        log_id: LogId([0xab; 16]),
        salt: SALT,
        epoch: Epoch(0x1111_2222_3333_4444),
        base: Lsn::new(7).unwrap(),
        number: 3,
        previous: 2,
        previous_end: 8192,
    };
    let bytes = header.encode();
    assert_eq!(
        hex(&bytes[..72]),
        "4859445253454700\
         0100000000000000\
         abababababababababababababababab\
         efcdab8967452301\
         4444333322221111\
         0700000000000000\
         0300000002000000\
         0020000000000000"
    );
    assert!(bytes[72..4092].iter().all(|byte| *byte == 0));
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
        log_id: LogId([1; 16]),
        salt: SALT,
        epoch: Epoch(1),
        base: Lsn::FIRST,
        number: 1,
        previous: 0,
        previous_end: 0,
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
    for at in [60, 61] {
        let mut bytes = frame().encode(SALT);
        bytes[at] = 2;
        let sum = crc(SALT, &bytes[8..]);
        bytes[4..8].copy_from_slice(&sum.to_le_bytes());
        assert!(matches!(FrameHeader::decode(&bytes, SALT), Err(Fault::Newer(_))));
    }
}

#[test]
fn a_footer_is_one_only_in_its_own_place() {
    let footer =
        Footer { offset: 4160, next: Lsn::new(9).unwrap(), number: 3, chain: 0x1122_3344, sealed: Sealed::Closed };
    let bytes = footer.encode(SALT);
    assert_eq!(
        hex(&bytes[..60]),
        "48594452454e4400\
         efcdab8967452301\
         4010000000000000\
         0900000000000000\
         0300000044332211\
         0200000000000000\
         000000000000000000000000"
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
    let records = [record(5, Some("key"), "data"), record(5, Some(""), ""), record(5, None, "x")];
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
fn a_frame_holds_one_shard_and_is_limited() {
    let mixed = [record(1, None, "a"), record(1, None, "b"), record(2, None, "c")];
    assert_eq!(frame_run(&mixed).0.len(), 2);
    assert_eq!(framed_bytes(&mixed), 128 + 128);
    let big = NewRecord { data: Bytes::from(vec![0; 5 << 20]), ..record(1, None, "") };
    let group = [big.clone(), big];
    assert_eq!(frame_run(&group).0.len(), 1);
}
