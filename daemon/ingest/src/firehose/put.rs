//! PutRecord and PutRecordBatch. All records of a call go to the log as one group member: all are durable or none is.
//!
//! This is the hot path: one pass over the JSON that borrows from the body, one buffer for all decoded data.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use hydrant_record::{Identity, NewRecord, Placement};
use hydrant_shardlog::Appended;
use serde::Deserialize;
use serde_json::Value;

use crate::request::Operations;
use crate::sent::{Blob, Blobs, Listed, Text};
use crate::shape::{Shape, Violations};
use crate::wire::Wire;
use crate::{ApiError, Counters, StreamHandle, durable, record_id};

const RECORDS_MAX: usize = 500;
const DATA_BYTES_MAX: usize = 1_024_000;
const BATCH_BYTES_MAX: usize = 4 << 20;

#[derive(Debug, Deserialize)]
struct SentRecord<'a> {
    #[serde(borrow, rename = "Data")]
    data: Option<Blob<'a>>,
}

#[derive(Debug, Deserialize)]
struct SentOne<'a> {
    #[serde(borrow, rename = "DeliveryStreamName")]
    name: Option<Text<'a>>,
    #[serde(borrow, rename = "Record")]
    record: Option<SentRecord<'a>>,
}

#[derive(Debug, Deserialize)]
struct SentBatch<'a> {
    #[serde(borrow, rename = "DeliveryStreamName")]
    name: Option<Text<'a>>,
    #[serde(borrow, rename = "Records")]
    records: Option<Listed<SentRecord<'a>, RECORDS_MAX>>,
}

/// A put request whose members have the right types, and nothing else is known of it.
#[derive(Debug)]
pub(crate) enum Put<'a> {
    One(PutOne<'a>),
    Batch(PutBatch<'a>),
}

/// So that the parsed form stays private to this file.
#[derive(Debug)]
pub(crate) struct PutOne<'a>(SentOne<'a>);
#[derive(Debug)]
pub(crate) struct PutBatch<'a>(SentBatch<'a>);

/// Records that may be stored.
#[derive(Debug)]
struct Valid<'a> {
    name: Cow<'a, str>,
    data: Vec<Bytes>,
}

impl<'a> Put<'a> {
    /// `None` if the text is no JSON object of the right types; [`mistyped`] then tells which.
    pub(crate) fn parse(batch: bool, body: &'a [u8]) -> Option<Put<'a>> {
        if batch {
            Wire::AmzJson.parse(body).map(|sent| Put::Batch(PutBatch(sent)))
        } else {
            Wire::AmzJson.parse(body).map(|sent| Put::One(PutOne(sent)))
        }
    }

    /// The stream that it names.
    pub(crate) fn name(&self) -> Option<&str> {
        let name = match self {
            Put::One(one) => &one.0.name,
            Put::Batch(batch) => &batch.0.name,
        };
        name.as_ref().map(|name| name.0.as_ref())
    }

    /// Validates, stores, and answers once the records are durable.
    pub(crate) async fn run(self, region: &str, operations: &Operations) -> Result<String, ApiError> {
        let (batch, valid) = match self {
            Put::One(one) => (false, one.validate()?),
            Put::Batch(batch) => (true, batch.validate()?),
        };
        let bytes: usize = valid.data.iter().map(Bytes::len).sum();
        if bytes > BATCH_BYTES_MAX {
            return Err(ApiError::invalid_argument("Records size exceeds 4 MB limit"));
        }
        let account = operations.mappings.account.as_str();
        let entry = operations.registry.find(&valid.name, region);
        let entry = entry.ok_or_else(|| ApiError::not_found(&valid.name, account))?;
        if entry.reads_kinesis() {
            return Err(ApiError::invalid_argument(
                "This operation is not permitted on KinesisStreamAsSource delivery stream type.",
            ));
        }
        let handle = entry.writable().ok_or_else(|| ApiError::not_found(&valid.name, account))?;
        handle.gate.check()?;
        let count = valid.data.len();
        let appended = store(handle, valid.data, &operations.counters).await?;
        let encrypted = entry.is_encrypted();
        Ok(if batch {
            batch_reply(handle, &appended, (count, encrypted))
        } else {
            one_reply(handle, &appended, encrypted)
        })
    }
}

/// What is wrong with a put that [`Put::parse`] did not understand; `Ok` if nothing is and the text given back reads.
pub(crate) fn mistyped(batch: bool, value: &Value) -> Result<Vec<u8>, ApiError> {
    let root = Shape::root(value)?;
    root.text("DeliveryStreamName")?;
    let records = if batch { root.parts("Records")? } else { root.part("Record")?.into_iter().collect() };
    for record in records {
        if let Some(data) = record.get("Data")
            && !data.is_string()
        {
            let found = if data.is_number() { "NUMBER_VALUE" } else { "a value that is no string" };
            return Err(ApiError::serialization(format!("{found} can not be converted to a Blob")));
        }
    }
    Ok(serde_json::to_vec(value).expect("a JSON value has text keys"))
}

impl<'a> PutOne<'a> {
    fn validate(self) -> Result<Valid<'a>, ApiError> {
        let mut violations = Violations::default();
        let data = self.0.record.as_ref().and_then(|record| record.data.as_ref());
        let mut blobs = Blobs::for_entries(std::iter::once((data, None)));
        match &self.0.record {
            None => violations.missing("record"),
            Some(_) => blobs.push(data, DATA_BYTES_MAX, || "record.data".to_owned(), &mut violations)?,
        }
        let name = stream_name(self.0.name, &mut violations);
        violations.finish()?;
        Ok(Valid { name, data: blobs.finish().collect() })
    }
}

impl<'a> PutBatch<'a> {
    fn validate(self) -> Result<Valid<'a>, ApiError> {
        let mut violations = Violations::default();
        let first = self.0.records.as_ref().map_or(&[][..], |records| &records.first);
        let mut blobs = Blobs::for_entries(first.iter().flatten().map(|record| (record.data.as_ref(), None)));
        for (index, record) in first.iter().enumerate() {
            match record {
                None => violations.missing(&format!("records.{}.member", index + 1)),
                Some(record) => {
                    let at = || format!("records.{}.member.data", index + 1);
                    blobs.push(record.data.as_ref(), DATA_BYTES_MAX, at, &mut violations)?;
                }
            }
        }
        violations.count("records", self.0.records.as_ref().map(|records| records.count), RECORDS_MAX);
        let name = stream_name(self.0.name, &mut violations);
        violations.finish()?;
        Ok(Valid { name, data: blobs.finish().collect() })
    }
}

fn stream_name<'a>(name: Option<Text<'a>>, violations: &mut Violations) -> Cow<'a, str> {
    let Some(Text(name)) = name else {
        violations.missing("deliveryStreamName");
        return Cow::Borrowed("");
    };
    super::check_stream_name(&name, "deliveryStreamName", violations);
    name
}

async fn store(handle: &StreamHandle, data: Vec<Bytes>, counters: &Arc<Counters>) -> Result<Appended, ApiError> {
    let (count, bytes) = (data.len(), data.iter().map(Bytes::len).sum::<usize>());
    let record = |data| NewRecord { placement: Placement::Any, partition_key: None, data };
    let appended = durable::store(&handle.log, data.into_iter().map(record).collect(), counters).await?;
    handle.gate.count(count as u64, bytes as u64);
    Ok(appended)
}

fn push_id(text: &mut String, handle: &StreamHandle, appended: &Appended, index: usize) {
    let (_, lsn) = appended.place(index);
    let identity = Identity { log: handle.log.id(), epoch: appended.epoch, lsn };
    text.push_str(r#"{"RecordId":""#);
    record_id::append(text, handle.id, identity);
}

fn one_reply(handle: &StreamHandle, appended: &Appended, encrypted: bool) -> String {
    let mut text = String::new();
    push_id(&mut text, handle, appended, 0);
    text.push_str(if encrypted { r#"","Encrypted":true}"# } else { r#"","Encrypted":false}"# });
    text
}

fn batch_reply(handle: &StreamHandle, appended: &Appended, (count, encrypted): (usize, bool)) -> String {
    let mut text = String::with_capacity(64 + count * (record_id::TEXT_LEN + 16));
    text.push_str(r#"{"FailedPutCount":0,"Encrypted":"#);
    text.push_str(if encrypted { "true" } else { "false" });
    text.push_str(r#","RequestResponses":["#);
    for index in 0..count {
        let separator = if index == 0 { "" } else { "," };
        text.push_str(separator);
        push_id(&mut text, handle, appended, index);
        text.push_str(r#""}"#);
    }
    text.push_str("]}");
    text
}

#[cfg(test)]
#[path = "put_tests.rs"]
mod tests;
