use hydrant_config::{BackupRecords, Buffering, DeliveryStream};
use serde_json::{Value, json};

use super::super::create::tests::mappings;
use super::super::delivery_stream_from_request;
use super::*;

fn made(more: &Value) -> Result<DeliveryStream, ApiError> {
    let mut members = json!({
        "HECEndpoint": "https://splunk.example.com:8088", "HECEndpointType": "Raw", "HECToken": "t0ken",
        "S3Configuration": { "RoleARN": "arn:aws:iam::123456789012:role/x", "BucketARN": "arn:aws:s3:::failed" },
    });
    members.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let request = json!({ "DeliveryStreamName": "audit", "SplunkDestinationConfiguration": members });
    delivery_stream_from_request(&request, ("eu-west-1", 1), &mappings())
}

fn collector(stream: &DeliveryStream) -> &Collector {
    let Destination::Splunk(collector) = &stream.destination else { panic!("{:?}", stream.destination) };
    collector
}

#[test]
fn the_smallest_request_gets_awss_defaults() {
    let stream = made(&json!({})).unwrap();
    let made = collector(&stream);
    assert_eq!((made.endpoint.as_str(), made.token.reveal()), ("https://splunk.example.com:8088/", "t0ken"));
    assert_eq!(made.endpoint_type, SplunkEndpoint::Raw);
    assert_eq!((made.ack_timeout, made.retry), (Duration::from_secs(180), Duration::from_secs(3600)));
    assert_eq!(stream.buffering, Buffering { size: 5 << 20, object_size: None, interval: Duration::from_secs(60) });
    assert!(!stream.processing.append_delimiter, "as at AWS, delimiters are the producer's matter");
    assert_eq!(stream.backup.as_ref().unwrap().records, BackupRecords::Failed);
}

#[test]
fn everything_arrives_in_the_delivery_stream() {
    let stream = made(&json!({
        "HECEndpointType": "Event", "HECAcknowledgmentTimeoutInSeconds": 600,
        "RetryOptions": { "DurationInSeconds": 0 }, "S3BackupMode": "AllEvents",
        "BufferingHints": { "SizeInMBs": 1, "IntervalInSeconds": 0 },
        "ProcessingConfiguration": { "Enabled": true, "Processors": [{ "Type": "AppendDelimiterToRecord" }] },
    }))
    .unwrap();
    let made = collector(&stream);
    assert_eq!(made.endpoint_type, SplunkEndpoint::Event);
    assert_eq!((made.ack_timeout, made.retry), (Duration::from_secs(600), Duration::ZERO));
    assert_eq!(stream.buffering, Buffering { size: 1 << 20, object_size: None, interval: Duration::ZERO });
    assert!(stream.processing.append_delimiter);
    assert_eq!(stream.backup.as_ref().unwrap().records, BackupRecords::All);
}

#[test]
fn what_cannot_be_is_refused_with_what_to_do() {
    let argument = "InvalidArgumentException";
    for (more, code, text) in [
        (json!({ "HECToken": null }), argument, "HECToken must be given"),
        (json!({ "HECToken": "a\nb" }), argument, "printable ASCII"),
        (json!({ "HECEndpoint": "splunk.example.com" }), argument, "HECEndpoint must be"),
        (
            json!({ "HECToken": null, "SecretsManagerConfiguration": { "Enabled": true } }),
            argument,
            "give the HECToken",
        ),
        (
            json!({ "HECToken": "h".repeat(2049) }),
            "ValidationException",
            "Value at 'splunkDestinationConfiguration.hECToken'",
        ),
        (json!({ "HECEndpoint": null, "HECEndpointType": null }), "ValidationException", "2 validation errors"),
        (json!({ "HECEndpointType": "Batch" }), "ValidationException", "[Raw, Event]"),
        (json!({ "HECAcknowledgmentTimeoutInSeconds": 179 }), "ValidationException", "greater than or equal to 180"),
        (
            json!({ "BufferingHints": { "SizeInMBs": 6, "IntervalInSeconds": 61 } }),
            "ValidationException",
            "2 validation",
        ),
        (json!({ "S3BackupMode": "AllData" }), "ValidationException", "[FailedEventsOnly, AllEvents]"),
    ] {
        let error = made(&more).unwrap_err();
        assert!(error.code == code && error.message.contains(text), "{more}: {error}");
        assert!(!error.message.contains("hhhh"), "{error}");
    }
}
