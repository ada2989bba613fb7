//! Reading along a log that grows.
//!
//! Invariant: no byte past the durable end of a segment is ever looked at, and no record leaves whose CRC was not checked.

use std::collections::VecDeque;
use std::fmt;

use hydrant_record::{Batch, Lsn, Record};

use crate::ReadError;
use crate::log::Shared;
use crate::reader::Place;
use crate::sync::Arc;

/// One read of the disk is between these, or one whole frame if that is longer.
pub(crate) const READ_BYTES_MIN: u64 = 64 << 10;
pub(crate) const READ_BYTES_MAX: u64 = 1 << 20;

/// A reader's place in the log.
pub struct Tail {
    log: Arc<Shared>,
    id: u64,
    position: Option<Lsn>,
    /// Read and checked, not yet given out. The first is the one after `position`.
    ready: VecDeque<Record>,
    /// Where the frame after the last of `ready` starts.
    place: Option<Place>,
    /// The last of the records that are gone which it stands before.
    gone: Option<Lsn>,
}

impl Tail {
    pub(crate) fn new(log: Arc<Shared>, after: Option<Lsn>) -> Tail {
        let id = log.state().new_reader();
        Tail { log, id, position: after, ready: VecDeque::new(), place: None, gone: None }
    }

    /// The next durable records, at most `bytes_max` of data (one record at least); `None` when caught up. Reads disk.
    pub fn next(&mut self, bytes_max: usize) -> Result<Option<Batch>, ReadError> {
        let mut records = Vec::new();
        let mut bytes = 0;
        loop {
            while let Some(record) = self.ready.front() {
                // An empty record counts as a byte, so that a batch of them is bounded too.
                bytes += record.data.len().max(1);
                if !records.is_empty() && bytes > bytes_max {
                    return Ok(self.give(records));
                }
                records.extend(self.ready.pop_front());
            }
            if !records.is_empty() && bytes >= bytes_max {
                return Ok(self.give(records));
            }
            // What was read before an error is given out first; the error comes again with the next call.
            match self.read_more(bytes_max.saturating_sub(bytes)) {
                Ok(true) => {}
                Ok(false) => return Ok(self.give(records)),
                Err(_) if !self.ready.is_empty() => {}
                Err(_) if !records.is_empty() => return Ok(self.give(records)),
                Err(error) => return Err(self.noted(error)),
            }
        }
    }

    /// Registers one waker, replacing the last: called after each commit, and at once if there are records already.
    /// Must not block.
    pub fn on_more(&mut self, wake: Arc<dyn Fn() + Send + Sync>) {
        let mut state = self.log.state();
        let at_once = (state.next > Lsn::after(self.position)).then(|| Arc::clone(&wake));
        state.replace_waker(self.id, wake);
        drop(state);
        if let Some(wake) = at_once {
            wake();
        }
    }

    /// Goes on behind records that [`ReadError::Lost`] or [`ReadError::Trimmed`] has named: whoever calls this has counted
    /// them. Nothing without such an error.
    pub fn skip_lost(&mut self) {
        if let Some(last) = self.gone.take() {
            self.position = Some(last);
            self.place = None;
        }
    }

    /// Nothing more will be read for a while: the room of the last read goes.
    pub fn rest(&mut self) {
        self.place.iter_mut().for_each(Place::rest);
    }

    /// The last record it has given out, or where it was opened.
    pub fn position(&self) -> Option<Lsn> {
        self.position
    }

    fn give(&mut self, records: Vec<Record>) -> Option<Batch> {
        let batch = Batch::new(records)?;
        self.position = Some(batch.last());
        Some(batch)
    }

    /// Reads frames into `ready`; false if there are no more.
    fn read_more(&mut self, bytes_wanted: usize) -> Result<bool, ReadError> {
        loop {
            if self.place.is_none() {
                self.place = self.find_place()?;
                if !self.ready.is_empty() {
                    return Ok(true);
                }
            }
            let Some(place) = &mut self.place else { return Ok(false) };
            let (end, sealed) = self.log.end_of(&place.segment);
            if place.offset < end {
                let wanted = (bytes_wanted as u64).clamp(READ_BYTES_MIN, READ_BYTES_MAX);
                let read = place.read((end, wanted), None, |record| self.ready.push_back(record));
                return read.map(|()| true);
            }
            if !sealed {
                place.rest();
                return Ok(false);
            }
            self.place = place.follow(&self.log)?;
            if self.place.is_none() {
                return Ok(false);
            }
        }
    }

    /// Goes to the frame that holds the record after the position.
    fn find_place(&mut self) -> Result<Option<Place>, ReadError> {
        let wanted = Lsn::after(self.position);
        let Some((segment, end)) = self.log.holder(wanted, self.position)? else { return Ok(None) };
        let Some(mut place) = Place::open(&self.log, segment, wanted, self.position)? else { return Ok(None) };
        place.advance(end, wanted)?;
        // The frame may begin before the wanted record.
        let read = place.read((end, 0), None, |record| self.ready.push_back(record));
        while self.ready.front().is_some_and(|record| record.lsn < wanted) {
            self.ready.pop_front();
        }
        read.map(|()| Some(place))
    }

    /// What is lost counts from where this reader stands.
    fn noted(&mut self, error: ReadError) -> ReadError {
        match error {
            ReadError::Lost { first, last } => {
                self.gone = Some(last);
                ReadError::Lost { first: first.max(Lsn::after(self.position)), last }
            }
            ReadError::Trimmed { after, first } => {
                self.gone = first.previous();
                ReadError::Trimmed { after, first }
            }
            other => other,
        }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.log.state().remove_waker(self.id);
    }
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tail").field("position", &self.position).finish_non_exhaustive()
    }
}
