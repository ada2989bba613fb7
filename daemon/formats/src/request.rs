//! Records to the bodies of requests, for destinations that take records and not objects. What is staged is what is sent.
//!
//! Invariant: what a request is called depends on what it holds and on where it stands among the chunks, never on a clock or
//! dice, so that a repeat is known for one.

mod http_endpoint;
mod splunk;

use std::fmt;
use std::io::{self, Write};
use std::iter::Peekable;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use hydrant_config::{DeliveryStreamSpec, Destination};
use hydrant_record::{Epoch, LogId, StreamId, Timestamp, Unit};
use uuid::Builder;

use self::http_endpoint::HttpEndpointEncoder;
use self::splunk::SplunkEncoder;
use crate::{BulkEncoder, EncodeError, Rejected};

/// A record on its way into a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRecord {
    pub unit: Unit,
    pub arrived_at: Timestamp,
    pub data: Bytes,
    /// What its document was called when it failed, so that it is not made under a second name; `None` if it never had one.
    pub document_id: Option<String>,
}

/// The records of a chunk, of which each request takes the next few.
pub type RequestRecords<'a> = Peekable<&'a mut dyn Iterator<Item = io::Result<RequestRecord>>>;

/// Where a request stands. Ids of requests and of documents are derived from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestIdentity {
    pub log: LogId,
    pub delivery_stream: StreamId,
    /// Of the chunk's first record.
    pub epoch: Epoch,
    pub chunk: u64,
    /// Within the chunk, from 0.
    pub part: u64,
    /// When the request was made.
    pub made_at: Timestamp,
}

/// Turns records into the bodies of requests, one after another.
pub trait RequestEncoder: Send + fmt::Debug {
    /// Writes one whole body to `out`. Takes records until the request has its size and leaves the next one where it is; takes
    /// at least one if there is one. If every record was rejected the bytes written are worthless.
    fn encode(
        &mut self,
        identity: &RequestIdentity,
        records: &mut RequestRecords<'_>,
        out: &mut dyn Write,
    ) -> Result<EncodedRequest, EncodeError>;
    fn content_type(&self) -> &'static str;
    fn content_encoding(&self) -> Option<&'static str>;
}

/// What became of the records that one request took.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct EncodedRequest {
    /// What the request is called: the sink's `Delivery::key`.
    pub key: String,
    /// Records in the request; item i of the sink is the i-th of them.
    pub records: u32,
    /// By their place among all records that were taken; those are `records` and these together.
    pub rejected: Vec<Rejected>,
}

/// The encoder of a destination that takes requests; `None` for objects.
#[must_use]
pub fn request_encoder(stream: &DeliveryStreamSpec) -> Option<Box<dyn RequestEncoder>> {
    let (size, append_delimiter) = (stream.buffering.size, stream.processing.append_delimiter);
    match &stream.destination {
        Destination::HttpEndpoint(endpoint) => {
            Some(Box::new(HttpEndpointEncoder::new(size, append_delimiter, endpoint.content_encoding)))
        }
        Destination::Splunk(splunk) => Some(Box::new(SplunkEncoder::new(size, append_delimiter, splunk.endpoint_type))),
        Destination::OpenSearch(search) => Some(Box::new(BulkEncoder::new(search))),
        Destination::Objects(_) => None,
    }
}

/// Names a request by where it stands and by the records in it.
struct RequestId {
    context: Context,
}

impl RequestId {
    fn of(identity: &RequestIdentity) -> RequestId {
        let mut context = Context::new(&SHA256);
        context.update(b"hydrant request v1\0");
        context.update(&identity.delivery_stream.0);
        context.update(&identity.epoch.0.to_be_bytes());
        context.update(&identity.chunk.to_be_bytes());
        context.update(&identity.part.to_be_bytes());
        RequestId { context }
    }

    fn add(&mut self, record: &RequestRecord) {
        self.context.update(&record.unit.lsn.get().to_be_bytes());
        self.context.update(&record.unit.sub.to_be_bytes());
        self.context.update(&(record.data.len() as u64).to_be_bytes());
        self.context.update(&record.data);
    }

    /// A version 8 (custom) UUID.
    fn finish(self) -> String {
        let digest = self.context.finish();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest.as_ref()[..16]);
        Builder::from_custom_bytes(bytes).into_uuid().to_string()
    }
}

#[cfg(test)]
mod tests;
