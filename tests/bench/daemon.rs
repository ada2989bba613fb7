//! The release daemon under measurement: its own process, its own directory, its figures from /proc.

use std::env;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::client::{ACCESS_KEY, Connection, SECRET_KEY};
use crate::meter;

/// Linux counts CPU time for /proc in hundredths of a second on every architecture we run on.
const TICK: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(600);

pub(crate) struct Daemon {
    child: Child,
    directory: PathBuf,
    api: String,
    admin: String,
}

impl Daemon {
    /// `streams` is the rest of the YAML: what it takes records for.
    pub(crate) fn start(binary: &Path, directory: &Path, streams: &str) -> Result<Daemon> {
        fs::create_dir_all(directory)?;
        let (api, admin) = (free_address()?, free_address()?);
        let yaml = format!(
            "data_dir: ./data\napi: {{ listen: \"{api}\" }}\nadmin: {{ listen: \"{admin}\" }}\n\
             credentials:\n  - {{ access_key_id: {ACCESS_KEY}, secret_access_key: \"env:HYDRANT_BENCH_SECRET\" }}\n\
             {streams}"
        );
        let config = directory.join("hydrant.yaml");
        fs::write(&config, yaml)?;
        let log = File::create(directory.join("hydrant.log"))?;
        let child = Command::new(binary)
            .args(["run", "-c"])
            .arg(&config)
            .env("HYDRANT_BENCH_SECRET", SECRET_KEY)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", binary.display()))?;
        let mut daemon = Daemon { child, directory: directory.to_owned(), api, admin };
        daemon.wait("the daemon is not ready", |daemon| {
            let Ok(mut connection) = Connection::open(&daemon.admin) else { return Ok(false) };
            Ok(connection.get(&daemon.admin, "/ready").is_ok_and(|(status, _)| status == 200))
        })?;
        Ok(daemon)
    }

    pub(crate) fn api_host(&self) -> String {
        self.api.clone()
    }

    pub(crate) fn lake(&self) -> PathBuf {
        self.directory.join("lake")
    }

    /// User and system time so far.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        cpu_of(self.child.id())
    }

    pub(crate) fn rss_peak_bytes(&self) -> Result<u64> {
        meter::memory_of(self.child.id(), "VmHWM")
    }

    pub(crate) fn rss_bytes(&self) -> Result<u64> {
        meter::memory_of(self.child.id(), "VmRSS")
    }

    /// Until everything that was stored is delivered; `records` must be exactly that.
    pub(crate) fn wait_drained(&mut self, stream: &str, records: u64) -> Result<()> {
        let name = stream.to_owned();
        self.wait("there is backlog", move |daemon| {
            let found = daemon.status(&name)?;
            if found["backlog"] != 0 {
                return Ok(false);
            }
            if found["delivered"] != records {
                bail!("{records} records were acked, the daemon says {found}");
            }
            Ok(true)
        })
    }

    /// Until so many records are delivered.
    pub(crate) fn wait_delivered(&mut self, stream: &str, records: u64) -> Result<()> {
        let name = stream.to_owned();
        self.wait("too little is delivered", move |daemon| {
            Ok(daemon.status(&name)?["delivered"].as_u64().is_some_and(|delivered| delivered >= records))
        })
    }

    /// What the daemon says of a delivery stream.
    pub(crate) fn status(&self, stream: &str) -> Result<serde_json::Value> {
        let (status, body) = Connection::open(&self.admin)?.get(&self.admin, "/status")?;
        if status != 200 {
            bail!("/status answered {status}");
        }
        let all: serde_json::Value = serde_json::from_slice(&body)?;
        let streams = all["delivery_streams"].as_array().context("no `delivery_streams` in /status")?;
        Ok(streams.iter().find(|entry| entry["name"] == stream).context("the stream is unknown")?.clone())
    }

    /// SIGTERM, and until it is gone.
    pub(crate) fn stop(mut self) -> Result<()> {
        let status = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        if !status.success() || !self.child.wait()?.success() {
            bail!("the daemon did not end well:\n{}", self.log_tail());
        }
        Ok(())
    }

    fn wait(&mut self, what: &str, mut done: impl FnMut(&Daemon) -> Result<bool>) -> Result<()> {
        let began = Instant::now();
        while !done(self)? {
            if let Some(status) = self.child.try_wait()? {
                bail!("the daemon ended with {status}:\n{}", self.log_tail());
            }
            if began.elapsed() > PATIENCE {
                bail!("{what} after {} s:\n{}", PATIENCE.as_secs(), self.log_tail());
            }
            thread::park_timeout(Duration::from_millis(50));
        }
        Ok(())
    }

    fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.directory.join("hydrant.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Ended already after `stop`; then both answer with an error that says so.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The one under measurement: `HYDRANT_BIN`, or what was built beside this program.
pub(crate) fn binary() -> Result<PathBuf> {
    if let Some(path) = env::var_os("HYDRANT_BIN") {
        return Ok(path.into());
    }
    let beside = env::current_exe()?.with_file_name("hydrant");
    // Examples lie one directory further down.
    let found =
        [beside.clone(), env::current_exe()?.with_file_name("../hydrant")].into_iter().find(|path| path.exists());
    found.with_context(|| {
        format!("no daemon at `{}`; build it by `cargo build --release` or name it by HYDRANT_BIN", beside.display())
    })
}

/// Fields 14 and 15 of /proc/PID/stat; the name before them may hold spaces.
pub(crate) fn cpu_of(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("no name in /proc/PID/stat")?;
    let ticks = |index: usize| -> Result<u32> {
        Ok(fields.split_whitespace().nth(index).context("/proc/PID/stat is short")?.parse()?)
    };
    Ok(TICK * (ticks(11)? + ticks(12)?))
}

pub(crate) fn bytes_below(directory: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        sum += if metadata.is_dir() { bytes_below(&entry.path())? } else { metadata.len() };
    }
    Ok(sum)
}

fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}
