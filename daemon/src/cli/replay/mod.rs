//! `hydrant replay`: failed records of an error output, back into a delivery stream by the signed AWS API, or straight to its
//! destination.
//!
//! Invariant: a record that was taken is not put again by a repeat with the same journal; one that may have been is put again
//! only as `--in-doubt` says.

mod delivering;
mod failed;
mod journal;
mod pass;
mod putting;
mod source;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use chrono::{DateTime, NaiveDate, Utc};
use clap::ValueEnum;
use hydrant_config::{Config, DeliveryStream};
use hydrant_delivery::destination_identity;
use hydrant_disk::{Disk, RealDisk};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use self::delivering::{Delivering, Manner};
use self::journal::Journal;
pub(crate) use self::journal::{History, Replayed};
use self::pass::{Pass, Tally, Way};
use self::putting::Putting;
use self::source::{Source, unknown};
use crate::cli::explain::Looked;
use crate::cli::put::Endpoint;
use crate::cli::{ConfigFile, chunk, say};
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
    /// Straight to the destination of the delivery stream: no daemon is needed, and the stream does not see the records again
    #[arg(long, conflicts_with = "endpoint")]
    to_destination: bool,
    /// With `--to-destination`: the records have the form already that the plugins of the delivery stream make
    #[arg(long, requires = "to_destination")]
    skip_plugins: bool,
    /// With `--to-destination`: end when the destination did nothing but fail for so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, requires = "to_destination")]
    patience: u64,
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
    /// Durable in the delivery stream now, or at the destination; or what would be by a dry run.
    replayed: u64,
    /// Were staged by an interrupted run, and are at the destination now.
    resumed: u64,
    /// Durable since an earlier run.
    replayed_before: u64,
    /// Not what the filters ask for.
    filtered: u64,
    /// Refused by the delivery stream, or larger than a record may be; by the destination, or for its format or a plugin.
    refused: u64,
    /// By a plugin on the way to the destination.
    dropped: u64,
    /// Failed in a plugin, which was to be passed by.
    unprocessed: u64,
    /// No error records.
    unreadable: u64,
    /// May have been put by an earlier run: put again, counted above, or left out.
    in_doubt: u64,
    in_doubt_skipped: u64,
    /// Of `replayed`, by error code.
    error_codes: BTreeMap<String, u64>,
    interrupted: bool,
}

/// What is known of replays into a delivery stream that keep their journal in the data directory.
pub(crate) fn history(disk: &dyn Disk, data_dir: &Path, stream: &str) -> Result<History, Failure> {
    Journal::peek(disk, &usual_journal(data_dir, stream), stream)
}

/// What a person types becomes no path.
fn usual_journal(data_dir: &Path, stream: &str) -> PathBuf {
    let digest = digest::digest(&digest::SHA256, stream.as_bytes());
    data_dir.join("replay").join(format!("{}.journal", hex::encode(&digest.as_ref()[..16])))
}

impl Replay {
    pub(crate) async fn execute(self) -> Result<(), Failure> {
        let config = self.config.load()?;
        let own = self.own(&config)?;
        let source = Source::new(self.source.as_deref(), (&self.stream, own.as_ref()), &config)?;
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new());
        let path = self.journal_path(&config)?;
        let found = source.list().await?;
        let journal = match self.dry_run {
            true => Err(Journal::peek(&*disk, &path, &self.stream)?),
            false => Ok(Journal::open(&*disk, &path, &self.stream)?),
        };
        let stop = stop_requested()?;
        let mut pass = Pass {
            way: self.way(&config, own.as_ref(), (disk, &path), &stop)?,
            filter: self.filter(),
            skip_in_doubt: self.in_doubt == InDoubt::Skip,
            tally: Tally { journal, summary: Summary::default() },
            stop,
        };
        let mut ended = self.go_on(&mut pass).await;
        let progress = progress(found.iter().map(|object| object.bytes).sum());
        for object in &found {
            if ended.is_err() || pass.stop.is_cancelled() {
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
        let mut summary = pass.tally.summary;
        summary.interrupted = pass.stop.is_cancelled();
        self.report(&summary, &source, own.as_ref());
        ended?;
        summary.verdict()
    }

    /// The delivery stream, from the configuration or, if the API made it, from the catalog of a data directory that is here.
    fn own(&self, config: &Config) -> Result<Option<DeliveryStream>, Failure> {
        let of_yaml = config.delivery_streams.iter().find(|known| known.name.as_str() == self.stream);
        if of_yaml.is_some() || !config.data_dir.join("STORE").is_file() {
            return Ok(of_yaml.cloned());
        }
        let looked = Looked::at(&config.data_dir)?;
        let stored = looked.streams.iter().find(|stored| stored.name.as_str() == self.stream);
        stored.map(|stored| chunk::definition(config, stored)).transpose()
    }

    fn way(
        &self,
        config: &Config,
        own: Option<&DeliveryStream>,
        (disk, journal): (Arc<dyn Disk>, &Path),
        stop: &CancellationToken,
    ) -> Result<Way, Failure> {
        if !self.to_destination {
            let client = self.endpoint.client(config, config.api)?;
            return Ok(Way::Stream(Box::new(Putting { client, stream: self.stream.clone() })));
        }
        let stream = own.ok_or_else(|| unknown(&self.stream))?;
        let patience = Duration::from_secs(self.patience);
        let manner = Manner { skip_plugins: self.skip_plugins, patience, stop: stop.clone() };
        Ok(Way::Destination(Box::new(Delivering::new(stream, disk, (journal, self.dry_run), manner)?)))
    }

    /// What an interrupted run has staged for the destination comes first: only it knows the bytes that may be there already.
    async fn go_on(&self, pass: &mut Pass) -> Result<(), Failure> {
        let Some(open) = pass.tally.history().open() else { return Ok(()) };
        match &mut pass.way {
            _ if self.dry_run => {
                tracing::warn!("{} records are staged for the destination by an interrupted replay", open.lines());
                Ok(())
            }
            Way::Destination(delivering) => delivering.go_on(&mut pass.tally).await,
            Way::Stream(_) => {
                let text = format!(
                    "an interrupted replay has staged {} records for the destination, and some may be there",
                    open.lines()
                );
                Err(Failure::new(Exit::Usage, text).hint("end it first: run it again with `--to-destination`"))
            }
        }
    }

    /// Only a daemon makes a data directory.
    fn journal_path(&self, config: &Config) -> Result<PathBuf, Failure> {
        let directory = &config.data_dir;
        match &self.journal {
            Some(path) => Ok(path.clone()),
            None if directory.is_dir() => Ok(usual_journal(directory, &self.stream)),
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

    fn report(&self, summary: &Summary, source: &Source, own: Option<&DeliveryStream>) {
        if self.json {
            say(serde_json::to_string(summary).expect("numbers and strings into memory"));
            return;
        }
        let stream = &self.stream;
        let done = match (own.filter(|_| self.to_destination), self.dry_run) {
            (None, true) => format!("would be put into `{stream}`"),
            (None, false) => format!("are durable in `{stream}`"),
            (Some(own), true) => format!("would go to {}", destination_identity(&own.destination)),
            (Some(own), false) => format!("are at {}", destination_identity(&own.destination)),
        };
        say(format_args!("{} records of {} objects below {source} {done}", summary.replayed, summary.objects));
        for (code, records) in &summary.error_codes {
            say(format_args!("  {records} of error code {code}"));
        }
        for (number, what) in [
            (summary.resumed, "staged by an interrupted replay, and at the destination now"),
            (summary.replayed_before, "replayed before"),
            (summary.filtered, "left out by the filters"),
            (summary.in_doubt, "may have been put by an interrupted replay, and were put again"),
            (summary.in_doubt_skipped, "may have been put by an interrupted replay, and were left out"),
            (summary.dropped, "dropped by a plugin"),
            (summary.refused, "refused"),
            (summary.unprocessed, "failed in a plugin, and need it: replay them without `--skip-plugins`"),
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
    /// One more, of this error code.
    fn replayed(&mut self, code: &str) {
        self.replayed += 1;
        *self.error_codes.entry(code.to_owned()).or_default() += 1;
    }

    fn verdict(&self) -> Result<(), Failure> {
        if self.interrupted {
            return Err(Failure::new(Exit::Runtime, "interrupted").hint("run it again: it goes on where it was"));
        }
        let left = self.refused + self.unreadable + self.unprocessed;
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

/// Cancelled by the first SIGINT or SIGTERM: a request to the API that is under way is finished, so that nothing is left in doubt.
fn stop_requested() -> Result<CancellationToken, Failure> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let asked = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        asked.cancel();
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
