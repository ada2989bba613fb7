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
