//! The file `STORE`: which data directory this is, and where it was made.
//!
//! ```text
//! {"format":2,"store":"…","machine":"…"|null,"inode":12,"born":1790000000000000000|null,"file_system":8246…,"adopted_from":"…"|null}
//! ```
//! The inode, its time of birth and the file system are those of `STORE` itself. Format 1 had only the store's id.
//!
//! Invariant: a `STORE` under its final name is whole, synced, and names the inode that it is.

use std::io;
use std::path::Path;

use hydrant_disk::{Disk, FileIdentity, read_exact_at};
use hydrant_record::StreamId;
use serde::{Deserialize, Serialize};

use super::Machine;

const FORMAT: u32 = 2;
const BYTES_MAX: u64 = 4096;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Label {
    pub(super) store: StreamId,
    pub(super) machine: Machine,
    pub(super) file: FileIdentity,
    /// The store that this one was, before it was copied or moved here.
    pub(super) adopted_from: Option<StreamId>,
}

/// What stands in the file.
#[derive(Debug)]
pub(super) enum Found {
    Label(Label),
    /// Written by the first version, which did not look where it was.
    Older(StreamId),
    Newer(u32),
    Damaged(String),
}

/// The lock of a label, held as long as it lives.
pub(super) type Lock = Box<dyn Send + Sync>;

#[derive(Deserialize)]
struct AnyFormat {
    format: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Format1 {
    #[serde(rename = "format")]
    _format: u32,
    store: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Format2 {
    format: u32,
    store: String,
    machine: Option<String>,
    inode: u64,
    born: Option<u64>,
    file_system: u64,
    adopted_from: Option<String>,
}

impl Label {
    /// Why a label that stands in `here`, on `machine`, was not written there. `None` if it was.
    ///
    /// A restart, a reboot, another path and a bind mount change none of what is compared. The file system's id does change at
    /// a reboot on some, so it counts only where files have no time of birth.
    pub(super) fn moved(&self, machine: &Machine, here: FileIdentity) -> Option<String> {
        let there = self.file;
        if let Some(made_on) = self.machine.id.as_ref().filter(|id| machine.id.as_ref() != Some(id)) {
            let this = machine.id.as_ref().map_or("one without an id".to_owned(), |id| format!("`{id}`"));
            return Some(format!("it was made on machine `{made_on}`, and this is {this}"));
        }
        if there.inode != here.inode {
            return Some(format!("its STORE was inode {} and is now inode {}", there.inode, here.inode));
        }
        match (there.born, here.born) {
            (Some(then), Some(now)) if then != now => {
                Some("its STORE is a younger file than the one that was made".to_owned())
            }
            (Some(_), Some(_)) => None,
            _ if there.file_system != here.file_system => Some("its STORE is on another file system".to_owned()),
            _ => None,
        }
    }

    fn encode(&self) -> io::Result<Vec<u8>> {
        Ok(serde_json::to_vec(&Format2 {
            format: FORMAT,
            store: self.store.to_string(),
            machine: self.machine.id.clone(),
            inode: self.file.inode,
            born: self.file.born,
            file_system: self.file.file_system,
            adopted_from: self.adopted_from.map(|id| id.to_string()),
        })?)
    }
}

pub(super) fn read(disk: &dyn Disk, path: &Path) -> io::Result<Found> {
    let file = disk.open(path)?;
    let length = usize::try_from(file.len()?.min(BYTES_MAX)).expect("4096 fits");
    let mut bytes = vec![0; length];
    read_exact_at(&*file, &mut bytes, 0)?;
    Ok(decode(&bytes).unwrap_or_else(Found::Damaged))
}

fn decode(bytes: &[u8]) -> Result<Found, String> {
    let text = |error: serde_json::Error| error.to_string();
    let id = |text: &str| text.parse::<StreamId>().map_err(|_| format!("`{text}` is no store id"));
    let AnyFormat { format } = serde_json::from_slice(bytes).map_err(text)?;
    match format {
        1 => {
            let label: Format1 = serde_json::from_slice(bytes).map_err(text)?;
            Ok(Found::Older(id(&label.store)?))
        }
        FORMAT => {
            let label: Format2 = serde_json::from_slice(bytes).map_err(text)?;
            let file = FileIdentity { inode: label.inode, born: label.born, file_system: label.file_system };
            let adopted_from = label.adopted_from.as_deref().map(id).transpose()?;
            let machine = Machine { id: label.machine };
            Ok(Found::Label(Label { store: id(&label.store)?, machine, file, adopted_from }))
        }
        newer => Ok(Found::Newer(newer)),
    }
}

/// A label to be written.
pub(super) struct Draft<'a> {
    pub(super) store: StreamId,
    pub(super) machine: &'a Machine,
    pub(super) adopted_from: Option<StreamId>,
    /// Takes the place of the label that is there; else a label that is there is `AlreadyExists`.
    pub(super) replaces: bool,
}

/// Durable on return. It is locked before anybody can see it, so that no second process comes between; whoever replaces a
/// label keeps the lock of the one before as well.
pub(super) fn write(disk: &dyn Disk, path: &Path, draft: &Draft<'_>) -> io::Result<Lock> {
    let dir = path.parent().expect("a label stands in a directory");
    let scratch = dir.join(format!(".STORE.{:016x}.tmp", disk.random()?));
    let written = (|| -> io::Result<Lock> {
        let file = disk.create(&scratch)?;
        let lock = disk.lock(&scratch)?;
        let (machine, here) = (draft.machine.clone(), disk.identity(&scratch)?);
        let label = Label { store: draft.store, machine, file: here, adopted_from: draft.adopted_from };
        file.write_at(&label.encode()?, 0)?;
        file.sync_data()?;
        if draft.replaces {
            disk.rename(&scratch, path)?;
        } else {
            disk.rename_new(&scratch, path)?;
        }
        Ok(lock)
    })();
    if written.is_err() {
        let _ = disk.remove(&scratch);
    }
    let lock = written?;
    disk.sync_dir(dir)?;
    Ok(lock)
}

/// What a crash inside [`write`] leaves behind.
pub(super) fn is_scratch(name: &Path) -> bool {
    let name = name.to_string_lossy();
    name.starts_with(".STORE.") && name.ends_with("tmp")
}
