//! The only crate that syncs. Everything durable goes through [`Disk`], so that tests can put faults under it.
//!
//! A name is durable only after [`Disk::sync_dir`] of its directory; bytes only after [`DiskFile::sync_data`].
//! After either has failed nobody may assume anything about what it covered, and nobody may call it again to find out.

mod durable;
pub mod faulty;
mod identity;
mod real;
pub mod sim;
mod stream;

pub use durable::{create_dir_durable, create_durable, replace_durable};
pub use faulty::FaultyDisk;
pub use identity::FileIdentity;
pub use real::RealDisk;
pub use sim::SimDisk;
pub use stream::StreamWriter;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file system below one data directory, or what a test puts in its place.
pub trait Disk: Send + Sync + fmt::Debug {
    /// A new, empty file for reading and writing. `AlreadyExists` if the name is taken.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// An existing file, for reading only.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// An existing file, for reading and writing.
    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Moves a name, replacing what stood at `to`. Durable after `sync_dir` of both directories.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// As `rename`, but `AlreadyExists` if `to` is taken; decided by the kernel, without a race.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Creates one directory; `AlreadyExists` if the name is taken. Durable after `sync_dir` of its parent.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory and all below it; not found is fine.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Makes names in this directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Names in a directory, sorted.
    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>>;
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Bytes that an unprivileged writer could still store.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;
    /// Takes the advisory lock of an existing file, for the life of the returned value. `WouldBlock` if another process has it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>>;
    /// What tells an existing file from a copy of it. A disk that is no file system holds no copies: there all are the same.
    fn identity(&self, _path: &Path) -> io::Result<FileIdentity> {
        Ok(FileIdentity::default())
    }
    /// 64 random bits from the operating system, for ids, epochs and salts.
    fn random(&self) -> io::Result<u64> {
        getrandom::u64().map_err(|error| io::Error::other(error.to_string()))
    }
}

/// An open file. Positions are explicit, so one file may be read by many and needs no lock.
#[expect(clippy::len_without_is_empty, reason = "nobody asks whether a file is empty")]
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Reads up to `buf.len()` bytes; 0 at the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `buf` or fails.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;
    /// `fdatasync`: bytes, and the length if it changed. Never repeat it on a file where it failed.
    fn sync_data(&self) -> io::Result<()>;
    fn len(&self) -> io::Result<u64>;
    /// Cuts or extends with a hole.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Real blocks that read as zero, so that a later sync of them changes no metadata. Not synced.
    fn fill_zero(&self, offset: u64, len: u64) -> io::Result<()>;
    /// Starts the write-out of a range, to keep a later sync short, and awaits the one that was started before on this value: so
    /// what is dirty stays little, and the caller works on meanwhile. Promises no durability, but a failure of it, told by the
    /// next call of this or of `sync_data`, is a failed sync.
    fn push_out(&self, offset: u64, len: u64) -> io::Result<()>;
    /// Tells the kernel that a range will not be read again soon.
    fn forget(&self, offset: u64, len: u64) -> io::Result<()>;
}

/// Reads exactly `buf.len()` bytes, `UnexpectedEof` if the file ends before.
pub fn read_exact_at(file: &dyn DiskFile, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buf.is_empty() {
        match file.read_at(buf, offset)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                buf = &mut buf[n..];
                offset += n as u64;
            }
        }
    }
    Ok(())
}
