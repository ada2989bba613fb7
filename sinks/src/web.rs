//! What the sinks that speak HTTP share: the client, and answers that are read within bounds.

use std::error::Error;
use std::time::Duration;

use httpdate::parse_http_date;
use hydrant_config::Authorities;
use reqwest::Response;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

use crate::SinkError;

/// How long a connection may take to come about.
pub(crate) const CONNECT: Duration = Duration::from_secs(10);
/// Characters of the other end's own message that are passed on.
const MESSAGE_CHARS_MAX: usize = 300;

/// A client that follows no redirect and repeats nothing. `code` is the sink's own for settings that make no client.
pub(crate) fn client(code: &str, ca: Option<&Authorities>, connect: Duration) -> Result<reqwest::Client, SinkError> {
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(connect)
        .pool_idle_timeout(Duration::from_secs(10))
        .http1_only()
        .user_agent(concat!("hydrant/", env!("CARGO_PKG_VERSION")));
    if let Some(ca) = ca {
        let certificates = reqwest::Certificate::from_pem_bundle(&ca.pem).map_err(|error| {
            let message = format!("`{}` holds no certificates that can be read: {error}", ca.path.display());
            SinkError::misconfigured(code, message).with_source(error)
        })?;
        builder = builder.tls_certs_merge(certificates);
    }
    builder.build().map_err(|error| {
        let with = ca.map(|ca| format!(" with the certificates of `{}`", ca.path.display())).unwrap_or_default();
        SinkError::misconfigured(code, format!("no HTTP client{with}: {}", causes(&error))).with_source(error)
    })
}

/// A header as text.
pub(crate) fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// How long to wait. One that names a time is read by the clock of whoever sent it, which is its `Date`.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let after = text(RETRY_AFTER)?;
    let until = |now| parse_http_date(after).ok()?.duration_since(parse_http_date(now).ok()?).ok();
    after.parse().ok().map(Duration::from_secs).or_else(|| until(text(DATE)?))
}

/// The whole body, or `None` if it is larger than `max`. It is the caller that bounds the time.
pub(crate) async fn whole_body(response: &mut Response, max: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await? {
        if piece.len() > max - body.len() {
            return Ok(None);
        }
        body.extend_from_slice(&piece);
    }
    Ok(Some(body))
}

/// The error and its causes, in one line.
pub(crate) fn causes(error: &(dyn Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| (*error).source());
    let mut texts: Vec<String> = chain.map(ToString::to_string).collect();
    texts.dedup();
    texts.join(": ")
}

/// What the other end said, short and without anything that a terminal would obey.
pub(crate) fn one_line(text: &str) -> String {
    let visible = |character: char| if character.is_control() { ' ' } else { character };
    text.trim_end_matches('.').chars().take(MESSAGE_CHARS_MAX).map(visible).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_others_stay_on_one_line_and_short() {
        assert_eq!(one_line("a\nb\u{1b}[0m."), "a b [0m");
        assert_eq!(one_line(&"x".repeat(10_000)).len(), MESSAGE_CHARS_MAX);
    }
}
