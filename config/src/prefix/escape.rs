//! Values of partition keys as Hive and Spark write them into paths, so that no value can leave its place in the prefix.

use std::fmt::Write;

/// What stands for the empty string, for a path has no empty component.
pub(super) const EMPTY: &str = "__HIVE_DEFAULT_PARTITION__";

/// Appends the value: control characters and `"#%'*/:=?\{[]^` as `%XX`, `.` and `..` whole, other text as it is.
pub(super) fn push_escaped(out: &mut String, value: &str) {
    match value {
        "" => return out.push_str(EMPTY),
        "." => return out.push_str("%2E"),
        ".." => return out.push_str("%2E%2E"),
        _ => {}
    }
    // All that is escaped is ASCII, so every cut is between characters.
    let mut rest = value;
    while let Some(at) = rest.bytes().position(is_escaped) {
        out.push_str(&rest[..at]);
        write!(out, "%{:02X}", rest.as_bytes()[at]).expect("a String takes every text");
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
}

fn is_escaped(byte: u8) -> bool {
    byte.is_ascii_control() || br##""#%'*/:=?\{[]^"##.contains(&byte)
}
