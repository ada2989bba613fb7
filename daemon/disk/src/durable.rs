//! Whole files and directories that are there completely or not at all, also after power loss.
//!
//! Invariant: a final name is given only to bytes that are synced, and success is returned only after the directory is.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use crate::Disk;

/// Creates `path` with these bytes; durable on return. `AlreadyExists` if the name is taken, and then nothing changed.
pub fn create_durable(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = staged(disk, path, bytes)?;
    if let Err(error) = disk.rename_new(&temporary, path) {
        let _ = disk.remove(&temporary);
        return Err(error);
    }
    disk.sync_dir(parent(path))
}

/// As [`create_durable`], but takes the place of what stood there. A crash leaves the old bytes or the new.
pub fn replace_durable(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = staged(disk, path, bytes)?;
    if let Err(error) = disk.rename(&temporary, path) {
        let _ = disk.remove(&temporary);
        return Err(error);
    }
    disk.sync_dir(parent(path))
}

/// Creates a directory and those above it that are missing; durable on return. One that is there is fine.
pub fn create_dir_durable(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    if disk.exists(path)? {
        return Ok(());
    }
    let above = parent(path);
    if above != Path::new(".") {
        create_dir_durable(disk, above)?;
    }
    match disk.create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    disk.sync_dir(above)
}

/// Writes and syncs the bytes under the temporary name of `path`. What an earlier crash left there is scratch.
fn staged(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let temporary = temporary_name(path)?;
    let file = match disk.create(&temporary) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            disk.remove(&temporary)?;
            disk.create(&temporary)?
        }
        other => other?,
    };
    if let Err(error) = file.write_at(bytes, 0).and_then(|()| file.sync_data()) {
        let _ = disk.remove(&temporary);
        return Err(error);
    }
    Ok(temporary)
}

fn temporary_name(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(".tmp");
    Ok(path.with_file_name(temporary))
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::faulty::{Fault, FaultyDisk};
    use crate::{RealDisk, read_exact_at};

    fn read(path: &Path) -> Option<Vec<u8>> {
        let file = RealDisk::new().open(path).ok()?;
        let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
        read_exact_at(&*file, &mut bytes, 0).unwrap();
        Some(bytes)
    }

    #[test]
    fn creating_never_replaces_and_replacing_does() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::new();
        let path = dir.path().join("x/y/z");
        create_dir_durable(&disk, path.parent().unwrap()).unwrap();
        create_dir_durable(&disk, path.parent().unwrap()).unwrap();
        create_durable(&disk, &path, b"one").unwrap();
        assert_eq!(create_durable(&disk, &path, b"two").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(read(&path).unwrap(), b"one");
        replace_durable(&disk, &path, b"three").unwrap();
        assert_eq!(read(&path).unwrap(), b"three");
        assert_eq!(disk.list(path.parent().unwrap()).unwrap(), [PathBuf::from("z")]);
    }

    #[test]
    fn after_any_failing_call_the_old_or_the_new_bytes_are_there_whole() {
        for call in 1.. {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("file");
            create_durable(&RealDisk::new(), &path, b"old").unwrap();
            let disk = FaultyDisk::new(Arc::new(RealDisk::new()));
            disk.inject(Fault::Call(call));
            let result = replace_durable(&disk, &path, b"new");
            let found = read(&path).unwrap();
            assert!(found == b"old" || found == b"new", "call {call}: got {found:?}");
            replace_durable(&RealDisk::new(), &path, b"later").unwrap();
            if result.is_ok() {
                assert!(call > 4, "the fault never struck");
                return;
            }
        }
    }
}
