//! `HttpEndpointDestinationConfiguration`.

use std::collections::BTreeMap;
use std::time::Duration;

use hydrant_config::{ContentEncoding, Destination, HttpEndpoint as Endpoint, Secret};

use super::destination::Parts;
use super::requests::{Requests, Usual};
use super::{Mappings, s3};
use crate::ApiError;
use crate::shape::{Shape, Violations};

pub(super) const MODES: [&str; 2] = ["FailedDataOnly", "AllData"];
/// As at AWS.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(180);
const NOT_BLANK: &str = r"^(?!\s*$).+";
const ATTRIBUTES_MAX: usize = 50;

static USUAL: Usual = Usual {
    sizes_mib: 1..=64,
    intervals_s: 0..=900,
    size_mib: 5,
    interval_s: 300,
    retry_s: 300,
    modes: MODES,
    secret: "the AccessKey in EndpointConfiguration",
};

#[derive(Debug)]
pub(super) struct HttpEndpoint<'a> {
    url: &'a str,
    access_key: Option<&'a str>,
    gzip: bool,
    attributes: Vec<(&'a str, &'a str)>,
    requests: Requests<'a>,
}

impl<'a> HttpEndpoint<'a> {
    pub(super) fn of(shape: &Shape<'a>, to: &mut Violations) -> Result<HttpEndpoint<'a>, ApiError> {
        let (mut url, mut access_key) = (None, None);
        let endpoint = shape.part("EndpointConfiguration")?;
        if let Some(endpoint) = to.required(shape, "EndpointConfiguration", endpoint) {
            url = s3::text(&endpoint, "Url", 1..=1000, to)?;
            to.required(&endpoint, "Url", url);
            if let Some(name) = s3::text(&endpoint, "Name", 1..=256, to)? {
                to.pattern(&endpoint.at("Name"), name, (NOT_BLANK, !name.trim().is_empty()));
            }
            access_key = endpoint.text("AccessKey")?;
            to.secret_length(&endpoint.at("AccessKey"), access_key.unwrap_or_default(), 0..=4096);
        }
        let (mut gzip, mut attributes) = (false, Vec::new());
        if let Some(request) = shape.part("RequestConfiguration")? {
            gzip = s3::choice(&request, "ContentEncoding", &["NONE", "GZIP"], to)? == Some("GZIP");
            attributes = common_attributes(&request, to)?;
        }
        s3::role_if_given(shape, to)?;
        let requests = Requests::of(shape, &USUAL, to)?;
        Ok(HttpEndpoint { url: url.unwrap_or_default(), access_key, gzip, attributes, requests })
    }

    /// `source_arn` is what the endpoint is told.
    pub(super) fn parts(&self, source_arn: String, mappings: &Mappings) -> Result<Parts, ApiError> {
        let url = Endpoint::parse_url(self.url).ok_or_else(|| {
            ApiError::invalid_argument(
                "EndpointConfiguration.Url must be an https:// or http:// URL without user, password or fragment; a secret \
                 goes into AccessKey.",
            )
        })?;
        let access_key = self.access_key.filter(|key| !key.is_empty());
        if !access_key.is_none_or(Endpoint::allows_access_key) {
            return Err(ApiError::invalid_argument(
                "EndpointConfiguration.AccessKey must be printable ASCII, for it goes into a header.",
            ));
        }
        let mut common_attributes = BTreeMap::new();
        for (name, value) in &self.attributes {
            if common_attributes.insert((*name).to_owned(), (*value).to_owned()).is_some() {
                return Err(ApiError::invalid_argument(format!(
                    "RequestConfiguration.CommonAttributes must have each AttributeName once, got {name} twice."
                )));
            }
        }
        let endpoint = Endpoint {
            url,
            access_key: access_key.map(Secret::new),
            common_attributes,
            content_encoding: if self.gzip { ContentEncoding::Gzip } else { ContentEncoding::None },
            retry: self.requests.retry(),
            request_timeout: REQUEST_TIMEOUT,
            ca: mappings.destinations_ca.clone(),
            source_arn,
        };
        self.requests.parts(Destination::HttpEndpoint(endpoint), mappings)
    }
}

fn common_attributes<'a>(request: &Shape<'a>, to: &mut Violations) -> Result<Vec<(&'a str, &'a str)>, ApiError> {
    let list = request.parts("CommonAttributes")?;
    if list.len() > ATTRIBUTES_MAX {
        to.count(&request.at("CommonAttributes"), Some(list.len()), ATTRIBUTES_MAX);
    }
    let mut attributes = Vec::new();
    for one in list {
        let name = s3::text(&one, "AttributeName", 1..=256, to)?;
        if let Some(name) = to.required(&one, "AttributeName", name) {
            to.pattern(&one.at("AttributeName"), name, (NOT_BLANK, !name.trim().is_empty()));
        }
        let value = s3::text(&one, "AttributeValue", 0..=1024, to)?;
        let value = to.required(&one, "AttributeValue", value);
        attributes.extend(name.zip(value));
    }
    Ok(attributes)
}

#[cfg(test)]
#[path = "http_endpoint_tests.rs"]
mod tests;
