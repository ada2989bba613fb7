//! Hop 8: staged chunks leave, several at a time, and are settled one after another in order.
//!
//! Invariant: the cursor moves only behind a DONE that is durable; then the staged file goes, then the log is trimmed
//! unless it retains what was delivered.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use futures::stream::{FuturesOrdered, FuturesUnordered, StreamExt as _};
use hydrant_config::{Destination, Place};
use hydrant_disk::{Disk, DiskFile};
use hydrant_record::Lsn;
use hydrant_shardlog::{Clock, ShardLog};
use hydrant_sinks::{Body, Delivery};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::spawn_blocking;

use crate::journal::{Journal, JournalError, StagedChunk};
use crate::manifest::{Manifest, ManifestError, StagedObject};
use crate::pipeline::Delivered;
use crate::retry::{Retrying, Undelivered};
use crate::stage::staged_path;

/// Objects of one chunk that are under way at once.
const OBJECTS_AT_ONCE: usize = 8;

/// A staged chunk on its way, with the slot it holds until it is done.
pub(crate) type Staged = (StagedChunk, OwnedSemaphorePermit);

/// Why sending ended.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("the staged bytes of chunk {chunk} cannot be sent: {reason}")]
    StagedBytes { chunk: u64, reason: String },
    #[error(
        "chunk {chunk} was staged for `{staged}`, but the configuration now says `{configured}`: \
         put the old destination back until it is delivered"
    )]
    OtherDestination { chunk: u64, staged: String, configured: String },
    #[error("cannot remove a staged file that is done")]
    Io(#[from] std::io::Error),
}

/// What a destination is called in the journal: where the records are, not how they are reached.
pub(crate) fn destination_identity(destination: &Destination) -> String {
    let kind = destination.kind();
    match destination {
        Destination::Objects(store) => match &store.place {
            Place::File { directory } => format!("{kind}:{}", directory.display()),
            Place::S3 { bucket, .. } => format!("{kind}:{bucket}"),
        },
        Destination::HttpEndpoint(endpoint) => format!("{kind}:{}", endpoint.url),
        Destination::OpenSearch(search) => format!("{kind}:{} {}", search.endpoint, search.index),
        Destination::Splunk(splunk) => format!("{kind}:{}", splunk.endpoint),
    }
}

/// Sends the chunks of one delivery stream.
pub(crate) struct Sender {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) log: ShardLog,
    pub(crate) journal: Arc<Journal>,
    pub(crate) staged_dir: PathBuf,
    pub(crate) destination: String,
    pub(crate) sink: Arc<Retrying>,
    pub(crate) delivered: Arc<Mutex<Delivered>>,
    /// Records stay in the log after they were delivered.
    pub(crate) retained: bool,
}

/// What went out for one chunk.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    objects: u64,
    bytes: u64,
}

impl Sender {
    /// Runs until the channel is closed and all is settled, or the daemon stops.
    pub(crate) async fn run(self, mut chunks: mpsc::Receiver<Staged>) -> Result<(), SendError> {
        let mut under_way = FuturesOrdered::new();
        let mut open = true;
        while open || !under_way.is_empty() {
            tokio::select! {
                next = chunks.recv(), if open => match next {
                    Some((chunk, slot)) => under_way.push_back(self.send(chunk, slot)),
                    None => open = false,
                },
                Some(sent) = under_way.next() => match sent? {
                    Some((chunk, sent, slot)) => {
                        self.settle(&chunk, sent).await?;
                        drop(slot);
                    }
                    None => return Ok(()),
                },
            }
        }
        Ok(())
    }

    /// `None` if the daemon stopped before everything had a receipt.
    async fn send(
        &self,
        chunk: StagedChunk,
        slot: OwnedSemaphorePermit,
    ) -> Result<Option<(StagedChunk, Sent, OwnedSemaphorePermit)>, SendError> {
        if chunk.manifest.is_none() {
            return Ok(Some((chunk, Sent::default(), slot)));
        }
        if chunk.destination != self.destination {
            let (staged, configured) = (chunk.destination, self.destination.clone());
            return Err(SendError::OtherDestination { chunk: chunk.chunk, staged, configured });
        }
        let (file, manifest) = self.read_manifest(&chunk).await?;
        let mut sent = Sent::default();
        let (mut objects, mut under_way) = (manifest.objects.into_iter(), FuturesUnordered::new());
        loop {
            while under_way.len() < OBJECTS_AT_ONCE
                && let Some(object) = objects.next()
            {
                under_way.push(self.send_object(Arc::clone(&file), object, chunk.chunk));
            }
            match under_way.next().await {
                None => return Ok(Some((chunk, sent, slot))),
                Some(Ok(Some(bytes))) => {
                    sent.objects += 1;
                    sent.bytes += bytes;
                }
                Some(Ok(None)) => return Ok(None),
                Some(Err(error)) => return Err(error),
            }
        }
    }

    async fn read_manifest(&self, chunk: &StagedChunk) -> Result<(Arc<dyn DiskFile>, Manifest), SendError> {
        let (disk, path) = (Arc::clone(&self.disk), staged_path(&self.staged_dir, chunk.chunk));
        let (at, inline) = (chunk.manifest.clone().expect("its chunk has objects"), chunk.inline.clone());
        let read = spawn_blocking(move || -> Result<_, SendError> {
            let file = match inline {
                Some(inline) => Arc::new(inline),
                None => disk.open(&path).map_err(ManifestError::Io)?,
            };
            let manifest = Manifest::read(&*file, &at)?;
            Ok((file, manifest))
        });
        read.await.expect("reading a manifest does not panic")
    }

    /// Bytes of the object, `None` if the daemon stopped.
    async fn send_object(
        &self,
        file: Arc<dyn DiskFile>,
        object: StagedObject,
        chunk: u64,
    ) -> Result<Option<u64>, SendError> {
        let mut sha256 = [0; 32];
        hex::decode_to_slice(&object.sha256, &mut sha256)
            .map_err(|e| ManifestError::Damaged(format!("digest `{}`: {e}", object.sha256)))?;
        let delivery = Delivery {
            key: object.key,
            body: Body { file, offset: object.offset, length: object.length, sha256 },
            content_type: "application/octet-stream",
            content_encoding: object.content_encoding,
            metadata: vec![
                ("hydrant-range".to_owned(), format!("{}-{}", object.first, object.last)),
                ("hydrant-sha256".to_owned(), object.sha256),
            ],
            items: None,
        };
        match self.sink.deliver(&delivery).await {
            Ok(_) => Ok(Some(object.length)),
            Err(Undelivered::Stopped) => Ok(None),
            Err(Undelivered::Staged(error)) => Err(SendError::StagedBytes { chunk, reason: error.to_string() }),
        }
    }

    async fn settle(&self, chunk: &StagedChunk, sent: Sent) -> Result<(), SendError> {
        let (journal, number) = (Arc::clone(&self.journal), chunk.chunk);
        spawn_blocking(move || journal.done(number)).await.expect("the journal does not panic")?;
        self.note(chunk, sent);
        let (disk, log, dir) = (Arc::clone(&self.disk), self.log.clone(), self.staged_dir.clone());
        let has_file = chunk.has_file();
        let unneeded = Lsn::new(chunk.to).filter(|_| !self.retained);
        let removed = spawn_blocking(move || -> std::io::Result<()> {
            if has_file {
                disk.remove(&staged_path(&dir, number))?;
            }
            unneeded.map_or(Ok(()), |unneeded| log.trim(unneeded))
        });
        Ok(removed.await.expect("removing a staged file does not panic")?)
    }

    fn note(&self, chunk: &StagedChunk, sent: Sent) {
        let now = self.clock.now();
        {
            let mut delivered = self.delivered.lock().expect("no thread panics while it notes a delivery");
            delivered.objects += sent.objects;
            delivered.bytes += sent.bytes;
            delivered.last = Some(now);
        }
        let counts = chunk.counts;
        tracing::debug!(
            chunk = chunk.chunk,
            from = chunk.from,
            to = chunk.to,
            objects = sent.objects,
            delivered = counts.delivered,
            failed = counts.failed,
            dropped = counts.dropped,
            lost = counts.lost,
            expired = counts.expired,
            "chunk done"
        );
    }
}
