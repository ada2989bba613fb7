//! A disk in memory that loses what a real one may lose.
//!
//! Invariant: everything is decided by seeds. The same calls on a disk of the same seed give the same bytes.
//!
//! The page cache and the medium are kept apart, by sectors of 512 bytes. [`SimDisk::crash`] is a process that was
//! killed: the page cache survives. [`SimDisk::power_loss`] leaves what the medium may hold: each sector that was not
//! synced may be lost, be there, be there as it was before it was written again, or be torn (the first bytes new, the
//! others old, for a device keeps its hands off sectors that it was not writing); each change of a name or a length may be lost, lengths in
//! order, names in order of those that touch the same name. A failed or swallowed sync leaves pages in the cache that
//! count as clean, yet are not on the medium until [`DiskFile::forget`] drops them. Names and lengths are in a journal
//! that survives a failed sync, as in real file systems: those that cannot keep it go read-only.

mod dice;
mod file;
mod names;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use dice::Dice;

use self::file::File;
use self::names::{Change, Inode, Names, Node, parent};
use crate::{Disk, DiskFile};

/// Bytes of a sector: what a device writes whole or tears.
pub const SECTOR_BYTES: u64 = file::SECTOR;

/// How a sync of a file goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncFault {
    /// It fails; part of the bytes arrived, and all pages count as clean.
    Reported,
    /// The same, but somebody else was told of the failure, and this call succeeds. Of a directory nothing is lost.
    Swallowed,
}

/// Something that is not durable when power is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsynced {
    /// The creation, renaming or removal of a name.
    Name,
    /// A change of a file's length.
    Length,
    /// This sector of a file.
    Sector(u64),
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Lost,
    Arrived,
    /// A sector: so many of its first bytes are new. A growing length: so many 512ths of the way. A name: lost.
    Torn(u16),
    /// A sector that was written several times since the last sync: one of the contents in between. Others: lost.
    Older(u16),
}

/// Clones are the same disk.
#[derive(Clone, Debug)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    /// One stream of numbers for all copies of a disk, so that no two lives of a log draw the same epoch.
    random: Arc<AtomicU64>,
}

#[derive(Debug)]
struct State {
    names: Names,
    inodes: u64,
    syncs: u64,
    faults: Vec<(u64, SyncFault)>,
    capacity: Option<u64>,
    short_reads: bool,
    dice: Dice,
}

impl SimDisk {
    /// An empty disk: `/` is there, and so is the working directory.
    #[must_use]
    pub fn new(seed: u64) -> SimDisk {
        let state = State {
            names: Names::default(),
            inodes: 0,
            syncs: 0,
            faults: Vec::new(),
            capacity: None,
            short_reads: false,
            dice: Dice::new(seed),
        };
        SimDisk { state: Arc::new(Mutex::new(state)), random: Arc::new(AtomicU64::new(Dice::new(!seed).roll())) }
    }

    /// The disk as another process finds it after this one was killed, or as a copy of a machine would have it. This
    /// one stays as it is. Faults do not go along; a limit of space does.
    #[must_use]
    pub fn crash(&self) -> SimDisk {
        let state = self.state();
        self.copied(&state, state.names.clone(), |file| file.copy())
    }

    /// The disk as it may be after power was lost. Any number of seeds may be tried; this one stays as it is.
    #[must_use]
    pub fn power_loss(&self, seed: u64) -> SimDisk {
        let mut losses = Losses::new(seed);
        self.power_loss_by(&mut |unsynced| losses.fate(unsynced))
    }

    /// Power loss with named losses. Names are asked for first, then each file in the order of creation: its
    /// lengths, then its sectors. Nothing is asked about a sector that is on the medium with the same bytes.
    #[must_use]
    pub fn power_loss_by(&self, decide: &mut dyn FnMut(Unsynced) -> Fate) -> SimDisk {
        let state = self.state();
        let names = state.names.after_power_loss(decide);
        self.copied(&state, names, |file| file.after_power_loss(decide))
    }

    /// Has the `nth` sync from now on go wrong, 1 being the next. Syncs of files and directories and push-outs count.
    pub fn fail_sync(&self, nth: u64, fault: SyncFault) {
        let mut state = self.state();
        let number = state.syncs + nth;
        state.faults.push((number, fault));
    }

    /// Syncs so far.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// Forgets faults that have not struck.
    pub fn heal(&self) {
        self.state().faults.clear();
    }

    /// Blocks that files may take, in bytes; `None` is no limit. A removed file counts until its removal is
    /// durable.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// While on, a read gives fewer bytes than asked for, one at least.
    pub fn set_short_reads(&self, on: bool) {
        self.state().short_reads = on;
    }

    /// Flips bits of one byte on the medium. The page cache shows them once it has forgotten the page.
    pub fn rot(&self, path: &Path, offset: u64, flip: u8) -> io::Result<()> {
        let inode = self.state().names.file(path)?.clone();
        locked(&inode.file).rot(offset, flip);
        Ok(())
    }

    /// Drops the clean pages of all files.
    pub fn drop_caches(&self) {
        for inode in self.state().names.inodes().into_values() {
            locked(&inode.file).forget(0, 0);
        }
    }

    fn copied(&self, state: &State, mut names: Names, mut copy: impl FnMut(&File) -> File) -> SimDisk {
        let copies = names.inodes().into_iter().map(|(number, inode)| {
            let file = copy(&locked(&inode.file));
            (number, Arc::new(Mutex::new(file)))
        });
        let copies = copies.collect();
        names.replace_files(&copies);
        let copied = State {
            names,
            inodes: state.inodes,
            syncs: state.syncs,
            faults: Vec::new(),
            capacity: state.capacity,
            short_reads: state.short_reads,
            dice: state.dice.clone(),
        };
        SimDisk { state: Arc::new(Mutex::new(copied)), random: Arc::clone(&self.random) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    fn opened(&self, inode: &Inode, writable: bool) -> Arc<dyn DiskFile> {
        Arc::new(SimFile { disk: self.clone(), file: Arc::clone(&inode.file), writable })
    }

    fn renamed(&self, from: &Path, to: &Path, replace: bool) -> io::Result<()> {
        let mut state = self.state();
        if state.names.get(from).is_none() {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.names.dir(parent(to))?;
        if !replace && state.names.get(to).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if from != to {
            state.names.change(Change::Rename(from.to_owned(), to.to_owned()));
        }
        Ok(())
    }
}

impl State {
    /// What befalls the sync that begins now.
    fn sync_fault(&mut self) -> Option<SyncFault> {
        self.syncs += 1;
        let at = self.faults.iter().position(|(number, _)| *number == self.syncs)?;
        Some(self.faults.swap_remove(at).1)
    }

    fn add(&mut self, path: &Path, node: Node) -> io::Result<()> {
        self.names.dir(parent(path))?;
        if self.names.get(path).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.names.change(Change::Add(path.to_owned(), node));
        Ok(())
    }

    fn free_bytes(&self) -> u64 {
        let Some(capacity) = self.capacity else { return u64::MAX / 2 };
        let used = self.names.inodes().into_values().map(|inode| locked(&inode.file).allocated_bytes());
        capacity.saturating_sub(used.sum())
    }
}

impl Disk for SimDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        state.inodes += 1;
        let inode = Inode { number: state.inodes, file: Arc::default() };
        state.add(path, Node::File(inode.clone()))?;
        Ok(self.opened(&inode, true))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.opened(self.state().names.file(path)?, false))
    }

    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.opened(self.state().names.file(path)?, true))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.renamed(from, to, true)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.renamed(from, to, false)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.names.file(path)?;
        state.names.change(Change::Remove(path.to_owned()));
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.state().add(path, Node::Dir)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        for path in state.names.tree(path) {
            state.names.change(Change::Remove(path));
        }
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.names.dir(path)?;
        if state.sync_fault() == Some(SyncFault::Reported) {
            let mut losses = Losses::new(state.dice.roll());
            state.names.sync_badly(&mut |unsynced| losses.fate(unsynced));
            return Err(broken());
        }
        state.names.sync_dir(path);
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let state = self.state();
        state.names.dir(path)?;
        Ok(state.names.children(path))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.state().names.get(path).is_some())
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        Ok(self.state().free_bytes())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let inode = self.state().names.file(path)?.clone();
        let held = Arc::clone(&locked(&inode.file).locked);
        if held.swap(true, Ordering::SeqCst) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Lock { held }))
    }

    fn random(&self) -> io::Result<u64> {
        Ok(Dice::new(self.random.fetch_add(1, Ordering::SeqCst)).roll())
    }
}

struct Lock {
    held: Arc<AtomicBool>,
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.held.store(false, Ordering::SeqCst);
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    file: Arc<Mutex<File>>,
    writable: bool,
}

impl SimFile {
    /// The file, if a write of this range is allowed and has room.
    fn room(&self, offset: u64, len: u64) -> io::Result<MutexGuard<'_, File>> {
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let state = self.disk.state();
        let missing = locked(&self.file).missing_bytes(offset, len);
        if missing > 0 && missing > state.free_bytes() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        drop(state);
        Ok(locked(&self.file))
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        let mut len = buf.len();
        if state.short_reads && len > 1 {
            len = 1 + usize::try_from(state.dice.below(len as u64)).expect("at most what was asked for");
        }
        drop(state);
        Ok(locked(&self.file).read(&mut buf[..len], offset))
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.room(offset, buf.len() as u64)?.write(buf, offset);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let Some(fault) = state.sync_fault() else {
            locked(&self.file).sync();
            return Ok(());
        };
        let mut losses = Losses::new(state.dice.roll());
        locked(&self.file).sync_badly(&mut |unsynced| losses.fate(unsynced));
        if fault == SyncFault::Reported { Err(broken()) } else { Ok(()) }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(locked(&self.file).len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.room(0, 0)?.set_len(len);
        Ok(())
    }

    fn fill_zero(&self, offset: u64, len: u64) -> io::Result<()> {
        self.room(offset, len)?.fill_zero(offset, len);
        Ok(())
    }

    fn push_out(&self, _offset: u64, _len: u64) -> io::Result<()> {
        self.sync_data()
    }

    fn forget(&self, offset: u64, len: u64) -> io::Result<()> {
        locked(&self.file).forget(offset, len);
        Ok(())
    }
}

/// Losses in the manner of one accident: devices that had written nothing, nearly all, or anything in between.
struct Losses {
    dice: Dice,
    /// Of 8 things so many arrive.
    arriving: u64,
    /// What comes after the first loss is lost too: a journal, or a device that writes in order.
    ordered: bool,
    names_stopped: bool,
    bytes_stopped: bool,
    torn: bool,
}

impl Losses {
    fn new(seed: u64) -> Losses {
        let mut dice = Dice::new(seed);
        let arriving = [0, 1, 4, 7, 7, 8][usize::try_from(dice.below(6)).expect("below 6")];
        let ordered = dice.chance(1, 3);
        Losses { dice, arriving, ordered, names_stopped: false, bytes_stopped: false, torn: false }
    }

    fn fate(&mut self, unsynced: Unsynced) -> Fate {
        let stopped = if unsynced == Unsynced::Name { &mut self.names_stopped } else { &mut self.bytes_stopped };
        if self.ordered && *stopped {
            return Fate::Lost;
        }
        if self.dice.chance(self.arriving, 8) {
            return Fate::Arrived;
        }
        *stopped = true;
        let part = u16::try_from(self.dice.below(SECTOR_BYTES)).expect("below 512");
        match unsynced {
            // One sector was under the head.
            Unsynced::Sector(_) if !self.torn && self.dice.chance(1, 4) => {
                self.torn = true;
                Fate::Torn(part)
            }
            Unsynced::Sector(_) if self.dice.chance(1, 8) => Fate::Older(part),
            Unsynced::Length if self.dice.chance(1, 4) => Fate::Torn(part),
            _ => Fate::Lost,
        }
    }
}

fn broken() -> io::Error {
    io::Error::other("simulated: the sync failed")
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod contract;
#[cfg(test)]
mod tests;
