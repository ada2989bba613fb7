//! A disk on which a large backlog takes no room: what is written in large pieces becomes a hole.
//!
//! Headers, footers and the first block of every frame are real, so an opening that doesn't read bodies sees what it would see.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hydrant_disk::{Disk, DiskFile, RealDisk};

/// Of a write that is longer than this, only so much at its beginning is stored.
const STORED: usize = 4096;

#[derive(Clone, Debug)]
pub(super) struct SparseDisk {
    real: RealDisk,
    holes: Arc<AtomicBool>,
}

impl SparseDisk {
    pub(super) fn new() -> SparseDisk {
        SparseDisk { real: RealDisk::new(), holes: Arc::new(AtomicBool::new(true)) }
    }

    /// From now on everything is stored.
    pub(super) fn store_all(&self) {
        self.holes.store(false, Ordering::Relaxed);
    }

    fn wrap(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(SparseFile { real: file, holes: Arc::clone(&self.holes) })
    }
}

impl Disk for SparseDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.wrap(self.real.create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.wrap(self.real.open(path)?))
    }

    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.wrap(self.real.open_write(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.real.rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.real.rename_new(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.real.remove(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.real.create_dir(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.real.remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.real.sync_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.real.list(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.real.exists(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.real.free_bytes(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        self.real.lock(path)
    }
}

#[derive(Debug)]
struct SparseFile {
    real: Arc<dyn DiskFile>,
    holes: Arc<AtomicBool>,
}

impl SparseFile {
    fn holes(&self) -> bool {
        self.holes.load(Ordering::Relaxed)
    }
}

impl DiskFile for SparseFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.real.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let stored = if self.holes() && buf.len() > STORED { STORED } else { buf.len() };
        self.real.write_at(&buf[..stored], offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.holes() { Ok(()) } else { self.real.sync_data() }
    }

    fn len(&self) -> io::Result<u64> {
        self.real.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.real.set_len(len)
    }

    fn fill_zero(&self, offset: u64, len: u64) -> io::Result<()> {
        if self.holes() { self.real.set_len(offset + len) } else { self.real.fill_zero(offset, len) }
    }

    fn push_out(&self, offset: u64, len: u64) -> io::Result<()> {
        if self.holes() { Ok(()) } else { self.real.push_out(offset, len) }
    }

    fn forget(&self, offset: u64, len: u64) -> io::Result<()> {
        self.real.forget(offset, len)
    }
}
