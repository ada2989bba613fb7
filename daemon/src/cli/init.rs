//! `hydrant init`: a commented configuration to start from. Never writes over a file.

use std::io::Write as _;
use std::path::PathBuf;

use crate::cli::say;
use crate::exit::{Exit, Failure};

#[derive(Debug, clap::Args)]
pub(crate) struct Init {
    /// Where to write it
    #[arg(default_value = "hydrant.yaml")]
    file: PathBuf,
}

impl Init {
    pub(crate) fn execute(self) -> Result<(), Failure> {
        let path = self.file.display();
        let mut file = std::fs::File::create_new(&self.file).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => Failure::new(Exit::Runtime, format!("`{path}` is there already"))
                .hint("name another file: `hydrant init other.yaml`"),
            _ => Failure::new(Exit::Runtime, format!("cannot write `{path}`: {error}")),
        })?;
        file.write_all(hydrant_config::template().as_bytes())?;
        say(format_args!("{path} written; next: hydrant check -c {path}, then hydrant run -c {path}"));
        Ok(())
    }
}
