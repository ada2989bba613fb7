//! Where a key lives. A key becomes a URL path by encoding once, so the store sees exactly the bytes that were evaluated.

use std::fmt::{self, Write};

use hydrant_config::S3Connection;
use url::Url;

use crate::SinkError;

const KEY_BYTES_MAX: usize = 1024;

/// A bucket at an endpoint.
#[derive(Clone, Debug)]
pub(super) struct Address {
    bucket: String,
    /// Without user, query and final slash: `http://127.0.0.1:9000`.
    endpoint: String,
    /// What stands before an encoded key, with its final slash.
    base: String,
}

impl Address {
    pub(super) fn new(bucket: &str, connection: &S3Connection) -> Result<Address, SinkError> {
        let default = default_endpoint(&connection.region);
        let endpoint = match &connection.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => Url::parse(&default).map_err(|_| wrong(&format!("region `{}`", connection.region)))?,
        };
        let (Some(host), "http" | "https") = (endpoint.host_str(), endpoint.scheme()) else {
            return Err(wrong("an endpoint without http or https and a host"));
        };
        // The certificate of AWS covers one label before the region.
        let path_style = connection.path_style || (connection.endpoint.is_none() && bucket.contains('.'));
        let port = endpoint.port().map(|port| format!(":{port}")).unwrap_or_default();
        let path = endpoint.path().trim_end_matches('/');
        let scheme = endpoint.scheme();
        let shown = format!("{scheme}://{host}{port}{path}");
        let base = if path_style {
            format!("{shown}/{}/", encoded(bucket))
        } else {
            format!("{scheme}://{bucket}.{host}{port}{path}/")
        };
        Url::parse(&base).map_err(|_| wrong(&format!("bucket `{bucket}` at `{shown}`")))?;
        Ok(Address { bucket: bucket.to_owned(), endpoint: shown, base })
    }

    /// The URL of the bucket itself.
    pub(super) fn bucket_url(&self) -> &str {
        &self.base
    }

    /// The URL of a key; `Misconfigured` for a key that no URL can name.
    pub(super) fn key_url(&self, key: &str) -> Result<String, SinkError> {
        let problem = if key.is_empty() {
            "it is empty"
        } else if key.len() > KEY_BYTES_MAX {
            "it is longer than 1,024 bytes"
        } else if key.split('/').any(|part| part == "." || part == "..") {
            "a part of it is `.` or `..`, which URLs resolve"
        } else {
            return Ok(format!("{}{}", self.base, encoded(key)));
        };
        let shown: String = key.chars().take(200).flat_map(char::escape_default).collect();
        Err(SinkError::misconfigured(
            "S3.BadKey",
            format!("`{shown}` cannot be an object key: {problem}; change the prefix"),
        ))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{} ({})", self.bucket, self.endpoint)
    }
}

fn default_endpoint(region: &str) -> String {
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    format!("https://s3.{region}.{domain}")
}

fn wrong(what: &str) -> SinkError {
    SinkError::misconfigured("S3.BadEndpoint", format!("{what} makes no URL; give `endpoint` as https://host:port"))
}

/// All but unreserved characters and `/` as `%XX`, as S3 signs them.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => out.push(char::from(byte)),
            _ => write!(out, "%{byte:02X}").expect("a String takes what it is given"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SinkErrorKind;

    fn address(bucket: &str, endpoint: Option<&str>, path_style: bool) -> Address {
        let endpoint = endpoint.map(|text| Url::parse(text).unwrap());
        let connection =
            S3Connection { endpoint, region: "eu-west-1".to_owned(), keys: None, profile: None, ca: None, path_style };
        Address::new(bucket, &connection).unwrap()
    }

    #[test]
    fn both_styles_and_aws_itself() {
        let cases = [
            (address("b", Some("http://127.0.0.1:9000"), true), "http://127.0.0.1:9000/b/k"),
            (address("b", Some("http://s3.local:9000/"), false), "http://b.s3.local:9000/k"),
            (address("b", Some("https://user:secret@gate/s3/?x=1"), true), "https://gate/s3/b/k"),
            (address("b", None, false), "https://b.s3.eu-west-1.amazonaws.com/k"),
            (address("b.c", None, false), "https://s3.eu-west-1.amazonaws.com/b.c/k"),
        ];
        for (address, url) in cases {
            assert_eq!(address.key_url("k").unwrap(), url);
            assert!(!address.to_string().contains("secret"));
        }
    }

    #[test]
    fn a_key_is_encoded_once_and_its_slashes_stay() {
        let address = address("b", Some("http://h"), true);
        let url = address.key_url("/a//y=1/%2F +ü~*.gz/").unwrap();
        assert_eq!(url, "http://h/b//a//y%3D1/%252F%20%2B%C3%BC~%2A.gz/");
        assert_eq!(Url::parse(&url).unwrap().as_str(), url, "the URL type keeps it as it is");
    }

    #[test]
    fn keys_that_urls_cannot_name_are_refused() {
        let address = address("b", Some("http://h"), true);
        for key in ["", "..", "a/../b", "a/./b", &"x".repeat(1025)] {
            assert_eq!(address.key_url(key).unwrap_err().kind, SinkErrorKind::Misconfigured, "{key}");
        }
    }

    #[test]
    fn a_person_reads_bucket_and_endpoint() {
        assert_eq!(
            address("lake", Some("http://127.0.0.1:9000"), true).to_string(),
            "s3://lake (http://127.0.0.1:9000)"
        );
    }
}
