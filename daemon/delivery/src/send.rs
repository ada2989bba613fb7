//! Hop 8: staged chunks leave, several at a time, and are settled one after another in order.
//!
//! Invariant: the cursor moves only behind a DONE that is durable; then the staged file goes, then the log is trimmed
//! unless it retains what was delivered.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::stream::{FuturesOrdered, FuturesUnordered, StreamExt as _};
use hydrant_config::{Destination, ObjectStore, Place};
use hydrant_disk::{Disk, DiskFile};
use hydrant_record::{Epoch, Lsn};
use hydrant_shardlog::{Clock, ShardLog};
use hydrant_sinks::{Body, Delivery, ItemSet, Items};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

use crate::cpu::CpuPool;
use crate::history::{History, SentObject};
use crate::inline::Inline;
use crate::journal::{Journal, JournalError, ManifestAt, StagedChunk, State};
use crate::manifest::{Holds, Manifest, ManifestError, Route, StagedObject};
use crate::pipeline::Delivered;
use crate::plan::Stalled;
use crate::reconcile::Ledger;
use crate::refuse::{RefusedRequest, Refuser, verdicts_path};
use crate::retry::{Ended, Refused, Retrying, Undelivered};
use crate::stage::{StageError, staged_path};

/// Objects of one chunk that are under way at once, to each place.
const OBJECTS_AT_ONCE: usize = 8;
/// How long to wait when verdicts cannot be staged, on a full disk for example.
const STALL: Duration = Duration::from_secs(5);

/// A staged chunk on its way, with the slot it holds until it is done.
pub(crate) type Staged = (StagedChunk, OwnedSemaphorePermit);

/// A chunk of which everything has a receipt or a verdict, but that is not settled.
type EndedChunk = (StagedChunk, Sent, OwnedSemaphorePermit);

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
    #[error("cannot let go of what is delivered")]
    Io(#[from] std::io::Error),
}

/// What a destination is called in the journal: where the records are, not how they are reached.
#[must_use]
pub fn destination_identity(destination: &Destination) -> String {
    let kind = destination.kind();
    match destination {
        Destination::Objects(store) => store_identity(store),
        Destination::HttpEndpoint(endpoint) => format!("{kind}:{}", endpoint.url),
        Destination::OpenSearch(search) => format!("{kind}:{} {}", search.endpoint, search.index),
        Destination::Splunk(splunk) => format!("{kind}:{}", splunk.endpoint),
    }
}

/// The same of a store alone.
#[must_use]
pub fn store_identity(store: &ObjectStore) -> String {
    let kind = store.place.kind();
    match &store.place {
        Place::File { directory } => format!("{kind}:{}", directory.display()),
        Place::S3 { bucket, .. } => format!("{kind}:{bucket}"),
    }
}

/// One of the two places that a chunk goes to.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(crate) identity: String,
    pub(crate) sink: Arc<Retrying>,
}

/// Sends the chunks of one delivery stream.
pub(crate) struct Sender {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) cpu: CpuPool,
    pub(crate) log: ShardLog,
    pub(crate) journal: Arc<Journal>,
    pub(crate) staged_dir: PathBuf,
    pub(crate) destination: Way,
    pub(crate) backup: Option<Way>,
    pub(crate) refuser: Arc<Refuser>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) history: Arc<History>,
    /// Of requests.
    pub(crate) content_type: &'static str,
    pub(crate) delivered: Arc<Mutex<Delivered>>,
    pub(crate) stalled: Stalled,
    pub(crate) stop: CancellationToken,
    /// Records stay in the log after they were delivered.
    pub(crate) retained: bool,
}

/// What went out for one chunk.
#[derive(Debug, Default)]
struct Sent {
    objects: u64,
    bytes: u64,
    refused: Vec<RefusedRequest>,
    records: Records,
    /// The same objects and requests, for the history.
    told: Vec<SentObject>,
}

/// Records with a receipt or a verdict, by where they are. `None`: it is not known, for the chunk was staged by an earlier
/// version or settled by an operator.
#[derive(Clone, Copy, Debug)]
struct Records(Option<(u64, u64)>);

impl Default for Records {
    fn default() -> Records {
        Records(Some((0, 0)))
    }
}

impl Records {
    fn of(object: &StagedObject, refused: u64) -> Records {
        Records(object.holds.map(|holds| match holds {
            Holds::Records => (object.records - refused, 0),
            Holds::Errors => (0, object.records),
            Holds::Sources => (0, 0),
        }))
    }

    fn add(&mut self, other: Records) {
        self.0 = self.0.zip(other.0).map(|(one, other)| (one.0 + other.0, one.1 + other.1));
    }
}

impl Sent {
    fn add(&mut self, other: Sent) {
        self.objects += other.objects;
        self.bytes += other.bytes;
        self.refused.extend(other.refused);
        self.records.add(other.records);
        self.told.extend(other.told);
    }
}

impl Sender {
    /// Runs until the channel is closed and all is settled, or the daemon stops.
    pub(crate) async fn run(self, chunks: mpsc::Receiver<Staged>) -> Result<(), SendError> {
        self.trim(self.journal.with(State::cursor)).await?;
        // Each chunk holds a slot, so there is always room.
        let (to_settle, ended) = mpsc::channel(chunks.max_capacity());
        let settling = self.settle_all(ended);
        tokio::try_join!(self.send_chunks(chunks, to_settle), settling).map(|_| ())
    }

    /// Several at a time; they end in order.
    async fn send_chunks(
        &self,
        mut chunks: mpsc::Receiver<Staged>,
        to_settle: mpsc::Sender<EndedChunk>,
    ) -> Result<(), SendError> {
        let mut under_way = FuturesOrdered::new();
        let mut open = true;
        while open || !under_way.is_empty() {
            tokio::select! {
                biased;
                next = chunks.recv(), if open => match next {
                    Some((chunk, slot)) => under_way.push_back(self.send(chunk, slot)),
                    None => open = false,
                },
                Some(sent) = under_way.next() => match sent? {
                    // Nobody listens if settling has failed, which is told by itself.
                    Some(ended) => drop(to_settle.send(ended).await),
                    None => return Ok(()),
                },
            }
        }
        Ok(())
    }

    /// One after another, while others are still under way.
    async fn settle_all(&self, mut ended: mpsc::Receiver<EndedChunk>) -> Result<(), SendError> {
        while let Some((chunk, sent, slot)) = ended.recv().await {
            self.settle(&chunk, sent).await?;
            drop(slot);
        }
        Ok(())
    }

    /// `None` if the daemon stopped before everything had a receipt or a verdict.
    async fn send(&self, chunk: StagedChunk, slot: OwnedSemaphorePermit) -> Result<Option<EndedChunk>, SendError> {
        let Some(at) = chunk.manifest.clone() else {
            let sent = Sent { records: Records(None), ..Sent::default() };
            return Ok(Some((chunk, sent, slot)));
        };
        self.check_places(&chunk)?;
        let number = chunk.chunk;
        let path = staged_path(&self.staged_dir, number);
        let (file, manifest) = self.read_manifest(&path, at, chunk.inline.clone()).await?;
        let (requests, objects): (Vec<_>, Vec<_>) =
            manifest.objects.into_iter().partition(|object| object.items.is_some());
        let objects = self.send_all(Arc::clone(&file), objects, number);
        let requests = self.send_requests(chunk, file, requests, (manifest.epoch, manifest.deaggregated));
        let (Some(objects), Some((chunk, mut sent))) = tokio::try_join!(objects, requests)? else { return Ok(None) };
        sent.add(objects);
        Ok(Some((chunk, sent, slot)))
    }

    /// The requests of a chunk until all their items have verdicts, and then the error objects of what was refused.
    async fn send_requests(
        &self,
        chunk: StagedChunk,
        file: Arc<dyn DiskFile>,
        requests: Vec<StagedObject>,
        (epoch, deaggregated): (Option<u64>, bool),
    ) -> Result<Option<(StagedChunk, Sent)>, SendError> {
        let (mut chunk, mut sent) = (chunk, Sent::default());
        if let Some(verdicts) = &chunk.verdicts {
            let records = requests.iter().map(|request| request.records).sum::<u64>();
            sent.records = Records(Some((records - verdicts.refused - verdicts.expired, 0)));
            sent.told = requests.into_iter().map(SentObject::before).collect();
        } else {
            let Some(ended) = self.send_all(file, requests, chunk.chunk).await? else { return Ok(None) };
            sent = ended;
            let refused = std::mem::take(&mut sent.refused);
            if !refused.is_empty() {
                let epoch = epoch.map_or_else(|| self.log.epoch(), Epoch);
                let Some(judged) = self.stage_verdicts(chunk, (epoch, deaggregated), refused).await? else {
                    return Ok(None);
                };
                chunk = judged;
            }
        }
        let Some(verdicts) = chunk.verdicts.clone() else { return Ok(Some((chunk, sent))) };
        let path = verdicts_path(&self.staged_dir, chunk.chunk);
        let (file, manifest) = self.read_manifest(&path, verdicts.manifest, verdicts.inline).await?;
        let Some(errors) = self.send_all(file, manifest.objects, chunk.chunk).await? else { return Ok(None) };
        sent.add(errors);
        Ok(Some((chunk, sent)))
    }

    /// Tries until the verdicts are durable, for what was refused is known nowhere else. `None` if the daemon stopped.
    async fn stage_verdicts(
        &self,
        chunk: StagedChunk,
        made: (Epoch, bool),
        refused: Vec<RefusedRequest>,
    ) -> Result<Option<StagedChunk>, SendError> {
        let refused = Arc::new(refused);
        loop {
            let (refuser, refused, chunk) = (Arc::clone(&self.refuser), Arc::clone(&refused), chunk.clone());
            match self.cpu.block(move || refuser.stage(&chunk, made, &refused)).await {
                Ok(chunk) => {
                    self.stalled.recovered();
                    return Ok(Some(chunk));
                }
                Err(StageError::Journal(error)) => return Err(error.into()),
                Err(error) => self.stalled.note(&error),
            }
            if tokio::time::timeout(STALL, self.stop.cancelled()).await.is_ok() {
                return Ok(None);
            }
        }
    }

    /// `None` if the daemon stopped before everything had a receipt or a verdict.
    async fn send_all(
        &self,
        file: Arc<dyn DiskFile>,
        objects: Vec<StagedObject>,
        chunk: u64,
    ) -> Result<Option<Sent>, SendError> {
        let (to_destination, to_backup): (Vec<_>, Vec<_>) =
            objects.into_iter().partition(|object| object.to == Route::Destination);
        let to_destination = self.send_to(&self.destination, &file, to_destination, chunk);
        let backup = self.backup.as_ref().unwrap_or(&self.destination);
        let to_backup = self.send_to(backup, &file, to_backup, chunk);
        let (Some(mut sent), Some(backed_up)) = tokio::try_join!(to_destination, to_backup)? else { return Ok(None) };
        sent.add(backed_up);
        Ok(Some(sent))
    }

    async fn send_to(
        &self,
        way: &Way,
        file: &Arc<dyn DiskFile>,
        objects: Vec<StagedObject>,
        chunk: u64,
    ) -> Result<Option<Sent>, SendError> {
        let mut sent = Sent::default();
        let (mut objects, mut under_way) = (objects.into_iter(), FuturesUnordered::new());
        loop {
            while under_way.len() < OBJECTS_AT_ONCE
                && let Some(object) = objects.next()
            {
                under_way.push(self.send_object(way, Arc::clone(file), object, chunk));
            }
            match under_way.next().await {
                None => return Ok(Some(sent)),
                Some(Ok(Some(one))) => sent.add(one),
                Some(Ok(None)) => return Ok(None),
                Some(Err(error)) => return Err(error),
            }
        }
    }

    fn check_places(&self, chunk: &StagedChunk) -> Result<(), SendError> {
        let configured = self.backup.as_ref().map_or("no backup", |backup| &backup.identity);
        let staged = [(&chunk.destination, self.destination.identity.as_str())];
        let backed_up = chunk.backup.iter().map(|staged| (staged, configured));
        for (staged, configured) in staged.into_iter().chain(backed_up) {
            if staged != configured {
                let (staged, configured) = (staged.clone(), configured.to_owned());
                return Err(SendError::OtherDestination { chunk: chunk.chunk, staged, configured });
            }
        }
        Ok(())
    }

    async fn read_manifest(
        &self,
        path: &Path,
        at: ManifestAt,
        inline: Option<Inline>,
    ) -> Result<(Arc<dyn DiskFile>, Manifest), SendError> {
        let (disk, path) = (Arc::clone(&self.disk), path.to_owned());
        let read = move || -> Result<_, SendError> {
            let file = match inline {
                Some(inline) => Arc::new(inline),
                None => disk.open(&path).map_err(ManifestError::Io)?,
            };
            let manifest = Manifest::read(&*file, &at)?;
            Ok((file, manifest))
        };
        self.cpu.block(read).await
    }

    /// `None` if the daemon stopped.
    async fn send_object(
        &self,
        way: &Way,
        file: Arc<dyn DiskFile>,
        object: StagedObject,
        chunk: u64,
    ) -> Result<Option<Sent>, SendError> {
        let delivery = delivery(file, &object, self.content_type)?;
        match way.sink.deliver(delivery).await {
            Ok(Ended { refused, attempts, trouble }) => {
                let items: usize = refused.iter().map(|refused| refused.items.len()).sum();
                let (bytes, records) = (object.length, Records::of(&object, items as u64));
                let refused = refused_of(&object, refused).into_iter().collect();
                let told = vec![SentObject { object, attempts, trouble, redirected: false }];
                Ok(Some(Sent { objects: 1, bytes, refused, records, told }))
            }
            Err(Undelivered::Stopped) => Ok(None),
            Err(Undelivered::Staged(error)) => Err(SendError::StagedBytes { chunk, reason: error.to_string() }),
        }
    }

    async fn settle(&self, chunk: &StagedChunk, mut sent: Sent) -> Result<(), SendError> {
        let (journal, ledger, number) = (Arc::clone(&self.journal), Arc::clone(&self.ledger), chunk.chunk);
        let records = sent.records.0.unwrap_or((chunk.counts.delivered, chunk.counts.failed));
        let (history, told, now) = (Arc::clone(&self.history), std::mem::take(&mut sent.told), self.clock.now());
        let settled = chunk.clone();
        let done = move || {
            history.note(settled, told, now);
            ledger.settle(records, || journal.done(number)).and_then(|()| journal.compact())
        };
        self.cpu.block(done).await?;
        self.note(chunk, &sent);
        let (disk, files) = (Arc::clone(&self.disk), chunk.files(&self.staged_dir));
        self.cpu.block(move || files.iter().try_for_each(|path| disk.remove(path))).await?;
        self.trim(Lsn::new(chunk.to)).await
    }

    /// Lets go of what is settled; at the start, of what was settled when the process before ended.
    async fn trim(&self, settled: Option<Lsn>) -> Result<(), SendError> {
        let log = self.log.clone();
        match settled.filter(|_| !self.retained) {
            Some(settled) => Ok(self.cpu.block(move || log.trim(settled)).await?),
            None => Ok(()),
        }
    }

    fn note(&self, chunk: &StagedChunk, sent: &Sent) {
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
            discarded = counts.discarded,
            split_off = counts.split_off,
            "chunk done"
        );
    }
}

/// What a sink is given of a staged object or request.
pub(crate) fn delivery(
    file: Arc<dyn DiskFile>,
    object: &StagedObject,
    request_type: &'static str,
) -> Result<Delivery, ManifestError> {
    let damaged = |why: String| ManifestError::Damaged(why);
    let mut sha256 = [0; 32];
    hex::decode_to_slice(&object.sha256, &mut sha256)
        .map_err(|error| damaged(format!("digest `{}`: {error}", object.sha256)))?;
    let items = match &object.items {
        Some(units) => {
            let count = u32::try_from(units.len()).map_err(|error| damaged(error.to_string()))?;
            Some(Items { count, settled: ItemSet::default() })
        }
        None => None,
    };
    Ok(Delivery {
        key: object.key.clone(),
        body: Body { file, offset: object.offset, length: object.length, sha256, crc64: object.crc64 },
        content_type: if items.is_some() { request_type } else { "application/octet-stream" },
        content_encoding: object.content_encoding.clone(),
        metadata: vec![
            ("hydrant-range".to_owned(), format!("{}-{}", object.first, object.last)),
            ("hydrant-sha256".to_owned(), object.sha256.clone()),
        ],
        items,
    })
}

fn refused_of(object: &StagedObject, refused: Vec<Refused>) -> Option<RefusedRequest> {
    let units = object.items.as_ref().filter(|_| !refused.is_empty())?.clone();
    Some(RefusedRequest { units, refused })
}
