//! Records that were refused after the transform: their error lines carry what was put, read again from the log.
//!
//! The log still has them, for it is trimmed only behind chunks that are done. So the spool need not hold every record twice.

use std::io;

use hydrant_formats::Rejected;
use hydrant_plugins::Input;
use hydrant_record::{Lsn, Timestamp, Unit};
use hydrant_shardlog::{Clock, ReadError, ShardLog};

use crate::group::{Failure, Group};
use crate::spool::{Spool, SpoolReader};
use crate::stage::StageError;

const READ_BYTES: usize = 1 << 20;
/// Remembered refusals, in bytes of their messages, before they are written down.
const HELD_BYTES_MAX: usize = 32 << 20;

/// Refused units of a chunk whose error lines are not written yet.
#[derive(Debug, Default)]
pub(crate) struct Rejects {
    units: Vec<(Unit, Timestamp, Failure)>,
    held_bytes: usize,
}

impl Rejects {
    /// Takes the encoder's refusals of a part; `reader` stands at the part's first record.
    pub(crate) fn take(&mut self, rejected: &[Rejected], mut reader: SpoolReader) -> io::Result<()> {
        let mut at = 0;
        for reject in rejected {
            let skip = usize::try_from(reject.index - at).map_err(io::Error::other)?;
            let entry = reader.nth(skip).ok_or(io::ErrorKind::UnexpectedEof)??;
            at = reject.index + 1;
            self.add(entry.unit, entry.arrived_at, Failure::of_conversion(reject.code, reject.message.clone()));
        }
        Ok(())
    }

    /// Refuses all `records` of a part for one reason.
    pub(crate) fn take_all(&mut self, failure: &Failure, reader: SpoolReader, records: u64) -> io::Result<()> {
        let records = usize::try_from(records).map_err(io::Error::other)?;
        for entry in reader.take(records) {
            let entry = entry?;
            self.add(entry.unit, entry.arrived_at, failure.clone());
        }
        Ok(())
    }

    pub(crate) fn is_large(&self) -> bool {
        self.held_bytes > HELD_BYTES_MAX
    }

    /// Writes the error lines of all that were taken, in one pass over their range of the log.
    pub(crate) fn settle(&mut self, log: &ShardLog, clock: &dyn Clock, spool: &mut Spool) -> Result<(), StageError> {
        let mut units = std::mem::take(&mut self.units);
        self.held_bytes = 0;
        units.sort_by_key(|(unit, ..)| *unit);
        let mut units = units.into_iter().peekable();
        let Some(first) = units.peek().map(|(unit, ..)| unit.lsn) else { return Ok(()) };
        let mut tail = log.tail(first.previous());
        while units.peek().is_some() {
            let batch = match tail.next(READ_BYTES) {
                // Nothing that was refused is among them, for it was read before.
                Err(ReadError::Lost { .. }) => {
                    tail.skip_lost();
                    continue;
                }
                read => read?.ok_or_else(|| gone(first))?,
            };
            for record in batch.records() {
                while let Some((unit, arrived_at, failure)) = units.next_if(|(unit, ..)| unit.lsn == record.lsn) {
                    let original = Input { unit, arrived_at, source: None, data: record.data.clone() };
                    let line = failure.line(&original, clock.now());
                    spool.push(Group::Errors(failure.kind), unit, arrived_at, &line)?;
                }
            }
        }
        spool.flush()?;
        Ok(())
    }

    fn add(&mut self, unit: Unit, arrived_at: Timestamp, failure: Failure) {
        self.held_bytes += size_of::<(Unit, Timestamp, Failure)>() + failure.message.len() + failure.code.len();
        self.units.push((unit, arrived_at, failure));
    }
}

fn gone(from: Lsn) -> ReadError {
    ReadError::Trimmed { after: from.previous(), first: from }
}
