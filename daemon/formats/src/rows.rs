//! Records become rows here, column by column. All columns always hold the same number of rows between calls.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use hydrant_config::Column;

use crate::coerce::{self, Misfit};
use crate::column::{ColumnCells, data_type};
use crate::json::{RecordReader, Syntax, Token, Top};

pub(crate) const PARSE_ERROR: &str = "DataFormatConversion.ParseError";
pub(crate) const MALFORMED_DATA: &str = "DataFormatConversion.MalformedData";

/// Names remembered by their place in the object, and how long such a name may be.
const PLACES_MAX: usize = 1024;
const PLACE_NAME_MAX: usize = 128;

/// Why a record is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn empty() -> Refusal {
        Refusal { code: PARSE_ERROR, message: "no JSON object in the record".into() }
    }
}

/// What to do with the rows of an object that fits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    Rows,
    /// Only the verdict counts.
    Nothing,
}

/// The batch being gathered.
#[derive(Debug)]
pub(crate) struct Rows {
    schema: SchemaRef,
    columns: Vec<ColumnCells>,
    count: usize,
    names: Names,
    key_buffer: Vec<u8>,
    value_buffer: Vec<u8>,
}

/// Which column a member belongs to. Producers write members in the same order time after time, so the name last seen
/// at a place is tried before the map.
#[derive(Debug)]
struct Names {
    by_name: HashMap<String, usize>,
    by_place: Vec<(String, Option<usize>)>,
}

impl Rows {
    pub(crate) fn new(columns: &[Column]) -> Rows {
        let fields: Vec<Field> =
            columns.iter().map(|column| Field::new(&column.name, data_type(column.kind), true)).collect();
        let by_name = columns.iter().enumerate().map(|(index, column)| (column.name.to_lowercase(), index)).collect();
        Rows {
            schema: Arc::new(Schema::new(fields)),
            columns: columns.iter().map(|column| ColumnCells::new(column.kind)).collect(),
            count: 0,
            names: Names { by_name, by_place: Vec::new() },
            key_buffer: Vec::new(),
            value_buffer: Vec::new(),
        }
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Bytes the rows take in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.columns.iter().map(ColumnCells::bytes).sum()
    }

    /// Takes back the rows from `count` on, and what an unfinished row left.
    pub(crate) fn truncate(&mut self, count: usize) {
        for column in &mut self.columns {
            column.truncate(count);
        }
        self.count = count;
    }

    /// The rows as a batch; none are left.
    pub(crate) fn take(&mut self) -> Result<RecordBatch, ArrowError> {
        self.count = 0;
        let arrays = self.columns.iter_mut().map(ColumnCells::take).collect();
        RecordBatch::try_new(Arc::clone(&self.schema), arrays)
    }

    /// Appends the reader's next object as one row; false at the record's end. After a refusal the caller truncates.
    pub(crate) fn push_object(&mut self, reader: &mut RecordReader<'_>, keep: Keep) -> Result<bool, Refusal> {
        match reader.next_top()? {
            Top::End => return Ok(false),
            Top::Other(value) => return Err(not_an_object(value, reader)),
            Top::Object => {}
        }
        let mut place = 0;
        while let Some(name) = reader.next_key(place == 0, &mut self.key_buffer)? {
            match self.names.column(place, name) {
                Some(index) => {
                    let token = reader.value(&mut self.value_buffer)?;
                    let column = &mut self.columns[index];
                    set(column, self.count, &token)
                        .map_err(|why| malformed(self.schema.field(index), column, &token, why))?;
                }
                None => {
                    reader.skip_value()?;
                }
            }
            place += 1;
        }
        match keep {
            Keep::Rows => self.finish_row(),
            Keep::Nothing => self.truncate(self.count),
        }
        Ok(true)
    }

    fn finish_row(&mut self) {
        self.count += 1;
        for column in &mut self.columns {
            if column.len() < self.count {
                column.push_null();
            }
        }
    }
}

impl Names {
    #[inline]
    fn column(&mut self, place: usize, name: &str) -> Option<usize> {
        match self.by_place.get(place) {
            Some((known, column)) if known == name => *column,
            _ => self.look_up(place, name),
        }
    }

    #[inline(never)]
    fn look_up(&mut self, place: usize, name: &str) -> Option<usize> {
        let column = match self.by_name.get(name) {
            Some(index) => Some(*index),
            None => self.by_name.get(&name.to_lowercase()).copied(),
        };
        if place < PLACES_MAX && name.len() <= PLACE_NAME_MAX {
            if self.by_place.len() <= place {
                self.by_place.resize(place + 1, (String::new(), self.by_name.get("").copied()));
            }
            let (known, known_column) = &mut self.by_place[place];
            known.clear();
            known.push_str(name);
            *known_column = column;
        }
        column
    }
}

/// Of several members with one name the last wins; each must fit.
#[inline]
fn set(column: &mut ColumnCells, row: usize, token: &Token<'_>) -> Result<(), Misfit> {
    if column.len() > row {
        column.truncate(row);
    }
    column.push(token)
}

impl From<Syntax> for Refusal {
    fn from(Syntax(message): Syntax) -> Refusal {
        Refusal { code: PARSE_ERROR, message }
    }
}

#[cold]
fn malformed(field: &Field, column: &ColumnCells, token: &Token<'_>, why: Misfit) -> Refusal {
    let (wanted, got) = (coerce::kind_name(column.kind()), coerce::excerpt(token));
    Refusal { code: MALFORMED_DATA, message: format!("column `{}` wants {wanted}, got {got}: {why}", field.name()) }
}

/// A line of text that happens to begin with a number is still not JSON: the rest decides.
#[cold]
fn not_an_object(value: &str, reader: &mut RecordReader<'_>) -> Refusal {
    if let Err(syntax) = skip_rest(reader) {
        return syntax.into();
    }
    let kind = match value.as_bytes().first() {
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    };
    Refusal { code: MALFORMED_DATA, message: format!("a record must hold JSON objects, got {kind} at the top level") }
}

fn skip_rest(reader: &mut RecordReader<'_>) -> Result<(), Syntax> {
    let mut buffer = Vec::new();
    loop {
        match reader.next_top()? {
            Top::End => return Ok(()),
            Top::Other(_) => {}
            Top::Object => {
                let mut first = true;
                while reader.next_key(first, &mut buffer)?.is_some() {
                    reader.skip_value()?;
                    first = false;
                }
            }
        }
    }
}
