//! What people read when something is wrong, and that everything right is taken.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::keys::{KEYS, Key, KeyKind};
use crate::model::{Format, ParquetCompression};
use crate::{Destination, ObjectStore, Place};

mod messages;
mod stream_messages;
mod values;

const FILE: &str = "hydrant.yaml";

fn loaded(text: &str) -> Loaded {
    load_text(text, Path::new(FILE), &Environment::of([])).unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

fn problems(text: &str) -> String {
    problems_in(text, &Environment::of([]))
}

fn problems_in(text: &str, env: &Environment) -> String {
    match load_text(text, Path::new(FILE), env) {
        Err(problems) => problems.to_string(),
        Ok(loaded) => panic!("{loaded:?}\n{text}"),
    }
}

/// The problems of one delivery stream whose further keys are given, indented by four.
fn stream_problems(rest: &str) -> String {
    problems(&format!("delivery_streams:\n  - name: a\n{rest}"))
}

fn warnings(text: &str) -> String {
    loaded(text).warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

const SMALLEST: &str =
    "delivery_streams:\n  - name: access-logs\n    destination:\n      file: { directory: ./lake }\n";

/// Every key once; `{dir}` holds the plugin.
const EVERYTHING: &str = r#"
data_dir: data
data_dir_encrypted: true
memory: 1 GiB
account: "210987654321"
api:
  listen: 0.0.0.0:4567
  tls: { certificate: cert.pem, key: key.pem, client_ca: ca.pem }
admin: { listen: "[::1]:4568" }
credentials:
  - access_key_id: AKIAEXAMPLE
    secret_access_key: env:SECRET
    session_token: env:TOKEN
    allow: [{ actions: ["firehose:Put*"], resources: ["delivery_stream/access-*"] }]
    deny: [{ actions: ["*"], resources: ["arn:aws:firehose:*:*:deliverystream/access-2"] }]
s3:
  endpoint: http://127.0.0.1:9000
  region: eu-central-1
  access_key_id: plain:minio
  secret_access_key: env:SECRET
  session_token: env:TOKEN
  path_style: false
  ca: ca.pem
lambda:
  "arn:aws:lambda:us-east-1:123456789012:function:clean":
    plugin: clean.wasm
    sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
    config: { mask: ip }
    memory: 64 MiB
    cpu_per_batch: 500 ms
    on_error: stop
glue:
  web.access: { columns: { ts: timestamp, ip: string } }
opensearch:
  "arn:aws:es:us-east-1:123456789012:domain/logs":
    endpoint: https://search.example.com:9200
    user: admin
    password: env:SECRET
    ca: ca.pem
api_destinations: { ca: ca.pem }
limits:
  shard_records_in: 1000
  shard_bytes_in: 1 MiB
  shard_bytes_out: 2 MiB
  shard_reads: 5
  control_calls: aws
  shards: 500
  on_demand_streams: off
  consumers: 50
  subscription: 10 s
streams:
  - { name: clicks, region: eu-west-1, mode: on_demand, shards: 4, retention: 7 d }
  - { name: plain }
delivery_streams:
  - name: one
    region: eu-west-1
    buffering: { size: 1 GiB, object_size: 256 MiB, interval: 0 s }
    log: { compression: zstd, retention: 7 d, size_max: 1 TiB, expire_undelivered: true }
    history: { retention: 30 d, size_max: 1 GiB }
    backlog_max: 50 GiB
    processing:
      plugins:
        - path: clean.wasm
          sha256: E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855
          config: { mask: ip, level: 3 }
          memory: 256 MiB
          cpu_per_batch: 10 s
          on_error: fail_record
      append_delimiter: false
      deaggregate: { delimited: { delimiter: "||" } }
    partitioning:
      jq: { customer: .customer_id }
      partitions_max: 50000
    format: { lines: { compression: gzip } }
    destination:
      s3:
        bucket: logs
        prefix: "c=!{partitionKeyFromQuery:customer}/!{timestamp:HH}/"
        error_output_prefix: "errors/!{firehose:error-output-type}/"
        time_zone: Europe/Berlin
        file_extension: .json.gz
        endpoint: https://s3.example.com
        region: us-west-2
        access_key_id: env:SECRET
        secret_access_key: env:SECRET
        session_token: env:TOKEN
        path_style: true
        ca: ca.pem
        server_side_encryption: aws:kms
        kms_key_id: arn:aws:kms:us-west-2:123456789012:key/1
        storage_class: STANDARD_IA
        acl: bucket-owner-full-control
        tags: { team: web, "a b": "" }
        create_bucket: true
  - name: two
    from_stream: { name: clicks, start: trim_horizon, deaggregate: false }
    format:
      parquet:
        columns: { ts: timestamp, price: "decimal(10,2)" }
        compression: zstd
        row_group: 64 MiB
    destination:
      file: { directory: /lake, prefix: two/, error_output_prefix: bad/, time_zone: UTC, file_extension: .pq }
    backup:
      records: all
      file: { directory: /raw, prefix: raw/, error_output_prefix: bad/, time_zone: UTC, file_extension: .txt }
  - name: three
    destination:
      http_endpoint:
        url: https://ingest.example.com/firehose?team=web
        access_key: env:SECRET
        common_attributes: { team: web, "a b": "" }
        content_encoding: gzip
        retry: 0 s
        request_timeout: 10 s
        ca: ca.pem
    backup:
      records: failed
      s3:
        bucket: backup
        prefix: three/
        error_output_prefix: "bad/!{firehose:error-output-type}/"
        time_zone: Europe/Berlin
        file_extension: .json
        endpoint: https://s3.example.com
        region: us-west-2
        profile: backup
        path_style: true
        server_side_encryption: AES256
  - name: four
    destination:
      opensearch:
        endpoint: https://search.example.com:9200/below
        index: access-logs
        index_rotation: one_week
        type_name: _doc
        document_id: no_document_id
        user: admin
        password: env:SECRET
        ca: ca.pem
        retry: 600 s
        request_size: 1 MiB
        request_timeout: 30 s
    backup: { file: { directory: /backup } }
  - name: five
    buffering: { size: 2 MiB }
    destination:
      splunk:
        endpoint: https://splunk.example.com:8088
        token: env:TOKEN
        endpoint_type: event
        ack_timeout: 200 s
        retry: 7200 s
        ca: ca.pem
    backup: { records: failed, file: { directory: /backup } }
  - name: six
    processing: { deaggregate: { json: {} } }
    partitioning: { jq: { team: .team } }
    destination: { file: { directory: /lake, prefix: "!{partitionKeyFromQuery:team}/", error_output_prefix: bad/ } }
"#;

fn objects(stream: &crate::DeliveryStream) -> &ObjectStore {
    stream.destination.objects().unwrap_or_else(|| panic!("{stream:?}"))
}

fn everything(dir: &Path) -> (Result<Loaded, Problems>, BTreeSet<String>) {
    for file in ["clean.wasm", "cert.pem", "key.pem"] {
        std::fs::write(dir.join(file), "").unwrap();
    }
    std::fs::write(dir.join("ca.pem"), "-----BEGIN CERTIFICATE-----\n").unwrap();
    let env = Environment::of([("SECRET", "s3cret"), ("TOKEN", "t0ken"), ("HOME", "/h")]);
    load_and_trace(EVERYTHING, &dir.join(FILE), &env)
}

#[test]
fn the_loader_asks_for_exactly_the_keys_of_the_table() {
    let dir = tempfile::tempdir().unwrap();
    let (loaded, asked) = everything(dir.path());
    loaded.unwrap_or_else(|problems| panic!("{problems}"));
    let table: BTreeSet<String> = KEYS.iter().map(|key| key.path.to_owned()).collect();
    assert_eq!(asked, table);
}

/// A key that the table has and `EVERYTHING` lacks would be claimed without a test.
#[test]
fn the_file_with_everything_has_every_key() {
    let name = |key: &Key| key.path.rsplit('.').next().unwrap_or_default().to_owned();
    for key in KEYS.iter().map(name) {
        assert!(EVERYTHING.contains(&format!("{key}:")), "{key}");
    }
}

#[test]
fn defaults_of_the_table_are_valid_and_words_are_known() {
    let paths: BTreeSet<&str> = KEYS.iter().map(|key| key.path).collect();
    assert_eq!(paths.len(), KEYS.len(), "no key stands twice");
    for key in KEYS {
        match key.kind {
            // Those are only asked for where they stand.
            KeyKind::Size { .. } if matches!(key.default, "" | "half of the free disk") => {}
            KeyKind::Size { min, max } => {
                assert!((min..=max).contains(&crate::quantity::parse_size(key.default).unwrap()), "{}", key.path);
            }
            KeyKind::Duration { min, max } => {
                let default = crate::quantity::parse_duration(key.default).unwrap().as_millis();
                assert!((u128::from(min)..=u128::from(max)).contains(&default), "{}", key.path);
            }
            KeyKind::Integer { min, max } => {
                assert!((min..=max).contains(&key.default.parse().unwrap()), "{}", key.path);
            }
            KeyKind::Count { .. } => {
                assert!(key.default == "off" || key.default.parse::<u64>().is_ok(), "{}", key.path);
            }
            KeyKind::Rate { .. } => assert_eq!(key.default, "off", "{}", key.path),
            KeyKind::Word(words) => assert!(words.contains(&key.default), "{}", key.path),
            _ => {}
        }
        assert!(key.meaning.ends_with('.'), "{}", key.path);
    }
}

#[test]
fn the_template_loads() {
    let config = loaded(crate::template()).config;
    assert_eq!(config.delivery_streams.len(), 1);
}

/// What the template shows behind `# ` works too.
#[test]
fn the_template_loads_with_every_comment_taken_away() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("plugins")).unwrap();
    std::fs::write(dir.path().join("plugins/access_log.wasm"), "").unwrap();
    let open = |line: &str| {
        let shown = line.trim_start().strip_prefix("# ").unwrap_or_default();
        let is_key =
            shown.trim_start().trim_start_matches("- ").split(' ').next().is_some_and(|word| word.ends_with(':'));
        // A destination is either `file` or `s3`.
        if is_key && !shown.starts_with("Records ") && !shown.starts_with("s3: {") {
            line.replacen("# ", "", 1)
        } else {
            line.to_owned()
        }
    };
    let text = crate::template().lines().map(open).collect::<Vec<_>>().join("\n");
    let env = Environment::of([("HYDRANT_SECRET", "a"), ("AWS_ACCESS_KEY_ID", "b"), ("AWS_SECRET_ACCESS_KEY", "c")]);
    let loaded = load_text(&text, &dir.path().join(FILE), &env).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    assert!(loaded.config.credentials.is_some() && loaded.config.s3.is_some(), "{text}");
    assert_eq!(loaded.config.delivery_streams[0].processing.plugins.len(), 1);
}

#[test]
fn every_example_loads() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let dir = tempfile::tempdir().unwrap();
    // Plugins are built elsewhere; here only their names count.
    std::fs::create_dir(dir.path().join("plugins")).unwrap();
    std::fs::write(dir.path().join("plugins/access_log.wasm"), "").unwrap();
    let env = Environment::of([
        ("HYDRANT_SECRET", "a"),
        ("HYDRANT_PARTNER_KEY", "b"),
        ("AWS_ACCESS_KEY_ID", "minioadmin"),
        ("AWS_SECRET_ACCESS_KEY", "minioadmin"),
    ]);
    let mut names: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            load_text(&text, &dir.path().join(&name), &env).unwrap_or_else(|problems| panic!("{problems}"));
            names.push(name);
        }
    }
    assert!(names.len() >= 3, "{names:?}");
}
