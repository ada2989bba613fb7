//! Every text that a wrong delivery stream earns, and what API requests may name.

use super::*;

#[test]
fn plugins_are_checked() {
    let text = "    processing:\n      plugins:\n        - path: plugins/none.wasm\n          sha256: abc\n          memory: 8 GiB\n          cpu_per_batch: 0 s\n          on_error: fail\n        - {}\n    destination: { file: { directory: a } }";
    insta::assert_snapshot!(stream_problems(text), @"
    config error: hydrant.yaml:5:17: delivery_streams[0].processing.plugins[0].path: plugin file not found, got `plugins/none.wasm`
      hint: the path is relative to the YAML file
    config error: hydrant.yaml:6:19: delivery_streams[0].processing.plugins[0].sha256: must be 64 hexadecimal digits, got `abc`
      hint: `sha256sum FILE` prints it
    config error: hydrant.yaml:7:19: delivery_streams[0].processing.plugins[0].memory: must be 1 MiB to 4 GiB, got 8 GiB
    config error: hydrant.yaml:8:26: delivery_streams[0].processing.plugins[0].cpu_per_batch: must be 10 ms to 300 s, got 0 s
    config error: hydrant.yaml:9:21: delivery_streams[0].processing.plugins[0].on_error: must be `fail_record` or `stop`, got `fail`
    config error: hydrant.yaml:10:11: delivery_streams[0].processing.plugins[1].path: is missing
      hint: must be a path, relative to the YAML file
    6 problems; nothing was started
    ");
}

#[test]
fn the_log_is_checked() {
    let text = "    log: { compression: gzip, retention: 400 d, size_max: 1 MiB, expire_undelivered: yes }\n    destination: { file: { directory: a } }";
    insta::assert_snapshot!(stream_problems(text), @"
    config error: hydrant.yaml:3:25: delivery_streams[0].log.compression: must be `none`, `lz4` or `zstd`, got `gzip`
    config error: hydrant.yaml:3:42: delivery_streams[0].log.retention: must be 0 s to 365 d, got 400 d
    config error: hydrant.yaml:3:59: delivery_streams[0].log.size_max: must be 16 MiB to 1024 TiB, got 1 MiB
    config error: hydrant.yaml:3:86: delivery_streams[0].log.expire_undelivered: must be `true` or `false`, got `yes`
      hint: write `true`
    4 problems; nothing was started
    ");
    let text = "    log: { expire_undelivered: true }\n    destination: { file: { directory: a } }";
    insta::assert_snapshot!(stream_problems(text), @"
    config error: hydrant.yaml:3:32: delivery_streams[0].log.expire_undelivered: records that are not delivered may expire, but there is no `retention` after which they do
      hint: add `retention: 7 d`, or remove `expire_undelivered`
    1 problem; nothing was started
    ");
}

#[test]
fn names_in_api_requests_are_checked() {
    let text = "lambda: { clean: { plugin: a.wasm } }\nglue:\n  access: { columns: {} }\n  a.b: { columns: { Ts: timestamp } }\n  a.c: { columns: { n: long, m: \"struct<a:int>\" } }\n  a.d: {}";
    insta::assert_snapshot!(problems(text), @r#"
    config error: hydrant.yaml:1:11: lambda.clean: the key must be a Lambda function ARN, got `clean`
      hint: write `"arn:aws:lambda:us-east-1:123456789012:function:NAME"`
    config error: hydrant.yaml:1:28: lambda.clean.plugin: plugin file not found, got `a.wasm`
      hint: the path is relative to the YAML file
    config error: hydrant.yaml:3:3: glue.access: the key must be `database.table`, got `access`
    config error: hydrant.yaml:3:22: glue.access.columns: must have at least one column, got none
    config error: hydrant.yaml:4:19: glue."a.b".columns: column names must be lower case, got `Ts`; write `ts`
    config error: hydrant.yaml:5:24: glue."a.c".columns.n: must be `boolean`, `tinyint`, `smallint`, `int`, `bigint`, `float`, `double`, `string`, `binary`, `date`, `timestamp` or `decimal(p,s)`, got `long`
      hint: write `bigint`
    config error: hydrant.yaml:5:33: glue."a.c".columns.m: must be `boolean`, `tinyint`, `smallint`, `int`, `bigint`, `float`, `double`, `string`, `binary`, `date`, `timestamp` or `decimal(p,s)`, got `struct<a:int>`
      hint: nested values go into a `string` column as JSON text
    config error: hydrant.yaml:6:8: glue."a.d".columns: is missing
      hint: must be a map of column name to type
    8 problems; nothing was started
    "#);
}

#[test]
fn streams_have_names_of_their_own() {
    let text = "delivery_streams:\n  - { name: a, destination: { file: { directory: a } } }\n  - { name: a, destination: { file: { directory: b } } }\n  - { name: ä, region: Berlin, destination: { file: { directory: \"\" } } }";
    insta::assert_snapshot!(problems(text), @"
    config error: hydrant.yaml:3:13: delivery_streams[1].name: must be distinct, got `a`, which is `delivery_streams[0].name` too
      hint: choose another name
    config error: hydrant.yaml:4:13: delivery_streams[2].name: must be 1 to 64 of `a-z A-Z 0-9 _ . -`, got `ä`
    config error: hydrant.yaml:4:24: delivery_streams[2].region: must be a region such as `eu-central-1`, got `Berlin`
      hint: lower-case letters, digits and `-`
    config error: hydrant.yaml:4:66: delivery_streams[2].destination.file.directory: must be a path, relative to the YAML file, got an empty text
    4 problems; nothing was started
    ");
}

#[test]
fn delimiters_are_for_lines() {
    let text = "    processing: { append_delimiter: true }\n    format: { parquet: { columns: { a: int } } }\n    destination: { file: { directory: a } }";
    insta::assert_snapshot!(stream_problems(text), @"
    config error: hydrant.yaml:3:37: delivery_streams[0].processing.append_delimiter: only the `lines` format has delimiters, got `parquet`
      hint: remove the key
    1 problem; nothing was started
    ");
}

#[test]
fn prefixes_follow_firehose() {
    let of = |keys: &str| stream_problems(&format!("    destination:\n      file:\n        directory: a\n{keys}"));
    insta::assert_snapshot!(of("        prefix: \"raw/!{timestamp:yyyy}/\""), @r#"
    config error: hydrant.yaml:5:9: delivery_streams[0].destination.file.error_output_prefix: Ths supplied prefix(es) do not satisfy the following constraint: ErrorOutputPrefix cannot be null or empty when Prefix contains expressions
      hint: add `error_output_prefix: "errors/!{firehose:error-output-type}/"`
    1 problem; nothing was started
    "#);
    insta::assert_snapshot!(of("        error_output_prefix: e/!{timestamp:yyyy}/"), @"
    config error: hydrant.yaml:6:30: delivery_streams[0].destination.file.error_output_prefix: with expressions it must hold `!{firehose:error-output-type}`, got `e/!{timestamp:yyyy}/`
      hint: write `!{firehose:error-output-type}/` before the others
    1 problem; nothing was started
    ");
    insta::assert_snapshot!(of("        file_extension: gz\n        time_zone: CEST"), @"
    config error: hydrant.yaml:6:25: delivery_streams[0].destination.file.file_extension: must be a dot, then up to 127 of `0-9 a-z ! - _ . * ' ( )`, got `gz`
      hint: such as `.json.gz`
    config error: hydrant.yaml:7:20: delivery_streams[0].destination.file.time_zone: must be a name of the IANA time zone database, got `CEST`
      hint: such as `Europe/Berlin`; `UTC` is the default
    2 problems; nothing was started
    ");
    let misplaced = of("        prefix: \"logs/!{nope:x}/\"\n        error_output_prefix: errors/");
    assert!(
        misplaced.starts_with("config error: hydrant.yaml:6:25: delivery_streams[0].destination.file.prefix: "),
        "{misplaced}"
    );
}

#[test]
fn keys_and_prefix_agree() {
    let of = |rest: &str, prefix: &str| {
        stream_problems(&format!(
            "{rest}    destination:\n      file: {{ directory: a, prefix: \"{prefix}\", error_output_prefix: \"e/!{{firehose:error-output-type}}/\" }}"
        ))
    };
    insta::assert_snapshot!(of("", "!{partitionKeyFromQuery:a}/!{partitionKeyFromLambda:b}/"), @"
    config error: hydrant.yaml:4:37: delivery_streams[0].destination.file.prefix: no jq filter gives the key `a` that the prefix asks for
      hint: add `partitioning: { jq: { a: .a } }`
    config error: hydrant.yaml:4:37: delivery_streams[0].destination.file.prefix: no plugin is there to give the key `b` that the prefix asks for
      hint: add `processing: { plugins: [{ path: … }] }`, or take the key by jq
    2 problems; nothing was started
    ");
    insta::assert_snapshot!(of("    partitioning: { partitions_max: 5 }\n", "!{timestamp:yyyy}/"), @"
    config error: hydrant.yaml:5:37: delivery_streams[0].destination.file.prefix: dynamic partitioning is on, but the prefix asks for no partition key
      hint: put `!{partitionKeyFromLambda:key}` into the prefix, or remove `partitioning`
    1 problem; nothing was started
    ");
    insta::assert_snapshot!(of("    partitioning:\n      jq: { a: .a, b: .b }\n", "!{partitionKeyFromQuery:a}/"), @"
    config error: hydrant.yaml:4:11: delivery_streams[0].partitioning.jq: the prefix does not ask for the key `b`
      hint: put `!{partitionKeyFromQuery:b}` into the prefix, or remove the key
    1 problem; nothing was started
    ");
    insta::assert_snapshot!(of("    partitioning:\n      jq: {}\n", "!{partitionKeyFromQuery:a}/"), @"
    config error: hydrant.yaml:4:11: delivery_streams[0].partitioning.jq: must have at least one key, got none
      hint: remove `jq`
    1 problem; nothing was started
    ");
    let broken = of("    partitioning:\n      jq:\n        a: .[\n        b: \"}\"\n", "!{partitionKeyFromQuery:a}/");
    assert!(broken.contains("hydrant.yaml:5:12: delivery_streams[0].partitioning.jq.a: "), "{broken}");
    assert!(broken.contains("hydrant.yaml:6:12: delivery_streams[0].partitioning.jq.b: "), "{broken}");
}

#[test]
fn destinations_that_take_requests_are_checked() {
    let text = r#"    destination:
      http_endpoint:
        url: ftp://example.com
        access_key: "plain:two\nlines"
        common_attributes: { "": a }
        content_encoding: deflate
        retry: 3 h
        request_timeout: 0 s
        ca: none.pem
    backup: { records: some }"#;
    insta::assert_snapshot!(stream_problems(text), @r#"
    config error: hydrant.yaml:5:14: delivery_streams[0].destination.http_endpoint.url: must be an `http://` or `https://` URL, got `ftp://example.com`
      hint: write it as `https://ingest.example.com/firehose`; a secret goes into `access_key`
    config error: hydrant.yaml:6:21: delivery_streams[0].destination.http_endpoint.access_key: must be at most 4096 printable ASCII characters, for it goes into a header
      hint: check what the reference points to
    config error: hydrant.yaml:7:34: delivery_streams[0].destination.http_endpoint.common_attributes."": must be a name of 1 to 256 characters and a value of up to 1024
    config error: hydrant.yaml:8:27: delivery_streams[0].destination.http_endpoint.content_encoding: must be `none` or `gzip`, got `deflate`
    config error: hydrant.yaml:9:16: delivery_streams[0].destination.http_endpoint.retry: must be 0 s to 2 h, got 3 h
    config error: hydrant.yaml:10:26: delivery_streams[0].destination.http_endpoint.request_timeout: must be 1 s to 180 s, got 0 s
    config error: hydrant.yaml:11:13: delivery_streams[0].destination.http_endpoint.ca: cannot read `none.pem`: No such file or directory (os error 2)
      hint: the path is relative to the YAML file
    config error: hydrant.yaml:12:13: delivery_streams[0].backup: must have exactly one of `file` or `s3`, got none
    config error: hydrant.yaml:12:24: delivery_streams[0].backup.records: must be `failed` or `all`, got `some`
    9 problems; nothing was started
    "#);
    let text = r#"    destination:
      opensearch: { endpoint: "http://a?b", index: Access, user: a }
    backup: { file: { directory: a }, s3: { bucket: b } }"#;
    insta::assert_snapshot!(stream_problems(text), @"
    config error: hydrant.yaml:4:31: delivery_streams[0].destination.opensearch.endpoint: must be an `http://` or `https://` URL without a query, got `http://a?b`
      hint: write it as `https://search.example.com:9200`; name and password have their own keys
    config error: hydrant.yaml:4:52: delivery_streams[0].destination.opensearch.index: must be 1 to 80 characters that an index name may have, got `Access`
      hint: such as `access-logs`; the rotation appends its own suffix
    config error: hydrant.yaml:4:66: delivery_streams[0].destination.opensearch.user: needs `password` beside it
      hint: add `password`, or remove `user`
    config error: hydrant.yaml:5:13: delivery_streams[0].backup: must have exactly one of `file` or `s3`, got `file` and `s3`
    4 problems; nothing was started
    ");
    let text = "    destination: { splunk: { ack_timeout: 900 s } }\n    backup: {}";
    insta::assert_snapshot!(stream_problems(text), @"
    config error: hydrant.yaml:3:28: delivery_streams[0].destination.splunk.endpoint: is missing
      hint: must be an `http://` or `https://` URL without a query
    config error: hydrant.yaml:3:28: delivery_streams[0].destination.splunk.token: is missing
      hint: must be `env:NAME`, `file:PATH`, `credential:NAME` or `plain:TEXT`
    config error: hydrant.yaml:3:43: delivery_streams[0].destination.splunk.ack_timeout: must be 1 s to 600 s, got 900 s
    config error: hydrant.yaml:4:13: delivery_streams[0].backup: must have exactly one of `file` or `s3`, got none
    4 problems; nothing was started
    ");
}

#[test]
fn what_only_objects_have_is_refused_elsewhere() {
    let text = r#"    buffering: { size: 65 MiB }
    partitioning: { jq: { a: .a } }
    format: { parquet: { columns: { a: int } } }
    destination: { http_endpoint: { url: "http://127.0.0.1:1/" } }"#;
    insta::assert_snapshot!(stream_problems(text), @"
    config error: hydrant.yaml:2:5: delivery_streams[0].backup: is missing: what `http_endpoint` refuses must go somewhere
      hint: add `backup: { s3: { bucket: … } }` or `backup: { file: { directory: … } }`
    config error: hydrant.yaml:3:24: delivery_streams[0].buffering.size: must be 1 MiB to 64 MiB with `http_endpoint`, got 65 MiB
      hint: it is the size of one request there; 5 MiB is the default
    config error: hydrant.yaml:4:19: delivery_streams[0].partitioning: only objects are partitioned, and `http_endpoint` takes requests
      hint: remove `partitioning`
    config error: hydrant.yaml:5:24: delivery_streams[0].format.parquet: only objects can be Parquet, and `http_endpoint` takes requests
      hint: remove `format`
    4 problems; nothing was started
    ");
    let text = r#"    processing: { append_delimiter: true }
    destination: { opensearch: { endpoint: "http://127.0.0.1:1/", index: a } }
    backup:
      file:
        directory: a
        prefix: "!{partitionKeyFromQuery:a}/"
        error_output_prefix: "!{firehose:error-output-type}/""#;
    insta::assert_snapshot!(stream_problems(text), @"
    config error: hydrant.yaml:3:37: delivery_streams[0].processing.append_delimiter: `opensearch` takes documents, which have no delimiters
      hint: remove the key
    config error: hydrant.yaml:8:17: delivery_streams[0].backup.file.prefix: a backup has no partitions
      hint: remove the partition keys from its prefix
    2 problems; nothing was started
    ");
    let text = "    destination: { file: { directory: a } }\n    backup: { file: { directory: b } }";
    insta::assert_snapshot!(stream_problems(text), @"
    config error: hydrant.yaml:4:13: delivery_streams[0].backup.records: failed records go to the error output of the destination; beside objects a backup has all records
      hint: write `records: all`, or remove `backup`
    1 problem; nothing was started
    ");
}

#[test]
fn what_a_bucket_is_told_is_checked() {
    let text = r#"    destination:
      s3:
        bucket: a
        profile: "]"
        ca: none.pem
        server_side_encryption: AES256
        kms_key_id: k
        storage_class: standard
        acl: everybody
        tags: { a: "&", b: 2, c: 3, d: 4, e: 5, f: 6, g: 7, h: 8, i: 9, j: 10, "": 11 }
        create_bucket: maybe"#;
    insta::assert_snapshot!(stream_problems(text), @r#"
    config error: hydrant.yaml:6:18: delivery_streams[0].destination.s3.profile: must be 1 to 128 bytes without `]`, got `]`
      hint: the name alone, such as `default`
    config error: hydrant.yaml:7:13: delivery_streams[0].destination.s3.ca: cannot read `none.pem`: No such file or directory (os error 2)
      hint: the path is relative to the YAML file
    config error: hydrant.yaml:9:21: delivery_streams[0].destination.s3.kms_key_id: only `aws:kms` takes a key id
      hint: add `server_side_encryption: aws:kms`, or remove the key
    config error: hydrant.yaml:10:24: delivery_streams[0].destination.s3.storage_class: must be 1 to 64 of `A-Z 0-9 _`, got `standard`
      hint: AWS's name in capitals, such as `STANDARD_IA`
    config error: hydrant.yaml:11:14: delivery_streams[0].destination.s3.acl: must be `none`, `private`, `public-read`, `public-read-write`, `authenticated-read`, `aws-exec-read`, `bucket-owner-read` or `bucket-owner-full-control`, got `everybody`
    config error: hydrant.yaml:12:15: delivery_streams[0].destination.s3.tags: must be at most 10 tags, got 11
    config error: hydrant.yaml:12:20: delivery_streams[0].destination.s3.tags.a: must be a name of 1 to 128 and a value of up to 256 letters, digits, blanks and `+-=._:/@`
    config error: hydrant.yaml:12:84: delivery_streams[0].destination.s3.tags."": must be a name of 1 to 128 and a value of up to 256 letters, digits, blanks and `+-=._:/@`
    config error: hydrant.yaml:13:24: delivery_streams[0].destination.s3.create_bucket: must be `true` or `false`, got `maybe`
    9 problems; nothing was started
    "#);
    let text =
        r#"    destination: { s3: { bucket: a, profile: b, access_key_id: "plain:c", secret_access_key: "plain:d" } }"#;
    insta::assert_snapshot!(stream_problems(text), @"
    config error: hydrant.yaml:3:46: delivery_streams[0].destination.s3.profile: neither `$AWS_SHARED_CREDENTIALS_FILE` nor `$HOME` is set
      hint: set `$AWS_SHARED_CREDENTIALS_FILE` to the file that holds the profile
    config error: hydrant.yaml:3:46: delivery_streams[0].destination.s3.profile: keys stand beside it, and only one of both can sign
      hint: remove `profile`, or the keys
    2 problems; nothing was started
    ");
}

#[test]
fn a_source_says_what_it_may_be() {
    let lake = "    destination: { file: { directory: x } }";
    let source = |rest: &str| stream_problems(&format!("    from_stream: {rest}\n{lake}"));
    insta::assert_snapshot!(source("{ name: a b, start: yesterday }"), @"
    config error: hydrant.yaml:3:26: delivery_streams[0].from_stream.name: must be 1 to 128 of `a-z A-Z 0-9 _ . -`, got `a b`
    config error: hydrant.yaml:3:38: delivery_streams[0].from_stream.start: must be `latest`, `trim_horizon`, or a time such as `2026-05-01T12:00:00Z`, got `yesterday`
    2 problems; nothing was started
    ");
    insta::assert_snapshot!(source("{ name: clicks }\n    log: { retention: 24 h }"), @"
    config error: hydrant.yaml:4:10: delivery_streams[0].log: with `from_stream` only `expire_undelivered` has a meaning: the records are in the log of the Kinesis stream
      hint: remove the other keys; the Kinesis stream has a retention period of its own
    1 problem; nothing was started
    ");
    insta::assert_snapshot!(source("{}"), @"
    config error: hydrant.yaml:3:18: delivery_streams[0].from_stream.name: is missing
      hint: must be 1 to 128 of `a-z A-Z 0-9 _ . -`
    1 problem; nothing was started
    ");
}

#[test]
fn records_are_taken_apart_as_one_says_and_only_into_partitions() {
    let lake = "    destination: { file: { directory: x } }";
    let of = |rest: &str| stream_problems(&format!("    processing: {{ deaggregate: {rest} }}\n{lake}"));
    insta::assert_snapshot!(of("{ json: {} }"), @"
    config error: hydrant.yaml:3:32: delivery_streams[0].processing.deaggregate: records are taken apart only with dynamic partitioning
      hint: add `partitioning` and a partition key to the prefix, or remove `deaggregate`
    1 problem; nothing was started
    ");
    insta::assert_snapshot!(of("json"), @"
    config error: hydrant.yaml:3:32: delivery_streams[0].processing.deaggregate: must be a map with exactly one of `json` or `delimited`, got `json`
      hint: the choice is a key: write `deaggregate: { json: { … } }`
    1 problem; nothing was started
    ");
    insta::assert_snapshot!(of("{ delimited: {} }"), @"
    config error: hydrant.yaml:3:45: delivery_streams[0].processing.deaggregate.delimited.delimiter: is missing
      hint: must be 1 to 1024 bytes
    1 problem; nothing was started
    ");
    insta::assert_snapshot!(of("{ delimited: { delimiter: '' } }"), @"
    config error: hydrant.yaml:3:58: delivery_streams[0].processing.deaggregate.delimited.delimiter: must be 1 to 1024 bytes, got an empty text
    1 problem; nothing was started
    ");
}

#[test]
fn domains_have_arns_and_clusters_of_their_own() {
    let text = "opensearch:\n  logs: { endpoint: 'http://a:9200' }\n  \
                arn:aws:es:us-east-1:123456789012:domain/one: { endpoint: 'http://a:9200', user: admin }\n  \
                arn:aws:es:us-east-1:123456789012:domain/two: {}";
    insta::assert_snapshot!(problems(text), @r#"
    config error: hydrant.yaml:2:3: opensearch.logs: the key must be the ARN of a domain, got `logs`
      hint: write `"arn:aws:es:us-east-1:123456789012:domain/NAME"`
    config error: hydrant.yaml:3:61: opensearch."arn:aws:es:us-east-1:123456789012:domain/one".endpoint: must be distinct
      hint: a cluster has one entry
    config error: hydrant.yaml:3:84: opensearch."arn:aws:es:us-east-1:123456789012:domain/one".user: needs `password` beside it
      hint: add `password`, or remove `user`
    config error: hydrant.yaml:4:49: opensearch."arn:aws:es:us-east-1:123456789012:domain/two".endpoint: is missing
      hint: must be an `http://` or `https://` URL without a query
    4 problems; nothing was started
    "#);
}

#[test]
fn sizes_that_mean_nothing_there_are_refused() {
    let text = "    buffering: { object_size: 8 MiB }\n    destination: { http_endpoint: { url: https://a.example } }\n    \
                backup: { file: { directory: b } }";
    let said = stream_problems(text);
    assert!(said.contains("delivery_streams[0].buffering.object_size: only objects have it, and `http_endpoint` takes requests, got 8 MiB"), "{said}");
    assert!(said.contains("hint: remove the key; `size` is the size of a request"), "{said}");
    let text = "    from_stream: { name: clicks }\n    backlog_max: 1 GiB\n    destination: { file: { directory: a } }";
    let said = stream_problems(text);
    assert!(said.contains("delivery_streams[0].backlog_max: with `from_stream` nobody puts to the delivery stream who could be kept waiting, got 1 GiB"), "{said}");
    let text = "    buffering: { object_size: 2 GiB }\n    backlog_max: 1 MiB\n    history: { retention: 1 h, size_max: 1 KiB }\n    destination: { file: { directory: a } }";
    let said = stream_problems(text);
    for wanted in [
        "buffering.object_size: must be 1 MiB to 1 GiB, got 2 GiB",
        "backlog_max: must be 16 MiB to",
        "history.size_max: must be 1 MiB to 64 GiB, got 1 KiB",
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
}
