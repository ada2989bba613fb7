//! TagDeliveryStream, UntagDeliveryStream and ListTagsForDeliveryStream.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{change, s3, stream_name, streams};
use crate::ApiError;
use crate::request::Operations;
use crate::shape::{Shape, Violations};

const TAGS_MAX: usize = 50;
const KEY_PATTERN: &str = r"^(?!aws:)[\p{L}\p{Z}\p{N}_.:\/=+\-@%]*$";
const VALUE_PATTERN: &str = r"^[\p{L}\p{Z}\p{N}_.:\/=+\-@%]*$";

/// The member `Tags` of a request; empty if it is absent.
pub(super) fn of_list(request: &Shape<'_>, to: &mut Violations) -> Result<BTreeMap<String, String>, ApiError> {
    let list = request.parts("Tags")?;
    if request.has("Tags") {
        to.count("tags", Some(list.len()), TAGS_MAX);
    }
    let mut tags = BTreeMap::new();
    let mut twice = None;
    for tag in &list {
        let key = s3::text(tag, "Key", 1..=128, to)?;
        let Some(key) = to.required(tag, "Key", key) else { continue };
        check_key(key, &tag.at("Key"), to);
        let value = s3::text(tag, "Value", 0..=256, to)?.unwrap_or_default();
        to.pattern(&tag.at("Value"), value, (VALUE_PATTERN, value.chars().all(is_allowed)));
        if tags.insert(key.to_owned(), value.to_owned()).is_some() {
            twice = Some(key);
        }
    }
    match twice {
        Some(key) => Err(ApiError::invalid_argument(format!("The tag key {key} stands twice in the request."))),
        None => Ok(tags),
    }
}

pub(super) async fn tag(request: &Value, region: &str, operations: &Operations) -> Result<Value, ApiError> {
    let shape = Shape::root(request)?;
    let mut violations = Violations::default();
    let name = stream_name(&shape, &mut violations)?;
    let tags = of_list(&shape, &mut violations)?;
    if !shape.has("Tags") {
        violations.missing("tags");
    }
    violations.finish()?;
    let entry = streams::find(name, region, operations)?;
    change::settings(&entry, operations, |settings| {
        settings.tags.extend(tags);
        match settings.tags.len() {
            0..=TAGS_MAX => Ok(()),
            count => Err(ApiError::limit_exceeded(format!(
                "A delivery stream has at most {TAGS_MAX} tags, this would make {count}."
            ))),
        }
    })
    .await?;
    Ok(json!({}))
}

/// Keys that it does not have are ignored.
pub(super) async fn untag(request: &Value, region: &str, operations: &Operations) -> Result<Value, ApiError> {
    let shape = Shape::root(request)?;
    let mut violations = Violations::default();
    let name = stream_name(&shape, &mut violations)?;
    let keys = shape.get("TagKeys").map(|keys| {
        let keys = keys.as_array().ok_or_else(|| ApiError::serialization("Expected list or null"))?;
        let text = |key: &Value| key.as_str().map(str::to_owned);
        let texts: Option<Vec<String>> = keys.iter().map(text).collect();
        texts.ok_or_else(|| ApiError::serialization("a member of TagKeys can not be converted to a String"))
    });
    let keys = keys.transpose()?;
    violations.count("tagKeys", keys.as_ref().map(Vec::len), TAGS_MAX);
    let keys = keys.unwrap_or_default();
    for (index, key) in keys.iter().enumerate() {
        let at = format!("tagKeys.{}.member", index + 1);
        violations.length(&at, key, 1..=128);
        check_key(key, &at, &mut violations);
    }
    violations.finish()?;
    let entry = streams::find(name, region, operations)?;
    change::settings(&entry, operations, |settings| {
        settings.tags.retain(|key, _| !keys.contains(key));
        Ok(())
    })
    .await?;
    Ok(json!({}))
}

pub(super) fn list(request: &Value, region: &str, operations: &Operations) -> Result<Value, ApiError> {
    let shape = Shape::root(request)?;
    let mut violations = Violations::default();
    let name = stream_name(&shape, &mut violations)?;
    let after = s3::text(&shape, "ExclusiveStartTagKey", 1..=128, &mut violations)?;
    let limit = s3::integer(&shape, "Limit", 1..=50, &mut violations)?;
    violations.finish()?;
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(TAGS_MAX);
    let definition = streams::find(name, region, operations)?.definition();
    let following = definition.settings.tags.iter().filter(|(key, _)| after.is_none_or(|after| key.as_str() > after));
    let mut shown: Vec<Value> =
        following.take(limit + 1).map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
    let more = shown.len() > limit;
    shown.truncate(limit);
    Ok(json!({ "Tags": shown, "HasMoreTags": more }))
}

fn check_key(key: &str, at: &str, to: &mut Violations) {
    to.pattern(at, key, (KEY_PATTERN, !key.starts_with("aws:") && key.chars().all(is_allowed)));
}

fn is_allowed(c: char) -> bool {
    c.is_alphanumeric() || c.is_whitespace() && !c.is_control() || "_.:/=+-@%".contains(c)
}
