//! PutRecord and PutRecordBatch. All records of a call go to the log as one group member: all are durable or none is.
//!
//! This is the hot path: one pass over the JSON that borrows from the body, one buffer for all decoded data.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use hydrant_record::{Identity, NewRecord, Placement};
use hydrant_shardlog::{AppendError, Appended};
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::depth::is_too_deep;
use crate::request::Operations;
use crate::shape::{Shape, Violations};
use crate::{ApiError, Counters, Refusal, StreamHandle, record_id};

const RECORDS_MAX: usize = 500;
const DATA_BYTES_MAX: usize = 1_024_000;
const BATCH_BYTES_MAX: usize = 4 << 20;

/// Text that borrows from the body unless it holds escapes.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Debug, Deserialize)]
struct SentRecord<'a> {
    #[serde(borrow, rename = "Data")]
    data: Option<Text<'a>>,
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
    records: Option<SentRecords<'a>>,
}

/// The first records of a list, no more than are looked at, and how many there are.
#[derive(Debug)]
struct SentRecords<'a> {
    first: Vec<Option<SentRecord<'a>>>,
    count: usize,
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

impl<'de: 'a, 'a> Deserialize<'de> for SentRecords<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = SentRecords<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of records")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<SentRecords<'de>, A::Error> {
                let mut first = Vec::new();
                while first.len() <= RECORDS_MAX {
                    let Some(record) = list.next_element()? else {
                        return Ok(SentRecords { count: first.len(), first });
                    };
                    first.push(record);
                }
                let mut count = first.len();
                while list.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(SentRecords { first, count })
            }
        }
        deserializer.deserialize_seq(List)
    }
}

impl<'a> Put<'a> {
    /// `None` if the text is no JSON object of the right types; [`mistyped`] then tells which.
    pub(crate) fn parse(batch: bool, body: &'a [u8]) -> Option<Put<'a>> {
        if is_too_deep(body) {
            return None;
        }
        if batch {
            sonic_rs::from_slice(body).ok().map(|sent| Put::Batch(PutBatch(sent)))
        } else {
            sonic_rs::from_slice(body).ok().map(|sent| Put::One(PutOne(sent)))
        }
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
        let handle = entry.writable().ok_or_else(|| ApiError::not_found(&valid.name, account))?;
        let count = valid.data.len();
        let appended = store(handle, valid.data, &operations.counters).await?;
        Ok(if batch { batch_reply(handle, &appended, count) } else { one_reply(handle, &appended) })
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
        let mut decoder = Decoder::new(self.0.record.iter().map(Some));
        match &self.0.record {
            None => violations.missing("record"),
            Some(record) => decoder.push(record, "record.data", &mut violations)?,
        }
        let name = stream_name(self.0.name, &mut violations);
        violations.finish()?;
        Ok(Valid { name, data: decoder.finish() })
    }
}

impl<'a> PutBatch<'a> {
    fn validate(self) -> Result<Valid<'a>, ApiError> {
        let mut violations = Violations::default();
        let first = self.0.records.as_ref().map_or(&[][..], |records| &records.first);
        let mut decoder = Decoder::new(first.iter().map(Option::as_ref));
        for (index, record) in first.iter().enumerate() {
            match record {
                None => violations.missing(&format!("records.{}.member", index + 1)),
                Some(record) => decoder.push_numbered(record, index, &mut violations)?,
            }
        }
        match self.0.records.as_ref().map(|records| records.count) {
            None => violations.missing("records"),
            Some(0) => violations.push("[]", "records", "Member must have length greater than or equal to 1"),
            Some(count) if count > RECORDS_MAX => {
                violations.push("[...]", "records", "Member must have length less than or equal to 500");
            }
            Some(_) => {}
        }
        let name = stream_name(self.0.name, &mut violations);
        violations.finish()?;
        Ok(Valid { name, data: decoder.finish() })
    }
}

/// Base64 into one buffer; the records are slices of it.
#[derive(Debug)]
struct Decoder {
    buffer: Vec<u8>,
    ends: Vec<usize>,
}

impl Decoder {
    fn new<'r>(records: impl Iterator<Item = Option<&'r SentRecord<'r>>>) -> Decoder {
        let encoded =
            |record: Option<&SentRecord<'_>>| record.and_then(|one| one.data.as_ref()).map_or(0, |text| text.0.len());
        let (mut bytes, mut count) = (0, 0);
        for record in records {
            bytes += encoded(record);
            count += 1;
        }
        Decoder { buffer: Vec::with_capacity(bytes / 4 * 3 + 3), ends: Vec::with_capacity(count) }
    }

    fn push_numbered(&mut self, record: &SentRecord<'_>, index: usize, to: &mut Violations) -> Result<(), ApiError> {
        match self.append(record)? {
            Some(length) if length <= DATA_BYTES_MAX => Ok(()),
            outcome => {
                complain(outcome, &format!("records.{}.member.data", index + 1), to);
                Ok(())
            }
        }
    }

    fn push(&mut self, record: &SentRecord<'_>, at: &str, to: &mut Violations) -> Result<(), ApiError> {
        complain(self.append(record)?, at, to);
        Ok(())
    }

    /// The length of the data, `None` if there is none.
    fn append(&mut self, record: &SentRecord<'_>) -> Result<Option<usize>, ApiError> {
        let Some(text) = &record.data else { return Ok(None) };
        let start = self.buffer.len();
        if base64_simd::STANDARD.decode_append(text.0.as_bytes(), &mut self.buffer).is_err() {
            return Err(ApiError::serialization(not_base64(&text.0)));
        }
        self.ends.push(self.buffer.len());
        Ok(Some(self.buffer.len() - start))
    }

    fn finish(self) -> Vec<Bytes> {
        let whole = Bytes::from(self.buffer);
        let mut start = 0;
        let slice = |end: usize| whole.slice(std::mem::replace(&mut start, end)..end);
        self.ends.into_iter().map(slice).collect()
    }
}

fn complain(length: Option<usize>, at: &str, to: &mut Violations) {
    match length {
        None => to.missing(at),
        Some(length) if length > DATA_BYTES_MAX => {
            let value = format!("java.nio.HeapByteBuffer[pos=0 lim={length} cap={length}]");
            to.push(&value, at, &format!("Member must have length less than or equal to {DATA_BYTES_MAX}"));
        }
        Some(_) => {}
    }
}

fn not_base64(text: &str) -> String {
    let shown: String = text.chars().take(64).collect();
    let letter = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    let why = if let Some(bad) = text.chars().find(|c| !letter(c)) {
        format!("Invalid Base64 character: '{bad}'")
    } else if !text.len().is_multiple_of(4) {
        format!("Base64 encoded length is expected a multiple of 4 bytes but found: {}", text.len())
    } else {
        "Invalid last non-pad Base64 character detected".to_owned()
    };
    format!("'{shown}' can not be converted to a Blob: {why}")
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
    let bytes: usize = data.iter().map(Bytes::len).sum();
    let record = |data| NewRecord { placement: Placement::Any, partition_key: None, data };
    let records: Vec<NewRecord> = data.into_iter().map(record).collect();
    let (count, counters) = (records.len(), Arc::clone(counters));
    let (reply, outcome) = oneshot::channel();
    let done = move |result: Result<Appended, AppendError>| {
        if result.is_ok() {
            counters.count_accepted(count as u64, bytes as u64);
        }
        let _ = reply.send(result);
    };
    handle.log.submit(records, Box::new(done)).map_err(|error| refused(&error))?;
    match outcome.await {
        Ok(result) => result.map_err(|error| refused(&error)),
        Err(_) => Err(ApiError::internal("the log gave no answer; whether the records were stored is not known")),
    }
}

fn refused(error: &AppendError) -> ApiError {
    match error {
        AppendError::Full => ApiError::slow_down(),
        AppendError::DiskFull => ApiError::unavailable(Refusal::DiskFull, error.to_string()),
        AppendError::Poisoned(_) | AppendError::Closed => ApiError::unavailable(Refusal::LogFailed, error.to_string()),
    }
}

fn id_of(handle: &StreamHandle, appended: &Appended, index: usize) -> String {
    let (_, lsn) = appended.place(index);
    let identity = Identity { log: handle.log.id(), epoch: appended.epoch, lsn };
    record_id::encode(handle.id, identity)
}

fn one_reply(handle: &StreamHandle, appended: &Appended) -> String {
    format!(r#"{{"RecordId":"{}","Encrypted":false}}"#, id_of(handle, appended, 0))
}

fn batch_reply(handle: &StreamHandle, appended: &Appended, count: usize) -> String {
    let mut text = String::with_capacity(64 + count * (record_id::TEXT_LEN + 16));
    text.push_str(r#"{"FailedPutCount":0,"Encrypted":false,"RequestResponses":["#);
    for index in 0..count {
        let separator = if index == 0 { "" } else { "," };
        text.push_str(separator);
        text.push_str(r#"{"RecordId":""#);
        text.push_str(&id_of(handle, appended, index));
        text.push_str(r#""}"#);
    }
    text.push_str("]}");
    text
}

#[cfg(test)]
#[path = "put_tests.rs"]
mod tests;
