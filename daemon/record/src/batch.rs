//! Records on their way in and on their way out of a log.

use bytes::Bytes;

use crate::{Epoch, HashKey, Lsn, ShardIx, Timestamp};

/// Which shard a new record asks for. The log looks the shard up at the moment of the commit, so a producer never
/// sees a shard close under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Placement {
    /// Direct PUT: the first open shard.
    Any,
    /// Kinesis: the open shard whose range holds this key.
    Hash(HashKey),
}

/// A record that has no number yet: what ingest gives to a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecord {
    pub placement: Placement,
    /// Kinesis only; Direct PUT has none.
    pub partition_key: Option<Bytes>,
    pub data: Bytes,
}

/// A stored record: what a log gives to delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub lsn: Lsn,
    /// The opening of the log under which it was written.
    pub epoch: Epoch,
    pub shard: ShardIx,
    pub arrived_at: Timestamp,
    pub partition_key: Option<Bytes>,
    pub data: Bytes,
}

/// Records of one log: never empty, each LSN one more than the one before.
#[derive(Clone, Debug)]
pub struct Batch {
    records: Vec<Record>,
}

impl Batch {
    /// `None` if there is no record in it.
    ///
    /// # Panics
    /// If the LSNs are not dense and ascending: whoever reads a log must have checked that.
    #[must_use]
    pub fn new(records: Vec<Record>) -> Option<Batch> {
        let dense = records.windows(2).all(|pair| pair[0].lsn.next() == pair[1].lsn);
        assert!(dense, "a batch has dense, ascending LSNs");
        (!records.is_empty()).then_some(Batch { records })
    }

    #[must_use]
    pub fn first(&self) -> Lsn {
        self.records[0].lsn
    }

    #[must_use]
    pub fn last(&self) -> Lsn {
        self.records[self.records.len() - 1].lsn
    }

    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    #[must_use]
    pub fn into_records(self) -> Vec<Record> {
        self.records
    }

    /// Bytes of data in it.
    #[must_use]
    pub fn data_bytes(&self) -> usize {
        self.records.iter().map(|record| record.data.len()).sum()
    }
}
