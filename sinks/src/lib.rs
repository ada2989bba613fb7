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
mod splunk;
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
    /// What kind of store this is, found by writing and removing an object; `None` where there is nothing to find out.
    fn probe(&self) -> BoxFuture<'_, Result<Option<StoreClass>, SinkError>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

/// What a store makes of PUTs that ask to be the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreClass {
    /// One wins: what is there is never overwritten.
    Exclusive,
    /// All win, the last one last. A repeat writes the same bytes, so an object is still one; but a stranger's object of the
    /// same name would be overwritten.
    Overwriting,
}

impl fmt::Display for StoreClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StoreClass::Exclusive => "holds conditional writes: nothing is ever overwritten",
            StoreClass::Overwriting => {
                "ignores conditional writes: whoever else writes under the same names would be overwritten"
            }
        })
    }
}

/// The sink of a destination. Touches neither the network nor the disk; `Misconfigured` if its settings cannot work.
/// `disk` is where a `file` destination writes; its paths are used as they stand in the configuration.
pub fn sink(destination: &Destination, disk: Arc<dyn Disk>) -> Result<Arc<dyn Sink>, SinkError> {
    match destination {
        Destination::Objects(store) => object_sink(store, disk),
        Destination::HttpEndpoint(endpoint) => Ok(Arc::new(http_endpoint::HttpEndpointSink::new(endpoint)?)),
        Destination::OpenSearch(search) => Ok(Arc::new(opensearch::OpenSearchSink::new(search)?)),
        Destination::Splunk(splunk) => Ok(Arc::new(splunk::SplunkSink::new(splunk)?)),
    }
}

/// The sink of a store of objects: a destination, or a backup.
pub fn object_sink(store: &ObjectStore, disk: Arc<dyn Disk>) -> Result<Arc<dyn Sink>, SinkError> {
    Ok(match &store.place {
        Place::File { directory } => Arc::new(file::FileSink::new(directory.clone(), disk)),
        Place::S3 { bucket, connection, options } => {
            Arc::new(s3::S3Sink::new(bucket, connection, options, store.naming.prefix.text())?)
        }
    })
}
