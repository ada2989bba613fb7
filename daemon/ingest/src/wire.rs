//! How bodies are written: JSON, which Firehose and Kinesis speak, or CBOR, which is Kinesis' alone. An answer is written as its
//! request was.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::depth::is_too_deep;
use crate::{ApiError, cbor};

/// The encoding of one request, and so of its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Wire {
    #[default]
    AmzJson,
    Json,
    Cbor,
}

impl Wire {
    const ALL: [Wire; 3] = [Wire::AmzJson, Wire::Json, Wire::Cbor];

    /// By the content type; `None` if it is none of ours.
    pub(crate) fn of(head: &Parts) -> Option<Wire> {
        let kind = content_type(head);
        Wire::ALL.into_iter().find(|wire| kind.eq_ignore_ascii_case(wire.media_type()))
    }

    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Wire::AmzJson => "application/x-amz-json-1.1",
            Wire::Json => "application/json",
            Wire::Cbor => "application/x-amz-cbor-1.1",
        }
    }

    /// What an answer, or an event of one, is sent as.
    pub(crate) fn encode(self, json: String) -> Bytes {
        match self {
            Wire::AmzJson | Wire::Json => json.into(),
            Wire::Cbor => cbor::from_json(&json).into(),
        }
    }

    /// That the body is one object. Costs no memory, so it may be done for anybody.
    pub(crate) fn check_object(self, body: &[u8]) -> Result<(), ApiError> {
        if self == Wire::Cbor {
            return cbor::check_object(body).map_err(|error| ApiError::serialization(error.to_string()));
        }
        serde_json::from_slice::<IgnoredAny>(body).map_err(|error| ApiError::serialization(error.to_string()))?;
        let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
        if first == Some(&b'{') { Ok(()) } else { Err(ApiError::serialization("the request must be a JSON object")) }
    }

    /// The hot way, which borrows from the body and cannot tell what is wrong with it.
    pub(crate) fn parse<'de, T: Deserialize<'de>>(self, body: &'de [u8]) -> Option<T> {
        match self {
            Wire::Cbor => cbor::from_slice(body).ok(),
            _ if is_too_deep(body) => None,
            _ => sonic_rs::from_slice(body).ok(),
        }
    }

    /// The body as JSON's values, whose memory [`Wire::tree_factor`] bounds.
    pub(crate) fn value(self, body: &[u8]) -> Result<Value, ApiError> {
        match self {
            Wire::Cbor => cbor::value(body).map_err(|error| ApiError::serialization(error.to_string())),
            _ => serde_json::from_slice(body).map_err(|error| ApiError::serialization(error.to_string())),
        }
    }

    /// How many bytes of values one byte of a body may become: a number in a list has two bytes in JSON, and one in CBOR.
    pub(crate) fn tree_factor(self) -> usize {
        if self == Wire::Cbor { 32 } else { 16 }
    }
}

/// Without its parameters.
pub(crate) fn content_type(head: &Parts) -> Cow<'_, str> {
    let text = head.headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let kind = text.split(|byte| *byte == b';').next().unwrap_or_default();
    String::from_utf8_lossy(kind.trim_ascii())
}
