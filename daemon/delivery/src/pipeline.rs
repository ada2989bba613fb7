//! One delivery stream at work: gather, stage, send, settle, as two tasks with at most four staged chunks between them.
//!
//! Invariant: whatever goes wrong before a chunk is staged throws the chunk away and starts again at the cursor; whatever goes
//! wrong after it sends the same bytes under the same names again.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::TryFutureExt as _;
use hydrant_config::{DeliveryStream, LogPolicy};
use hydrant_disk::Disk;
use hydrant_formats::request_encoder;
use hydrant_plugins::Transform;
use hydrant_record::{Lsn, StreamId, Timestamp};
use hydrant_shardlog::{Clock, LogOptions, ShardLog};
use hydrant_sinks::Sink;
use serde::Serialize;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::accounting::Accounting;
use crate::bounds::Bounds;
use crate::cpu::CpuPool;
use crate::gather::Gatherer;
use crate::history::History;
use crate::journal::{Journal, JournalError, State};
use crate::plan::{Planner, Stalled};
use crate::reconcile::Ledger;
use crate::refuse::Refuser;
use crate::retry::Retrying;
use crate::send::{SendError, Sender, Way, destination_identity, store_identity};
use crate::stage::{Stager, StagerParts};

/// Chunks that may be staged and not done: a destination that is down costs this much disk, and its backlog is the log.
const STAGED_MAX: usize = 4;

/// What a delivery stream runs on.
#[derive(Debug)]
pub struct PipelineParts {
    pub stream: DeliveryStream,
    pub stream_id: StreamId,
    /// `delivery/<id>`; must exist and be durable.
    pub dir: PathBuf,
    pub disk: Arc<dyn Disk>,
    pub clock: Arc<dyn Clock>,
    pub log: ShardLog,
    pub claim: Claim,
    pub journal_options: LogOptions,
    pub transform: Option<Box<dyn Transform>>,
    pub sink: Arc<dyn Sink>,
    /// Of the stream's backup, if it has one.
    pub backup: Option<Arc<dyn Sink>>,
    pub cpu: CpuPool,
    pub bounds: Bounds,
}

/// Whose the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The delivery stream's: it is trimmed as the cursor moves, or by [`Pipeline::tend`] if the stream retains records.
    Own,
    /// Others read it too, and somebody else trims it, but for what is not settled here. A new journal begins behind `after`.
    Shared { after: Option<Lsn> },
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("cannot prepare `{path}`")]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// Why a delivery stream ended by itself. Its records are in the log.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Send(#[from] SendError),
    #[error("a task of the delivery stream panicked: {0}")]
    Panicked(String),
}

impl DeliveryError {
    /// Whether a write or sync failed, after which only a restart into recovery can tell what is durable.
    #[must_use]
    pub fn is_storage_failure(&self) -> bool {
        let journal = match self {
            DeliveryError::Journal(error) | DeliveryError::Send(SendError::Journal(error)) => error,
            _ => return false,
        };
        matches!(journal, JournalError::Append(_) | JournalError::Trim(_))
    }
}

/// What went out since the start of the daemon.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Delivered {
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
    pub(crate) last: Option<Timestamp>,
}

/// A delivery stream as `hydrant status` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    pub name: String,
    #[serde(flatten)]
    pub accounting: Accounting,
    /// Since the start of the daemon.
    pub objects: u64,
    pub bytes: u64,
    pub last_delivery_ms: Option<u64>,
    pub staged_chunks: u64,
    /// Its counts do not add up: a bug, or damage.
    pub accounting_mismatch: bool,
    /// What keeps it from delivering now.
    pub problem: Option<String>,
    /// About the records that wait to be delivered, and what will become of it if nothing is done. Who owns the log says so.
    pub backlog_bytes: u64,
    pub warning: Option<String>,
}

/// A running delivery stream.
#[derive(Debug)]
pub struct Pipeline {
    pub(crate) name: String,
    pub(crate) log: ShardLog,
    pub(crate) journal: Arc<Journal>,
    pub(crate) policy: LogPolicy,
    /// Commits of the log when it was last tended.
    pub(crate) commits: Mutex<Option<u64>>,
    /// The destination, and the backup if there is one.
    sinks: Vec<Arc<Retrying>>,
    ledger: Arc<Ledger>,
    delivered: Arc<Mutex<Delivered>>,
    stalled: Stalled,
    ends: Ends,
    outcome: watch::Receiver<Option<Outcome>>,
}

/// How a pipeline is told to end.
#[derive(Debug)]
struct Ends {
    /// Once all that was put is delivered.
    drain: CancellationToken,
    /// Once what is staged is delivered. Cancelled with `stop`.
    halt: CancellationToken,
    /// Now.
    stop: CancellationToken,
}

impl Ends {
    fn new() -> Ends {
        let stop = CancellationToken::new();
        Ends { drain: CancellationToken::new(), halt: stop.child_token(), stop }
    }
}

/// How the tasks ended.
type Outcome = Result<(), Arc<DeliveryError>>;

/// Records of a delivery stream that is not running which are not settled. `dir` as in [`PipelineParts`].
pub fn backlog(
    disk: Arc<dyn Disk>,
    dir: &Path,
    stream_id: StreamId,
    source: (&ShardLog, Claim),
    options: LogOptions,
) -> Result<u64, StartError> {
    let path = dir.join("journal");
    hydrant_disk::create_dir_durable(&*disk, &path).map_err(|source| StartError::Io { path: path.clone(), source })?;
    let journal = Journal::open(disk, &path, stream_id, source, options)?;
    let settled = journal.with(|state| state.cursor().map_or(0, Lsn::get));
    journal.close().map_err(|source| StartError::Io { path, source })?;
    Ok(source.0.last().map_or(0, Lsn::get).saturating_sub(settled))
}

/// The last record that the journal of a delivery stream names, for [`LogOptions::known_durable`] of its log: more than the
/// log itself may know after a loss. `dir` as in [`PipelineParts`].
pub fn staged_through(disk: Arc<dyn Disk>, dir: &Path, options: LogOptions) -> Result<Option<Lsn>, StartError> {
    let path = dir.join("journal");
    let io = |source| StartError::Io { path: path.clone(), source };
    if !disk.exists(&path).map_err(io)? {
        return Ok(None);
    }
    Ok(crate::journal::staged_through(disk, &path, options)?)
}

impl Pipeline {
    /// Opens the journal, puts what is staged back on its way, and begins. Blocks on the disk; call it inside a tokio runtime.
    pub fn start(parts: PipelineParts) -> Result<Pipeline, StartError> {
        let journal = Arc::new(open_journal(&parts)?);
        let (staged_dir, spool_dir) = (directory(&parts, "staged")?, directory(&parts, "spool")?);
        let state = journal.snapshot();
        wipe(&parts, (&staged_dir, &spool_dir), &state)?;
        let name = parts.stream.name.to_string();
        let ends = Ends::new();
        let (destination, backup) = ways(&parts, &ends.stop);
        let refuser = refuser(&parts, &journal, (&staged_dir, &spool_dir));
        let sinks = std::iter::once(&destination).chain(&backup).map(|way| Arc::clone(&way.sink)).collect();
        let (delivered, ledger) = (Arc::default(), Arc::new(Ledger::new(state.settled())));
        let stalled = Stalled::new(&name);
        let (log, disk, clock, cpu) = (parts.log, parts.disk, parts.clock, parts.cpu.clone());
        let stream = Arc::new((*parts.stream).clone());
        let history = History::new(Arc::clone(&disk), parts.dir.join("history"), stream.history, name.clone());
        let sender = Sender {
            disk: Arc::clone(&disk),
            clock: Arc::clone(&clock),
            cpu: parts.cpu.clone(),
            log: log.clone(),
            journal: Arc::clone(&journal),
            staged_dir: staged_dir.clone(),
            destination,
            backup,
            refuser: Arc::new(refuser),
            ledger: Arc::clone(&ledger),
            history: Arc::new(history),
            content_type: request_encoder(&stream).map_or("", |encoder| encoder.content_type()),
            delivered: Arc::clone(&delivered),
            stalled: stalled.clone(),
            stop: ends.stop.clone(),
            retained: !stream.log.retention.is_zero() || parts.claim != Claim::Own,
        };
        let (policy, ratio) = (stream.log, Arc::default());
        let gatherer = Gatherer::new(
            Arc::clone(&stream),
            Arc::clone(&disk),
            Arc::clone(&clock),
            (spool_dir.join("gathering"), parts.bounds.chunk_bytes),
            (log.tail(state.staged_through()), parts.transform),
        )
        .told_by(Arc::clone(&ratio), Arc::clone(&journal))
        .reading(&log);
        let stager = Stager::new(StagerParts {
            stream: Arc::clone(&stream),
            stream_id: parts.stream_id,
            disk,
            clock: Arc::clone(&clock),
            log: log.clone(),
            journal: Arc::clone(&journal),
            staged_dir,
            ratio,
        });
        let planner = Planner {
            stream,
            clock,
            log: log.clone(),
            journal: Arc::clone(&journal),
            cpu: parts.cpu,
            drain: ends.drain.clone(),
            stop: ends.halt.clone(),
            stalled: stalled.clone(),
        };
        let (ended, outcome) = watch::channel(None);
        let tasks = tokio::spawn(run(planner, (gatherer, stager), sender, state));
        tokio::spawn(supervise(tasks, Arc::clone(&journal), cpu, ended));
        let commits = Mutex::default();
        Ok(Pipeline { name, log, journal, policy, commits, sinks, ledger, delivered, stalled, ends, outcome })
    }

    /// All records through here are settled: nothing of the log before it is needed any more.
    #[must_use]
    pub fn settled(&self) -> Option<Lsn> {
        self.journal.with(State::cursor)
    }

    #[must_use]
    pub fn status(&self) -> Status {
        // The journal first: a record that arrives between the two reads is backlog, never a negative one.
        let state = self.journal.snapshot();
        let last = self.log.last().map_or(0, Lsn::get).saturating_sub(state.origin());
        let delivered = *self.delivered();
        Status {
            name: self.name.clone(),
            accounting: Accounting::new(state.settled(), state.settled_records(), last),
            objects: delivered.objects,
            bytes: delivered.bytes,
            last_delivery_ms: delivered.last.map(Timestamp::as_millis),
            staged_chunks: state.open_chunks().count() as u64,
            accounting_mismatch: self.ledger.mismatch().is_some(),
            problem: self.problem(),
            backlog_bytes: 0,
            warning: None,
        }
    }

    /// Says once if the accounting does not add up. To be called about once a second; it never waits for a disk.
    pub fn reconcile(&self) {
        if let Some(mismatch) = self.ledger.reconcile(&self.journal, &self.log) {
            let hint = "this is a bug or damage: keep the data directory and report it";
            tracing::error!(delivery_stream = %self.name, "the accounting does not add up: {mismatch}; {hint}");
        }
    }

    /// Cuts and delivers what is in the log now, then ends. What is not delivered after `grace` stays staged or in the log for
    /// the next start. Producers must have been stopped before.
    pub async fn drain(&self, grace: Duration) -> Outcome {
        self.ends.drain.cancel();
        if let Ok(ended) = tokio::time::timeout(grace, self.ended()).await {
            return ended;
        }
        self.stop().await
    }

    /// Stages nothing more, and ends when what is staged is delivered, or after `grace`; [`Status::staged_chunks`] tells
    /// which. Producers may go on: what they put stays in the log.
    pub async fn finish_staged(&self, grace: Duration) -> Outcome {
        self.ends.halt.cancel();
        match tokio::time::timeout(grace, self.ended()).await {
            Ok(ended) => ended,
            Err(_) => self.stop().await,
        }
    }

    /// Ends without delivering; nothing is lost. For a delivery stream that is deleted, too.
    pub async fn stop(&self) -> Outcome {
        self.ends.drain.cancel();
        self.ends.stop.cancel();
        self.ended().await
    }

    /// Completes when the delivery stream has ended: after `drain` or `stop`, or by an error.
    pub async fn ended(&self) -> Outcome {
        let mut outcome = self.outcome.clone();
        let ended = outcome.wait_for(Option::is_some).await.expect("the supervisor outlives the tasks");
        ended.clone().expect("it was waited for")
    }

    fn problem(&self) -> Option<String> {
        let ended = match &*self.outcome.borrow() {
            Some(Err(error)) => Some(error.to_string()),
            _ => None,
        };
        let mismatch = self.ledger.mismatch().map(|mismatch| format!("the accounting does not add up: {mismatch}"));
        ended
            .or(mismatch)
            .or_else(|| self.stalled.reason())
            .or_else(|| self.sinks.iter().find_map(|sink| sink.problem()))
    }

    fn delivered(&self) -> MutexGuard<'_, Delivered> {
        self.delivered.lock().expect("no thread panics while it notes a delivery")
    }
}

fn open_journal(parts: &PipelineParts) -> Result<Journal, StartError> {
    let (dir, options) = (directory(parts, "journal")?, parts.journal_options.clone());
    let journal = Journal::open(Arc::clone(&parts.disk), &dir, parts.stream_id, (&parts.log, parts.claim), options)?;
    Ok(journal.within(parts.bounds))
}

/// The two places of a delivery stream, each with a circuit of its own.
fn ways(parts: &PipelineParts, stop: &CancellationToken) -> (Way, Option<Way>) {
    let stream = &parts.stream;
    let way = |identity, sink: &Arc<dyn Sink>, patience| {
        let (name, clock) = (stream.name.to_string(), Arc::clone(&parts.clock));
        Way { identity, sink: Arc::new(Retrying::new(Arc::clone(sink), name, clock, patience, stop.clone())) }
    };
    let destination = way(destination_identity(&stream.destination), &parts.sink, stream.destination.retry());
    let backup = stream.backup.as_ref().zip(parts.backup.as_ref());
    (destination, backup.map(|(backup, sink)| way(store_identity(&backup.store), sink, None)))
}

fn refuser(parts: &PipelineParts, journal: &Arc<Journal>, (staged_dir, spool_dir): (&Path, &Path)) -> Refuser {
    Refuser {
        stream: Arc::new((*parts.stream).clone()),
        stream_id: parts.stream_id,
        disk: Arc::clone(&parts.disk),
        clock: Arc::clone(&parts.clock),
        log: parts.log.clone(),
        journal: Arc::clone(journal),
        staged_dir: staged_dir.to_owned(),
        spool_path: spool_dir.join("refused"),
        turn: Mutex::default(),
    }
}

/// The two tasks, and what is already staged in front of them.
async fn run(
    planner: Planner,
    (gatherer, stager): (Gatherer, Stager),
    sender: Sender,
    state: State,
) -> Result<(), DeliveryError> {
    let open: Vec<_> = state.open_chunks().cloned().collect();
    let slots = Arc::new(Semaphore::new(STAGED_MAX.max(open.len())));
    let (out, chunks) = mpsc::channel(STAGED_MAX.max(open.len()));
    for chunk in open {
        let slot = Arc::clone(&slots).acquire_owned().await.expect("the slots are never closed");
        out.send((chunk, slot)).await.expect("the receiver is still here");
    }
    let planned = planner.run(gatherer, stager, (out, slots));
    let sent = sender.run(chunks);
    tokio::try_join!(planned.err_into(), sent.err_into()).map(|_| ())
}

/// Closes the journal behind the tasks and tells how they ended.
async fn supervise(
    tasks: JoinHandle<Result<(), DeliveryError>>,
    journal: Arc<Journal>,
    cpu: CpuPool,
    ended: watch::Sender<Option<Outcome>>,
) {
    let outcome = match tasks.await {
        Ok(outcome) => outcome,
        Err(panicked) => Err(DeliveryError::Panicked(panicked.to_string())),
    };
    if let Err(error) = cpu.block(move || journal.close()).await {
        tracing::warn!("a journal was not closed cleanly: {error}");
    }
    // Nobody may be listening, which is fine.
    let _ = ended.send(Some(outcome.map_err(Arc::new)));
}

/// A directory below the delivery stream's own, made if it is missing.
fn directory(parts: &PipelineParts, name: &str) -> Result<PathBuf, StartError> {
    let path = parts.dir.join(name);
    match hydrant_disk::create_dir_durable(&*parts.disk, &path) {
        Ok(()) => Ok(path),
        Err(source) => Err(StartError::Io { path, source }),
    }
}

/// Removes what an unclean stop left behind: scratch files, and staged files whose chunk was never journaled or is done.
fn wipe(parts: &PipelineParts, (staged_dir, spool_dir): (&Path, &Path), state: &State) -> Result<(), StartError> {
    let kept: Vec<PathBuf> = state.open_chunks().flat_map(|chunk| chunk.files(staged_dir)).collect();
    for dir in [staged_dir, spool_dir] {
        let io = |source| StartError::Io { path: dir.to_owned(), source };
        for path in parts.disk.list(dir).map_err(io)? {
            let path = dir.join(path);
            if !kept.contains(&path) {
                parts.disk.remove(&path).map_err(io)?;
            }
        }
    }
    Ok(())
}
