//! What the front door has done since it was opened. Every request ends in exactly one of `answered` or one refusal.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a request was refused; the label of the metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    Authentication,
    Malformed,
    Invalid,
    Unsupported,
    NotFound,
    Conflict,
    TooLarge,
    Timeout,
    /// No byte permits, or the queue of the log is full.
    Overload,
    DiskFull,
    /// The log is poisoned or closed.
    LogFailed,
    Internal,
    /// A policy does not allow it.
    Denied,
    /// The delivery stream's backlog is as large as it may be.
    Backlog,
}

impl Refusal {
    pub const ALL: [Refusal; 14] = [
        Refusal::Authentication,
        Refusal::Malformed,
        Refusal::Invalid,
        Refusal::Unsupported,
        Refusal::NotFound,
        Refusal::Conflict,
        Refusal::TooLarge,
        Refusal::Timeout,
        Refusal::Overload,
        Refusal::DiskFull,
        Refusal::LogFailed,
        Refusal::Internal,
        Refusal::Denied,
        Refusal::Backlog,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::Authentication => "authentication",
            Refusal::Malformed => "malformed",
            Refusal::Invalid => "invalid",
            Refusal::Unsupported => "unsupported",
            Refusal::NotFound => "not_found",
            Refusal::Conflict => "conflict",
            Refusal::TooLarge => "too_large",
            Refusal::Timeout => "timeout",
            Refusal::Overload => "overload",
            Refusal::DiskFull => "disk_full",
            Refusal::LogFailed => "log_failed",
            Refusal::Internal => "internal",
            Refusal::Denied => "denied",
            Refusal::Backlog => "backlog",
        }
    }
}

/// Counters of the whole front door; read by whoever shows metrics.
#[derive(Debug, Default)]
pub struct Counters {
    requests: AtomicU64,
    answered: AtomicU64,
    accepted_records: AtomicU64,
    accepted_bytes: AtomicU64,
    connections: AtomicU64,
    rests: AtomicU64,
    refused: [AtomicU64; Refusal::ALL.len()],
}

impl Counters {
    /// Requests whose head was read.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Requests answered with success.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Records that are durable, whether or not the producer was still there to hear of it.
    pub fn accepted_records(&self) -> u64 {
        self.accepted_records.load(Ordering::Relaxed)
    }

    /// Bytes of data in the accepted records, after base64 decoding.
    pub fn accepted_bytes(&self) -> u64 {
        self.accepted_bytes.load(Ordering::Relaxed)
    }

    /// Connections accepted.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// How often a connection gave its memory back because it had nothing to do.
    pub fn rests(&self) -> u64 {
        self.rests.load(Ordering::Relaxed)
    }

    pub fn refused(&self, reason: Refusal) -> u64 {
        self.refused[reason as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_answered(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_accepted(&self, records: u64, bytes: u64) {
        self.accepted_records.fetch_add(records, Ordering::Relaxed);
        self.accepted_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn count_connection(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_rest(&self) {
        self.rests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_refused(&self, reason: Refusal) {
        self.refused[reason as usize].fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_place_and_label() {
        let counters = Counters::default();
        for (index, reason) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "{reason:?}");
            counters.count_refused(reason);
            assert_eq!(counters.refused(reason), 1);
        }
        let labels: std::collections::BTreeSet<_> = Refusal::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(labels.len(), Refusal::ALL.len());
    }
}
