//! Records to the bodies of requests, for destinations that take records and not objects. What is staged is what is sent.
//!
//! Invariant: what a request is called depends on what it holds and on where it stands in the log, never on a clock or
//! dice, so that a repeat is known for one.

use std::fmt;
use std::io::{self, Write};
use std::iter::Peekable;

use bytes::Bytes;
use hydrant_config::{DeliveryStreamSpec, Destination};
use hydrant_record::{Epoch, LogId, StreamId, Timestamp, Unit};

use crate::{EncodeError, Rejected};

/// A record on its way into a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRecord {
    pub unit: Unit,
    pub arrived_at: Timestamp,
    pub data: Bytes,
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
    match &stream.destination {
        Destination::Objects(_) => None,
        // Refused when the daemon starts, until there is something to send them with.
        Destination::HttpEndpoint(_) | Destination::OpenSearch(_) | Destination::Splunk(_) => None,
    }
}
