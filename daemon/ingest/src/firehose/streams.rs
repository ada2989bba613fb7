//! DescribeDeliveryStream, ListDeliveryStreams and DeleteDeliveryStream.

use std::sync::Arc;

use serde_json::{Value, json};

use super::source::TYPES;
use super::{change, describe as description, stream_name};
use crate::request::Operations;
use crate::shape::{Shape, Violations};
use crate::{ApiError, ControlError, Entry, Refusal, Status};

const LIST_DEFAULT: i64 = 10;

pub(crate) fn describe(request: &Value, region: &str, operations: &Operations) -> Result<Value, ApiError> {
    let shape = Shape::root(request)?;
    let mut violations = Violations::default();
    let name = stream_name(&shape, &mut violations)?;
    if let Some(limit) = shape.integer("Limit")? {
        violations.range("limit", limit, 1..=10_000);
    }
    if let Some(id) = shape.text("ExclusiveStartDestinationId")? {
        violations.length("exclusiveStartDestinationId", id, 1..=100);
    }
    violations.finish()?;
    let entry = find(name, region, operations)?;
    Ok(description::describe(&entry, region, &operations.mappings))
}

pub(crate) fn list(request: &Value, region: &str, operations: &Operations) -> Result<Value, ApiError> {
    let shape = Shape::root(request)?;
    let mut violations = Violations::default();
    let limit = shape.integer("Limit")?.unwrap_or(LIST_DEFAULT);
    violations.range("limit", limit, 1..=10_000);
    let kind = shape.text("DeliveryStreamType")?;
    if let Some(kind) = kind {
        violations.choice("deliveryStreamType", kind, &TYPES);
    }
    let after = shape.text("ExclusiveStartDeliveryStreamName")?;
    if let Some(after) = after {
        super::check_stream_name(after, "exclusiveStartDeliveryStreamName", &mut violations);
    }
    violations.finish()?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let streams = operations.registry.in_region(region);
    let asked = |entry: &&Arc<Entry>| kind.is_none_or(|kind| kind == super::kind_of(&entry.definition()));
    let mut names: Vec<&str> = streams.iter().filter(asked).map(|entry| entry.name().as_str()).collect();
    names.sort_unstable();
    names.retain(|name| after.is_none_or(|after| *name > after));
    let more = names.len() > limit;
    names.truncate(limit);
    Ok(json!({ "DeliveryStreamNames": names, "HasMoreDeliveryStreams": more }))
}

/// Answers when the promise to delete is durable; the rest goes on behind.
pub(crate) async fn delete(request: Value, region: String, operations: Arc<Operations>) -> Result<Value, ApiError> {
    let shape = Shape::root(&request)?;
    let mut violations = Violations::default();
    let name = stream_name(&shape, &mut violations)?;
    shape.flag("AllowForceDelete")?;
    violations.finish()?;
    let entry = find(name, &region, &operations)?;
    change::check_origin(&entry)?;
    // A change that is under way ends first.
    let _alone = entry.changing.lock().await;
    let account = operations.mappings.account.as_str();
    let failed_before = entry.change(Status::DeletingFailed, Status::Deleting);
    if !failed_before && !entry.change(Status::Active, Status::Deleting) {
        return match entry.status() {
            Status::Creating => {
                Err(ApiError::in_use(format!("Firehose {name} under accountId {account} is being created")))
            }
            _ => Ok(json!({})),
        };
    }
    if let Err(error) = operations.control.begin_delete(Arc::clone(&entry)).await {
        entry.set_status(if failed_before { Status::DeletingFailed } else { Status::Active });
        return Err(refused(error));
    }
    tracing::info!(stream = name, region, "deleting a delivery stream");
    tokio::spawn(finish_delete(Arc::clone(&entry), Arc::clone(&operations)));
    Ok(json!({}))
}

async fn finish_delete(entry: Arc<Entry>, operations: Arc<Operations>) {
    let name = entry.name();
    match operations.control.finish_delete(Arc::clone(&entry)).await {
        Ok(()) => {
            operations.registry.remove(&entry);
            tracing::info!(stream = %name, "deleted the delivery stream");
        }
        Err(error) => {
            entry.set_status(Status::DeletingFailed);
            tracing::error!(stream = %name, %error, "the delivery stream could not be deleted; delete it again");
        }
    }
}

pub(super) fn refused(error: ControlError) -> ApiError {
    match error {
        ControlError::Unavailable(text) => ApiError::unavailable(Refusal::Internal, text),
        ControlError::Refused(text) => ApiError::invalid_argument(text),
        ControlError::InUse(text) => ApiError::in_use(text),
        ControlError::LimitExceeded(text) => ApiError::limit_exceeded(text),
    }
}

pub(super) fn find(name: &str, region: &str, operations: &Operations) -> Result<Arc<Entry>, ApiError> {
    let found = operations.registry.find(name, region);
    found.ok_or_else(|| ApiError::not_found(name, operations.mappings.account.as_str()))
}
