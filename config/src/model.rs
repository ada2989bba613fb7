//! What a valid configuration is made of.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;
use hydrant_record::Timestamp;

use crate::destination::{Backup, Destination, OpenSearchDomain, S3Connection};
use crate::{DataStream, JqKeys, KinesisLimits, Policy, Prefix, Secret};

/// One valid YAML file. Only [`crate::load`] makes one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    pub data_dir: PathBuf,
    /// The operator's word that what is in there is encrypted at rest.
    pub data_dir_encrypted: bool,
    /// One ceiling for all buffers, in bytes.
    pub memory: u64,
    pub account: AccountId,
    pub api: SocketAddr,
    /// Of the API; `None` is plain HTTP.
    pub tls: Option<TlsFiles>,
    pub admin: SocketAddr,
    /// `None`: loopback only, any well-formed signature is accepted.
    pub credentials: Option<Vec<Credential>>,
    /// Inherited by every S3 destination and by streams made through the API.
    pub s3: Option<S3Connection>,
    /// What a Lambda ARN in an API request means here.
    pub lambda: BTreeMap<String, Plugin>,
    /// What a Glue table (`database.table`) in an API request means here.
    pub glue: BTreeMap<String, Schema>,
    /// What the ARN of a domain in an API request means here, and how the cluster behind an endpoint is reached.
    pub opensearch: BTreeMap<String, OpenSearchDomain>,
    /// Certificates in PEM that are trusted for HTTP endpoints and Splunk of API requests, beside those of the system.
    pub api_destinations_ca: Option<crate::Authorities>,
    pub limits: KinesisLimits,
    /// Kinesis data streams.
    pub streams: Vec<DataStream>,
    pub delivery_streams: Vec<DeliveryStream>,
}

/// Twelve digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountId(pub(crate) Arc<str>);

/// 1 to 64 of `[a-zA-Z0-9_.-]`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamName(pub(crate) Arc<str>);

/// PEM files of TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// With the intermediate ones behind it.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Clients must show a certificate signed by one of these.
    pub client_ca: Option<PathBuf>,
}

/// Who may call.
#[derive(Clone, Debug)]
pub struct Credential {
    pub access_key_id: String,
    pub secret_access_key: Secret,
    /// Every request must carry it, as those of temporary credentials do.
    pub session_token: Option<Secret>,
    pub policy: Policy,
}

impl Credential {
    /// One that may do everything.
    #[must_use]
    pub fn new(access_key_id: &str, secret_access_key: Secret) -> Credential {
        let access_key_id = access_key_id.to_owned();
        Credential { access_key_id, secret_access_key, session_token: None, policy: Policy::default() }
    }
}

/// A delivery stream whose parts fit together. [`DeliveryStream::new`] is the only way to one, for YAML and for the API.
#[derive(Clone, Debug)]
pub struct DeliveryStream(pub(crate) DeliveryStreamSpec);

impl Deref for DeliveryStream {
    type Target = DeliveryStreamSpec;
    fn deref(&self) -> &DeliveryStreamSpec {
        &self.0
    }
}

/// The parts of a delivery stream, each valid by itself.
#[derive(Clone, Debug)]
pub struct DeliveryStreamSpec {
    pub name: StreamName,
    /// Pinned region, or any that the client signs for.
    pub region: Option<String>,
    /// `None`: records are put.
    pub source: Option<StreamSource>,
    pub buffering: Buffering,
    pub log: LogPolicy,
    pub history: HistoryPolicy,
    /// Bytes of the log that may wait to be delivered; `None`: as the disk allows.
    pub backlog_max: Option<u64>,
    pub processing: Processing,
    pub partitioning: Option<Partitioning>,
    pub format: Format,
    pub destination: Destination,
    /// Always there for a destination that takes requests.
    pub backup: Option<Backup>,
    /// In object names; "1" until an update.
    pub version_id: u64,
}

/// The Kinesis stream of this machine that the records come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSource {
    pub name: String,
    pub start: SourceStart,
    /// Whether records that the Kinesis Producer Library has put together are taken apart.
    pub deaggregate: bool,
}

/// Where a new delivery stream begins. It is looked at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceStart {
    /// Behind what is there already.
    Latest,
    /// With the oldest record that is still there.
    TrimHorizon,
    /// With the first record that arrived then or later.
    At(Timestamp),
}

impl StreamSource {
    /// 1 to 128 of `[a-zA-Z0-9_.-]`.
    #[must_use]
    pub fn allows_name(text: &str) -> bool {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        (1..=128).contains(&text.len()) && text.bytes().all(allowed)
    }
}

/// What is wrong between the parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecProblem {
    /// YAML path below the delivery stream, such as `destination.s3.prefix`.
    pub path: &'static str,
    pub message: String,
    pub hint: Option<String>,
}

/// When a chunk is cut: whichever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffering {
    /// Bytes after the transform and before encoding.
    pub size: u64,
    /// Bytes of an object as it is sent.
    pub object_size: Option<u64>,
    /// Since the first record of the buffer.
    pub interval: Duration,
}

/// How records are kept in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPolicy {
    pub compression: LogCompression,
    /// Since a record arrived. Zero: until it is delivered.
    pub retention: Duration,
    /// Bytes of delivered records that are retained at most.
    pub size_max: u64,
    /// Otherwise `retention` and `size_max` hold only for what is delivered.
    pub expire_undelivered: bool,
}

impl Default for LogPolicy {
    /// What a delivery stream made through the API has, and one of the YAML without `log`.
    fn default() -> LogPolicy {
        LogPolicy {
            compression: LogCompression::None,
            retention: Duration::ZERO,
            size_max: 100 << 30,
            expire_undelivered: false,
        }
    }
}

/// How long is remembered which objects records went to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryPolicy {
    /// Since a chunk was delivered. Zero: nothing is remembered.
    pub retention: Duration,
    /// Bytes on the disk, of which the oldest go first.
    pub size_max: u64,
}

impl Default for HistoryPolicy {
    /// What a delivery stream made through the API has, and one of the YAML without `history`.
    fn default() -> HistoryPolicy {
        HistoryPolicy { retention: Duration::from_secs(7 * 86_400), size_max: 64 << 20 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogCompression {
    None,
    Lz4,
    Zstd,
}

#[derive(Clone, Debug, Default)]
pub struct Processing {
    /// How records that hold several are taken apart; `None`: they are not.
    pub deaggregate: Option<SubRecords>,
    /// In order; the second sees what the first answered.
    pub plugins: Vec<Plugin>,
    /// A newline after each record of a line format.
    pub append_delimiter: bool,
}

/// What stands in a record that holds several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubRecords {
    /// JSON objects, one behind the other.
    Json,
    /// Whatever is between delimiters.
    Delimited { delimiter: Vec<u8> },
}

impl SubRecords {
    /// Of a delimiter, in bytes.
    pub const DELIMITER_BYTES_MAX: usize = 1024;

    /// `None` unless the delimiter has 1 to 1,024 bytes.
    #[must_use]
    pub fn delimited(delimiter: Vec<u8>) -> Option<SubRecords> {
        let fits = (1..=SubRecords::DELIMITER_BYTES_MAX).contains(&delimiter.len());
        fits.then_some(SubRecords::Delimited { delimiter })
    }
}

/// One WASM plugin and its limits.
#[derive(Clone, Debug)]
pub struct Plugin {
    pub path: PathBuf,
    pub sha256: Option<[u8; 32]>,
    pub config: BTreeMap<String, String>,
    /// Bytes of linear memory.
    pub memory: u64,
    /// CPU time per batch.
    pub cpu_per_batch: Duration,
    pub on_error: OnError,
    /// The ARN it was named by in an API request.
    pub arn: Option<String>,
}

/// What a trap or an exceeded limit means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// The one record goes to the error output.
    FailRecord,
    /// The delivery stream waits, with an alarm, until the plugin is repaired.
    Stop,
}

#[derive(Clone, Debug)]
pub struct Partitioning {
    /// Keys by jq, if any.
    pub jq: Option<JqKeys>,
    pub partitions_max: u32,
}

#[derive(Clone, Debug)]
pub enum Format {
    Lines { compression: LineCompression },
    Parquet(Parquet),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineCompression {
    None,
    Gzip,
}

#[derive(Clone, Debug)]
pub struct Parquet {
    pub schema: Schema,
    pub compression: ParquetCompression,
    /// Bytes before encoding.
    pub row_group: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParquetCompression {
    None,
    Snappy,
    Gzip,
    Zstd,
    Lz4,
}

/// Columns in the order they were written; names are lower case and distinct; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    pub(crate) columns: Vec<Column>,
}

impl Schema {
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub kind: ColumnKind,
}

/// Glue's names. All columns are optional.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    Boolean,
    Tinyint,
    Smallint,
    Int,
    Bigint,
    Float,
    Double,
    String,
    Binary,
    Date,
    Timestamp,
    Decimal { precision: u8, scale: i8 },
}

/// How objects and error objects are called.
#[derive(Clone, Debug)]
pub struct Naming {
    pub prefix: Prefix,
    pub error_output_prefix: Prefix,
    pub time_zone: Tz,
    /// Replaces the format's own extension; begins with a dot.
    pub file_extension: Option<String>,
}

impl StreamName {
    #[must_use]
    pub fn parse(text: &str) -> Option<StreamName> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        ((1..=64).contains(&text.len()) && text.bytes().all(allowed)).then(|| StreamName(text.into()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl AccountId {
    #[must_use]
    pub fn parse(text: &str) -> Option<AccountId> {
        (text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| AccountId(text.into()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
