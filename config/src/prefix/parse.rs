//! Prefix text to parts.

use super::{KeySource, Part, PrefixError, PrefixKind};
use crate::time_pattern::TimePattern;

const OPEN: &str = "!{";
const RANDOM_STRING: &str = "random-string";
const ERROR_OUTPUT_TYPE: &str = "error-output-type";
const FROM_QUERY: &str = "partitionKeyFromQuery";
const FROM_LAMBDA: &str = "partitionKeyFromLambda";

pub(super) fn parts(text: &str, kind: PrefixKind) -> Result<Vec<Part>, PrefixError> {
    if let Some((offset, c)) = text.char_indices().find(|(_, c)| c.is_control()) {
        return Err(error(offset, format!("got the control character U+{:04X}, allowed are printable ones", c as u32)));
    }
    let mut parts = Vec::new();
    let mut at = 0;
    while let Some(found) = text[at..].find(OPEN) {
        if found > 0 {
            parts.push(Part::Text(text[at..at + found].into()));
        }
        let start = at + found;
        let (part, end) = expression(text, start, kind)?;
        parts.push(part);
        at = end;
    }
    if at < text.len() {
        parts.push(Part::Text(text[at..].into()));
    }
    Ok(parts)
}

/// The expression that begins with `!{` at `start`, and the offset after its `}`.
fn expression(text: &str, start: usize, kind: PrefixKind) -> Result<(Part, usize), PrefixError> {
    let inner_start = start + OPEN.len();
    let inner = &text[inner_start..];
    let length = inner_length(inner).ok_or_else(|| PrefixError {
        hint: Some("write `}` after it; `!{` may stand only at the start of an expression".into()),
        ..error(start, "the expression has no end, got no `}` after `!{`")
    })?;
    let inner = &inner[..length];
    let Some((namespace, value)) = inner.split_once(':') else {
        return Err(PrefixError {
            hint: Some("for example `!{timestamp:yyyy/MM/dd}`".into()),
            ..error(start, format!("got `!{{{inner}}}`, allowed is `!{{namespace:value}}`"))
        });
    };
    let value_start = inner_start + namespace.len() + 1;
    let part = match namespace {
        "timestamp" => timestamp(value, value_start)?,
        "firehose" => firehose(value, value_start, kind)?,
        FROM_QUERY => Part::Key(KeySource::Query, key(namespace, value, value_start, kind)?),
        FROM_LAMBDA => Part::Key(KeySource::Lambda, key(namespace, value, value_start, kind)?),
        _ => return Err(unknown("the namespace", namespace, inner_start, namespaces(kind))),
    };
    Ok((part, inner_start + length + 1))
}

/// Up to the `}` that ends the expression: in a time pattern a quoted one is text.
fn inner_length(inner: &str) -> Option<usize> {
    let quotes = inner.starts_with("timestamp:");
    let mut quoted = false;
    inner.char_indices().find_map(|(at, c)| match c {
        '\'' if quotes => {
            quoted = !quoted;
            None
        }
        '}' if !quoted => Some(at),
        _ => None,
    })
}

fn timestamp(pattern: &str, offset: usize) -> Result<Part, PrefixError> {
    if pattern.is_empty() {
        return Err(PrefixError {
            hint: Some("for example `!{timestamp:yyyy/MM/dd/HH}`".into()),
            ..error(offset, "got an empty time pattern, allowed is a pattern of Java's DateTimeFormatter")
        });
    }
    let parsed = TimePattern::parse(pattern).map_err(|(at, message)| error(offset + at, message))?;
    Ok(Part::Timestamp { pattern: pattern.into(), parsed })
}

fn firehose(value: &str, offset: usize, kind: PrefixKind) -> Result<Part, PrefixError> {
    match value {
        RANDOM_STRING => Ok(Part::RandomString),
        ERROR_OUTPUT_TYPE if kind == PrefixKind::ErrorOutput => Ok(Part::ErrorOutputType),
        ERROR_OUTPUT_TYPE => Err(PrefixError {
            hint: Some("move it to the error output prefix".into()),
            ..error(offset, "got `error-output-type`, which records that were delivered do not have")
        }),
        _ => Err(unknown("the value", value, offset, firehose_values(kind))),
    }
}

fn key(namespace: &str, value: &str, offset: usize, kind: PrefixKind) -> Result<String, PrefixError> {
    if kind == PrefixKind::ErrorOutput {
        return Err(PrefixError {
            hint: Some("a record that failed may have no keys; use `!{firehose:error-output-type}`".into()),
            ..error(offset - namespace.len() - 1, format!("got `{namespace}`, allowed are `timestamp`, `firehose`"))
        });
    }
    if value.is_empty() {
        return Err(error(offset, "got no name, allowed is the name of a partition key"));
    }
    match value.find(OPEN) {
        Some(at) => Err(PrefixError {
            hint: Some("`!{` may stand only at the start of an expression".into()),
            ..error(offset + at, format!("got `{value}` as the name of a partition key, allowed is text without `!{{`"))
        }),
        None => Ok(value.into()),
    }
}

fn namespaces(kind: PrefixKind) -> &'static [&'static str] {
    match kind {
        PrefixKind::Output => &["timestamp", "firehose", FROM_QUERY, FROM_LAMBDA],
        PrefixKind::ErrorOutput => &["timestamp", "firehose"],
    }
}

fn firehose_values(kind: PrefixKind) -> &'static [&'static str] {
    match kind {
        PrefixKind::Output => &[RANDOM_STRING],
        PrefixKind::ErrorOutput => &[RANDOM_STRING, ERROR_OUTPUT_TYPE],
    }
}

fn unknown(what: &str, got: &str, offset: usize, allowed: &[&str]) -> PrefixError {
    let near = allowed.iter().find(|name| strsim::jaro_winkler(&name.to_lowercase(), &got.to_lowercase()) > 0.8);
    let allowed: Vec<String> = allowed.iter().map(|name| format!("`{name}`")).collect();
    PrefixError {
        hint: near.map(|name| format!("did you mean `{name}`?")),
        ..error(offset, format!("got {what} `{got}`, allowed: {}", allowed.join(", ")))
    }
}

fn error(offset: usize, message: impl Into<String>) -> PrefixError {
    PrefixError { offset, message: message.into(), hint: None }
}
