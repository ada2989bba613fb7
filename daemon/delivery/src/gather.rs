//! Hops 4 to 6: the next records of the tail, through the plugins, into the spool by their objects' groups. Records that leave
//! as they were put, all to one group, are only counted: the log has them, and staging reads them there.
//!
//! Invariant: a chunk is a contiguous range of LSNs, and every unit of every one of them is in exactly one group or counted as
//! dropped, lost or expired.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use hydrant_config::{BackupRecords, DeliveryStreamSpec, Partition};
use hydrant_disk::Disk;
use hydrant_plugins::{Input, Outcome, Transform, TransformError};
use hydrant_record::{Batch, Epoch, Lsn, Timestamp, Unit};
use hydrant_shardlog::{Clock, ReadError, ShardLog, Tail};

use crate::accounting::Counts;
use crate::entries::{Counted, Entries, LogReader};
use crate::group::{Failure, Group, Partitioner};
use crate::journal::Journal;
use crate::object_size::Ratio;
use crate::origin;
use crate::split::Splitter;
use crate::spool::Spool;

/// One call of the plugins sees about this much, as one call of Lambda would.
const BATCH_BYTES: usize = 1 << 20;
/// Where records are taken apart, it sees at most about so many of the parts.
const BATCH_UNITS: usize = 10_000;

/// A chunk before it is encoded.
#[derive(Debug)]
pub(crate) struct Gathered {
    pub(crate) from: Lsn,
    pub(crate) to: Lsn,
    /// Of the first record that can be read; `None` if all of them are lost.
    pub(crate) epoch: Option<Epoch>,
    /// All of its records, each with the first that has it.
    pub(crate) epochs: Vec<(u64, u64)>,
    /// Arrival of that record, or when the chunk was begun: then its interval began.
    since: Timestamp,
    /// Of those that are not in the spool.
    pub(crate) counts: Counts,
    pub(crate) gaps: Vec<Gap>,
    /// Transformed bytes, which is what `buffering.size` counts.
    pub(crate) bytes: u64,
    /// The one group of the output and what it holds, if its records stand in the log only.
    as_put: Option<(Partition, Counted)>,
    /// Records as the producers put them, where a backup has them all; they stand in the log only.
    sources: Counted,
    pub(crate) spool: Spool,
}

impl Gathered {
    /// The partitions of the output, in order of their first record. Flush the spool first.
    pub(crate) fn partitions(&self) -> Vec<Partition> {
        match &self.as_put {
            Some((partition, counted)) if counted.units > 0 => vec![partition.clone()],
            Some(_) => Vec::new(),
            None => self.spool.groups().filter_map(Group::partition).cloned().collect(),
        }
    }

    /// Its records, taken apart by `splitter` where they stand in the log.
    pub(crate) fn records(&self, partition: &Partition, (log, splitter): (&ShardLog, &Splitter)) -> Entries {
        match &self.as_put {
            Some((_, counted)) => self.of_log((log, splitter.clone()), *counted),
            None => self.spool.read(&Group::Output(partition.clone())),
        }
    }

    /// Every record as its producer put it, if a backup has them all.
    pub(crate) fn sources(&self, (log, splitter): (&ShardLog, &Splitter)) -> Entries {
        self.of_log((log, splitter.to_user_records()), self.sources)
    }

    fn of_log(&self, (log, splitter): (&ShardLog, Splitter), counted: Counted) -> Entries {
        let (range, gaps) = ((self.from, self.to), self.gaps.as_slice().into());
        Entries::Log(LogReader::new(log.clone(), splitter, range, gaps, counted))
    }

    fn note_epochs(&mut self, batch: &Batch) {
        for record in batch.records() {
            if self.epochs.last().is_none_or(|(_, epoch)| *epoch != record.epoch.0) {
                self.epochs.push((record.lsn.get(), record.epoch.0));
            }
        }
    }
}

/// Records that the log does not have: they were let go by the stream's policy, or lost and given up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gap {
    pub(crate) first: Lsn,
    pub(crate) last: Lsn,
    pub(crate) expired: bool,
}

impl Gap {
    pub(crate) fn records(self) -> u64 {
        self.last.get() - self.first.get() + 1
    }
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The tail has no more; wait for records or for the interval.
    CaughtUp,
    /// There is more to gather.
    Gathered,
    /// The chunk has its size.
    Full,
}

/// Nothing is lost by any of them: the chunk is thrown away and gathered again from the cursor.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GatherError {
    #[error("cannot read the log")]
    Read(#[from] ReadError),
    #[error(transparent)]
    Transform(#[from] TransformError),
    #[error("cannot write the spool")]
    Spool(#[from] io::Error),
}

pub(crate) struct Gatherer {
    stream: Arc<DeliveryStreamSpec>,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    spool_path: PathBuf,
    /// Chunks begun so far. Each has a spool of its own, for the one before may still be read.
    begun: u64,
    tail: Tail,
    transform: Option<Box<dyn Transform>>,
    splitter: Splitter,
    partitioner: Partitioner,
    /// The partition of all records, if they leave as they were put.
    as_put: Option<Partition>,
    backs_up_all: bool,
    ratio: Arc<Ratio>,
    journal: Option<Arc<Journal>>,
    /// Whose shards plugins are told of.
    source: Option<ShardLog>,
    /// Of a chunk at most.
    chunk_bytes: u64,
    /// The same, lowered while the disk is full, so that a smaller chunk can get through.
    chunk_bytes_max: u64,
    chunk: Option<Gathered>,
}

impl Gatherer {
    pub(crate) fn new(
        stream: Arc<DeliveryStreamSpec>,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        (spool_path, chunk_bytes): (PathBuf, u64),
        source: (Tail, Option<Box<dyn Transform>>),
    ) -> Gatherer {
        let (splitter, partitioner) = (Splitter::new(&stream), Partitioner::new(&stream));
        let (tail, transform) = source;
        let as_put = partitioner.only().filter(|_| transform.is_none());
        let backs_up_all = stream.backup.as_ref().is_some_and(|backup| backup.records == BackupRecords::All);
        Gatherer {
            stream,
            disk,
            clock,
            spool_path,
            begun: 0,
            tail,
            transform,
            splitter,
            partitioner,
            as_put,
            backs_up_all,
            ratio: Arc::default(),
            journal: None,
            source: None,
            chunk_bytes,
            chunk_bytes_max: chunk_bytes,
            chunk: None,
        }
    }

    /// The same, cutting by what the stager finds of the sizes of objects, and counting what has expired by a policy that the
    /// journal knows of.
    pub(crate) fn told_by(self, ratio: Arc<Ratio>, journal: Arc<Journal>) -> Gatherer {
        Gatherer { ratio, journal: Some(journal), ..self }
    }

    /// The same, telling plugins where in this log's shards a record of a Kinesis stream came from.
    pub(crate) fn reading(self, log: &ShardLog) -> Gatherer {
        let asked = self.transform.is_some() && self.stream.source.is_some();
        Gatherer { source: asked.then(|| log.clone()), ..self }
    }

    /// Reads, transforms and spools one batch. Blocks on CPU and disk.
    pub(crate) fn step(&mut self) -> Result<Step, GatherError> {
        let batch = match self.tail.next(BATCH_BYTES) {
            Ok(Some(batch)) => batch,
            Ok(None) => {
                if let Some(chunk) = &mut self.chunk {
                    chunk.spool.flush()?;
                }
                return Ok(Step::CaughtUp);
            }
            Err(ReadError::Lost { first, last }) => return self.pass(Gap { first, last, expired: false }),
            Err(ReadError::Trimmed { after, first })
                if let Some(last) = first.previous().filter(|last| self.may_expire(*last)) =>
            {
                return self.pass(Gap { first: Lsn::after(after), last, expired: true });
            }
            Err(error) => return Err(error.into()),
        };
        let mut chunk = match self.chunk.take() {
            Some(chunk) => chunk,
            None => self.begin(batch.first()),
        };
        let first = &batch.records()[0];
        if chunk.epoch.replace(chunk.epoch.unwrap_or(first.epoch)).is_none() {
            chunk.since = first.arrived_at;
        }
        chunk.to = batch.last();
        chunk.note_epochs(&batch);
        self.take(&mut chunk, batch)?;
        let full = self.is_full(&chunk);
        self.chunk = Some(chunk);
        Ok(if full { Step::Full } else { Step::Gathered })
    }

    /// When the interval of the chunk being gathered began: with the arrival of its first record.
    pub(crate) fn gathering_since(&self) -> Option<Timestamp> {
        self.chunk.as_ref().map(|chunk| chunk.since)
    }

    /// Ends the chunk; the next step begins another.
    pub(crate) fn cut(&mut self) -> Option<Gathered> {
        self.partitioner.reset();
        // It may be long until there is a place for another.
        self.tail.rest();
        self.chunk.take()
    }

    /// Throws away what was gathered and goes on behind `cursor`, with chunks of at most `bytes_max` if the disk was full.
    pub(crate) fn restart(&mut self, tail: Tail, bytes_max: Option<u64>) {
        self.chunk = None;
        self.partitioner.reset();
        self.tail = tail;
        self.chunk_bytes_max = bytes_max.unwrap_or(self.chunk_bytes);
    }

    /// The disk took a chunk: the next may be larger again.
    pub(crate) fn grow(&mut self) {
        self.chunk_bytes_max = self.chunk_bytes_max.saturating_mul(2).min(self.chunk_bytes);
    }

    /// Bytes gathered so far; what a full disk could hold.
    pub(crate) fn bytes(&self) -> u64 {
        self.chunk.as_ref().map_or(0, |chunk| chunk.bytes)
    }

    pub(crate) fn on_more(&mut self, wake: Arc<dyn Fn() + Send + Sync>) {
        self.tail.on_more(wake);
    }

    /// Whether records up to here may be gone by the stream's policy, as it is or was.
    fn may_expire(&self, last: Lsn) -> bool {
        let was = || self.journal.as_ref().is_some_and(|journal| journal.with(|state| state.has_let_go(last)));
        self.stream.log.expire_undelivered || was()
    }

    fn is_full(&self, chunk: &Gathered) -> bool {
        let at_most = chunk.bytes >= self.chunk_bytes_max || chunk.sources.bytes >= self.chunk_bytes_max;
        // With partitions each of them has a size of its own.
        let one_object = !self.partitioner.is_partitioned();
        let buffering = &self.stream.buffering;
        let object = buffering.object_size.is_some_and(|size| self.ratio.encoded(chunk.bytes) >= size);
        at_most || one_object && (chunk.bytes >= buffering.size || object)
    }

    fn begin(&mut self, from: Lsn) -> Gathered {
        self.begun += 1;
        let spool = Spool::new(Arc::clone(&self.disk), self.spool_path.with_extension(self.begun.to_string()));
        let as_put = self.as_put.clone().map(|partition| (partition, Counted::default()));
        let (counts, gaps, bytes, sources) = (Counts::default(), Vec::new(), 0, Counted::default());
        let (epoch, epochs, since) = (None, Vec::new(), self.clock.now());
        Gathered { from, to: from, epoch, epochs, since, counts, gaps, bytes, as_put, sources, spool }
    }

    /// Takes records that are gone into the chunk, as a count.
    fn pass(&mut self, gap: Gap) -> Result<Step, GatherError> {
        let mut chunk = match self.chunk.take() {
            Some(chunk) => chunk,
            None => self.begin(gap.first),
        };
        chunk.to = gap.last;
        let gone = if gap.expired { &mut chunk.counts.expired } else { &mut chunk.counts.lost };
        *gone += gap.records();
        chunk.gaps.push(gap);
        self.chunk = Some(chunk);
        self.tail.skip_lost();
        Ok(Step::Gathered)
    }

    fn take(&mut self, chunk: &mut Gathered, batch: Batch) -> Result<(), GatherError> {
        if self.backs_up_all {
            let splitter = self.splitter.to_user_records();
            batch.records().iter().for_each(|record| chunk.sources.add(&record.data, &splitter));
        }
        if let Some((_, counted)) = &mut chunk.as_put {
            let (before, records) = (*counted, batch.records().len() as u64);
            batch.records().iter().for_each(|record| counted.add(&record.data, &self.splitter));
            chunk.counts.split_off += counted.units - before.units - records;
            chunk.bytes += counted.bytes - before.bytes;
            return Ok(());
        }
        let mut units = Vec::new();
        let shards = self.source.as_ref().map(ShardLog::shards);
        for record in batch.into_records() {
            let sources = shards.as_ref().map(|shards| origin::sources(&record, &self.splitter, shards));
            let source = |put: usize| sources.as_ref().and_then(|sources| sources.get(put)).cloned();
            let (lsn, arrived_at) = (record.lsn, record.arrived_at);
            let parts = self.splitter.parts(&record.data).unwrap_or_else(|| vec![(0, record.data)]);
            chunk.counts.split_off += parts.len() as u64 - 1;
            units.extend((0..).zip(parts).map(|(sub, (put, data))| Input {
                unit: Unit { lsn, sub },
                arrived_at,
                source: source(put),
                data,
            }));
            if units.len() >= BATCH_UNITS {
                self.take_units(chunk, &units)?;
                units.clear();
            }
        }
        if units.is_empty() { Ok(()) } else { self.take_units(chunk, &units) }
    }

    fn take_units(&mut self, chunk: &mut Gathered, inputs: &[Input]) -> Result<(), GatherError> {
        let Some(transform) = &mut self.transform else {
            for input in inputs {
                let placed = self.partitioner.place(&input.data, &[]);
                self.settle(chunk, input, placed.map(|partition| (partition, input.data.as_ref())))?;
            }
            return Ok(());
        };
        let outcomes = transform.transform(inputs)?;
        assert_eq!(outcomes.len(), inputs.len(), "a transform answers for every record");
        for (input, outcome) in inputs.iter().zip(outcomes) {
            match outcome {
                Outcome::Ok { data, partition_keys } => {
                    let placed = self.partitioner.place(&data, &partition_keys);
                    self.settle(chunk, input, placed.map(|partition| (partition, data.as_ref())))?;
                }
                Outcome::Dropped => chunk.counts.dropped += 1,
                Outcome::ProcessingFailed { code, message, plugin } => {
                    let failure = Failure::of_plugin(code, message, plugin.0.to_string());
                    self.settle(chunk, input, Err(failure))?;
                }
            }
        }
        Ok(())
    }

    /// Spools the record for its object, or its error line for the error output.
    fn settle(
        &self,
        chunk: &mut Gathered,
        input: &Input,
        placed: Result<(Partition, &[u8]), Failure>,
    ) -> Result<(), GatherError> {
        match placed {
            Ok((partition, data)) => {
                chunk.bytes += data.len() as u64;
                chunk.spool.push(Group::Output(partition), input.unit, input.arrived_at, data)?;
            }
            Err(failure) => {
                let line = failure.line(input, self.clock.now());
                chunk.bytes += line.len() as u64;
                chunk.spool.push(Group::Errors(failure.kind), input.unit, input.arrived_at, &line)?;
            }
        }
        Ok(())
    }
}
