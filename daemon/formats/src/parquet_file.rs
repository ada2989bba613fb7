//! One Parquet file being written: when row groups end, which columns get a dictionary, and the memory bound. Nothing
//! of a row group reaches `out` before it is complete, and no more than one is held.

use std::hash::{DefaultHasher, Hasher};
use std::io::Write;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType, ToByteSlice,
};
use hydrant_config::ParquetCompression;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::EncodeError;
use crate::rows::Rows;

const CREATED_BY: &str = "hydrant";
/// The cells of the first batch that tell whether a dictionary pays.
const SAMPLE: usize = 1024;
const GZIP_LEVEL: u32 = 1;

pub(crate) struct ParquetFile<'a> {
    out: &'a mut dyn Write,
    compression: ParquetCompression,
    row_group_bytes: u64,
    /// Opened by the first batch, which decides on dictionaries.
    writer: Option<ArrowWriter<Vec<u8>>>,
    /// Bytes, before encoding, of the row group under way.
    gathered: u64,
}

impl<'a> ParquetFile<'a> {
    pub(crate) fn new(out: &'a mut dyn Write, compression: ParquetCompression, row_group_bytes: u64) -> Self {
        ParquetFile { out, compression, row_group_bytes, writer: None, gathered: 0 }
    }

    /// Takes the rows, and ends the row group if it is full.
    pub(crate) fn write(&mut self, rows: &mut Rows) -> Result<(), EncodeError> {
        if rows.count() == 0 {
            return Ok(());
        }
        let bytes = u64::try_from(rows.bytes()).unwrap_or(u64::MAX);
        let batch = rows.take().map_err(ParquetError::from)?;
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => self.writer.insert(open(&batch, self.compression)?),
        };
        writer.write(&batch)?;
        self.gathered = self.gathered.saturating_add(bytes);
        let held = u64::try_from(writer.memory_size()).unwrap_or(u64::MAX);
        if self.gathered >= self.row_group_bytes || held >= self.row_group_bytes {
            writer.flush()?;
            self.gathered = 0;
        }
        self.pass_on()
    }

    /// Writes the rows and the footer.
    pub(crate) fn finish(mut self, rows: &mut Rows) -> Result<(), EncodeError> {
        self.write(rows)?;
        if let Some(writer) = &mut self.writer {
            writer.finish()?;
        }
        self.pass_on()
    }

    /// The writer counts its offsets itself, so what it has written can be moved on.
    fn pass_on(&mut self) -> Result<(), EncodeError> {
        if let Some(writer) = &mut self.writer {
            let written = writer.inner_mut();
            self.out.write_all(written)?;
            written.clear();
        }
        Ok(())
    }
}

fn open(first: &RecordBatch, compression: ParquetCompression) -> Result<ArrowWriter<Vec<u8>>, ParquetError> {
    let compression = match compression {
        ParquetCompression::None => Compression::UNCOMPRESSED,
        ParquetCompression::Snappy => Compression::SNAPPY,
        ParquetCompression::Gzip => Compression::GZIP(GzipLevel::try_new(GZIP_LEVEL)?),
        ParquetCompression::Zstd => Compression::ZSTD(ZstdLevel::try_new(1)?),
        ParquetCompression::Lz4 => Compression::LZ4_RAW,
    };
    let mut properties = WriterProperties::builder()
        .set_created_by(CREATED_BY.to_owned())
        .set_compression(compression)
        .set_statistics_enabled(EnabledStatistics::Page);
    for (field, cells) in first.schema().fields().iter().zip(first.columns()) {
        if !dictionary_pays(cells) {
            let column = ColumnPath::from(vec![field.name().clone()]);
            properties = properties.set_column_dictionary_enabled(column, false);
        }
    }
    // Readers need only Parquet's own schema; Arrow's copy of it would tie the bytes to the library's version.
    let options = ArrowWriterOptions::new().with_properties(properties.build()).with_skip_arrow_metadata(true);
    ArrowWriter::try_new_with_options(Vec::new(), first.schema(), options)
}

/// False if nearly every cell differs: then hashing each costs a third of the encoding and the dictionary is given up
/// at its size limit anyway. With too few cells to tell it stays on.
fn dictionary_pays(cells: &ArrayRef) -> bool {
    let step = (cells.len() / SAMPLE).max(1);
    let mut hashes: Vec<u64> = (0..cells.len())
        .step_by(step)
        .take(SAMPLE)
        .filter(|index| cells.is_valid(*index))
        .filter_map(|index| hash_cell(cells, index))
        .collect();
    let sampled = hashes.len();
    if sampled < SAMPLE / 4 {
        return true;
    }
    hashes.sort_unstable();
    hashes.dedup();
    hashes.len() * 20 < sampled * 19
}

/// Only equality matters. `None` for a type that has few values anyway.
fn hash_cell(cells: &ArrayRef, index: usize) -> Option<u64> {
    fn hash(bytes: &[u8]) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write(bytes);
        hasher.finish()
    }
    fn native<T: ArrowPrimitiveType>(cells: &ArrayRef, index: usize) -> u64 {
        hash(cells.as_primitive::<T>().value(index).to_byte_slice())
    }
    Some(match cells.data_type() {
        DataType::Utf8 => hash(cells.as_string::<i32>().value(index).as_bytes()),
        DataType::Binary => hash(cells.as_binary::<i32>().value(index)),
        DataType::Int32 => native::<Int32Type>(cells, index),
        DataType::Int64 => native::<Int64Type>(cells, index),
        DataType::Float32 => native::<Float32Type>(cells, index),
        DataType::Float64 => native::<Float64Type>(cells, index),
        DataType::Timestamp(..) => native::<TimestampMicrosecondType>(cells, index),
        DataType::Decimal128(..) => native::<Decimal128Type>(cells, index),
        _ => return None,
    })
}
