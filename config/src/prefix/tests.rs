use chrono_tz::Tz;
use proptest::prelude::*;

use super::escape::{EMPTY, push_escaped};
use super::*;

/// 2018-08-27T10:30:00Z, the example of the developer guide.
const TIME: Timestamp = Timestamp::from_millis(1_535_365_800_000);

fn evaluated(prefix: &Prefix, partition: &Partition) -> String {
    let mut calls = 0;
    let mut random = || {
        calls += 1;
        let mut bytes = *b"\x04\x6b\x6c\x7f\x0b\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b";
        bytes[4] = calls;
        bytes
    };
    let mut values = PrefixValues {
        time: TIME,
        time_zone: Tz::UTC,
        error_output_type: Some("processing-failed"),
        random: &mut random,
    };
    prefix.evaluate(partition, &mut values)
}

fn plain(text: &str, kind: PrefixKind) -> String {
    let prefix = Prefix::parse(text, kind).unwrap();
    evaluated(&prefix, &prefix.partition(&|_, _| None).unwrap())
}

fn refused(text: &str, kind: PrefixKind) -> String {
    let error = Prefix::parse(text, kind).unwrap_err();
    let hint = error.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
    format!("{}: {}{hint}", error.offset, error.message)
}

fn escaped(value: &str) -> String {
    let mut out = String::new();
    push_escaped(&mut out, value);
    out
}

#[test]
fn the_guides_examples() {
    use PrefixKind::{ErrorOutput, Output};
    assert_eq!(
        plain("myFirehose/DeliveredYear=!{timestamp:yyyy}/anyMonth/rand=!{firehose:random-string}", Output),
        "myFirehose/DeliveredYear=2018/anyMonth/rand=046b6c7f-01"
    );
    assert_eq!(
        plain(
            "myFirehoseFailures/!{firehose:error-output-type}/!{timestamp:yyyy}/anyMonth/!{timestamp:dd}",
            ErrorOutput
        ),
        "myFirehoseFailures/processing-failed/2018/anyMonth/27"
    );
    assert_eq!(
        plain(
            "myPrefix/year=!{timestamp:yyyy}/month=!{timestamp:MM}/day=!{timestamp:dd}/hour=!{timestamp:HH}/",
            Output
        ),
        "myPrefix/year=2018/month=08/day=27/hour=10/"
    );
    assert_eq!(plain("legacy", Output), "legacy");
    assert_eq!(plain("", Output), "");
    assert_eq!(plain("a!b{c}!", Output), "a!b{c}!");
    assert_eq!(plain("!{timestamp:'}!{'yyyy}", Output), "}!{2018");
}

#[test]
fn each_random_string_is_fresh() {
    assert_eq!(
        plain("!{firehose:random-string}/!{firehose:random-string}", PrefixKind::Output),
        "046b6c7f-01/046b6c7f-02"
    );
}

#[test]
fn the_zone_of_the_values_counts() {
    let prefix = Prefix::parse("!{timestamp:HH XXX}", PrefixKind::Output).unwrap();
    let partition = prefix.partition(&|_, _| None).unwrap();
    let mut values =
        PrefixValues { time: TIME, time_zone: Tz::Asia__Tokyo, error_output_type: None, random: &mut || [0; 16] };
    assert_eq!(prefix.evaluate(&partition, &mut values), "19 +09:00");
}

#[test]
fn keys_are_filled_in_per_namespace() {
    let text =
        "c=!{partitionKeyFromQuery:id}/y=!{partitionKeyFromLambda:id}/!{timestamp:HH}/!{partitionKeyFromQuery:id}";
    let prefix = Prefix::parse(text, PrefixKind::Output).unwrap();
    assert_eq!(prefix.text(), text);
    assert!(prefix.has_expressions() && prefix.has_timestamp() && !prefix.has_error_output_type());
    let keys: Vec<_> = prefix.keys().iter().cloned().collect();
    assert_eq!(keys, [(KeySource::Query, "id".to_owned()), (KeySource::Lambda, "id".to_owned())]);
    let of = |query: &'static str| {
        prefix.partition(&|source, _| Some(if source == KeySource::Query { query } else { "l/1" })).unwrap()
    };
    assert_eq!(evaluated(&prefix, &of("ü b")), "c=ü b/y=l%2F1/10/ü b");
    assert_eq!(of("a"), of("a"));
    assert_ne!(of("a"), of("b"));
    assert_ne!(of("a/"), of("a%2F"));
    assert_eq!(prefix.partition(&|_, _| None), Err("id".to_owned()));
}

#[test]
fn a_prefix_without_keys_shares_one_partition() {
    let prefix = Prefix::parse("a/!{timestamp:HH}/", PrefixKind::Output).unwrap();
    let [one, two] = [(); 2].map(|()| prefix.partition(&|_, _| None).unwrap());
    assert!(Arc::ptr_eq(&one.0, &two.0));
}

#[test]
fn a_partition_of_an_older_prefix_keeps_its_own_shape() {
    let old = Prefix::parse("old/!{timestamp:yyyy}/!{firehose:random-string}", PrefixKind::Output).unwrap();
    let new = Prefix::parse("new/!{timestamp:HH}", PrefixKind::Output).unwrap();
    let spooled = old.partition(&|_, _| None).unwrap().as_bytes().to_vec();
    assert_eq!(evaluated(&new, &Partition::from_bytes(&spooled).unwrap()), "old/2018/046b6c7f-01");
}

#[test]
fn bytes_that_are_no_partition() {
    for bytes in [&b"\xff"[..], b"a\x01yyyy", b"a\x01bb\x02", b"\x05", b"a\x02b", b"\x7f", b"a\nb"] {
        assert_eq!(Partition::from_bytes(bytes), None, "{bytes:?}");
    }
}

#[test]
fn values_escape_as_hive_does() {
    assert_eq!(escaped(""), EMPTY);
    assert_eq!(escaped("."), "%2E");
    assert_eq!(escaped(".."), "%2E%2E");
    assert_eq!(escaped("..."), "...");
    assert_eq!(escaped("../etc"), "..%2Fetc");
    assert_eq!(escaped("2024-01-01 10:30"), "2024-01-01 10%3A30");
    assert_eq!(escaped("\u{0}\n\u{1f}\u{7f}"), "%00%0A%1F%7F");
    assert_eq!(escaped("\"#%'*/:=?\\{[]^"), "%22%23%25%27%2A%2F%3A%3D%3F%5C%7B%5B%5D%5E");
    assert_eq!(escaped("a}b|c&d+e<f>g,h;é漢"), "a}b|c&d+e<f>g,h;é漢");
}

#[test]
fn malformed_expressions_say_where_and_what_is_allowed() {
    use PrefixKind::{ErrorOutput, Output};
    let cases = [
        (
            Output,
            "a/!{timestamp:yyyy",
            "2: the expression has no end, got no `}` after `!{` (write `}` after it; `!{` may stand only at the start of an expression)",
        ),
        (
            Output,
            "é/!{date}",
            "3: got `!{date}`, allowed is `!{namespace:value}` (for example `!{timestamp:yyyy/MM/dd}`)",
        ),
        (
            Output,
            "!{Timestamp:yyyy}",
            "2: got the namespace `Timestamp`, allowed: `timestamp`, `firehose`, `partitionKeyFromQuery`, `partitionKeyFromLambda` (did you mean `timestamp`?)",
        ),
        (
            Output,
            "!{:yyyy}",
            "2: got the namespace ``, allowed: `timestamp`, `firehose`, `partitionKeyFromQuery`, `partitionKeyFromLambda`",
        ),
        (Output, "x!{timestamp:yyyy/ddd}", "18: got 3 of the letter `d`, allowed are at most 2"),
        (
            Output,
            "!{timestamp:}",
            "12: got an empty time pattern, allowed is a pattern of Java's DateTimeFormatter (for example `!{timestamp:yyyy/MM/dd/HH}`)",
        ),
        (
            Output,
            "!{firehose:random}",
            "11: got the value `random`, allowed: `random-string` (did you mean `random-string`?)",
        ),
        (
            Output,
            "!{firehose:error-output-type}",
            "11: got `error-output-type`, which records that were delivered do not have (move it to the error output prefix)",
        ),
        (
            ErrorOutput,
            "e/!{partitionKeyFromQuery:a}",
            "4: got `partitionKeyFromQuery`, allowed are `timestamp`, `firehose` (a record that failed may have no keys; use `!{firehose:error-output-type}`)",
        ),
        (Output, "!{partitionKeyFromQuery:}", "24: got no name, allowed is the name of a partition key"),
        (
            Output,
            "!{partitionKeyFromLambda:a!{b}",
            "26: got `a!{b` as the name of a partition key, allowed is text without `!{` (`!{` may stand only at the start of an expression)",
        ),
        (Output, "!{timestamp:!{HH}", "13: `{` is reserved, write it as `'{'`"),
        (Output, "a\tb", "1: got the control character U+0009, allowed are printable ones"),
    ];
    for (kind, text, message) in cases {
        assert_eq!(refused(text, kind), message, "{text}");
    }
}

fn unescaped(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            out.push(u8::from_str_radix(&text[at + 1..at + 3], 16).unwrap());
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(out).unwrap()
}

proptest! {
    #[test]
    fn an_escaped_value_stays_in_its_place_and_reads_back(value in ".*|[\\x00-\\x7f]{0,20}|[./]{0,3}") {
        let text = escaped(&value);
        prop_assert!(!text.is_empty() && text != "." && text != "..");
        prop_assert!(!text.contains(['/', '\\', '=']) && !text.contains(|c: char| c.is_ascii_control()));
        if value.is_empty() {
            prop_assert_eq!(text, EMPTY);
        } else {
            prop_assert_eq!(unescaped(&text), value);
        }
    }

    #[test]
    fn partitions_go_through_bytes_and_are_equal_as_their_keys_are(a in "\\PC{0,8}|[\\x00-\\x7f]{0,4}", b in "[a./%\\x01-\\x04]{0,2}", c in "[a./%\\x01-\\x04]{0,2}") {
        let prefix = Prefix::parse("!{timestamp:yyyy}/!{partitionKeyFromQuery:a}/!{partitionKeyFromLambda:b}!{firehose:random-string}", PrefixKind::Output).unwrap();
        let of = |b: &String| prefix.partition(&|source, _| Some(if source == KeySource::Query { a.as_str() } else { b.as_str() })).unwrap();
        let (one, two) = (of(&b), of(&c));
        prop_assert_eq!(one == two, b == c);
        prop_assert_eq!(Partition::from_bytes(one.as_bytes()), Some(one.clone()));
        let text = evaluated(&prefix, &one);
        prop_assert_eq!(text.matches('/').count(), 2);
        prop_assert!(text.starts_with("2018/") && text.ends_with("046b6c7f-01"));
    }

    #[test]
    fn no_text_panics(text in "(!\\{|\\}|timestamp:|firehose:|partitionKeyFromQuery:|random-string|[yMd'\\[\\]#a-zA-Z/é]){0,12}") {
        if let Ok(prefix) = Prefix::parse(&text, PrefixKind::Output) {
            let partition = prefix.partition(&|_, _| Some("v")).unwrap();
            prop_assert_eq!(Partition::from_bytes(partition.as_bytes()), Some(partition.clone()));
            evaluated(&prefix, &partition);
        }
    }
}
