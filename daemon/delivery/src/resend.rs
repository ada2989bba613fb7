//! Failed records on their way to the destination once more, beside their delivery stream and not through it.
//!
//! Invariant: what is sent is named after the error object that the records stand in and their lines there, and all of it is on
//! the medium before its first byte leaves. So a repeat, after a crash or from another machine, finds its own earlier work or
//! does it.

mod stage;

use std::collections::BTreeSet;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use hydrant_config::DeliveryStream;
use hydrant_disk::{Disk, DiskFile};
use hydrant_formats::{Encoder, RequestEncoder, encoder, request_encoder};
use hydrant_plugins::{Transform, TransformError};
use hydrant_record::Timestamp;
use hydrant_shardlog::{Clock, SystemClock};
use hydrant_sinks::Sink;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::group::Partitioner;
use crate::journal::ManifestAt;
use crate::manifest::{Manifest, ManifestError, StagedObject};
use crate::retry::{Ended, Retrying, Undelivered};
use crate::send::{delivery, destination_identity};
use crate::stage::StageError;

/// As many as of a chunk.
const OBJECTS_AT_ONCE: usize = 8;
/// How often is looked whether the destination still fails.
const LOOK: Duration = Duration::from_millis(200);

/// What a resender works with.
#[derive(Debug)]
pub struct ResenderParts {
    pub stream: DeliveryStream,
    /// For what is staged; must exist and be durable, and belongs to this resender.
    pub dir: PathBuf,
    pub disk: Arc<dyn Disk>,
    /// Where records as they were put have to pass plugins first.
    pub transform: Option<Box<dyn Transform>>,
    pub sink: Arc<dyn Sink>,
    /// Ends a `send`; what is staged stays.
    pub stop: CancellationToken,
}

/// A line of an error object.
#[derive(Clone, Debug)]
pub struct FailedRecord {
    /// From 0.
    pub line: u64,
    pub arrived_at: Timestamp,
    pub data: Bytes,
    /// Of the document that it was to be.
    pub document_id: Option<String>,
}

/// Records that failed once more. They are where they were: in their error object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedAgain {
    pub lines: BTreeSet<u64>,
    pub code: String,
    pub message: String,
}

/// A batch that is on the medium, to be kept by the caller until it was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedBatch {
    destination: String,
    /// `None`: there is nothing to send.
    manifest: Option<ManifestAt>,
}

/// A batch before it is sent. Every record is in it, dropped, or failed again.
#[derive(Debug)]
pub struct Batched {
    pub batch: StagedBatch,
    /// By a plugin.
    pub dropped: BTreeSet<u64>,
    pub failed: Vec<FailedAgain>,
}

/// What became of a batch that was sent: all that is not refused is at the destination.
#[derive(Debug, Default)]
pub struct Resent {
    pub objects: u64,
    pub bytes: u64,
    pub refused: Vec<FailedAgain>,
}

/// Nothing is lost by any of them: a batch that is staged is sent by the next attempt, as it is.
#[derive(Debug, thiserror::Error)]
pub enum ResendError {
    #[error(transparent)]
    Transform(#[from] TransformError),
    #[error("cannot stage records")]
    Stage(#[source] Box<dyn Error + Send + Sync>),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("the staged bytes cannot be sent: {0}")]
    StagedBytes(String),
    #[error("records are staged for `{staged}`, but the configuration says `{configured}` now")]
    OtherDestination { staged: String, configured: String },
    #[error("it was stopped")]
    Stopped,
    #[error("the destination fails: {problem}")]
    Unreachable { problem: String },
}

impl From<StageError> for ResendError {
    fn from(error: StageError) -> ResendError {
        ResendError::Stage(Box::new(error))
    }
}

impl From<std::io::Error> for ResendError {
    fn from(error: std::io::Error) -> ResendError {
        StageError::from(error).into()
    }
}

/// Stages and sends batches of one delivery stream, one after another.
#[derive(Debug)]
pub struct Resender {
    stream: DeliveryStream,
    identity: String,
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    transform: Option<Box<dyn Transform>>,
    partitioner: Partitioner,
    output: Output,
    sink: Retrying,
}

#[derive(Debug)]
enum Output {
    Objects(Box<dyn Encoder>),
    Requests(Box<dyn RequestEncoder>),
}

impl Resender {
    #[must_use]
    pub fn new(parts: ResenderParts) -> Resender {
        let ResenderParts { stream, dir, disk, transform, sink, stop } = parts;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let output = match request_encoder(&stream) {
            Some(requests) => Output::Requests(requests),
            None => Output::Objects(encoder(&stream.format, stream.processing.append_delimiter)),
        };
        // Without a retry duration: what has no verdict stays staged, and is not judged to have failed.
        let sink = Retrying::new(sink, stream.name.to_string(), Arc::clone(&clock), None, stop);
        let (identity, partitioner) = (destination_identity(&stream.destination), Partitioner::new(&stream));
        Resender { stream, identity, dir, disk, clock, transform, partitioner, output, sink }
    }

    /// Sends what is staged until all of it has a receipt or a verdict. `Unreachable` if the destination does nothing but fail
    /// for as long as `patience`.
    pub async fn send(&self, batch: &StagedBatch, patience: Duration) -> Result<Resent, ResendError> {
        let Some(at) = &batch.manifest else { return Ok(Resent::default()) };
        if batch.destination != self.identity {
            let (staged, configured) = (batch.destination.clone(), self.identity.clone());
            return Err(ResendError::OtherDestination { staged, configured });
        }
        let file = self.disk.open(&self.staged_path()).map_err(ManifestError::Io)?;
        let manifest = Manifest::read(&*file, at)?;
        tokio::select! {
            biased;
            sent = self.send_all(file, manifest.objects) => sent,
            problem = self.loses_patience(patience) => Err(ResendError::Unreachable { problem }),
        }
    }

    /// Removes what was staged for a batch that was sent, and noted to be.
    pub fn clear(&self) -> std::io::Result<()> {
        let path = self.staged_path();
        if self.disk.exists(&path)? { self.disk.remove(&path) } else { Ok(()) }
    }

    fn staged_path(&self) -> PathBuf {
        self.dir.join("batch.out")
    }

    async fn send_all(&self, file: Arc<dyn DiskFile>, objects: Vec<StagedObject>) -> Result<Resent, ResendError> {
        let sending = objects.into_iter().map(|object| self.send_one(Arc::clone(&file), object));
        let mut sending = stream::iter(sending).buffer_unordered(OBJECTS_AT_ONCE);
        let mut all = Resent::default();
        while let Some(one) = sending.next().await {
            let Resent { objects, bytes, refused } = one?;
            all.objects += objects;
            all.bytes += bytes;
            all.refused.extend(refused);
        }
        Ok(all)
    }

    async fn send_one(&self, file: Arc<dyn DiskFile>, object: StagedObject) -> Result<Resent, ResendError> {
        let content_type = match &self.output {
            Output::Objects(_) => "",
            Output::Requests(encoder) => encoder.content_type(),
        };
        let ended = self.sink.deliver(delivery(file, &object, content_type)?).await;
        let Ended { refused, .. } = ended.map_err(|undelivered| match undelivered {
            Undelivered::Stopped => ResendError::Stopped,
            Undelivered::Staged(error) => ResendError::StagedBytes(error.to_string()),
        })?;
        let lines: Vec<u64> = object.items.iter().flat_map(|units| units.iter().map(stage::line_of)).collect();
        let refused = refused.into_iter().map(|refused| FailedAgain {
            lines: refused.items.iter().filter_map(|item| lines.get(*item as usize).copied()).collect(),
            code: refused.code,
            message: refused.message,
        });
        Ok(Resent { objects: 1, bytes: object.length, refused: refused.collect() })
    }

    /// What is wrong with the destination, once it was nothing else for so long.
    async fn loses_patience(&self, patience: Duration) -> String {
        let mut failing: Option<Instant> = None;
        loop {
            match self.sink.problem() {
                None => failing = None,
                Some(problem) if failing.get_or_insert_with(Instant::now).elapsed() >= patience => return problem,
                Some(_) => {}
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
