//! One line of a combined access log, taken apart. Text stays as the web server wrote it, its `\x..` escapes included.

use crate::time;

/// `host ident user [time] "method path protocol" status bytes "referer" "user agent"`
#[derive(Debug, PartialEq, Eq)]
pub struct Line<'a> {
    pub client: &'a str,
    /// RFC 3339 in UTC, to the second.
    pub time: String,
    pub method: &'a str,
    pub path: &'a str,
    pub protocol: &'a str,
    pub status: u16,
    /// `None` where the log has `-`, as have the next two.
    pub bytes: Option<i64>,
    pub referer: Option<&'a str>,
    pub user_agent: Option<&'a str>,
}

/// The error names the part of the line that could not be read.
pub fn parse(data: &[u8]) -> Result<Line<'_>, String> {
    let text = std::str::from_utf8(data)
        .map_err(|error| format!("not a combined access log line: not UTF-8 at byte {}", error.valid_up_to()))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    parts(text).map_err(|problem| format!("not a combined access log line: {problem}"))
}

fn parts(text: &str) -> Result<Line<'_>, String> {
    let mut rest = text;
    let client = word(&mut rest, "client")?;
    word(&mut rest, "ident")?;
    word(&mut rest, "user")?;
    let time = bracketed(&mut rest)?;
    space(&mut rest, "time")?;
    let request = quoted(&mut rest, "request")?;
    space(&mut rest, "request")?;
    let status = word(&mut rest, "status")?;
    let bytes = word(&mut rest, "bytes")?;
    let referer = quoted(&mut rest, "referer")?;
    space(&mut rest, "referer")?;
    let user_agent = quoted(&mut rest, "user agent")?;
    if !rest.is_empty() {
        return Err("more text after the user agent".to_owned());
    }
    let (method, path, protocol) = request_parts(request)?;
    let time = time::to_utc(time)
        .ok_or_else(|| format!("time must be like `17/May/2015:10:05:03 +0000`, got `{}`", shortened(time)))?;
    let (status, bytes) = (status_code(status)?, byte_count(bytes)?);
    let (referer, user_agent) = (unless_dash(referer), unless_dash(user_agent));
    Ok(Line { client, time, method, path, protocol, status, bytes, referer, user_agent })
}

/// Up to the next space, which is taken too.
fn word<'a>(rest: &mut &'a str, part: &str) -> Result<&'a str, String> {
    match rest.split_once(' ') {
        Some((word, after)) if !word.is_empty() => {
            *rest = after;
            Ok(word)
        }
        _ => Err(format!("no {part}, or nothing after it")),
    }
}

fn space(rest: &mut &str, part: &str) -> Result<(), String> {
    *rest = rest.strip_prefix(' ').ok_or_else(|| format!("no space after the {part}"))?;
    Ok(())
}

fn bracketed<'a>(rest: &mut &'a str) -> Result<&'a str, String> {
    let inside = rest.strip_prefix('[').ok_or("time has no `[` before it")?;
    let (time, after) = inside.split_once(']').ok_or("time has no `]` after it")?;
    *rest = after;
    Ok(time)
}

/// Between quotes. A quote inside is written `\"`.
fn quoted<'a>(rest: &mut &'a str, part: &str) -> Result<&'a str, String> {
    let inside = rest.strip_prefix('"').ok_or_else(|| format!("{part} has no quote before it"))?;
    let mut escaped = false;
    for (at, byte) in inside.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => {
                *rest = &inside[at + 1..];
                return Ok(&inside[..at]);
            }
            _ => {}
        }
    }
    Err(format!("{part} has no quote after it"))
}

fn request_parts(request: &str) -> Result<(&str, &str, &str), String> {
    let mut words = request.split(' ');
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(method), Some(path), Some(protocol), None) if !method.is_empty() && protocol.starts_with("HTTP/") => {
            Ok((method, path, protocol))
        }
        _ => Err(format!("request must be `METHOD path HTTP/x`, got `{}`", shortened(request))),
    }
}

fn status_code(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(status @ 100..=599) => Ok(status),
        _ => Err(format!("status must be 100 to 599, got `{}`", shortened(text))),
    }
}

fn byte_count(text: &str) -> Result<Option<i64>, String> {
    if text == "-" {
        return Ok(None);
    }
    match text.parse::<i64>() {
        Ok(bytes) if text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Some(bytes)),
        _ => Err(format!("bytes must be a number or `-`, got `{}`", shortened(text))),
    }
}

fn unless_dash(text: &str) -> Option<&str> {
    (text != "-").then_some(text)
}

/// Enough to recognise it by; a message is no place for a whole record.
fn shortened(text: &str) -> &str {
    text.char_indices().nth(60).map_or(text, |(at, _)| &text[..at])
}
