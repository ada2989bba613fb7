//! The one place that repeats an attempt. Exponential delay with full jitter; while a destination fails, one delivery at a
//! time tries it and the others wait, so a destination that comes back is not met by all at once.
//!
//! Invariant: a delivery ends in a receipt, or stays staged. Nothing is given up here.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hydrant_sinks::{Delivery, Receipt, Sink, SinkError, SinkErrorKind};
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

/// A sink that keeps trying.
#[derive(Debug)]
pub(crate) struct Retrying {
    sink: Arc<dyn Sink>,
    stream: String,
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

impl Retrying {
    pub(crate) fn new(sink: Arc<dyn Sink>, stream: String, stop: CancellationToken) -> Retrying {
        let (probe, health) = (tokio::sync::Mutex::new(()), Mutex::new(Health::default()));
        Retrying { sink, stream, stop, probe, health }
    }

    /// What is wrong with the destination now, for `hydrant status`.
    pub(crate) fn problem(&self) -> Option<String> {
        self.health().failing.as_ref().map(|failing| failing.problem.clone())
    }

    pub(crate) async fn deliver(&self, delivery: &Delivery) -> Result<Receipt, Undelivered> {
        tokio::select! {
            () = self.stop.cancelled() => Err(Undelivered::Stopped),
            done = self.until_delivered(delivery) => done,
        }
    }

    async fn until_delivered(&self, delivery: &Delivery) -> Result<Receipt, Undelivered> {
        let mut failures = 0;
        let mut probing = None;
        loop {
            if probing.is_none() && self.problem().is_some() {
                probing = Some(self.probe.lock().await);
            }
            match self.sink.deliver(delivery).await {
                Ok(receipt) => {
                    self.works();
                    return Ok(receipt);
                }
                Err(error) if error.kind == SinkErrorKind::Staged => return Err(Undelivered::Staged(error)),
                Err(error) => {
                    failures += 1;
                    self.fails(delivery, &error);
                    if probing.is_none() {
                        probing = Some(self.probe.lock().await);
                    }
                    tokio::time::sleep(delay(failures, &error)).await;
                }
            }
        }
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
    fn fails(&self, delivery: &Delivery, error: &SinkError) {
        let mut health = self.health();
        let now = Instant::now();
        let problem = format!("{}: {error}", self.sink);
        let known = health.failing.as_ref().is_some_and(|failing| failing.reminded + REMINDER > now);
        let attempts = health.failing.as_ref().map_or(0, |failing| failing.attempts) + 1;
        if !known {
            let (code, key) = (&error.code, &delivery.key);
            let stream = &self.stream;
            match error.kind {
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

/// Full jitter: anything up to the exponential bound, but never less than the destination asked for, within reason.
fn delay(failures: u32, error: &SinkError) -> Duration {
    let bound = DELAY_MIN.saturating_mul(1 << failures.min(12)).min(DELAY_MAX);
    let mut dice = [0; 4];
    // Without randomness the full bound is a good delay too.
    let share = match getrandom::fill(&mut dice) {
        Ok(()) => f64::from(u32::from_le_bytes(dice)) / f64::from(u32::MAX),
        Err(_) => 1.0,
    };
    let jittered = DELAY_MIN.max(bound.mul_f64(share));
    jittered.max(error.retry_after.unwrap_or_default().min(RETRY_AFTER_MAX))
}
