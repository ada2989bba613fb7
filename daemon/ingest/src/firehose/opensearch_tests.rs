use hydrant_config::{BackupRecords, Buffering, DeliveryStream, Login, Secret};
use serde_json::{Value, json};

use super::super::create::tests::mappings;
use super::super::delivery_stream_from_request;
use super::super::destination::{ELASTICSEARCH, OPENSEARCH};
use super::*;

const ARN: &str = "arn:aws:es:us-east-1:123456789012:domain/logs";

fn request(name: &str, more: &Value) -> Value {
    let mut members = json!({
        "RoleARN": "arn:aws:iam::123456789012:role/x", "ClusterEndpoint": "https://search.example.com:9200",
        "IndexName": "events",
        "S3Configuration": { "RoleARN": "arn:aws:iam::123456789012:role/x", "BucketARN": "arn:aws:s3:::failed" },
    });
    members.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "DeliveryStreamName": "search", name: members })
}

fn with_domain() -> Mappings {
    let endpoint = Cluster::parse_endpoint("https://search.example.com:9200").unwrap();
    let login = Login { user: "ann".to_owned(), password: Secret::new("hush") };
    let mut mappings = mappings();
    mappings.opensearch.insert(ARN.to_owned(), OpenSearchDomain { endpoint, login: Some(login), ca: None });
    mappings
}

fn made(more: &Value, mappings: &Mappings) -> Result<DeliveryStream, ApiError> {
    delivery_stream_from_request(&request(OPENSEARCH, more), ("eu-west-1", 1), mappings)
}

fn cluster(stream: &DeliveryStream) -> &Cluster {
    let Destination::OpenSearch(cluster) = &stream.destination else { panic!("{:?}", stream.destination) };
    cluster
}

#[test]
fn the_smallest_request_gets_awss_defaults_by_either_name() {
    for name in [OPENSEARCH, ELASTICSEARCH] {
        let stream = delivery_stream_from_request(&request(name, &json!({})), ("eu-west-1", 1), &mappings()).unwrap();
        let made = cluster(&stream);
        assert_eq!((made.endpoint.as_str(), &*made.index), ("https://search.example.com:9200/", "events"));
        assert_eq!((made.rotation, made.document_id), (IndexRotation::OneDay, DocumentId::Default));
        assert!(made.login.is_none() && made.type_name.is_none());
        assert_eq!(made.retry, Duration::from_secs(300));
        assert_eq!(
            stream.buffering,
            Buffering { size: 5 << 20, object_size: None, interval: Duration::from_secs(300) }
        );
        assert_eq!(stream.backup.as_ref().unwrap().records, BackupRecords::Failed);
    }
}

#[test]
fn everything_arrives_in_the_delivery_stream() {
    let stream = made(
        &json!({
            "TypeName": "_doc", "IndexRotationPeriod": "OneWeek",
            "DocumentIdOptions": { "DefaultDocumentIdFormat": "NO_DOCUMENT_ID" },
            "BufferingHints": { "SizeInMBs": 100, "IntervalInSeconds": 0 },
            "RetryOptions": { "DurationInSeconds": 7200 }, "S3BackupMode": "AllDocuments",
        }),
        &mappings(),
    )
    .unwrap();
    let made = cluster(&stream);
    assert_eq!((made.rotation, made.document_id), (IndexRotation::OneWeek, DocumentId::None));
    assert_eq!((made.type_name.as_deref(), made.retry), (Some("_doc"), Duration::from_secs(7200)));
    assert_eq!(stream.buffering, Buffering { size: 100 << 20, object_size: None, interval: Duration::ZERO });
    assert_eq!(stream.backup.as_ref().unwrap().records, BackupRecords::All);
}

#[test]
fn a_domain_is_the_cluster_that_the_configuration_says() {
    let by_arn = json!({ "DomainARN": ARN, "ClusterEndpoint": null });
    for more in [&by_arn, &json!({})] {
        let stream = made(more, &with_domain()).unwrap();
        let login = cluster(&stream).login.as_ref().unwrap();
        assert_eq!((&*login.user, login.password.reveal()), ("ann", "hush"));
        assert_eq!(cluster(&stream).endpoint.as_str(), "https://search.example.com:9200/");
    }
    let elsewhere = made(&json!({ "ClusterEndpoint": "https://other.example.com" }), &with_domain()).unwrap();
    assert!(cluster(&elsewhere).login.is_none(), "a password goes to its own cluster only");
    let text = made(&by_arn, &mappings()).unwrap_err().message;
    assert!(text.contains("give its ClusterEndpoint instead of DomainARN") && text.contains(ARN), "{text}");
}

#[test]
fn what_cannot_be_is_refused_with_what_to_do() {
    let argument = "InvalidArgumentException";
    let delimiter = json!({ "Enabled": true, "Processors": [{ "Type": "AppendDelimiterToRecord" }] });
    for (more, code, text) in [
        (json!({ "DomainARN": ARN }), argument, "Exactly one of ClusterEndpoint and DomainARN"),
        (json!({ "ClusterEndpoint": null }), argument, "Exactly one of ClusterEndpoint and DomainARN"),
        (json!({ "ClusterEndpoint": "https://ann:hush@x" }), argument, "`opensearch` of the configuration"),
        (json!({ "IndexName": "Events" }), argument, "IndexName Events is no name"),
        (json!({ "VpcConfiguration": { "SubnetIds": ["a"] } }), argument, "VpcConfiguration is not supported"),
        (json!({ "ProcessingConfiguration": delimiter }), argument, "no delimiters"),
        (json!({ "RoleARN": null, "IndexName": null }), "ValidationException", "2 validation errors"),
        (
            json!({ "IndexRotationPeriod": "OneYear" }),
            "ValidationException",
            "[NoRotation, OneHour, OneDay, OneWeek, OneMonth]",
        ),
        (json!({ "DocumentIdOptions": {} }), "ValidationException", "documentIdOptions.defaultDocumentIdFormat"),
        (json!({ "S3BackupMode": "AllData" }), "ValidationException", "[FailedDocumentsOnly, AllDocuments]"),
        (json!({ "BufferingHints": { "SizeInMBs": 101 } }), "ValidationException", "less than or equal to 100"),
    ] {
        let error = made(&more, &mappings()).unwrap_err();
        assert!(error.code == code && error.message.contains(text), "{more}: {error}");
        assert!(!error.message.contains("hush"), "{error}");
    }
}
