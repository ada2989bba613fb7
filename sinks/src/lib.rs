//! One attempt at one destination. A sink never retries, batches, spawns or decides; the retry decorator in `delivery` does.
//!
//! Invariant: the [`Receipt`] of an object means that the destination holds exactly the staged bytes under exactly the staged
//! name, and nothing that stood there before is ever overwritten. The [`Receipt`] of a request tells for every item whether
//! the destination took it.

mod delivery;
mod error;
mod file;
mod http_endpoint;
mod opensearch;
mod s3;
mod upload;
mod web;

#[cfg(test)]
mod contract;
#[cfg(test)]
mod loopback;

// The contract suite is compiled here and in `examples/minio_contract.rs`, and names this crate the same way in both.
#[cfg(test)]
extern crate self as hydrant_sinks;

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use hydrant_config::{Destination, ObjectStore, Place};
use hydrant_disk::Disk;

pub use delivery::{Body, Delivery, ItemSet, Items, Receipt, Refusal};
pub use error::{SinkError, SinkErrorKind};

/// One attempt. `Display` names the destination for people, without secrets.
pub trait Sink: Send + Sync + fmt::Debug + fmt::Display {
    fn deliver<'a>(&'a self, delivery: &'a Delivery) -> BoxFuture<'a, Result<Receipt, SinkError>>;
    /// Whether a delivery could work now; changes nothing at the destination that stays.
    fn check(&self) -> BoxFuture<'_, Result<(), SinkError>>;
}

/// The sink of a destination. Touches neither the network nor the disk; `Misconfigured` if its settings cannot work.
/// `disk` is where a `file` destination writes; its paths are used as they stand in the configuration.
pub fn sink(destination: &Destination, disk: Arc<dyn Disk>) -> Result<Arc<dyn Sink>, SinkError> {
    match destination {
        Destination::Objects(store) => object_sink(store, disk),
        Destination::HttpEndpoint(endpoint) => Ok(Arc::new(http_endpoint::HttpEndpointSink::new(endpoint)?)),
        Destination::OpenSearch(search) => Ok(Arc::new(opensearch::OpenSearchSink::new(search)?)),
        Destination::Splunk(_) => {
            let message = format!("`{}` is not available yet; use `s3` or `file`", destination.kind());
            Err(SinkError::misconfigured("NotAvailable", message))
        }
    }
}

/// The sink of a store of objects: a destination, or a backup.
pub fn object_sink(store: &ObjectStore, disk: Arc<dyn Disk>) -> Result<Arc<dyn Sink>, SinkError> {
    Ok(match &store.place {
        Place::File { directory } => Arc::new(file::FileSink::new(directory.clone(), disk)),
        Place::S3 { bucket, connection, .. } => Arc::new(s3::S3Sink::new(bucket, connection)?),
    })
}
