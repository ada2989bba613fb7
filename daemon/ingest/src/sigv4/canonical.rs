//! The canonical request: one text for all ways to write the same request, so that both sides hash the same bytes.
//!
//! ```text
//! METHOD \n URI \n QUERY \n name:value \n … \n \n SIGNED;HEADERS \n hex(sha256(body))
//! ```

use std::fmt::Write as _;

use aws_lc_rs::digest;
use http::HeaderName;
use http::request::Parts;

use super::parameters::Parameters;

const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");

/// `hex(sha256(canonical request))`, of the hash of the body.
pub(super) fn request_hash(head: &Parts, signed: &Parameters<'_>, body_hash: &str) -> String {
    sha256_hex(request(head, signed, body_hash).as_bytes())
}

/// A client may send the hash of its body; if it does, it must be the one of this body.
pub(super) fn body_hash_contradicts(head: &Parts, body_hash: &str) -> bool {
    let sent = head.headers.get(CONTENT_SHA256);
    sent.is_some_and(|sent| !sent.as_bytes().eq_ignore_ascii_case(body_hash.as_bytes()))
}

/// Names and values of a query, percent-decoded. A `+` is a plus, as SigV4 has it.
pub(super) fn decode_query(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

pub(super) fn request(head: &Parts, signed: &Parameters<'_>, body_hash: &str) -> String {
    let mut text = String::with_capacity(512);
    text.push_str(head.method.as_str());
    text.push('\n');
    push_path(&mut text, head.uri.path());
    text.push('\n');
    push_query(&mut text, head.uri.query().unwrap_or_default());
    text.push('\n');
    for name in signed.signed_headers.split(';') {
        push_header(&mut text, head, name);
    }
    text.push('\n');
    text.push_str(&signed.signed_headers);
    text.push('\n');
    text.push_str(body_hash);
    text
}

pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    let mut text = vec![0; 2 * digest::SHA256_OUTPUT_LEN];
    hex::encode_to_slice(digest::digest(&digest::SHA256, bytes), &mut text).expect("two digits a byte");
    String::from_utf8(text).expect("digits are ASCII")
}

/// Without empty and dot segments, and every segment encoded once more than it is on the wire, as all services but S3 do.
fn push_path(text: &mut String, path: &str) {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            _ => segments.push(segment),
        }
    }
    for segment in &segments {
        text.push('/');
        push_encoded(text, segment);
    }
    if segments.is_empty() || path.ends_with('/') {
        text.push('/');
    }
}

fn push_query(text: &mut String, query: &str) {
    if query.is_empty() {
        return;
    }
    let encoded = |part: &str| {
        let mut text = String::with_capacity(part.len());
        push_encoded(&mut text, part);
        text
    };
    let pairs = decode_query(query).into_iter().filter(|(name, _)| name != "X-Amz-Signature");
    let mut pairs: Vec<_> = pairs.map(|(name, value)| (encoded(&name), encoded(&value))).collect();
    pairs.sort();
    for (index, (name, value)) in pairs.iter().enumerate() {
        let separator = if index > 0 { "&" } else { "" };
        let _ = write!(text, "{separator}{name}={value}");
    }
}

fn push_header(text: &mut String, head: &Parts, name: &str) {
    text.push_str(name);
    text.push(':');
    // HTTP/2 has `:authority` in its place; the JavaScript SDK signs it by that name.
    if (name == ":authority" || (name == "host" && !head.headers.contains_key(http::header::HOST)))
        && let Some(authority) = head.uri.authority()
    {
        text.push_str(authority.as_str());
    }
    for (index, value) in head.headers.get_all(name).iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        let value = String::from_utf8_lossy(value.as_bytes());
        // Of spaces that stand together one stays.
        let mut before = ' ';
        text.extend(value.trim().chars().filter(|char| (*char, std::mem::replace(&mut before, *char)) != (' ', ' ')));
    }
    text.push('\n');
}

/// RFC 3986: only the unreserved characters stay.
fn push_encoded(text: &mut String, part: &str) {
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
}

fn decode(part: &str) -> String {
    let bytes = part.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let value = hex.and_then(|digits| hex::decode(digits).ok());
        decoded.push(value.as_ref().map_or(bytes[at], |value| value[0]));
        at += if value.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
