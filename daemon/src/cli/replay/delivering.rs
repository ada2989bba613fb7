//! Records straight to the destination of their delivery stream, beside the daemon or without one.
//!
//! Invariant: a batch is staged and in the journal before it leaves, and what is staged goes only once the journal says that
//! it arrived.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hydrant_config::DeliveryStream;
use hydrant_delivery::{FailedAgain, FailedRecord, ResendError, Resender, ResenderParts};
use hydrant_disk::{Disk, create_dir_durable};
use hydrant_plugins::{Chain, Host, HostOptions, Transform};
use hydrant_record::Timestamp;
use tokio_util::sync::CancellationToken;

use super::failed::Failed;
use super::journal::{Journal, ObjectId, Open};
use super::pass::{BatchMax, Tally};
use crate::exit::{Exit, Failure};

/// Of one batch, before it is encoded.
const BATCH_BYTES_MAX: u64 = 64 << 20;
const BATCH_RECORDS_MAX: usize = 10_000;
const AGAIN: &str = "run it again when this is mended: it goes on where it was";

pub(super) struct Delivering {
    resender: Resender,
    patience: Duration,
    pub(super) batch_max: BatchMax,
    /// What a plugin has failed cannot go.
    pub(super) passes_plugins_by: bool,
}

/// How records are delivered.
pub(super) struct Manner {
    pub(super) skip_plugins: bool,
    pub(super) patience: Duration,
    pub(super) stop: CancellationToken,
}

impl Delivering {
    /// `journal` is where the journal is; what is staged lies beside it. In a dry run nothing is made.
    pub(super) fn new(
        stream: &DeliveryStream,
        disk: Arc<dyn Disk>,
        (journal, dry_run): (&Path, bool),
        manner: Manner,
    ) -> Result<Delivering, Failure> {
        let dir = staged_dir(journal);
        let transform = if manner.skip_plugins { None } else { plugins(stream)? };
        let sink = hydrant_sinks::sink(&stream.destination, Arc::clone(&disk))
            .map_err(|error| Failure::of(Exit::Config, &error))?;
        if !dry_run {
            create_dir_durable(&*disk, &dir).map_err(|error| {
                Failure::new(Exit::Io, format!("cannot make `{}`: {error}", dir.display()))
                    .hint("name a journal where files can be made with --journal")
            })?;
        }
        let bytes = usize::try_from(stream.buffering.size.min(BATCH_BYTES_MAX)).unwrap_or(usize::MAX);
        let Manner { skip_plugins, patience, stop } = manner;
        let passes_plugins_by = skip_plugins && !stream.processing.plugins.is_empty();
        let resender = Resender::new(ResenderParts { stream: stream.clone(), dir, disk, transform, sink, stop });
        let batch_max = BatchMax { records: BATCH_RECORDS_MAX, bytes };
        Ok(Delivering { resender, patience, batch_max, passes_plugins_by })
    }

    /// Sends what an interrupted run has staged, if it has.
    pub(super) async fn go_on(&mut self, tally: &mut Tally) -> Result<(), Failure> {
        let Some(open) = tally.history().open().cloned() else { return Ok(()) };
        let Ok(journal) = &mut tally.journal else { return Ok(()) };
        let refused = self.send(journal, &open).await?;
        tally.summary.resumed += open.lines() - refused.len() as u64;
        tally.summary.refused += refused.len() as u64;
        Ok(())
    }

    /// Stage, journal, send, journal. What fails again stays where it is, in its error object.
    pub(super) async fn deliver(
        &mut self,
        tally: &mut Tally,
        id: &ObjectId,
        batch: Vec<(u64, Failed)>,
    ) -> Result<(), Failure> {
        let Ok(journal) = &mut tally.journal else { return Ok(()) };
        let mut codes: BTreeMap<u64, String> = BTreeMap::new();
        let records = batch.into_iter().map(|(line, failed)| {
            codes.insert(line, failed.code);
            let arrived_at = Timestamp::from_millis(failed.arrived_at);
            FailedRecord { line, arrived_at, data: failed.data, document_id: failed.document_id }
        });
        let records: Vec<FailedRecord> = records.collect();
        let staged = tokio::task::block_in_place(|| self.resender.stage((&id.object, &id.sha256), &records));
        let staged = staged.map_err(|error| failure(&error))?;
        let mut left = told(&id.object, &staged.failed);
        let going = codes.keys().copied().filter(|line| !left.contains(line)).collect::<Vec<_>>();
        if !going.is_empty() {
            let open = journal.staged(id, going, staged.batch)?;
            left.extend(self.send(journal, &open).await?);
        }
        tally.summary.refused += left.len() as u64;
        tally.summary.dropped += staged.dropped.len() as u64;
        let gone = |line: &u64| !left.contains(line) && !staged.dropped.contains(line);
        for (_, code) in codes.into_iter().filter(|(line, _)| gone(line)) {
            tally.summary.replayed(&code);
        }
        Ok(())
    }

    /// The lines that were refused.
    async fn send(&self, journal: &mut Journal, open: &Open) -> Result<BTreeSet<u64>, Failure> {
        let sent = self.resender.send(&open.batch, self.patience).await.map_err(|error| failure(&error))?;
        let refused = told(&open.id.object, &sent.refused);
        journal.delivered(open, refused.iter().copied())?;
        self.resender.clear().map_err(|error| Failure::of(Exit::Io, &error))?;
        Ok(refused)
    }
}

/// Beside the journal.
fn staged_dir(journal: &Path) -> PathBuf {
    let mut name = journal.file_name().unwrap_or_default().to_owned();
    name.push(".staged");
    journal.with_file_name(name)
}

fn plugins(stream: &DeliveryStream) -> Result<Option<Box<dyn Transform>>, Failure> {
    if stream.processing.plugins.is_empty() {
        return Ok(None);
    }
    let host = Host::new(HostOptions::default())?;
    let chain = Chain::load(&host, &stream.processing.plugins, stream.name.as_str())
        .map_err(|error| Failure::of(Exit::Config, &error))?;
    Ok(chain.map(|chain| Box::new(chain) as Box<dyn Transform>))
}

/// Says once of each code how many records failed again, and why the first did. Their lines.
fn told(object: &str, failed: &[FailedAgain]) -> BTreeSet<u64> {
    let mut codes: BTreeMap<&str, (usize, &FailedAgain)> = BTreeMap::new();
    for one in failed {
        codes.entry(&one.code).or_insert((0, one)).0 += one.lines.len();
    }
    for (code, (records, FailedAgain { lines, message, .. })) in codes {
        let line = lines.first().map(|line| line + 1);
        tracing::warn!(object, records, code, line, "records fail again, the first one so: {message}");
    }
    failed.iter().flat_map(|failed| failed.lines.iter().copied()).collect()
}

fn failure(error: &ResendError) -> Failure {
    match error {
        ResendError::Stopped => {
            Failure::new(Exit::Runtime, "interrupted").hint("run it again: it goes on where it was")
        }
        ResendError::OtherDestination { .. } => Failure::of(Exit::Config, error)
            .hint("put the old destination back and run it again: what is staged goes there first"),
        ResendError::Manifest(_) | ResendError::StagedBytes(_) => Failure::of(Exit::CorruptStore, error)
            .hint("the records are in their error objects still, and some may be at the destination: look at the disk"),
        ResendError::Stage(_) => Failure::of(Exit::Io, error).hint(AGAIN),
        ResendError::Transform(_) | ResendError::Unreachable { .. } => Failure::of(Exit::Runtime, error).hint(AGAIN),
    }
}
