//! What a signed request says about its signature, from the `Authorization` header or from the query. All parts or none.

use std::borrow::Cow;
use std::sync::LazyLock;

use chrono::format::{Item, Parsed, StrftimeItems, parse};
use chrono::{DateTime, Utc};
use http::header::{AUTHORIZATION, DATE};
use http::request::Parts;
use http::{HeaderName, HeaderValue};

use crate::ApiError;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const EXPIRES_MAX: i64 = 604_800;
const TIME_FORMAT: &str = "%Y%m%dT%H%M%SZ";
const AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
const SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// The parameters of one signature, well-formed but not yet verified.
#[derive(Debug)]
pub(super) struct Parameters<'a> {
    /// The four below as they were sent: all that the key of a signature is derived for.
    pub(super) credential: &'a str,
    pub(super) access_key_id: &'a str,
    pub(super) date: &'a str,
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    /// In small letters, with semicolons between them.
    pub(super) signed_headers: Cow<'a, str>,
    pub(super) signature: [u8; 32],
    /// As `yyyymmddThhmmssZ`, and in seconds since 1970.
    pub(super) timestamp: Cow<'a, str>,
    pub(super) seconds: i64,
    /// Query form only: how long the signature is good.
    pub(super) expires: Option<i64>,
    /// Of temporary credentials.
    pub(super) session_token: Option<&'a [u8]>,
}

impl<'a> Parameters<'a> {
    /// `query` is the decoded one of the head.
    pub(super) fn of(head: &'a Parts, query: &'a [(String, String)]) -> Result<Parameters<'a>, ApiError> {
        let mut authorizations = head.headers.get_all(AUTHORIZATION).iter();
        let header = authorizations.next();
        let in_query = query.iter().any(|(name, _)| name == "X-Amz-Algorithm");
        match header {
            Some(_) if in_query => Err(ApiError::invalid_signature(
                "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.",
            )),
            Some(_) if authorizations.next().is_some() => {
                Err(ApiError::incomplete_signature("Authorization header must be present once."))
            }
            Some(value) => {
                let text = value.to_str().map_err(|_| {
                    ApiError::incomplete_signature("Authorization header holds characters that are not visible ASCII.")
                })?;
                Parameters::from_header(head, text)
            }
            None if in_query => Parameters::from_query(query),
            None => Err(ApiError::missing_token()),
        }
    }

    pub(super) fn check_scope(&self, service: &str) -> Result<(), ApiError> {
        let region_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !(1..=64).contains(&self.region.len()) || !self.region.bytes().all(region_letter) {
            let text = format!("Credential should be scoped to a valid region, not '{}'.", self.region);
            return Err(ApiError::invalid_signature(text));
        }
        if self.service != service {
            let text = format!("Credential should be scoped to correct service: '{service}'.");
            return Err(ApiError::invalid_signature(text));
        }
        if *self.date != self.timestamp[..8] {
            return Err(ApiError::invalid_signature(format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{}' != '{}', \
                 from '{}'.",
                self.date,
                &self.timestamp[..8],
                self.timestamp
            )));
        }
        Ok(())
    }

    pub(super) fn string_to_sign(&self, request_hash: &str) -> String {
        let (time, date, region, service) = (&self.timestamp, &self.date, &self.region, &self.service);
        format!("{ALGORITHM}\n{time}\n{date}/{region}/{service}/aws4_request\n{request_hash}")
    }

    fn from_header(head: &'a Parts, text: &'a str) -> Result<Parameters<'a>, ApiError> {
        const NAMES: [&str; 3] = ["Credential", "SignedHeaders", "Signature"];
        let (algorithm, rest) = text.split_once(' ').unwrap_or((text, ""));
        if algorithm != ALGORITHM {
            return Err(ApiError::incomplete_signature(format!("Unsupported AWS 'algorithm': '{algorithm}'.")));
        }
        let mut found = [None; NAMES.len()];
        for (key, value) in rest.split(',').filter_map(|part| part.trim().split_once('=')) {
            let Some(at) = NAMES.iter().position(|name| *name == key) else { continue };
            if found[at].replace(value).is_some() {
                return Err(ApiError::incomplete_signature(format!("Authorization header must have '{key}' once.")));
            }
        }
        let [credential, headers, signature] = found;
        let time = time_of_header(head)?;
        let (Some(credential), Some(headers), Some(signature), Some((timestamp, seconds))) =
            (credential, headers, signature, time)
        else {
            return Err(ApiError::incomplete_signature(missing_text([
                (credential.is_none(), "'Credential' parameter"),
                (signature.is_none(), "'Signature' parameter"),
                (headers.is_none(), "'SignedHeaders' parameter"),
                (head_has_no_date(head), "existence of either a 'X-Amz-Date' or a 'Date' header"),
            ])));
        };
        let mut parameters = Parameters::new(credential, headers, signature, (timestamp, seconds))?;
        parameters.session_token = head.headers.get(SECURITY_TOKEN).map(HeaderValue::as_bytes);
        if !parameters.signs("x-amz-date") && !parameters.signs("date") {
            return Err(ApiError::invalid_signature(
                "'X-Amz-Date' or 'Date' must be a 'SignedHeader' in the AWS Authorization.",
            ));
        }
        Ok(parameters)
    }

    fn from_query(query: &'a [(String, String)]) -> Result<Parameters<'a>, ApiError> {
        let value = |name: &str| {
            let mut all = query.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
            // Which of two would count is nobody's to guess.
            let found = all.next().filter(|_| all.next().is_none());
            let text = || {
                format!("AWS query-string parameters must include '{name}'. Re-examine the query-string parameters.")
            };
            found.ok_or_else(|| ApiError::incomplete_signature(text()))
        };
        if value("X-Amz-Algorithm")? != ALGORITHM {
            let text = format!("Unsupported AWS 'algorithm': '{}'.", value("X-Amz-Algorithm")?);
            return Err(ApiError::incomplete_signature(text));
        }
        let date = value("X-Amz-Date")?;
        let seconds = parse_time(date).ok_or_else(|| {
            ApiError::incomplete_signature(format!("Date must be in ISO-8601 'basic format'. Got '{date}'."))
        })?;
        let time = (date.into(), seconds);
        let (credential, headers) = (value("X-Amz-Credential")?, value("X-Amz-SignedHeaders")?);
        let mut parameters = Parameters::new(credential, headers, value("X-Amz-Signature")?, time)?;
        parameters.session_token = value("X-Amz-Security-Token").ok().map(str::as_bytes);
        let expires = value("X-Amz-Expires")?.parse().ok().filter(|seconds| (1..=EXPIRES_MAX).contains(seconds));
        parameters.expires = Some(expires.ok_or_else(|| {
            ApiError::incomplete_signature(format!(
                "X-Amz-Expires must be a number of seconds from 1 to {EXPIRES_MAX}."
            ))
        })?);
        Ok(parameters)
    }

    fn new(
        credential: &'a str,
        headers: &'a str,
        signature: &str,
        (timestamp, seconds): (Cow<'a, str>, i64),
    ) -> Result<Parameters<'a>, ApiError> {
        let scope: Vec<&str> = credential.split('/').collect();
        let [access_key_id, date, region, service, "aws4_request"] = scope[..] else {
            return Err(ApiError::incomplete_signature(format!(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got \
                 '{credential}'"
            )));
        };
        let is_host = |name: &str| name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case(":authority");
        if !headers.split(';').any(is_host) {
            return Err(ApiError::invalid_signature(
                "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
            ));
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(signature, &mut bytes).map_err(|_| {
            ApiError::incomplete_signature("Signature must be 64 hexadecimal digits of an HMAC-SHA256.")
        })?;
        let mut signed_headers = Cow::Borrowed(headers);
        if headers.bytes().any(|byte| byte.is_ascii_uppercase()) {
            signed_headers.to_mut().make_ascii_lowercase();
        }
        Ok(Parameters {
            credential,
            access_key_id,
            date,
            region,
            service,
            signed_headers,
            signature: bytes,
            timestamp,
            seconds,
            expires: None,
            session_token: None,
        })
    }

    fn signs(&self, name: &str) -> bool {
        self.signed_headers.split(';').any(|header| header == name)
    }
}

fn missing_text(parts: [(bool, &str); 4]) -> String {
    let missing = parts.into_iter().filter(|(missing, _)| *missing);
    missing.map(|(_, what)| format!("Authorization header requires {what}.")).collect::<Vec<_>>().join(" ")
}

fn head_has_no_date(head: &Parts) -> bool {
    !head.headers.contains_key(AMZ_DATE) && !head.headers.contains_key(DATE)
}

/// `None` if there is no date; an error if there is one that cannot be read.
fn time_of_header(head: &Parts) -> Result<Option<(Cow<'_, str>, i64)>, ApiError> {
    let own = head.headers.get(AMZ_DATE);
    let Some(value) = own.or_else(|| head.headers.get(DATE)) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    let read = parse_time(text).map(|seconds| (text.into(), seconds)).or_else(|| {
        let date = DateTime::parse_from_rfc2822(text).ok().filter(|_| own.is_none())?.with_timezone(&Utc);
        Some((date.format(TIME_FORMAT).to_string().into(), date.timestamp()))
    });
    read.map(Some).ok_or_else(|| {
        ApiError::incomplete_signature(format!("Date must be in ISO-8601 'basic format'. Got '{text}'."))
    })
}

fn parse_time(text: &str) -> Option<i64> {
    static ITEMS: LazyLock<Vec<Item<'static>>> = LazyLock::new(|| StrftimeItems::new(TIME_FORMAT).collect());
    let mut parsed = Parsed::new();
    parse(&mut parsed, text, ITEMS.iter()).ok()?;
    let time = parsed.to_naive_datetime_with_offset(0).ok()?;
    (text.len() == 16).then(|| time.and_utc().timestamp())
}
