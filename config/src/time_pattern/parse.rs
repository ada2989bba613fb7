//! Pattern text to items, by the rules of `DateTimeFormatterBuilder.appendPattern`.

use super::field::{Number, Text};
use super::zone::{OffsetShape, ZoneName};
use super::{Item, Style};

/// Every letter that stands for something.
const LETTERS: &str = "G y u Y M L Q q w W D d E e c a H h K k m s S A n N V v z O X x Z";

/// The error of a letter run; the caller knows where it stands.
type Parsed = Result<Item, String>;

pub(super) fn items(pattern: &str) -> Result<Vec<Item>, (usize, String)> {
    let mut items = Vec::new();
    let mut open_sections = 0_usize;
    let mut at = 0;
    while let Some(c) = pattern[at..].chars().next() {
        match c {
            'A'..='Z' | 'a'..='z' => {
                let count = pattern[at..].chars().take_while(|&next| next == c).count();
                items.push(letters(c, count).map_err(|message| (at, message))?);
                at += count;
                continue;
            }
            '\'' => {
                at += quoted(&pattern[at..], &mut items).map_err(|message| (at, message))?;
                continue;
            }
            '{' | '}' | '#' => return Err((at, format!("`{c}` is reserved, write it as `'{c}'`"))),
            // An optional section always prints, for every moment has every field.
            '[' => open_sections += 1,
            ']' if open_sections == 0 => return Err((at, "`]` without a `[` before it, write it as `']'`".into())),
            ']' => open_sections -= 1,
            _ => push_literal(&mut items, c),
        }
        at += c.len_utf8();
    }
    Ok(items)
}

/// The length of the quoted text, quotes included. `''` is one quote, in quoted text and out of it.
fn quoted(text: &str, items: &mut Vec<Item>) -> Result<usize, String> {
    if text.starts_with("''") {
        push_literal(items, '\'');
        return Ok(2);
    }
    let mut at = 1;
    while let Some(c) = text[at..].chars().next() {
        at += c.len_utf8();
        if c == '\'' {
            if !text[at..].starts_with('\'') {
                return Ok(at);
            }
            at += 1;
        }
        push_literal(items, c);
    }
    Err("the quote has no end, write `''` for a quote itself".into())
}

fn push_literal(items: &mut Vec<Item>, c: char) {
    match items.last_mut() {
        Some(Item::Literal(text)) => text.push(c),
        _ => items.push(Item::Literal(c.into())),
    }
}

fn letters(letter: char, count: usize) -> Parsed {
    match letter {
        'y' | 'u' => year(letter, count, Number::Year),
        'Y' => year(letter, count, Number::WeekYear),
        'M' | 'L' => number_or_text(letter, count, Number::Month, Text::Month),
        'Q' | 'q' => number_or_text(letter, count, Number::Quarter, Text::Quarter),
        'e' => number_or_text(letter, count, Number::WeekDay, Text::WeekDay),
        'c' if count == 2 => Err("`cc` is no number, allowed are `c`, `ccc`, `cccc`, `ccccc`".into()),
        'c' => number_or_text(letter, count, Number::WeekDay, Text::WeekDay),
        'E' => Ok(Item::Text(Text::WeekDay, text_style(letter, count)?)),
        'G' => Ok(Item::Text(Text::Era, text_style(letter, count)?)),
        'a' => up_to(letter, count, 1).map(|_| Item::Text(Text::AmPm, Style::Short)),
        'd' => number(letter, count, 2, Number::DayOfMonth),
        'D' => number(letter, count, 3, Number::DayOfYear),
        'w' => number(letter, count, 2, Number::WeekOfYear),
        'W' => number(letter, count, 1, Number::WeekOfMonth),
        'H' => number(letter, count, 2, Number::Hour),
        'h' => number(letter, count, 2, Number::ClockHourOfAmPm),
        'K' => number(letter, count, 2, Number::HourOfAmPm),
        'k' => number(letter, count, 2, Number::ClockHour),
        'm' => number(letter, count, 2, Number::Minute),
        's' => number(letter, count, 2, Number::Second),
        'S' => up_to(letter, count, 9).map(Item::Fraction),
        'n' => number(letter, count, 19, Number::Nano),
        'N' => number(letter, count, 19, Number::NanoOfDay),
        'A' => number(letter, count, 19, Number::MilliOfDay),
        'V' if count == 2 => Ok(Item::ZoneId),
        'V' => Err(format!("got {count} of the letter `V`, allowed is `VV`")),
        'z' => up_to(letter, count, 4).map(|_| Item::ZoneName(ZoneName::Specific, short_or_full(count))),
        'v' if count == 1 || count == 4 => Ok(Item::ZoneName(ZoneName::Generic, short_or_full(count))),
        'O' if count == 1 || count == 4 => Ok(Item::GmtOffset { full: count == 4 }),
        'v' | 'O' => Err(format!("got {count} of the letter `{letter}`, allowed are 1 and 4")),
        'Z' if count == 4 => Ok(Item::GmtOffset { full: true }),
        'Z' => up_to(letter, count, 5).map(|count| Item::Offset(OffsetShape::of_z(count))),
        'X' => up_to(letter, count, 5).map(|count| Item::Offset(OffsetShape::of_x(count, true))),
        'x' => up_to(letter, count, 5).map(|count| Item::Offset(OffsetShape::of_x(count, false))),
        _ => Err(format!(
            "`{letter}` stands for nothing here, allowed are {LETTERS}; text goes into quotes: `'{letter}'`"
        )),
    }
}

fn year(letter: char, count: usize, number: Number) -> Parsed {
    match up_to(letter, count, 19)? {
        2 => Ok(Item::TwoDigits(number)),
        width_min => Ok(Item::Number { number, width_min }),
    }
}

fn number(letter: char, count: usize, count_max: usize, number: Number) -> Parsed {
    up_to(letter, count, count_max).map(|width_min| Item::Number { number, width_min })
}

fn number_or_text(letter: char, count: usize, number: Number, text: Text) -> Parsed {
    match count {
        1 | 2 => Ok(Item::Number { number, width_min: count }),
        _ => Ok(Item::Text(text, text_style(letter, count)?)),
    }
}

fn text_style(letter: char, count: usize) -> Result<Style, String> {
    up_to(letter, count, 5).map(|count| match count {
        4 => Style::Full,
        5 => Style::Narrow,
        _ => Style::Short,
    })
}

fn short_or_full(count: usize) -> Style {
    if count == 4 { Style::Full } else { Style::Short }
}

fn up_to(letter: char, count: usize, count_max: usize) -> Result<usize, String> {
    if count <= count_max {
        Ok(count)
    } else {
        Err(format!("got {count} of the letter `{letter}`, allowed are at most {count_max}"))
    }
}
