//! Scratch space for a chunk that is being gathered: records grouped by object, in little memory whatever the number of groups.
//!
//! Invariant: within a group the entries come back in the order in which they were pushed. Nothing here is durable or needs
//! to be: a crash before a chunk is staged starts again at the cursor. The file exists from the first block on.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use hydrant_disk::{Disk, DiskFile, read_exact_at};
use hydrant_record::{Lsn, Timestamp, Unit};

use crate::entries::{Entries, Entry};
use crate::group::Group;

/// What is held in memory before it goes to the file, over all groups.
const BLOCK_BYTES: usize = 1 << 20;
/// lsn u64 · sub u32 · arrived_at u64 · length u32, little-endian, then the data.
const HEADER_BYTES: usize = 24;

#[derive(Debug)]
pub(crate) struct Spool {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: Option<Arc<dyn DiskFile>>,
    length: u64,
    held: usize,
    groups: Vec<GroupState>,
    index: HashMap<Group, usize>,
    /// Of the last record: most come in runs. Only this one may have a buffer without bytes.
    latest: usize,
}

#[derive(Debug)]
struct GroupState {
    group: Group,
    extents: Vec<Extent>,
    held: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Extent {
    offset: u64,
    length: usize,
}

impl Spool {
    pub(crate) fn new(disk: Arc<dyn Disk>, path: PathBuf) -> Spool {
        let (groups, index) = (Vec::new(), HashMap::new());
        Spool { disk, path, file: None, length: 0, held: 0, groups, index, latest: 0 }
    }

    pub(crate) fn push(&mut self, group: Group, unit: Unit, arrived_at: Timestamp, data: &[u8]) -> io::Result<()> {
        let length = u32::try_from(data.len()).map_err(|_| io::Error::other("a record grew beyond 4 GiB"))?;
        let state = self.group(group);
        state.held.extend_from_slice(&unit.lsn.get().to_le_bytes());
        state.held.extend_from_slice(&unit.sub.to_le_bytes());
        state.held.extend_from_slice(&arrived_at.as_millis().to_le_bytes());
        state.held.extend_from_slice(&length.to_le_bytes());
        state.held.extend_from_slice(data);
        self.held += HEADER_BYTES + data.len();
        if self.held >= BLOCK_BYTES { self.write_out() } else { Ok(()) }
    }

    /// Moves what is held in memory to the file.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.held > 0 {
            self.write_out()?;
        }
        if let Some(latest) = self.groups.get_mut(self.latest) {
            latest.held = Vec::new();
        }
        Ok(())
    }

    /// A group that is alone keeps its buffer.
    fn write_out(&mut self) -> io::Result<()> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(create(&*self.disk, &self.path)?),
        };
        let length = self.held as u64;
        let latest = &mut self.groups[self.latest];
        if latest.held.len() == self.held {
            latest.extents.push(Extent { offset: self.length, length: self.held });
            file.write_at(&latest.held, self.length)?;
            latest.held.clear();
        } else {
            let mut block = Vec::with_capacity(self.held);
            for state in self.groups.iter_mut().filter(|state| !state.held.is_empty()) {
                let offset = self.length + block.len() as u64;
                state.extents.push(Extent { offset, length: state.held.len() });
                block.append(&mut state.held);
                state.held = Vec::new();
            }
            file.write_at(&block, self.length)?;
        }
        self.length += length;
        self.held = 0;
        Ok(())
    }

    /// Groups in order of their first record. Flush first.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().map(|state| &state.group)
    }

    /// The entries of a group that were flushed.
    pub(crate) fn read(&self, group: &Group) -> Entries {
        let extents = self.index.get(group).map(|&at| self.groups[at].extents.clone()).unwrap_or_default();
        Entries::Spool(SpoolReader { file: self.file.clone(), extents: extents.into(), next: 0, rest: Bytes::new() })
    }

    fn group(&mut self, group: Group) -> &mut GroupState {
        if self.groups.get(self.latest).is_some_and(|latest| latest.group == group) {
            return &mut self.groups[self.latest];
        }
        let at = *self.index.entry(group).or_insert_with_key(|group| {
            let group = group.clone();
            self.groups.push(GroupState { group, extents: Vec::new(), held: Vec::new() });
            self.groups.len() - 1
        });
        let before = std::mem::replace(&mut self.latest, at);
        if self.groups[before].held.is_empty() {
            self.groups[before].held = Vec::new();
        }
        &mut self.groups[at]
    }
}

impl Drop for Spool {
    /// Best effort: what stays is wiped at the next start.
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = self.disk.remove(&self.path);
        }
    }
}

/// In place of what an earlier attempt left there.
fn create(disk: &dyn Disk, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
    if disk.exists(path)? {
        disk.remove(path)?;
    }
    disk.create(path)
}

/// Reads a group, one extent in memory at a time. A clone reads again from the same place.
#[derive(Clone)]
pub(crate) struct SpoolReader {
    /// There is one where there are extents.
    file: Option<Arc<dyn DiskFile>>,
    extents: Arc<[Extent]>,
    next: usize,
    rest: Bytes,
}

impl Iterator for SpoolReader {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<io::Result<Entry>> {
        if self.rest.is_empty() {
            let (file, extent) = (self.file.as_ref()?, *self.extents.get(self.next)?);
            self.next += 1;
            let mut bytes = vec![0; extent.length];
            if let Err(error) = read_exact_at(&**file, &mut bytes, extent.offset) {
                return Some(Err(error));
            }
            self.rest = bytes.into();
        }
        Some(self.entry())
    }
}

impl SpoolReader {
    pub(crate) fn has_more(&self) -> bool {
        !self.rest.is_empty() || self.next < self.extents.len()
    }

    /// Bytes of the entries that are left, and a little for each.
    pub(crate) fn rest(&self) -> u64 {
        let extents = self.extents.iter().skip(self.next).map(|extent| extent.length as u64);
        self.rest.len() as u64 + extents.sum::<u64>()
    }

    fn entry(&mut self) -> io::Result<Entry> {
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the spool file was changed by somebody else");
        if self.rest.len() < HEADER_BYTES {
            return Err(damaged());
        }
        let lsn = Lsn::new(self.rest.get_u64_le()).ok_or_else(damaged)?;
        let sub = self.rest.get_u32_le();
        let arrived_at = Timestamp::from_millis(self.rest.get_u64_le());
        let length = self.rest.get_u32_le() as usize;
        if self.rest.len() < length {
            return Err(damaged());
        }
        Ok(Entry { unit: Unit { lsn, sub }, arrived_at, data: self.rest.split_to(length) })
    }
}

#[cfg(test)]
mod tests {
    use hydrant_disk::RealDisk;

    use super::*;
    use crate::group::ErrorType;

    const RECORD: [u8; 1_000] = [b'x'; 1_000];

    fn spool(dir: &Path) -> Spool {
        Spool::new(Arc::new(RealDisk::new()), dir.join("spool"))
    }

    fn push(spool: &mut Spool, group: Group, lsn: u64) {
        let unit = Unit { lsn: Lsn::new(lsn).unwrap(), sub: 0 };
        spool.push(group, unit, Timestamp::from_millis(lsn), &RECORD).unwrap();
    }

    fn group(at: usize) -> Group {
        Group::Errors(ErrorType::ALL[at])
    }

    fn lsns(spool: &Spool, of: &Group) -> Vec<u64> {
        spool.read(of).map(|entry| entry.unwrap().unit.lsn.get()).collect()
    }

    #[test]
    fn groups_come_back_in_order_alone_or_mixed() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = spool(dir.path());
        // Runs longer than a block, and groups in turns.
        for lsn in 1..=9_000 {
            let at = if lsn <= 6_000 { (lsn - 1) / 2_000 } else { lsn % 3 };
            push(&mut spool, group(usize::try_from(at).unwrap()), lsn);
        }
        spool.flush().unwrap();
        for at in 0..3 {
            let run = at * 2_000 + 1..=(at + 1) * 2_000;
            let expected: Vec<u64> = run.chain((6_001..=9_000).filter(|lsn| lsn % 3 == at)).collect();
            assert_eq!(lsns(&spool, &group(usize::try_from(at).unwrap())), expected);
        }
        drop(spool);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn memory_does_not_grow_with_the_number_of_groups() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = spool(dir.path());
        let held = |spool: &Spool| spool.groups.iter().map(|state| state.held.capacity()).sum::<usize>();
        for lsn in 1..=14_000 {
            push(&mut spool, group(usize::try_from(lsn / 2_001).unwrap()), lsn);
            assert!(held(&spool) <= 3 * BLOCK_BYTES, "{} bytes for {} groups", held(&spool), spool.groups.len());
        }
        spool.flush().unwrap();
        assert_eq!(held(&spool), 0);
    }
}
