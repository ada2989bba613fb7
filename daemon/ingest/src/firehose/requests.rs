//! What all destinations have in common that take requests: a buffer, retries, processing, and a bucket for what they refuse.

use std::ops::RangeInclusive;
use std::time::Duration;

use hydrant_config::{BackupRecords, Destination, Format, Processing as Processors};

use super::destination::{Parts, hints};
use super::processing::Processing;
use super::s3::{self, S3Destination};
use super::{Mappings, objects, unsupported_but};
use crate::ApiError;
use crate::shape::{Shape, Violations};

/// AWS's bounds and defaults of one kind of destination.
#[derive(Debug)]
pub(super) struct Usual {
    pub(super) sizes_mib: RangeInclusive<i64>,
    pub(super) intervals_s: RangeInclusive<i64>,
    pub(super) size_mib: i64,
    pub(super) interval_s: i64,
    pub(super) retry_s: i64,
    /// `S3BackupMode`: failed records, or all.
    pub(super) modes: [&'static str; 2],
    /// Where a secret stands that the secrets manager could keep.
    pub(super) secret: &'static str,
}

#[derive(Debug)]
pub(super) struct Requests<'a> {
    usual: &'static Usual,
    size_mib: Option<i64>,
    interval_s: Option<i64>,
    retry_s: Option<i64>,
    backs_up_all: bool,
    backup: S3Destination<'a>,
    processing: Processing<'a>,
    logging: bool,
    secrets_manager: bool,
}

impl<'a> Requests<'a> {
    pub(super) fn of(shape: &Shape<'a>, usual: &'static Usual, to: &mut Violations) -> Result<Requests<'a>, ApiError> {
        let (mut size_mib, mut interval_s, mut retry_s) = (None, None, None);
        if let Some(hints) = shape.part("BufferingHints")? {
            size_mib = s3::integer(&hints, "SizeInMBs", usual.sizes_mib.clone(), to)?;
            interval_s = s3::integer(&hints, "IntervalInSeconds", usual.intervals_s.clone(), to)?;
        }
        if let Some(retry) = shape.part("RetryOptions")? {
            retry_s = s3::integer(&retry, "DurationInSeconds", 0..=7200, to)?;
        }
        let mode = s3::choice(shape, "S3BackupMode", &usual.modes, to)?;
        let part = shape.part("S3Configuration")?;
        let backup = match to.required(shape, "S3Configuration", part) {
            Some(part) => S3Destination::of(&part, false, to)?,
            None => S3Destination::default(),
        };
        let mut secrets_manager = false;
        if let Some(part) = shape.part("SecretsManagerConfiguration")? {
            secrets_manager = to.required(&part, "Enabled", part.flag("Enabled")?).unwrap_or(false);
        }
        Ok(Requests {
            usual,
            size_mib,
            interval_s,
            retry_s,
            backs_up_all: mode == Some(usual.modes[1]),
            backup,
            processing: Processing::of(shape, to)?,
            logging: s3::logging(shape)?,
            secrets_manager,
        })
    }

    /// How long a request is tried.
    pub(super) fn retry(&self) -> Duration {
        Duration::from_secs(u64::try_from(self.retry_s.unwrap_or(self.usual.retry_s)).unwrap_or_default())
    }

    /// What is refused whatever else is given.
    pub(super) fn refuse_unbuilt(&self) -> Result<(), ApiError> {
        objects::refuse_logging(self.logging)?;
        if self.secrets_manager {
            let next = format!("there is no secrets manager here, so give {}", self.usual.secret);
            return Err(unsupported_but("SecretsManagerConfiguration.Enabled true", &next));
        }
        Ok(())
    }

    pub(super) fn parts(&self, destination: Destination, mappings: &Mappings) -> Result<Parts, ApiError> {
        self.refuse_unbuilt()?;
        let usual = (self.usual.size_mib, self.usual.interval_s);
        let buffering = hints((self.size_mib, self.interval_s), usual)?;
        let steps = self.processing.steps(mappings)?;
        if steps.query.is_some() {
            return Err(ApiError::invalid_argument(
                "MetadataExtraction processor can only be present when Dynamic Partitioning is enabled.",
            ));
        }
        let records = if self.backs_up_all { BackupRecords::All } else { BackupRecords::Failed };
        Ok(Parts {
            buffering,
            processing: Processors {
                // Refused, since there are no partitions.
                deaggregate: steps.deaggregate,
                plugins: steps.plugin.into_iter().collect(),
                append_delimiter: steps.append_delimiter,
            },
            partitioning: None,
            // Of the error records, which are in the backup.
            format: Format::Lines { compression: objects::compression(&self.backup) },
            destination,
            backup: Some(objects::backup(&self.backup, records, mappings)?),
        })
    }
}
