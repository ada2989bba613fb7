//! Why a delivery stream cannot be opened, what an operator may do next, and the exit status that says it.

use hydrant_delivery::{JournalError, StartError};
use hydrant_ingest::CatalogError;
use hydrant_plugins::LoadError;
use hydrant_shardlog::OpenError;
use hydrant_sinks::SinkError;

use crate::exit::Exit;

/// Why a delivery stream could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenStreamError {
    #[error("delivery stream `{name}`")]
    Log {
        name: String,
        #[source]
        source: OpenError,
    },
    #[error("delivery stream `{name}`")]
    Plugin {
        name: String,
        #[source]
        source: LoadError,
    },
    #[error("delivery stream `{name}`")]
    Sink {
        name: String,
        #[source]
        source: SinkError,
    },
    #[error("delivery stream `{name}`")]
    Pipeline {
        name: String,
        #[source]
        source: StartError,
    },
    #[error("delivery stream `{name}`: the log of the Kinesis stream that it reads is not open")]
    Source { name: String },
    #[error("delivery stream `{name}`: cannot make its directories")]
    Io {
        name: String,
        #[source]
        source: std::io::Error,
    },
}

impl OpenStreamError {
    /// What an operator may do next; `log` is the log that the delivery stream reads, as flags name it.
    pub(crate) fn hint(&self, log: &str) -> Option<String> {
        match self {
            OpenStreamError::Log { source, .. } if is_loss(source) => Some(after_loss(log)),
            OpenStreamError::Pipeline { source: StartError::Journal(JournalError::LogBehind { .. }), .. } => {
                Some(after_loss(log))
            }
            _ if self.exit() == Exit::CorruptStore => {
                Some("restore the data directory from a backup; nothing was changed".to_owned())
            }
            _ => None,
        }
    }

    pub(crate) fn exit(&self) -> Exit {
        match self {
            OpenStreamError::Log { source, .. } => exit_of_log(source),
            OpenStreamError::Source { .. } => Exit::Runtime,
            OpenStreamError::Plugin { .. } | OpenStreamError::Sink { .. } => Exit::Config,
            OpenStreamError::Pipeline { source, .. } => exit_of_pipeline(source),
            OpenStreamError::Io { .. } => Exit::Io,
        }
    }
}

/// Records are damaged, and the rest of the log is not.
pub(crate) fn is_loss(error: &OpenError) -> bool {
    matches!(error, OpenError::Corrupt { .. })
}

/// `name` as the flag wants it.
pub(crate) fn after_loss(name: &str) -> String {
    format!(
        "restore the data directory from a backup, or start once with `--accept-loss {name}` to go on without these records; \
         they will be counted as lost. Nothing was changed"
    )
}

pub(crate) fn exit_of_log(error: &OpenError) -> Exit {
    match error {
        OpenError::Corrupt { .. } | OpenError::Unsupported { .. } => Exit::CorruptStore,
        OpenError::Io { .. } => Exit::Io,
    }
}

pub(super) fn exit_of_pipeline(error: &StartError) -> Exit {
    match error {
        StartError::Io { .. } => Exit::Io,
        StartError::Journal(JournalError::Open(error)) => exit_of_log(error),
        StartError::Journal(JournalError::Append(_) | JournalError::Trim(_)) => Exit::Io,
        StartError::Journal(_) => Exit::CorruptStore,
    }
}

pub(super) fn exit_of_catalog(error: &CatalogError) -> Exit {
    match error {
        CatalogError::Write(_) => Exit::Io,
        _ => Exit::CorruptStore,
    }
}
