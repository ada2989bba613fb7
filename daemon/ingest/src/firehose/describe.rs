//! What DescribeDeliveryStream shows: the stored request with AWS's defaults filled in, and without what AWS does not show. A
//! stream from YAML is shown as the request that would have made it.

use serde_json::{Map, Value, json};

use super::destination::{ELASTICSEARCH, EXTENDED, HTTP_ENDPOINT, OPENSEARCH, PLAIN, SPLUNK};
use super::{Mappings, http_endpoint, of_yaml, opensearch, splunk, stream_arn};
use crate::{Entry, Origin};

pub(super) const DESTINATION_ID: &str = "destinationId-000000000001";
const S3_MEMBERS: [&str; 8] = [
    "RoleARN",
    "BucketARN",
    "Prefix",
    "ErrorOutputPrefix",
    "BufferingHints",
    "CompressionFormat",
    "EncryptionConfiguration",
    "CloudWatchLoggingOptions",
];
const EXTENDED_MEMBERS: [&str; 6] = [
    "ProcessingConfiguration",
    "S3BackupMode",
    "DataFormatConversionConfiguration",
    "DynamicPartitioningConfiguration",
    "FileExtension",
    "CustomTimeZone",
];
const HTTP_MEMBERS: [&str; 9] = [
    "EndpointConfiguration",
    "BufferingHints",
    "CloudWatchLoggingOptions",
    "RequestConfiguration",
    "ProcessingConfiguration",
    "RoleARN",
    "RetryOptions",
    "S3BackupMode",
    "SecretsManagerConfiguration",
];

const OPENSEARCH_MEMBERS: [&str; 12] = [
    "RoleARN",
    "DomainARN",
    "ClusterEndpoint",
    "IndexName",
    "TypeName",
    "IndexRotationPeriod",
    "BufferingHints",
    "RetryOptions",
    "S3BackupMode",
    "ProcessingConfiguration",
    "CloudWatchLoggingOptions",
    "DocumentIdOptions",
];
/// The token among them, as at AWS.
const SPLUNK_MEMBERS: [&str; 10] = [
    "HECEndpoint",
    "HECEndpointType",
    "HECToken",
    "HECAcknowledgmentTimeoutInSeconds",
    "RetryOptions",
    "S3BackupMode",
    "ProcessingConfiguration",
    "CloudWatchLoggingOptions",
    "BufferingHints",
    "SecretsManagerConfiguration",
];

type Members = Map<String, Value>;

pub(super) fn describe(entry: &Entry, region: &str, mappings: &Mappings) -> Value {
    let definition = entry.definition();
    let synthesised;
    let request = match &definition.origin {
        Origin::Api { request } => request,
        Origin::Yaml(stream) => {
            synthesised = of_yaml::request(stream, &mappings.account);
            &synthesised
        }
    };
    let mut description = json!({
        "DeliveryStreamName": definition.name.as_str(),
        "DeliveryStreamARN": stream_arn(&mappings.account, region, definition.name.as_str()),
        "DeliveryStreamStatus": entry.status().as_str(),
        "DeliveryStreamEncryptionConfiguration": super::encryption::describe(&definition.settings),
        "DeliveryStreamType": super::kind_of(&definition),
        "VersionId": definition.version_id.to_string(),
        "CreateTimestamp": seconds(definition.created_at.as_millis()),
        "Destinations": [destination(request)],
        "HasMoreDestinations": false,
    });
    if let Some(millis) = definition.settings.updated_at_ms {
        description["LastUpdateTimestamp"] = seconds(millis).into();
    }
    if let Some(source) = super::source::describe(&definition, request, (&mappings.account, region)) {
        description["Source"] = source;
    }
    json!({ "DeliveryStreamDescription": description })
}

/// Milliseconds as AWS's JSON timestamps, exact to the millisecond.
#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 need 41 bits, a double has 53")]
pub(super) fn seconds(millis: u64) -> f64 {
    millis as f64 / 1000.0
}

/// Of the one destination that a request has.
fn destination(request: &Value) -> Value {
    let given = |name: &str| request.get(name).and_then(Value::as_object);
    let mut shown = json!({ "DestinationId": DESTINATION_ID });
    if let Some(given) = given(HTTP_ENDPOINT) {
        shown["HttpEndpointDestinationDescription"] = http_endpoint(given).into();
    } else if let Some(given) = given(OPENSEARCH) {
        shown["AmazonopensearchserviceDestinationDescription"] = opensearch(given).into();
    } else if let Some(given) = given(ELASTICSEARCH) {
        shown["ElasticsearchDestinationDescription"] = opensearch(given).into();
    } else if let Some(given) = given(SPLUNK) {
        shown["SplunkDestinationDescription"] = splunk(given).into();
    } else if let Some(given) = given(EXTENDED).or_else(|| given(PLAIN)) {
        let extended = extended(given);
        shown["S3DestinationDescription"] = picked(&extended, &S3_MEMBERS).into();
        shown["ExtendedS3DestinationDescription"] = extended.into();
    }
    shown
}

/// Those that are given of the members that there are.
fn picked(given: &Members, members: &[&str]) -> Members {
    let member = |name: &&str| given.get(*name).map(|value| ((*name).to_owned(), value.clone()));
    members.iter().filter_map(member).filter(|(_, value)| !value.is_null()).collect()
}

fn fill<const N: usize>(members: &mut Members, defaults: [(&str, Value); N]) {
    for (name, value) in defaults {
        members.entry(name).or_insert(value);
    }
}

/// Buffering, processing and logging, which every destination has.
fn usual(members: &mut Members, (size_mib, interval_s): (i64, i64)) {
    let hints = json!({ "SizeInMBs": size_mib, "IntervalInSeconds": interval_s });
    fill(
        members,
        [
            ("BufferingHints", hints.clone()),
            ("CloudWatchLoggingOptions", json!({ "Enabled": false })),
            ("ProcessingConfiguration", json!({ "Enabled": false, "Processors": [] })),
        ],
    );
    let given = &mut members["BufferingHints"];
    if given.as_object().is_some_and(|given| given.values().all(Value::is_null)) {
        *given = hints;
    }
}

/// A bucket, plain.
fn bucket(given: &Members) -> Members {
    let mut members = picked(given, &S3_MEMBERS);
    usual(&mut members, (5, 300));
    members.remove("ProcessingConfiguration");
    encoded(&mut members);
    members
}

fn encoded(members: &mut Members) {
    fill(
        members,
        [
            ("CompressionFormat", json!("UNCOMPRESSED")),
            ("EncryptionConfiguration", json!({ "NoEncryptionConfig": "NoEncryption" })),
        ],
    );
}

fn extended(given: &Members) -> Members {
    let mut members = picked(given, &[&S3_MEMBERS[..], &EXTENDED_MEMBERS].concat());
    let enabled = |name: &str, absent: bool| {
        let part = members.get(name);
        part.is_some_and(|part| part.get("Enabled").and_then(Value::as_bool).unwrap_or(absent))
    };
    let partitioned = enabled("DynamicPartitioningConfiguration", false);
    let converted = enabled("DataFormatConversionConfiguration", true);
    if partitioned {
        let part = &mut members["DynamicPartitioningConfiguration"];
        if part.get("RetryOptions").is_none_or(Value::is_null) {
            part["RetryOptions"] = json!({ "DurationInSeconds": 300 });
        }
    }
    if converted {
        members["DataFormatConversionConfiguration"]["Enabled"] = json!(true);
    }
    usual(&mut members, (if partitioned || converted { 128 } else { 5 }, 300));
    encoded(&mut members);
    fill(
        &mut members,
        [("S3BackupMode", json!("Disabled")), ("DataFormatConversionConfiguration", json!({ "Enabled": false }))],
    );
    if let Some(backup) = given.get("S3BackupConfiguration").and_then(Value::as_object) {
        members.insert("S3BackupDescription".to_owned(), bucket(backup).into());
    }
    members
}

/// What is the same for all that take requests.
fn requests(given: &Members, names: &[&str], (hints, retry_s, mode): ((i64, i64), i64, &str)) -> Members {
    let mut members = picked(given, names);
    usual(&mut members, hints);
    fill(&mut members, [("RetryOptions", json!({ "DurationInSeconds": retry_s })), ("S3BackupMode", json!(mode))]);
    if let Some(backup) = given.get("S3Configuration").and_then(Value::as_object) {
        members.insert("S3DestinationDescription".to_owned(), bucket(backup).into());
    }
    members
}

fn http_endpoint(given: &Members) -> Members {
    let mut members = requests(given, &HTTP_MEMBERS, ((5, 300), 300, http_endpoint::MODES[0]));
    // The access key is for the endpoint alone.
    if let Some(endpoint) = given.get("EndpointConfiguration").and_then(Value::as_object) {
        members.insert("EndpointConfiguration".to_owned(), picked(endpoint, &["Url", "Name"]).into());
    }
    let mut request = given.get("RequestConfiguration").and_then(Value::as_object).cloned().unwrap_or_default();
    request.retain(|_, value| !value.is_null());
    fill(&mut request, [("ContentEncoding", json!("NONE")), ("CommonAttributes", json!([]))]);
    members.insert("RequestConfiguration".to_owned(), request.into());
    members
}

fn opensearch(given: &Members) -> Members {
    let mut members = requests(given, &OPENSEARCH_MEMBERS, ((5, 300), 300, opensearch::MODES[0]));
    fill(
        &mut members,
        [
            ("IndexRotationPeriod", json!("OneDay")),
            ("DocumentIdOptions", json!({ "DefaultDocumentIdFormat": opensearch::DOCUMENT_IDS[0] })),
        ],
    );
    members
}

fn splunk(given: &Members) -> Members {
    let mut members = requests(given, &SPLUNK_MEMBERS, ((5, 60), 3600, splunk::MODES[0]));
    fill(&mut members, [("HECAcknowledgmentTimeoutInSeconds", json!(180))]);
    members
}

#[cfg(test)]
#[path = "describe_tests.rs"]
mod tests;
