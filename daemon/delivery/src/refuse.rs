//! What a destination refused: its records become error lines in the backup.
//!
//! Invariant: before the first byte of an error object leaves, the verdicts and that object are on the medium. So a restart
//! neither asks the destination again nor changes what the backup gets.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use hydrant_config::DeliveryStreamSpec;
use hydrant_disk::Disk;
use hydrant_record::{Epoch, Lsn, StreamId, Unit};
use hydrant_shardlog::{Clock, ShardLog};

use crate::accounting::Counts;
use crate::build::Build;
use crate::error_output::ErrorOutput;
use crate::group::{ErrorType, Failure};
use crate::journal::{Journal, StagedChunk, Verdicts};
use crate::name::ChunkId;
use crate::originals::Rejects;
use crate::packed::Packed;
use crate::retry::Refused;
use crate::split::Splitter;
use crate::spool::Spool;
use crate::stage::StageError;
use crate::units::Units;

/// What was refused of one request.
#[derive(Debug)]
pub(crate) struct RefusedRequest {
    /// Of all its items.
    pub(crate) units: Units,
    pub(crate) refused: Vec<Refused>,
}

/// Stages the error lines of refused records, one chunk at a time.
pub(crate) struct Refuser {
    pub(crate) stream: Arc<DeliveryStreamSpec>,
    pub(crate) stream_id: StreamId,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) log: ShardLog,
    pub(crate) journal: Arc<Journal>,
    pub(crate) staged_dir: PathBuf,
    pub(crate) spool_path: PathBuf,
    pub(crate) turn: Mutex<()>,
}

/// Where the error objects of a chunk's refused records are staged.
pub(crate) fn verdicts_path(dir: &Path, chunk: u64) -> PathBuf {
    dir.join(format!("{chunk:020}.verdicts"))
}

impl Refuser {
    /// `deaggregated` as in the manifest of the requests. Durable on return, and the chunk as it is now. Blocks on CPU and disk. Unless the journal failed, it can be called again.
    pub(crate) fn stage(
        &self,
        chunk: &StagedChunk,
        (epoch, deaggregated): (Epoch, bool),
        requests: &[RefusedRequest],
    ) -> Result<StagedChunk, StageError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut spool = Spool::new(Arc::clone(&self.disk), self.spool_path.clone());
        let path = verdicts_path(&self.staged_dir, chunk.chunk);
        let out = Packed::new(Arc::clone(&self.disk), path, self.journal.inline_room());
        let id = ChunkId { delivery_stream: self.stream_id, epoch, chunk: chunk.chunk };
        let mut build = Build::new(id, out, Counts::default());
        let identity = build.identity(self.log.id(), 0, self.clock.now());
        let let_go = Lsn::new(chunk.from).is_some_and(|from| self.journal.with(|state| state.has_let_go(from)));
        let rejects = Rejects::expirable(self.stream.log.expire_undelivered || let_go);
        let rejects = rejects.split_by(Splitter::of_aggregates(deaggregated)).of_requests(&self.stream, identity);
        let (refused, expired) = self.lines(rejects, requests, &mut spool)?;
        let written = ErrorOutput::new(Arc::clone(&self.stream)).push(&mut build, &spool)?;
        assert_eq!(written, refused, "every refused record has exactly one error line");
        let manifest = build.manifest(chunk.from, chunk.to)?;
        let inline = build.out.seal()?;
        Ok(self.journal.verdicts(chunk.chunk, Verdicts { refused, expired, manifest, inline })?)
    }

    /// The error lines of all that was refused, from the records as they are in the log; and how many it let go of meanwhile.
    fn lines(
        &self,
        mut rejects: Rejects,
        requests: &[RefusedRequest],
        spool: &mut Spool,
    ) -> Result<(u64, u64), StageError> {
        let kind = ErrorType::of_destination(&self.stream.destination);
        let mut count = 0;
        for request in requests {
            let units: Vec<Unit> = request.units.iter().collect();
            for refused in &request.refused {
                let failure = rejects.hold(Failure::of_request(kind, refused));
                for &item in &refused.items {
                    rejects.add(units[item as usize], &failure);
                }
                count += refused.items.len() as u64;
            }
            if rejects.is_large() {
                rejects.settle(&self.log, &*self.clock, spool)?;
            }
        }
        rejects.settle(&self.log, &*self.clock, spool)?;
        Ok((count - rejects.expired(), rejects.expired()))
    }
}
