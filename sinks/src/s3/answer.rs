//! What a store's refusal means. Nothing is ever `Rejected` here: Firehose diverts no fault of S3 to an error output.

use std::time::Duration;

use reqwest::{Response, StatusCode};
use tokio::time::Instant;

use crate::web::{header, one_line, retry_after};
use crate::{SinkError, SinkErrorKind};

/// Bytes of an error answer that are looked at.
const ERROR_BYTES_MAX: usize = 64 << 10;

/// An answer that is no success.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    code: Option<String>,
    message: Option<String>,
    /// Where the bucket is, if the store says so.
    region: Option<String>,
    retry_after: Option<Duration>,
}

impl Refusal {
    /// Reads the answer's error document, as far as it comes within `idle`.
    pub(super) async fn read(response: Response, idle: Duration) -> Refusal {
        let status = response.status();
        let region = header(response.headers(), "x-amz-bucket-region");
        let retry_after = retry_after(response.headers());
        let body = bounded_body(response, idle).await;
        let text = String::from_utf8_lossy(&body);
        Refusal {
            status,
            code: element(&text, "Code").filter(|code| is_code(code)),
            message: element(&text, "Message").map(|message| one_line(&message)),
            region: region.or_else(|| element(&text, "Region")).map(|region| one_line(&region)),
            retry_after,
        }
    }

    /// The error for the caller. `at` names the sink, `region` is the one that was signed for.
    pub(super) fn into_error(self, at: &str, region: &str) -> SinkError {
        let code = self.code();
        let (kind, next) = self.meaning(&code, region);
        let said = self.message.as_ref().map(|message| format!(", saying: {message}")).unwrap_or_default();
        let message = format!("{at} answered {} `{code}`{said}; {next}", self.status.as_u16());
        let mut error = SinkError::new(kind, &format!("S3.{code}"), message);
        error.retry_after = self.retry_after;
        error
    }

    /// The store's code, or what its status says where there is no document, as in the answer to a HEAD.
    fn code(&self) -> String {
        match (&self.code, self.status.as_u16()) {
            (Some(code), _) => code.clone(),
            (None, 301) => "PermanentRedirect".to_owned(),
            (None, 403) => "AccessDenied".to_owned(),
            (None, 404) => "NoSuchBucket".to_owned(),
            (None, 408) => "RequestTimeout".to_owned(),
            (None, 429) => "TooManyRequests".to_owned(),
            (None, 500) => "InternalError".to_owned(),
            (None, 503) => "ServiceUnavailable".to_owned(),
            (None, status) => format!("Http{status}"),
        }
    }

    fn meaning(&self, code: &str, region: &str) -> (SinkErrorKind, String) {
        use SinkErrorKind::{Misconfigured, Transient};
        let fixed = |kind, next: &str| (kind, next.to_owned());
        match (code, self.status.as_u16()) {
            ("NoSuchBucket", _) => fixed(Misconfigured, "create the bucket or correct `bucket`"),
            ("AccessDenied" | "AllAccessDisabled", _) => fixed(
                Misconfigured,
                "grant the keys s3:PutObject and s3:GetObject on the bucket's objects, and s3:ListBucket on the bucket",
            ),
            ("SignatureDoesNotMatch", _) => fixed(Misconfigured, "correct `secret_access_key`"),
            ("InvalidAccessKeyId", _) => fixed(Misconfigured, "correct `access_key_id`"),
            ("ExpiredToken" | "InvalidToken", _) => fixed(Misconfigured, "renew the session token"),
            ("RequestTimeTooSkewed", _) => fixed(Misconfigured, "set the clock of this machine"),
            ("AuthorizationHeaderMalformed" | "PermanentRedirect", _) | (_, 301 | 308) => {
                (Misconfigured, self.wrong_region(region))
            }
            ("NotImplemented", _) | (_, 501) => {
                fixed(Misconfigured, "the store must know conditional PUT (`If-None-Match: *`) and SHA-256 checksums")
            }
            // Bytes that were damaged on their way, or a slow way.
            ("BadDigest" | "XAmzContentSHA256Mismatch" | "IncompleteBody" | "RequestTimeout" | "SlowDown", _)
            | (_, 302 | 303 | 307 | 408 | 425 | 429 | 500..) => fixed(Transient, "it is tried again"),
            _ => fixed(Misconfigured, "correct the settings of this destination"),
        }
    }

    fn wrong_region(&self, region: &str) -> String {
        match &self.region {
            Some(right) if right != region => format!("the bucket is in `{right}`, not `{region}`: correct `region`"),
            _ => format!("the bucket is not in region `{region}` of this endpoint: correct `region` or `endpoint`"),
        }
    }
}

/// One time for all of it: an answer that comes byte by byte must not hold up the destination for hours.
async fn bounded_body(mut response: Response, time: Duration) -> Vec<u8> {
    let (mut body, until) = (Vec::new(), Instant::now() + time);
    while let Ok(Ok(Some(piece))) = tokio::time::timeout_at(until, response.chunk()).await {
        let left = ERROR_BYTES_MAX - body.len();
        body.extend_from_slice(&piece[..piece.len().min(left)]);
        if body.len() == ERROR_BYTES_MAX {
            break;
        }
    }
    body
}

/// The text of the first element of this name. S3's error documents are flat, so this is all the XML there is to read.
fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let mut plain = text.to_owned();
    for (entity, character) in [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")] {
        plain = plain.replace(entity, character);
    }
    Some(plain.trim().to_owned()).filter(|plain| !plain.is_empty())
}

fn is_code(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_a_flat_document() {
        let xml = "<?xml version=\"1.0\"?>\n<Error><Code>SlowDown</Code><Message>a &lt;b&gt; &amp;amp;</Message><Region/></Error>";
        assert_eq!(element(xml, "Code").as_deref(), Some("SlowDown"));
        assert_eq!(element(xml, "Message").as_deref(), Some("a <b> &amp;"));
        assert_eq!(element(xml, "Region"), None);
        assert_eq!(element("<Code>cut o", "Code"), None);
        assert_eq!(element("<html>", "Code"), None);
    }

    #[test]
    fn codes_are_short_words() {
        assert!(!is_code("a b") && !is_code(&"x".repeat(65)) && is_code("NoSuchBucket"));
    }
}
