//! Taking away what nobody needs any more.
//!
//! Invariant: a trim mark is durable before anything is taken away. The mark is a name: the newest segment that goes is
//! renamed to `N.seg.free`, which needs no space, and says that segment N and those before it were let go on purpose. It
//! stands until the header of a newer segment says so too.

use std::io;
use std::path::PathBuf;

use hydrant_record::Lsn;

use crate::layout::SegmentHeader;
use crate::log::Shared;
use crate::segment::{Prepared, Segment, trimmed_name};
use crate::sync::{Arc, PoisonError};

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
        let newest = Arc::clone(&state.segments[count - 1].0);
        let mark = self.dir.join(trimmed_name(newest.header.number));
        // From here on no new reader finds them.
        let removed: Vec<_> = state.segments.drain(..count).collect();
        for (segment, end) in &removed {
            let _ = segment.end_when_trimmed.set(*end);
        }
        drop(state);
        if let Err(error) = self.disk.rename(&newest.path, &mark) {
            self.state().segments.splice(0..0, removed);
            return Err(error);
        }
        if let Err(error) = self.disk.sync_dir(&self.dir) {
            let error = self.poison(error);
            return Err(io::Error::new(error.kind(), error));
        }
        trimming.leftover.extend(removed[..count - 1].iter().map(|(segment, _)| segment.path.clone()));
        let older = trimming.mark.replace(mark.clone());
        trimming.leftover.extend(older);
        drop(removed);
        self.reuse(newest, mark);
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
        // A mark that has become the spare file still has its old name until it is used.
        let spare = self.spare();
        let kept = spare.ready.as_ref().map(|ready| ready.path.clone());
        while let Some(path) = trimming.leftover.pop() {
            if Some(&path) == kept.as_ref() {
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

    /// Keeps the blocks of a segment for the next one, if nobody reads it and none is waiting; else gives them back.
    fn reuse(&self, segment: Arc<Segment>, path: PathBuf) {
        let unread = Arc::try_unwrap(segment).is_ok();
        let Ok(file) = self.disk.open_write(&path) else { return };
        let Ok(capacity) = file.len() else { return };
        if !unread {
            return self.free_under_readers(&path);
        }
        let prepared = Prepared { file, capacity, recycled: true, path };
        let mut spare = self.spare();
        if spare.ready.is_none() && capacity >= self.options.segment_bytes_max / 2 && !self.state().closed {
            spare.ready = Some(prepared);
        } else {
            drop(spare);
            prepared.discard(&*self.disk);
        }
    }

    /// Puts an empty file in the place of a mark that readers still read: its blocks go with the last of them.
    fn free_under_readers(&self, mark: &std::path::Path) {
        let empty = mark.with_extension("seg.tmp");
        let _ = self.disk.create(&empty).and_then(|_| self.disk.rename(&empty, mark));
    }
}
