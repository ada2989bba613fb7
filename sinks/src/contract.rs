//! What every sink must do, run against each of them: the directory and a store in memory by `cargo test`, a real MinIO by
//! `examples/minio_contract.rs`.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

use futures::future::{BoxFuture, join_all};
use hydrant_disk::DiskFile;
use hydrant_sinks::{Body, Delivery, Receipt, Sink, SinkErrorKind};

/// A destination that the suite can look into and meddle with.
pub(crate) trait Place: Send + Sync {
    fn sink(&self) -> Arc<dyn Sink>;
    /// Every name that is there, in order; also those that no sink should leave behind.
    fn names(&self) -> BoxFuture<'_, Vec<String>>;
    fn read<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Vec<u8>>;
    /// A stranger writes.
    fn write<'a>(&'a self, key: &'a str, bytes: &'a [u8]) -> BoxFuture<'a, ()>;
    /// Keys that this kind of place must keep exactly.
    fn odd_keys(&self) -> Vec<String>;
}

/// How many deliveries race for one name, and how often.
pub(crate) const RACERS: usize = 16;

/// Runs all; each that fails names itself in its `Err`. `place` gives a fresh, empty place.
pub(crate) async fn run(place: &dyn Place, rounds: usize) -> Vec<(&'static str, Result<(), String>)> {
    vec![
        ("check passes and leaves nothing", check_leaves_nothing(place).await),
        ("objects of all sizes arrive as they were staged", sizes(place).await),
        ("odd keys are kept exactly", odd_keys(place).await),
        ("a repeat finds it there", repeat(place).await),
        ("a foreign object is never overwritten", foreign(place).await),
        ("bytes that are not what was staged make no object", damaged(place).await),
        ("racing deliveries make one object", race(place, rounds).await),
        ("a key that cannot be is refused", bad_key(place).await),
    ]
}

/// A staged file in memory. `broken_at` is an offset from which reads fail.
#[derive(Debug)]
pub(crate) struct MemoryFile {
    bytes: Vec<u8>,
    broken_at: Option<u64>,
}

impl DiskFile for MemoryFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        if self.broken_at.is_some_and(|broken| offset + buf.len() as u64 > broken) {
            return Err(io::Error::other("input/output error"));
        }
        let from = usize::try_from(offset).map_err(io::Error::other)?.min(self.bytes.len());
        let length = buf.len().min(self.bytes.len() - from);
        buf[..length].copy_from_slice(&self.bytes[from..from + length]);
        Ok(length)
    }
    fn write_at(&self, _buf: &[u8], _offset: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.len() as u64)
    }
    fn set_len(&self, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn fill_zero(&self, _offset: u64, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn push_out(&self, _offset: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }
    fn forget(&self, _offset: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }
}

/// An object in the middle of a staged file.
pub(crate) fn staged(key: &str, bytes: &[u8]) -> Delivery {
    staged_in(key, bytes, bytes, None)
}

fn staged_in(key: &str, promised: &[u8], held: &[u8], broken_at: Option<u64>) -> Delivery {
    let file = MemoryFile { bytes: [b"before", held, b"after"].concat(), broken_at };
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, promised);
    let sha256: [u8; 32] = digest.as_ref().try_into().expect("SHA-256 has 32 bytes");
    let crc64 = Some(crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, promised));
    Delivery {
        key: key.to_owned(),
        body: Body { file: Arc::new(file), offset: 6, length: promised.len() as u64, sha256, crc64 },
        content_type: "application/octet-stream",
        content_encoding: None,
        metadata: vec![
            ("hydrant-range".to_owned(), "1-3".to_owned()),
            ("hydrant-sha256".to_owned(), hex::encode(sha256)),
        ],
        items: None,
    }
}

/// Bytes that differ from place to place, so that a swapped piece is seen.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from((at / 4096 + at) % 251).expect("below 251")).collect()
}

fn same<T: PartialEq + Debug>(what: &str, got: &T, expected: &T) -> Result<(), String> {
    if got == expected { Ok(()) } else { Err(format!("{what}: got {got:.200?}, expected {expected:.200?}")) }
}

async fn delivered(place: &dyn Place, delivery: &Delivery, was_there: bool) -> Result<(), String> {
    match place.sink().deliver(delivery).await {
        Ok(receipt) => same(&delivery.key, &receipt, &Receipt::taken(was_there)),
        Err(error) => Err(format!("{}: {error} ({:?}, {})", delivery.key, error.kind, error.code)),
    }
}

async fn refused(place: &dyn Place, delivery: &Delivery, kind: SinkErrorKind) -> Result<(), String> {
    match place.sink().deliver(delivery).await {
        Ok(receipt) => Err(format!("{}: got {receipt:?}, expected {kind:?}", delivery.key)),
        Err(error) => same(&format!("{} said `{error}`", delivery.key), &error.kind, &kind),
    }
}

async fn check_leaves_nothing(place: &dyn Place) -> Result<(), String> {
    place.sink().check().await.map_err(|error| error.to_string())?;
    same("names", &place.names().await, &Vec::new())
}

async fn sizes(place: &dyn Place) -> Result<(), String> {
    for length in [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (5 << 20) + 7] {
        let (key, bytes) = (format!("sizes/{length}"), pattern(length));
        delivered(place, &staged(&key, &bytes), false).await?;
        same(&key, &place.read(&key).await, &bytes)?;
    }
    Ok(())
}

async fn odd_keys(place: &dyn Place) -> Result<(), String> {
    let mut expected = place.odd_keys();
    for key in &expected {
        delivered(place, &staged(key, key.as_bytes()), false).await?;
        delivered(place, &staged(key, key.as_bytes()), true).await?;
        same(key, &place.read(key).await, &key.as_bytes().to_vec())?;
    }
    let found: Vec<String> = place.names().await.into_iter().filter(|name| name.contains("odd")).collect();
    expected.sort();
    same("names", &found, &expected)
}

async fn repeat(place: &dyn Place) -> Result<(), String> {
    let bytes = pattern((2 << 20) + 1);
    let delivery = staged("repeat/a", &bytes);
    delivered(place, &delivery, false).await?;
    delivered(place, &delivery, true).await?;
    same("bytes", &place.read("repeat/a").await, &bytes)
}

async fn foreign(place: &dyn Place) -> Result<(), String> {
    for (key, there) in [("foreign/longer", "a stranger's"), ("foreign/equally long", "other"), ("foreign/empty", "")] {
        place.write(key, there.as_bytes()).await;
        refused(place, &staged(key, b"bytes"), SinkErrorKind::Misconfigured).await?;
        same(key, &place.read(key).await, &there.as_bytes().to_vec())?;
    }
    Ok(())
}

async fn damaged(place: &dyn Place) -> Result<(), String> {
    let before = place.names().await;
    let promised = pattern(3 << 20);
    let mut held = promised.clone();
    held[2 << 20] ^= 1;
    let staged_kind = SinkErrorKind::Staged;
    let mut lie = staged("damaged/empty", b"");
    (lie.body.sha256, lie.body.crc64) = ([7; 32], Some(7));
    let damaged = [
        staged_in("damaged/flip", &promised, &held, None),
        staged_in("damaged/eio", &promised, &promised, Some(2 << 20)),
        staged_in("damaged/short", &promised, &promised[..1 << 20], None),
        lie,
    ];
    for mut delivery in damaged {
        refused(place, &delivery, staged_kind).await?;
        // As an earlier version has staged it.
        delivery.body.crc64 = None;
        refused(place, &delivery, staged_kind).await?;
    }
    same("names", &place.names().await, &before)
}

/// Each racer has bytes of its own. One wins; the others hear of a stranger, or that they should come again.
async fn race(place: &dyn Place, rounds: usize) -> Result<(), String> {
    for round in 0..rounds {
        let key = format!("race/{round}");
        let racers: Vec<Delivery> =
            (0..RACERS).map(|racer| staged(&key, format!("racer {racer}").as_bytes())).collect();
        let sink = place.sink();
        let results = join_all(racers.iter().map(|racer| sink.deliver(racer))).await;
        let winners: Vec<usize> = (0..RACERS).filter(|&racer| results[racer].is_ok()).collect();
        let [winner] = winners[..] else { return Err(format!("round {round}: {winners:?} won")) };
        for error in results.iter().filter_map(|result| result.as_ref().err()) {
            if !matches!(error.kind, SinkErrorKind::Misconfigured | SinkErrorKind::Transient) {
                return Err(format!("round {round}: {error}"));
            }
        }
        same("bytes", &place.read(&key).await, &format!("racer {winner}").into_bytes())?;
        delivered(place, &racers[winner], true).await?;
    }
    let found = place.names().await.into_iter().filter(|name| name.contains("race/")).count();
    same("objects", &found, &rounds)
}

async fn bad_key(place: &dyn Place) -> Result<(), String> {
    let before = place.names().await;
    for key in ["", "a/../b", "..", "x/./y", &"x/".repeat(600)] {
        refused(place, &staged(key, b"bytes"), SinkErrorKind::Misconfigured).await?;
    }
    same("names", &place.names().await, &before)
}
