//! A delivery stream that goes on with other settings, and with the same log and journal.
//!
//! Invariant: it delivers by the settings that the catalog has, or by those that it had before; and what was staged for one
//! destination never goes to another.

use std::sync::Arc;
use std::time::Duration;

use hydrant_config::{DeliveryStream, Destination};
use hydrant_delivery::{destination_identity, store_identity};
use hydrant_ingest::{CatalogError, ControlError};
use hydrant_record::StreamId;

use super::{Engine, Running, Tools};
use crate::control::{blocking, unavailable};
use crate::engine::OpenStreamError;
use crate::exit::{Exit, Failure, chain};

/// How long what is staged for the old destination may take.
const FINISH_GRACE: Duration = Duration::from_secs(20);

impl Engine {
    /// Whether its plugins and its destination can be made. Changes nothing; blocks.
    pub(crate) fn check_tools(&self, stream: &DeliveryStream) -> Result<(), OpenStreamError> {
        self.tools(stream).map(drop)
    }

    /// `store` makes the new settings durable; it is called once nothing can fail any more but the storage. After `Err` the
    /// delivery stream goes on as before.
    pub(crate) async fn change_stream(
        self: &Arc<Self>,
        id: StreamId,
        stream: DeliveryStream,
        store: impl FnOnce(&Engine) -> Result<(), CatalogError> + Send + 'static,
    ) -> Result<(), ControlError> {
        let gone = || ControlError::Unavailable("the delivery stream is not running".to_owned());
        let old = self.running().get(&id).cloned().ok_or_else(gone)?;
        let (engine, wanted) = (Arc::clone(self), stream.clone());
        let tools = blocking(move || engine.tools(&wanted).map_err(|error| cannot_open(&error))).await?;
        let moves = moves(&old.stream, &stream);
        // Why it ended was told when it happened, if it was an error.
        let _ = if moves { old.pipeline.finish_staged(FINISH_GRACE).await } else { old.pipeline.stop().await };
        let stuck = moves && old.pipeline.status().staged_chunks > 0;
        let engine = Arc::clone(self);
        blocking(move || {
            let stored = if stuck { Err(still_staged()) } else { store(&engine).map_err(|error| unavailable(&error)) };
            match stored {
                Ok(()) => engine.relaunch(id, &old, (&stream, tools)),
                Err(error) => {
                    let tools = engine.tools(&old.stream).map_err(|error| cannot_open(&error))?;
                    engine.relaunch(id, &old, (&old.stream, tools))?;
                    Err(error)
                }
            }
        })
        .await
    }

    /// If this fails, the settings are durable and the storage is not to be trusted: a restart recovers.
    fn relaunch(
        self: &Arc<Self>,
        id: StreamId,
        old: &Running,
        (stream, tools): (&DeliveryStream, Tools),
    ) -> Result<(), ControlError> {
        self.launch(stream, id, (old.log.clone(), old.claim), tools).map_err(|error| {
            let text = format!("the delivery stream cannot go on: {}", chain(&error));
            // Full means that somebody else has asked already.
            let _ =
                self.broken.try_send(Failure::new(error.exit(), text).hint("restart: recovery finds what is durable"));
            unavailable(&error)
        })
    }
}

/// Whether what is staged by the old settings cannot be sent by the new ones.
fn moves(old: &DeliveryStream, new: &DeliveryStream) -> bool {
    let backup = |stream: &DeliveryStream| stream.backup.as_ref().map(|backup| store_identity(&backup.store));
    let collector = |stream: &DeliveryStream| match &stream.destination {
        Destination::Splunk(splunk) => Some(splunk.endpoint_type),
        _ => None,
    };
    destination_identity(&old.destination) != destination_identity(&new.destination)
        || backup(old).is_some_and(|was| backup(new) != Some(was))
        || collector(old) != collector(new)
}

fn still_staged() -> ControlError {
    ControlError::InUse(
        "Objects are staged for the old destination and could not be delivered there now; nothing was changed. Update it again \
         when the old destination takes them. Requests that it will never take go to the backup bucket at once after an update of \
         RetryOptions alone, to DurationInSeconds 0; then update the destination."
            .to_owned(),
    )
}

fn cannot_open(error: &OpenStreamError) -> ControlError {
    match error.exit() {
        Exit::Config => ControlError::Refused(chain(error)),
        _ => unavailable(error),
    }
}
