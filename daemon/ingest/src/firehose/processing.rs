//! `ProcessingConfiguration`: its shape, and the processors that there are here.

use hydrant_config::{Plugin, SubRecords};

use super::{Mappings, s3, unsupported};
use crate::ApiError;
use crate::shape::{Shape, Violations};

const TYPES: [&str; 6] = [
    "RecordDeAggregation",
    "Decompression",
    "CloudWatchLogProcessing",
    "Lambda",
    "MetadataExtraction",
    "AppendDelimiterToRecord",
];
const PARAMETERS: [&str; 13] = [
    "LambdaArn",
    "NumberOfRetries",
    "MetadataExtractionQuery",
    "JsonParsingEngine",
    "RoleArn",
    "BufferSizeInMBs",
    "BufferIntervalInSeconds",
    "SubRecordType",
    "Delimiter",
    "CompressionFormat",
    "DataMessageExtraction",
    "SchemaRegistryArn",
    "SchemaRegistryName",
];

/// The processors of a request; none if processing is not enabled.
#[derive(Debug, Default)]
pub(super) struct Processing<'a> {
    pub(super) enabled: bool,
    processors: Vec<Processor<'a>>,
}

#[derive(Debug)]
struct Processor<'a> {
    kind: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

/// What the processors mean here.
#[derive(Debug, Default)]
pub(super) struct Steps<'a> {
    pub(super) deaggregate: Option<SubRecords>,
    pub(super) plugin: Option<Plugin>,
    /// The jq text that gives partition keys.
    pub(super) query: Option<&'a str>,
    pub(super) append_delimiter: bool,
}

impl<'a> Processing<'a> {
    pub(super) fn of(destination: &Shape<'a>, to: &mut Violations) -> Result<Processing<'a>, ApiError> {
        let Some(shape) = destination.part("ProcessingConfiguration")? else { return Ok(Processing::default()) };
        let enabled = shape.flag("Enabled")?.unwrap_or(false);
        let mut processors = Vec::new();
        for one in shape.parts("Processors")? {
            let kind = s3::choice(&one, "Type", &TYPES, to)?;
            let kind = to.required(&one, "Type", kind).unwrap_or_default();
            let mut parameters = Vec::new();
            for parameter in one.parts("Parameters")? {
                let name = s3::choice(&parameter, "ParameterName", &PARAMETERS, to)?;
                let name = to.required(&parameter, "ParameterName", name);
                let value = s3::text(&parameter, "ParameterValue", 1..=5120, to)?;
                let value = to.required(&parameter, "ParameterValue", value);
                parameters.extend(name.zip(value));
            }
            processors.push(Processor { kind, parameters });
        }
        Ok(Processing { enabled, processors })
    }

    pub(super) fn steps(&self, mappings: &Mappings) -> Result<Steps<'a>, ApiError> {
        let mut steps = Steps::default();
        for (index, processor) in self.processors.iter().enumerate().filter(|_| self.enabled) {
            let kind = processor.kind;
            if self.processors[..index].iter().any(|earlier| earlier.kind == kind) {
                return Err(ApiError::invalid_argument(format!("Only one processor of type {kind} is allowed.")));
            }
            match kind {
                "RecordDeAggregation" => steps.deaggregate = Some(processor.sub_records()?),
                "Lambda" => steps.plugin = Some(processor.plugin(mappings)?),
                "MetadataExtraction" => steps.query = Some(processor.query()?),
                "AppendDelimiterToRecord" => {
                    processor.only(&["Delimiter"])?;
                    if !matches!(processor.get("Delimiter"), None | Some("\\n" | "\n")) {
                        return Err(unsupported("A Delimiter other than \\n in AppendDelimiterToRecord"));
                    }
                    steps.append_delimiter = true;
                }
                other => return Err(unsupported(&format!("The processor type {other}"))),
            }
        }
        Ok(steps)
    }
}

impl<'a> Processor<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        self.parameters.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn needs(&self, name: &str) -> Result<&'a str, ApiError> {
        let text = || format!("The parameter {name} is required for a processor of type {}.", self.kind);
        self.get(name).ok_or_else(|| ApiError::invalid_argument(text()))
    }

    fn only(&self, allowed: &[&str]) -> Result<(), ApiError> {
        match self.parameters.iter().find(|(name, _)| !allowed.contains(name)) {
            None => Ok(()),
            Some((name, _)) => {
                let text = format!("The parameter {name} is not allowed for a processor of type {}.", self.kind);
                Err(ApiError::invalid_argument(text))
            }
        }
    }

    fn sub_records(&self) -> Result<SubRecords, ApiError> {
        match self.needs("SubRecordType")? {
            "JSON" => {
                self.only(&["SubRecordType"])?;
                Ok(SubRecords::Json)
            }
            "DELIMITED" => {
                self.only(&["SubRecordType", "Delimiter"])?;
                let text = self.needs("Delimiter")?;
                let delimiter = base64_simd::STANDARD.decode_to_vec(text).ok().and_then(SubRecords::delimited);
                delimiter.ok_or_else(|| {
                    let most = SubRecords::DELIMITER_BYTES_MAX;
                    ApiError::invalid_argument(format!("Delimiter must be 1 to {most} bytes in base64, got {text}."))
                })
            }
            other => Err(ApiError::invalid_argument(format!("SubRecordType must be JSON or DELIMITED, got {other}."))),
        }
    }

    fn query(&self) -> Result<&'a str, ApiError> {
        self.only(&["MetadataExtractionQuery", "JsonParsingEngine"])?;
        if self.needs("JsonParsingEngine")? != "JQ-1.6" {
            return Err(ApiError::invalid_argument("JsonParsingEngine must be JQ-1.6."));
        }
        self.needs("MetadataExtractionQuery")
    }

    /// The plugin that stands for the Lambda. Retries and the buffer of an invocation have no meaning for a plugin, which
    /// runs inside the daemon; they are checked, kept and described.
    fn plugin(&self, mappings: &Mappings) -> Result<Plugin, ApiError> {
        self.only(&["LambdaArn", "NumberOfRetries", "RoleArn", "BufferSizeInMBs", "BufferIntervalInSeconds"])?;
        let arn = self.needs("LambdaArn")?;
        self.number("NumberOfRetries", 0.0, 300.0)?;
        let size = self.number("BufferSizeInMBs", 0.2, 3.0)?;
        let interval = self.number("BufferIntervalInSeconds", 0.0, 900.0)?;
        if size != interval {
            return Err(ApiError::invalid_argument(
                "Both BufferSizeInMBs and BufferIntervalInSeconds are required to configure buffering for lambda processor.",
            ));
        }
        if let Some(role) = self.get("RoleArn")
            && !s3::is_role(role)
        {
            return Err(ApiError::invalid_argument(format!("RoleArn {role} is not the ARN of a role.")));
        }
        let unqualified = || arn.splitn(8, ':').take(7).collect::<Vec<_>>().join(":");
        let plugin = mappings.lambda.get(arn).or_else(|| mappings.lambda.get(&unqualified()));
        let mut plugin = plugin.cloned().ok_or_else(|| {
            ApiError::invalid_argument(format!(
                "Lambda function {arn} has no plugin here; add `lambda: {{ \"{arn}\": {{ plugin: <file>.wasm }} }}` to the \
                 configuration"
            ))
        })?;
        plugin.arn = Some(arn.to_owned());
        Ok(plugin)
    }

    /// Whether the number is given; an error if it is none in the range.
    fn number(&self, name: &str, least: f64, most: f64) -> Result<bool, ApiError> {
        let Some(text) = self.get(name) else { return Ok(false) };
        let number = text.parse::<f64>().ok().filter(|number| (least..=most).contains(number));
        number.map(|_| true).ok_or_else(|| {
            ApiError::invalid_argument(format!("{name} must be a number from {least} to {most}, got {text}."))
        })
    }
}
