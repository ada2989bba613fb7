//! Group commit: while one sync runs, the next group fills.
//!
//! Invariant: one commit in flight per log. Two concurrent syncs of one file let one of them succeed over lost bytes.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use hydrant_record::NewRecord;

use crate::log::{ChangeCompletion, RestartCompletion, Shared, Work};
use crate::shards::{Reshard, ReshardError, ShardMap};
use crate::sync::Arc;
use crate::writer::CommitError;
use crate::{AppendError, Appended, Completion};

/// A group is closed at this size, so that the first waiter in it is not kept for the last.
const GROUP_BYTES: u64 = 8 << 20;

/// Queues one commit. The caller has set `committing`.
pub(crate) fn schedule(log: &Arc<Shared>) {
    log.options.committers.run(job(log));
}

fn job(log: &Arc<Shared>) -> Box<dyn FnOnce() + Send> {
    let log = Arc::clone(log);
    Box::new(move || commit(&log))
}

fn commit(log: &Arc<Shared>) {
    let guard = PoisonOnPanic { log, armed: true };
    let (group, bytes, roll) = take_group(log);
    match group {
        Group::Appends(members, waiters) => {
            let result = usable(log).and_then(|()| store(log, &members, roll));
            ended(log, bytes);
            match result {
                Ok(appended) => waiters.into_iter().zip(appended).for_each(|(done, one)| complete(done, Ok(one))),
                Err(error) => waiters.into_iter().for_each(|done| complete(done, Err(error.clone()))),
            }
            wake_tails(log);
        }
        Group::Reshard(change, done) => {
            let result = usable(log).map_err(ReshardError::from).and_then(|()| reshard(log, &change));
            ended(log, bytes);
            let _ = catch_unwind(AssertUnwindSafe(|| done(result)));
            // Who reads along a shard must hear of its end.
            wake_tails(log);
        }
        Group::Restart(done) => {
            let result = usable(log).and_then(|()| restart(log));
            ended(log, bytes);
            let _ = catch_unwind(AssertUnwindSafe(|| done(result)));
        }
    }
    guard.disarm();
    let mut state = log.state();
    if state.queue.is_empty() {
        state.committing = false;
        log.idle.notify_all();
    } else {
        drop(state);
        log.options.committers.run_next(job(log));
    }
}

/// A group is counted before anybody hears of its end.
fn ended(log: &Shared, bytes: u64) {
    let mut state = log.state();
    state.queued_bytes -= bytes;
    state.commits += 1;
}

/// What one sync makes durable.
enum Group {
    Appends(Vec<Vec<NewRecord>>, Vec<Completion>),
    Reshard(Reshard, ChangeCompletion),
    Restart(RestartCompletion),
}

/// Appends up to something else, or that alone: so it has a clear place between them.
fn take_group(log: &Shared) -> (Group, u64, bool) {
    let mut state = log.state();
    let (mut members, mut waiters, mut bytes) = (Vec::new(), Vec::new(), 0);
    while let Some(next) = state.queue.front() {
        let full = bytes + next.bytes > GROUP_BYTES || !matches!(next.work, Work::Append { .. });
        if full && !members.is_empty() {
            break;
        }
        bytes += next.bytes;
        match state.queue.pop_front().expect("it was looked at").work {
            Work::Append { records, done } => {
                members.push(records);
                waiters.push(done);
            }
            Work::Reshard { change, done } => return (Group::Reshard(change, done), bytes, false),
            Work::Restart { done } => return (Group::Restart(done), bytes, false),
        }
    }
    (Group::Appends(members, waiters), bytes, std::mem::take(&mut state.roll))
}

fn usable(log: &Shared) -> Result<(), AppendError> {
    log.state().poisoned.clone().map_or(Ok(()), |error| Err(AppendError::Poisoned(error)))
}

/// Returns once the group is on the medium and visible, or is known not to be acked.
fn store(log: &Arc<Shared>, members: &[Vec<NewRecord>], roll: bool) -> Result<Vec<Appended>, AppendError> {
    let stored = log.writer().commit(log, members, roll);
    match stored {
        Ok(committed) => {
            let mut state = log.state();
            state.next = committed.next;
            state.segments.last_mut().expect("a commit has a segment").1 = committed.end;
            Ok(committed.appended)
        }
        Err(error) => {
            log.state().roll |= roll;
            Err(refusal(log, error))
        }
    }
}

fn reshard(log: &Arc<Shared>, change: &Reshard) -> Result<Arc<ShardMap>, ReshardError> {
    let stored = log.writer().reshard(log, change);
    match stored {
        Ok((shards, end)) => {
            let shards = Arc::new(shards);
            let mut state = log.state();
            state.shards = Arc::clone(&shards);
            state.segments.last_mut().expect("a commit has a segment").1 = end;
            Ok(shards)
        }
        Err(CommitError::Refused(error)) => Err(error),
        Err(error) => Err(refusal(log, error).into()),
    }
}

fn restart(log: &Arc<Shared>) -> Result<(), AppendError> {
    let restarted = log.writer().restart(log);
    restarted.map_err(|error| refusal(log, error))
}

fn refusal(log: &Shared, error: CommitError) -> AppendError {
    match error {
        CommitError::DiskFull => AppendError::DiskFull,
        CommitError::Failed(error) => AppendError::Poisoned(log.poison(error)),
        CommitError::Refused(error) => AppendError::Poisoned(log.poison(io::Error::other(error.to_string()))),
    }
}

/// A completion that panics is its owner's fault, and must not take the others with it.
fn complete(done: Completion, result: Result<Appended, AppendError>) {
    let _ = catch_unwind(AssertUnwindSafe(|| done(result)));
}

fn wake_tails(log: &Shared) {
    let wakers: Vec<_> = log.state().wakers.iter().map(|(_, wake)| Arc::clone(wake)).collect();
    for wake in wakers {
        let _ = catch_unwind(AssertUnwindSafe(|| wake()));
    }
}

/// Whatever goes wrong in a commit, nobody may wait for ever and nobody may go on writing.
struct PoisonOnPanic<'a> {
    log: &'a Arc<Shared>,
    armed: bool,
}

impl PoisonOnPanic<'_> {
    fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for PoisonOnPanic<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.log.poison(io::Error::other("a commit stopped half way"));
            let mut state = self.log.state();
            let dropped = std::mem::take(&mut state.queue);
            state.committing = false;
            self.log.idle.notify_all();
            drop(state);
            // What completions own may want the log when it goes: a tail, for instance.
            drop(dropped);
            wake_tails(self.log);
        }
    }
}
