//! What is said of a stream or a consumer by its ARN: TagResource and its kin, PutResourcePolicy and its kin.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::consumers::ConsumerArn;
use super::model::{Named, parse_arn};
use super::{KinesisStream, KinesisStreams, Request, settings};
use crate::resource_policy::ResourcePolicy;
use crate::shape::{Shape, Violations};
use crate::{ApiError, KinesisSettings, StoredConsumer};

const ARN_PATTERN: &str = r"arn:aws.*:kinesis:.*:\d{12}:.*stream/\S+";
const POLICY_BYTES_MAX: usize = 20 << 10;

/// A stream or one of its consumers.
#[derive(Debug)]
struct Resource {
    arn: String,
    stream: Arc<KinesisStream>,
    consumer: Option<StoredConsumer>,
}

/// The part of the settings that belongs to one resource.
struct Attached<'s> {
    tags: &'s mut BTreeMap<String, String>,
    policy: &'s mut Option<String>,
}

impl Resource {
    /// The ARN that the request has to have, once its other members were checked into `violations` too.
    fn of(shape: &Shape<'_>, mut violations: Violations, at: &Request) -> Result<Resource, ApiError> {
        let arn = violations.required(shape, "ResourceARN", shape.text("ResourceARN")?).unwrap_or_default();
        let consumer = ConsumerArn::parse(arn);
        if shape.has("ResourceARN") {
            violations.pattern("resourceARN", arn, (ARN_PATTERN, parse_arn(arn).is_some()));
        }
        violations.finish()?;
        let (stream, consumer) = match consumer {
            Some(consumer) => consumer.find(at).map(|(stream, consumer)| (stream, Some(consumer)))?,
            None => (Named { name: None, arn: Some(arn) }.find(at)?, None),
        };
        Ok(Resource { arn: arn.to_owned(), stream, consumer })
    }

    async fn change(
        &self,
        at: &Request,
        edit: impl FnOnce(Attached<'_>) -> Result<(), ApiError>,
    ) -> Result<String, ApiError> {
        settings::change(&self.stream, at, |settings| edit(self.attached(settings, at)?)).await?;
        Ok(String::new())
    }

    fn attached<'s>(&self, settings: &'s mut KinesisSettings, at: &Request) -> Result<Attached<'s>, ApiError> {
        let Some(consumer) = &self.consumer else {
            return Ok(Attached { tags: &mut settings.tags, policy: &mut settings.policy });
        };
        let known = settings.consumers.iter_mut().find(|known| known.created_at_ms == consumer.created_at_ms);
        let known = known.ok_or_else(|| at.no_consumer(&consumer.name))?;
        Ok(Attached { tags: &mut known.tags, policy: &mut known.policy })
    }

    fn no_policy(&self) -> ApiError {
        ApiError::resource_not_found(format!("No resource policy found for resource ARN {}", self.arn))
    }
}

pub(super) async fn tag(at: &Request) -> Result<String, ApiError> {
    let shape = Shape::root(&at.body)?;
    let mut violations = Violations::default();
    let added = settings::required_tags(&shape, &mut violations)?;
    let resource = Resource::of(&shape, violations, at)?;
    let edit = |attached: Attached<'_>| {
        attached.tags.extend(added);
        settings::check_tag_count(attached.tags)
    };
    resource.change(at, edit).await
}

pub(super) async fn untag(at: &Request) -> Result<String, ApiError> {
    let shape = Shape::root(&at.body)?;
    let mut violations = Violations::default();
    let keys = settings::tag_keys(&shape, &mut violations)?;
    let resource = Resource::of(&shape, violations, at)?;
    let edit = |attached: Attached<'_>| {
        attached.tags.retain(|key, _| !keys.contains(&key.as_str()));
        Ok(())
    };
    resource.change(at, edit).await
}

pub(super) fn list_tags(at: &Request) -> Result<String, ApiError> {
    let shape = Shape::root(&at.body)?;
    let resource = Resource::of(&shape, Violations::default(), at)?;
    let settings = resource.stream.settings();
    let tags = resource.consumer.as_ref().map_or(&settings.tags, |consumer| &consumer.tags);
    let tags: Vec<Value> = tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
    Ok(json!({ "Tags": tags }).to_string())
}

pub(super) async fn put_policy(at: &Request) -> Result<String, ApiError> {
    let shape = Shape::root(&at.body)?;
    let mut violations = Violations::default();
    let policy = violations.required(&shape, "Policy", shape.text("Policy")?).unwrap_or_default();
    let resource = Resource::of(&shape, violations, at)?;
    check_policy(policy).map_err(|why| ApiError::invalid_argument(format!("The policy is not valid: {why}.")))?;
    let edit = |attached: Attached<'_>| {
        *attached.policy = Some(policy.to_owned());
        Ok(())
    };
    resource.change(at, edit).await
}

pub(super) fn get_policy(at: &Request) -> Result<String, ApiError> {
    let shape = Shape::root(&at.body)?;
    let resource = Resource::of(&shape, Violations::default(), at)?;
    let settings = resource.stream.settings();
    let policy = resource.consumer.as_ref().map_or(&settings.policy, |consumer| &consumer.policy);
    let policy = policy.as_ref().ok_or_else(|| resource.no_policy())?;
    Ok(json!({ "Policy": policy }).to_string())
}

pub(super) async fn delete_policy(at: &Request) -> Result<String, ApiError> {
    let shape = Shape::root(&at.body)?;
    let resource = Resource::of(&shape, Violations::default(), at)?;
    let edit = |attached: Attached<'_>| attached.policy.take().map(drop).ok_or_else(|| resource.no_policy());
    resource.change(at, edit).await
}

fn check_policy(text: &str) -> Result<(), String> {
    if text.len() > POLICY_BYTES_MAX {
        return Err(format!("it has {} bytes, at most {POLICY_BYTES_MAX} are allowed", text.len()));
    }
    ResourcePolicy::parse(text).map(drop)
}

/// The policy of the stream or the consumer that an ARN names.
pub(crate) fn policy_of(arn: &str, streams: &KinesisStreams) -> Option<String> {
    let consumer = ConsumerArn::parse(arn);
    let (region, _, name) = parse_arn(consumer.map_or(arn, |consumer| consumer.stream))?;
    let settings = streams.find(region, name)?.settings();
    match consumer {
        None => settings.policy.clone(),
        Some(consumer) => settings.consumers.iter().find(|one| consumer.names(one))?.policy.clone(),
    }
}
