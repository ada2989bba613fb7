//! What is wrong with a signature, and what is told of it.

use super::{ALGORITHM, Asked, TARGET};
use crate::client::{GOOD, NOON};
use crate::house::TEMPORARY;

pub(super) const INVALID: &str = "InvalidSignatureException";
pub(super) const INCOMPLETE: &str = "IncompleteSignatureException";
const UNKNOWN: &str = "UnrecognizedClientException";
const MISSING: &str = "MissingAuthenticationTokenException";

const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. Check your AWS \
    Secret Access Key and signing method. Consult the service documentation for details.";
const NOBODY: &str = "The security token included in the request is invalid.";
const NO_HOST: &str = "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.";
const NO_DATE: &str = "'X-Amz-Date' or 'Date' must be a 'SignedHeader' in the AWS Authorization.";
const BOTH: &str = "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.";
const LATE: &str =
    "Signature expired: 20240115T114459Z is now earlier than 20240115T114500Z (20240115T120000Z - 15 min.)";
const EARLY: &str =
    "Signature not yet current: 20240115T121501Z is still later than 20240115T121500Z (20240115T120000Z + 15 min.)";
const NO_HEX: &str = "Signature must be 64 hexadecimal digits of an HMAC-SHA256.";
const ENOUGH: &str = "X-Amz-Expires must be a number of seconds from 1 to 604800.";

pub(super) type Change = fn(&mut Asked);
/// What is changed, how, and the code and the text of the answer.
pub(super) type Case = (&'static str, Change, &'static str, &'static str);

/// Changed on the way, after it was signed.
#[rustfmt::skip]
pub(super) const CHANGED: &[Case] = &[
    ("another path", |it| it.path = "/other".to_owned(), INVALID, MISMATCH),
    ("a path behind slashes", |it| it.path = "//other".to_owned(), INVALID, MISMATCH),
    ("a path with an encoded slash", |it| it.path = "/%2F".to_owned(), INVALID, MISMATCH),
    ("a query", |it| it.query.push(("a".to_owned(), "b".to_owned())), INVALID, MISMATCH),
    ("an empty parameter", |it| it.query.push(("a".to_owned(), String::new())), INVALID, MISMATCH),
    ("another host", |it| it.set("host", "firehose.eu-west-1.amazonaws.com"), INVALID, MISMATCH),
    ("a port", |it| it.set("host", "localhost:443"), INVALID, MISMATCH),
    ("the host twice", |it| it.add("Host", "localhost"), INVALID, MISMATCH),
    ("a parameter of the content type", |it| it.set("content-type", "application/x-amz-json-1.1; a=b"), INVALID, MISMATCH),
    ("the content type twice", |it| it.add("Content-Type", GOOD.content_type), INVALID, MISMATCH),
    ("another target", |it| it.set("x-amz-target", "Firehose_20150804.DeleteDeliveryStream"), INVALID, MISMATCH),
    ("the target twice", |it| it.add("X-Amz-Target", TARGET), INVALID, MISMATCH),
    ("another second", |it| it.set("x-amz-date", "20240115T120001Z"), INVALID, MISMATCH),
    ("another day", |it| it.set("x-amz-date", "20240116T120000Z"), INVALID,
     "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20240115' != '20240116', \
      from '20240116T120000Z'."),
    ("the date twice", |it| it.add("X-Amz-Date", NOON), INVALID, MISMATCH),
    ("a date with dashes", |it| it.set("x-amz-date", "2024-01-15T12:00:00Z"), INCOMPLETE,
     "Date must be in ISO-8601 'basic format'. Got '2024-01-15T12:00:00Z'."),
    ("a date that is none", |it| it.set("x-amz-date", "20240230T120000Z"), INCOMPLETE,
     "Date must be in ISO-8601 'basic format'. Got '20240230T120000Z'."),
    ("an empty date", |it| it.set("x-amz-date", ""), INCOMPLETE, "Date must be in ISO-8601 'basic format'. Got ''."),
    ("no date", |it| it.remove("x-amz-date"), INCOMPLETE,
     "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."),
    ("the other date header", |it| { it.remove("x-amz-date"); it.add("Date", "Mon, 15 Jan 2024 12:00:00 GMT") },
     INVALID, MISMATCH),
    ("a letter of the data", |it| it.body[50] ^= 2, INVALID, MISMATCH),
    ("more body", |it| it.body.push(b' '), INVALID, MISMATCH),
    ("the hash of another body", |it| it.add("X-Amz-Content-Sha256", &"0".repeat(64)), INVALID, MISMATCH),
    ("a body that says it is not signed", |it| it.add("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD"), INVALID, MISMATCH),
    ("no authorization", |it| it.remove("authorization"), MISSING, "Missing Authentication Token"),
    ("an empty authorization", |it| it.set("authorization", ""), INCOMPLETE, "Unsupported AWS 'algorithm': ''."),
    ("two authorizations", |it| { let again = it.headers.last().unwrap().1.clone(); it.add("Authorization", &again) },
     INCOMPLETE, "Authorization header must be present once."),
    ("letters that are not ASCII", |it| it.resign("AKID", "ÄKID"), INCOMPLETE,
     "Authorization header holds characters that are not visible ASCII."),
    ("both forms", |it| it.query.push(("X-Amz-Algorithm".to_owned(), ALGORITHM.to_owned())), INVALID, BOTH),
    ("another algorithm", |it| it.resign(ALGORITHM, "AWS4-ECDSA-P256-SHA256"), INCOMPLETE,
     "Unsupported AWS 'algorithm': 'AWS4-ECDSA-P256-SHA256'."),
    ("the algorithm in small letters", |it| it.resign("AWS4-HMAC", "aws4-hmac"), INCOMPLETE,
     "Unsupported AWS 'algorithm': 'aws4-hmac-SHA256'."),
    ("a bearer", |it| it.set("authorization", "Bearer token"), INCOMPLETE, "Unsupported AWS 'algorithm': 'Bearer'."),
    ("no credential", |it| it.resign("Credential=", "Other="), INCOMPLETE,
     "Authorization header requires 'Credential' parameter."),
    ("no signed headers", |it| it.resign("SignedHeaders=", "Other="), INCOMPLETE,
     "Authorization header requires 'SignedHeaders' parameter."),
    ("no signature", |it| it.resign("Signature=", "Other="), INCOMPLETE,
     "Authorization header requires 'Signature' parameter."),
    ("two signatures", |it| it.resign("Signature=", "Signature=00, Signature="), INCOMPLETE,
     "Authorization header must have 'Signature' once."),
    ("two credentials", |it| it.resign("Credential=", "Credential=A/b, Credential="), INCOMPLETE,
     "Authorization header must have 'Credential' once."),
    ("two lists of signed headers", |it| it.resign("SignedHeaders=", "SignedHeaders=host, SignedHeaders="), INCOMPLETE,
     "Authorization header must have 'SignedHeaders' once."),
    ("a short credential", |it| it.resign("/firehose/", "/"), INCOMPLETE,
     "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got \
      'AKIDEXAMPLE/20240115/us-east-1/aws4_request'"),
    ("a long credential", |it| it.resign("/firehose/", "/firehose/x/"), INCOMPLETE,
     "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got \
      'AKIDEXAMPLE/20240115/us-east-1/firehose/x/aws4_request'"),
    ("the key in small letters", |it| it.resign("AKIDEXAMPLE", "akidexample"), UNKNOWN, NOBODY),
    ("an empty key", |it| it.resign("AKIDEXAMPLE", ""), UNKNOWN, NOBODY),
    ("another key's name", |it| it.resign("AKIDEXAMPLE", TEMPORARY.key), UNKNOWN, NOBODY),
    ("another region", |it| it.resign("us-east-1", "us-east-2"), INVALID, MISMATCH),
    ("another signature", |it| it.end_with(64, &"0".repeat(64)), INVALID, MISMATCH),
    ("half a signature", |it| it.end_with(32, ""), INCOMPLETE, NO_HEX),
    ("a signature that is no number", |it| it.end_with(1, "g"), INCOMPLETE, NO_HEX),
    ("signed headers in another order", |it| it.resign("content-type;host", "host;content-type"), INVALID, MISMATCH),
    ("a signed header less", |it| it.resign("content-type;host", "host"), INVALID, MISMATCH),
    ("a signed header more", |it| it.resign("x-amz-target", "x-amz-target;x-other"), INVALID, MISMATCH),
    ("a signed header twice", |it| it.resign("content-type;host", "content-type;host;host"), INVALID, MISMATCH),
    ("the host taken from what is signed", |it| it.resign("content-type;host", "content-type"), INVALID, NO_HOST),
    ("the date taken from what is signed", |it| it.resign("x-amz-date;", ""), INVALID, NO_DATE),
    ("no header signed", |it| it.resign("content-type;host;x-amz-date;x-amz-target", ""), INVALID, NO_HOST),
    ("a token of nobody", |it| it.add("X-Amz-Security-Token", "token"), UNKNOWN, NOBODY),
];

/// Signed as it stands, by somebody who has the secret unless it says otherwise, and still wrong.
#[rustfmt::skip]
pub(super) const SIGNED: &[Case] = &[
    ("another secret", |it| it.secret.push('x'), INVALID, MISMATCH),
    ("an unknown key", |it| it.key.push('X'), UNKNOWN, NOBODY),
    ("another service", |it| it.scope[2] = "kinesis".to_owned(), INVALID,
     "Credential should be scoped to correct service: 'firehose'."),
    ("no region", |it| it.scope[1].clear(), INVALID, "Credential should be scoped to a valid region, not ''."),
    ("an impossible region", |it| it.scope[1] = "US_EAST".to_owned(), INVALID,
     "Credential should be scoped to a valid region, not 'US_EAST'."),
    ("another terminator", |it| it.scope[3] = "aws5_request".to_owned(), INCOMPLETE,
     "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got \
      'AKIDEXAMPLE/20240115/us-east-1/firehose/aws5_request'"),
    ("a scope of the day before", |it| it.scope[0] = "20240114".to_owned(), INVALID,
     "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20240114' != '20240115', \
      from '20240115T120000Z'."),
    ("a second too old", |it| it.at("20240115T114459Z"), INVALID, LATE),
    ("a second too new", |it| it.at("20240115T121501Z"), INVALID, EARLY),
    ("a year old", |it| it.at("20230115T120000Z"), INVALID,
     "Signature expired: 20230115T120000Z is now earlier than 20240115T114500Z (20240115T120000Z - 15 min.)"),
    ("the host not signed", |it| it.signed.retain(|name| name != "host"), INVALID, NO_HOST),
    ("the date not signed", |it| it.signed.retain(|name| name != "x-amz-date"), INVALID, NO_DATE),
    ("a body that is not signed", |it| it.sign_for_body("UNSIGNED-PAYLOAD"), INVALID, MISMATCH),
    ("a body signed in chunks", |it| it.sign_for_body("STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), INVALID, MISMATCH),
    ("slashes that are signed as they stand", |it| it.path = "//".to_owned(), INVALID, MISMATCH),
    ("no path signed", |it| it.canonical_path = Some(""), INVALID, MISMATCH),
    ("a token of nobody, signed", |it| it.add_signed("X-Amz-Security-Token", "token"), UNKNOWN, NOBODY),
    ("no token where there must be one", |it| *it = Asked::temporary(), UNKNOWN, NOBODY),
    ("another token, signed", |it| { *it = Asked::temporary(); it.add_signed("X-Amz-Security-Token", "the tokem") },
     UNKNOWN, NOBODY),
    ("another token, not signed", |it| { *it = Asked::temporary(); it.add("X-Amz-Security-Token", "the tokem") },
     UNKNOWN, NOBODY),
    ("an empty token", |it| { *it = Asked::temporary(); it.add_signed("X-Amz-Security-Token", "") }, UNKNOWN, NOBODY),
];

/// Signed in the query, and changed after.
#[rustfmt::skip]
pub(super) const PRESIGNED: &[Case] = &[
    ("another parameter", |it| it.query.push(("a".to_owned(), "b".to_owned())), INVALID, MISMATCH),
    ("a longer time", |it| it.requery("X-Amz-Expires", "7200"), INVALID, MISMATCH),
    ("more than seven days", |it| it.requery("X-Amz-Expires", "604801"), INCOMPLETE, ENOUGH),
    ("no time at all", |it| it.requery("X-Amz-Expires", "0"), INCOMPLETE, ENOUGH),
    ("a time that is none", |it| it.requery("X-Amz-Expires", "1h"), INCOMPLETE, ENOUGH),
    ("a negative time", |it| it.requery("X-Amz-Expires", "-1"), INCOMPLETE, ENOUGH),
    ("another second", |it| it.requery("X-Amz-Date", "20240115T120001Z"), INVALID, MISMATCH),
    ("a date with dashes", |it| it.requery("X-Amz-Date", "2024-01-15"), INCOMPLETE,
     "Date must be in ISO-8601 'basic format'. Got '2024-01-15'."),
    ("another region", |it| it.requery("X-Amz-Credential", "AKIDEXAMPLE%2F20240115%2Feu-west-1%2Ffirehose%2Faws4_request"),
     INVALID, MISMATCH),
    ("another service", |it| it.requery("X-Amz-Credential", "AKIDEXAMPLE%2F20240115%2Fus-east-1%2Fs3%2Faws4_request"),
     INVALID, "Credential should be scoped to correct service: 'firehose'."),
    ("an unknown key", |it| it.requery("X-Amz-Credential", "AKIDX%2F20240115%2Fus-east-1%2Ffirehose%2Faws4_request"),
     UNKNOWN, NOBODY),
    ("another algorithm", |it| it.requery("X-Amz-Algorithm", "AWS4"), INCOMPLETE, "Unsupported AWS 'algorithm': 'AWS4'."),
    ("the host not signed", |it| it.requery("X-Amz-SignedHeaders", "content-type%3Bx-amz-target"), INVALID, NO_HOST),
    ("a signed header less", |it| it.requery("X-Amz-SignedHeaders", "host%3Bx-amz-target"), INVALID, MISMATCH),
    ("another signature", |it| it.requery("X-Amz-Signature", &"0".repeat(64)), INVALID, MISMATCH),
    ("a short signature", |it| it.requery("X-Amz-Signature", "00"), INCOMPLETE, NO_HEX),
    ("two signatures", |it| it.query.push(("X-Amz-Signature".to_owned(), "0".repeat(64))), INCOMPLETE,
     "AWS query-string parameters must include 'X-Amz-Signature'. Re-examine the query-string parameters."),
    ("no credential", |it| it.unquery("X-Amz-Credential"), INCOMPLETE,
     "AWS query-string parameters must include 'X-Amz-Credential'. Re-examine the query-string parameters."),
    ("no signed headers", |it| it.unquery("X-Amz-SignedHeaders"), INCOMPLETE,
     "AWS query-string parameters must include 'X-Amz-SignedHeaders'. Re-examine the query-string parameters."),
    ("no signature", |it| it.unquery("X-Amz-Signature"), INCOMPLETE,
     "AWS query-string parameters must include 'X-Amz-Signature'. Re-examine the query-string parameters."),
    ("no date", |it| it.unquery("X-Amz-Date"), INCOMPLETE,
     "AWS query-string parameters must include 'X-Amz-Date'. Re-examine the query-string parameters."),
    ("no time to live", |it| it.unquery("X-Amz-Expires"), INCOMPLETE,
     "AWS query-string parameters must include 'X-Amz-Expires'. Re-examine the query-string parameters."),
    ("no algorithm", |it| it.unquery("X-Amz-Algorithm"), MISSING, "Missing Authentication Token"),
    ("another target", |it| it.set("x-amz-target", "Firehose_20150804.ListDeliveryStreams"), INVALID, MISMATCH),
    ("another body", |it| it.body.push(b' '), INVALID, MISMATCH),
    ("a token of nobody", |it| it.query.push(("X-Amz-Security-Token".to_owned(), "x".to_owned())), INVALID, MISMATCH),
];
