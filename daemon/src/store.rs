//! The data directory: whose it is, and that only one process has it.
//!
//! ```text
//! STORE        JSON: store id, and where the directory was made; locked while a daemon runs
//! reserve      blocks set aside for a full disk
//! catalog/     streams and delivery streams: a log of full states
//! streams/     <id>/ segments of each stream's log
//! delivery/    <id>/ journal/ staged/ spool/ of each delivery stream
//! plugins/     compiled plugins
//! replay/      what `hydrant replay` has put or delivered, and what it has staged
//! probed/      what `hydrant check` has found out about stores
//! ```
//!
//! Invariant: a directory is made only where there is nothing, and one that was copied or moved is used only once it was
//! adopted by name. What cannot be read is never taken for empty.

mod label;
mod machine;
mod reserve;

pub(crate) use machine::Machine;
pub(crate) use reserve::Reserve;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hydrant_disk::{Disk, create_dir_durable};
use hydrant_record::StreamId;

use crate::exit::{Exit, Failure};
use label::{Draft, Found, Lock};

const DIRECTORIES: [&str; 3] = ["catalog", "streams", "delivery"];

/// A data directory that this process has to itself.
pub(crate) struct Store {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    id: StreamId,
    reserve: Reserve,
    /// Of the label, and of the one that it replaced in this opening.
    _locks: Vec<Lock>,
}

/// Who opens a data directory, and which one may be taken over from elsewhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opener<'a> {
    pub(crate) machine: &'a Machine,
    /// The data directory may be a copy: the operator says that nobody else uses the original.
    pub(crate) adopt: bool,
}

impl Store {
    /// Opens the data directory, or makes one where there is none. A directory with something else in it is refused, and so is
    /// one that was copied or moved here and is not adopted.
    pub(crate) fn open(disk: Arc<dyn Disk>, dir: &Path, opener: Opener<'_>) -> Result<Store, Failure> {
        create_dir_durable(&*disk, dir).map_err(|error| in_dir(dir, &error))?;
        let label = dir.join("STORE");
        let opening = Opening { disk: &*disk, dir, label: &label, opener };
        let (id, locks) = match disk.exists(&label).map_err(|error| in_dir(dir, &error))? {
            true => opening.existing()?,
            false => opening.missing()?,
        };
        // Before anything else is opened: it may need the space.
        let reserve = Reserve::open(Arc::clone(&disk), dir).map_err(|error| in_dir(&dir.join("reserve"), &error))?;
        opening.furnish()?;
        Ok(Store { disk, dir: dir.to_owned(), id, reserve, _locks: locks })
    }

    pub(crate) fn disk(&self) -> Arc<dyn Disk> {
        Arc::clone(&self.disk)
    }

    pub(crate) fn id(&self) -> StreamId {
        self.id
    }

    pub(crate) fn reserve(&self) -> &Reserve {
        &self.reserve
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

/// What the label says, judged.
struct Opening<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    label: &'a Path,
    opener: Opener<'a>,
}

impl Opening<'_> {
    fn existing(&self) -> Result<(StreamId, Vec<Lock>), Failure> {
        let lock = self.disk.lock(self.label).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => self.in_use(),
            _ => in_dir(self.label, &error),
        })?;
        let io = |error: io::Error| in_dir(self.label, &error);
        let here = self.disk.identity(self.label).map_err(io)?;
        match label::read(self.disk, self.label).map_err(io)? {
            Found::Label(label) => match label.moved(self.opener.machine, here) {
                Some(reason) => self.adopt(Some(label.store), lock, || self.moved(&reason)),
                None => {
                    if self.opener.adopt {
                        tracing::warn!("`--adopt` was not needed; leave it out, so that a copy is noticed next time");
                    }
                    Ok((label.store, vec![lock]))
                }
            },
            Found::Older(store) => self.upgrade(store, lock),
            Found::Newer(format) => Err(self
                .unreadable(&format!("its format is {format}, which this version does not know"))
                .hint("start the version of hydrant that wrote it")),
            Found::Damaged(reason) => {
                self.adopt(None, lock, || self.unreadable(&reason).hint(self.after_loss("restore STORE")))
            }
        }
    }

    /// No label: a new directory, or somebody else's, or one that has lost it.
    fn missing(&self) -> Result<(StreamId, Vec<Lock>), Failure> {
        let names = self.disk.list(self.dir).map_err(|error| in_dir(self.dir, &error))?;
        let is_ours = |name: &&PathBuf| DIRECTORIES.iter().any(|ours| name.as_path() == Path::new(ours));
        if let Some(name) = names.iter().find(is_ours) {
            let text = format!("`{}` has a `{}`, but no STORE", self.dir.display(), name.display());
            let lost = Failure::new(Exit::CorruptStore, text).hint(self.after_loss("restore STORE"));
            return if self.opener.adopt { self.draw(None) } else { Err(lost) };
        }
        if let Some(name) =
            names.iter().find(|name| !label::is_scratch(name) && name.as_path() != Path::new("lost+found"))
        {
            let text = format!(
                "`{}` is not a data directory of hydrant, and it is not empty: there is `{}`",
                self.dir.display(),
                name.display()
            );
            return Err(Failure::new(Exit::Config, text).hint("give `data_dir` a directory of its own"));
        }
        if self.opener.adopt {
            let text = format!("there is nothing to adopt in `{}`: it is empty", self.dir.display());
            return Err(
                Failure::new(Exit::Config, text).hint("copy the data directory there first, or leave `--adopt` out")
            );
        }
        self.draw(None)
    }

    /// Takes the directory over, if the operator said so, under a new id.
    fn adopt(
        &self,
        from: Option<StreamId>,
        lock: Lock,
        refused: impl FnOnce() -> Failure,
    ) -> Result<(StreamId, Vec<Lock>), Failure> {
        if !self.opener.adopt {
            return Err(refused());
        }
        let (id, mut locks) = self.draw(Some(from))?;
        locks.push(lock);
        let was = from.map_or("unreadable".to_owned(), |id| id.to_string());
        tracing::warn!(store = %id, was, "the data directory is adopted; leave `--adopt` out from now on");
        Ok((id, locks))
    }

    /// A label that does not say where it is gets one that does.
    fn upgrade(&self, store: StreamId, lock: Lock) -> Result<(StreamId, Vec<Lock>), Failure> {
        let draft = Draft { store, machine: self.opener.machine, adopted_from: None, replaces: true };
        match label::write(self.disk, self.label, &draft) {
            Ok(new) => Ok((store, vec![new, lock])),
            // Then at a later start: delivery is what frees the disk.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok((store, vec![lock])),
            Err(error) => Err(in_dir(self.label, &error)),
        }
    }

    /// Writes a label with a new id. `Some` if it takes the place of another: of that store, if that could be read.
    fn draw(&self, replaced: Option<Option<StreamId>>) -> Result<(StreamId, Vec<Lock>), Failure> {
        let store = random_id().map_err(|error| in_dir(self.dir, &error))?;
        let (machine, adopted_from) = (self.opener.machine, replaced.flatten());
        let draft = Draft { store, machine, adopted_from, replaces: replaced.is_some() };
        match label::write(self.disk, self.label, &draft) {
            Ok(lock) => Ok((store, vec![lock])),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(self.in_use()),
            Err(error) => Err(in_dir(self.label, &error)),
        }
    }

    /// Sweeps, and makes the directories that a first start, cut off, did not.
    fn furnish(&self) -> Result<(), Failure> {
        let io = |error: io::Error| in_dir(self.dir, &error);
        for name in self.disk.list(self.dir).map_err(io)?.iter().filter(|name| label::is_scratch(name)) {
            self.disk.remove(&self.dir.join(name)).map_err(io)?;
        }
        for name in DIRECTORIES {
            let path = self.dir.join(name);
            create_dir_durable(self.disk, &path).map_err(|error| in_dir(&path, &error))?;
        }
        Ok(())
    }

    fn in_use(&self) -> Failure {
        Failure::new(Exit::Runtime, format!("`{}` is in use by another hydrant", self.dir.display()))
            .hint("stop the other process, or give this one its own `data_dir`")
    }

    fn moved(&self, reason: &str) -> Failure {
        let dir = self.dir.display();
        Failure::new(Exit::Config, format!("the data directory `{dir}` was made elsewhere, or is a copy: {reason}")).hint(format!(
            "two daemons on two copies would both deliver what is in them, and each lack what the other takes;              see that nothing uses the original any more, then start once with `--adopt {dir}`"
        ))
    }

    fn unreadable(&self, reason: &str) -> Failure {
        Failure::new(Exit::CorruptStore, format!("`{}` cannot be understood: {reason}", self.label.display()))
    }

    fn after_loss(&self, first: &str) -> String {
        let dir = self.dir.display();
        format!(
            "{first} from a backup; if only STORE was damaged, start once with `--adopt {dir}` to write a new one:              the records are proved by their own checksums"
        )
    }
}

/// What is wrong with a path of the data directory, and what to do about it.
pub(crate) fn in_dir(path: &Path, error: &io::Error) -> Failure {
    let (exit, hint) = match error.kind() {
        io::ErrorKind::PermissionDenied => (
            Exit::Config,
            "let the daemon's user read and write the data directory and all that is in it, or choose another `data_dir`",
        ),
        io::ErrorKind::NotADirectory => (Exit::Config, "give `data_dir` a directory, not a file"),
        io::ErrorKind::ReadOnlyFilesystem => {
            (Exit::Io, "mount the file system for writing; the kernel's log says why, if it became read-only by itself")
        }
        io::ErrorKind::StorageFull => (Exit::Io, "free space on its file system"),
        _ => (Exit::Io, "look at the kernel's log for errors of the device"),
    };
    Failure::new(exit, format!("data directory: `{}`: {error}", path.display())).hint(hint)
}

#[cfg(test)]
mod tests;
