//! Group commit: while one sync runs, the next group fills.
//!
//! Invariant: one commit in flight per log. Two concurrent syncs of one file let one of them succeed over lost bytes.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::log::{Shared, Submission};
use crate::writer::CommitError;
use crate::{AppendError, Appended, Completion};

/// A group is closed at this size, so that the first waiter in it is not kept for the last.
const GROUP_BYTES: u64 = 8 << 20;

/// Queues one commit. The caller has set `committing`.
pub(crate) fn schedule(log: &Arc<Shared>) {
    let job = Arc::clone(log);
    log.options.committers.run(Box::new(move || commit(&job)));
}

fn commit(log: &Arc<Shared>) {
    let guard = PoisonOnPanic { log, armed: true };
    let (group, bytes, roll) = take_group(log);
    let (mut members, mut waiters) = (Vec::with_capacity(group.len()), Vec::with_capacity(group.len()));
    for submission in group {
        members.push(submission.records);
        waiters.push(submission.done);
    }
    let poisoned = log.state().poisoned.clone();
    let result = match poisoned {
        Some(error) => Err(AppendError::Poisoned(error)),
        None => store(log, &members, bytes, roll),
    };
    log.state().queued_bytes -= bytes;
    match result {
        Ok(appended) => waiters.into_iter().zip(appended).for_each(|(done, appended)| complete(done, Ok(appended))),
        Err(error) => waiters.into_iter().for_each(|done| complete(done, Err(error.clone()))),
    }
    wake_tails(log);
    guard.disarm();
    let mut state = log.state();
    if state.queue.is_empty() {
        state.committing = false;
        log.idle.notify_all();
    } else {
        drop(state);
        schedule(log);
    }
}

fn take_group(log: &Shared) -> (Vec<Submission>, u64, bool) {
    let mut state = log.state();
    let (mut group, mut bytes) = (Vec::new(), 0);
    while let Some(next) = state.queue.front() {
        if !group.is_empty() && bytes + next.bytes > GROUP_BYTES {
            break;
        }
        bytes += next.bytes;
        group.extend(state.queue.pop_front());
    }
    (group, bytes, std::mem::take(&mut state.roll))
}

/// Returns once the group is on the medium and visible, or is known not to be acked.
fn store(
    log: &Arc<Shared>,
    members: &[Vec<hydrant_record::NewRecord>],
    bytes: u64,
    roll: bool,
) -> Result<Vec<Appended>, AppendError> {
    let stored = log.writer().commit(log, members, bytes, roll);
    match stored {
        Ok(committed) => {
            let mut state = log.state();
            state.next = committed.next;
            state.segments.last_mut().expect("a commit has a segment").1 = committed.end;
            Ok(committed.appended)
        }
        Err(CommitError::DiskFull) => {
            log.state().roll |= roll;
            Err(AppendError::DiskFull)
        }
        Err(CommitError::Failed(error)) => Err(AppendError::Poisoned(log.poison(error))),
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
            state.queue.clear();
            state.committing = false;
            self.log.idle.notify_all();
        }
    }
}
