//! Sizes and patience that are fixed in the product and small in a simulation, where what they bring about has to happen often.

use std::time::Duration;

/// Of one delivery stream. The defaults are the product.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// A chunk is cut here whatever the buffering hints say, so that its staged file stays of a size that can be moved.
    pub chunk_bytes: u64,
    /// What the open chunks of a delivery stream hold inline together at most; a chunk that would go beyond has a file. So a
    /// destination that is down costs this much memory, and a snapshot of the journal stays small.
    pub inline_bytes: usize,
    /// Entries of the journal between two snapshots; then older segments go.
    pub entries_per_snapshot: u64,
    /// How long an entry of the journal waits for space. The daemon looks at its reserve every second.
    pub full_patience: Duration,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            chunk_bytes: 1 << 30,
            inline_bytes: 256 << 10,
            entries_per_snapshot: 2_000,
            full_patience: Duration::from_secs(10),
        }
    }
}
