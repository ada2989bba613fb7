//! A directory that a log has written, damaged by a script, opened and read.
//!
//! ```text
//! script    | 1 byte: which past, and how to open | damage | damage | …
//! damage    | 1 byte: kind, and where to aim | file | 2 bytes: place | value, 8 bytes |
//! ```
//!
//! Honest damage is what disks and people do: no CRC is put right after it, so every record that can still be read must be
//! one that was written. Forged damage has its CRCs put right: it may say anything, but nothing may panic.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use hydrant_disk::{Disk, SimDisk, read_exact_at};
use hydrant_record::{Epoch, HashKey, Lsn, NewRecord, Placement, Record, ShardIx, Timestamp};

use super::{long, seal_footer, seal_frame_header, seal_segment_header};
use crate::layout::{FOOTER_BYTES, FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES, crc};
use crate::{Clock, Committers, Compression, LogOptions, OpenError, ReadError, Reshard, ShardLog};

const DIR: &str = "/log";
const DAMAGES_MAX: usize = 12;
const READS_MAX: usize = 500;
const HEAD: usize = SEGMENT_HEADER_BYTES;

type Written = HashMap<(Epoch, Lsn), (Option<Bytes>, Bytes)>;

/// A log that was written, and all that was ever in it.
struct Past {
    disk: SimDisk,
    written: Written,
}

/// Opens what the script makes of a past, looks at all of it, and writes on.
pub(super) fn open(script: &[u8]) {
    static PASTS: OnceLock<Vec<Past>> = OnceLock::new();
    let Some((how, damages)) = script.split_first() else { return };
    let pasts = PASTS.get_or_init(|| vec![short(), long_lived(), trimmed(), bereaved()]);
    let past = &pasts[usize::from(*how) % pasts.len()];
    let (forged, accept_loss) = (how & 0x10 != 0, how & 0x20 != 0);
    let disk = past.disk.crash();
    for damage in damages.chunks_exact(12).take(DAMAGES_MAX) {
        inflict(&disk, damage, forged);
    }
    let options = LogOptions { accept_loss, ..options() };
    let mut written = if forged { None } else { Some(past.written.clone()) };
    let Some(log) = opened(&disk, &options) else { return };
    look(&log, written.as_ref());
    if write_on(&log, written.as_mut()) && log.close().is_ok() {
        drop(log);
        let again = ShardLog::open(Arc::new(disk), Path::new(DIR), options);
        assert!(forged || again.is_ok(), "a log that was open does not open again: {:?}", again.err());
        if let Ok((log, _)) = again {
            look(&log, written.as_ref());
        }
    }
}

fn opened(disk: &SimDisk, options: &LogOptions) -> Option<ShardLog> {
    match ShardLog::open(Arc::new(disk.clone()), Path::new(DIR), options.clone()) {
        Ok((log, _)) => Some(log),
        Err(OpenError::Corrupt { first_lost, last_lost, .. }) => {
            assert!(first_lost <= last_lost, "LSNs {first_lost} to {last_lost}");
            None
        }
        Err(_) => None,
    }
}

fn options() -> LogOptions {
    LogOptions {
        segment_bytes_min: 8 << 10,
        segment_bytes_max: 16 << 10,
        clock: Arc::new(Stopped),
        committers: Committers::inline(),
        ..LogOptions::new()
    }
}

#[derive(Debug)]
struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000)
    }
}

/// Reads in every way there is. With `written`, damage was honest: nothing else may come out, and no read may fail after
/// an opening that has checked it all.
fn look(log: &ShardLog, written: Option<&Written>) {
    let check = |record: &Record| {
        let Some(written) = written else { return };
        let given = written.get(&(record.epoch, record.lsn));
        assert_eq!(given, Some(&(record.partition_key.clone(), record.data.clone())), "invented: {record:?}");
    };
    let after = log.first().map_or(log.last(), Lsn::previous);
    let mut tail = log.tail(after);
    for _ in 0..READS_MAX {
        match tail.next(1000) {
            Ok(Some(batch)) => batch.records().iter().for_each(check),
            Ok(None) => break,
            Err(ReadError::Lost { .. }) => tail.skip_lost(),
            Err(error) => {
                assert!(written.is_none(), "{error}");
                break;
            }
        }
    }
    for shard in log.shards().shards().iter().map(|shard| shard.ix).take(4).chain([ShardIx(77)]) {
        let mut tail = log.shard_tail(shard, after);
        for _ in 0..READS_MAX {
            match tail.next(1000, 7) {
                Ok(Some(batch)) => {
                    assert!(batch.records.iter().all(|record| record.shard == shard && record.lsn <= batch.through));
                    batch.records.iter().for_each(check);
                }
                Ok(None) => break,
                Err(error) => {
                    assert!(written.is_none(), "{error}");
                    break;
                }
            }
        }
    }
    for at in [0, 1_700_000_000_000, u64::MAX] {
        let found = log.seek_time(Timestamp::from_millis(at));
        assert!(written.is_none() || found.is_ok(), "{found:?}");
    }
}

/// A record more, and a shard more. False if the log takes no more.
fn write_on(log: &ShardLog, written: Option<&mut Written>) -> bool {
    let shard = log.shards().first_open();
    let _ = log.reshard(Reshard::Split { shard, new_start: HashKey(1 << 99) });
    let mut own = Written::new();
    let last = log.last();
    let done = append(log, written.unwrap_or(&mut own), &["written on".to_owned()]);
    assert!(!done || log.last() > last);
    done
}

fn append(log: &ShardLog, written: &mut Written, data: &[String]) -> bool {
    let record = |data: &String| {
        let partition_key = data.len().is_multiple_of(2).then(|| Bytes::from(data.clone()));
        let placement = Placement::Hash(HashKey::of_partition_key(data.as_bytes()));
        NewRecord { placement, partition_key, data: Bytes::from(data.clone()) }
    };
    let records: Vec<NewRecord> = data.iter().map(record).collect();
    let Ok(appended) = log.append(records.clone()) else { return false };
    for (index, record) in records.into_iter().enumerate() {
        written.insert((appended.epoch, appended.place(index).1), (record.partition_key, record.data));
    }
    true
}

/// Writes a past from its own seed.
fn past(seed: u64, options: LogOptions, live: impl FnOnce(&ShardLog, &mut Written)) -> Past {
    let disk = SimDisk::new(seed);
    disk.create_dir(Path::new(DIR)).expect("a new disk");
    let (log, _) = ShardLog::open(Arc::new(disk.clone()), Path::new(DIR), options).expect("an empty directory");
    let mut written = Written::new();
    live(&log, &mut written);
    Past { disk, written }
}

fn some(from: usize, count: usize, len: usize) -> Vec<String> {
    (from..from + count).map(|number| format!("{number} {}", ".".repeat(len + number % 2))).collect()
}

/// One segment, not closed.
fn short() -> Past {
    past(1, LogOptions { shards: 3, ..options() }, |log, written| {
        for number in 0..5 {
            append(log, written, &some(number * 4, 4, 20));
        }
    })
}

/// Several segments, packed, with shards that changed; closed.
fn long_lived() -> Past {
    past(2, LogOptions { shards: 2, compression: Compression::Zstd, ..options() }, |log, written| {
        for number in 0..3_usize {
            append(log, written, &some(number * 8, 8, 90));
            let _ = log.reshard(Reshard::Uniform { count: 3 - u32::try_from(number).expect("small") });
            append(log, written, &some(number * 8 + 4, 1, 3000));
            let _ = log.roll();
        }
        log.close().expect("a disk without faults");
    })
}

/// The oldest segments are gone, and one has its blocks from an earlier life.
fn trimmed() -> Past {
    past(3, LogOptions { segment_bytes_max: 8 << 10, compression: Compression::Lz4, ..options() }, |log, written| {
        for number in 0..6_u64 {
            let noise: Vec<String> = (0..60).map(|at| format!("{:x}", (number * 60 + at + 1).pow(7))).collect();
            append(log, written, &noise);
            let _ = log.roll();
            if let Some(through) = Lsn::new(number * 60) {
                let _ = log.trim(through);
            }
        }
    })
}

/// A loss was accepted in the middle.
fn bereaved() -> Past {
    let Past { disk, mut written } = past(4, options(), |log, written| {
        for number in 0..4 {
            append(log, written, &some(number * 4, 4, 50));
        }
    });
    let path = files(&disk)[0].clone();
    let file = disk.open_write(&path).expect("it was listed");
    file.write_at(b"gone", HEAD as u64 + 600).expect("a disk without faults");
    let options = LogOptions { accept_loss: true, ..options() };
    let (log, _) = ShardLog::open(Arc::new(disk.clone()), Path::new(DIR), options).expect("loss is accepted");
    append(&log, &mut written, &some(50, 2, 9));
    Past { disk, written }
}

fn files(disk: &SimDisk) -> Vec<PathBuf> {
    let names = disk.list(Path::new(DIR)).unwrap_or_default();
    names.into_iter().map(|name| Path::new(DIR).join(name)).collect()
}

/// One damage of 12 bytes. Nothing happens where it aims at nothing.
fn inflict(disk: &SimDisk, damage: &[u8], forged: bool) {
    let files = files(disk);
    if files.is_empty() {
        return;
    }
    let path = &files[usize::from(damage[1]) % files.len()];
    let Some(mut bytes) = content(disk, path) else { return };
    let place = usize::from(u16::from_le_bytes([damage[2], damage[3]]));
    let value = &damage[4..12];
    match damage[0] % 8 {
        0 => change(&mut bytes, place, |byte| byte ^ value[0].max(1)),
        1 => (place..place + usize::from(value[0]) * 16).for_each(|at| change(&mut bytes, at, |_| 0)),
        2 => bytes.truncate(place),
        3 => {
            let _ = disk.remove(path);
            return;
        }
        4 => {
            let suffix = ["seg", "seg.free", "seg.damaged", "seg.tmp"][usize::from(value[1] % 4)];
            let number = u32::from_le_bytes([value[0], 0, 0, 0]).wrapping_sub(1);
            let _ = disk.rename(path, &Path::new(DIR).join(format!("{number:020}.{suffix}")));
            return;
        }
        5 => {
            // Old bytes at another place, or in another file of the same log.
            let from = content(disk, &files[usize::from(value[0]) % files.len()]).unwrap_or_default();
            let at = usize::from(value[1]) * 64;
            let piece = from.get(at..(at + 64 + usize::from(value[2]) * 64).min(from.len())).unwrap_or_default();
            put(&mut bytes, place / 64 * 64, piece);
        }
        _ if !forged => return,
        6 => put(&mut bytes, place % HEAD, value),
        _ => forge_frame(&mut bytes, place, value),
    }
    if forged {
        seal(&mut bytes, damage[0] & 0x80 == 0);
    }
    replace(disk, path, &bytes);
}

/// Puts up to 7 bytes into the frame that is nth: into its header, or its body.
fn forge_frame(bytes: &mut [u8], place: usize, value: &[u8]) {
    let Some(&at) = frames(bytes).get(place % 32) else { return };
    let into = at + place / 32 % 128;
    put(bytes, into, &value[..=usize::from(value[7] % 7)]);
}

/// Where frames and the footer begin.
fn frames(bytes: &[u8]) -> Vec<usize> {
    let begins = |at: &usize| bytes[*at..].starts_with(b"HFRM") || bytes[*at..].starts_with(b"HYDREND\0");
    (HEAD..bytes.len().saturating_sub(63)).step_by(64).filter(begins).collect()
}

/// Puts right every checksum, and the chain if that is wanted.
fn seal(bytes: &mut [u8], chained: bool) {
    if bytes.len() < HEAD {
        return;
    }
    seal_segment_header(bytes);
    let salt = long(bytes, 32);
    let mut chain: [u8; 4] = super::filled(&bytes[4092..]);
    for at in frames(bytes) {
        let (head, rest) = bytes[at..].split_at_mut(FRAME_HEADER_BYTES);
        if head.starts_with(b"HYDREND\0") {
            head[36..40].copy_from_slice(&chain);
            seal_footer(&mut head[..FOOTER_BYTES], salt);
            continue;
        }
        let body = usize::try_from(long(head, 8) & 0xffff_ffff).expect("32 bits");
        if let Some(body) = rest.get(..body) {
            head[12..16].copy_from_slice(&crc(salt, body).to_le_bytes());
        }
        if chained {
            head[56..60].copy_from_slice(&chain);
        }
        seal_frame_header(head, salt);
        chain = super::filled(&head[4..8]);
    }
}

fn change(bytes: &mut [u8], at: usize, how: impl Fn(u8) -> u8) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte = how(*byte);
    }
}

fn put(bytes: &mut [u8], at: usize, piece: &[u8]) {
    let end = (at + piece.len()).min(bytes.len());
    if at < end {
        bytes[at..end].copy_from_slice(&piece[..end - at]);
    }
}

fn content(disk: &SimDisk, path: &Path) -> Option<Vec<u8>> {
    let file = disk.open(path).ok()?;
    let mut bytes = vec![0; usize::try_from(file.len().ok()?).ok()?];
    read_exact_at(&*file, &mut bytes, 0).ok()?;
    Some(bytes)
}

fn replace(disk: &SimDisk, path: &Path, bytes: &[u8]) {
    let file = disk.open_write(path).expect("it was listed");
    file.set_len(bytes.len() as u64).expect("a disk without faults");
    file.write_at(bytes, 0).expect("a disk without faults");
    file.sync_data().expect("a disk without faults");
}
