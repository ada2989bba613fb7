use http::{HeaderName, HeaderValue, Request};

use super::*;

pub(super) const BODY: &str = r#"{"DeliveryStreamName":"demo","Record":{"Data":"aGVsbG8K"}}"#;
pub(super) const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const SIGNATURE: &str = "175adcf97a9cb5a48d1ded3b8a696db0761bd409c72e1b405d1f75e7117856f7";
pub(super) const SIGNED: &str = "content-type;host;x-amz-date;x-amz-target";

pub(super) fn keys() -> Keys {
    Keys::new(&[Credential::new("AKIDEXAMPLE", Secret::new(SECRET))])
}

fn authorization(key: &str, scope: &str, signed: &str, signature: &str) -> String {
    format!("AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={signed}, Signature={signature}")
}

pub(super) fn good() -> String {
    authorization("AKIDEXAMPLE", "20240115/us-east-1/firehose/aws4_request", SIGNED, SIGNATURE)
}

pub(super) fn head(changes: &[(&str, &str)]) -> Parts {
    let mut headers = vec![
        ("host", "firehose.us-east-1.amazonaws.com".to_owned()),
        ("content-type", "application/x-amz-json-1.1".to_owned()),
        ("x-amz-date", "20240115T120000Z".to_owned()),
        ("x-amz-target", "Firehose_20150804.PutRecord".to_owned()),
        ("authorization", good()),
    ];
    let mut uri = "/".to_owned();
    for (name, value) in changes {
        headers.retain(|(known, _)| known != name);
        match *name {
            "uri" => uri = (*value).to_owned(),
            _ if value.is_empty() => {}
            name => headers.push((name, (*value).to_owned())),
        }
    }
    let mut parts = Request::post(uri).body(()).unwrap().into_parts().0;
    for (name, value) in headers {
        parts.headers.insert(HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap());
    }
    parts
}

fn noon() -> Timestamp {
    Timestamp::from_millis(1_705_320_000_000)
}

fn verify(changes: &[(&str, &str)]) -> Result<Caller, ApiError> {
    Auth::Keys(keys()).verify(&head(changes), BODY.as_bytes(), "firehose", noon())
}

fn refused(changes: &[(&str, &str)], code: &str, text: &str) {
    let error = verify(changes).unwrap_err();
    assert!(error.code == code && error.message.contains(text), "{changes:?}: {error}");
}

#[test]
fn the_vector_of_botocore_is_reproduced_step_by_step() {
    let head = head(&[]);
    let signed = Parameters::of(&head, &[]).unwrap();
    let hash = canonical::request_hash(&head, &signed, &canonical::sha256_hex(BODY.as_bytes()));
    assert_eq!(hash, "143720d52e05181e83e05572ea1f07a803b9ee84f5133bd7d7dc100cdec0ea40");
    let canonical = canonical::request(&head, &signed, &canonical::sha256_hex(BODY.as_bytes()));
    assert!(canonical.ends_with("54acfb3b3d342e6597411d1f8e3cde9cbf334b219b8745d3cbc96c84f4a4eb6a"));
    let signature = hmac::sign(&derive(SECRET, &signed), signed.string_to_sign(&hash).as_bytes());
    assert_eq!(hex::encode(signature), SIGNATURE);
    let caller =
        Caller { access_key_id: "AKIDEXAMPLE".to_owned(), region: "us-east-1".to_owned(), policy: Arc::default() };
    assert_eq!(verify(&[]), Ok(caller));
}

#[test]
fn commas_need_no_space_and_the_cached_key_gives_the_same_answers() {
    let auth = Auth::Keys(keys());
    let dense = good().replace(", ", ",");
    for _ in 0..2 {
        let good = head(&[("authorization", &dense)]);
        assert!(auth.verify(&good, BODY.as_bytes(), "firehose", noon()).is_ok());
        assert!(auth.verify(&good, b"{}", "firehose", noon()).is_err());
    }
}

#[test]
fn anything_changed_after_signing_is_a_mismatch() {
    let mismatch = "The request signature we calculated";
    for change in [
        ("x-amz-target", "Firehose_20150804.DeleteDeliveryStream"),
        ("host", "firehose.eu-west-1.amazonaws.com"),
        ("content-type", "application/json"),
        ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
        ("uri", "/other"),
        ("uri", "/?a=b"),
    ] {
        refused(&[change], "InvalidSignatureException", mismatch);
    }
    let other = SIGNATURE.replacen('1', "2", 1);
    let wrong = authorization("AKIDEXAMPLE", "20240115/us-east-1/firehose/aws4_request", SIGNED, &other);
    refused(&[("authorization", &wrong)], "InvalidSignatureException", mismatch);
}

#[test]
fn white_space_within_signed_headers_is_one_space() {
    let spaced = "application/x-amz-json-1.1";
    assert!(verify(&[("content-type", &format!("  {spaced}  "))]).is_ok());
}

#[test]
fn keys_scopes_and_parts_that_are_wrong_are_told_apart() {
    let with = |key: &str, scope: &str, signed: &str| authorization(key, scope, signed, SIGNATURE);
    let scope = "20240115/us-east-1/firehose/aws4_request";
    refused(&[("authorization", "")], "MissingAuthenticationTokenException", "Missing Authentication Token");
    refused(&[("authorization", "Bearer x")], "IncompleteSignatureException", "'Bearer'");
    refused(
        &[("authorization", "AWS4-HMAC-SHA256 Credential=a")],
        "IncompleteSignatureException",
        "'Signature' parameter",
    );
    refused(&[("x-amz-date", "")], "IncompleteSignatureException", "'X-Amz-Date'");
    refused(&[("x-amz-date", "2024-01-15")], "IncompleteSignatureException", "ISO-8601");
    let cases = [
        (with("AKIDOTHER", scope, SIGNED), "UnrecognizedClientException", "security token"),
        (with("AKIDEXAMPLE", "us-east-1/firehose", SIGNED), "IncompleteSignatureException", "5 slash-delimited"),
        (
            with("AKIDEXAMPLE", &scope.replace("us-east-1", "Mars!"), SIGNED),
            "InvalidSignatureException",
            "valid region",
        ),
        (
            with("AKIDEXAMPLE", &scope.replace("firehose", "s3"), SIGNED),
            "InvalidSignatureException",
            "service: 'firehose'",
        ),
        (
            with("AKIDEXAMPLE", &scope.replace("0115", "0116"), SIGNED),
            "InvalidSignatureException",
            "does not match YYYYMMDD",
        ),
        (with("AKIDEXAMPLE", scope, "x-amz-date"), "InvalidSignatureException", "'Host'"),
        (with("AKIDEXAMPLE", scope, "host"), "InvalidSignatureException", "'X-Amz-Date'"),
        (authorization("AKIDEXAMPLE", scope, SIGNED, "beef"), "IncompleteSignatureException", "64 hex"),
    ];
    for (header, code, text) in cases {
        refused(&[("authorization", &header)], code, text);
    }
    let both = "Found both 'X-Amz-Algorithm' as a query-string param";
    refused(&[("uri", "/?X-Amz-Algorithm=AWS4-HMAC-SHA256")], "InvalidSignatureException", both);
}

#[test]
fn a_clock_may_be_off_by_fifteen_minutes_and_not_by_more() {
    let auth = Auth::Keys(keys());
    let at =
        |seconds: u64| auth.verify(&head(&[]), BODY.as_bytes(), "firehose", Timestamp::from_millis(seconds * 1000));
    assert!(at(1_705_320_000 + 900).is_ok());
    assert!(at(1_705_320_000 - 900).is_ok());
    let late = at(1_705_320_000 + 901).unwrap_err().message;
    assert_eq!(
        late,
        "Signature expired: 20240115T120000Z is now earlier than 20240115T120001Z (20240115T121501Z - 15 min.)"
    );
    let early = at(1_705_320_000 - 901).unwrap_err().message;
    assert_eq!(
        early,
        "Signature not yet current: 20240115T120000Z is still later than 20240115T115959Z (20240115T114459Z + 15 min.)"
    );
    let strict = Auth::Keys(keys().with_skew(Duration::from_secs(300)));
    let later = Timestamp::from_millis((1_705_320_000 + 301) * 1000);
    assert!(strict.verify(&head(&[]), BODY.as_bytes(), "firehose", later).is_err());
}

fn presigned(expires: i64, token: &str) -> String {
    let scope = "AKIDEXAMPLE%2F20240115%2Fus-east-1%2Ffirehose%2Faws4_request";
    let query = format!(
        "/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={scope}&X-Amz-Date=20240115T120000Z\
         &X-Amz-Expires={expires}&X-Amz-SignedHeaders=host{token}"
    );
    let zeros = format!("{query}&X-Amz-Signature={}", "0".repeat(64));
    let head = head(&[("uri", &zeros), ("authorization", "")]);
    let query_of_zeros = canonical::decode_query(head.uri.query().unwrap());
    let signed = Parameters::of(&head, &query_of_zeros).unwrap();
    let text = signed.string_to_sign(&canonical::request_hash(&head, &signed, &canonical::sha256_hex(BODY.as_bytes())));
    format!("{query}&X-Amz-Signature={}", hex::encode(hmac::sign(&derive(SECRET, &signed), text.as_bytes())))
}

#[test]
fn the_query_form_is_good_until_it_expires() {
    let auth = Auth::Keys(keys());
    let uri = presigned(3600, "");
    let at = |uri: &str, seconds: u64| {
        let head = head(&[("uri", uri), ("authorization", "")]);
        auth.verify(&head, BODY.as_bytes(), "firehose", Timestamp::from_millis(seconds * 1000))
    };
    assert!(at(&uri, 1_705_320_000 + 3600).is_ok());
    assert!(at(&uri, 1_705_320_000 + 3601).unwrap_err().message.starts_with("Signature expired"));
    assert!(at(&uri.replace("3600", "7200"), 1_705_320_000).is_err());
    assert!(at(&uri.replace("X-Amz-Expires", "Expires"), 1_705_320_000).unwrap_err().message.contains("X-Amz-Expires"));
    let twice = format!("{uri}&X-Amz-Signature={}", "0".repeat(64));
    for wrong in [
        uri.replace("12000", "12010"),
        uri.replace("us-east-1", "us-east-2"),
        uri.replace("=host", "=host%3Bx-amz-target"),
        uri.replace("AWS4-HMAC-SHA256", "AWS4"),
        format!("{uri}&more=x"),
        format!("{uri}&X-Amz-Security-Token=x"),
        twice,
        uri.replace("=3600", "=0"),
        uri.replace("=3600", "=604801"),
        uri.replace("=3600", "=-1"),
        // Signed, but of nobody.
        presigned(3600, "&X-Amz-Security-Token=x"),
    ] {
        assert!(at(&wrong, 1_705_320_000).is_err(), "{wrong}");
    }
}

#[test]
fn canonical_queries_are_sorted_and_encoded_once() {
    let head = head(&[("uri", "/a%20b?z=1&a=%7E+&a=%2f")]);
    let text =
        canonical::request(&head, &Parameters::of(&super::tests::head(&[]), &[]).unwrap(), &canonical::sha256_hex(b""));
    assert!(text.starts_with("POST\n/a%2520b\na=%2F&a=~%2B&z=1\n"), "{text}");
}

#[test]
fn an_open_door_wants_a_well_formed_signature_and_no_more() {
    let open =
        |changes: &[(&str, &str)]| Auth::Open.verify(&head(changes), b"other", "firehose", Timestamp::from_millis(0));
    assert_eq!(open(&[]).unwrap().region, "us-east-1");
    assert_eq!(open(&[("authorization", "")]).unwrap_err().code, "MissingAuthenticationTokenException");
    assert!(open(&[("authorization", "AWS4-HMAC-SHA256 x")]).is_err());
}
