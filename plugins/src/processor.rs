//! From a guest that may do anything to one outcome per record: fresh instances, repeats, and the search for the record
//! that a guest cannot bear.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hydrant_config::OnError;

use crate::bindings::hydrant::transform::types;
use crate::guest::{Answer, Guest, cpu_time};
use crate::loaded::Loaded;
use crate::voice::shortened;
use crate::{FailureCode, Input, Outcome, Transform, TransformError};

/// AWS repeats a failed invocation as often.
const RETRIES_MAX: u32 = 3;
/// The search for poison may take this many times the CPU limit of a batch; what is left then fails unsearched.
const SEARCH_CPU_BATCHES: u32 = 16;
/// AWS's limit for one record.
const PARTITION_KEYS_MAX: usize = 50;
const MESSAGE_BYTES_MAX: usize = 4096;

pub(crate) struct Processor {
    loaded: Arc<Loaded>,
    on_error: OnError,
    guest: Option<Guest>,
}

/// What a batch came to, repeats included.
enum Settled {
    Outcomes(Vec<Outcome>),
    /// On a fresh instance, so one of its records is the cause.
    Trapped(String),
}

impl Processor {
    pub(crate) fn new(loaded: Arc<Loaded>) -> Processor {
        Processor { on_error: loaded.info.on_error, loaded, guest: None }
    }

    /// As if `on_error: stop` were set.
    pub(crate) fn stopping(loaded: Arc<Loaded>) -> Processor {
        Processor { loaded, on_error: OnError::Stop, guest: None }
    }

    /// Repeats what may go better on a fresh instance: a batch whose guest asks for it, and one whose guest trapped with
    /// the leavings of earlier batches in its memory.
    fn settle(&mut self, records: &[Input], batch_time_ms: u64) -> Result<Settled, TransformError> {
        let mut retries = 0;
        loop {
            let mut guest = self.take_guest()?;
            let was_fresh = guest.calls() == 0;
            match guest.process(records, batch_time_ms) {
                Ok(Answer::Outcomes(outcomes)) if outcomes.len() == records.len() => {
                    self.guest = Some(guest);
                    let outcomes: Result<_, _> = outcomes.into_iter().map(|outcome| self.judge(outcome)).collect();
                    return Ok(Settled::Outcomes(outcomes?));
                }
                Ok(Answer::Outcomes(outcomes)) => {
                    let (answers, given) = (outcomes.len(), records.len());
                    return self.fail_all(records, &format!("gave {answers} answers for {given} records"));
                }
                Ok(Answer::Fatal(text)) => return self.fail_all(records, &format!("failed the batch: {text}")),
                Ok(Answer::Retry(_)) if retries < RETRIES_MAX => retries += 1,
                Ok(Answer::Retry(text)) => {
                    return self.fail_all(records, &format!("asked for a retry {} times: {text}", retries + 1));
                }
                Err(_) if !was_fresh => {}
                Err(trap) => return Ok(Settled::Trapped(trap)),
            }
        }
    }

    /// Halves what trapped until the cause is one record; everything else gets its real answer.
    fn search(&mut self, records: &[Input], trap: &str, limits: &Search) -> Result<Vec<Outcome>, TransformError> {
        if records.len() == 1 {
            return Ok(vec![self.failed(trap)?]);
        }
        let (left, right) = records.split_at(records.len() / 2);
        let mut outcomes = Vec::with_capacity(records.len());
        for half in [left, right] {
            if cpu_time() >= limits.cpu_deadline {
                let message =
                    format!("{trap}; the search for the one record took too long, so its neighbours fail too");
                outcomes.extend(half.iter().map(|_| self.failed(&message)).collect::<Result<Vec<_>, _>>()?);
                continue;
            }
            self.guest = None;
            match self.settle(half, limits.batch_time_ms)? {
                Settled::Outcomes(answered) => outcomes.extend(answered),
                Settled::Trapped(trap) => outcomes.extend(self.search(half, &trap, limits)?),
            }
        }
        Ok(outcomes)
    }

    /// The living instance if it may serve again, else a new one.
    fn take_guest(&mut self) -> Result<Guest, TransformError> {
        match self.guest.take() {
            Some(guest) if guest.calls() < self.loaded.batches_per_instance => Ok(guest),
            // It started at load, so this is the host's failure; the batch comes again.
            _ => Guest::start(&self.loaded).map_err(|error| self.error(format!("cannot start an instance: {error}"))),
        }
    }

    fn judge(&self, outcome: types::Outcome) -> Result<Outcome, TransformError> {
        match outcome {
            types::Outcome::Dropped => Ok(Outcome::Dropped),
            types::Outcome::Failed(text) => Ok(self.failure(FailureCode::ProcessingFailedStatus, &text)),
            types::Outcome::Ok(record) if record.partition_keys.len() > PARTITION_KEYS_MAX => {
                let keys = record.partition_keys.len();
                self.failed(&format!("gave {keys} partition keys; at most {PARTITION_KEYS_MAX} are allowed"))
            }
            types::Outcome::Ok(record) => {
                Ok(Outcome::Ok { data: Bytes::from(record.data), partition_keys: record.partition_keys })
            }
        }
    }

    fn fail_all(&self, records: &[Input], message: &str) -> Result<Settled, TransformError> {
        records.iter().map(|_| self.failed(message)).collect::<Result<_, _>>().map(Settled::Outcomes)
    }

    /// The plugin's own fault: the record fails, or the stream stops.
    fn failed(&self, message: &str) -> Result<Outcome, TransformError> {
        match self.on_error {
            OnError::FailRecord => Ok(self.failure(FailureCode::FunctionError, message)),
            OnError::Stop => Err(self.error(message.to_owned())),
        }
    }

    fn failure(&self, code: FailureCode, message: &str) -> Outcome {
        let message = shortened(message, MESSAGE_BYTES_MAX).to_owned();
        Outcome::ProcessingFailed { code, message, plugin: self.loaded.info.name.clone() }
    }

    fn error(&self, message: String) -> TransformError {
        TransformError { plugin: self.loaded.info.path.display().to_string(), message }
    }
}

/// Holds for one search.
struct Search {
    batch_time_ms: u64,
    cpu_deadline: Duration,
}

impl Transform for Processor {
    fn transform(&mut self, records: &[Input]) -> Result<Vec<Outcome>, TransformError> {
        let Some(batch_time) = records.iter().map(|record| record.arrived_at).max() else {
            return Ok(Vec::new());
        };
        let batch_time_ms = batch_time.as_millis();
        match self.settle(records, batch_time_ms)? {
            Settled::Outcomes(outcomes) => Ok(outcomes),
            Settled::Trapped(trap) => {
                if self.on_error == OnError::Stop {
                    return Err(self.error(trap));
                }
                let cpu_deadline = cpu_time() + self.loaded.info.cpu_per_batch * SEARCH_CPU_BATCHES;
                self.search(records, &trap, &Search { batch_time_ms, cpu_deadline })
            }
        }
    }
}

impl fmt::Debug for Processor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Processor").field("plugin", &self.loaded.info.path).finish_non_exhaustive()
    }
}
