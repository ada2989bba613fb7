//! Whether a caller may do what it asks. Every operation on a stream passes here, with the names that the operation itself will
//! look up, before it learns whether there is such a stream.

use hydrant_config::{AccountId, Verdict};
use serde_json::Value;

use crate::kinesis::{self, KinesisStreams};
use crate::resource_policy::{Principal, ResourcePolicy};
use crate::sigv4::Caller;
use crate::{ApiError, firehose};

/// What is known of one call by now; what its audit line says.
#[derive(Debug, Default)]
pub(crate) struct Called {
    /// `None` until the signature is known to be good.
    pub(crate) who: Option<String>,
    /// As policies name it, such as `kinesis:CreateStream`. Empty until then.
    pub(crate) action: String,
    /// ARNs, or `*` of an operation on no stream in particular.
    pub(crate) resources: Vec<String>,
}

/// What an operation is on, and the policy that is attached to it.
#[derive(Debug)]
pub(crate) struct Resource {
    arn: String,
    policy: Option<String>,
}

impl Called {
    /// Notes who calls what, and refuses what no policy allows or one denies.
    pub(crate) fn authorize(
        &mut self,
        caller: &Caller,
        account: &AccountId,
        (service, operation): (&str, &str),
        mut resources: Vec<Resource>,
    ) -> Result<(), ApiError> {
        self.who = Some(caller.access_key_id.clone());
        // Puts are many, and few callers and streams are bound.
        let is_bound = !caller.policy.is_everything() || resources.iter().any(|resource| resource.policy.is_some());
        if !is_bound && is_data(operation) {
            return Ok(());
        }
        self.action = format!("{service}:{operation}");
        if resources.is_empty() {
            resources.push(Resource { arn: "*".to_owned(), policy: None });
        }
        let principal = Principal { account: account.as_str(), access_key_id: &caller.access_key_id };
        let refused = resources.iter().find_map(|resource| {
            let why = refusal(caller, principal, &self.action, resource)?;
            let (user, action, arn) = (principal.arn(), &self.action, &resource.arn);
            Some(format!("User: {user} is not authorized to perform: {action} on resource: {arn} {why}"))
        });
        self.resources = resources.into_iter().map(|resource| resource.arn).collect();
        refused.map_or(Ok(()), |text| Err(ApiError::access_denied(text)))
    }

    /// Calls that are told in the audit even when all is well.
    pub(crate) fn is_control_plane(&self) -> bool {
        self.action.split_once(':').is_some_and(|(_, operation)| !is_data(operation))
    }
}

/// Why not, if so. A denial beats every permission, and one permission is enough.
fn refusal(caller: &Caller, principal: Principal<'_>, action: &str, resource: &Resource) -> Option<String> {
    let own = caller.policy.verdict(action, &resource.arn);
    let attached = resource.policy.as_deref().map(|text| match ResourcePolicy::parse(text) {
        Ok(policy) => policy.verdict(principal, action, &resource.arn),
        // It was checked when it was put, so a newer version has written it: better closed than open.
        Err(_) => Verdict::Denied,
    });
    match (own, attached) {
        (Verdict::Denied, _) => Some("with an explicit deny in an identity-based policy".to_owned()),
        // Nobody locks everybody out: who may do everything by the YAML keeps the policy itself.
        (_, Some(Verdict::Denied)) if caller.policy.is_everything() && is_of_policy(action) => None,
        (_, Some(Verdict::Denied)) => Some("with an explicit deny in a resource-based policy".to_owned()),
        (Verdict::Allowed, _) | (_, Some(Verdict::Allowed)) => None,
        _ => Some(format!("because no identity-based policy allows the {action} action")),
    }
}

fn is_of_policy(action: &str) -> bool {
    action.strip_prefix("kinesis:").is_some_and(|operation| operation.ends_with("ResourcePolicy"))
}

/// Records in and out.
fn is_data(operation: &str) -> bool {
    const DATA: [&str; 6] =
        ["PutRecord", "PutRecords", "PutRecordBatch", "GetRecords", "GetShardIterator", "SubscribeToShard"];
    DATA.contains(&operation)
}

/// What a request to Firehose is about.
pub(crate) fn of_firehose(operation: &str, name: Option<&str>, region: &str, account: &AccountId) -> Vec<Resource> {
    let name = name.filter(|_| operation != "ListDeliveryStreams");
    let resource = |name| Resource { arn: firehose::stream_arn(account, region, name), policy: None };
    name.map(resource).into_iter().collect()
}

/// What a request to Kinesis is about: every stream and consumer that it names, since which of them counts is the operation's.
pub(crate) fn of_kinesis(
    operation: &str,
    body: &Value,
    (region, account): (&str, &AccountId),
    streams: &KinesisStreams,
) -> Vec<Resource> {
    const ON_NONE: [&str; 4] = ["DescribeAccountSettings", "DescribeLimits", "ListStreams", "UpdateAccountSettings"];
    if ON_NONE.contains(&operation) {
        return Vec::new();
    }
    let text = |member: &str| body.get(member).and_then(Value::as_str);
    let named = text("StreamName").map(|name| stream_arn(account, region, name));
    let arns = ["StreamARN", "ConsumerARN", "ResourceARN"].into_iter().filter_map(text).map(plain_arn);
    let sealed = ["ShardIterator", "NextToken"].into_iter().filter_map(text);
    let sealed = sealed.filter_map(|token| kinesis::stream_of_token(token, streams));
    // A stream of every region is one of the caller's.
    let of = |stream: &kinesis::KinesisStream| {
        if stream.region.is_empty() { region.to_owned() } else { stream.region.clone() }
    };
    let sealed = sealed.map(|stream| stream_arn(account, &of(&stream), &stream.name));
    with_policies(named.into_iter().chain(arns).chain(sealed), streams)
}

/// What a put to Kinesis is about, by the name and the ARN that it has.
pub(crate) fn of_put(
    (name, arn): (Option<&str>, Option<&str>),
    (region, account): (&str, &AccountId),
    streams: &KinesisStreams,
) -> Vec<Resource> {
    let named = name.map(|name| stream_arn(account, region, name));
    with_policies(named.into_iter().chain(arn.map(plain_arn)), streams)
}

fn with_policies(arns: impl Iterator<Item = String>, streams: &KinesisStreams) -> Vec<Resource> {
    arns.map(|arn| Resource { policy: kinesis::policy_of(&arn, streams), arn }).collect()
}

fn stream_arn(account: &AccountId, region: &str, name: &str) -> String {
    format!("arn:aws:kinesis:{region}:{}:stream/{name}", account.as_str())
}

/// An ARN of any partition means the same stream here, and zeros before a number mean nothing, so policies must see one ARN.
fn plain_arn(arn: &str) -> String {
    let Some((_, place)) = arn.split_once(":kinesis:") else { return arn.to_owned() };
    match place.rsplit_once(':').filter(|(stream, _)| stream.contains("/consumer/")) {
        Some((consumer, second)) => format!("arn:aws:kinesis:{consumer}:{}", second.trim_start_matches('0')),
        None => format!("arn:aws:kinesis:{place}"),
    }
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
