//! Sizes and durations in human units. A number without a unit is refused, because nobody can tell what it counts.

use std::time::Duration;

const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];
const DURATIONS: &[(&str, u64)] = &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Bytes of `64 MiB` or `128 MB`. The error is a hint.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    if unit.is_empty() {
        return Err(match number.parse::<u64>() {
            Ok(bytes) if bytes >= 1 << 20 && bytes % (1 << 20) == 0 => format!("write `{}`", show_size(bytes)),
            Ok(count) => format!("a number needs its unit: write `{count} MiB`"),
            Err(_) => "write a whole number and a unit".to_owned(),
        });
    }
    scaled(number, unit, SIZES)
}

/// `60 s`, `15 m`, `24 h`, `7 d`, `500 ms`. The error is a hint.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    if unit.is_empty() {
        return Err(match number.parse::<u64>() {
            Ok(count) => format!("a number needs its unit: write `{count} s`"),
            Err(_) => "write a whole number and a unit".to_owned(),
        });
    }
    scaled(number, unit, DURATIONS).map(Duration::from_millis)
}

/// In the largest unit that divides it.
pub(crate) fn show_size(bytes: u64) -> String {
    show(bytes, &SIZES[..5])
}

pub(crate) fn show_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    // Seconds up to an hour are how Firehose's hints are known: 900 s, not 15 m.
    let units = if millis <= 3_600_000 { &DURATIONS[..2] } else { DURATIONS };
    if millis == 0 { "0 s".to_owned() } else { show(millis, units) }
}

fn show(value: u64, units: &[(&str, u64)]) -> String {
    let (unit, scale) =
        units.iter().rev().find(|(_, scale)| value != 0 && value.is_multiple_of(*scale)).unwrap_or(&units[0]);
    format!("{} {unit}", value / scale)
}

fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start_matches(' '))
}

fn scaled(number: &str, unit: &str, units: &[(&str, u64)]) -> Result<u64, String> {
    let names =
        || units.iter().filter(|(name, _)| *name != "KB").map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>();
    let Some((_, scale)) = units.iter().find(|(name, _)| *name == unit) else {
        let alike = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
        return Err(match alike {
            Some((name, _)) if !number.is_empty() => format!("write `{number} {name}`"),
            _ => format!("write a whole number and one of {}", names().join(", ")),
        });
    };
    let number: u64 = number.parse().map_err(|_| "write a whole number and a unit".to_owned())?;
    number.checked_mul(*scale).ok_or_else(|| "the number is too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_need_a_unit() {
        assert_eq!(parse_size("64 MiB"), Ok(64 << 20));
        assert_eq!(parse_size("64MiB"), Ok(64 << 20));
        assert_eq!(parse_size("128 MB"), Ok(128_000_000));
        assert_eq!(parse_size("0 B"), Ok(0));
        assert_eq!(parse_size("67108864"), Err("write `64 MiB`".to_owned()));
        assert_eq!(parse_size("64"), Err("a number needs its unit: write `64 MiB`".to_owned()));
        assert_eq!(parse_size("64 mib"), Err("write `64 MiB`".to_owned()));
        for wrong in ["", "MiB", "-1 MiB", "1.5 GiB", "64 parsecs", "99999999999 TiB"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("60 s"), Ok(Duration::from_secs(60)));
        assert_eq!(parse_duration("7 d"), Ok(Duration::from_secs(7 * 86_400)));
        assert_eq!(parse_duration("250 ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("60"), Err("a number needs its unit: write `60 s`".to_owned()));
        assert!(parse_duration("one hour").is_err());
    }

    #[test]
    fn values_are_shown_in_the_unit_people_use() {
        assert_eq!(show_size(1 << 30), "1 GiB");
        assert_eq!(show_size(1536 << 20), "1536 MiB");
        assert_eq!(show_size(1_000), "1000 B");
        assert_eq!(show_size(0), "0 B");
        assert_eq!(show_duration(Duration::from_secs(900)), "900 s");
        assert_eq!(show_duration(Duration::ZERO), "0 s");
        assert_eq!(show_duration(Duration::from_secs(86_400)), "1 d");
    }
}
