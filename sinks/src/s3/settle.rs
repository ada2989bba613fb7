//! Whether the object that stands at our name is ours, whole: asked where no answer came, and where the name is taken.
//!
//! ```text
//! HEAD key    404                              not there: again
//!             no or another hydrant-sha256     foreign: stop and alarm
//!             another SHA-256 of the store     damaged: stop and alarm
//!             the same SHA-256 of the store    ours
//!             none of the store                GET key: its bytes have the digest, or it is damaged
//! ```
//!
//! Invariant: what we said of an object ourselves, its metadata, proves whose it is and never what it holds.

use aws_lc_rs::digest::{Context, SHA256};
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tokio::time::timeout;

use super::{CHECKSUM, DIGEST_METADATA, S3Sink, base64};
use crate::upload::Upload;
use crate::web::header;
use crate::{Delivery, Receipt, SinkError, SinkErrorKind};

const CHECKSUM_MODE: HeaderName = HeaderName::from_static("x-amz-checksum-mode");

impl S3Sink {
    /// No answer came. If the object is not there, the bucket may not be either: a store may refuse a large body by
    /// closing the connection before its refusal can be read.
    pub(super) async fn settle_lost(&self, delivery: &Delivery, lost: SinkError) -> Result<Receipt, SinkError> {
        match self.settle(delivery).await {
            Ok(Some(receipt)) => Ok(receipt),
            Ok(None) => Err(match self.head_bucket().await {
                Err(error) if error.kind == SinkErrorKind::Misconfigured => error,
                _ => lost,
            }),
            Err(error) if error.kind == SinkErrorKind::Transient => Err(lost),
            Err(error) => Err(error),
        }
    }

    /// Whether the key holds this object; `Misconfigured` if it holds another.
    pub(super) async fn settle(&self, delivery: &Delivery) -> Result<Option<Receipt>, SinkError> {
        let url = self.address.key_url(&delivery.key)?;
        let mode = HeaderMap::from_iter([(CHECKSUM_MODE, HeaderValue::from_static("ENABLED"))]);
        let response = self.head(&url, mode).await?;
        match response.status() {
            StatusCode::NOT_FOUND => return Ok(None),
            StatusCode::OK => {}
            _ => return Err(self.refused(response).await),
        }
        let length = header(response.headers(), CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok());
        let digest = header(response.headers(), DIGEST_METADATA);
        let ours = hex::encode(delivery.body.sha256);
        if length != Some(delivery.body.length) || !digest.is_some_and(|digest| digest.eq_ignore_ascii_case(&ours)) {
            return Err(self.foreign(delivery));
        }
        // One of parts has a hyphen, and says nothing of the whole.
        let stored = header(response.headers(), CHECKSUM).filter(|stored| !stored.contains('-'));
        let whole = match stored {
            Some(stored) => stored == base64(&delivery.body.sha256),
            None => match self.digest_of(&url, delivery.body.length).await? {
                Some(digest) => digest == delivery.body.sha256,
                None => return Ok(None),
            },
        };
        if whole { Ok(Some(Receipt::taken(true))) } else { Err(self.damaged(delivery)) }
    }

    /// Of the bytes that the store gives back; `None` if the object is gone.
    async fn digest_of(&self, url: &str, length: u64) -> Result<Option<[u8; 32]>, SinkError> {
        let mut request = self.signed(Method::GET, url, HeaderMap::new(), None).await?;
        // Behind the signature, for there are gateways that write it anew; without it there are some that unpack gzip.
        request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        let mut response = self.send(request, &Upload::default()).await.map_err(|failure| failure.error)?;
        match response.status() {
            StatusCode::NOT_FOUND => return Ok(None),
            StatusCode::OK => {}
            _ => return Err(self.refused(response).await),
        }
        let (mut digest, mut read) = (Context::new(&SHA256), 0);
        while read <= length {
            let piece = match timeout(self.idle, response.chunk()).await {
                Ok(Ok(Some(piece))) => piece,
                Ok(Ok(None)) => break,
                Ok(Err(error)) => return Err(self.lost("S3.ConnectionLost", error.without_url().into())),
                Err(stalled) => return Err(self.lost("S3.Timeout", stalled.into())),
            };
            read += piece.len() as u64;
            digest.update(&piece);
        }
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(digest.finish().as_ref());
        Ok(Some(sha256))
    }

    fn foreign(&self, delivery: &Delivery) -> SinkError {
        let message = format!(
            "{self}: a foreign object stands at our name `{}` and is not overwritten; move it away, and look who else writes into this bucket",
            delivery.key.escape_default()
        );
        SinkError::misconfigured("S3.ForeignObject", message)
    }

    fn damaged(&self, delivery: &Delivery) -> SinkError {
        let message = format!(
            "{self}: our object `{}` holds other bytes than were sent (its SHA-256 is another), and is not overwritten; delete it, then it is sent again, and look at the store",
            delivery.key.escape_default()
        );
        SinkError::misconfigured("S3.DamagedObject", message)
    }
}
