//! One request, from a complete body to its answer. The order of checks is the one AWS's front end has:
//! content type, JSON or CBOR, target, authentication, types, constraints, and only then what is asked.

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use http::request::Parts;
use http::{HeaderName, StatusCode};
use hydrant_shardlog::Clock;
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::access::{self, Called};
use crate::answer::Answer;
use crate::firehose::{self, Mappings, Operation, Put};
use crate::kinesis::{self, Kinesis};
use crate::sigv4::Caller;
use crate::wire::{self, Wire};
use crate::{ApiError, Auth, ControlPlane, Counters, Registry};

/// A request that is not a well-formed put is held as a tree of values, which needs many times its bytes.
const TREE_BYTES_MAX: usize = 1 << 20;

const UNREADABLE: &str = "a member has a type that cannot be converted, or stands twice";

/// Everything that operations work on.
#[derive(Debug)]
pub(crate) struct Operations {
    pub(crate) registry: Arc<Registry>,
    pub(crate) control: Arc<dyn ControlPlane>,
    pub(crate) kinesis: Kinesis,
    pub(crate) mappings: Mappings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) budget: Arc<Semaphore>,
}

/// `wire` is what the content type says. What becomes known of the call on the way is noted in `called`.
pub(crate) async fn answer(
    (head, wire): (&Parts, Option<Wire>),
    body: &Bytes,
    called: &mut Called,
    (auth, operations): (&Auth, &Arc<Operations>),
) -> Result<Answer, ApiError> {
    let wire = check_content(head, wire, body)?;
    if let Some(operation) = target_text(head).strip_prefix(kinesis::TARGET) {
        return kinesis(operation, (head, wire), (body, called), (auth, operations)).await;
    }
    if wire == Wire::Cbor {
        return Err(unknown_content(head));
    }
    let name = target_text(head).strip_prefix(firehose::TARGET).unwrap_or_default();
    let target = Operation::parse(name);
    let put = match target {
        Some(Operation::Put { batch }) => Put::parse(batch, body),
        _ => None,
    };
    if put.is_none() {
        wire.check_object(body)?;
    }
    let operation = target.ok_or_else(|| ApiError::unknown_operation(StatusCode::BAD_REQUEST, unknown_text(head)))?;
    let caller = auth.verify(head, body, "firehose", operations.clock.now())?;
    let account = &operations.mappings.account;
    let mut authorize = |stream: Option<&str>| {
        let resources = access::of_firehose(name, stream, &caller.region, account);
        called.authorize(&caller, account, ("firehose", name), resources)
    };
    if let Some(put) = put {
        authorize(put.name())?;
        return put.run(&caller.region, operations).await.map(Answer::Json);
    }
    let (value, _permit) = tree(body, wire, &operations.budget)?;
    authorize(value["DeliveryStreamName"].as_str())?;
    match operation {
        Operation::Put { batch } => put_again(batch, value, &caller, operations).await.map(Answer::Json),
        operation => control(operation, value, caller, operations).await.map(|answer| Answer::Json(answer.to_string())),
    }
}

/// The same in the same order, for Kinesis.
async fn kinesis(
    name: &str,
    (head, wire): (&Parts, Wire),
    (body, called): (&Bytes, &mut Called),
    (auth, operations): (&Auth, &Arc<Operations>),
) -> Result<Answer, ApiError> {
    let target = kinesis::Operation::parse(name);
    let put = match target {
        Some(kinesis::Operation::Put { .. }) => kinesis::Put::parse(body, wire),
        _ => None,
    };
    if put.is_none() {
        wire.check_object(body)?;
    }
    let operation = target.ok_or_else(|| ApiError::unknown_operation(StatusCode::BAD_REQUEST, unknown_text(head)))?;
    let caller = auth.verify(head, body, "kinesis", operations.clock.now())?;
    let account = &operations.mappings.account;
    let region = caller.region.clone();
    let (here, streams) = ((caller.region.as_str(), account), operations.kinesis.streams.as_ref());
    let request = |body| kinesis::Request { body, region, wire, operations: Arc::clone(operations) };
    if let (kinesis::Operation::Put { batch }, Some(put)) = (operation, put) {
        let resources = access::of_put(put.stream(), here, streams);
        called.authorize(&caller, account, ("kinesis", name), resources)?;
        return put.run(batch, &request(Value::Null)).await.map(Answer::Encoded);
    }
    let (value, _permit) = tree(body, wire, &operations.budget)?;
    let resources = access::of_kinesis(name, &value, here, streams);
    called.authorize(&caller, account, ("kinesis", name), resources)?;
    let kinesis::Operation::Put { batch } = operation else {
        return kinesis::run(operation, request(value)).await;
    };
    let text = kinesis::mistyped(&value)?;
    // The tree has blobs as base64, and a text of CBOR must not be taken for one.
    let put = if wire == Wire::Cbor { None } else { kinesis::Put::parse(&text, wire) };
    let put = put.ok_or_else(|| ApiError::serialization(UNREADABLE))?;
    put.run(batch, &request(Value::Null)).await.map(Answer::Encoded)
}

/// A put that the fast way did not understand: either a member has a wrong type, or one is there twice.
async fn put_again(batch: bool, value: Value, caller: &Caller, operations: &Operations) -> Result<String, ApiError> {
    let text = firehose::mistyped(batch, &value)?;
    drop(value);
    let put = Put::parse(batch, &text);
    let put = put.ok_or_else(|| ApiError::serialization(UNREADABLE))?;
    put.run(&caller.region, operations).await
}

async fn control(
    operation: Operation,
    value: Value,
    caller: Caller,
    operations: &Arc<Operations>,
) -> Result<Value, ApiError> {
    firehose::run(operation, value, caller.region, operations).await
}

fn tree<'a>(body: &[u8], wire: Wire, budget: &'a Semaphore) -> Result<(Value, SemaphorePermit<'a>), ApiError> {
    if body.len() > TREE_BYTES_MAX {
        return Err(ApiError::serialization(format!(
            "the request is larger than {TREE_BYTES_MAX} bytes and is no well-formed put"
        )));
    }
    let cost = u32::try_from(body.len() * wire.tree_factor()).unwrap_or(u32::MAX);
    let permit = budget.try_acquire_many(cost).map_err(|_| ApiError::slow_down())?;
    Ok((wire.value(body)?, permit))
}

fn check_content(head: &Parts, wire: Option<Wire>, body: &[u8]) -> Result<Wire, ApiError> {
    if body.is_empty() {
        return Err(ApiError::serialization("the request has no body"));
    }
    let targeted = !target_text(head).is_empty();
    let wire = wire.ok_or_else(|| if targeted { unknown_content(head) } else { ApiError::no_operation() })?;
    let coding = head.headers.get(CONTENT_ENCODING).map(|value| value.to_str().unwrap_or_default());
    match coding {
        None | Some("identity") => Ok(wire),
        Some(other) => Err(ApiError::serialization(format!("the content encoding `{other}` is not supported"))),
    }
}

fn unknown_content(head: &Parts) -> ApiError {
    let text = format!(
        "the content type must be {}, or {} for Kinesis, got `{}`",
        Wire::AmzJson.media_type(),
        Wire::Cbor.media_type(),
        wire::content_type(head)
    );
    ApiError::unknown_operation(StatusCode::NOT_FOUND, text)
}

pub(crate) fn target_text(head: &Parts) -> &str {
    const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
    head.headers.get(TARGET).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn unknown_text(head: &Parts) -> String {
    format!(
        "there is no operation `{}`; this server speaks {}<Operation> and {}<Operation>",
        target_text(head),
        firehose::TARGET,
        kinesis::TARGET
    )
}
