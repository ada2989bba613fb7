//! Firehose's operations. Each checks the constraints of its shape first, then what the request means here.

mod conversion;
mod create;
mod describe;
mod processing;
mod put;
mod s3;
mod streams;

use std::collections::BTreeMap;

use hydrant_config::{AccountId, Config, Plugin, S3Connection, Schema};

use crate::ApiError;
use crate::shape::{Shape, Violations};

pub(crate) use create::create;
pub use create::delivery_stream_from_request;
pub(crate) use put::{Put, mistyped};
pub(crate) use streams::{delete, describe, list};

pub(crate) const TARGET: &str = "Firehose_20150804.";

/// What the names in an API request mean on this machine.
#[derive(Clone, Debug)]
pub struct Mappings {
    pub account: AccountId,
    /// Where every bucket ARN is.
    pub s3: Option<S3Connection>,
    /// By Lambda ARN.
    pub lambda: BTreeMap<String, Plugin>,
    /// By `database.table`.
    pub glue: BTreeMap<String, Schema>,
}

impl From<&Config> for Mappings {
    fn from(config: &Config) -> Mappings {
        Mappings {
            account: config.account.clone(),
            s3: config.s3.clone(),
            lambda: config.lambda.clone(),
            glue: config.glue.clone(),
        }
    }
}

/// An operation that Firehose has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Put {
        batch: bool,
    },
    Create,
    Describe,
    List,
    Delete,
    /// Firehose has it, this version has not.
    Unbuilt(&'static str),
}

impl Operation {
    /// `None` if Firehose has no such operation.
    pub(crate) fn parse(name: &str) -> Option<Operation> {
        const UNBUILT: [&str; 6] = [
            "ListTagsForDeliveryStream",
            "StartDeliveryStreamEncryption",
            "StopDeliveryStreamEncryption",
            "TagDeliveryStream",
            "UntagDeliveryStream",
            "UpdateDestination",
        ];
        Some(match name {
            "PutRecord" => Operation::Put { batch: false },
            "PutRecordBatch" => Operation::Put { batch: true },
            "CreateDeliveryStream" => Operation::Create,
            "DescribeDeliveryStream" => Operation::Describe,
            "ListDeliveryStreams" => Operation::List,
            "DeleteDeliveryStream" => Operation::Delete,
            _ => Operation::Unbuilt(UNBUILT.into_iter().find(|known| *known == name)?),
        })
    }
}

pub(crate) fn unsupported(what: &str) -> ApiError {
    ApiError::invalid_argument(format!("{what} is not supported by this version of Hydrant"))
}

fn check_stream_name(name: &str, at: &str, violations: &mut Violations) {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    violations.length(at, name, 1..=64);
    if !name.is_empty() {
        violations.pattern(at, name, ("[a-zA-Z0-9_.-]+", name.bytes().all(allowed)));
    }
}

/// The required stream name of a request; empty if it is missing, which is then a violation.
fn stream_name<'a>(shape: &Shape<'a>, violations: &mut Violations) -> Result<&'a str, ApiError> {
    let name = violations.required(shape, "DeliveryStreamName", shape.text("DeliveryStreamName")?);
    if let Some(name) = name {
        check_stream_name(name, &shape.at("DeliveryStreamName"), violations);
    }
    Ok(name.unwrap_or_default())
}

pub(crate) fn stream_arn(account: &AccountId, region: &str, name: &str) -> String {
    format!("arn:aws:firehose:{region}:{}:deliverystream/{name}", account.as_str())
}
