//! The example plugin: chosen lines by their golden output, all 10,000 lines by their counts.
//! The counts were made by a regular expression in Python, not by the plugin.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};

use hydrant_plugins::Outcome;
use serde_json::Value;

use crate::{ACCESS_LOG, inputs, load, plugin, run, told};

fn lines() -> Vec<String> {
    let file = File::open("../examples/data/access_log.gz").unwrap();
    BufReader::new(flate2::read::GzDecoder::new(file)).lines().collect::<Result<_, _>>().unwrap()
}

#[test]
fn ten_thousand_lines_are_accounted_for() {
    let loaded = load(&plugin(ACCESS_LOG));
    let mut transform = loaded.transform();
    let mut tally: BTreeMap<String, u32> = BTreeMap::new();
    let mut bytes: i64 = 0;
    for batch in inputs(&lines()).chunks(500) {
        for outcome in transform.transform(batch).unwrap() {
            let kind = match &outcome {
                Outcome::Ok { data, partition_keys } => {
                    let row: Value = serde_json::from_slice(data).unwrap();
                    bytes += row["bytes"].as_i64().unwrap_or(0);
                    assert!(row["ts"].as_str().unwrap().starts_with(&partition_keys[1].1));
                    assert!(row["client"].as_str().unwrap().ends_with(".0"));
                    format!("{} {}", partition_keys[1].1, partition_keys[0].1)
                }
                _ => told(&outcome),
            };
            *tally.entry(kind).or_default() += 1;
        }
    }
    insta::assert_snapshot!(format!("{tally:#?}\nbytes {bytes}\n{:?}", loaded.counters()), @r#"
{
    "2015-05-17 2xx": 1490,
    "2015-05-17 3xx": 89,
    "2015-05-17 4xx": 30,
    "2015-05-18 2xx": 2469,
    "2015-05-18 3xx": 289,
    "2015-05-18 4xx": 64,
    "2015-05-18 5xx": 2,
    "2015-05-19 2xx": 2620,
    "2015-05-19 3xx": 166,
    "2015-05-19 4xx": 66,
    "2015-05-20 2xx": 2411,
    "2015-05-20 3xx": 65,
    "2015-05-20 4xx": 57,
    "2015-05-20 5xx": 1,
    "dropped": 180,
    "failed: not a combined access log line: user agent has no quote after it": 1,
}
bytes 2747282505
{"probes": 180, "unparsable": 1}
"#);
}

#[test]
fn golden_lines() {
    let told = run(
        &load(&plugin(ACCESS_LOG)),
        &[
            r#"83.149.9.216 - - [17/May/2015:10:05:03 +0000] "GET /a?b=1 HTTP/1.1" 200 203023 "http://semicomplete.com/" "Mozilla/5.0 (X11)""#,
            r#"2001:db8:1:2::9 - frank [01/Jan/2016:00:30:00 +0100] "HEAD / HTTP/2.0" 304 - "-" "-""#,
            r#"www.example.net - - [17/May/2015:10:05:03 +0000] "GET /q HTTP/1.0" 500 0 "-" "say \"hi\" \x16 \\""#,
            "1.2.3.4 - - [17/May/2015:10:05:03 +0000] \"GET /\u{1}\tü HTTP/1.0\" 404 1 \"-\" \"x\"\r\n",
            r#"1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET /robots.txt?x HTTP/1.1" 200 1 "-" "bot""#,
        ],
    );
    insta::assert_snapshot!(told.join("\n"), @r#"
ok: {"ts":"2015-05-17T10:05:03Z","client":"83.149.9.0","method":"GET","path":"/a?b=1","protocol":"HTTP/1.1","status":200,"bytes":203023,"referer":"http://semicomplete.com/","user_agent":"Mozilla/5.0 (X11)"} status_class=2xx day=2015-05-17
ok: {"ts":"2015-12-31T23:30:00Z","client":"2001:db8:1::","method":"HEAD","path":"/","protocol":"HTTP/2.0","status":304,"bytes":null,"referer":null,"user_agent":null} status_class=3xx day=2015-12-31
ok: {"ts":"2015-05-17T10:05:03Z","client":null,"method":"GET","path":"/q","protocol":"HTTP/1.0","status":500,"bytes":0,"referer":null,"user_agent":"say \\\"hi\\\" \\x16 \\\\"} status_class=5xx day=2015-05-17
ok: {"ts":"2015-05-17T10:05:03Z","client":"1.2.3.0","method":"GET","path":"/\u0001\u0009ü","protocol":"HTTP/1.0","status":404,"bytes":1,"referer":null,"user_agent":"x"} status_class=4xx day=2015-05-17
dropped
"#);
}

#[test]
fn what_is_no_line_is_failed_with_its_reason() {
    let texts = [
        "",
        "{}",
        r#"1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 1 "-" "unclosed"#,
        r#"1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 1 "-" "ends in \""#,
        r#"1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 1"#,
        r#"1.2.3.4 - - [17/May/2015:10:05:03 +0000] "\x16\x03\x01" 400 1 "-" "-""#,
        r#"1.2.3.4 - - [31/Jun/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 1 "-" "-""#,
        r#"1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 99 1 "-" "-""#,
        r#"1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 +1 "-" "-""#,
        r#"1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 1 "-" "-" 0.003"#,
    ];
    insta::assert_snapshot!(run(&load(&plugin(ACCESS_LOG)), &texts).join("\n"), @r#"
failed: not a combined access log line: no client, or nothing after it
failed: not a combined access log line: no client, or nothing after it
failed: not a combined access log line: user agent has no quote after it
failed: not a combined access log line: user agent has no quote after it
failed: not a combined access log line: no bytes, or nothing after it
failed: not a combined access log line: request must be `METHOD path HTTP/x`, got `\x16\x03\x01`
failed: not a combined access log line: time must be like `17/May/2015:10:05:03 +0000`, got `31/Jun/2015:10:05:03 +0000`
failed: not a combined access log line: status must be 100 to 599, got `99`
failed: not a combined access log line: bytes must be a number or `-`, got `+1`
failed: not a combined access log line: more text after the user agent
"#);
    let outcomes = load(&plugin(ACCESS_LOG)).transform().transform(&inputs(&[b"1.2.3.4 \xff"])).unwrap();
    insta::assert_snapshot!(told(&outcomes[0]), @"failed: not a combined access log line: not UTF-8 at byte 8");
}

#[test]
fn configuration() {
    let line = r#"83.149.9.216 - - [17/May/2015:10:05:03 +0000] "GET /alive HTTP/1.1" 200 1 "-" "-""#;
    let with = |key: &str, value: &str| {
        let mut plugin = plugin(ACCESS_LOG);
        plugin.config = [(key.to_owned(), value.to_owned())].into();
        run(&load(&plugin), &[line]).remove(0)
    };
    assert_eq!(with("health_paths", "/up, /alive"), "dropped");
    assert!(with("mask", "none").contains(r#""client":"83.149.9.216""#));
    insta::assert_snapshot!(with("mask", "all"), @"error: failed the batch: config `mask` must be `ip` or `none`, got `all`");
    insta::assert_snapshot!(with("health_paths", "alive"), @"error: failed the batch: config `health_paths` must be paths that begin with `/`, got `alive`");
}
