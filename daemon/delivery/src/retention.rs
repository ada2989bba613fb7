//! How long records stay in the stream's log.
//!
//! Invariant: what is not settled goes only if the stream's policy says so. The gatherer then meets the gap and counts it.

use std::io;

use hydrant_record::Timestamp;
use hydrant_shardlog::{Expendable, Limits};

use crate::journal::State;
use crate::pipeline::Pipeline;

impl Pipeline {
    /// Lets the log go of what the policy keeps no longer, and has it take little space if nothing was stored since the
    /// last call. To be called about once a minute. Nothing goes by its age without `now`, for a clock that is not to be
    /// believed. Blocks on the disk.
    pub fn tend(&self, now: Option<Timestamp>) -> io::Result<()> {
        let before = self.log.progress();
        let settled = self.journal.with(State::cursor);
        let retained = !self.policy.retention.is_zero();
        let expendable = match self.policy.expire_undelivered {
            true => Expendable::All,
            false => Expendable::Through(settled),
        };
        let limits = Limits {
            before: now.filter(|_| retained).map(|now| before_now(now, self.policy.retention)),
            bytes_max: Some(self.policy.size_max),
        };
        if self.policy.expire_undelivered {
            self.note_expiry(&limits)?;
        }
        if let Some(expired) = self.log.expire(&limits, expendable)? {
            let (first, last) = (expired.first, expired.last);
            tracing::debug!(delivery_stream = %self.name, %first, %last, "the log keeps these records no longer");
        }
        if !before.committing && self.tended_at() == Some(before.commits) {
            self.log.shrink(settled.filter(|_| !retained))?;
        }
        // A record that was stored meanwhile makes the log look idle once more, which costs it a small segment.
        *self.commits.lock().expect("no thread panics while it notes a number") = Some(self.log.progress().commits);
        Ok(())
    }

    /// To be called before the log lets go of records that are over these limits, delivered or not: if the policy is another one
    /// by the time their absence is met, they are counted as expired all the same. Blocks on the disk.
    pub fn note_expiry(&self, limits: &Limits) -> io::Result<()> {
        let Some(last) = self.log.last().filter(|last| Some(*last) > self.settled()) else { return Ok(()) };
        let old = limits.before.map(|before| self.log.seek_time(before)).transpose().map_err(io::Error::other)?;
        let too_old = old.flatten() > self.settled();
        let too_many = limits.bytes_max.is_some_and(|max| self.log.bytes().is_ok_and(|bytes| bytes > max));
        if !(too_old || too_many) {
            return Ok(());
        }
        self.journal.let_go(last).map_err(io::Error::other)
    }

    /// When the oldest record arrived that is not settled; `None` if there is none, or it cannot be read. Blocks on the disk.
    #[must_use]
    pub fn waiting_since(&self) -> Option<Timestamp> {
        let oldest = self.log.tail(self.settled()).next(1).ok()??;
        oldest.records().first().map(|record| record.arrived_at)
    }

    fn tended_at(&self) -> Option<u64> {
        *self.commits.lock().expect("no thread panics while it notes a number")
    }
}

fn before_now(now: Timestamp, age: std::time::Duration) -> Timestamp {
    let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    Timestamp::from_millis(now.as_millis().saturating_sub(age))
}
