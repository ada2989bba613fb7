//! What the front door asks of the daemon when the API creates or deletes a delivery stream.

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use hydrant_config::DeliveryStream;

use crate::{DeliveryStreamDefinition, Entry, StreamHandle};

/// A delivery stream to be made, its name reserved until the creation ends, or another version of one; valid.
#[derive(Clone, Debug)]
pub struct NewDeliveryStream {
    /// Its origin is [`crate::Origin::Api`] with the request to store.
    pub definition: DeliveryStreamDefinition,
    pub spec: DeliveryStream,
}

/// What the daemon does about delivery streams. Calls run to their end, even if the client is gone.
pub trait ControlPlane: Send + Sync + fmt::Debug {
    /// Makes the stream durable, opens its log and starts its delivery. `Ok` only after all of it; after `Err` nothing of
    /// it is left and the name is free again.
    fn create(&self, new: NewDeliveryStream) -> BoxFuture<'_, Result<StreamHandle, ControlError>>;

    /// Makes a definition durable of which only the settings have changed.
    fn store(&self, entry: Arc<Entry>, changed: DeliveryStreamDefinition) -> BoxFuture<'_, Result<(), ControlError>>;

    /// Makes a new version durable and goes on delivering by it; records are taken all the while. After `Err` nothing has
    /// changed.
    fn update(&self, entry: Arc<Entry>, changed: NewDeliveryStream) -> BoxFuture<'_, Result<(), ControlError>>;

    /// Makes the promise to delete durable: a restart after it finishes the deletion. Called again after a failed one.
    fn begin_delete(&self, entry: Arc<Entry>) -> BoxFuture<'_, Result<(), ControlError>>;

    /// Stops the delivery, then removes the log and the definition. What was not delivered is discarded, as at AWS.
    fn finish_delete(&self, entry: Arc<Entry>) -> BoxFuture<'_, Result<(), ControlError>>;
}

/// Why the daemon did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// Nothing the caller could change in its request: try again later.
    #[error("{0}")]
    Unavailable(String),
    /// The request is at fault.
    #[error("{0}")]
    Refused(String),
    /// Something else needs it as it is.
    #[error("{0}")]
    InUse(String),
    /// A quota is used up.
    #[error("{0}")]
    LimitExceeded(String),
}
