//! What browsers want to know before a page may call the API and read its answers. Any page may: a signature says who calls, and
//! a page has no key but its own. Where signatures are not checked (no credentials) this is off, or any page that somebody on
//! this machine looks at could write.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ORIGIN,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method};

/// What the family shows to pages.
const EXPOSED: &str = "x-amzn-RequestId,x-amzn-ErrorType,x-amz-request-id,x-amz-id-2,x-amzn-ErrorMessage,Date";
/// Seconds, as the family answers.
const MAX_AGE: &str = "172800";

/// Whether a browser asks what it may send.
pub(super) fn is_preflight(head: &Parts) -> bool {
    head.method == Method::OPTIONS && head.headers.contains_key(ORIGIN)
}

/// The headers for the answer to a page; none for other clients.
pub(super) fn headers(head: &Parts) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if !head.headers.contains_key(ORIGIN) {
        return headers;
    }
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    if head.method != Method::OPTIONS {
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        return headers;
    }
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
    if let Some(asked) = head.headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    headers
}
