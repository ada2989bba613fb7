//! Firehose's operations. Each checks the constraints of its shape first, then what the request means here.

mod backup_hints;
mod change;
mod conversion;
mod create;
mod describe;
mod destination;
mod encryption;
mod http_endpoint;
mod objects;
mod of_yaml;
mod opensearch;
mod processing;
mod put;
mod requests;
mod s3;
mod source;
mod splunk;
mod streams;
mod tags;
mod update;

use std::collections::BTreeMap;
use std::sync::Arc;

use hydrant_config::{AccountId, Authorities, Config, OpenSearchDomain, Plugin, S3Connection, Schema};
use serde_json::Value;

use crate::kinesis::MANAGE_RATE;
use crate::request::Operations;
use crate::shape::{Shape, Violations};
use crate::{ApiError, DeliveryStreamDefinition};

use create::create;
pub use create::delivery_stream_from_request;
pub(crate) use encryption::vouched;
pub(crate) use put::{Put, mistyped};

pub(crate) const TARGET: &str = "Firehose_20150804.";

/// What the names in an API request mean on this machine.
#[derive(Clone, Debug)]
pub struct Mappings {
    pub account: AccountId,
    /// As in [`Config::data_dir_encrypted`].
    pub data_dir_encrypted: bool,
    /// Where every bucket ARN is.
    pub s3: Option<S3Connection>,
    /// By Lambda ARN.
    pub lambda: BTreeMap<String, Plugin>,
    /// By `database.table`.
    pub glue: BTreeMap<String, Schema>,
    /// By domain ARN.
    pub opensearch: BTreeMap<String, OpenSearchDomain>,
    /// As in [`Config::api_destinations_ca`].
    pub destinations_ca: Option<Authorities>,
}

impl From<&Config> for Mappings {
    fn from(config: &Config) -> Mappings {
        Mappings {
            account: config.account.clone(),
            data_dir_encrypted: config.data_dir_encrypted,
            s3: config.s3.clone(),
            lambda: config.lambda.clone(),
            glue: config.glue.clone(),
            opensearch: config.opensearch.clone(),
            destinations_ca: config.api_destinations_ca.clone(),
        }
    }
}

/// An operation that Firehose has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Put { batch: bool },
    Create,
    Describe,
    List,
    Delete,
    Update,
    Tag,
    Untag,
    ListTags,
    Encrypt { start: bool },
}

impl Operation {
    /// `None` if Firehose has no such operation.
    pub(crate) fn parse(name: &str) -> Option<Operation> {
        Some(match name {
            "PutRecord" => Operation::Put { batch: false },
            "PutRecordBatch" => Operation::Put { batch: true },
            "CreateDeliveryStream" => Operation::Create,
            "DescribeDeliveryStream" => Operation::Describe,
            "ListDeliveryStreams" => Operation::List,
            "DeleteDeliveryStream" => Operation::Delete,
            "UpdateDestination" => Operation::Update,
            "TagDeliveryStream" => Operation::Tag,
            "UntagDeliveryStream" => Operation::Untag,
            "ListTagsForDeliveryStream" => Operation::ListTags,
            "StartDeliveryStreamEncryption" => Operation::Encrypt { start: true },
            "StopDeliveryStreamEncryption" => Operation::Encrypt { start: false },
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Operation::Put { batch: false } => "PutRecord",
            Operation::Put { batch: true } => "PutRecordBatch",
            Operation::Create => "CreateDeliveryStream",
            Operation::Describe => "DescribeDeliveryStream",
            Operation::List => "ListDeliveryStreams",
            Operation::Delete => "DeleteDeliveryStream",
            Operation::Update => "UpdateDestination",
            Operation::Tag => "TagDeliveryStream",
            Operation::Untag => "UntagDeliveryStream",
            Operation::ListTags => "ListTagsForDeliveryStream",
            Operation::Encrypt { start: true } => "StartDeliveryStreamEncryption",
            Operation::Encrypt { start: false } => "StopDeliveryStreamEncryption",
        }
    }
}

/// Everything but puts. A change runs to its end in a task of its own, so that a client that goes away leaves nothing half done.
pub(crate) async fn run(
    operation: Operation,
    request: Value,
    region: String,
    operations: &Arc<Operations>,
) -> Result<Value, ApiError> {
    let kinesis = &operations.kinesis;
    let name = operation.name();
    if !kinesis.calls.may_manage(&region, name, &kinesis.limits) {
        let account = operations.mappings.account.as_str();
        return Err(ApiError::throttling(format!(
            "Please slow down. Max limit of {MANAGE_RATE} RPS has breached for {name} of account {account}."
        )));
    }
    match operation {
        Operation::Describe => return streams::describe(&request, &region, operations),
        Operation::List => return streams::list(&request, &region, operations),
        Operation::ListTags => return tags::list(&request, &region, operations),
        _ => {}
    }
    let operations = Arc::clone(operations);
    let running = tokio::spawn(async move {
        match operation {
            Operation::Create => create(request, region, operations).await,
            Operation::Update => update::update(request, region, operations).await,
            Operation::Tag => tags::tag(&request, &region, &operations).await,
            Operation::Untag => tags::untag(&request, &region, &operations).await,
            Operation::Encrypt { start } => encryption::switch(start, &request, &region, &operations).await,
            _ => streams::delete(request, region, operations).await,
        }
    });
    running.await.unwrap_or_else(|_| Err(ApiError::internal("the operation failed; see the daemon's log")))
}

pub(crate) fn unsupported(what: &str) -> ApiError {
    ApiError::invalid_argument(format!("{what} is not supported by this version of Hydrant"))
}

/// The same, with what to do instead.
fn unsupported_but(what: &str, next: &str) -> ApiError {
    ApiError::invalid_argument(format!("{what} is not supported by this version of Hydrant; {next}"))
}

/// AWS's word for where the records come from.
fn kind_of(definition: &DeliveryStreamDefinition) -> &'static str {
    if definition.source.is_some() { "KinesisStreamAsSource" } else { "DirectPut" }
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
