//! Java's `DateTimeFormatter` patterns, for formatting, in the English locale.
//!
//! A parsed pattern formats every moment: whatever could fail, fails in [`TimePattern::parse`].
//! What Java 17 prints is the rule; `time_pattern/golden.tsv` holds it, written by `time_pattern/Golden.java`.

mod field;
mod parse;
mod zone;

#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use hydrant_record::Timestamp;

use field::{Number, Text};
use zone::{OffsetShape, ZoneName};

/// The last moment that is printed as it is; later ones print as this, for years stay four digits long.
const LAST_MILLIS: i64 = 253_402_127_999_999; // 9999-12-29T23:59:59.999Z

/// A parsed pattern. Weeks are those of Java's `Locale.ENGLISH`: they begin on Sunday, and the week of 1 January is week 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TimePattern {
    items: Vec<Item>,
}

/// One letter run, or text between them.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    Literal(String),
    Number {
        number: Number,
        width_min: usize,
    },
    /// The last two digits.
    TwoDigits(Number),
    Text(Text, Style),
    /// So many digits of the second's fraction, cut off, not rounded.
    Fraction(usize),
    Offset(OffsetShape),
    /// `GMT+8`, in full `GMT+08:00`.
    GmtOffset {
        full: bool,
    },
    ZoneName(ZoneName, Style),
    ZoneId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Short,
    Full,
    Narrow,
}

impl TimePattern {
    /// `Err` has the byte offset in the pattern, and what is wrong there.
    pub(crate) fn parse(pattern: &str) -> Result<TimePattern, (usize, String)> {
        parse::items(pattern).map(|items| TimePattern { items })
    }

    /// Appends the moment, as the zone's clocks show it.
    pub(crate) fn format(&self, time: Timestamp, zone: Tz, out: &mut String) {
        let millis = i64::try_from(time.as_millis()).unwrap_or(LAST_MILLIS).min(LAST_MILLIS);
        let utc = DateTime::<Utc>::from_timestamp_millis(millis).expect("years 1970 to 9999 are in chrono's range");
        let local = utc.with_timezone(&zone);
        for item in &self.items {
            match item {
                Item::Literal(text) => out.push_str(text),
                Item::Number { number, width_min } => field::push_padded(out, number.of(&local), *width_min),
                Item::TwoDigits(number) => field::push_padded(out, number.of(&local) % 100, 2),
                Item::Text(text, style) => out.push_str(text.of(&local, *style)),
                Item::Fraction(digits) => field::push_fraction(out, &local, *digits),
                Item::Offset(shape) => shape.push(out, &local),
                Item::GmtOffset { full } => zone::push_gmt_offset(out, &local, *full),
                Item::ZoneName(name, style) => name.push(out, &local, *style),
                Item::ZoneId => out.push_str(zone.name()),
            }
        }
    }
}
