//! How a command fails: what happened, what to do next, and the exit code. Invariant: every failure says all three.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

/// Exit codes, as sysexits(3) has them where it has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Anything that may work at the next try.
    Runtime = 1,
    /// Wrong use of the command line, found after it was read.
    Usage = 2,
    /// Stored data is damaged (`EX_DATAERR`).
    CorruptStore = 65,
    /// A write or sync failed (`EX_IOERR`): systemd restarts into recovery.
    Io = 74,
    /// The configuration (`EX_CONFIG`): a restart does not help.
    Config = 78,
}

/// Why a command ended without success.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    text: String,
    hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, text: impl fmt::Display) -> Failure {
        Failure { exit, text: text.to_string(), hint: None }
    }

    /// The error and its causes, in one line.
    pub(crate) fn of(exit: Exit, error: &dyn Error) -> Failure {
        Failure::new(exit, chain(error))
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.exit as u8)
    }

    /// To stderr; stdout belongs to results.
    #[expect(clippy::print_stderr, reason = "the last words of a command")]
    pub(crate) fn report(&self) {
        eprintln!("{self}");
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.exit {
            // The problems of a configuration bring their own form.
            Exit::Config if self.text.starts_with("config error:") => f.write_str(&self.text)?,
            _ => write!(f, "error: {}", self.text)?,
        }
        self.hint.iter().try_for_each(|hint| write!(f, "\n  hint: {hint}"))
    }
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::of(Exit::Runtime, &error)
    }
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
