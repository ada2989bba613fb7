//! The plainest program that makes bytes durable: one file, one write and one fdatasync after the other.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A file that is written round and round, or that grows.
pub(super) struct Plain {
    file: File,
    /// Written with zeros before, so that no sync changes metadata; 0 for a file that grows.
    zeroed: u64,
    at: u64,
}

impl Plain {
    pub(super) fn growing(path: &Path) -> io::Result<Plain> {
        Ok(Plain { file: File::options().create(true).truncate(true).write(true).open(path)?, zeroed: 0, at: 0 })
    }

    pub(super) fn zeroed(path: &Path, bytes: u64) -> io::Result<Plain> {
        let mut plain = Plain::growing(path)?;
        let zeros = vec![0; 1 << 20];
        while plain.at < bytes {
            plain.file.write_all_at(&zeros, plain.at)?;
            plain.at += zeros.len() as u64;
        }
        (plain.zeroed, plain.at) = (plain.at, 0);
        rustix::fs::fdatasync(&plain.file)?;
        Ok(plain)
    }

    pub(super) fn write_and_sync(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.zeroed > 0 && self.at + bytes.len() as u64 > self.zeroed {
            self.at = 0;
        }
        self.file.write_all_at(bytes, self.at)?;
        self.at += bytes.len() as u64;
        Ok(rustix::fs::fdatasync(&self.file)?)
    }
}
