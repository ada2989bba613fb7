//! The answers of `hydrant explain` for people.

use hydrant_delivery::{ChunkFacts, ObjectFacts, Placed, RecordState};

use super::{ObjectAnswer, RecordAnswer, Replay};
use crate::cli::log::rfc3339;
use crate::cli::replay::Replayed;
use crate::cli::say;

pub(super) fn record(answer: &RecordAnswer) {
    let explained = &answer.explained;
    say(format_args!("record {} of {}: {}", explained.lsn, answer.delivery_stream, told(explained.state)));
    if let Some(note) = &explained.note {
        line("note", note);
    }
    for place in &explained.places {
        placed(place);
    }
    for Replay { line: number, replayed, .. } in &answer.replays {
        line("replayed", &format!("its line {number} {}", since(*replayed)));
    }
    explained.chunk.iter().for_each(chunk);
}

pub(super) fn object(answer: &ObjectAnswer) {
    let object = &answer.object;
    let kind = if object.is_request { "request" } else { "object" };
    say(format_args!("{kind} {} of {}", object.key, answer.delivery_stream));
    line("at", &object.place);
    let what = match object.holds {
        "errors" => "error records",
        "sources" => "records as they were put",
        _ => "records",
    };
    line("holds", &format!("{} {what}, {} bytes", object.records, object.bytes));
    line("records", &format!("{} to {}; others between them may be elsewhere", object.first, object.last));
    way(object);
    chunk(&answer.chunk);
}

fn told(state: RecordState) -> &'static str {
    match state {
        RecordState::Delivered => "delivered",
        RecordState::Failed => "failed, it is in the error output",
        RecordState::Dropped => "dropped by a plugin",
        RecordState::Lost => "lost, the log had damaged it",
        RecordState::Expired => "expired before it was delivered",
        RecordState::Discarded => "discarded by an operator",
        RecordState::Redirected => "redirected by an operator",
        RecordState::Divided => "divided, and delivered in part",
        RecordState::Staged => "staged, and on its way; `hydrant status` tells what keeps it",
        RecordState::Backlog => "waiting in the log",
        RecordState::NotStored => "not stored, the log has no such record",
        RecordState::BeforeOrigin => "older than the delivery stream, which does not take it",
        RecordState::Replaced => "not the record that is meant",
        RecordState::Forgotten => "settled, and how is not remembered",
        RecordState::Unclear => "unclear",
    }
}

fn since(replayed: Replayed) -> &'static str {
    match replayed {
        Replayed::PutAgain => "was put again by `hydrant replay`, as a new record",
        Replayed::InDoubt => "was on its way when `hydrant replay` was interrupted, and may have been put again",
        Replayed::Staged => "is staged for the destination by `hydrant replay --to-destination`, which has not ended",
        Replayed::Delivered => "was delivered by `hydrant replay --to-destination`, or dropped by a plugin on its way",
    }
}

fn placed(place: &Placed) {
    let object = &place.object;
    let what = match (object.is_request, object.holds) {
        (true, _) => "request",
        (false, "errors") => "error object",
        (false, "sources") => "backup object",
        (false, _) => "object",
    };
    line(what, &format!("{} at {}", object.key, object.place));
    let Some(position) = place.position else { return way(object) };
    let part = place.sub.filter(|sub| *sub > 0).map(|sub| format!("part {sub} of it, ")).unwrap_or_default();
    let row = if object.key.ends_with(".parquet") { "row" } else { "line" };
    let row = if place.row_each { format!(", its {row} {position}") } else { String::new() };
    line("", &format!("{part}record {position} of {}{row}", object.records));
    way(object);
}

fn way(object: &ObjectFacts) {
    line("sha256", &object.sha256);
    match object.attempts {
        Some(1) | None => {}
        Some(attempts) => line("attempts", &attempts.to_string()),
    }
    if let Some(error) = &object.last_error {
        line("last error", error);
    }
}

fn chunk(chunk: &ChunkFacts) {
    let done = chunk.done_at().map_or_else(|| "not done".to_owned(), |at| format!("done {}", rfc3339(at)));
    line("chunk", &format!("{}, records {} to {}, {done}", chunk.chunk, chunk.from, chunk.to));
}

fn line(what: &str, text: &str) {
    say(format_args!("  {what:<14}{text}"));
}
