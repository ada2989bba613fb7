//! Records to object bytes. Pure CPU: no I/O but the writer it is given, no clock, no async.

mod bulk;
mod coerce;
mod column;
mod error_record;
mod json;
mod lines;
mod moment;
mod number;
mod parquet_encoder;
mod parquet_file;
mod request;
mod rows;

use std::fmt;
use std::io::{self, Write};

use bytes::Bytes;
use hydrant_config::Format;

pub use bulk::{BulkEncoder, Documents};
pub use error_record::{ErrorKind, ErrorRecord};
pub use lines::LinesEncoder;
pub use parquet_encoder::ParquetEncoder;
pub use request::{EncodedRequest, RequestEncoder, RequestIdentity, RequestRecord, RequestRecords, request_encoder};

/// Turns the records of one object into its bytes. One encoder is used for many objects, one after another.
pub trait Encoder: Send + fmt::Debug {
    /// Writes one whole object of `records` to `out`. A record that does not fit is reported in `rejected` and leaves
    /// no trace in the object. If every record was rejected the bytes written are worthless and the caller drops them.
    fn encode(
        &mut self,
        records: &mut dyn Iterator<Item = io::Result<Bytes>>,
        out: &mut dyn Write,
    ) -> Result<Encoded, EncodeError>;
    /// With its dot; empty for uncompressed lines, as at Firehose.
    fn extension(&self) -> &'static str;
    /// What an S3 object carries as Content-Encoding.
    fn content_encoding(&self) -> Option<&'static str>;
}

/// What became of the records of one object.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// Records in the object.
    pub records: u64,
    /// Rows in it: a record may hold several JSON objects.
    pub rows: u64,
    pub rejected: Vec<Rejected>,
}

/// A record that could not become part of the object.
#[derive(Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Its place among the records given, from 0.
    pub index: u64,
    /// `DataFormatConversion.ParseError` or `DataFormatConversion.MalformedData`.
    pub code: &'static str,
    pub message: String,
}

#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The records' source or the writer failed.
    #[error("cannot read or write while encoding")]
    Io(#[from] io::Error),
    #[error("the Parquet writer failed")]
    Parquet(#[from] parquet::errors::ParquetError),
}

/// The encoder of a delivery stream's format. `append_delimiter` concerns lines only: a record that does not end in a
/// newline gets one.
#[must_use]
pub fn encoder(format: &Format, append_delimiter: bool) -> Box<dyn Encoder> {
    match format {
        Format::Lines { compression } => Box::new(LinesEncoder::new(*compression, append_delimiter)),
        Format::Parquet(parquet) => {
            Box::new(ParquetEncoder::new(parquet.schema.columns(), parquet.compression, parquet.row_group))
        }
    }
}

/// Rows of a whole Parquet file, as its footer says.
pub fn parquet_rows(file: &Bytes) -> Result<u64, EncodeError> {
    let metadata = parquet::file::metadata::ParquetMetaDataReader::new().parse_and_finish(file)?;
    Ok(u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0))
}
