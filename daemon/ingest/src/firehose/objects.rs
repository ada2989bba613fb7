//! A bucket as a destination and as a backup: what the members of its configuration mean here.

use chrono_tz::Tz;
use hydrant_config::{
    Backup, BackupRecords, Buffering, Destination, Format, JqKeys, LineCompression, Naming, NamingMember,
    NamingProblem, ObjectStore, Partitioning, Place, Processing, S3Options,
};

use super::destination::{Parts, hints};
use super::processing::Steps;
use super::s3::S3Destination;
use super::{Mappings, unsupported_but};
use crate::ApiError;

/// AWS's default quota of active partitions.
const PARTITIONS_MAX: u32 = 500;

pub(super) fn parts(s3: &S3Destination<'_>, mappings: &Mappings) -> Result<Parts, ApiError> {
    refuse_unbuilt(s3)?;
    let format = format(s3, mappings)?;
    let buffering = buffering(s3)?;
    let steps = s3.processing.steps(mappings)?;
    let naming = naming(s3, &steps)?;
    let jq = steps.query.map(JqKeys::from_query).transpose();
    let jq =
        jq.map_err(|error| ApiError::invalid_argument(format!("MetadataExtractionQuery is not valid: {error}")))?;
    let place = place(s3, mappings)?;
    let backup = match (&s3.backup, s3.backs_up) {
        (Some(store), true) => Some(backup(store, BackupRecords::All, mappings)?),
        (None, true) => {
            return Err(ApiError::invalid_argument(
                "S3BackupConfiguration must be given when S3BackupMode is Enabled.",
            ));
        }
        (_, false) => None,
    };
    Ok(Parts {
        buffering,
        processing: Processing {
            deaggregate: steps.deaggregate,
            plugins: steps.plugin.into_iter().collect(),
            append_delimiter: steps.append_delimiter,
        },
        partitioning: s3.partitioned.then_some(Partitioning { jq, partitions_max: PARTITIONS_MAX }),
        format,
        destination: Destination::Objects(ObjectStore { place, naming }),
        backup,
    })
}

/// A bucket beside the destination. Its objects are written together with what the destination gets, so its buffer is the
/// destination's; its own hints are checked, kept and described.
pub(super) fn backup(s3: &S3Destination<'_>, records: BackupRecords, mappings: &Mappings) -> Result<Backup, ApiError> {
    refuse_unbuilt(s3)?;
    hints((s3.size_mib, s3.interval_s), (5, 300))?;
    if s3.interval_s.is_some_and(|interval| interval < 60) {
        return Err(ApiError::invalid_argument(
            "BufferingHints.IntervalInSeconds must be at least 60 seconds for the bucket of a backup.",
        ));
    }
    let naming = naming(s3, &Steps::default())?;
    Ok(Backup { records, compression: compression(s3), store: ObjectStore { place: place(s3, mappings)?, naming } })
}

pub(super) fn compression(s3: &S3Destination<'_>) -> LineCompression {
    if s3.compression == "GZIP" { LineCompression::Gzip } else { LineCompression::None }
}

fn place(s3: &S3Destination<'_>, mappings: &Mappings) -> Result<Place, ApiError> {
    let connection = mappings.s3.clone().ok_or_else(|| {
        ApiError::invalid_argument(format!(
            "There is no store for the bucket {} here; add `s3: {{ endpoint: …, access_key_id: …, secret_access_key: … }}` \
             to the configuration",
            s3.bucket
        ))
    })?;
    Ok(Place::S3 { bucket: s3.bucket.to_owned(), connection, options: S3Options::default() })
}

fn refuse_unbuilt(s3: &S3Destination<'_>) -> Result<(), ApiError> {
    if s3.encrypted {
        return Err(unsupported_but(
            "EncryptionConfiguration.KMSEncryptionConfig",
            "give NoEncryptionConfig, and let the bucket encrypt what is put into it",
        ));
    }
    refuse_logging(s3.logging)?;
    if !matches!(s3.compression, "UNCOMPRESSED" | "GZIP") {
        return Err(unsupported_but(&format!("CompressionFormat {}", s3.compression), "use GZIP or UNCOMPRESSED"));
    }
    Ok(())
}

pub(super) fn refuse_logging(asked: bool) -> Result<(), ApiError> {
    let next = "leave it out: Hydrant tells errors in its own log and metrics";
    if asked { Err(unsupported_but("CloudWatchLoggingOptions.Enabled true", next)) } else { Ok(()) }
}

fn format(s3: &S3Destination<'_>, mappings: &Mappings) -> Result<Format, ApiError> {
    let Some(conversion) = &s3.conversion else {
        return Ok(Format::Lines { compression: compression(s3) });
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
    let buffering = hints((s3.size_mib, s3.interval_s), (if large { 128 } else { 5 }, 300))?;
    if s3.partitioned && s3.size_mib.is_some_and(|size| size < 64) {
        return Err(ApiError::invalid_argument(
            "BufferingHints.SizeInMBs must be at least 64 when Dynamic Partitioning is enabled.",
        ));
    }
    if s3.partitioned && s3.interval_s.is_some_and(|interval| interval < 60) {
        return Err(ApiError::invalid_argument(
            "BufferingHints.IntervalInSeconds must be at least 60 seconds when Dynamic Partitioning is enabled.",
        ));
    }
    Ok(buffering)
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
        (false, false) if steps.deaggregate.is_some() => {
            Some("RecordDeAggregation processor can only be present when Dynamic Partitioning is enabled.")
        }
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
