//! What a credential may do: statements of actions and resources with wildcards, as in IAM. A denial beats everything; where
//! nothing is allowed by name, everything is.

use std::sync::Arc;

/// A text in which `*` stands for any text and `?` for any one character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Arc<str>);

/// What is allowed or denied: any of the actions on any of the resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Such as `kinesis:Put*`; compared without case.
    pub actions: Vec<Pattern>,
    /// ARNs; an operation on no stream in particular is on `*`.
    pub resources: Vec<Pattern>,
}

/// What one credential may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// `None` allows everything.
    pub allow: Option<Vec<Statement>>,
    pub deny: Vec<Statement>,
}

/// What a policy says of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allowed,
    /// It says nothing, which is a no.
    NotAllowed,
    Denied,
}

impl Pattern {
    #[must_use]
    pub fn new(text: &str) -> Pattern {
        Pattern(text.into())
    }

    /// Takes time in proportion to both lengths at most.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.matches_by(text, |one, other| one == other)
    }

    #[must_use]
    pub fn matches_ignoring_case(&self, text: &str) -> bool {
        self.matches_by(text, |one, other| one.eq_ignore_ascii_case(&other))
    }

    fn matches_by(&self, text: &str, same: impl Fn(u8, u8) -> bool) -> bool {
        let (pattern, text) = (self.0.as_bytes(), text.as_bytes());
        let (mut at, mut of) = (0, 0);
        // Behind the last star, and where the text that it stands for ends so far.
        let mut star: Option<(usize, usize)> = None;
        while at < text.len() {
            match pattern.get(of) {
                Some(b'*') => {
                    of += 1;
                    star = Some((of, at));
                }
                Some(&letter) if letter == b'?' || same(letter, text[at]) => {
                    of += 1;
                    at += 1;
                }
                _ => {
                    let Some((behind, end)) = star else { return false };
                    star = Some((behind, end + 1));
                    (of, at) = (behind, end + 1);
                }
            }
        }
        pattern[of..].iter().all(|letter| *letter == b'*')
    }
}

impl Statement {
    #[must_use]
    pub fn covers(&self, action: &str, resource: &str) -> bool {
        self.actions.iter().any(|pattern| pattern.matches_ignoring_case(action))
            && self.resources.iter().any(|pattern| pattern.matches(resource))
    }
}

impl Policy {
    /// Whether nothing is asked of it.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.allow.is_none() && self.deny.is_empty()
    }

    /// Of `service:Operation` on an ARN, or on `*`.
    #[must_use]
    pub fn verdict(&self, action: &str, resource: &str) -> Verdict {
        let covered = |statements: &[Statement]| statements.iter().any(|one| one.covers(action, resource));
        if covered(&self.deny) {
            Verdict::Denied
        } else if self.allow.as_deref().is_none_or(covered) {
            Verdict::Allowed
        } else {
            Verdict::NotAllowed
        }
    }
}

/// An action's pattern. The error is a hint.
pub(crate) fn parse_action(text: &str) -> Result<Pattern, String> {
    let pattern = Pattern::new(text);
    if ACTIONS.iter().any(|action| pattern.matches_ignoring_case(action)) {
        return Ok(pattern);
    }
    let nearest = ACTIONS.iter().min_by_key(|action| strsim::levenshtein(action, text));
    Err(nearest.map(|action| format!("no operation is called so; the nearest is `{action}`")).unwrap_or_default())
}

/// A resource's pattern: an ARN's, or `stream/NAME` and `delivery_stream/NAME` of any region. The error is a hint.
pub(crate) fn parse_resource(text: &str) -> Result<Pattern, String> {
    if text == "*" || text.starts_with("arn:") {
        return Ok(Pattern::new(text));
    }
    let of = |service: &str, kind: &str, name: &str| Pattern::new(&format!("arn:*:{service}:*:*:{kind}/{name}"));
    match text.split_once('/') {
        Some(("stream", name)) if !name.is_empty() => Ok(of("kinesis", "stream", name)),
        Some(("delivery_stream", name)) if !name.is_empty() => Ok(of("firehose", "deliverystream", name)),
        _ => Err("for every delivery stream write `delivery_stream/*`".to_owned()),
    }
}

/// Every operation of both services, as policies name them.
#[rustfmt::skip]
pub const ACTIONS: &[&str] = &[
    "firehose:CreateDeliveryStream", "firehose:DeleteDeliveryStream", "firehose:DescribeDeliveryStream",
    "firehose:ListDeliveryStreams", "firehose:ListTagsForDeliveryStream", "firehose:PutRecord", "firehose:PutRecordBatch",
    "firehose:StartDeliveryStreamEncryption", "firehose:StopDeliveryStreamEncryption", "firehose:TagDeliveryStream",
    "firehose:UntagDeliveryStream", "firehose:UpdateDestination",
    "kinesis:AddTagsToStream", "kinesis:CreateStream", "kinesis:DecreaseStreamRetentionPeriod",
    "kinesis:DeleteResourcePolicy", "kinesis:DeleteStream", "kinesis:DeregisterStreamConsumer",
    "kinesis:DescribeAccountSettings", "kinesis:DescribeLimits", "kinesis:DescribeStream", "kinesis:DescribeStreamConsumer",
    "kinesis:DescribeStreamSummary", "kinesis:DisableEnhancedMonitoring", "kinesis:EnableEnhancedMonitoring",
    "kinesis:GetRecords", "kinesis:GetResourcePolicy", "kinesis:GetShardIterator", "kinesis:IncreaseStreamRetentionPeriod",
    "kinesis:ListShards", "kinesis:ListStreamConsumers", "kinesis:ListStreams", "kinesis:ListTagsForResource",
    "kinesis:ListTagsForStream", "kinesis:MergeShards", "kinesis:PutRecord", "kinesis:PutRecords",
    "kinesis:PutResourcePolicy", "kinesis:RegisterStreamConsumer", "kinesis:RemoveTagsFromStream", "kinesis:SplitShard",
    "kinesis:StartStreamEncryption", "kinesis:StopStreamEncryption", "kinesis:SubscribeToShard", "kinesis:TagResource",
    "kinesis:UntagResource", "kinesis:UpdateAccountSettings", "kinesis:UpdateMaxRecordSize", "kinesis:UpdateShardCount",
    "kinesis:UpdateStreamMode",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_text() {
        let matching = [
            ("*", ""),
            ("", ""),
            ("a*", "a"),
            ("a*c", "abcbc"),
            ("*b*d", "abbcbd"),
            ("a?c", "abc"),
            ("**a**", "xax"),
            ("arn:*:stream/x", "arn:aws:kinesis:r:1:stream/x"),
        ];
        for (pattern, text) in matching {
            assert!(Pattern::new(pattern).matches(text), "{pattern} {text}");
        }
        for (pattern, text) in [("", "a"), ("a", ""), ("a*c", "abcb"), ("a?", "a"), ("?", ""), ("A", "a"), ("*x", "xy")]
        {
            assert!(!Pattern::new(pattern).matches(text), "{pattern} {text}");
        }
        assert!(Pattern::new("Kinesis:put*").matches_ignoring_case("kinesis:PutRecord"));
        // No time that explodes.
        assert!(!Pattern::new(&"*a".repeat(100)).matches(&"a".repeat(99).repeat(20).replace('a', "ab")[..99]));
    }

    #[test]
    fn actions_and_resources_are_what_there_is() {
        assert!(
            parse_action("kinesis:*").is_ok() && parse_action("*").is_ok() && parse_action("FIREHOSE:put*").is_ok()
        );
        let hint = "no operation is called so; the nearest is `firehose:PutRecord`".to_owned();
        assert_eq!(parse_action("firehose:PutRecrod"), Err(hint));
        assert!(parse_action("s3:*").is_err());
        let resource = parse_resource("delivery_stream/access-*").unwrap();
        assert!(resource.matches("arn:aws:firehose:eu-west-1:123456789012:deliverystream/access-logs"));
        assert!(!resource.matches("arn:aws:kinesis:eu-west-1:123456789012:stream/access-logs"));
        assert!(parse_resource("access-*").is_err() && parse_resource("stream/").is_err());
    }
}
