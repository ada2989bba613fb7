use hydrant_record::SequenceNumber;

use super::*;

mod properties;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_500);

fn lsn(value: u64) -> Lsn {
    Lsn::new(value).unwrap()
}

fn seconds_later(seconds: u64) -> Timestamp {
    Timestamp::from_millis(NOW.as_millis() + seconds * 1000)
}

fn split(shard: u32, new_start: u128) -> Reshard {
    Reshard::Split { shard: ShardIx(shard), new_start: HashKey(new_start) }
}

fn merge(shard: u32, adjacent: u32) -> Reshard {
    Reshard::Merge { shard: ShardIx(shard), adjacent: ShardIx(adjacent) }
}

/// An hour later, after 100 records.
fn apply(map: &ShardMap, change: Reshard) -> Result<ShardMap, ReshardError> {
    map.apply(&change, seconds_later(3600), lsn(101))
}

fn refused(map: &ShardMap, change: Reshard) -> String {
    apply(map, change).unwrap_err().to_string()
}

fn numbers(shards: &[ShardIx]) -> Vec<u32> {
    shards.iter().map(|ix| ix.0).collect()
}

fn open(map: &ShardMap) -> Vec<u32> {
    map.open().map(|shard| shard.ix.0).collect()
}

fn shard(map: &ShardMap, ix: u32) -> Shard {
    *map.get(ShardIx(ix)).unwrap()
}

/// Number, parents and range.
fn lineage(map: &ShardMap, ix: u32) -> (Option<u32>, Option<u32>, u128, u128) {
    let shard = shard(map, ix);
    let number = |parent: Option<ShardIx>| parent.map(|ix| ix.0);
    (number(shard.parent), number(shard.adjacent_parent), shard.range.start.0, shard.range.end.0)
}

#[test]
fn a_new_stream_has_the_ranges_that_aws_gives_it() {
    let map = ShardMap::even(3, NOW);
    let ranges: Vec<_> = map.shards().iter().map(|shard| (shard.range.start.0, shard.range.end.0)).collect();
    let third = 113_427_455_640_312_821_154_458_202_477_256_070_485;
    assert_eq!(ranges, [(0, third - 1), (third, 2 * third - 1), (2 * third, u128::MAX)]);
    assert_eq!(shard(&ShardMap::single(NOW), 0).range, HashRange::ALL);
    assert_eq!(shard(&ShardMap::even(2, NOW), 1).range.start, HashKey(1 << 127));
    assert_eq!(ShardMap::even(ShardMap::SHARDS_MAX, NOW).route(HashKey::MAX), ShardIx(ShardMap::SHARDS_MAX - 1));
}

#[test]
fn a_split_makes_two_children_of_one_parent() {
    let before = ShardMap::even(2, NOW);
    let after = apply(&before, split(0, 1000)).unwrap();
    assert_eq!(open(&after), [2, 3, 1]);
    assert_eq!(lineage(&after, 2), (Some(0), None, 0, 999));
    assert_eq!(lineage(&after, 3), (Some(0), None, 1000, (1 << 127) - 1));
    assert_eq!(numbers(&after.children(ShardIx(0))), [2, 3]);
    assert_eq!(shard(&after, 0).closed, Some(Closed { at: seconds_later(3600), before: lsn(101) }));
    assert_eq!((shard(&after, 2).first, shard(&after, 2).created_at), (lsn(101), seconds_later(3600)));
    assert_eq!(shard(&after, 1), shard(&before, 1));
    assert_eq!((after.route(HashKey(999)), after.route(HashKey(1000))), (ShardIx(2), ShardIx(3)));
    assert_eq!(after.first_open(), ShardIx(2));
}

#[test]
fn a_split_leaves_two_keys_on_each_side() {
    let map = apply(&ShardMap::single(NOW), split(0, 1000)).unwrap();
    for good in [1002, u128::MAX - 1] {
        assert!(apply(&map, split(2, good)).is_ok(), "{good}");
    }
    for bad in [0, 999, 1000, 1001, u128::MAX] {
        assert!(matches!(apply(&map, split(2, bad)), Err(ReshardError::BadSplitPoint { .. })), "{bad}");
    }
    assert_eq!(
        refused(&map, split(1, 1)),
        "cannot split shard 1 at hash key 1: it must be greater than 0 + 1 and less than 999"
    );
}

#[test]
fn a_merge_makes_one_child_of_two_parents() {
    let map = apply(&ShardMap::even(3, NOW), merge(1, 2)).unwrap();
    assert_eq!(open(&map), [0, 3]);
    assert_eq!(lineage(&map, 3), (Some(1), Some(2), shard(&map, 1).range.start.0, u128::MAX));
    assert_eq!((numbers(&map.children(ShardIx(1))), numbers(&map.children(ShardIx(2)))), (vec![3], vec![3]));
    assert_eq!(shard(&map, 1).closed, shard(&map, 2).closed);
}

#[test]
fn what_cannot_be_done_says_why() {
    let map = apply(&ShardMap::even(3, NOW), split(0, 1000)).unwrap();
    let wrong_order = "shard 1 does not begin where shard 2 ends; merge a shard with the one that follows it";
    assert_eq!(refused(&map, merge(2, 1)), wrong_order);
    assert!(matches!(apply(&map, merge(3, 2)), Err(ReshardError::NotAdjacent { .. })));
    assert!(matches!(apply(&map, merge(1, 1)), Err(ReshardError::NotAdjacent { .. })));
    assert_eq!(refused(&map, split(0, 500)), "shard 0 is closed; only an open shard can be split or merged");
    assert_eq!(refused(&map, merge(0, 1)), "shard 0 is closed; only an open shard can be split or merged");
    assert_eq!(refused(&map, merge(2, 9)), "there is no shard 9");
    assert_eq!(refused(&map, Reshard::Uniform { count: 0 }), "a stream has 1 to 65536 shards, got 0");
    assert!(matches!(apply(&map, Reshard::Uniform { count: 65_537 }), Err(ReshardError::BadCount { got: 65_537 })));
}

#[test]
fn a_full_map_takes_no_more_shards_until_some_are_forgotten() {
    let map = apply(&ShardMap::even(40_000, NOW), Reshard::Uniform { count: 20_000 }).unwrap();
    assert!(matches!(apply(&map, Reshard::Uniform { count: 10_000 }), Err(ReshardError::Full)));
    assert!(apply(&map.forget(lsn(102)), Reshard::Uniform { count: 10_000 }).is_ok());
}

#[test]
fn doubling_and_halving_need_no_shards_in_between() {
    let doubled = apply(&ShardMap::even(3, NOW), Reshard::Uniform { count: 6 }).unwrap();
    assert_eq!((open(&doubled), doubled.shards().len()), (vec![3, 4, 5, 6, 7, 8], 9));
    let halved = apply(&doubled, Reshard::Uniform { count: 3 }).unwrap();
    assert_eq!((open(&halved), halved.shards().len()), (vec![9, 10, 11], 12));
    assert_eq!(apply(&halved, Reshard::Uniform { count: 3 }).unwrap(), halved);
    // Although floor(2^128 / 6) twice is not floor(2^128 / 3).
    assert_eq!(
        lineage(&halved, 10),
        (Some(5), Some(6), shard(&doubled, 5).range.start.0, shard(&doubled, 6).range.end.0)
    );
}

#[test]
fn parts_of_two_shards_are_joined_through_short_lived_ones() {
    let map = apply(&ShardMap::even(3, NOW), Reshard::Uniform { count: 4 }).unwrap();
    assert_eq!(open(&map), [3, 9, 10, 8]);
    let parents = |ix| (lineage(&map, ix).0, lineage(&map, ix).1);
    assert_eq!([3, 4, 5, 6, 7, 8].map(parents), [0, 0, 1, 1, 2, 2].map(|parent| (Some(parent), None)));
    assert_eq!([9, 10].map(parents), [(Some(4), Some(5)), (Some(6), Some(7))]);
    for short_lived in [4, 5, 6, 7].map(|ix| shard(&map, ix)) {
        assert_eq!(short_lived.closed.unwrap().before, short_lived.first);
    }
}

#[test]
fn many_shards_become_one_without_running_ahead_of_the_clock() {
    let map = apply(&ShardMap::even(1000, NOW), Reshard::Uniform { count: 1 }).unwrap();
    let last = *map.open().next().unwrap();
    assert_eq!((last.range, map.shards().len()), (HashRange::ALL, 1999));
    // Ten rounds of pairs, a second each.
    assert!(last.created_at.since(seconds_later(3600)) <= std::time::Duration::from_secs(10));
}

#[test]
fn children_come_after_their_parents_whatever_the_clock_says() {
    let mut map = ShardMap::single(NOW);
    for clock in [NOW, NOW, Timestamp::from_millis(0), seconds_later(1), Timestamp::from_millis(u64::MAX / 2)] {
        map = map
            .apply(&Reshard::Split { shard: ShardIx(map.next_ix - 1), new_start: middle(&map) }, clock, lsn(9))
            .unwrap();
        let (child, parent) = (map.shards[map.shards.len() - 1], map.shards[map.shards.len() - 3]);
        let closed = parent.closed.unwrap();
        assert_eq!(closed.at, child.created_at);
        assert!(closed.at >= clock);
        if clock < seconds_later(100) {
            let end = SequenceNumber::end_of_shard(parent.created_at, parent.ix, closed.at);
            assert!(end < SequenceNumber::start_of_shard(child.created_at, child.ix));
        }
    }
}

/// The middle of the shard with the highest number.
fn middle(map: &ShardMap) -> HashKey {
    let HashRange { start, end } = map.shards[map.shards.len() - 1].range;
    HashKey(start.0 + (end.0 - start.0) / 2)
}

#[test]
fn a_closed_shard_is_forgotten_when_a_record_after_its_close_is_trimmed() {
    let map = apply(&ShardMap::single(NOW), split(0, 1000)).unwrap();
    let map = map.apply(&merge(1, 2), seconds_later(7200), lsn(201)).unwrap();
    assert_eq!(map.forget(lsn(101)), map);
    let later = map.forget(lsn(102));
    assert_eq!(numbers(&later.shards().iter().map(|shard| shard.ix).collect::<Vec<_>>()), [1, 2, 3]);
    assert_eq!(shard(&later, 1).parent, Some(ShardIx(0)));
    let last = later.forget(lsn(202));
    assert_eq!((last.shards().len(), open(&last)), (1, vec![3]));
    assert_eq!(open(&last.apply(&split(3, 1000), NOW, lsn(202)).unwrap()), [4, 5]);
}

#[test]
fn the_bytes_are_those_of_the_drawing() {
    let map = apply(&ShardMap::single(Timestamp::from_millis(0x0a0b)), split(0, 0x200)).unwrap();
    let bytes = map.encode();
    assert_eq!(bytes.len(), 16 + 3 * 80);
    assert_eq!(bytes[..16], [3, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let mut first = vec![0; 4];
    first.extend([0xff; 8]);
    first.extend([0; 4 + 16]);
    first.extend([0xff; 16]);
    first.extend([0x0b, 0x0a, 0, 0, 0, 0, 0, 0]);
    first.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    first.extend(seconds_later(3600).as_millis().to_le_bytes());
    first.extend([101, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(bytes[16..96], first);
    let second = &bytes[96..176];
    assert_eq!(second[..12], [1, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    assert_eq!(second[32..34], [0xff, 0x01]);
    assert_eq!(second[64..], [0; 16]);
    assert_eq!(ShardMap::decode(&bytes).unwrap(), map);
}

#[test]
fn bytes_that_are_no_map_are_refused() {
    let whole = apply(&ShardMap::single(NOW), split(0, 1000)).unwrap().encode();
    let refused = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = whole.clone();
        change(&mut bytes);
        ShardMap::decode(&bytes).unwrap_err()
    };
    let backwards: [u8; 32] = std::array::from_fn(|byte| u8::from(byte < 16));
    let length = "the length of the shard map does not match its count";
    assert_eq!(refused(&|bytes| bytes.truncate(15)), "the shard map ends inside its header");
    assert_eq!(refused(&|bytes| bytes.truncate(100)), length);
    assert_eq!(refused(&|bytes| bytes.push(0)), length);
    assert_eq!(refused(&|bytes| bytes[..4].fill(0xff)), length);
    assert_eq!(refused(&|bytes| bytes[8] = 1), "the shard map has bytes where there should be none");
    assert_eq!(refused(&|bytes| bytes[16 + 12] = 1), "a shard has bytes where there should be none");
    assert_eq!(refused(&|bytes| bytes[16 + 56] = 0), "a shard has no first LSN");
    assert_eq!(refused(&|bytes| bytes[4] = 2), "the shards have no ascending numbers");
    assert_eq!(refused(&|bytes| bytes[96] = 0), "the shards have no ascending numbers");
    assert_eq!(refused(&|bytes| bytes[96 + 32] ^= 1), "the open shards do not cover every hash key once");
    assert_eq!(refused(&|bytes| *bytes = vec![0; 16]), "the open shards do not cover every hash key once");
    assert_eq!(
        refused(&|bytes| bytes[16 + 16..16 + 48].copy_from_slice(&backwards)),
        "the range of a shard ends before it starts"
    );
    assert_eq!(refused(&|bytes| bytes[16 + 57] = 1), "a shard was closed before its first record");
    assert_eq!(refused(&|bytes| bytes[96 + 8..96 + 12].fill(0)), "a shard has an adjacent parent beside no other");
    assert_eq!(refused(&|bytes| bytes[96 + 4] = 1), "a shard begins before its parent ends");
    assert_eq!(refused(&|bytes| bytes[96 + 56] = 100), "a shard begins before its parent ends");
}

#[test]
fn the_last_number_is_never_given_out() {
    let mut bytes = ShardMap::single(NOW).encode();
    bytes[4..8].copy_from_slice(&(u32::MAX - 2).to_le_bytes());
    let map = apply(&ShardMap::decode(&bytes).unwrap(), split(0, 1000)).unwrap();
    assert_eq!(open(&map), [u32::MAX - 2, u32::MAX - 1]);
    assert!(matches!(apply(&map, merge(u32::MAX - 2, u32::MAX - 1)), Err(ReshardError::NoNumbersLeft)));
}
