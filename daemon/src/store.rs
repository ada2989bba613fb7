//! The data directory: whose it is, and that only one process has it.
//!
//! ```text
//! STORE        JSON: format version and store id; locked while a daemon runs
//! catalog/     streams and delivery streams: a log of full states
//! streams/     <id>/ segments of each stream's log
//! delivery/    <id>/ journal/ staged/ spool/ of each delivery stream
//! plugins/     compiled plugins
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hydrant_disk::{Disk, create_dir_durable, create_durable, read_exact_at};
use hydrant_record::StreamId;
use serde::{Deserialize, Serialize};

use crate::exit::{Exit, Failure};

const FORMAT: u32 = 1;

/// A data directory that this process has to itself.
pub(crate) struct Store {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    id: StreamId,
    _lock: Box<dyn Send + Sync>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Label {
    format: u32,
    store: String,
}

impl Store {
    /// Opens the data directory, or makes one where there is none. A directory with something else in it is refused.
    pub(crate) fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<Store, Failure> {
        let io = |error: io::Error| in_dir(dir, &error);
        create_dir_durable(&*disk, dir).map_err(io)?;
        let label = dir.join("STORE");
        if !disk.exists(&label).map_err(io)? {
            make(&*disk, dir, &label)?;
        }
        let lock = disk.lock(&label).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => {
                Failure::new(Exit::Runtime, format!("`{}` is in use by another hydrant", dir.display()))
                    .hint("stop the other process, or give this one its own `data_dir`")
            }
            _ => in_dir(dir, &error),
        })?;
        let id = read(&*disk, &label)?;
        for name in ["catalog", "streams", "delivery"] {
            create_dir_durable(&*disk, &dir.join(name)).map_err(io)?;
        }
        Ok(Store { disk, dir: dir.to_owned(), id, _lock: lock })
    }

    pub(crate) fn disk(&self) -> Arc<dyn Disk> {
        Arc::clone(&self.disk)
    }

    pub(crate) fn id(&self) -> StreamId {
        self.id
    }

    pub(crate) fn catalog_dir(&self) -> PathBuf {
        self.dir.join("catalog")
    }

    pub(crate) fn plugin_dir(&self) -> PathBuf {
        self.dir.join("plugins")
    }

    pub(crate) fn log_dir(&self, id: StreamId) -> PathBuf {
        self.dir.join("streams").join(id.to_string())
    }

    pub(crate) fn delivery_dir(&self, id: StreamId) -> PathBuf {
        self.dir.join("delivery").join(id.to_string())
    }

    /// Makes both directories of a stream, durably.
    pub(crate) fn create_stream_dirs(&self, id: StreamId) -> io::Result<()> {
        create_dir_durable(&*self.disk, &self.log_dir(id))?;
        create_dir_durable(&*self.disk, &self.delivery_dir(id))
    }

    /// Removes both directories of a stream, durably.
    pub(crate) fn remove_stream_dirs(&self, id: StreamId) -> io::Result<()> {
        for (dir, parent) in [(self.log_dir(id), "streams"), (self.delivery_dir(id), "delivery")] {
            self.disk.remove_dir_all(&dir)?;
            self.disk.sync_dir(&self.dir.join(parent))?;
        }
        Ok(())
    }

    /// Stream directories that `known` does not name: what a creation or deletion that was cut off left behind.
    pub(crate) fn unknown_stream_dirs(&self, known: &[StreamId]) -> io::Result<Vec<StreamId>> {
        let mut unknown = Vec::new();
        for parent in ["streams", "delivery"] {
            for name in self.disk.list(&self.dir.join(parent))? {
                let id = name.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
                unknown.extend(id.filter(|id| !known.contains(id)));
            }
        }
        unknown.sort();
        unknown.dedup();
        Ok(unknown)
    }

    pub(crate) fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes(&self.dir)
    }
}

/// 16 bytes from the kernel.
pub(crate) fn random_id() -> io::Result<StreamId> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(StreamId(bytes))
}

fn make(disk: &dyn Disk, dir: &Path, label: &Path) -> Result<(), Failure> {
    let names = disk.list(dir).map_err(|error| in_dir(dir, &error))?;
    let temporary = |name: &PathBuf| name.to_string_lossy().contains("STORE");
    if names.iter().any(|name| !temporary(name)) {
        let text = format!("`{}` is not a data directory of hydrant, and it is not empty", dir.display());
        return Err(Failure::new(Exit::Config, text).hint("give `data_dir` a directory of its own"));
    }
    let text = Label { format: FORMAT, store: random_id().map_err(|error| in_dir(dir, &error))?.to_string() };
    let text = serde_json::to_vec(&text)?;
    create_durable(disk, label, &text).map_err(|error| in_dir(dir, &error))
}

fn read(disk: &dyn Disk, path: &Path) -> Result<StreamId, Failure> {
    let unreadable = |reason: String| {
        Failure::new(Exit::CorruptStore, format!("`{}` cannot be understood: {reason}", path.display()))
            .hint("restore the data directory from a backup; it is never taken for an empty one")
    };
    let file = disk.open(path).map_err(|error| in_dir(path, &error))?;
    let length = file.len().map_err(|error| in_dir(path, &error))?;
    let length = usize::try_from(length.min(4096)).expect("4096 fits");
    let mut bytes = vec![0; length];
    read_exact_at(&*file, &mut bytes, 0).map_err(|error| in_dir(path, &error))?;
    let label: Label = serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
    if label.format != FORMAT {
        return Err(unreadable(format!("its format is {}, this version reads {FORMAT}", label.format)));
    }
    label.store.parse().map_err(|_| unreadable("it has no store id".to_owned()))
}

pub(crate) fn in_dir(dir: &Path, error: &io::Error) -> Failure {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => "give the daemon's user the directory, or choose another `data_dir`",
        io::ErrorKind::StorageFull => "free space on its file system",
        _ => "look at the kernel's log for errors of the device",
    };
    Failure::new(Exit::Io, format!("data directory `{}`: {error}", dir.display())).hint(hint)
}
