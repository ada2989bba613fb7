//! CreateDeliveryStream: from the request's members to a delivery stream whose parts fit. What is not built is refused by
//! name; nothing is accepted and ignored.

use std::sync::Arc;

use hydrant_config::{DeliveryStream, DeliveryStreamSpec, HistoryPolicy, LogPolicy, StreamName};
use serde_json::{Value, json};

use super::destination::{self, Parts, Wanted};
use super::source::Source;
use super::{Mappings, backup_hints, encryption, stream_arn, stream_name, streams, tags};
use crate::request::Operations;
use crate::shape::{Shape, Violations};
use crate::{
    ApiError, DeliveryStreamDefinition, Entry, KinesisSource, NewDeliveryStream, Origin, Registry, StreamSettings,
};

/// Takes its entry out of the registry again, unless the creation came to its end.
struct Reservation<'a> {
    registry: &'a Registry,
    entry: Option<Arc<Entry>>,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            self.registry.remove(&entry);
        }
    }
}

/// Answers when the stream takes records; until then others see it as CREATING.
pub(crate) async fn create(request: Value, region: String, operations: Arc<Operations>) -> Result<Value, ApiError> {
    let spec = delivery_stream_from_request(&request, (&region, 1), &operations.mappings)?;
    backup_hints::check(&request, &spec.buffering)?;
    let settings = settings(&request, &spec, &operations.mappings)?;
    let (name, account) = (spec.name.clone(), &operations.mappings.account);
    let definition = DeliveryStreamDefinition {
        name: name.clone(),
        region: Some(region.clone()),
        version_id: spec.version_id,
        created_at: operations.clock.now(),
        origin: Origin::Api { request },
        settings,
        source: spec
            .source
            .as_ref()
            .map(|source| KinesisSource { name: source.name.clone(), region: Some(region.clone()) }),
    };
    let entry = Entry::creating(definition.clone());
    operations.registry.insert(Arc::clone(&entry)).map_err(|_| {
        ApiError::in_use(format!("Firehose {name} under accountId {} already exists", account.as_str()))
    })?;
    let mut reservation = Reservation { registry: &operations.registry, entry: Some(entry) };
    let handle = operations.control.create(NewDeliveryStream { definition, spec }).await.map_err(streams::refused)?;
    if let Some(entry) = reservation.entry.take() {
        entry.activate(handle);
    }
    tracing::info!(stream = %name, region, "created a delivery stream");
    Ok(json!({ "DeliveryStreamARN": stream_arn(account, &region, name.as_str()) }))
}

/// Tags and encryption, which have a life of their own from here on.
fn settings(request: &Value, spec: &DeliveryStream, mappings: &Mappings) -> Result<StreamSettings, ApiError> {
    let shape = Shape::root(request)?;
    let mut violations = Violations::default();
    let tags = tags::of_list(&shape, &mut violations)?;
    let key = encryption::Key::of(&shape, &mut violations)?;
    violations.finish()?;
    let encrypted = key.is_some();
    if let Some(key) = key {
        key.check(spec.source.is_some(), mappings)?;
    }
    Ok(StreamSettings { tags, encrypted, updated_at_ms: None })
}

/// The delivery stream that a CreateDeliveryStream request describes, new, changed, or read back from the catalog.
pub fn delivery_stream_from_request(
    request: &Value,
    (region, version_id): (&str, u64),
    mappings: &Mappings,
) -> Result<DeliveryStream, ApiError> {
    let shape = Shape::root(request)?;
    let mut violations = Violations::default();
    let name = stream_name(&shape, &mut violations)?;
    let source = Source::of(&shape, &mut violations)?;
    let wanted = Wanted::of(&shape, &mut violations)?;
    violations.finish()?;
    destination::check_one(&shape)?;
    let source = source.kinesis(region, mappings)?;
    let wanted = wanted.ok_or_else(|| destination::unbuilt(&shape))?;
    let arn = stream_arn(&mappings.account, region, name);
    let name = StreamName::parse(name).ok_or_else(|| ApiError::internal("a validated name does not parse"))?;
    let Parts { buffering, processing, partitioning, format, destination, backup } = wanted.parts(arn, mappings)?;
    let spec = DeliveryStreamSpec {
        name,
        region: Some(region.to_owned()),
        source,
        buffering,
        log: LogPolicy::default(),
        history: HistoryPolicy::default(),
        backlog_max: None,
        processing,
        partitioning,
        format,
        destination,
        backup,
        version_id,
    };
    DeliveryStream::new(spec).map_err(|problems| {
        let texts: Vec<String> = problems.into_iter().map(|problem| problem.message).collect();
        ApiError::invalid_argument(texts.join("; "))
    })
}

#[cfg(test)]
#[path = "create_tests.rs"]
#[expect(clippy::needless_pass_by_value, reason = "`json!` in place of an argument reads better without `&`")]
pub(super) mod tests;
