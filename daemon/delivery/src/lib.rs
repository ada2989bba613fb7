//! Exactly one object per record, by an outbox: gather, transform, partition, encode, stage, send, settle.
//!
//! Everything a chunk will send is staged and synced, names included, before its first byte leaves; a retry or a restart sends
//! those very bytes under those very names. So nothing is recomputed after a crash, and clocks, plugins, encoders and the
//! YAML may all differ by then. Read [`pipeline`](Pipeline) first, then `plan`, `gather`, `stage`, `send`.

mod accounting;
mod bounds;
mod build;
mod chunks;
mod cpu;
mod entries;
mod error_output;
mod explain;
mod gather;
mod group;
mod history;
mod inline;
mod journal;
mod manifest;
mod name;
mod object_size;
mod origin;
mod originals;
mod packed;
mod pipeline;
mod plan;
mod reconcile;
mod refuse;
mod resend;
mod retention;
mod retry;
mod rows;
mod send;
mod split;
mod spool;
mod stage;
mod staging;
mod units;

pub use accounting::{Accounting, Counts};
pub use bounds::Bounds;
pub use chunks::{ChunkError, Chunks, ChunksParts, OpenChunk, Places, Redirected};
pub use cpu::CpuPool;
pub use explain::{ChunkFacts, Explained, ObjectFacts, Placed, State as RecordState, Traces, TracesError};
pub use journal::{JournalError, LookError};
pub use manifest::ManifestError;
pub use pipeline::{Claim, DeliveryError, Pipeline, PipelineParts, StartError, Status, backlog, staged_through};
pub use resend::{Batched, FailedAgain, FailedRecord, ResendError, Resender, ResenderParts, Resent, StagedBatch};
pub use send::{SendError, destination_identity, store_identity};
