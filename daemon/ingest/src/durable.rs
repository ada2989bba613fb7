//! From records to the log's word that they are on the medium: what every success reply to a put stands on.

use std::sync::Arc;

use hydrant_record::NewRecord;
use hydrant_shardlog::{AppendError, Appended, ShardLog};
use tokio::sync::oneshot;

use crate::{ApiError, Counters, Refusal};

/// Completes when the records are durable, all of them or none.
pub(crate) async fn store(
    log: &ShardLog,
    records: Vec<NewRecord>,
    counters: &Arc<Counters>,
) -> Result<Appended, ApiError> {
    let bytes: usize = records.iter().map(|record| record.data.len()).sum();
    let (count, counters) = (records.len(), Arc::clone(counters));
    let (reply, outcome) = oneshot::channel();
    let done = move |result: Result<Appended, AppendError>| {
        if result.is_ok() {
            counters.count_accepted(count as u64, bytes as u64);
        }
        let _ = reply.send(result);
    };
    log.submit(records, Box::new(done)).map_err(|error| refused(&error))?;
    match outcome.await {
        Ok(result) => result.map_err(|error| refused(&error)),
        Err(_) => Err(ApiError::internal("the log gave no answer; whether the records were stored is not known")),
    }
}

pub(crate) fn refused(error: &AppendError) -> ApiError {
    match error {
        AppendError::Full => ApiError::slow_down(),
        AppendError::DiskFull => ApiError::unavailable(Refusal::DiskFull, error.to_string()),
        AppendError::Poisoned(_) | AppendError::Closed => ApiError::unavailable(Refusal::LogFailed, error.to_string()),
    }
}
