use std::collections::BTreeMap;

use std::time::Duration;

use chrono_tz::Tz;
use hydrant_config::{
    AccountId, BackupRecords, Buffering, Column, ColumnKind, Format, LineCompression, OnError, ParquetCompression,
    Place, Plugin, S3Connection, Schema, SourceStart, StreamSource, SubRecords,
};

use super::super::destination::{EXTENDED, PLAIN};
use super::*;

const LAMBDA: &str = "arn:aws:lambda:us-east-1:123456789012:function:clean";

pub(in crate::firehose) fn mappings() -> Mappings {
    let plugin = Plugin {
        path: "clean.wasm".into(),
        sha256: None,
        config: BTreeMap::new(),
        memory: 1 << 20,
        cpu_per_batch: Duration::from_secs(1),
        on_error: OnError::FailRecord,
        arn: None,
    };
    let schema = Schema::new(vec![Column { name: "ip".to_owned(), kind: ColumnKind::String }]).unwrap();
    Mappings {
        account: AccountId::parse("123456789012").unwrap(),
        data_dir_encrypted: true,
        s3: Some(S3Connection {
            endpoint: None,
            region: "us-east-1".to_owned(),
            keys: None,
            profile: None,
            ca: None,
            path_style: true,
        }),
        lambda: BTreeMap::from([(LAMBDA.to_owned(), plugin)]),
        glue: BTreeMap::from([("web.access".to_owned(), schema)]),
        opensearch: BTreeMap::new(),
        destinations_ca: None,
    }
}

/// A request for an extended S3 destination with these members more.
fn request(more: Value) -> Value {
    let mut s3 = json!({ "RoleARN": "arn:aws:iam::123456789012:role/x", "BucketARN": "arn:aws:s3:::logs" });
    s3.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "DeliveryStreamName": "demo", "ExtendedS3DestinationConfiguration": s3 })
}

fn made(more: Value) -> DeliveryStream {
    delivery_stream_from_request(&request(more), ("eu-west-1", 1), &mappings()).unwrap()
}

fn refused(request: &Value, code: &str, text: &str) {
    let error = delivery_stream_from_request(request, ("eu-west-1", 1), &mappings()).unwrap_err();
    assert!(error.code == code && error.message.contains(text), "{request}: {error}");
}

fn argument(more: Value, text: &str) {
    refused(&request(more), "InvalidArgumentException", text);
}

fn processors(list: Value) -> Value {
    json!({ "Enabled": true, "Processors": list })
}

fn processor(kind: &str, parameters: &[(&str, &str)]) -> Value {
    let one = |(name, value): &(&str, &str)| json!({ "ParameterName": name, "ParameterValue": value });
    json!({ "Type": kind, "Parameters": parameters.iter().map(one).collect::<Vec<_>>() })
}

fn partitioned() -> Value {
    let query = [("MetadataExtractionQuery", "{customer:.customer_id}"), ("JsonParsingEngine", "JQ-1.6")];
    json!({
        "Prefix": "c=!{partitionKeyFromQuery:customer}/",
        "ErrorOutputPrefix": "errors/!{firehose:error-output-type}/",
        "DynamicPartitioningConfiguration": { "Enabled": true },
        "ProcessingConfiguration": processors(json!([processor("MetadataExtraction", &query)])),
    })
}

fn with(mut value: Value, name: &str, member: Value) -> Value {
    value[name] = member;
    value
}

fn converted(serializer: Value, table: &str) -> Value {
    json!({ "DataFormatConversionConfiguration": {
        "SchemaConfiguration": { "RoleARN": "arn:aws:iam::123456789012:role/x", "DatabaseName": "web", "TableName": table },
        "InputFormatConfiguration": { "Deserializer": { "OpenXJsonSerDe": {} } },
        "OutputFormatConfiguration": { "Serializer": serializer },
    } })
}

#[test]
fn the_smallest_request_gets_awss_defaults() {
    let stream = made(json!({ "Prefix": null }));
    assert_eq!(stream.name.as_str(), "demo");
    assert_eq!(stream.region.as_deref(), Some("eu-west-1"));
    assert_eq!(stream.buffering, Buffering { size: 5 << 20, object_size: None, interval: Duration::from_secs(300) });
    assert!(matches!(stream.format, Format::Lines { compression: LineCompression::None }));
    assert!(stream.partitioning.is_none() && stream.processing.plugins.is_empty());
    assert!(!stream.processing.append_delimiter);
    let store = stream.destination.objects().unwrap();
    assert!(matches!(&store.place, Place::S3 { bucket, .. } if bucket == "logs"));
    let mut plain = request(json!({}));
    plain[PLAIN] = plain[EXTENDED].take();
    assert!(delivery_stream_from_request(&plain, ("eu-west-1", 1), &mappings()).is_ok());
}

#[test]
fn everything_that_is_built_arrives_in_the_delivery_stream() {
    let stream = made(json!({
        "Prefix": "a/", "CompressionFormat": "GZIP", "FileExtension": ".json.gz", "CustomTimeZone": "Europe/Berlin",
        "BufferingHints": { "SizeInMBs": 1, "IntervalInSeconds": 0 },
        "EncryptionConfiguration": { "NoEncryptionConfig": "NoEncryption" },
        "CloudWatchLoggingOptions": { "Enabled": false },
        "ProcessingConfiguration": processors(json!([
            processor("Lambda", &[("LambdaArn", &format!("{LAMBDA}:$LATEST")), ("NumberOfRetries", "3")]),
            processor("AppendDelimiterToRecord", &[("Delimiter", "\\n")]),
        ])),
    }));
    assert!(matches!(stream.format, Format::Lines { compression: LineCompression::Gzip }));
    assert_eq!(stream.buffering, Buffering { size: 1 << 20, object_size: None, interval: Duration::ZERO });
    let naming = &stream.error_store().naming;
    assert_eq!(naming.time_zone, Tz::Europe__Berlin);
    assert_eq!(naming.file_extension.as_deref(), Some(".json.gz"));
    assert_eq!(stream.processing.plugins[0].arn.as_deref(), Some(&*format!("{LAMBDA}:$LATEST")));
    assert!(stream.processing.append_delimiter);
}

#[test]
fn dynamic_partitioning_has_its_own_bounds_and_defaults() {
    let stream = made(partitioned());
    assert_eq!(stream.buffering, Buffering { size: 128 << 20, object_size: None, interval: Duration::from_secs(300) });
    let partitioning = stream.partitioning.as_ref().unwrap();
    assert_eq!(partitioning.jq.as_ref().unwrap().names(), ["customer"]);
    let hints = |size: i64, interval: i64| json!({ "SizeInMBs": size, "IntervalInSeconds": interval });
    argument(
        with(partitioned(), "BufferingHints", hints(63, 60)),
        "BufferingHints.SizeInMBs must be at least 64 when Dynamic Partitioning is enabled.",
    );
    argument(
        with(partitioned(), "BufferingHints", hints(64, 59)),
        "BufferingHints.IntervalInSeconds must be at least 60 seconds when Dynamic Partitioning is enabled.",
    );
    argument(with(partitioned(), "ProcessingConfiguration", json!(null)), "Processing Configuration is not enabled");
    argument(
        with(partitioned(), "Prefix", json!("plain/")),
        "S3 Prefix should contain Dynamic Partitioning namespaces",
    );
    argument(
        with(partitioned(), "DynamicPartitioningConfiguration", json!(null)),
        "Dynamic Partitioning Namespaces can only be part of a prefix",
    );
    argument(with(partitioned(), "Prefix", json!("c=!{partitionKeyFromQuery:other}/")), "`other`");
}

#[test]
fn records_of_several_are_taken_apart_only_into_partitions() {
    let query = [("MetadataExtractionQuery", "{customer:.customer_id}"), ("JsonParsingEngine", "JQ-1.6")];
    let processing = |parameters: &[(&str, &str)]| {
        let deaggregation = processor("RecordDeAggregation", parameters);
        processors(json!([processor("MetadataExtraction", &query), deaggregation]))
    };
    let of = |parameters: &[(&str, &str)]| with(partitioned(), "ProcessingConfiguration", processing(parameters));
    let delimited = |text| of(&[("SubRecordType", "DELIMITED"), ("Delimiter", text)]);
    assert_eq!(made(partitioned()).processing.deaggregate, None);
    assert_eq!(made(of(&[("SubRecordType", "JSON")])).processing.deaggregate, Some(SubRecords::Json));
    assert_eq!(made(delimited("IyMjIw==")).processing.deaggregate, SubRecords::delimited(b"####".to_vec()));
    argument(of(&[]), "The parameter SubRecordType is required for a processor of type RecordDeAggregation.");
    argument(of(&[("SubRecordType", "XML")]), "SubRecordType must be JSON or DELIMITED, got XML.");
    argument(of(&[("SubRecordType", "DELIMITED")]), "The parameter Delimiter is required");
    argument(of(&[("SubRecordType", "JSON"), ("Delimiter", "IyM=")]), "The parameter Delimiter is not allowed");
    for text in ["####", "I"] {
        argument(delimited(text), "Delimiter must be 1 to 1024 bytes in base64");
    }
    argument(delimited(&"IyMj".repeat(342)), "Delimiter must be 1 to 1024 bytes in base64");
    let alone = processors(json!([processor("RecordDeAggregation", &[("SubRecordType", "JSON")])]));
    argument(json!({ "ProcessingConfiguration": alone }), "only be present when Dynamic Partitioning is enabled");
}

#[test]
fn parquet_comes_from_a_known_glue_table() {
    let stream = made(converted(json!({ "ParquetSerDe": {} }), "access"));
    let Format::Parquet(parquet) = &stream.format else { panic!("no parquet: {:?}", stream.format) };
    assert_eq!((parquet.compression, parquet.row_group), (ParquetCompression::Snappy, 128 << 20));
    assert_eq!(stream.buffering.size, 128 << 20);
    let serde = json!({ "ParquetSerDe": { "Compression": "GZIP", "BlockSizeBytes": 64 << 20 } });
    let Format::Parquet(parquet) = &made(converted(serde, "access")).format else { panic!("no parquet") };
    assert_eq!((parquet.compression, parquet.row_group), (ParquetCompression::Gzip, 64 << 20));
    let snappy = || converted(json!({ "ParquetSerDe": {} }), "access");
    argument(converted(json!({ "ParquetSerDe": {} }), "nothing"), "add `glue: { \"web.nothing\"");
    argument(converted(json!({ "OrcSerDe": {} }), "access"), "OrcSerDe is not supported");
    argument(converted(json!({}), "access"), "A serializer is required");
    argument(with(snappy(), "CompressionFormat", json!("GZIP")), "CompressionFormat must be UNCOMPRESSED");
    argument(
        with(snappy(), "BufferingHints", json!({ "SizeInMBs": 63, "IntervalInSeconds": 60 })),
        "SizeInMBs must be at least 64",
    );
    argument(
        json!({ "DataFormatConversionConfiguration": {} }),
        "must be given when data format conversion is enabled",
    );
    assert!(matches!(
        made(json!({ "DataFormatConversionConfiguration": { "Enabled": false } })).format,
        Format::Lines { .. }
    ));
}

#[test]
fn exactly_one_destination_that_is_built_is_taken() {
    let text = "Exactly one destination configuration is supported for a Firehose";
    refused(&json!({ "DeliveryStreamName": "x" }), "InvalidArgumentException", text);
    let mut two = request(json!({}));
    two["SplunkDestinationConfiguration"] = json!({});
    refused(&two, "InvalidArgumentException", text);
    for (name, next) in [
        ("Redshift", "COPY from there"),
        ("Snowflake", "Snowpipe"),
        ("Iceberg", "add its files to the table"),
        ("AmazonOpenSearchServerless", "give AmazonopensearchserviceDestinationConfiguration"),
    ] {
        let name = format!("{name}DestinationConfiguration");
        let request = json!({ "DeliveryStreamName": "x", &name: {} });
        refused(&request, "InvalidArgumentException", &format!("{name} is not supported"));
        refused(&request, "InvalidArgumentException", next);
    }
}

#[test]
fn a_source_is_a_kinesis_stream_of_the_same_account_and_region() {
    let stream = |region: &str, account: &str| {
        let arn = format!("arn:aws:kinesis:{region}:{account}:stream/clicks");
        json!({ "KinesisStreamARN": arn, "RoleARN": "arn:aws:iam::123456789012:role/x" })
    };
    let of_kind = |kind: &str, source: Value| {
        let typed = with(request(json!({})), "DeliveryStreamType", json!(kind));
        with(typed, "KinesisStreamSourceConfiguration", source)
    };
    let here = of_kind("KinesisStreamAsSource", stream("eu-west-1", "123456789012"));
    let made = delivery_stream_from_request(&here, ("eu-west-1", 1), &mappings()).unwrap();
    assert_eq!(
        made.source,
        Some(StreamSource { name: "clicks".to_owned(), start: SourceStart::Latest, deaggregate: true })
    );
    let argument = |request: &Value, text: &str| refused(request, "InvalidArgumentException", text);
    argument(&of_kind("KinesisStreamAsSource", stream("eu-west-2", "123456789012")), "must belong to the account");
    argument(&of_kind("KinesisStreamAsSource", stream("eu-west-1", "210987654321")), "must belong to the account");
    argument(&of_kind("KinesisStreamAsSource", Value::Null), "must be given for the delivery stream type");
    argument(&of_kind("DirectPut", stream("eu-west-1", "123456789012")), "must not be given");
    argument(&with(request(json!({})), "DeliveryStreamType", json!("MSKAsSource")), "MSKAsSource is not supported");
    for wrong in [json!({}), json!({ "KinesisStreamARN": "arn:aws:s3:::logs" })] {
        refused(&of_kind("KinesisStreamAsSource", wrong), "ValidationException", "kinesisStreamARN");
    }
}

#[test]
fn tags_and_encryption_are_given_at_creation_too() {
    let wanted = |member: &str, value: Value, mappings: &Mappings| {
        let request = with(request(json!({})), member, value);
        let spec = delivery_stream_from_request(&request, ("eu-west-1", 1), mappings).unwrap();
        settings(&request, &spec, mappings)
    };
    let tags = wanted("Tags", json!([{ "Key": "b", "Value": "1" }, { "Key": "a" }]), &mappings()).unwrap().tags;
    assert_eq!(tags, BTreeMap::from([("a", ""), ("b", "1")].map(|(key, value)| (key.to_owned(), value.to_owned()))));
    for (tags, code) in [
        (json!([{ "Key": "aws:x" }]), "ValidationException"),
        (json!([{ "Key": "a*" }]), "ValidationException"),
        (json!([{ "Value": "a" }]), "ValidationException"),
        (json!([]), "ValidationException"),
        (json!([{ "Key": "a" }, { "Key": "a" }]), "InvalidArgumentException"),
    ] {
        assert_eq!(wanted("Tags", tags.clone(), &mappings()).unwrap_err().code, code, "{tags}");
    }
    let key = |kind: &str| json!({ "KeyType": kind });
    let encrypted = |key, mappings: &Mappings| wanted("DeliveryStreamEncryptionConfigurationInput", key, mappings);
    assert!(encrypted(key("AWS_OWNED_CMK"), &mappings()).unwrap().encrypted);
    let plain = Mappings { data_dir_encrypted: false, ..mappings() };
    let text = encrypted(key("AWS_OWNED_CMK"), &plain).unwrap_err().message;
    assert!(text.contains("`data_dir_encrypted: true`"), "{text}");
    assert!(encrypted(key("CUSTOMER_MANAGED_CMK"), &mappings()).is_err());
    assert_eq!(encrypted(json!({}), &mappings()).unwrap_err().code, "ValidationException");
}

#[test]
fn a_backup_has_a_bucket_a_name_and_a_compression_of_its_own() {
    let bucket = |more: Value| {
        let mut bucket = json!({ "RoleARN": "arn:aws:iam::123456789012:role/x", "BucketARN": "arn:aws:s3:::raw" });
        bucket.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "S3BackupMode": "Enabled", "S3BackupConfiguration": bucket })
    };
    let stream = made(bucket(json!({ "Prefix": "raw/", "CompressionFormat": "GZIP" })));
    let backup = stream.backup.as_ref().unwrap();
    assert_eq!((backup.records, backup.compression), (BackupRecords::All, LineCompression::Gzip));
    assert!(matches!(stream.format, Format::Lines { compression: LineCompression::None }));
    assert!(matches!(&backup.store.place, Place::S3 { bucket, .. } if bucket == "raw"));
    assert!(backup.store.naming.prefix.text().starts_with("raw/"));
    let off = with(bucket(json!({})), "S3BackupMode", json!("Disabled"));
    assert!(made(off).backup.is_none());
    argument(json!({ "S3BackupMode": "Enabled" }), "S3BackupConfiguration must be given");
    let hints = |size: Value, interval: Value| {
        bucket(json!({ "BufferingHints": { "SizeInMBs": size, "IntervalInSeconds": interval } }))
    };
    assert!(made(hints(json!(1), json!(60))).backup.is_some());
    argument(hints(json!(1), json!(59)), "at least 60 seconds for the bucket of a backup");
    argument(hints(json!(1), Value::Null), "or neither");
    argument(bucket(json!({ "CompressionFormat": "ZIP" })), "CompressionFormat ZIP is not supported");
    argument(bucket(json!({ "CloudWatchLoggingOptions": { "Enabled": true } })), "CloudWatchLoggingOptions");
    argument(bucket(json!({ "Prefix": "!{partitionKeyFromQuery:a}/", "ErrorOutputPrefix": "e/" })), "artition");
    let nameless = json!({ "S3BackupMode": "Enabled", "S3BackupConfiguration": {} });
    refused(
        &request(nameless),
        "ValidationException",
        "'extendedS3DestinationConfiguration.s3BackupConfiguration.bucketARN'",
    );
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    argument(json!({ "CompressionFormat": "Snappy" }), "CompressionFormat Snappy is not supported");
    argument(json!({ "CloudWatchLoggingOptions": { "Enabled": true } }), "CloudWatchLoggingOptions");
    let kms = json!({ "KMSEncryptionConfig": { "AWSKMSKeyARN": "arn:aws:kms:x" } });
    argument(json!({ "EncryptionConfiguration": kms }), "KMSEncryptionConfig");
    for kind in ["Decompression", "CloudWatchLogProcessing"] {
        argument(json!({ "ProcessingConfiguration": processors(json!([processor(kind, &[])])) }), kind);
    }
    let delimiter = processor("AppendDelimiterToRecord", &[("Delimiter", "##")]);
    argument(json!({ "ProcessingConfiguration": processors(json!([delimiter])) }), "A Delimiter other than");
}

#[test]
fn a_missing_mapping_names_the_key_to_add() {
    let other = LAMBDA.replace("clean", "other");
    let lambda = processor("Lambda", &[("LambdaArn", &other)]);
    argument(json!({ "ProcessingConfiguration": processors(json!([lambda])) }), "add `lambda: { \"arn:aws:lambda");
    let without = Mappings { s3: None, ..mappings() };
    let error = delivery_stream_from_request(&request(json!({})), ("eu-west-1", 1), &without).unwrap_err();
    assert!(error.message.contains("add `s3: {"), "{error}");
}

#[test]
fn constraints_come_before_meaning_and_types_before_constraints() {
    let bad = json!({
        "DeliveryStreamName": "a b",
        "ExtendedS3DestinationConfiguration": {
            "RoleARN": "x", "CompressionFormat": "XYZ", "BufferingHints": { "SizeInMBs": 129, "IntervalInSeconds": 901 }
        }
    });
    let error = delivery_stream_from_request(&bad, ("x", 1), &mappings()).unwrap_err();
    assert_eq!(error.code, "ValidationException");
    for text in [
        "6 validation errors detected: ",
        "Value 'XYZ' at 'extendedS3DestinationConfiguration.compressionFormat' failed to satisfy constraint: Member must \
         satisfy enum value set: [ZIP, HADOOP_SNAPPY, Snappy, GZIP, UNCOMPRESSED]",
        "Value null at 'extendedS3DestinationConfiguration.bucketARN' failed to satisfy constraint: Member must not be null",
        "Value '129' at 'extendedS3DestinationConfiguration.bufferingHints.sizeInMBs' failed to satisfy constraint: Member \
         must have value less than or equal to 128",
    ] {
        assert!(error.message.contains(text), "{error}");
    }
    let mistyped = with(bad, "DeliveryStreamType", json!(7));
    refused(&mistyped, "SerializationException", "NUMBER_VALUE can not be converted to a String");
    let place = json!({ "ProcessingConfiguration": processors(json!([{ "Type": "X" }])) });
    refused(
        &request(place),
        "ValidationException",
        "'extendedS3DestinationConfiguration.processingConfiguration.processors.1.member.type'",
    );
    argument(json!({ "BufferingHints": { "SizeInMBs": 5 } }), "or neither");
    argument(
        json!({ "Prefix": "!{timestamp:yyyy}/" }),
        "Ths supplied prefix(es) do not satisfy the following constraint: ErrorOutputPrefix cannot be null or empty when \
         Prefix contains expressions",
    );
    argument(json!({ "CustomTimeZone": "Mars/Base" }), "not a known time zone");
}
