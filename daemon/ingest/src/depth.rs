//! How deep a JSON text nests, before a recursive parser sees it. A body of `[[[[…` must not cost a stack.

/// Far more than any request of the API has.
pub(crate) const DEPTH_MAX: usize = 64;

/// Whether brackets outside of strings nest deeper than [`DEPTH_MAX`]. Exact for valid JSON, and good enough for the rest,
/// which no parser follows further than to its first fault. One pass, and strings, which are nearly all of a put, are skipped
/// at memory speed.
pub(crate) fn is_too_deep(text: &[u8]) -> bool {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(&byte) = text.get(at) {
        at += 1;
        match byte {
            b'"' => at = string_end(text, at),
            b'{' | b'[' if depth == DEPTH_MAX => return true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// Behind the closing quote of the string whose inside begins at `at`.
fn string_end(text: &[u8], mut at: usize) -> usize {
    while let Some(found) = text.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        if text[at + found] == b'"' {
            return at + found + 1;
        }
        at += found + 2;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_count_and_strings_do_not() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(!is_too_deep(nested(DEPTH_MAX).as_bytes()));
        assert!(is_too_deep(nested(DEPTH_MAX + 1).as_bytes()));
        assert!(is_too_deep(&b"{\"a\":".repeat(100_000)));
        assert!(!is_too_deep(format!("[\"{}\"]", "[".repeat(1000)).as_bytes()));
        assert!(!is_too_deep(format!("[\"{}\"]", "\\\"[".repeat(1000)).as_bytes()));
        assert!(!is_too_deep("[],".repeat(1000).as_bytes()));
        for cut in ["", "\"", "\"\\", "[\"a"] {
            assert!(!is_too_deep(cut.as_bytes()));
        }
    }
}
