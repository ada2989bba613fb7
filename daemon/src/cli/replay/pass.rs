//! One pass over error objects: each line goes its way, or is counted for what keeps it from going.

use aws_lc_rs::digest;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::delivering::Delivering;
use super::failed::{Failed, Lines};
use super::journal::{Before, History, Journal, ObjectId};
use super::putting::Putting;
use super::{Filter, Summary};
use crate::client::RECORD_BYTES_MAX;
use crate::exit::Failure;

pub(super) struct Pass {
    pub(super) way: Way,
    pub(super) filter: Filter,
    pub(super) skip_in_doubt: bool,
    pub(super) tally: Tally,
    pub(super) stop: CancellationToken,
}

/// Where records go.
pub(super) enum Way {
    Stream(Box<Putting>),
    Destination(Box<Delivering>),
}

/// What is remembered and what is told of all records.
pub(super) struct Tally {
    /// `Err` in a dry run.
    pub(super) journal: Result<Journal, History>,
    pub(super) summary: Summary,
}

/// Records of one object that go together, with their lines.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) records: Vec<(u64, Failed)>,
    bytes: usize,
}

/// What a batch holds at most, but for one record that is larger alone.
#[derive(Clone, Copy)]
pub(super) struct BatchMax {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

impl Pass {
    /// Goes over one object. An object whose first line is no error record is none of ours.
    pub(super) async fn object(&mut self, name: &str, bytes: Bytes) -> Result<(), Failure> {
        let id = ObjectId {
            object: name.rsplit('/').next().unwrap_or(name).to_owned(),
            sha256: hex::encode(digest::digest(&digest::SHA256, &bytes)),
        };
        let (mut batch, mut first, mut complained) = (Batch::default(), true, false);
        for line in Lines::of(bytes) {
            let parsed = line.map_err(|error| (None, error.to_string())).and_then(|(number, line)| {
                Failed::parse(&line).map(|failed| (number, failed)).map_err(|why| (Some(number), why))
            });
            if std::mem::take(&mut first) {
                if parsed.is_err() {
                    self.tally.summary.objects_skipped += 1;
                    return Ok(());
                }
                self.tally.summary.objects += 1;
            }
            match parsed {
                Ok((number, failed)) => {
                    if let Some(failed) = self.wanted(&id, number, failed) {
                        self.add(&id, &mut batch, (number, failed)).await?;
                    }
                }
                Err((number, why)) => {
                    self.tally.summary.unreadable += 1;
                    if !std::mem::replace(&mut complained, true) {
                        tracing::warn!(
                            object = name,
                            line = number.map(|number| number + 1),
                            "a line is left out: {why}"
                        );
                    }
                }
            }
            if self.stop.is_cancelled() {
                return Ok(());
            }
        }
        self.go(&id, &mut batch).await
    }

    /// The end of the pass: what the journal holds is durable.
    pub(super) fn finish(&self) -> Result<(), Failure> {
        self.tally.journal.as_ref().map_or(Ok(()), Journal::sync)
    }

    /// The record if it is to go; else it was counted.
    fn wanted(&mut self, id: &ObjectId, number: u64, failed: Failed) -> Option<Failed> {
        let before = self.tally.history().of(id, number);
        let summary = &mut self.tally.summary;
        if !self.filter.wants(&failed) {
            summary.filtered += 1;
            return None;
        }
        match before {
            Before::Taken => summary.replayed_before += 1,
            Before::InDoubt if self.skip_in_doubt => summary.in_doubt_skipped += 1,
            _ if self.way.is_too_large(&failed) => summary.refused += 1,
            _ if self.way.needs_plugin(&failed) => summary.unprocessed += 1,
            Before::InDoubt => {
                summary.in_doubt += 1;
                return Some(failed);
            }
            Before::New => return Some(failed),
        }
        None
    }

    async fn add(&mut self, id: &ObjectId, batch: &mut Batch, (number, failed): (u64, Failed)) -> Result<(), Failure> {
        let (max, length) = (self.way.batch_max(), failed.data.len());
        let full = batch.records.len() == max.records || batch.bytes + length > max.bytes;
        if full && !batch.records.is_empty() {
            self.go(id, batch).await?;
        }
        batch.bytes += length;
        batch.records.push((number, failed));
        Ok(())
    }

    async fn go(&mut self, id: &ObjectId, batch: &mut Batch) -> Result<(), Failure> {
        let records = std::mem::take(batch).records;
        match &mut self.way {
            _ if records.is_empty() => Ok(()),
            _ if self.tally.journal.is_err() => {
                records.iter().for_each(|(_, failed)| self.tally.summary.replayed(&failed.code));
                Ok(())
            }
            Way::Stream(putting) => putting.put(&mut self.tally, id, records).await,
            Way::Destination(delivering) => delivering.deliver(&mut self.tally, id, records).await,
        }
    }
}

impl Way {
    fn is_too_large(&self, failed: &Failed) -> bool {
        matches!(self, Way::Stream(_)) && failed.data.len() > RECORD_BYTES_MAX
    }

    fn needs_plugin(&self, failed: &Failed) -> bool {
        matches!(self, Way::Destination(delivering) if delivering.passes_plugins_by && failed.is_of_a_plugin())
    }

    fn batch_max(&self) -> BatchMax {
        match self {
            Way::Stream(_) => Putting::BATCH_MAX,
            Way::Destination(delivering) => delivering.batch_max,
        }
    }
}

impl Tally {
    pub(super) fn history(&self) -> &History {
        self.journal.as_ref().map_or_else(|history| history, Journal::history)
    }
}
