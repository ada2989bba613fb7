//! Whether the parts of a delivery stream fit together, for YAML and for the API alike.

use std::collections::BTreeSet;

use crate::KeySource;
use crate::destination::{BackupRecords, Destination, ObjectStore, Place};
use crate::model::{DeliveryStream, DeliveryStreamSpec, Format, LogPolicy, SpecProblem};
use crate::quantity::show_size;

/// As at AWS.
const JQ_KEYS_MAX: usize = 50;
/// Of a request that is cut by the buffer's size, as at AWS.
const REQUEST_BYTES_MAX: u64 = 64 << 20;

impl DeliveryStream {
    /// Everything that does not fit, or the delivery stream.
    ///
    /// Keys and prefix must agree: a key that the prefix asks for comes from jq or from a plugin, every jq key stands in
    /// the prefix, and partitioning without a key in the prefix would do nothing. A destination that takes requests has a
    /// backup for what it refuses, and neither partitions nor columns.
    pub fn new(spec: DeliveryStreamSpec) -> Result<DeliveryStream, Vec<SpecProblem>> {
        let keys = match &spec.destination {
            Destination::Objects(store) => [missing_keys(&spec, store), unused_keys(&spec, store)].concat(),
            _ => requests(&spec),
        };
        let parts =
            [keys, backup(&spec), expiry(&spec), foreign_log(&spec), deaggregation(&spec), foreign_backlog(&spec)];
        let problems: Vec<SpecProblem> = parts.concat();
        if problems.is_empty() { Ok(DeliveryStream(spec)) } else { Err(problems) }
    }

    /// The parts, to make a changed delivery stream from.
    #[must_use]
    pub fn into_spec(self) -> DeliveryStreamSpec {
        self.0
    }
}

/// Keys of the prefix that nothing gives.
fn missing_keys(spec: &DeliveryStreamSpec, store: &ObjectStore) -> Vec<SpecProblem> {
    let wanted = store.naming.prefix.keys();
    let path = prefix_path(&store.place);
    if spec.partitioning.is_none() && !wanted.is_empty() {
        let message = "the prefix asks for partition keys, but dynamic partitioning is off".to_owned();
        return vec![SpecProblem { path, message, hint: Some("add `partitioning`".to_owned()) }];
    }
    let given = jq_names(spec);
    let mut problems = Vec::new();
    for (source, key) in wanted {
        let (message, hint) = match source {
            KeySource::Query if !given.contains(key.as_str()) => (
                format!("no jq filter gives the key `{key}` that the prefix asks for"),
                format!("add `partitioning: {{ jq: {{ {key}: .{key} }} }}`"),
            ),
            KeySource::Lambda if spec.processing.plugins.is_empty() => (
                format!("no plugin is there to give the key `{key}` that the prefix asks for"),
                "add `processing: { plugins: [{ path: … }] }`, or take the key by jq".to_owned(),
            ),
            _ => continue,
        };
        problems.push(SpecProblem { path, message, hint: Some(hint) });
    }
    problems
}

/// Keys that the prefix does not ask for.
fn unused_keys(spec: &DeliveryStreamSpec, store: &ObjectStore) -> Vec<SpecProblem> {
    let Some(partitioning) = &spec.partitioning else { return Vec::new() };
    let wanted = store.naming.prefix.keys();
    let given = jq_names(spec);
    let mut problems = Vec::new();
    for key in &given {
        if !wanted.contains(&(KeySource::Query, (*key).to_owned())) {
            problems.push(SpecProblem {
                path: "partitioning.jq",
                message: format!("the prefix does not ask for the key `{key}`"),
                hint: Some(format!("put `!{{partitionKeyFromQuery:{key}}}` into the prefix, or remove the key")),
            });
        }
    }
    if given.len() > JQ_KEYS_MAX {
        let message = format!("must be at most {JQ_KEYS_MAX} keys, got {}", given.len());
        problems.push(SpecProblem { path: "partitioning.jq", message, hint: None });
    }
    if wanted.is_empty() && partitioning.jq.is_none() {
        problems.push(SpecProblem {
            path: prefix_path(&store.place),
            message: "dynamic partitioning is on, but the prefix asks for no partition key".to_owned(),
            hint: Some("put `!{partitionKeyFromLambda:key}` into the prefix, or remove `partitioning`".to_owned()),
        });
    }
    problems
}

/// Without a retention undelivered records would be gone as soon as they arrived.
fn expiry(spec: &DeliveryStreamSpec) -> Vec<SpecProblem> {
    if !spec.log.expire_undelivered || !spec.log.retention.is_zero() || spec.source.is_some() {
        return Vec::new();
    }
    let message =
        "records that are not delivered may expire, but there is no `retention` after which they do".to_owned();
    let hint = Some("add `retention: 7 d`, or remove `expire_undelivered`".to_owned());
    vec![SpecProblem { path: "log.expire_undelivered", message, hint }]
}

/// The log of a Kinesis stream is the Kinesis stream's.
fn foreign_log(spec: &DeliveryStreamSpec) -> Vec<SpecProblem> {
    let own = LogPolicy { expire_undelivered: spec.log.expire_undelivered, ..LogPolicy::default() };
    if spec.source.is_none() || spec.log == own {
        return Vec::new();
    }
    let message =
        "with `from_stream` only `expire_undelivered` has a meaning: the records are in the log of the Kinesis stream";
    let hint = Some("remove the other keys; the Kinesis stream has a retention period of its own".to_owned());
    vec![SpecProblem { path: "log", message: message.to_owned(), hint }]
}

/// As at AWS.
fn deaggregation(spec: &DeliveryStreamSpec) -> Vec<SpecProblem> {
    if spec.processing.deaggregate.is_none() || spec.partitioning.is_some() {
        return Vec::new();
    }
    let message = "records are taken apart only with dynamic partitioning".to_owned();
    let hint = Some("add `partitioning` and a partition key to the prefix, or remove `deaggregate`".to_owned());
    vec![SpecProblem { path: "processing.deaggregate", message, hint }]
}

/// A Kinesis stream may have other readers, whose producers are the same.
fn foreign_backlog(spec: &DeliveryStreamSpec) -> Vec<SpecProblem> {
    let Some(got) = spec.backlog_max.filter(|_| spec.source.is_some()) else { return Vec::new() };
    let message = format!(
        "with `from_stream` nobody puts to the delivery stream who could be kept waiting, got {}",
        show_size(got)
    );
    let hint = Some("remove the key; the Kinesis stream keeps what is not delivered".to_owned());
    vec![SpecProblem { path: "backlog_max", message, hint }]
}

fn jq_names(spec: &DeliveryStreamSpec) -> BTreeSet<&str> {
    let jq = spec.partitioning.as_ref().and_then(|partitioning| partitioning.jq.as_ref());
    jq.map(|jq| jq.names().iter().map(String::as_str).collect()).unwrap_or_default()
}

fn prefix_path(place: &Place) -> &'static str {
    match place {
        Place::File { .. } => "destination.file.prefix",
        Place::S3 { .. } => "destination.s3.prefix",
    }
}

/// What objects have and requests have not.
fn requests(spec: &DeliveryStreamSpec) -> Vec<SpecProblem> {
    let kind = spec.destination.kind();
    let mut problems = Vec::new();
    let mut problem = |path, message: String, hint: &str| {
        problems.push(SpecProblem { path, message, hint: Some(hint.to_owned()) });
    };
    if spec.partitioning.is_some() {
        let message = format!("only objects are partitioned, and `{kind}` takes requests");
        problem("partitioning", message, "remove `partitioning`");
    }
    if matches!(spec.format, Format::Parquet(_)) {
        let message = format!("only objects can be Parquet, and `{kind}` takes requests");
        problem("format.parquet", message, "remove `format`");
    }
    if let Some(got) = spec.buffering.object_size {
        let message = format!("only objects have it, and `{kind}` takes requests, got {}", show_size(got));
        problem("buffering.object_size", message, "remove the key; `size` is the size of a request");
    }
    let cut_by_size = !matches!(spec.destination, Destination::OpenSearch(_));
    if cut_by_size && spec.buffering.size > REQUEST_BYTES_MAX {
        let (got, max) = (show_size(spec.buffering.size), show_size(REQUEST_BYTES_MAX));
        let message = format!("must be 1 MiB to {max} with `{kind}`, got {got}");
        problem("buffering.size", message, "it is the size of one request there; 5 MiB is the default");
    }
    if !cut_by_size && spec.processing.append_delimiter {
        let message = format!("`{kind}` takes documents, which have no delimiters");
        problem("processing.append_delimiter", message, "remove the key");
    }
    if spec.backup.is_none() {
        let message = format!("is missing: what `{kind}` refuses must go somewhere");
        problem("backup", message, "add `backup: { s3: { bucket: … } }` or `backup: { file: { directory: … } }`");
    }
    problems
}

fn backup(spec: &DeliveryStreamSpec) -> Vec<SpecProblem> {
    let Some(backup) = &spec.backup else { return Vec::new() };
    let mut problems = Vec::new();
    let path = match backup.store.place {
        Place::File { .. } => "backup.file.prefix",
        Place::S3 { .. } => "backup.s3.prefix",
    };
    if !backup.store.naming.prefix.keys().is_empty() {
        let message = "a backup has no partitions".to_owned();
        let hint = Some("remove the partition keys from its prefix".to_owned());
        problems.push(SpecProblem { path, message, hint });
    }
    if spec.destination.objects().is_some() && backup.records == BackupRecords::Failed {
        let message =
            "failed records go to the error output of the destination; beside objects a backup has all records";
        let hint = Some("write `records: all`, or remove `backup`".to_owned());
        problems.push(SpecProblem { path: "backup.records", message: message.to_owned(), hint });
    }
    problems
}
