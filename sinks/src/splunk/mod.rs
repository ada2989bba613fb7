//! Splunk's HTTP event collector with indexer acknowledgement: one POST a request, then questions whether it is indexed.
//!
//! A receipt means that the indexer acknowledged the request. Where the acknowledgement is lost the request is sent again, so by
//! the protocol it is at least once.

mod answer;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method};
use hydrant_config::{Splunk, SplunkEndpoint};
use reqwest::Request;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use url::Url;
use uuid::Builder;

use self::answer::Answer;
use crate::upload::{PIECES_MAX, Upload};
use crate::web::{self, CONNECT, causes, retry_after};
use crate::{Delivery, Receipt, Sink, SinkError};

/// For a request and its first answer; the indexer has a time of its own.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
const ANSWER_BYTES_MAX: usize = 1 << 20;
const SETTINGS: &str = "Splunk.BadSettings";

/// How often the indexer is asked: twice as seldom each time.
#[derive(Clone, Copy, Debug)]
struct Pace {
    first: Duration,
    slowest: Duration,
}

const PACE: Pace = Pace { first: Duration::from_millis(250), slowest: Duration::from_secs(5) };

/// Sends to one collector on one channel.
pub(crate) struct SplunkSink {
    events: Url,
    acks: Url,
    health: Url,
    shown: String,
    headers: HeaderMap,
    client: reqwest::Client,
    permits: Arc<Semaphore>,
    ack_timeout: Duration,
    pace: Pace,
}

impl SplunkSink {
    pub(crate) fn new(splunk: &Splunk) -> Result<SplunkSink, SinkError> {
        SplunkSink::with_pace(splunk, PACE)
    }

    fn with_pace(splunk: &Splunk, pace: Pace) -> Result<SplunkSink, SinkError> {
        let channel = channel()?;
        let base = splunk.endpoint.as_str().trim_end_matches('/').to_owned();
        let url = |path: &str| {
            Url::parse(&format!("{base}/services/collector/{path}")).map_err(|error| {
                SinkError::misconfigured(SETTINGS, format!("`{base}` makes no URL; correct `endpoint`"))
                    .with_source(error)
            })
        };
        let kind = match splunk.endpoint_type {
            SplunkEndpoint::Raw => "raw",
            SplunkEndpoint::Event => "event",
        };
        Ok(SplunkSink {
            events: url(&format!("{kind}?channel={channel}"))?,
            acks: url(&format!("ack?channel={channel}"))?,
            health: url("health")?,
            headers: headers(splunk, &channel)?,
            client: web::client(SETTINGS, splunk.ca.as_ref(), CONNECT)?,
            permits: Arc::new(Semaphore::new(PIECES_MAX)),
            ack_timeout: splunk.ack_timeout,
            shown: base,
            pace,
        })
    }

    async fn post(&self, delivery: &Delivery) -> Result<Receipt, SinkError> {
        let upload = Upload::default();
        let mut request = self.request(Method::POST, &self.events);
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(delivery.content_type));
        request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(delivery.body.length));
        *request.body_mut() = Some(upload.body(&delivery.body, &self.permits)?);
        let sent = self.exchange(request).await;
        if let Some(error) = upload.staged_error() {
            return Err(error);
        }
        let answer = sent?;
        let id = answer.ack_id(&self.shown)?;
        self.until_acknowledged(id, &answer.cookies).await.map(|()| Receipt::taken(false))
    }

    /// A question that fails is asked again, until there is no time left.
    async fn until_acknowledged(&self, id: u64, cookies: &str) -> Result<(), SinkError> {
        let deadline = Instant::now() + self.ack_timeout;
        let mut pause = self.pace.first;
        let mut said = "the indexer has not acknowledged it".to_owned();
        loop {
            let next = Instant::now() + pause;
            if next > deadline {
                let (at, seconds) = (&self.shown, self.ack_timeout.as_secs_f32());
                let message = format!("{at} took a request, but {said} within {seconds} s; it is sent again");
                return Err(SinkError::transient("Splunk.AckTimeout", message));
            }
            tokio::time::sleep_until(next).await;
            pause = (pause * 2).min(self.pace.slowest);
            let asked = tokio::time::timeout_at(deadline, self.ask(id, cookies)).await;
            match asked {
                Ok(Ok(true)) => return Ok(()),
                Ok(Ok(false)) => {}
                Ok(Err(error)) => {
                    said = format!("the last question after it failed ({}) and it was not acknowledged", error.message);
                }
                Err(_) => said = "the last question after it was not answered and it was not acknowledged".to_owned(),
            }
        }
    }

    async fn ask(&self, id: u64, cookies: &str) -> Result<bool, SinkError> {
        let mut request = self.request(Method::POST, &self.acks);
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Ok(cookies) = HeaderValue::from_str(cookies)
            && !cookies.is_empty()
        {
            request.headers_mut().insert(COOKIE, cookies);
        }
        *request.body_mut() = Some(format!(r#"{{"acks":[{id}]}}"#).into());
        self.exchange(request).await?.acknowledges(&self.shown, id)
    }

    fn request(&self, method: Method, url: &Url) -> Request {
        let mut request = Request::new(method, url.clone());
        *request.headers_mut() = self.headers.clone();
        request
    }

    /// Sends a request and reads its answer to the end, within bounds.
    async fn exchange(&self, request: Request) -> Result<Answer, SinkError> {
        let exchanged = async {
            let mut response = self.client.execute(request).await.map_err(|error| self.broken(error))?;
            let cookies = cookies(response.headers());
            let (status, retry_after) = (response.status(), retry_after(response.headers()));
            // What is too large to be an answer of the collector is none, whatever it says.
            let body = web::whole_body(&mut response, ANSWER_BYTES_MAX).await.map_err(|error| self.broken(error))?;
            Ok(Answer { status, retry_after, cookies, body: body.unwrap_or_default() })
        };
        tokio::time::timeout(REQUEST_TIMEOUT, exchanged).await.unwrap_or_else(|_| {
            let (at, seconds) = (&self.shown, REQUEST_TIMEOUT.as_secs());
            let message = format!("{at} gave no whole answer within {seconds} s; it is tried again");
            Err(SinkError::transient("Splunk.ConnectionTimeout", message))
        })
    }

    fn broken(&self, error: reqwest::Error) -> SinkError {
        let connecting = error.is_connect();
        let error = error.without_url();
        let (cause, at) = (causes(&error), &self.shown);
        let (code, message) = if !connecting {
            ("Splunk.ConnectionClosed", format!("the connection to {at} broke: {cause}; it is tried again"))
        } else if cause.contains("invalid peer certificate") {
            let next = "install its authority's certificate on this machine, or give it as `ca`";
            ("Splunk.SSLUnverified", format!("{at} has a certificate that is not trusted: {cause}; {next}"))
        } else {
            ("Splunk.ConnectionTimeout", format!("cannot connect to {at}: {cause}; it is tried again"))
        };
        SinkError::transient(code, message).with_source(error)
    }

    async fn healthy(&self) -> Result<(), SinkError> {
        let answer = self.exchange(self.request(Method::GET, &self.health)).await?;
        if answer.status.is_success() {
            return Ok(());
        }
        let message = format!("{} answered {} when it was asked for its health", self.shown, answer.status.as_u16());
        Err(SinkError::transient("Splunk.ServerError", message))
    }
}

impl fmt::Display for SplunkSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for SplunkSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SplunkSink").field("endpoint", &self.shown).finish_non_exhaustive()
    }
}

impl Sink for SplunkSink {
    fn deliver<'a>(&'a self, delivery: &'a Delivery) -> BoxFuture<'a, Result<Receipt, SinkError>> {
        self.post(delivery).boxed()
    }

    fn check(&self) -> BoxFuture<'_, Result<(), SinkError>> {
        self.healthy().boxed()
    }
}

fn headers(splunk: &Splunk, channel: &str) -> Result<HeaderMap, SinkError> {
    let unfit = |error: http::header::InvalidHeaderValue| {
        let message = "`token` has characters that no header can carry; check what the reference points to";
        SinkError::misconfigured(SETTINGS, message).with_source(error)
    };
    let mut token = HeaderValue::from_str(&format!("Splunk {}", splunk.token.reveal())).map_err(unfit)?;
    token.set_sensitive(true);
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, token);
    headers.insert("x-splunk-request-channel", HeaderValue::from_str(channel).map_err(unfit)?);
    Ok(headers)
}

/// A random UUID. Acknowledgements are numbered by channel, so every sink has one of its own.
fn channel() -> Result<String, SinkError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| SinkError::transient(SETTINGS, format!("no random channel: {error}; it is tried again")))?;
    Ok(Builder::from_random_bytes(bytes).into_uuid().to_string())
}

/// Names and values of the cookies that were set.
fn cookies(headers: &HeaderMap) -> String {
    let set = headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs: Vec<&str> = set.map(|text| text.split(';').next().unwrap_or_default().trim()).collect();
    pairs.join("; ")
}
