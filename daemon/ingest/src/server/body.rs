//! The body of one request, whole and paid for. What is refused is still read for a while, so that a client that writes before
//! it reads hears the reply.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{Method, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Limits;
use crate::ApiError;

/// A body in memory, and the data decoded from it.
const COST_PER_BODY_BYTE: usize = 2;

/// The bytes, and what was paid for them.
pub(super) type Paid = (Bytes, Option<OwnedSemaphorePermit>);

pub(super) async fn read(
    head: &Parts,
    mut body: Incoming,
    (limits, budget): (Limits, &Arc<Semaphore>),
) -> Result<Paid, ApiError> {
    let limits = limits.of(head);
    if head_bytes(head) > limits.head_bytes_max {
        return Err(ApiError::head_too_large(limits.head_bytes_max));
    }
    if has_two_hosts(head) {
        return Err(ApiError::invalid_signature("':authority' and 'Host' name different hosts.").closing());
    }
    if head.method != Method::POST {
        return Err(ApiError::no_operation().closing());
    }
    if body.size_hint().lower() > limits.body_bytes_max as u64 {
        // Who asks before sending is told before sending; everybody else must be listened to, or the reply is lost.
        if !head.headers.contains_key(header::EXPECT) {
            discard(&mut body, limits).await;
        }
        return Err(ApiError::too_large(limits.body_bytes_max));
    }
    match tokio::time::timeout(limits.body_timeout, collect(budget, limits.body_bytes_max, &mut body)).await {
        Ok(Err(error)) => {
            discard(&mut body, limits).await;
            Err(error)
        }
        Ok(collected) => collected,
        Err(_) => Err(ApiError::timed_out()),
    }
}

/// On HTTP/2 a signature could cover the one while something in front of this server looked at the other.
fn has_two_hosts(head: &Parts) -> bool {
    let authority = head.uri.authority().map(|authority| authority.as_str().as_bytes());
    let hosts = head.headers.get_all(header::HOST);
    authority.is_some_and(|authority| hosts.iter().any(|host| !host.as_bytes().eq_ignore_ascii_case(authority)))
}

/// What hyper bounds is its buffer, and a head may be larger than that by one read.
fn head_bytes(head: &Parts) -> usize {
    let headers: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    headers + head.uri.path_and_query().map_or(0, |path| path.as_str().len())
}

async fn collect(budget: &Arc<Semaphore>, bytes_max: usize, body: &mut Incoming) -> Result<Paid, ApiError> {
    let known = usize::try_from(body.size_hint().lower()).unwrap_or(0);
    let mut paid: Option<OwnedSemaphorePermit> = None;
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ApiError::serialization("the request body ended early").closing())?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > bytes_max {
            return Err(ApiError::too_large(bytes_max));
        }
        let cost = u32::try_from(data.len() * COST_PER_BODY_BYTE).unwrap_or(u32::MAX);
        let permit = Arc::clone(budget).try_acquire_many_owned(cost);
        let permit = permit.map_err(|_| ApiError::slow_down().closing())?;
        match &mut paid {
            Some(paid) => paid.merge(permit),
            None => paid = Some(permit),
        }
        if whole.is_empty() && data.len() == known {
            return Ok((data, paid));
        }
        if whole.is_empty() {
            whole.reserve(known.max(data.len()));
        }
        whole.extend_from_slice(&data);
    }
    Ok((whole.freeze(), paid))
}

/// Reads on without keeping anything.
async fn discard(body: &mut Incoming, limits: Limits) {
    let mut left = limits.body_bytes_max.saturating_mul(8);
    let read = async {
        while let Some(Ok(frame)) = body.frame().await {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            if bytes > left {
                return;
            }
            left -= bytes;
        }
    };
    let _ = tokio::time::timeout(limits.body_timeout.min(Duration::from_secs(5)), read).await;
}
