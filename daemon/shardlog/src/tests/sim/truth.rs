//! What must hold for a log, whatever happened to its disk.

use std::collections::HashMap;

use super::*;

/// What a log holds.
#[derive(Clone, Default)]
pub(super) struct Truth {
    pub(super) id: Option<LogId>,
    /// Every visible record, the one with LSN 1 first: acked, or found by an opening.
    pub(super) visible: Vec<Visible>,
    /// Written after those, perhaps, and never acked: an opening may find a prefix of them.
    pub(super) unacked: Vec<NewRecord>,
    /// The highest LSN that was given to `trim`.
    pub(super) trimmed: u64,
}

#[derive(Clone)]
pub(super) struct Visible {
    record: NewRecord,
    epoch: Epoch,
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
        assert_eq!(appended.first.get(), self.last() + 1, "LSNs are dense, and none is used twice");
        assert_eq!(appended.last.get() + 1 - appended.first.get(), records.len() as u64);
        assert!(self.unacked.is_empty(), "an ack after a failure");
        for record in records {
            self.see(record, appended.epoch, identities);
        }
    }

    fn see(&mut self, record: NewRecord, epoch: Epoch, identities: &mut Identities) {
        self.visible.push(Visible { record, epoch });
        identities.see(epoch, lsn(self.last()), &self.visible[self.visible.len() - 1].record);
    }

    /// A reader was given this.
    pub(super) fn check(&self, found: &Record) {
        let at = usize::try_from(found.lsn.get() - 1).unwrap();
        let Some(expected) = self.visible.get(at) else { panic!("LSN {} is not visible", found.lsn) };
        assert!(same(&expected.record, found), "LSN {}: got {found:?}, stored was {:?}", found.lsn, expected.record);
        assert_eq!(expected.epoch, found.epoch, "LSN {} has another epoch", found.lsn);
    }

    /// A log was opened: what is there becomes visible, and is neither less nor other than it must be.
    pub(super) fn check_opened(&mut self, log: &ShardLog, recovery: &Recovery, identities: &mut Identities) {
        let id = *self.id.get_or_insert(log.id());
        assert_eq!((log.id(), recovery.log_id, recovery.epoch), (id, id, log.epoch()));
        assert_eq!((recovery.first, recovery.last), (log.first(), log.last()));
        let last = value(log.last());
        assert!(last >= self.last(), "acked records were lost: {} were visible, {last} are there", self.last());
        let most = self.last() + self.unacked.len() as u64;
        assert!(last <= most, "records were invented: at most {most} were written, {last} are there");
        match log.first() {
            Some(first) => assert!(first.get() <= self.trimmed + 1, "{first} is first, trimmed was {}", self.trimmed),
            None => assert!(self.trimmed >= self.last(), "all is gone, trimmed was {} only", self.trimmed),
        }
        let found = read_all(log, log.first().map_or(log.last(), Lsn::previous));
        let there = log.first().map_or(0, |first| last + 1 - first.get());
        assert_eq!(found.len() as u64, there, "the tail gives what the log says is there");
        self.unacked.truncate(usize::try_from(last - self.last()).unwrap());
        for record in std::mem::take(&mut self.unacked) {
            let at = self.last() + 1;
            let epoch = found.iter().find(|found| found.lsn.get() == at).map_or(recovery.epoch, |found| found.epoch);
            self.see(record, epoch, identities);
        }
        found.iter().for_each(|record| self.check(record));
    }

    /// The loss of everything behind this was allowed, for nothing could have proved that it was there.
    pub(super) fn lose_after(&mut self, last: u64) {
        self.visible.truncate(usize::try_from(last).unwrap());
    }
}
