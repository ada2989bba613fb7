//! The one place that repeats an attempt. Exponential delay with full jitter; while a destination fails, one delivery at a
//! time tries it and the others wait, so a destination that comes back is not met by all at once.
//!
//! Invariant: an object ends in a receipt, or stays staged; a request ends with a verdict on each of its items, or stays staged.
//! Nothing is given up here but what a destination refuses, or does not take within its retry duration.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hydrant_record::Timestamp;
use hydrant_shardlog::Clock;
use hydrant_sinks::{Delivery, ItemSet, Receipt, Sink, SinkError, SinkErrorKind};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const DELAY_MIN: Duration = Duration::from_millis(200);
const DELAY_MAX: Duration = Duration::from_secs(30);
/// A destination may ask for a pause, but not to be forgotten.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
/// A destination that stays down is mentioned again this often.
const REMINDER: Duration = Duration::from_secs(300);

/// Why a delivery ended without a receipt. Its bytes stay staged.
#[derive(Debug)]
pub(crate) enum Undelivered {
    /// The daemon stops; the next start sends the same bytes under the same name.
    Stopped,
    /// The staged bytes cannot be read or are not what was staged.
    Staged(SinkError),
}

/// Items of a request that the destination will not have, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) items: Vec<u32>,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) attempts: u32,
    /// When the last attempt ended.
    pub(crate) ended: Timestamp,
}

/// How a delivery ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Of a request; all else was taken.
    pub(crate) refused: Vec<Refused>,
    /// In the life of this process.
    pub(crate) attempts: u32,
    /// What the last attempt met that was not the last of all.
    pub(crate) trouble: Option<String>,
}

/// A sink that keeps trying.
#[derive(Debug)]
pub(crate) struct Retrying {
    sink: Arc<dyn Sink>,
    stream: String,
    clock: Arc<dyn Clock>,
    /// How long a request is tried. An object is tried for ever.
    patience: Option<Duration>,
    stop: CancellationToken,
    /// Held by the one delivery that tries while the destination fails.
    probe: tokio::sync::Mutex<()>,
    health: Mutex<Health>,
}

#[derive(Debug, Default)]
struct Health {
    failing: Option<Failing>,
}

#[derive(Debug)]
struct Failing {
    attempts: u64,
    reminded: Instant,
    problem: String,
}

/// Why an attempt has to be repeated.
struct Trouble {
    kind: SinkErrorKind,
    code: String,
    message: String,
    retry_after: Option<Duration>,
}

/// One delivery on its way.
struct Course {
    delivery: Delivery,
    attempts: u32,
    /// When it was first tried, or first had to wait for a destination that fails.
    since: Option<Instant>,
    refused: Vec<Refused>,
    trouble: Option<String>,
}

impl Retrying {
    pub(crate) fn new(
        sink: Arc<dyn Sink>,
        stream: String,
        clock: Arc<dyn Clock>,
        patience: Option<Duration>,
        stop: CancellationToken,
    ) -> Retrying {
        let (probe, health) = (tokio::sync::Mutex::new(()), Mutex::new(Health::default()));
        Retrying { sink, stream, clock, patience, stop, probe, health }
    }

    /// What is wrong with the destination now, for `hydrant status`.
    pub(crate) fn problem(&self) -> Option<String> {
        self.health().failing.as_ref().map(|failing| failing.problem.clone())
    }

    /// Ends with a receipt, or of a request with a verdict on each item.
    pub(crate) async fn deliver(&self, delivery: Delivery) -> Result<Ended, Undelivered> {
        let course = Course { delivery, attempts: 0, since: None, refused: Vec::new(), trouble: None };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(Undelivered::Stopped),
            done = self.until_settled(course) => done,
        }
    }

    async fn until_settled(&self, mut course: Course) -> Result<Ended, Undelivered> {
        let mut probing = None;
        loop {
            if probing.is_none() && self.problem().is_some() {
                probing = self.turn(&mut course).await;
            }
            course.since.get_or_insert_with(Instant::now);
            course.attempts += 1;
            let trouble = match self.sink.deliver(&course.delivery).await {
                Ok(receipt) => match course.take(receipt, self.clock.now()) {
                    None => {
                        self.works();
                        return Ok(course.ended());
                    }
                    Some(trouble) => trouble,
                },
                Err(error) if error.kind == SinkErrorKind::Staged => return Err(Undelivered::Staged(error)),
                Err(error) if error.kind == SinkErrorKind::Rejected && course.delivery.items.is_some() => {
                    self.works();
                    return Ok(course.refuse_rest(error.code, error.message, self.clock.now()));
                }
                Err(error) => Trouble {
                    kind: error.kind,
                    message: error.to_string(),
                    code: error.code,
                    retry_after: error.retry_after,
                },
            };
            self.fails(&course.delivery.key, &trouble);
            course.trouble = Some(format!("{}: {}", trouble.code, trouble.message));
            let left = self.left(&course);
            if left == Some(Duration::ZERO) {
                return Ok(course.refuse_rest(trouble.code, trouble.message, self.clock.now()));
            }
            if probing.is_none() {
                probing = self.turn(&mut course).await;
            }
            let wait = delay(&course.delivery.key, course.attempts, trouble.retry_after);
            tokio::time::sleep(left.map_or(wait, |left| wait.min(left))).await;
        }
    }

    /// Waits until no other delivery tries the destination, or until there is no time left but for a last attempt.
    async fn turn(&self, course: &mut Course) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        course.since.get_or_insert_with(Instant::now);
        match self.left(course) {
            None => Some(self.probe.lock().await),
            Some(left) => tokio::time::timeout(left, self.probe.lock()).await.ok(),
        }
    }

    /// How long this one may still be tried; `None` is for ever.
    fn left(&self, course: &Course) -> Option<Duration> {
        course.delivery.items.as_ref()?;
        let since = course.since.unwrap_or_else(Instant::now);
        Some(self.patience?.saturating_sub(since.elapsed()))
    }

    fn works(&self) {
        if let Some(failing) = self.health().failing.take() {
            tracing::info!(
                delivery_stream = self.stream,
                failed_attempts = failing.attempts,
                "{} works again",
                self.sink
            );
        }
    }

    /// Says so once, and then seldom: the log is for news.
    fn fails(&self, key: &str, trouble: &Trouble) {
        let mut health = self.health();
        let now = Instant::now();
        let problem = format!("{}: {}", self.sink, trouble.message);
        let known = health.failing.as_ref().is_some_and(|failing| failing.reminded + REMINDER > now);
        let attempts = health.failing.as_ref().map_or(0, |failing| failing.attempts) + 1;
        if !known {
            let (code, stream) = (&trouble.code, &self.stream);
            match trouble.kind {
                SinkErrorKind::Transient => {
                    tracing::warn!(delivery_stream = stream, code, key, attempts, "{problem}; will try again");
                }
                _ => tracing::error!(delivery_stream = stream, code, key, attempts, "{problem}; delivery waits"),
            }
        }
        let reminded = match &health.failing {
            Some(failing) if known => failing.reminded,
            _ => now,
        };
        health.failing = Some(Failing { attempts, reminded, problem });
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().expect("no thread panics while it holds the health")
    }
}

impl Course {
    /// Notes the verdicts of an attempt. Trouble, if items are to be sent again.
    fn take(&mut self, receipt: Receipt, now: Timestamp) -> Option<Trouble> {
        let items = self.delivery.items.as_mut()?;
        let attempts = self.attempts;
        for refusal in receipt.refused {
            if refusal.item < items.count && !items.settled.contains(refusal.item) {
                let (code, message) = (refusal.code, refusal.message);
                self.refused.push(Refused { items: vec![refusal.item], code, message, attempts, ended: now });
            }
        }
        let again: ItemSet = receipt.again.into_iter().filter(|item| !items.settled.contains(*item)).collect();
        items.settled = (0..items.count).filter(|item| !again.contains(*item)).collect();
        if items.settled.len() == items.count as usize {
            return None;
        }
        let (code, message) = receipt.why_again.unwrap_or_default();
        Some(Trouble { kind: SinkErrorKind::Transient, code, message, retry_after: receipt.retry_after })
    }

    /// Refuses every item that has no verdict yet.
    fn refuse_rest(mut self, code: String, message: String, ended: Timestamp) -> Ended {
        let items = self.delivery.items.as_ref().expect("only a request is given up");
        let items: Vec<u32> = (0..items.count).filter(|item| !items.settled.contains(*item)).collect();
        self.refused.push(Refused { items, code, message, attempts: self.attempts, ended });
        self.ended()
    }

    fn ended(self) -> Ended {
        Ended { refused: self.refused, attempts: self.attempts, trouble: self.trouble }
    }
}

/// Full jitter: anything up to the exponential bound, but never less than the destination asked for, within reason. The name
/// of what is delivered decides, and no two names are the same; so there is no need for dice.
fn delay(key: &str, failures: u32, asked: Option<Duration>) -> Duration {
    let bound = DELAY_MIN.saturating_mul(1 << failures.min(12)).min(DELAY_MAX);
    let mut hasher = DefaultHasher::new();
    (key, failures).hash(&mut hasher);
    let share = f64::from((hasher.finish() >> 32) as u32) / f64::from(u32::MAX);
    let jittered = DELAY_MIN.max(bound.mul_f64(share));
    jittered.max(asked.unwrap_or_default().min(RETRY_AFTER_MAX))
}
