//! S3 and what speaks like it. One object is one conditional PUT, signed with the digest that was taken at staging.
//!
//! ```text
//! PUT key, If-None-Match: *   200 with an ETag      delivered
//!                             412, 409, no answer   see `settle`: ours, again, or stop and alarm
//!                             anything else         see `answer`
//! ```

mod address;
mod answer;
mod credentials;
mod options;
mod probe;
mod settle;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use hydrant_config::{S3Connection, S3Options};
use object_store::aws::AwsAuthorizer;
use object_store::client::{HttpRequest, HttpRequestBody};
use reqwest::Response;
use tokio::sync::Semaphore;

use self::address::Address;
use self::answer::Refusal;
use self::credentials::Signer;
use crate::upload::{PIECES_MAX, Upload};
use crate::web::{self, causes, header};
use crate::{Body, Delivery, Receipt, Sink, SinkError, StoreClass};

/// Metadata that tells an object of ours from a stranger's.
const DIGEST_METADATA: &str = "x-amz-meta-hydrant-sha256";
const CHECKSUM: &str = "x-amz-checksum-sha256";

/// How long the other end may take.
#[derive(Clone, Copy, Debug)]
struct Timeouts {
    connect: Duration,
    /// Without a piece leaving or an answer coming; the whole has no limit, for bodies may be 1 GiB.
    idle: Duration,
}

const TIMEOUTS: Timeouts = Timeouts { connect: Duration::from_secs(10), idle: Duration::from_secs(60) };

/// Puts objects into one bucket.
pub(crate) struct S3Sink {
    address: Address,
    region: String,
    signer: Signer,
    /// Those that every object has.
    headers: HeaderMap,
    create_bucket: bool,
    /// What all keys begin with, up to a slash.
    folder: String,
    client: reqwest::Client,
    permits: Arc<Semaphore>,
    idle: Duration,
}

impl S3Sink {
    /// `prefix` is what the keys will begin with, as it is written.
    pub(crate) fn new(
        bucket: &str,
        connection: &S3Connection,
        options: &S3Options,
        prefix: &str,
    ) -> Result<S3Sink, SinkError> {
        let mut sink = S3Sink::with_timeouts(bucket, connection, TIMEOUTS)?;
        sink.headers = options::headers(options)?;
        sink.create_bucket = options.create_bucket;
        let literal = prefix.split("!{").next().unwrap_or_default();
        sink.folder = literal.rfind('/').map_or("", |slash| &literal[..=slash]).to_owned();
        Ok(sink)
    }

    fn with_timeouts(bucket: &str, connection: &S3Connection, timeouts: Timeouts) -> Result<S3Sink, SinkError> {
        let client = web::client("S3.Client", connection.ca.as_ref(), timeouts.connect)?;
        Ok(S3Sink {
            address: Address::new(bucket, connection)?,
            region: connection.region.clone(),
            signer: Signer::new(connection)?,
            headers: HeaderMap::new(),
            create_bucket: false,
            folder: String::new(),
            client,
            permits: Arc::new(Semaphore::new(PIECES_MAX)),
            idle: timeouts.idle,
        })
    }

    async fn put(&self, delivery: &Delivery) -> Result<Receipt, SinkError> {
        let url = self.address.key_url(&delivery.key)?;
        let mut headers = self.headers.clone();
        headers.extend(put_headers(delivery)?);
        let mut request = self.signed(Method::PUT, &url, headers, Some(&delivery.body.sha256)).await?;
        let length = HeaderValue::from(delivery.body.length);
        request.headers_mut().insert(CONTENT_LENGTH, length);
        let upload = Upload::default();
        *request.body_mut() = Some(upload.body(&delivery.body, &self.permits)?);
        let sent = self.send(request, &upload).await;
        if let Some(error) = upload.staged_error() {
            return Err(error);
        }
        let response = match sent {
            Ok(response) => response,
            Err(failure) if failure.was_sent => return self.settle_lost(delivery, failure.error).await,
            Err(failure) => return Err(failure.error),
        };
        match response.status() {
            StatusCode::OK => self.accepted(response.headers(), &delivery.body),
            StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT => {
                let refusal = Refusal::read(response, self.idle).await;
                let again = format!(
                    "{} answered {} to a conditional PUT, but has no such object; it is tried again",
                    self,
                    refusal.status.as_u16()
                );
                self.settle(delivery).await?.ok_or_else(|| SinkError::transient("S3.ConditionalRequestConflict", again))
            }
            _ => Err(self.refused(response).await),
        }
    }

    /// A success that proves something: any web server can say 200.
    fn accepted(&self, headers: &HeaderMap, body: &Body) -> Result<Receipt, SinkError> {
        if !headers.contains_key(ETAG) {
            let message = format!("{self} answered 200 without an ETag, so it is no S3 store; correct `endpoint`");
            return Err(SinkError::misconfigured("S3.NotAStore", message));
        }
        match header(headers, CHECKSUM) {
            Some(stored) if stored != base64(&body.sha256) => {
                let message =
                    format!("{self} stored other bytes than were sent (its SHA-256 is another); it is tried again");
                Err(SinkError::transient("S3.BadDigest", message))
            }
            _ => Ok(Receipt::taken(false)),
        }
    }

    async fn head_bucket(&self) -> Result<(), SinkError> {
        let response = self.head(self.address.bucket_url(), HeaderMap::new()).await?;
        if response.status().is_success() { Ok(()) } else { Err(self.refused(response).await) }
    }

    async fn head(&self, url: &str, headers: HeaderMap) -> Result<Response, SinkError> {
        let request = self.signed(Method::HEAD, url, headers, None).await?;
        self.send(request, &Upload::default()).await.map_err(|failure| failure.error)
    }

    /// A request without its body, signed over all its headers.
    async fn signed(
        &self,
        method: Method,
        url: &str,
        headers: HeaderMap,
        sha256: Option<&[u8; 32]>,
    ) -> Result<reqwest::Request, SinkError> {
        let credential = self.signer.credential().await?;
        let unusable = |error: Box<dyn Error + Send + Sync>| {
            SinkError::misconfigured("S3.BadRequest", format!("{self}: no request can be made of these settings"))
                .with_source(error)
        };
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = method;
        *request.uri_mut() = url.parse().map_err(|error: http::uri::InvalidUri| unusable(error.into()))?;
        *request.headers_mut() = headers;
        AwsAuthorizer::new(&credential, "s3", &self.region)
            .try_authorize(&mut request, sha256.map(|digest| digest.as_slice()))
            .map_err(|error| unusable(error.into()))?;
        let (parts, _) = request.into_parts();
        self.client
            .request(parts.method, url)
            .headers(parts.headers)
            .build()
            .map_err(|error| unusable(error.without_url().into()))
    }

    async fn send(&self, request: reqwest::Request, upload: &Upload) -> Result<Response, Failure> {
        let (error, was_sent) = match upload.while_moving(self.idle, self.client.execute(request)).await {
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(error)) if error.is_connect() => (self.unreachable(error), false),
            Ok(Err(error)) => (self.lost("S3.ConnectionLost", error.without_url().into()), true),
            Err(stalled) => (self.lost("S3.Timeout", stalled.into()), true),
        };
        Err(Failure { error, was_sent })
    }

    async fn refused(&self, response: Response) -> SinkError {
        Refusal::read(response, self.idle).await.into_error(&self.to_string(), &self.region)
    }

    fn unreachable(&self, error: reqwest::Error) -> SinkError {
        let error = error.without_url();
        let cause = causes(&error);
        if cause.contains("invalid peer certificate") {
            let message = format!(
                "{self} has a certificate that is not trusted: {cause}; install its authority's certificate on this machine, or give it as `ca`"
            );
            return SinkError::misconfigured("S3.BadCertificate", message).with_source(error);
        }
        SinkError::transient("S3.Unreachable", format!("cannot connect to {self}: {cause}; it is tried again"))
            .with_source(error)
    }

    fn lost(&self, code: &str, error: Box<dyn Error + Send + Sync>) -> SinkError {
        let message = format!("{self} gave no answer: {}; it is tried again", causes(error.as_ref()));
        SinkError::transient(code, message).with_source(error)
    }
}

/// Why there is no answer, and whether the request may have been done nevertheless.
struct Failure {
    error: SinkError,
    was_sent: bool,
}

impl fmt::Display for S3Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

impl fmt::Debug for S3Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Sink").field("address", &self.address).field("region", &self.region).finish_non_exhaustive()
    }
}

impl Sink for S3Sink {
    fn deliver<'a>(&'a self, delivery: &'a Delivery) -> BoxFuture<'a, Result<Receipt, SinkError>> {
        async {
            match self.put(delivery).await {
                Err(error) => Err(self.or_make_bucket(error).await),
                taken => taken,
            }
        }
        .boxed()
    }

    fn probe(&self) -> BoxFuture<'_, Result<Option<StoreClass>, SinkError>> {
        async {
            match self.race().await {
                Ok(class) => Ok(Some(class)),
                Err(error) => Err(self.or_make_bucket(error).await),
            }
        }
        .boxed()
    }

    /// HEAD of the bucket: address, region, keys and bucket are right. Whether they may write, only a PUT can tell.
    fn check(&self) -> BoxFuture<'_, Result<(), SinkError>> {
        self.head_bucket().boxed()
    }
}

/// All that is signed beside the signature's own headers.
fn put_headers(delivery: &Delivery) -> Result<HeaderMap, SinkError> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(delivery.content_type));
    headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
    if let Some(encoding) = &delivery.content_encoding {
        headers.insert(CONTENT_ENCODING, value("content-encoding", encoding)?);
    }
    for (name, text) in &delivery.metadata {
        let full = HeaderName::from_bytes(format!("x-amz-meta-{name}").as_bytes());
        headers.insert(full.map_err(|_| bad_header(name))?, value(name, text)?);
    }
    headers.insert(DIGEST_METADATA, value(DIGEST_METADATA, &hex::encode(delivery.body.sha256))?);
    headers.insert(CHECKSUM, value(CHECKSUM, &base64(&delivery.body.sha256))?);
    Ok(headers)
}

fn value(name: &str, text: &str) -> Result<HeaderValue, SinkError> {
    HeaderValue::from_str(text).map_err(|_| bad_header(name))
}

fn bad_header(name: &str) -> SinkError {
    let message = format!("metadata `{}` has characters that no header can carry", name.escape_default());
    SinkError::misconfigured("S3.InvalidMetadata", message)
}

fn base64(bytes: &[u8]) -> String {
    base64_simd::STANDARD.encode_to_string(bytes)
}
