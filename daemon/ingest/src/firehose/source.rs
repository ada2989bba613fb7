//! Where the records of a delivery stream come from: `DeliveryStreamType` and the configuration that belongs to it.

use hydrant_config::{AccountId, SourceStart, StreamSource};
use serde_json::{Value, json};

use super::{Mappings, s3};
use crate::kinesis::parse_arn;
use crate::shape::{Shape, Violations};
use crate::{ApiError, DeliveryStreamDefinition};

pub(super) const TYPES: [&str; 4] = ["DirectPut", "KinesisStreamAsSource", "MSKAsSource", "DatabaseAsSource"];
const KINESIS: &str = "KinesisStreamSourceConfiguration";
/// Each with the type that it belongs to.
const CONFIGURATIONS: [(&str, &str); 4] = [
    ("DirectPutSourceConfiguration", "DirectPut"),
    (KINESIS, "KinesisStreamAsSource"),
    ("MSKSourceConfiguration", "MSKAsSource"),
    ("DatabaseSourceConfiguration", "DatabaseAsSource"),
];
const STREAM_PATTERN: &str = r"arn:.*:kinesis:[a-zA-Z0-9\-]+:\d{12}:stream/[a-zA-Z0-9_.-]+";

/// A source of which every member is well-formed by itself.
#[derive(Debug)]
pub(super) struct Source<'a> {
    kind: &'a str,
    given: Vec<&'static str>,
    stream_arn: Option<&'a str>,
}

impl<'a> Source<'a> {
    pub(super) fn of(request: &Shape<'a>, to: &mut Violations) -> Result<Source<'a>, ApiError> {
        let kind = s3::choice(request, "DeliveryStreamType", &TYPES, to)?.unwrap_or("DirectPut");
        if let Some(direct) = request.part("DirectPutSourceConfiguration")? {
            let hint = s3::integer(&direct, "ThroughputHintInMBs", 1..=100, to)?;
            to.required(&direct, "ThroughputHintInMBs", hint);
        }
        let mut stream_arn = None;
        if let Some(kinesis) = request.part(KINESIS)? {
            stream_arn = s3::text(&kinesis, "KinesisStreamARN", 1..=512, to)?;
            if let Some(arn) = to.required(&kinesis, "KinesisStreamARN", stream_arn) {
                let fits = parse_arn(arn).is_some_and(|(_, _, name)| StreamSource::allows_name(name));
                to.pattern(&kinesis.at("KinesisStreamARN"), arn, (STREAM_PATTERN, fits));
            }
            s3::role(&kinesis, to)?;
        }
        let given = CONFIGURATIONS.iter().map(|(member, _)| *member).filter(|member| request.has(member)).collect();
        Ok(Source { kind, given, stream_arn })
    }

    /// The Kinesis stream that is read; `None` for Direct PUT.
    pub(super) fn kinesis(&self, region: &str, mappings: &Mappings) -> Result<Option<StreamSource>, ApiError> {
        let of_kind = |kind: &str| CONFIGURATIONS.iter().find(|(_, of)| *of == kind).map_or("", |(member, _)| member);
        if let Some(stray) = self.given.iter().find(|member| **member != of_kind(self.kind)) {
            return Err(ApiError::invalid_argument(format!(
                "{stray} must not be given for the delivery stream type {}.",
                self.kind
            )));
        }
        match (self.kind, self.stream_arn.and_then(parse_arn)) {
            ("DirectPut", _) => Ok(None),
            ("KinesisStreamAsSource", Some((own, account, name))) => {
                if own != region || account != mappings.account.as_str() {
                    return Err(ApiError::invalid_argument(format!(
                        "The Kinesis stream must belong to the account {} and the region {region}, got account {account} and \
                         region {own}.",
                        mappings.account.as_str()
                    )));
                }
                // Both as at AWS; in YAML there is a choice.
                Ok(Some(StreamSource { name: name.to_owned(), start: SourceStart::Latest, deaggregate: true }))
            }
            ("KinesisStreamAsSource", None) => Err(ApiError::invalid_argument(format!(
                "{KINESIS} must be given for the delivery stream type KinesisStreamAsSource."
            ))),
            (kind, _) => {
                let next = match kind {
                    "MSKAsSource" => {
                        "let a consumer of the topic put its records, as the Firehose or Kinesis sink of Kafka Connect does"
                    }
                    _ => {
                        "let a reader of the database's log put its changes, as Debezium Server with its Kinesis sink does"
                    }
                };
                Err(ApiError::invalid_argument(format!(
                    "The delivery stream type {kind} is not supported by this version of Hydrant; {next}: by PutRecordBatch, or into \
                     a Kinesis stream that a delivery stream of type KinesisStreamAsSource reads."
                )))
            }
        }
    }
}

/// The member `Source` of a description; `None` if there is nothing to say.
pub(super) fn describe(
    definition: &DeliveryStreamDefinition,
    request: &Value,
    (account, region): (&AccountId, &str),
) -> Option<Value> {
    let Some(source) = &definition.source else {
        let hint = request.get("DirectPutSourceConfiguration").filter(|hint| !hint.is_null());
        return hint.map(|hint| json!({ "DirectPutSourceDescription": hint }));
    };
    let (account, region) = (account.as_str(), source.region.as_deref().unwrap_or(region));
    let role = request.get(KINESIS).and_then(|given| given.get("RoleARN")).cloned();
    Some(json!({ "KinesisStreamSourceDescription": {
        "KinesisStreamARN": format!("arn:aws:kinesis:{region}:{account}:stream/{}", source.name),
        "RoleARN": role.unwrap_or_else(|| json!(format!("arn:aws:iam::{account}:role/hydrant"))),
        "DeliveryStartTimestamp": super::describe::seconds(definition.created_at.as_millis()),
    } }))
}
