//! Real servers, as `tests/servers` installs and starts them: each in a directory and on a port of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::daemon;

/// What the script gives MinIO.
pub(crate) const MINIO_KEY: &str = "hydrant";
pub(crate) const MINIO_SECRET: &str = "hydrant-secret";

/// Ends with this value.
pub(crate) struct Server {
    script: PathBuf,
    directory: PathBuf,
    endpoint: String,
    pid: u32,
}

impl Server {
    /// `name` as its script is called. The first time, it is built or downloaded, which takes minutes.
    pub(crate) fn start(name: &str, directory: &Path) -> Result<Server> {
        fs::create_dir_all(directory)?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("servers").join(name);
        let log = fs::File::create(directory.join("start.log"))?;
        let started = Command::new(&script).arg("start").arg(directory).stdin(Stdio::null()).stderr(log).output();
        let started = started.with_context(|| format!("starting {}", script.display()))?;
        ensure!(started.status.success(), "{}", fs::read_to_string(directory.join("start.log"))?);
        let told = String::from_utf8(started.stdout)?;
        let endpoint = told.lines().find_map(|line| line.strip_prefix("endpoint ")).context("no endpoint was told")?;
        let pid = fs::read_to_string(directory.join(format!("{name}.pid")))?.trim().parse()?;
        Ok(Server { script, directory: directory.to_owned(), endpoint: endpoint.to_owned(), pid })
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Without `http://`.
    pub(crate) fn host(&self) -> &str {
        self.endpoint.trim_start_matches("http://")
    }

    /// User and system time so far.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        daemon::cpu_of(self.pid)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // What cannot be stopped says so itself, and there is nothing else to be done.
        let _ = Command::new(&self.script).arg("stop").arg(&self.directory).status();
    }
}
