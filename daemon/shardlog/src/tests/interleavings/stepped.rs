//! A disk between whose calls anybody may run.
//!
//! Invariant: the scheduler is asked before each call and never within one, for the disk below has locks of its own.

use std::io;

use hydrant_disk::DiskFile;
use shuttle::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// Of a disk or of one of its files.
#[derive(Debug)]
pub(super) struct Stepped<T: ?Sized> {
    inner: Arc<T>,
    calls: Arc<AtomicU64>,
}

impl Stepped<dyn Disk> {
    pub(super) fn new(disk: &SimDisk) -> Stepped<dyn Disk> {
        Stepped { inner: Arc::new(disk.clone()), calls: Arc::default() }
    }
}

impl<T: ?Sized> Stepped<T> {
    fn step(&self) -> &T {
        self.calls.fetch_add(1, Ordering::SeqCst);
        &self.inner
    }

    fn file(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(Stepped { inner: file, calls: Arc::clone(&self.calls) })
    }
}

impl Disk for Stepped<dyn Disk> {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.step().create(path).map(|file| self.file(file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.step().open(path).map(|file| self.file(file))
    }

    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.step().open_write(path).map(|file| self.file(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step().rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step().rename_new(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step().remove(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.step().create_dir(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.step().remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.step().sync_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.step().list(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.step().exists(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.step().free_bytes(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        self.step().lock(path)
    }

    fn random(&self) -> io::Result<u64> {
        self.step().random()
    }
}

impl DiskFile for Stepped<dyn DiskFile> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.step().read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.step().write_at(buf, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.step().sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        self.step().len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.step().set_len(len)
    }

    fn fill_zero(&self, offset: u64, len: u64) -> io::Result<()> {
        self.step().fill_zero(offset, len)
    }

    fn push_out(&self, offset: u64, len: u64) -> io::Result<()> {
        self.step().push_out(offset, len)
    }

    fn forget(&self, offset: u64, len: u64) -> io::Result<()> {
        self.step().forget(offset, len)
    }
}
