//! The delivery streams and the Kinesis streams there are, durable: delivery streams of the YAML by name and id, those of
//! the API with their request. Every record of the catalog's log is the whole state, so the last one that is durable is the
//! truth, and a change is either seen as a whole after a crash or not at all.
//!
//! ```text
//! record = JSON { "format": 1, "streams": [ { id, name, version_id, status, created_at_ms, origin, source?, settings? } ] }
//! origin = "yaml" | { "api": { region, request } }
//! source = { stream, after }
//! settings = { tags?, encrypted?, updated_at_ms? }
//! ```
//!
//! With a Kinesis stream the format is 2 and there is a list `kinesis` beside `streams`; with one that has more than settings
//! of the first kind, as consumers, it is 3, and with a delivery stream that reads one, or that has settings, it is 4. A
//! version that does not know of them must refuse the catalog, or it would drop them with its next change.
//!
//! Invariant: the Kinesis stream that a delivery stream reads is in the same state, and is not being deleted.

mod kinesis;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hydrant_config::StreamName;
use hydrant_record::{Lsn, NewRecord, Placement, StreamId, Timestamp};
use hydrant_shardlog::{AppendError, ReadError, ShardLog};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use kinesis::{KinesisSettings, StoredConsumer, StoredKinesis, StreamMode};

/// Delivery streams alone; with Kinesis streams; with such that have consumers and the like; with sources and settings.
const FORMATS: [u32; 4] = [1, 2, 3, 4];
/// Old states are removed when they have grown to this, in bytes.
const COMPACT_AFTER: usize = 1 << 20;
/// AWS's quota for one region.
const STREAMS_MAX: usize = 5_000;

/// The catalog of one data directory. Every method that changes it blocks until the change is durable.
#[derive(Debug)]
pub struct Catalog {
    log: ShardLog,
    state: Mutex<State>,
}

/// A delivery stream as the catalog keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredStream {
    pub id: StreamId,
    pub name: StreamName,
    pub version_id: u64,
    pub status: StoredStatus,
    pub created_at: Timestamp,
    pub origin: StoredOrigin,
    /// `None`: it has a log of its own.
    pub source: Option<StoredSource>,
    pub settings: StreamSettings,
}

/// What may change in the life of a delivery stream beside the request that describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamSettings {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Somebody asked for encryption at rest, and the operator vouches for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub encrypted: bool,
    /// When its destination was updated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at_ms: Option<u64>,
}

/// The Kinesis stream whose log a delivery stream reads, and the last record before its first: found out once, so that no
/// restart can find another place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredSource {
    pub stream: StreamId,
    pub after: Option<Lsn>,
}

/// Who made a delivery stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoredOrigin {
    /// All else about it is in the YAML; it has one here because its records outlive a line of YAML.
    Yaml,
    /// With the CreateDeliveryStream request.
    Api { region: String, request: Value },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoredStatus {
    Active,
    /// To be removed with all its records.
    Deleting,
}

#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    #[error("there is a stream named `{name}` already")]
    Exists { name: String },
    #[error("the catalog has no stream with id `{0}`")]
    NotFound(StreamId),
    /// The Kinesis stream that a delivery stream was to read.
    #[error("the Kinesis stream is gone")]
    NoSource,
    #[error("the delivery stream `{reader}` reads it; delete that first")]
    InUse { reader: String },
    #[error("there are {STREAMS_MAX} streams, the most that are allowed; delete one first")]
    TooMany,
    /// The change was not made durable: nothing has changed.
    #[error("cannot write the catalog")]
    Write(#[source] AppendError),
    #[error("cannot read the catalog")]
    Read(#[source] ReadError),
    /// Written by a later version, or damaged.
    #[error("the catalog's last state cannot be understood: {0}")]
    Unreadable(String),
}

impl StoredOrigin {
    fn meets(&self, other: &StoredOrigin) -> bool {
        match (self, other) {
            (StoredOrigin::Api { region, .. }, StoredOrigin::Api { region: other, .. }) => region == other,
            (StoredOrigin::Yaml, StoredOrigin::Yaml) => true,
            // Whether a stream of the YAML answers in that region only the registry knows, and it was asked before.
            _ => false,
        }
    }
}

/// All that one record of the log holds.
#[derive(Clone, Debug, Default, PartialEq)]
struct Streams {
    delivery: Vec<StoredStream>,
    kinesis: Vec<StoredKinesis>,
}

#[derive(Debug, Default)]
struct State {
    streams: Streams,
    bytes_since_compaction: usize,
}

#[derive(Serialize, Deserialize)]
struct Document {
    format: u32,
    streams: Vec<Line>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    kinesis: Vec<kinesis::Line>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    id: String,
    name: String,
    version_id: u64,
    status: StoredStatus,
    created_at_ms: u64,
    origin: StoredOrigin,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<SourceLine>,
    #[serde(default, skip_serializing_if = "StreamSettings::is_default")]
    settings: StreamSettings,
}

#[derive(Serialize, Deserialize)]
struct SourceLine {
    stream: String,
    after: u64,
}

impl Catalog {
    /// Reads the state from an open log that holds nothing else.
    pub fn open(log: ShardLog) -> Result<Catalog, CatalogError> {
        let streams = match log.last() {
            None => Streams::default(),
            Some(last) => {
                let mut tail = log.tail(last.previous());
                let batch = tail.next(1).map_err(CatalogError::Read)?;
                let records = batch.map(hydrant_record::Batch::into_records).unwrap_or_default();
                let record = records.first().filter(|record| record.lsn == last);
                let record = record.ok_or_else(|| CatalogError::Unreadable(format!("record {last} is not there")))?;
                read(&record.data)?
            }
        };
        let written = streams != Streams::default();
        let catalog = Catalog { log, state: Mutex::new(State { streams, bytes_since_compaction: 0 }) };
        // Every opening begins a segment; with the state in it the older ones can go, however often the daemon restarts.
        match catalog.change(|_| Ok(())) {
            Err(CatalogError::Write(AppendError::DiskFull)) if written => {}
            Err(error) => return Err(error),
            Ok(()) => catalog.trim(),
        }
        Ok(catalog)
    }

    /// The ids and names of one state, which is one record of the catalog's log: for those who may only look. A Kinesis
    /// stream is `kinesis/NAME`, for a delivery stream may have the same name.
    pub fn names_in(state: &[u8]) -> Result<Vec<(StreamId, String)>, CatalogError> {
        let streams = read(state)?;
        let delivery = streams.delivery.into_iter().map(|stream| (stream.id, stream.name.to_string()));
        let kinesis = streams.kinesis.into_iter().map(|stream| (stream.id, format!("kinesis/{}", stream.name)));
        Ok(delivery.chain(kinesis).collect())
    }

    /// The delivery streams of one state, as [`Catalog::names_in`].
    pub fn streams_in(state: &[u8]) -> Result<Vec<StoredStream>, CatalogError> {
        Ok(read(state)?.delivery)
    }

    /// All delivery streams, in the order of their creation.
    #[must_use]
    pub fn streams(&self) -> Vec<StoredStream> {
        self.lock().streams.delivery.clone()
    }

    /// Adds a stream; of two racing ones with the same name, in one region or both from YAML, one gets `Exists`.
    pub fn insert(&self, stream: StoredStream) -> Result<(), CatalogError> {
        self.change(|Streams { delivery: streams, kinesis }| {
            let readable = |id| kinesis.iter().any(|one| one.id == id && one.status == StoredStatus::Active);
            if stream.source.is_some_and(|source| !readable(source.stream)) {
                return Err(CatalogError::NoSource);
            }
            if streams.iter().any(|known| known.name == stream.name && known.origin.meets(&stream.origin)) {
                return Err(CatalogError::Exists { name: stream.name.to_string() });
            }
            if streams.len() >= STREAMS_MAX {
                return Err(CatalogError::TooMany);
            }
            streams.push(stream);
            Ok(())
        })
    }

    /// Changes a stream that is not being deleted.
    pub fn update(&self, id: StreamId, edit: impl FnOnce(&mut StoredStream)) -> Result<(), CatalogError> {
        self.change(|Streams { delivery, .. }| {
            let known = delivery.iter_mut().find(|one| one.id == id && one.status == StoredStatus::Active);
            edit(known.ok_or(CatalogError::NotFound(id))?);
            Ok(())
        })
    }

    /// From now on a restart finishes the deletion.
    pub fn mark_deleting(&self, id: StreamId) -> Result<(), CatalogError> {
        self.change(|Streams { delivery: streams, .. }| {
            let stream = streams.iter_mut().find(|stream| stream.id == id).ok_or(CatalogError::NotFound(id))?;
            stream.status = StoredStatus::Deleting;
            Ok(())
        })
    }

    /// Forgets a stream whose records are gone.
    pub fn remove(&self, id: StreamId) -> Result<(), CatalogError> {
        self.change(|Streams { delivery: streams, .. }| {
            let before = streams.len();
            streams.retain(|stream| stream.id != id);
            if streams.len() < before { Ok(()) } else { Err(CatalogError::NotFound(id)) }
        })
    }

    /// Seals the log; later changes fail.
    pub fn close(&self) -> std::io::Result<()> {
        self.log.close()
    }

    fn change(&self, edit: impl FnOnce(&mut Streams) -> Result<(), CatalogError>) -> Result<(), CatalogError> {
        let mut state = self.lock();
        let mut streams = state.streams.clone();
        edit(&mut streams)?;
        let text = write(&streams);
        let compact = state.bytes_since_compaction + text.len() > COMPACT_AFTER;
        if compact {
            self.log.roll().map_err(CatalogError::Write)?;
        }
        let size = text.len();
        let record = NewRecord { placement: Placement::Any, partition_key: None, data: Bytes::from(text) };
        self.log.append(vec![record]).map_err(CatalogError::Write)?;
        state.streams = streams;
        state.bytes_since_compaction = if compact { size } else { state.bytes_since_compaction + size };
        if compact {
            self.trim();
        }
        Ok(())
    }

    /// Removes the states before the last one.
    fn trim(&self) {
        if let Some(old) = self.log.last().and_then(Lsn::previous)
            && let Err(error) = self.log.trim(old)
        {
            tracing::warn!(%error, "old states of the catalog could not be removed; they only take space");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StreamSettings {
    fn is_default(&self) -> bool {
        *self == StreamSettings::default()
    }
}

impl SourceLine {
    fn of(source: StoredSource) -> SourceLine {
        SourceLine { stream: source.stream.to_string(), after: source.after.map_or(0, Lsn::get) }
    }

    /// `None` if it names no stream.
    fn read(self) -> Option<StoredSource> {
        Some(StoredSource { stream: self.stream.parse().ok()?, after: Lsn::new(self.after) })
    }
}

fn write(streams: &Streams) -> Vec<u8> {
    let line = |stream: &StoredStream| Line {
        id: stream.id.to_string(),
        name: stream.name.to_string(),
        version_id: stream.version_id,
        status: stream.status,
        created_at_ms: stream.created_at.as_millis(),
        origin: stream.origin.clone(),
        source: stream.source.map(SourceLine::of),
        settings: stream.settings.clone(),
    };
    let document = Document {
        format: format_of(streams),
        streams: streams.delivery.iter().map(line).collect(),
        kinesis: streams.kinesis.iter().map(kinesis::Line::of).collect(),
    };
    serde_json::to_vec(&document).expect("maps of a JSON document have text keys")
}

/// The oldest that says it all.
fn format_of(streams: &Streams) -> u32 {
    if streams.delivery.iter().any(|stream| stream.source.is_some() || !stream.settings.is_default()) {
        return 4;
    }
    if streams.kinesis.iter().any(StoredKinesis::needs_format_3) {
        return 3;
    }
    if streams.kinesis.is_empty() { 1 } else { 2 }
}

fn read(text: &[u8]) -> Result<Streams, CatalogError> {
    let document: Document =
        serde_json::from_slice(text).map_err(|error| CatalogError::Unreadable(error.to_string()))?;
    if !FORMATS.contains(&document.format) {
        let text = format!("its format is {}, this version reads {FORMATS:?}", document.format);
        return Err(CatalogError::Unreadable(text));
    }
    let stream = |line: Line| {
        Some(StoredStream {
            id: line.id.parse().ok()?,
            name: StreamName::parse(&line.name)?,
            version_id: line.version_id,
            status: line.status,
            created_at: Timestamp::from_millis(line.created_at_ms),
            origin: line.origin,
            source: match line.source {
                Some(source) => Some(source.read()?),
                None => None,
            },
            settings: line.settings,
        })
    };
    let delivery: Option<Vec<_>> = document.streams.into_iter().map(stream).collect();
    let kinesis: Option<Vec<_>> = document.kinesis.into_iter().map(kinesis::Line::read).collect();
    let streams = delivery.zip(kinesis).map(|(delivery, kinesis)| Streams { delivery, kinesis });
    streams.ok_or_else(|| CatalogError::Unreadable("a stream has no valid id or name".to_owned()))
}

#[cfg(test)]
mod tests;
