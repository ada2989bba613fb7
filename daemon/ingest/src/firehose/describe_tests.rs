use std::path::Path;

use hydrant_config::{DeliveryStream, Environment, load_text};

use super::super::create::tests::mappings;
use super::super::delivery_stream_from_request;
use super::*;

const ROLE: &str = "arn:aws:iam::123456789012:role/x";

fn bucket(name: &str) -> Value {
    json!({ "RoleARN": ROLE, "BucketARN": format!("arn:aws:s3:::{name}") })
}

/// As [`bucket`] is described.
fn bucket_shown(name: &str) -> Value {
    json!({
        "RoleARN": ROLE, "BucketARN": format!("arn:aws:s3:::{name}"),
        "BufferingHints": { "SizeInMBs": 5, "IntervalInSeconds": 300 },
        "CompressionFormat": "UNCOMPRESSED",
        "EncryptionConfiguration": { "NoEncryptionConfig": "NoEncryption" },
        "CloudWatchLoggingOptions": { "Enabled": false },
    })
}

#[test]
fn a_bucket_is_shown_twice_and_its_backup_once() {
    let mut given = bucket("lake");
    given["S3BackupMode"] = json!("Enabled");
    given["S3BackupConfiguration"] = bucket("raw");
    given["NoSuchMember"] = json!(1);
    let shown = destination(&json!({ EXTENDED: given }));
    let mut extended = bucket_shown("lake");
    extended["ProcessingConfiguration"] = json!({ "Enabled": false, "Processors": [] });
    extended["S3BackupMode"] = json!("Enabled");
    extended["S3BackupDescription"] = bucket_shown("raw");
    extended["DataFormatConversionConfiguration"] = json!({ "Enabled": false });
    assert_eq!(
        shown,
        json!({
            "DestinationId": DESTINATION_ID,
            "S3DestinationDescription": bucket_shown("lake"),
            "ExtendedS3DestinationDescription": extended,
        })
    );
}

#[test]
fn an_http_endpoint_is_shown_without_its_access_key() {
    let given = json!({
        "EndpointConfiguration": { "Url": "https://in.example.com", "Name": "Partner", "AccessKey": "hush" },
        "S3Configuration": bucket("failed"), "RetryOptions": null,
    });
    assert_eq!(
        destination(&json!({ HTTP_ENDPOINT: given })),
        json!({
            "DestinationId": DESTINATION_ID,
            "HttpEndpointDestinationDescription": {
                "EndpointConfiguration": { "Url": "https://in.example.com", "Name": "Partner" },
                "RequestConfiguration": { "ContentEncoding": "NONE", "CommonAttributes": [] },
                "BufferingHints": { "SizeInMBs": 5, "IntervalInSeconds": 300 },
                "CloudWatchLoggingOptions": { "Enabled": false },
                "ProcessingConfiguration": { "Enabled": false, "Processors": [] },
                "RetryOptions": { "DurationInSeconds": 300 },
                "S3BackupMode": "FailedDataOnly",
                "S3DestinationDescription": bucket_shown("failed"),
            },
        })
    );
}

#[test]
fn clusters_and_collectors_are_shown_with_awss_defaults() {
    let cluster = json!({
        "RoleARN": ROLE, "ClusterEndpoint": "https://x", "IndexName": "events", "S3Configuration": bucket("failed"),
    });
    let shown = |name: &str, shown: &str| destination(&json!({ name: cluster }))[shown].clone();
    let amazon = shown(OPENSEARCH, "AmazonopensearchserviceDestinationDescription");
    assert_eq!(amazon, shown(ELASTICSEARCH, "ElasticsearchDestinationDescription"));
    assert_eq!(
        amazon,
        json!({
            "RoleARN": ROLE, "ClusterEndpoint": "https://x", "IndexName": "events", "IndexRotationPeriod": "OneDay",
            "BufferingHints": { "SizeInMBs": 5, "IntervalInSeconds": 300 }, "RetryOptions": { "DurationInSeconds": 300 },
            "S3BackupMode": "FailedDocumentsOnly", "S3DestinationDescription": bucket_shown("failed"),
            "ProcessingConfiguration": { "Enabled": false, "Processors": [] },
            "CloudWatchLoggingOptions": { "Enabled": false },
            "DocumentIdOptions": { "DefaultDocumentIdFormat": "FIREHOSE_DEFAULT" },
        })
    );
    let collector = json!({
        "HECEndpoint": "https://x", "HECEndpointType": "Raw", "HECToken": "t0ken", "S3Configuration": bucket("failed"),
    });
    assert_eq!(
        destination(&json!({ SPLUNK: collector }))["SplunkDestinationDescription"],
        json!({
            "HECEndpoint": "https://x", "HECEndpointType": "Raw", "HECToken": "t0ken",
            "HECAcknowledgmentTimeoutInSeconds": 180, "RetryOptions": { "DurationInSeconds": 3600 },
            "BufferingHints": { "SizeInMBs": 5, "IntervalInSeconds": 60 },
            "S3BackupMode": "FailedEventsOnly", "S3DestinationDescription": bucket_shown("failed"),
            "ProcessingConfiguration": { "Enabled": false, "Processors": [] },
            "CloudWatchLoggingOptions": { "Enabled": false },
        })
    );
}

/// The only delivery stream of a configuration, with this destination and what else it has.
fn of_yaml(parts: &str) -> DeliveryStream {
    let text = format!("account: '123456789012'\ns3: {{ region: us-east-1 }}\ndelivery_streams:\n- name: one\n{parts}");
    let loaded = load_text(&text, Path::new("hydrant.yaml"), &Environment::of([]));
    loaded.unwrap_or_else(|problems| panic!("{problems}")).config.delivery_streams.remove(0)
}

/// What it is shown as, after it was made again from that by the API.
fn made_again(stream: &DeliveryStream) -> (Value, DeliveryStream) {
    let mut request = super::super::of_yaml::request(stream, &mappings().account);
    let shown = destination(&request);
    request["DeliveryStreamName"] = json!("one");
    if request.get(SPLUNK).is_some() {
        request[SPLUNK]["HECToken"] = json!("hush");
    }
    let again = delivery_stream_from_request(&request, ("us-east-1", 1), &mappings());
    (shown, again.unwrap_or_else(|error| panic!("{request}: {error}")))
}

/// Everything that two delivery streams are compared by.
fn parts(stream: &DeliveryStream) -> String {
    format!(
        "{:?}\n{:?}\n{:?}\n{:?}\n{:?}",
        stream.buffering, stream.processing, stream.format, stream.destination, stream.backup
    )
}

#[test]
fn what_the_yaml_makes_is_shown_as_what_would_make_it() {
    for yaml in [
        "  destination: { s3: { bucket: lake, path_style: true } }\n  \
           backup: { records: all, s3: { bucket: raw, prefix: raw/, path_style: true } }",
        "  buffering: { size: 2 MiB, interval: 3 s }\n  \
           destination: { http_endpoint: { url: 'https://in.example.com/x', common_attributes: { a: b }, \
                                           content_encoding: gzip, retry: 7 s } }\n  \
           backup: { records: all, s3: { bucket: raw, path_style: true } }\n  format: { lines: { compression: gzip } }",
        "  destination: { opensearch: { endpoint: 'http://x:9200', index: events, index_rotation: one_month, type_name: a, \
                                        document_id: no_document_id, retry: 7 s } }\n  \
           backup: { s3: { bucket: raw, path_style: true } }",
        "  buffering: { size: 5 MiB, interval: 60 s }\n  \
           destination: { splunk: { endpoint: 'http://x:8088', token: 'plain:hush', endpoint_type: event, retry: 7 s } }\n  \
           backup: { s3: { bucket: raw, path_style: true } }",
    ] {
        let stream = of_yaml(yaml);
        let (_, again) = made_again(&stream);
        assert_eq!(parts(&again), parts(&stream));
    }
    let secret = of_yaml(
        "  destination: { http_endpoint: { url: 'https://in.example.com/x', access_key: 'plain:hush' } }\n  \
           backup: { file: { directory: ./failed } }",
    );
    let (shown, _) = made_again(&secret);
    assert!(!shown.to_string().contains("hush"), "{shown}");
    let bucket = &shown["HttpEndpointDestinationDescription"]["S3DestinationDescription"]["BucketARN"];
    assert_eq!(bucket, "arn:aws:s3:::hydrant-local-directory");
}
