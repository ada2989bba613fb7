//! Every record, and what must hold for it, whatever happened: what a destination is sent is judged when it is sent, and every
//! count is compared with what arrived.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use bytes::Bytes;
use hydrant_delivery::{Accounting, OpenChunk};
use hydrant_record::Lsn;
use hydrant_shardlog::{Appended, ShardLog};
use hydrant_sinks::Delivery;

use crate::outside::Place;
use crate::parse::{self, Class};
use crate::record::{number_of, transformed, units};
use crate::settings::Settings;

const READ_BYTES: usize = 1 << 20;

/// One unit, in all that it may become. Where records are taken apart, a record has several; else it has one.
#[derive(Debug, Default)]
struct Known {
    body: Bytes,
    /// 0: it is not stored.
    lsn: u64,
    /// Its place in the record that is stored.
    sub: usize,
    /// Something with it was sent, by class.
    sent: [bool; Class::COUNT],
    arrived: [bool; Class::COUNT],
    /// A plugin has once said that it is to be dropped.
    said_drop: bool,
}

/// An object or request, from its first attempt on.
#[derive(Debug)]
struct Sent {
    sha256: [u8; 32],
    class: Class,
    numbers: Vec<u64>,
}

/// What was found in the places of all records that are settled.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    delivered: u64,
    failed: u64,
    /// In no place.
    nowhere: u64,
    may_be_dropped: u64,
    may_be_expired: u64,
    /// Taken, and perhaps nobody knows: the answer was lost, the retry duration was over, and the log had let go of it.
    may_be_lost_sight_of: u64,
    /// Units beyond one a record.
    split_off: u64,
    /// Those of records that may never have been taken apart, for they were let go.
    may_be_whole: u64,
}

#[derive(Debug)]
pub(crate) struct Truth {
    requests: bool,
    backs_up_all: bool,
    expires: bool,
    records: Vec<Known>,
    /// Numbers of units by LSN.
    stored: Vec<Vec<u64>>,
    /// They may be stored, but nobody was told so.
    unacked: Vec<Vec<u64>>,
    names: BTreeMap<String, Sent>,
    /// Of all documents that were sent.
    ids: BTreeSet<String>,
    settled: u64,
    found: Found,
    /// The log let go of everything through here, by its policy.
    let_go: u64,
    discarded: Vec<OpenChunk>,
}

impl Truth {
    pub(crate) fn new(settings: &Settings) -> Truth {
        Truth {
            requests: settings.requests(),
            backs_up_all: settings.backs_up_all,
            expires: settings.expires,
            records: Vec::new(),
            stored: Vec::new(),
            unacked: Vec::new(),
            names: BTreeMap::new(),
            ids: BTreeSet::new(),
            settled: 0,
            found: Found::default(),
            let_go: 0,
            discarded: Vec::new(),
        }
    }

    /// The number of the next record.
    pub(crate) fn next(&self) -> u64 {
        self.records.len() as u64 + 1
    }

    pub(crate) fn add(&mut self, body: Bytes) {
        self.records.push(Known { body, ..Known::default() });
    }

    pub(crate) fn body(&self, number: u64) -> &Bytes {
        &self.of(number).body
    }

    pub(crate) fn acked(&mut self, records: Vec<Vec<u64>>, appended: &Appended) {
        let records = records.into_iter().enumerate();
        let mut placed: Vec<_> = records.map(|(at, numbers)| (appended.place(at).1.get(), numbers)).collect();
        placed.sort_unstable();
        placed.into_iter().for_each(|(lsn, numbers)| self.store(lsn, numbers));
    }

    pub(crate) fn not_acked(&mut self, records: Vec<Vec<u64>>) {
        self.unacked.extend(records);
    }

    /// What an opened log has is neither less than was acked nor more than was put.
    pub(crate) fn opened(&mut self, log: &ShardLog) {
        let last = log.last().map_or(0, Lsn::get);
        assert!(last >= self.stored.len() as u64, "acked records are gone: the log ends at {last}");
        let mut tail = log.tail(Lsn::new(self.stored.len() as u64));
        while last > self.stored.len() as u64 {
            let Some(batch) = tail.next(READ_BYTES).expect("an opened log can be read") else { break };
            for record in batch.records() {
                let units = units(&record.data);
                let numbers: Vec<u64> = units.iter().map(|unit| number_of(unit)).collect();
                assert!(self.unacked.contains(&numbers), "records {numbers:?} were acked, or nobody put them");
                let unchanged = numbers.iter().zip(&units).all(|(&number, unit)| self.of(number).body == unit);
                assert!(unchanged, "{numbers:?} are stored with other bytes");
                self.store(record.lsn.get(), numbers);
            }
        }
        self.unacked.clear();
    }

    pub(crate) fn said_drop(&mut self, number: u64) {
        self.of_mut(number).said_drop = true;
    }

    /// Judges an attempt. The numbers of the records that it carries, in their order.
    pub(crate) fn attempted(&mut self, place: Place, delivery: &Delivery, bytes: &[u8]) -> Vec<u64> {
        let name = format!("{place:?} {}", delivery.key);
        let parsed = match self.names.get(&name) {
            Some(sent) => {
                assert_eq!(sent.sha256, delivery.body.sha256, "{name} is sent with other bytes");
                sent.numbers.clone()
            }
            None => self.sent_first(&name, delivery, bytes),
        };
        let settled = self.settled;
        assert!(parsed.iter().any(|&n| self.of(n).lsn > settled), "{name} is sent, and was done before");
        parsed
    }

    fn sent_first(&mut self, name: &str, delivery: &Delivery, bytes: &[u8]) -> Vec<u64> {
        let class = parse::class(delivery);
        let (mut numbers, mut before) = (Vec::new(), (0, 0));
        for line in parse::lines(delivery, class, bytes) {
            let number = number_of(&line);
            let at = self.judge(name, class, number, &line);
            assert!(at > before, "{name}: record {number} at {at:?} stands behind one at {before:?}");
            before = at;
            numbers.push(number);
        }
        for id in parse::ids(delivery, bytes) {
            assert!(self.ids.insert(id.clone()), "{name}: two documents have id {id}");
        }
        let first = self.of(numbers[0]).lsn;
        let range = delivery.metadata.iter().find(|(name, _)| name == "hydrant-range").map(|(_, range)| range.as_str());
        assert_eq!(range, Some(format!("{first}-{}", before.0).as_str()), "{name}");
        self.names.insert(name.to_owned(), Sent { sha256: delivery.body.sha256, class, numbers: numbers.clone() });
        numbers
    }

    /// Whether this record may be sent under a name that was never heard of. Where it is stored.
    fn judge(&mut self, name: &str, class: Class, number: u64, line: &[u8]) -> (u64, usize) {
        let requests = self.requests;
        let record = self.of(number);
        assert!(record.lsn > 0, "{name}: record {number} is sent before it is stored");
        let is_it = class.is_as_put() && record.body == line || class == Class::Records && is_of(&record.body, line);
        assert!(is_it, "{name}: record {number} was changed: {}", line.escape_ascii());
        assert!(!record.sent[class as usize], "{name}: record {number} was sent under another name before");
        let elsewhere = record.sent[Class::Records as usize] || record.sent[Class::Errors as usize];
        let in_two = !requests && class != Class::Sources && elsewhere;
        assert!(!in_two, "{name}: record {number} goes to the output and to the error output");
        let at = (record.lsn, record.sub);
        assert!(!self.is_discarded(at.0), "{name}: record {number} was discarded");
        self.of_mut(number).sent[class as usize] = true;
        at
    }

    /// Records of a request are sent again though they have a verdict that is durable: their error object was there.
    pub(crate) fn assert_unjudged(&self, number: u64) {
        let judged = self.of(number).arrived[Class::Errors as usize];
        assert!(!judged, "record {number} is sent again, and stands in the error output");
    }

    pub(crate) fn is_taken(&self, number: u64) -> bool {
        self.of(number).arrived[Class::Records as usize]
    }

    pub(crate) fn taken(&mut self, number: u64) {
        if self.of(number).lsn <= self.settled {
            // Sent long ago, refused since.
            return;
        }
        self.of_mut(number).arrived[Class::Records as usize] = true;
    }

    /// The object is there. Whether it was before.
    pub(crate) fn arrived(&mut self, place: Place, key: &str) -> bool {
        let sent = &self.names[&format!("{place:?} {key}")];
        let (class, numbers) = (sent.class as usize, sent.numbers.clone());
        let was_there = numbers.iter().all(|&number| self.of(number).arrived[class]);
        numbers.iter().for_each(|&number| self.of_mut(number).arrived[class] = true);
        was_there
    }

    pub(crate) fn discarded(&mut self, chunk: OpenChunk) {
        self.discarded.push(chunk);
    }

    /// What a delivery stream says of itself, against what is where. `first`: of the log, before the rest was asked.
    pub(crate) fn check(&mut self, said: &Accounting, settled: Option<Lsn>, first: u64) {
        let settled = settled.map_or(0, Lsn::get);
        assert!(said.holds(), "{said:?}");
        assert_eq!(said.stored, self.stored.len() as u64, "{said:?}");
        assert!(settled >= self.settled, "the cursor went back from {} to {settled}", self.settled);
        assert_eq!(said.backlog, said.stored - settled, "{said:?}");
        self.gone_before(first, settled);
        for lsn in self.settled + 1..=settled {
            self.settle(lsn);
        }
        self.settled = settled;
        self.compare(said);
    }

    /// The log begins at `first`: what went is settled, unless its policy says otherwise.
    fn gone_before(&mut self, first: u64, settled: u64) {
        assert!(self.expires || first <= settled + 1, "the log begins at {first}, settled is {settled}");
        if self.expires {
            self.let_go = self.let_go.max(first.saturating_sub(1));
        }
    }

    fn settle(&mut self, lsn: u64) {
        if self.is_discarded(lsn) {
            return;
        }
        let numbers = self.stored[usize::try_from(lsn - 1).unwrap()].clone();
        let let_go = lsn <= self.let_go;
        let nowhere = self.found.nowhere;
        numbers.iter().for_each(|&number| self.settle_unit(lsn, number, let_go));
        let more = numbers.len() as u64 - 1;
        self.found.split_off += more;
        if let_go && self.found.nowhere == nowhere + more + 1 {
            self.found.may_be_whole += more;
        }
    }

    fn settle_unit(&mut self, lsn: u64, number: u64, let_go: bool) {
        let requests = self.requests;
        let backs_up_all = self.backs_up_all;
        let record = &self.records[usize::try_from(number - 1).unwrap()];
        let there = |class: Class| record.arrived[class as usize];
        let (delivered, failed) = (there(Class::Records), there(Class::Errors));
        assert!(!(delivered && failed) || requests, "record {number} is in two places");
        assert!(!backs_up_all || there(Class::Sources) || let_go, "record {number} is not in the backup of all");
        let found = &mut self.found;
        match (delivered, failed) {
            (_, true) => found.failed += 1,
            (true, false) => {
                found.delivered += 1;
                found.may_be_lost_sight_of += u64::from(requests && let_go);
            }
            (false, false) => {
                assert!(record.said_drop || let_go, "record {number} at {lsn} is settled and nowhere");
                found.nowhere += 1;
                found.may_be_dropped += u64::from(record.said_drop);
                found.may_be_expired += u64::from(let_go);
            }
        }
    }

    fn compare(&self, said: &Accounting) {
        let found = &self.found;
        let done = self.discarded.iter().filter(|chunk| chunk.to <= self.settled).map(|chunk| chunk.counts);
        let (mut discarded, mut dropped, mut expired, mut split_off) = (0, 0, 0, 0);
        for counts in done {
            discarded += counts.delivered + counts.failed;
            dropped += counts.dropped;
            expired += counts.expired;
            split_off += counts.split_off;
        }
        let whole = (found.split_off + split_off).checked_sub(said.split_off);
        let whole = whole.unwrap_or_else(|| panic!("{said:?}, {found:?}"));
        assert!(whole <= found.may_be_whole, "{said:?}, {found:?}");
        let unseen = found.delivered.checked_sub(said.delivered).unwrap_or_else(|| panic!("{said:?}, {found:?}"));
        assert!(unseen <= found.may_be_lost_sight_of, "{said:?}, {found:?}");
        assert_eq!(said.failed, found.failed, "{said:?}, {found:?}");
        assert_eq!((said.discarded, said.lost), (discarded, 0), "{said:?}");
        let nowhere = (said.dropped - dropped) + (said.expired - expired);
        assert_eq!(nowhere + whole, found.nowhere + unseen, "{said:?}, {found:?}");
        assert!(said.dropped - dropped <= found.may_be_dropped, "{said:?}, {found:?}");
        assert!(said.expired - expired <= found.may_be_expired + unseen, "{said:?}, {found:?}");
    }

    /// All is delivered and nothing happens any more: every place is looked at once more.
    pub(crate) fn check_end(&mut self, said: &Accounting) {
        assert_eq!((said.backlog, self.settled), (0, self.stored.len() as u64), "{said:?}");
        self.found = Found::default();
        for lsn in 1..=self.settled {
            self.settle(lsn);
        }
        self.compare(said);
    }

    fn store(&mut self, lsn: u64, numbers: Vec<u64>) {
        assert_eq!(lsn, self.stored.len() as u64 + 1, "LSNs are dense");
        for (sub, &number) in numbers.iter().enumerate() {
            let record = self.of_mut(number);
            assert_eq!(record.lsn, 0, "record {number} is stored twice");
            (record.lsn, record.sub) = (lsn, sub);
        }
        self.stored.push(numbers);
    }

    fn is_discarded(&self, lsn: u64) -> bool {
        let range = |chunk: &OpenChunk| -> RangeInclusive<u64> { chunk.from..=chunk.to };
        self.discarded.iter().any(|chunk| range(chunk).contains(&lsn))
    }

    fn of(&self, number: u64) -> &Known {
        let record = usize::try_from(number).ok().and_then(|number| self.records.get(number.checked_sub(1)?));
        record.unwrap_or_else(|| panic!("record {number} was invented"))
    }

    fn of_mut(&mut self, number: u64) -> &mut Known {
        &mut self.records[usize::try_from(number - 1).unwrap()]
    }
}

/// Whether the line is what some version of the plugin makes of the record, or the record itself.
fn is_of(body: &[u8], line: &[u8]) -> bool {
    body == line || (0..20).any(|version| transformed(body, version) == line)
}
