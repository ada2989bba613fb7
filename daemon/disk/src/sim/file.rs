//! One simulated file: what the page cache shows, and what the medium holds.
//!
//! Invariant: the medium changes only by a sync, by rot, or when power is lost, and never by reading.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::{Fate, Unsynced};

pub(super) const SECTOR: u64 = 512;
pub(super) const PAGE: u64 = 4096;
const SECTORS: u64 = PAGE / SECTOR;
const PAGE_BYTES: usize = 4096;
const SECTOR_BYTES: usize = 512;

/// Pages are shared between copies of a disk until one of them writes; `None` is all zeros.
type Bytes = Option<Arc<[u8; PAGE_BYTES]>>;

static ZEROS: [u8; PAGE_BYTES] = [0; PAGE_BYTES];

#[derive(Clone, Debug, Default)]
struct Page {
    cached: Bytes,
    medium: Bytes,
    /// One bit for each sector that was written since the last sync.
    dirty: u8,
    /// It has a block; a hole has none.
    allocated: bool,
}

#[derive(Debug, Default)]
pub(super) struct File {
    pages: Vec<Page>,
    len: u64,
    medium_len: u64,
    /// Lengths since the last sync, in order; the last is `len`.
    lens: Vec<u64>,
    /// Bytes of sectors that were written again before they were synced: a write-out may have come in between.
    overwritten: Vec<(u64, [u8; SECTOR_BYTES])>,
    pub(super) locked: Arc<AtomicBool>,
}

impl File {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn allocated_bytes(&self) -> u64 {
        self.pages.iter().filter(|page| page.allocated).count() as u64 * PAGE
    }

    /// Blocks that a write of this range would take, in bytes.
    pub(super) fn missing_bytes(&self, offset: u64, len: u64) -> u64 {
        if len == 0 {
            return 0;
        }
        let pages = offset / PAGE..(offset + len).div_ceil(PAGE);
        pages.filter(|number| !self.pages.get(index(*number)).is_some_and(|page| page.allocated)).count() as u64 * PAGE
    }

    pub(super) fn read(&self, buf: &mut [u8], offset: u64) -> usize {
        let len = index(self.len.saturating_sub(offset).min(buf.len() as u64));
        for (number, within, part) in parts(offset, len) {
            let bytes = bytes_of(self.pages.get(number).and_then(|page| page.cached.as_ref()));
            buf[part.clone()].copy_from_slice(&bytes[within..within + part.len()]);
        }
        len
    }

    pub(super) fn write(&mut self, buf: &[u8], offset: u64) {
        self.reach(offset + buf.len() as u64, !buf.is_empty());
        for (number, within, part) in parts(offset, buf.len()) {
            let piece = &buf[part];
            self.touch(number, within, piece.len());
            writable(&mut self.pages[number].cached)[within..within + piece.len()].copy_from_slice(piece);
        }
    }

    pub(super) fn fill_zero(&mut self, offset: u64, len: u64) {
        self.reach(offset + len, len > 0);
        for (number, within, part) in parts(offset, index(len)) {
            self.touch(number, within, part.len());
            let page = &mut self.pages[number];
            if part.len() == PAGE_BYTES {
                page.cached = None;
            } else if page.cached.is_some() {
                writable(&mut page.cached)[within..within + part.len()].fill(0);
            }
        }
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len == self.len {
            return;
        }
        self.overwritten.retain(|(sector, _)| sector * SECTOR < len);
        self.pages.resize_with(index(len.max(self.medium_len).div_ceil(PAGE)), Page::default);
        for (number, page) in self.pages.iter_mut().enumerate() {
            let start = number as u64 * PAGE;
            clear_from(&mut page.cached, start, len);
            if start >= len {
                page.dirty = 0;
                page.allocated = false;
            } else if start + PAGE > len {
                page.dirty &= mask(0, (len - start).div_ceil(SECTOR));
            }
        }
        self.len = len;
        self.lens.push(len);
    }

    /// All of it is on the medium.
    pub(super) fn sync(&mut self) {
        self.settle(&mut |_| Fate::Arrived);
        self.lens.clear();
    }

    /// A sync that went wrong: what `decide` says arrives, and every page counts as clean from now on. Its length is
    /// kept by the journal of the file system, and may still arrive.
    pub(super) fn sync_badly(&mut self, decide: &mut dyn FnMut(Unsynced) -> Fate) {
        if self.settle(decide) {
            self.lens.clear();
        }
    }

    /// The file that is found after power was lost.
    pub(super) fn after_power_loss(&self, decide: &mut dyn FnMut(Unsynced) -> Fate) -> File {
        let mut file = self.copy();
        file.settle(decide);
        file.lens.clear();
        file.len = file.medium_len;
        file.pages.truncate(index(file.len.div_ceil(PAGE)));
        for (number, page) in file.pages.iter_mut().enumerate() {
            clear_from(&mut page.medium, number as u64 * PAGE, file.len);
            page.cached = page.medium.clone();
        }
        file
    }

    /// The same file for another process, or on a copied disk. Nobody has it locked.
    pub(super) fn copy(&self) -> File {
        File {
            pages: self.pages.clone(),
            len: self.len,
            medium_len: self.medium_len,
            lens: self.lens.clone(),
            overwritten: self.overwritten.clone(),
            locked: Arc::default(),
        }
    }

    /// Clean pages that lie in the range are dropped, so the medium is read again.
    pub(super) fn forget(&mut self, offset: u64, len: u64) {
        let end = if len == 0 { u64::MAX } else { offset.saturating_add(len) };
        // What was cut off since the last sync must not come back.
        let floor = self.lens.iter().copied().min().unwrap_or(u64::MAX);
        for (number, page) in self.pages.iter_mut().enumerate() {
            let start = number as u64 * PAGE;
            if offset <= start && end >= (start + PAGE).min(self.len) {
                let kept = std::mem::replace(&mut page.cached, page.medium.clone());
                clear_from(&mut page.cached, start, floor.min(self.len));
                copy_sectors(&kept, &mut page.cached, page.dirty);
            }
        }
    }

    /// Flips bits of one byte on the medium. What is cached stays as it is.
    pub(super) fn rot(&mut self, offset: u64, flip: u8) {
        if let Some(page) = self.pages.get_mut(index(offset / PAGE)) {
            writable(&mut page.medium)[index(offset % PAGE)] ^= flip;
        }
    }

    /// Brings unsynced bytes and lengths to the medium as decided, and calls everything clean. True if all lengths came.
    fn settle(&mut self, decide: &mut dyn FnMut(Unsynced) -> Fate) -> bool {
        let limit = self.settle_len(decide);
        let overwritten = std::mem::take(&mut self.overwritten);
        for number in 0..self.pages.len() {
            let page = &mut self.pages[number];
            let dirty = std::mem::take(&mut page.dirty);
            if dirty == 0 || (page.cached.is_none() && page.medium.is_none()) {
                continue;
            }
            let mut arrived = 0;
            for within in 0..SECTORS {
                let sector = number as u64 * SECTORS + within;
                if dirty & mask(within, 1) == 0 || sector * SECTOR >= limit || !differs(page, within) {
                    continue;
                }
                match decide(Unsynced::Sector(sector)) {
                    Fate::Lost => {}
                    Fate::Arrived => arrived |= mask(within, 1),
                    Fate::Torn(cut) => tear(page, within, usize::from(cut)),
                    Fate::Older(choice) => older(page, within, &overwritten, sector, choice),
                }
            }
            copy_sectors(&page.cached, &mut page.medium, arrived);
            if page.cached == page.medium {
                page.medium = page.cached.clone();
            }
        }
        limit == u64::MAX
    }

    /// Lengths arrive in order. Returns the first byte that cannot be there because a change of length is not.
    fn settle_len(&mut self, decide: &mut dyn FnMut(Unsynced) -> Fate) -> u64 {
        for (at, len) in self.lens.iter().enumerate() {
            let before = self.medium_len;
            self.medium_len = match decide(Unsynced::Length) {
                Fate::Arrived => *len,
                Fate::Torn(part) if *len > before => before + (len - before) / SECTOR * u64::from(part) / SECTOR,
                _ => before,
            };
            if self.medium_len < before {
                for (number, page) in self.pages.iter_mut().enumerate() {
                    clear_from(&mut page.medium, number as u64 * PAGE, self.medium_len);
                }
            }
            if self.medium_len != *len {
                return self.lens[at..].iter().copied().min().unwrap_or(u64::MAX);
            }
        }
        u64::MAX
    }

    /// Makes the file at least `end` long, if anything is written at all.
    fn reach(&mut self, end: u64, writes: bool) {
        if writes && end > self.len {
            let pages = index(end.div_ceil(PAGE));
            if pages > self.pages.len() {
                self.pages.resize_with(pages, Page::default);
            }
            self.len = end;
            self.lens.push(end);
        }
    }

    fn touch(&mut self, number: usize, within: usize, len: usize) {
        let page = &mut self.pages[number];
        page.allocated = true;
        let (first, end) = (within / SECTOR_BYTES, (within + len).div_ceil(SECTOR_BYTES));
        for sector in first..end {
            let bit = mask(sector as u64, 1);
            if page.dirty & bit != 0 && page.cached.is_some() {
                let mut old = [0; SECTOR_BYTES];
                old.copy_from_slice(&bytes_of(page.cached.as_ref())[sector * SECTOR_BYTES..][..SECTOR_BYTES]);
                self.overwritten.push(((number as u64) * SECTORS + sector as u64, old));
            }
            page.dirty |= bit;
        }
    }
}

/// Page number, place in the page, and range of the buffer for each page that a range touches.
fn parts(offset: u64, len: usize) -> impl Iterator<Item = (usize, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let within = index(at % PAGE);
        let piece = (PAGE_BYTES - within).min(len - done);
        let part = (index(at / PAGE), within, done..done + piece);
        done += piece;
        (piece > 0).then_some(part)
    })
}

fn mask(first: u64, count: u64) -> u8 {
    let bits = ((1_u16 << count) - 1) << first;
    u8::try_from(bits & 0xff).expect("eight bits")
}

fn differs(page: &Page, within: u64) -> bool {
    let at = index(within * SECTOR);
    bytes_of(page.cached.as_ref())[at..][..SECTOR_BYTES] != bytes_of(page.medium.as_ref())[at..][..SECTOR_BYTES]
}

fn copy_sectors(from: &Bytes, to: &mut Bytes, which: u8) {
    if which == 0 {
        return;
    }
    if which == u8::MAX {
        to.clone_from(from);
        return;
    }
    for within in (0..SECTORS).filter(|within| which & mask(*within, 1) != 0) {
        let at = index(within * SECTOR);
        writable(to)[at..at + SECTOR_BYTES].copy_from_slice(&bytes_of(from.as_ref())[at..at + SECTOR_BYTES]);
    }
}

/// The first `cut` bytes of the sector are new, the others are what stood there.
fn tear(page: &mut Page, within: u64, cut: usize) {
    let (at, cut) = (index(within * SECTOR), cut.min(SECTOR_BYTES));
    writable(&mut page.medium)[at..at + cut].copy_from_slice(&bytes_of(page.cached.as_ref())[at..at + cut]);
}

/// One of the contents that the sector had between two syncs, if it had any.
fn older(page: &mut Page, within: u64, kept: &[(u64, [u8; SECTOR_BYTES])], sector: u64, choice: u16) {
    let of_it: Vec<_> = kept.iter().filter(|(number, _)| *number == sector).collect();
    if let Some((_, bytes)) = usize::from(choice).checked_rem(of_it.len()).map(|at| of_it[at]) {
        let at = index(within * SECTOR);
        writable(&mut page.medium)[at..at + SECTOR_BYTES].copy_from_slice(bytes);
    }
}

/// Zeros from `len` on, in a page that starts at `start`.
fn clear_from(bytes: &mut Bytes, start: u64, len: u64) {
    if start >= len {
        *bytes = None;
    } else if start + PAGE > len && bytes.is_some() {
        writable(bytes)[index(len - start)..].fill(0);
    }
}

fn bytes_of(bytes: Option<&Arc<[u8; PAGE_BYTES]>>) -> &[u8; PAGE_BYTES] {
    bytes.map_or(&ZEROS, |bytes| bytes)
}

fn writable(bytes: &mut Bytes) -> &mut [u8; PAGE_BYTES] {
    Arc::make_mut(bytes.get_or_insert_with(|| Arc::new(ZEROS)))
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("a simulated file fits in memory")
}
