//! Where records go: objects, the servers that take requests, and the backup.

use std::collections::BTreeMap;

use chrono_tz::Tz;
use url::Url;

use super::sections;
use crate::destination::{
    Backup, BackupRecords, ContentEncoding, Destination, DocumentId, HttpEndpoint, IndexRotation, Login, ObjectStore,
    OpenSearch, OpenSearchDomain, Place, S3Connection, S3Options, ServerSideEncryption, Splunk, SplunkEndpoint,
};
use crate::model::{AccountId, Format, LineCompression, Naming, StreamName};
use crate::naming::{NamingMember, NamingProblem};
use crate::raw::{Fields, Kind, Reader, Value};

/// As at AWS.
const ATTRIBUTES_MAX: usize = 50;
const TAGS_MAX: usize = 10;
/// In the ARN of a delivery stream that answers whatever region its clients sign for.
const REGION: &str = "us-east-1";

/// What a delivery stream is called outside.
pub(super) struct Own<'a> {
    pub(super) account: &'a AccountId,
    pub(super) region: Option<&'a str>,
    /// `None` if it is wrong: then there will be no destination either.
    pub(super) name: Option<&'a StreamName>,
}

impl Own<'_> {
    fn arn(&self) -> String {
        let (account, region) = (self.account.as_str(), self.region.unwrap_or(REGION));
        let name = self.name.map_or("", StreamName::as_str);
        format!("arn:aws:firehose:{region}:{account}:deliverystream/{name}")
    }
}

pub(super) fn destination(
    fields: &Fields<'_>,
    reader: &mut Reader<'_>,
    partitioned: bool,
    (s3, own): (Option<&S3Connection>, &Own<'_>),
) -> Option<Destination> {
    let (kind, section) = fields.choice(reader, "destination")?;
    match kind {
        "http_endpoint" => http_endpoint(&section, reader, own).map(Destination::HttpEndpoint),
        "opensearch" => opensearch(&section, reader).map(Destination::OpenSearch),
        "splunk" => splunk(&section, reader).map(Destination::Splunk),
        _ => object_store(kind, &section, reader, (partitioned, s3)).map(Destination::Objects),
    }
}

/// Outer `None`: wrong. Inner `None`: absent.
pub(super) fn backup(
    fields: &Fields<'_>,
    reader: &mut Reader<'_>,
    (s3, format): (Option<&S3Connection>, Option<&Format>),
) -> Option<Option<Backup>> {
    if fields.place_of("backup").is_none() {
        fields.take(reader, "backup");
        return Some(None);
    }
    let section = fields.section(reader, "backup")?;
    let records = match section.word(reader, "records") {
        "all" => BackupRecords::All,
        _ => BackupRecords::Failed,
    };
    let (kind, below) = section.one_of(reader, &["file", "s3"])?;
    let store = object_store(kind, &below, reader, (false, s3))?;
    let compression = match format {
        Some(Format::Lines { compression }) => *compression,
        Some(Format::Parquet(_)) | None => LineCompression::None,
    };
    Some(Some(Backup { records, compression, store }))
}

fn object_store(
    kind: &str,
    section: &Fields<'_>,
    reader: &mut Reader<'_>,
    (partitioned, s3): (bool, Option<&S3Connection>),
) -> Option<ObjectStore> {
    let place = if kind == "file" {
        section.path(reader, "directory").map(|directory| Place::File { directory })
    } else {
        let bucket = section.parsed(reader, "bucket", parse_bucket);
        let connection = sections::connection(section, reader, s3);
        let options = s3_options(section, reader);
        bucket.map(|bucket| Place::S3 { bucket, connection, options })
    };
    let naming = naming(section, reader, partitioned);
    Some(ObjectStore { place: place?, naming: naming? })
}

/// What each object is stored with.
fn s3_options(section: &Fields<'_>, reader: &mut Reader<'_>) -> S3Options {
    let encryption = section.word(reader, "server_side_encryption");
    let key_id = section.parsed(reader, "kms_key_id", |text| {
        let valid = (1..=2048).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'!'..=b'~'));
        if valid { Ok(text.to_owned()) } else { Err(String::new()) }
    });
    if let (Some(at), false) = (section.place_of("kms_key_id"), encryption == "aws:kms") {
        let path = format!("{}.kms_key_id", section.path);
        let hint = Some("add `server_side_encryption: aws:kms`, or remove the key".to_owned());
        reader.findings.problem(Some(at), &path, "only `aws:kms` takes a key id", hint);
    }
    let encryption = match encryption {
        "AES256" => Some(ServerSideEncryption::Aes256),
        "aws:kms" => Some(ServerSideEncryption::Kms { key_id }),
        _ => None,
    };
    let storage_class = section.parsed(reader, "storage_class", |text| {
        let allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        let valid = (1..=64).contains(&text.len()) && text.bytes().all(allowed);
        if valid { Ok(text.to_owned()) } else { Err("AWS's name in capitals, such as `STANDARD_IA`".to_owned()) }
    });
    let acl = Some(section.word(reader, "acl")).filter(|acl| *acl != "none");
    let tags = tags(section, reader);
    let create_bucket = section.boolean(reader, "create_bucket").unwrap_or(false);
    S3Options { encryption, storage_class, acl, tags, create_bucket }
}

fn tags(section: &Fields<'_>, reader: &mut Reader<'_>) -> BTreeMap<String, String> {
    let Some(map) = section.take(reader, "tags") else { return BTreeMap::new() };
    let entries = map.entries(reader);
    if entries.len() > TAGS_MAX {
        reader.problem(&map, format!("must be at most {TAGS_MAX} tags, got {}", entries.len()), "");
    }
    let mut tags = BTreeMap::new();
    for (entry, value) in entries {
        let Some(text) = value.text(reader) else { continue };
        let allowed = |c: char| c.is_alphanumeric() || " +-=._:/@".contains(c);
        let short = (1..=128).contains(&entry.key.chars().count()) && text.chars().count() <= 256;
        if !short || !entry.key.chars().chain(text.chars()).all(allowed) {
            let message = "must be a name of 1 to 128 and a value of up to 256 letters, digits, blanks and `+-=._:/@`";
            reader.problem(&value, message, "");
        }
        tags.insert(entry.key.clone(), text);
    }
    tags
}

fn parse_bucket(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let valid = (1..=255).contains(&text.len()) && text.bytes().all(allowed) && text != "." && text != "..";
    if valid { Ok(text.to_owned()) } else { Err("the name alone; what follows it belongs into `prefix`".to_owned()) }
}

fn http_endpoint(section: &Fields<'_>, reader: &mut Reader<'_>, own: &Own<'_>) -> Option<HttpEndpoint> {
    let url = section.parsed(reader, "url", parse_url);
    let access_key = access_key(section, reader);
    let common_attributes = common_attributes(section, reader);
    let content_encoding = match section.word(reader, "content_encoding") {
        "gzip" => ContentEncoding::Gzip,
        _ => ContentEncoding::None,
    };
    let retry = section.duration(reader, "retry");
    let request_timeout = section.duration(reader, "request_timeout");
    let ca = sections::authorities(section, reader, "ca");
    let source_arn = own.arn();
    Some(HttpEndpoint {
        url: url?,
        access_key,
        common_attributes,
        content_encoding,
        retry,
        request_timeout,
        ca,
        source_arn,
    })
}

fn access_key(section: &Fields<'_>, reader: &mut Reader<'_>) -> Option<crate::Secret> {
    let secret = section.secret(reader, "access_key")?;
    if !HttpEndpoint::allows_access_key(secret.reveal()) {
        let path = format!("{}.access_key", section.path);
        let message = "must be at most 4096 printable ASCII characters, for it goes into a header";
        let hint = Some("check what the reference points to".to_owned());
        reader.findings.problem(section.place_of("access_key"), &path, message, hint);
    }
    Some(secret)
}

fn common_attributes(section: &Fields<'_>, reader: &mut Reader<'_>) -> BTreeMap<String, String> {
    let Some(map) = section.take(reader, "common_attributes") else { return BTreeMap::new() };
    let entries = map.entries(reader);
    if entries.len() > ATTRIBUTES_MAX {
        reader.problem(&map, format!("must be at most {ATTRIBUTES_MAX} attributes, got {}", entries.len()), "");
    }
    let mut attributes = BTreeMap::new();
    for (entry, value) in entries {
        let Some(text) = value.text(reader) else { continue };
        if !(1..=256).contains(&entry.key.chars().count()) || text.chars().count() > 1024 {
            let message = "must be a name of 1 to 256 characters and a value of up to 1024";
            reader.problem(&value, message, "");
        }
        attributes.insert(entry.key.clone(), text);
    }
    attributes
}

fn opensearch(section: &Fields<'_>, reader: &mut Reader<'_>) -> Option<OpenSearch> {
    let endpoint = section.parsed(reader, "endpoint", parse_base);
    let index = section.parsed(reader, "index", parse_index);
    let rotation = match section.word(reader, "index_rotation") {
        "one_hour" => IndexRotation::OneHour,
        "one_day" => IndexRotation::OneDay,
        "one_week" => IndexRotation::OneWeek,
        "one_month" => IndexRotation::OneMonth,
        _ => IndexRotation::None,
    };
    let type_name = section.parsed(reader, "type_name", |text| {
        if (1..=100).contains(&text.len()) { Ok(text.to_owned()) } else { Err(String::new()) }
    });
    let document_id = match section.word(reader, "document_id") {
        "no_document_id" => DocumentId::None,
        _ => DocumentId::Default,
    };
    let login = login(section, reader);
    let ca = sections::authorities(section, reader, "ca");
    let retry = section.duration(reader, "retry");
    let request_size = section.size(reader, "request_size");
    let request_timeout = section.duration(reader, "request_timeout");
    let (endpoint, index) = (endpoint?, index?);
    Some(OpenSearch {
        endpoint,
        index,
        rotation,
        type_name,
        document_id,
        login,
        ca,
        retry,
        request_size,
        request_timeout,
    })
}

/// The clusters that the API knows by the ARNs of domains.
pub(super) fn domains(root: &Fields<'_>, reader: &mut Reader<'_>) -> BTreeMap<String, OpenSearchDomain> {
    let Some(map) = root.take(reader, "opensearch") else { return BTreeMap::new() };
    let mut domains: BTreeMap<String, OpenSearchDomain> = BTreeMap::new();
    for (entry, value) in map.entries(reader) {
        if !is_domain_arn(&entry.key) {
            let message = format!("the key must be the ARN of a domain, got `{}`", entry.key);
            let hint = "write `\"arn:aws:es:us-east-1:123456789012:domain/NAME\"`".to_owned();
            reader.findings.problem(Some(entry.at), &value.path, message, Some(hint));
        }
        let Some(fields) = value.fields(reader) else { continue };
        let endpoint = fields.parsed(reader, "endpoint", parse_base);
        let login = login(&fields, reader);
        let ca = sections::authorities(&fields, reader, "ca");
        let Some(endpoint) = endpoint else { continue };
        if domains.values().any(|other| other.endpoint == endpoint) {
            let path = format!("{}.endpoint", fields.path);
            let hint = Some("a cluster has one entry".to_owned());
            reader.findings.problem(fields.place_of("endpoint"), &path, "must be distinct", hint);
        }
        domains.insert(entry.key.clone(), OpenSearchDomain { endpoint, login, ca });
    }
    domains
}

fn is_domain_arn(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    matches!(parts.as_slice(), ["arn", partition, "es", region, account, domain]
        if partition.starts_with("aws") && !region.is_empty() && AccountId::parse(account).is_some()
            && domain.strip_prefix("domain/").is_some_and(|name| !name.is_empty()))
}

fn login(section: &Fields<'_>, reader: &mut Reader<'_>) -> Option<Login> {
    let user = section.parsed(reader, "user", |text| {
        let valid = (1..=256).contains(&text.len()) && !text.contains(':');
        if valid { Ok(text.to_owned()) } else { Err(String::new()) }
    });
    let password = section.secret(reader, "password");
    let lone = match (section.place_of("user"), section.place_of("password")) {
        (Some(at), None) => Some((at, "user", "password")),
        (None, Some(at)) => Some((at, "password", "user")),
        _ => None,
    };
    if let Some((at, name, partner)) = lone {
        let hint = Some(format!("add `{partner}`, or remove `{name}`"));
        let path = format!("{}.{name}", section.path);
        reader.findings.problem(Some(at), &path, format!("needs `{partner}` beside it"), hint);
    }
    Some(Login { user: user?, password: password? })
}

fn splunk(section: &Fields<'_>, reader: &mut Reader<'_>) -> Option<Splunk> {
    let endpoint = section.parsed(reader, "endpoint", parse_base);
    let token = section.secret(reader, "token");
    let endpoint_type = match section.word(reader, "endpoint_type") {
        "event" => SplunkEndpoint::Event,
        _ => SplunkEndpoint::Raw,
    };
    let ack_timeout = section.duration(reader, "ack_timeout");
    let retry = section.duration(reader, "retry");
    let ca = sections::authorities(section, reader, "ca");
    Some(Splunk { endpoint: endpoint?, token: token?, endpoint_type, ack_timeout, retry, ca })
}

fn parse_url(text: &str) -> Result<Url, String> {
    HttpEndpoint::parse_url(text)
        .ok_or_else(|| "write it as `https://ingest.example.com/firehose`; a secret goes into `access_key`".to_owned())
}

fn parse_base(text: &str) -> Result<Url, String> {
    let parsed = OpenSearch::parse_endpoint(text);
    parsed.ok_or_else(|| {
        "write it as `https://search.example.com:9200`; name and password have their own keys".to_owned()
    })
}

fn parse_index(text: &str) -> Result<String, String> {
    if OpenSearch::allows_index(text) {
        Ok(text.to_owned())
    } else {
        Err("such as `access-logs`; the rotation appends its own suffix".to_owned())
    }
}

fn naming(section: &Fields<'_>, reader: &mut Reader<'_>, partitioned: bool) -> Option<Naming> {
    let prefix = section.text(reader, "prefix");
    let error_output_prefix = section.text(reader, "error_output_prefix");
    let time_zone = section.parsed_or_default(reader, "time_zone", |text| {
        text.parse::<Tz>().map_err(|_| "such as `Europe/Berlin`; `UTC` is the default".to_owned())
    });
    let file_extension = section.parsed(reader, "file_extension", |text| {
        if Naming::allows_file_extension(text) { Ok(text.to_owned()) } else { Err("such as `.json.gz`".to_owned()) }
    });
    let unread = |name: &str, got: bool| section.place_of(name).is_some() && !got;
    if unread("prefix", prefix.is_some()) || unread("error_output_prefix", error_output_prefix.is_some()) {
        return None;
    }
    let text = |pair: &Option<(Value<'_>, String)>| pair.as_ref().map(|(_, text)| text.clone());
    match Naming::new(text(&prefix).as_deref(), text(&error_output_prefix).as_deref(), partitioned) {
        Ok(mut naming) => {
            naming.time_zone = time_zone;
            naming.file_extension = file_extension.filter(|text| !text.is_empty());
            Some(naming)
        }
        Err(problems) => {
            for problem in problems {
                let value = match problem.member {
                    NamingMember::Prefix => prefix.as_ref(),
                    NamingMember::ErrorOutputPrefix => error_output_prefix.as_ref(),
                };
                report_naming(section, reader, problem, value.map(|(value, _)| value));
            }
            None
        }
    }
}

/// At the expression, if the text stands in the file as it is.
fn report_naming(section: &Fields<'_>, reader: &mut Reader<'_>, problem: NamingProblem, value: Option<&Value<'_>>) {
    let NamingProblem { member, offset, message, hint } = problem;
    let name = match member {
        NamingMember::Prefix => "prefix",
        NamingMember::ErrorOutputPrefix => "error_output_prefix",
    };
    let mut at = section.nearest_place(name);
    if let (Some(offset), Some(Value { node, .. })) = (offset, value)
        && let Kind::Scalar(scalar) = &node.kind
        && let Some(text_column) = scalar.text_column
        && !scalar.text.contains("${")
    {
        at.column += text_column + offset;
    }
    reader.findings.problem(Some(at), &format!("{}.{name}", section.path), message, hint);
}
