//! What must hold for a log, whatever happened to its disk.

use std::collections::HashMap;

use super::*;

/// What a log holds.
#[derive(Clone, Default)]
pub(super) struct Truth {
    pub(super) id: Option<LogId>,
    /// Every visible record, the one with LSN 1 first: acked, or found by an opening.
    pub(super) visible: Vec<Visible>,
    /// Submissions that were written after those, perhaps, and never acked: an opening may find a prefix of them.
    pub(super) unacked: Vec<Vec<NewRecord>>,
    /// The open shards; not known before the first opening.
    shards: Option<Vec<Shard>>,
    /// What they are if a change took place that was never acked.
    shards_unacked: Option<Vec<Shard>>,
    /// The highest LSN that was given to `trim`.
    pub(super) trimmed: u64,
}

#[derive(Clone)]
pub(super) struct Visible {
    record: NewRecord,
    epoch: Epoch,
    shard: ShardIx,
}

/// Every identity that was ever seen, over all restored copies of the disk, with the record that it names.
#[derive(Default)]
pub(super) struct Identities {
    seen: HashMap<(Epoch, Lsn), NewRecord>,
}

impl Identities {
    fn see(&mut self, epoch: Epoch, lsn: Lsn, record: &NewRecord) {
        let before = self.seen.entry((epoch, lsn)).or_insert_with(|| record.clone());
        assert_eq!(before, record, "identity ({epoch:?}, {lsn}) names two records");
    }
}

impl Truth {
    pub(super) fn last(&self) -> u64 {
        self.visible.len() as u64
    }

    /// The log says that these records are durable.
    pub(super) fn ack(&mut self, appended: &Appended, records: Vec<NewRecord>, identities: &mut Identities) {
        assert!(self.unacked.is_empty(), "an ack after a failure");
        let places = (0..records.len()).map(|at| appended.place(at));
        let mut placed: Vec<_> = places.zip(records).map(|((shard, lsn), record)| (lsn, shard, record)).collect();
        let by_shard = |placed: &[(Lsn, ShardIx, NewRecord)]| {
            placed.iter().map(|(lsn, shard, _)| (*shard, *lsn)).collect::<Vec<_>>()
        };
        let mut order = by_shard(&placed);
        order.sort_by_key(|(shard, _)| *shard);
        assert!(order.is_sorted(), "records of one shard keep their order: {:?}", by_shard(&placed));
        placed.sort_by_key(|(lsn, ..)| *lsn);
        assert_eq!((appended.first, appended.last), (placed[0].0, placed[placed.len() - 1].0));
        for (lsn, shard, record) in placed {
            assert_eq!(lsn.get(), self.last() + 1, "LSNs are dense, and none is used twice");
            self.see(Visible { record, epoch: appended.epoch, shard }, identities);
        }
    }

    fn see(&mut self, visible: Visible, identities: &mut Identities) {
        identities.see(visible.epoch, lsn(self.last() + 1), &visible.record);
        self.visible.push(visible);
    }

    /// The log says that these are the shards from now on.
    pub(super) fn resharded(&mut self, map: &ShardMap) {
        self.shards = Some(map.open().copied().collect());
    }

    /// A change of shards was not acked: it may have taken place.
    pub(super) fn perhaps_resharded(&mut self, map: Option<&ShardMap>) {
        self.shards_unacked = map.map(|map| map.open().copied().collect());
    }

    /// The LSNs of a shard's records behind `after`.
    pub(super) fn of_shard(&self, shard: ShardIx, after: u64) -> Vec<u64> {
        let behind = (after + 1..).zip(&self.visible[usize::try_from(after).unwrap()..]);
        behind.filter(|(_, visible)| visible.shard == shard).map(|(lsn, _)| lsn).collect()
    }

    /// A reader was given this.
    pub(super) fn check(&self, found: &Record) {
        let at = usize::try_from(found.lsn.get() - 1).unwrap();
        let Some(expected) = self.visible.get(at) else { panic!("LSN {} is not visible", found.lsn) };
        assert!(same(&expected.record, found), "LSN {}: got {found:?}, stored was {:?}", found.lsn, expected.record);
        let identity = (expected.epoch, expected.shard);
        assert_eq!(identity, (found.epoch, found.shard), "LSN {} has another epoch or shard", found.lsn);
    }

    /// A log was opened: what is there becomes visible, and is neither less nor other than it must be.
    pub(super) fn check_opened(&mut self, log: &ShardLog, recovery: &Recovery, identities: &mut Identities) {
        let id = *self.id.get_or_insert(log.id());
        assert_eq!((log.id(), recovery.log_id, recovery.epoch), (id, id, log.epoch()));
        assert_eq!((recovery.first, recovery.last), (log.first(), log.last()));
        let last = value(log.last());
        assert!(last >= self.last(), "acked records were lost: {} were visible, {last} are there", self.last());
        let most = self.last() + self.unacked.iter().map(Vec::len).sum::<usize>() as u64;
        assert!(last <= most, "records were invented: at most {most} were written, {last} are there");
        match log.first() {
            Some(first) => assert!(first.get() <= self.trimmed + 1, "{first} is first, trimmed was {}", self.trimmed),
            None => assert!(self.trimmed >= self.last(), "all is gone, trimmed was {} only", self.trimmed),
        }
        let found = read_all(log, log.first().map_or(log.last(), Lsn::previous));
        let there = log.first().map_or(0, |first| last + 1 - first.get());
        assert_eq!(found.len() as u64, there, "the tail gives what the log says is there");
        self.find_unacked(&found, identities);
        found.iter().for_each(|record| self.check(record));
        let open: Vec<_> = log.shards().open().copied().collect();
        let expected = [self.shards.take(), self.shards_unacked.take()];
        assert!(expected[0].is_none() || expected.contains(&Some(open.clone())), "shards: {open:?}, {expected:?}");
        self.shards = Some(open);
    }

    /// What was found of the records that were never acked: of each submission the records of a shard in their order.
    fn find_unacked(&mut self, found: &[Record], identities: &mut Identities) {
        let mut more = found.iter().filter(|record| record.lsn.get() > self.visible.len() as u64).collect::<Vec<_>>();
        more.reverse();
        for submission in std::mem::take(&mut self.unacked) {
            let mut seen: Vec<(ShardIx, usize)> = Vec::new();
            for _ in 0..submission.len() {
                let Some(record) = more.pop() else { return };
                let given = submission.iter().position(|given| same(given, record));
                let given = given.unwrap_or_else(|| panic!("nobody has written {record:?}"));
                let in_order = |(shard, at): &(ShardIx, usize)| *at < given || (*shard != record.shard && *at != given);
                assert!(seen.iter().all(in_order), "records of one shard change places");
                seen.push((record.shard, given));
                let record = Visible { record: submission[given].clone(), epoch: record.epoch, shard: record.shard };
                self.see(record, identities);
            }
        }
        assert!(more.is_empty(), "more than was written");
    }

    /// The loss of everything behind this was allowed, for nothing could have proved that it was there.
    pub(super) fn lose_after(&mut self, last: u64) {
        self.visible.truncate(usize::try_from(last).unwrap());
        self.shards = None;
    }
}
