//! The words everybody shares: what a record is, how it is named inside, and what a batch of them guarantees.
//!
//! Nothing here does I/O, waits, or reads a clock. Whoever needs the time gets it as a value.

mod aggregate;
mod batch;
mod hash;
mod ids;
mod sequence;
mod time;

pub use aggregate::{USER_RECORDS_MAX, UserRecord, user_records};
pub use batch::{Batch, NewRecord, Placement, Record};
pub use hash::{HashKey, HashKeyError, HashRange};
pub use ids::{Epoch, Identity, LogId, Lsn, ShardIx, StreamId, Unit};
pub use sequence::{SequenceDigits, SequenceNumber, SequenceNumberError};
pub use time::Timestamp;
