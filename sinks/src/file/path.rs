//! A key as a path below a directory. Two different keys never become the same path, and no path leaves the directory.

use std::path::{Path, PathBuf};

use crate::SinkError;

const COMPONENT_BYTES_MAX: usize = 255;
const KEY_BYTES_MAX: usize = 1024;

/// Names that this sink makes for itself while it writes.
pub(super) const TEMPORARY_PREFIX: &str = ".hydrant-";
pub(super) const TEMPORARY_SUFFIX: &str = ".part";

/// The path of `key` below `directory`: its components are the key's, byte for byte.
pub(super) fn path_below(directory: &Path, key: &str) -> Result<PathBuf, SinkError> {
    if let Some(problem) = problem(key) {
        return Err(SinkError::misconfigured(
            "File.BadName",
            format!("`{}` cannot be a file name: {problem}; change the prefix or the file extension", shown(key)),
        ));
    }
    Ok(directory.join(key))
}

/// The name that `key` has while its bytes are written: always the same, so that a retry finds and replaces it.
pub(super) fn temporary_name(key: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.as_bytes());
    format!("{TEMPORARY_PREFIX}{}{TEMPORARY_SUFFIX}", hex::encode(&digest.as_ref()[..16]))
}

fn problem(key: &str) -> Option<&'static str> {
    if key.is_empty() {
        return Some("it is empty");
    }
    if key.len() > KEY_BYTES_MAX {
        return Some("it is longer than 1,024 bytes");
    }
    if key.contains('\0') {
        return Some("it has a NUL");
    }
    if key.starts_with('/') {
        return Some("it begins with `/`");
    }
    let last = key.rsplit('/').next().unwrap_or(key);
    if last.starts_with(TEMPORARY_PREFIX) && last.ends_with(TEMPORARY_SUFFIX) {
        return Some("it looks like a file that is still being written (`.hydrant-….part`)");
    }
    key.split('/').find_map(|component| match component {
        "" => Some("a part between two `/` is empty"),
        "." | ".." => Some("a part of it is `.` or `..`"),
        long if long.len() > COMPONENT_BYTES_MAX => Some("a part of it is longer than 255 bytes"),
        _ => None,
    })
}

/// Fit for one line of a terminal.
fn shown(key: &str) -> String {
    let mut text: String = key.chars().take(200).flat_map(char::escape_default).collect();
    if key.chars().count() > 200 {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SinkErrorKind;

    #[test]
    fn a_key_keeps_its_bytes() {
        for key in ["a", "year=2026/month=01/a b%2F=ü.gz", "..a/b..", ".hidden", "a\\b/c:d*?\"<>|", "日本/é"] {
            assert_eq!(path_below(Path::new("/lake"), key).unwrap().to_str().unwrap(), format!("/lake/{key}"));
        }
    }

    #[test]
    fn a_hostile_key_is_refused() {
        let long = "x".repeat(256);
        let deep = "x/".repeat(600) + "x";
        let hostile = [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../x",
            "a/../../x",
            "a/..",
            "./a",
            "a/.",
            "a//b",
            "a/",
            "a\0b",
            &long,
            &deep,
            "a/.hydrant-00.part",
        ];
        for key in hostile {
            let error = path_below(Path::new("/lake"), key).unwrap_err();
            assert_eq!((error.kind, error.code.as_str()), (SinkErrorKind::Misconfigured, "File.BadName"), "{key:?}");
            assert!(!error.message.contains(['\0', '\n']) && error.message.len() < 400, "{}", error.message);
        }
    }

    #[test]
    fn a_component_of_255_bytes_is_fine() {
        assert!(path_below(Path::new("/lake"), &"x".repeat(255)).is_ok());
    }

    #[test]
    fn temporary_names_differ_by_key_and_stay() {
        assert_eq!(temporary_name("a/b"), temporary_name("a/b"));
        assert_ne!(temporary_name("a/b"), temporary_name("b"));
        assert!(temporary_name(&"x".repeat(1024)).len() < 64);
    }
}
