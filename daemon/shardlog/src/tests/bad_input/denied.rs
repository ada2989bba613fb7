//! Permissions that were taken away. The mode of a file means nothing to root, so the refusals are made here.

use std::io;
use std::sync::Mutex;

use hydrant_disk::DiskFile;

use super::*;

/// A real disk that refuses one kind of call.
#[derive(Debug, Default)]
struct Denying {
    real: RealDisk,
    refused: Mutex<&'static str>,
}

impl Denying {
    fn refuse(&self, call: &'static str) {
        *self.refused.lock().unwrap() = call;
    }

    fn ask(&self, call: &'static str) -> io::Result<()> {
        if *self.refused.lock().unwrap() == call { Err(io::ErrorKind::PermissionDenied.into()) } else { Ok(()) }
    }
}

impl Disk for Denying {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.ask("create")?;
        self.real.create(path)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.ask("open")?;
        self.real.open(path)
    }

    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.ask("open_write")?;
        self.real.open_write(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.ask("rename")?;
        self.real.rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.ask("rename_new")?;
        self.real.rename_new(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.ask("remove")?;
        self.real.remove(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.real.create_dir(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.real.remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.ask("sync_dir")?;
        self.real.sync_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.ask("list")?;
        self.real.list(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.real.exists(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.ask("free_bytes")?;
        self.real.free_bytes(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        self.real.lock(path)
    }
}

#[test]
fn what_may_not_be_read_or_written_is_an_io_error_and_no_loss() {
    let disk = Arc::new(Denying::default());
    for call in ["list", "open", "open_write", "free_bytes", "create", "rename_new", "sync_dir"] {
        let (dir, _) = history();
        for accept_loss in [false, true] {
            disk.refuse(call);
            let options = LogOptions { accept_loss, ..options() };
            match ShardLog::open(Arc::clone(&disk) as Arc<dyn Disk>, dir.path(), options) {
                Err(OpenError::Io { source, path }) => {
                    assert_eq!(source.kind(), io::ErrorKind::PermissionDenied, "{call}");
                    assert!(path.starts_with(dir.path()), "{call}: {}", path.display());
                }
                other => panic!("{call}: {other:?}"),
            }
        }
        disk.refuse("");
        let (log, recovery) = open_on(Arc::clone(&disk) as Arc<dyn Disk>, dir.path()).unwrap();
        assert_eq!((recovery.last, payloads(&read_all(&log, None))), (Some(lsn(6)), some(0..6)), "{call}");
    }
}

#[test]
fn a_reader_that_may_not_open_a_segment_says_so_and_goes_on_when_it_may() {
    let (dir, _) = history();
    let disk = Arc::new(Denying::default());
    let (log, _) = open_on(Arc::clone(&disk) as Arc<dyn Disk>, dir.path()).unwrap();
    let (mut tail, mut shard) = (log.tail(None), log.shard_tail(hydrant_record::ShardIx(0), None));
    assert_eq!(tail.next(1).unwrap().unwrap().last(), lsn(1));
    disk.refuse("open");
    assert_eq!(tail.next(usize::MAX).unwrap().unwrap().last(), lsn(2), "what is open can be read");
    for _ in 0..2 {
        assert!(matches!(tail.next(1), Err(ReadError::Io { .. })));
        assert!(matches!(shard.next(1, 1), Err(ReadError::Io { .. })));
    }
    log.append(some(6..7)).unwrap();
    disk.refuse("");
    assert_eq!(tail.next(usize::MAX).unwrap().unwrap().first(), lsn(3));
    assert_eq!(shard.next(usize::MAX, usize::MAX).unwrap().unwrap().records.len(), 7);
}

#[test]
fn a_trim_that_is_refused_takes_nothing_and_can_be_tried_again() {
    let (dir, _) = history();
    let disk = Arc::new(Denying::default());
    let (log, _) = open_on(Arc::clone(&disk) as Arc<dyn Disk>, dir.path()).unwrap();
    disk.refuse("rename");
    assert_eq!(log.trim(lsn(4)).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    assert_eq!(payloads(&read_all(&log, None)), some(0..6));
    disk.refuse("remove");
    assert_eq!(log.trim(lsn(4)).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    assert_eq!(log.first(), Some(lsn(5)), "the mark stands");
    disk.refuse("");
    log.append(some(6..7)).unwrap();
    log.trim(lsn(4)).unwrap();
    log.close().unwrap();
    drop(log);
    let (log, _) = open(dir.path());
    assert_eq!(payloads(&read_all(&log, Some(lsn(4)))), some(4..7));
}
