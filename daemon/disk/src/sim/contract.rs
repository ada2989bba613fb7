//! What every [`Disk`] does alike, as long as nothing goes wrong.

use super::*;
use crate::{RealDisk, create_dir_durable, create_durable, read_exact_at, replace_durable};

#[test]
fn the_real_disk_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    contract(&RealDisk::new(), dir.path());
}

#[test]
fn the_simulated_disk_keeps_the_contract() {
    for short_reads in [false, true] {
        let disk = SimDisk::new(1);
        disk.set_short_reads(short_reads);
        disk.create_dir(Path::new("/data")).unwrap();
        contract(&disk, Path::new("/data"));
    }
}

fn contract(disk: &dyn Disk, root: &Path) {
    bytes(disk, &root.join("bytes"));
    lengths(disk, &root.join("lengths"));
    names(disk, root);
    directories(disk, root);
    locks(disk, &root.join("lock"));
    assert_ne!(disk.random().unwrap(), disk.random().unwrap());
    assert!(disk.free_bytes(root).unwrap() > 0);
}

fn content(file: &dyn DiskFile) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    read_exact_at(file, &mut bytes, 0).unwrap();
    bytes
}

fn bytes(disk: &dyn Disk, path: &Path) {
    let file = disk.create(path).unwrap();
    let mut expected = Vec::new();
    let mut dice = Dice::new(5);
    for step in 0..200_u8 {
        let (offset, len) = (dice.below(20_000), dice.below(9000));
        let (from, to) = (usize::try_from(offset).unwrap(), usize::try_from(offset + len).unwrap());
        expected.resize(expected.len().max(if len > 0 { to } else { 0 }), 0);
        let zeros = dice.chance(1, 4);
        if zeros {
            file.fill_zero(offset, len).unwrap();
        } else {
            file.write_at(&vec![step; to - from], offset).unwrap();
        }
        if len > 0 {
            expected[from..to].fill(if zeros { 0 } else { step });
        }
        match dice.below(4) {
            0 => file.sync_data().unwrap(),
            1 => file.push_out(offset, len).unwrap(),
            2 => file.forget(offset, len).unwrap(),
            _ => {}
        }
        assert_eq!(content(&*disk.open(path).unwrap()), expected, "step {step}");
    }
    let mut buf = [1; 8];
    assert_eq!(file.read_at(&mut buf, expected.len() as u64).unwrap(), 0);
    assert_eq!(file.read_at(&mut buf, 1 << 40).unwrap(), 0);
    let error = read_exact_at(&*file, &mut buf, expected.len() as u64 - 4).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert!(disk.open(path).unwrap().write_at(b"x", 0).is_err(), "it was opened for reading");
}

fn lengths(disk: &dyn Disk, path: &Path) {
    let file = disk.create(path).unwrap();
    file.write_at(&[7; 10_000], 0).unwrap();
    file.sync_data().unwrap();
    file.set_len(600).unwrap();
    file.set_len(9000).unwrap();
    let mut expected = vec![7; 600];
    expected.resize(9000, 0);
    for _ in 0..2 {
        assert_eq!(content(&*file), expected, "what was cut off does not come back");
        file.forget(0, 0).unwrap();
    }
    file.write_at(&[8], 700).unwrap();
    file.sync_data().unwrap();
    expected[700] = 8;
    file.forget(0, 0).unwrap();
    assert_eq!(content(&*disk.open_write(path).unwrap()), expected);
}

fn names(disk: &dyn Disk, root: &Path) {
    let (a, b, c) = (root.join("a"), root.join("b"), root.join("c"));
    let kind = |result: io::Result<()>| result.unwrap_err().kind();
    disk.create(&a).unwrap().write_at(b"a", 0).unwrap();
    let old = disk.create(&b).unwrap();
    old.write_at(b"old", 0).unwrap();
    assert_eq!(kind(disk.create(&a).map(drop)), io::ErrorKind::AlreadyExists);
    assert_eq!(kind(disk.rename_new(&a, &b)), io::ErrorKind::AlreadyExists);
    assert_eq!(kind(disk.rename(&c, &b)), io::ErrorKind::NotFound);
    assert_eq!(kind(disk.rename_new(&c, &b)), io::ErrorKind::NotFound);
    assert_eq!(kind(disk.remove(&c)), io::ErrorKind::NotFound);
    assert_eq!(kind(disk.open(&c).map(drop)), io::ErrorKind::NotFound);
    assert_eq!(kind(disk.create(&root.join("no/where")).map(drop)), io::ErrorKind::NotFound);
    assert_eq!(kind(disk.rename(&a, &root.join("no/where"))), io::ErrorKind::NotFound);
    disk.rename(&a, &b).unwrap();
    disk.sync_dir(root).unwrap();
    assert_eq!(content(&*disk.open(&b).unwrap()), b"a");
    assert_eq!(content(&*old), b"old", "an open file outlives its name");
    disk.rename_new(&b, &c).unwrap();
    assert!(!disk.exists(&b).unwrap() && disk.exists(&c).unwrap());
    disk.remove(&c).unwrap();
    create_durable(disk, &b, b"one").unwrap();
    replace_durable(disk, &b, b"two").unwrap();
    assert_eq!(content(&*disk.open(&b).unwrap()), b"two");
    let listed = disk.list(root).unwrap();
    assert!(listed.is_sorted() && listed.contains(&PathBuf::from("b")) && !listed.contains(&PathBuf::from("c")));
}

fn directories(disk: &dyn Disk, root: &Path) {
    let dir = root.join("x");
    create_dir_durable(disk, &dir.join("y")).unwrap();
    assert_eq!(disk.create_dir(&dir).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    disk.create(&dir.join("y/file")).unwrap();
    assert_eq!(disk.list(&dir).unwrap(), [PathBuf::from("y")]);
    disk.rename(&dir, &root.join("z")).unwrap();
    assert_eq!(disk.list(&root.join("z/y")).unwrap(), [PathBuf::from("file")]);
    disk.remove_dir_all(&root.join("z")).unwrap();
    disk.remove_dir_all(&root.join("z")).unwrap();
    assert!(!disk.exists(&root.join("z/y/file")).unwrap());
    assert_eq!(disk.list(&dir).unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(disk.sync_dir(&dir).unwrap_err().kind(), io::ErrorKind::NotFound);
}

fn locks(disk: &dyn Disk, path: &Path) {
    assert_eq!(disk.lock(path).err().map(|error| error.kind()), Some(io::ErrorKind::NotFound));
    disk.create(path).unwrap();
    let held = disk.lock(path).unwrap();
    assert_eq!(disk.lock(path).err().map(|error| error.kind()), Some(io::ErrorKind::WouldBlock));
    drop(held);
    assert!(disk.lock(path).is_ok());
}
