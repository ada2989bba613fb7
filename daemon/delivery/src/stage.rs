//! Hop 7: a gathered chunk becomes one staged file, or a few bytes in the journal, with every byte and name that it will send.
//!
//! Invariant: when `stage` returns, all of it and the STAGED entry are on the medium. Before that nothing has left.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hydrant_config::{Backup, BackupRecords, DeliveryStreamSpec, Format, Partition};
use hydrant_disk::Disk;
use hydrant_formats::{EncodeError, Encoded, Encoder, RequestEncoder, encoder, request_encoder};
use hydrant_record::StreamId;
use hydrant_shardlog::{AppendError, Clock, ReadError, ShardLog};

use crate::build::{Address, Build, EncodedAt, PartMeta, RequestSource};
use crate::entries::Entries;
use crate::error_output::{ErrorOutput, line_compression};
use crate::gather::{Gap, Gathered};
use crate::group::{ErrorType, Failure};
use crate::journal::{About, Journal, JournalError, StagedChunk, State};
use crate::manifest::Route;
use crate::name::ChunkId;
use crate::object_size::Ratio;
use crate::originals::Rejects;
use crate::packed::Packed;
use crate::split::Splitter;

/// Before STAGED is durable nothing is decided: the chunk is thrown away and gathered again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StageError {
    #[error("cannot write the staged file")]
    Io(#[source] io::Error),
    #[error("cannot encode")]
    Encode(#[source] EncodeError),
    #[error("cannot read the log again")]
    Read(#[from] ReadError),
    /// Whether STAGED is durable is not known: only a restart, which reads the journal, can tell.
    #[error(transparent)]
    Journal(JournalError),
}

impl From<io::Error> for StageError {
    fn from(error: io::Error) -> StageError {
        match error.downcast() {
            Ok(read) => StageError::Read(read),
            Err(error) => StageError::Io(error),
        }
    }
}

impl From<JournalError> for StageError {
    fn from(error: JournalError) -> StageError {
        match error {
            // The one case in which it is known: nothing was written.
            JournalError::Append(AppendError::DiskFull) => StageError::Io(io::ErrorKind::StorageFull.into()),
            other => StageError::Journal(other),
        }
    }
}

impl From<EncodeError> for StageError {
    fn from(error: EncodeError) -> StageError {
        match error {
            EncodeError::Io(error) => error.into(),
            other => StageError::Encode(other),
        }
    }
}

/// Stages chunks of one delivery stream.
pub(crate) struct Stager {
    stream: Arc<DeliveryStreamSpec>,
    stream_id: StreamId,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    log: ShardLog,
    journal: Arc<Journal>,
    staged_dir: PathBuf,
    output: Output,
    /// Of records as they were put.
    sources: Box<dyn Encoder>,
    errors: ErrorOutput,
    splitter: Splitter,
    ratio: Arc<Ratio>,
}

enum Output {
    Objects(Box<dyn Encoder>),
    Requests(Box<dyn RequestEncoder>),
}

/// What a stager works with.
pub(crate) struct StagerParts {
    pub(crate) stream: Arc<DeliveryStreamSpec>,
    pub(crate) stream_id: StreamId,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) log: ShardLog,
    pub(crate) journal: Arc<Journal>,
    pub(crate) staged_dir: PathBuf,
    /// Of the objects that it encodes; the gatherer reads it.
    pub(crate) ratio: Arc<Ratio>,
}

/// Where a chunk's staged file is.
pub(crate) fn staged_path(dir: &Path, chunk: u64) -> PathBuf {
    dir.join(format!("{chunk:020}.out"))
}

impl Stager {
    pub(crate) fn new(parts: StagerParts) -> Stager {
        let StagerParts { stream, stream_id, disk, clock, log, journal, staged_dir, ratio } = parts;
        let output = match request_encoder(&stream) {
            Some(requests) => Output::Requests(requests),
            None => Output::Objects(encoder(&stream.format, stream.processing.append_delimiter)),
        };
        // Only where the output is lines does `append_delimiter` say what lines are; elsewhere records have no ends of their own.
        let in_lines = stream.destination.objects().is_some() && matches!(stream.format, Format::Lines { .. });
        let delimiter = stream.processing.append_delimiter || !in_lines;
        let compression = stream.backup.as_ref().map_or(line_compression(&stream), |backup| backup.compression);
        let sources = encoder(&Format::Lines { compression }, delimiter);
        let errors = ErrorOutput::new(Arc::clone(&stream));
        let splitter = Splitter::new(&stream);
        Stager { splitter, stream, stream_id, disk, clock, log, journal, staged_dir, output, sources, errors, ratio }
    }

    /// Blocks on CPU and disk.
    pub(crate) fn stage(&mut self, mut gathered: Gathered) -> Result<StagedChunk, StageError> {
        let chunk = self.journal.with(State::next_chunk);
        let path = staged_path(&self.staged_dir, chunk);
        let out = Packed::new(Arc::clone(&self.disk), path, self.journal.inline_room());
        // Where all records are lost there is no object to be named.
        let epoch = gathered.epoch.unwrap_or_else(|| self.log.epoch());
        let id = ChunkId { delivery_stream: self.stream_id, epoch, chunk };
        let mut build = Build::new(id, out, gathered.counts);
        build.deaggregated = self.splitter.takes_aggregates_apart();
        gathered.spool.flush()?;
        let identity = build.identity(self.log.id(), 0, self.clock.now());
        let mut rejects = Rejects::default().split_by(self.splitter.clone()).of_requests(&self.stream, identity);
        match self.output {
            Output::Objects(_) => self.objects(&mut build, &mut rejects, &mut gathered)?,
            Output::Requests(_) => self.requests(&mut build, &mut rejects, &mut gathered)?,
        }
        rejects.settle(&self.log, &*self.clock, &mut gathered.spool)?;
        build.counts.failed += self.errors.push(&mut build, &gathered.spool)?;
        self.sources(&mut build, &gathered)?;
        let staged = self.seal(build, &gathered)?;
        self.journal.staged(staged.clone())?;
        for gap in gathered.gaps {
            let (name, Gap { first, last, expired }) = (&self.stream.name, gap);
            let why = if expired { "expired by `log.expire_undelivered`" } else { "lost: the log has given them up" };
            tracing::error!(delivery_stream = %name, %first, %last, records = gap.records(), "records are {why}");
        }
        Ok(staged)
    }

    fn objects(&mut self, build: &mut Build, rejects: &mut Rejects, gathered: &mut Gathered) -> Result<(), StageError> {
        for partition in &gathered.partitions() {
            let mut reader = gathered.records(partition, (&self.log, &self.splitter));
            for part in 0.. {
                let from = reader.clone();
                let Output::Objects(encoder) = &mut self.output else { return Ok(()) };
                let limit = self.ratio.limit(self.stream.buffering.size, self.stream.buffering.object_size);
                let Some(encoded) = build.encode(&mut **encoder, &mut reader, limit)? else {
                    break;
                };
                self.finish(build, rejects, (partition, part), (encoded, from))?;
                if rejects.is_large() {
                    rejects.settle(&self.log, &*self.clock, &mut gathered.spool)?;
                }
            }
        }
        Ok(())
    }

    /// Names the part that was just encoded, or takes it back where nothing of it can be delivered.
    fn finish(
        &self,
        build: &mut Build,
        rejects: &mut Rejects,
        (partition, part): (&Partition, u64),
        ((meta, at), reader): ((PartMeta, EncodedAt<Encoded>), Entries),
    ) -> Result<(), StageError> {
        if at.encoded.records == 0 {
            build.out.truncate_to(at.offset)?;
            return Ok(rejects.take(&at.encoded.rejected, reader)?);
        }
        let naming = &self.stream.error_store().naming;
        let (stream, to, error_output_type) = (&*self.stream, Route::Destination, None);
        let address = Address { stream, to, naming, partition, error_output_type };
        let Output::Objects(encoder) = &self.output else { return Ok(()) };
        let records = meta.records;
        self.ratio.learn(meta.bytes, at.length);
        match build.push_object(address, part, &**encoder, (meta, &at)) {
            Ok(()) => {
                build.counts.delivered += at.encoded.records;
                Ok(rejects.take(&at.encoded.rejected, reader)?)
            }
            Err(too_long) => {
                build.out.truncate_to(at.offset)?;
                let failure = Failure::of_partitioning(too_long.to_string());
                Ok(rejects.take_all(failure, reader, records)?)
            }
        }
    }

    fn requests(
        &mut self,
        build: &mut Build,
        rejects: &mut Rejects,
        gathered: &mut Gathered,
    ) -> Result<(), StageError> {
        let Output::Requests(encoder) = &mut self.output else { return Ok(()) };
        let kind = ErrorType::of_destination(&self.stream.destination);
        let mut part = 0;
        for partition in &gathered.partitions() {
            let source = RequestSource::default();
            let mut records = source.records(gathered.records(partition, (&self.log, &self.splitter)));
            let records: &mut dyn Iterator<Item = _> = &mut records;
            let mut records = records.peekable();
            while records.peek().is_some() {
                let identity = build.identity(self.log.id(), part, self.clock.now());
                part += 1;
                for (unit, code, message) in build.push_request(&mut **encoder, &identity, &source, &mut records)? {
                    let failure = rejects.hold(Failure::new(kind, &code, message));
                    rejects.add(unit, &failure);
                }
                if rejects.is_large() {
                    rejects.settle(&self.log, &*self.clock, &mut gathered.spool)?;
                }
            }
        }
        Ok(())
    }

    /// Every record as it was put, where the backup has them all. They count where they are delivered.
    fn sources(&mut self, build: &mut Build, gathered: &Gathered) -> Result<(), StageError> {
        let Some(Backup { records: BackupRecords::All, store, .. }) = &self.stream.backup else { return Ok(()) };
        let partition = store.naming.prefix.partition(&|_, _| None);
        let partition = &partition.expect("a backup has no partition keys");
        let (stream, to, naming, error_output_type) = (&*self.stream, Route::Backup, &store.naming, None);
        let address = Address { stream, to, naming, partition, error_output_type };
        build.push_all(address, &mut *self.sources, &mut gathered.sources((&self.log, &self.splitter)))?;
        Ok(())
    }

    /// Puts the manifest behind the objects; a file and its name are synced.
    fn seal(&self, mut build: Build, gathered: &Gathered) -> Result<StagedChunk, StageError> {
        let (from, to) = (gathered.from.get(), gathered.to.get());
        let mut staged = StagedChunk {
            chunk: build.id.chunk,
            from,
            to,
            counts: build.counts,
            destination: crate::send::destination_identity(&self.stream.destination),
            backup: self.stream.backup.as_ref().map(|backup| crate::send::store_identity(&backup.store)),
            manifest: None,
            inline: None,
            verdicts: None,
            about: About {
                epochs: gathered.epochs.clone(),
                gone: gathered.gaps.iter().map(|gap| (gap.first.get(), gap.last.get(), gap.expired)).collect(),
                redirected: None,
            },
        };
        let units = to - from + 1 + staged.counts.split_off;
        assert_eq!(staged.counts.total(), units, "every unit of a chunk has exactly one verdict");
        if build.objects.is_empty() {
            build.out.discard()?;
            return Ok(staged);
        }
        staged.manifest = Some(build.manifest(from, to)?);
        staged.inline = build.out.seal()?;
        Ok(staged)
    }
}
