//! What the server says about each item, and what that means.
//!
//! Invariant: an item is taken only where the server says so by name of its place; a doubtful answer takes none.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::{Receipt, Refusal};

/// Bytes of an answer that tells of no items.
const ANSWER_BYTES_MAX: usize = 256 << 10;
/// Bytes for each item beside that. A reason quotes at most some hundred characters of the document.
const ITEM_BYTES_MAX: usize = 4 << 10;
/// Bytes of the largest answer that is read.
const BYTES_MAX: usize = 64 << 20;
/// Characters of the server's own words that are passed on.
const MESSAGE_CHARS_MAX: usize = 1_000;

/// Bytes of the answer to a request of so many items that are read.
pub(super) fn bytes_max(items: usize) -> usize {
    items.saturating_mul(ITEM_BYTES_MAX).saturating_add(ANSWER_BYTES_MAX).min(BYTES_MAX)
}

#[derive(Deserialize)]
struct BulkAnswer<'a> {
    #[serde(borrow)]
    items: Vec<ItemAnswer<'a>>,
}

#[derive(Deserialize)]
struct ItemAnswer<'a> {
    #[serde(borrow)]
    create: Outcome<'a>,
}

#[derive(Deserialize)]
struct Outcome<'a> {
    status: u16,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// The part of an error that decides.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Reason {
    r#type: String,
    reason: String,
}

#[derive(Deserialize)]
struct Whole {
    error: Reason,
}

/// What the items were told so far.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    receipt: Receipt,
}

impl Verdicts {
    /// Adds the answer to a request of `items`; why it is none, else, for any web server can say 200.
    pub(super) fn take(&mut self, answer: &[u8], items: &[u32], retry_after: Option<Duration>) -> Result<(), String> {
        if !answer.trim_ascii_start().starts_with(b"{") {
            return Err("it is no JSON object".to_owned());
        }
        let answer: BulkAnswer<'_> = serde_json::from_slice(answer).map_err(|error| error.to_string())?;
        if answer.items.len() != items.len() {
            return Err(format!("it answered for {} items instead of {}", answer.items.len(), items.len()));
        }
        for (&item, ItemAnswer { create }) in items.iter().zip(&answer.items) {
            let code = create.status.to_string();
            match create.verdict() {
                Verdict::Taken => {}
                Verdict::WasThere => self.receipt.was_there = true,
                Verdict::Again => self.again(item, code, create.message()),
                Verdict::Refused => {
                    self.receipt.refused.push(Refusal { item, code, message: create.message() });
                }
                Verdict::Operator => {
                    let message = create.message();
                    self.again(
                        item,
                        code,
                        format!("{message}; open, unblock or create its index, or allow this user to write there"),
                    );
                }
            }
        }
        if !self.receipt.again.is_empty() {
            self.receipt.retry_after = self.receipt.retry_after.max(retry_after);
        }
        Ok(())
    }

    pub(super) fn again(&mut self, item: u32, code: String, message: String) {
        self.receipt.again.push(item);
        self.receipt.why_again.get_or_insert((code, message));
    }

    pub(super) fn refuse(&mut self, item: u32, code: String, message: String) {
        self.receipt.refused.push(Refusal { item, code, message });
    }

    pub(super) fn into_receipt(mut self) -> Receipt {
        self.receipt.again.sort_unstable();
        self.receipt
    }
}

enum Verdict {
    Taken,
    WasThere,
    Again,
    Refused,
    /// Again, once somebody has done something about it.
    Operator,
}

impl Outcome<'_> {
    fn verdict(&self) -> Verdict {
        let reason: Reason = self.error.and_then(|error| serde_json::from_str(error.get()).ok()).unwrap_or_default();
        match (self.status, reason.r#type.as_str()) {
            (200..=299, _) => Verdict::Taken,
            (409, "version_conflict_engine_exception") => Verdict::WasThere,
            (408 | 409 | 425 | 429 | 500.., _) => Verdict::Again,
            (401 | 403 | 404, _) | (_, "index_closed_exception" | "invalid_index_name_exception") => Verdict::Operator,
            // The cluster has as many shards as it may.
            (_, "validation_exception") => Verdict::Operator,
            _ => Verdict::Refused,
        }
    }

    /// The server's error as it stands, as AWS passes it on; its type and reason if it is long.
    fn message(&self) -> String {
        let text = self.error.map_or("{}", RawValue::get);
        if text.len() <= MESSAGE_CHARS_MAX {
            return one_line(text);
        }
        let reason: Reason = serde_json::from_str(text).unwrap_or_default();
        one_line(&format!("{}: {}", reason.r#type, reason.reason))
    }
}

/// Type and reason of an error that concerns the whole request; `None` if the answer is not of this kind.
pub(super) fn whole_error(answer: &[u8]) -> Option<(String, String)> {
    let Whole { error } = serde_json::from_slice(answer).ok()?;
    Some((one_line(&error.r#type), one_line(&error.reason)))
}

/// Whether this is what OpenSearch and Elasticsearch answer at their root.
pub(super) fn is_root(answer: &[u8]) -> bool {
    serde_json::from_slice(answer).is_ok_and(|root: Value| root["version"]["number"].is_string())
}

/// Short, and harmless on a terminal.
pub(super) fn one_line(text: &str) -> String {
    let visible = |character: char| if character.is_control() { ' ' } else { character };
    text.trim().chars().take(MESSAGE_CHARS_MAX).map(visible).collect()
}
