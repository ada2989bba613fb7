//! The shards of a stream: which one takes a record, and which ones came before it.
//!
//! A shard is a name on records, not a place: all shards of a stream lie in one log, and a reshard is one commit in it.
//!
//! Invariant: the ranges of the open shards cover every hash key exactly once. [`ShardMap::build`] is the only way to a
//! map, and refuses anything else.

mod encoding;
mod reshard;

pub use reshard::{Reshard, ReshardError};

use hydrant_record::{HashKey, HashRange, Lsn, ShardIx, Timestamp};

/// A shard that takes records, or one that took some that may still be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    pub ix: ShardIx,
    /// Readers that keep the order per key read this shard to its end first. It may be forgotten by now.
    pub parent: Option<ShardIx>,
    /// The other one, if two were merged.
    pub adjacent_parent: Option<ShardIx>,
    pub range: HashRange,
    /// In a later second than its parents were created, and the moment at which they were closed. Sequence numbers
    /// begin with this second, so all of a child's are above all of its parents'. It may lie ahead of the clock by a
    /// second or two, when shards are changed in quick succession.
    pub created_at: Timestamp,
    /// No record of it stands before.
    pub first: Lsn,
    /// `None` while it takes records.
    pub closed: Option<Closed>,
}

/// A shard takes no records any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    pub at: Timestamp,
    /// Its records all stand before this LSN.
    pub before: Lsn,
}

/// The open shards of a stream, and the closed ones that may still be read. Shard numbers are never reused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardMap {
    /// In ascending order of their numbers.
    shards: Vec<Shard>,
    /// Where the ranges of the open ones start, in ascending order; the first is 0.
    open: Vec<(HashKey, ShardIx)>,
    /// The number of the next new shard.
    next_ix: u32,
}

impl ShardMap {
    /// Shards in one map, closed ones included: what an encoded map of a few megabytes holds.
    pub const SHARDS_MAX: u32 = 1 << 16;

    /// One shard with the number 0 for all keys: the map of a Direct PUT stream.
    #[must_use]
    pub fn single(at: Timestamp) -> ShardMap {
        ShardMap::even(1, at)
    }

    /// The shards of a new stream: each takes floor(2^128 / count) keys, the last one also what is left over.
    ///
    /// # Panics
    /// If `count` is 0 or above [`ShardMap::SHARDS_MAX`]: whoever takes the count from a user checks it.
    #[must_use]
    pub fn even(count: u32, at: Timestamp) -> ShardMap {
        assert!((1..=ShardMap::SHARDS_MAX).contains(&count), "a stream has 1 to 65536 shards");
        let shards = (0..count).zip(even_ranges(count)).map(|(ix, range)| Shard {
            ix: ShardIx(ix),
            parent: None,
            adjacent_parent: None,
            range,
            created_at: at,
            first: Lsn::FIRST,
            closed: None,
        });
        ShardMap::build(shards.collect(), count).expect("even ranges cover every key once")
    }

    /// In ascending order of their numbers.
    #[must_use]
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// Those that take records, in ascending order of their ranges.
    pub fn open(&self) -> impl Iterator<Item = &Shard> {
        self.open.iter().map(|(_, ix)| self.get(*ix).expect("the open shards are in the map"))
    }

    /// The open shard that takes records with this key.
    #[must_use]
    pub fn route(&self, key: HashKey) -> ShardIx {
        let started = self.open.partition_point(|(start, _)| *start <= key);
        self.open[started - 1].1
    }

    /// The open shard that takes records without a key: the one with the lowest range.
    #[must_use]
    pub fn first_open(&self) -> ShardIx {
        self.open[0].1
    }

    /// `None` if there never was such a shard, or if it was forgotten.
    #[must_use]
    pub fn get(&self, ix: ShardIx) -> Option<&Shard> {
        self.position(ix).map(|position| &self.shards[position])
    }

    /// The shards that go on where this one ended; none while it is open.
    #[must_use]
    pub fn children(&self, ix: ShardIx) -> Vec<ShardIx> {
        let children = self.shards.iter().filter(|shard| shard.parents().any(|parent| parent == ix));
        children.map(|shard| shard.ix).collect()
    }

    /// The map after records before `first_kept` were trimmed.
    ///
    /// A closed shard goes when a record was trimmed that came after its close. So the shard outlives its own records,
    /// and a reader that waits at its end has the whole retention time to learn of its children, as on AWS.
    #[must_use]
    pub fn forget(&self, first_kept: Lsn) -> ShardMap {
        let readable = |shard: &&Shard| shard.closed.is_none_or(|closed| closed.before >= first_kept);
        let shards = self.shards.iter().filter(readable).copied().collect();
        ShardMap::build(shards, self.next_ix).expect("open shards stay, and no closed one outlives its children")
    }

    /// The one way to a map: refuses shards that cannot be those of a stream.
    fn build(shards: Vec<Shard>, next_ix: u32) -> Result<ShardMap, &'static str> {
        if !shards.is_sorted_by(|one, next| one.ix < next.ix) || shards.last().is_some_and(|last| last.ix.0 >= next_ix)
        {
            return Err("the shards have no ascending numbers");
        }
        let mut open: Vec<&Shard> = shards.iter().filter(|shard| shard.closed.is_none()).collect();
        open.sort_by_key(|shard| shard.range.start);
        if !tiles(&open) {
            return Err("the open shards do not cover every hash key once");
        }
        let open = open.iter().map(|shard| (shard.range.start, shard.ix)).collect();
        let map = ShardMap { shards, open, next_ix };
        map.shards.iter().try_for_each(|shard| map.check(shard))?;
        Ok(map)
    }

    /// That a shard can be what it says beside the others.
    fn check(&self, shard: &Shard) -> Result<(), &'static str> {
        if shard.range.start > shard.range.end {
            return Err("the range of a shard ends before it starts");
        }
        if shard.closed.is_some_and(|closed| closed.before < shard.first) {
            return Err("a shard was closed before its first record");
        }
        if shard.adjacent_parent.is_some() && (shard.parent.is_none() || shard.parent == shard.adjacent_parent) {
            return Err("a shard has an adjacent parent beside no other");
        }
        for parent in shard.parents() {
            let ended = match self.get(parent).map(|parent| parent.closed) {
                None => true,
                Some(closed) => closed.is_some_and(|closed| closed.before <= shard.first),
            };
            if parent >= shard.ix || !ended {
                return Err("a shard begins before its parent ends");
            }
        }
        Ok(())
    }

    fn position(&self, ix: ShardIx) -> Option<usize> {
        self.shards.binary_search_by_key(&ix, |shard| shard.ix).ok()
    }
}

impl Shard {
    fn parents(&self) -> impl Iterator<Item = ShardIx> {
        self.parent.into_iter().chain(self.adjacent_parent)
    }
}

/// Sorted by their starts, do they cover every key once?
fn tiles(open: &[&Shard]) -> bool {
    let (Some(first), Some(last)) = (open.first(), open.last()) else { return false };
    first.range.start == HashKey::MIN
        && last.range.end == HashKey::MAX
        && open.windows(2).all(|pair| pair[0].range.is_followed_by(&pair[1].range))
}

/// `count` ranges of floor(2^128 / count) keys, the last one with what is left over.
fn even_ranges(count: u32) -> impl Iterator<Item = HashRange> {
    let count = u128::from(count);
    // 2^128 itself does not fit; for a single range the size is not used.
    let size = (u128::MAX / count).saturating_add(u128::from(u128::MAX % count == count - 1));
    (0..count).map(move |index| HashRange {
        start: HashKey(index * size),
        end: if index + 1 == count { HashKey::MAX } else { HashKey((index + 1) * size - 1) },
    })
}

#[cfg(test)]
mod tests;
