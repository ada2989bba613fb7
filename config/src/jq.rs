//! Partition keys by jq, compiled once.
//!
//! A filter ends, whatever it says and whatever the record holds: what cannot be bounded is refused when it is compiled,
//! and the rest runs on a budget of work that grows with the record.

mod budget;
mod compile;
mod guard;
mod json;
mod paths;

#[cfg(test)]
mod tests;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use jaq_json::Val;

use budget::Filter;
use paths::Paths;

/// AWS takes so many keys.
const KEYS_MAX: usize = 50;
/// What an error says of a record's content, at most.
const ERROR_BYTES_MAX: usize = 300;

/// A compiled query that gives named keys: one jq object constructor, as Firehose takes it, or one path a key, as YAML has it.
///
/// The language is that of jq 1.6 filters, run by jaq, without what reads anything but the record (files, the environment, the
/// clock, the local time zone, other records), without `def`, and without what need not end (`recurse(f)`, `repeat`, `while`,
/// `until`) or multiplies its input by itself (`combinations`, `transpose`). All else spends a budget of 1,000,000 units and 64
/// more a byte of the record, where a unit is a value made or looked at, or a byte of one; a record that needs more is an error.
/// A key is the first output of its filter.
#[derive(Clone)]
pub struct JqKeys {
    inner: Arc<Inner>,
}

/// The text is no jq, or gives no object of keys; or a record does not give the keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JqError(pub String);

struct Inner {
    text: String,
    names: Vec<String>,
    filters: Vec<Filter>,
    /// If every filter is a path, the way without jaq.
    paths: Option<Paths>,
}

impl JqKeys {
    /// Firehose's `MetadataExtractionQuery`: `{customer_id:.customer_id,year:.ts|strftime("%Y")}`.
    pub fn from_query(text: &str) -> Result<JqKeys, JqError> {
        compile::query(text).and_then(|keys| JqKeys::new(text.into(), keys))
    }

    /// YAML's `jq: { customer: .customer_id }`: key and filter each.
    pub fn from_filters(filters: &[(String, String)]) -> Result<JqKeys, JqError> {
        let text: Vec<String> = filters.iter().map(|(name, filter)| format!("{name:?}:({filter})")).collect();
        let keys = filters
            .iter()
            .map(|(name, filter)| {
                let compiled = compile::filter(filter).map_err(|e| JqError(format!("key `{name}`: {e}")))?;
                Ok((name.clone(), compiled))
            })
            .collect::<Result<_, JqError>>()?;
        JqKeys::new(format!("{{{}}}", text.join(",")), keys)
    }

    /// Names of the keys, known without a record.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.inner.names
    }

    /// The query; of filters, the query that they amount to.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.inner.text
    }

    /// The values for one JSON record, in the order of `names`. Null, empty, missing and non-scalar values are errors, as at AWS.
    /// A record that nests deeper than 128 or holds a number of more than 1,024 digits is none that jq could read.
    pub fn evaluate(&self, record: &[u8]) -> Result<Vec<String>, JqError> {
        let text = json::bounded(record).ok_or_else(not_json)?;
        if let Some(values) = self.inner.paths.as_ref().and_then(|paths| paths.look_up(text)) {
            return Ok(values);
        }
        self.evaluate_by_jaq(text)
    }

    fn evaluate_by_jaq(&self, record: &str) -> Result<Vec<String>, JqError> {
        let value = json::value(record).ok_or_else(not_json)?;
        let keys = self.inner.names.iter().zip(&self.inner.filters);
        keys.map(|(name, filter)| one_key(name, filter, &value, record.len())).collect()
    }

    fn new(text: String, keys: Vec<(String, compile::Compiled)>) -> Result<JqKeys, JqError> {
        check_names(&keys)?;
        let paths = keys.iter().map(|(_, compiled)| compiled.path.clone()).collect::<Option<Vec<_>>>();
        let paths = paths.and_then(|paths| Paths::new(&paths));
        let (names, filters) = keys.into_iter().map(|(name, compiled)| (name, compiled.filter)).unzip();
        Ok(JqKeys { inner: Arc::new(Inner { text, names, filters, paths }) })
    }
}

impl fmt::Debug for JqKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JqKeys").field(&self.inner.text).finish()
    }
}

/// Equal if the text is.
impl PartialEq for JqKeys {
    fn eq(&self, other: &JqKeys) -> bool {
        self.inner.text == other.inner.text
    }
}

impl Eq for JqKeys {}

fn check_names(keys: &[(String, compile::Compiled)]) -> Result<(), JqError> {
    if keys.is_empty() || keys.len() > KEYS_MAX {
        return Err(JqError(format!("got {} partition keys, allowed are 1 to {KEYS_MAX}", keys.len())));
    }
    for (index, (name, _)) in keys.iter().enumerate() {
        if name.is_empty() {
            return Err(JqError("got a partition key without a name, give it one".into()));
        }
        if keys[..index].iter().any(|(earlier, _)| earlier == name) {
            return Err(JqError(format!("got the partition key `{name}` twice, give each its own name")));
        }
    }
    Ok(())
}

fn one_key(name: &str, filter: &Filter, record: &Val, record_bytes: usize) -> Result<String, JqError> {
    // What jaq may panic at is unknown, so a panic is this record's error, not the daemon's end.
    let first = catch_unwind(AssertUnwindSafe(|| budget::first_output(filter, record.clone(), record_bytes)))
        .unwrap_or_else(|_| Err("jq stopped at its own fault".into()));
    let value = first.map_err(|message| JqError(shortened(format!("partition key `{name}`: {message}"))))?;
    match value {
        None | Some(Val::Null) => Err(null_or_empty()),
        Some(Val::TStr(text)) if text.is_empty() => Err(null_or_empty()),
        Some(Val::TStr(text)) => Ok(String::from_utf8_lossy(&text).into_owned()),
        Some(value @ Val::Num(_)) => match value.to_string() {
            text if text == "NaN" => Err(null_or_empty()),
            text => Ok(text),
        },
        Some(value @ Val::Bool(_)) => Ok(value.to_string()),
        Some(Val::Arr(_)) => Err(non_scalar(name, "an array")),
        Some(Val::Obj(_)) => Err(non_scalar(name, "an object")),
        Some(Val::BStr(_)) => Err(non_scalar(name, "bytes")),
    }
}

fn not_json() -> JqError {
    JqError("Non JSON record provided".into())
}

fn null_or_empty() -> JqError {
    JqError("partitionKeys values must not be null or empty".into())
}

fn non_scalar(name: &str, got: &str) -> JqError {
    JqError(format!("partition key `{name}`: got {got}, allowed is a string, a number or a boolean"))
}

fn shortened(mut message: String) -> String {
    if message.len() > ERROR_BYTES_MAX {
        message.truncate(message.floor_char_boundary(ERROR_BYTES_MAX));
        message.push('…');
    }
    message
}
