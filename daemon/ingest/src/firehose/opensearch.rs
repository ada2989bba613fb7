//! `AmazonopensearchserviceDestinationConfiguration` and `ElasticsearchDestinationConfiguration`, which are the same by another
//! name. How the cluster is reached is a matter of the YAML's `opensearch`.

use std::time::Duration;

use hydrant_config::{Destination, DocumentId, IndexRotation, OpenSearch as Cluster, OpenSearchDomain};

use super::destination::Parts;
use super::requests::{Requests, Usual};
use super::{Mappings, s3, unsupported_but};
use crate::ApiError;
use crate::shape::{Shape, Violations};

pub(super) const MODES: [&str; 2] = ["FailedDocumentsOnly", "AllDocuments"];
/// In AWS's words.
pub(super) const ROTATIONS: [(&str, IndexRotation); 5] = [
    ("NoRotation", IndexRotation::None),
    ("OneHour", IndexRotation::OneHour),
    ("OneDay", IndexRotation::OneDay),
    ("OneWeek", IndexRotation::OneWeek),
    ("OneMonth", IndexRotation::OneMonth),
];
pub(super) const DOCUMENT_IDS: [&str; 2] = ["FIREHOSE_DEFAULT", "NO_DOCUMENT_ID"];
/// As by default in the YAML.
const REQUEST_BYTES: u64 = 5 << 20;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

static USUAL: Usual = Usual {
    sizes_mib: 1..=100,
    intervals_s: 0..=900,
    size_mib: 5,
    interval_s: 300,
    retry_s: 300,
    modes: MODES,
    secret: "`user` and `password` of the cluster in `opensearch` of the configuration",
};

#[derive(Debug)]
pub(super) struct OpenSearch<'a> {
    domain: Option<&'a str>,
    endpoint: Option<&'a str>,
    index: &'a str,
    type_name: Option<&'a str>,
    rotation: IndexRotation,
    document_id: DocumentId,
    in_vpc: bool,
    requests: Requests<'a>,
}

impl<'a> OpenSearch<'a> {
    pub(super) fn of(shape: &Shape<'a>, to: &mut Violations) -> Result<OpenSearch<'a>, ApiError> {
        s3::role(shape, to)?;
        let domain = s3::text(shape, "DomainARN", 1..=512, to)?;
        if let Some(arn) = domain {
            to.pattern(&shape.at("DomainARN"), arn, ("arn:.*", arn.starts_with("arn:")));
        }
        let endpoint = s3::text(shape, "ClusterEndpoint", 1..=512, to)?;
        let index = s3::text(shape, "IndexName", 1..=80, to)?;
        let index = to.required(shape, "IndexName", index).unwrap_or_default();
        let type_name = s3::text(shape, "TypeName", 0..=100, to)?.filter(|name| !name.is_empty());
        let rotation = s3::choice(shape, "IndexRotationPeriod", &ROTATIONS.map(|(word, _)| word), to)?;
        let rotation = ROTATIONS.iter().find(|(word, _)| rotation == Some(word)).map(|(_, rotation)| *rotation);
        let mut document_id = DocumentId::Default;
        if let Some(options) = shape.part("DocumentIdOptions")? {
            let format = s3::choice(&options, "DefaultDocumentIdFormat", &DOCUMENT_IDS, to)?;
            if to.required(&options, "DefaultDocumentIdFormat", format) == Some(DOCUMENT_IDS[1]) {
                document_id = DocumentId::None;
            }
        }
        Ok(OpenSearch {
            domain,
            endpoint,
            index,
            type_name,
            rotation: rotation.unwrap_or(IndexRotation::OneDay),
            document_id,
            in_vpc: shape.part("VpcConfiguration")?.is_some(),
            requests: Requests::of(shape, &USUAL, to)?,
        })
    }

    pub(super) fn parts(&self, mappings: &Mappings) -> Result<Parts, ApiError> {
        if self.in_vpc {
            let next = "leave it out: the cluster is reached from this machine as it is";
            return Err(unsupported_but("VpcConfiguration", next));
        }
        let OpenSearchDomain { endpoint, login, ca } = self.cluster(mappings)?;
        if !Cluster::allows_index(self.index) {
            return Err(ApiError::invalid_argument(format!(
                "IndexName {} is no name that an index may have; use lower-case letters, digits, - and _, such as access-logs.",
                self.index
            )));
        }
        let cluster = Cluster {
            endpoint,
            index: self.index.to_owned(),
            rotation: self.rotation,
            type_name: self.type_name.map(str::to_owned),
            document_id: self.document_id,
            login,
            ca,
            retry: self.requests.retry(),
            request_size: REQUEST_BYTES,
            request_timeout: REQUEST_TIMEOUT,
        };
        self.requests.parts(Destination::OpenSearch(cluster), mappings)
    }

    fn cluster(&self, mappings: &Mappings) -> Result<OpenSearchDomain, ApiError> {
        match (self.domain, self.endpoint) {
            (Some(arn), None) => mappings.opensearch.get(arn).cloned().ok_or_else(|| {
                ApiError::invalid_argument(format!(
                    "The domain {arn} has no cluster here; give its ClusterEndpoint instead of DomainARN, or add `opensearch: {{ \
                     \"{arn}\": {{ endpoint: … }} }}` to the configuration"
                ))
            }),
            (None, Some(text)) => {
                let endpoint = Cluster::parse_endpoint(text).ok_or_else(|| {
                    ApiError::invalid_argument(
                        "ClusterEndpoint must be an https:// or http:// URL without user, password, query or fragment; user and \
                         password stand in `opensearch` of the configuration.",
                    )
                })?;
                let known = mappings.opensearch.values().find(|domain| domain.endpoint == endpoint).cloned();
                Ok(known.unwrap_or(OpenSearchDomain { endpoint, login: None, ca: None }))
            }
            _ => Err(ApiError::invalid_argument("Exactly one of ClusterEndpoint and DomainARN must be given.")),
        }
    }
}

#[cfg(test)]
#[path = "opensearch_tests.rs"]
mod tests;
