//! The fields of a local date and time, as numbers and as English words.

use std::fmt::Write;

use chrono::{DateTime, Datelike, Timelike};
use chrono_tz::Tz;

use super::Style;

/// A field that prints as a number. All are positive from 1970 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    Year,
    WeekYear,
    Quarter,
    Month,
    WeekOfYear,
    WeekOfMonth,
    DayOfYear,
    DayOfMonth,
    /// 1 is Sunday.
    WeekDay,
    Hour,
    /// 24 instead of 0.
    ClockHour,
    HourOfAmPm,
    /// 12 instead of 0.
    ClockHourOfAmPm,
    Minute,
    Second,
    Nano,
    NanoOfDay,
    MilliOfDay,
}

/// A field that prints as words. Java's stand-alone forms (`L`, `q`, `c`) do not differ in English.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Text {
    Era,
    Quarter,
    Month,
    WeekDay,
    AmPm,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEK_DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const QUARTERS: [[&str; 3]; 4] =
    [["Q1", "1st quarter", "1"], ["Q2", "2nd quarter", "2"], ["Q3", "3rd quarter", "3"], ["Q4", "4th quarter", "4"]];

impl Number {
    pub(super) fn of(self, local: &DateTime<Tz>) -> u64 {
        let seconds = u64::from(local.num_seconds_from_midnight());
        let nanos = u64::from(local.nanosecond());
        let small = match self {
            Number::Year => year(local),
            Number::WeekYear => week_of_year(local).0,
            Number::Quarter => local.month0() / 3 + 1,
            Number::Month => local.month(),
            Number::WeekOfYear => week_of_year(local).1,
            Number::WeekOfMonth => week_of(local.day0(), local),
            Number::DayOfYear => local.ordinal(),
            Number::DayOfMonth => local.day(),
            Number::WeekDay => local.weekday().number_from_sunday(),
            Number::Hour => local.hour(),
            Number::ClockHour => (local.hour() + 23) % 24 + 1,
            Number::HourOfAmPm => local.hour() % 12,
            Number::ClockHourOfAmPm => (local.hour() + 11) % 12 + 1,
            Number::Minute => local.minute(),
            Number::Second => local.second(),
            Number::Nano => local.nanosecond(),
            Number::NanoOfDay => return seconds * 1_000_000_000 + nanos,
            Number::MilliOfDay => return seconds * 1_000 + nanos / 1_000_000,
        };
        u64::from(small)
    }
}

impl Text {
    pub(super) fn of(self, local: &DateTime<Tz>, style: Style) -> &'static str {
        let full = match self {
            Text::Month => MONTHS[local.month0() as usize],
            Text::WeekDay => WEEK_DAYS[local.weekday().num_days_from_sunday() as usize],
            Text::Quarter => return QUARTERS[local.month0() as usize / 3][style as usize],
            Text::Era => return ["AD", "Anno Domini", "A"][style as usize],
            Text::AmPm => return if local.hour() < 12 { "AM" } else { "PM" },
        };
        match style {
            Style::Short => &full[..3],
            Style::Full => full,
            Style::Narrow => &full[..1],
        }
    }
}

pub(super) fn push_padded(out: &mut String, number: u64, width_min: usize) {
    write!(out, "{number:0width_min$}").expect("a String takes every text");
}

pub(super) fn push_fraction(out: &mut String, local: &DateTime<Tz>, digits: usize) {
    let nine = format!("{:09}", local.nanosecond());
    out.push_str(&nine[..digits]);
}

fn year(local: &DateTime<Tz>) -> u32 {
    u32::try_from(local.year()).expect("formatted moments are of the years 1969 to 9999")
}

/// The week-based year and the week in it: the week that holds 1 January is the first of the new year.
fn week_of_year(local: &DateTime<Tz>) -> (u32, u32) {
    let saturday = local.date_naive() + chrono::Days::new(u64::from(6 - local.weekday().num_days_from_sunday()));
    if saturday.year() == local.year() { (year(local), week_of(local.ordinal0(), local)) } else { (year(local) + 1, 1) }
}

/// The week, from 1, of a day that has `before` days before it in its month or year; weeks begin on Sunday.
fn week_of(before: u32, local: &DateTime<Tz>) -> u32 {
    (before + 6 - local.weekday().num_days_from_sunday()) / 7 + 1
}
