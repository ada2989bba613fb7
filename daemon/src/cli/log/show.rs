//! What was found, for people and for programs.

use comfy_table::{CellAlignment, Table, presets};
use hydrant_shardlog::{Compression, Damage, Opening, Seal, SegmentFacts, SegmentSurvey, ShardMap, Survey};
use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::places::Places;
use super::{Looked, rfc3339};
use crate::cli::say;
use crate::exit::chain;

/// One line for each log.
pub(super) fn overview(places: &Places, looked: &[Looked]) {
    let mut table = table(&["log", "state", "records", "first LSN", "last LSN", "segments", "bytes"]);
    for one in looked {
        let name = one.place.name.clone();
        match &one.survey {
            Ok(survey) => {
                let last = survey.next().and_then(|next| next.previous());
                table.add_row([
                    name,
                    state(survey),
                    survey.records().to_string(),
                    or_dash(survey.first()),
                    or_dash(last),
                    survey.segments.len().to_string(),
                    HumanBytes(survey.file_bytes()).to_string(),
                ]);
            }
            Err(_) => {
                table.add_row([name, "refused".to_owned()]);
            }
        }
    }
    right_from(&mut table, 2);
    say(table);
    if places.in_use() {
        say("a daemon has this data directory: the ends of its logs move on while they are looked at");
    }
}

/// All about one log.
pub(super) fn details(survey: &Survey) {
    if let Some(id) = survey.log_id {
        say(format_args!("\nlog id     {id}"));
    }
    if let Some(mark) = survey.trim_mark {
        say(format_args!("trim mark  segments to {mark} were let go"));
    }
    for path in &survey.leftover {
        say(format_args!("leftover   {}", path.display()));
    }
    for path in &survey.set_aside {
        say(format_args!("set aside  {}", path.display()));
    }
    let head =
        ["segment", "epoch", "first LSN", "last LSN", "records", "arrived", "shards", "packed", "frames end", "sealed"];
    let mut segments = table(&head);
    for segment in &survey.segments {
        segments.add_row(row(segment));
    }
    say(format_args!("\n{segments}"));
    if let Some(map) = &survey.shards {
        say(format_args!("\n{}", shards(map)));
    }
}

fn row(segment: &SegmentSurvey) -> Vec<String> {
    let Some(facts) = &segment.facts else {
        return vec![segment.number.to_string(), "damaged header".to_owned()];
    };
    let arrived = facts
        .arrived
        .map_or_else(|| "-".to_owned(), |(first, last)| format!("{} to {}", rfc3339(first), rfc3339(last)));
    let shards: Vec<_> = facts.shards.iter().map(|shard| shard.0.to_string()).collect();
    let packed: Vec<_> = facts.compressions.iter().map(|how| packed(*how)).collect();
    vec![
        segment.number.to_string(),
        facts.epoch.to_string(),
        facts.base.to_string(),
        or_dash(Some(facts.next).filter(|next| *next > facts.base).and_then(|next| next.previous())),
        facts.records.to_string(),
        arrived,
        shards.join(" "),
        packed.join(" "),
        format!("{} of {}", facts.frames_end, segment.file_bytes),
        seal(facts.seal).to_owned(),
    ]
}

fn shards(map: &ShardMap) -> Table {
    let mut shards = table(&["shard", "hash keys", "parents", "created", "closed"]);
    for shard in map.shards() {
        let parents: Vec<_> =
            shard.parent.iter().chain(&shard.adjacent_parent).map(|parent| parent.0.to_string()).collect();
        shards.add_row([
            shard.ix.0.to_string(),
            format!("{} to {}", shard.range.start.0, shard.range.end.0),
            parents.join(" "),
            rfc3339(shard.created_at),
            shard.closed.map_or_else(|| "open".to_owned(), |closed| rfc3339(closed.at)),
        ]);
    }
    shards
}

/// Damage, ranges that were given up, torn tails: a line each.
pub(super) fn problems(looked: &[Looked]) {
    for one in looked {
        let name = &one.place.name;
        let survey = match &one.survey {
            Ok(survey) => survey,
            Err(error) => {
                say(format_args!("{name}: refused: {}", chain(error)));
                continue;
            }
        };
        for damage in &survey.damage {
            say(format_args!("{name}: damaged: {}", told(damage)));
        }
        for (first, last) in survey.facts().flat_map(|facts| &facts.lost) {
            say(format_args!("{name}: LSNs {first} to {last} were lost and given up earlier"));
        }
        if let Opening::Unclosed { torn_bytes: torn @ 1.. } = survey.opening {
            say(format_args!("{name}: a torn tail of {torn} bytes, or a write under way: nothing in it was acked"));
        }
    }
}

pub(super) fn told(damage: &Damage) -> String {
    let lost = match damage.next {
        Some(next) if next == damage.first => "no record is hit".to_owned(),
        Some(next) => {
            format!("LSNs {} to {} cannot be read", damage.first, next.previous().map_or(0, |last| last.get()))
        }
        None => format!("LSNs from {} on cannot be read", damage.first),
    };
    let place = format!("`{}` at byte {}: {}", damage.segment.display(), damage.offset, damage.reason);
    let effect = if damage.stops_opening { "" } else { "; opening takes the log, readers stop there" };
    format!("{place}; {lost}{effect}")
}

/// In one word, and how it ends.
fn state(survey: &Survey) -> String {
    let damage = survey.damage.len();
    match survey.opening {
        _ if damage > 0 => format!("damaged in {damage} {}", if damage == 1 { "place" } else { "places" }),
        Opening::Empty => "empty".to_owned(),
        Opening::Whole => "whole, closed".to_owned(),
        Opening::Unclosed { torn_bytes: 0 } => "whole, not closed".to_owned(),
        Opening::Unclosed { .. } => "whole, torn tail".to_owned(),
        Opening::Corrupt => "damaged".to_owned(),
    }
}

/// One JSON document.
pub(super) fn json(places: &Places, looked: &[Looked]) {
    let logs: Vec<_> = looked.iter().map(log_json).collect();
    say(json!({ "data_dir": places.dir, "in_use": places.in_use(), "logs": logs }));
}

fn log_json(one: &Looked) -> Value {
    let place = &one.place;
    let survey = match &one.survey {
        Ok(survey) => survey,
        Err(error) => {
            return json!({ "name": place.name, "id": place.id, "path": place.dir, "opening": "refused",
                "damage": [{ "reason": chain(error) }] });
        }
    };
    let (opening, closed, torn_bytes) = match survey.opening {
        Opening::Empty => ("empty", true, 0),
        Opening::Whole => ("whole", true, 0),
        Opening::Unclosed { torn_bytes } => (if torn_bytes > 0 { "torn" } else { "whole" }, false, torn_bytes),
        Opening::Corrupt => ("corrupt", false, 0),
    };
    json!({
        "name": place.name,
        "id": place.id,
        "path": place.dir,
        "opening": opening,
        "closed": closed,
        "torn_bytes": torn_bytes,
        "log_id": survey.log_id.map(|id| id.to_string()),
        "records": survey.records(),
        "first_lsn": survey.first().map(|lsn| lsn.get()),
        "next_lsn": survey.next().map(|lsn| lsn.get()),
        "file_bytes": survey.file_bytes(),
        "trim_mark": survey.trim_mark,
        "leftover": survey.leftover,
        "set_aside": survey.set_aside,
        "segments": survey.segments.iter().map(segment_json).collect::<Vec<_>>(),
        "shards": survey.shards.as_ref().map(shards_json),
        "damage": survey.damage.iter().map(damage_json).collect::<Vec<_>>(),
    })
}

fn segment_json(segment: &SegmentSurvey) -> Value {
    let (path, number, bytes) = (&segment.path, segment.number, segment.file_bytes);
    let Some(facts) = &segment.facts else {
        return json!({ "segment": number, "path": path, "file_bytes": bytes, "header": "damaged" });
    };
    let SegmentFacts { epoch, base, next, frames_end, recycled, records, record_bytes, .. } = facts;
    json!({
        "segment": number,
        "path": path,
        "file_bytes": bytes,
        "epoch": epoch.to_string(),
        "base_lsn": base.get(),
        "next_lsn": next.get(),
        "frames_end": frames_end,
        "sealed": seal(facts.seal),
        "recycled": recycled,
        "records": records,
        "record_bytes": record_bytes,
        "first_arrival": facts.arrived.map(|(first, _)| rfc3339(first)),
        "last_arrival": facts.arrived.map(|(_, last)| rfc3339(last)),
        "shards": facts.shards.iter().map(|shard| shard.0).collect::<Vec<_>>(),
        "compression": facts.compressions.iter().map(|how| packed(*how)).collect::<Vec<_>>(),
        "lost": facts.lost.iter().map(|(first, last)| [first.get(), last.get()]).collect::<Vec<_>>(),
    })
}

fn shards_json(map: &ShardMap) -> Value {
    let one = |shard: &hydrant_shardlog::Shard| {
        json!({
            "shard": shard.ix.0,
            "parent": shard.parent.map(|parent| parent.0),
            "adjacent_parent": shard.adjacent_parent.map(|parent| parent.0),
            // As text, for 128 bits are more than a JSON number keeps.
            "first_hash_key": shard.range.start.0.to_string(),
            "last_hash_key": shard.range.end.0.to_string(),
            "created": rfc3339(shard.created_at),
            "first_lsn": shard.first.get(),
            "closed": shard.closed.map(|closed| rfc3339(closed.at)),
            "closed_before_lsn": shard.closed.map(|closed| closed.before.get()),
        })
    };
    map.shards().iter().map(one).collect()
}

pub(super) fn damage_json(damage: &Damage) -> Value {
    json!({
        "segment": damage.segment,
        "offset": damage.offset,
        "first_lsn": damage.first.get(),
        "next_lsn": damage.next.map(|lsn| lsn.get()),
        "reason": damage.reason,
        "stops_opening": damage.stops_opening,
    })
}

fn seal(seal: Seal) -> &'static str {
    match seal {
        Seal::Rolled => "rolled",
        Seal::Closed => "closed",
        Seal::Open => "no",
    }
}

fn packed(how: Compression) -> &'static str {
    match how {
        Compression::None => "none",
        Compression::Lz4 => "lz4",
        Compression::Zstd => "zstd",
    }
}

fn or_dash(value: Option<impl std::fmt::Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(head);
    table
}

fn right_from(table: &mut Table, first: usize) {
    for column in table.column_iter_mut().skip(first) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}
