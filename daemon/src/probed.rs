//! What `hydrant check` has found out about stores, for `hydrant status` to tell.
//!
//! ```text
//! probed/<digest of the store's name>.json     the newest finding on one bucket
//! ```
//!
//! Invariant: nothing that is delivered depends on it. The daemon only reads it; whoever probes writes a whole file or none.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use hydrant_disk::{Disk, create_dir_durable, read_exact_at, replace_durable};
use hydrant_record::Timestamp;
use hydrant_sinks::StoreClass;
use serde::{Deserialize, Serialize};

/// More is no finding.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Probed {
    /// As its sink calls itself: bucket and endpoint.
    pub(crate) store: String,
    /// Of PUTs that ask to be the first one wins; else all do.
    pub(crate) conditional_writes: bool,
    pub(crate) probed_ms: u64,
}

/// What `hydrant status` tells of one store of a delivery stream.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StoreStatus {
    store: String,
    /// `None`: it was not probed.
    conditional_writes: Option<bool>,
    probed_ms: Option<u64>,
    /// What follows from it.
    means: String,
}

/// The same of its destination and of its backup, where they are buckets.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct StreamStores {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) store: Option<StoreStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) backup_store: Option<StoreStatus>,
}

/// The newest finding on each store, by its name.
pub(crate) type Findings = BTreeMap<String, Probed>;

/// Durable on return, in a data directory that there is.
pub(crate) fn remember(
    disk: &dyn Disk,
    data_dir: &Path,
    (store, class): (&str, StoreClass),
    now: Timestamp,
) -> io::Result<()> {
    let dir = data_dir.join("probed");
    create_dir_durable(disk, &dir)?;
    let conditional_writes = class == StoreClass::Exclusive;
    let probed = Probed { store: store.to_owned(), conditional_writes, probed_ms: now.as_millis() };
    let name = hex::encode(&digest(&SHA256, store.as_bytes()).as_ref()[..16]);
    let json = serde_json::to_vec(&probed).map_err(io::Error::other)?;
    replace_durable(disk, &dir.join(format!("{name}.json")), &json)
}

/// What cannot be read is not known.
pub(crate) fn findings(disk: &dyn Disk, data_dir: &Path) -> Findings {
    let dir = data_dir.join("probed");
    let mut names = disk.list(&dir).unwrap_or_default();
    names.retain(|name| name.extension().is_some_and(|extension| extension == "json"));
    let read = names.iter().filter_map(|name| read(disk, &dir.join(name)).ok());
    read.map(|probed| (probed.store.clone(), probed)).collect()
}

fn read(disk: &dyn Disk, path: &Path) -> io::Result<Probed> {
    let file = disk.open(path)?;
    let mut bytes = vec![0; usize::try_from(file.len()?.min(FILE_BYTES_MAX)).map_err(io::Error::other)?];
    read_exact_at(&*file, &mut bytes, 0)?;
    serde_json::from_slice(&bytes).map_err(io::Error::other)
}

impl StoreStatus {
    pub(crate) fn of(store: &str, found: &Findings) -> StoreStatus {
        let found = found.get(store);
        let class = found.map(|probed| match probed.conditional_writes {
            true => StoreClass::Exclusive,
            false => StoreClass::Overwriting,
        });
        let not_known = || {
            "not probed, so whether a stranger's object could be overwritten is not known: run `hydrant check`"
                .to_owned()
        };
        StoreStatus {
            store: store.to_owned(),
            conditional_writes: found.map(|probed| probed.conditional_writes),
            probed_ms: found.map(|probed| probed.probed_ms),
            means: class.map_or_else(not_known, |class| class.to_string()),
        }
    }

    pub(crate) fn conditional_writes(&self) -> Option<bool> {
        self.conditional_writes
    }

    pub(crate) fn probed_ms(&self) -> Option<u64> {
        self.probed_ms
    }
}

#[cfg(test)]
mod tests {
    use hydrant_disk::RealDisk;

    use super::*;

    #[test]
    fn the_newest_finding_is_told_and_what_makes_no_sense_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::new();
        assert!(findings(&disk, dir.path()).is_empty(), "nothing is made by looking");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        for (class, at) in [(StoreClass::Overwriting, 1), (StoreClass::Exclusive, 2)] {
            remember(&disk, dir.path(), ("s3://one (http://h)", class), Timestamp::from_millis(at)).unwrap();
        }
        remember(&disk, dir.path(), ("s3://two (http://h)", StoreClass::Overwriting), Timestamp::from_millis(3))
            .unwrap();
        std::fs::write(dir.path().join("probed/x.json"), "half a fi").unwrap();
        let found = findings(&disk, dir.path());
        let told = |store: &str| {
            let status = StoreStatus::of(store, &found);
            (status.conditional_writes, status.probed_ms, status.means)
        };
        assert_eq!(found.len(), 2);
        assert_eq!(told("s3://one (http://h)"), (Some(true), Some(2), StoreClass::Exclusive.to_string()));
        assert_eq!(told("s3://two (http://h)"), (Some(false), Some(3), StoreClass::Overwriting.to_string()));
        let (class, at, means) = told("s3://three (http://h)");
        assert!(class.is_none() && at.is_none() && means.contains("hydrant check"), "{means}");
    }
}
