//! Faults as data, around any [`Disk`].
//!
//! Invariant: a call that is made to fail has no effect below, except a sync, whose bytes may well have arrived.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::{Disk, DiskFile, FileIdentity};

/// What goes wrong, once each. Calls count from 1, over the disk and all its files together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This call fails with an I/O error, whatever it is.
    Call(u64),
    /// This sync (of a file or directory, or a push-out) fails with an I/O error.
    Sync(u64),
    /// This call and all later ones fail: the device is gone.
    From(u64),
}

/// A disk that fails when told to. Clones share their counters and faults.
#[derive(Clone, Debug)]
pub struct FaultyDisk {
    inner: Arc<dyn Disk>,
    plan: Arc<Plan>,
}

#[derive(Debug, Default)]
struct Plan {
    faults: Mutex<Vec<Fault>>,
    calls: AtomicU64,
    syncs: AtomicU64,
    full: AtomicBool,
    held: Mutex<Held>,
    changed: Condvar,
}

/// Syncs that hang, as those of a device that has stopped answering.
#[derive(Debug, Default)]
struct Held {
    on: bool,
    waiting: u64,
}

impl FaultyDisk {
    #[must_use]
    pub fn new(inner: Arc<dyn Disk>) -> FaultyDisk {
        FaultyDisk { inner, plan: Arc::default() }
    }

    pub fn inject(&self, fault: Fault) {
        self.plan.faults.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
    }

    /// Forgets all faults. Counters go on.
    pub fn heal(&self) {
        self.plan.faults.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.set_full(false);
    }

    /// While on, whatever needs new blocks fails with `StorageFull` and no byte is free. Blocks that a file has
    /// already can still be written, as on a real file system.
    pub fn set_full(&self, full: bool) {
        self.plan.full.store(full, Ordering::SeqCst);
    }

    /// While on, a sync does not return.
    pub fn hold_syncs(&self, on: bool) {
        self.plan.held.lock().unwrap_or_else(PoisonError::into_inner).on = on;
        self.plan.changed.notify_all();
    }

    /// Returns once a sync hangs.
    pub fn await_held_sync(&self) {
        let held = self.plan.held.lock().unwrap_or_else(PoisonError::into_inner);
        let hangs = self.plan.changed.wait_while(held, |held| held.waiting == 0);
        drop(hangs.unwrap_or_else(PoisonError::into_inner));
    }

    /// Calls so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.plan.calls.load(Ordering::SeqCst)
    }

    /// Syncs so far: of files, of directories, and push-outs.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.plan.syncs.load(Ordering::SeqCst)
    }

    fn wrap(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(FaultyFile { inner: file, plan: Arc::clone(&self.plan) })
    }
}

impl Plan {
    fn call(&self) -> io::Result<()> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        self.strike(|fault| match fault {
            Fault::Call(n) => n == number,
            Fault::From(n) => n <= number,
            Fault::Sync(_) => false,
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.call()?;
        self.wait_while_held();
        let number = self.syncs.fetch_add(1, Ordering::SeqCst) + 1;
        self.strike(|fault| fault == Fault::Sync(number))
    }

    fn wait_while_held(&self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if !held.on {
            return;
        }
        held.waiting += 1;
        self.changed.notify_all();
        held = self.changed.wait_while(held, |held| held.on).unwrap_or_else(PoisonError::into_inner);
        held.waiting -= 1;
    }

    fn growing(&self, grows: bool) -> io::Result<()> {
        self.call()?;
        if grows && self.full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn strike(&self, hit: impl Fn(Fault) -> bool) -> io::Result<()> {
        let faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        match faults.iter().find(|fault| hit(**fault)) {
            Some(fault) => Err(io::Error::other(format!("injected: {fault:?}"))),
            None => Ok(()),
        }
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.plan.growing(true)?;
        Ok(self.wrap(self.inner.create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.plan.call()?;
        Ok(self.wrap(self.inner.open(path)?))
    }

    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.plan.call()?;
        Ok(self.wrap(self.inner.open_write(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.plan.call()?;
        self.inner.rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.plan.call()?;
        self.inner.rename_new(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.plan.call()?;
        self.inner.remove(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.plan.growing(true)?;
        self.inner.create_dir(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.plan.call()?;
        self.inner.remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.plan.sync()?;
        self.inner.sync_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.plan.call()?;
        self.inner.list(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.plan.call()?;
        self.inner.exists(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.plan.call()?;
        if self.plan.full.load(Ordering::SeqCst) {
            return Ok(0);
        }
        self.inner.free_bytes(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        self.plan.call()?;
        self.inner.lock(path)
    }

    fn identity(&self, path: &Path) -> io::Result<FileIdentity> {
        self.plan.call()?;
        self.inner.identity(path)
    }

    fn random(&self) -> io::Result<u64> {
        self.plan.call()?;
        self.inner.random()
    }
}

#[derive(Debug)]
struct FaultyFile {
    inner: Arc<dyn DiskFile>,
    plan: Arc<Plan>,
}

impl FaultyFile {
    fn grows_to(&self, end: u64) -> io::Result<bool> {
        Ok(end > self.inner.len()?)
    }
}

impl DiskFile for FaultyFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.plan.call()?;
        self.inner.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.plan.growing(self.grows_to(offset + buf.len() as u64)?)?;
        self.inner.write_at(buf, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.plan.sync()?;
        self.inner.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        self.plan.call()?;
        self.inner.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.plan.call()?;
        self.inner.set_len(len)
    }

    fn fill_zero(&self, offset: u64, len: u64) -> io::Result<()> {
        self.plan.growing(self.grows_to(offset + len)?)?;
        self.inner.fill_zero(offset, len)
    }

    fn push_out(&self, offset: u64, len: u64) -> io::Result<()> {
        self.plan.sync()?;
        self.inner.push_out(offset, len)
    }

    fn forget(&self, offset: u64, len: u64) -> io::Result<()> {
        self.plan.call()?;
        self.inner.forget(offset, len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RealDisk;

    #[test]
    fn exactly_the_named_call_or_sync_fails() {
        let dir = tempfile::tempdir().unwrap();
        let disk = FaultyDisk::new(Arc::new(RealDisk::new()));
        disk.inject(Fault::Call(2));
        disk.inject(Fault::Sync(2));
        let file = disk.create(&dir.path().join("a")).unwrap();
        assert!(file.write_at(b"a", 0).is_err());
        file.write_at(b"a", 0).unwrap();
        file.sync_data().unwrap();
        assert!(file.sync_data().is_err());
        assert_eq!((disk.calls(), disk.syncs()), (5, 2));
        disk.inject(Fault::From(7));
        file.len().unwrap();
        assert!(file.len().is_err() && file.len().is_err());
        disk.heal();
        assert_eq!(file.len().unwrap(), 1);
    }

    #[test]
    fn a_full_disk_refuses_new_blocks_only() {
        let dir = tempfile::tempdir().unwrap();
        let disk = FaultyDisk::new(Arc::new(RealDisk::new()));
        let file = disk.create(&dir.path().join("a")).unwrap();
        file.fill_zero(0, 100).unwrap();
        disk.set_full(true);
        file.write_at(b"fits", 96).unwrap();
        assert_eq!(file.write_at(b"grows", 96).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(disk.free_bytes(dir.path()).unwrap(), 0);
        disk.set_full(false);
        file.write_at(b"grows", 96).unwrap();
    }
}
