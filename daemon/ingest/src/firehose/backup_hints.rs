//! `BufferingHints` of the bucket behind a destination.
//!
//! Invariant: no hints are taken that would not act. Such a bucket is written with what the destination gets, so its hints are
//! those of the destination, or none.

use hydrant_config::Buffering;
use serde_json::Value;

use crate::ApiError;

const MIB: u64 = 1 << 20;
/// AWS's defaults: many clients send them where their user has said nothing.
const USUAL: (u64, u64) = (5, 300);

/// For a request that makes a delivery stream or changes it. One that is read back from the catalog was taken before.
pub(super) fn check(request: &Value, buffering: &Buffering) -> Result<(), ApiError> {
    let members = request.as_object().into_iter().flatten();
    let destinations = members.filter(|(name, _)| name.ends_with("DestinationConfiguration"));
    for (member, bucket) in destinations.flat_map(|(_, destination)| {
        ["S3Configuration", "S3BackupConfiguration"].map(|member| (member, &destination[member]))
    }) {
        let hints = &bucket["BufferingHints"];
        let (Some(size), Some(interval)) = (hints["SizeInMBs"].as_u64(), hints["IntervalInSeconds"].as_u64()) else {
            continue;
        };
        let acting = (buffering.size / MIB, buffering.interval.as_secs());
        if (size, interval) != acting && (size, interval) != USUAL {
            return Err(ApiError::invalid_argument(format!(
                "{member}.BufferingHints of their own are not supported by this version of Hydrant, which writes to that bucket \
                 what the destination gets: leave them out, or give those of the destination, SizeInMBs {} and \
                 IntervalInSeconds {}, got {size} and {interval}.",
                acting.0, acting.1
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    #[test]
    fn only_hints_that_act_are_taken() {
        let buffering = Buffering { size: MIB, interval: Duration::from_secs(60), object_size: None };
        let with = |member: &str, hints: Value| {
            let request = json!({ "SplunkDestinationConfiguration": { member: { "BufferingHints": hints } } });
            check(&request, &buffering)
        };
        let hints = |size: u64, interval: u64| json!({ "SizeInMBs": size, "IntervalInSeconds": interval });
        for member in ["S3Configuration", "S3BackupConfiguration"] {
            for fine in [Value::Null, json!({}), hints(1, 60), hints(5, 300)] {
                assert_eq!(with(member, fine.clone()), Ok(()), "{fine}");
            }
            for other in [hints(1, 61), hints(2, 60), hints(128, 900)] {
                let error = with(member, other).unwrap_err();
                assert_eq!(error.code, "InvalidArgumentException");
                assert!(error.message.contains("SizeInMBs 1 and IntervalInSeconds 60"), "{error}");
            }
        }
        assert_eq!(check(&json!({ "DeliveryStreamName": "a" }), &buffering), Ok(()));
    }
}
