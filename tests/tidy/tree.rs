//! The tracked files, and the rules about their names, sizes and plain text.

use std::path::Path;
use std::process::Command;
use std::{fs, io};

use crate::Finding;

/// What may stand at the top: the rooms of the house, and the files that tools want there.
const TOP: &[&str] = &[
    ".ci",
    ".gitattributes",
    ".gitignore",
    "ARCHITECTURE.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "clippy.toml",
    "config",
    "daemon",
    "deny.toml",
    "docs",
    "examples",
    "plugins",
    "rustfmt.toml",
    "sinks",
    "tests",
];
const BANNED_NAMES: &[&str] =
    &["util", "utils", "common", "helper", "helpers", "manager", "managers", "handler", "handlers", "misc"];
/// Not walked when there is no git: what builds and runs leave behind.
const LEFT_BEHIND: &[&str] = &[".git", "target", "hydrant-data", "hydrant-demo", "lake", "__pycache__"];
const LINES_MAX: usize = 500;
const MAIN_LINES_MAX: usize = 60;

/// Paths relative to the top, with `/`, and the text of those that are UTF-8.
pub(crate) struct Tree {
    files: Vec<(String, Option<String>)>,
}

impl Tree {
    pub(crate) fn read(top: &Path) -> io::Result<Tree> {
        let mut paths = match tracked(top) {
            Some(paths) => paths,
            None => walked(top, "")?,
        };
        paths.sort();
        // A tracked file may be deleted and not yet committed.
        paths.retain(|path| top.join(path).is_file());
        let read = |path: String| {
            let bytes = fs::read(top.join(&path))?;
            Ok((path, String::from_utf8(bytes).ok()))
        };
        Ok(Tree { files: paths.into_iter().map(read).collect::<io::Result<_>>()? })
    }

    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Tree {
        Tree { files: files.iter().map(|(path, text)| ((*path).to_owned(), Some((*text).to_owned()))).collect() }
    }

    /// The text files whose path ends so.
    pub(crate) fn texts(&self, end: &str) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .filter(move |(path, _)| path.ends_with(end))
            .filter_map(|(path, text)| Some((path.as_str(), text.as_deref()?)))
    }
}

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for (path, text) in &tree.files {
        found.extend(check_name(path));
        if let Some(text) = text {
            found.extend(check_size(path, text));
            found.extend(check_machine_path(path, text));
        }
    }
    found
}

fn check_name(path: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let top = path.split('/').next().unwrap_or(path);
    if !TOP.contains(&top) {
        found.push(Finding(format!(
            "{path}: `{top}` does not belong at the top level, which reads as the product does; \
             put it into the room it serves ({})",
            TOP.join(" ")
        )));
    }
    for part in path.split('/') {
        let stem = part.split('.').next().unwrap_or(part);
        if BANNED_NAMES.contains(&stem) {
            found.push(Finding(format!(
                "{path}: `{stem}` says nothing about what is inside; name it for what it does or knows"
            )));
        }
    }
    found
}

fn check_size(path: &str, text: &str) -> Option<Finding> {
    let lines = text.lines().count();
    let counted = [".rs", ".py"].iter().any(|end| path.ends_with(end));
    if path == "daemon/src/main.rs" && lines >= MAIN_LINES_MAX {
        return Some(Finding(format!(
            "{path}: {lines} lines, must be under {MAIN_LINES_MAX}; it only parses the command line and hands over, \
             so move the rest to cli/ or run.rs"
        )));
    }
    (counted && lines >= LINES_MAX)
        .then(|| Finding(format!("{path}: {lines} lines, must be under {LINES_MAX}; split it by what its parts do")))
}

fn check_machine_path(path: &str, text: &str) -> Option<Finding> {
    // Real log lines may name any path; a lock file names none.
    if path.starts_with("examples/data/") || path.ends_with("Cargo.lock") {
        return None;
    }
    let homes = [concat!("/ro", "ot/"), concat!("/ho", "me/")];
    let (number, line) = text.lines().enumerate().find(|(_, line)| homes.iter().any(|home| line.contains(home)))?;
    Some(Finding(format!(
        "{path}:{}: names a path of one developer's machine (`{}`); use a relative path, $HOME or an environment variable",
        number + 1,
        line.trim()
    )))
}

fn tracked(top: &Path) -> Option<Vec<String>> {
    let list = Command::new("git")
        .arg("-C")
        .arg(top)
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .output()
        .ok()?;
    let text = String::from_utf8(list.stdout).ok()?;
    let paths: Vec<String> = text.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect();
    (list.status.success() && !paths.is_empty()).then_some(paths)
}

fn walked(top: &Path, below: &str) -> io::Result<Vec<String>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(top.join(below))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        if entry.file_type()?.is_dir() {
            if !LEFT_BEHIND.contains(&name.as_str()) {
                paths.extend(walked(top, &path)?);
            }
        } else {
            paths.push(path);
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> String {
        check(&Tree::of(&[(path, text)])).into_iter().map(|finding| finding.0).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_stranger_at_the_top() {
        assert!(found("scripts/x.sh", "").contains("`scripts` does not belong"));
        assert_eq!(found("tests/run", ""), "");
    }

    #[test]
    fn a_name_that_says_nothing() {
        for path in ["daemon/src/util.rs", "daemon/helpers/x.rs", "tests/it/common.py", "config/src/error_handler.rs"] {
            assert_eq!(found(path, "").is_empty(), path.contains("error_handler"), "{path}");
        }
    }

    #[test]
    fn a_file_that_is_too_long() {
        assert!(found("config/src/a.rs", &"//\n".repeat(500)).contains("500 lines"));
        assert_eq!(found("config/src/a.rs", &"//\n".repeat(499)), "");
        assert!(found("daemon/src/main.rs", &"//\n".repeat(60)).contains("under 60"));
    }

    #[test]
    fn a_path_of_a_developer() {
        let line = format!("ok\nlet x = \"/{}/me/x\";", "home");
        assert!(found("config/src/a.rs", &line).contains("config/src/a.rs:2"));
        assert_eq!(found("examples/data/access.log", &line), "");
    }

    #[test]
    fn without_git_the_tree_is_walked() {
        let top = tempfile::tempdir().unwrap();
        for path in ["tests/run", "target/release/x", "lake/part"] {
            fs::create_dir_all(top.path().join(path).parent().unwrap()).unwrap();
            fs::write(top.path().join(path), "").unwrap();
        }
        assert_eq!(walked(top.path(), "").unwrap(), ["tests/run"]);
    }
}
