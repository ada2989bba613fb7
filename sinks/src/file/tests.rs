//! The directory sink on a real file system, and on one that fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use hydrant_disk::faulty::Fault;
use hydrant_disk::{Disk, FaultyDisk, RealDisk};
use tempfile::TempDir;

use super::FileSink;
use super::path::temporary_name;
use crate::contract::{self, Place, pattern, staged};
use crate::{Receipt, Sink, SinkErrorKind};

struct DirectoryPlace {
    directory: PathBuf,
    sink: Arc<FileSink>,
}

impl Place for DirectoryPlace {
    fn sink(&self) -> Arc<dyn Sink> {
        self.sink.clone()
    }
    fn names(&self) -> BoxFuture<'_, Vec<String>> {
        async {
            let mut names = Vec::new();
            files_below(&self.directory, "", &mut names);
            names.sort();
            names
        }
        .boxed()
    }
    fn read<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Vec<u8>> {
        async move { fs::read(self.directory.join(key)).unwrap() }.boxed()
    }
    fn write<'a>(&'a self, key: &'a str, bytes: &'a [u8]) -> BoxFuture<'a, ()> {
        async move {
            let path = self.directory.join(key);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        .boxed()
    }
    fn odd_keys(&self) -> Vec<String> {
        ["odd/a b/%2F=+ü?&#日.gz", "odd/..hidden..", "odd/\\n:*\"<>|", "odd/new\nline"].map(str::to_owned).to_vec()
    }
}

fn files_below(directory: &Path, below: &str, names: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries {
        let entry = entry.unwrap();
        let name = format!("{below}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            files_below(&entry.path(), &format!("{name}/"), names);
        } else {
            names.push(name);
        }
    }
}

fn names(directory: &Path) -> Vec<String> {
    let mut names = Vec::new();
    files_below(directory, "", &mut names);
    names
}

fn faulty() -> (TempDir, PathBuf, Arc<FaultyDisk>, FileSink) {
    let root = tempfile::tempdir().unwrap();
    let lake = root.path().join("lake");
    let disk = Arc::new(FaultyDisk::new(Arc::new(RealDisk::new())));
    let sink = FileSink::new(lake.clone(), disk.clone());
    (root, lake, disk, sink)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contract_of_all_sinks() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("not/yet/there");
    let sink = Arc::new(FileSink::new(directory.clone(), Arc::new(RealDisk::new())));
    let place = DirectoryPlace { directory, sink };
    for (name, result) in contract::run(&place, 2).await {
        assert_eq!(result, Ok(()), "{name}");
    }
}

#[tokio::test]
async fn what_a_crash_left_is_replaced() {
    let (_root, lake, _, sink) = faulty();
    fs::create_dir_all(lake.join("a")).unwrap();
    fs::write(lake.join("a").join(temporary_name("a/b")), pattern(9 << 10)).unwrap();
    assert_eq!(sink.deliver(&staged("a/b", b"bytes")).await.unwrap(), Receipt::taken(false));
    assert_eq!(names(&lake), ["a/b"]);
    assert_eq!(fs::read(lake.join("a/b")).unwrap(), b"bytes");
}

#[tokio::test]
async fn a_full_disk_is_waited_for_and_leaves_nothing() {
    let (_root, lake, disk, sink) = faulty();
    disk.set_full(true);
    let delivery = staged("a/b", &pattern(3 << 20));
    let error = sink.deliver(&delivery).await.unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (SinkErrorKind::Transient, "File.StorageFull"), "{error}");
    assert_eq!(names(&lake), [""; 0]);
    disk.set_full(false);
    assert_eq!(sink.deliver(&delivery).await.unwrap(), Receipt::taken(false));
}

#[tokio::test]
async fn every_call_may_fail_and_a_receipt_stays_true() {
    let bytes = pattern((1 << 20) + 1);
    let (_root, _, disk, sink) = faulty();
    sink.deliver(&staged("a/b/c", &bytes)).await.unwrap();
    let calls = disk.calls();
    assert!(calls > 10, "{calls}");
    for call in 1..=calls {
        let (_root, lake, disk, sink) = faulty();
        disk.inject(Fault::Call(call));
        if let Err(error) = sink.deliver(&staged("a/b/c", &bytes)).await {
            assert_eq!(error.kind, SinkErrorKind::Transient, "call {call}: {error}");
        }
        disk.heal();
        sink.deliver(&staged("a/b/c", &bytes)).await.unwrap();
        assert_eq!(names(&lake), ["a/b/c"], "call {call}");
        assert_eq!(fs::read(lake.join("a/b/c")).unwrap(), bytes);
    }
}

#[tokio::test]
async fn a_directory_that_cannot_be_is_a_wrong_setting() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("file"), b"").unwrap();
    let sink = FileSink::new(root.path().join("file/lake"), Arc::new(RealDisk::new()));
    let error = sink.deliver(&staged("a", b"bytes")).await.unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (SinkErrorKind::Misconfigured, "File.NoSuchDirectory"), "{error}");
    assert_eq!(sink.check().await.unwrap_err().kind, SinkErrorKind::Misconfigured);
}

#[tokio::test]
async fn a_file_where_a_directory_must_be_is_named() {
    let (_root, lake, _, sink) = faulty();
    fs::create_dir_all(&lake).unwrap();
    fs::write(lake.join("a"), b"").unwrap();
    let error = sink.deliver(&staged("a/b", b"bytes")).await.unwrap_err();
    assert_eq!(error.kind, SinkErrorKind::Misconfigured);
    assert!(error.message.contains("lake/a"), "{error}");
}

#[test]
fn a_person_reads_the_directory() {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new());
    assert_eq!(FileSink::new("/srv/lake".into(), disk).to_string(), "file /srv/lake");
}
