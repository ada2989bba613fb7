//! What the objects of a chunk, its counts and its gaps say together of one record.

use hydrant_record::{Lsn, Unit};

use super::State;
use crate::history::SentObject;
use crate::journal::StagedChunk;
use crate::manifest::{Holds, StagedObject};

/// A conclusion, and the objects that it is about: by their place in the list, with the unit and its place in the object.
pub(super) struct Verdict {
    pub(super) state: State,
    pub(super) found: Vec<(usize, Option<(Unit, u64)>)>,
    pub(super) note: Option<String>,
}

impl Verdict {
    fn plain(state: State, note: Option<&str>) -> Verdict {
        Verdict { state, found: Vec::new(), note: note.map(str::to_owned) }
    }

    pub(super) fn replaced() -> Verdict {
        let note =
            "the log was set back to an older state after this record was stored, and has another one under its number";
        Verdict::plain(State::Replaced, Some(note))
    }
}

/// `cut`: objects are missing from the list.
pub(super) fn of(chunk: &StagedChunk, objects: &[SentObject], lsn: Lsn, cut: bool) -> Verdict {
    let gone = chunk.about.gone.iter().find(|(first, last, _)| (*first..=*last).contains(&lsn.get()));
    if let Some((.., expired)) = gone {
        return Verdict::plain(if *expired { State::Expired } else { State::Lost }, None);
    }
    if let Some(to) = &chunk.about.redirected {
        return redirected(chunk, objects, (lsn, cut), to);
    }
    if chunk.counts.discarded > 0 {
        return decided(chunk, State::Discarded);
    }
    located(chunk, objects, lsn, cut)
}

/// Some objects of its chunk are at their own place, the others where the operator wrote them.
fn redirected(chunk: &StagedChunk, objects: &[SentObject], (lsn, cut): (Lsn, bool), to: &str) -> Verdict {
    let note = format!("an operator has redirected its chunk to {to}");
    if objects.is_empty() {
        let note = format!("{note}; in which object it is there is not remembered");
        return Verdict { note: Some(note), ..decided(chunk, State::Redirected) };
    }
    let located = located(chunk, objects, lsn, cut);
    let settled = matches!(located.state, State::Delivered | State::Failed);
    if settled && located.found.iter().any(|(at, _)| objects[*at].redirected) {
        return Verdict { state: State::Redirected, note: Some(note), ..located };
    }
    Verdict { note: located.note.or(Some(note)), ..located }
}

/// By the objects.
fn located(chunk: &StagedChunk, objects: &[SentObject], lsn: Lsn, cut: bool) -> Verdict {
    let found: Vec<_> = objects
        .iter()
        .enumerate()
        .flat_map(|(at, sent)| places(&sent.object, lsn).into_iter().map(move |place| (at, Some(place))))
        .collect();
    let settled = found.iter().filter(|(at, _)| objects[*at].object.holds != Some(Holds::Sources)).count();
    if settled > 0 {
        return settle(chunk, objects, found);
    }
    nowhere(chunk, objects, (lsn, cut), found)
}

/// All that was to be sent went one way; what a plugin dropped before that did not.
fn decided(chunk: &StagedChunk, state: State) -> Verdict {
    match chunk.counts.dropped {
        0 => Verdict::plain(state, None),
        _ => {
            Verdict::plain(State::Unclear, Some("a plugin has dropped it, or an operator has decided about its chunk"))
        }
    }
}

fn places(object: &StagedObject, lsn: Lsn) -> Vec<(Unit, u64)> {
    match (&object.items, &object.rows) {
        (Some(items), _) => {
            (0..).zip(items.iter()).filter(|(_, unit)| unit.lsn == lsn).map(|(at, unit)| (unit, at)).collect()
        }
        (None, Some(rows)) => rows.of(lsn),
        (None, None) => Vec::new(),
    }
}

/// At least one place of it is known.
fn settle(chunk: &StagedChunk, objects: &[SentObject], found: Vec<(usize, Option<(Unit, u64)>)>) -> Verdict {
    let holds = |at: usize| objects[at].object.holds.unwrap_or(Holds::Records);
    let units = |wanted: Holds| -> Vec<Unit> {
        let there = found.iter().filter(|(at, _)| holds(*at) == wanted);
        there.filter_map(|(_, place)| place.map(|(unit, _)| unit)).collect()
    };
    let failed = units(Holds::Errors);
    // What was sent and refused is in an error object, too.
    let delivered = units(Holds::Records).into_iter().filter(|unit| !failed.contains(unit)).count();
    let note = match (&chunk.verdicts, delivered) {
        (Some(verdicts), 1..) if verdicts.expired > 0 => Some(
            "the destination refused records of this chunk that had expired by then; it may be one of them".to_owned(),
        ),
        _ => None,
    };
    let unclear = note.is_some();
    let dropped = chunk.counts.dropped > 0 && chunk.counts.split_off > 0;
    let note = note.or_else(|| {
        dropped.then(|| "if it was split, a plugin may have dropped those of its parts that are not here".to_owned())
    });
    let state = match (delivered, failed.len()) {
        (_, 0) if unclear => State::Unclear,
        (_, 0) => State::Delivered,
        (0, _) => State::Failed,
        _ => State::Divided,
    };
    Verdict { state, found, note }
}

/// No object is known to hold it.
fn nowhere(
    chunk: &StagedChunk,
    objects: &[SentObject],
    (lsn, cut): (Lsn, bool),
    mut found: Vec<(usize, Option<(Unit, u64)>)>,
) -> Verdict {
    let may_hold = |object: &StagedObject| {
        object.items.is_none() && object.rows.is_none() && (object.first..=object.last).contains(&lsn.get())
    };
    let candidates: Vec<_> = (0..).zip(objects).filter(|(_, sent)| may_hold(&sent.object)).map(|(at, _)| at).collect();
    let dropped = chunk.counts.dropped > 0;
    if cut {
        let note = "its chunk had too many objects for the history, so which of them has it is not remembered";
        return Verdict { found, ..Verdict::plain(State::Unclear, Some(note)) };
    }
    match candidates[..] {
        [] if dropped => Verdict { found, ..Verdict::plain(State::Dropped, None) },
        [] => Verdict { found, ..Verdict::plain(State::Unclear, Some("no object of its chunk is known to have it")) },
        [only] if !dropped => {
            let state = match objects[only].object.holds {
                Some(Holds::Errors) => State::Failed,
                _ => State::Delivered,
            };
            found.push((only, None));
            Verdict { found, ..Verdict::plain(state, Some("where in the object it is was too much to remember")) }
        }
        _ => {
            found.extend(candidates.into_iter().map(|at| (at, None)));
            let note = if dropped {
                "it is in one of these objects, or a plugin has dropped it"
            } else {
                "it is in one of these objects"
            };
            Verdict { found, ..Verdict::plain(State::Unclear, Some(note)) }
        }
    }
}
