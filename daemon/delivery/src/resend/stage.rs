//! A batch of failed records becomes one staged file. Invariant: bytes and names follow from the error object, the lines and
//! the delivery stream's settings alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use hydrant_config::Partition;
use hydrant_formats::Rejected;
use hydrant_plugins::{Input, Outcome};
use hydrant_record::{Epoch, LogId, Lsn, StreamId, Unit};

use super::{Batched, FailedAgain, FailedRecord, Output, ResendError, Resender, StagedBatch};
use crate::accounting::Counts;
use crate::build::{Address, Build, RequestSource};
use crate::entries::Entries;
use crate::group::{Failure, Group};
use crate::manifest::Route;
use crate::name::ChunkId;
use crate::object_size::Limit;
use crate::packed::Packed;
use crate::spool::Spool;
use crate::stage::StageError;

/// Lines that failed, by code and message.
#[derive(Default)]
struct Failures(BTreeMap<(String, String), BTreeSet<u64>>);

impl Failures {
    fn add(&mut self, unit: Unit, code: &str, message: &str) {
        self.0.entry((code.to_owned(), message.to_owned())).or_default().insert(line_of(unit));
    }

    fn into_list(self) -> Vec<FailedAgain> {
        self.0.into_iter().map(|((code, message), lines)| FailedAgain { lines, code, message }).collect()
    }
}

/// In the place of an LSN stands the number of the line, from 1.
pub(super) fn line_of(unit: Unit) -> u64 {
    unit.lsn.get() - 1
}

fn unit_of(record: &FailedRecord) -> Unit {
    Unit { lsn: Lsn::FIRST.plus(record.line), sub: 0 }
}

/// In the place of a log and its delivery stream stand the error object and the delivery stream's name.
struct Origin([u8; 32]);

impl Origin {
    fn of(object: &str, sha256: &str, stream: &str) -> Origin {
        let mut context = Context::new(&SHA256);
        for part in ["hydrant resend v1", object, sha256, stream] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.finish().as_ref());
        Origin(bytes)
    }

    fn half(&self, second: bool) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(if second { &self.0[16..] } else { &self.0[..16] });
        bytes
    }
}

impl Resender {
    /// Stages records of one error object, which is told by its name and the digest of its bytes; in the place of the batch
    /// before. Durable on return, and nothing has left. Blocks on CPU and disk.
    pub fn stage(&mut self, (object, sha256): (&str, &str), records: &[FailedRecord]) -> Result<Batched, ResendError> {
        self.clear()?;
        let origin = Origin::of(object, sha256, self.stream.name.as_str());
        let first = records.first().map_or(0, |record| record.line);
        let id = ChunkId { delivery_stream: StreamId(origin.half(false)), epoch: Epoch(0), chunk: first };
        let out = Packed::new(Arc::clone(&self.disk), self.staged_path(), 0);
        let mut build = Build::new(id, out, Counts::default());
        let mut spool = Spool::new(Arc::clone(&self.disk), self.dir.join("spool"));
        let (mut dropped, mut failures) = (BTreeSet::new(), Failures::default());
        self.place(records, &mut spool, (&mut dropped, &mut failures))?;
        let partitions: Vec<Partition> = spool.groups().filter_map(Group::partition).cloned().collect();
        for partition in &partitions {
            let reader = spool.read(&Group::Output(partition.clone()));
            match &self.output {
                Output::Objects(_) => self.objects(&mut build, partition, reader, &mut failures)?,
                Output::Requests(_) => {
                    self.requests(&mut build, LogId(origin.half(true)), (records, reader), &mut failures)?;
                }
            }
        }
        let manifest = if build.objects.is_empty() {
            build.out.discard()?;
            None
        } else {
            let last = records.last().map_or(0, |record| record.line);
            let manifest = build.manifest(first, last)?;
            build.out.seal()?;
            Some(manifest)
        };
        let batch = StagedBatch { destination: self.identity.clone(), manifest };
        Ok(Batched { batch, dropped, failed: failures.into_list() })
    }

    /// Through the plugins, if there are any, and to the partitions.
    fn place(
        &mut self,
        records: &[FailedRecord],
        spool: &mut Spool,
        (dropped, failures): (&mut BTreeSet<u64>, &mut Failures),
    ) -> Result<(), ResendError> {
        self.partitioner.reset();
        let input = |record: &FailedRecord| {
            let (unit, arrived_at, data) = (unit_of(record), record.arrived_at, record.data.clone());
            Input { unit, arrived_at, source: None, data }
        };
        let inputs: Vec<Input> = records.iter().map(input).collect();
        let outcomes = match &mut self.transform {
            Some(transform) => transform.transform(&inputs)?,
            None => inputs.iter().map(as_it_is).collect(),
        };
        assert_eq!(outcomes.len(), inputs.len(), "a transform answers for every record");
        for (input, outcome) in inputs.iter().zip(outcomes) {
            let unit = input.unit;
            let placed = match outcome {
                Outcome::Ok { data, partition_keys } => {
                    self.partitioner.place(&data, &partition_keys).map(|partition| (partition, data))
                }
                Outcome::Dropped => {
                    dropped.insert(line_of(unit));
                    continue;
                }
                Outcome::ProcessingFailed { code, message, plugin } => {
                    Err(Failure::of_plugin(code, message, plugin.0.to_string()))
                }
            };
            match placed {
                Ok((partition, data)) => spool.push(Group::Output(partition), unit, input.arrived_at, &data)?,
                Err(failure) => failures.add(unit, &failure.code, &failure.message),
            }
        }
        Ok(spool.flush()?)
    }

    fn objects(
        &mut self,
        build: &mut Build,
        partition: &Partition,
        mut reader: Entries,
        failures: &mut Failures,
    ) -> Result<(), ResendError> {
        let Output::Objects(encoder) = &mut self.output else { return Ok(()) };
        let (stream, naming) = (&*self.stream, &self.stream.error_store().naming);
        let address = Address { stream, to: Route::Destination, naming, partition, error_output_type: None };
        for part in 0.. {
            let from = reader.clone();
            let limit = Limit::plain(stream.buffering.size);
            let Some((meta, at)) = build.encode(&mut **encoder, &mut reader, limit)? else { break };
            let units = units(from, meta.records)?;
            let of = |reject: &Rejected| units[usize::try_from(reject.index).expect("it is one of those in memory")];
            let rejected: Vec<(Unit, &Rejected)> = at.encoded.rejected.iter().map(|one| (of(one), one)).collect();
            let named = match at.encoded.records {
                0 => Ok(()),
                _ => build.push_object(address, part, &**encoder, (meta, &at)),
            };
            match named {
                Ok(()) => rejected.iter().for_each(|(unit, one)| failures.add(*unit, one.code, &one.message)),
                Err(ref too_long) => {
                    let failure = Failure::of_partitioning(too_long.to_string());
                    units.iter().for_each(|unit| failures.add(*unit, &failure.code, &failure.message));
                }
            }
            if at.encoded.records == 0 || named.is_err() {
                build.out.truncate_to(at.offset)?;
            }
        }
        Ok(())
    }

    fn requests(
        &mut self,
        build: &mut Build,
        log: LogId,
        (records, reader): (&[FailedRecord], Entries),
        failures: &mut Failures,
    ) -> Result<(), ResendError> {
        let Output::Requests(encoder) = &mut self.output else { return Ok(()) };
        let named = |record: &FailedRecord| Some((unit_of(record), record.document_id.clone()?));
        let source = RequestSource::of_documents(records.iter().filter_map(named).collect::<HashMap<_, _>>());
        let mut records = source.records(reader);
        let records: &mut dyn Iterator<Item = _> = &mut records;
        let mut records = records.peekable();
        for part in 0.. {
            if records.peek().is_none() {
                break;
            }
            let identity = build.identity(log, part, self.clock.now());
            for (unit, code, message) in build.push_request(&mut **encoder, &identity, &source, &mut records)? {
                failures.add(unit, &code, &message);
            }
        }
        Ok(())
    }
}

fn as_it_is(input: &Input) -> Outcome {
    Outcome::Ok { data: input.data.clone(), partition_keys: Vec::new() }
}

fn units(reader: Entries, records: u64) -> Result<Vec<Unit>, StageError> {
    let records = usize::try_from(records).map_err(std::io::Error::other)?;
    Ok(reader.take(records).map(|entry| entry.map(|entry| entry.unit)).collect::<Result<_, _>>()?)
}
