//! The file system of the machine.
//!
//! Invariant: nothing here repeats a call that failed, and nothing turns a failed sync into success.

use std::fs::{File, OpenOptions};
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::fs::{Advice, CWD, FlockOperation, RenameFlags};

use crate::{Disk, DiskFile, FileIdentity};

/// Written in pieces of at most this size: few enough to stay in a cache of the CPU.
static ZEROS: [u8; 256 << 10] = [0; 256 << 10];

/// Paths are used as given; relative ones count from the working directory.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk {
    _private: (),
}

impl RealDisk {
    #[must_use]
    pub fn new() -> RealDisk {
        RealDisk { _private: () }
    }
}

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        opened(OpenOptions::new().read(true).write(true).create_new(true), path)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        opened(OpenOptions::new().read(true), path)
    }

    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        opened(OpenOptions::new().read(true).write(true), path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        Ok(rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        match std::fs::remove_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        Ok(rustix::fs::fsync(File::open(path)?)?)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(path)? {
            names.push(PathBuf::from(entry?.file_name()));
        }
        names.sort();
        Ok(names)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let found = rustix::fs::statvfs(path)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(file))
    }

    fn identity(&self, path: &Path) -> io::Result<FileIdentity> {
        FileIdentity::of(path)
    }
}

fn opened(options: &OpenOptions, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
    Ok(Arc::new(RealFile { file: Arc::new(options.open(path)?), pushing: Mutex::default() }))
}

#[derive(Debug)]
struct RealFile {
    file: Arc<File>,
    /// What was begun to be pushed out last.
    pushing: Mutex<Option<JoinHandle<io::Result<()>>>>,
}

impl RealFile {
    /// Waits for it. Whoever is told of a failure is the only one: the kernel tells it once.
    fn pushed(&self) -> io::Result<()> {
        let pushing = self.pushing.lock().unwrap_or_else(PoisonError::into_inner).take();
        pushing.map_or(Ok(()), |pushing| pushing.join().unwrap_or_else(|_| Err(io::Error::other("a sync panicked"))))
    }
}

impl DiskFile for RealFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match self.file.read_at(buf, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(buf, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.pushed()?;
        Ok(rustix::fs::fdatasync(&self.file)?)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn fill_zero(&self, offset: u64, len: u64) -> io::Result<()> {
        let end = offset + len;
        let mut at = offset;
        while at < end {
            let piece = &ZEROS[..ZEROS.len().min(usize::try_from(end - at).unwrap_or(usize::MAX))];
            self.write_at(piece, at)?;
            at += piece.len() as u64;
        }
        Ok(())
    }

    /// An `fdatasync` on a thread of its own: the narrower `sync_file_range` cannot be called without unsafe code, and would
    /// not flush the device, nor tell of a failure in time.
    fn push_out(&self, _offset: u64, _len: u64) -> io::Result<()> {
        self.pushed()?;
        let file = Arc::clone(&self.file);
        let sync = move || Ok(rustix::fs::fdatasync(&file)?);
        match thread::Builder::new().name("push-out".to_owned()).spawn(sync) {
            Ok(pushing) => *self.pushing.lock().unwrap_or_else(PoisonError::into_inner) = Some(pushing),
            // No thread is to be had.
            Err(_) => self.sync_data()?,
        }
        Ok(())
    }

    fn forget(&self, offset: u64, len: u64) -> io::Result<()> {
        Ok(rustix::fs::fadvise(&self.file, offset, NonZeroU64::new(len), Advice::DontNeed)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read_exact_at;

    #[test]
    fn a_file_keeps_what_was_written_and_zeros_are_real_blocks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let disk = RealDisk::new();
        let file = disk.create(&path).unwrap();
        file.fill_zero(0, 3 << 20).unwrap();
        file.write_at(b"hello", 4096).unwrap();
        file.sync_data().unwrap();
        file.push_out(0, 4096).unwrap();
        file.forget(0, 4096).unwrap();
        assert_eq!(file.len().unwrap(), 3 << 20);
        let mut buf = [9; 6];
        read_exact_at(&*disk.open(&path).unwrap(), &mut buf, 4096).unwrap();
        assert_eq!(&buf, b"hello\0");
        let blocks = std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(&path).unwrap());
        assert!(blocks * 512 >= 3 << 20, "got {blocks} blocks: a hole would need metadata at the next sync");
        let error = read_exact_at(&*file, &mut buf, 3 << 20).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn taken_names_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::new();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        disk.create(&a).unwrap().write_at(b"a", 0).unwrap();
        disk.create(&b).unwrap();
        assert_eq!(disk.create(&a).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(disk.rename_new(&a, &b).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        disk.rename(&a, &b).unwrap();
        assert_eq!(disk.list(dir.path()).unwrap(), [PathBuf::from("b")]);
        assert_eq!(disk.open(&b).unwrap().len().unwrap(), 1);
        assert!(!disk.exists(&a).unwrap());
        disk.remove_dir_all(&a).unwrap();
        assert!(disk.free_bytes(dir.path()).unwrap() > 0);
    }

    #[test]
    fn a_lock_is_held_until_its_value_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("STORE");
        let disk = RealDisk::new();
        disk.create(&path).unwrap();
        let held = disk.lock(&path).unwrap();
        assert_eq!(disk.lock(&path).err().map(|error| error.kind()), Some(io::ErrorKind::WouldBlock));
        drop(held);
        assert!(disk.lock(&path).is_ok());
    }
}
