use super::*;

fn batch(body: &str) -> Result<Valid<'_>, ApiError> {
    match Put::parse(true, body.as_bytes()) {
        Some(Put::Batch(batch)) => batch.validate(),
        _ => Err(mistyped(true, &serde_json::from_str(body).unwrap()).unwrap_err()),
    }
}

fn one(body: &str) -> Result<Valid<'_>, ApiError> {
    match Put::parse(false, body.as_bytes()) {
        Some(Put::One(one)) => one.validate(),
        _ => Err(mistyped(false, &serde_json::from_str(body).unwrap()).unwrap_err()),
    }
}

fn refused(outcome: Result<Valid<'_>, ApiError>, code: &str, message: &str) {
    let error = outcome.unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (code, message));
}

#[test]
fn records_come_out_as_they_were_put_in() {
    let body = r#"{"Extra":[{"x":1}],"Records":[{"Data":"aGVsbG8K"},{"Data":"","More":2},{"Data":"aGk\u003d"}],"DeliveryStreamName":"demo"}"#;
    let valid = batch(body).unwrap();
    assert_eq!(valid.name, "demo");
    assert_eq!(valid.data, [&b"hello\n"[..], b"", b"hi"]);
    let valid = one(r#"{"DeliveryStreamName":"a.b_c-D","Record":{"Data":"AAEC"}}"#).unwrap();
    assert_eq!((valid.name.as_ref(), &valid.data[0][..]), ("a.b_c-D", &[0u8, 1, 2][..]));
}

#[test]
fn broken_constraints_are_listed_with_their_places() {
    let validation = "ValidationException";
    refused(
        batch(r#"{"Records":[null,{"Data":null}],"DeliveryStreamName":null}"#),
        validation,
        "3 validation errors detected: Value null at 'records.1.member' failed to satisfy constraint: Member must not be \
         null; Value null at 'records.2.member.data' failed to satisfy constraint: Member must not be null; Value null at \
         'deliveryStreamName' failed to satisfy constraint: Member must not be null",
    );
    refused(
        batch(r#"{"Records":[],"DeliveryStreamName":"a b"}"#),
        validation,
        "2 validation errors detected: Value '[]' at 'records' failed to satisfy constraint: Member must have length \
         greater than or equal to 1; Value 'a b' at 'deliveryStreamName' failed to satisfy constraint: Member must satisfy \
         regular expression pattern: [a-zA-Z0-9_.-]+",
    );
    refused(
        one(r#"{"DeliveryStreamName":"x"}"#),
        validation,
        "1 validation error detected: Value null at 'record' failed to satisfy constraint: Member must not be null",
    );
}

#[test]
fn five_hundred_records_pass_and_one_more_does_not() {
    let body = |count: usize| {
        format!(r#"{{"DeliveryStreamName":"x","Records":[{}]}}"#, vec![r#"{"Data":"aGk="}"#; count].join(","))
    };
    assert_eq!(batch(&body(500)).unwrap().data.len(), 500);
    for count in [501, 502, 900] {
        refused(
            batch(&body(count)),
            "ValidationException",
            "1 validation error detected: Value '[...]' at 'records' failed to satisfy constraint: Member must have length \
             less than or equal to 500",
        );
    }
}

#[test]
fn a_record_of_1_024_000_bytes_passes_and_one_byte_more_does_not() {
    let body = |bytes: usize| {
        let data = base64_simd::STANDARD.encode_to_string(vec![b'x'; bytes]);
        format!(r#"{{"DeliveryStreamName":"x","Records":[{{"Data":"{data}"}}]}}"#)
    };
    assert_eq!(batch(&body(1_024_000)).unwrap().data[0].len(), 1_024_000);
    refused(
        batch(&body(1_024_001)),
        "ValidationException",
        "1 validation error detected: Value 'java.nio.HeapByteBuffer[pos=0 lim=1024001 cap=1024001]' at \
         'records.1.member.data' failed to satisfy constraint: Member must have length less than or equal to 1024000",
    );
}

#[test]
fn wrong_types_and_bad_base64_are_serialization_exceptions() {
    let cases = [
        (r#"{"DeliveryStreamName":1}"#, "NUMBER_VALUE can not be converted to a String"),
        (r#"{"Records":{}}"#, "Start of structure or map found where not expected."),
        (r#"{"Records":[{"Data":7}]}"#, "NUMBER_VALUE can not be converted to a Blob"),
        (r#"{"Records":["x"]}"#, "Expected null"),
        (r#"{"Records":[{"Data":"a*c="}]}"#, "'a*c=' can not be converted to a Blob: Invalid Base64 character: '*'"),
        (
            r#"{"Records":[{"Data":"abc"}]}"#,
            "'abc' can not be converted to a Blob: Base64 encoded length is expected a multiple of 4 bytes but found: 3",
        ),
        (
            r#"{"Records":[{"Data":"ab=="}]}"#,
            "'ab==' can not be converted to a Blob: Invalid last non-pad Base64 character detected",
        ),
    ];
    for (body, message) in cases {
        refused(batch(body), "SerializationException", message);
    }
}

#[test]
fn a_member_given_twice_counts_as_its_last_value() {
    let body = r#"{"DeliveryStreamName":"a","DeliveryStreamName":"b","Record":{"Data":"aGk="}}"#;
    let text = mistyped(false, &serde_json::from_str(body).unwrap()).unwrap();
    let name = match Put::parse(false, &text) {
        Some(Put::One(one)) => one.validate().unwrap().name.into_owned(),
        _ => String::new(),
    };
    assert_eq!(name, "b");
}

#[test]
fn what_is_no_json_is_not_parsed() {
    for body in [
        "",
        "{",
        "[]x",
        r#"{"DeliveryStreamName":"a"} trailing"#,
        "{\"DeliveryStreamName\":\"\u{1}\"}",
        "{\"a\":\"\\ud800\"}x",
    ] {
        assert!(Put::parse(true, body.as_bytes()).is_none(), "{body}");
    }
    assert!(Put::parse(true, b"{\"DeliveryStreamName\":\"\xff\"}").is_none());
}
