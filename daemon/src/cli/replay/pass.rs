//! One pass over error objects: each line is put, or counted for what keeps it from being put.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::digest;
use bytes::Bytes;

use super::failed::{Failed, Lines};
use super::journal::{Before, History, Journal, ObjectId};
use super::{Filter, Summary};
use crate::client::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, Client, ClientError, RECORD_BYTES_MAX};
use crate::exit::{Exit, Failure};

pub(super) struct Pass {
    pub(super) client: Client,
    pub(super) stream: String,
    pub(super) filter: Filter,
    pub(super) skip_in_doubt: bool,
    /// `Err` in a dry run.
    pub(super) journal: Result<Journal, History>,
    pub(super) summary: Summary,
    pub(super) stop: Arc<AtomicBool>,
}

/// Records of one object that go out in one request.
#[derive(Default)]
struct Batch {
    lines: Vec<u64>,
    records: Vec<Bytes>,
    codes: Vec<String>,
    bytes: usize,
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
                    self.summary.objects_skipped += 1;
                    return Ok(());
                }
                self.summary.objects += 1;
            }
            match parsed {
                Ok((number, failed)) => {
                    if let Some(failed) = self.wanted(&id, number, failed) {
                        self.add(&id, &mut batch, (number, failed)).await?;
                    }
                }
                Err((number, why)) => {
                    self.summary.unreadable += 1;
                    if !std::mem::replace(&mut complained, true) {
                        tracing::warn!(
                            object = name,
                            line = number.map(|number| number + 1),
                            "a line is left out: {why}"
                        );
                    }
                }
            }
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
        }
        if self.stop.load(Ordering::Relaxed) { Ok(()) } else { self.put(&id, &mut batch).await }
    }

    /// The end of the pass: what the journal holds is durable.
    pub(super) fn finish(&self) -> Result<(), Failure> {
        self.journal.as_ref().map_or(Ok(()), Journal::sync)
    }

    /// The record if it is to be put; else it was counted.
    fn wanted(&mut self, id: &ObjectId, number: u64, failed: Failed) -> Option<Failed> {
        let history = self.journal.as_ref().map_or_else(|history| history, Journal::history);
        let before = history.of(id, number);
        let summary = &mut self.summary;
        if !self.filter.wants(&failed) {
            summary.filtered += 1;
            return None;
        }
        match before {
            Before::Taken => summary.replayed_before += 1,
            Before::InDoubt if self.skip_in_doubt => summary.in_doubt_skipped += 1,
            _ if failed.data.len() > RECORD_BYTES_MAX => summary.refused += 1,
            Before::InDoubt => {
                summary.in_doubt += 1;
                return Some(failed);
            }
            Before::New => return Some(failed),
        }
        None
    }

    async fn add(&mut self, id: &ObjectId, batch: &mut Batch, (number, failed): (u64, Failed)) -> Result<(), Failure> {
        let full = batch.lines.len() == BATCH_RECORDS_MAX || batch.bytes + failed.data.len() > BATCH_BYTES_MAX;
        if full {
            self.put(id, batch).await?;
        }
        batch.bytes += failed.data.len();
        batch.lines.push(number);
        batch.records.push(failed.data);
        batch.codes.push(failed.code);
        Ok(())
    }

    /// Journal, request, journal. Of what failed, only what may have been stored stays in doubt.
    async fn put(&mut self, id: &ObjectId, batch: &mut Batch) -> Result<(), Failure> {
        let Batch { lines, records, codes, .. } = std::mem::take(batch);
        if lines.is_empty() {
            return Ok(());
        }
        let mut taken = vec![true; lines.len()];
        let mut failure = None;
        if let Ok(journal) = &mut self.journal {
            journal.put(id, lines.iter().copied())?;
            taken.fill(false);
            let result = self.client.put_each(&self.stream, &records, &mut |index| taken[index] = true).await;
            let of = |is: bool| lines.iter().zip(&taken).filter(move |(_, taken)| **taken == is).map(|(line, _)| *line);
            journal.taken(id, of(true))?;
            failure = result.err();
            if failure.as_ref().is_some_and(|error| !is_doubtful(error)) {
                journal.refused(id, of(false))?;
            }
        }
        for (code, _) in codes.into_iter().zip(&taken).filter(|(_, taken)| **taken) {
            self.summary.replayed += 1;
            *self.summary.error_codes.entry(code).or_default() += 1;
        }
        match failure {
            None => Ok(()),
            Some(error) => {
                Err(Failure::of(Exit::Runtime, &error)
                    .hint("run it again when this is mended: it goes on where it was"))
            }
        }
    }
}

/// Whether records may have been stored although no answer says so.
fn is_doubtful(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable { source, .. } => !source.is_connect(),
        ClientError::Answer(_) | ClientError::GivenUp { .. } => true,
        ClientError::Refused { .. } | ClientError::Signing(_) => false,
    }
}
