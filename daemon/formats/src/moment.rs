//! Dates and timestamps out of text and numbers. Years 1 to 9999 only: what is outside was not meant as a time, and
//! many readers fail on it.

use chrono::{Datelike, NaiveDate};

use crate::number::{Exact, NumberFault};

/// Days from 0001-01-01 to 1970-01-01, in chrono's count from the common era.
const EPOCH_DAY: i32 = 719_163;
const DAYS: std::ops::RangeInclusive<i64> = -719_162..=2_932_896;
const MICROS_PER_DAY: i64 = 86_400_000_000;
const MICROS: std::ops::Range<i64> = *DAYS.start() * MICROS_PER_DAY..(*DAYS.end() + 1) * MICROS_PER_DAY;
/// From here on a number counts milliseconds: as seconds it would be in the year 5138, as milliseconds it is in 1973.
const MILLIS_FROM: i128 = 100_000_000_000;

/// `yyyy-MM-dd` as days since 1970-01-01.
pub(crate) fn parse_date(text: &str) -> Option<i32> {
    let mut cursor = Cursor(text.as_bytes());
    let date = cursor.date()?;
    (cursor.0.is_empty() && text.len() == 10).then_some(date)
}

/// Whole days since 1970-01-01.
pub(crate) fn date_from_number(days: i64) -> Result<i32, NumberFault> {
    if !DAYS.contains(&days) {
        return Err(NumberFault::OutOfRange);
    }
    i32::try_from(days).map_err(|_| NumberFault::OutOfRange)
}

/// Microseconds since 1970 of `yyyy-MM-dd`, `T` or a space, `HH:mm:ss[.fraction]`, then `Z`, `±HH:mm`, `±HHmm` or `±HH`.
/// No zone means UTC. Digits beyond microseconds are cut.
pub(crate) fn parse_timestamp(text: &str) -> Option<i64> {
    let mut cursor = Cursor(text.as_bytes());
    let day = cursor.date()?;
    if !matches!(cursor.next()?, b'T' | b't' | b' ') {
        return None;
    }
    let time = cursor.time_micros()?;
    let offset_minutes = cursor.zone_minutes()?;
    let micros = i64::from(day) * MICROS_PER_DAY + time - offset_minutes * 60_000_000;
    (cursor.0.is_empty() && MICROS.contains(&micros)).then_some(micros)
}

/// Seconds or milliseconds since 1970, told apart by magnitude, with or without a fraction.
pub(crate) fn timestamp_from_number(number: Exact) -> Result<i64, NumberFault> {
    let as_seconds = number.floored(6)?;
    let micros = if as_seconds.unsigned_abs() < MILLIS_FROM.unsigned_abs() * 1_000_000 {
        as_seconds
    } else {
        number.floored(3)?
    };
    i64::try_from(micros).ok().filter(|micros| MICROS.contains(micros)).ok_or(NumberFault::OutOfRange)
}

/// What is left of a text; every method takes its part off the front.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    /// Between `least` and `most` digits.
    fn digits(&mut self, least: usize, most: usize) -> Option<u32> {
        let count = self.0.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
        if count < least {
            return None;
        }
        let (digits, rest) = self.0.split_at(count);
        self.0 = rest;
        Some(digits.iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0')))
    }

    fn date(&mut self) -> Option<i32> {
        let year = i32::try_from(self.digits(4, 4)?).ok()?;
        self.expect(b'-')?;
        let month = self.digits(1, 2)?;
        self.expect(b'-')?;
        let day = self.digits(1, 2)?;
        let date = NaiveDate::from_ymd_opt(year, month, day)?;
        (year >= 1).then(|| date.num_days_from_ce() - EPOCH_DAY)
    }

    fn time_micros(&mut self) -> Option<i64> {
        let hour = self.digits(2, 2)?;
        self.expect(b':')?;
        let minute = self.digits(2, 2)?;
        self.expect(b':')?;
        let second = self.digits(2, 2)?;
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let mut nanos = 0;
        if self.0.first() == Some(&b'.') {
            self.next();
            let before = self.0.len();
            let fraction = self.digits(1, 9)?;
            let places = u32::try_from(before - self.0.len()).ok()?;
            nanos = fraction * 10u32.pow(9 - places);
        }
        let seconds = hour * 3600 + minute * 60 + second;
        Some(i64::from(seconds) * 1_000_000 + i64::from(nanos / 1000))
    }

    /// Minutes east of UTC.
    fn zone_minutes(&mut self) -> Option<i64> {
        let sign = match self.0.first() {
            None => return Some(0),
            Some(b'Z' | b'z') => {
                self.next();
                return Some(0);
            }
            Some(b'+') => 1,
            Some(b'-') => -1,
            Some(_) => return None,
        };
        self.next();
        let hours = self.digits(2, 2)?;
        let minutes = match self.0.first() {
            None => 0,
            Some(b':') => {
                self.next();
                self.digits(2, 2)?
            }
            Some(_) => self.digits(2, 2)?,
        };
        (hours <= 18 && minutes <= 59).then(|| sign * i64::from(hours * 60 + minutes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_of_text() {
        let base = 1_709_210_096_000_000;
        let cases = [
            ("2024-02-29T12:34:56Z", Some(base)),
            ("2024-02-29t12:34:56z", Some(base)),
            ("2024-02-29 12:34:56", Some(base)),
            ("2024-2-29 12:34:56.5", Some(base + 500_000)),
            ("2024-02-29T12:34:56.123456789Z", Some(base + 123_456)),
            ("2024-02-29T14:34:56+02:00", Some(base)),
            ("2024-02-29T14:34:56+0200", Some(base)),
            ("2024-02-29T10:34:56-02", Some(base)),
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1969-12-31T23:59:59.999999Z", Some(-1)),
            ("2023-02-29T12:34:56Z", None),
            ("2024-02-29T24:00:00Z", None),
            ("2024-02-29T12:34:56.Z", None),
            ("2024-02-29T12:34:56.1234567890Z", None),
            ("2024-02-29T12:34:56 Z", None),
            ("2024-02-29T12:34Z", None),
            ("2024-02-29", None),
            ("0000-01-01T00:00:00Z", None),
            ("0001-01-01T00:00:00+01:00", None),
            ("2024-02-29T12:34:56+19:00", None),
            ("2024-02-29T12:34:56+02:", None),
            ("yesterday", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_timestamp(text), expected, "{text:?}");
        }
    }

    #[test]
    fn timestamps_of_numbers() {
        let cases = [
            ("0", Ok(0)),
            ("1700000000", Ok(1_700_000_000_000_000)),
            ("1700000000.1234567", Ok(1_700_000_000_123_456)),
            ("1.7e9", Ok(1_700_000_000_000_000)),
            ("1700000000123", Ok(1_700_000_000_123_000)),
            ("-1", Ok(-1_000_000)),
            ("99999999999", Ok(99_999_999_999_000_000)),
            ("100000000000", Ok(100_000_000_000_000)),
            ("1700000000123456", Err(NumberFault::OutOfRange)),
            ("1e300", Err(NumberFault::OutOfRange)),
        ];
        for (text, expected) in cases {
            assert_eq!(Exact::parse(text).and_then(timestamp_from_number), expected, "{text:?}");
        }
    }

    #[test]
    fn dates() {
        assert_eq!(parse_date("1970-01-01"), Some(0));
        assert_eq!(parse_date("2024-02-29"), Some(19_782));
        assert_eq!(parse_date("0001-01-01"), Some(-719_162));
        assert_eq!(parse_date("9999-12-31"), Some(2_932_896));
        for text in ["2024-2-29", "2024-02-30", "20240229", "2024-02-29T00:00:00Z", ""] {
            assert_eq!(parse_date(text), None, "{text:?}");
        }
        assert_eq!(date_from_number(19_782), Ok(19_782));
        assert_eq!(date_from_number(20_240_229), Err(NumberFault::OutOfRange));
    }
}
