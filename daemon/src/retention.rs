//! Once a minute the logs are tended: what their policies keep no longer goes, and idle ones become small. And what was found
//! out about stores is looked up.
//!
//! Invariant: nothing goes by its age while the wall clock is in doubt.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hydrant_shardlog::{Clock as _, ClockGuard, Look, SystemClock, Trust};
use tokio::time::{Instant, MissedTickBehavior};

use crate::engine::Engine;
use crate::kinesis;

const BEAT: Duration = Duration::from_secs(60);
/// systemd-timesyncd makes it once it has set the clock. Other time services leave no such trace: after an hour the clock
/// is believed without it.
const SYNCHRONISED: &str = "/run/systemd/timesync/synchronized";

/// Tends the logs until the daemon ends.
pub(crate) async fn keep(engine: &Arc<Engine>) -> Infallible {
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (begun, mut guard, mut known) = (Instant::now(), ClockGuard::default(), Trust::Believed);
    loop {
        beat.tick().await;
        let synchronised = Path::new(SYNCHRONISED).exists();
        let look = Look { monotonic: begun.elapsed(), wall: SystemClock.now(), synchronised };
        let trust = guard.check(look);
        if trust != std::mem::replace(&mut known, trust) && engine.retains() {
            tell(trust);
        }
        let (engine, now) = (Arc::clone(engine), (trust == Trust::Believed).then_some(look.wall));
        let tending = tokio::task::spawn_blocking(move || {
            engine.tend_logs(now);
            engine.look_up_probes();
            if let Some(now) = now {
                engine.watch_retention(now);
                kinesis::expire(&engine, now);
            }
        });
        if let Err(panicked) = tending.await {
            tracing::error!("tending the logs failed: {panicked}");
        }
    }
}

fn tell(trust: Trust) {
    match trust {
        Trust::Believed => tracing::info!("the clock is believed: records go when `log.retention` is over"),
        Trust::Unproved => {
            tracing::info!("no record goes by its age until the clock is known to be synchronised, or for an hour");
        }
        Trust::Stepped => {
            tracing::warn!("the clock stepped by more than an hour: no record goes by its age for an hour");
        }
    }
}
