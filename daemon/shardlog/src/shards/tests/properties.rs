//! Any history of a stream, checked without the code that made it.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    /// Anywhere in one of the open shards, also where it is not allowed.
    Split(Index, u128),
    /// An open shard with the one that follows.
    Merge(Index),
    Uniform(u32),
    /// The clock moves, also back, and records are stored.
    Pass(i32, u64),
    /// Trims up to a record.
    Trim(Index),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<Index>(), prop_oneof![any::<u128>(), 0..4_u128]).prop_map(|(shard, within)| Step::Split(shard, within)),
        3 => any::<Index>().prop_map(Step::Merge),
        2 => (1..24_u32).prop_map(Step::Uniform),
        2 => (-5_000..5_000_i32, 0..100_u64).prop_map(|(millis, records)| Step::Pass(millis, records)),
        1 => any::<Index>().prop_map(Step::Trim),
    ]
}

/// A stream, and what must hold of it, found by search instead of by order.
#[derive(Debug)]
struct Stream {
    map: ShardMap,
    now: Timestamp,
    next: Lsn,
    trimmed: Lsn,
    /// The highest number ever given out.
    highest: u32,
}

impl Stream {
    fn new(count: u32) -> Stream {
        Stream { map: ShardMap::even(count, NOW), now: NOW, next: Lsn::FIRST, trimmed: Lsn::FIRST, highest: count - 1 }
    }

    fn take(&mut self, step: &Step) {
        let open: Vec<Shard> = self.map.open().copied().collect();
        let change = match step {
            Step::Split(shard, within) => {
                let Shard { ix, range, .. } = open[shard.index(open.len())];
                let within = (range.end.0 - range.start.0).checked_add(1).map_or(*within, |keys| within % keys);
                Reshard::Split { shard: ix, new_start: HashKey(range.start.0 + within) }
            }
            Step::Merge(left) if open.len() > 1 => {
                let left = left.index(open.len() - 1);
                Reshard::Merge { shard: open[left].ix, adjacent: open[left + 1].ix }
            }
            Step::Merge(_) => return,
            Step::Uniform(count) => Reshard::Uniform { count: *count },
            Step::Pass(millis, records) => {
                self.now = Timestamp::from_millis(self.now.as_millis().saturating_add_signed(i64::from(*millis)));
                self.next = self.next.plus(*records);
                return;
            }
            Step::Trim(record) => {
                let kept = usize::try_from(self.next.get() - self.trimmed.get()).unwrap();
                self.trimmed = self.trimmed.plus(record.index(kept + 1) as u64);
                return self.forget();
            }
        };
        match self.map.apply(&change, self.now, self.next) {
            Ok(after) => self.changed(&change, after),
            Err(ReshardError::BadSplitPoint { new_start, range, .. }) => {
                assert!(new_start.0 - range.start.0 < 2 || new_start == range.end);
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn forget(&mut self) {
        let after = self.map.forget(self.trimmed);
        let is_kept = |shard: &&Shard| shard.closed.is_none_or(|closed| closed.before >= self.trimmed);
        assert!(self.map.shards().iter().filter(is_kept).eq(after.shards()));
        self.map = after;
    }

    fn changed(&mut self, change: &Reshard, after: ShardMap) {
        for old in self.map.shards() {
            let kept = after.get(old.ix).unwrap();
            assert_eq!(Shard { closed: old.closed, ..*kept }, *old);
            assert!(old.closed.is_none() || kept.closed == old.closed, "a closed shard changed");
        }
        for new in &after.shards()[self.map.shards().len()..] {
            assert!(new.ix.0 > self.highest, "a number was reused");
            self.highest = new.ix.0;
            assert_eq!(new.first, self.next);
            has_its_parents_range(&after, new);
            comes_after_its_parents(&after, new);
        }
        if let Reshard::Uniform { count } = *change {
            let wanted = ShardMap::even(count, NOW);
            assert_eq!(after.open().count(), wanted.open().count());
            for (got, wanted) in after.open().zip(wanted.open()) {
                assert!(got.range.start.0.abs_diff(wanted.range.start.0) <= 1 << 17, "{got:?} for {wanted:?}");
                let same = self.map.open().find(|shard| shard.range == got.range);
                assert!(same.is_none_or(|shard| shard == got), "closed in vain");
            }
        }
        self.map = after;
    }

    fn holds(&self, keys: &[u128]) {
        let map = &self.map;
        let mut next = Some(0);
        while let Some(start) = next {
            let at: Vec<&Shard> =
                map.shards().iter().filter(|shard| shard.closed.is_none() && shard.range.start.0 == start).collect();
            assert_eq!(at.len(), 1, "one open shard starts at {start}");
            next = at[0].range.end.0.checked_add(1);
        }
        let limits = map.shards().iter().flat_map(|shard| [shard.range.start, shard.range.end]);
        for key in keys.iter().copied().map(HashKey).chain(limits) {
            let holders: Vec<ShardIx> =
                map.shards().iter().filter(|s| s.closed.is_none() && s.range.contains(key)).map(|s| s.ix).collect();
            assert_eq!(holders, [map.route(key)]);
        }
        assert_eq!(map.first_open(), map.route(HashKey::MIN));
        for shard in map.shards() {
            let children = map.children(shard.ix);
            assert_eq!(children.is_empty(), shard.closed.is_none());
            if let [only] = children[..] {
                assert!(map.get(only).unwrap().adjacent_parent.is_some(), "an only child has two parents");
            }
        }
        assert_eq!(ShardMap::decode(&map.encode()).as_ref(), Ok(map));
    }
}

/// A part of one parent, or all of two.
fn has_its_parents_range(map: &ShardMap, shard: &Shard) {
    let parent = map.get(shard.parent.unwrap()).unwrap().range;
    if let Some(adjacent) = shard.adjacent_parent {
        let adjacent = map.get(adjacent).unwrap().range;
        assert!(parent.is_followed_by(&adjacent));
        assert_eq!(shard.range, HashRange { start: parent.start, end: adjacent.end });
    } else {
        assert!(parent.contains(shard.range.start) && parent.contains(shard.range.end) && parent != shard.range);
    }
}

fn comes_after_its_parents(map: &ShardMap, shard: &Shard) {
    for parent in [shard.parent, shard.adjacent_parent].into_iter().flatten() {
        let parent = map.get(parent).unwrap();
        let closed = parent.closed.unwrap();
        assert_eq!((closed.at, closed.before), (shard.created_at, shard.first));
        let end = SequenceNumber::end_of_shard(parent.created_at, parent.ix, closed.at);
        assert!(end < SequenceNumber::start_of_shard(shard.created_at, shard.ix));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn every_history_keeps_the_promises(
        count in 1..9_u32,
        steps in prop::collection::vec(step(), 1..30),
        keys in prop::collection::vec(any::<u128>(), 8),
    ) {
        let mut stream = Stream::new(count);
        stream.holds(&keys);
        for step in &steps {
            stream.take(step);
            stream.holds(&keys);
        }
    }

    /// Damaged bytes are refused, or they are the bytes of another whole map.
    #[test]
    fn no_bytes_make_decoding_panic(
        steps in prop::collection::vec(step(), 0..6),
        damage in prop::collection::vec((any::<Index>(), any::<u8>()), 0..4),
        cut in prop::option::weighted(0.2, any::<Index>()),
    ) {
        let mut stream = Stream::new(2);
        steps.iter().for_each(|step| stream.take(step));
        let mut bytes = stream.map.encode();
        for (place, value) in damage {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(map) = ShardMap::decode(&bytes) {
            prop_assert_eq!(map.encode(), bytes);
            prop_assert!(map.get(map.route(HashKey(7))).is_some());
        }
    }

    #[test]
    fn noise_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(ShardMap::decode(&bytes).is_err());
    }
}
