//! Firehose's HTTP endpoint protocol: one POST a request, and an answer that must name it.
//!
//! The request's id is in its staged body and so the same at every attempt; a receiver that drops ids it has seen gets each
//! record once. By the protocol it is at least once.

mod answer;
#[cfg(test)]
mod tests;

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use hydrant_config::HttpEndpoint;
use reqwest::Response;
use tokio::sync::Semaphore;
use url::Url;

use self::answer::{ANSWER_BYTES_MAX, Answer, TOO_LARGE, check_head, invalid};
use crate::upload::{PIECES_MAX, Upload};
use crate::web::{self, CONNECT, causes};
use crate::{Delivery, Receipt, Sink, SinkError};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-firehose-request-id");
const SETTINGS: &str = "HttpEndpoint.BadSettings";

/// Posts requests to one URL.
pub(crate) struct HttpEndpointSink {
    url: Url,
    /// Without the query, which may hold a secret.
    shown: String,
    /// Those that every request has.
    headers: HeaderMap,
    client: reqwest::Client,
    permits: Arc<Semaphore>,
    timeout: Duration,
}

impl HttpEndpointSink {
    pub(crate) fn new(endpoint: &HttpEndpoint) -> Result<HttpEndpointSink, SinkError> {
        let mut shown = endpoint.url.clone();
        shown.set_query(None);
        Ok(HttpEndpointSink {
            url: endpoint.url.clone(),
            shown: shown.into(),
            headers: headers(endpoint)?,
            client: web::client(SETTINGS, endpoint.ca.as_ref(), CONNECT)?,
            permits: Arc::new(Semaphore::new(PIECES_MAX)),
            timeout: endpoint.request_timeout,
        })
    }

    async fn post(&self, delivery: &Delivery) -> Result<Receipt, SinkError> {
        let upload = Upload::default();
        let request = self.request(delivery, &upload)?;
        let exchanged = tokio::time::timeout(self.timeout, self.exchange(request)).await;
        if let Some(error) = upload.staged_error() {
            return Err(error);
        }
        let answer = exchanged.map_err(|_| self.timed_out())??;
        answer.verdict(&self.shown, &delivery.key).map(|()| Receipt::taken(false))
    }

    fn request(&self, delivery: &Delivery, upload: &Upload) -> Result<reqwest::Request, SinkError> {
        let mut headers = self.headers.clone();
        headers.insert(REQUEST_ID, value("the request id", &delivery.key)?);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(delivery.content_type));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(delivery.body.length));
        if let Some(encoding) = &delivery.content_encoding {
            headers.insert(CONTENT_ENCODING, value("the content encoding", encoding)?);
        }
        let mut request = reqwest::Request::new(Method::POST, self.url.clone());
        *request.headers_mut() = headers;
        *request.body_mut() = Some(upload.body(&delivery.body, &self.permits)?);
        Ok(request)
    }

    /// Sends a request and reads its answer to the end, within bounds.
    async fn exchange(&self, request: reqwest::Request) -> Result<Answer, SinkError> {
        let mut response = self.client.execute(request).await.map_err(|error| self.broken(error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        check_head(status, &headers).map_err(|(code, wrong)| invalid(&self.shown, code, &wrong))?;
        let body = self.body(&mut response).await?;
        Ok(Answer { status, headers, body })
    }

    async fn body(&self, response: &mut Response) -> Result<Vec<u8>, SinkError> {
        let refused = !response.status().is_success();
        match web::whole_body(response, ANSWER_BYTES_MAX).await {
            Ok(Some(body)) => Ok(body),
            // A refusal stands whatever is said about it.
            Ok(None) | Err(_) if refused => Ok(Vec::new()),
            Ok(None) => Err(invalid(&self.shown, TOO_LARGE, "more than 1 MiB")),
            Err(error) => Err(self.broken(error)),
        }
    }

    fn timed_out(&self) -> SinkError {
        let seconds = self.timeout.as_secs_f32();
        let message = format!("{} gave no whole answer within {seconds} s; it is tried again", self.shown);
        SinkError::transient("HttpEndpoint.RequestTimeout", message)
    }

    fn broken(&self, error: reqwest::Error) -> SinkError {
        let connecting = error.is_connect();
        let error = error.without_url();
        let (cause, at) = (causes(&error), &self.shown);
        let (code, message) = if !connecting {
            ("HttpEndpoint.ConnectionReset", format!("the connection to {at} broke: {cause}; it is tried again"))
        } else if cause.contains("certificate") || cause.contains("tls") || cause.contains("TLS") {
            let next = "install its authority's certificate on this machine, or give it as `ca`";
            ("HttpEndpoint.SSLHandshakeFailure", format!("no TLS with {at}: {cause}; {next}"))
        } else {
            ("HttpEndpoint.ConnectionFailed", format!("cannot connect to {at}: {cause}; it is tried again"))
        };
        SinkError::transient(code, message).with_source(error)
    }

    /// Any answer at all: an empty request would be none of the protocol.
    async fn reach(&self) -> Result<(), SinkError> {
        let asked = self.client.head(self.url.clone()).send();
        match tokio::time::timeout(self.timeout, asked).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(self.broken(error)),
            Err(_) => Err(self.timed_out()),
        }
    }
}

impl fmt::Display for HttpEndpointSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for HttpEndpointSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpEndpointSink").field("url", &self.shown).finish_non_exhaustive()
    }
}

impl Sink for HttpEndpointSink {
    fn deliver<'a>(&'a self, delivery: &'a Delivery) -> BoxFuture<'a, Result<Receipt, SinkError>> {
        self.post(delivery).boxed()
    }

    fn check(&self) -> BoxFuture<'_, Result<(), SinkError>> {
        self.reach().boxed()
    }
}

fn headers(endpoint: &HttpEndpoint) -> Result<HeaderMap, SinkError> {
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-firehose-protocol-version", HeaderValue::from_static("1.0"));
    headers.insert("x-amz-firehose-source-arn", value("the ARN", &endpoint.source_arn)?);
    if let Some(key) = &endpoint.access_key {
        let mut key = value("`access_key`", key.reveal())?;
        key.set_sensitive(true);
        headers.insert("x-amz-firehose-access-key", key);
    }
    if !endpoint.common_attributes.is_empty() {
        let document = serde_json::json!({ "commonAttributes": endpoint.common_attributes });
        let attributes = ascii(&document.to_string());
        headers.insert("x-amz-firehose-common-attributes", value("`common_attributes`", &attributes)?);
    }
    // Receivers know Firehose by it.
    headers.insert(USER_AGENT, HeaderValue::from_static("Amazon Kinesis Data Firehose Agent/1.0"));
    Ok(headers)
}

fn value(what: &str, text: &str) -> Result<HeaderValue, SinkError> {
    HeaderValue::from_str(text).map_err(|error| {
        let message = format!("{what} has characters that no header can carry; use printable ASCII");
        SinkError::misconfigured(SETTINGS, message).with_source(error)
    })
}

/// The same JSON in characters that a header can carry.
fn ascii(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for character in json.chars() {
        if matches!(character, ' '..='~') {
            out.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}").expect("a String takes what it is given");
            }
        }
    }
    out
}
