//! Reading the records of one shard.
//!
//! Invariant: what it skips belongs to other shards, or was lost and given up; the order within the shard is kept.

use std::fmt;

use hydrant_record::{Lsn, Record, ShardIx};

use crate::ReadError;
use crate::log::Shared;
use crate::reader::Place;
use crate::sync::Arc;
use crate::tail::{READ_BYTES_MAX, READ_BYTES_MIN};

/// Records of one shard, and how far the log was searched for them.
#[derive(Clone, Debug)]
pub struct ShardBatch {
    pub records: Vec<Record>,
    /// The cursor behind this batch: no record of the shard up to here is left out, but for those that were lost.
    pub through: Lsn,
}

/// A reader's place in one shard.
pub struct ShardTail {
    log: Arc<Shared>,
    shard: ShardIx,
    position: Option<Lsn>,
    place: Option<Place>,
    /// Its number, once it has a waker: most readers only read and go, and don't need one.
    reader: Option<u64>,
}

impl ShardTail {
    pub(crate) fn new(log: Arc<Shared>, shard: ShardIx, after: Option<Lsn>) -> ShardTail {
        ShardTail { log, shard, position: after, place: None, reader: None }
    }

    /// The next durable records of the shard: at most `records_max`, and no more once they have `bytes_max` of data; one
    /// at least. `None` when caught up. A batch may be empty, where much of other shards was passed. Reads disk.
    pub fn next(&mut self, bytes_max: usize, records_max: usize) -> Result<Option<ShardBatch>, ReadError> {
        let (bytes_max, records_max) = (bytes_max.max(1), records_max.max(1));
        let start = self.position;
        let mut batch = Vec::new();
        if let Err(error) = self.fill(&mut batch, bytes_max, records_max) {
            self.position = batch.last().map_or(start, |record| Some(record.lsn));
            self.place = None;
            // What was read before an error is given out first; the error comes again with the next call.
            if batch.is_empty() {
                return Err(error);
            }
        }
        self.cut(&mut batch, bytes_max, records_max);
        let through = self.position.filter(|position| start.is_none_or(|start| *position > start));
        Ok(through.map(|through| ShardBatch { records: batch, through }))
    }

    /// Registers one waker, replacing the last: called after each commit and each change of the shards, and at once if
    /// something behind its place is durable already, of whatever shard. Must not block.
    pub fn on_more(&mut self, wake: Arc<dyn Fn() + Send + Sync>) {
        let mut state = self.log.state();
        let reader = *self.reader.get_or_insert_with(|| state.new_reader());
        let at_once = (state.next > Lsn::after(self.position)).then(|| Arc::clone(&wake));
        state.replace_waker(reader, wake);
        drop(state);
        if let Some(wake) = at_once {
            wake();
        }
    }

    /// The shard's place: all of it up to here was given out.
    pub fn position(&self) -> Option<Lsn> {
        self.position
    }

    /// Reads on until there is enough, or no more.
    fn fill(&mut self, batch: &mut Vec<Record>, bytes_max: usize, records_max: usize) -> Result<(), ReadError> {
        let mut bytes = 0;
        while bytes < bytes_max && batch.len() < records_max {
            if self.place.is_none() {
                self.place = self.find_place()?;
            }
            let Some(place) = &mut self.place else { break };
            let (end, sealed) = self.log.end_of(&place.segment);
            if place.offset < end {
                if !skip_stretch(place, end, self.shard)? {
                    let wanted = ((bytes_max - bytes) as u64).clamp(READ_BYTES_MIN, READ_BYTES_MAX);
                    let upto = Lsn::after(self.position);
                    place.read((end, wanted), Some(self.shard), |record| {
                        // The first frame may begin before the position.
                        if record.lsn >= upto {
                            bytes += record.data.len().max(1);
                            batch.push(record);
                        }
                    })?;
                }
                self.position = place.next.previous().max(self.position);
            } else if sealed {
                self.place = place.follow(&self.log)?;
                if self.place.is_none() {
                    break;
                }
            } else {
                break;
            }
        }
        self.place.iter_mut().for_each(Place::rest);
        Ok(())
    }

    /// Gives back what is over the limits: the place is found again by the next call.
    fn cut(&mut self, batch: &mut Vec<Record>, bytes_max: usize, records_max: usize) {
        let mut bytes = 0;
        let fits = batch.iter().take(records_max).take_while(|record| {
            bytes += record.data.len().max(1);
            bytes <= bytes_max
        });
        let count = fits.count().max(1);
        if count < batch.len() {
            batch.truncate(count);
            self.position = batch.last().map(|record| record.lsn);
            self.place = None;
        }
    }

    fn find_place(&mut self) -> Result<Option<Place>, ReadError> {
        let wanted = Lsn::after(self.position);
        let Some((segment, end)) = self.log.holder(wanted, self.position)? else { return Ok(None) };
        let Some(mut place) = Place::open(&self.log, segment, wanted, self.position)? else { return Ok(None) };
        place.advance(end, wanted)?;
        Ok(Some(place))
    }
}

impl Drop for ShardTail {
    fn drop(&mut self) {
        if let Some(reader) = self.reader {
            self.log.state().remove_waker(reader);
        }
    }
}

/// Goes over a stretch that begins here and has nothing of the shard.
fn skip_stretch(place: &mut Place, end: u64, shard: ShardIx) -> Result<bool, ReadError> {
    let (next, offset) = (place.next, place.offset);
    let behind = place.with_index(end, |index| {
        let at = index.before(next);
        let here = index.stretch(at).filter(|stretch| stretch.offset == offset && !stretch.may_hold(shard));
        here.and_then(|_| index.stretch(at + 1)).map(|stretch| (stretch.base, stretch.offset))
    })?;
    let Some((base, offset)) = behind.filter(|(_, offset)| *offset <= end) else { return Ok(false) };
    (place.next, place.offset) = (base, offset);
    Ok(true)
}

impl fmt::Debug for ShardTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardTail")
            .field("shard", &self.shard)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}
