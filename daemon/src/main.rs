//! `hydrant`: reads the command line and ends with an exit code that a script can use.

mod admin;
mod cli;
mod client;
mod control;
mod engine;
mod exit;
mod kinesis;
mod probed;
mod reload;
mod retention;
mod run;
mod shutdown;
mod sources;
mod store;
mod telemetry;
mod watch;

use std::process::ExitCode;

use clap::Parser as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    telemetry::start(arguments.log_format());
    raise_open_files();
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .expect("nothing else has installed a crypto provider yet");
    match cli::execute(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            failure.exit_code()
        }
    }
}

/// Each connection and each log has a file. The usual soft limit of 1,024 is for programs that call `select`; only the hard one is
/// somebody's decision.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}
