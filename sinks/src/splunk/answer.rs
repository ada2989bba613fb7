//! What the collector's answers mean, by the codes of its reference.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;

use crate::web::one_line;
use crate::{SinkError, SinkErrorKind};

/// An answer that came to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
    /// What a load balancer keeps a session by, as it goes back.
    pub(super) cookies: String,
    pub(super) body: Vec<u8>,
}

/// Members of any answer of the collector.
#[derive(Debug, Default, Deserialize)]
struct Document {
    #[serde(default)]
    text: String,
    code: Option<u16>,
    #[serde(rename = "ackId")]
    ack_id: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Acks {
    acks: BTreeMap<String, bool>,
}

impl Answer {
    /// The id that the indexer will acknowledge. `at` names the collector for people.
    pub(super) fn ack_id(&self, at: &str) -> Result<u64, SinkError> {
        let document = self.document();
        if self.status != StatusCode::OK || document.code != Some(0) {
            return Err(self.refused(at, &document));
        }
        document.ack_id.ok_or_else(|| {
            let next = "enable indexer acknowledgement for this token";
            SinkError::transient(
                "Splunk.DisabledAck",
                format!("{at} took the events, but will acknowledge nothing; {next}"),
            )
        })
    }

    /// Whether the indexer has acknowledged an id.
    pub(super) fn acknowledges(&self, at: &str, id: u64) -> Result<bool, SinkError> {
        let acks: Option<Acks> = serde_json::from_slice(&self.body).ok();
        match (self.status, acks) {
            (StatusCode::OK, Some(Acks { acks })) => Ok(acks.get(&id.to_string()).copied().unwrap_or(false)),
            _ => Err(self.refused(at, &self.document())),
        }
    }

    fn document(&self) -> Document {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    fn refused(&self, at: &str, document: &Document) -> SinkError {
        use SinkErrorKind::{Rejected, Transient};
        let status = self.status.as_u16();
        let again = "it is tried again";
        let (kind, code, next) = match (document.code, status) {
            (Some(1), _) => (Transient, "Splunk.DisabledToken", "enable the token in Splunk"),
            (Some(2..=4), _) | (None, 401 | 403) => (Transient, "Splunk.InvalidToken", "correct `token`"),
            (Some(5 | 6 | 12 | 13 | 15), _) => (Rejected, "Splunk.InvalidDataFormat", "the records go to the backup"),
            (_, 413) => (Rejected, "Splunk.InvalidDataFormat", "the records go to the backup; lower `buffering.size`"),
            (Some(7), _) => (Transient, "Splunk.InvalidIndex", "correct the index of the token or of the events"),
            (Some(10 | 11), _) => (
                Transient,
                "Splunk.ProxyWithoutStickySessions",
                "a load balancer in front of it must keep a session on one server",
            ),
            (Some(14), _) => (Transient, "Splunk.DisabledAck", "enable indexer acknowledgement for this token"),
            (None, 300..=399 | 404 | 405) => (Transient, "Splunk.InvalidEndpoint", "correct `endpoint`"),
            (None, 200) => (Transient, "Splunk.InvalidEndpoint", "it is no collector: correct `endpoint`"),
            _ => (Transient, "Splunk.ServerError", again),
        };
        let number = document.code.map(|code| format!(" with code {code}")).unwrap_or_default();
        let said = Some(one_line(&document.text)).filter(|text| !text.is_empty());
        let said = said.map(|text| format!(", saying: {text}")).unwrap_or_default();
        let mut error = SinkError::new(kind, code, format!("{at} answered {status}{number}{said}; {next}"));
        error.retry_after = self.retry_after;
        error
    }
}
