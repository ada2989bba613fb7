//! `hydrant explain`: where a record went, or what an object holds.
//!
//! Invariant: it changes and locks nothing, so it works beside a daemon, on a copy and on a read-only file system; what is not
//! known is said to be so, and is exit code 1.

mod asked;
mod show;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hydrant_delivery::{
    ChunkFacts, Explained, LookError, ObjectFacts, OpenChunk, Placed, RecordState, Traces, TracesError,
};
use hydrant_disk::{Disk, RealDisk};
use hydrant_ingest::{Catalog, StoredStatus, StoredStream};
use hydrant_record::{Lsn, Record};
use hydrant_shardlog::{Dumped, Selection, dump};
use serde::Serialize;

use super::log::DataDir;
use super::log::places::last_state;
use super::replay::{self, Replayed};
use crate::cli::say;
use crate::engine::exit_of_log;
use crate::exit::{Exit, Failure, chain};
use asked::Asked;

#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    /// A RecordId as PutRecord answers it, a sequence number of a Kinesis stream, an LSN (with `--stream`), or the key of an
    /// object (its URL or path will do)
    #[arg(value_name = "RECORD|KEY")]
    what: String,
    /// Only this delivery stream, by name or id
    #[arg(long, value_name = "STREAM")]
    stream: Option<String>,
    #[command(flatten)]
    data: DataDir,
    /// For programs
    #[arg(long)]
    json: bool,
}

/// What one delivery stream did with a record.
#[derive(Debug, Serialize)]
struct RecordAnswer {
    delivery_stream: String,
    #[serde(flatten)]
    explained: Explained,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    replays: Vec<Replay>,
}

/// What `hydrant replay` has done with an error record of it.
#[derive(Debug, Serialize)]
struct Replay {
    error_object: String,
    /// From 1.
    line: u64,
    replayed: Replayed,
}

/// An object of one delivery stream.
#[derive(Debug, Serialize)]
struct ObjectAnswer {
    delivery_stream: String,
    chunk: ChunkFacts,
    object: ObjectFacts,
}

/// A data directory that may be in use.
pub(super) struct Looked {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    pub(super) streams: Vec<StoredStream>,
}

impl Explain {
    pub(crate) fn execute(self) -> Result<(), Failure> {
        let looked = Looked::at(&self.data.dir()?)?;
        let streams = looked.streams(self.stream.as_deref())?;
        match Asked::parse(&self.what)? {
            Asked::Key(key) => self.objects(&looked, &streams, &key),
            record => self.record(&looked, &streams, &record),
        }
    }

    fn objects(&self, looked: &Looked, streams: &[&StoredStream], key: &str) -> Result<(), Failure> {
        let mut found = Vec::new();
        for stream in streams {
            for (chunk, object) in looked.traces(stream)?.objects(key).map_err(|error| unreadable(stream, &error))? {
                found.push(ObjectAnswer { delivery_stream: stream.name.to_string(), chunk, object });
            }
        }
        if self.json {
            say(serde_json::to_string_pretty(&found)?);
        } else {
            found.iter().for_each(show::object);
        }
        if found.is_empty() {
            return Err(Failure::new(Exit::Runtime, format!("no object `{key}` is known")).hint(
                "the history of a delivery stream goes back as far as its `history.retention` and `history.size_max` say",
            ));
        }
        Ok(())
    }

    fn record(&self, looked: &Looked, streams: &[&StoredStream], asked: &Asked) -> Result<(), Failure> {
        let mut answers = Vec::new();
        for stream in asked.streams(streams)? {
            let explained = looked.explain(stream, asked)?;
            let replays = looked.replays(stream, &explained);
            answers.push(RecordAnswer { delivery_stream: stream.name.to_string(), explained, replays });
        }
        if self.json {
            say(serde_json::to_string_pretty(&answers)?);
        } else {
            answers.iter().for_each(show::record);
        }
        let unknown = answers.iter().find(|answer| !is_known(answer.explained.state));
        match unknown {
            None => Ok(()),
            Some(answer) => {
                let (name, lsn) = (&answer.delivery_stream, answer.explained.lsn);
                Err(Failure::new(Exit::Runtime, format!("where record {lsn} of `{name}` went is not known")))
            }
        }
    }
}

fn is_known(state: RecordState) -> bool {
    use RecordState::{Forgotten, NotStored, Replaced, Unclear};
    !matches!(state, Forgotten | NotStored | Replaced | Unclear)
}

impl Looked {
    pub(super) fn at(dir: &Path) -> Result<Looked, Failure> {
        if !dir.join("STORE").is_file() {
            let text = format!("`{}` is no data directory of hydrant: it has no file `STORE`", dir.display());
            return Err(
                Failure::new(Exit::Usage, text).hint("name it: `--data-dir DIR`, or `-c FILE` with its `data_dir`")
            );
        }
        let unreadable =
            |reason: String| Failure::new(Exit::CorruptStore, format!("the catalog cannot be read: {reason}"));
        let state = last_state(&dir.join("catalog")).map_err(unreadable)?;
        let mut streams = Catalog::streams_in(&state).map_err(|error| unreadable(chain(&error)))?;
        streams.retain(|stream| stream.status == StoredStatus::Active);
        Ok(Looked { dir: dir.to_owned(), disk: Arc::new(RealDisk::new()), streams })
    }

    pub(super) fn streams(&self, wanted: Option<&str>) -> Result<Vec<&StoredStream>, Failure> {
        let is_wanted = |stream: &&StoredStream| {
            wanted.is_none_or(|wanted| stream.name.as_str() == wanted || stream.id.to_string() == wanted)
        };
        let found: Vec<&StoredStream> = self.streams.iter().filter(is_wanted).collect();
        match wanted {
            Some(wanted) if found.is_empty() => {
                let names: Vec<_> = self.streams.iter().map(|stream| stream.name.as_str()).collect();
                Err(Failure::new(Exit::Usage, format!("there is no delivery stream `{wanted}`"))
                    .hint(format!("there are: {}", names.join(", "))))
            }
            _ => Ok(found),
        }
    }

    fn traces(&self, stream: &StoredStream) -> Result<Traces, Failure> {
        let dir = self.dir.join("delivery").join(stream.id.to_string());
        Traces::open(Arc::clone(&self.disk), &dir).map_err(|error| unreadable(stream, &error))
    }

    fn explain(&self, stream: &StoredStream, asked: &Asked) -> Result<Explained, Failure> {
        let traces = self.traces(stream)?;
        let lsn = asked.lsn();
        let there = self.stored(stream, lsn)?;
        if let Some(note) = asked.contradicts(traces.log(), there.as_ref()) {
            let state = RecordState::Replaced;
            return Ok(Explained { lsn: lsn.get(), state, chunk: None, places: Vec::new(), note: Some(note) });
        }
        let mut explained = traces.record(lsn, asked.epoch()).map_err(|error| unreadable(stream, &error))?;
        if explained.state == RecordState::Backlog && there.is_none() {
            // It may have been delivered and trimmed between the two looks.
            explained = traces.record(lsn, asked.epoch()).map_err(|error| unreadable(stream, &error))?;
            if explained.state == RecordState::Backlog {
                explained.state = RecordState::NotStored;
            }
        }
        Ok(explained)
    }

    fn replays(&self, stream: &StoredStream, explained: &Explained) -> Vec<Replay> {
        let mut errors = explained.places.iter().filter(|place| place.object.holds == "errors").peekable();
        if errors.peek().is_none() {
            return Vec::new();
        }
        let history = match replay::history(&*self.disk, &self.dir, stream.name.as_str()) {
            Ok(history) => history,
            Err(error) => {
                tracing::warn!("whether it was replayed is not known: {error}");
                return Vec::new();
            }
        };
        let replayed = |place: &Placed| {
            let (line, ObjectFacts { key, sha256, .. }) = (place.position?, &place.object);
            let name = key.rsplit('/').next().unwrap_or(key);
            let replayed = history.replayed(name, sha256, line - 1)?;
            Some(Replay { error_object: key.clone(), line, replayed })
        };
        errors.filter_map(replayed).collect()
    }

    /// What is staged for one delivery stream and not delivered.
    pub(super) fn open_chunks(&self, stream: &StoredStream) -> Result<Vec<OpenChunk>, Failure> {
        self.traces(stream)?.open_chunks().map_err(|error| unreadable(stream, &error))
    }

    /// The record, if the log has it still.
    pub(super) fn stored(&self, stream: &StoredStream, lsn: Lsn) -> Result<Option<Record>, Failure> {
        let log = stream.source.map_or(stream.id, |source| source.stream);
        let dir = self.dir.join("streams").join(log.to_string());
        let selection = Selection { from: Some(lsn), to: Some(lsn), ..Selection::default() };
        let mut found = None;
        let mut take = |met| {
            if let Dumped::Record(record) = met {
                found = Some(record);
            }
            ControlFlow::Continue(())
        };
        dump(&*self.disk, &dir, &selection, &mut take).map_err(|error| Failure::of(exit_of_log(&error), &error))?;
        Ok(found)
    }
}

fn unreadable(stream: &StoredStream, error: &TracesError) -> Failure {
    let exit = match error {
        TracesError::Journal(LookError::Open(error)) => exit_of_log(error),
        TracesError::Journal(LookError::Damaged(_)) | TracesError::Manifest(_) => Exit::CorruptStore,
        TracesError::Journal(LookError::Busy) | TracesError::Busy(_) => Exit::Runtime,
        TracesError::History(_) => Exit::Io,
    };
    Failure::new(exit, format!("delivery stream `{}`: {}", stream.name, chain(error)))
}
