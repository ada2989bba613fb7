//! One request, from a complete body to the text of its answer. The order of checks is the one AWS's front end has:
//! content type, JSON, target, authentication, types, constraints, and only then what is asked.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http::request::Parts;
use hydrant_shardlog::Clock;
use serde::de::IgnoredAny;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::answer::Answer;
use crate::firehose::{self, Mappings, Operation, Put};
use crate::kinesis::{self, Kinesis};
use crate::sigv4::Caller;
use crate::{ApiError, Auth, ControlPlane, Counters, Registry};

/// A request that is not a well-formed put is held as a tree of values, which needs many times its bytes.
const TREE_BYTES_MAX: usize = 1 << 20;
const TREE_FACTOR: usize = 16;

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

pub(crate) async fn answer(
    head: &Parts,
    body: &Bytes,
    auth: &Auth,
    operations: &Arc<Operations>,
) -> Result<Answer, ApiError> {
    check_content(head, body)?;
    if let Some(operation) = target_text(head).strip_prefix(kinesis::TARGET) {
        return kinesis(kinesis::Operation::parse(operation), head, body, (auth, operations)).await;
    }
    let target = target(head);
    let put = match target {
        Some(Operation::Put { batch }) => Put::parse(batch, body),
        _ => None,
    };
    if put.is_none() {
        check_object(body)?;
    }
    let operation = target.ok_or_else(|| ApiError::unknown_operation(StatusCode::BAD_REQUEST, unknown_text(head)))?;
    let caller = auth.verify(head, body, "firehose", operations.clock.now())?;
    match (operation, put) {
        (_, Some(put)) => put.run(&caller.region, operations).await.map(Answer::Json),
        (Operation::Put { batch }, None) => put_again(batch, body, &caller, operations).await.map(Answer::Json),
        (Operation::Unbuilt(name), None) => Err(firehose::unsupported(name)),
        (operation, None) => {
            control(operation, body, caller, operations).await.map(|answer| Answer::Json(answer.to_string()))
        }
    }
}

/// The same in the same order, for Kinesis.
async fn kinesis(
    target: Option<kinesis::Operation>,
    head: &Parts,
    body: &Bytes,
    (auth, operations): (&Auth, &Arc<Operations>),
) -> Result<Answer, ApiError> {
    let put = match target {
        Some(kinesis::Operation::Put { .. }) => kinesis::Put::parse(body),
        _ => None,
    };
    if put.is_none() {
        check_object(body)?;
    }
    let operation = target.ok_or_else(|| ApiError::unknown_operation(StatusCode::BAD_REQUEST, unknown_text(head)))?;
    let region = auth.verify(head, body, "kinesis", operations.clock.now())?.region;
    let request = |body| kinesis::Request { body, region, operations: Arc::clone(operations) };
    match (operation, put) {
        (kinesis::Operation::Put { batch }, Some(put)) => put.run(batch, &request(Value::Null)).await.map(Answer::Json),
        (kinesis::Operation::Put { batch }, None) => {
            let text = {
                let (value, _permit) = tree(body, &operations.budget)?;
                kinesis::mistyped(&value)?
            };
            let put = kinesis::Put::parse(&text);
            let put =
                put.ok_or_else(|| ApiError::serialization("a member has a JSON type that cannot be converted"))?;
            put.run(batch, &request(Value::Null)).await.map(Answer::Json)
        }
        (operation, _) => {
            let (value, _permit) = tree(body, &operations.budget)?;
            kinesis::run(operation, request(value)).await
        }
    }
}

/// A put that the fast way did not understand: either a member has a wrong type, or one is there twice.
async fn put_again(batch: bool, body: &[u8], caller: &Caller, operations: &Operations) -> Result<String, ApiError> {
    let text = {
        let (value, _permit) = tree(body, &operations.budget)?;
        firehose::mistyped(batch, &value)?
    };
    let put = Put::parse(batch, &text);
    let put = put.ok_or_else(|| ApiError::serialization("a member has a JSON type that cannot be converted"))?;
    put.run(&caller.region, operations).await
}

/// Runs to its end in a task of its own, so that a client that goes away leaves nothing half done.
async fn control(
    operation: Operation,
    body: &[u8],
    caller: Caller,
    operations: &Arc<Operations>,
) -> Result<Value, ApiError> {
    let (value, _permit) = tree(body, &operations.budget)?;
    let Caller { region, access_key_id } = caller;
    tracing::debug!(?operation, region, access_key_id, "control plane call");
    let running = match operation {
        Operation::Describe => return firehose::describe(&value, &region, operations),
        Operation::List => return firehose::list(&value, &region, operations),
        Operation::Create => tokio::spawn(firehose::create(value, region, Arc::clone(operations))),
        _ => tokio::spawn(firehose::delete(value, region, Arc::clone(operations))),
    };
    running.await.unwrap_or_else(|_| Err(ApiError::internal("the operation failed; see the daemon's log")))
}

fn tree<'a>(body: &[u8], budget: &'a Semaphore) -> Result<(Value, tokio::sync::SemaphorePermit<'a>), ApiError> {
    if body.len() > TREE_BYTES_MAX {
        return Err(ApiError::serialization(format!(
            "the request is larger than {TREE_BYTES_MAX} bytes and is no well-formed put"
        )));
    }
    let cost = u32::try_from(body.len() * TREE_FACTOR).unwrap_or(u32::MAX);
    let permit = budget.try_acquire_many(cost).map_err(|_| ApiError::slow_down())?;
    let value = serde_json::from_slice(body).map_err(|error| ApiError::serialization(error.to_string()))?;
    Ok((value, permit))
}

fn check_content(head: &Parts, body: &[u8]) -> Result<(), ApiError> {
    if body.is_empty() {
        return Err(ApiError::serialization("the request has no body"));
    }
    let header = |name| head.headers.get(name).map(|value: &http::HeaderValue| value.to_str().unwrap_or_default());
    let kind = header(http::header::CONTENT_TYPE).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !["application/x-amz-json-1.1", "application/json"].iter().any(|known| kind.eq_ignore_ascii_case(known)) {
        let text = format!("the content type must be application/x-amz-json-1.1, got `{kind}`");
        return Err(ApiError::unknown_operation(StatusCode::NOT_FOUND, text));
    }
    match header(http::header::CONTENT_ENCODING) {
        None | Some("identity") => Ok(()),
        Some(other) => Err(ApiError::serialization(format!("the content encoding `{other}` is not supported"))),
    }
}

/// Costs no memory, so it may be done for anybody.
fn check_object(body: &[u8]) -> Result<(), ApiError> {
    serde_json::from_slice::<IgnoredAny>(body).map_err(|error| ApiError::serialization(error.to_string()))?;
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if first == Some(&b'{') { Ok(()) } else { Err(ApiError::serialization("the request must be a JSON object")) }
}

fn target(head: &Parts) -> Option<Operation> {
    Operation::parse(target_text(head).strip_prefix(firehose::TARGET)?)
}

pub(crate) fn target_text(head: &Parts) -> &str {
    head.headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn unknown_text(head: &Parts) -> String {
    format!(
        "there is no operation `{}`; this server speaks {}<Operation> and {}<Operation>",
        target_text(head),
        firehose::TARGET,
        kinesis::TARGET
    )
}
