//! Splits, merges, and both at once until all ranges are equal.
//!
//! Invariant: every new shard has one parent, of which it takes a part, or two, of which it takes all. Readers of AWS'
//! client library count on that: a shard with a single child must name another parent of that child.
//!
//! Two steps make every change: *cut* closes one shard and divides its range among new ones; *join* closes two
//! neighbours and makes one of them. For `Uniform`:
//!
//! 1. The wanted ranges are those of a new stream. Where an open shard begins within a hair of a wanted range, the wanted
//!    one begins there too: floor(2^128 / 6) twice is not floor(2^128 / 3), and no shard is made for that one key.
//! 2. Every open shard inside of which wanted ranges begin is cut there, into as many parts as that makes.
//! 3. Within each wanted range, neighbours are joined pair by pair until one is left.
//!
//! So a shard whose range is a wanted one stays open.
//!
//! ```text
//! 3 shards    |       0       |       1       |       2       |
//! cut         |     3     | 4 |   5   |   6   | 7 |     8     |
//! join        |     3     |     9     |     10    |     8     |
//! ```
//!
//! Here 4 to 7 live for no record at all: the same commit makes and closes them, because 9 takes parts of two shards.
//! AWS goes through such shards too. A part that is a wanted range needs none, nor does a pair of whole shards.

use std::iter;
use std::ops::Range;

use hydrant_record::{HashKey, HashRange, Lsn, ShardIx, Timestamp};

use super::{Closed, Shard, ShardMap, even_ranges};
use crate::AppendError;

/// A change of the shards of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reshard {
    /// In two: the second one begins at `new_start`.
    Split { shard: ShardIx, new_start: HashKey },
    /// With the shard whose range follows.
    Merge { shard: ShardIx, adjacent: ShardIx },
    /// Into the ranges of a new stream of `count` shards, give or take a few keys; what fits stays open.
    Uniform { count: u32 },
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum ReshardError {
    #[error("there is no shard {}", .0.0)]
    NoShard(ShardIx),
    #[error("shard {} is closed; only an open shard can be split or merged", .0.0)]
    NotOpen(ShardIx),
    /// AWS leaves each half of a split at least two keys.
    #[error(
        "cannot split shard {} at hash key {new_start}: it must be greater than {} + 1 and less than {}",
        .shard.0, .range.start, .range.end
    )]
    BadSplitPoint { shard: ShardIx, new_start: HashKey, range: HashRange },
    #[error("shard {} does not begin where shard {} ends; merge a shard with the one that follows it", .adjacent.0, .shard.0)]
    NotAdjacent { shard: ShardIx, adjacent: ShardIx },
    #[error("a stream has 1 to {} shards, got {got}", ShardMap::SHARDS_MAX)]
    BadCount { got: u32 },
    #[error(
        "a stream has at most {} shards, with the closed ones that can still be read; try again when some of those have expired",
        ShardMap::SHARDS_MAX
    )]
    Full,
    #[error("the stream has used up all shard numbers; create a new stream")]
    NoNumbersLeft,
    /// The change may be valid, but could not be stored.
    #[error(transparent)]
    Log(#[from] AppendError),
}

impl ShardMap {
    /// The map after the change: records from `next` on are placed by it.
    ///
    /// A map that is `Uniform` already comes back as it is.
    ///
    /// # Panics
    /// If an open shard begins after `next`: then the map is of another log.
    pub fn apply(&self, change: &Reshard, now: Timestamp, next: Lsn) -> Result<ShardMap, ReshardError> {
        let mut draft = Draft { shards: self.shards.clone(), next_ix: self.next_ix, now, next };
        match *change {
            Reshard::Split { shard, new_start } => {
                let position = self.open_position(shard)?;
                let range = self.shards[position].range;
                if new_start.0.saturating_sub(range.start.0) <= 1 || new_start >= range.end {
                    return Err(ReshardError::BadSplitPoint { shard, new_start, range });
                }
                draft.cut(position, &[new_start])?;
            }
            Reshard::Merge { shard, adjacent } => {
                let (left, right) = (self.open_position(shard)?, self.open_position(adjacent)?);
                if !self.shards[left].range.is_followed_by(&self.shards[right].range) {
                    return Err(ReshardError::NotAdjacent { shard, adjacent });
                }
                draft.join(left, right)?;
            }
            Reshard::Uniform { count } => {
                if !(1..=ShardMap::SHARDS_MAX).contains(&count) {
                    return Err(ReshardError::BadCount { got: count });
                }
                let starts: Vec<HashKey> = even_ranges(count).map(|range| self.start_near(range.start)).collect();
                let open = self.open.iter().filter_map(|(_, ix)| self.position(*ix));
                draft.even_out(open, &starts)?;
            }
        }
        Ok(ShardMap::build(draft.shards, draft.next_ix).expect("cuts and joins keep every key in one open shard"))
    }

    /// Where an open shard begins within a hair of the key, or else the key.
    fn start_near(&self, key: HashKey) -> HashKey {
        let after = self.open.partition_point(|(start, _)| *start <= key);
        let around = self.open[after - 1..].iter().take(2).map(|(start, _)| *start);
        let distance = |start: &HashKey| start.0.abs_diff(key.0);
        around.filter(|start| distance(start) <= HAIR).min_by_key(distance).unwrap_or(key)
    }

    fn open_position(&self, ix: ShardIx) -> Result<usize, ReshardError> {
        let position = self.position(ix).ok_or(ReshardError::NoShard(ix))?;
        if self.shards[position].closed.is_some() { Err(ReshardError::NotOpen(ix)) } else { Ok(position) }
    }
}

/// Two ways to reckon the same fraction of all keys are off by less than the count of shards each, so this covers any
/// two. The smallest wanted range is 2^112 keys.
const HAIR: u128 = 2 * ShardMap::SHARDS_MAX as u128;

/// A map in change. Shards are named by their place in `shards`, which only grows.
struct Draft {
    shards: Vec<Shard>,
    next_ix: u32,
    now: Timestamp,
    next: Lsn,
}

impl Draft {
    /// Makes the open shards, given in the order of their ranges, begin exactly at `starts`.
    fn even_out(&mut self, open: impl Iterator<Item = usize>, starts: &[HashKey]) -> Result<(), ReshardError> {
        let mut pieces = Vec::new();
        for position in open {
            let HashRange { start, end } = self.shards[position].range;
            let up_to = |key| starts.partition_point(|start| *start <= key);
            let inside = &starts[up_to(start)..up_to(end)];
            if inside.is_empty() {
                pieces.push((start, position));
            } else {
                pieces.extend(iter::once(start).chain(inside.iter().copied()).zip(self.cut(position, inside)?));
            }
        }
        let one_range = |_: &_, next: &(HashKey, usize)| starts.binary_search(&next.0).is_err();
        for pieces in pieces.chunk_by(one_range) {
            self.join_all(pieces.iter().map(|(_, position)| *position).collect())?;
        }
        Ok(())
    }

    /// Pair by pair, in rounds: every generation is created in a later second than its parents, so that a long chain of
    /// them would run far ahead of the clock.
    fn join_all(&mut self, mut pieces: Vec<usize>) -> Result<(), ReshardError> {
        while pieces.len() > 1 {
            let mut joined = Vec::with_capacity(pieces.len().div_ceil(2));
            for pair in pieces.chunks(2) {
                joined.push(if let [left, right] = *pair { self.join(left, right)? } else { pair[0] });
            }
            pieces = joined;
        }
        Ok(())
    }

    /// Divides a shard: one child starts where it does, and one at each of `starts`, which lie inside of it.
    fn cut(&mut self, parent: usize, starts: &[HashKey]) -> Result<Range<usize>, ReshardError> {
        let at = self.close(&[parent]);
        let Shard { ix, range, .. } = self.shards[parent];
        let first_child = self.shards.len();
        let starts = iter::once(range.start).chain(starts.iter().copied());
        let ends = starts.clone().skip(1).map(|next| HashKey(next.0 - 1)).chain([range.end]);
        for (start, end) in starts.zip(ends) {
            self.add([Some(ix), None], HashRange { start, end }, at)?;
        }
        Ok(first_child..self.shards.len())
    }

    /// Makes one shard of two neighbours.
    fn join(&mut self, left: usize, right: usize) -> Result<usize, ReshardError> {
        let at = self.close(&[left, right]);
        let (left, right) = (self.shards[left], self.shards[right]);
        let range = HashRange { start: left.range.start, end: right.range.end };
        self.add([Some(left.ix), Some(right.ix)], range, at)?;
        Ok(self.shards.len() - 1)
    }

    /// Gives the moment at which the shards were closed, and at which their children are to be created: one and the
    /// same, so that at any time there is a shard for every key.
    fn close(&mut self, parents: &[usize]) -> Timestamp {
        let later = parents.iter().map(|parent| next_second(self.shards[*parent].created_at));
        let at = later.fold(self.now, Timestamp::max);
        for parent in parents {
            self.shards[*parent].closed = Some(Closed { at, before: self.next });
        }
        at
    }

    fn add(&mut self, parents: [Option<ShardIx>; 2], range: HashRange, at: Timestamp) -> Result<(), ReshardError> {
        if self.shards.len() >= ShardMap::SHARDS_MAX as usize {
            return Err(ReshardError::Full);
        }
        let ix = ShardIx(self.next_ix);
        self.next_ix = self.next_ix.checked_add(1).ok_or(ReshardError::NoNumbersLeft)?;
        let [parent, adjacent_parent] = parents;
        self.shards.push(Shard { ix, parent, adjacent_parent, range, created_at: at, first: self.next, closed: None });
        Ok(())
    }
}

fn next_second(at: Timestamp) -> Timestamp {
    Timestamp::from_millis((at.as_millis() / 1000).saturating_add(1).saturating_mul(1000))
}
