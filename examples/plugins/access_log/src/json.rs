//! A line as one JSON object, in the order of its parts.

use crate::client;
use crate::line::Line;
use crate::settings::Mask;

/// No newline behind it; the delivery stream's `append_delimiter` adds that.
#[must_use]
pub fn write(line: &Line<'_>, mask: Mask) -> Vec<u8> {
    let mut out = Vec::with_capacity(384);
    out.extend_from_slice(b"{\"ts\":");
    string(&mut out, &line.time);
    field(&mut out, "client", client::masked(line.client, mask).as_deref());
    field(&mut out, "method", Some(line.method));
    field(&mut out, "path", Some(line.path));
    field(&mut out, "protocol", Some(line.protocol));
    out.extend_from_slice(b",\"status\":");
    out.extend_from_slice(line.status.to_string().as_bytes());
    out.extend_from_slice(b",\"bytes\":");
    match line.bytes {
        Some(bytes) => out.extend_from_slice(bytes.to_string().as_bytes()),
        None => out.extend_from_slice(b"null"),
    }
    field(&mut out, "referer", line.referer);
    field(&mut out, "user_agent", line.user_agent);
    out.push(b'}');
    out
}

fn field(out: &mut Vec<u8>, name: &str, value: Option<&str>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    match value {
        Some(value) => string(out, value),
        None => out.extend_from_slice(b"null"),
    }
}

/// Runs without anything to escape are copied whole.
fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut copied = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[copied..at]);
        copied = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            control => out.extend_from_slice(format!("\\u{control:04x}").as_bytes()),
        }
    }
    out.extend_from_slice(&bytes[copied..]);
    out.push(b'"');
}
