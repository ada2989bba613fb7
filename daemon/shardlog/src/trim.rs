//! Taking away what nobody needs any more.
//!
//! Invariant: a trim mark is durable before anything is taken away. The mark is a name: the newest segment that goes is
//! renamed to `N.seg.free`, which needs no space, and says that segment N and those before it were let go on purpose. It
//! stands until the header of a newer segment says so too.

use std::io;
use std::path::PathBuf;

use hydrant_record::Lsn;

use crate::layout::SegmentHeader;
use crate::log::{Shared, Spare};
use crate::segment::{Prepared, Segment, scratch_name, trimmed_name};
use crate::sync::{Arc, PoisonError};

/// Segments are kept for later while the disk has so many times a segment, or the reserve, free.
const SPARE_SHARE: u64 = 8;

/// What trimming left in the directory.
#[derive(Debug, Default)]
pub(crate) struct Trimming {
    /// Files that a durable mark has let go: segments that are still there, and older marks.
    pub(crate) leftover: Vec<PathBuf>,
    /// The mark that counts, if the header of the newest segment does not say it yet.
    pub(crate) mark: Option<PathBuf>,
}

impl Shared {
    /// Takes away segments from the oldest on, never the newest. Readers that hold one may finish it. Returns the base
    /// of the oldest segment that went, and of the oldest that stayed.
    pub(crate) fn remove_while(
        &self,
        unneeded: impl Fn(&SegmentHeader, &SegmentHeader) -> bool,
    ) -> io::Result<Option<(Lsn, Lsn)>> {
        let mut trimming = self.trimming.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.state();
        let count = state.segments.windows(2).take_while(|pair| unneeded(&pair[0].0.header, &pair[1].0.header)).count();
        if count == 0 {
            return Ok(None);
        }
        let bases = (state.segments[0].0.header.base, state.segments[count].0.header.base);
        // From here on no new reader finds them.
        let mut removed: Vec<_> = state.segments.drain(..count).collect();
        for (segment, end) in &removed {
            let _ = segment.end_when_trimmed.set(*end);
        }
        drop(state);
        let newest = &removed[count - 1].0;
        let mark = self.dir.join(trimmed_name(newest.header.number));
        if let Err(error) = self.disk.rename(&newest.path, &mark) {
            self.state().segments.splice(0..0, removed);
            return Err(error);
        }
        if let Err(error) = self.disk.sync_dir(&self.dir) {
            let error = self.poison(error);
            return Err(io::Error::new(error.kind(), error));
        }
        let older = trimming.mark.replace(mark.clone());
        trimming.leftover.extend(older);
        if let Some((newest, _)) = removed.pop() {
            self.reuse_mark(newest, mark);
        }
        let useless = removed.into_iter().rev().filter_map(|(segment, _)| self.reuse(segment));
        trimming.leftover.extend(useless);
        self.clear(&mut trimming)?;
        Ok(Some(bases))
    }

    /// The newest segment's header says where the log begins: no other mark is needed.
    pub(crate) fn clear_trimmed(&self) -> io::Result<()> {
        let mut trimming = self.trimming.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = trimming.mark.take();
        trimming.leftover.extend(mark);
        self.clear(&mut trimming)
    }

    /// Removes what a mark has let go. The mark is durable.
    pub(crate) fn clear_leftover(&self) -> io::Result<()> {
        self.clear(&mut self.trimming.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn clear(&self, trimming: &mut Trimming) -> io::Result<()> {
        // A mark that has become a spare file has its old name until that is used, or goes with it.
        let mut spare = self.spare();
        while let Some(path) = trimming.leftover.pop() {
            if let Some(ready) = spare.ready.iter_mut().find(|ready| ready.path == path) {
                ready.is_mark = false;
                continue;
            }
            match self.disk.remove(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    trimming.leftover.push(path);
                    return Err(error);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Keeps the blocks of a segment for the next one, if nobody reads it and few are waiting; else gives them back. The file
    /// keeps its name, which is a mark.
    fn reuse_mark(&self, segment: Arc<Segment>, path: PathBuf) {
        let unread = Arc::try_unwrap(segment).is_ok();
        let Ok(file) = self.disk.open_write(&path) else { return };
        let Ok(capacity) = file.len() else { return };
        if !unread {
            return self.free_under_readers(&path);
        }
        self.keep(Prepared { file, capacity, recycled: true, path, is_mark: true });
    }

    /// The same for one below a durable mark, under a name that means nothing. Returns its path if it is of no use.
    fn reuse(&self, segment: Arc<Segment>) -> Option<PathBuf> {
        let path = segment.path.clone();
        let large = segment.length(&*self.disk).is_ok_and(|length| self.is_large(length));
        if !large || !self.wants_spare(&self.spare()) || Arc::try_unwrap(segment).is_err() {
            return Some(path);
        }
        let renamed = (|| {
            let file = self.disk.open_write(&path)?;
            let (capacity, name) = (file.len()?, self.dir.join(scratch_name(&*self.disk)?));
            // Power loss may undo it: then this is again the name of a segment below the mark.
            self.disk.rename(&path, &name)?;
            io::Result::Ok(Prepared { file, capacity, recycled: true, path: name, is_mark: false })
        })();
        match renamed {
            Ok(prepared) => self.keep(prepared),
            Err(_) => return Some(path),
        }
        None
    }

    fn keep(&self, prepared: Prepared) {
        let mut spare = self.spare();
        if self.is_large(prepared.capacity) && self.wants_spare(&spare) && !self.state().closed {
            spare.ready.push(prepared);
        } else {
            drop(spare);
            prepared.discard(&*self.disk);
        }
    }

    fn is_large(&self, capacity: u64) -> bool {
        capacity >= self.options.segment_bytes_max / 2
    }

    /// One always; more while the disk has much room, so that a log that lets go several at once, or always at the wrong moment,
    /// need not fill new ones with zeros.
    fn wants_spare(&self, spare: &Spare) -> bool {
        let plenty = || self.disk.free_bytes(&self.dir).is_ok_and(|free| self.has_plenty(free));
        spare.ready.is_empty() || (spare.ready.len() < self.options.spares_max && plenty())
    }

    /// Whether so many free bytes are enough to keep more than one segment for later.
    pub(crate) fn has_plenty(&self, free: u64) -> bool {
        free / SPARE_SHARE >= self.options.reserve_bytes.max(self.options.segment_bytes_max)
    }

    /// Puts an empty file in the place of a mark that readers still read: its blocks go with the last of them.
    fn free_under_readers(&self, mark: &std::path::Path) {
        let empty = mark.with_extension("seg.tmp");
        let _ = self.disk.create(&empty).and_then(|_| self.disk.rename(&empty, mark));
    }
}
