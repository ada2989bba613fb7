//! `hydrant`: reads the command line and ends with an exit code that a script can use.

mod admin;
mod cli;
mod client;
mod control;
mod engine;
mod exit;
mod kinesis;
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

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    telemetry::start(arguments.log_format());
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
