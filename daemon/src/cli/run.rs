//! `hydrant run`: the daemon, until SIGTERM or SIGINT.

use std::path::PathBuf;

use tokio::sync::mpsc;

use crate::cli::ConfigFile;
use crate::exit::Failure;
use crate::run::{Daemon, Options};
use crate::shutdown;

#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    #[command(flatten)]
    config: ConfigFile,
    /// Delete this delivery stream, which is not in the configuration any more, with all that was not delivered
    #[arg(long, value_name = "NAME")]
    discard_backlog: Vec<String>,
    /// Go on without the records of this delivery stream, or of kinesis/NAME, that are damaged; they are counted as lost
    #[arg(long, value_name = "NAME")]
    accept_loss: Vec<String>,
    /// Take over this data directory, which was copied here or came from another machine; nothing may use the original
    #[arg(long, value_name = "DIR")]
    adopt: Option<PathBuf>,
}

impl Run {
    pub(crate) async fn execute(self) -> Result<(), Failure> {
        // Listened for from the start, so that a stop during the start is not missed.
        let (reload, reloads) = mpsc::channel(1);
        let stop = tokio::spawn(shutdown::requested(Some(reload)));
        let options =
            Options { discard_backlog: self.discard_backlog, accept_loss: self.accept_loss, adopt: self.adopt };
        let mut daemon = Daemon::start(self.config.load()?, options).await?;
        daemon.reload_from(self.config, reloads);
        // Without systemd there is nobody to tell.
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        let stopped = async {
            let stopped = stop.await.map_err(std::io::Error::other)?;
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
            stopped
        };
        daemon.serve_until(stopped).await
    }
}
