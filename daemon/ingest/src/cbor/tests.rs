use std::borrow::Cow;
use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text.replace(' ', "")).unwrap()
}

#[track_caller]
fn reads(text: &str, wanted: &Value) {
    assert_eq!(value(&bytes(text)).as_ref(), Ok(wanted), "{text}");
}

#[track_caller]
fn refused(text: &str, why: &str) {
    let bytes = bytes(text);
    let errors = [value(&bytes).err(), from_slice::<serde::de::IgnoredAny>(&bytes).err()];
    let told = errors.map(|error| error.map(|error| error.to_string()).unwrap_or_default());
    assert!(told[0].contains(why), "{text}: {told:?}");
    assert!(told[1].contains(why) || why.contains("number"), "{text}: {told:?}");
}

/// Examples of RFC 8949, appendix A.
#[test]
fn values_are_those_of_the_standard() {
    reads("00", &json!(0));
    reads("1818", &json!(24));
    reads("1903e8", &json!(1000));
    reads("1bffffffffffffffff", &json!(u64::MAX));
    reads("20", &json!(-1));
    reads("3903e7", &json!(-1000));
    reads("f93c00", &json!(1.0));
    reads("f97bff", &json!(65504.0));
    reads("f90001", &json!(5.960_464_477_539_063e-8));
    reads("f9c400", &json!(-4.0));
    reads("fa47c35000", &json!(100_000.0));
    reads("fb3ff199999999999a", &json!(1.1));
    reads("f4", &json!(false));
    reads("f5", &json!(true));
    reads("f6", &Value::Null);
    reads("f7", &Value::Null);
    reads("4401020304", &json!("AQIDBA=="));
    reads("64f0908591", &json!("\u{10151}"));
    reads("8301820203820405", &json!([1, [2, 3], [4, 5]]));
    reads("a26161016162820203", &json!({ "a": 1, "b": [2, 3] }));
    reads("5f42010243030405ff", &json!("AQIDBAU="));
    reads("7f657374726561646d696e67ff", &json!("streaming"));
    reads("9f018202039f0405ffff", &json!([1, [2, 3], [4, 5]]));
    reads("bf61610161629f0203ffff", &json!({ "a": 1, "b": [2, 3] }));
}

#[test]
fn times_are_milliseconds_and_become_seconds() {
    reads("c11b0000018bcfe5687b", &json!(1_700_000_000.123));
    reads("c1fb41d954fc40000000", &json!(1_700_000_000.0));
    reads("c11a65553f00", &json!(1_700_085_504));
    let answer = r#"{"ApproximateArrivalTimestamp":1700000000.123,"StreamCreationTimestamp":1700000000,"Count":1.5}"#;
    let wanted = "bf 781b 417070726f78696d6174654172726976616c54696d657374616d70 c11b0000018bcfe5687b
        77 53747265616d4372656174696f6e54696d657374616d70 c11b0000018bcfe56800 65 436f756e74 fb3ff8000000000000 ff";
    assert_eq!(from_json(answer), bytes(&wanted.replace('\n', "")));
}

#[test]
fn what_is_no_single_item_is_refused() {
    for (text, why) in [
        ("", "beyond the end"),
        ("1a0000", "beyond the end"),
        ("5bffffffffffffffff00", "beyond the end"),
        ("7a7fffffff61", "beyond the end"),
        ("9bffffffffffffffff01", "beyond the end"),
        ("0000", "more than one item"),
        ("1c", "a reserved length"),
        ("1f", "a number without an end"),
        ("62c328", "not UTF-8"),
        ("a10001", "a key that is no text"),
        ("ff", "a break outside"),
        ("82ff01", "a break in a collection of known length"),
        ("bf6161ff", "a break outside"),
        ("5f6161ff", "a piece of another type"),
        ("f800", "an unknown simple value"),
        ("f97e00", "a number that is none"),
        ("fb7ff0000000000000", "a number that is none"),
        ("3bffffffffffffffff", "a number out of range"),
    ] {
        refused(text, why);
    }
    assert!(check_object(&bytes("80")).is_err() && check_object(&bytes("a0ff")).is_err());
    assert!(check_object(&bytes("a0")).is_ok() && check_object(&bytes("bfff")).is_ok());
}

#[test]
fn nesting_costs_no_stack() {
    for head in ["81", "9f", "a16161", "bf6161", "c1", "d9d9f7"] {
        refused(&head.repeat(100_000), "too deep a nesting");
        assert!(check_object(&bytes(&format!("a16161{}", head.repeat(100_000)))).is_err());
    }
    let fits = [bytes("81").repeat(crate::depth::DEPTH_MAX), vec![0]].concat();
    assert!(value(&fits).is_ok());
}

#[derive(Debug, PartialEq, serde::Deserialize)]
struct Entry<'a> {
    #[serde(borrow, rename = "Key")]
    key: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "Data")]
    data: Option<&'a [u8]>,
    #[serde(rename = "Flag")]
    flag: Option<bool>,
}

#[test]
fn structures_borrow_and_ignore_what_they_do_not_know() {
    let list: Vec<Option<Entry<'_>>> =
        from_slice(&bytes("82 a3 634b6579 616b 6444617461 4101 65 4f74686572 a1616180 f6").leak()[..]).unwrap();
    assert_eq!(list, [Some(Entry { key: Some("k".into()), data: Some(&[1]), flag: None }), None]);
    assert!(from_slice::<Entry<'_>>(&bytes("a1 64466c6167 01")).is_err(), "a number is no flag");
    assert!(from_slice::<Entry<'_>>(&bytes("a2 64466c6167 f5 64466c6167 f5")).is_err(), "twice the same member");
}

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e300..1e300).prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map("[a-zA-Z]{0,30}", inner, 0..8)
                .prop_map(|map: BTreeMap<String, Value>| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn has_special_name(value: &Value) -> bool {
    match value {
        Value::Array(list) => list.iter().any(has_special_name),
        Value::Object(map) => {
            map.iter().any(|(name, value)| name == "Data" || name.ends_with("Timestamp") || has_special_name(value))
        }
        _ => false,
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(one in anything()) {
        prop_assume!(!has_special_name(&one));
        let written = from_json(&one.to_string());
        let read = value(&written).unwrap();
        // The text of a number may be read as its neighbour.
        prop_assert_eq!(read, serde_json::from_str::<Value>(&one.to_string()).unwrap());
    }

    #[test]
    fn hostile_bytes_are_refused_alike_by_all_three(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let ignored = from_slice::<serde::de::IgnoredAny>(&bytes);
        prop_assert!(value(&bytes).is_err() || ignored.is_ok());
        prop_assert!(check_object(&bytes).is_err() || ignored.is_ok());
    }
}
