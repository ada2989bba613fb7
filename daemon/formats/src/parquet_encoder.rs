//! JSON records to one Parquet file. The same records give the same bytes; what a record was refused for is decided
//! before any row of it is in the file.

use std::fmt;
use std::io::{self, Write};

use bytes::Bytes;
use hydrant_config::{Column, ParquetCompression};

use crate::json::RecordReader;
use crate::parquet_file::ParquetFile;
use crate::rows::{Keep, Refusal, Rows};
use crate::{EncodeError, Encoded, Encoder, Rejected};

/// A batch is written when it has so many rows or bytes, whichever comes first.
const BATCH_ROWS: usize = 2048;
const BATCH_BYTES: usize = 4 << 20;
/// A record with more rows is checked whole before its rows go into the file batch by batch.
const RECORD_ROWS_HELD: usize = 2048;

/// Encodes by one schema. Memory for one batch is kept between objects.
pub struct ParquetEncoder {
    rows: Rows,
    compression: ParquetCompression,
    row_group_bytes: u64,
}

impl ParquetEncoder {
    /// Column names must be lower case and distinct, as in a [`hydrant_config::Schema`].
    #[must_use]
    pub fn new(columns: &[Column], compression: ParquetCompression, row_group_bytes: u64) -> ParquetEncoder {
        ParquetEncoder { rows: Rows::new(columns), compression, row_group_bytes }
    }

    /// Its rows, or why it was refused.
    fn add(&mut self, data: &[u8], file: &mut ParquetFile<'_>) -> Result<Result<u64, Refusal>, EncodeError> {
        let mark = self.rows.count();
        let verdict = match self.append(data) {
            Ok(Held::Whole) => Ok(u64::try_from(self.rows.count() - mark).unwrap_or(u64::MAX)),
            Ok(Held::TooLong) => {
                self.rows.truncate(mark);
                match self.check(data) {
                    Ok(()) => return self.append_in_batches(data, file),
                    Err(refusal) => Err(refusal),
                }
            }
            Err(refusal) => Err(refusal),
        };
        if verdict.is_err() {
            self.rows.truncate(mark);
        }
        if self.is_full() {
            file.write(&mut self.rows)?;
        }
        Ok(verdict)
    }

    fn append(&mut self, data: &[u8]) -> Result<Held, Refusal> {
        let mark = self.rows.count();
        let mut reader = RecordReader::new(data)?;
        while self.rows.push_object(&mut reader, Keep::Rows)? {
            if self.rows.count() - mark > RECORD_ROWS_HELD {
                return Ok(Held::TooLong);
            }
        }
        if self.rows.count() == mark { Err(Refusal::empty()) } else { Ok(Held::Whole) }
    }

    fn check(&mut self, data: &[u8]) -> Result<(), Refusal> {
        let mut reader = RecordReader::new(data)?;
        while self.rows.push_object(&mut reader, Keep::Nothing)? {}
        Ok(())
    }

    fn append_in_batches(
        &mut self,
        data: &[u8],
        file: &mut ParquetFile<'_>,
    ) -> Result<Result<u64, Refusal>, EncodeError> {
        let unchanged = |refusal: Refusal| EncodeError::Io(io::Error::other(refusal.message));
        let mut reader = RecordReader::new(data).map_err(|syntax| unchanged(syntax.into()))?;
        let mut rows = 0;
        while self.rows.push_object(&mut reader, Keep::Rows).map_err(unchanged)? {
            rows += 1;
            if self.is_full() {
                file.write(&mut self.rows)?;
            }
        }
        Ok(Ok(rows))
    }

    fn is_full(&self) -> bool {
        self.rows.count() >= BATCH_ROWS || self.rows.bytes() >= BATCH_BYTES
    }
}

/// How much of a record is among the rows.
enum Held {
    Whole,
    TooLong,
}

impl Encoder for ParquetEncoder {
    fn encode(
        &mut self,
        records: &mut dyn Iterator<Item = io::Result<Bytes>>,
        out: &mut dyn Write,
    ) -> Result<Encoded, EncodeError> {
        // An object that failed halfway may have left rows.
        self.rows.truncate(0);
        let mut file = ParquetFile::new(out, self.compression, self.row_group_bytes);
        let mut encoded = Encoded::default();
        for (index, record) in (0..).zip(records) {
            match self.add(&record?, &mut file)? {
                Ok(rows) => {
                    encoded.records += 1;
                    encoded.rows += rows;
                }
                Err(Refusal { code, message }) => encoded.rejected.push(Rejected { index, code, message }),
            }
        }
        if encoded.records > 0 {
            file.finish(&mut self.rows)?;
        }
        Ok(encoded)
    }

    fn extension(&self) -> &'static str {
        ".parquet"
    }

    fn content_encoding(&self) -> Option<&'static str> {
        None
    }
}

impl fmt::Debug for ParquetEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParquetEncoder")
            .field("schema", self.rows.schema())
            .field("compression", &self.compression)
            .field("row_group_bytes", &self.row_group_bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
