//! Which delivery streams there are. A name belongs to at most one stream in every region, and only one of two racing
//! creations gets it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hydrant_config::{DeliveryStream, StreamName};
use hydrant_record::{StreamId, Timestamp};
use hydrant_shardlog::ShardLog;
use serde_json::Value;

use crate::{Gate, StreamSettings};

/// What a delivery stream is.
#[derive(Clone, Debug)]
pub struct DeliveryStreamDefinition {
    pub name: StreamName,
    /// `None` answers in whatever region the client signs for.
    pub region: Option<String>,
    /// 1 until an update.
    pub version_id: u64,
    pub created_at: Timestamp,
    pub origin: Origin,
    /// `None`: records are put.
    pub source: Option<KinesisSource>,
    pub settings: StreamSettings,
}

/// The Kinesis stream that a delivery stream reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KinesisSource {
    pub name: String,
    /// `None` answers in whatever region the client signs for.
    pub region: Option<String>,
}

/// Who manages a delivery stream.
#[derive(Clone, Debug)]
pub enum Origin {
    /// The configuration; the API may not change it.
    Yaml(Arc<DeliveryStream>),
    /// The API; this is the request that created it.
    Api { request: Value },
}

/// Where a delivery stream is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    Creating,
    Active,
    Deleting,
    DeletingFailed,
}

/// Where the records of a delivery stream go.
#[derive(Clone, Debug)]
pub struct StreamHandle {
    pub id: StreamId,
    /// Its own, or that of the Kinesis stream which it reads.
    pub log: ShardLog,
    pub gate: Gate,
}

/// One delivery stream. Its name, region and source never change.
#[derive(Debug)]
pub struct Entry {
    key: (StreamName, Option<String>),
    reads_kinesis: bool,
    definition: RwLock<Arc<DeliveryStreamDefinition>>,
    encrypted: AtomicBool,
    /// Held by whoever changes it. Holds when encryption was switched lately.
    pub(crate) changing: tokio::sync::Mutex<Vec<Timestamp>>,
    status: AtomicU8,
    handle: OnceLock<StreamHandle>,
}

/// By name and pinned region.
type Streams = BTreeMap<(StreamName, Option<String>), Arc<Entry>>;

/// All delivery streams of the account.
#[derive(Debug, Default)]
pub struct Registry {
    streams: RwLock<Streams>,
}

/// The name is taken in a region that the new stream would answer in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is a delivery stream named `{name}` in region `{}` already; choose another name", region.as_deref().unwrap_or("any"))]
pub struct RegistryError {
    pub name: StreamName,
    pub region: Option<String>,
}

impl Status {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Creating => "CREATING",
            Status::Active => "ACTIVE",
            Status::Deleting => "DELETING",
            Status::DeletingFailed => "DELETING_FAILED",
        }
    }

    fn from_u8(value: u8) -> Status {
        let all = [Status::Creating, Status::Active, Status::Deleting, Status::DeletingFailed];
        all[usize::from(value)]
    }
}

impl Entry {
    /// A stream that is ready for records.
    #[must_use]
    pub fn active(definition: DeliveryStreamDefinition, handle: StreamHandle) -> Arc<Entry> {
        let entry = Entry::creating(definition);
        entry.activate(handle);
        entry
    }

    /// A stream whose deletion was promised before the last stop and is still to be finished.
    #[must_use]
    pub fn deleting(definition: DeliveryStreamDefinition) -> Arc<Entry> {
        let entry = Entry::creating(definition);
        entry.set_status(Status::Deleting);
        entry
    }

    pub(crate) fn creating(definition: DeliveryStreamDefinition) -> Arc<Entry> {
        Arc::new(Entry {
            key: (definition.name.clone(), definition.region.clone()),
            reads_kinesis: definition.source.is_some(),
            encrypted: AtomicBool::new(definition.settings.encrypted),
            definition: RwLock::new(Arc::new(definition)),
            changing: tokio::sync::Mutex::default(),
            status: AtomicU8::new(Status::Creating as u8),
            handle: OnceLock::new(),
        })
    }

    #[must_use]
    pub fn name(&self) -> &StreamName {
        &self.key.0
    }

    /// As the last change left it.
    #[must_use]
    pub fn definition(&self) -> Arc<DeliveryStreamDefinition> {
        Arc::clone(&self.definition.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// For whoever holds `changing`, once the change is durable.
    pub(crate) fn redefine(&self, changed: DeliveryStreamDefinition) {
        self.encrypted.store(changed.settings.encrypted, Ordering::Release);
        *self.definition.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(changed);
    }

    /// Whoever manages it says something else about it now.
    pub async fn change_origin(&self, origin: Origin) {
        let _changing = self.changing.lock().await;
        let now = DeliveryStreamDefinition::clone(&self.definition());
        self.redefine(DeliveryStreamDefinition { origin, ..now });
    }

    /// Nothing can be put to it.
    pub(crate) fn reads_kinesis(&self) -> bool {
        self.reads_kinesis
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.encrypted.load(Ordering::Acquire)
    }

    #[must_use]
    pub fn status(&self) -> Status {
        Status::from_u8(self.status.load(Ordering::Acquire))
    }

    /// Where it was opened, in any state but `Creating`.
    #[must_use]
    pub fn handle(&self) -> Option<&StreamHandle> {
        self.handle.get()
    }

    /// Where records go now; `None` unless it is active.
    #[must_use]
    pub fn writable(&self) -> Option<&StreamHandle> {
        self.handle.get().filter(|_| self.status() == Status::Active)
    }

    pub(crate) fn activate(&self, handle: StreamHandle) {
        if self.handle.set(handle).is_ok() {
            self.set_status(Status::Active);
        }
    }

    pub(crate) fn set_status(&self, status: Status) {
        self.status.store(status as u8, Ordering::Release);
    }

    /// Moves on if nobody else did.
    pub(crate) fn change(&self, from: Status, to: Status) -> bool {
        self.status.compare_exchange(from as u8, to as u8, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl Registry {
    #[must_use]
    pub fn new() -> Registry {
        Registry::default()
    }

    /// Adds a stream, unless its name is taken.
    pub fn insert(&self, entry: Arc<Entry>) -> Result<(), RegistryError> {
        let key = entry.key.clone();
        let mut streams = self.write();
        check_free(&streams, &key)?;
        streams.insert(key, entry);
        Ok(())
    }

    /// Whether a stream of this name and pinned region could be added now.
    pub fn check_free(&self, name: &StreamName, region: Option<&str>) -> Result<(), RegistryError> {
        check_free(&self.read(), &(name.clone(), region.map(str::to_owned)))
    }

    /// Takes out exactly this stream; a stream of the same name that came later stays.
    pub fn remove(&self, entry: &Arc<Entry>) {
        let key = entry.key.clone();
        let mut streams = self.write();
        if streams.get(&key).is_some_and(|known| Arc::ptr_eq(known, entry)) {
            streams.remove(&key);
        }
    }

    /// The stream of this name that answers in `region`.
    #[must_use]
    pub fn find(&self, name: &str, region: &str) -> Option<Arc<Entry>> {
        let name = StreamName::parse(name)?;
        let streams = self.read();
        let anywhere = streams.get(&(name.clone(), None));
        anywhere.or_else(|| streams.get(&(name, Some(region.to_owned())))).cloned()
    }

    /// The streams that answer in `region`, by name.
    #[must_use]
    pub fn in_region(&self, region: &str) -> Vec<Arc<Entry>> {
        let answers = |entry: &&Arc<Entry>| entry.key.1.as_deref().is_none_or(|own| own == region);
        self.read().values().filter(answers).cloned().collect()
    }

    /// All streams, by name.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Entry>> {
        self.read().values().cloned().collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, Streams> {
        self.streams.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Streams> {
        self.streams.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check_free(streams: &Streams, (name, region): &(StreamName, Option<String>)) -> Result<(), RegistryError> {
    let overlaps = |known: &Option<String>| known.is_none() || region.is_none() || known == region;
    if streams.keys().any(|(known, at)| known == name && overlaps(at)) {
        return Err(RegistryError { name: name.clone(), region: region.clone() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, region: Option<&str>) -> Arc<Entry> {
        Entry::creating(DeliveryStreamDefinition {
            name: StreamName::parse(name).unwrap(),
            region: region.map(str::to_owned),
            version_id: 1,
            created_at: Timestamp::from_millis(0),
            origin: Origin::Api { request: Value::Null },
            source: None,
            settings: StreamSettings::default(),
        })
    }

    #[test]
    fn a_name_is_unique_in_every_region_it_answers_in() {
        let registry = Registry::new();
        registry.insert(entry("a", Some("eu-west-1"))).unwrap();
        registry.insert(entry("a", Some("us-east-1"))).unwrap();
        assert!(registry.insert(entry("a", Some("eu-west-1"))).is_err());
        assert!(registry.insert(entry("a", None)).is_err());
        registry.insert(entry("b", None)).unwrap();
        assert!(registry.insert(entry("b", Some("eu-west-1"))).is_err());
        assert!(registry.find("a", "eu-west-1").is_some() && registry.find("a", "eu-west-2").is_none());
        assert!(registry.find("b", "eu-west-2").is_some() && registry.find("no/name", "eu-west-1").is_none());
        let names: Vec<_> = registry.in_region("us-east-1").iter().map(|one| one.name().to_string()).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn removal_takes_only_the_stream_that_was_meant() {
        let registry = Registry::new();
        let (first, second) = (entry("a", None), entry("a", None));
        registry.insert(first.clone()).unwrap();
        registry.remove(&second);
        assert!(registry.find("a", "x").is_some());
        registry.remove(&first);
        registry.insert(second).unwrap();
        registry.remove(&first);
        assert!(registry.find("a", "x").is_some());
    }

    #[test]
    fn a_state_is_left_once() {
        let entry = entry("a", None);
        assert!(entry.change(Status::Creating, Status::Active));
        assert!(!entry.change(Status::Creating, Status::Deleting));
        assert_eq!(entry.status(), Status::Active);
        assert!(entry.writable().is_none());
    }
}
