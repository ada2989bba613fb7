//! What DescribeDeliveryStream shows: the stored request with AWS's defaults filled in. A stream from YAML is shown as the
//! request that would have made it, as far as AWS has words for it.

use hydrant_config::{
    AccountId, DeliveryStream, Format, LineCompression, ObjectStore, ParquetCompression, Place, Plugin, Prefix,
};
use serde_json::{Map, Value, json};

use super::{Mappings, stream_arn};
use crate::{Entry, Origin};

pub(super) const DESTINATION_ID: &str = "destinationId-000000000001";
/// A directory has no bucket; AWS's shape wants one. The name says so and is no bucket anybody may have.
const FILE_BUCKET_ARN: &str = "arn:aws:s3:::hydrant-local-directory";
const MIB: u64 = 1 << 20;

pub(super) fn describe(entry: &Entry, region: &str, mappings: &Mappings) -> Value {
    let definition = entry.definition();
    let synthesised;
    let request = match &definition.origin {
        Origin::Api { request } => request,
        Origin::Yaml(stream) => {
            synthesised = json!({ "ExtendedS3DestinationConfiguration": of_yaml(stream, &mappings.account) });
            &synthesised
        }
    };
    let extended = extended(request);
    let mut description = json!({
        "DeliveryStreamName": definition.name.as_str(),
        "DeliveryStreamARN": stream_arn(&mappings.account, region, definition.name.as_str()),
        "DeliveryStreamStatus": entry.status().as_str(),
        "DeliveryStreamEncryptionConfiguration": super::encryption::describe(&definition.settings),
        "DeliveryStreamType": super::kind_of(&definition),
        "VersionId": definition.version_id.to_string(),
        "CreateTimestamp": seconds(definition.created_at.as_millis()),
        "Destinations": [{
            "DestinationId": DESTINATION_ID,
            "S3DestinationDescription": plain(&extended),
            "ExtendedS3DestinationDescription": extended,
        }],
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

fn extended(request: &Value) -> Map<String, Value> {
    let given = |name: &str| request.get(name).and_then(Value::as_object);
    let given = given("ExtendedS3DestinationConfiguration").or_else(|| given("S3DestinationConfiguration"));
    let mut members = given.cloned().unwrap_or_default();
    members.retain(|_, value| !value.is_null());
    let enabled = |name: &str, absent: bool| {
        let part = members.get(name);
        part.is_some_and(|part| part.get("Enabled").and_then(Value::as_bool).unwrap_or(absent))
    };
    let partitioned = enabled("DynamicPartitioningConfiguration", false);
    let converted = enabled("DataFormatConversionConfiguration", true);
    let size = if partitioned || converted { 128 } else { 5 };
    if partitioned {
        let part = &mut members["DynamicPartitioningConfiguration"];
        if part.get("RetryOptions").is_none_or(Value::is_null) {
            part["RetryOptions"] = json!({ "DurationInSeconds": 300 });
        }
    }
    if converted {
        members["DataFormatConversionConfiguration"]["Enabled"] = json!(true);
    }
    let defaults = [
        ("BufferingHints", json!({ "SizeInMBs": size, "IntervalInSeconds": 300 })),
        ("CompressionFormat", json!("UNCOMPRESSED")),
        ("EncryptionConfiguration", json!({ "NoEncryptionConfig": "NoEncryption" })),
        ("CloudWatchLoggingOptions", json!({ "Enabled": false })),
        ("ProcessingConfiguration", json!({ "Enabled": false, "Processors": [] })),
        ("S3BackupMode", json!("Disabled")),
        ("DataFormatConversionConfiguration", json!({ "Enabled": false })),
    ];
    for (name, value) in defaults {
        members.entry(name).or_insert(value);
    }
    let hints = &mut members["BufferingHints"];
    if hints.as_object().is_some_and(|hints| hints.values().all(Value::is_null)) {
        *hints = json!({ "SizeInMBs": size, "IntervalInSeconds": 300 });
    }
    members
}

fn plain(extended: &Map<String, Value>) -> Map<String, Value> {
    const MEMBERS: [&str; 8] = [
        "RoleARN",
        "BucketARN",
        "Prefix",
        "ErrorOutputPrefix",
        "BufferingHints",
        "CompressionFormat",
        "EncryptionConfiguration",
        "CloudWatchLoggingOptions",
    ];
    let member = |name: &&str| extended.get(*name).map(|value| ((*name).to_owned(), value.clone()));
    MEMBERS.iter().filter_map(member).collect()
}

fn of_yaml(stream: &DeliveryStream, account: &AccountId) -> Value {
    let ObjectStore { place, naming } = stream.error_store();
    let bucket = match place {
        Place::S3 { bucket, .. } => format!("arn:aws:s3:::{bucket}"),
        Place::File { .. } => FILE_BUCKET_ARN.to_owned(),
    };
    let gzip = matches!(stream.format, Format::Lines { compression: LineCompression::Gzip });
    let mut members = json!({
        "RoleARN": format!("arn:aws:iam::{}:role/hydrant", account.as_str()),
        "BucketARN": bucket,
        "Prefix": Prefix::text(&naming.prefix),
        "ErrorOutputPrefix": Prefix::text(&naming.error_output_prefix),
        "BufferingHints": {
            "SizeInMBs": stream.buffering.size.div_ceil(MIB),
            "IntervalInSeconds": stream.buffering.interval.as_secs(),
        },
        "CompressionFormat": if gzip { "GZIP" } else { "UNCOMPRESSED" },
        "ProcessingConfiguration": processing(stream),
    });
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
                "Compression": compression(parquet.compression),
                "BlockSizeBytes": parquet.row_group,
            } } },
        });
    }
    members
}

fn processing(stream: &DeliveryStream) -> Value {
    let parameter = |name: &str, value: &str| json!([{ "ParameterName": name, "ParameterValue": value }]);
    let plugin = |plugin: &Plugin| {
        let name = plugin.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let arn = plugin.arn.clone().unwrap_or_else(|| format!("urn:hydrant:plugin:{name}"));
        json!({ "Type": "Lambda", "Parameters": parameter("LambdaArn", &arn) })
    };
    let mut processors: Vec<Value> = stream.processing.plugins.iter().map(plugin).collect();
    if stream.partitioning.as_ref().is_some_and(|partitioning| partitioning.jq.is_some()) {
        processors
            .push(json!({ "Type": "MetadataExtraction", "Parameters": parameter("JsonParsingEngine", "JQ-1.6") }));
    }
    if stream.processing.append_delimiter {
        processors.push(json!({ "Type": "AppendDelimiterToRecord", "Parameters": parameter("Delimiter", "\\n") }));
    }
    json!({ "Enabled": !processors.is_empty(), "Processors": processors })
}

fn compression(compression: ParquetCompression) -> &'static str {
    match compression {
        ParquetCompression::None => "UNCOMPRESSED",
        ParquetCompression::Snappy => "SNAPPY",
        ParquetCompression::Gzip => "GZIP",
        ParquetCompression::Zstd => "ZSTD",
        ParquetCompression::Lz4 => "LZ4",
    }
}
