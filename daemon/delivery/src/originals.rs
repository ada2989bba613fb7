//! Records that were refused after the transform: their error lines carry what was put, read again from the log.
//!
//! The log still has them, for it is trimmed only behind chunks that are done. So the spool need not hold every record twice.

use std::io;
use std::sync::Arc;

use hydrant_config::{DeliveryStreamSpec, Destination};
use hydrant_formats::{Documents, Rejected, RequestIdentity};
use hydrant_plugins::Input;
use hydrant_record::{Lsn, Timestamp, Unit};
use hydrant_shardlog::{Clock, ReadError, ShardLog};

use crate::entries::Entries;
use crate::group::{Document, Failure, Group};
use crate::split::Splitter;
use crate::spool::Spool;
use crate::stage::StageError;

const READ_BYTES: usize = 1 << 20;
/// Remembered refusals, in bytes of their messages, before they are written down.
const HELD_BYTES_MAX: usize = 32 << 20;

/// Refused units of a chunk whose error lines are not written yet.
#[derive(Debug, Default)]
pub(crate) struct Rejects {
    units: Vec<(Unit, Arc<Failure>)>,
    held_bytes: usize,
    /// Units whose originals the log's policy let go of; they have no line. `None`: that is an error.
    expired: Option<u64>,
    documents: Option<(Documents, RequestIdentity)>,
    splitter: Splitter,
}

impl Rejects {
    /// For refusals that come so late that the log may have let go of the originals by then, as `log.expire_undelivered` says.
    pub(crate) fn expirable(expirable: bool) -> Rejects {
        Rejects { expired: expirable.then_some(0), ..Rejects::default() }
    }

    /// As the units were made.
    pub(crate) fn split_by(self, splitter: Splitter) -> Rejects {
        Rejects { splitter, ..self }
    }

    /// Of requests: their error lines name the documents that the records were to be.
    pub(crate) fn of_requests(self, stream: &DeliveryStreamSpec, identity: RequestIdentity) -> Rejects {
        let documents = match &stream.destination {
            Destination::OpenSearch(search) => Some((Documents::new(search), identity)),
            _ => None,
        };
        Rejects { documents, ..self }
    }

    pub(crate) fn expired(&self) -> u64 {
        self.expired.unwrap_or(0)
    }

    /// Takes the encoder's refusals of a part; `reader` stands at the part's first record.
    pub(crate) fn take(&mut self, rejected: &[Rejected], mut reader: Entries) -> io::Result<()> {
        let mut at = 0;
        for reject in rejected {
            let skip = usize::try_from(reject.index - at).map_err(io::Error::other)?;
            let entry = reader.nth(skip).ok_or(io::ErrorKind::UnexpectedEof)??;
            at = reject.index + 1;
            let failure = self.hold(Failure::of_conversion(reject.code, reject.message.clone()));
            self.add(entry.unit, &failure);
        }
        Ok(())
    }

    /// Refuses all `records` of a part for one reason.
    pub(crate) fn take_all(&mut self, failure: Failure, reader: Entries, records: u64) -> io::Result<()> {
        let records = usize::try_from(records).map_err(io::Error::other)?;
        let failure = self.hold(failure);
        for entry in reader.take(records) {
            self.add(entry?.unit, &failure);
        }
        Ok(())
    }

    /// A reason for which units will be added.
    pub(crate) fn hold(&mut self, failure: Failure) -> Arc<Failure> {
        self.held_bytes += size_of::<Failure>() + failure.message.len() + failure.code.len();
        Arc::new(failure)
    }

    pub(crate) fn add(&mut self, unit: Unit, failure: &Arc<Failure>) {
        self.held_bytes += size_of::<(Unit, Arc<Failure>)>();
        self.units.push((unit, Arc::clone(failure)));
    }

    pub(crate) fn is_large(&self) -> bool {
        self.held_bytes > HELD_BYTES_MAX
    }

    /// Writes the error lines of all that were taken, in one pass over their range of the log.
    pub(crate) fn settle(&mut self, log: &ShardLog, clock: &dyn Clock, spool: &mut Spool) -> Result<(), StageError> {
        let mut units = std::mem::take(&mut self.units);
        self.held_bytes = 0;
        units.sort_by_key(|(unit, _)| *unit);
        let mut units = units.into_iter().peekable();
        let Some(first) = units.peek().map(|(unit, _)| unit.lsn) else { return Ok(()) };
        let mut tail = log.tail(first.previous());
        while units.peek().is_some() {
            let batch = match tail.next(READ_BYTES) {
                // Nothing that was refused is among them, for it was read before.
                Err(ReadError::Lost { .. }) => {
                    tail.skip_lost();
                    continue;
                }
                Err(ReadError::Trimmed { first, .. }) if let Some(expired) = &mut self.expired => {
                    while units.next_if(|(unit, _)| unit.lsn < first).is_some() {
                        *expired += 1;
                    }
                    tail.skip_lost();
                    continue;
                }
                read => read?.ok_or_else(|| gone(first))?,
            };
            for record in batch.records() {
                if units.peek().is_none_or(|(unit, _)| unit.lsn != record.lsn) {
                    continue;
                }
                let parts = self.splitter.split(&record.data).unwrap_or_default();
                while let Some((unit, failure)) = units.next_if(|(unit, _)| unit.lsn == record.lsn) {
                    let arrived_at = record.arrived_at;
                    let data = parts.get(unit.sub as usize).unwrap_or(&record.data).clone();
                    let original = Input { unit, arrived_at, source: None, data };
                    let line = failure.line_of(&original, clock.now(), &self.document(unit, arrived_at));
                    spool.push(Group::Errors(failure.kind), unit, arrived_at, &line)?;
                }
            }
        }
        spool.flush()?;
        Ok(())
    }

    fn document(&mut self, unit: Unit, arrived_at: Timestamp) -> Document {
        let Some((documents, identity)) = &mut self.documents else { return Document::default() };
        let id = documents.id(identity, unit, arrived_at).unwrap_or_default();
        let (index, type_name) = documents.place(arrived_at);
        Document { id, index: index.to_owned(), type_name: type_name.unwrap_or_default().to_owned() }
    }
}

fn gone(from: Lsn) -> ReadError {
    ReadError::Trimmed { after: from.previous(), first: from }
}
