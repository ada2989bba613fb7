//! Who reads a Kinesis stream, and how far: records that are not settled by all of them stay.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use hydrant_config::StreamName;
use hydrant_ingest::{StoredStatus, StoredStream};
use hydrant_record::{Lsn, StreamId};
use hydrant_shardlog::Limits;

use super::Engine;

/// A delivery stream that must have delivered the records of a Kinesis stream before they may go.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) name: StreamName,
    pub(crate) settled: Option<Lsn>,
    held: Arc<Mutex<Option<String>>>,
}

impl Reader {
    /// Notes why records are kept for it longer than they would be, and says so once.
    pub(crate) fn note_held(&self, why: Option<String>) {
        let was = std::mem::replace(&mut *self.held.lock().unwrap_or_else(PoisonError::into_inner), why.clone());
        if let (None, Some(why)) = (was, why) {
            tracing::warn!(delivery_stream = %self.name, "{why}");
        }
    }
}

impl Engine {
    /// Has those who let records of a Kinesis stream expire write down that they do; see [`hydrant_delivery::Pipeline::note_expiry`]. Blocks.
    pub(crate) fn note_expiry(&self, kinesis: StreamId, limits: &Limits) -> io::Result<()> {
        let stored = self.catalog.streams();
        let reads = |id: &StreamId| {
            stored.iter().any(|one| one.id == *id && one.source.is_some_and(|source| source.stream == kinesis))
        };
        let running: Vec<_> = self.running().iter().filter(|(id, _)| reads(id)).map(|(_, one)| one.clone()).collect();
        let mut expiring = running.iter().filter(|one| one.stream.log.expire_undelivered);
        expiring.try_for_each(|one| one.pipeline.note_expiry(limits))
    }

    /// The delivery streams that the records of a Kinesis stream must wait for.
    pub(crate) fn readers_of(&self, kinesis: StreamId) -> Vec<Reader> {
        let running = self.running();
        let stored = self.catalog.streams().into_iter().filter(|stored| stored.status == StoredStatus::Active);
        let reader = |stored: StoredStream| {
            let source = stored.source.filter(|source| source.stream == kinesis)?;
            let one = running.get(&stored.id);
            if one.is_some_and(|one| one.stream.log.expire_undelivered) {
                return None;
            }
            let settled = one.map_or(source.after, |one| one.pipeline.settled());
            Some(Reader { settled, held: one.map(|one| Arc::clone(&one.held)).unwrap_or_default(), name: stored.name })
        };
        stored.filter_map(reader).collect()
    }
}
