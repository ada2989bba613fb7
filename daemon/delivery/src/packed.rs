//! The staged bytes of a chunk while they are put together: in memory while they are few, else in a file.
//!
//! Invariant: what `seal` returns is what was written, and a file that it leaves behind is on the medium, name and all.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use hydrant_disk::{Disk, StreamWriter};

use crate::inline::Inline;

/// One file, or the bytes of one.
pub(crate) struct Packed {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    inline_max: usize,
    /// Everything, until there is a file.
    memory: Vec<u8>,
    file: Option<StreamWriter>,
}

impl Packed {
    /// A file will be made at `path`, in place of what an earlier attempt left there, once there are more than `inline_max`
    /// bytes.
    pub(crate) fn new(disk: Arc<dyn Disk>, path: PathBuf, inline_max: usize) -> Packed {
        Packed { disk, path, inline_max, memory: Vec::new(), file: None }
    }

    /// Where the next byte goes.
    pub(crate) fn position(&self) -> u64 {
        self.file.as_ref().map_or(self.memory.len() as u64, StreamWriter::position)
    }

    /// Drops everything from `offset` on, to take back an object that was begun.
    pub(crate) fn truncate_to(&mut self, offset: u64) -> io::Result<()> {
        match &mut self.file {
            Some(file) => file.truncate_to(offset),
            None => {
                self.memory.truncate(usize::try_from(offset).unwrap_or(usize::MAX));
                Ok(())
            }
        }
    }

    /// The bytes, if they are few enough for the journal; else their file is durable on return.
    pub(crate) fn seal(self) -> io::Result<Option<Inline>> {
        let Some(file) = self.file else { return Ok(Some(Inline(self.memory.into()))) };
        file.finish()?.sync_data()?;
        self.disk.sync_dir(self.path.parent().expect("a staged file is in a directory"))?;
        Ok(None)
    }

    /// Nothing of it is wanted.
    pub(crate) fn discard(self) -> io::Result<()> {
        if self.file.is_some() { self.disk.remove(&self.path) } else { Ok(()) }
    }

    fn spill(&mut self) -> io::Result<&mut StreamWriter> {
        if self.disk.exists(&self.path)? {
            self.disk.remove(&self.path)?;
        }
        let mut file = StreamWriter::new(self.disk.create(&self.path)?, 0);
        file.write_all(&std::mem::take(&mut self.memory))?;
        Ok(self.file.insert(file))
    }
}

impl Write for Packed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(file) = &mut self.file {
            return file.write(bytes);
        }
        if self.memory.len() + bytes.len() > self.inline_max {
            return self.spill()?.write(bytes);
        }
        self.memory.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}

#[cfg(test)]
mod tests {
    use hydrant_disk::{RealDisk, read_exact_at};

    use super::*;

    fn packed(inline_max: usize) -> (tempfile::TempDir, Arc<dyn Disk>, Packed) {
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new());
        std::fs::write(dir.path().join("staged"), "left by an earlier attempt").unwrap();
        let packed = Packed::new(Arc::clone(&disk), dir.path().join("staged"), inline_max);
        (dir, disk, packed)
    }

    #[test]
    fn few_bytes_stay_in_memory_and_more_go_to_a_file() {
        for inline_max in [0, 4, 8, 9, 100] {
            let (dir, disk, mut packed) = packed(inline_max);
            packed.write_all(b"head").unwrap();
            packed.write_all(b" taken back").unwrap();
            packed.truncate_to(4).unwrap();
            packed.write_all(b" tail").unwrap();
            assert_eq!(packed.position(), 9);
            let found = match packed.seal().unwrap() {
                Some(inline) => inline.0.to_vec(),
                None => {
                    let file = disk.open(&dir.path().join("staged")).unwrap();
                    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
                    read_exact_at(&*file, &mut bytes, 0).unwrap();
                    bytes
                }
            };
            assert_eq!(found, b"head tail", "{inline_max}");
        }
    }

    #[test]
    fn what_was_discarded_leaves_no_file() {
        let (dir, _, mut packed) = packed(2);
        packed.write_all(b"bytes").unwrap();
        packed.discard().unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
