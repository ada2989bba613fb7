//! What an operator decides about chunks that can never be delivered, while the daemon does not run.
//!
//! Invariant: a decision is in the journal before anybody is told of it, and every record of the chunk is still counted once.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hydrant_config::DeliveryStream;
use hydrant_disk::{Disk, DiskFile};
use hydrant_record::StreamId;
use hydrant_shardlog::{Clock as _, LogOptions, ShardLog, SystemClock};
use hydrant_sinks::{Sink, SinkError};
use serde::Serialize;

use crate::accounting::Counts;
use crate::history::{History, SentObject};
use crate::inline::Inline;
use crate::journal::{Journal, JournalError, ManifestAt, StagedChunk};
use crate::manifest::{Manifest, ManifestError, Route, StagedObject};
use crate::pipeline::Claim;
use crate::pipeline::StartError;
use crate::refuse::verdicts_path;
use crate::send::{delivery, destination_identity, store_identity};
use crate::stage::staged_path;

/// What is staged, with where its bytes are.
type StagedObjects = Vec<(Arc<dyn DiskFile>, StagedObject)>;

/// The open chunks of a delivery stream that is not running.
#[derive(Debug)]
pub struct Chunks {
    stream: DeliveryStream,
    disk: Arc<dyn Disk>,
    log: ShardLog,
    claim: Claim,
    journal: Journal,
    staged_dir: PathBuf,
    history: History,
}

/// Where the journal and the staged files of a delivery stream are; as in [`crate::PipelineParts`].
#[derive(Debug)]
pub struct ChunksParts {
    pub stream: DeliveryStream,
    pub stream_id: StreamId,
    pub dir: PathBuf,
    pub disk: Arc<dyn Disk>,
    pub log: ShardLog,
    pub claim: Claim,
    pub journal_options: LogOptions,
}

/// A chunk that is staged and not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OpenChunk {
    pub chunk: u64,
    /// LSNs of its first and last record.
    pub from: u64,
    pub to: u64,
    pub counts: Counts,
    pub destination: String,
    pub backup: Option<String>,
    /// Objects and requests that are staged, those for the backup included. None: an operator has decided, or there never was
    /// one, and the next start of the daemon settles it.
    pub objects: u64,
    pub bytes: u64,
}

impl OpenChunk {
    pub(crate) fn of<'a>(chunk: &StagedChunk, staged: impl Iterator<Item = &'a StagedObject>) -> OpenChunk {
        let (objects, bytes) = staged.fold((0, 0), |(objects, bytes), object| (objects + 1, bytes + object.length));
        OpenChunk {
            chunk: chunk.chunk,
            from: chunk.from,
            to: chunk.to,
            counts: chunk.counts,
            destination: chunk.destination.clone(),
            backup: chunk.backup.clone(),
            objects,
            bytes,
        }
    }
}

/// The places of a delivery stream, to which staged objects are offered once more before they go elsewhere.
#[derive(Debug)]
pub struct Places {
    pub destination: Arc<dyn Sink>,
    pub backup: Option<Arc<dyn Sink>>,
}

/// What a redirection did, in objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Redirected {
    pub at_their_own_place: u64,
    pub redirected: u64,
}

/// Nothing was decided. What a redirection has written elsewhere by then it would find there the next time.
#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    #[error("chunk {0} is not open, or it has nothing left to send")]
    NotOpen(u64),
    #[error(
        "chunk {0} has requests, which are no objects, and not all of them have ended: let the daemon run until their retry \
         duration is over, or discard the chunk"
    )]
    Requests(u64),
    #[error("cannot write object `{key}`")]
    Sink {
        key: String,
        #[source]
        source: SinkError,
    },
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl Chunks {
    pub fn open(parts: ChunksParts) -> Result<Chunks, StartError> {
        let path = parts.dir.join("journal");
        let io = |source| StartError::Io { path: path.clone(), source };
        hydrant_disk::create_dir_durable(&*parts.disk, &path).map_err(io)?;
        let journal = Journal::open(
            Arc::clone(&parts.disk),
            &path,
            parts.stream_id,
            (&parts.log, parts.claim),
            parts.journal_options,
        )?;
        let staged_dir = parts.dir.join("staged");
        let ChunksParts { stream, disk, log, claim, dir, .. } = parts;
        let (dir, name) = (dir.join("history"), stream.name.to_string());
        let history = History::new(Arc::clone(&disk), dir, stream.history, name);
        Ok(Chunks { stream, disk, log, claim, journal, staged_dir, history })
    }

    pub fn list(&self) -> Result<Vec<OpenChunk>, ChunkError> {
        let describe = |chunk: &StagedChunk| {
            let objects = self.objects(chunk)?;
            Ok(OpenChunk::of(chunk, objects.iter().map(|(_, object)| object)))
        };
        self.journal.snapshot().open_chunks().map(describe).collect()
    }

    /// Gives the chunk up: its records count as discarded. Durable on return.
    pub fn discard(&self, chunk: u64) -> Result<OpenChunk, ChunkError> {
        let undecided = self.undecided(chunk)?;
        let objects = self.objects(&undecided)?;
        let described = OpenChunk::of(&undecided, objects.iter().map(|(_, object)| object));
        self.journal.discarded(chunk)?;
        tracing::warn!(delivery_stream = %self.stream.name, chunk, from = described.from, to = described.to, "chunk discarded");
        Ok(described)
    }

    /// Writes the chunk's objects to `to`, but for those that their own place takes now or has already. Its records stay
    /// counted as they were. Durable on return.
    pub async fn redirect(
        &self,
        chunk: u64,
        places: &Places,
        (to, identity): (&dyn Sink, String),
    ) -> Result<Redirected, ChunkError> {
        let staged = self.undecided(chunk)?;
        let (mut done, mut told) = (Redirected::default(), Vec::new());
        for (file, object) in self.objects(&staged)? {
            if object.items.is_some() {
                if staged.verdicts.is_none() {
                    return Err(ChunkError::Requests(chunk));
                }
                told.push(SentObject::before(object));
                continue;
            }
            let delivery = delivery(file, &object, "")?;
            if let Some(own) = self.own_place(&staged, &object, places)
                && own.deliver(&delivery).await.is_ok()
            {
                done.at_their_own_place += 1;
                told.push(SentObject::before(object));
                continue;
            }
            to.deliver(&delivery).await.map_err(|source| ChunkError::Sink { key: object.key.clone(), source })?;
            done.redirected += 1;
            told.push(SentObject { redirected: true, ..SentObject::before(object) });
        }
        let mut decided = staged;
        decided.decide();
        decided.about.redirected = Some(identity.clone());
        self.history.note(decided, told, SystemClock.now());
        self.journal.redirected(chunk, identity.clone())?;
        tracing::warn!(delivery_stream = %self.stream.name, chunk, to = identity, "chunk redirected");
        Ok(done)
    }

    /// Closes the journal, and the log unless others read it.
    pub fn close(self) -> std::io::Result<()> {
        self.journal.close()?;
        match self.claim {
            Claim::Own => self.log.close(),
            Claim::Shared { .. } => Ok(()),
        }
    }

    fn undecided(&self, chunk: u64) -> Result<StagedChunk, ChunkError> {
        let state = self.journal.snapshot();
        let open = state.open_chunks().find(|open| open.chunk == chunk && open.manifest.is_some());
        open.cloned().ok_or(ChunkError::NotOpen(chunk))
    }

    /// `None` if the configuration names another place by now than the one that the object is named for.
    fn own_place<'a>(&self, chunk: &StagedChunk, object: &StagedObject, places: &'a Places) -> Option<&'a dyn Sink> {
        match object.to {
            Route::Destination => {
                let same = chunk.destination == destination_identity(&self.stream.destination);
                same.then_some(&*places.destination)
            }
            Route::Backup => {
                let configured = self.stream.backup.as_ref().map(|backup| store_identity(&backup.store));
                let same = configured.is_some() && configured == chunk.backup;
                places.backup.as_deref().filter(|_| same)
            }
        }
    }

    /// All that is staged for it, with where the bytes are.
    fn objects(&self, chunk: &StagedChunk) -> Result<StagedObjects, ChunkError> {
        let mut objects = Vec::new();
        if let Some(at) = &chunk.manifest {
            objects.extend(self.read(&staged_path(&self.staged_dir, chunk.chunk), at, chunk.inline.as_ref())?);
        }
        if let Some(verdicts) = &chunk.verdicts {
            let path = verdicts_path(&self.staged_dir, chunk.chunk);
            objects.extend(self.read(&path, &verdicts.manifest, verdicts.inline.as_ref())?);
        }
        Ok(objects)
    }

    fn read(&self, path: &Path, at: &ManifestAt, inline: Option<&Inline>) -> Result<StagedObjects, ChunkError> {
        let file: Arc<dyn DiskFile> = match inline {
            Some(inline) => Arc::new(inline.clone()),
            None => self.disk.open(path).map_err(ManifestError::Io)?,
        };
        let manifest = Manifest::read(&*file, at)?;
        Ok(manifest.objects.into_iter().map(|object| (Arc::clone(&file), object)).collect())
    }
}
