//! The AWS-compatible front door: one port that speaks Firehose's and Kinesis' JSON 1.1, and Kinesis' CBOR, over HTTP/1.1 and HTTP/2, plain or
//! under TLS, to unchanged AWS SDKs.
//!
//! A request is read under limits, its signature verified, its shape validated as AWS does, and only then acted upon.
//! A success reply to a put means that the log said the bytes are durable; after any error reply nothing was stored.

mod access;
mod answer;
mod catalog;
mod cbor;
mod control;
mod counters;
mod depth;
mod document;
mod durable;
mod error;
mod firehose;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod kinesis;
pub mod record_id;
mod registry;
mod request;
mod resource_policy;
mod sent;
mod server;
mod shape;
mod sigv4;
mod wire;

pub use catalog::{
    Catalog, CatalogError, KinesisSettings, StoredConsumer, StoredKinesis, StoredOrigin, StoredSource, StoredStatus,
    StoredStream, StreamMode, StreamSettings,
};
pub use control::{ControlError, ControlPlane, NewDeliveryStream};
pub use counters::{Counters, Refusal};
pub use error::ApiError;
pub use firehose::{Mappings, delivery_stream_from_request};
pub use gate::Gate;
pub use kinesis::{EventBudget, Kinesis, KinesisCalls, KinesisPlane, KinesisStream, KinesisStreams};
pub use registry::{
    DeliveryStreamDefinition, Entry, KinesisSource, Origin, Registry, RegistryError, Status, StreamHandle,
};
pub use server::{Front, Limits, Server, Tls, TlsError};
pub use sigv4::{Auth, Keys};
