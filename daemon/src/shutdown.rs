//! When the daemon is asked to stop, or to read its configuration again.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Completes at the first SIGTERM or SIGINT. Each SIGHUP is one message to `reload`; several at once are one.
pub(crate) async fn requested(reload: Option<mpsc::Sender<()>>) -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    // Caught, because its default is to end the process without a drain.
    let mut hangup = signal(SignalKind::hangup())?;
    let name = loop {
        tokio::select! {
            _ = terminate.recv() => break "SIGTERM",
            _ = interrupt.recv() => break "SIGINT",
            _ = hangup.recv() => match &reload {
                // Full means that one is asked for already.
                Some(reload) => drop(reload.try_send(())),
                None => tracing::warn!("SIGHUP: there is no configuration file to read again"),
            },
        }
    };
    tracing::info!("{name}: no new records are taken, what is buffered is delivered");
    Ok(())
}
