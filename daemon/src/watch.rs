//! What the daemon looks at once a second: whether its logs still store records, whether what was delivered adds
//! up, and whether the disk has space.
//!
//! Invariant: a device that hangs cannot hang the watch on the logs, which never touches it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hydrant_record::StreamId;
use hydrant_shardlog::Progress;
use tokio::time::{Instant, MissedTickBehavior};

use crate::engine::Engine;
use crate::exit::{Exit, Failure};
use crate::retention;

const BEAT: Duration = Duration::from_secs(1);
/// A sync that takes longer makes the daemon not ready: producers are better served elsewhere.
const SLOW: Duration = Duration::from_secs(10);
/// A sync that takes longer will hardly come back, and while it hangs nobody is told anything.
const STUCK: Duration = Duration::from_secs(60);

/// Why the daemon must end.
#[derive(Debug)]
pub(crate) enum Alarm {
    /// A log failed; the others can be drained.
    Failed(Failure),
    /// The device hangs: a drain would hang too.
    Stuck(Failure),
}

/// Watches until there is an alarm.
pub(crate) async fn watch(engine: &Arc<Engine>) -> Alarm {
    tokio::select! {
        alarm = logs(engine) => alarm,
        never = reserve(engine) => match never {},
        never = retention::keep(engine) => match never {},
    }
}

async fn logs(engine: &Engine) -> Alarm {
    let mut beat = beat();
    let mut paces = BTreeMap::new();
    loop {
        beat.tick().await;
        if let Some(failure) = engine.failed_log() {
            return Alarm::Failed(failure);
        }
        engine.reconcile();
        paces = paced(&paces, engine.progress(), Instant::now());
        let slowest = paces.values().filter(|pace| pace.took >= SLOW).max_by_key(|pace| pace.took);
        let text = slowest.map(|pace| {
            let (name, seconds) = (&pace.name, pace.took.as_secs());
            format!("storing records of delivery stream `{name}` has taken {seconds} s, and is not done")
        });
        if let (Some(pace), Some(text)) = (slowest.filter(|pace| pace.took >= STUCK), &text) {
            let text = format!("{text}: the device hangs ({} s is the limit)", STUCK.as_secs());
            tracing::error!(took_s = pace.took.as_secs(), "{text}");
            return Alarm::Stuck(Failure::new(Exit::Io, text).hint(
                "look at the device and the kernel's log; nothing that was not synced was acked, \
                 and a restart recovers what is durable",
            ));
        }
        engine.note_slow(text);
    }
}

/// How long the commit under way in one log has been the same.
struct Pace {
    name: String,
    progress: Progress,
    since: Instant,
    took: Duration,
}

fn paced(
    before: &BTreeMap<StreamId, Pace>,
    logs: Vec<(StreamId, String, Progress)>,
    now: Instant,
) -> BTreeMap<StreamId, Pace> {
    let pace = |(id, name, progress): (StreamId, String, Progress)| {
        let same = before.get(&id).filter(|pace| progress.committing && pace.progress == progress);
        let since = same.map_or(now, |pace| pace.since);
        (id, Pace { name, progress, since, took: now - since })
    };
    logs.into_iter().map(pace).collect()
}

async fn reserve(engine: &Arc<Engine>) -> Infallible {
    let mut beat = beat();
    let mut failing = false;
    loop {
        beat.tick().await;
        let engine = Arc::clone(engine);
        let tended = tokio::task::spawn_blocking(move || {
            engine.watch_backlogs();
            engine.store.reserve().tend()
        });
        let tended = tended.await;
        let tended = tended.unwrap_or_else(|panicked| Err(std::io::Error::other(panicked)));
        if let Some(error) = tended.as_ref().err().filter(|_| !failing) {
            tracing::warn!("cannot keep a reserve for a full disk: {error}");
        }
        failing = tended.is_err();
    }
}

fn beat() -> tokio::time::Interval {
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beat
}

#[cfg(test)]
mod tests;
