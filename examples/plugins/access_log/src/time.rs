//! The log's own time, brought to UTC.

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `17/May/2015:12:05:03 +0200` is `2015-05-17T10:05:03Z`. `None` for what is no moment.
#[must_use]
pub fn to_utc(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    if bytes.len() != 26 || !separators_fit(bytes) {
        return None;
    }
    let month = 1 + i64::try_from(MONTHS.iter().position(|name| name.as_bytes() == &bytes[3..6])?).ok()?;
    let (day, year) = (digits(&bytes[0..2])?, digits(&bytes[7..11])?);
    let (hour, minute, second) = (digits(&bytes[12..14])?, digits(&bytes[15..17])?, digits(&bytes[18..20])?);
    let (zone_hours, zone_minutes) = (digits(&bytes[22..24])?, digits(&bytes[24..26])?);
    let in_range = (1..=days_in(year, month)).contains(&day) && year >= 1 && hour < 24 && minute < 60 && second < 60;
    if !in_range || zone_hours > 14 || zone_minutes >= 60 {
        return None;
    }
    let zone = (zone_hours * 60 + zone_minutes) * if bytes[21] == b'-' { -1 } else { 1 };
    let minutes = hour * 60 + minute - zone;
    let (year, month, day) = shifted((year, month, day), minutes.div_euclid(24 * 60));
    let minutes = minutes.rem_euclid(24 * 60);
    Some(format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{second:02}Z", minutes / 60, minutes % 60))
}

fn separators_fit(bytes: &[u8]) -> bool {
    [(2, b'/'), (6, b'/'), (11, b':'), (14, b':'), (17, b':'), (20, b' ')].iter().all(|&(at, byte)| bytes[at] == byte)
        && matches!(bytes[21], b'+' | b'-')
}

fn digits(bytes: &[u8]) -> Option<i64> {
    bytes.iter().try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// A zone moves a date by one day at most.
fn shifted((year, month, day): (i64, i64, i64), days: i64) -> (i64, i64, i64) {
    match day + days {
        0 if month == 1 => (year - 1, 12, 31),
        0 => (year, month - 1, days_in(year, month - 1)),
        next if next <= days_in(year, month) => (year, month, next),
        _ if month == 12 => (year + 1, 1, 1),
        _ => (year, month + 1, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::to_utc;

    #[test]
    fn zones_move_the_date_across_months_and_years() {
        for (log, utc) in [
            ("17/May/2015:10:05:03 +0000", "2015-05-17T10:05:03Z"),
            ("01/Jan/2015:00:30:00 +0100", "2014-12-31T23:30:00Z"),
            ("31/Dec/2015:23:30:00 -0130", "2016-01-01T01:00:00Z"),
            ("01/Mar/2016:01:00:00 +0200", "2016-02-29T23:00:00Z"),
            ("28/Feb/2015:23:00:00 -0200", "2015-03-01T01:00:00Z"),
        ] {
            assert_eq!(to_utc(log).as_deref(), Some(utc), "{log}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for log in [
            "",
            "29/Feb/2015:10:05:03 +0000",
            "17/Mai/2015:10:05:03 +0000",
            "17/May/2015:24:05:03 +0000",
            "17/May/2015 10:05:03 +0000",
            "17/May/2015:10:05:03 00000",
            "+7/May/2015:10:05:03 +0000",
        ] {
            assert_eq!(to_utc(log), None, "{log}");
        }
    }
}
