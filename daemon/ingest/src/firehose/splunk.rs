//! `SplunkDestinationConfiguration`.

use std::time::Duration;

use hydrant_config::{Destination, HttpEndpoint, Secret, Splunk as Collector, SplunkEndpoint};

use super::destination::Parts;
use super::requests::{Requests, Usual};
use super::{Mappings, s3};
use crate::ApiError;
use crate::shape::{Shape, Violations};

pub(super) const MODES: [&str; 2] = ["FailedEventsOnly", "AllEvents"];
pub(super) const TYPES: [&str; 2] = ["Raw", "Event"];

static USUAL: Usual = Usual {
    sizes_mib: 1..=5,
    intervals_s: 0..=60,
    size_mib: 5,
    interval_s: 60,
    retry_s: 3600,
    modes: MODES,
    secret: "the HECToken",
};

#[derive(Debug)]
pub(super) struct Splunk<'a> {
    endpoint: &'a str,
    kind: SplunkEndpoint,
    token: Option<&'a str>,
    ack_timeout_s: i64,
    requests: Requests<'a>,
}

impl<'a> Splunk<'a> {
    pub(super) fn of(shape: &Shape<'a>, to: &mut Violations) -> Result<Splunk<'a>, ApiError> {
        let endpoint = s3::text(shape, "HECEndpoint", 0..=2048, to)?;
        let kind = s3::choice(shape, "HECEndpointType", &TYPES, to)?;
        let kind = to.required(shape, "HECEndpointType", kind);
        let token = shape.text("HECToken")?;
        to.secret_length(&shape.at("HECToken"), token.unwrap_or_default(), 0..=2048);
        let ack_timeout_s = s3::integer(shape, "HECAcknowledgmentTimeoutInSeconds", 180..=600, to)?;
        Ok(Splunk {
            endpoint: to.required(shape, "HECEndpoint", endpoint).unwrap_or_default(),
            kind: if kind == Some(TYPES[1]) { SplunkEndpoint::Event } else { SplunkEndpoint::Raw },
            token: token.filter(|token| !token.is_empty()),
            ack_timeout_s: ack_timeout_s.unwrap_or(180),
            requests: Requests::of(shape, &USUAL, to)?,
        })
    }

    pub(super) fn parts(&self, mappings: &Mappings) -> Result<Parts, ApiError> {
        self.requests.refuse_unbuilt()?;
        let endpoint = Collector::parse_endpoint(self.endpoint).ok_or_else(|| {
            ApiError::invalid_argument(
                "HECEndpoint must be an https:// or http:// URL without user, password, query or fragment, and without \
                 /services/collector.",
            )
        })?;
        let token = self.token.filter(|token| HttpEndpoint::allows_access_key(token));
        let token = token.ok_or_else(|| {
            ApiError::invalid_argument("HECToken must be given, and be printable ASCII, for it goes into a header.")
        })?;
        let collector = Collector {
            endpoint,
            token: Secret::new(token),
            endpoint_type: self.kind,
            ack_timeout: Duration::from_secs(u64::try_from(self.ack_timeout_s).unwrap_or_default()),
            retry: self.requests.retry(),
            ca: mappings.destinations_ca.clone(),
        };
        self.requests.parts(Destination::Splunk(collector), mappings)
    }
}

#[cfg(test)]
#[path = "splunk_tests.rs"]
mod tests;
