use proptest::prelude::*;

use super::*;

const RECORD: &str = r#"{
    "customer_id": "ü/1", "type": {"device": "phone", "event": null}, "event_timestamp": 1535365800, "n": 3, "price": 1.50,
    "ms": 1535365800000, "ok": false, "none": null, "empty": "", "list": [3, 1, 2], "tags": ["a", "b"], "iso": "2018-08-27T10:30:00Z",
    "day": "27.08.2018", "inner": "{\"a\":{\"b\":7}}", "big": 123456789012345678901234567890, "e": 1e3, "neg": -0, "a b": "blank"
}"#;

fn one(filter: &str, record: &str) -> Result<String, String> {
    let keys = JqKeys::from_filters(&[("k".into(), filter.into())]).map_err(|e| format!("refused: {e}"))?;
    keys.evaluate(record.as_bytes()).map(|mut values| values.remove(0)).map_err(|e| e.0)
}

fn refused(query: &str) -> String {
    JqKeys::from_query(query).unwrap_err().0
}

#[test]
fn the_guides_query() {
    let keys = JqKeys::from_query(
        r#"{customer_id:.customer_id,device:.type.device, "year" : .event_timestamp|strftime("%Y")}"#,
    )
    .unwrap();
    assert_eq!(keys.names(), ["customer_id", "device", "year"]);
    assert_eq!(keys.evaluate(RECORD.as_bytes()).unwrap(), ["ü/1", "phone", "2018"]);
    assert!(format!("{keys:?}").contains("strftime"));
}

const CASES: &[(&str, &str)] = &[
    (".customer_id", "ü/1"),
    (".type | .device", "phone"),
    (".[\"a b\"]", "blank"),
    (".\"a b\"", "blank"),
    (".n", "3"),
    (".price", "1.50"),
    (".neg", "0"),
    (".big", "123456789012345678901234567890"),
    (".ok", "false"),
    (".none // \"unknown\"", "unknown"),
    (".type.event // .type.device", "phone"),
    (".missing.deeper // 0", "0"),
    (".list[0] + .list[-1]", "5"),
    (".list | add", "6"),
    (".list | sort | map(tostring) | join(\"-\")", "1-2-3"),
    ("[.tags[], null, 1] | join(\",\")", "a,b,,1"),
    (".ms / 1000", "1535365800"),
    (".ms / 1000 | tostring", "1535365800"),
    ("\"\\(.ms / 1000)s\"", "1535365800s"),
    (".ms / 1000 | strftime(\"%Y-%m-%d %H\")", "2018-08-27 10"),
    (".event_timestamp | todate", "2018-08-27T10:30:00Z"),
    (".iso | fromdate", "1535365800"),
    (".iso | fromdateiso8601 | strftime(\"%j\")", "239"),
    (".iso | strptime(\"%Y-%m-%dT%H:%M:%SZ\") | mktime", "1535365800"),
    (".day | split(\".\") | reverse | join(\"-\")", "2018-08-27"),
    (".iso | split(\"T\")[0]", "2018-08-27"),
    (".iso | .[0:4]", "2018"),
    (".customer_id | test(\"^ü\")", "true"),
    (".day | sub(\"\\\\.\"; \"/\")", "27/08.2018"),
    (".day | gsub(\"\\\\.\"; \"\")", "27082018"),
    (".iso | capture(\"(?<y>[0-9]+)-\").y", "2018"),
    ("if .n > 2 then \"many\" elif .n > 1 then \"two\" else \"few\" end", "many"),
    (".inner | fromjson | .a.b", "7"),
    ("\"12\" | tonumber + 1", "13"),
    (".tags as [$a, $b] | $b + $a", "ba"),
    (". as {n: $x, tags: [$y]} | \"\\($x)\\($y)\"", "3a"),
    ("reduce .list[] as $x (0; . * 10 + $x)", "312"),
    ("[foreach .list[] as $x (0; . + $x)] | last", "6"),
    ("[.list[] | select(. > 1)] | length", "2"),
    ("[range(3)] | tojson", "[0,1,2]"),
    ("[limit(2; .list[])] | length", "2"),
    ("first(.list[])", "3"),
    (".list[]", "3"),
    ("try error(\"x\") catch .", "x"),
    (".n.a? // \"no\"", "no"),
    ("label $out | .list[] | if . == 1 then ., break $out else empty end", "1"),
    ("[.. | numbers] | length > 3", "true"),
    (".type.device |= ascii_upcase | .type.device", "PHONE"),
    (".n += 2 | .n", "5"),
    (".n *= 2 | .n", "6"),
    (".none //= \"x\" | .none", "x"),
    ("del(.n) | has(\"n\")", "false"),
    ("to_entries | map(.key) | index(\"n\")", "3"),
    ("with_entries(select(.key == \"n\")) | tojson", "{\"n\":3}"),
    ("[paths(type == \"number\")] | length > 2", "true"),
    (".tags | IN([\"a\",\"b\"])", "true"),
    (".tags | @csv", "\"a\",\"b\""),
    ("[\"a\\tb\", 1] | @tsv", "a\\tb\t1"),
    ("@base64 \"x\\(.n)\"", "xMw=="),
    ("@uri \"\\(.customer_id)\"", "%C3%BC%2F1"),
    ("\"ab\" * 2", "abab"),
    ("pow(2; 10)", "1024"),
    (".price * 2", "3"),
    ("10 / 4", "2.5"),
    ("[.list | min, max] | tojson", "[1,3]"),
    (".customer_id | length", "3"),
    (".customer_id | ltrimstr(\"ü\") | startswith(\"/\")", "true"),
    ("65 | ascii", "A"),
    ("-.n", "-3"),
];

#[test]
fn filters_give_what_jq_gives() {
    for (filter, expected) in CASES {
        assert_eq!(one(filter, RECORD).as_deref(), Ok(*expected), "{filter}");
    }
}

#[test]
fn a_record_without_a_scalar_has_no_key() {
    const NULL: &str = "partitionKeys values must not be null or empty";
    for filter in [".none", ".missing", ".missing.deeper", ".empty", "empty", ".n.a?", "0 / 0"] {
        assert_eq!(one(filter, RECORD).unwrap_err(), NULL, "{filter}");
    }
    let non_scalar = |got| format!("partition key `k`: got {got}, allowed is a string, a number or a boolean");
    assert_eq!(one(".list", RECORD).unwrap_err(), non_scalar("an array"));
    assert_eq!(one(".type", RECORD).unwrap_err(), non_scalar("an object"));
    assert_eq!(one(".n.a", RECORD).unwrap_err(), "partition key `k`: cannot index 3 with \"a\"");
    assert_eq!(one("error(\"mine\")", RECORD).unwrap_err(), "partition key `k`: \"mine\"");
}

#[test]
fn a_record_is_one_strict_json_value() {
    let cases = [
        "",
        " ",
        "{",
        "{}{}",
        "{\"a\":1}\n{\"a\":2}",
        "{\"a\":1}x",
        "{a:1}",
        "{\"a\":NaN}",
        "# c\n{\"a\":1}",
        "{\"a\":01}",
        "{\"a\":1,}",
        "{\"a\":+1}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":1,\"b\":tru}",
        "{\"a\":1,\"b\":\"\u{1}\"}",
        "{\"a\":1,\"b\":[1 2]}",
        "{1:2}",
    ];
    for filter in [".a", ".a | ."] {
        for record in cases {
            assert_eq!(one(filter, record).unwrap_err(), "Non JSON record provided", "{filter} {record}");
        }
        let keys = JqKeys::from_filters(&[("k".into(), filter.into())]).unwrap();
        assert_eq!(keys.evaluate(b"{\"a\":\"\xff\"}").unwrap_err().0, "Non JSON record provided");
        assert_eq!(one(filter, " {\"a\" : 1 } \n").unwrap(), "1");
    }
    assert_eq!(one(".", "\"text\"").unwrap(), "text");
}

#[test]
fn a_hostile_record_is_an_error_and_no_crash() {
    let deep = format!("{{\"a\":1,\"b\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let long = format!("{{\"a\":1,\"b\":{}}}", "9".repeat(1_000_000));
    for record in [deep, long] {
        for filter in [".a", ".a | ."] {
            assert_eq!(one(filter, &record).unwrap_err(), "Non JSON record provided");
        }
    }
    let quoted = format!("{{\"a\":\"{}\"}}", "[".repeat(100_000));
    assert_eq!(one(".a | length", &quoted).unwrap(), "100000");
    assert!(one(".a | fromjson", &quoted).unwrap_err().contains("not one JSON value"));
}

#[test]
fn a_runaway_filter_ends() {
    let many = format!("{{\"n\":1000000000,\"s\":\"{}\",\"l\":[{}0]}}", "x".repeat(10_000), "0,".repeat(10_000));
    let filters = [
        "[range(1e12)] | length",
        "[range(1e12)?] | length",
        "last(range(1e12))",
        "[limit(1e12; range(1e12) as $x | try error(\"x\") catch 1)] | length",
        "\"a\" * .n",
        "\"a\" * 1e9",
        "try (\"a\" * .n) catch \"caught\"",
        ".s *= .n | .s",
        "reduce .l[] as $x (.s; . + .)",
        "reduce .l[] as $x (.s; \"\\(.)\\(.)\")",
        "reduce .l[] as $x (0; [., .]) | tojson",
        "reduce .l[] as $x (0; [.]) | length",
        "reduce .l[] as $x (0; {a: .}) | length",
        "reduce .l[] as $x (2; . * .)",
        "[.l[] as $a | .l[] as $b | 1] | length",
        "first(.l[] as $a | .l[] as $b | .l[] as $c | select(false))",
        "isempty(.l[] as $a | .l[] as $b | .l[] as $c | empty)",
        ". as $r | [.l[] | select($r == .)] | [.l[] | . == $r] | $r | [.l[] | $r == $r] | length",
        ".s as $s | .l | map(tostring) | join($s) | length",
        ".s as $s | .l | .[] += $s | length",
        "[.l[] as $x | .s] | join(\"\") | length",
        ". as $r | [.l[] | $r | tojson | length] | add",
        ".s | gsub(\"x\"; \"0123456789012345678901234567890123456789012345678901234567890123456789\" * 1000) | length",
        "[.l[] | [range(100)]] | flatten | length | tostring * 1e6",
    ];
    for filter in filters {
        let message = one(filter, &many).unwrap_err();
        assert!(
            message.contains("does more than its budget") || message.contains("jq") || message.contains("cannot"),
            "{filter}: {message}"
        );
    }
}

#[test]
fn what_reads_more_than_the_record_is_refused() {
    for name in [
        "input",
        "inputs",
        "debug",
        "stderr",
        "input_filename",
        "env",
        "$ENV",
        "$__loc__",
        "now",
        "halt",
        "localtime",
        "input_line_number",
    ] {
        let message = one(&format!(".a | {name}"), "{}").unwrap_err();
        assert_eq!(
            message,
            format!("refused: key `k`: got `{name}`, which is not allowed here: a key may depend on the record alone")
        );
    }
    for filter in [
        "def f: f; f",
        "repeat(.)",
        "[while(true; .)]",
        "until(false; .)",
        "recurse(.)",
        "[[1,2],[3]] | combinations",
        "[.[] | (def f: 1; f)]",
    ] {
        assert!(one(filter, "{}").unwrap_err().contains("which is not allowed here"), "{filter}");
    }
    for filter in ["import \"a\" as a; .", "include \"a\"; .", "nothing_such", ".a | @nothing"] {
        assert!(one(filter, "{}").unwrap_err().starts_with("refused"), "{filter}");
    }
}

#[test]
fn a_text_that_nests_without_end_is_refused() {
    for (open, close) in [
        ("[", "]"),
        ("(", ")"),
        ("-", ""),
        ("{a:", "}"),
        ("try ", ""),
        (".[", "]"),
        ("if . then ", " end"),
        (".|", "."),
    ] {
        let times = 5_000 / (open.len() + close.len()).max(1);
        let text = format!("{}1{}", open.repeat(times), close.repeat(times));
        // Parentheses alone nest nothing.
        if open != "(" {
            assert!(one(&text, "1").is_err(), "{open}");
        }
    }
    assert!(one(&"x".repeat(6_000), "1").unwrap_err().contains("got 6000 bytes of jq, allowed are at most 5120"));
}

#[test]
fn queries_that_give_no_fixed_names_are_refused() {
    assert_eq!(refused(".a"), "got no object of keys, allowed is a query like `{customer_id:.customer_id}`");
    assert_eq!(
        refused("{a:.a} | {b:1}"),
        "got no object of keys, allowed is a query like `{customer_id:.customer_id}`"
    );
    assert_eq!(refused("{}"), "got 0 partition keys, allowed are 1 to 50");
    for query in ["{(.a): 1}", "{$x}", "{\"a\\(.b)\": 1}", "{@base64 \"a\": 1}"] {
        assert!(
            refused(query).starts_with("got a key whose name depends on the record"),
            "{query}: {}",
            refused(query)
        );
    }
    assert_eq!(refused("{a: .x, a: .y}"), "got the partition key `a` twice, give each its own name");
    assert_eq!(refused("{a: .x"), "at byte 6: got the end, expected closing brace");
    assert_eq!(refused("{a: .x |}"), "at byte 8: got `}`, expected term");
    assert_eq!(
        refused("{a: nope(1)}"),
        "key `a`: got the filter `nope`, which jq 1.6 does not have or this jq does not allow"
    );
    let many: Vec<String> = (0..51).map(|n| format!("k{n}:.a")).collect();
    assert_eq!(refused(&format!("{{{}}}", many.join(","))), "got 51 partition keys, allowed are 1 to 50");
    assert!(JqKeys::from_query(&format!("{{{}}}", many[..50].join(","))).is_ok());
    assert!(JqKeys::from_filters(&[]).is_err());
    assert!(JqKeys::from_filters(&[(String::new(), ".".into())]).is_err());
}

#[test]
fn shorthands_name_their_member() {
    let keys = JqKeys::from_query("({n, \"ok\", \"c\": .customer_id})").unwrap();
    assert_eq!(keys.names(), ["n", "ok", "c"]);
    assert!(keys.inner.paths.is_some());
    assert_eq!(keys.evaluate(RECORD.as_bytes()).unwrap(), ["3", "false", "ü/1"]);
}

#[test]
fn paths_need_no_jaq_and_other_filters_do() {
    let fast = |filter: &str| JqKeys::from_filters(&[("k".into(), filter.into())]).unwrap().inner.paths.is_some();
    for filter in [".a", ".a.b", ".\"a\"", ".[\"a\"]", ".a[\"b\"].c", "(.a).b", ".\"\\u0061\"", ".a?"] {
        assert!(fast(filter), "{filter}");
    }
    for filter in [".", ".[0]", ".a[0]", ".a[]", ".a // 1", ".a | .b", ".a[1:]", ".[.a]", ".\"a\\(.b)\""] {
        assert!(!fast(filter), "{filter}");
    }
    let both = JqKeys::from_query("{a:.a,b:.a.b}").unwrap();
    assert!(both.inner.paths.is_none());
    assert!(both.evaluate(b"{\"a\":{\"b\":1}}").is_err());
}

#[test]
fn the_last_of_two_members_counts_in_both_ways() {
    let keys = JqKeys::from_query("{a:.a.b,c:.c}").unwrap();
    for record in [
        r#"{"a":{"b":1},"c":1,"a":{"b":2},"c":3}"#,
        r#"{"a":{"b":1,"b":5},"c":1}"#,
        r#"{"a":{"b":1},"c":1,"a":{}}"#,
        r#"{"a":{"b":1},"c":1,"a":null}"#,
        r#"{"a":null,"c":null,"a":{"b":2},"c":3}"#,
        r#"{"\u0061":{"b":1},"c":"\u00fc","a":{"\u0062":"x"}}"#,
    ] {
        assert_eq!(keys.evaluate(record.as_bytes()), keys.evaluate_by_jaq(record), "{record}");
    }
    assert_eq!(keys.evaluate(br#"{"a":null,"c":null,"a":{"b":2},"c":3}"#).unwrap(), ["2", "3"]);
}

#[test]
fn keys_go_between_threads() {
    fn shared<T: Send + Sync + Clone + fmt::Debug + 'static>(_: &T) {}
    let keys = JqKeys::from_query("{a:.a|tostring}").unwrap();
    shared(&keys);
    let other = keys.clone();
    let values = std::thread::spawn(move || other.evaluate(b"{\"a\":1}")).join().unwrap();
    assert_eq!(values, keys.evaluate(b"{\"a\":1}"));
}

fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".into()),
        Just("\"\"".into()),
        Just("-0".into()),
        Just("1.0".into()),
        Just("1e400".into()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<u64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|n| format!("{n:e}")),
        ".{0,6}".prop_map(|text| serde_json::to_string(&text).unwrap()),
        "\"(\\\\u[0-9a-f]{4}|\\\\[nt/\"bx]|[a-z]){0,4}\"",
        "[-+0-9.eE]{1,6}",
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let name = prop_oneof![Just("\"a\""), Just("\"b\""), Just("\"\\u0061\""), Just("\"c\"")];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec((name, inner), 0..4).prop_map(|members| {
                let members: Vec<String> = members.iter().map(|(name, value)| format!("{name}: {value}")).collect();
                format!("{{{}}}", members.join(" ,"))
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn the_fast_way_and_jaq_agree(record in json(), cut in prop::option::weighted(0.2, 0_usize..40), tail in "[ \\n]?|\\{\\}|x|,") {
        let mut record = record;
        if let Some(cut) = cut.filter(|&cut| record.is_char_boundary(cut)) {
            record.truncate(cut);
        }
        record.push_str(&tail);
        for query in ["{k:.a}", "{k:.a.b}", "{k:.a,l:.b.a,m:.a}"] {
            let keys = CACHE.with(|cache| cache.iter().find(|keys| keys.text() == query).unwrap().clone());
            prop_assert_eq!(keys.evaluate(record.as_bytes()), keys.evaluate_by_jaq(&record), "{}", query);
        }
    }
}

thread_local! {
    static CACHE: Vec<JqKeys> =
        ["{k:.a}", "{k:.a.b}", "{k:.a,l:.b.a,m:.a}"].map(|query| JqKeys::from_query(query).unwrap()).to_vec();
}

#[test]
fn a_query_may_have_fifty_keys() {
    let keys: Vec<String> = (0..50).map(|n| format!("k{n}:.a|tostring")).collect();
    let keys = JqKeys::from_query(&format!("{{{}}}", keys.join(","))).unwrap();
    assert_eq!(keys.evaluate(b"{\"a\":1}").unwrap().len(), 50);
}
