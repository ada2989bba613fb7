//! Which destination a request configures. The members of each are read in its own file; what is not built is refused here,
//! by name and with what to do instead.

use std::time::Duration;

use hydrant_config::{Backup, Buffering, Destination, Format, Partitioning, Processing};

use super::http_endpoint::HttpEndpoint;
use super::opensearch::OpenSearch;
use super::s3::S3Destination;
use super::splunk::Splunk;
use super::{Mappings, objects, unsupported_but};
use crate::ApiError;
use crate::shape::{Shape, Violations};

pub(super) const EXTENDED: &str = "ExtendedS3DestinationConfiguration";
pub(super) const PLAIN: &str = "S3DestinationConfiguration";
pub(super) const HTTP_ENDPOINT: &str = "HttpEndpointDestinationConfiguration";
pub(super) const OPENSEARCH: &str = "AmazonopensearchserviceDestinationConfiguration";
pub(super) const ELASTICSEARCH: &str = "ElasticsearchDestinationConfiguration";
pub(super) const SPLUNK: &str = "SplunkDestinationConfiguration";
pub(super) const DESTINATIONS: [&str; 10] = [
    PLAIN,
    EXTENDED,
    HTTP_ENDPOINT,
    "RedshiftDestinationConfiguration",
    ELASTICSEARCH,
    OPENSEARCH,
    "AmazonOpenSearchServerlessDestinationConfiguration",
    SPLUNK,
    "SnowflakeDestinationConfiguration",
    "IcebergDestinationConfiguration",
];
const MIB: u64 = 1 << 20;

/// A destination of which every member is well-formed by itself.
#[derive(Debug)]
pub(super) enum Wanted<'a> {
    S3(S3Destination<'a>),
    HttpEndpoint(HttpEndpoint<'a>),
    OpenSearch(OpenSearch<'a>),
    Splunk(Splunk<'a>),
}

/// What a destination's configuration says of a delivery stream.
pub(super) struct Parts {
    pub(super) buffering: Buffering,
    pub(super) processing: Processing,
    pub(super) partitioning: Option<Partitioning>,
    pub(super) format: Format,
    pub(super) destination: Destination,
    pub(super) backup: Option<Backup>,
}

impl<'a> Wanted<'a> {
    /// `None` if it is one that is not built, or none at all.
    pub(super) fn of(request: &Shape<'a>, to: &mut Violations) -> Result<Option<Wanted<'a>>, ApiError> {
        if let Some(part) = request.part(EXTENDED)? {
            return S3Destination::of(&part, true, to).map(|s3| Some(Wanted::S3(s3)));
        }
        if let Some(part) = request.part(PLAIN)? {
            return S3Destination::of(&part, false, to).map(|s3| Some(Wanted::S3(s3)));
        }
        if let Some(part) = request.part(HTTP_ENDPOINT)? {
            return HttpEndpoint::of(&part, to).map(|endpoint| Some(Wanted::HttpEndpoint(endpoint)));
        }
        for name in [OPENSEARCH, ELASTICSEARCH] {
            if let Some(part) = request.part(name)? {
                return OpenSearch::of(&part, to).map(|search| Some(Wanted::OpenSearch(search)));
            }
        }
        if let Some(part) = request.part(SPLUNK)? {
            return Splunk::of(&part, to).map(|splunk| Some(Wanted::Splunk(splunk)));
        }
        Ok(None)
    }

    /// `arn` is the delivery stream's.
    pub(super) fn parts(&self, arn: String, mappings: &Mappings) -> Result<Parts, ApiError> {
        match self {
            Wanted::S3(s3) => objects::parts(s3, mappings),
            Wanted::HttpEndpoint(endpoint) => endpoint.parts(arn, mappings),
            Wanted::OpenSearch(search) => search.parts(mappings),
            Wanted::Splunk(splunk) => splunk.parts(mappings),
        }
    }
}

pub(super) fn check_one(request: &Shape<'_>) -> Result<(), ApiError> {
    if DESTINATIONS.iter().filter(|name| request.has(name)).count() != 1 {
        return Err(ApiError::invalid_argument("Exactly one destination configuration is supported for a Firehose"));
    }
    Ok(())
}

/// Says what to do instead of the destination that a request names.
pub(super) fn unbuilt(request: &Shape<'_>) -> ApiError {
    let name = request.names().find(|name| DESTINATIONS.contains(name)).unwrap_or_default();
    let next = match name {
        "RedshiftDestinationConfiguration" => {
            "deliver to a bucket by ExtendedS3DestinationConfiguration, and COPY from there"
        }
        "SnowflakeDestinationConfiguration" => {
            "deliver to a bucket by ExtendedS3DestinationConfiguration, and let Snowpipe load from there"
        }
        "IcebergDestinationConfiguration" => {
            "deliver Parquet to a bucket by ExtendedS3DestinationConfiguration, and add its files to the table"
        }
        "AmazonOpenSearchServerlessDestinationConfiguration" => {
            "for a cluster that is reached by a password or freely, give AmazonopensearchserviceDestinationConfiguration"
        }
        _ => "it delivers to S3, HTTP endpoints, OpenSearch, Elasticsearch and Splunk",
    };
    unsupported_but(name, next)
}

/// `BufferingHints`: both members, or neither for the usual ones.
pub(super) fn hints(given: (Option<i64>, Option<i64>), usual: (i64, i64)) -> Result<Buffering, ApiError> {
    let (size, interval) = match given {
        (Some(size), Some(interval)) => (size, interval),
        (None, None) => usual,
        _ => {
            return Err(ApiError::invalid_argument(
                "BufferingHints must have both SizeInMBs and IntervalInSeconds, or neither.",
            ));
        }
    };
    let [size, interval] = [size, interval].map(|value| u64::try_from(value).unwrap_or_default());
    Ok(Buffering { size: size * MIB, object_size: None, interval: Duration::from_secs(interval) })
}
