//! How much waits to be delivered, and whose producers have to wait for it.
//!
//! Invariant: a gate is closed before the disk is full because of one delivery stream, and opens by itself when there is room.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hydrant_ingest::Gate;
use hydrant_record::{Lsn, StreamId, Timestamp};
use hydrant_shardlog::ShardLog;
use tokio::time::Instant;

use super::{Engine, Running};

/// A gate opens again when this part of the limit is free.
const ROOM: u64 = 16;
/// The pace of a backlog is that of so long.
const PACE: Duration = Duration::from_secs(60);
/// Less than this until producers are refused is worth a warning.
const HOURS_WARNED: u64 = 24;
/// The part of a retention that is left when a warning is due.
const RETENTION_LEFT: u32 = 4;

/// Of all delivery streams that have logs of their own.
#[derive(Debug, Default)]
pub(super) struct Backlogs(Mutex<BTreeMap<StreamId, Watched>>);

#[derive(Debug, Default)]
struct Watched {
    gate: Gate,
    /// Of the log when it was opened: its first and last record, and its bytes.
    found: (u64, u64, u64),
    bytes: u64,
    /// When the backlog was so large.
    before: Option<(Instant, u64)>,
    /// In bytes a minute.
    pace: u64,
    /// What a limit and what a retention say.
    limit: Option<String>,
    retention: Option<String>,
}

impl Backlogs {
    /// The gate of a delivery stream whose log was just opened.
    pub(super) fn begin(&self, id: StreamId, log: &ShardLog) -> Gate {
        let last = log.last().map_or(0, Lsn::get);
        let first = log.first().map_or(last + 1, Lsn::get);
        // Of a disk that does not say, only what comes from now on is counted.
        let found = (first, last, log.bytes().unwrap_or(0));
        let watched = Watched { found, ..Watched::default() };
        let gate = watched.gate.clone();
        self.lock().insert(id, watched);
        gate
    }

    pub(super) fn end(&self, id: StreamId) {
        self.lock().remove(&id);
    }

    /// Bytes, and what there is to warn of.
    pub(super) fn told(&self, id: StreamId) -> (u64, Option<String>) {
        let watched = self.lock();
        let Some(one) = watched.get(&id) else { return (0, None) };
        (one.bytes, one.limit.clone().or_else(|| one.retention.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<StreamId, Watched>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Closes the gates of delivery streams whose backlog is too large, and opens them again. To be called about once a second.
    pub(crate) fn watch_backlogs(&self) {
        let now = Instant::now();
        for (id, one) in self.running().iter().filter(|(_, one)| one.own_log().is_some()) {
            let mut watched = self.backlogs.lock();
            let Some(backlog) = watched.get_mut(id) else { continue };
            let (_, _, found) = backlog.found;
            let max = one.stream.backlog_max.unwrap_or(self.logs.free_bytes / 2 + found / 2);
            backlog.look(one, now);
            if let Some(closed) = backlog.decide(max) {
                tell(&one.name, closed, backlog.bytes, max);
            }
            backlog.limit = backlog.warning(max);
        }
    }

    /// Warns of records that will go undelivered. To be called about once a minute, with a time that is believed. Blocks.
    pub(crate) fn watch_retention(&self, now: Timestamp) {
        let running: Vec<(StreamId, Running)> = self.running().iter().map(|(id, one)| (*id, one.clone())).collect();
        for (id, one) in running.iter().filter(|(_, one)| one.own_log().is_some()) {
            let policy = one.stream.log;
            let presses = policy.expire_undelivered && !policy.retention.is_zero();
            let oldest = presses.then(|| one.pipeline.waiting_since()).flatten();
            let left = oldest.map(|oldest| policy.retention.saturating_sub(now.since(oldest)));
            let warning = left.filter(|left| *left < policy.retention / RETENTION_LEFT).map(|left| {
                format!(
                    "the oldest record that is not delivered expires in {}, by `log.expire_undelivered`",
                    hours(left)
                )
            });
            if let Some(one) = self.backlogs.lock().get_mut(id) {
                one.retention.clone_from(&warning);
            }
            if let Some(warning) = warning {
                tracing::warn!(delivery_stream = %one.name, "{warning}");
            }
        }
    }
}

impl Watched {
    /// Records of before the start count by the bytes that the log had then, later ones by what was put.
    fn look(&mut self, one: &Running, now: Instant) {
        let settled = one.pipeline.settled().map_or(0, Lsn::get);
        let last = one.log.last().map_or(0, Lsn::get);
        let (first, found_last, found_bytes) = self.found;
        let old = (found_last + 1).saturating_sub(first.max(settled + 1));
        let new = last.saturating_sub(settled.max(found_last));
        let (records, bytes) = self.gate.taken();
        self.bytes = share(found_bytes, old, (found_last + 1).saturating_sub(first)) + share(bytes, new, records);
        match self.before {
            Some((since, before)) if now - since >= PACE => {
                let minutes = ((now - since).as_secs() / 60).max(1);
                self.pace = self.bytes.saturating_sub(before) / minutes;
                self.before = Some((now, self.bytes));
            }
            Some(_) => {}
            None => self.before = Some((now, self.bytes)),
        }
    }

    /// Whether the gate is closed now, if that is new.
    fn decide(&self, max: u64) -> Option<bool> {
        let was = self.gate.is_closed();
        let closed = if was { self.bytes > max - max / ROOM } else { self.bytes >= max };
        self.gate.set_closed(closed);
        (closed != was).then_some(closed)
    }

    fn warning(&self, max: u64) -> Option<String> {
        let of = format!("{} of at most {} wait to be delivered", mib(self.bytes), mib(max));
        if self.gate.is_closed() {
            return Some(format!("producers are refused: {of} (`backlog_max`)"));
        }
        let left = (max.saturating_sub(self.bytes)).checked_div(self.pace);
        match left {
            Some(minutes) if minutes < HOURS_WARNED * 60 => {
                let left = hours(Duration::from_secs(minutes * 60));
                Some(format!("{of} (`backlog_max`); at the pace of the last minute producers are refused in {left}"))
            }
            _ => (self.bytes >= max - max / 5).then(|| format!("{of} (`backlog_max`)")),
        }
    }
}

fn tell(name: &str, closed: bool, bytes: u64, max: u64) {
    let (waiting, max) = (mib(bytes), mib(max));
    match closed {
        true => tracing::error!(delivery_stream = name, waiting, "producers are refused: `backlog_max` is {max}"),
        false => tracing::info!(delivery_stream = name, waiting, "producers are taken again: `backlog_max` is {max}"),
    }
}

/// What `part` of `whole` is of `bytes`.
fn share(bytes: u64, part: u64, whole: u64) -> u64 {
    let of = u128::from(bytes) * u128::from(part) / u128::from(whole.max(1));
    u64::try_from(of).unwrap_or(u64::MAX)
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

fn hours(left: Duration) -> String {
    match left.as_secs() / 60 {
        minutes @ 0..120 => format!("{minutes} min"),
        minutes => format!("{} h", minutes / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn a_gate_closes_at_the_limit_and_opens_when_there_is_room() {
        let mut watched = Watched { bytes: GIB - 1, ..Watched::default() };
        assert_eq!(watched.decide(GIB), None);
        watched.bytes = GIB;
        assert_eq!(watched.decide(GIB), Some(true));
        watched.bytes = GIB - GIB / 32;
        assert_eq!(watched.decide(GIB), None, "not at the least record that goes");
        assert!(watched.warning(GIB).unwrap().starts_with("producers are refused: 992 MiB of at most 1024 MiB"));
        watched.bytes = GIB / 2;
        assert_eq!(watched.decide(GIB), Some(false));
        assert_eq!(watched.warning(GIB), None);
    }

    #[test]
    fn the_time_that_is_left_is_told_before_producers_are_refused() {
        let mut watched = Watched { bytes: GIB / 2, pace: GIB / 2 / 600, ..Watched::default() };
        let warning = watched.warning(GIB).unwrap();
        assert!(warning.ends_with("at the pace of the last minute producers are refused in 10 h"), "{warning}");
        watched.pace = 1;
        assert_eq!(watched.warning(GIB), None, "years");
        watched.bytes = GIB - GIB / 10;
        assert!(watched.warning(GIB).unwrap().ends_with("(`backlog_max`)"));
    }

    #[test]
    fn a_part_of_the_bytes_is_a_part_of_the_records() {
        assert_eq!((share(1_000, 3, 10), share(1_000, 0, 0), share(u64::MAX, 7, 7)), (300, 0, u64::MAX));
    }
}
