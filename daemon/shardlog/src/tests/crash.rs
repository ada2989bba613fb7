//! Torn tails keep their prefix; rot is told from them and named exactly.

use std::os::unix::fs::FileExt;

use super::*;
use hydrant_record::HashKey;

use crate::layout::{FrameHeader, Kind, SegmentHeader};

/// One frame of a file: where, how long, and its records.
struct Frame {
    offset: usize,
    whole: usize,
    body_end: usize,
    first: u64,
    next: u64,
}

fn frames(path: &Path) -> Vec<Frame> {
    let bytes = std::fs::read(path).unwrap();
    let header = SegmentHeader::decode(&bytes[..4096]).unwrap();
    let (mut found, mut offset) = (Vec::new(), 4096);
    while let Ok(frame) = FrameHeader::decode(&bytes[offset..offset + 64], header.salt) {
        if frame.kind != Kind::Records {
            offset += usize::try_from(frame.whole_bytes()).unwrap();
            continue;
        }
        let whole = usize::try_from(frame.whole_bytes()).unwrap();
        let body_end = offset + 64 + frame.body_bytes as usize;
        found.push(Frame { offset, whole, body_end, first: frame.base.get(), next: frame.next().get() });
        offset += whole;
    }
    found
}

/// Five commits of one frame each, not closed.
fn history() -> (tempfile::TempDir, Vec<NewRecord>) {
    let dir = scratch();
    let (log, _) = open(dir.path());
    let given: Vec<_> = (0..5).map(|number| numbered(2 * number, 20)).collect();
    for chunk in given.chunks(1) {
        log.append(chunk.to_vec()).unwrap();
    }
    (dir, given)
}

fn corrupt(result: Result<(ShardLog, Recovery), OpenError>) -> (u64, u64) {
    match result.map(|(_, recovery)| recovery) {
        Err(OpenError::Corrupt { first_lost, last_lost, .. }) => (first_lost.get(), last_lost.get()),
        other => panic!("expected corrupt, got {other:?}"),
    }
}

#[test]
fn a_tail_torn_at_any_byte_keeps_the_whole_frames_before_it() {
    let (dir, given) = history();
    let frames = frames(&segments(dir.path())[0]);
    let end = frames.last().map(|frame| frame.offset + frame.whole).unwrap();
    for cut in frames[0].offset..=end {
        for zeros in [false, true] {
            let copy = copy_of(dir.path());
            let file = std::fs::OpenOptions::new().write(true).open(&segments(copy.path())[0]).unwrap();
            let len = file.metadata().unwrap().len();
            file.set_len(cut as u64).unwrap();
            if zeros {
                file.set_len(len).unwrap();
            }
            let (log, recovery) = open(copy.path());
            // Zeros that align the next frame come back with the length of the file.
            let kept =
                frames.iter().filter(|frame| cut >= if zeros { frame.body_end } else { frame.offset + frame.whole });
            let kept = kept.count();
            assert_eq!(recovery.last.map_or(0, Lsn::get), kept as u64, "cut at {cut}, zeros {zeros}");
            assert_eq!(payloads(&read_all(&log, None)), given[..kept]);
            assert_eq!(log.append(some(0..1)).unwrap().first, lsn(kept as u64 + 1));
            drop(log);
            assert_eq!(open(copy.path()).1.last, Some(lsn(kept as u64 + 1)));
        }
    }
}

#[test]
fn a_flipped_bit_before_synced_frames_is_rot_with_its_exact_range() {
    let (dir, given) = history();
    let frames = frames(&segments(dir.path())[0]);
    for (index, frame) in frames.iter().enumerate() {
        for at in [0, 5, 20, 40, 60, 64, 70, 80] {
            let copy = copy_of(dir.path());
            flip(&segments(copy.path())[0], frame.offset + at);
            if index + 1 < frames.len() {
                assert_eq!(corrupt(open_on(Arc::new(RealDisk::new()), copy.path())), (frame.first, frame.next - 1));
            } else {
                let (log, recovery) = open(copy.path());
                assert!(recovery.torn_bytes > 0);
                assert_eq!(payloads(&read_all(&log, None)), given[..index]);
            }
        }
    }
}

#[test]
fn a_bad_frame_inside_the_last_group_is_a_torn_tail() {
    let dir = scratch();
    let (log, _) =
        ShardLog::open(Arc::new(RealDisk::new()), dir.path(), LogOptions { shards: 4, ..options() }).unwrap();
    log.append(some(0..1)).unwrap();
    // Four shards: four frames of one commit.
    let spread = (0..4).map(|quarter| NewRecord {
        placement: Placement::Hash(HashKey(u128::MAX / 4 * quarter + 9)),
        ..numbered(1, 20)
    });
    log.append(spread.collect()).unwrap();
    drop(log);
    let frames = frames(&segments(dir.path())[0]);
    assert_eq!(frames.len(), 5);
    flip(&segments(dir.path())[0], frames[2].offset + 66);
    let (log, recovery) = open(dir.path());
    assert_eq!((recovery.last, recovery.clean), (Some(lsn(2)), false));
    assert!(recovery.torn_bytes >= 200);
    // The verified end is on record now: what stands behind it is never looked at again.
    drop(log);
    assert_eq!(open(dir.path()).1.torn_bytes, 0);
}

#[test]
fn the_next_segment_proves_the_one_before() {
    let (dir, given) = history();
    drop(open(dir.path()));
    assert_eq!(segments(dir.path()).len(), 2);
    let frames = frames(&segments(dir.path())[0]);
    let copy = copy_of(dir.path());
    let (log, _) = open(copy.path());
    flip(&segments(copy.path())[0], frames[3].offset + 66);
    let mut tail = log.tail(None);
    assert_eq!(payloads(tail.next(usize::MAX).unwrap().unwrap().records()), given[..3]);
    for _ in 0..2 {
        assert!(matches!(tail.next(1), Err(ReadError::Corrupt { offset, .. }) if offset == frames[3].offset as u64));
    }
    assert_eq!(tail.position(), Some(lsn(3)), "it stops before the range and never skips");
    drop((tail, log));
    assert_eq!(corrupt(open_on(Arc::new(RealDisk::new()), copy.path())), (4, 4), "and so does the next opening");

    let copy = copy_of(dir.path());
    let file = std::fs::OpenOptions::new().write(true).open(&segments(copy.path())[0]).unwrap();
    file.set_len(frames[2].offset as u64 + 10).unwrap();
    assert_eq!(corrupt(open_on(Arc::new(RealDisk::new()), copy.path())), (3, 5));
}

#[test]
fn missing_segments_and_headers_are_never_empty() {
    let dir = scratch();
    let (log, _) = open(dir.path());
    for number in 0..3 {
        log.roll().unwrap();
        log.append(some(number * 2..number * 2 + 2)).unwrap();
    }
    log.close().unwrap();
    let disk = || Arc::new(RealDisk::new());
    let names = segments(dir.path());
    assert_eq!(names.len(), 3);
    for (index, range) in [(0, (1, 2)), (1, (3, 4)), (2, (5, 5))] {
        let copy = copy_of(dir.path());
        flip(&segments(copy.path())[index], 50);
        assert_eq!(corrupt(open_on(disk(), copy.path())), range, "header {index}");
        let copy = copy_of(dir.path());
        std::fs::remove_file(&segments(copy.path())[index]).unwrap();
        if index > 0 {
            assert_eq!(corrupt(open_on(disk(), copy.path())), range, "segment {index}");
        }
    }
    let copy = copy_of(dir.path());
    std::fs::write(copy.path().join("notes.txt"), "").unwrap();
    assert!(matches!(open_on(disk(), copy.path()), Err(OpenError::Unsupported { .. })));
}

#[test]
fn a_crash_before_the_first_name_opens_as_new() {
    let dir = scratch();
    std::fs::write(dir.path().join("00000000000000000001.seg.tmp"), [1; 5000]).unwrap();
    let (log, recovery) = open(dir.path());
    assert_eq!((recovery.last, recovery.clean), (None, true));
    log.append(some(0..1)).unwrap();
}

#[test]
fn records_that_another_file_names_must_be_there() {
    let (dir, _) = history();
    let known = |value| LogOptions { known_durable: Some(lsn(value)), ..options() };
    let copy = copy_of(dir.path());
    assert!(ShardLog::open(Arc::new(RealDisk::new()), copy.path(), known(5)).is_ok());
    assert_eq!(corrupt(ShardLog::open(Arc::new(RealDisk::new()), dir.path(), known(9))), (6, 9));
    let empty = scratch();
    assert_eq!(corrupt(ShardLog::open(Arc::new(RealDisk::new()), empty.path(), known(2))), (1, 2));
}

fn flip(path: &Path, at: usize) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at as u64).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at as u64).unwrap();
}
