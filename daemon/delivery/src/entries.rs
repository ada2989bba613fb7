//! The records of a group, one after another: from the spool, or from the log again where they leave as they were put.
//!
//! Invariant: a range that is read again gives the units that were counted when it was gathered, or an error; never others.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use hydrant_record::{Lsn, Record, Timestamp, Unit};
use hydrant_shardlog::{ReadError, ShardLog, Tail};

use crate::gather::Gap;
use crate::split::Splitter;
use crate::spool::SpoolReader;

/// One read of the log gives about this much.
const READ_BYTES: usize = 1 << 20;

/// A record as it will be encoded, or a finished error line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) unit: Unit,
    pub(crate) arrived_at: Timestamp,
    pub(crate) data: Bytes,
}

/// A clone reads again from the same place. Where the log cannot be read, the error holds a [`ReadError`].
#[derive(Clone)]
pub(crate) enum Entries {
    Spool(SpoolReader),
    Log(LogReader),
}

impl Entries {
    pub(crate) fn has_more(&self) -> bool {
        match self {
            Entries::Spool(reader) => reader.has_more(),
            Entries::Log(reader) => reader.left.units > 0,
        }
    }

    /// Bytes of the entries that are left, and perhaps a little for each.
    pub(crate) fn rest(&self) -> u64 {
        match self {
            Entries::Spool(reader) => reader.rest(),
            Entries::Log(reader) => reader.left.bytes,
        }
    }
}

impl Iterator for Entries {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<io::Result<Entry>> {
        match self {
            Entries::Spool(reader) => reader.next(),
            Entries::Log(reader) => reader.next(),
        }
    }
}

/// Units that are in the log and nowhere else until they are encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) units: u64,
    pub(crate) bytes: u64,
}

impl Counted {
    /// Those of a record.
    pub(crate) fn add(&mut self, record: &Bytes, splitter: &Splitter) {
        let mut count = |data: &Bytes| {
            self.units += 1;
            self.bytes += data.len() as u64;
        };
        match splitter.split(record) {
            Some(parts) => parts.iter().for_each(count),
            None => count(record),
        }
    }
}

/// Reads a range of the log again, its records taken apart as they were the first time.
pub(crate) struct LogReader {
    log: ShardLog,
    splitter: Splitter,
    from: Lsn,
    to: Lsn,
    /// What of the range was gone then, and counted as that, in order.
    gaps: Arc<[Gap]>,
    left: Counted,
    /// The last that was given out.
    given: Option<Unit>,
    /// Opened by the first read.
    tail: Option<Tail>,
    ready: VecDeque<Entry>,
}

impl LogReader {
    pub(crate) fn new(
        log: ShardLog,
        splitter: Splitter,
        (from, to): (Lsn, Lsn),
        gaps: Arc<[Gap]>,
        counted: Counted,
    ) -> LogReader {
        let (given, tail, ready) = (None, None, VecDeque::new());
        LogReader { log, splitter, from, to, gaps, left: counted, given, tail, ready }
    }

    fn entry(&mut self) -> io::Result<Entry> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                self.given = Some(entry.unit);
                self.left.units -= 1;
                self.left.bytes = self.left.bytes.saturating_sub(entry.data.len() as u64);
                return Ok(entry);
            }
            self.read()?;
        }
    }

    /// The next batch, as far as it is of the range and was not given out.
    fn read(&mut self) -> io::Result<()> {
        let position = self.given.map_or(self.from, |unit| unit.lsn);
        let log = &self.log;
        let tail = self.tail.get_or_insert_with(|| log.tail(position.previous()));
        let gone = match tail.next(READ_BYTES) {
            Ok(Some(batch)) => return batch.into_records().into_iter().try_for_each(|record| self.take(record)),
            Ok(None) => return Err(other_records()),
            Err(error @ ReadError::Lost { first, last }) => (first, last, error),
            Err(error @ ReadError::Trimmed { after, first }) => {
                (Lsn::after(after), first.previous().unwrap_or(first), error)
            }
            Err(error) => return Err(io::Error::other(error)),
        };
        let (first, last, error) = gone;
        if !self.were_gone(first, last.min(self.to)) {
            return Err(io::Error::other(error));
        }
        if let Some(tail) = &mut self.tail {
            tail.skip_lost();
        }
        Ok(())
    }

    fn take(&mut self, record: Record) -> io::Result<()> {
        let Record { lsn, arrived_at, data, .. } = record;
        if lsn > self.to {
            return if self.ready.is_empty() { Err(other_records()) } else { Ok(()) };
        }
        if self.were_gone(lsn, lsn) {
            return Ok(());
        }
        let mut push = |sub, data| {
            let unit = Unit { lsn, sub };
            if self.given.is_none_or(|given| given < unit) {
                self.ready.push_back(Entry { unit, arrived_at, data });
            }
        };
        match self.splitter.split(&data) {
            Some(parts) => (0..).zip(parts).for_each(|(sub, part)| push(sub, part)),
            None => push(0, data),
        }
        Ok(())
    }

    /// Whether all of these were counted as gone.
    fn were_gone(&self, first: Lsn, last: Lsn) -> bool {
        let mut next = first;
        for gap in &*self.gaps {
            if gap.first <= next && next <= gap.last {
                next = Lsn::after(Some(gap.last));
            }
        }
        next > last
    }
}

impl Clone for LogReader {
    fn clone(&self) -> LogReader {
        let (log, splitter, gaps) = (self.log.clone(), self.splitter.clone(), Arc::clone(&self.gaps));
        let reader = LogReader::new(log, splitter, (self.from, self.to), gaps, self.left);
        LogReader { given: self.given, ..reader }
    }
}

impl Iterator for LogReader {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<io::Result<Entry>> {
        (self.left.units > 0).then(|| self.entry())
    }
}

fn other_records() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the log holds other records than when they were gathered")
}

#[cfg(test)]
mod tests {
    use hydrant_config::SubRecords;
    use hydrant_disk::RealDisk;
    use hydrant_record::{NewRecord, Placement};
    use hydrant_shardlog::{Expendable, Limits, LogOptions};

    use super::*;

    fn lsn(number: u64) -> Lsn {
        Lsn::new(number).unwrap()
    }

    /// Each of these is a record of its own.
    fn log(dir: &tempfile::TempDir, records: &[&'static str]) -> ShardLog {
        let mut options = LogOptions::new();
        options.reserve_bytes = 0;
        let (log, _) = ShardLog::open(Arc::new(RealDisk::new()), dir.path(), options).unwrap();
        let record = |text: &&'static str| NewRecord {
            placement: Placement::Any,
            partition_key: None,
            data: Bytes::from_static(text.as_bytes()),
        };
        log.append(records.iter().map(record).collect()).unwrap();
        log
    }

    fn by_comma() -> Splitter {
        Splitter::of_sub_records(SubRecords::Delimited { delimiter: b",".to_vec() })
    }

    fn reader(log: &ShardLog, splitter: Splitter, range: (u64, u64), gaps: &[Gap], units: u64) -> Entries {
        let counted = Counted { units, bytes: 100 };
        Entries::Log(LogReader::new(log.clone(), splitter, (lsn(range.0), lsn(range.1)), gaps.into(), counted))
    }

    fn texts(entries: impl Iterator<Item = io::Result<Entry>>) -> Vec<String> {
        let text = |entry: Entry| {
            let Unit { lsn, sub } = entry.unit;
            format!("{lsn}.{sub} {}", String::from_utf8_lossy(&entry.data))
        };
        entries.map(|entry| entry.map_or_else(|error| error.to_string(), text)).collect()
    }

    #[test]
    fn a_range_is_read_again_as_it_was_and_a_clone_goes_on_from_where_it_was_made() {
        let dir = tempfile::tempdir().unwrap();
        let log = log(&dir, &["before", "one", "a,b,c", "", "last", "behind"]);
        let mut entries = reader(&log, by_comma(), (2, 5), &[], 6);
        assert!(entries.has_more());
        assert_eq!(entries.rest(), 100);
        assert_eq!(texts(entries.by_ref().take(3)), ["2.0 one", "3.0 a", "3.1 b"]);
        let again = entries.clone();
        assert_eq!(texts(entries.by_ref()), ["3.2 c", "4.0 ", "5.0 last"]);
        assert!(!entries.has_more());
        assert_eq!(entries.rest(), 90);
        assert_eq!(texts(again.clone()), ["3.2 c", "4.0 ", "5.0 last"]);
        assert_eq!(texts(again.clone().skip(1)), ["4.0 ", "5.0 last"]);
    }

    #[test]
    fn what_was_counted_as_gone_is_passed_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let log = log(&dir, &["one", "two", "three"]);
        let all = Limits { before: Some(Timestamp::from_millis(u64::MAX)), bytes_max: None };
        log.expire(&all, Expendable::All).unwrap();
        log.append(vec![NewRecord {
            placement: Placement::Any,
            partition_key: None,
            data: Bytes::from_static(b"four"),
        }])
        .unwrap();
        assert_eq!(log.first(), Some(lsn(4)));
        let gap = |first, last| Gap { first: lsn(first), last: lsn(last), expired: true };
        for gaps in [&[gap(1, 3)][..], &[gap(1, 2), gap(3, 3)], &[gap(1, 1), gap(2, 3)]] {
            assert_eq!(texts(reader(&log, Splitter::default(), (1, 4), gaps, 1)), ["4.0 four"]);
        }
        for gaps in [&[][..], &[gap(1, 2)], &[gap(2, 3)], &[gap(1, 1), gap(3, 3)]] {
            let error = reader(&log, Splitter::default(), (1, 4), gaps, 1).next().unwrap().unwrap_err();
            assert!(matches!(error.downcast(), Ok(ReadError::Trimmed { .. })));
        }
        // It was lost then and can be read now: it has been told of as lost.
        let found = texts(reader(&log, Splitter::default(), (4, 4), &[gap(4, 4)], 1).take(1));
        assert_eq!(found, ["the log holds other records than when they were gathered"]);
    }

    #[test]
    fn fewer_than_were_counted_are_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let log = log(&dir, &["one", "two", "three"]);
        let other = "the log holds other records than when they were gathered";
        for (to, found) in [(2, vec!["1.0 one", "2.0 two", other]), (3, vec!["1.0 one", "2.0 two", "3.0 three", other])]
        {
            let entries = reader(&log, Splitter::default(), (1, to), &[], to + 1);
            assert_eq!(texts(entries.take(found.len())), found);
        }
    }
}
