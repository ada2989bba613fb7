//! Which units an object holds, in the order of its rows, in about a byte or two for each: what `hydrant explain` reads.
//!
//! ```text
//! runs, each:  varint  (units - 1) << 2 | along_sub << 1 | has_sub
//!              varint  zigzag(first LSN - (last LSN of the run before + 1))
//!              varint  first sub, if has_sub
//! ```
//! The units of a run have LSNs one after another and the same sub, or, along_sub, one LSN and subs one after another.
//!
//! Invariant: what is read back is what was pushed, in that order; bytes that no push made are never taken for units.

use hydrant_record::{Lsn, Unit};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The finished form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rows(Vec<u8>);

/// Takes units one after another.
#[derive(Clone, Debug, Default)]
pub(crate) struct RowsWriter {
    bytes: Vec<u8>,
    /// Behind the last LSN that is in `bytes`.
    expected: u64,
    run: Option<Run>,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    lsn: u64,
    sub: u32,
    count: u64,
    along_sub: bool,
}

impl Run {
    /// Whether the unit is the next one of this run.
    fn takes(&mut self, lsn: u64, sub: u32) -> bool {
        let next_lsn = lsn == self.lsn + self.count && sub == self.sub;
        let next_sub = lsn == self.lsn && u64::from(sub) == u64::from(self.sub) + self.count;
        let taken = if self.count == 1 {
            self.along_sub = next_sub;
            next_lsn || next_sub
        } else if self.along_sub {
            next_sub
        } else {
            next_lsn
        };
        self.count += u64::from(taken);
        taken
    }

    fn end(&self) -> u64 {
        if self.along_sub { self.lsn + 1 } else { self.lsn + self.count }
    }

    /// Where in the run the unit is.
    fn position(&self, unit: Unit) -> Option<u64> {
        let (lsn, sub) = (unit.lsn.get(), unit.sub);
        let at = if self.along_sub {
            (lsn == self.lsn).then(|| u64::from(sub).checked_sub(u64::from(self.sub)))
        } else {
            (sub == self.sub).then(|| lsn.checked_sub(self.lsn))
        };
        at.flatten().filter(|at| *at < self.count)
    }

    /// The subs of this LSN in it.
    fn subs(&self, lsn: Lsn) -> std::ops::Range<u64> {
        let first = u64::from(self.sub);
        let units = if self.along_sub { self.count } else { 1 };
        let there = if self.along_sub { lsn.get() == self.lsn } else { (self.lsn..self.end()).contains(&lsn.get()) };
        if there { first..first + units } else { 0..0 }
    }
}

impl RowsWriter {
    pub(crate) fn push(&mut self, unit: Unit) {
        let (lsn, sub) = (unit.lsn.get(), unit.sub);
        if !self.run.as_mut().is_some_and(|run| run.takes(lsn, sub)) {
            self.flush();
            self.run = Some(Run { lsn, sub, count: 1, along_sub: false });
        }
    }

    /// What it holds so far.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn finish(mut self) -> Rows {
        self.flush();
        self.bytes.shrink_to_fit();
        Rows(self.bytes)
    }

    fn flush(&mut self) {
        let Some(run) = self.run.take() else { return };
        let has_sub = run.sub != 0;
        put(&mut self.bytes, (run.count - 1) << 2 | u64::from(run.along_sub) << 1 | u64::from(has_sub));
        let delta = run.lsn.wrapping_sub(self.expected).cast_signed();
        put(&mut self.bytes, (delta << 1 ^ delta >> 63).cast_unsigned());
        if has_sub {
            put(&mut self.bytes, run.sub.into());
        }
        self.expected = run.end();
    }
}

impl Rows {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The units of this LSN, each with its place among the object's, from 0.
    pub(crate) fn of(&self, lsn: Lsn) -> Vec<(Unit, u64)> {
        let (mut found, mut before) = (Vec::new(), 0);
        for run in self.runs() {
            for sub in run.subs(lsn) {
                let unit = Unit { lsn, sub: u32::try_from(sub).unwrap_or(u32::MAX) };
                found.extend(run.position(unit).map(|at| (unit, before + at)));
            }
            before += run.count;
        }
        found
    }

    /// Without the units at these places, which ascend.
    pub(crate) fn without(&self, places: &[u64]) -> Rows {
        let (mut kept, mut at, mut places) = (RowsWriter::default(), 0, places.iter().peekable());
        for run in self.runs() {
            for nth in 0..run.count {
                if places.next_if(|place| **place == at).is_none() {
                    let (lsn, sub) = if run.along_sub { (run.lsn, nth) } else { (run.lsn + nth, 0) };
                    let sub = run.sub + u32::try_from(sub).unwrap_or(0);
                    kept.push(Unit { lsn: Lsn::new(lsn).unwrap_or(Lsn::FIRST), sub });
                }
                at += 1;
            }
        }
        kept.finish()
    }

    /// Ends early at bytes that make no sense.
    fn runs(&self) -> impl Iterator<Item = Run> + '_ {
        let (mut rest, mut expected) = (self.0.as_slice(), 0_u64);
        std::iter::from_fn(move || {
            let head = take(&mut rest)?;
            let delta = take(&mut rest)?;
            let delta = (delta >> 1).cast_signed() ^ -(delta & 1).cast_signed();
            let sub = if head & 1 == 1 { u32::try_from(take(&mut rest)?).ok()? } else { 0 };
            let lsn = expected.checked_add_signed(delta)?;
            let run = Run { lsn, sub, count: (head >> 2) + 1, along_sub: head & 2 == 2 };
            lsn.checked_add(run.count)?;
            expected = run.end();
            Some(run)
        })
    }
}

fn put(bytes: &mut Vec<u8>, mut value: u64) {
    loop {
        let digit = value.to_le_bytes()[0] & 0x7f;
        value >>= 7;
        bytes.push(digit | u8::from(value > 0) << 7);
        if value == 0 {
            return;
        }
    }
}

fn take(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

impl Serialize for Rows {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&base64_simd::STANDARD_NO_PAD.encode_to_string(&self.0))
    }
}

impl<'de> Deserialize<'de> for Rows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Rows, D::Error> {
        let text = String::deserialize(deserializer)?;
        base64_simd::STANDARD_NO_PAD.decode_to_vec(text).map(Rows).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit((lsn, sub): (u64, u32)) -> Unit {
        Unit { lsn: Lsn::new(lsn).unwrap(), sub }
    }

    fn rows(units: &[(u64, u32)]) -> Rows {
        let mut writer = RowsWriter::default();
        units.iter().for_each(|one| writer.push(unit(*one)));
        let text = serde_json::to_string(&writer.finish()).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn every_unit_is_found_at_its_place_and_no_other_is() {
        let mixed =
            [(1, 0), (2, 0), (3, 0), (7, 0), (7, 1), (7, 2), (8, 2), (9, 2), (5, 0), (300, 3), (300, 4), (4, 9)];
        let rows = rows(&mixed);
        for (at, one) in mixed.iter().enumerate() {
            let found = rows.of(unit(*one).lsn);
            assert!(found.contains(&(unit(*one), at as u64)), "{one:?}: {found:?}");
        }
        let all: usize = (1..=400).map(|lsn| rows.of(Lsn::new(lsn).unwrap()).len()).sum();
        assert_eq!(all, mixed.len());
    }

    #[test]
    fn rows_without_some_are_those_of_the_others() {
        let all = [(1, 0), (2, 0), (3, 0), (9, 0), (9, 1), (9, 2)];
        assert_eq!(rows(&all).without(&[]), rows(&all));
        assert_eq!(rows(&all).without(&[0, 2, 4]), rows(&[(2, 0), (9, 0), (9, 2)]));
        assert_eq!(rows(&all).without(&[0, 1, 2, 3, 4, 5]), Rows::default());
    }

    #[test]
    fn neighbours_cost_nothing_and_every_tenth_record_two_bytes() {
        let neighbours: Vec<_> = (1_000_000..1_100_000).map(|lsn| (lsn, 0)).collect();
        assert!(rows(&neighbours).len() < 10);
        let scattered: Vec<_> = (1..10_000).map(|n| (n * 10, 0)).collect();
        assert!(rows(&scattered).len() <= 2 * scattered.len());
        let split: Vec<_> = (1..1_000).flat_map(|lsn| (0..100).map(move |sub| (lsn, sub))).collect();
        assert!(rows(&split).len() <= 4 * 1_000);
    }

    #[test]
    fn bytes_that_are_no_rows_end_early() {
        for bytes in [vec![0xff; 12], vec![0, 0xff], vec![4], vec![1, 2]] {
            assert_eq!(Rows(bytes).of(Lsn::FIRST).len(), 0);
        }
    }
}
