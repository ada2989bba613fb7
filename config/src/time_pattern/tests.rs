//! Against what Java 17 printed (`golden.tsv`), and the errors.

use super::*;

const GOLDEN: &str = include_str!("golden.tsv");

fn formatted(pattern: &str, millis: u64, zone: Tz) -> String {
    let mut out = String::new();
    TimePattern::parse(pattern).unwrap().format(Timestamp::from_millis(millis), zone, &mut out);
    out
}

#[test]
fn prints_what_java_prints() {
    let mut lines = GOLDEN.lines();
    let moments: Vec<u64> = lines.next().unwrap().split('\t').skip(2).map(|millis| millis.parse().unwrap()).collect();
    let mut checked = 0;
    let mut wrong = Vec::new();
    for line in lines.filter(|line| !line.starts_with("refused\t")) {
        let columns: Vec<&str> = line.split('\t').collect();
        let zone: Tz = columns[0].parse().unwrap();
        assert_eq!(columns.len(), moments.len() + 2, "{line}");
        for (millis, java) in moments.iter().zip(&columns[2..]) {
            let ours = formatted(columns[1], *millis, zone);
            if ours != *java {
                wrong.push(format!("{} {} {millis}: ours `{ours}`, java's `{java}`", columns[0], columns[1]));
            }
            checked += 1;
        }
    }
    assert!(wrong.is_empty(), "{} of {checked}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(checked > 5_000, "{checked}");
}

#[test]
fn refuses_what_java_refuses() {
    let refused: Vec<&str> = GOLDEN.lines().filter_map(|line| line.strip_prefix("refused\t")).collect();
    assert!(refused.len() > 25);
    for pattern in refused {
        assert!(TimePattern::parse(pattern).is_err(), "{pattern}");
    }
}

#[test]
fn an_error_says_where_and_what_is_allowed() {
    let (offset, message) = TimePattern::parse("yyyy/é/bb").unwrap_err();
    assert_eq!(offset, 8);
    assert!(message.starts_with("`b` stands for nothing here, allowed are G y u Y M L"), "{message}");
    assert!(message.ends_with("text goes into quotes: `'b'`"), "{message}");
    assert_eq!(
        TimePattern::parse("yyyy-MM-ddd").unwrap_err(),
        (8, "got 3 of the letter `d`, allowed are at most 2".into())
    );
    assert_eq!(TimePattern::parse("yy{").unwrap_err(), (2, "`{` is reserved, write it as `'{'`".into()));
    assert_eq!(TimePattern::parse("HH'h").unwrap_err().0, 2);
    assert_eq!(TimePattern::parse("HH]").unwrap_err().0, 2);
}

#[test]
fn literals_need_not_be_ascii() {
    assert_eq!(formatted("'Jahr 'yyyy'年 – '''MM", 0, Tz::UTC), "Jahr 1970年 – '01");
    assert_eq!(formatted("yyyy年MM", 0, Tz::UTC), "1970年01");
}

#[test]
fn a_moment_after_the_year_9999_prints_as_the_last() {
    assert_eq!(formatted("yyyy-MM-dd HH:mm", u64::MAX, Tz::Pacific__Kiritimati), "9999-12-30 13:59");
}

#[test]
fn every_zone_has_a_name_and_an_offset() {
    for zone in chrono_tz::TZ_VARIANTS {
        for pattern in ["z", "zzzz", "v", "vvvv", "OOOO", "VV", "XXXXX"] {
            assert!(!formatted(pattern, 1_700_000_000_000, zone).is_empty(), "{zone} {pattern}");
        }
    }
}
