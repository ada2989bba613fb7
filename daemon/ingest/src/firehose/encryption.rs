//! StartDeliveryStreamEncryption and StopDeliveryStreamEncryption.
//!
//! Invariant: nobody is told that records are encrypted unless the operator vouches for it. Hydrant keeps them as they are
//! put; what can be encrypted is the volume that they are on.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Mappings, change, s3, stream_name, streams};
use crate::request::Operations;
use crate::shape::{Shape, Violations};
use crate::{ApiError, StreamSettings};

const CONFIGURATION: &str = "DeliveryStreamEncryptionConfigurationInput";
/// AWS's limit for both operations together, in a rolling day.
const SWITCHES_MAX: usize = 25;
const DAY: Duration = Duration::from_secs(86_400);

/// The key that a request asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key<'a> {
    kind: &'a str,
    arn: Option<&'a str>,
}

impl<'a> Key<'a> {
    /// `None` if no encryption is asked for.
    pub(super) fn of(request: &Shape<'a>, to: &mut Violations) -> Result<Option<Key<'a>>, ApiError> {
        let Some(part) = request.part(CONFIGURATION)? else { return Ok(None) };
        let kind = s3::choice(&part, "KeyType", &["AWS_OWNED_CMK", "CUSTOMER_MANAGED_CMK"], to)?;
        let kind = to.required(&part, "KeyType", kind).unwrap_or_default();
        Ok(Some(Key { kind, arn: s3::text(&part, "KeyARN", 1..=512, to)? }))
    }

    pub(super) fn check(self, reads_kinesis: bool, mappings: &Mappings) -> Result<(), ApiError> {
        let refused = if reads_kinesis {
            "Encryption can be switched for delivery streams of the type DirectPut only; the records of this one are in its \
             Kinesis stream."
        } else if self.kind == "CUSTOMER_MANAGED_CMK" {
            "Hydrant has no key service, so a customer managed key cannot be used; give the KeyType AWS_OWNED_CMK, which stands \
             for the encryption of the volume that the records are on."
        } else if self.arn.is_some() {
            "KeyARN must not be given for the KeyType AWS_OWNED_CMK."
        } else {
            return vouched(mappings);
        };
        Err(ApiError::invalid_argument(refused))
    }
}

/// Whether the operator says that the records are encrypted where they lie; of Kinesis streams, too.
pub(crate) fn vouched(mappings: &Mappings) -> Result<(), ApiError> {
    if mappings.data_dir_encrypted {
        return Ok(());
    }
    Err(ApiError::invalid_argument(
        "Hydrant does not encrypt records itself; put its `data_dir` on an encrypted volume and say so by \
         `data_dir_encrypted: true` in the configuration.",
    ))
}

/// Done when it returns: `ENABLING` and `DISABLING` are never seen.
pub(super) async fn switch(
    start: bool,
    request: &Value,
    region: &str,
    operations: &Operations,
) -> Result<Value, ApiError> {
    let shape = Shape::root(request)?;
    let mut violations = Violations::default();
    let name = stream_name(&shape, &mut violations)?;
    let key = if start { Key::of(&shape, &mut violations)? } else { None };
    violations.finish()?;
    let entry = streams::find(name, region, operations)?;
    let key = key.unwrap_or(Key { kind: "AWS_OWNED_CMK", arn: None });
    if start || entry.reads_kinesis() {
        key.check(entry.reads_kinesis(), &operations.mappings)?;
    }
    change::check_origin(&entry)?;
    {
        let now = operations.clock.now();
        let mut switched = entry.changing.lock().await;
        switched.retain(|at| now.since(*at) < DAY);
        if switched.len() >= SWITCHES_MAX {
            return Err(ApiError::limit_exceeded(format!(
                "Encryption of a delivery stream can be switched {SWITCHES_MAX} times in 24 hours."
            )));
        }
        switched.push(now);
    }
    change::settings(&entry, operations, |settings| {
        settings.encrypted = start;
        Ok(())
    })
    .await?;
    Ok(json!({}))
}

/// The member `DeliveryStreamEncryptionConfiguration` of a description.
pub(super) fn describe(settings: &StreamSettings) -> Value {
    match settings.encrypted {
        true => json!({ "KeyType": "AWS_OWNED_CMK", "Status": "ENABLED" }),
        false => json!({ "Status": "DISABLED" }),
    }
}
