//! One server: its address, who we are there, and what its refusals mean.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures::TryFutureExt;
use hydrant_config::OpenSearch;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Response, StatusCode};
use url::Url;

use super::answer;
use crate::{SinkError, SinkErrorKind, web};

const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");

pub(super) struct Client {
    http: reqwest::Client,
    /// Ends with `/`.
    endpoint: Url,
    login: Option<HeaderValue>,
    timeout: Duration,
}

/// An answer that was read to its end.
pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Vec<u8>,
}

impl Client {
    pub(super) fn new(search: &OpenSearch) -> Result<Client, SinkError> {
        let http = web::client("OpenSearch.BadCertificate", search.ca.as_ref(), web::CONNECT)?;
        let mut endpoint = search.endpoint.clone();
        if !endpoint.path().ends_with('/') {
            endpoint.set_path(&format!("{}/", endpoint.path()));
        }
        let login = search.login.as_ref().map(|login| {
            let pair = format!("{}:{}", login.user, login.password.reveal());
            let text = format!("Basic {}", base64_simd::STANDARD.encode_to_string(pair.as_bytes()));
            let mut header = HeaderValue::try_from(text).expect("base64 fits into a header");
            header.set_sensitive(true);
            header
        });
        Ok(Client { http, endpoint, login, timeout: search.request_timeout })
    }

    /// One request to a path below the endpoint, and its answer, of which at most `bytes_max` are read.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
        bytes_max: usize,
    ) -> Result<Answered, SinkError> {
        let url = self.endpoint.join(path).expect("the paths of this sink are relative references");
        let mut request = self.http.request(method, url).timeout(self.timeout);
        if let Some(login) = &self.login {
            request = request.header(AUTHORIZATION, login.clone());
        }
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, NDJSON).body(body);
        }
        let response = request.send().map_err(|error| self.unanswered(error)).await?;
        let (status, retry_after) = (response.status(), web::retry_after(response.headers()));
        let body = self.read(response, bytes_max).await?;
        Ok(Answered { status, retry_after, body })
    }

    async fn read(&self, mut response: Response, bytes_max: usize) -> Result<Vec<u8>, SinkError> {
        let body = web::whole_body(&mut response, bytes_max).await.map_err(|error| self.unanswered(error))?;
        body.ok_or_else(|| {
            let message = format!("{self} answered with more than {bytes_max} bytes; it is tried again");
            SinkError::transient("OpenSearch.ResponseTooLarge", message)
        })
    }

    /// What an answer to the whole request means that is no success.
    pub(super) fn refused(&self, answered: &Answered) -> SinkError {
        let status = answered.status.as_u16();
        let (kind, next) = match status {
            408 | 425 | 429 | 500.. => (SinkErrorKind::Transient, "it is tried again"),
            401 if self.login.is_none() => (SinkErrorKind::Misconfigured, "set `user` and `password`"),
            401 => (SinkErrorKind::Misconfigured, "correct `user` and `password`"),
            403 => (SinkErrorKind::Misconfigured, "allow this user to create documents and indices there"),
            300..=399 => (SinkErrorKind::Misconfigured, "correct `endpoint`: redirects are not followed"),
            404 | 405 => (SinkErrorKind::Misconfigured, "correct `endpoint`: there is no bulk API below it"),
            _ => (SinkErrorKind::Misconfigured, "correct the settings of this destination"),
        };
        let said = answer::whole_error(&answered.body).map(|(kind, reason)| format!(", saying: {kind}: {reason}"));
        let message = format!("{self} answered {status}{}; {next}", said.unwrap_or_default());
        let mut error = SinkError::new(kind, &status.to_string(), message);
        error.retry_after = answered.retry_after;
        error
    }

    /// A success that proves nothing.
    pub(super) fn not_a_server(&self, why: &str) -> SinkError {
        let message = format!("{self} answered 200, but not as OpenSearch does: {why}; correct `endpoint`");
        SinkError::misconfigured("OpenSearch.InvalidResponse", message)
    }

    fn unanswered(&self, error: reqwest::Error) -> SinkError {
        let error = error.without_url();
        let cause = web::causes(&error);
        if cause.contains("invalid peer certificate") {
            let message = format!(
                "{self} has a certificate that is not trusted: {cause}; name its authority's certificate in `ca`"
            );
            return SinkError::misconfigured("OpenSearch.BadCertificate", message).with_source(error);
        }
        let (code, what) = if error.is_timeout() && !error.is_connect() {
            ("OpenSearch.Timeout", format!("{self} gave no whole answer within {} s", self.timeout.as_secs_f32()))
        } else if error.is_connect() {
            ("OpenSearch.Unreachable", format!("cannot connect to {self}: {cause}"))
        } else {
            ("OpenSearch.ConnectionLost", format!("{self} gave no answer: {cause}"))
        };
        SinkError::transient(code, format!("{what}; it is tried again")).with_source(error)
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.endpoint.as_str().trim_end_matches('/'))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("endpoint", &self.endpoint.as_str()).finish_non_exhaustive()
    }
}
