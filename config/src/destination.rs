//! Where records go, and where what a destination does not take goes instead.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::Secret;
use crate::model::{DeliveryStreamSpec, LineCompression, Naming};

/// Where the records of a delivery stream go: as objects, or in requests to a server that takes records.
#[expect(clippy::large_enum_variant, reason = "there is one for each delivery stream, and it stays where it is")]
#[derive(Clone, Debug)]
pub enum Destination {
    Objects(ObjectStore),
    HttpEndpoint(HttpEndpoint),
    OpenSearch(OpenSearch),
    Splunk(Splunk),
}

impl Destination {
    /// The store, if records go out as objects.
    #[must_use]
    pub fn objects(&self) -> Option<&ObjectStore> {
        match self {
            Destination::Objects(store) => Some(store),
            Destination::HttpEndpoint(_) | Destination::OpenSearch(_) | Destination::Splunk(_) => None,
        }
    }

    /// How long a request is tried before its records go to the backup. `None` for objects, which are tried for ever.
    #[must_use]
    pub fn retry(&self) -> Option<Duration> {
        match self {
            Destination::Objects(_) => None,
            Destination::HttpEndpoint(endpoint) => Some(endpoint.retry),
            Destination::OpenSearch(search) => Some(search.retry),
            Destination::Splunk(splunk) => Some(splunk.retry),
        }
    }

    /// The key of the YAML file: `file`, `s3`, `http_endpoint`, …
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Destination::Objects(store) => store.place.kind(),
            Destination::HttpEndpoint(_) => "http_endpoint",
            Destination::OpenSearch(_) => "opensearch",
            Destination::Splunk(_) => "splunk",
        }
    }
}

/// Objects under names.
#[derive(Clone, Debug)]
pub struct ObjectStore {
    pub place: Place,
    pub naming: Naming,
}

/// Where objects are kept.
#[expect(clippy::large_enum_variant, reason = "there is one for each delivery stream, and it stays where it is")]
#[derive(Clone, Debug)]
pub enum Place {
    File { directory: PathBuf },
    S3 { bucket: String, connection: S3Connection, options: S3Options },
}

impl Place {
    /// The key of the YAML file.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Place::File { .. } => "file",
            Place::S3 { .. } => "s3",
        }
    }
}

/// How an S3-compatible store is reached. `None` of endpoint means AWS itself; `None` of keys means the ordinary chain.
#[derive(Clone, Debug)]
pub struct S3Connection {
    pub endpoint: Option<url::Url>,
    pub region: String,
    pub keys: Option<S3Keys>,
    /// A section of a shared credentials file, which is read anew for every request. Only without keys.
    pub profile: Option<Profile>,
    pub ca: Option<Authorities>,
    /// `endpoint/bucket/key` instead of `bucket.endpoint/key`. Default: true with an endpoint.
    pub path_style: bool,
}

/// Static credentials.
#[derive(Clone, Debug)]
pub struct S3Keys {
    pub access_key_id: Secret,
    pub secret_access_key: Secret,
    pub session_token: Option<Secret>,
}

/// A section of a file in the form of `~/.aws/credentials`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    pub name: String,
    pub file: PathBuf,
}

/// What the store is told about each object. `None` leaves it to the bucket.
#[derive(Clone, Debug, Default)]
pub struct S3Options {
    pub encryption: Option<ServerSideEncryption>,
    /// By AWS's name, or the store's own.
    pub storage_class: Option<String>,
    /// A canned ACL by AWS's name.
    pub acl: Option<&'static str>,
    pub tags: BTreeMap<String, String>,
    /// Make the bucket if there is none.
    pub create_bucket: bool,
}

/// Who encrypts an object in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerSideEncryption {
    /// The store, with keys of its own.
    Aes256,
    /// A key management service. `None`: its default key.
    Kms { key_id: Option<String> },
}

/// Certificates of authorities that are trusted beside those of the system.
#[derive(Clone, Debug)]
pub struct Authorities {
    pub path: PathBuf,
    /// What stood in the file when it was loaded.
    pub pem: Arc<[u8]>,
}

/// A server that speaks Firehose's HTTP endpoint protocol.
#[derive(Clone, Debug)]
pub struct HttpEndpoint {
    /// Called as it is written, query included.
    pub url: Url,
    pub access_key: Option<Secret>,
    pub common_attributes: BTreeMap<String, String>,
    pub content_encoding: ContentEncoding,
    pub retry: Duration,
    /// From the first byte of a request to the last one of its answer.
    pub request_timeout: Duration,
    pub ca: Option<Authorities>,
    /// The ARN that the server is told.
    pub source_arn: String,
}

impl HttpEndpoint {
    /// A URL that is called as it is. It holds no secret: that goes into the access key.
    #[must_use]
    pub fn parse_url(text: &str) -> Option<Url> {
        let url = Url::parse(text).ok()?;
        let web = matches!(url.scheme(), "http" | "https") && url.host().is_some();
        let anonymous = url.username().is_empty() && url.password().is_none();
        (web && anonymous && url.fragment().is_none()).then_some(url)
    }

    /// What may stand in a header.
    #[must_use]
    pub fn allows_access_key(text: &str) -> bool {
        text.len() <= 4096 && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
    }
}

/// Of the body of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentEncoding {
    None,
    Gzip,
}

/// OpenSearch or Elasticsearch. Each record is one document.
#[derive(Clone, Debug)]
pub struct OpenSearch {
    pub endpoint: Url,
    /// Before the rotation's suffix.
    pub index: String,
    pub rotation: IndexRotation,
    /// `_type`, which servers of today refuse.
    pub type_name: Option<String>,
    pub document_id: DocumentId,
    pub login: Option<Login>,
    pub ca: Option<Authorities>,
    pub retry: Duration,
    /// Bytes of one bulk request at most, unless a single document is larger.
    pub request_size: u64,
    /// From the first byte of a request to the last one of its answer.
    pub request_timeout: Duration,
}

impl OpenSearch {
    /// A URL that paths are put behind.
    #[must_use]
    pub fn parse_endpoint(text: &str) -> Option<Url> {
        HttpEndpoint::parse_url(text).filter(|url| url.query().is_none())
    }

    /// By the servers' own rules, and short enough for a rotation's suffix.
    #[must_use]
    pub fn allows_index(text: &str) -> bool {
        let refused = |c: char| c.is_uppercase() || c.is_whitespace() || c.is_control() || "\\/*?\"<>|,#:".contains(c);
        (1..=80).contains(&text.len()) && !text.contains(refused) && !text.starts_with(['-', '_', '+', '.'])
    }
}

/// What is appended to the name of an index, from the arrival of a record in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexRotation {
    None,
    OneHour,
    OneDay,
    OneWeek,
    OneMonth,
}

/// Who names a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentId {
    /// Hydrant, from what the record is: a repeat finds it there.
    Default,
    /// The server: a repeat makes another document.
    None,
}

/// By HTTP's basic authentication.
#[derive(Clone, Debug)]
pub struct Login {
    pub user: String,
    pub password: Secret,
}

/// A cluster as delivery streams reach it that are made through the API.
#[derive(Clone, Debug)]
pub struct OpenSearchDomain {
    pub endpoint: Url,
    pub login: Option<Login>,
    pub ca: Option<Authorities>,
}

/// Splunk's HTTP event collector, with indexer acknowledgement.
#[derive(Clone, Debug)]
pub struct Splunk {
    pub endpoint: Url,
    pub token: Secret,
    pub endpoint_type: SplunkEndpoint,
    /// How long an attempt waits for the indexer's acknowledgement.
    pub ack_timeout: Duration,
    pub retry: Duration,
    pub ca: Option<Authorities>,
}

impl Splunk {
    /// The collector without `/services/collector`.
    #[must_use]
    pub fn parse_endpoint(text: &str) -> Option<Url> {
        OpenSearch::parse_endpoint(text)
    }
}

/// What the collector takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SplunkEndpoint {
    /// Bytes, which Splunk breaks into events.
    Raw,
    /// HEC event objects in JSON.
    Event,
}

/// What is kept beside what is delivered.
#[derive(Clone, Debug)]
pub struct Backup {
    pub records: BackupRecords,
    /// Of the objects that hold records as they arrived.
    pub compression: LineCompression,
    pub store: ObjectStore,
}

/// Which records go to the backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackupRecords {
    /// Those that the destination did not take, as error records.
    Failed,
    /// Those, and every record as it arrived.
    All,
}

impl DeliveryStreamSpec {
    /// Where error objects go: the store itself, or the backup of a destination that takes requests.
    #[must_use]
    pub fn error_store(&self) -> &ObjectStore {
        match (&self.destination, &self.backup) {
            (Destination::Objects(store), _) => store,
            (_, Some(backup)) => &backup.store,
            (_, None) => {
                unreachable!("`DeliveryStream::new` refuses a destination that takes requests without a backup")
            }
        }
    }
}
