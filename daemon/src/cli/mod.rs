//! What people type. One file per command.

mod check;
mod chunk;
mod demo;
mod explain;
mod init;
mod log;
mod put;
mod replay;
mod run;
mod status;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::exit::{Exit, Failure};
use crate::telemetry::LogFormat;

/// A self-hosted Amazon Data Firehose: what is acked is on disk, and every record lands in exactly one object.
#[derive(Debug, Parser)]
#[command(name = "hydrant", version, arg_required_else_help = true)]
pub(crate) struct Arguments {
    /// How log lines on stderr look.
    #[arg(long, global = true, value_enum, default_value = "text")]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The whole product on an embedded default: real log lines in by the AWS API, partitioned Parquet out
    Demo(demo::Demo),
    /// Write a commented hydrant.yaml to start from
    Init(init::Init),
    /// Find everything that could fail later: syntax, values, plugins, prefixes, destinations
    Check(check::Check),
    /// Run the daemon
    Run(run::Run),
    /// Send the lines of a file, or of stdin, to a delivery stream by the AWS API
    Put(put::Put),
    /// Put failed records of an error output back into a delivery stream, or straight to its destination
    Replay(replay::Replay),
    /// Show every delivery stream: what is stored, delivered, failed, waiting
    Status(status::ShowStatus),
    /// Tell where a record went, or what an object holds, beside a daemon or without one; changes nothing
    Explain(explain::Explain),
    /// See and decide about chunks that cannot be delivered
    #[command(subcommand)]
    Chunk(chunk::Chunk),
    /// Look into the logs of a data directory, beside a daemon or without one; changes nothing
    #[command(subcommand)]
    Log(log::Log),
}

/// Where the configuration is.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ConfigFile {
    /// The configuration
    #[arg(short = 'c', long = "config", value_name = "FILE", default_value = "hydrant.yaml")]
    path: PathBuf,
}

impl Arguments {
    pub(crate) fn log_format(&self) -> LogFormat {
        self.log_format
    }
}

pub(crate) fn execute(arguments: Arguments) -> Result<(), Failure> {
    match arguments.command {
        Command::Demo(command) => runtime()?.block_on(command.execute()),
        Command::Init(command) => command.execute(),
        Command::Check(command) => runtime()?.block_on(command.execute()),
        Command::Run(command) => {
            let runtime = runtime()?;
            let ended = runtime.block_on(command.execute());
            // Not awaited: a device that hangs must not keep the process from ending.
            runtime.shutdown_background();
            ended
        }
        Command::Put(command) => runtime()?.block_on(command.execute()),
        Command::Replay(command) => runtime()?.block_on(command.execute()),
        Command::Status(command) => runtime()?.block_on(command.execute()),
        Command::Chunk(command) => runtime()?.block_on(command.execute()),
        Command::Explain(command) => command.execute(),
        Command::Log(command) => command.execute(),
    }
}

impl ConfigFile {
    /// Loads it and logs its warnings.
    pub(crate) fn load(&self) -> Result<hydrant_config::Config, Failure> {
        let loaded = hydrant_config::load(&self.path, &hydrant_config::Environment::process())
            .map_err(|problems| Failure::new(Exit::Config, problems))?;
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        Ok(loaded.config)
    }
}

/// Blocking work is bounded: delivery holds a CPU permit for each step, the rest is short I/O.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let built = tokio::runtime::Builder::new_multi_thread().enable_all().max_blocking_threads(64).build();
    Ok(built?)
}

/// A result line, to stdout. A reader that went away, as `head` does, is no failure.
pub(crate) fn say(text: impl std::fmt::Display) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{text}");
}
