//! From a time to a place.

use hydrant_record::{Lsn, Timestamp};

use crate::layout::Kind;
use crate::reader::Place;
use crate::segment::{FRAMES_START, Window};
use crate::sync::Arc;
use crate::{ReadError, ShardLog};

impl ShardLog {
    /// The cursor before the first record that arrived at `at` or later; behind the last record if there is none yet.
    /// Arrival is the clock's word, which may have gone back: of several such places it is the first.
    pub fn seek_time(&self, at: Timestamp) -> Result<Option<Lsn>, ReadError> {
        let segments = self.shared.state().segments.clone();
        for (segment, end) in segments {
            match self.seek_in(segment, end, at) {
                Ok(Some(first)) => return Ok(first.previous()),
                Ok(None) | Err(ReadError::Trimmed { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.last())
    }

    fn seek_in(
        &self,
        segment: Arc<crate::segment::Segment>,
        end: u64,
        at: Timestamp,
    ) -> Result<Option<Lsn>, ReadError> {
        let base = segment.header.base;
        // What is known to be older needs no file.
        if segment.index().as_ref().is_some_and(|index| index.latest() < at) {
            return Ok(None);
        }
        let Some(mut place) = Place::open(&self.shared, segment, base, base.previous())? else { return Ok(None) };
        let Some(stretch) = place.with_index(end, |index| index.at_time(at))? else { return Ok(None) };
        (place.next, place.offset) = (stretch.base, stretch.offset.max(FRAMES_START));
        let file = Arc::clone(&place.file);
        let mut window = Window::new(&*file, end);
        while place.offset < end {
            let (header, next) = place.peek(&mut window)?;
            if header.kind == Kind::Records && header.arrived_at >= at {
                return Ok(Some(header.base));
            }
            place.offset += header.whole_bytes();
            place.next = next;
        }
        Ok(None)
    }
}
