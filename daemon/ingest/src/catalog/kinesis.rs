//! The Kinesis streams of the catalog. Their names are apart from those of delivery streams, as at AWS.
//!
//! ```text
//! { id, name, region, status, created_at_ms, shards, from_yaml, settings: {
//!     mode, retention_hours, record_kib_max, tags,
//!     consumers: [ { name, created_at_ms, tags, policy } ], metrics: [ name ], key_id, policy
//! } }
//! ```
//!
//! `from_yaml`, and what the second line of settings has, are left out where there is nothing to say, and are of format 3.

use std::collections::{BTreeMap, BTreeSet};

use hydrant_record::{StreamId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Catalog, CatalogError, STREAMS_MAX, StoredStatus, StoredStream, Streams};

/// A Kinesis stream as the catalog keeps it. Its shards are in its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKinesis {
    pub id: StreamId,
    pub name: String,
    /// Empty: whatever region a client signs for, which only a stream of the YAML can say.
    pub region: String,
    pub status: StoredStatus,
    pub created_at: Timestamp,
    /// When it was made; what a log that was never opened begins with.
    pub shards: u32,
    /// The YAML says what it is, and the API may not change that.
    pub from_yaml: bool,
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
    /// In the order of their registration, each a millisecond at least behind the one before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub consumers: Vec<StoredConsumer>,
    /// Shard-level metrics that were asked for.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub metrics: BTreeSet<String>,
    /// The KMS key that was named to encrypt with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// The resource policy, as JSON text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
}

/// Who reads a stream by enhanced fan-out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredConsumer {
    pub name: String,
    pub created_at_ms: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
}

impl KinesisSettings {
    /// A stream as CreateStream makes it.
    #[must_use]
    pub fn new(mode: StreamMode) -> KinesisSettings {
        KinesisSettings {
            mode,
            retention_hours: 24,
            record_kib_max: 1024,
            tags: BTreeMap::new(),
            consumers: Vec::new(),
            metrics: BTreeSet::new(),
            key_id: None,
            policy: None,
        }
    }

    /// What answers say of each record; `None` unless a key was named.
    pub(crate) fn encryption(&self) -> Option<&'static str> {
        self.key_id.is_some().then_some("KMS")
    }
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
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    from_yaml: bool,
    settings: KinesisSettings,
}

impl StoredKinesis {
    /// A version that knows only format 2 would drop what it does not know of.
    pub(super) fn needs_format_3(&self) -> bool {
        let KinesisSettings { consumers, metrics, key_id, policy, .. } = &self.settings;
        self.from_yaml || !consumers.is_empty() || !metrics.is_empty() || key_id.is_some() || policy.is_some()
    }

    fn meets(&self, other: &StoredKinesis) -> bool {
        self.name == other.name && (self.region == other.region || self.region.is_empty() || other.region.is_empty())
    }
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
            from_yaml: stream.from_yaml,
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
            from_yaml: self.from_yaml,
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

    /// Adds a stream; of two racing ones with the same name, if a region has both, one gets `Exists`.
    pub fn insert_kinesis(&self, stream: StoredKinesis) -> Result<(), CatalogError> {
        self.change(|Streams { kinesis, .. }| {
            if kinesis.iter().any(|known| known.meets(&stream)) {
                return Err(CatalogError::Exists { name: stream.name });
            }
            if kinesis.len() >= STREAMS_MAX {
                return Err(CatalogError::TooMany);
            }
            kinesis.push(stream);
            Ok(())
        })
    }

    /// Puts this in the place of the stream with the same id. One that a delivery stream reads cannot begin to be deleted.
    pub fn update_kinesis(&self, stream: StoredKinesis) -> Result<(), CatalogError> {
        self.change(|Streams { kinesis, delivery }| {
            let reads = |one: &&StoredStream| one.source.is_some_and(|source| source.stream == stream.id);
            let mut readers = delivery.iter().filter(|one| one.status == StoredStatus::Active).filter(reads);
            if stream.status == StoredStatus::Deleting
                && let Some(reader) = readers.next()
            {
                return Err(CatalogError::InUse { reader: reader.name.to_string() });
            }
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
