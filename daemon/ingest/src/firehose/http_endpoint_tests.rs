use hydrant_config::{Authorities, BackupRecords, Buffering, DeliveryStream, Format, LineCompression};
use serde_json::{Value, json};

use super::super::create::tests::mappings;
use super::super::delivery_stream_from_request;
use super::*;

/// A request with these members more, or others instead.
fn request(more: &Value) -> Value {
    let mut members = json!({
        "EndpointConfiguration": { "Url": "https://in.example.com/firehose?team=web" },
        "S3Configuration": { "RoleARN": "arn:aws:iam::123456789012:role/x", "BucketARN": "arn:aws:s3:::failed" },
    });
    members.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "DeliveryStreamName": "partner", "HttpEndpointDestinationConfiguration": members })
}

fn made(more: &Value) -> Result<DeliveryStream, ApiError> {
    delivery_stream_from_request(&request(more), ("eu-west-1", 1), &mappings())
}

fn endpoint(stream: &DeliveryStream) -> &Endpoint {
    let Destination::HttpEndpoint(endpoint) = &stream.destination else { panic!("{:?}", stream.destination) };
    endpoint
}

#[test]
fn the_smallest_request_gets_awss_defaults() {
    let stream = made(&json!({})).unwrap();
    let made = endpoint(&stream);
    assert_eq!(made.url.as_str(), "https://in.example.com/firehose?team=web");
    assert!(made.access_key.is_none() && made.common_attributes.is_empty());
    assert_eq!((made.content_encoding, made.retry), (ContentEncoding::None, Duration::from_secs(300)));
    assert_eq!(made.source_arn, "arn:aws:firehose:eu-west-1:123456789012:deliverystream/partner");
    assert_eq!(stream.buffering, Buffering { size: 5 << 20, object_size: None, interval: Duration::from_secs(300) });
    assert_eq!(stream.backup.as_ref().unwrap().records, BackupRecords::Failed);
    assert!(!stream.processing.append_delimiter);
}

#[test]
fn the_yaml_says_which_certificates_are_trusted_beside_the_systems() {
    let ca = Authorities { path: "ca.pem".into(), pem: b"PEM".as_slice().into() };
    let mappings = Mappings { destinations_ca: Some(ca.clone()), ..mappings() };
    let stream = delivery_stream_from_request(&request(&json!({})), ("eu-west-1", 1), &mappings).unwrap();
    assert_eq!(endpoint(&stream).ca.as_ref().map(|ca| &ca.path), Some(&ca.path));
    assert!(endpoint(&made(&json!({})).unwrap()).ca.is_none());
}

#[test]
fn everything_arrives_in_the_delivery_stream() {
    let stream = made(&json!({
        "EndpointConfiguration": { "Url": "http://127.0.0.1:1/", "Name": "Partner", "AccessKey": "hush" },
        "BufferingHints": { "SizeInMBs": 64, "IntervalInSeconds": 0 },
        "RequestConfiguration": { "ContentEncoding": "GZIP", "CommonAttributes": [
            { "AttributeName": "team", "AttributeValue": "web" }, { "AttributeName": "none", "AttributeValue": "" },
        ] },
        "ProcessingConfiguration": { "Enabled": true, "Processors": [{ "Type": "AppendDelimiterToRecord" }] },
        "RoleARN": "arn:aws:iam::123456789012:role/x",
        "RetryOptions": { "DurationInSeconds": 0 },
        "S3BackupMode": "AllData",
        "S3Configuration": {
            "RoleARN": "arn:aws:iam::123456789012:role/x", "BucketARN": "arn:aws:s3:::all", "Prefix": "all/",
            "CompressionFormat": "GZIP",
        },
        "SecretsManagerConfiguration": { "Enabled": false },
    }))
    .unwrap();
    let made = endpoint(&stream);
    assert_eq!(made.access_key.as_ref().map(Secret::reveal), Some("hush"));
    assert_eq!((made.content_encoding, made.retry), (ContentEncoding::Gzip, Duration::ZERO));
    let attributes: Vec<_> = made.common_attributes.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(attributes, [("none", ""), ("team", "web")]);
    assert_eq!(stream.buffering, Buffering { size: 64 << 20, object_size: None, interval: Duration::ZERO });
    assert!(stream.processing.append_delimiter);
    assert!(matches!(stream.format, Format::Lines { compression: LineCompression::Gzip }));
    let backup = stream.backup.as_ref().unwrap();
    assert_eq!((backup.records, backup.compression), (BackupRecords::All, LineCompression::Gzip));
}

#[test]
fn constraints_name_the_member_and_show_no_secret() {
    let error = made(&json!({
        "EndpointConfiguration": { "Name": " ", "AccessKey": "s".repeat(4097) },
        "BufferingHints": { "SizeInMBs": 65, "IntervalInSeconds": 901 },
        "RequestConfiguration": { "ContentEncoding": "ZSTD", "CommonAttributes": [{ "AttributeName": "" }] },
        "RetryOptions": { "DurationInSeconds": 7201 },
        "S3Configuration": null,
    }))
    .unwrap_err();
    assert_eq!(error.code, "ValidationException");
    for at in [
        "null at 'httpEndpointDestinationConfiguration.endpointConfiguration.url'",
        "' ' at 'httpEndpointDestinationConfiguration.endpointConfiguration.name'",
        "Value at 'httpEndpointDestinationConfiguration.endpointConfiguration.accessKey'",
        "[NONE, GZIP]",
        "'httpEndpointDestinationConfiguration.requestConfiguration.commonAttributes.1.member.attributeName'",
        "null at 'httpEndpointDestinationConfiguration.requestConfiguration.commonAttributes.1.member.attributeValue'",
        "'65' at 'httpEndpointDestinationConfiguration.bufferingHints.sizeInMBs'",
        "'901' at",
        "'7201' at 'httpEndpointDestinationConfiguration.retryOptions.durationInSeconds'",
    ] {
        assert!(error.message.contains(at), "{at}: {error}");
    }
    assert!(!error.message.contains("ssss"), "{error}");
    let error = made(&json!({ "S3Configuration": null, "S3BackupMode": "AllEvents" })).unwrap_err();
    assert!(error.message.contains("null at 'httpEndpointDestinationConfiguration.s3Configuration'"), "{error}");
    assert!(error.message.contains("[FailedDataOnly, AllData]"), "{error}");
}

#[test]
fn what_cannot_be_is_refused_with_what_to_do() {
    let url = |url: &str| json!({ "EndpointConfiguration": { "Url": url } });
    let twice =
        json!([{ "AttributeName": "a", "AttributeValue": "1" }, { "AttributeName": "a", "AttributeValue": "2" }]);
    let query = json!({ "Type": "MetadataExtraction", "Parameters": [
        { "ParameterName": "MetadataExtractionQuery", "ParameterValue": "{a:.a}" },
        { "ParameterName": "JsonParsingEngine", "ParameterValue": "JQ-1.6" },
    ] });
    for (more, text) in [
        (url("ftp://in.example.com"), "must be an https:// or http:// URL"),
        (url("in.example.com"), "must be an https:// or http:// URL"),
        (url("https://user:secret@in.example.com"), "goes into AccessKey"),
        (json!({ "EndpointConfiguration": { "Url": "https://x", "AccessKey": "a\nb" } }), "printable ASCII"),
        (json!({ "RequestConfiguration": { "CommonAttributes": twice } }), "each AttributeName once"),
        (json!({ "BufferingHints": { "SizeInMBs": 1 } }), "or neither"),
        (json!({ "SecretsManagerConfiguration": { "Enabled": true } }), "give the AccessKey in EndpointConfiguration"),
        (json!({ "CloudWatchLoggingOptions": { "Enabled": true } }), "CloudWatchLoggingOptions.Enabled true"),
        (json!({ "ProcessingConfiguration": { "Enabled": true, "Processors": [query] } }), "Dynamic Partitioning"),
    ] {
        let error = made(&more).unwrap_err();
        assert!(error.code == "InvalidArgumentException" && error.message.contains(text), "{more}: {error}");
        assert!(!error.message.contains("secret@"), "{error}");
    }
}
