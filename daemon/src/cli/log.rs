//! `hydrant log`: looks into the logs of a data directory.
//!
//! Invariant: nothing there is changed, so it is safe beside a daemon, on a copy, and on a read-only file system. Results go
//! to stdout, what went wrong to stderr and into the exit code.

mod dump;
pub(super) mod places;
mod show;

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
use hydrant_disk::RealDisk;
use hydrant_record::Timestamp;
use hydrant_shardlog::{OpenError, Survey};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::ConfigFile;
use crate::engine::exit_of_log;
use crate::exit::{Exit, Failure, chain};
use places::{Place, Places};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Log {
    /// What each log holds, and what the next start would make of it
    Inspect(Inspect),
    /// Read every frame, check its checksums, and name all that is damaged
    Verify(Verify),
    /// Print records as they are stored
    Dump(dump::Dump),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Inspect {
    /// Only this log, and all about it: the name or id of a delivery stream, `catalog`, `journal/NAME`, or a path
    #[arg(value_name = "STREAM")]
    log: Option<String>,
    #[command(flatten)]
    data: DataDir,
    /// For programs
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    /// Only these logs: names or ids of delivery streams, `catalog`, `journal/NAME`, or paths
    #[arg(value_name = "STREAM")]
    logs: Vec<String>,
    #[command(flatten)]
    data: DataDir,
    /// For programs
    #[arg(long)]
    json: bool,
}

/// Where the data directory is.
#[derive(Debug, clap::Args)]
pub(super) struct DataDir {
    /// The data directory; that of the configuration without it
    #[arg(long, value_name = "DIR", conflicts_with = "path")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigFile,
}

/// One log and what was found there.
struct Looked {
    place: Place,
    survey: Result<Survey, OpenError>,
}

impl Log {
    pub(crate) fn execute(self) -> Result<(), Failure> {
        match self {
            Log::Inspect(command) => command.execute(),
            Log::Verify(command) => command.execute(),
            Log::Dump(command) => command.execute(),
        }
    }
}

impl Inspect {
    fn execute(self) -> Result<(), Failure> {
        let places = self.data.places()?;
        let wanted = self.log.as_slice();
        let looked = look(places.named(wanted)?, false)?;
        if self.json {
            show::json(&places, &looked);
        } else {
            show::overview(&places, &looked);
            if !wanted.is_empty() {
                looked.iter().filter_map(|one| one.survey.as_ref().ok()).for_each(show::details);
            }
            show::problems(&looked);
        }
        verdict(&looked)
    }
}

impl Verify {
    fn execute(self) -> Result<(), Failure> {
        let places = self.data.places()?;
        let looked = look(places.named(&self.logs)?, true)?;
        if self.json {
            show::json(&places, &looked);
        } else {
            show::overview(&places, &looked);
            show::problems(&looked);
        }
        verdict(&looked)
    }
}

impl DataDir {
    fn places(&self) -> Result<Places, Failure> {
        Places::of(&self.dir()?)
    }

    pub(super) fn dir(&self) -> Result<PathBuf, Failure> {
        match &self.data_dir {
            Some(dir) => Ok(dir.clone()),
            None => Ok(self.config.load().map_err(|failure| failure.hint("or name it: `--data-dir DIR`"))?.data_dir),
        }
    }
}

/// Damage is a finding; an error of the device ends the command.
fn look(places: Vec<Place>, everything: bool) -> Result<Vec<Looked>, Failure> {
    let bar = progress();
    let mut looked = Vec::new();
    for place in places {
        bar.set_message(place.name.clone());
        let mut progress = |done, total| {
            bar.set_length(total);
            bar.set_position(done);
        };
        let disk = RealDisk::new();
        let survey = match everything {
            true => hydrant_shardlog::verify(&disk, &place.dir, &mut progress),
            false => hydrant_shardlog::survey(&disk, &place.dir, &mut progress),
        };
        match survey {
            Err(error @ OpenError::Io { .. }) => return Err(unreadable(&place.dir, &error)),
            survey => looked.push(Looked { place, survey }),
        }
    }
    bar.finish_and_clear();
    Ok(looked)
}

fn unreadable(dir: &Path, error: &OpenError) -> Failure {
    Failure::new(exit_of_log(error), format!("log `{}`: {}", dir.display(), chain(error)))
        .hint("look at the permissions of the data directory, and at the kernel's log for errors of the device")
}

/// Hidden unless stderr is a terminal.
fn progress() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("  {msg}   [{bar:40}] {bytes}/{total_bytes}  {bytes_per_sec}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

impl Looked {
    fn is_damaged(&self) -> bool {
        self.survey.as_ref().map_or(true, |survey| !survey.damage.is_empty())
    }
}

fn verdict(looked: &[Looked]) -> Result<(), Failure> {
    let damaged: Vec<_> =
        looked.iter().filter(|one| one.is_damaged()).map(|one| format!("`{}`", one.place.name)).collect();
    if damaged.is_empty() {
        return Ok(());
    }
    let text = format!("{} of {} logs damaged: {}", damaged.len(), looked.len(), damaged.join(", "));
    Err(Failure::new(Exit::CorruptStore, text)
        .hint("restore the data directory from a backup, or start once with `--accept-loss NAME`; what can be read, `hydrant log dump` prints"))
}

pub(super) fn rfc3339(at: Timestamp) -> String {
    i64::try_from(at.as_millis())
        .ok()
        .and_then(DateTime::from_timestamp_millis)
        .map_or_else(|| format!("{at:?}"), |time| time.to_rfc3339_opts(SecondsFormat::Millis, true))
}
