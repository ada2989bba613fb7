//! The Kinesis streams of the catalog. Their names are apart from those of delivery streams, as at AWS.
//!
//! ```text
//! { id, name, region, status, created_at_ms, shards, settings: { mode, retention_hours, record_kib_max, tags } }
//! ```

use std::collections::BTreeMap;

use hydrant_record::{StreamId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Catalog, CatalogError, STREAMS_MAX, StoredStatus, Streams};

/// A Kinesis stream as the catalog keeps it. Its shards are in its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKinesis {
    pub id: StreamId,
    pub name: String,
    pub region: String,
    pub status: StoredStatus,
    pub created_at: Timestamp,
    /// When it was made; what a log that was never opened begins with.
    pub shards: u32,
    pub settings: KinesisSettings,
}

/// What may change in the life of a stream, apart from its shards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KinesisSettings {
    pub mode: StreamMode,
    pub retention_hours: u32,
    /// The largest data of one record.
    pub record_kib_max: u32,
    pub tags: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamMode {
    Provisioned,
    OnDemand,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Line {
    id: String,
    name: String,
    region: String,
    status: StoredStatus,
    created_at_ms: u64,
    shards: u32,
    settings: KinesisSettings,
}

impl Line {
    pub(super) fn of(stream: &StoredKinesis) -> Line {
        Line {
            id: stream.id.to_string(),
            name: stream.name.clone(),
            region: stream.region.clone(),
            status: stream.status,
            created_at_ms: stream.created_at.as_millis(),
            shards: stream.shards,
            settings: stream.settings.clone(),
        }
    }

    pub(super) fn read(self) -> Option<StoredKinesis> {
        Some(StoredKinesis {
            id: self.id.parse().ok()?,
            name: self.name,
            region: self.region,
            status: self.status,
            created_at: Timestamp::from_millis(self.created_at_ms),
            shards: self.shards,
            settings: self.settings,
        })
    }
}

impl Catalog {
    /// All Kinesis streams, in the order of their creation.
    #[must_use]
    pub fn kinesis_streams(&self) -> Vec<StoredKinesis> {
        self.lock().streams.kinesis.clone()
    }

    /// Adds a stream; of two racing ones with the same name and region one gets `Exists`.
    pub fn insert_kinesis(&self, stream: StoredKinesis) -> Result<(), CatalogError> {
        self.change(|Streams { kinesis, .. }| {
            if kinesis.iter().any(|known| known.name == stream.name && known.region == stream.region) {
                return Err(CatalogError::Exists { name: stream.name });
            }
            if kinesis.len() >= STREAMS_MAX {
                return Err(CatalogError::TooMany);
            }
            kinesis.push(stream);
            Ok(())
        })
    }

    /// Puts this in the place of the stream with the same id.
    pub fn update_kinesis(&self, stream: StoredKinesis) -> Result<(), CatalogError> {
        self.change(|Streams { kinesis, .. }| {
            let known = kinesis.iter_mut().find(|known| known.id == stream.id);
            let known = known.ok_or(CatalogError::NotFound(stream.id))?;
            *known = stream;
            Ok(())
        })
    }

    /// Forgets a stream whose records are gone.
    pub fn remove_kinesis(&self, id: StreamId) -> Result<(), CatalogError> {
        self.change(|Streams { kinesis, .. }| {
            let before = kinesis.len();
            kinesis.retain(|stream| stream.id != id);
            if kinesis.len() < before { Ok(()) } else { Err(CatalogError::NotFound(id)) }
        })
    }
}
