//! What Splunk's HTTP event collector takes: the records one after the other, as bytes for its raw endpoint and as JSON events for
//! the other one.
//!
//! One event that is none would have the collector refuse the whole request, so it never gets into one.

use std::io::{BufWriter, Write};

use hydrant_config::SplunkEndpoint;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::{EncodedRequest, RequestEncoder, RequestId, RequestIdentity, RequestRecords};
use crate::{EncodeError, Rejected};

/// So that one request is one transaction of a bearable size, however small the records are.
const RECORDS_MAX: u32 = 10_000;
const BUFFER_BYTES: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct SplunkEncoder {
    size: u64,
    append_delimiter: bool,
    endpoint: SplunkEndpoint,
}

impl SplunkEncoder {
    pub(super) fn new(size: u64, append_delimiter: bool, endpoint: SplunkEndpoint) -> SplunkEncoder {
        SplunkEncoder { size, append_delimiter, endpoint }
    }
}

impl RequestEncoder for SplunkEncoder {
    fn encode(
        &mut self,
        identity: &RequestIdentity,
        records: &mut RequestRecords<'_>,
        out: &mut dyn Write,
    ) -> Result<EncodedRequest, EncodeError> {
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, out);
        let mut id = RequestId::of(identity);
        let (mut count, mut bytes, mut rejected) = (0, 0, Vec::new());
        while count < RECORDS_MAX && bytes < self.size {
            let Some(record) = records.next() else { break };
            let record = record?;
            if self.endpoint == SplunkEndpoint::Event
                && let Err(message) = check_events(&record.data)
            {
                let index = u64::from(count) + rejected.len() as u64;
                rejected.push(Rejected { index, code: "Splunk.InvalidDataFormat", message });
                continue;
            }
            id.add(&record);
            bytes += record.data.len() as u64;
            out.write_all(&record.data)?;
            if self.append_delimiter && !record.data.ends_with(b"\n") {
                out.write_all(b"\n")?;
            }
            count += 1;
        }
        out.flush()?;
        Ok(EncodedRequest { key: id.finish(), records: count, rejected })
    }

    fn content_type(&self) -> &'static str {
        match self.endpoint {
            SplunkEndpoint::Raw => "text/plain",
            SplunkEndpoint::Event => "application/json",
        }
    }

    fn content_encoding(&self) -> Option<&'static str> {
        None
    }
}

/// As much of an event as the collector insists on.
#[derive(Deserialize)]
struct Event {
    event: Option<Blank>,
}

/// Whether an event says anything.
#[derive(Deserialize)]
#[serde(untagged)]
enum Blank {
    Text(String),
    Other(IgnoredAny),
}

/// A record may hold several events.
fn check_events(data: &[u8]) -> Result<(), String> {
    let mut events = 0;
    let wrong = |error: serde_json::Error| format!("no HEC event in JSON: {error}");
    for event in serde_json::Deserializer::from_slice(data).into_iter::<&RawValue>() {
        let event = event.map_err(wrong)?.get();
        // A list of members would do for serde.
        if !event.starts_with('{') {
            return Err("no HEC event in JSON: it is no object".to_owned());
        }
        match serde_json::from_str::<Event>(event).map_err(wrong)?.event {
            None => return Err("the HEC event has no `event`".to_owned()),
            Some(Blank::Text(text)) if text.is_empty() => {
                return Err("the `event` of the HEC event is blank".to_owned());
            }
            Some(Blank::Text(_) | Blank::Other(IgnoredAny)) => events += 1,
        }
    }
    if events == 0 { Err("no HEC event in JSON: the record is empty".to_owned()) } else { Ok(()) }
}
