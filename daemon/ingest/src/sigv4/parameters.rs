//! What a signed request says about its signature, from the `Authorization` header or from the query. All parts or none.

use chrono::{DateTime, NaiveDateTime, Utc};
use http::request::Parts;

use super::canonical::decode_query;
use crate::ApiError;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const EXPIRES_MAX: i64 = 604_800;

/// The parameters of one signature, well-formed but not yet verified.
#[derive(Debug)]
pub(super) struct Parameters {
    pub(super) access_key_id: String,
    pub(super) date: String,
    pub(super) region: String,
    pub(super) service: String,
    pub(super) signed_headers: Vec<String>,
    pub(super) signature: Vec<u8>,
    /// As `yyyymmddThhmmssZ`, and in seconds since 1970.
    pub(super) timestamp: String,
    pub(super) seconds: i64,
    /// Query form only: how long the signature is good.
    pub(super) expires: Option<i64>,
    /// Of temporary credentials.
    pub(super) session_token: Option<String>,
}

impl Parameters {
    pub(super) fn of(head: &Parts) -> Result<Parameters, ApiError> {
        let mut authorizations = head.headers.get_all(http::header::AUTHORIZATION).iter();
        let header = authorizations.next();
        let query = decode_query(head.uri.query().unwrap_or_default());
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
            None if in_query => Parameters::from_query(&query),
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
        if self.date != self.timestamp[..8] {
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

    fn from_header(head: &Parts, text: &str) -> Result<Parameters, ApiError> {
        let (algorithm, rest) = text.split_once(' ').unwrap_or((text, ""));
        if algorithm != ALGORITHM {
            return Err(ApiError::incomplete_signature(format!("Unsupported AWS 'algorithm': '{algorithm}'.")));
        }
        let parts = || rest.split(',').filter_map(|part| part.trim().split_once('='));
        let part = |name: &str| parts().find(|(key, _)| *key == name).map(|(_, value)| value);
        let twice = ["Credential", "SignedHeaders", "Signature"]
            .into_iter()
            .find(|name| parts().filter(|(key, _)| key == name).count() > 1);
        if let Some(name) = twice {
            return Err(ApiError::incomplete_signature(format!("Authorization header must have '{name}' once.")));
        }
        let (credential, headers, signature) = (part("Credential"), part("SignedHeaders"), part("Signature"));
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
        let token = head.headers.get("x-amz-security-token");
        parameters.session_token = token.map(|token| String::from_utf8_lossy(token.as_bytes()).into_owned());
        let has = |name: &str| parameters.signed_headers.iter().any(|header| header == name);
        if !has("x-amz-date") && !has("date") {
            return Err(ApiError::invalid_signature(
                "'X-Amz-Date' or 'Date' must be a 'SignedHeader' in the AWS Authorization.",
            ));
        }
        Ok(parameters)
    }

    fn from_query(query: &[(String, String)]) -> Result<Parameters, ApiError> {
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
        let time = (date.to_owned(), seconds);
        let (credential, headers) = (value("X-Amz-Credential")?, value("X-Amz-SignedHeaders")?);
        let mut parameters = Parameters::new(credential, headers, value("X-Amz-Signature")?, time)?;
        parameters.session_token = value("X-Amz-Security-Token").ok().map(str::to_owned);
        let expires = value("X-Amz-Expires")?.parse().ok().filter(|seconds| (1..=EXPIRES_MAX).contains(seconds));
        parameters.expires = Some(expires.ok_or_else(|| {
            ApiError::incomplete_signature(format!(
                "X-Amz-Expires must be a number of seconds from 1 to {EXPIRES_MAX}."
            ))
        })?);
        Ok(parameters)
    }

    fn new(credential: &str, headers: &str, signature: &str, time: (String, i64)) -> Result<Parameters, ApiError> {
        let scope: Vec<&str> = credential.split('/').collect();
        let [access_key_id, date, region, service, "aws4_request"] = scope[..] else {
            return Err(ApiError::incomplete_signature(format!(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got \
                 '{credential}'"
            )));
        };
        let signed_headers: Vec<String> = headers.split(';').map(str::to_ascii_lowercase).collect();
        if !signed_headers.iter().any(|header| header == "host" || header == ":authority") {
            return Err(ApiError::invalid_signature(
                "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
            ));
        }
        let signature = hex::decode(signature).ok().filter(|bytes| bytes.len() == 32).ok_or_else(|| {
            ApiError::incomplete_signature("Signature must be 64 hexadecimal digits of an HMAC-SHA256.")
        })?;
        Ok(Parameters {
            access_key_id: access_key_id.to_owned(),
            date: date.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            signed_headers,
            signature,
            timestamp: time.0,
            seconds: time.1,
            expires: None,
            session_token: None,
        })
    }
}

fn missing_text(parts: [(bool, &str); 4]) -> String {
    let missing = parts.into_iter().filter(|(missing, _)| *missing);
    missing.map(|(_, what)| format!("Authorization header requires {what}.")).collect::<Vec<_>>().join(" ")
}

fn head_has_no_date(head: &Parts) -> bool {
    !head.headers.contains_key("x-amz-date") && !head.headers.contains_key(http::header::DATE)
}

/// `None` if there is no date; an error if there is one that cannot be read.
fn time_of_header(head: &Parts) -> Result<Option<(String, i64)>, ApiError> {
    let own = head.headers.get("x-amz-date");
    let Some(value) = own.or_else(|| head.headers.get(http::header::DATE)) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    let read = parse_time(text).map(|seconds| (text.to_owned(), seconds)).or_else(|| {
        let date = DateTime::parse_from_rfc2822(text).ok().filter(|_| own.is_none())?.with_timezone(&Utc);
        Some((date.format("%Y%m%dT%H%M%SZ").to_string(), date.timestamp()))
    });
    read.map(Some).ok_or_else(|| {
        ApiError::incomplete_signature(format!("Date must be in ISO-8601 'basic format'. Got '{text}'."))
    })
}

fn parse_time(text: &str) -> Option<i64> {
    let time = NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%SZ").ok()?;
    (text.len() == 16).then(|| time.and_utc().timestamp())
}
