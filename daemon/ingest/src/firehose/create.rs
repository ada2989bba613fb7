//! CreateDeliveryStream: from the request's members to a delivery stream whose parts fit. What is not built is refused by
//! name; nothing is accepted and ignored.

use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;
use hydrant_config::{
    Buffering, DeliveryStream, DeliveryStreamSpec, Destination, Format, JqKeys, LineCompression, LogPolicy, Naming,
    NamingMember, NamingProblem, ObjectStore, Partitioning, Place, Processing, S3Options, StreamName, StreamSource,
};
use serde_json::{Value, json};

use super::processing::Steps;
use super::s3::S3Destination;
use super::source::Source;
use super::{Mappings, encryption, stream_arn, stream_name, streams, tags, unsupported};
use crate::request::Operations;
use crate::shape::{Shape, Violations};
use crate::{
    ApiError, DeliveryStreamDefinition, Entry, KinesisSource, NewDeliveryStream, Origin, Registry, StreamSettings,
};

pub(super) const EXTENDED: &str = "ExtendedS3DestinationConfiguration";
pub(super) const PLAIN: &str = "S3DestinationConfiguration";
pub(super) const DESTINATIONS: [&str; 10] = [
    PLAIN,
    EXTENDED,
    "RedshiftDestinationConfiguration",
    "ElasticsearchDestinationConfiguration",
    "AmazonopensearchserviceDestinationConfiguration",
    "AmazonOpenSearchServerlessDestinationConfiguration",
    "SplunkDestinationConfiguration",
    "HttpEndpointDestinationConfiguration",
    "SnowflakeDestinationConfiguration",
    "IcebergDestinationConfiguration",
];
/// AWS's default quota of active partitions.
const PARTITIONS_MAX: u32 = 500;
const MIB: u64 = 1 << 20;

/// Takes its entry out of the registry again, unless the creation came to its end.
struct Reservation<'a> {
    registry: &'a Registry,
    entry: Option<Arc<Entry>>,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            self.registry.remove(&entry);
        }
    }
}

/// Answers when the stream takes records; until then others see it as CREATING.
pub(crate) async fn create(request: Value, region: String, operations: Arc<Operations>) -> Result<Value, ApiError> {
    let spec = delivery_stream_from_request(&request, (&region, 1), &operations.mappings)?;
    let settings = settings(&request, &spec, &operations.mappings)?;
    let (name, account) = (spec.name.clone(), &operations.mappings.account);
    let definition = DeliveryStreamDefinition {
        name: name.clone(),
        region: Some(region.clone()),
        version_id: spec.version_id,
        created_at: operations.clock.now(),
        origin: Origin::Api { request },
        settings,
        source: spec
            .source
            .as_ref()
            .map(|source| KinesisSource { name: source.name.clone(), region: Some(region.clone()) }),
    };
    let entry = Entry::creating(definition.clone());
    operations.registry.insert(Arc::clone(&entry)).map_err(|_| {
        ApiError::in_use(format!("Firehose {name} under accountId {} already exists", account.as_str()))
    })?;
    let mut reservation = Reservation { registry: &operations.registry, entry: Some(entry) };
    let handle = operations.control.create(NewDeliveryStream { definition, spec }).await.map_err(streams::refused)?;
    if let Some(entry) = reservation.entry.take() {
        entry.activate(handle);
    }
    tracing::info!(stream = %name, region, "created a delivery stream");
    Ok(json!({ "DeliveryStreamARN": stream_arn(account, &region, name.as_str()) }))
}

/// Tags and encryption, which have a life of their own from here on.
fn settings(request: &Value, spec: &DeliveryStream, mappings: &Mappings) -> Result<StreamSettings, ApiError> {
    let shape = Shape::root(request)?;
    let mut violations = Violations::default();
    let tags = tags::of_list(&shape, &mut violations)?;
    let key = encryption::Key::of(&shape, &mut violations)?;
    violations.finish()?;
    let encrypted = key.is_some();
    if let Some(key) = key {
        key.check(spec.source.is_some(), mappings)?;
    }
    Ok(StreamSettings { tags, encrypted, updated_at_ms: None })
}

/// The delivery stream that a CreateDeliveryStream request describes, new, changed, or read back from the catalog.
pub fn delivery_stream_from_request(
    request: &Value,
    (region, version_id): (&str, u64),
    mappings: &Mappings,
) -> Result<DeliveryStream, ApiError> {
    let shape = Shape::root(request)?;
    let mut violations = Violations::default();
    let name = stream_name(&shape, &mut violations)?;
    let source = Source::of(&shape, &mut violations)?;
    let s3 = match (shape.part(EXTENDED)?, shape.part(PLAIN)?) {
        (Some(part), _) => Some(S3Destination::of(&part, true, &mut violations)?),
        (None, Some(part)) => Some(S3Destination::of(&part, false, &mut violations)?),
        (None, None) => None,
    };
    violations.finish()?;
    check_top(&shape)?;
    let source = source.kinesis(region, mappings)?;
    let s3 = s3.ok_or_else(|| unsupported(destination_of(&shape)))?;
    let name = StreamName::parse(name).ok_or_else(|| ApiError::internal("a validated name does not parse"))?;
    let mut spec = build((name, region, source), &s3, mappings)?;
    spec.version_id = version_id;
    DeliveryStream::new(spec).map_err(|problems| {
        let texts: Vec<String> = problems.into_iter().map(|problem| problem.message).collect();
        ApiError::invalid_argument(texts.join("; "))
    })
}

fn destination_of<'a>(shape: &Shape<'a>) -> &'a str {
    shape.names().find(|name| DESTINATIONS.contains(name)).unwrap_or_default()
}

fn check_top(shape: &Shape<'_>) -> Result<(), ApiError> {
    if DESTINATIONS.iter().filter(|name| shape.has(name)).count() != 1 {
        return Err(ApiError::invalid_argument("Exactly one destination configuration is supported for a Firehose"));
    }
    Ok(())
}

fn build(
    (name, region, source): (StreamName, &str, Option<StreamSource>),
    s3: &S3Destination<'_>,
    mappings: &Mappings,
) -> Result<DeliveryStreamSpec, ApiError> {
    refuse_unbuilt(s3)?;
    let format = format(s3, mappings)?;
    let buffering = buffering(s3)?;
    let steps = s3.processing.steps(mappings)?;
    let naming = naming(s3, &steps)?;
    let jq = steps.query.map(JqKeys::from_query).transpose();
    let jq =
        jq.map_err(|error| ApiError::invalid_argument(format!("MetadataExtractionQuery is not valid: {error}")))?;
    let connection = mappings.s3.clone().ok_or_else(|| {
        ApiError::invalid_argument(format!(
            "There is no store for the bucket {} here; add `s3: {{ endpoint: …, access_key_id: …, secret_access_key: … }}` \
             to the configuration",
            s3.bucket
        ))
    })?;
    Ok(DeliveryStreamSpec {
        name,
        region: Some(region.to_owned()),
        source,
        buffering,
        log: LogPolicy::default(),
        processing: Processing {
            plugins: steps.plugin.into_iter().collect(),
            append_delimiter: steps.append_delimiter,
        },
        partitioning: s3.partitioned.then_some(Partitioning { jq, partitions_max: PARTITIONS_MAX }),
        format,
        destination: Destination::Objects(ObjectStore {
            place: Place::S3 { bucket: s3.bucket.to_owned(), connection, options: S3Options::default() },
            naming,
        }),
        backup: None,
        version_id: 1,
    })
}

fn refuse_unbuilt(s3: &S3Destination<'_>) -> Result<(), ApiError> {
    let compression = format!("CompressionFormat {}", s3.compression);
    let unbuilt = [
        (s3.encrypted, "EncryptionConfiguration.KMSEncryptionConfig"),
        (
            s3.logging,
            "CloudWatchLoggingOptions.Enabled true (Hydrant has its own log; there is no CloudWatch here, so this)",
        ),
        (s3.backup, "S3BackupMode Enabled"),
        (!matches!(s3.compression, "UNCOMPRESSED" | "GZIP"), &compression),
    ];
    unbuilt.into_iter().find(|(asked, _)| *asked).map_or(Ok(()), |(_, what)| Err(unsupported(what)))
}

fn format(s3: &S3Destination<'_>, mappings: &Mappings) -> Result<Format, ApiError> {
    let Some(conversion) = &s3.conversion else {
        let gzip = s3.compression == "GZIP";
        return Ok(Format::Lines { compression: if gzip { LineCompression::Gzip } else { LineCompression::None } });
    };
    if s3.compression != "UNCOMPRESSED" {
        return Err(ApiError::invalid_argument(
            "CompressionFormat must be UNCOMPRESSED when data format conversion is enabled.",
        ));
    }
    if s3.size_mib.is_some_and(|size| size < 64) {
        return Err(ApiError::invalid_argument(
            "BufferingHints.SizeInMBs must be at least 64 when data format conversion is enabled.",
        ));
    }
    conversion.parquet(mappings).map(Format::Parquet)
}

fn buffering(s3: &S3Destination<'_>) -> Result<Buffering, ApiError> {
    let large = s3.partitioned || s3.conversion.is_some();
    let (size, interval) = match (s3.size_mib, s3.interval_s) {
        (Some(size), Some(interval)) => (size, interval),
        (None, None) => (if large { 128 } else { 5 }, 300),
        _ => {
            return Err(ApiError::invalid_argument(
                "BufferingHints must have both SizeInMBs and IntervalInSeconds, or neither.",
            ));
        }
    };
    if s3.partitioned && size < 64 {
        return Err(ApiError::invalid_argument(
            "BufferingHints.SizeInMBs must be at least 64 when Dynamic Partitioning is enabled.",
        ));
    }
    if s3.partitioned && interval < 60 {
        return Err(ApiError::invalid_argument(
            "BufferingHints.IntervalInSeconds must be at least 60 seconds when Dynamic Partitioning is enabled.",
        ));
    }
    let [size, interval] = [size, interval].map(|value| u64::try_from(value).unwrap_or_default());
    Ok(Buffering { size: size * MIB, interval: Duration::from_secs(interval) })
}

fn naming(s3: &S3Destination<'_>, steps: &Steps<'_>) -> Result<Naming, ApiError> {
    let naming = Naming::new(s3.prefix, s3.error_output_prefix, s3.partitioned);
    let mut naming = naming.map_err(|problems| {
        let texts: Vec<String> = problems.into_iter().map(naming_text).collect();
        ApiError::invalid_argument(texts.join("; "))
    })?;
    let has_keys = !naming.prefix.keys().is_empty();
    let problem = match (s3.partitioned, has_keys) {
        (true, _) if !s3.processing.enabled => {
            Some("Processing Configuration is not enabled when DynamicPartitioning is enabled.")
        }
        (true, false) => {
            Some("S3 Prefix should contain Dynamic Partitioning namespaces when Dynamic Partitioning is enabled")
        }
        (false, true) => Some(
            "Dynamic Partitioning Namespaces can only be part of a prefix expression when Dynamic Partitioning is enabled.",
        ),
        (false, false) if steps.query.is_some() => {
            Some("MetadataExtraction processor can only be present when Dynamic Partitioning is enabled.")
        }
        _ => None,
    };
    if let Some(text) = problem {
        return Err(ApiError::invalid_argument(text));
    }
    if let Some(zone) = s3.time_zone {
        let unknown = |_| ApiError::invalid_argument(format!("CustomTimeZone {zone} is not a known time zone."));
        naming.time_zone = zone.parse::<Tz>().map_err(unknown)?;
    }
    naming.file_extension = s3.file_extension.map(str::to_owned);
    Ok(naming)
}

/// AWS's own texts stand alone; others tell the member.
fn naming_text(problem: NamingProblem) -> String {
    let member = match problem.member {
        NamingMember::Prefix => "Prefix",
        NamingMember::ErrorOutputPrefix => "ErrorOutputPrefix",
    };
    if problem.message.contains("supplied prefix(es)") {
        problem.message
    } else {
        format!("{member}: {}", problem.message)
    }
}

#[cfg(test)]
#[path = "create_tests.rs"]
#[expect(clippy::needless_pass_by_value, reason = "`json!` in place of an argument reads better without `&`")]
mod tests;
