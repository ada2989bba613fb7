//! When the daemon is asked to stop.

use tokio::signal::unix::{SignalKind, signal};

/// Completes at the first SIGTERM or SIGINT.
pub(crate) async fn requested() -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    // Caught, because its default is to end the process without a drain.
    let mut hangup = signal(SignalKind::hangup())?;
    let name = loop {
        tokio::select! {
            _ = terminate.recv() => break "SIGTERM",
            _ = interrupt.recv() => break "SIGINT",
            _ = hangup.recv() => {
                tracing::warn!("SIGHUP: this version does not reload; restart the daemon to read the configuration again");
            }
        }
    };
    tracing::info!("{name}: no new records are taken, what is buffered is delivered");
    Ok(())
}
