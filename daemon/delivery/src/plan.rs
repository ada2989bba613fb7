//! When a chunk is cut: by size, by the interval since its first record, by a drain. Waits for events, never polls.

use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hydrant_config::DeliveryStreamSpec;
use hydrant_record::Timestamp;
use hydrant_shardlog::{Clock, ShardLog};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cpu::CpuPool;
use crate::gather::{Gatherer, Step};
use crate::journal::{Journal, JournalError, State};
use crate::send::Staged;
use crate::stage::{StageError, Stager};
use crate::staging::{Ended, Staging};

const STALL_MIN: Duration = Duration::from_millis(500);
const STALL_MAX: Duration = Duration::from_secs(30);
/// While there is a backlog a chunk fills to its size rather than being cut by an interval that is long over, so that catching
/// up makes large objects; but a stream that is always behind still delivers this often.
const BEHIND_MIN: Duration = Duration::from_secs(1);
/// How long a new record waits for others before it is gathered, unless the interval is short.
const GATHER_PAUSE: Duration = Duration::from_millis(20);
/// The smallest chunk that a full disk is asked to hold.
const CHUNK_BYTES_MIN: u64 = 1 << 20;

/// Cuts the chunks of one delivery stream.
pub(crate) struct Planner {
    pub(crate) stream: Arc<DeliveryStreamSpec>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) log: ShardLog,
    pub(crate) journal: Arc<Journal>,
    pub(crate) cpu: CpuPool,
    pub(crate) drain: CancellationToken,
    pub(crate) stop: CancellationToken,
    pub(crate) stalled: Stalled,
}

/// Why nothing can be staged, as `hydrant status` shows it. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Stalled {
    stream: Arc<str>,
    reason: Arc<Mutex<Option<String>>>,
}

/// Where chunks go once they are staged, and the slots that bound them.
pub(crate) type Outbox = (mpsc::Sender<Staged>, Arc<Semaphore>);

/// Of the chunk that is gathered, by a clock that does not step.
#[derive(Clone, Copy)]
struct Course {
    began: Instant,
    /// When its interval is over.
    until: Instant,
}

enum Wake {
    Records,
    Staged,
    Cut,
    Stop,
}

/// Why nothing can be staged now.
struct Stall {
    reason: String,
    disk_full: bool,
    /// Of the chunk that was thrown away.
    bytes: u64,
}

impl Stall {
    fn of(error: &(dyn Error + 'static), bytes: u64) -> Stall {
        Stall { reason: chain(error), disk_full: is_disk_full(error), bytes }
    }
}

impl Planner {
    /// Runs until the drain has taken everything, or the daemon stops. What is being staged then is staged before it returns.
    pub(crate) async fn run(
        self,
        gatherer: Gatherer,
        stager: Stager,
        (out, slots): Outbox,
    ) -> Result<(), JournalError> {
        let mut staging = Staging::new(stager, self.cpu.clone(), out);
        self.cut_all(gatherer, &mut staging, &slots).await?;
        staging.rest().await;
        match staging.ended() {
            Some(Ended::Failed { error: StageError::Journal(error), .. }) => Err(error),
            // What could not be staged is in the log.
            _ => Ok(()),
        }
    }

    async fn cut_all(
        &self,
        gatherer: Gatherer,
        staging: &mut Staging,
        slots: &Arc<Semaphore>,
    ) -> Result<(), JournalError> {
        let more = Arc::new(Notify::new());
        let mut gatherer = watched(gatherer, &more);
        let (mut delay, mut course) = (STALL_MIN, None);
        loop {
            // Asked before the step, which may have found the end of the log before the last record was put.
            let draining = self.drain.is_cancelled();
            let step;
            (gatherer, step) = staging.beside(self.cpu.run(gatherer, Gatherer::step)).await;
            course = gatherer.gathering_since().map(|since| course.unwrap_or_else(|| self.course(since)));
            let cut = match &step {
                Err(_) => false,
                Ok(Step::Full) => true,
                Ok(Step::Gathered) => {
                    let behind = self.stream.buffering.interval.max(BEHIND_MIN);
                    course.is_some_and(|course| course.began.elapsed() > behind)
                }
                Ok(Step::CaughtUp) if draining && course.is_none() && !staging.is_busy() => return Ok(()),
                Ok(Step::CaughtUp) => match self.wait(course.map(|course| course.until), &more, staging).await {
                    Wake::Records | Wake::Staged => false,
                    Wake::Cut => true,
                    Wake::Stop => return Ok(()),
                },
            };
            if cut || step.is_err() {
                staging.rest().await;
            }
            let stall = match (staging.ended(), step) {
                (Some(Ended::Failed { error: StageError::Journal(error), .. }), _) => return Err(error),
                (Some(Ended::Failed { error, bytes }), _) => Some(Stall::of(&error, bytes)),
                (_, Err(error)) => Some(Stall::of(&error, gatherer.bytes())),
                (Some(Ended::Staged), Ok(_)) => {
                    delay = STALL_MIN;
                    self.stalled.recovered();
                    gatherer.grow();
                    None
                }
                (None, Ok(_)) => None,
            };
            if let Some(stall) = stall {
                course = None;
                gatherer = match self.stall(gatherer, stall, &mut delay).await {
                    Some(gatherer) => watched(gatherer, &more),
                    None => return Ok(()),
                };
            } else if cut && let Some(gathered) = gatherer.cut() {
                course = None;
                let Some(slot) = self.slot(slots).await else { return Ok(()) };
                staging.begin(gathered, slot);
            }
        }
    }

    /// Of a chunk that is seen for the first time. Only here the wall clock is asked, for what arrived long ago: were it asked
    /// at every record, a step back would put the end of the interval off for as long as records come.
    fn course(&self, since: Timestamp) -> Course {
        let (began, interval) = (Instant::now(), self.stream.buffering.interval);
        Course { began, until: began + interval.saturating_sub(self.clock.now().since(since)) }
    }

    /// Until there is something to do: more records, or the end of the interval, or of what is being staged.
    async fn wait(&self, until: Option<Instant>, more: &Notify, staging: &mut Staging) -> Wake {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Wake::Stop,
            () = staging.rest(), if staging.is_busy() => Wake::Staged,
            () = self.drain.cancelled() => Wake::Cut,
            () = tokio::time::sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => Wake::Cut,
            () = self.more(more) => Wake::Records,
        }
    }

    /// After the first new record some more are awaited: a step for every commit would cost more than the commit.
    async fn more(&self, more: &Notify) {
        more.notified().await;
        tokio::time::sleep(GATHER_PAUSE.min(self.stream.buffering.interval / 10)).await;
    }

    async fn slot(&self, slots: &Arc<Semaphore>) -> Option<tokio::sync::OwnedSemaphorePermit> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            slot = Arc::clone(slots).acquire_owned() => Some(slot.expect("the slots are never closed")),
        }
    }

    /// Says what is wrong, once, waits, and starts again behind what is staged. `None` if the daemon stops.
    async fn stall(&self, gatherer: Gatherer, stall: Stall, delay: &mut Duration) -> Option<Gatherer> {
        self.stalled.say(&stall.reason);
        let wait = std::mem::replace(delay, (*delay * 2).min(STALL_MAX));
        if tokio::time::timeout(wait, self.stop.cancelled()).await.is_ok() {
            return None;
        }
        let mut gatherer = gatherer;
        let smaller = stall.disk_full.then(|| (stall.bytes / 2).max(CHUNK_BYTES_MIN));
        let tail = self.log.tail(self.journal.with(State::staged_through));
        gatherer.restart(tail, smaller);
        Some(gatherer)
    }
}

impl Stalled {
    pub(crate) fn new(stream: &str) -> Stalled {
        Stalled { stream: stream.into(), reason: Arc::default() }
    }

    pub(crate) fn reason(&self) -> Option<String> {
        self.lock().clone()
    }

    pub(crate) fn note(&self, error: &(dyn Error + 'static)) {
        self.say(&chain(error));
    }

    pub(crate) fn recovered(&self) {
        if self.lock().take().is_some() {
            tracing::info!(delivery_stream = %self.stream, "delivery goes on");
        }
    }

    /// Once, until it has recovered.
    fn say(&self, reason: &str) {
        let known = self.lock().replace(reason.to_owned());
        if known.is_none() {
            tracing::error!(delivery_stream = %self.stream, "delivery waits, nothing is lost: {reason}");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.reason.lock().expect("no thread panics while it notes a stall")
    }
}

fn watched(mut gatherer: Gatherer, more: &Arc<Notify>) -> Gatherer {
    let more = Arc::clone(more);
    gatherer.on_more(Arc::new(move || more.notify_one()));
    gatherer
}

/// An error with its causes, in one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn is_disk_full(error: &(dyn Error + 'static)) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::StorageFull) {
            return true;
        }
        cause = error.source();
    }
    false
}
