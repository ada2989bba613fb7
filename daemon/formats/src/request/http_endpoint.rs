//! The body of Firehose's HTTP endpoint protocol: `{"records":[{"data":"base64"},…],"timestamp":ms,"requestId":uuid}`.
//!
//! The id stands last, for it is derived from the records before it.

use std::io::{self, BufWriter, Write};

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use hydrant_config::ContentEncoding;

use super::{EncodedRequest, RequestEncoder, RequestId, RequestIdentity, RequestRecord, RequestRecords};
use crate::EncodeError;
use crate::lines::{GZIP_LEVEL, GZIP_OS_UNKNOWN};

/// As at AWS.
const RECORDS_MAX: u32 = 10_000;
/// Of a body before compression, as at AWS.
const BODY_BYTES_MAX: u64 = 64 << 20;
/// What stands around the records, and around each of them.
const FRAME_BYTES: u64 = 128;
const RECORD_FRAME_BYTES: u64 = 12;
const BUFFER_BYTES: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct HttpEndpointEncoder {
    /// Of the records, before base64.
    size: u64,
    append_delimiter: bool,
    encoding: ContentEncoding,
}

impl HttpEndpointEncoder {
    pub(super) fn new(size: u64, append_delimiter: bool, encoding: ContentEncoding) -> HttpEndpointEncoder {
        HttpEndpointEncoder { size, append_delimiter, encoding }
    }

    fn write(
        &self,
        identity: &RequestIdentity,
        records: &mut RequestRecords<'_>,
        out: &mut dyn Write,
    ) -> Result<EncodedRequest, EncodeError> {
        let mut id = RequestId::of(identity);
        let (mut count, mut bytes, mut body) = (0, 0, FRAME_BYTES);
        let mut text = String::new();
        out.write_all(br#"{"records":["#)?;
        while count < RECORDS_MAX && bytes < self.size {
            let fits = |next: &io::Result<RequestRecord>| {
                next.as_ref().map_or(true, |next| count == 0 || body + in_body(next) <= BODY_BYTES_MAX)
            };
            let Some(record) = records.next_if(fits) else { break };
            let record = record?;
            id.add(&record);
            bytes += record.data.len() as u64;
            body += in_body(&record);
            text.clear();
            self.append_base64(&record, &mut text);
            let comma = if count == 0 { "" } else { "," };
            write!(out, r#"{comma}{{"data":"{text}"}}"#)?;
            count += 1;
        }
        let (key, made_at) = (id.finish(), identity.made_at.as_millis());
        write!(out, r#"],"timestamp":{made_at},"requestId":"{key}"}}"#)?;
        Ok(EncodedRequest { key, records: count, rejected: Vec::new() })
    }

    fn append_base64(&self, record: &RequestRecord, text: &mut String) {
        if self.append_delimiter && !record.data.ends_with(b"\n") {
            let delimited = [&record.data[..], b"\n"].concat();
            base64_simd::STANDARD.encode_append(&delimited, text);
        } else {
            base64_simd::STANDARD.encode_append(&record.data, text);
        }
    }
}

/// Bytes of the body for a record, its delimiter included.
fn in_body(record: &RequestRecord) -> u64 {
    (record.data.len() as u64 + 1).div_ceil(3) * 4 + RECORD_FRAME_BYTES
}

impl RequestEncoder for HttpEndpointEncoder {
    fn encode(
        &mut self,
        identity: &RequestIdentity,
        records: &mut RequestRecords<'_>,
        out: &mut dyn Write,
    ) -> Result<EncodedRequest, EncodeError> {
        match self.encoding {
            ContentEncoding::None => {
                let mut buffered = BufWriter::with_capacity(BUFFER_BYTES, out);
                let encoded = self.write(identity, records, &mut buffered)?;
                buffered.flush()?;
                Ok(encoded)
            }
            ContentEncoding::Gzip => {
                let gzip = GzBuilder::new().operating_system(GZIP_OS_UNKNOWN).write(out, Compression::new(GZIP_LEVEL));
                let mut buffered = BufWriter::with_capacity(BUFFER_BYTES, gzip);
                let encoded = self.write(identity, records, &mut buffered)?;
                let gzip: GzEncoder<_> = buffered.into_inner().map_err(io::IntoInnerError::into_error)?;
                gzip.finish()?;
                Ok(encoded)
            }
        }
    }

    fn content_type(&self) -> &'static str {
        "application/json"
    }

    fn content_encoding(&self) -> Option<&'static str> {
        match self.encoding {
            ContentEncoding::None => None,
            ContentEncoding::Gzip => Some("gzip"),
        }
    }
}
