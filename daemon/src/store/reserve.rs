//! Blocks set aside for a full disk: given up when nothing else is left, so that journals can be written, chunks be staged and
//! the log be trimmed, and taken back once there is space.
//!
//! Invariant: nobody but delivery and recovery gets the blocks. Records are refused as long as no more than [`Reserve::bytes`]
//! are free, whether they are free because of the reserve or beside it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hydrant_disk::Disk;

const NAME: &str = "reserve";
const BYTES_MIN: u64 = 16 << 20;
const BYTES_MAX: u64 = 64 << 20;
/// The reserve is this part of the free space.
const SHARE: u64 = 1024;
/// With less than this free, delivery may fail at any moment.
const LOW: u64 = 8 << 20;
/// Written and pushed out in pieces of this size, so that small syncs beside it stay quick.
const PIECE: u64 = 1 << 20;

/// The file `reserve`.
#[derive(Debug)]
pub(crate) struct Reserve {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    bytes: u64,
    held: AtomicBool,
}

impl Reserve {
    /// Of the data directory `dir`. Gives an earlier reserve up at once if the disk is full, and makes none: that is for later.
    pub(super) fn open(disk: Arc<dyn Disk>, dir: &Path) -> io::Result<Reserve> {
        let path = dir.join(NAME);
        let there = if disk.exists(&path)? { Some(disk.open(&path)?.len()?) } else { None };
        let share = (disk.free_bytes(dir)? / SHARE).clamp(BYTES_MIN, BYTES_MAX);
        let whole = there.filter(|bytes| *bytes >= BYTES_MIN);
        if there.is_some() && whole.is_none() {
            // The making of it was cut off.
            disk.remove(&path)?;
        }
        let reserve = Reserve { disk, path, bytes: whole.unwrap_or(share), held: AtomicBool::new(whole.is_some()) };
        if reserve.held() && reserve.free()? < LOW {
            reserve.release()?;
        }
        Ok(reserve)
    }

    /// How many bytes must stay free of records.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the blocks are set aside now; if not, the disk is full or was a moment ago.
    pub(crate) fn held(&self) -> bool {
        self.held.load(Ordering::Relaxed)
    }

    /// Looks at the free space: gives the reserve up if there is none, makes it again if there is plenty. Blocks.
    pub(crate) fn tend(&self) -> io::Result<()> {
        let free = self.free()?;
        if self.held() && free < LOW {
            return self.release();
        }
        // With it made, there must be more left than would have it released again.
        if !self.held() && free >= 2 * self.bytes + LOW {
            return self.make();
        }
        Ok(())
    }

    fn release(&self) -> io::Result<()> {
        tracing::warn!("the disk is full: the reserve is given up for delivery, and records are refused");
        self.disk.remove(&self.path)?;
        self.held.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn make(&self) -> io::Result<()> {
        let made = self.fill();
        if made.is_err() {
            // A part of a reserve is worth less than its space.
            let _ = self.disk.remove(&self.path);
        }
        made?;
        tracing::info!("a reserve for a full disk is set aside");
        self.held.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Noise, because a file system that compresses would take no blocks for zeros.
    fn fill(&self) -> io::Result<()> {
        let mut noise = vec![0; usize::try_from(PIECE).expect("a mebibyte fits")];
        getrandom::fill(&mut noise).map_err(|error| io::Error::other(error.to_string()))?;
        let file = self.disk.create(&self.path)?;
        let mut at = 0;
        while at < self.bytes {
            let piece = PIECE.min(self.bytes - at);
            file.write_at(&noise[..usize::try_from(piece).expect("at most a piece")], at)?;
            file.push_out(at, piece)?;
            at += piece;
        }
        file.sync_data()
    }

    fn free(&self) -> io::Result<u64> {
        self.disk.free_bytes(self.path.parent().expect("it stands in a directory"))
    }
}

#[cfg(test)]
mod tests {
    use hydrant_disk::faulty::Fault;
    use hydrant_disk::{FaultyDisk, RealDisk};

    use super::*;

    fn real_blocks(path: &Path) -> u64 {
        std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(path).unwrap()) * 512
    }

    #[test]
    fn a_full_disk_gets_the_blocks_and_gives_them_back() {
        let dir = tempfile::tempdir().unwrap();
        let (path, disk) = (dir.path().join("reserve"), FaultyDisk::new(Arc::new(RealDisk::new())));
        let reserve = Reserve::open(Arc::new(disk.clone()), dir.path()).unwrap();
        assert!(!reserve.held() && !path.exists(), "a start does not wait for it");
        for _ in 0..2 {
            disk.set_full(false);
            // Once more changes nothing.
            for _ in 0..2 {
                reserve.tend().unwrap();
                assert!(reserve.held() && real_blocks(&path) >= reserve.bytes());
            }
            disk.set_full(true);
            for _ in 0..2 {
                reserve.tend().unwrap();
                assert!(!reserve.held() && !path.exists());
            }
        }
    }

    #[test]
    fn a_start_on_a_full_disk_gives_them_up_first() {
        let dir = tempfile::tempdir().unwrap();
        let disk = FaultyDisk::new(Arc::new(RealDisk::new()));
        let open = || Reserve::open(Arc::new(disk.clone()), dir.path()).unwrap();
        let made = open();
        made.tend().unwrap();
        assert_eq!((open().held(), open().bytes()), (true, made.bytes()), "it is kept as it is");
        disk.set_full(true);
        assert!(!open().held() && !dir.path().join("reserve").exists());
    }

    #[test]
    fn one_that_was_cut_off_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("reserve");
        let disk = FaultyDisk::new(Arc::new(RealDisk::new()));
        std::fs::write(&path, "cut off").unwrap();
        let reserve = Reserve::open(Arc::new(disk.clone()), dir.path()).unwrap();
        assert!(!reserve.held() && !path.exists());
        disk.inject(Fault::Sync(3));
        assert!(reserve.tend().is_err());
        assert!(!reserve.held() && !path.exists(), "what is half made is given back");
        reserve.tend().unwrap();
        assert!(reserve.held() && real_blocks(&path) >= reserve.bytes());
    }
}
