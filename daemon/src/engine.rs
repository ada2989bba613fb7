//! The delivery streams at work: each has its log, its plugins, its sink and its pipeline.
//!
//! Invariant: a stream is in the catalog before it has files, and its files are gone before it leaves the catalog; so whatever
//! is cut off in between is seen at the next start and finished there.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use hydrant_config::{Config, DeliveryStream, LogCompression, StreamName};
use hydrant_delivery::{Bounds, Chunks, ChunksParts, Claim, CpuPool, Pipeline, PipelineParts, StartError, Status};
use hydrant_ingest::{Catalog, Gate, StoredKinesis, StoredSource, StoredStream, StreamHandle};
use hydrant_plugins::{Chain, Host, Transform};
use hydrant_record::{Lsn, StreamId, Timestamp};
use hydrant_shardlog::{Compression, LogOptions, Progress, Recovery, ShardLog, SystemClock};
use hydrant_sinks::Sink;
use tokio::sync::mpsc;

use crate::exit::{Exit, Failure, chain};
use crate::kinesis;
use crate::probed::Findings;
use crate::store::Store;

mod backlogs;
mod change;
mod open_error;
mod readers;
mod stores;

pub(crate) use open_error::{OpenStreamError, after_loss, exit_of_log, is_loss};
use open_error::{exit_of_catalog, exit_of_pipeline};
pub(crate) use readers::Reader;
use stores::Buckets;

/// All delivery streams of one data directory.
pub(crate) struct Engine {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) catalog: Catalog,
    pub(crate) kinesis: kinesis::Logs,
    host: Host,
    cpu: CpuPool,
    logs: LogSettings,
    /// Delivery streams, and `kinesis/NAME`, whose damaged records are given up at this start.
    accept_loss: Vec<String>,
    running: RwLock<BTreeMap<StreamId, Running>>,
    /// Held from where a source's place is found to where it is in the catalog, so that nothing is trimmed between the two.
    pub(crate) placing: Mutex<()>,
    /// Told when storage failed under a pipeline, after which only a restart into recovery helps.
    broken: mpsc::Sender<Failure>,
    slow: Mutex<Option<String>>,
    backlogs: backlogs::Backlogs,
    probed: Mutex<Findings>,
}

#[derive(Clone, Debug)]
struct Running {
    name: String,
    stream: DeliveryStream,
    log: ShardLog,
    claim: Claim,
    pipeline: Arc<Pipeline>,
    buckets: Buckets,
    /// Why records are kept for it that are older than their Kinesis stream keeps them.
    held: Arc<Mutex<Option<String>>>,
}

/// What the size of the disk and of the memory mean for a log.
#[derive(Clone, Debug)]
struct LogSettings {
    queue_bytes_max: usize,
    segment_bytes_max: u64,
    reserve_bytes: u64,
    /// At the start.
    free_bytes: u64,
}

impl Running {
    /// `None`: it reads that of a Kinesis stream.
    fn own_log(&self) -> Option<&ShardLog> {
        Some(&self.log).filter(|_| self.claim == Claim::Own)
    }
}

struct Tools {
    transform: Option<Box<dyn Transform>>,
    sink: Arc<dyn Sink>,
    backup: Option<Arc<dyn Sink>>,
}

impl LogSettings {
    /// A small disk gets small segments and a small reserve: space comes back a segment at a time. Records never get the last
    /// `set_aside` bytes and a little more.
    fn new(memory: u64, free_bytes: u64, set_aside: u64) -> LogSettings {
        let share = free_bytes / 16;
        LogSettings {
            queue_bytes_max: usize::try_from(memory / 8).unwrap_or(usize::MAX),
            segment_bytes_max: share.clamp(1 << 20, 128 << 20),
            reserve_bytes: share.clamp(set_aside + (4 << 20), 256 << 20),
            free_bytes,
        }
    }

    fn options(&self) -> LogOptions {
        let mut options = LogOptions::new();
        options.queue_bytes_max = self.queue_bytes_max;
        options.segment_bytes_max = self.segment_bytes_max;
        options.reserve_bytes = self.reserve_bytes;
        options
    }

    /// A journal may use the reserve: what frees space must be able to write down that it does.
    fn journal_options(&self) -> LogOptions {
        let mut options = self.options();
        options.segment_bytes_max = 4 << 20;
        options.spares_max = 1;
        options.reserve_bytes = 0;
        options
    }
}

impl Engine {
    /// Opens the catalog; no stream yet.
    pub(crate) fn open(
        config: Config,
        store: Store,
        accept_loss: Vec<String>,
        broken: mpsc::Sender<Failure>,
    ) -> Result<Engine, Failure> {
        let free = store.free_bytes().map_err(|error| Failure::of(Exit::Io, &error))?;
        let logs = LogSettings::new(config.memory, free, store.reserve().bytes());
        let (log, _) = ShardLog::open(store.disk(), &store.catalog_dir(), logs.journal_options())
            .map_err(|error| Failure::of(exit_of_log(&error), &error))?;
        let catalog = Catalog::open(log).map_err(|error| Failure::of(exit_of_catalog(&error), &error))?;
        let host =
            Host::new(hydrant_plugins::HostOptions { cache_dir: Some(store.plugin_dir()), ..Default::default() })
                .map_err(|error| Failure::of(Exit::Runtime, &error))?;
        let cpus = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let cpu = CpuPool::new(cpus).map_err(|error| Failure::of(Exit::Runtime, &error))?;
        Ok(Engine {
            config,
            store,
            catalog,
            kinesis: kinesis::Logs::default(),
            host,
            cpu,
            logs,
            accept_loss,
            running: RwLock::default(),
            placing: Mutex::default(),
            broken,
            slow: Mutex::default(),
            backlogs: backlogs::Backlogs::default(),
            probed: Mutex::default(),
        })
    }

    /// Opens the log and starts delivery. Blocks on disk and on compiling plugins.
    pub(crate) fn open_stream(
        self: &Arc<Self>,
        stream: &DeliveryStream,
        (id, source): (StreamId, Option<StoredSource>),
    ) -> Result<StreamHandle, OpenStreamError> {
        let name = || stream.name.to_string();
        let tools = self.tools(stream)?;
        let (log, claim) = match source {
            None => (self.open_own_log(stream, id)?, Claim::Own),
            Some(StoredSource { stream: kinesis, after }) => {
                let dir = self.store.delivery_dir(id);
                hydrant_disk::create_dir_durable(&*self.store.disk(), &dir)
                    .map_err(|source| OpenStreamError::Io { name: name(), source })?;
                let log = self.kinesis.log(kinesis).ok_or_else(|| OpenStreamError::Source { name: name() })?;
                (log, Claim::Shared { after })
            }
        };
        self.launch(stream, id, (log.clone(), claim), tools)?;
        let gate = if claim == Claim::Own { self.backlogs.begin(id, &log) } else { Gate::default() };
        Ok(StreamHandle { id, log, gate })
    }

    /// What a delivery stream works with beside its log. Changes nothing.
    fn tools(&self, stream: &DeliveryStream) -> Result<Tools, OpenStreamError> {
        let name = || stream.name.to_string();
        let transform = Chain::load(&self.host, &stream.processing.plugins, stream.name.as_str())
            .map_err(|source| OpenStreamError::Plugin { name: name(), source })?;
        let sink = hydrant_sinks::sink(&stream.destination, self.store.disk())
            .map_err(|source| OpenStreamError::Sink { name: name(), source })?;
        let backup = stream.backup.as_ref().map(|backup| hydrant_sinks::object_sink(&backup.store, self.store.disk()));
        let backup = backup.transpose().map_err(|source| OpenStreamError::Sink { name: name(), source })?;
        Ok(Tools { transform: transform.map(|chain| Box::new(chain) as Box<dyn Transform>), sink, backup })
    }

    /// Starts delivery from a log that is open.
    fn launch(
        self: &Arc<Self>,
        stream: &DeliveryStream,
        id: StreamId,
        (log, claim): (ShardLog, Claim),
        Tools { transform, sink, backup }: Tools,
    ) -> Result<(), OpenStreamError> {
        let name = stream.name.to_string();
        let buckets = Buckets::of(stream, &*sink, backup.as_deref());
        let pipeline = Pipeline::start(PipelineParts {
            stream: stream.clone(),
            stream_id: id,
            dir: self.store.delivery_dir(id),
            disk: self.store.disk(),
            clock: Arc::new(SystemClock),
            log: log.clone(),
            claim,
            journal_options: self.logs.journal_options(),
            transform,
            sink,
            backup,
            cpu: self.cpu.clone(),
            bounds: Bounds::default(),
        })
        .map_err(|source| OpenStreamError::Pipeline { name: name.clone(), source })?;
        let pipeline = Arc::new(pipeline);
        tokio::spawn(watch(Arc::clone(&pipeline), name.clone(), self.broken.clone()));
        let running = Running { name, stream: stream.clone(), log, claim, pipeline, buckets, held: Arc::default() };
        self.running_mut().insert(id, running);
        Ok(())
    }

    fn open_own_log(&self, stream: &DeliveryStream, id: StreamId) -> Result<ShardLog, OpenStreamError> {
        let name = || stream.name.to_string();
        self.store.create_stream_dirs(id).map_err(|source| OpenStreamError::Io { name: name(), source })?;
        let mut options =
            self.log_options(&stream.name, id).map_err(|source| OpenStreamError::Pipeline { name: name(), source })?;
        options.compression = match stream.log.compression {
            LogCompression::None => Compression::None,
            LogCompression::Lz4 => Compression::Lz4,
            LogCompression::Zstd => Compression::Zstd,
        };
        let (log, recovery) = ShardLog::open(self.store.disk(), &self.store.log_dir(id), options)
            .map_err(|source| OpenStreamError::Log { name: name(), source })?;
        self.tell(stream.name.as_str(), &recovery);
        Ok(log)
    }

    fn log_options(&self, name: &StreamName, id: StreamId) -> Result<LogOptions, StartError> {
        let mut options = self.logs.options();
        options.accept_loss = self.accepts_loss(name.as_str());
        if options.accept_loss {
            options.known_durable = self.staged_through(id)?;
        }
        Ok(options)
    }

    /// How far the journal of a delivery stream that is not running names records: a log that has lost its end cannot say how
    /// far it went.
    fn staged_through(&self, id: StreamId) -> Result<Option<Lsn>, StartError> {
        hydrant_delivery::staged_through(self.store.disk(), &self.store.delivery_dir(id), self.logs.journal_options())
    }

    pub(crate) fn accept_loss(&self) -> &[String] {
        &self.accept_loss
    }

    fn accepts_loss(&self, name: &str) -> bool {
        self.accept_loss.iter().any(|accepted| accepted == name)
    }

    /// What an opening found, as far as an operator should know. A Kinesis stream's name is `kinesis/NAME`, as in the flags.
    pub(crate) fn tell(&self, name: &str, recovery: &Recovery) {
        for (first, last) in &recovery.lost {
            let records = last.get() - first.get() + 1;
            tracing::error!(stream = name, %first, %last, records, "records are lost: they were given up by `--accept-loss`");
        }
        if recovery.lost.is_empty() && self.accepts_loss(name) {
            tracing::warn!(stream = name, "nothing was lost; leave `--accept-loss` out, so that a loss is noticed");
        }
        if !recovery.clean && recovery.lost.is_empty() {
            let torn_bytes = recovery.torn_bytes;
            tracing::info!(stream = name, torn_bytes, "the last stop was not clean; every acked record is there");
        }
    }

    /// How the log of a new Kinesis stream is opened.
    pub(crate) fn kinesis_options(&self) -> LogOptions {
        self.logs.options()
    }

    /// The same for one that may have records; before the delivery streams that read it are opened.
    pub(crate) fn kinesis_options_at_start(&self, stored: &StoredKinesis) -> Result<LogOptions, Failure> {
        let mut options = self.kinesis_options();
        options.accept_loss = self.accepts_loss(&kinesis::flag(&stored.name));
        if options.accept_loss {
            let streams = self.catalog.streams();
            let readers = streams.iter().filter(|one| one.source.is_some_and(|source| source.stream == stored.id));
            let staged = readers.map(|reader| self.staged_through(reader.id)).collect::<Result<Vec<_>, _>>();
            let staged = staged.map_err(|error| Failure::of(exit_of_pipeline(&error), &error))?;
            options.known_durable = staged.into_iter().flatten().max();
        }
        Ok(options)
    }

    /// Records of a stream that is not running which were not delivered.
    pub(crate) fn backlog(&self, stored: &StoredStream) -> Result<u64, Failure> {
        let (name, id) = (&stored.name, stored.id);
        if let Some(source) = stored.source {
            return self.backlog_in(id, source);
        }
        let log = self.open_log(name, id)?;
        let options = self.logs.journal_options();
        let (disk, dir) = (self.store.disk(), self.store.delivery_dir(id));
        let backlog = hydrant_delivery::backlog(disk, &dir, id, (&log, Claim::Own), options)
            .map_err(|error| Failure::of(exit_of_pipeline(&error), &error))?;
        log.close().map_err(|error| Failure::of(Exit::Io, &error))?;
        Ok(backlog)
    }

    /// The open chunks of a stream that is not running. The log of a Kinesis stream stays open for those that read it, too.
    pub(crate) fn chunks(&self, stream: &DeliveryStream, stored: &StoredStream) -> Result<Chunks, Failure> {
        let (log, claim) = match stored.source {
            None => (self.open_log(&stream.name, stored.id)?, Claim::Own),
            Some(source) => (kinesis::open_alone(self, source.stream)?, Claim::Shared { after: source.after }),
        };
        let parts = ChunksParts {
            stream: stream.clone(),
            stream_id: stored.id,
            dir: self.store.delivery_dir(stored.id),
            disk: self.store.disk(),
            log,
            claim,
            journal_options: self.logs.journal_options(),
        };
        Chunks::open(parts).map_err(|error| Failure::of(exit_of_pipeline(&error), &error))
    }

    /// The log of a stream that is not running.
    fn open_log(&self, name: &StreamName, id: StreamId) -> Result<ShardLog, Failure> {
        self.store.create_stream_dirs(id).map_err(|error| Failure::of(Exit::Io, &error))?;
        let options = self.log_options(name, id).map_err(|error| Failure::of(exit_of_pipeline(&error), &error))?;
        let log = ShardLog::open(self.store.disk(), &self.store.log_dir(id), options);
        let (log, recovery) = log.map_err(|error| {
            let failure = Failure::of(exit_of_log(&error), &error);
            if is_loss(&error) { failure.hint(after_loss(name.as_str())) } else { failure }
        })?;
        self.tell(name.as_str(), &recovery);
        Ok(log)
    }

    /// The same for one that reads a Kinesis stream, which is open.
    fn backlog_in(&self, id: StreamId, source: StoredSource) -> Result<u64, Failure> {
        let (disk, dir) = (self.store.disk(), self.store.delivery_dir(id));
        hydrant_disk::create_dir_durable(&*disk, &dir).map_err(|error| Failure::of(Exit::Io, &error))?;
        let Some(log) = self.kinesis.log(source.stream) else { return Ok(0) };
        let (claim, options) = (Claim::Shared { after: source.after }, self.logs.journal_options());
        hydrant_delivery::backlog(disk, &dir, id, (&log, claim), options)
            .map_err(|error| Failure::of(exit_of_pipeline(&error), &error))
    }

    /// Why the log of a stream takes no more records, if one failed a write or a sync: producers are refused until a restart
    /// has found what is durable.
    pub(crate) fn failed_log(&self) -> Option<Failure> {
        let running = self.running();
        let delivery = running
            .values()
            .find_map(|one| Some((format!("delivery stream `{}`", one.name), one.own_log()?.poisoned()?)));
        let (name, error) = delivery.or_else(|| self.kinesis.failed())?;
        let text = format!("the log of {name} failed: {}", chain(&*error));
        Some(Failure::new(Exit::Io, text).hint("look at the device; a restart recovers what is durable"))
    }

    /// How far each log is with what it stores now.
    pub(crate) fn progress(&self) -> Vec<(StreamId, String, Progress)> {
        let progress = |(id, one): (&StreamId, &Running)| Some((*id, one.name.clone(), one.own_log()?.progress()));
        let delivery = self.running().iter().filter_map(progress).collect::<Vec<_>>();
        delivery.into_iter().chain(self.kinesis.progress()).collect()
    }

    /// What keeps records from being stored in good time, if anything does.
    pub(crate) fn slow(&self) -> Option<String> {
        self.slow.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn note_slow(&self, slow: Option<String>) {
        let was = std::mem::replace(&mut *self.slow.lock().unwrap_or_else(PoisonError::into_inner), slow.clone());
        match (was, slow) {
            (None, Some(text)) => tracing::error!("not ready: {text}"),
            (Some(_), None) => tracing::info!("records are stored in good time again"),
            _ => {}
        }
    }

    /// Ends delivery without delivering what is left, and closes the log.
    pub(crate) async fn stop_stream(&self, id: StreamId) {
        let running = self.running_mut().remove(&id);
        self.backlogs.end(id);
        if let Some(running) = running {
            // An error that ended it was told when it happened.
            let _ = running.pipeline.stop().await;
            close_own(running.own_log().cloned()).await;
        }
    }

    /// Delivers what is buffered, as far as `grace` allows, and closes everything.
    pub(crate) async fn drain(&self, grace: Duration) {
        let running = std::mem::take(&mut *self.running_mut());
        let drained = running.into_values().map(|running| async move {
            let _ = running.pipeline.drain(grace).await;
            close_own(running.own_log().cloned()).await;
        });
        futures::future::join_all(drained).await;
        // After those that read them.
        futures::future::join_all(self.kinesis.take_all().into_iter().map(|log| close(log, "log"))).await;
        if let Err(error) = self.catalog.close() {
            tracing::warn!("the catalog was not closed cleanly: {error}");
        }
    }

    /// Lets each log go of what its policy keeps no longer; see [`Pipeline::tend`]. Blocks on the disk.
    pub(crate) fn tend_logs(&self, now: Option<Timestamp>) {
        let running: Vec<Running> = self.running().values().cloned().collect();
        for one in running.iter().filter(|one| one.own_log().is_some()) {
            if let Err(error) = one.pipeline.tend(now) {
                tracing::warn!(delivery_stream = %one.name, "its log cannot be made smaller: {error}");
            }
        }
    }

    /// Looks whether every delivery stream's accounting adds up; see [`Pipeline::reconcile`].
    pub(crate) fn reconcile(&self) {
        self.running().values().for_each(|one| one.pipeline.reconcile());
    }

    /// Whether any delivery stream keeps records by their age.
    pub(crate) fn retains(&self) -> bool {
        self.running().values().any(|one| !one.stream.log.retention.is_zero())
    }

    /// Every delivery stream, by name.
    pub(crate) fn status(&self) -> Vec<Status> {
        let status = |(id, running): (&StreamId, &Running)| {
            let mut status = running.pipeline.status();
            (status.backlog_bytes, status.warning) = self.backlogs.told(*id);
            let held = || running.held.lock().unwrap_or_else(PoisonError::into_inner).clone();
            status.problem = status.problem.or_else(held);
            status
        };
        let mut all: Vec<Status> = self.running().iter().map(status).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    fn running(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<StreamId, Running>> {
        self.running.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn running_mut(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<StreamId, Running>> {
        self.running.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("store", &self.store.id()).finish_non_exhaustive()
    }
}

/// Says why a pipeline ended, and asks for the end of the daemon if its storage failed.
async fn watch(pipeline: Arc<Pipeline>, name: String, broken: mpsc::Sender<Failure>) {
    let Err(error) = pipeline.ended().await else { return };
    let text = format!("delivery stream `{name}` stopped: {}", chain(&*error));
    tracing::error!("{text}");
    if error.is_storage_failure() {
        // Full means that somebody else has asked already.
        let _ = broken.try_send(Failure::new(Exit::Io, text).hint("restart: recovery finds what is durable"));
    }
}

async fn close_own(log: Option<ShardLog>) {
    if let Some(log) = log {
        close(log, "log").await;
    }
}

async fn close(log: ShardLog, what: &'static str) {
    let closed = tokio::task::spawn_blocking(move || log.close()).await;
    if let Ok(Err(error)) = closed {
        tracing::warn!("a {what} was not closed cleanly: {error}");
    }
}
