//! What an endpoint's answer means, by Firehose's response contract. Whatever does not keep to it is no success: the request is
//! sent again under the same id.

use reqwest::StatusCode;
use reqwest::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use serde::Deserialize;

use crate::web::{header, one_line, retry_after};
use crate::{SinkError, SinkErrorKind};

/// Of a whole answer, its head included.
pub(super) const ANSWER_BYTES_MAX: usize = 1 << 20;

pub(super) const INVALID: &str = "HttpEndpoint.InvalidResponseFromDestination";
pub(super) const TOO_LARGE: &str = "HttpEndpoint.ResponseTooLarge";
const REFUSED: &str = "HttpEndpoint.DestinationException";

/// An answer that came to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// The members that are allowed; any other makes the answer invalid.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    request_id: String,
    #[serde(rename = "timestamp")]
    _timestamp: serde_json::Number,
    error_message: Option<String>,
}

/// What a head alone tells: an answer that is invalid or too large whatever follows it.
pub(super) fn check_head(status: StatusCode, headers: &HeaderMap) -> Result<(), (&'static str, String)> {
    let length: Option<usize> = header(headers, CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok());
    let head: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if length.is_some_and(|length| length.saturating_add(head) > ANSWER_BYTES_MAX) {
        return Err((TOO_LARGE, "more than 1 MiB".to_owned()));
    }
    if status != StatusCode::OK {
        return Ok(());
    }
    match header(headers, CONTENT_TYPE.as_str()) {
        Some(kind) if kind.eq_ignore_ascii_case("application/json") => {}
        Some(kind) => {
            return Err((INVALID, format!("with content type `{}`, not `application/json`", one_line(&kind))));
        }
        None => return Err((INVALID, "without the content type `application/json`".to_owned())),
    }
    if headers.contains_key(CONTENT_ENCODING) {
        return Err((INVALID, "with a content encoding, which none may have".to_owned()));
    }
    if length.is_none() {
        return Err((INVALID, "without a content length".to_owned()));
    }
    Ok(())
}

impl Answer {
    /// `Ok`: the endpoint took the request. `at` names the endpoint for people.
    pub(super) fn verdict(&self, at: &str, request_id: &str) -> Result<(), SinkError> {
        if self.status != StatusCode::OK {
            return Err(self.refused(at));
        }
        self.proves(request_id).map_err(|wrong| invalid(at, INVALID, &wrong))
    }

    /// Whether a success names this very request.
    fn proves(&self, request_id: &str) -> Result<(), String> {
        let document = self.document()?;
        if document.request_id != request_id {
            return Err(format!("for the request `{}`, not `{request_id}`", one_line(&document.request_id)));
        }
        Ok(())
    }

    fn document(&self) -> Result<Document, String> {
        let wrong = "with a body that is not what the protocol asks for";
        // A list of members would do for serde.
        if !self.body.trim_ascii_start().starts_with(b"{") {
            return Err(format!("{wrong}: it is no JSON object"));
        }
        serde_json::from_slice(&self.body).map_err(|error| format!("{wrong}: {error}"))
    }

    fn refused(&self, at: &str) -> SinkError {
        let status = self.status.as_u16();
        let said = self.document().ok().and_then(|document| document.error_message);
        let said = said.map(|text| format!(", saying: {}", one_line(&text))).unwrap_or_default();
        let (kind, next) = match status {
            413 => (SinkErrorKind::Rejected, "the records go to the backup; lower `buffering.size`"),
            300..=399 => (SinkErrorKind::Transient, "redirects are not followed: correct `url`"),
            401 | 403 => (SinkErrorKind::Transient, "it is tried again; look at `access_key`"),
            404 | 405 | 410 => (SinkErrorKind::Transient, "it is tried again; look at `url`"),
            _ => (SinkErrorKind::Transient, "it is tried again"),
        };
        let mut error = SinkError::new(kind, REFUSED, format!("{at} answered {status}{said}; {next}"));
        error.retry_after = retry_after(&self.headers);
        error
    }
}

/// A success that is none.
pub(super) fn invalid(at: &str, code: &str, wrong: &str) -> SinkError {
    SinkError::transient(code, format!("{at} answered {wrong}; it is tried again"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(body: &str) -> Result<(), SinkError> {
        let answer = Answer { status: StatusCode::OK, headers: HeaderMap::new(), body: body.as_bytes().to_vec() };
        answer.verdict("there", "id-1")
    }

    #[test]
    fn a_success_names_the_request_and_nothing_unexpected() {
        for body in [
            r#"{"requestId":"id-1","timestamp":1578090903599}"#,
            r#"{ "timestamp": 1578090903.599, "requestId": "id-1", "errorMessage": null }"#,
            r#"{"requestId":"id-1","timestamp":1,"errorMessage":"not this time"}"#,
        ] {
            assert!(verdict(body).is_ok(), "{body}");
        }
        for body in [
            "",
            "ok",
            "{}",
            "[]",
            r#"["id-1",1,null]"#,
            r#"{"requestId":"id-1"}"#,
            r#"{"timestamp":1}"#,
            r#"{"requestId":"id-2","timestamp":1}"#,
            r#"{"requestId":"ID-1","timestamp":1}"#,
            r#"{"requestId":"id-1","timestamp":"1"}"#,
            r#"{"requestId":"id-1","timestamp":null}"#,
            r#"{"requestId":"id-1","timestamp":1,"more":1}"#,
            r#"{"requestId":"id-1","requestId":"id-1","timestamp":1}"#,
            r#"{"requestId":"id-1","timestamp":1} and more"#,
            r#"{"requestId":"id-1","timestamp":1"#,
        ] {
            let error = verdict(body).unwrap_err();
            assert_eq!((error.kind, error.code.as_str()), (SinkErrorKind::Transient, INVALID), "{body}");
        }
    }
}
