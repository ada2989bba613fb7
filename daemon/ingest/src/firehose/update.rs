//! UpdateDestination: the stored request with the members that have changed, checked as a whole as if it were new.
//!
//! Invariant: the version that a caller saw is the version that it changes.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::create::delivery_stream_from_request;
use super::describe::DESTINATION_ID;
use super::destination::{DESTINATIONS, EXTENDED, PLAIN};
use super::streams::{self, refused};
use super::{backup_hints, change, s3, stream_name};
use crate::request::Operations;
use crate::shape::{Shape, Violations};
use crate::{ApiError, DeliveryStreamDefinition, NewDeliveryStream, Origin};

/// Which updates change which configurations, but for S3, where either changes either.
const FIXED: [&str; 3] = ["Elasticsearch", "Amazonopensearchservice", "AmazonOpenSearchServerless"];

pub(super) async fn update(request: Value, region: String, operations: Arc<Operations>) -> Result<Value, ApiError> {
    let shape = Shape::root(&request)?;
    let mut violations = Violations::default();
    let name = stream_name(&shape, &mut violations)?;
    let version = s3::text(&shape, "CurrentDeliveryStreamVersionId", 1..=50, &mut violations)?;
    if let Some(version) = violations.required(&shape, "CurrentDeliveryStreamVersionId", version) {
        let digits = version.bytes().all(|byte| byte.is_ascii_digit());
        violations.pattern("currentDeliveryStreamVersionId", version, ("[0-9]+", digits));
    }
    let destination = s3::text(&shape, "DestinationId", 1..=100, &mut violations)?;
    let destination = violations.required(&shape, "DestinationId", destination).unwrap_or_default();
    violations.finish()?;
    let entry = streams::find(name, &region, &operations)?;
    change::check_origin(&entry)?;
    let _alone = entry.changing.lock().await;
    change::check_active(&entry, &operations)?;
    let known = entry.definition();
    check_version(&known, version.unwrap_or_default())?;
    if destination != DESTINATION_ID {
        return Err(ApiError::invalid_argument(format!(
            "Destination Id {destination} not found; the only destination of Firehose {name} is {DESTINATION_ID}."
        )));
    }
    let Origin::Api { request: stored } = &known.origin else {
        return Err(ApiError::internal("a delivery stream of the YAML has no request"));
    };
    let changes = Changes::of(&shape)?;
    let merged = changes.merge(stored)?;
    let mut definition = (*known).clone();
    definition.version_id += 1;
    definition.settings.updated_at_ms = Some(operations.clock.now().as_millis());
    let spec = delivery_stream_from_request(&merged, (&region, definition.version_id), &operations.mappings)
        .map_err(|error| changes.rename(error))?;
    backup_hints::check(&merged, &spec.buffering).map_err(|error| changes.rename(error))?;
    definition.origin = Origin::Api { request: merged };
    let changed = NewDeliveryStream { definition: definition.clone(), spec };
    operations.control.update(Arc::clone(&entry), changed).await.map_err(refused)?;
    tracing::info!(stream = name, region, version = definition.version_id, "updated a delivery stream");
    entry.redefine(definition);
    Ok(json!({}))
}

fn check_version(known: &DeliveryStreamDefinition, given: &str) -> Result<(), ApiError> {
    if given.trim_start_matches('0') == known.version_id.to_string() {
        return Ok(());
    }
    Err(ApiError::concurrent_modification(format!(
        "Cannot update firehose: {} since the current version id: {} and specified version id: {given} do not match",
        known.name, known.version_id
    )))
}

/// The one `…DestinationUpdate` of a request.
#[derive(Debug)]
struct Changes<'a> {
    /// `ExtendedS3` of `ExtendedS3DestinationUpdate`.
    kind: &'a str,
    members: &'a Map<String, Value>,
}

impl<'a> Changes<'a> {
    fn of(request: &Shape<'a>) -> Result<Changes<'a>, ApiError> {
        let kinds: Vec<&str> = request.names().filter_map(|name| name.strip_suffix("DestinationUpdate")).collect();
        let known = |kind: &str| DESTINATIONS.contains(&format!("{kind}DestinationConfiguration").as_str());
        match kinds[..] {
            [kind] if known(kind) => {
                let member = format!("{kind}DestinationUpdate");
                let members = request.get(&member).and_then(Value::as_object);
                let members = members.ok_or_else(|| {
                    ApiError::serialization(format!("a structure was expected for the member {member}"))
                })?;
                Ok(Changes { kind, members })
            }
            _ => Err(ApiError::invalid_argument("Exactly one destination update is supported for a Firehose")),
        }
    }

    fn configuration(&self) -> String {
        format!("{}DestinationConfiguration", self.kind)
    }

    /// Its members. What AWS's update of a search cluster lacks is passed over, as by its front end.
    fn given(&self) -> Map<String, Value> {
        let mut given = self.members.clone();
        if self.kind.ends_with("search") || self.kind.ends_with("searchservice") {
            given.retain(|member, _| !["S3BackupMode", "VpcConfiguration"].contains(&member.as_str()));
        }
        given
    }

    /// The request that would make the delivery stream as it is to become.
    fn merge(&self, stored: &Value) -> Result<Value, ApiError> {
        let mut request = stored.as_object().cloned().unwrap_or_default();
        let was = DESTINATIONS.into_iter().find(|name| request.get(*name).is_some_and(|value| !value.is_null()));
        let was = was.unwrap_or(EXTENDED);
        let configuration = self.configuration();
        let is_s3 = |name: &str| name == EXTENDED || name == PLAIN;
        let same = was == configuration || is_s3(was) && is_s3(&configuration);
        let fixed = |name: &str| FIXED.iter().any(|kind| *name == format!("{kind}DestinationConfiguration"));
        if !same && (fixed(was) || fixed(&configuration)) {
            return Err(ApiError::invalid_argument(
                "The destination of a delivery stream cannot be changed to or from OpenSearch or Elasticsearch.",
            ));
        }
        let base = request.remove(was).filter(|_| same);
        let base = base.and_then(|base| base.as_object().cloned()).unwrap_or_default();
        for name in DESTINATIONS {
            request.remove(name);
        }
        let merged = merged(&base, &self.given());
        if same {
            check_constant(&base, &merged)?;
        }
        let name = if same && was == EXTENDED { EXTENDED.to_owned() } else { configuration };
        request.insert(name, Value::Object(merged));
        Ok(Value::Object(request))
    }

    /// Errors name the member of this request, not the one that it changes.
    fn rename(&self, mut error: ApiError) -> ApiError {
        let update = lower_first(&format!("{}DestinationUpdate", self.kind));
        for name in [self.configuration(), EXTENDED.to_owned()] {
            error.message = error.message.replace(&lower_first(&name), &update);
        }
        for (stored, given) in [("s3Configuration", "s3Update"), ("s3BackupConfiguration", "s3BackupUpdate")] {
            error.message = error.message.replace(&format!("{update}.{stored}"), &format!("{update}.{given}"));
        }
        error
    }
}

/// Members that are given replace those that were; a format conversion and the settings of a bucket are merged again.
fn merged(base: &Map<String, Value>, changes: &Map<String, Value>) -> Map<String, Value> {
    let mut merged = base.clone();
    // A cluster is named in one of two ways.
    for (one, other) in [("DomainARN", "ClusterEndpoint"), ("ClusterEndpoint", "DomainARN")] {
        if changes.get(one).is_some_and(|value| !value.is_null()) {
            merged.remove(other);
        }
    }
    for (member, value) in changes.iter().filter(|(_, value)| !value.is_null()) {
        let (member, deep) = match member.as_str() {
            "S3Update" => ("S3Configuration", true),
            "S3BackupUpdate" => ("S3BackupConfiguration", true),
            "DataFormatConversionConfiguration" => (member.as_str(), true),
            other => (other, false),
        };
        let value = match (deep, merged.get(member).and_then(Value::as_object), value.as_object()) {
            (true, Some(base), Some(changes)) => Value::Object(self::merged(base, changes)),
            _ => value.clone(),
        };
        merged.insert(member.to_owned(), value);
    }
    merged
}

/// What is decided when a delivery stream is made.
fn check_constant(was: &Map<String, Value>, now: &Map<String, Value>) -> Result<(), ApiError> {
    let partitioned = |of: &Map<String, Value>| {
        let part = of.get("DynamicPartitioningConfiguration");
        part.and_then(|part| part.get("Enabled")).and_then(Value::as_bool).unwrap_or(false)
    };
    if partitioned(was) != partitioned(now) {
        return Err(ApiError::invalid_argument(
            "Dynamic Partitioning cannot be enabled or disabled for a delivery stream that exists.",
        ));
    }
    let backed_up = |of: &Map<String, Value>| {
        let mode = of.get("S3BackupMode").and_then(Value::as_str);
        mode.is_some_and(|mode| mode == "Enabled" || mode.starts_with("All"))
    };
    if backed_up(was) && !backed_up(now) {
        return Err(ApiError::invalid_argument("The S3BackupMode cannot be taken back once it is enabled."));
    }
    Ok(())
}

fn lower_first(name: &str) -> String {
    let mut name = name.to_owned();
    name[..1].make_ascii_lowercase();
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn updated(stored: &Value, update: &Value) -> Result<Value, ApiError> {
        Changes::of(&Shape::root(update).unwrap())?.merge(stored)
    }

    #[test]
    fn members_that_are_given_replace_those_that_were() {
        let stored = json!({ "DeliveryStreamName": "a", "ExtendedS3DestinationConfiguration": {
            "BucketARN": "one", "Prefix": "p/", "ProcessingConfiguration": { "Enabled": true, "Processors": [1, 2] },
            "DataFormatConversionConfiguration": { "Enabled": true, "SchemaConfiguration": { "TableName": "t" } },
        } });
        let update = json!({ "ExtendedS3DestinationUpdate": {
            "Prefix": "q/", "BucketARN": null, "ProcessingConfiguration": { "Enabled": false },
            "DataFormatConversionConfiguration": { "Enabled": false },
        } });
        let expected = json!({ "DeliveryStreamName": "a", "ExtendedS3DestinationConfiguration": {
            "BucketARN": "one", "Prefix": "q/", "ProcessingConfiguration": { "Enabled": false },
            "DataFormatConversionConfiguration": { "Enabled": false, "SchemaConfiguration": { "TableName": "t" } },
        } });
        assert_eq!(updated(&stored, &update).unwrap(), expected);
    }

    #[test]
    fn a_plain_bucket_becomes_an_extended_one_and_stays_it() {
        let plain = json!({ "S3DestinationConfiguration": { "BucketARN": "one", "RoleARN": "r" } });
        let extended = updated(&plain, &json!({ "ExtendedS3DestinationUpdate": { "FileExtension": ".x" } })).unwrap();
        assert_eq!(
            extended,
            json!({ "ExtendedS3DestinationConfiguration": { "BucketARN": "one", "RoleARN": "r", "FileExtension": ".x" } })
        );
        let again = updated(&extended, &json!({ "S3DestinationUpdate": { "BucketARN": "two" } })).unwrap();
        assert_eq!(again["ExtendedS3DestinationConfiguration"]["FileExtension"], ".x");
        assert_eq!(again["ExtendedS3DestinationConfiguration"]["BucketARN"], "two");
    }

    #[test]
    fn another_kind_of_destination_inherits_nothing() {
        let stored = json!({ "HttpEndpointDestinationConfiguration": { "RoleARN": "r", "S3Configuration": {} } });
        let update =
            json!({ "SplunkDestinationUpdate": { "HECEndpoint": "https://x", "S3Update": { "Prefix": "p" } } });
        assert_eq!(
            updated(&stored, &update).unwrap(),
            json!({ "SplunkDestinationConfiguration": { "HECEndpoint": "https://x", "S3Configuration": { "Prefix": "p" } } })
        );
        let refused = updated(&stored, &json!({ "ElasticsearchDestinationUpdate": {} })).unwrap_err();
        assert_eq!(refused.code, "InvalidArgumentException");
    }

    #[test]
    fn a_cluster_is_named_in_one_way_and_keeps_its_backup_mode() {
        let stored = |members: Value| json!({ "AmazonopensearchserviceDestinationConfiguration": members });
        let update = json!({ "AmazonopensearchserviceDestinationUpdate": {
            "ClusterEndpoint": "https://x", "S3BackupMode": "AllDocuments", "VpcConfiguration": {},
        } });
        let was = stored(json!({ "DomainARN": "arn:x", "S3BackupMode": "FailedDocumentsOnly" }));
        let now = stored(json!({ "ClusterEndpoint": "https://x", "S3BackupMode": "FailedDocumentsOnly" }));
        assert_eq!(updated(&was, &update).unwrap(), now);
    }

    #[test]
    fn what_is_decided_at_creation_stays() {
        let stored = |members: Value| json!({ "ExtendedS3DestinationConfiguration": members });
        let update = |members: Value| json!({ "ExtendedS3DestinationUpdate": members });
        let on = json!({ "DynamicPartitioningConfiguration": { "Enabled": true } });
        let off = json!({ "DynamicPartitioningConfiguration": { "Enabled": false } });
        assert!(updated(&stored(on.clone()), &update(off)).is_err());
        assert!(updated(&stored(json!({})), &update(on.clone())).is_err());
        assert!(updated(&stored(on.clone()), &update(on)).is_ok());
        let backup = |mode: &str| json!({ "S3BackupMode": mode });
        assert!(updated(&stored(backup("Enabled")), &update(backup("Disabled"))).is_err());
        assert!(updated(&stored(backup("Disabled")), &update(backup("Enabled"))).is_ok());
        let two = json!({ "S3DestinationUpdate": {}, "ExtendedS3DestinationUpdate": {} });
        assert!(updated(&stored(json!({})), &two).is_err());
        assert!(updated(&stored(json!({})), &json!({ "DestinationUpdate": {} })).is_err());
    }
}
