//! Changes of a delivery stream that is there: one at a time, durable first, seen by others only then.

use std::sync::Arc;

use super::streams::refused;
use crate::request::Operations;
use crate::{ApiError, Entry, Origin, Status, StreamSettings};

/// What the YAML manages, only the YAML changes.
pub(super) fn check_origin(entry: &Entry) -> Result<(), ApiError> {
    match entry.definition().origin {
        Origin::Api { .. } => Ok(()),
        Origin::Yaml(_) => Err(ApiError::invalid_argument(format!(
            "Firehose {} is managed by YAML; change or remove it in `delivery_streams` of the configuration file instead",
            entry.name()
        ))),
    }
}

pub(super) fn check_active(entry: &Entry, operations: &Operations) -> Result<(), ApiError> {
    if entry.status() == Status::Active {
        return Ok(());
    }
    let (name, account) = (entry.name(), operations.mappings.account.as_str());
    let status = entry.status().as_str();
    Err(ApiError::in_use(format!("Firehose {name} under accountId {account} is not ACTIVE, but {status}")))
}

pub(super) async fn settings(
    entry: &Arc<Entry>,
    operations: &Operations,
    edit: impl FnOnce(&mut StreamSettings) -> Result<(), ApiError>,
) -> Result<(), ApiError> {
    check_origin(entry)?;
    let _alone = entry.changing.lock().await;
    check_active(entry, operations)?;
    let mut changed = (*entry.definition()).clone();
    edit(&mut changed.settings)?;
    operations.control.store(Arc::clone(entry), changed.clone()).await.map_err(refused)?;
    entry.redefine(changed);
    Ok(())
}
