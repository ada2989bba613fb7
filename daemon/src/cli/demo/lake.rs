//! What the demo delivered: the objects below its lake, counted from the files themselves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::exit::{Exit, Failure};

/// The directory of the demo's objects.
pub(crate) struct Lake(PathBuf);

/// Objects by path.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Objects(BTreeMap<PathBuf, Object>);

#[derive(Clone, Copy, Debug, PartialEq)]
struct Object {
    /// `None` for error objects.
    rows: Option<u64>,
    bytes: u64,
}

/// The objects of one partition.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Total {
    pub(crate) objects: u64,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

impl Lake {
    pub(crate) fn below(dir: &Path) -> Lake {
        Lake(dir.join("lake"))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Reads the footers of all Parquet objects.
    pub(crate) fn objects(&self) -> Result<Objects, Failure> {
        let mut objects = Objects::default();
        let mut dirs = vec![self.0.clone()];
        while let Some(dir) = dirs.pop() {
            let entries = match std::fs::read_dir(&dir) {
                Ok(entries) => entries,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error.into()),
            };
            for entry in entries {
                let path = entry?.path();
                if path.is_dir() {
                    dirs.push(path);
                } else {
                    let object = object(&path)?;
                    objects.0.insert(path.strip_prefix(&self.0).unwrap_or(&path).to_owned(), object);
                }
            }
        }
        Ok(objects)
    }
}

impl Objects {
    /// The objects that were not there before.
    pub(crate) fn since(mut self, before: &Objects) -> Objects {
        self.0.retain(|path, _| !before.0.contains_key(path));
        self
    }

    pub(crate) fn rows(&self) -> u64 {
        self.0.values().filter_map(|object| object.rows).sum()
    }

    /// Parquet objects by their directory; error objects have no rows and are counted by theirs too.
    pub(crate) fn by_partition(&self) -> BTreeMap<String, Total> {
        let mut totals: BTreeMap<String, Total> = BTreeMap::new();
        for (path, object) in &self.0 {
            let partition = path.parent().unwrap_or(path).display().to_string();
            let total = totals.entry(partition).or_default();
            total.objects += 1;
            total.rows += object.rows.unwrap_or(0);
            total.bytes += object.bytes;
        }
        totals
    }
}

fn object(path: &Path) -> Result<Object, Failure> {
    let content = Bytes::from(std::fs::read(path)?);
    let bytes = content.len() as u64;
    if path.extension().is_none_or(|extension| extension != "parquet") {
        return Ok(Object { rows: None, bytes });
    }
    let rows = hydrant_formats::parquet_rows(&content)
        .map_err(|error| Failure::new(Exit::Runtime, format!("`{}` is no Parquet file: {error}", path.display())))?;
    Ok(Object { rows: Some(rows), bytes })
}
