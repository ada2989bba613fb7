//! Records back into their delivery stream, by the signed API as any producer's.

use bytes::Bytes;

use super::failed::Failed;
use super::journal::ObjectId;
use super::pass::{BatchMax, Tally};
use crate::client::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, Client, ClientError};
use crate::exit::{Exit, Failure};

pub(super) struct Putting {
    pub(super) client: Client,
    pub(super) stream: String,
}

impl Putting {
    pub(super) const BATCH_MAX: BatchMax = BatchMax { records: BATCH_RECORDS_MAX, bytes: BATCH_BYTES_MAX };

    /// Journal, request, journal. Of what failed, only what may have been stored stays in doubt.
    pub(super) async fn put(
        &mut self,
        tally: &mut Tally,
        id: &ObjectId,
        batch: Vec<(u64, Failed)>,
    ) -> Result<(), Failure> {
        let Ok(journal) = &mut tally.journal else { return Ok(()) };
        let lines = || batch.iter().map(|(line, _)| *line);
        journal.put(id, lines())?;
        let records: Vec<Bytes> = batch.iter().map(|(_, failed)| failed.data.clone()).collect();
        let mut taken = vec![false; batch.len()];
        let result = self.client.put_each(&self.stream, &records, &mut |index| taken[index] = true).await;
        let of = |is: bool| lines().zip(&taken).filter(move |(_, taken)| **taken == is).map(|(line, _)| line);
        journal.taken(id, of(true))?;
        if result.as_ref().is_err_and(|error| !is_doubtful(error)) {
            journal.refused(id, of(false))?;
        }
        for ((_, failed), _) in batch.iter().zip(&taken).filter(|(_, taken)| **taken) {
            tally.summary.replayed(&failed.code);
        }
        result.map_err(|error| {
            Failure::of(Exit::Runtime, &error).hint("run it again when this is mended: it goes on where it was")
        })
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
