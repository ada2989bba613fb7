//! What is generated for people: the reference page and the file to start from.

use std::fmt::Write as _;

use crate::keys::{KEYS, Key, KeyKind};

/// A commented YAML file that loads as it is.
#[must_use]
pub fn template() -> &'static str {
    include_str!("template.yaml")
}

/// docs/configuration.md.
#[must_use]
pub fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    let mut section = "";
    for key in KEYS {
        if section_of(key) != section {
            section = section_of(key);
            let _ = write!(page, "\n## {section}\n\n| Key | Default | Allowed | Meaning |\n|---|---|---|---|\n");
        }
        let default = match key.kind {
            _ if key.required => "**required**".to_owned(),
            _ if key.default.is_empty() => "–".to_owned(),
            KeyKind::Section | KeyKind::Choice | KeyKind::List | KeyKind::Map(_) | KeyKind::Boolean => {
                key.default.to_owned()
            }
            KeyKind::Secret | KeyKind::Path => key.default.to_owned(),
            _ if key.default.contains('`') || PROSE.contains(&key.default) => key.default.to_owned(),
            _ => format!("`{}`", key.default),
        };
        let beyond = if key.beyond_firehose { " *Beyond Firehose.*" } else { "" };
        let _ = writeln!(page, "| `{}` | {default} | {} | {}{beyond} |", shown_path(key), key.allowed(), key.meaning);
    }
    page
}

const INTRODUCTION: &str = "\
# Configuration

<!-- Generated from the table of keys in config/src/keys.rs; `HYDRANT_WRITE_DOCS=1 cargo test -p hydrant-config` writes it. -->

One YAML file, `hydrant.yaml`. `hydrant init` writes one to start from, `hydrant check -c FILE` tells everything that is
wrong with it, each problem with line, column and a hint. The smallest file that works:

```yaml
delivery_streams:
  - name: access-logs
    destination:
      file: { directory: ./lake }
```

## Values

- **Sizes** have a unit: `64 MiB`, `1 GiB`; decimal when written so: `128 MB`. **Durations** too: `500 ms`, `60 s`, `15 m`, `24 h`, `7 d`.
- **Paths** are relative to the YAML file.
- **`${NAME}`** inside a value is the environment variable NAME; `$${` is the text `${`. Keys are never changed.
- **Secrets** are references: `env:NAME` (environment variable), `file:PATH` (a final newline is no part of it),
  `credential:NAME` (systemd's `LoadCredential=`), `plain:TEXT` (the text itself; warns).
- A **choice** is a map with exactly one key, such as `destination: { s3: { … } }`.
- **Booleans** are `true` and `false`; `yes`, `no`, `on`, `off` are refused. Unknown and repeated keys, anchors, aliases,
  merge keys (`<<`) and tags are refused.
- *Beyond Firehose* marks what Amazon Data Firehose does not have, or bounds more narrowly.

In the paths below `[]` is any item of a list and `*` any key.
";

/// Defaults that are no values.
const PROSE: &[&str] = &[
    "AWS",
    "any",
    "from `s3`",
    "half of the free disk",
    "of the bucket",
    "of the format",
    "of the store",
    "the usual AWS chain",
];

fn section_of(key: &Key) -> &'static str {
    let (first, rest) = key.path.split_once(['.', '[']).unwrap_or((key.path, ""));
    let part = rest.trim_start_matches("].").split('.').next().unwrap_or_default();
    match (first, part) {
        ("delivery_streams", "destination") => "Destinations",
        ("delivery_streams", "backup") => "The backup",
        ("delivery_streams", "format") => "Formats",
        ("delivery_streams", "processing" | "partitioning") => "Processing and partitioning",
        ("delivery_streams", _) => "Delivery streams",
        ("lambda" | "glue" | "opensearch" | "api_destinations", _) => "What names in API requests mean here",
        ("s3", _) => "The S3 connection",
        _ => "The daemon",
    }
}

/// Without the part that all keys of a delivery stream share.
fn shown_path(key: &Key) -> &'static str {
    key.path.strip_prefix("delivery_streams[].").unwrap_or(key.path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_committed_page_is_the_generated_one() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
        if std::env::var_os("HYDRANT_WRITE_DOCS").is_some() {
            std::fs::write(&path, reference()).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == reference(), "docs/configuration.md is stale: HYDRANT_WRITE_DOCS=1 writes it");
    }
}
