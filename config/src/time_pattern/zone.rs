//! Offsets and names of time zones.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::LazyLock;

use chrono::{DateTime, Offset};
use chrono_tz::{OffsetComponents, OffsetName, Tz};

use super::Style;

/// How `X`, `x` and `Z` print an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OffsetShape {
    colons: bool,
    minutes: Part,
    seconds: Part,
    /// What stands for no offset, if it differs from the shape.
    zero: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Never,
    UnlessZero,
    Always,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ZoneName {
    /// Of standard or daylight saving time, as the moment is: `PST`, `PDT`.
    Specific,
    /// Of both: `PT`.
    Generic,
}

/// Java's English names of a zone: standard, daylight saving, generic; short each, then in full.
type Names = [&'static str; 6];

static NAMES: LazyLock<HashMap<&'static str, Names>> = LazyLock::new(|| {
    let mut names = HashMap::new();
    for line in include_str!("zone_names.tsv").lines() {
        let columns: Vec<&'static str> = line.split('\t').collect();
        if let [a, b, c, d, e, f, zones] = columns[..] {
            names.extend(zones.split(' ').map(|zone| (zone, [a, b, c, d, e, f])));
        }
    }
    names
});

impl OffsetShape {
    /// `Z` to `ZZZ`, and `ZZZZZ`.
    pub(super) fn of_z(count: usize) -> OffsetShape {
        if count == 5 {
            OffsetShape::of_x(5, true)
        } else {
            OffsetShape { colons: false, minutes: Part::Always, seconds: Part::Never, zero: None }
        }
    }

    /// `X` to `XXXXX`, `x` to `xxxxx`.
    pub(super) fn of_x(count: usize, z_for_zero: bool) -> OffsetShape {
        OffsetShape {
            colons: count == 3 || count == 5,
            minutes: if count == 1 { Part::UnlessZero } else { Part::Always },
            seconds: if count >= 4 { Part::UnlessZero } else { Part::Never },
            zero: z_for_zero.then_some("Z"),
        }
    }

    pub(super) fn push(self, out: &mut String, local: &DateTime<Tz>) {
        let seconds = local.offset().fix().local_minus_utc();
        let (hours, minutes, rest) = parts(seconds);
        let shown_as_zero = hours == 0 && minutes == 0 && (rest == 0 || self.seconds == Part::Never);
        match self.zero {
            Some(zero) if shown_as_zero => return out.push_str(zero),
            _ => push_sign(out, seconds, shown_as_zero),
        }
        let colon = if self.colons { ":" } else { "" };
        push(out, format_args!("{hours:02}"));
        if self.minutes == Part::Always || minutes != 0 {
            push(out, format_args!("{colon}{minutes:02}"));
        }
        if self.seconds == Part::UnlessZero && rest != 0 {
            push(out, format_args!("{colon}{rest:02}"));
        }
    }
}

impl ZoneName {
    pub(super) fn push(self, out: &mut String, local: &DateTime<Tz>, style: Style) {
        let zone = local.timezone().name();
        let Some(names) = NAMES.get(zone) else {
            return push_unnamed(out, local);
        };
        let full = if style == Style::Full { 3 } else { 0 };
        out.push_str(match self {
            ZoneName::Generic => names[full + 2],
            ZoneName::Specific if is_daylight_saving(local) => names[full + 1],
            ZoneName::Specific => names[full],
        });
    }
}

/// `GMT`, `GMT-3:30`; in full `GMT-03:30`. Seconds are shown if there are any.
pub(super) fn push_gmt_offset(out: &mut String, local: &DateTime<Tz>, full: bool) {
    out.push_str("GMT");
    let seconds = local.offset().fix().local_minus_utc();
    if seconds == 0 {
        return;
    }
    let (hours, minutes, rest) = parts(seconds);
    push_sign(out, seconds, false);
    let width = if full { 2 } else { 1 };
    push(out, format_args!("{hours:0width$}"));
    if full || minutes != 0 || rest != 0 {
        push(out, format_args!(":{minutes:02}"));
    }
    if rest != 0 {
        push(out, format_args!(":{rest:02}"));
    }
}

/// Zones younger than the table.
fn push_unnamed(out: &mut String, local: &DateTime<Tz>) {
    match local.offset().abbreviation() {
        Some(name) if name.starts_with(|c: char| c.is_ascii_alphabetic()) => out.push_str(name),
        _ => push_gmt_offset(out, local, true),
    }
}

/// In Ireland the law calls winter the exception; Java calls summer so, and names the zone's times by that.
fn is_daylight_saving(local: &DateTime<Tz>) -> bool {
    let saved = local.offset().dst_offset().num_seconds();
    if matches!(local.timezone(), Tz::Europe__Dublin | Tz::Eire) {
        return local.offset().fix().local_minus_utc() != 0;
    }
    saved != 0
}

fn parts(seconds: i32) -> (u32, u32, u32) {
    let seconds = seconds.unsigned_abs();
    (seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn push_sign(out: &mut String, seconds: i32, shown_as_zero: bool) {
    out.push(if seconds < 0 && !shown_as_zero { '-' } else { '+' });
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a String takes every text");
}
