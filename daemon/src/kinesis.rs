//! The Kinesis streams of the data directory: each is a log below `streams/` and an entry of the catalog.
//!
//! Invariant: a stream is in the catalog before it has files, and its files are gone before it leaves the catalog.

mod managed;

use std::collections::BTreeMap;
use std::io;
use std::panic::resume_unwind;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;

use futures::future::{BoxFuture, FutureExt as _};
use hydrant_disk::create_dir_durable;
use hydrant_ingest::{
    CatalogError, ControlError, EventBudget, Kinesis, KinesisPlane, KinesisStream, KinesisStreams, StoredKinesis,
    StoredStatus,
};
use hydrant_record::{StreamId, Timestamp};
use hydrant_shardlog::{Expendable, Limits, LogOptions, OpenError, Progress, ShardLog};

use crate::control::{blocking, unavailable};
use crate::engine::{Engine, Reader, after_loss, exit_of_log, is_loss};
use crate::exit::{Exit, Failure, chain};

const HOUR_MS: u64 = 3_600_000;
/// Logs that are opened at once at the start: each waits for the disk most of its time.
const OPENERS: usize = 16;

/// The open logs of all Kinesis streams, with the names of those.
#[derive(Debug, Default)]
pub(crate) struct Logs(RwLock<BTreeMap<StreamId, (String, ShardLog)>>);

impl Logs {
    /// A stream whose log takes no more records, and why.
    pub(crate) fn failed(&self) -> Option<(String, Arc<io::Error>)> {
        self.read().values().find_map(|(name, log)| Some((format!("Kinesis stream `{name}`"), log.poisoned()?)))
    }

    /// How far each log is with what it stores now.
    pub(crate) fn progress(&self) -> Vec<(StreamId, String, Progress)> {
        self.read().iter().map(|(id, (name, log))| (*id, name.clone(), log.progress())).collect()
    }

    pub(crate) fn log(&self, id: StreamId) -> Option<ShardLog> {
        self.read().get(&id).map(|(_, log)| log.clone())
    }

    /// For closing them.
    pub(crate) fn take_all(&self) -> Vec<ShardLog> {
        std::mem::take(&mut *self.write()).into_values().map(|(_, log)| log).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<StreamId, (String, ShardLog)>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<StreamId, (String, ShardLog)>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How flags name a Kinesis stream, which may have the name of a delivery stream.
pub(crate) fn flag(name: &str) -> String {
    format!("kinesis/{name}")
}

/// Opens every Kinesis stream of the YAML and of the catalog, and finishes deletions that were cut off. Blocks.
pub(crate) fn open_all(engine: &Arc<Engine>, discard: &[String]) -> Result<Kinesis, Failure> {
    let streams = Arc::new(KinesisStreams::new());
    let mut known = Vec::new();
    for stored in engine.catalog.kinesis_streams() {
        if stored.status == StoredStatus::Deleting {
            engine.store.remove_stream_dirs(stored.id).map_err(|error| Failure::of(Exit::Io, &error))?;
            engine.catalog.remove_kinesis(stored.id).map_err(|error| Failure::of(Exit::Io, &error))?;
            tracing::info!(stream = stored.name, "the deletion of the Kinesis stream is finished");
            continue;
        }
        known.extend(managed::settle(engine, stored, discard)?);
    }
    insert_all(engine, &streams, &known)?;
    for stored in managed::new_ones(engine)? {
        engine.catalog.insert_kinesis(stored.clone()).map_err(|error| match error {
            CatalogError::Exists { .. } => managed::taken(&stored.name),
            error => Failure::of(Exit::Io, &error),
        })?;
        insert(engine, &streams, stored)?;
    }
    let plane = Arc::new(Plane { engine: Arc::clone(engine) });
    let limits = Arc::new(engine.config.limits.clone());
    let events = Arc::new(EventBudget::new(event_bytes(engine.config.memory)));
    Ok(Kinesis { streams, plane, limits, calls: Arc::default(), events })
}

/// A part of what requests may hold in all: subscriptions that are not read keep it from one another, and not from puts.
pub(crate) fn event_bytes(memory: u64) -> u64 {
    memory / 16
}

fn insert_all(engine: &Engine, streams: &KinesisStreams, known: &[StoredKinesis]) -> Result<(), Failure> {
    thread::scope(|scope| {
        let shares = known.chunks(known.len().div_ceil(OPENERS).max(1));
        let openers: Vec<_> = shares
            .map(|share| scope.spawn(|| share.iter().try_for_each(|stored| insert(engine, streams, stored.clone()))))
            .collect();
        let results = openers.into_iter().map(|opener| opener.join().unwrap_or_else(|panic| resume_unwind(panic)));
        // All of them, so that no panic is lost behind a failure.
        results.collect::<Vec<_>>().into_iter().collect()
    })
}

fn insert(engine: &Engine, streams: &KinesisStreams, stored: StoredKinesis) -> Result<(), Failure> {
    let log = open_at_start(engine, &stored)?;
    managed::divide(engine, &stored, &log)?;
    let name = stored.name.clone();
    if streams.insert(KinesisStream::active(stored, log)) { Ok(()) } else { Err(managed::taken(&name)) }
}

/// Opens the log of one stream as it is, where no daemon runs; once for all who ask.
pub(crate) fn open_alone(engine: &Engine, id: StreamId) -> Result<ShardLog, Failure> {
    if let Some(log) = engine.kinesis.log(id) {
        return Ok(log);
    }
    let stored = engine.catalog.kinesis_streams().into_iter().find(|stream| stream.id == id);
    let gone = || Failure::new(Exit::CorruptStore, format!("the catalog has no Kinesis stream with the id {id}"));
    open_at_start(engine, &stored.ok_or_else(gone)?)
}

fn open_at_start(engine: &Engine, stored: &StoredKinesis) -> Result<ShardLog, Failure> {
    let options = engine.kinesis_options_at_start(stored)?;
    open(engine, stored, options).map_err(|error| {
        let failure = Failure::new(exit_of_log(&error), format!("Kinesis stream `{}`: {}", stored.name, chain(&error)));
        match error {
            _ if is_loss(&error) => failure.hint(after_loss(&flag(&stored.name))),
            OpenError::Unsupported { .. } => {
                failure.hint("restore the data directory from a backup; nothing was changed")
            }
            _ => failure,
        }
    })
}

fn open(engine: &Engine, stored: &StoredKinesis, mut options: LogOptions) -> Result<ShardLog, OpenError> {
    let (disk, dir) = (engine.store.disk(), engine.store.log_dir(stored.id));
    create_dir_durable(&*disk, &dir).map_err(|source| OpenError::Io { path: dir.clone(), source })?;
    options.shards = stored.shards;
    let (log, recovery) = ShardLog::open(disk, &dir, options)?;
    engine.tell(&flag(&stored.name), &recovery);
    engine.kinesis.write().insert(stored.id, (stored.name.clone(), log.clone()));
    Ok(log)
}

/// Lets records go that are older than their stream keeps them, whether or not a consumer has read them; but what a delivery
/// stream has not delivered stays until it has. `now` is a time that is believed. Blocks.
pub(crate) fn expire(engine: &Engine, now: Timestamp) {
    for stream in engine.catalog.kinesis_streams() {
        let _placing = engine.placing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(log) = engine.kinesis.log(stream.id) else { continue };
        let kept = u64::from(stream.settings.retention_hours) * HOUR_MS;
        let before = Timestamp::from_millis(now.as_millis().saturating_sub(kept));
        let expendable = match engine.readers_of(stream.id).as_slice() {
            [] => Expendable::All,
            readers => {
                tell_held(&stream, &log, before, readers);
                Expendable::Through(readers.iter().map(|reader| reader.settled).min().flatten())
            }
        };
        let limits = Limits { before: Some(before), bytes_max: None };
        if let Err(error) = engine.note_expiry(stream.id, &limits) {
            tracing::warn!(stream = stream.name, %error, "old records stay: what expires could not be written down");
            continue;
        }
        match log.expire(&limits, expendable) {
            Ok(None) => {}
            Ok(Some(gone)) => tracing::info!(
                stream = stream.name,
                first = gone.first.get(),
                last = gone.last.get(),
                "records that were older than the retention period were removed"
            ),
            Err(error) => tracing::warn!(stream = stream.name, %error, "old records could not be removed"),
        }
    }
}

/// Says in the status of a delivery stream that records wait for it which would be gone by their age.
fn tell_held(stream: &StoredKinesis, log: &ShardLog, before: Timestamp, readers: &[Reader]) {
    let old = match log.seek_time(before) {
        Ok(old) => old,
        Err(error) => return tracing::warn!(stream = stream.name, %error, "the age of records cannot be told"),
    };
    let (name, hours) = (&stream.name, stream.settings.retention_hours);
    let why = format!(
        "the Kinesis stream `{name}` keeps records for this delivery stream that are older than its retention period of {hours} h, \
         until they are delivered"
    );
    for reader in readers {
        reader.note_held((reader.settled < old).then(|| why.clone()));
    }
}

#[derive(Debug)]
struct Plane {
    engine: Arc<Engine>,
}

impl KinesisPlane for Plane {
    fn create(&self, new: StoredKinesis) -> BoxFuture<'_, Result<ShardLog, ControlError>> {
        let engine = Arc::clone(&self.engine);
        blocking(move || create(&engine, &new)).boxed()
    }

    fn store(&self, changed: StoredKinesis) -> BoxFuture<'_, Result<(), ControlError>> {
        let engine = Arc::clone(&self.engine);
        blocking(move || {
            engine.catalog.update_kinesis(changed).map_err(|error| match error {
                CatalogError::InUse { .. } => ControlError::InUse(error.to_string()),
                error => unavailable(&error),
            })
        })
        .boxed()
    }

    fn remove(&self, id: StreamId) -> BoxFuture<'_, Result<(), ControlError>> {
        let engine = Arc::clone(&self.engine);
        blocking(move || {
            let log = engine.kinesis.write().remove(&id);
            if let Some(Err(error)) = log.map(|(_, log)| log.close()) {
                tracing::debug!(%error, "a log that is to be removed was not closed cleanly");
            }
            engine.store.remove_stream_dirs(id).map_err(|error| unavailable(&error))?;
            engine.catalog.remove_kinesis(id).map_err(|error| unavailable(&error))
        })
        .boxed()
    }
}

fn create(engine: &Engine, new: &StoredKinesis) -> Result<ShardLog, ControlError> {
    engine.catalog.insert_kinesis(new.clone()).map_err(|error| match error {
        CatalogError::TooMany => ControlError::LimitExceeded(error.to_string()),
        error => unavailable(&error),
    })?;
    open(engine, new, engine.kinesis_options()).map_err(|error| {
        let undone = engine.store.remove_stream_dirs(new.id).map_err(|error| error.to_string());
        let undone = undone.and_then(|()| engine.catalog.remove_kinesis(new.id).map_err(|error| error.to_string()));
        if let Err(undo) = undone {
            tracing::error!("a creation failed and could not be undone: {undo}");
        }
        unavailable(&error)
    })
}

#[cfg(test)]
mod tests;
