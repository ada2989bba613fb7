//! The shape of an S3 destination, plain or extended: types and constraints only, not yet what they mean here.

use super::conversion::Conversion;
use super::processing::Processing;
use crate::ApiError;
use crate::shape::{Shape, Violations};

const ROLE_PATTERN: &str = r"arn:.*:iam::\d{12}:role/[a-zA-Z_0-9+=,.@\-_/]+";
const BUCKET_PATTERN: &str = r"arn:.*:s3:::[\w\.\-]{1,255}";
const COMPRESSIONS: [&str; 5] = ["ZIP", "HADOOP_SNAPPY", "Snappy", "GZIP", "UNCOMPRESSED"];

/// An S3 destination of which every member is well-formed by itself.
#[derive(Debug, Default)]
pub(super) struct S3Destination<'a> {
    pub(super) bucket: &'a str,
    pub(super) prefix: Option<&'a str>,
    pub(super) error_output_prefix: Option<&'a str>,
    pub(super) size_mib: Option<i64>,
    pub(super) interval_s: Option<i64>,
    pub(super) compression: &'a str,
    pub(super) encrypted: bool,
    pub(super) logging: bool,
    /// Whether every record goes to the backup, too.
    pub(super) backs_up: bool,
    pub(super) backup: Option<Box<S3Destination<'a>>>,
    /// Of dynamic partitioning: seconds to repeat a delivery for.
    pub(super) retry_s: Option<i64>,
    pub(super) partitioned: bool,
    pub(super) processing: Processing<'a>,
    pub(super) conversion: Option<Conversion<'a>>,
    pub(super) file_extension: Option<&'a str>,
    pub(super) time_zone: Option<&'a str>,
}

impl<'a> S3Destination<'a> {
    pub(super) fn of(shape: &Shape<'a>, extended: bool, to: &mut Violations) -> Result<S3Destination<'a>, ApiError> {
        let mut s3 = S3Destination { bucket: arns(shape, to)?, ..S3Destination::default() };
        s3.prefix = text(shape, "Prefix", 0..=1024, to)?;
        s3.error_output_prefix = text(shape, "ErrorOutputPrefix", 0..=1024, to)?;
        if let Some(hints) = shape.part("BufferingHints")? {
            s3.size_mib = integer(&hints, "SizeInMBs", 1..=128, to)?;
            s3.interval_s = integer(&hints, "IntervalInSeconds", 0..=900, to)?;
        }
        s3.compression = choice(shape, "CompressionFormat", &COMPRESSIONS, to)?.unwrap_or("UNCOMPRESSED");
        s3.encrypted = encryption(shape, to)?;
        s3.logging = logging(shape)?;
        if extended {
            s3.extend(shape, to)?;
        }
        Ok(s3)
    }

    fn extend(&mut self, shape: &Shape<'a>, to: &mut Violations) -> Result<(), ApiError> {
        self.backs_up = choice(shape, "S3BackupMode", &["Disabled", "Enabled"], to)? == Some("Enabled");
        let backup = shape.part("S3BackupConfiguration")?;
        self.backup = backup.map(|part| S3Destination::of(&part, false, to).map(Box::new)).transpose()?;
        if let Some(partitioning) = shape.part("DynamicPartitioningConfiguration")? {
            self.partitioned = partitioning.flag("Enabled")?.unwrap_or(false);
            if let Some(retry) = partitioning.part("RetryOptions")? {
                self.retry_s = integer(&retry, "DurationInSeconds", 0..=7200, to)?;
            }
        }
        self.processing = Processing::of(shape, to)?;
        self.conversion = Conversion::of(shape, to)?;
        self.file_extension = text(shape, "FileExtension", 0..=128, to)?.filter(|text| !text.is_empty());
        if let Some(extension) = self.file_extension {
            let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "!-_.*'()".contains(c);
            let fits = extension.strip_prefix('.').is_some_and(|rest| !rest.is_empty() && rest.chars().all(letter));
            to.pattern(&shape.at("FileExtension"), extension, (r"^$|\.[0-9a-z!\-_.*'()]+", fits));
        }
        self.time_zone = text(shape, "CustomTimeZone", 0..=50, to)?.filter(|text| !text.is_empty());
        if let Some(zone) = self.time_zone {
            let fits = zone.chars().all(|c| c.is_ascii_alphabetic() || matches!(c, '/' | '_'));
            to.pattern(&shape.at("CustomTimeZone"), zone, ("^$|[a-zA-Z/_]+", fits));
        }
        Ok(())
    }
}

/// A role that must be there. Nothing asks for it here; it is described back.
pub(super) fn role(shape: &Shape<'_>, to: &mut Violations) -> Result<(), ApiError> {
    to.required(shape, "RoleARN", shape.text("RoleARN")?);
    role_if_given(shape, to)
}

pub(super) fn role_if_given(shape: &Shape<'_>, to: &mut Violations) -> Result<(), ApiError> {
    if let Some(role) = text(shape, "RoleARN", 1..=512, to)? {
        to.pattern(&shape.at("RoleARN"), role, (ROLE_PATTERN, is_role(role)));
    }
    Ok(())
}

/// Whether errors are to be told to CloudWatch.
pub(super) fn logging(shape: &Shape<'_>) -> Result<bool, ApiError> {
    let Some(options) = shape.part("CloudWatchLoggingOptions")? else { return Ok(false) };
    Ok(options.flag("Enabled")?.unwrap_or(false))
}

/// The bucket's name.
fn arns<'a>(shape: &Shape<'a>, to: &mut Violations) -> Result<&'a str, ApiError> {
    role(shape, to)?;
    let Some(arn) = to.required(shape, "BucketARN", shape.text("BucketARN")?) else { return Ok("") };
    let at = shape.at("BucketARN");
    to.length(&at, arn, 1..=2048);
    let bucket = arn.starts_with("arn:").then(|| arn.split_once(":s3:::")).flatten().map(|(_, bucket)| bucket);
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let fits = |bucket: &&str| (1..=255).contains(&bucket.len()) && bucket.chars().all(letter);
    let bucket = bucket.filter(fits);
    to.pattern(&at, arn, (BUCKET_PATTERN, bucket.is_some()));
    Ok(bucket.unwrap_or_default())
}

pub(super) fn is_role(arn: &str) -> bool {
    let parts = arn.strip_prefix("arn:").and_then(|rest| rest.split_once(":iam::"));
    let Some((account, role)) = parts.and_then(|(_, rest)| rest.split_once(":role/")) else { return false };
    let letter = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-/".contains(c);
    account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit()) && !role.is_empty() && role.chars().all(letter)
}

/// Whether encryption by a key is asked for.
fn encryption(shape: &Shape<'_>, to: &mut Violations) -> Result<bool, ApiError> {
    let Some(configuration) = shape.part("EncryptionConfiguration")? else { return Ok(false) };
    choice(&configuration, "NoEncryptionConfig", &["NoEncryption"], to)?;
    let Some(kms) = configuration.part("KMSEncryptionConfig")? else { return Ok(false) };
    to.required(&kms, "AWSKMSKeyARN", kms.text("AWSKMSKeyARN")?);
    Ok(true)
}

pub(super) fn text<'a>(
    shape: &Shape<'a>,
    member: &str,
    allowed: std::ops::RangeInclusive<usize>,
    to: &mut Violations,
) -> Result<Option<&'a str>, ApiError> {
    let value = shape.text(member)?;
    if let Some(value) = value {
        to.length(&shape.at(member), value, allowed);
    }
    Ok(value)
}

pub(super) fn integer(
    shape: &Shape<'_>,
    member: &str,
    allowed: std::ops::RangeInclusive<i64>,
    to: &mut Violations,
) -> Result<Option<i64>, ApiError> {
    let value = shape.integer(member)?;
    if let Some(value) = value {
        to.range(&shape.at(member), value, allowed);
    }
    Ok(value)
}

pub(super) fn choice<'a>(
    shape: &Shape<'a>,
    member: &str,
    allowed: &[&str],
    to: &mut Violations,
) -> Result<Option<&'a str>, ApiError> {
    let value = shape.text(member)?;
    if let Some(value) = value {
        to.choice(&shape.at(member), value, allowed);
    }
    Ok(value)
}
