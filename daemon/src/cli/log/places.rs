//! Which logs a data directory has, and what people call them.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use hydrant_disk::{Disk as _, RealDisk};
use hydrant_ingest::Catalog;
use hydrant_shardlog::{Dumped, Selection, dump};

use crate::exit::{Exit, Failure, chain};

/// The logs of one data directory.
pub(super) struct Places {
    pub(super) dir: PathBuf,
    all: Vec<Place>,
}

/// One log.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// What it is called here: `catalog`, a delivery stream, `journal/NAME`; or its path.
    pub(super) name: String,
    /// The id of its delivery stream.
    pub(super) id: Option<String>,
    pub(super) dir: PathBuf,
}

impl Places {
    pub(super) fn of(dir: &Path) -> Result<Places, Failure> {
        if !dir.join("STORE").is_file() {
            let text = format!("`{}` is no data directory of hydrant: it has no file `STORE`", dir.display());
            return Err(
                Failure::new(Exit::Usage, text).hint("name it: `--data-dir DIR`, or `-c FILE` with its `data_dir`")
            );
        }
        let catalog = Place { name: "catalog".to_owned(), id: None, dir: dir.join("catalog") };
        let names = names(&catalog.dir).unwrap_or_else(|reason| {
            tracing::warn!("the catalog cannot be read, so delivery streams have only their ids: {reason}");
            BTreeMap::new()
        });
        let called = |id: &str| names.get(id).cloned().unwrap_or_else(|| id.to_owned());
        let mut all: Vec<Place> = Vec::new();
        for id in ids(&dir.join("streams"))? {
            all.push(Place { name: called(&id), dir: dir.join("streams").join(&id), id: Some(id) });
        }
        for id in ids(&dir.join("delivery"))? {
            let journal = dir.join("delivery").join(&id).join("journal");
            if journal.is_dir() {
                all.push(Place { name: format!("journal/{}", called(&id)), dir: journal, id: Some(id) });
            }
        }
        all.sort_by(|one, other| (one.is_journal(), &one.name).cmp(&(other.is_journal(), &other.name)));
        if catalog.dir.is_dir() {
            all.insert(0, catalog);
        }
        Ok(Places { dir: dir.to_owned(), all })
    }

    /// Those that are named; all of them if none is.
    pub(super) fn named(&self, names: &[String]) -> Result<Vec<Place>, Failure> {
        if names.is_empty() {
            return Ok(self.all.clone());
        }
        names.iter().map(|name| self.one(name)).collect()
    }

    pub(super) fn one(&self, wanted: &str) -> Result<Place, Failure> {
        let found: Vec<&Place> = self.all.iter().filter(|place| place.answers_to(wanted)).collect();
        match found[..] {
            [one] => return Ok(one.clone()),
            // `catalog` first of all is the catalog.
            [first, ..] if first.id.is_none() => return Ok(first.clone()),
            [_, _, ..] => {
                let ids: Vec<_> = found.iter().filter_map(|place| place.id.clone()).collect();
                let text = format!("`{wanted}` is the name of {} delivery streams", found.len());
                return Err(Failure::new(Exit::Usage, text).hint(format!("give an id: {}", ids.join(", "))));
            }
            [] => {}
        }
        let path = [self.dir.join(wanted), PathBuf::from(wanted)];
        if let Some(dir) = path.into_iter().find(|path| wanted.contains('/') && path.is_dir()) {
            return Ok(Place { name: wanted.to_owned(), id: None, dir });
        }
        let there: Vec<_> = self.all.iter().map(|place| place.name.as_str()).collect();
        Err(Failure::new(Exit::Usage, format!("`{}` has no log `{wanted}`", self.dir.display()))
            .hint(format!("there are: {}", there.join(", "))))
    }

    /// Whether a process holds the lock of the data directory, as far as the kernel tells. The lock itself is left alone: to
    /// try it would keep a daemon from starting.
    pub(super) fn in_use(&self) -> bool {
        let inode = std::fs::metadata(self.dir.join("STORE")).map(|store| store.ino());
        let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
        inode.is_ok_and(|inode| is_locked(&locks, inode))
    }
}

impl Place {
    fn is_journal(&self) -> bool {
        self.dir.ends_with("journal")
    }

    fn answers_to(&self, wanted: &str) -> bool {
        let id = match wanted.strip_prefix("journal/") {
            Some(id) if self.is_journal() => id,
            None if !self.is_journal() => wanted,
            _ => return false,
        };
        self.name == wanted || self.id.as_deref() == Some(id)
    }
}

/// Lines are like `1: FLOCK  ADVISORY  WRITE 4711 08:01:131090 0 EOF`, the inode at the end of the sixth word.
fn is_locked(locks: &str, inode: u64) -> bool {
    let inode = inode.to_string();
    locks.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next() == Some("FLOCK") && words.nth(3).and_then(|file| file.rsplit(':').next()) == Some(inode.as_str())
    })
}

/// Names of delivery streams by id, as the last state in the catalog has them.
fn names(catalog: &Path) -> Result<BTreeMap<String, String>, String> {
    let streams = Catalog::names_in(&last_state(catalog)?).map_err(|error| chain(&error))?;
    Ok(streams.into_iter().map(|(id, name)| (id.to_string(), name)).collect())
}

/// Of a catalog that a daemon may have open.
pub(in crate::cli) fn last_state(catalog: &Path) -> Result<Bytes, String> {
    let mut last = None;
    let mut take = |met| {
        last = match met {
            Dumped::Record(record) => Some(record),
            Dumped::Lost { .. } | Dumped::Damage(_) => None,
        };
        ControlFlow::Continue(())
    };
    dump(&RealDisk::new(), catalog, &Selection::default(), &mut take).map_err(|error| chain(&error))?;
    last.map(|last| last.data).ok_or_else(|| "it holds no whole state".to_owned())
}

fn ids(dir: &Path) -> Result<Vec<String>, Failure> {
    match RealDisk::new().list(dir) {
        Ok(names) => Ok(names.iter().filter_map(|name| name.to_str()).map(str::to_owned).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(crate::store::in_dir(dir, &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::is_locked;

    #[test]
    fn a_lock_is_known_by_its_inode() {
        let locks = "1: POSIX  ADVISORY  WRITE 71 08:01:5 0 EOF\n2: FLOCK  ADVISORY  WRITE 4711 08:01:131090 0 EOF\n";
        assert!(is_locked(locks, 131_090));
        assert!(!is_locked(locks, 5), "not of this kind");
        assert!(!is_locked(locks, 1_090));
        assert!(!is_locked("", 1));
    }
}
