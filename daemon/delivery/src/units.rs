//! The units of a request's items, in order and in few bytes: a verdict on an item finds its record by them.

use hydrant_record::{Lsn, Unit};
use serde::{Deserialize, Serialize};

/// Runs of `(first LSN, first sub, how many)`: so many LSNs one after another, each with that sub. Below zero: so many subs
/// one after another, each of that LSN, as of a record that was taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Units(Vec<(u64, u32, i64)>);

impl Units {
    pub(crate) fn push(&mut self, unit: Unit) {
        let lsn = unit.lsn.get();
        if let Some((first, sub, count)) = self.0.last_mut() {
            let length = count.unsigned_abs();
            if *count > 0 && *sub == unit.sub && *first + length == lsn {
                *count += 1;
                return;
            }
            if (*count < 0 || length == 1) && *first == lsn && u64::from(*sub) + length == u64::from(unit.sub) {
                *count = -count.abs() - 1;
                return;
            }
        }
        self.0.push((lsn, unit.sub, 1));
    }

    pub(crate) fn len(&self) -> u64 {
        self.0.iter().map(|(.., count)| count.unsigned_abs()).sum()
    }

    /// In the order of the items.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Unit> + '_ {
        self.0.iter().flat_map(|&(first, sub, count)| {
            (0..count.unsigned_abs()).filter_map(move |step| {
                let (lsn, step_of_sub) = if count > 0 { (first + step, 0) } else { (first, step) };
                Some(Unit { lsn: Lsn::new(lsn)?, sub: sub + u32::try_from(step_of_sub).ok()? })
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_come_back_in_order_from_few_runs() {
        let units: Vec<Unit> = [(1, 0), (2, 0), (3, 0), (5, 0), (6, 0), (6, 1), (6, 2), (7, 2), (9, 0)]
            .map(|(lsn, sub)| Unit { lsn: Lsn::new(lsn).unwrap(), sub })
            .to_vec();
        let mut runs = Units::default();
        units.iter().for_each(|unit| runs.push(*unit));
        assert_eq!((runs.iter().collect::<Vec<_>>(), runs.len()), (units, 9));
        let text = serde_json::to_string(&runs).unwrap();
        assert_eq!(text, "[[1,0,3],[5,0,2],[6,1,-2],[7,2,1],[9,0,1]]");
        assert_eq!(serde_json::from_str::<Units>(&text).unwrap(), runs);
    }

    #[test]
    fn a_record_that_was_taken_apart_is_one_run() {
        let units = |first: u32, count: u32, lsn: u64| {
            (first..first + count).map(move |sub| Unit { lsn: Lsn::new(lsn).unwrap(), sub })
        };
        let units: Vec<Unit> = units(0, 1000, 4).chain(units(1001, 500, 4)).chain(units(0, 1, 5)).collect();
        let mut runs = Units::default();
        units.iter().for_each(|unit| runs.push(*unit));
        assert_eq!((runs.iter().collect::<Vec<_>>(), runs.len()), (units, 1501));
        assert_eq!(serde_json::to_string(&runs).unwrap(), "[[4,0,-1000],[4,1001,-500],[5,0,1]]");
        let of_before: Units = serde_json::from_str("[[6,1,1],[6,2,2]]").unwrap();
        assert_eq!(
            of_before.iter().map(|unit| (unit.lsn.get(), unit.sub)).collect::<Vec<_>>(),
            [(6, 1), (6, 2), (7, 2)]
        );
    }
}
