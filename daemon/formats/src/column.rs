//! The cells of one column for the batch being gathered. A cell can be taken back, which Arrow's own builders do not
//! allow: a record that is refused leaves no trace.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, BooleanBufferBuilder, Decimal128Array, NullBufferBuilder,
    PrimitiveArray, StringArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowNativeType, DataType, Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimeUnit, TimestampMicrosecondType,
};
use hydrant_config::ColumnKind;

use crate::coerce::{self, Misfit};
use crate::json::Token;

/// Room kept from one batch for the next; more is given back.
const KEPT_BYTES_MAX: usize = 1 << 20;
const UTC: &str = "UTC";

/// Cells in rows' order.
#[derive(Debug)]
pub(crate) struct ColumnCells {
    kind: ColumnKind,
    nulls: NullBufferBuilder,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Boolean(BooleanBufferBuilder),
    I8(Vec<i8>),
    I16(Vec<i16>),
    /// Int, and days of a date.
    I32(Vec<i32>),
    /// Bigint, and microseconds of a timestamp.
    I64(Vec<i64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    I128(Vec<i128>),
    Bytes {
        /// One more than there are cells.
        offsets: Vec<i32>,
        bytes: Vec<u8>,
    },
}

impl ColumnCells {
    pub(crate) fn new(kind: ColumnKind) -> ColumnCells {
        let values = match kind {
            ColumnKind::Boolean => Values::Boolean(BooleanBufferBuilder::new(0)),
            ColumnKind::Tinyint => Values::I8(Vec::new()),
            ColumnKind::Smallint => Values::I16(Vec::new()),
            ColumnKind::Int | ColumnKind::Date => Values::I32(Vec::new()),
            ColumnKind::Bigint | ColumnKind::Timestamp => Values::I64(Vec::new()),
            ColumnKind::Float => Values::F32(Vec::new()),
            ColumnKind::Double => Values::F64(Vec::new()),
            ColumnKind::Decimal { .. } => Values::I128(Vec::new()),
            ColumnKind::String | ColumnKind::Binary => Values::Bytes { offsets: vec![0], bytes: Vec::new() },
        };
        ColumnCells { kind, nulls: NullBufferBuilder::new(0), values }
    }

    pub(crate) fn kind(&self) -> ColumnKind {
        self.kind
    }

    pub(crate) fn len(&self) -> usize {
        self.nulls.len()
    }

    /// Appends one cell; on refusal the column is as it was.
    #[inline]
    pub(crate) fn push(&mut self, token: &Token<'_>) -> Result<(), Misfit> {
        if *token == Token::Null {
            self.push_null();
            return Ok(());
        }
        match (&mut self.values, self.kind) {
            (Values::Boolean(cells), _) => cells.append(coerce::boolean(token)?),
            (Values::I8(cells), _) => cells.push(coerce::integer(token)?),
            (Values::I16(cells), _) => cells.push(coerce::integer(token)?),
            (Values::I32(cells), ColumnKind::Date) => cells.push(coerce::date(token)?),
            (Values::I32(cells), _) => cells.push(coerce::integer(token)?),
            (Values::I64(cells), ColumnKind::Timestamp) => cells.push(coerce::timestamp(token)?),
            (Values::I64(cells), _) => cells.push(coerce::integer(token)?),
            (Values::F32(cells), _) => cells.push(coerce::float(token)?),
            (Values::F64(cells), _) => cells.push(coerce::double(token)?),
            (Values::I128(cells), ColumnKind::Decimal { precision, scale }) => {
                cells.push(coerce::decimal(token, precision, scale)?);
            }
            (Values::I128(_), _) => return Err("not a decimal column"),
            (Values::Bytes { offsets, bytes }, kind) => {
                let before = bytes.len();
                if kind == ColumnKind::Binary {
                    coerce::binary(token, bytes)?;
                } else {
                    bytes.extend_from_slice(coerce::text(token).as_bytes());
                }
                let Ok(end) = i32::try_from(bytes.len()) else {
                    bytes.truncate(before);
                    return Err("too long for one batch");
                };
                offsets.push(end);
            }
        }
        self.nulls.append_non_null();
        Ok(())
    }

    pub(crate) fn push_null(&mut self) {
        match &mut self.values {
            Values::Boolean(cells) => cells.append(false),
            Values::I8(cells) => cells.push(0),
            Values::I16(cells) => cells.push(0),
            Values::I32(cells) => cells.push(0),
            Values::I64(cells) => cells.push(0),
            Values::F32(cells) => cells.push(0.0),
            Values::F64(cells) => cells.push(0.0),
            Values::I128(cells) => cells.push(0),
            Values::Bytes { offsets, bytes: _ } => offsets.push(offsets[offsets.len() - 1]),
        }
        self.nulls.append_null();
    }

    /// Takes back the cells from row `rows` on.
    pub(crate) fn truncate(&mut self, rows: usize) {
        if rows >= self.len() {
            return;
        }
        match &mut self.values {
            Values::Boolean(cells) => cells.truncate(rows),
            Values::I8(cells) => cells.truncate(rows),
            Values::I16(cells) => cells.truncate(rows),
            Values::I32(cells) => cells.truncate(rows),
            Values::I64(cells) => cells.truncate(rows),
            Values::F32(cells) => cells.truncate(rows),
            Values::F64(cells) => cells.truncate(rows),
            Values::I128(cells) => cells.truncate(rows),
            Values::Bytes { offsets, bytes } => {
                offsets.truncate(rows + 1);
                bytes.truncate(offsets[rows].as_usize());
            }
        }
        self.nulls.truncate(rows);
    }

    /// Bytes the cells take.
    pub(crate) fn bytes(&self) -> usize {
        let rows = self.len();
        match &self.values {
            Values::Boolean(_) => rows.div_ceil(8),
            Values::I8(_) => rows,
            Values::I16(_) => rows * 2,
            Values::I32(_) | Values::F32(_) => rows * 4,
            Values::I64(_) | Values::F64(_) => rows * 8,
            Values::I128(_) => rows * 16,
            Values::Bytes { bytes, .. } => rows * 4 + bytes.len(),
        }
    }

    /// The cells as an array; the column is empty afterwards, with room for as many again.
    pub(crate) fn take(&mut self) -> ArrayRef {
        let nulls = self.nulls.finish();
        match &mut self.values {
            Values::Boolean(cells) => Arc::new(BooleanArray::new(cells.finish(), nulls)),
            Values::I8(cells) => primitive::<Int8Type>(cells, nulls),
            Values::I16(cells) => primitive::<Int16Type>(cells, nulls),
            Values::I32(cells) if self.kind == ColumnKind::Date => primitive::<Date32Type>(cells, nulls),
            Values::I32(cells) => primitive::<Int32Type>(cells, nulls),
            Values::I64(cells) if self.kind == ColumnKind::Timestamp => {
                let cells = PrimitiveArray::<TimestampMicrosecondType>::new(take_vec(cells).into(), nulls);
                Arc::new(cells.with_timezone(UTC))
            }
            Values::I64(cells) => primitive::<Int64Type>(cells, nulls),
            Values::F32(cells) => primitive::<Float32Type>(cells, nulls),
            Values::F64(cells) => primitive::<Float64Type>(cells, nulls),
            Values::I128(cells) => {
                let cells = Decimal128Array::new(take_vec(cells).into(), nulls);
                Arc::new(cells.with_data_type(data_type(self.kind)))
            }
            Values::Bytes { offsets, bytes } => {
                let ends = OffsetBuffer::new(ScalarBuffer::from(take_vec(offsets)));
                offsets.push(0);
                let bytes = Buffer::from_vec(take_vec(bytes));
                if self.kind == ColumnKind::Binary {
                    Arc::new(BinaryArray::new(ends, bytes, nulls))
                } else {
                    Arc::new(StringArray::new(ends, bytes, nulls))
                }
            }
        }
    }
}

/// What Arrow and, through it, Parquet call the type.
pub(crate) fn data_type(kind: ColumnKind) -> DataType {
    match kind {
        ColumnKind::Boolean => DataType::Boolean,
        ColumnKind::Tinyint => DataType::Int8,
        ColumnKind::Smallint => DataType::Int16,
        ColumnKind::Int => DataType::Int32,
        ColumnKind::Bigint => DataType::Int64,
        ColumnKind::Float => DataType::Float32,
        ColumnKind::Double => DataType::Float64,
        ColumnKind::String => DataType::Utf8,
        ColumnKind::Binary => DataType::Binary,
        ColumnKind::Date => DataType::Date32,
        ColumnKind::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
        ColumnKind::Decimal { precision, scale } => DataType::Decimal128(precision, scale),
    }
}

fn primitive<T: ArrowPrimitiveType>(cells: &mut Vec<T::Native>, nulls: Option<NullBuffer>) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(take_vec(cells).into(), nulls))
}

fn take_vec<T>(full: &mut Vec<T>) -> Vec<T> {
    let room = full.len().min(KEPT_BYTES_MAX / size_of::<T>());
    std::mem::replace(full, Vec::with_capacity(room))
}
