//! What may change about a stream beside its shards: how long records are kept, and tags.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::model::{Named, refused};
use super::streams::page;
use super::{KinesisStream, Request};
use crate::shape::{Shape, Violations};
use crate::{ApiError, KinesisSettings, StoredStatus};

const HOURS_MIN: i64 = 24;
const HOURS_MAX: i64 = 8760;
/// The shape allows more, and the quota is what counts.
const TAGS_IN_SHAPE: usize = 200;
const TAGS_MAX: usize = 50;

pub(super) async fn retention(increase: bool, at: &Request) -> Result<String, ApiError> {
    let shape = Shape::root(&at.body)?;
    let mut violations = Violations::default();
    let named = Named::of(&shape, &mut violations)?;
    let hours = shape.integer("RetentionPeriodHours")?;
    let hours = violations.required(&shape, "RetentionPeriodHours", hours).unwrap_or_default();
    violations.finish()?;
    let stream = named.find(at)?;
    at.check_not_from_yaml(&stream)?;
    let name = &stream.name;
    if !(HOURS_MIN..=HOURS_MAX).contains(&hours) {
        return Err(ApiError::invalid_argument(format!(
            "RetentionPeriodHours must be from {HOURS_MIN} to {HOURS_MAX}, got {hours}."
        )));
    }
    update(&stream, at, |settings| {
        let now = i64::from(settings.retention_hours);
        if (increase && hours <= now) || (!increase && hours >= now) {
            let wanted = if increase { "longer" } else { "shorter" };
            return Err(ApiError::invalid_argument(format!(
                "Requested retention period ({hours} hours) for stream {name} must be {wanted} than the current one ({now} hours)."
            )));
        }
        settings.retention_hours = u32::try_from(hours).unwrap_or(settings.retention_hours);
        Ok(())
    })
    .await
}

pub(super) async fn add_tags(at: &Request) -> Result<String, ApiError> {
    let shape = Shape::root(&at.body)?;
    let mut violations = Violations::default();
    let named = Named::of(&shape, &mut violations)?;
    let added = required_tags(&shape, &mut violations)?;
    violations.finish()?;
    let stream = named.find(at)?;
    change(&stream, at, |settings| {
        settings.tags.extend(added);
        check_tag_count(&settings.tags)
    })
    .await?;
    Ok(String::new())
}

pub(super) async fn remove_tags(at: &Request) -> Result<String, ApiError> {
    let shape = Shape::root(&at.body)?;
    let mut violations = Violations::default();
    let named = Named::of(&shape, &mut violations)?;
    let keys = tag_keys(&shape, &mut violations)?;
    violations.finish()?;
    let stream = named.find(at)?;
    change(&stream, at, |settings| {
        settings.tags.retain(|key, _| !keys.contains(&key.as_str()));
        Ok(())
    })
    .await?;
    Ok(String::new())
}

pub(super) fn list_tags(at: &Request) -> Result<String, ApiError> {
    let shape = Shape::root(&at.body)?;
    let mut violations = Violations::default();
    let named = Named::of(&shape, &mut violations)?;
    let limit = page(&shape, "Limit", TAGS_MAX, &mut violations)?;
    let start = shape.text("ExclusiveStartTagKey")?;
    violations.finish()?;
    let settings = named.find(at)?.settings();
    let left: Vec<_> = settings.tags.iter().filter(|(key, _)| start.is_none_or(|start| key.as_str() > start)).collect();
    let tag = |(key, value): &(&String, &String)| json!({ "Key": key, "Value": value });
    let shown: Vec<Value> = left.iter().take(limit).map(tag).collect();
    Ok(json!({ "Tags": shown, "HasMoreTags": left.len() > limit }).to_string())
}

/// The texts of a list; `None` if it is absent.
pub(super) fn texts<'a>(shape: &Shape<'a>, member: &str) -> Result<Option<Vec<&'a str>>, ApiError> {
    let Some(value) = shape.get(member) else { return Ok(None) };
    let list = value.as_array().ok_or_else(|| ApiError::serialization("Expected list or null"))?;
    let text = |one: &'a Value| {
        one.as_str().ok_or_else(|| ApiError::serialization("a member of a list can not be converted to a String"))
    };
    list.iter().map(text).collect::<Result<Vec<_>, _>>().map(Some)
}

pub(super) fn tag_keys<'a>(shape: &Shape<'a>, violations: &mut Violations) -> Result<Vec<&'a str>, ApiError> {
    let keys = texts(shape, "TagKeys")?;
    violations.count("tagKeys", keys.as_ref().map(Vec::len), TAGS_MAX);
    Ok(keys.unwrap_or_default())
}

pub(super) fn required_tags(
    shape: &Shape<'_>,
    violations: &mut Violations,
) -> Result<BTreeMap<String, String>, ApiError> {
    let added = tags(shape, "Tags", violations)?;
    if added.is_empty() {
        violations.missing("tags");
    }
    Ok(added)
}

/// A map of tags; empty if it is absent.
pub(super) fn tags(
    shape: &Shape<'_>,
    member: &str,
    violations: &mut Violations,
) -> Result<BTreeMap<String, String>, ApiError> {
    let mut tags = BTreeMap::new();
    let Some(part) = shape.part(member)? else { return Ok(tags) };
    for key in part.names() {
        let value = part.text(key)?.unwrap_or_default();
        violations.length("tags.key", key, 1..=128);
        violations.length("tags.value", value, 0..=256);
        tags.insert(key.to_owned(), value.to_owned());
    }
    if tags.len() > TAGS_IN_SHAPE {
        violations.count("tags", Some(tags.len()), TAGS_IN_SHAPE);
    }
    Ok(tags)
}

pub(super) fn check_tag_count(tags: &BTreeMap<String, String>) -> Result<(), ApiError> {
    if tags.len() <= TAGS_MAX {
        return Ok(());
    }
    Err(ApiError::invalid_argument(format!("A stream has at most {TAGS_MAX} tags, this would make {}.", tags.len())))
}

/// Changes settings while the stream is UPDATING.
pub(super) async fn update(
    stream: &KinesisStream,
    at: &Request,
    edit: impl FnOnce(&mut KinesisSettings) -> Result<(), ApiError>,
) -> Result<String, ApiError> {
    let _changing = stream.begin_change().ok_or_else(|| at.not_active(stream))?;
    change(stream, at, edit).await?;
    Ok(String::new())
}

/// Durable when it returns, and seen by others only then. Of several at once each sees what the one before has left.
pub(super) async fn change<T>(
    stream: &KinesisStream,
    at: &Request,
    edit: impl FnOnce(&mut KinesisSettings) -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    let _turn = stream.turn().await;
    if stream.log().is_none() {
        return Err(at.not_active(stream));
    }
    let mut settings = KinesisSettings::clone(&stream.settings());
    let outcome = edit(&mut settings)?;
    if settings != *stream.settings() {
        at.kinesis().plane.store(stream.stored(StoredStatus::Active, settings.clone())).await.map_err(refused)?;
        stream.set_settings(settings);
    }
    Ok(outcome)
}
