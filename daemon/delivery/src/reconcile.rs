//! The accounting at run time: what is counted must add up at any moment, and what the journal says was delivered must be what
//! destinations gave receipts for.
//!
//! Invariant: a mismatch, once seen, stays told until the daemon is restarted. It is a bug or damage, never a passing state.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hydrant_record::Lsn;
use hydrant_shardlog::ShardLog;

use crate::accounting::Counts;
use crate::journal::{Journal, State};

/// What was settled in the life of this process, counted twice: here by what was sent, in the journal by what was decided.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// As the journal stood when the process began.
    before: Counts,
    /// Held while a chunk is settled in the journal and here.
    settling: Mutex<()>,
    sent: Mutex<Sent>,
}

#[derive(Debug, Default)]
struct Sent {
    /// Records of the objects and requests that have receipts, error objects aside.
    delivered: u64,
    /// Records of the error objects that have receipts.
    failed: u64,
    mismatch: Option<String>,
}

impl Ledger {
    pub(crate) fn new(before: Counts) -> Ledger {
        Ledger { before, settling: Mutex::default(), sent: Mutex::default() }
    }

    /// Settles a chunk in the journal, by `done`, for which so many records were sent.
    pub(crate) fn settle<E>(
        &self,
        (delivered, failed): (u64, u64),
        done: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let _settling = self.settling.lock().unwrap_or_else(PoisonError::into_inner);
        done()?;
        let mut sent = self.lock();
        sent.delivered += delivered;
        sent.failed += failed;
        Ok(())
    }

    pub(crate) fn mismatch(&self) -> Option<String> {
        self.lock().mismatch.clone()
    }

    /// What does not add up, if it is new. While a chunk is being settled nothing is looked at, and nobody waits for a disk.
    pub(crate) fn reconcile(&self, journal: &Journal, log: &ShardLog) -> Option<String> {
        let _settling = self.settling.try_lock().ok()?;
        // The journal first: what it has staged was in the log before.
        journal.with(|state| self.look(state, log.last().map_or(0, Lsn::get)))
    }

    fn look(&self, state: &State, last: u64) -> Option<String> {
        let settled = state.settled();
        let mut sent = self.lock();
        if sent.mismatch.is_some() {
            return None;
        }
        let counted = (settled.delivered - self.before.delivered, settled.failed - self.before.failed);
        let staged = state.staged_through().map_or(0, Lsn::get);
        let mismatch = match state.adds_up() {
            Err(mismatch) => Some(mismatch),
            Ok(()) if staged > last => Some(format!("staged through {staged}, and the log ends at {last}")),
            Ok(()) if counted != (sent.delivered, sent.failed) => Some(format!(
                "{} delivered and {} failed records have receipts, and the journal has {} and {}",
                sent.delivered, sent.failed, counted.0, counted.1
            )),
            Ok(()) => None,
        };
        sent.mismatch.clone_from(&mismatch);
        mismatch
    }

    fn lock(&self) -> MutexGuard<'_, Sent> {
        self.sent.lock().expect("no thread panics while it counts")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use hydrant_disk::{Disk, RealDisk};
    use hydrant_record::{NewRecord, Placement, StreamId};
    use hydrant_shardlog::LogOptions;

    use super::*;
    use crate::journal::StagedChunk;

    #[test]
    fn a_record_more_in_the_journal_than_was_sent_is_told_once_and_stays_told() {
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new());
        let paths = ["log", "journal"].map(|name| dir.path().join(name));
        paths.iter().for_each(|path| std::fs::create_dir(path).unwrap());
        let options = || LogOptions { segment_bytes_max: 1 << 20, ..LogOptions::new() };
        let (log, _) = ShardLog::open(Arc::clone(&disk), &paths[0], options()).unwrap();
        let record = NewRecord { placement: Placement::Any, partition_key: None, data: Bytes::from_static(b"x") };
        log.append(vec![record; 4]).unwrap();
        let journal =
            Journal::open(disk, &paths[1], StreamId([1; 16]), (&log, crate::pipeline::Claim::Own), options()).unwrap();
        let ledger = Ledger::new(Counts::default());
        for (chunk, sent, told) in [(1, (2, 0), false), (2, (1, 0), true)] {
            let (from, to) = (chunk * 2 - 1, chunk * 2);
            let counts = Counts { delivered: 2, ..Counts::default() };
            let destination = "file:/lake".to_owned();
            let (backup, manifest, inline, verdicts) = (None, None, None, None);
            let about = crate::journal::About::default();
            let staged =
                StagedChunk { chunk, from, to, counts, destination, backup, manifest, inline, verdicts, about };
            journal.staged(staged).unwrap();
            assert_eq!(ledger.reconcile(&journal, &log), None, "what is staged is not settled");
            ledger.settle(sent, || journal.done(chunk)).unwrap();
            let mismatch = ledger.reconcile(&journal, &log);
            assert_eq!((mismatch.is_some(), ledger.mismatch()), (told, mismatch));
        }
        assert_eq!(ledger.reconcile(&journal, &log), None, "told once");
        assert!(ledger.mismatch().unwrap().starts_with("3 delivered and 0 failed records have receipts"));
    }
}
