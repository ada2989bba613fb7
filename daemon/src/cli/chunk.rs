//! `hydrant chunk`: what an operator decides about a chunk that can never be delivered.
//!
//! Invariant: what decides works on the data directory of a daemon that is stopped, and holds its lock; what it decides is in
//! the journal when it says so, and the next start of the daemon goes on from there. What only looks locks nothing.

use std::path::PathBuf;
use std::sync::Arc;

use comfy_table::{CellAlignment, Table, presets};
use hydrant_config::{Config, DeliveryStream, ObjectStore, Place, S3Options};
use hydrant_delivery::{ChunkError, Chunks, OpenChunk, Places};
use hydrant_ingest::{Mappings, StoredOrigin, StoredStatus, StoredStream, delivery_stream_from_request};
use hydrant_record::{Lsn, Timestamp};
use hydrant_shardlog::ShardLog;
use hydrant_sinks::SinkError;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::cli::explain::Looked;
use crate::cli::log::{DataDir, rfc3339};
use crate::cli::{ConfigFile, say};
use crate::engine::Engine;
use crate::exit::{Exit, Failure};
use crate::run::open_store;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Chunk {
    /// Show the chunks that are staged and not delivered, beside a daemon or without one
    List(List),
    /// Write the objects of a chunk to another place, the daemon being stopped, under their names; those that their own place takes or has stay there
    Redirect(Redirect),
    /// Give up the records of a chunk, the daemon being stopped; they are counted as discarded
    Discard(Discard),
}

#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// Only those of this delivery stream
    #[arg(value_name = "STREAM")]
    stream: Option<String>,
    #[command(flatten)]
    data: DataDir,
    /// For programs
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Discard {
    /// The delivery stream
    stream: String,
    /// The number of the chunk, as `hydrant chunk list` shows it
    chunk: u64,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Redirect {
    /// The delivery stream
    stream: String,
    /// The number of the chunk, as `hydrant chunk list` shows it
    chunk: u64,
    #[command(flatten)]
    to: To,
    #[command(flatten)]
    config: ConfigFile,
}

/// Where redirected objects go.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct To {
    /// A directory of this machine
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// A bucket, reached as the section `s3` of the configuration says
    #[arg(long, value_name = "BUCKET")]
    bucket: Option<String>,
}

impl Chunk {
    pub(crate) async fn execute(self) -> Result<(), Failure> {
        match self {
            Chunk::List(command) => command.execute(),
            Chunk::Redirect(command) => command.execute().await,
            Chunk::Discard(command) => command.execute(),
        }
    }
}

/// A line of the list.
#[derive(Serialize)]
struct Row {
    delivery_stream: String,
    chunk: OpenChunk,
    /// When its first record arrived, if that can still be read.
    oldest_ms: Option<u64>,
}

impl List {
    /// Beside a daemon, or without one.
    fn execute(self) -> Result<(), Failure> {
        let looked = Looked::at(&self.data.dir()?)?;
        let mut rows = Vec::new();
        for stored in looked.streams(self.stream.as_deref())? {
            for chunk in looked.open_chunks(stored)? {
                let first = Lsn::new(chunk.from).map(|first| looked.stored(stored, first)).transpose()?.flatten();
                let oldest_ms = first.map(|record| record.arrived_at.as_millis());
                rows.push(Row { delivery_stream: stored.name.to_string(), chunk, oldest_ms });
            }
        }
        if self.json {
            say(serde_json::to_string_pretty(&rows)?);
        } else if rows.is_empty() {
            say("no chunk is open");
        } else {
            say(table(&rows));
        }
        Ok(())
    }
}

impl Discard {
    fn execute(self) -> Result<(), Failure> {
        let engine = open(&self.config)?;
        let stored = named(&engine, &self.stream)?;
        let chunks = engine.chunks(&definition(&engine.config, &stored)?, &stored)?;
        let discarded = chunks.discard(self.chunk).map_err(|error| refused(&error));
        close(&engine, chunks)?;
        let OpenChunk { chunk, from, to, counts, .. } = discarded?;
        let records = counts.delivered + counts.failed;
        say(format_args!("chunk {chunk}: {records} records of {from} to {to} are discarded"));
        Ok(())
    }
}

impl Redirect {
    async fn execute(self) -> Result<(), Failure> {
        let engine = open(&self.config)?;
        let stored = named(&engine, &self.stream)?;
        let stream = definition(&engine.config, &stored)?;
        let disk = engine.store.disk();
        let wrong = |error: SinkError| Failure::of(Exit::Config, &error);
        let backup = stream.backup.as_ref().map(|backup| hydrant_sinks::object_sink(&backup.store, Arc::clone(&disk)));
        let places = Places {
            destination: hydrant_sinks::sink(&stream.destination, Arc::clone(&disk)).map_err(wrong)?,
            backup: backup.transpose().map_err(wrong)?,
        };
        let (store, identity) = self.to.store(&engine, &stream)?;
        let sink = hydrant_sinks::object_sink(&store, disk).map_err(wrong)?;
        let chunks = engine.chunks(&stream, &stored)?;
        let redirected = chunks.redirect(self.chunk, &places, (&*sink, identity)).await;
        close(&engine, chunks)?;
        let done = redirected.map_err(|error| refused(&error))?;
        let (chunk, there, here) = (self.chunk, done.at_their_own_place, done.redirected);
        say(format_args!("chunk {chunk}: {here} objects are written to {sink}, {there} are at their own place"));
        Ok(())
    }
}

impl To {
    fn store(&self, engine: &Engine, stream: &DeliveryStream) -> Result<(ObjectStore, String), Failure> {
        let naming = stream.error_store().naming.clone();
        if let Some(directory) = &self.directory {
            let directory = std::path::absolute(directory)?;
            let identity = format!("file:{}", directory.display());
            return Ok((ObjectStore { place: Place::File { directory }, naming }, identity));
        }
        let bucket = self.bucket.clone().unwrap_or_default();
        let Some(connection) = engine.config.s3.clone() else {
            return Err(Failure::new(Exit::Config, "`--bucket` needs the section `s3` of the configuration")
                .hint("add it, or use `--directory`"));
        };
        let identity = format!("s3:{bucket}");
        Ok((ObjectStore { place: Place::S3 { bucket, connection, options: S3Options::default() }, naming }, identity))
    }
}

/// The data directory, locked: no daemon runs on it, and none can be started.
fn open(config: &ConfigFile) -> Result<Engine, Failure> {
    let config = config.load()?;
    let store = open_store(&config.data_dir, None)?;
    // Nothing is started that could break.
    let (broken, _) = mpsc::channel(1);
    Engine::open(config, store, Vec::new(), broken)
}

fn known(engine: &Engine) -> Vec<StoredStream> {
    engine.catalog.streams().into_iter().filter(|stream| stream.status == StoredStatus::Active).collect()
}

fn named(engine: &Engine, name: &str) -> Result<StoredStream, Failure> {
    let mut known = known(engine);
    match known.iter().position(|stream| stream.name.as_str() == name || stream.id.to_string() == name) {
        Some(at) => Ok(known.swap_remove(at)),
        None => {
            let names: Vec<_> = known.iter().map(|stream| stream.name.as_str()).collect();
            Err(Failure::new(Exit::Usage, format!("there is no delivery stream `{name}`"))
                .hint(format!("there are: {}", names.join(", "))))
        }
    }
}

/// As the configuration or the catalog says.
pub(super) fn definition(config: &Config, stored: &StoredStream) -> Result<DeliveryStream, Failure> {
    let name = &stored.name;
    match &stored.origin {
        StoredOrigin::Yaml => {
            let found = config.delivery_streams.iter().find(|stream| stream.name == *name);
            found.cloned().ok_or_else(|| {
                Failure::new(Exit::Config, format!("delivery stream `{name}` is not in the configuration any more"))
                    .hint("put it back, or start once with `--discard-backlog`")
            })
        }
        StoredOrigin::Api { region, request } => {
            delivery_stream_from_request(request, (region, stored.version_id), &Mappings::from(config)).map_err(
                |error| {
                    Failure::new(Exit::Config, format!("delivery stream `{name}`, made by the API: {error}"))
                        .hint("put back what the configuration said when it was created")
                },
            )
        }
    }
}

fn close(engine: &Engine, chunks: Chunks) -> Result<(), Failure> {
    chunks.close().map_err(|error| Failure::of(Exit::Io, &error))?;
    close_shared(engine)
}

/// The logs of Kinesis streams that were opened on the way.
fn close_shared(engine: &Engine) -> Result<(), Failure> {
    let closed = engine.kinesis.take_all().iter().try_for_each(ShardLog::close);
    closed.map_err(|error| Failure::of(Exit::Io, &error))
}

fn refused(error: &ChunkError) -> Failure {
    match error {
        ChunkError::NotOpen(_) => Failure::of(Exit::Usage, error).hint("see `hydrant chunk list`"),
        ChunkError::Manifest(_) => Failure::of(Exit::CorruptStore, error),
        ChunkError::Journal(_) => Failure::of(Exit::Io, error),
        ChunkError::Requests(_) | ChunkError::Sink { .. } => Failure::of(Exit::Runtime, error),
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    let head = ["delivery stream", "chunk", "first", "last", "delivers", "fails", "objects", "bytes", "oldest", "to"];
    table.set_header(head);
    for Row { delivery_stream: stream, chunk, oldest_ms } in rows {
        let oldest = oldest_ms.map_or_else(|| "?".to_owned(), |at| rfc3339(Timestamp::from_millis(at)));
        let backup = chunk.backup.as_ref().map(|backup| format!(", backup {backup}")).unwrap_or_default();
        let numbers = [chunk.chunk, chunk.from, chunk.to, chunk.counts.delivered, chunk.counts.failed];
        let sizes = [chunk.objects, chunk.bytes];
        let row = std::iter::once(stream.clone()).chain(numbers.iter().chain(&sizes).map(u64::to_string));
        table.add_row(row.chain([oldest, format!("{}{backup}", chunk.destination)]));
    }
    for column in table.column_iter_mut().skip(1).take(7) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
