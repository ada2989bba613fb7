//! Where every unit went. Invariant, at any moment: `stored + split off = delivered + error output + dropped by a plugin + lost and
//! given up + expired + discarded by an operator + backlog`.

use serde::{Deserialize, Serialize};

/// Verdicts on units of a chunk, or of all chunks that are done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// In objects at the destination.
    pub delivered: u64,
    /// In error objects.
    pub failed: u64,
    /// By a plugin's verdict; nothing else drops.
    pub dropped: u64,
    /// Damaged in the log, and given up by an operator. Journals of before this was counted do not have it.
    #[serde(default)]
    pub lost: u64,
    /// Let go before they were delivered, because the stream's `log.expire_undelivered` says so.
    #[serde(default)]
    pub expired: u64,
    /// Of chunks that an operator gave up with `hydrant chunk discard`.
    #[serde(default)]
    pub discarded: u64,
    /// No verdict: units beyond the one that every record is, where records were taken apart.
    #[serde(default)]
    pub split_off: u64,
}

impl Counts {
    /// Verdicts: one for each record and one for each unit that was split off.
    #[must_use]
    pub fn total(self) -> u64 {
        self.delivered + self.failed + self.dropped + self.lost + self.expired + self.discarded
    }

    pub(crate) fn add(&mut self, other: Counts) {
        self.delivered += other.delivered;
        self.failed += other.failed;
        self.dropped += other.dropped;
        self.lost += other.lost;
        self.expired += other.expired;
        self.discarded += other.discarded;
        self.split_off += other.split_off;
    }
}

/// The accounting line of one delivery stream, in units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Accounting {
    /// Records that were durable in the log since this delivery stream began.
    pub stored: u64,
    /// Units beyond one a record, of records that were taken apart and are settled.
    pub split_off: u64,
    pub delivered: u64,
    pub failed: u64,
    pub dropped: u64,
    pub lost: u64,
    pub expired: u64,
    pub discarded: u64,
    pub backlog: u64,
}

impl Accounting {
    /// `cursor` and `last` count from the stream's origin.
    pub(crate) fn new(settled: Counts, cursor: u64, last: u64) -> Accounting {
        let last = last.max(cursor);
        Accounting {
            stored: last,
            split_off: settled.split_off,
            delivered: settled.delivered,
            failed: settled.failed,
            dropped: settled.dropped,
            lost: settled.lost,
            expired: settled.expired,
            discarded: settled.discarded,
            backlog: last - cursor,
        }
    }

    /// Whether the line adds up. It always must; a stream where it does not is an alarm.
    #[must_use]
    pub fn holds(&self) -> bool {
        let settled = self.delivered + self.failed + self.dropped + self.lost + self.expired + self.discarded;
        self.stored + self.split_off == settled + self.backlog
    }
}
