//! Who may know whom, from the Cargo.toml files; and what the lock file may hold.

use std::collections::{BTreeMap, BTreeSet};

use crate::Finding;

/// The dependency direction. `hydrant` composes and the test crate stands outside, so both may see everything.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("hydrant-record", &[]),
    ("hydrant-disk", &[]),
    ("hydrant-shardlog", &["hydrant-record", "hydrant-disk"]),
    ("hydrant-config", &["hydrant-record"]),
    ("hydrant-formats", &["hydrant-record", "hydrant-config"]),
    ("hydrant-plugins", &["hydrant-record", "hydrant-config"]),
    ("hydrant-sinks", &["hydrant-record", "hydrant-config", "hydrant-disk"]),
    ("hydrant-ingest", &["hydrant-record", "hydrant-config", "hydrant-shardlog"]),
    (
        "hydrant-delivery",
        &[
            "hydrant-record",
            "hydrant-disk",
            "hydrant-shardlog",
            "hydrant-config",
            "hydrant-formats",
            "hydrant-plugins",
            "hydrant-sinks",
        ],
    ),
];
const COMPOSERS: &[&str] = &["hydrant", "hydrant-tests"];

/// A crate that only some of ours may depend on, and why.
const RESERVED: &[(&str, &[&str], &str)] = &[
    ("reqwest", &["hydrant-sinks", "hydrant"], "HTTP clients live in sinks and in the daemon's client commands"),
    (
        "object_store",
        &["hydrant-sinks", "hydrant", "hydrant-tests"],
        "stores are spoken to by sinks, and by the plain client that the bench puts beside them",
    ),
    ("axum", &["hydrant-ingest", "hydrant"], "HTTP servers are the front door (ingest) and the daemon's admin port"),
    ("hyper", &["hydrant-ingest", "hydrant"], "HTTP servers are the front door (ingest) and the daemon's admin port"),
    ("serde-saphyr", &["hydrant-config"], "only config reads YAML"),
    ("wasmtime", &["hydrant-plugins"], "only plugins runs WebAssembly"),
    ("parquet", &["hydrant-formats"], "only formats writes Parquet"),
];
const PACKAGES_MAX: usize = 620;

/// One Cargo.toml, as far as the rules need it.
#[derive(Debug, Default)]
struct Manifest {
    name: String,
    /// Of `[dependencies]` and `[build-dependencies]`, target tables included; tests may use what they like.
    dependencies: BTreeSet<String>,
    git: Vec<String>,
}

pub(crate) fn check_manifest(path: &str, text: &str) -> Vec<Finding> {
    let manifest = parse(text);
    let mut found: Vec<Finding> = manifest
        .git
        .iter()
        .map(|name| Finding(format!("{path}: `{name}` comes from git; use a release from the registry")))
        .collect();
    // Guests of the plugin host are programs of their own.
    if !manifest.name.starts_with("hydrant") || path.starts_with("examples/") || path.starts_with("plugins/tests/") {
        return found;
    }
    found.extend(check_direction(path, &manifest));
    for (name, users, reason) in RESERVED {
        if manifest.dependencies.contains(*name) && !users.contains(&manifest.name.as_str()) {
            found.push(Finding(format!(
                "{path}: `{}` must not depend on `{name}`: {reason}; only {} may",
                manifest.name,
                users.join(" and ")
            )));
        }
    }
    found
}

fn check_direction(path: &str, manifest: &Manifest) -> Vec<Finding> {
    if COMPOSERS.contains(&manifest.name.as_str()) || manifest.name == "hydrant-plugin-sdk" {
        return Vec::new();
    }
    let Some((_, allowed)) = MAY_KNOW.iter().find(|(name, _)| *name == manifest.name) else {
        return vec![Finding(format!(
            "{path}: `{}` is new; say in tests/tidy/manifest.rs whom it may know, and in ARCHITECTURE.md why",
            manifest.name
        ))];
    };
    let ours = manifest.dependencies.iter().filter(|name| name.starts_with("hydrant"));
    ours.filter(|name| !allowed.contains(&name.as_str()))
        .map(|name| {
            Finding(format!(
                "{path}: `{}` must not know `{name}` (it may know: {}); \
                 move the shared word to `hydrant-record`, or let the daemon compose the two",
                manifest.name,
                if allowed.is_empty() { "nobody".to_owned() } else { allowed.join(", ") }
            ))
        })
        .collect()
}

fn parse(text: &str) -> Manifest {
    let mut manifest = Manifest::default();
    let mut section = String::new();
    for line in text.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_start_matches('[').trim_end_matches(']').to_owned();
            if let Some((table, name)) = section.rsplit_once('.')
                && counts(table)
            {
                manifest.dependencies.insert(name.to_owned());
            }
            continue;
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        let name = key.trim().split('.').next().unwrap_or(key).trim_matches('"');
        if section == "package" && key.trim() == "name" {
            manifest.name = value.trim().trim_matches('"').to_owned();
        }
        if counts(&section) {
            manifest.dependencies.insert(name.to_owned());
        }
        if section.contains("dependencies") && (value.contains("git =") || value.contains("git=")) {
            manifest.git.push(name.to_owned());
        }
    }
    manifest
}

fn counts(section: &str) -> bool {
    let table = section.rsplit('.').next().unwrap_or(section);
    matches!(table, "dependencies" | "build-dependencies") && !section.starts_with("workspace")
}

pub(crate) fn check_lock(lock: &str) -> Vec<Finding> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut name = "";
    let value = |line: &'_ str| line.split('"').nth(1).map(str::len);
    for line in lock.lines() {
        if line.starts_with("name = ") && value(line).is_some() {
            name = line.split('"').nth(1).unwrap_or_default();
        } else if line.starts_with("version = \"") && !name.is_empty() {
            versions.entry(name).or_default().push(line.split('"').nth(1).unwrap_or_default());
            name = "";
        }
    }
    let packages: usize = versions.values().map(Vec::len).sum();
    let mut found = Vec::new();
    if packages >= PACKAGES_MAX {
        found.push(Finding(format!(
            "Cargo.lock: {packages} packages, must be under {PACKAGES_MAX}; \
             turn default features off, or do without the newest dependency (`cargo tree -d` shows what is there twice)"
        )));
    }
    for (name, found_versions) in versions {
        let one = name.starts_with("arrow") || name == "parquet";
        if one && found_versions.len() > 1 {
            found.push(Finding(format!(
                "Cargo.lock: `{name}` in versions {}; a RecordBatch of one is not that of the other, and each costs a \
                 sixth of the build: choose dependencies that agree",
                found_versions.join(" and ")
            )));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(manifest: &str) -> Vec<String> {
        check_manifest("x/Cargo.toml", manifest).into_iter().map(|finding| finding.0).collect()
    }

    #[test]
    fn direction_is_held() {
        let bad = "[package]\nname = \"hydrant-sinks\"\n[dependencies]\nhydrant-formats.workspace = true\n";
        assert!(found(bad)[0].contains("must not know `hydrant-formats`"));
        let table = "[package]\nname = \"hydrant-disk\"\n[dependencies.hydrant-record]\npath = \"../record\"\n";
        assert!(found(table)[0].contains("may know: nobody"));
        let fine = "[package]\nname = \"hydrant-sinks\"\n[dependencies]\nhydrant-disk.workspace = true\n\
                    [dev-dependencies]\nhydrant-formats.workspace = true\n";
        assert_eq!(found(fine), Vec::<String>::new());
    }

    #[test]
    fn a_new_crate_must_be_placed() {
        assert!(found("[package]\nname = \"hydrant-extra\"\n")[0].contains("is new"));
    }

    #[test]
    fn reserved_crates() {
        let bad = "[package]\nname = \"hydrant-delivery\"\n[dependencies]\nreqwest = { version = \"0.13\" }\n";
        assert!(found(bad)[0].contains("HTTP clients live in sinks"));
        let server = "[package]\nname = \"hydrant-sinks\"\n[target.'cfg(unix)'.dependencies]\naxum.workspace = true\n";
        assert!(found(server)[0].contains("HTTP servers are"));
        let inside_tests = "[package]\nname = \"hydrant-sinks\"\n[dev-dependencies]\naxum.workspace = true\n";
        assert_eq!(found(inside_tests), Vec::<String>::new());
    }

    #[test]
    fn nothing_from_git() {
        let bad = "[workspace.dependencies]\nfoo = { git = \"https://example.com/foo\" }\n";
        assert!(found(bad)[0].contains("`foo` comes from git"));
    }

    #[test]
    fn the_lock_file() {
        let package = |name: &str, version: &str| format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n");
        let twice = format!("version = 4\n{}{}", package("arrow-array", "58.0.0"), package("arrow-array", "59.3.0"));
        assert!(check_lock(&twice)[0].0.contains("58.0.0 and 59.3.0"));
        let many: String = (0..620).map(|number| package(&format!("p{number}"), "1.0.0")).collect();
        assert!(check_lock(&many)[0].0.contains("620 packages"));
        assert_eq!(check_lock(&package("arrow", "59.3.0")), []);
    }
}
