//! How a stream works: UpdateStreamMode, UpdateMaxRecordSize, enhanced monitoring and encryption; and the account's settings.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::daily::Quota;
use super::model::Named;
use super::settings::update;
use super::streams::check_on_demand_quota;
use super::{KinesisStream, Request};
use crate::shape::{Shape, Violations};
use crate::{ApiError, StreamMode};

const MODES: [&str; 2] = ["PROVISIONED", "ON_DEMAND"];
const ALL: &str = "ALL";
const METRICS: [&str; 7] = [
    "IncomingBytes",
    "IncomingRecords",
    "IteratorAgeMilliseconds",
    "OutgoingBytes",
    "OutgoingRecords",
    "ReadProvisionedThroughputExceeded",
    "WriteProvisionedThroughputExceeded",
];

pub(super) async fn update_mode(at: &Request) -> Result<String, ApiError> {
    let shape = Shape::root(&at.body)?;
    let mut violations = Violations::default();
    let named = Named { name: None, arn: violations.required(&shape, "StreamARN", shape.text("StreamARN")?) };
    named.check(&mut violations);
    let details = violations.required(&shape, "StreamModeDetails", shape.part("StreamModeDetails")?);
    let mode = mode(details.as_ref(), &mut violations)?;
    violations.finish()?;
    if shape.has("WarmThroughputMiBps") {
        return Err(crate::firehose::unsupported("WarmThroughputMiBps"));
    }
    let stream = named.find(at)?;
    at.check_not_from_yaml(&stream)?;
    let mode = mode.unwrap_or(StreamMode::Provisioned);
    let switches = stream.settings().mode != mode;
    if mode == StreamMode::OnDemand && switches {
        check_on_demand_quota(at)?;
    }
    let counted = if switches { Some(at.count(Quota::Mode, &stream)?) } else { None };
    let updated = update(&stream, at, |settings| {
        settings.mode = mode;
        Ok(())
    })
    .await?;
    if let Some(counted) = counted {
        counted.keep();
    }
    Ok(updated)
}

/// What `StreamModeDetails` says.
pub(super) fn mode(details: Option<&Shape<'_>>, to: &mut Violations) -> Result<Option<StreamMode>, ApiError> {
    let Some(details) = details else { return Ok(None) };
    let mode = to.required(details, "StreamMode", details.text("StreamMode")?);
    if let Some(mode) = mode {
        to.choice("streamModeDetails.streamMode", mode, &MODES);
    }
    Ok(mode.map(|mode| if mode == "ON_DEMAND" { StreamMode::OnDemand } else { StreamMode::Provisioned }))
}

pub(super) async fn max_record_size(at: &Request) -> Result<String, ApiError> {
    let shape = Shape::root(&at.body)?;
    let mut violations = Violations::default();
    let named = Named::of(&shape, &mut violations)?;
    let kib = violations.required(&shape, "MaxRecordSizeInKiB", shape.integer("MaxRecordSizeInKiB")?);
    let kib = kib.unwrap_or(1024);
    violations.range("maxRecordSizeInKiB", kib, 1024..=10_240);
    violations.finish()?;
    let stream = named.find(at)?;
    update(&stream, at, |settings| {
        settings.record_kib_max = u32::try_from(kib).unwrap_or(settings.record_kib_max);
        Ok(())
    })
    .await
}

/// The answer tells the metrics before and after.
pub(super) async fn monitoring(enable: bool, at: &Request) -> Result<String, ApiError> {
    let shape = Shape::root(&at.body)?;
    let mut violations = Violations::default();
    let named = Named::of(&shape, &mut violations)?;
    let metrics = super::settings::texts(&shape, "ShardLevelMetrics")?;
    violations.count("shardLevelMetrics", metrics.as_ref().map(Vec::len), METRICS.len());
    let metrics = metrics.unwrap_or_default();
    for metric in &metrics {
        if *metric != ALL && !METRICS.contains(metric) {
            let set = format!("Member must satisfy enum value set: [{}, {ALL}]", METRICS.join(", "));
            violations.push(metric, "shardLevelMetrics", &set);
        }
    }
    violations.finish()?;
    let named_metrics = METRICS.iter().filter(|metric| metrics.contains(metric) || metrics.contains(&ALL));
    let named_metrics: BTreeSet<String> = named_metrics.map(|metric| (*metric).to_owned()).collect();
    let stream = named.find(at)?;
    let before = stream.settings();
    update(&stream, at, |settings| {
        if enable {
            settings.metrics.extend(named_metrics);
        } else {
            settings.metrics.retain(|metric| !named_metrics.contains(metric));
        }
        Ok(())
    })
    .await?;
    let answer = json!({
        "StreamName": stream.name,
        "StreamARN": at.arn(&stream.name),
        "CurrentShardLevelMetrics": before.metrics,
        "DesiredShardLevelMetrics": stream.settings().metrics,
    });
    Ok(answer.to_string())
}

/// Switched only where the operator vouches for the volume, and by the key that stands for it. As for delivery streams.
pub(super) async fn encryption(start: bool, at: &Request) -> Result<String, ApiError> {
    let shape = Shape::root(&at.body)?;
    let mut violations = Violations::default();
    let named = Named::of(&shape, &mut violations)?;
    if let Some(kind) = violations.required(&shape, "EncryptionType", shape.text("EncryptionType")?) {
        violations.choice("encryptionType", kind, &["NONE", "KMS"]);
    }
    let key = violations.required(&shape, "KeyId", shape.text("KeyId")?).unwrap_or_default();
    if shape.has("KeyId") {
        violations.length("keyId", key, 1..=2048);
    }
    violations.finish()?;
    if shape.text("EncryptionType")? != Some("KMS") {
        return Err(ApiError::invalid_argument("EncryptionType must be KMS."));
    }
    if !is_key_id(key) {
        return Err(ApiError::invalid_argument(format!(
            "Invalid KeyId {key}. It must be the id of a key, `alias/NAME`, or the ARN of one of them."
        )));
    }
    let stream = named.find(at)?;
    if start {
        if key.rsplit(':').next() != Some("alias/aws/kinesis") {
            return Err(ApiError::invalid_argument(
                "Hydrant has no key service, so a customer managed key cannot be used; give the KeyId alias/aws/kinesis, which \
                 stands for the encryption of the volume that the records are on.",
            ));
        }
        crate::firehose::vouched(&at.operations.mappings)?;
    }
    let counted = at.count(if start { Quota::StartEncryption } else { Quota::StopEncryption }, &stream)?;
    let updated = update(&stream, at, |settings| {
        settings.key_id = start.then(|| key.to_owned());
        Ok(())
    })
    .await?;
    counted.keep();
    Ok(updated)
}

/// A UUID (with `mrk-` in front for a key of many regions), `alias/NAME`, or the ARN of either.
fn is_key_id(text: &str) -> bool {
    let local = match text.strip_prefix("arn:aws").and_then(|rest| rest.split_once(":kms:")) {
        Some((_, rest)) => match rest.splitn(3, ':').collect::<Vec<_>>()[..] {
            [region, account, local] => {
                let digits = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
                if region.is_empty() || !digits {
                    return false;
                }
                local.strip_prefix("key/").map_or(local, |key| key)
            }
            _ => return false,
        },
        None => text,
    };
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_-".contains(&byte));
    if let Some(alias) = local.strip_prefix("alias/") {
        return !alias.is_empty() && plain(alias);
    }
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match local.strip_prefix("mrk-") {
        Some(id) => id.len() == 32 && hex(id),
        None => local.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && local.split('-').all(hex),
    }
}

/// For the description of a stream.
pub(super) fn describe(stream: &KinesisStream, description: &mut Value) {
    let settings = stream.settings();
    description["EnhancedMonitoring"] = json!([{ "ShardLevelMetrics": settings.metrics }]);
    description["EncryptionType"] = settings.encryption().unwrap_or("NONE").into();
    if let Some(key) = &settings.key_id {
        description["KeyId"] = key.as_str().into();
    }
}

pub(super) fn account() -> String {
    json!({ "MinimumThroughputBillingCommitment": { "Status": "DISABLED" } }).to_string()
}

/// Nothing is billed here, so there is nothing to commit to.
pub(super) fn update_account(at: &Request) -> Result<String, ApiError> {
    let shape = Shape::root(&at.body)?;
    let mut violations = Violations::default();
    let member = "MinimumThroughputBillingCommitment";
    let commitment = violations.required(&shape, member, shape.part(member)?);
    let status = commitment.as_ref().map(|part| part.text("Status")).transpose()?.flatten();
    if let Some(part) = &commitment
        && let Some(status) = violations.required(part, "Status", status)
    {
        violations.choice(&part.at("Status"), status, &["ENABLED", "DISABLED"]);
    }
    violations.finish()?;
    if status == Some("ENABLED") {
        return Err(ApiError::invalid_argument(
            "Hydrant bills nothing; MinimumThroughputBillingCommitment stays DISABLED.",
        ));
    }
    Ok(account())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_named_in_four_ways() {
        let id = "1234abcd-12ab-34cd-56ef-1234567890ab";
        let arn = "arn:aws:kms:us-east-1:123456789012";
        let all = [id, "alias/aws/kinesis", &format!("{arn}:key/{id}"), &format!("{arn}:alias/mine")].map(is_key_id);
        assert_eq!(all, [true; 4]);
        assert!(is_key_id("mrk-1234abcd12ab34cd56ef123456789012"));
        let wrong =
            ["", "key", "alias/", "alias/a b", "1234abcd-12ab-34cd-56ef-1234567890a", "arn:aws:kms:::key/x", "é"];
        assert_eq!(wrong.map(is_key_id), [false; 7]);
    }
}
