//! The words everybody shares: what a record is, how it is named inside, and what a batch of them guarantees.
//!
//! Nothing here does I/O, waits, or reads a clock. Whoever needs the time gets it as a value.

mod batch;
mod ids;
mod time;

pub use batch::{Batch, NewRecord, Record};
pub use ids::{Epoch, Identity, LogId, Lsn, ShardIx, StreamId, Unit};
pub use time::Timestamp;
