//! Where a record went, and what an object holds, by the journal, the staged files and the history.
//!
//! Invariant: nothing is locked or changed, so it may be asked beside a running daemon; and what these three do not say is told
//! as not known, never guessed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hydrant_disk::{Disk, DiskFile};
use hydrant_record::{Lsn, Timestamp, Unit};
use serde::Serialize;

use crate::accounting::Counts;
use crate::chunks::OpenChunk;
use crate::history::{self, SentObject};
use crate::inline::Inline;
use crate::journal::{self, LookError, ManifestAt, StagedChunk};
use crate::manifest::{Holds, Manifest, ManifestError, Route, StagedObject};
use crate::refuse::verdicts_path;
use crate::stage::staged_path;

mod verdict;

use verdict::Verdict;

/// A chunk that is done while it is looked at leaves its staged file behind; then the journal is read once more.
const ATTEMPTS: usize = 5;

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// In an object, or taken by the destination.
    Delivered,
    /// In an error object.
    Failed,
    /// By a plugin.
    Dropped,
    /// Damaged in the log, and given up.
    Lost,
    Expired,
    /// Of a chunk that an operator gave up.
    Discarded,
    /// Of a chunk that an operator has written to another place.
    Redirected,
    /// What it was split into went different ways.
    Divided,
    /// Staged, and not settled yet.
    Staged,
    /// In the log, if it was stored at all; in no chunk yet.
    Backlog,
    /// The log has no record of this number; only who can read the log can tell.
    NotStored,
    /// Stored before the delivery stream began to read.
    BeforeOrigin,
    /// The log has another record under this number: it went back to an older state and on from there.
    Replaced,
    /// Settled; the history does not say how.
    Forgotten,
    /// One of several, which is not known.
    Unclear,
}

/// What is known of a record.
#[derive(Clone, Debug, Serialize)]
pub struct Explained {
    pub lsn: u64,
    pub state: State,
    pub chunk: Option<ChunkFacts>,
    /// Everywhere that it is, or may be if `state` is unclear.
    pub places: Vec<Placed>,
    /// What is to be said beside that, if anything.
    pub note: Option<String>,
}

/// The chunk that a record is in.
#[derive(Clone, Debug, Serialize)]
pub struct ChunkFacts {
    pub chunk: u64,
    pub from: u64,
    pub to: u64,
    pub counts: Counts,
    pub destination: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup: Option<String>,
    /// `None`: it is not done.
    pub done_ms: Option<u64>,
}

/// A record, or one that it was split into, in an object or a request.
#[derive(Clone, Debug, Serialize)]
pub struct Placed {
    /// What it was split into, from 0; `None` if that is not known.
    pub sub: Option<u32>,
    /// From 1, among the `records` of the object or the items of the request; `None` if it is not known.
    pub position: Option<u64>,
    /// Each record of the object is one line or one row of it.
    pub row_each: bool,
    #[serde(flatten)]
    pub object: ObjectFacts,
}

/// An object or a request.
#[derive(Clone, Debug, Serialize)]
pub struct ObjectFacts {
    /// Of an object its key, of a request its id.
    pub key: String,
    /// Where it is.
    pub place: String,
    /// `records`, `errors`, or `sources`: records as they were put, for a backup of all.
    pub holds: &'static str,
    pub is_request: bool,
    pub records: u64,
    pub bytes: u64,
    /// The first and the last record in it; others between them may be elsewhere.
    pub first: u64,
    pub last: u64,
    pub sha256: String,
    pub content_encoding: Option<String>,
    /// Until it arrived, since the last start of the daemon before that; `None` if it has not, or it is not known.
    pub attempts: Option<u32>,
    /// What the last attempt met that failed.
    pub last_error: Option<String>,
}

/// What the delivery stream has decided cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    #[error(transparent)]
    Journal(#[from] LookError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("cannot read the history of a delivery stream")]
    History(#[from] io::Error),
    #[error("chunk {0} changed all the time while it was read; try again")]
    Busy(u64),
}

/// What one delivery stream has left behind of the ways of its records.
#[derive(Debug)]
pub struct Traces {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    log: Option<String>,
}

/// A chunk with what is known of its objects.
struct Known {
    chunk: StagedChunk,
    objects: Vec<SentObject>,
    done_ms: Option<u64>,
    cut: bool,
}

impl Traces {
    /// `dir` as in [`crate::PipelineParts`].
    pub fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<Traces, TracesError> {
        let mut traces = Traces { disk, dir: dir.to_owned(), log: None };
        traces.log = traces.journal()?.map(|state| state.log().to_owned());
        Ok(traces)
    }

    /// The id of the log that it reads; `None` if it has not begun to.
    #[must_use]
    pub fn log(&self) -> Option<&str> {
        self.log.as_deref()
    }

    /// What became of a record; `epoch` is that of its id, to tell it from one that took its place.
    pub fn record(&self, lsn: Lsn, epoch: Option<u64>) -> Result<Explained, TracesError> {
        let plain =
            |state, note: Option<String>| Explained { lsn: lsn.get(), state, chunk: None, places: vec![], note };
        for _ in 0..ATTEMPTS {
            let Some(state) = self.journal()? else { return Ok(plain(State::Backlog, None)) };
            if lsn.get() <= state.origin() {
                let note = format!("it began behind record {}", state.origin());
                return Ok(plain(State::BeforeOrigin, Some(note)));
            }
            if Some(lsn) > state.staged_through() {
                return Ok(plain(State::Backlog, None));
            }
            let open = state.open_chunks().find(|chunk| (chunk.from..=chunk.to).contains(&lsn.get()));
            let known = match open {
                Some(open) => match self.open_chunk(open)? {
                    Some(known) => known.remembered_by(self.remembered(lsn)?.ok()),
                    None => continue,
                },
                None => match self.remembered(lsn)? {
                    Ok(known) => known,
                    Err(note) => return Ok(plain(State::Forgotten, Some(note))),
                },
            };
            return Ok(known.explain(lsn, epoch));
        }
        Err(TracesError::Busy(lsn.get()))
    }

    /// Objects and requests of this name, with their chunks. A name may be longer than the key: the end of it counts.
    pub fn objects(&self, name: &str) -> Result<Vec<(ChunkFacts, ObjectFacts)>, TracesError> {
        let mut found: Vec<(ChunkFacts, ObjectFacts)> = Vec::new();
        let mut take = |known: Known| {
            if known.is_without_objects() {
                return;
            }
            found.retain(|(chunk, _)| chunk.chunk != known.chunk.chunk);
            let named = known.objects.iter().filter(|sent| is_named(name, &sent.object.key));
            found.extend(named.map(|sent| (known.facts(), known.object(sent))));
        };
        history::read(&*self.disk, &self.dir.join("history"), &mut |settled| take(settled.into()))?;
        'read: for _ in 0..ATTEMPTS {
            let Some(state) = self.journal()? else { return Ok(found) };
            let mut open = Vec::new();
            for chunk in state.open_chunks() {
                match self.open_chunk(chunk)? {
                    Some(known) => open.push(known),
                    None => continue 'read,
                }
            }
            let mut take = |known: Known| {
                if known.is_without_objects() {
                    return;
                }
                found.retain(|(chunk, _)| chunk.chunk != known.chunk.chunk);
                let named = known.objects.iter().filter(|sent| is_named(name, &sent.object.key));
                found.extend(named.map(|sent| (known.facts(), known.object(sent))));
            };
            open.into_iter().for_each(&mut take);
            return Ok(found);
        }
        Ok(found)
    }

    /// What is staged and not done.
    pub fn open_chunks(&self) -> Result<Vec<OpenChunk>, TracesError> {
        let mut changing = 0;
        'read: for _ in 0..ATTEMPTS {
            let Some(state) = self.journal()? else { return Ok(Vec::new()) };
            let mut open = Vec::new();
            for chunk in state.open_chunks() {
                let Some(known) = self.open_chunk(chunk)? else {
                    changing = chunk.chunk;
                    continue 'read;
                };
                open.push(OpenChunk::of(chunk, known.objects.iter().map(|sent| &sent.object)));
            }
            return Ok(open);
        }
        Err(TracesError::Busy(changing))
    }

    fn journal(&self) -> Result<Option<journal::State>, TracesError> {
        let dir = self.dir.join("journal");
        if !self.disk.exists(&dir)? {
            return Ok(None);
        }
        Ok(journal::look(&*self.disk, &dir)?)
    }

    /// `None` if it is done meanwhile.
    fn open_chunk(&self, chunk: &StagedChunk) -> Result<Option<Known>, TracesError> {
        let staged = self.dir.join("staged");
        let mut objects = Vec::new();
        if let Some(at) = &chunk.manifest {
            let Some(more) = self.manifest(&staged_path(&staged, chunk.chunk), at, chunk.inline.as_ref())? else {
                return Ok(None);
            };
            objects = more;
        }
        if let Some(verdicts) = &chunk.verdicts {
            let path = verdicts_path(&staged, chunk.chunk);
            let Some(more) = self.manifest(&path, &verdicts.manifest, verdicts.inline.as_ref())? else {
                return Ok(None);
            };
            objects.extend(more);
        }
        let objects = objects.into_iter().map(SentObject::before).collect();
        Ok(Some(Known { chunk: chunk.clone(), objects, done_ms: None, cut: false }))
    }

    fn manifest(
        &self,
        path: &Path,
        at: &ManifestAt,
        inline: Option<&Inline>,
    ) -> Result<Option<Vec<StagedObject>>, TracesError> {
        let file: Arc<dyn DiskFile> = match inline {
            Some(inline) => Arc::new(inline.clone()),
            None => match self.disk.open(path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(ManifestError::Io(error).into()),
            },
        };
        Ok(Some(Manifest::read(&*file, at)?.objects))
    }

    /// Of a chunk that is done. `Err` says why it is not known.
    fn remembered(&self, lsn: Lsn) -> Result<Result<Known, String>, TracesError> {
        let (mut found, mut oldest) = (None, u64::MAX);
        history::read(&*self.disk, &self.dir.join("history"), &mut |settled| {
            oldest = oldest.min(settled.chunk.from);
            if (settled.chunk.from..=settled.chunk.to).contains(&lsn.get()) {
                found = Some(Known::from(settled).remembered_by(found.take()));
            }
        })?;
        Ok(found.ok_or_else(|| match oldest {
            u64::MAX => "the history is empty".to_owned(),
            oldest if lsn.get() < oldest => format!("the history begins with record {oldest}"),
            _ => "the history has a gap here, from a power failure or a full disk".to_owned(),
        }))
    }
}

impl From<history::Settled> for Known {
    fn from(settled: history::Settled) -> Known {
        let history::Settled { done_ms, chunk, objects, cut } = settled;
        Known { chunk, objects, done_ms: Some(done_ms), cut }
    }
}

impl Known {
    /// Its objects were told when an operator redirected it, and only then.
    fn is_without_objects(&self) -> bool {
        self.chunk.about.redirected.is_some() && self.objects.is_empty()
    }

    /// The same, with the objects that were told then.
    fn remembered_by(self, before: Option<Known>) -> Known {
        match before.filter(|before| self.is_without_objects() && before.chunk.chunk == self.chunk.chunk) {
            Some(before) => Known { objects: before.objects, cut: before.cut, ..self },
            None => self,
        }
    }

    fn explain(&self, lsn: Lsn, epoch: Option<u64>) -> Explained {
        let Verdict { state, found, note } = match (epoch, self.epoch_of(lsn)) {
            (Some(asked), Some(there)) if asked != there => Verdict::replaced(),
            _ => verdict::of(&self.chunk, &self.objects, lsn, self.cut),
        };
        let decided = self.done_ms.is_some() || self.chunk.about.redirected.is_some();
        let moving = matches!(state, State::Delivered | State::Failed | State::Divided) && !decided;
        let state = if moving { State::Staged } else { state };
        let placed = |(sent, place): (&SentObject, Option<(Unit, u64)>)| Placed {
            sub: place.map(|(unit, _)| unit.sub),
            position: place.map(|(_, at)| at + 1),
            row_each: sent.object.row_each,
            object: self.object(sent),
        };
        let places = found.into_iter().map(|(at, place)| placed((&self.objects[at], place))).collect();
        Explained { lsn: lsn.get(), state, chunk: Some(self.facts()), places, note }
    }

    fn epoch_of(&self, lsn: Lsn) -> Option<u64> {
        let epochs = self.chunk.about.epochs.iter();
        epochs.take_while(|(first, _)| *first <= lsn.get()).last().map(|(_, epoch)| *epoch)
    }

    fn facts(&self) -> ChunkFacts {
        let StagedChunk { chunk, from, to, counts, .. } = self.chunk;
        let (destination, backup) = (self.chunk.destination.clone(), self.chunk.backup.clone());
        ChunkFacts { chunk, from, to, counts, destination, backup, done_ms: self.done_ms }
    }

    fn object(&self, sent: &SentObject) -> ObjectFacts {
        let object = &sent.object;
        let place = match object.to {
            _ if sent.redirected => self.chunk.about.redirected.as_ref().unwrap_or(&self.chunk.destination),
            Route::Destination => &self.chunk.destination,
            Route::Backup => self.chunk.backup.as_ref().unwrap_or(&self.chunk.destination),
        };
        let holds = match object.holds {
            Some(Holds::Errors) => "errors",
            Some(Holds::Sources) => "sources",
            Some(Holds::Records) | None => "records",
        };
        ObjectFacts {
            key: object.key.clone(),
            place: place.clone(),
            holds,
            is_request: object.items.is_some(),
            records: object.records,
            bytes: object.length,
            first: object.first,
            last: object.last,
            sha256: object.sha256.clone(),
            content_encoding: object.content_encoding.clone(),
            attempts: Some(sent.attempts).filter(|attempts| *attempts > 0),
            last_error: sent.trouble.clone(),
        }
    }
}

impl ChunkFacts {
    #[must_use]
    pub fn done_at(&self) -> Option<Timestamp> {
        self.done_ms.map(Timestamp::from_millis)
    }
}

/// `s3://bucket/a/b`, `/lake/a/b` and `a/b` all name the key `a/b`.
fn is_named(name: &str, key: &str) -> bool {
    name.strip_suffix(key).is_some_and(|before| before.is_empty() || before.ends_with('/'))
}
