//! Whether the parts of a delivery stream fit together, for YAML and for the API alike.

use std::collections::BTreeSet;

use crate::KeySource;
use crate::model::{DeliveryStream, DeliveryStreamSpec, Destination, SpecProblem};

/// As at AWS.
const JQ_KEYS_MAX: usize = 50;

impl DeliveryStream {
    /// Everything that does not fit, or the delivery stream.
    ///
    /// Keys and prefix must agree: a key that the prefix asks for comes from jq or from a plugin, every jq key stands in
    /// the prefix, and partitioning without a key in the prefix would do nothing.
    pub fn new(spec: DeliveryStreamSpec) -> Result<DeliveryStream, Vec<SpecProblem>> {
        let problems: Vec<SpecProblem> = [missing_keys(&spec), unused_keys(&spec), expiry(&spec)].concat();
        if problems.is_empty() { Ok(DeliveryStream(spec)) } else { Err(problems) }
    }

    /// The parts, to make a changed delivery stream from.
    #[must_use]
    pub fn into_spec(self) -> DeliveryStreamSpec {
        self.0
    }
}

/// Keys of the prefix that nothing gives.
fn missing_keys(spec: &DeliveryStreamSpec) -> Vec<SpecProblem> {
    let wanted = spec.destination.naming().prefix.keys();
    let path = prefix_path(&spec.destination);
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
fn unused_keys(spec: &DeliveryStreamSpec) -> Vec<SpecProblem> {
    let Some(partitioning) = &spec.partitioning else { return Vec::new() };
    let wanted = spec.destination.naming().prefix.keys();
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
            path: prefix_path(&spec.destination),
            message: "dynamic partitioning is on, but the prefix asks for no partition key".to_owned(),
            hint: Some("put `!{partitionKeyFromLambda:key}` into the prefix, or remove `partitioning`".to_owned()),
        });
    }
    problems
}

/// Without a retention undelivered records would be gone as soon as they arrived.
fn expiry(spec: &DeliveryStreamSpec) -> Vec<SpecProblem> {
    if !spec.log.expire_undelivered || !spec.log.retention.is_zero() {
        return Vec::new();
    }
    let message =
        "records that are not delivered may expire, but there is no `retention` after which they do".to_owned();
    let hint = Some("add `retention: 7 d`, or remove `expire_undelivered`".to_owned());
    vec![SpecProblem { path: "log.expire_undelivered", message, hint }]
}

fn jq_names(spec: &DeliveryStreamSpec) -> BTreeSet<&str> {
    let jq = spec.partitioning.as_ref().and_then(|partitioning| partitioning.jq.as_ref());
    jq.map(|jq| jq.names().iter().map(String::as_str).collect()).unwrap_or_default()
}

fn prefix_path(destination: &Destination) -> &'static str {
    match destination {
        Destination::File { .. } => "destination.file.prefix",
        Destination::S3 { .. } => "destination.s3.prefix",
    }
}
