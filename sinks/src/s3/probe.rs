//! What kind of store this is, found by asking it: several conditional PUTs race for one name, and the name is removed again.
//! And the bucket itself, where the configuration says that it may be made.

use aws_lc_rs::digest::{SHA256, digest};
use futures::future::join_all;
use http::header::{CONTENT_TYPE, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use reqwest::Response;

use super::S3Sink;
use crate::upload::Upload;
use crate::{SinkError, StoreClass};

/// PUTs of different bytes that race.
const RACERS: u8 = 8;

impl S3Sink {
    /// Fails as a delivery would fail now.
    pub(super) async fn race(&self) -> Result<StoreClass, SinkError> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| {
            SinkError::transient("S3.NoRandomness", format!("no name for a probe: {error}; it is tried again"))
        })?;
        // Beside the objects, for that is where the keys may write; the dot hides it from those who read them.
        let name = format!("{}.hydrant-probe-{}", self.folder, hex::encode(random));
        let url = self.address.key_url(&name)?;
        let racers = (0..RACERS).map(|racer| self.small(Method::PUT, &url, vec![racer], put_headers()));
        let mut taken = 0;
        let mut failed = None;
        for raced in join_all(racers).await {
            match raced {
                Ok(response) => match response.status() {
                    StatusCode::OK => taken += 1,
                    StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT => {}
                    _ => failed = Some(self.refused(response).await),
                },
                Err(error) => failed = Some(error),
            }
        }
        if taken > 0 {
            self.remove(&name, &url).await;
        }
        match (failed, taken) {
            (None, 0) => {
                let message = format!("{self} let none of {RACERS} racing PUTs win; it is tried again");
                Err(SinkError::transient("S3.ConditionalRequestConflict", message))
            }
            // Two that won prove it, whatever became of the others.
            (_, 2..) => Ok(StoreClass::Overwriting),
            (Some(error), _) => Err(error),
            (None, _) => Ok(StoreClass::Exclusive),
        }
    }

    async fn remove(&self, name: &str, url: &str) {
        let error = match self.small(Method::DELETE, url, Vec::new(), HeaderMap::new()).await {
            Ok(response) if response.status().is_success() => return,
            Ok(response) => self.refused(response).await,
            Err(error) => error,
        };
        tracing::warn!(code = error.code, "the probe `{name}` stays in {self}: {error}");
    }

    /// The error, unless it is a missing bucket that may be made: then it is tried again.
    pub(super) async fn or_make_bucket(&self, error: SinkError) -> SinkError {
        if !self.create_bucket || error.code != "S3.NoSuchBucket" {
            return error;
        }
        let body = match self.region.as_str() {
            "us-east-1" => String::new(),
            region => format!(
                "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                 <LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
            ),
        };
        let made = self.small(Method::PUT, self.address.bucket_url(), body.into_bytes(), HeaderMap::new()).await;
        match made {
            // Conflict: somebody else was quicker, and the next attempt will tell whether it is ours.
            Ok(response) if response.status().is_success() || response.status() == StatusCode::CONFLICT => {
                tracing::info!("{self}: the bucket was missing and has been made");
                SinkError::transient(
                    "S3.NoSuchBucket",
                    format!("{self} had no such bucket; it was made, and it is tried again"),
                )
            }
            Ok(response) => self.refused(response).await,
            Err(error) => error,
        }
    }

    /// A request with a body from memory.
    async fn small(&self, method: Method, url: &str, body: Vec<u8>, headers: HeaderMap) -> Result<Response, SinkError> {
        let sha256: [u8; 32] = digest(&SHA256, &body).as_ref().try_into().expect("SHA-256 has 32 bytes");
        let mut request = self.signed(method, url, headers, Some(&sha256)).await?;
        *request.body_mut() = Some(body.into());
        self.send(request, &Upload::default()).await.map_err(|failure| failure.error)
    }
}

fn put_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
    headers
}
