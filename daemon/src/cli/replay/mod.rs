//! `hydrant replay`: failed records of an error output, back into a delivery stream by the signed AWS API.
//!
//! Invariant: a record that was taken is not put again by a repeat with the same journal; one that may have been is put again
//! only as `--in-doubt` says.

mod failed;
mod journal;
mod pass;
mod source;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::digest;
use chrono::{DateTime, NaiveDate, Utc};
use clap::ValueEnum;
use hydrant_config::Config;
use hydrant_disk::RealDisk;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use self::journal::Journal;
use self::pass::Pass;
use self::source::Source;
use crate::cli::put::Endpoint;
use crate::cli::{ConfigFile, say};
use crate::exit::{Exit, Failure};

#[derive(Debug, clap::Args)]
pub(crate) struct Replay {
    /// The delivery stream that gets the records
    stream: String,
    /// A directory, a file, or `s3://BUCKET/PREFIX` with error objects of Hydrant or of Amazon Data Firehose; without it the
    /// error output of the delivery stream
    source: Option<String>,
    /// Only records that arrived at this moment or later: `2026-11-21` or `2026-11-21T10:30:00Z`
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<u64>,
    /// Only records that arrived before this moment
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<u64>,
    /// Only records with this error code; may be given several times
    #[arg(long = "error-code", value_name = "CODE")]
    error_codes: Vec<String>,
    /// What was replayed is remembered here [default: a file in `replay` of the data directory]
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// What to do with records that an interrupted replay may have put already
    #[arg(long, value_enum, default_value = "again")]
    in_doubt: InDoubt,
    /// Tell what would be replayed, and put nothing
    #[arg(long)]
    dry_run: bool,
    /// For programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    endpoint: Endpoint,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum InDoubt {
    /// They may be there twice
    Again,
    /// They may be missing
    Skip,
}

/// Which records are meant.
#[derive(Debug)]
struct Filter {
    since: u64,
    until: u64,
    /// All, if there is none.
    error_codes: Vec<String>,
}

/// What became of all lines that were read. They are in exactly one of the numbers, `in_doubt` aside.
#[derive(Debug, Default, Serialize)]
struct Summary {
    /// With error records in them.
    objects: u64,
    /// Without.
    objects_skipped: u64,
    /// Durable in the delivery stream now, or what would be put by a dry run.
    replayed: u64,
    /// Durable since an earlier run.
    replayed_before: u64,
    /// Not what the filters ask for.
    filtered: u64,
    /// Refused by the delivery stream, or larger than a record may be.
    refused: u64,
    /// No error records.
    unreadable: u64,
    /// May have been put by an earlier run: put again, counted above, or left out.
    in_doubt: u64,
    in_doubt_skipped: u64,
    /// Of `replayed`, by error code.
    error_codes: BTreeMap<String, u64>,
    interrupted: bool,
}

impl Replay {
    pub(crate) async fn execute(self) -> Result<(), Failure> {
        let config = self.config.load()?;
        let source = Source::new(self.source.as_deref(), &self.stream, &config)?;
        let disk = RealDisk::new();
        let path = self.journal_path(&config)?;
        let found = source.list().await?;
        let mut pass = Pass {
            client: self.endpoint.client(&config, config.api)?,
            stream: self.stream.clone(),
            filter: self.filter(),
            skip_in_doubt: self.in_doubt == InDoubt::Skip,
            journal: match self.dry_run {
                true => Err(Journal::peek(&disk, &path, &self.stream)?),
                false => Ok(Journal::open(&disk, &path, &self.stream)?),
            },
            summary: Summary::default(),
            stop: stop_requested()?,
        };
        let progress = progress(found.iter().map(|object| object.bytes).sum());
        let mut ended = Ok(());
        for object in &found {
            if ended.is_err() || pass.stop.load(Ordering::Relaxed) {
                break;
            }
            ended = match source.read(object).await {
                Ok(bytes) => pass.object(&object.name, bytes).await,
                Err(failure) => Err(failure),
            };
            progress.inc(object.bytes);
        }
        progress.finish_and_clear();
        pass.finish()?;
        let mut summary = pass.summary;
        summary.interrupted = pass.stop.load(Ordering::Relaxed);
        self.report(&summary, &source);
        ended?;
        summary.verdict()
    }

    /// Only a daemon makes a data directory; and what a person types becomes no path in it.
    fn journal_path(&self, config: &Config) -> Result<PathBuf, Failure> {
        let directory = &config.data_dir;
        match &self.journal {
            Some(path) => Ok(path.clone()),
            None if directory.is_dir() => {
                let digest = digest::digest(&digest::SHA256, self.stream.as_bytes());
                Ok(directory.join("replay").join(format!("{}.journal", hex::encode(&digest.as_ref()[..16]))))
            }
            None => {
                let text = format!("there is no data directory `{}` here to keep the journal in", directory.display());
                Err(Failure::new(Exit::Usage, text).hint("name a file with --journal"))
            }
        }
    }

    fn filter(&self) -> Filter {
        let (since, until) = (self.since.unwrap_or(0), self.until.unwrap_or(u64::MAX));
        Filter { since, until, error_codes: self.error_codes.clone() }
    }

    fn report(&self, summary: &Summary, source: &Source) {
        if self.json {
            say(serde_json::to_string(summary).expect("numbers and strings into memory"));
            return;
        }
        let (verb, stream) = (if self.dry_run { "would be put into" } else { "are durable in" }, &self.stream);
        say(format_args!(
            "{} records of {} objects below {source} {verb} `{stream}`",
            summary.replayed, summary.objects
        ));
        for (code, records) in &summary.error_codes {
            say(format_args!("  {records} of error code {code}"));
        }
        for (number, what) in [
            (summary.replayed_before, "replayed before"),
            (summary.filtered, "left out by the filters"),
            (summary.in_doubt, "may have been put by an interrupted replay, and were put again"),
            (summary.in_doubt_skipped, "may have been put by an interrupted replay, and were left out"),
            (summary.refused, "refused"),
            (summary.unreadable, "lines without an error record"),
            (summary.objects_skipped, "objects without error records"),
        ] {
            if number > 0 {
                say(format_args!("  {number} {what}"));
            }
        }
    }
}

impl Summary {
    fn verdict(&self) -> Result<(), Failure> {
        if self.interrupted {
            return Err(Failure::new(Exit::Runtime, "interrupted").hint("run it again: it goes on where it was"));
        }
        let left = self.refused + self.unreadable;
        if left > 0 {
            return Err(Failure::new(Exit::Runtime, format!("{left} lines could not be replayed"))
                .hint("the log above names the first of each object"));
        }
        Ok(())
    }
}

impl Filter {
    fn wants(&self, failed: &failed::Failed) -> bool {
        let code = self.error_codes.is_empty() || self.error_codes.contains(&failed.code);
        code && (self.since..self.until).contains(&failed.arrived_at)
    }
}

/// Set by the first SIGINT or SIGTERM: what is under way is finished, so that nothing is left in doubt.
fn stop_requested() -> Result<Arc<AtomicBool>, Failure> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        flag.store(true, Ordering::Relaxed);
    });
    Ok(stop)
}

/// Milliseconds since 1970.
fn moment(text: &str) -> Result<u64, String> {
    let midnight = |date: NaiveDate| date.and_time(chrono::NaiveTime::MIN).and_utc();
    let parsed = DateTime::parse_from_rfc3339(text).map(|time| time.with_timezone(&Utc));
    let parsed = parsed.or_else(|_| text.parse().map(midnight));
    let time = parsed.map_err(|_| "write a day as 2026-11-21 or a moment as 2026-11-21T10:30:00Z".to_owned())?;
    u64::try_from(time.timestamp_millis()).map_err(|_| "there are no records from before 1970".to_owned())
}

fn progress(bytes: u64) -> ProgressBar {
    let bar = ProgressBar::new(bytes);
    if let Ok(style) =
        ProgressStyle::with_template("  replaying [{bar:40}] {bytes}/{total_bytes}  {bytes_per_sec}  {eta}")
    {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}
