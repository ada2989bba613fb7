//! Hop 7: a gathered chunk becomes one staged file, or a few bytes in the journal, with every byte and name that it will send.
//!
//! Invariant: when `stage` returns, all of it and the STAGED entry are on the medium. Before that nothing has left.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use hydrant_config::{DeliveryStreamSpec, Format, LineCompression, Partition};
use hydrant_disk::Disk;
use hydrant_formats::{EncodeError, Encoded, Encoder, encoder};
use hydrant_record::{StreamId, Timestamp};
use hydrant_shardlog::{AppendError, Clock, ReadError, ShardLog};

use crate::accounting::Counts;
use crate::gather::{Gap, Gathered};
use crate::group::{ErrorType, Failure, Group};
use crate::inline::INLINE_BYTES_MAX;
use crate::journal::{Journal, JournalError, ManifestAt, StagedChunk};
use crate::manifest::{Manifest, StagedObject};
use crate::name::{ChunkId, KeyParts, ObjectId, object_key};
use crate::originals::Rejects;
use crate::packed::Packed;
use crate::spool::SpoolReader;

/// A part ends here even if it has not its size, which bounds what is remembered of its records.
const PART_RECORDS_MAX: u64 = 1_000_000;

/// Before STAGED is durable nothing is decided: the chunk is thrown away and gathered again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StageError {
    #[error("cannot write the staged file")]
    Io(#[from] io::Error),
    #[error("cannot encode")]
    Encode(#[source] EncodeError),
    #[error("cannot read the log again for the error output")]
    Read(#[from] ReadError),
    /// Whether STAGED is durable is not known: only a restart, which reads the journal, can tell.
    #[error(transparent)]
    Journal(JournalError),
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
            EncodeError::Io(error) => StageError::Io(error),
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
    output: Box<dyn Encoder>,
    errors: Box<dyn Encoder>,
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
}

/// Where a chunk's staged file is.
pub(crate) fn staged_path(dir: &Path, chunk: u64) -> PathBuf {
    dir.join(format!("{chunk:020}.out"))
}

impl Stager {
    pub(crate) fn new(parts: StagerParts) -> Stager {
        let output = encoder(&parts.stream.format, parts.stream.processing.append_delimiter);
        // Error lines bring their own newlines and are compressed as the destination's lines are.
        let compression = match parts.stream.format {
            Format::Lines { compression } => compression,
            Format::Parquet(_) => LineCompression::None,
        };
        let errors = encoder(&Format::Lines { compression }, false);
        let StagerParts { stream, stream_id, disk, clock, log, journal, staged_dir } = parts;
        Stager { stream, stream_id, disk, clock, log, journal, staged_dir, output, errors }
    }

    /// Blocks on CPU and disk.
    pub(crate) fn stage(&mut self, mut gathered: Gathered) -> Result<StagedChunk, StageError> {
        let (chunk, inlined) = self.journal.with(|state| (state.next_chunk(), state.inline_bytes()));
        let path = staged_path(&self.staged_dir, chunk);
        let out = Packed::new(Arc::clone(&self.disk), path, INLINE_BYTES_MAX.saturating_sub(inlined));
        // Where all records are lost there is no object to be named.
        let epoch = gathered.epoch.unwrap_or_else(|| self.log.epoch());
        let id = ChunkId { delivery_stream: self.stream_id, epoch, chunk };
        let mut build = Build { id, out, objects: Vec::new(), counts: gathered.counts };
        gathered.spool.flush()?;
        self.outputs(&mut build, &mut gathered)?;
        self.error_outputs(&mut build, &gathered)?;
        let staged = self.seal(build, &gathered)?;
        self.journal.staged(staged.clone())?;
        for gap in gathered.gaps {
            let (name, Gap { first, last, expired }) = (&self.stream.name, gap);
            let why = if expired { "expired by `log.expire_undelivered`" } else { "lost: the log has given them up" };
            tracing::error!(delivery_stream = %name, %first, %last, records = gap.records(), "records are {why}");
        }
        Ok(staged)
    }

    fn outputs(&mut self, build: &mut Build, gathered: &mut Gathered) -> Result<(), StageError> {
        let mut rejects = Rejects::default();
        let groups: Vec<Group> = gathered.spool.groups().cloned().collect();
        for group in groups {
            let Group::Output(partition) = &group else { continue };
            let mut reader = gathered.spool.read(&group);
            for part in 0.. {
                let from = reader.clone();
                let Some((meta, encoded)) = build.encode(&mut *self.output, &mut reader, self.stream.buffering.size)?
                else {
                    break;
                };
                self.finish(build, &mut rejects, (partition, part), (meta, encoded, from))?;
                if rejects.is_large() {
                    rejects.settle(&self.log, &*self.clock, &mut gathered.spool)?;
                }
            }
        }
        rejects.settle(&self.log, &*self.clock, &mut gathered.spool)?;
        Ok(())
    }

    /// Names the part that was just encoded, or takes it back where nothing of it can be delivered.
    fn finish(
        &self,
        build: &mut Build,
        rejects: &mut Rejects,
        (partition, part): (&Partition, u64),
        (meta, encoded, reader): (PartMeta, EncodedAt, SpoolReader),
    ) -> Result<(), StageError> {
        let EncodedAt { offset, length, sha256, encoded } = encoded;
        if encoded.records == 0 {
            build.out.truncate_to(offset)?;
            return Ok(rejects.take(&encoded.rejected, reader)?);
        }
        let id = ObjectId { chunk: build.id, partition, part, sha256: &sha256 };
        let parts = KeyParts {
            stream: &self.stream,
            oldest: meta.oldest,
            error_output_type: None,
            extension: self.output.extension(),
        };
        match object_key(&id, &parts) {
            Ok(key) => {
                build.counts.delivered += encoded.records;
                let content_encoding = self.output.content_encoding().map(str::to_owned);
                let (first, last) = (meta.first, meta.last);
                let records = encoded.records;
                let sha256 = hex::encode(sha256);
                let object = StagedObject { key, offset, length, sha256, content_encoding, records, first, last };
                build.objects.push(object);
                Ok(rejects.take(&encoded.rejected, reader)?)
            }
            Err(too_long) => {
                build.out.truncate_to(offset)?;
                let failure = Failure::of_partitioning(too_long.to_string());
                Ok(rejects.take_all(&failure, reader, meta.records)?)
            }
        }
    }

    fn error_outputs(&mut self, build: &mut Build, gathered: &Gathered) -> Result<(), StageError> {
        let partition = self.stream.error_store().naming.error_output_prefix.partition(&|_, _| None);
        let partition = partition.expect("an error output prefix has no partition keys");
        for kind in ErrorType::ALL {
            let mut reader = gathered.spool.read(&Group::Errors(kind));
            for part in 0.. {
                let Some((meta, encoded)) = build.encode(&mut *self.errors, &mut reader, self.stream.buffering.size)?
                else {
                    break;
                };
                let EncodedAt { offset, length, sha256, encoded } = encoded;
                assert_eq!(encoded.records, meta.records, "error lines are never rejected");
                let id = ObjectId { chunk: build.id, partition: &partition, part, sha256: &sha256 };
                let parts = KeyParts {
                    stream: &self.stream,
                    oldest: meta.oldest,
                    error_output_type: Some(kind.output_type()),
                    extension: self.errors.extension(),
                };
                let key = object_key(&id, &parts).map_err(io::Error::other)?;
                build.counts.failed += meta.records;
                build.objects.push(StagedObject {
                    key,
                    offset,
                    length,
                    sha256: hex::encode(sha256),
                    content_encoding: self.errors.content_encoding().map(str::to_owned),
                    records: meta.records,
                    first: meta.first,
                    last: meta.last,
                });
            }
        }
        Ok(())
    }

    /// Puts the manifest behind the objects; a file and its name are synced.
    fn seal(&self, build: Build, gathered: &Gathered) -> Result<StagedChunk, StageError> {
        let (chunk, counts) = (build.id.chunk, build.counts);
        let (from, to) = (gathered.from.get(), gathered.to.get());
        assert_eq!(counts.total(), to - from + 1, "every record of a chunk has exactly one verdict");
        let destination = crate::send::destination_identity(&self.stream.destination);
        let mut staged = StagedChunk { chunk, from, to, counts, destination, manifest: None, inline: None };
        let mut out = build.out;
        if build.objects.is_empty() {
            out.discard()?;
            return Ok(staged);
        }
        let manifest = Manifest { chunk, from, to, objects: build.objects };
        let (bytes, sha256) = manifest.encode();
        staged.manifest = Some(ManifestAt { offset: out.position(), length: bytes.len() as u64, sha256 });
        out.write_all(&bytes)?;
        staged.inline = out.seal()?;
        Ok(staged)
    }
}

/// A chunk while it is encoded.
struct Build {
    id: ChunkId,
    out: Packed,
    objects: Vec<StagedObject>,
    counts: Counts,
}

struct EncodedAt {
    offset: u64,
    length: u64,
    sha256: [u8; 32],
    encoded: Encoded,
}

impl Build {
    /// Encodes the next part of a group; `None` if the group has no more records.
    fn encode(
        &mut self,
        encoder: &mut dyn Encoder,
        reader: &mut SpoolReader,
        size: u64,
    ) -> Result<Option<(PartMeta, EncodedAt)>, StageError> {
        if !reader.has_more() {
            return Ok(None);
        }
        let offset = self.out.position();
        let mut out = Hashing { out: &mut self.out, digest: Context::new(&SHA256) };
        let mut part = Part { reader, size, bytes: 0, meta: None };
        let encoded = encoder.encode(&mut part, &mut out)?;
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(out.digest.finish().as_ref());
        let length = self.out.position() - offset;
        Ok(part.meta.map(|meta| (meta, EncodedAt { offset, length, sha256, encoded })))
    }
}

struct Hashing<'a> {
    out: &'a mut Packed,
    digest: Context,
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.digest.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// What the name of an object needs to know about its records.
#[derive(Clone, Copy, Debug)]
struct PartMeta {
    oldest: Timestamp,
    first: u64,
    last: u64,
    records: u64,
}

/// The records of the next object of a group: up to its size.
struct Part<'a> {
    reader: &'a mut SpoolReader,
    size: u64,
    bytes: u64,
    meta: Option<PartMeta>,
}

impl Iterator for Part<'_> {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<io::Result<Bytes>> {
        let taken = self.meta.map_or(0, |meta| meta.records);
        if self.bytes >= self.size || taken >= PART_RECORDS_MAX {
            return None;
        }
        let entry = match self.reader.next()? {
            Ok(entry) => entry,
            Err(error) => return Some(Err(error)),
        };
        self.bytes += entry.data.len() as u64;
        let lsn = entry.unit.lsn.get();
        let meta = self.meta.get_or_insert(PartMeta { oldest: entry.arrived_at, first: lsn, last: lsn, records: 0 });
        meta.oldest = meta.oldest.min(entry.arrived_at);
        meta.last = lsn;
        meta.records += 1;
        Some(Ok(entry.data))
    }
}
