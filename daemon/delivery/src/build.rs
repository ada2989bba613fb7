//! A chunk while it is encoded: its objects and requests, one after another, into its staged bytes.
//!
//! Invariant: what is listed in `objects` stands in `out`, whole, and nothing else does.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::{self, Write};

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};
use hydrant_config::{DeliveryStreamSpec, Format, Naming, Partition};
use hydrant_formats::{Encoded, Encoder, Rejected, RequestEncoder, RequestIdentity, RequestRecord, RequestRecords};
use hydrant_record::{LogId, Timestamp, Unit};

use crate::accounting::Counts;
use crate::entries::{Entries, Entry};
use crate::journal::ManifestAt;
use crate::manifest::{Holds, Manifest, Route, StagedObject};
use crate::name::{ChunkId, KeyParts, KeyTooLong, ObjectId, object_key};
use crate::object_size::Limit;
use crate::packed::Packed;
use crate::rows::{Rows, RowsWriter};
use crate::stage::StageError;
use crate::units::Units;

/// A part ends here even if it has not its size, which bounds what is remembered of its records.
const PART_RECORDS_MAX: u64 = 1_000_000;
/// For what a chunk says of its objects' rows. Millions of records scattered over many partitions are beyond it.
const ROWS_BYTES_MAX: usize = 4 << 20;

pub(crate) struct Build {
    pub(crate) id: ChunkId,
    pub(crate) out: Packed,
    pub(crate) objects: Vec<StagedObject>,
    pub(crate) counts: Counts,
    rows_left: usize,
    /// As [`Manifest::deaggregated`].
    pub(crate) deaggregated: bool,
}

/// Where an object goes and what it is called there.
#[derive(Clone, Copy)]
pub(crate) struct Address<'a> {
    pub(crate) stream: &'a DeliveryStreamSpec,
    pub(crate) to: Route,
    pub(crate) naming: &'a Naming,
    pub(crate) partition: &'a Partition,
    /// `None` for the output itself and for records as they were put.
    pub(crate) error_output_type: Option<&'a str>,
}

/// Bytes that were just encoded.
pub(crate) struct EncodedAt<T> {
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) sha256: [u8; 32],
    /// CRC-64/NVME.
    pub(crate) crc64: u64,
    pub(crate) encoded: T,
}

/// What the name of an object needs to know about its records.
#[derive(Clone, Debug)]
pub(crate) struct PartMeta {
    pub(crate) oldest: Timestamp,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) records: u64,
    /// Before encoding.
    pub(crate) bytes: u64,
    /// What its records are, but for those that were rejected.
    rows: Option<Rows>,
    text: Text,
}

/// Whether records are lines.
#[derive(Clone, Copy, Debug)]
struct Text {
    /// None has a newline but at its end.
    single: bool,
    /// All have one there.
    ended: bool,
}

impl Text {
    fn take(&mut self, data: &[u8]) {
        let body = data.strip_suffix(b"\n");
        self.ended &= body.is_some();
        self.single &= memchr::memchr(b'\n', body.unwrap_or(data)).is_none();
    }
}

impl Build {
    pub(crate) fn new(id: ChunkId, out: Packed, counts: Counts) -> Build {
        Build { id, out, objects: Vec::new(), counts, rows_left: ROWS_BYTES_MAX, deaggregated: false }
    }

    /// Where its requests stand.
    pub(crate) fn identity(&self, log: LogId, part: u64, made_at: Timestamp) -> RequestIdentity {
        let ChunkId { delivery_stream, epoch, chunk } = self.id;
        RequestIdentity { log, delivery_stream, epoch, chunk, part, made_at }
    }

    /// Encodes the next part of a group; `None` if the group has no more records.
    pub(crate) fn encode(
        &mut self,
        encoder: &mut dyn Encoder,
        reader: &mut Entries,
        limit: Limit,
    ) -> Result<Option<(PartMeta, EncodedAt<Encoded>)>, StageError> {
        if !reader.has_more() {
            return Ok(None);
        }
        let written = Cell::new(0);
        let mut part = Part { reader, limit, written: &written, bytes: 0, meta: None, rows: RowsWriter::default() };
        let encoded = self.hashed(&written, |out| Ok(encoder.encode(&mut part, out)?))?;
        let Part { meta, rows, bytes, .. } = part;
        let Some(meta) = meta else { return Ok(None) };
        let rows = self.kept(rows, &encoded.encoded.rejected);
        Ok(Some((PartMeta { rows, bytes, ..meta }, encoded)))
    }

    /// What is said of the rows of a part, as far as there is room for it.
    fn kept(&mut self, rows: RowsWriter, rejected: &[Rejected]) -> Option<Rows> {
        if rows.bytes() > self.rows_left {
            return None;
        }
        let rejected: Vec<u64> = rejected.iter().map(|reject| reject.index).collect();
        let rows = rows.finish();
        let rows = if rejected.is_empty() { rows } else { rows.without(&rejected) };
        self.rows_left = self.rows_left.saturating_sub(rows.len());
        Some(rows)
    }

    /// Lists the part that was just encoded under its name.
    pub(crate) fn push_object(
        &mut self,
        address: Address<'_>,
        part: u64,
        encoder: &dyn Encoder,
        (meta, encoded): (PartMeta, &EncodedAt<Encoded>),
    ) -> Result<(), KeyTooLong> {
        let Address { stream, to, naming, partition, error_output_type } = address;
        let id = ObjectId { chunk: self.id, to, partition, part, sha256: &encoded.sha256 };
        let holds = match (error_output_type, to) {
            (Some(_), _) => Holds::Errors,
            (None, Route::Backup) => Holds::Sources,
            (None, Route::Destination) => Holds::Records,
        };
        let row_each = match (holds, &stream.format) {
            (Holds::Errors, _) => true,
            (Holds::Records, Format::Lines { .. }) => {
                meta.text.single && (meta.text.ended || stream.processing.append_delimiter)
            }
            (Holds::Records, _) => encoded.encoded.rows == encoded.encoded.records,
            (Holds::Sources, _) => meta.text.single && meta.text.ended,
        };
        let (oldest, extension) = (meta.oldest, encoder.extension());
        let key = object_key(&id, &KeyParts { stream, naming, oldest, error_output_type, extension })?;
        self.objects.push(StagedObject {
            key,
            to,
            holds: Some(holds),
            offset: encoded.offset,
            length: encoded.length,
            sha256: hex::encode(encoded.sha256),
            crc64: Some(encoded.crc64),
            content_encoding: encoder.content_encoding().map(str::to_owned),
            records: encoded.encoded.records,
            first: meta.first,
            last: meta.last,
            items: None,
            rows: meta.rows,
            row_each,
        });
        Ok(())
    }

    /// Encodes and lists every part of a group whose records are never rejected. How many records they are.
    pub(crate) fn push_all(
        &mut self,
        address: Address<'_>,
        encoder: &mut dyn Encoder,
        reader: &mut Entries,
    ) -> Result<u64, StageError> {
        let mut records = 0;
        for part in 0.. {
            let Some((meta, at)) = self.encode(encoder, reader, Limit::plain(address.stream.buffering.size))? else {
                break;
            };
            assert_eq!(at.encoded.records, meta.records, "lines are never rejected");
            records += meta.records;
            self.push_object(address, part, encoder, (meta, &at)).map_err(io::Error::other)?;
        }
        Ok(records)
    }

    /// Puts the manifest behind the objects.
    pub(crate) fn manifest(&mut self, from: u64, to: u64) -> Result<ManifestAt, StageError> {
        let objects = std::mem::take(&mut self.objects);
        let (chunk, epoch, deaggregated) = (self.id.chunk, Some(self.id.epoch.0), self.deaggregated);
        let manifest = Manifest { chunk, from, to, epoch, deaggregated, objects };
        let (bytes, sha256) = manifest.encode();
        let at = ManifestAt { offset: self.out.position(), length: bytes.len() as u64, sha256 };
        self.out.write_all(&bytes)?;
        Ok(at)
    }

    /// Encodes the next request and lists it. Units that were refused come back with why.
    pub(crate) fn push_request(
        &mut self,
        encoder: &mut dyn RequestEncoder,
        identity: &RequestIdentity,
        source: &RequestSource,
        records: &mut RequestRecords<'_>,
    ) -> Result<Vec<(Unit, String, String)>, StageError> {
        let at = self.hashed(&Cell::new(0), |out| Ok(encoder.encode(identity, records, out)?))?;
        let taken = source.take(at.encoded.records as usize + at.encoded.rejected.len());
        let mut rejected = at.encoded.rejected.into_iter().peekable();
        let (mut items, mut refused) = (Units::default(), Vec::new());
        for (index, unit) in taken.into_iter().enumerate() {
            match rejected.next_if(|reject| reject.index == index as u64) {
                Some(reject) => refused.push((unit, reject.code.to_owned(), reject.message)),
                None => items.push(unit),
            }
        }
        let records = items.len();
        assert_eq!(records, u64::from(at.encoded.records), "every record of a request is an item or rejected");
        let (Some(first), Some(last)) = (items.iter().next(), items.iter().last()) else {
            self.out.truncate_to(at.offset)?;
            return Ok(refused);
        };
        self.counts.delivered += records;
        self.objects.push(StagedObject {
            key: at.encoded.key,
            to: Route::Destination,
            holds: Some(Holds::Records),
            offset: at.offset,
            length: at.length,
            sha256: hex::encode(at.sha256),
            crc64: Some(at.crc64),
            content_encoding: encoder.content_encoding().map(str::to_owned),
            records,
            first: first.lsn.get(),
            last: last.lsn.get(),
            items: Some(items),
            rows: None,
            row_each: false,
        });
        Ok(refused)
    }

    fn hashed<T>(
        &mut self,
        written: &Cell<u64>,
        encode: impl FnOnce(&mut Hashing<'_>) -> Result<T, StageError>,
    ) -> Result<EncodedAt<T>, StageError> {
        let offset = self.out.position();
        let (digest, crc) = (Context::new(&SHA256), Digest::new(CrcAlgorithm::Crc64Nvme));
        let mut out = Hashing { out: &mut self.out, written, digest, crc };
        let encoded = encode(&mut out)?;
        let (mut sha256, crc64) = ([0; 32], out.crc.finalize());
        sha256.copy_from_slice(out.digest.finish().as_ref());
        Ok(EncodedAt { offset, length: self.out.position() - offset, sha256, crc64, encoded })
    }
}

/// The units of records on their way into requests: those that were handed out and not taken yet.
#[derive(Debug, Default)]
pub(crate) struct RequestSource {
    out: RefCell<Vec<Unit>>,
    /// What documents are called that have been tried before.
    document_ids: HashMap<Unit, String>,
}

impl RequestSource {
    pub(crate) fn of_documents(document_ids: HashMap<Unit, String>) -> RequestSource {
        RequestSource { out: RefCell::default(), document_ids }
    }

    pub(crate) fn records(&self, reader: Entries) -> impl Iterator<Item = io::Result<RequestRecord>> + '_ {
        reader.map(|entry| {
            let Entry { unit, arrived_at, data } = entry?;
            self.out.borrow_mut().push(unit);
            let document_id = self.document_ids.get(&unit).cloned();
            Ok(RequestRecord { unit, arrived_at, data, document_id })
        })
    }

    fn take(&self, count: usize) -> Vec<Unit> {
        assert!(count > 0, "a request takes at least one record");
        self.out.borrow_mut().drain(..count).collect()
    }
}

struct Hashing<'a> {
    out: &'a mut Packed,
    /// So far.
    written: &'a Cell<u64>,
    digest: Context,
    crc: Digest,
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.digest.update(&bytes[..written]);
        self.crc.update(&bytes[..written]);
        self.written.set(self.written.get() + written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The records of the next object of a group: up to its size.
struct Part<'a> {
    reader: &'a mut Entries,
    limit: Limit,
    /// By the encoder, so far.
    written: &'a Cell<u64>,
    bytes: u64,
    meta: Option<PartMeta>,
    rows: RowsWriter,
}

impl Iterator for Part<'_> {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<io::Result<Bytes>> {
        let taken = self.meta.as_ref().map_or(0, |meta| meta.records);
        let full = self.limit.is_reached(self.bytes, self.written.get(), || self.reader.rest());
        if full || taken >= PART_RECORDS_MAX {
            return None;
        }
        let entry = match self.reader.next()? {
            Ok(entry) => entry,
            Err(error) => return Some(Err(error)),
        };
        self.bytes += entry.data.len() as u64;
        let lsn = entry.unit.lsn.get();
        self.rows.push(entry.unit);
        let meta = self.meta.get_or_insert(PartMeta {
            oldest: entry.arrived_at,
            first: lsn,
            last: lsn,
            records: 0,
            bytes: 0,
            rows: None,
            text: Text { single: true, ended: true },
        });
        meta.text.take(&entry.data);
        meta.oldest = meta.oldest.min(entry.arrived_at);
        meta.last = lsn;
        meta.records += 1;
        Some(Ok(entry.data))
    }
}
