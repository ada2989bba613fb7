//! Any sequence of operations leaves what a `Vec` would hold.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Append(usize, usize),
    Read(u64),
    Trim(u64),
    Roll,
    Reopen,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..20_usize, 0..40_000_usize).prop_map(|(count, len)| Step::Append(count, len)),
        3 => (0..60_u64).prop_map(Step::Read),
        2 => (1..60_u64).prop_map(Step::Trim),
        2 => Just(Step::Roll),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_log_is_a_vec(steps in prop::collection::vec(step(), 1..25)) {
        let dir = scratch();
        let (mut log, _) = open(dir.path());
        let mut model: Vec<NewRecord> = Vec::new();
        for step in steps {
            match step {
                Step::Append(count, len) => {
                    let given: Vec<_> = (0..count).map(|n| numbered(model.len() + n, len)).collect();
                    prop_assert_eq!(log.append(given.clone()).unwrap().first, lsn(model.len() as u64 + 1));
                    model.extend(given);
                }
                Step::Read(after) => check(&log, &model, after)?,
                Step::Trim(through) => {
                    let before = log.first();
                    log.trim(lsn(through)).unwrap();
                    let first = log.first();
                    prop_assert!(first >= before || first.is_none());
                    prop_assert!(first.is_none_or(|first| first <= lsn(through).next() || Some(first) == before));
                }
                Step::Roll => log.roll().unwrap(),
                Step::Reopen => {
                    log.close().unwrap();
                    let (again, recovery) = open(dir.path());
                    prop_assert!(recovery.clean);
                    log = again;
                }
                Step::Crash => {
                    drop(log);
                    let (again, recovery) = open(dir.path());
                    prop_assert!(!recovery.clean && recovery.torn_bytes == 0);
                    log = again;
                }
            }
            prop_assert_eq!(log.last().map_or(0, Lsn::get), model.len() as u64);
        }
        check(&log, &model, 0)?;
    }
}

fn check(log: &ShardLog, model: &[NewRecord], after: u64) -> Result<(), TestCaseError> {
    let held_after = log.first().map_or(log.last(), Lsn::previous).map_or(0, Lsn::get);
    let after = after.clamp(held_after, model.len() as u64);
    let found = read_all(log, Lsn::new(after));
    prop_assert_eq!(payloads(&found), &model[usize::try_from(after).unwrap()..]);
    Ok(())
}
