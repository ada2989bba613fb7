//! A delivery stream of the YAML as the request that would have made it, as far as AWS has words for it.
//!
//! Invariant: no secret of the YAML is in it.

use hydrant_config::{
    AccountId, Backup, BackupRecords, ContentEncoding, DeliveryStream, Destination, DocumentId, Format, HttpEndpoint,
    LineCompression, ObjectStore, OpenSearch, ParquetCompression, Place, Plugin, Prefix, Splunk, SplunkEndpoint,
    SubRecords,
};
use serde_json::{Value, json};

use super::destination::{EXTENDED, HTTP_ENDPOINT, OPENSEARCH, SPLUNK};
use super::{http_endpoint, opensearch, splunk};

/// A directory has no bucket; AWS's shape wants one. The name says so and is no bucket anybody may have.
const FILE_BUCKET_ARN: &str = "arn:aws:s3:::hydrant-local-directory";
const MIB: u64 = 1 << 20;

pub(super) fn request(stream: &DeliveryStream, account: &AccountId) -> Value {
    let (name, mut members) = match &stream.destination {
        Destination::HttpEndpoint(endpoint) => (HTTP_ENDPOINT, http_endpoint(stream, endpoint)),
        Destination::OpenSearch(cluster) => (OPENSEARCH, opensearch(stream, cluster)),
        Destination::Splunk(collector) => (SPLUNK, splunk(stream, collector)),
        Destination::Objects(_) => (EXTENDED, objects(stream, account)),
    };
    members["RoleARN"] = json!(role(account));
    members["BufferingHints"] = json!({
        "SizeInMBs": stream.buffering.size.div_ceil(MIB),
        "IntervalInSeconds": stream.buffering.interval.as_secs(),
    });
    members["ProcessingConfiguration"] = processing(stream);
    if let (Some(backup), None) = (&stream.backup, stream.destination.objects()) {
        members["S3Configuration"] = bucket(&backup.store, backup.compression, account);
    }
    json!({ name: members })
}

fn role(account: &AccountId) -> String {
    format!("arn:aws:iam::{}:role/hydrant", account.as_str())
}

fn bucket(store: &ObjectStore, compression: LineCompression, account: &AccountId) -> Value {
    let ObjectStore { place, naming } = store;
    let bucket = match place {
        Place::S3 { bucket, .. } => format!("arn:aws:s3:::{bucket}"),
        Place::File { .. } => FILE_BUCKET_ARN.to_owned(),
    };
    json!({
        "RoleARN": role(account),
        "BucketARN": bucket,
        "Prefix": Prefix::text(&naming.prefix),
        "ErrorOutputPrefix": Prefix::text(&naming.error_output_prefix),
        "CompressionFormat": if compression == LineCompression::Gzip { "GZIP" } else { "UNCOMPRESSED" },
    })
}

fn mode(stream: &DeliveryStream, [failed, all]: [&'static str; 2]) -> &'static str {
    let backs_up_all = matches!(&stream.backup, Some(Backup { records: BackupRecords::All, .. }));
    if backs_up_all { all } else { failed }
}

fn http_endpoint(stream: &DeliveryStream, endpoint: &HttpEndpoint) -> Value {
    let attribute = |(name, value)| json!({ "AttributeName": name, "AttributeValue": value });
    let gzip = endpoint.content_encoding == ContentEncoding::Gzip;
    json!({
        "EndpointConfiguration": { "Url": endpoint.url.as_str() },
        "RequestConfiguration": {
            "ContentEncoding": if gzip { "GZIP" } else { "NONE" },
            "CommonAttributes": endpoint.common_attributes.iter().map(attribute).collect::<Vec<_>>(),
        },
        "RetryOptions": { "DurationInSeconds": endpoint.retry.as_secs() },
        "S3BackupMode": mode(stream, http_endpoint::MODES),
    })
}

fn opensearch(stream: &DeliveryStream, cluster: &OpenSearch) -> Value {
    let rotation = opensearch::ROTATIONS.iter().find(|(_, rotation)| *rotation == cluster.rotation);
    let [named, unnamed] = opensearch::DOCUMENT_IDS;
    let mut members = json!({
        "ClusterEndpoint": cluster.endpoint.as_str(),
        "IndexName": cluster.index,
        "IndexRotationPeriod": rotation.map(|(word, _)| word),
        "DocumentIdOptions": {
            "DefaultDocumentIdFormat": if cluster.document_id == DocumentId::None { unnamed } else { named },
        },
        "RetryOptions": { "DurationInSeconds": cluster.retry.as_secs() },
        "S3BackupMode": mode(stream, opensearch::MODES),
    });
    if let Some(name) = &cluster.type_name {
        members["TypeName"] = json!(name);
    }
    members
}

fn splunk(stream: &DeliveryStream, collector: &Splunk) -> Value {
    let [raw, event] = splunk::TYPES;
    json!({
        "HECEndpoint": collector.endpoint.as_str(),
        "HECEndpointType": if collector.endpoint_type == SplunkEndpoint::Event { event } else { raw },
        "HECAcknowledgmentTimeoutInSeconds": collector.ack_timeout.as_secs(),
        "RetryOptions": { "DurationInSeconds": collector.retry.as_secs() },
        "S3BackupMode": mode(stream, splunk::MODES),
    })
}

fn objects(stream: &DeliveryStream, account: &AccountId) -> Value {
    let gzip = matches!(stream.format, Format::Lines { compression: LineCompression::Gzip });
    let compression = if gzip { LineCompression::Gzip } else { LineCompression::None };
    let mut members = bucket(stream.error_store(), compression, account);
    let naming = &stream.error_store().naming;
    members["S3BackupMode"] = json!(mode(stream, ["Disabled", "Enabled"]));
    if let Some(backup) = &stream.backup {
        members["S3BackupConfiguration"] = bucket(&backup.store, backup.compression, account);
    }
    if naming.time_zone != chrono_tz::Tz::UTC {
        members["CustomTimeZone"] = json!(naming.time_zone.name());
    }
    if let Some(extension) = &naming.file_extension {
        members["FileExtension"] = json!(extension);
    }
    if stream.partitioning.is_some() {
        members["DynamicPartitioningConfiguration"] = json!({ "Enabled": true });
    }
    if let Format::Parquet(parquet) = &stream.format {
        members["DataFormatConversionConfiguration"] = json!({
            "Enabled": true,
            "InputFormatConfiguration": { "Deserializer": { "OpenXJsonSerDe": {} } },
            "OutputFormatConfiguration": { "Serializer": { "ParquetSerDe": {
                "Compression": parquet_compression(parquet.compression),
                "BlockSizeBytes": parquet.row_group,
            } } },
        });
    }
    members
}

fn processing(stream: &DeliveryStream) -> Value {
    let one = |name: &str, value: &str| json!({ "ParameterName": name, "ParameterValue": value });
    let parameter = |name: &str, value: &str| json!([one(name, value)]);
    let plugin = |plugin: &Plugin| {
        let name = plugin.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let arn = plugin.arn.clone().unwrap_or_else(|| format!("urn:hydrant:plugin:{name}"));
        json!({ "Type": "Lambda", "Parameters": parameter("LambdaArn", &arn) })
    };
    let deaggregation = stream.processing.deaggregate.as_ref().map(|sub_records| {
        let parameters = match sub_records {
            SubRecords::Json => parameter("SubRecordType", "JSON"),
            SubRecords::Delimited { delimiter } => {
                let delimiter = base64_simd::STANDARD.encode_to_string(delimiter);
                json!([one("SubRecordType", "DELIMITED"), one("Delimiter", &delimiter)])
            }
        };
        json!({ "Type": "RecordDeAggregation", "Parameters": parameters })
    });
    let plugins = stream.processing.plugins.iter().map(plugin);
    let mut processors: Vec<Value> = deaggregation.into_iter().chain(plugins).collect();
    if stream.partitioning.as_ref().is_some_and(|partitioning| partitioning.jq.is_some()) {
        processors
            .push(json!({ "Type": "MetadataExtraction", "Parameters": parameter("JsonParsingEngine", "JQ-1.6") }));
    }
    if stream.processing.append_delimiter {
        processors.push(json!({ "Type": "AppendDelimiterToRecord", "Parameters": parameter("Delimiter", "\\n") }));
    }
    json!({ "Enabled": !processors.is_empty(), "Processors": processors })
}

fn parquet_compression(compression: ParquetCompression) -> &'static str {
    match compression {
        ParquetCompression::None => "UNCOMPRESSED",
        ParquetCompression::Snappy => "SNAPPY",
        ParquetCompression::Gzip => "GZIP",
        ParquetCompression::Zstd => "ZSTD",
        ParquetCompression::Lz4 => "LZ4",
    }
}
