//! Records to the body of a bulk request of OpenSearch and Elasticsearch.
//!
//! ```text
//! {"create":{"_index":"access-2026-11-21","_id":"kM0r…"}}     item 0
//! {"path":"/","status":200}
//! {"create":{"_index":"access-2026-11-21","_id":"Zc3d…"}}     item 1
//! …
//! ```
//!
//! Invariant: item `i` of the request is the pair of lines `i`, for a document holds no line break. `create` with an id of
//! our own makes a repeat harmless: the server refuses the second with 409.

mod document;
#[cfg(test)]
mod tests;

use std::io::Write;

use hydrant_config::OpenSearch;
use serde::Serialize;
use serde::de::IgnoredAny;

use crate::{EncodeError, EncodedRequest, Rejected, RequestEncoder, RequestIdentity, RequestRecord, RequestRecords};

pub use document::Documents;

/// What AWS writes as the error code: the status that the server would answer with.
const BAD_REQUEST: &str = "400";

/// Room for the action line, which is seldom longer.
const ITEM_BYTES: usize = 160;

/// Makes bulk requests of at most `request_size` bytes, unless one document is larger alone.
#[derive(Debug)]
pub struct BulkEncoder {
    documents: Documents,
    request_size: u64,
}

#[derive(Serialize)]
struct Action<'a> {
    create: Address<'a>,
}

#[derive(Serialize)]
struct Address<'a> {
    #[serde(rename = "_index")]
    index: &'a str,
    #[serde(rename = "_type", skip_serializing_if = "Option::is_none")]
    type_name: Option<&'a str>,
    #[serde(rename = "_id", skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
}

impl BulkEncoder {
    #[must_use]
    pub fn new(search: &OpenSearch) -> BulkEncoder {
        BulkEncoder { documents: Documents::new(search), request_size: search.request_size }
    }
}

impl RequestEncoder for BulkEncoder {
    fn encode(
        &mut self,
        identity: &RequestIdentity,
        records: &mut RequestRecords<'_>,
        out: &mut dyn Write,
    ) -> Result<EncodedRequest, EncodeError> {
        let mut request =
            EncodedRequest { key: format!("bulk-{}-{}", identity.chunk, identity.part), ..Default::default() };
        let (mut taken, mut bytes) = (0, 0);
        let action_bytes_max = self.documents.action_bytes_max();
        let fits = |bytes: u64, record: &RequestRecord| {
            let id = record.document_id.as_ref().map_or(0, String::len);
            bytes + (record.data.len() + id) as u64 + action_bytes_max <= self.request_size
        };
        while let Some(record) = records.next_if(|next| taken == 0 || next.as_ref().is_ok_and(|next| fits(bytes, next)))
        {
            let record = record?;
            match item(&mut self.documents, identity, &record) {
                Ok(item) => {
                    out.write_all(&item)?;
                    bytes += item.len() as u64;
                    request.records += 1;
                }
                // Counted too, so that what is kept of a request is bounded.
                Err(message) => {
                    bytes += message.len() as u64;
                    request.rejected.push(Rejected { index: taken, code: BAD_REQUEST, message });
                }
            }
            taken += 1;
        }
        Ok(request)
    }

    fn content_type(&self) -> &'static str {
        "application/x-ndjson"
    }

    fn content_encoding(&self) -> Option<&'static str> {
        None
    }
}

/// Both lines of one document, or why there is none.
fn item(documents: &mut Documents, identity: &RequestIdentity, record: &RequestRecord) -> Result<Vec<u8>, String> {
    let document = one_object(&record.data)?;
    let derived = documents.id(identity, record.unit, record.arrived_at);
    let id = derived.map(|derived| record.document_id.clone().unwrap_or(derived));
    let (index, type_name) = documents.place(record.arrived_at);
    let mut item = Vec::with_capacity(document.len() + ITEM_BYTES);
    let action = Action { create: Address { index, type_name, id: id.as_deref() } };
    serde_json::to_writer(&mut item, &action).expect("strings into memory");
    item.push(b'\n');
    // In valid JSON a line break stands only between tokens, where it means nothing.
    item.extend(document.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r')));
    item.push(b'\n');
    Ok(item)
}

/// The text of exactly one JSON object; why it is none, else. A name that stands twice, or what the mapping says, is
/// the server's to judge.
fn one_object(data: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(data).map_err(|error| refusal(&format!("the record is not UTF-8: {error}")))?;
    let text = text.trim_matches([' ', '\t', '\n', '\r']);
    if !text.starts_with('{') {
        return Err(refusal("the record is not a JSON object"));
    }
    // Goes over the text without recursion, so that depth costs no stack.
    serde_json::from_str::<IgnoredAny>(text)
        .map(|_| text)
        .map_err(|error| refusal(&format!("the record is not one JSON object: {error}")))
}

/// In the form of the server's own refusals, which is what AWS writes into `errorMessage`.
fn refusal(reason: &str) -> String {
    let reason = serde_json::to_string(reason).expect("a string into memory");
    format!(r#"{{"type":"mapper_parsing_exception","reason":{reason}}}"#)
}
