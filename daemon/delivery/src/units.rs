//! The units of a request's items, in order and in few bytes: a verdict on an item finds its record by them.

use hydrant_record::{Lsn, Unit};
use serde::{Deserialize, Serialize};

/// Runs of `(first LSN, sub, how many)`: so many LSNs one after another, each with that sub.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Units(Vec<(u64, u32, u32)>);

impl Units {
    pub(crate) fn push(&mut self, unit: Unit) {
        let lsn = unit.lsn.get();
        match self.0.last_mut() {
            Some((first, sub, count)) if *sub == unit.sub && *first + u64::from(*count) == lsn => *count += 1,
            _ => self.0.push((lsn, unit.sub, 1)),
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.0.iter().map(|&(.., count)| u64::from(count)).sum()
    }

    /// In the order of the items.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Unit> + '_ {
        self.0.iter().flat_map(|&(first, sub, count)| {
            (first..first + u64::from(count)).filter_map(move |lsn| Some(Unit { lsn: Lsn::new(lsn)?, sub }))
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
        assert_eq!(text, "[[1,0,3],[5,0,2],[6,1,1],[6,2,2],[9,0,1]]");
        assert_eq!(serde_json::from_str::<Units>(&text).unwrap(), runs);
    }
}
