//! What the daemon looks at once a second: whether its logs still store records, and whether the disk has space.
//!
//! Invariant: a device that hangs cannot hang the watch on the logs, which never touches it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::engine::Engine;
use crate::exit::Failure;

const BEAT: Duration = Duration::from_secs(1);

/// Watches until a log has failed, and says why.
pub(crate) async fn watch(engine: &Arc<Engine>) -> Failure {
    tokio::select! {
        failure = failed_log(engine) => failure,
        never = reserve(engine) => match never {},
    }
}

async fn failed_log(engine: &Engine) -> Failure {
    let mut beat = beat();
    loop {
        beat.tick().await;
        if let Some(failure) = engine.failed_log() {
            return failure;
        }
    }
}

async fn reserve(engine: &Arc<Engine>) -> Infallible {
    let mut beat = beat();
    let mut failing = false;
    loop {
        beat.tick().await;
        let engine = Arc::clone(engine);
        let tended = tokio::task::spawn_blocking(move || engine.store.reserve().tend()).await;
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
