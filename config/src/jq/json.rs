//! Records to JSON values, strictly: jaq's own reader takes a superset of JSON, and recurses as deep as its input does.

use jaq_json::Val;
use serde::de::IgnoredAny;

const DEPTH_MAX: usize = 128;
const DIGITS_MAX: usize = 1_024;

/// The text, if it is UTF-8 and neither nests too deep nor holds a number too long for readers that follow.
pub(super) fn bounded(record: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(record).ok()?;
    // Most records cannot break a bound, which is cheaper to see than to check.
    let opened = record.iter().filter(|&&byte| byte == b'[' || byte == b'{').count();
    let surely_bounded = opened <= DEPTH_MAX && record.len() <= DIGITS_MAX;
    (surely_bounded || is_bounded(record)).then_some(text)
}

/// One JSON value. The text was [`bounded`].
pub(super) fn value(text: &str) -> Option<Val> {
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    jaq_json::read::parse_single(text.as_bytes()).ok()
}

fn is_bounded(record: &[u8]) -> bool {
    let (mut depth, mut digits) = (0_usize, 0_usize);
    let mut bytes = record.iter();
    while let Some(&byte) = bytes.next() {
        digits = if byte.is_ascii_digit() { digits + 1 } else { 0 };
        match byte {
            b'"' => skip_string(&mut bytes),
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX || digits > DIGITS_MAX {
            return false;
        }
    }
    true
}

fn skip_string(bytes: &mut std::slice::Iter<'_, u8>) {
    while let Some(&byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
}
