//! What a valid file becomes.

use super::*;
use crate::model::{OnError, SourceStart};
use crate::{
    BackupRecords, ContentEncoding, DocumentId, IndexRotation, Profile, ServerSideEncryption, SplunkEndpoint, Verdict,
};
use hydrant_record::Timestamp;
use std::time::Duration;

#[test]
fn the_smallest_file_has_every_default() {
    let config = load_text(SMALLEST, Path::new("/etc/hydrant/hydrant.yaml"), &Environment::of([])).unwrap().config;
    assert_eq!(config.data_dir, Path::new("/etc/hydrant/hydrant-data"));
    assert_eq!(config.memory, 512 << 20);
    assert_eq!(config.account.as_str(), "123456789012");
    assert_eq!(config.api.to_string(), "127.0.0.1:4567");
    assert_eq!(config.admin.to_string(), "127.0.0.1:4568");
    assert!(config.credentials.is_none() && config.s3.is_none() && config.lambda.is_empty() && config.glue.is_empty());
    let stream = &config.delivery_streams[0];
    assert_eq!((stream.name.as_str(), stream.region.as_deref(), stream.version_id), ("access-logs", None, 1));
    assert_eq!((stream.buffering.size, stream.buffering.interval), (64 << 20, Duration::from_secs(60)));
    assert_eq!(stream.log, crate::LogPolicy::default(), "the API has no defaults of its own");
    assert_eq!(stream.history, crate::HistoryPolicy::default());
    assert!(
        stream.processing.plugins.is_empty() && stream.processing.append_delimiter && stream.partitioning.is_none()
    );
    assert!(matches!(stream.format, Format::Lines { compression: crate::LineCompression::None }));
    let ObjectStore { place: Place::File { directory }, naming } = objects(stream) else { panic!("{stream:?}") };
    assert_eq!(directory, Path::new("/etc/hydrant/lake"));
    assert!(stream.backup.is_none());
    assert_eq!(naming.prefix.text(), "!{timestamp:yyyy/MM/dd/HH}/");
    assert_eq!(naming.error_output_prefix.text(), "!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd/HH}/");
    assert_eq!((naming.time_zone, &naming.file_extension), (chrono_tz::Tz::UTC, &None));
}

#[test]
fn a_log_is_kept_as_long_as_it_is_told_to() {
    let log = |text: &str| {
        let yaml = format!("{SMALLEST}    log: {text}\n");
        loaded(&yaml).config.delivery_streams[0].log
    };
    let policy = log("{ compression: lz4, retention: 24 h, size_max: 100 GiB, expire_undelivered: true }");
    assert_eq!(policy.compression, crate::LogCompression::Lz4);
    assert_eq!((policy.retention, policy.size_max), (Duration::from_secs(86_400), 100 << 30));
    assert!(policy.expire_undelivered);
    assert_eq!(log("{ compression: zstd }").compression, crate::LogCompression::Zstd);
    assert!(!log("{ retention: 365 d }").expire_undelivered, "what is not delivered stays unless somebody says so");
}

#[test]
fn a_history_is_kept_as_long_as_it_is_told_to() {
    let history = |text: &str| {
        let yaml = format!("{SMALLEST}    history: {text}\n");
        loaded(&yaml).config.delivery_streams[0].history
    };
    let policy = history("{ retention: 30 d, size_max: 1 GiB }");
    assert_eq!((policy.retention, policy.size_max), (Duration::from_secs(30 * 86_400), 1 << 30));
    assert!(history("{ retention: 0 s }").retention.is_zero());
}

#[test]
fn the_size_of_objects_takes_the_place_of_that_of_the_buffer() {
    let buffering =
        |text: &str| loaded(&format!("{SMALLEST}    buffering: {text}\n")).config.delivery_streams[0].buffering;
    let alone = buffering("{ object_size: 128 MiB }");
    assert_eq!((alone.size, alone.object_size), (1 << 30, Some(128 << 20)));
    let both = buffering("{ size: 32 MiB, object_size: 8 MiB }");
    assert_eq!((both.size, both.object_size), (32 << 20, Some(8 << 20)));
    assert_eq!(buffering("{ interval: 5 s }").object_size, None);
    let limited = loaded(&format!("{SMALLEST}    backlog_max: 50 GiB\n"));
    assert_eq!(limited.config.delivery_streams[0].backlog_max, Some(50 << 30));
}

#[test]
fn a_delivery_stream_may_read_a_kinesis_stream() {
    let source = |text: &str| {
        let yaml = format!("{SMALLEST}    from_stream: {text}\n    log: {{ expire_undelivered: true }}\n");
        loaded(&yaml).config.delivery_streams[0].source.clone().unwrap()
    };
    let clicks = source("{ name: clicks }");
    assert_eq!((clicks.name.as_str(), clicks.start, clicks.deaggregate), ("clicks", SourceStart::Latest, true));
    assert!(!source("{ name: clicks, deaggregate: false }").deaggregate);
    assert_eq!(source("{ name: clicks, start: trim_horizon }").start, SourceStart::TrimHorizon);
    let at = SourceStart::At(Timestamp::from_millis(1_700_000_000_500));
    assert_eq!(source("{ name: c, start: 2023-11-14T23:13:20.5+01:00 }").start, at);
}

#[test]
fn records_may_be_taken_apart() {
    let dir = tempfile::tempdir().unwrap();
    let streams = everything(dir.path()).0.unwrap_or_else(|problems| panic!("{problems}")).config.delivery_streams;
    let of = |at: usize| streams[at].processing.deaggregate.clone();
    assert_eq!((of(0), of(1)), (crate::SubRecords::delimited(b"||".to_vec()), None));
    assert_eq!(of(streams.len() - 1), Some(crate::SubRecords::Json));
}

#[test]
fn the_state_directory_of_systemd_is_the_default_data_dir() {
    for (state, data_dir) in [("/var/lib/hydrant", "/var/lib/hydrant"), ("/a:/b", "/a"), ("", "./hydrant-data")] {
        let env = Environment::of([("STATE_DIRECTORY", state)]);
        assert_eq!(load_text(SMALLEST, Path::new(FILE), &env).unwrap().config.data_dir, Path::new(data_dir));
    }
    let env = Environment::of([("STATE_DIRECTORY", "/var/lib/hydrant")]);
    let own = format!("data_dir: ./here\n{SMALLEST}");
    assert_eq!(load_text(&own, Path::new("/etc/h.yaml"), &env).unwrap().config.data_dir, Path::new("/etc/here"));
}

#[test]
fn every_key_arrives() {
    let dir = tempfile::tempdir().unwrap();
    let config = everything(dir.path()).0.unwrap_or_else(|problems| panic!("{problems}")).config;
    assert_eq!(config.data_dir, dir.path().join("data"));
    assert_eq!((config.memory, config.account.as_str()), (1 << 30, "210987654321"));
    assert_eq!((config.api.to_string(), config.admin.to_string()), ("0.0.0.0:4567".into(), "[::1]:4568".into()));
    let tls = config.tls.unwrap();
    assert_eq!((tls.certificate, tls.key), (dir.path().join("cert.pem"), dir.path().join("key.pem")));
    assert_eq!(tls.client_ca, Some(dir.path().join("ca.pem")));
    let credentials = config.credentials.unwrap();
    assert_eq!((&*credentials[0].access_key_id, credentials[0].secret_access_key.reveal()), ("AKIAEXAMPLE", "s3cret"));
    assert_eq!(credentials[0].session_token.as_ref().unwrap().reveal(), "t0ken");
    let arn = |name: &str| format!("arn:aws:firehose:us-east-1:210987654321:deliverystream/{name}");
    let verdict = |action: &str, name: &str| credentials[0].policy.verdict(action, &arn(name));
    assert_eq!(verdict("firehose:PutRecord", "access-1"), Verdict::Allowed);
    assert_eq!(verdict("firehose:PutRecord", "access-2"), Verdict::Denied);
    assert_eq!(verdict("firehose:PutRecord", "other"), Verdict::NotAllowed);
    assert_eq!(verdict("firehose:DescribeDeliveryStream", "access-1"), Verdict::NotAllowed);
    let plugin = &config.lambda["arn:aws:lambda:us-east-1:123456789012:function:clean"];
    assert_eq!((plugin.memory, plugin.cpu_per_batch), (64 << 20, Duration::from_millis(500)));
    assert_eq!((plugin.on_error, plugin.sha256.unwrap()[0]), (OnError::Stop, 0xe3));
    assert_eq!(plugin.arn.as_deref(), Some("arn:aws:lambda:us-east-1:123456789012:function:clean"));
    assert_eq!(config.glue["web.access"].to_string(), "ts: timestamp, ip: string");
    let domain = &config.opensearch["arn:aws:es:us-east-1:123456789012:domain/logs"];
    assert_eq!(domain.endpoint.as_str(), "https://search.example.com:9200/");
    assert!(domain.login.as_ref().is_some_and(|login| login.user == "admin") && domain.ca.is_some());

    let one = &config.delivery_streams[0];
    assert_eq!(one.region.as_deref(), Some("eu-west-1"));
    assert_eq!((one.buffering.size, one.buffering.interval), (1 << 30, Duration::ZERO));
    assert!(!one.processing.append_delimiter);
    let plugin = &one.processing.plugins[0];
    assert_eq!(
        (plugin.path.clone(), plugin.memory, plugin.arn.clone()),
        (dir.path().join("clean.wasm"), 256 << 20, None)
    );
    assert_eq!((&*plugin.config["mask"], &*plugin.config["level"]), ("ip", "3"));
    let partitioning = one.partitioning.as_ref().unwrap();
    assert_eq!(
        (partitioning.jq.as_ref().unwrap().names(), partitioning.partitions_max),
        (&["customer".to_owned()][..], 50_000)
    );
    let ObjectStore { place: Place::S3 { bucket, connection, options }, naming } = objects(one) else {
        panic!("{one:?}")
    };
    assert_eq!((&**bucket, connection.endpoint.as_ref().unwrap().as_str()), ("logs", "https://s3.example.com/"));
    assert_eq!((&*connection.region, connection.path_style), ("us-west-2", true));
    assert_eq!(connection.keys.as_ref().unwrap().session_token.as_ref().unwrap().reveal(), "t0ken");
    assert_eq!((naming.time_zone, naming.file_extension.as_deref()), (chrono_tz::Tz::Europe__Berlin, Some(".json.gz")));
    assert_eq!(connection.ca.as_ref().unwrap().path, dir.path().join("ca.pem"));
    let key_id = Some("arn:aws:kms:us-west-2:123456789012:key/1".to_owned());
    assert_eq!(options.encryption, Some(ServerSideEncryption::Kms { key_id }));
    assert_eq!(
        (options.storage_class.as_deref(), options.acl),
        (Some("STANDARD_IA"), Some("bucket-owner-full-control"))
    );
    assert_eq!((&*options.tags["team"], &*options.tags["a b"], options.create_bucket), ("web", "", true));

    let two = &config.delivery_streams[1];
    let Format::Parquet(parquet) = &two.format else { panic!("{two:?}") };
    assert_eq!(parquet.schema.to_string(), "ts: timestamp, price: decimal(10,2)");
    assert_eq!((parquet.compression, parquet.row_group), (ParquetCompression::Zstd, 64 << 20));
    assert!(!two.processing.append_delimiter);
    assert_eq!(objects(two).naming.error_output_prefix.text(), "bad/");
    assert_eq!(objects(two).naming.error_output_prefix.text(), two.error_store().naming.error_output_prefix.text());
    let backup = two.backup.as_ref().unwrap();
    assert_eq!((backup.records, backup.store.naming.file_extension.as_deref()), (BackupRecords::All, Some(".txt")));
    assert!(matches!(&backup.store.place, Place::File { directory } if directory == Path::new("/raw")));
}

#[test]
fn destinations_that_take_requests_arrive_whole() {
    let dir = tempfile::tempdir().unwrap();
    let config = everything(dir.path()).0.unwrap_or_else(|problems| panic!("{problems}")).config;
    let [_, _, three, four, five, _] = config.delivery_streams.as_slice() else { panic!() };
    let Destination::HttpEndpoint(http) = &three.destination else { panic!("{three:?}") };
    assert_eq!(http.url.as_str(), "https://ingest.example.com/firehose?team=web");
    assert_eq!(http.access_key.as_ref().unwrap().reveal(), "s3cret");
    assert_eq!((&*http.common_attributes["team"], &*http.common_attributes["a b"]), ("web", ""));
    assert_eq!((http.content_encoding, http.retry), (ContentEncoding::Gzip, Duration::ZERO));
    assert_eq!(http.request_timeout, Duration::from_secs(10));
    assert_eq!(http.ca.as_ref().unwrap().path, dir.path().join("ca.pem"));
    assert_eq!(http.source_arn, "arn:aws:firehose:us-east-1:210987654321:deliverystream/three");
    assert_eq!((three.buffering.size, three.processing.append_delimiter), (5 << 20, false));
    let backup = three.backup.as_ref().unwrap();
    assert_eq!(
        (backup.records, three.error_store().naming.prefix.text()),
        (BackupRecords::Failed, "three/!{timestamp:yyyy/MM/dd/HH}/")
    );

    let Place::S3 { connection, options, .. } = &backup.store.place else { panic!("{backup:?}") };
    let profile = Profile { name: "backup".to_owned(), file: "/h/.aws/credentials".into() };
    assert_eq!((connection.profile.as_ref(), connection.keys.is_none()), (Some(&profile), true), "nor those of `s3`");
    assert_eq!(connection.ca.as_ref().unwrap().path, dir.path().join("ca.pem"), "that of `s3`");
    assert_eq!((&options.encryption, options.acl), (&Some(ServerSideEncryption::Aes256), None));

    let Destination::OpenSearch(search) = &four.destination else { panic!("{four:?}") };
    assert_eq!((search.endpoint.as_str(), &*search.index), ("https://search.example.com:9200/below", "access-logs"));
    assert_eq!((search.rotation, search.document_id), (IndexRotation::OneWeek, DocumentId::None));
    assert_eq!((search.type_name.as_deref(), search.request_size), (Some("_doc"), 1 << 20));
    let login = search.login.as_ref().unwrap();
    assert_eq!((&*login.user, login.password.reveal()), ("admin", "s3cret"));
    assert_eq!((search.retry, search.request_timeout), (Duration::from_secs(600), Duration::from_secs(30)));
    assert!(!four.processing.append_delimiter && four.destination.retry() == Some(search.retry));

    let Destination::Splunk(splunk) = &five.destination else { panic!("{five:?}") };
    assert_eq!((splunk.token.reveal(), splunk.endpoint_type), ("t0ken", SplunkEndpoint::Event));
    assert_eq!((splunk.ack_timeout, splunk.retry), (Duration::from_secs(200), Duration::from_secs(7200)));
    assert_eq!((five.buffering.size, five.processing.append_delimiter), (2 << 20, false));
}

#[test]
fn an_s3_destination_inherits_what_it_does_not_say() {
    let text = "
s3: { endpoint: http://127.0.0.1:9000, region: eu-central-1, access_key_id: plain:id, secret_access_key: plain:key }
delivery_streams:
  - { name: a, destination: { s3: { bucket: logs } } }
  - { name: b, destination: { s3: { bucket: logs, region: us-east-2, path_style: false } } }
  - { name: c, destination: { s3: { bucket: logs, access_key_id: plain:own, secret_access_key: plain:own2 } } }
";
    let config = loaded(text).config;
    let got: Vec<String> = config
        .delivery_streams
        .iter()
        .map(|stream| {
            let Place::S3 { connection: s3, .. } = &objects(stream).place else { panic!("{stream:?}") };
            let keys = s3.keys.as_ref().unwrap();
            let endpoint = s3.endpoint.as_ref().unwrap();
            format!("{endpoint} {} {} {}", s3.region, s3.path_style, keys.access_key_id.reveal())
        })
        .collect();
    let endpoint = "http://127.0.0.1:9000/";
    let want = [
        format!("{endpoint} eu-central-1 true id"),
        format!("{endpoint} us-east-2 false id"),
        format!("{endpoint} eu-central-1 true own"),
    ];
    assert_eq!(got, want);
}

#[test]
fn without_an_s3_section_a_bucket_is_one_of_aws() {
    let config = loaded("delivery_streams: [{ name: a, destination: { s3: { bucket: logs } } }]").config;
    let Place::S3 { connection, .. } = &objects(&config.delivery_streams[0]).place else { panic!() };
    assert!(connection.endpoint.is_none() && connection.keys.is_none() && !connection.path_style);
    assert_eq!(connection.region, "us-east-1");
}

#[test]
fn secrets_come_from_where_they_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("key"), "from-file\n").unwrap();
    let env = Environment::of([("CREDENTIALS_DIRECTORY", dir.path().to_str().unwrap()), ("KEY", "from-env")]);
    for (reference, secret) in [
        ("env:KEY", "from-env"),
        ("file:key", "from-file"),
        ("credential:key", "from-file"),
        ("plain:as it:is", "as it:is"),
    ] {
        let text = format!("credentials: [{{ access_key_id: A, secret_access_key: '{reference}' }}]");
        let loaded = load_text(&text, &dir.path().join(FILE), &env).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(loaded.config.credentials.unwrap()[0].secret_access_key.reveal(), secret);
        assert_eq!(loaded.warnings.len(), usize::from(reference.starts_with("plain:")));
    }
}

#[test]
fn variables_stand_inside_values_and_bring_no_yaml() {
    let env = Environment::of([("TEAM", "web"), ("SIZE", "5 MiB"), ("SLY", "x, region: y")]);
    let text = "delivery_streams:\n  - name: ${TEAM}-logs\n    buffering: { size: \"${SIZE}\" }\n    destination: { file: { directory: \"/lake/${SLY}\", prefix: \"$${x}/\" } }\n";
    let stream = load_text(text, Path::new(FILE), &env)
        .unwrap_or_else(|problems| panic!("{problems}"))
        .config
        .delivery_streams
        .remove(0);
    assert_eq!((stream.name.as_str(), stream.buffering.size, stream.region.as_deref()), ("web-logs", 5 << 20, None));
    let ObjectStore { place: Place::File { directory }, naming } = objects(&stream) else { panic!() };
    assert_eq!(directory, Path::new("/lake/x, region: y"));
    assert!(naming.prefix.text().starts_with("${x}/"));
}

#[test]
fn what_yaml_1_1_would_turn_into_something_else_is_literal_text() {
    let text = "account: 012345678901\ndelivery_streams:\n  - { name: no, destination: { file: { directory: 0777 } } }\n  - { name: 1.0, destination: { file: { directory: on } } }\n";
    let config = loaded(text).config;
    assert_eq!(config.account.as_str(), "012345678901");
    let names: Vec<&str> = config.delivery_streams.iter().map(|stream| stream.name.as_str()).collect();
    assert_eq!(names, ["no", "1.0"]);
    let Place::File { directory } = &objects(&config.delivery_streams[0]).place else { panic!() };
    assert_eq!(directory, Path::new("0777"));
}

#[test]
fn a_prefix_with_plugin_keys_turns_partitioning_on() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("p.wasm"), "").unwrap();
    let text = "delivery_streams:
  - name: a
    processing: { plugins: [{ path: p.wasm }] }
    destination:
      file:
        directory: lake
        prefix: \"k=!{partitionKeyFromLambda:k}/\"
        error_output_prefix: \"errors/!{firehose:error-output-type}/\"
";
    let loaded =
        load_text(text, &dir.path().join(FILE), &Environment::of([])).unwrap_or_else(|problems| panic!("{problems}"));
    let partitioning = loaded.config.delivery_streams[0].partitioning.as_ref().unwrap();
    assert!(partitioning.jq.is_none() && partitioning.partitions_max == 500);
}

#[test]
fn kinesis_has_awss_quotas_and_no_throughput_limits_unless_told() {
    let config = loaded(SMALLEST).config;
    assert_eq!((config.limits, config.streams), (crate::KinesisLimits::default(), Vec::new()));
    let text = "
limits: { shard_records_in: 1000, shard_bytes_out: 2 MiB, control_calls: aws, consumers: off, subscription: 90 s }
streams:
  - { name: clicks, region: eu-west-1, mode: on_demand, shards: 4, retention: 7 d }
  - { name: plain }
";
    let config = loaded(text).config;
    let limits = crate::KinesisLimits {
        shard_records_in: Some(1000),
        shard_bytes_out: Some(2 << 20),
        control_calls: true,
        consumers: None,
        subscription: Duration::from_secs(90),
        ..crate::KinesisLimits::default()
    };
    assert_eq!(config.limits, limits);
    let [clicks, plain] = config.streams.as_slice() else { panic!("{:?}", config.streams) };
    assert_eq!((clicks.name.as_str(), clicks.region.as_deref()), ("clicks", Some("eu-west-1")));
    assert_eq!((clicks.on_demand, clicks.shards, clicks.retention_hours), (true, 4, 168));
    assert_eq!((plain.region.as_deref(), plain.on_demand, plain.shards, plain.retention_hours), (None, false, 1, 24));
}
