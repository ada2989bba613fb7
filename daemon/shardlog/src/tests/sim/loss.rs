//! What is left when an operator gives up what cannot be read.

use hydrant_disk::faulty::Fault;

use super::rot::{Laid, readable};
use super::truth::Truth;
use super::*;

/// Opens a corrupt log with its loss accepted: whatever can be read is still there, the rest is named, and the log goes
/// on behind every LSN that anything readable names. (Where a lost segment header hid the end of the log, LSNs may come
/// again: under another epoch, so no identity does.)
pub(super) fn give_up(laid: &[Laid], found: &SimDisk, truth: &Truth, known: Option<u64>) {
    let readable = readable(laid, found);
    let disk = found.crash();
    let known_durable = known.and_then(Lsn::new);
    let options = LogOptions { accept_loss: true, known_durable, ..sim_options() };
    let mut dice = Dice::new(truth.last() ^ laid.iter().map(|segment| segment.end).sum::<u64>());
    let cut_off = dice.chance(1, 2);
    let disk = if cut_off { stopped_on_the_way(&disk, &options, &mut dice) } else { disk };
    let (log, recovery) = open_with(Arc::new(disk.clone()), options).expect("its loss was accepted");
    let (read, lost) = survey(&log, truth, truth.last());
    assert!(cut_off || !recovery.lost.is_empty());
    let is_lost = |lsn: u64| lost.iter().any(|(first, last)| (*first..=*last).contains(&lsn));
    for lsn in value(log.first())..=truth.last() {
        let there = read.contains(&lsn);
        assert!(there != is_lost(lsn) || lsn > value(log.last()), "LSN {lsn} is neither there nor named");
        assert!(there || !readable.contains(&lsn), "LSN {lsn} could be read and was given up");
    }
    let appended = log.append(vec![unique(u64::MAX, 10)]).unwrap();
    let named = readable.last().copied().max(known);
    assert!(Some(appended.first.get()) > named, "LSN {} was used before", appended.first);
    drop(log);
    let (log, recovery) = open_sim(Arc::new(disk.crash()), known_durable).expect("the verdict is on record");
    assert!(recovery.lost.is_empty());
    let acked = truth.last().min(appended.first.get() - 1);
    assert_eq!(survey(&log, truth, acked), ([&read[..], &[appended.first.get()]].concat(), lost));
}

/// Accepts the loss on a device that dies at some call, and loses what was not synced: the next opening starts from there.
fn stopped_on_the_way(disk: &SimDisk, options: &LogOptions, dice: &mut Dice) -> SimDisk {
    let device = FaultyDisk::new(Arc::new(disk.clone()));
    device.inject(Fault::From(1 + dice.below(60)));
    match open_with(Arc::new(device), options.clone()) {
        Ok(_) | Err(OpenError::Io { .. }) => {}
        Err(error) => panic!("its loss was accepted: {error}"),
    }
    if dice.chance(1, 2) { disk.crash() } else { disk.power_loss(dice.roll()) }
}

/// LSNs that are read, and ranges that are lost. Records up to `acked` must be what was acked.
fn survey(log: &ShardLog, truth: &Truth, acked: u64) -> (Vec<u64>, Vec<(u64, u64)>) {
    let (mut read, mut lost) = (Vec::new(), Vec::new());
    let mut tail = log.tail(log.first().map_or(log.last(), Lsn::previous));
    loop {
        match tail.next(9000) {
            Ok(Some(batch)) => {
                let acked = batch.records().iter().filter(|record| record.lsn.get() <= acked);
                acked.for_each(|record| truth.check(record));
                read.extend(batch.records().iter().map(|record| record.lsn.get()));
            }
            Ok(None) => return (read, lost),
            Err(ReadError::Lost { first, last }) => {
                lost.push((first.get(), last.get()));
                tail.skip_lost();
            }
            Err(other) => panic!("{other}"),
        }
    }
}
