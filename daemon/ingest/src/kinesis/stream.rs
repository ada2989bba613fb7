//! Which Kinesis streams there are. A name belongs to at most one stream of a region, and a state is left by one change at a
//! time, so that two changes of a stream never meet.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hydrant_record::{StreamId, Timestamp};
use hydrant_shardlog::ShardLog;

use super::daily::Daily;
use super::growth::Growth;
use super::subscriptions::Subscriptions;
use super::throttle::ShardFlows;
use crate::{KinesisSettings, StoredKinesis, StoredStatus};

/// Where a stream is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Status {
    Creating,
    Active,
    Updating,
    Deleting,
}

/// One Kinesis stream.
#[derive(Debug)]
pub struct KinesisStream {
    pub(crate) id: StreamId,
    pub(crate) name: String,
    pub(crate) region: String,
    pub(crate) created_at: Timestamp,
    pub(crate) from_yaml: bool,
    shards: u32,
    settings: RwLock<Arc<KinesisSettings>>,
    status: AtomicU8,
    log: OnceLock<ShardLog>,
    /// Held by whoever changes the settings, from reading them until they are durable.
    turn: tokio::sync::Mutex<()>,
    pub(super) subscriptions: Subscriptions,
    pub(super) flows: ShardFlows,
    pub(super) daily: Daily,
    pub(super) growth: Growth,
}

/// All Kinesis streams of the account.
#[derive(Debug, Default)]
pub struct KinesisStreams(RwLock<Maps>);

#[derive(Debug, Default)]
struct Maps {
    /// By name and region.
    by_name: BTreeMap<(String, String), Arc<KinesisStream>>,
    by_id: HashMap<StreamId, Arc<KinesisStream>>,
}

impl Maps {
    /// Those of one name, in their regions.
    fn named<'m>(&'m self, name: &'m str) -> impl Iterator<Item = &'m Arc<KinesisStream>> {
        let from = (name.to_owned(), String::new());
        self.by_name.range(from..).take_while(move |((of, _), _)| of == name).map(|(_, stream)| stream)
    }
}

/// Puts the stream back to ACTIVE when a change ends, however it ends.
#[derive(Debug)]
pub(crate) struct Changing<'a>(&'a KinesisStream);

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.0.status.store(Status::Active as u8, Ordering::Release);
    }
}

impl Changing<'_> {
    /// There is no way back.
    pub(crate) fn end_in_deletion(self) {
        self.0.status.store(Status::Deleting as u8, Ordering::Release);
        std::mem::forget(self);
    }
}

impl Status {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Status::Creating => "CREATING",
            Status::Active => "ACTIVE",
            Status::Updating => "UPDATING",
            Status::Deleting => "DELETING",
        }
    }
}

impl KinesisStream {
    /// A stream that is ready for records.
    #[must_use]
    pub fn active(stored: StoredKinesis, log: ShardLog) -> Arc<KinesisStream> {
        let stream = KinesisStream::creating(stored);
        stream.activate(log);
        stream
    }

    pub(crate) fn creating(stored: StoredKinesis) -> Arc<KinesisStream> {
        let StoredKinesis { id, name, region, created_at, from_yaml, shards, settings, .. } = stored;
        Arc::new(KinesisStream {
            id,
            name,
            region,
            created_at,
            from_yaml,
            shards,
            settings: RwLock::new(Arc::new(settings)),
            status: AtomicU8::new(Status::Creating as u8),
            log: OnceLock::new(),
            turn: tokio::sync::Mutex::default(),
            subscriptions: Subscriptions::default(),
            flows: ShardFlows::default(),
            daily: Daily::default(),
            growth: Growth::default(),
        })
    }

    pub(crate) fn activate(&self, log: ShardLog) {
        if self.log.set(log).is_ok() {
            self.change(Status::Creating, Status::Active);
        }
    }

    /// The log, for reads and writes: both go on while the shards change.
    #[must_use]
    pub fn log(&self) -> Option<&ShardLog> {
        self.log.get().filter(|_| matches!(self.status(), Status::Active | Status::Updating))
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    #[must_use]
    pub fn settings(&self) -> Arc<KinesisSettings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_settings(&self, settings: KinesisSettings) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }

    /// Who changes settings waits here for who else does.
    pub(super) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    pub(crate) fn status(&self) -> Status {
        let all = [Status::Creating, Status::Active, Status::Updating, Status::Deleting];
        all[usize::from(self.status.load(Ordering::Acquire))]
    }

    /// Moves on if nobody else did.
    pub(crate) fn change(&self, from: Status, to: Status) -> bool {
        self.status.compare_exchange(from as u8, to as u8, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// UPDATING until the guard is gone; `None` unless the stream is ACTIVE.
    pub(crate) fn begin_change(&self) -> Option<Changing<'_>> {
        self.change(Status::Active, Status::Updating).then_some(Changing(self))
    }

    /// As the catalog is to keep it.
    pub(crate) fn stored(&self, status: StoredStatus, settings: KinesisSettings) -> StoredKinesis {
        StoredKinesis {
            id: self.id,
            name: self.name.clone(),
            region: self.region.clone(),
            status,
            created_at: self.created_at,
            shards: self.shards,
            from_yaml: self.from_yaml,
            settings,
        }
    }

    /// Whether clients that sign for this region see it.
    pub(crate) fn answers(&self, region: &str) -> bool {
        self.region.is_empty() || self.region == region
    }

    fn key(&self) -> (String, String) {
        (self.name.clone(), self.region.clone())
    }
}

impl KinesisStreams {
    #[must_use]
    pub fn new() -> KinesisStreams {
        KinesisStreams::default()
    }

    /// False if its name is taken, in one of its regions.
    pub fn insert(&self, stream: Arc<KinesisStream>) -> bool {
        let mut maps = self.write();
        let meets = |known: &Arc<KinesisStream>| known.answers(&stream.region) || stream.region.is_empty();
        if maps.named(&stream.name).any(meets) {
            return false;
        }
        maps.by_name.insert(stream.key(), Arc::clone(&stream));
        maps.by_id.insert(stream.id, stream);
        true
    }

    /// Takes out exactly this stream; one of the same name that came later stays.
    pub(crate) fn remove(&self, stream: &KinesisStream) {
        let mut maps = self.write();
        if maps.by_id.remove(&stream.id).is_some() {
            maps.by_name.remove(&stream.key());
        }
    }

    pub(crate) fn find(&self, region: &str, name: &str) -> Option<Arc<KinesisStream>> {
        self.read().named(name).find(|stream| stream.answers(region)).cloned()
    }

    pub(crate) fn by_id(&self, id: StreamId) -> Option<Arc<KinesisStream>> {
        self.read().by_id.get(&id).cloned()
    }

    /// Those of one region, by name.
    pub(crate) fn in_region(&self, region: &str) -> Vec<Arc<KinesisStream>> {
        self.read().by_name.values().filter(|stream| stream.answers(region)).cloned().collect()
    }

    #[must_use]
    pub fn all(&self) -> Vec<Arc<KinesisStream>> {
        self.read().by_name.values().cloned().collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, Maps> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Maps> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
