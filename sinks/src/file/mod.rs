//! A local directory. A name appears there only when all its bytes are synced, and is never replaced.
//!
//! ```text
//! lake/a/.hydrant-<of the key>.part   create · copy, hash · sync      a crash leaves it; the next attempt replaces it
//! lake/a/<key>                        rename without replacing · sync of lake/a
//! ```

mod path;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;
use futures::FutureExt;
use futures::future::BoxFuture;
use hydrant_disk::{Disk, DiskFile};

use self::path::{TEMPORARY_PREFIX, TEMPORARY_SUFFIX, path_below, temporary_name};
use crate::delivery::{BodyReader, PIECE_BYTES_MAX};
use crate::{Body, Delivery, Receipt, Sink, SinkError};

/// Directories remembered as durable; above it all are forgotten and synced once more.
const DURABLE_DIRECTORIES_MAX: usize = 4096;

/// Writes objects as files below a directory, which it makes if it is missing.
#[derive(Clone, Debug)]
pub(crate) struct FileSink(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    disk: Arc<dyn Disk>,
    /// Directories whose names are known to be durable.
    durable: Mutex<HashSet<PathBuf>>,
    /// Keys being written. An attempt that was given up goes on in its thread and must not meet its successor.
    in_flight: Mutex<HashSet<String>>,
}

impl FileSink {
    pub(crate) fn new(directory: PathBuf, disk: Arc<dyn Disk>) -> FileSink {
        FileSink(Arc::new(Inner { directory, disk, durable: Mutex::default(), in_flight: Mutex::default() }))
    }

    /// Runs disk work where it may block.
    fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, SinkError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, SinkError>> {
        let inner = self.0.clone();
        async move {
            let done = tokio::task::spawn_blocking(move || work(&inner)).await;
            done.unwrap_or_else(|stopped| {
                Err(SinkError::transient("File.Stopped", "the write was stopped before its end").with_source(stopped))
            })
        }
        .boxed()
    }
}

impl fmt::Display for FileSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file {}", self.0.directory.display())
    }
}

impl Sink for FileSink {
    fn deliver<'a>(&'a self, delivery: &'a Delivery) -> BoxFuture<'a, Result<Receipt, SinkError>> {
        let (key, body) = (delivery.key.clone(), delivery.body.clone());
        self.blocking(move |inner| inner.deliver(&key, &body))
    }

    fn check(&self) -> BoxFuture<'_, Result<(), SinkError>> {
        self.blocking(Inner::check)
    }
}

impl Inner {
    fn deliver(&self, key: &str, body: &Body) -> Result<Receipt, SinkError> {
        let target = path_below(&self.directory, key)?;
        let Some(_turn) = Turn::take(&self.in_flight, key) else {
            let message = format!("{}: an earlier attempt is still writing it", target.display());
            return Err(SinkError::transient("File.InFlight", message));
        };
        let parent = target.parent().expect("a key has at least one component below the directory");
        self.make_directories(parent)?;
        if self.exists(&target)? {
            return self.settle(&target, body);
        }
        let temporary = parent.join(temporary_name(key));
        let placed = self.write(&temporary, body).and_then(|()| self.place(&temporary, &target));
        match placed {
            Ok(true) => {}
            Ok(false) => return self.remove(&temporary).and_then(|()| self.settle(&target, body)),
            Err(error) => {
                // What stays is replaced by the next attempt.
                let _ = self.disk.remove(&temporary);
                return Err(error);
            }
        }
        self.make_name_durable(&target)?;
        Ok(Receipt::taken(false))
    }

    /// Makes what is missing of `parent`, and makes sure that each name from the directory down is durable.
    fn make_directories(&self, parent: &Path) -> Result<(), SinkError> {
        for missing in self.missing_above()?.iter().rev() {
            self.make_directory(missing)?;
        }
        let below = parent.strip_prefix(&self.directory).expect("the parent was made from the directory");
        let mut path = self.directory.clone();
        for component in below {
            path.push(component);
            self.make_directory(&path)?;
        }
        Ok(())
    }

    /// The directory and those above it that do not exist, deepest first.
    fn missing_above(&self) -> Result<Vec<PathBuf>, SinkError> {
        let mut missing = Vec::new();
        for path in self.directory.ancestors() {
            if path.as_os_str().is_empty() || self.exists(path)? {
                break;
            }
            missing.push(path.to_owned());
        }
        Ok(missing)
    }

    /// Whoever made a directory may have crashed before it was durable: it is synced once by each process that finds it.
    fn make_directory(&self, path: &Path) -> Result<(), SinkError> {
        let made = match self.disk.create_dir(path) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(failed("make the directory", path, error)),
        };
        if !made && self.durable.lock().unwrap_or_else(PoisonError::into_inner).contains(path) {
            return Ok(());
        }
        let parent = directory_of(path);
        match self.disk.sync_dir(parent) {
            // A directory that stands where we may not even look was made by its owner, not by us.
            Err(error) if !made && error.kind() == io::ErrorKind::PermissionDenied => {}
            synced => synced.map_err(|error| failed("sync the directory", parent, error))?,
        }
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if durable.len() >= DURABLE_DIRECTORIES_MAX {
            durable.clear();
        }
        durable.insert(path.to_owned());
        Ok(())
    }

    /// All bytes of `body` in a new file, synced.
    fn write(&self, temporary: &Path, body: &Body) -> Result<(), SinkError> {
        let file = match self.disk.create(temporary) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.remove(temporary)?;
                self.disk.create(temporary)
            }
            created => created,
        };
        let file = file.map_err(|error| failed("create", temporary, error))?;
        let mut reader = BodyReader::new(body)?;
        let mut piece = vec![0; reader.next_length()];
        let mut offset = 0;
        loop {
            piece.truncate(reader.next_length());
            reader.read(&mut piece)?;
            let length = piece.len() as u64;
            let written = file.write_at(&piece, offset).and_then(|()| file.push_out(offset, length));
            written.map_err(|error| failed("write", temporary, error))?;
            offset += length;
            if offset == body.length {
                break;
            }
        }
        file.sync_data().map_err(|error| failed("sync", temporary, error))
    }

    /// Gives the file its name; false if the name is taken.
    fn place(&self, temporary: &Path, target: &Path) -> Result<bool, SinkError> {
        match self.disk.rename_new(temporary, target) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(failed("rename to", target, error)),
        }
    }

    /// A sync that failed proves nothing when it is repeated, so the name is taken back: the next attempt makes it anew.
    fn make_name_durable(&self, target: &Path) -> Result<(), SinkError> {
        let parent = directory_of(target);
        self.disk.sync_dir(parent).map_err(|error| {
            let _ = self.disk.remove(target);
            failed("sync the directory", parent, error)
        })
    }

    /// The name is taken: by these very bytes, or by a stranger's.
    fn settle(&self, target: &Path, body: &Body) -> Result<Receipt, SinkError> {
        let file = self.disk.open(target).map_err(|error| failed("open", target, error))?;
        let same = holds(file.as_ref(), body).map_err(|error| failed("read", target, error))?;
        if !same {
            let message = format!(
                "{}: a foreign file stands at this name and is not overwritten; move it away, and look who else writes into this directory",
                target.display()
            );
            return Err(SinkError::misconfigured("File.ForeignObject", message));
        }
        self.make_name_durable(target)?;
        Ok(Receipt::taken(true))
    }

    /// Makes and removes an empty file in the directory, or above it where that is still to be made.
    fn check(&self) -> Result<(), SinkError> {
        let missing = self.missing_above()?;
        let existing = missing.last().map_or(self.directory.as_path(), |topmost| directory_of(topmost));
        let probe = existing.join(format!("{TEMPORARY_PREFIX}check{TEMPORARY_SUFFIX}"));
        match self.disk.create(&probe) {
            Ok(_) => self.remove(&probe),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.remove(&probe),
            Err(error) => Err(failed("create a file in", existing, error)),
        }
    }

    fn exists(&self, path: &Path) -> Result<bool, SinkError> {
        self.disk.exists(path).map_err(|error| failed("look for", path, error))
    }

    fn remove(&self, path: &Path) -> Result<(), SinkError> {
        match self.disk.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path, error)),
            _ => Ok(()),
        }
    }
}

/// The right to write one key, until it is dropped.
struct Turn<'a> {
    in_flight: &'a Mutex<HashSet<String>>,
    key: String,
}

impl<'a> Turn<'a> {
    fn take(in_flight: &'a Mutex<HashSet<String>>, key: &str) -> Option<Turn<'a>> {
        let fresh = in_flight.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned());
        fresh.then(|| Turn { in_flight, key: key.to_owned() })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

fn holds(file: &dyn DiskFile, body: &Body) -> io::Result<bool> {
    if file.len()? != body.length {
        return Ok(false);
    }
    let mut digest = digest::Context::new(&digest::SHA256);
    let mut piece = vec![0; PIECE_BYTES_MAX];
    let mut offset = 0;
    loop {
        match file.read_at(&mut piece, offset)? {
            0 => return Ok(offset == body.length && digest.finish().as_ref() == body.sha256),
            read => {
                digest.update(&piece[..read]);
                offset += read as u64;
            }
        }
    }
}

/// Where the name of `path` stands.
fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// What an operator must mend is a misconfiguration; a full or failing disk may be well again later.
fn failed(act: &str, path: &Path, error: io::Error) -> SinkError {
    use io::ErrorKind::{
        InvalidFilename, IsADirectory, NotADirectory, NotFound, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem,
        StorageFull,
    };
    let what = format!("cannot {act} {}: {error}", path.display());
    let failure = match error.kind() {
        PermissionDenied => {
            SinkError::misconfigured("File.AccessDenied", format!("{what}; let the daemon's user write there"))
        }
        ReadOnlyFilesystem => {
            SinkError::misconfigured("File.AccessDenied", format!("{what}; mount the file system for writing"))
        }
        NotFound => SinkError::misconfigured("File.NoSuchDirectory", format!("{what}; make the directory or mount it")),
        NotADirectory | IsADirectory => SinkError::misconfigured(
            "File.NoSuchDirectory",
            format!("{what}; a file and a directory want the same name: move the stranger away"),
        ),
        InvalidFilename => SinkError::misconfigured("File.BadName", format!("{what}; shorten the prefix")),
        StorageFull | QuotaExceeded => {
            SinkError::transient("File.StorageFull", format!("{what}; it is tried again: make room"))
        }
        _ => SinkError::transient("File.Io", format!("{what}; it is tried again")),
    };
    failure.with_source(error)
}
