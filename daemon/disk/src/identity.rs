//! What tells a file from a copy of it.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

/// The same for one file over restarts, reboots and mounts, at whatever path it is reached; another for every copy of it.
///
/// The number of the device is left out: it may change at every reboot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileIdentity {
    pub inode: u64,
    /// When the inode was made, in nanoseconds since 1970. No call can set it, so a copy that happens on the inode of its
    /// original still has another. `None` where the file system does not keep it.
    pub born: Option<u64>,
    /// `f_fsid`. ext4 and btrfs derive it from their UUID; XFS from the device's number, so there it may change at a reboot.
    pub file_system: u64,
}

impl FileIdentity {
    pub(crate) fn of(path: &Path) -> io::Result<FileIdentity> {
        let found = std::fs::metadata(path)?;
        let born = found.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Ok(FileIdentity {
            inode: found.ino(),
            born: born.and_then(|since| u64::try_from(since.as_nanos()).ok()),
            file_system: rustix::fs::statvfs(path)?.f_fsid,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_its_identity_under_another_name_and_a_copy_has_another() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|name| dir.path().join(name));
        std::fs::write(&a, b"one").unwrap();
        let identity = FileIdentity::of(&a).unwrap();
        std::fs::copy(&a, &b).unwrap();
        assert_ne!(FileIdentity::of(&b).unwrap(), identity);
        std::fs::rename(&a, &c).unwrap();
        std::fs::write(&c, b"other bytes").unwrap();
        assert_eq!(FileIdentity::of(&c).unwrap(), identity);
    }
}
