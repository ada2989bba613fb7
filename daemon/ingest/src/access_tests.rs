//! Actor by action by resource.

use std::sync::Arc;

use hydrant_config::{Environment, Policy, load_text};
use serde_json::json;

use super::*;

const ACTIONS: [(&str, &str); 12] = [
    ("firehose", "PutRecord"),
    ("firehose", "PutRecordBatch"),
    ("firehose", "CreateDeliveryStream"),
    ("firehose", "DescribeDeliveryStream"),
    ("firehose", "DeleteDeliveryStream"),
    ("firehose", "ListDeliveryStreams"),
    ("kinesis", "PutRecords"),
    ("kinesis", "GetRecords"),
    ("kinesis", "DescribeStreamSummary"),
    ("kinesis", "DeleteStream"),
    ("kinesis", "SubscribeToShard"),
    ("kinesis", "ListStreams"),
];

/// What each actor may do: a letter for each action on `red` and on `blue`. The lists are on no stream.
/// `+` is allowed, `.` is not, `x` is denied in so many words.
const ACTORS: [(&str, &str, &str, &str); 12] = [
    ("all", "", "++++++++++++", "++++++++++++"),
    ("nothing", "allow: []", "............", "............"),
    ("puts", "allow: [{ actions: ['firehose:Put*', 'kinesis:Put*'] }]", "++....+.....", "++....+....."),
    ("red", "allow: [{ resources: ['stream/red', 'delivery_stream/red'] }]", "+++++.+++++.", "............"),
    (
        "red-firehose",
        "allow: [{ actions: ['firehose:*'], resources: ['delivery_stream/r*'] }]",
        "+++++.......",
        "............",
    ),
    (
        "reader",
        "allow: [{ actions: ['*:Describe*', '*:Get*', '*:List*', 'kinesis:SubscribeToShard'] }]",
        "...+.+.++.++",
        "...+.+.++.++",
    ),
    ("not-red", "deny: [{ resources: ['stream/red', 'delivery_stream/red'] }]", "xxxxx+xxxxx+", "++++++++++++"),
    ("keeps", "deny: [{ actions: ['*:Delete*'] }]", "++++x++++x++", "++++x++++x++"),
    ("other-case", "allow: [{ actions: ['FIREHOSE:putrecord'] }]", "+...........", "+..........."),
    (
        "by-arn",
        "allow: [{ resources: ['arn:aws:kinesis:us-east-1:123456789012:stream/blue'] }]",
        "............",
        "......+++++.",
    ),
    ("elsewhere", "allow: [{ resources: ['arn:aws:*:eu-*:*:*'] }]", "............", "............"),
    (
        "both",
        "allow: [{ actions: ['kinesis:*'] }]\n    deny: [{ actions: ['kinesis:Delete*'], resources: ['stream/blu?'] }]",
        "......++++++",
        "......+++x++",
    ),
];

fn caller(policy: Policy) -> Caller {
    Caller { access_key_id: "AKID".to_owned(), region: "us-east-1".to_owned(), policy: Arc::new(policy) }
}

fn policy(yaml: &str) -> Policy {
    let text = format!("credentials:\n  - access_key_id: AKID\n    secret_access_key: env:S\n    {yaml}\n");
    let loaded = load_text(&text, "hydrant.yaml".as_ref(), &Environment::of([("S", "s")]));
    let config = loaded.unwrap_or_else(|problems| panic!("{problems}\n{text}")).config;
    config.credentials.unwrap().remove(0).policy
}

fn account() -> AccountId {
    AccountId::parse("123456789012").unwrap()
}

fn may(caller: &Caller, (service, operation): (&str, &str), body: &Value) -> Result<(), ApiError> {
    let (region, streams) = (caller.region.as_str(), KinesisStreams::new());
    let resources = match service {
        "firehose" => of_firehose(operation, body["DeliveryStreamName"].as_str(), region, &account()),
        _ => of_kinesis(operation, body, (region, &account()), &streams),
    };
    Called::default().authorize(caller, &account(), (service, operation), resources)
}

#[test]
fn the_policy_of_a_stream_adds_and_takes_away() {
    let attached = |effect: &str| {
        let statement = json!({ "Effect": effect, "Principal": { "AWS": "123456789012" }, "Action": "kinesis:*" });
        Some(json!({ "Statement": statement }).to_string())
    };
    let cases = [
        ("", None, true),
        ("", attached("Allow"), true),
        ("", attached("Deny"), false),
        ("", Some("of a later version".to_owned()), false),
        ("allow: []", None, false),
        ("allow: []", attached("Allow"), true),
        ("deny: [{}]", attached("Allow"), false),
    ];
    for (own, policy_text, allowed) in cases {
        for operation in ["PutRecord", "DescribeStream"] {
            let resource = Resource { arn: "arn:aws:kinesis:r:1:stream/red".to_owned(), policy: policy_text.clone() };
            let mut called = Called::default();
            let got = called.authorize(&caller(policy(own)), &account(), ("kinesis", operation), vec![resource]);
            assert_eq!(got.is_ok(), allowed, "{own} {policy_text:?} {operation}");
        }
    }
}

#[test]
fn every_actor_may_do_what_its_policy_says_and_no_more() {
    let mut cells = 0;
    for (name, yaml, red, blue) in ACTORS {
        let caller = caller(policy(yaml));
        for (stream, wanted) in [("red", red), ("blue", blue)] {
            for (action, wanted) in ACTIONS.into_iter().zip(wanted.chars()) {
                let body = json!({ "DeliveryStreamName": stream, "StreamName": stream });
                let got = match may(&caller, action, &body) {
                    Ok(()) => '+',
                    Err(error) if error.message.contains("explicit deny") => 'x',
                    Err(_) => '.',
                };
                assert_eq!(got, wanted, "{name}: {action:?} on {stream}");
                cells += 1;
            }
        }
    }
    assert_eq!(cells, 288);
}

#[test]
fn the_text_is_that_of_aws() {
    let error =
        may(&caller(policy("allow: []")), ("kinesis", "PutRecord"), &json!({ "StreamName": "red" })).unwrap_err();
    assert_eq!((error.code, error.status.as_u16()), ("AccessDeniedException", 400));
    assert_eq!(
        error.message,
        "User: arn:aws:iam::123456789012:user/AKID is not authorized to perform: kinesis:PutRecord on resource: \
         arn:aws:kinesis:us-east-1:123456789012:stream/red because no identity-based policy allows the kinesis:PutRecord \
         action"
    );
}

#[test]
fn no_second_name_and_no_other_spelling_gets_around_a_policy() {
    let red = caller(policy("allow: [{ resources: ['stream/red'] }]"));
    let blue = "arn:aws:kinesis:us-east-1:123456789012:stream/blue";
    for body in [
        json!({ "StreamName": "red", "StreamARN": blue }),
        json!({ "StreamName": "red", "ConsumerARN": format!("{blue}/consumer/c:1") }),
        json!({ "ResourceARN": blue }),
        json!({ "StreamARN": "no ARN" }),
        json!({ "ShardIterator": "AAAA" }),
        json!({}),
    ] {
        assert!(may(&red, ("kinesis", "DescribeStream"), &body).is_err(), "{body}");
    }
    let not_blue = caller(policy("deny: [{ resources: ['arn:aws:kinesis:*:*:stream/blue*'] }]"));
    for arn in [blue, "arn:aws-cn:kinesis:us-east-1:123456789012:stream/blue"] {
        assert!(may(&not_blue, ("kinesis", "PutRecord"), &json!({ "StreamARN": arn })).is_err(), "{arn}");
    }
    // A list is of all streams, whatever else the request says.
    assert!(may(&red, ("kinesis", "ListStreams"), &json!({ "StreamName": "red" })).is_err());
    assert!(may(&red, ("firehose", "ListDeliveryStreams"), &json!({ "DeliveryStreamName": "red" })).is_err());
}

#[test]
fn policies_can_name_every_operation() {
    for action in hydrant_config::ACTIONS {
        let (service, operation) = action.split_once(':').unwrap();
        let known = match service {
            "firehose" => firehose::Operation::parse(operation).is_some(),
            _ => kinesis::Operation::parse(operation).is_some(),
        };
        assert!(known, "{action}");
    }
}

/// Actions and resources that a statement names; none of a kind is all of it.
type Statements = &'static [(&'static [&'static str], &'static [&'static str])];

/// What is allowed, if not everything, and what is denied.
const BOUND: [(Option<Statements>, Statements); 14] = [
    (None, &[]),
    (Some(&[]), &[]),
    (Some(&[(&["kinesis:*"], &[])]), &[]),
    (Some(&[(&["firehose:*"], &["delivery_stream/*"])]), &[]),
    (Some(&[(&[], &["stream/red"])]), &[]),
    (Some(&[(&["*:Describe*", "*:List*"], &[])]), &[]),
    (Some(&[(&["kinesis:Put*"], &["stream/r?d"]), (&["kinesis:Get*"], &["stream/b*"])]), &[]),
    (Some(&[(&["KINESIS:PUTRECORD"], &[])]), &[(&[], &["stream/blue"])]),
    (None, &[(&["*:Delete*"], &[])]),
    (None, &[(&[], &["arn:aws:kinesis:eu-west-1:*:*"])]),
    (None, &[(&["kinesis:*Consumer*"], &["arn:*:stream/red/consumer/*"])]),
    (Some(&[(&["kinesis:*"], &["stream/*"])]), &[(&["kinesis:*Shard*"], &["stream/red", "stream/blue"])]),
    (Some(&[(&["*"], &["arn:aws:*:us-east-1:123456789012:*"])]), &[(&["*:*Tag*"], &[])]),
    (Some(&[(&["kinesis:ListStreams", "firehose:ListDeliveryStreams"], &[])]), &[]),
];

const PLACES: [&str; 7] = [
    "arn:aws:kinesis:us-east-1:123456789012:stream/red",
    "arn:aws:kinesis:us-east-1:123456789012:stream/blue",
    "arn:aws:kinesis:eu-west-1:123456789012:stream/red",
    "arn:aws:kinesis:us-east-1:123456789012:stream/red/consumer/c:1700000000",
    "arn:aws:firehose:us-east-1:123456789012:deliverystream/red",
    "arn:aws:firehose:us-east-1:123456789012:deliverystream/blue",
    "*",
];

/// What is attached to the stream: an effect and an action's pattern.
const ATTACHED: [Option<(&str, &str)>; 4] =
    [None, Some(("Allow", "kinesis:Get*")), Some(("Deny", "kinesis:Delete*")), Some(("Deny", "*"))];

/// The oracle's own reading of wildcards.
fn like(pattern: &str, text: &str) -> bool {
    let Some(letter) = pattern.chars().next() else { return text.is_empty() };
    let rest = &pattern[letter.len_utf8()..];
    if letter == '*' {
        return (0..=text.len()).any(|skipped| like(rest, &text[skipped..]));
    }
    text.chars().next().is_some_and(|of| (letter == '?' || letter == of) && like(rest, &text[of.len_utf8()..]))
}

/// And of policies, from the documentation of IAM: a denial, then a permission, then nothing.
fn judged(
    (allow, deny): (Option<Statements>, Statements),
    attached: Option<(&str, &str)>,
    (action, arn): (&str, &str),
) -> char {
    let action_is = |pattern: &str| like(&pattern.to_lowercase(), &action.to_lowercase());
    let place_is = |pattern: &str| match pattern.split_once('/') {
        Some(("stream", name)) => like(&format!("arn:*:kinesis:*:*:stream/{name}"), arn),
        Some(("delivery_stream", name)) => like(&format!("arn:*:firehose:*:*:deliverystream/{name}"), arn),
        _ => like(pattern, arn),
    };
    let any = |patterns: &[&str], is: &dyn Fn(&str) -> bool| patterns.is_empty() || patterns.iter().any(|one| is(one));
    let covered =
        |all: Statements| all.iter().any(|(actions, places)| any(actions, &action_is) && any(places, &place_is));
    let by_stream = attached.filter(|(_, pattern)| action_is(pattern)).map(|(effect, _)| effect);
    // The owner of everything can always take a policy off again.
    let owner = allow.is_none() && deny.is_empty() && action.ends_with("ResourcePolicy");
    if covered(deny) || by_stream == Some("Deny") && !owner {
        return 'x';
    }
    if by_stream == Some("Allow") || allow.is_none_or(covered) { '+' } else { '.' }
}

fn as_yaml((allow, deny): (Option<Statements>, Statements)) -> String {
    let list = |name: &str, of: &[&str]| if of.is_empty() { String::new() } else { format!("{name}: {of:?}") };
    let one = |(actions, places): &(&[&str], &[&str])| {
        let parts = [list("actions", actions), list("resources", places)];
        format!("{{ {} }}", parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", "))
    };
    let all = |all: Statements| all.iter().map(one).collect::<Vec<_>>().join(", ");
    let allow = allow.map(|allow| format!("allow: [{}]\n    ", all(allow))).unwrap_or_default();
    let deny = if deny.is_empty() { String::new() } else { format!("deny: [{}]", all(deny)) };
    format!("{allow}{deny}")
}

#[test]
fn every_cell_of_actors_actions_places_and_attached_policies_is_as_the_oracle_says() {
    let mut cells = std::collections::BTreeMap::from([('+', 0), ('.', 0), ('x', 0)]);
    for bound in BOUND {
        let caller = caller(policy(&as_yaml(bound)));
        for (action, arn) in hydrant_config::ACTIONS.iter().flat_map(|action| PLACES.map(|arn| (*action, arn))) {
            for attached in ATTACHED.into_iter().filter(|attached| attached.is_none() || arn.contains(":stream/")) {
                let policy = attached.map(|(effect, action)| {
                    let statement = json!({ "Effect": effect, "Principal": "*", "Action": action });
                    json!({ "Statement": statement }).to_string()
                });
                let resource = Resource { arn: arn.to_owned(), policy };
                let asked = action.split_once(':').unwrap();
                let got = match Called::default().authorize(&caller, &account(), asked, vec![resource]) {
                    Ok(()) => '+',
                    Err(error) if error.message.contains("explicit deny") => 'x',
                    Err(_) => '.',
                };
                assert_eq!(got, judged(bound, attached, (action, arn)), "{bound:?} {attached:?} {action} {arn}");
                *cells.get_mut(&got).unwrap() += 1;
            }
        }
    }
    // 14 actors, 50 actions, four streams and consumers with four attachments each and three places without any.
    assert_eq!(cells.values().sum::<usize>(), 14 * 50 * (4 * 4 + 3));
    assert!(cells.values().all(|count| *count > 500), "{cells:?}");
}
