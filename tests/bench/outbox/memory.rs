//! A disk that holds some directories in memory, where nothing is synced and nothing outlives the process; all else is real.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hydrant_disk::{Disk, DiskFile, RealDisk};

/// Of the address space only: a file that grows to about the size of a chunk is never moved.
const CAPACITY: usize = 96 << 20;

#[derive(Debug)]
pub(super) struct InMemory {
    real: RealDisk,
    directories: [PathBuf; 2],
    files: Mutex<BTreeMap<PathBuf, Arc<MemoryFile>>>,
}

#[derive(Debug, Default)]
struct MemoryFile(Mutex<Vec<u8>>);

impl InMemory {
    pub(super) fn new(directories: [PathBuf; 2]) -> InMemory {
        InMemory { real: RealDisk::new(), directories, files: Mutex::default() }
    }

    fn holds(&self, path: &Path) -> bool {
        self.directories.iter().any(|directory| path.starts_with(directory))
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Arc<MemoryFile>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn found(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        match self.files().get(path) {
            Some(file) => Ok(Arc::clone(file) as Arc<dyn DiskFile>),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Disk for InMemory {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        if !self.holds(path) {
            return self.real.create(path);
        }
        let file = Arc::new(MemoryFile(Mutex::new(Vec::with_capacity(CAPACITY))));
        match self.files().insert(path.to_owned(), Arc::clone(&file)) {
            None => Ok(file),
            Some(_) => Err(io::ErrorKind::AlreadyExists.into()),
        }
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        if self.holds(path) { self.found(path) } else { self.real.open(path) }
    }

    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        if self.holds(path) { self.found(path) } else { self.real.open_write(path) }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if !self.holds(from) {
            return self.real.rename(from, to);
        }
        let mut files = self.files();
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.holds(to) && self.files().contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if self.holds(from) { self.rename(from, to) } else { self.real.rename_new(from, to) }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if !self.holds(path) {
            return self.real.remove(path);
        }
        self.files().remove(path).map(|_| ()).ok_or(io::ErrorKind::NotFound.into())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        if self.holds(path) { Ok(()) } else { self.real.create_dir(path) }
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        if !self.holds(path) {
            return self.real.remove_dir_all(path);
        }
        self.files().retain(|file, _| !file.starts_with(path));
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        if self.holds(path) { Ok(()) } else { self.real.sync_dir(path) }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        if !self.holds(path) {
            return self.real.list(path);
        }
        let files = self.files();
        let below = files.keys().filter_map(|file| file.strip_prefix(path).ok());
        Ok(below.map(Path::to_owned).collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        if !self.holds(path) {
            return self.real.exists(path);
        }
        Ok(self.directories.iter().any(|directory| directory == path) || self.files().contains_key(path))
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.real.free_bytes(path.ancestors().find(|path| !self.holds(path)).unwrap_or(path))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        self.real.lock(path)
    }
}

impl MemoryFile {
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DiskFile for MemoryFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = self.bytes();
        let from = place(offset).min(bytes.len());
        let count = buf.len().min(bytes.len() - from);
        buf[..count].copy_from_slice(&bytes[from..from + count]);
        Ok(count)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let (mut bytes, from) = (self.bytes(), place(offset));
        if bytes.len() < from {
            bytes.resize(from, 0);
        }
        let over = buf.len().min(bytes.len() - from);
        bytes[from..from + over].copy_from_slice(&buf[..over]);
        bytes.extend_from_slice(&buf[over..]);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes().len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.bytes().resize(place(len), 0);
        Ok(())
    }

    fn fill_zero(&self, offset: u64, len: u64) -> io::Result<()> {
        let zeros = vec![0; place(len)];
        self.write_at(&zeros, offset)
    }

    fn push_out(&self, _offset: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn forget(&self, _offset: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).expect("a file in memory has a place for each byte")
}
