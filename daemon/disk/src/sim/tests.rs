//! Each thing that goes wrong, on its own.

use std::collections::BTreeSet;

use super::*;
use crate::read_exact_at;

const PATH: &str = "/file";

fn path() -> &'static Path {
    Path::new(PATH)
}

/// A disk with a durable file of these bytes.
fn holding(bytes: &[u8]) -> (SimDisk, Arc<dyn DiskFile>) {
    let disk = SimDisk::new(3);
    let file = disk.create(path()).unwrap();
    file.write_at(bytes, 0).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    (disk, file)
}

fn read(disk: &SimDisk, path: &Path) -> Option<Vec<u8>> {
    let file = disk.open(path).ok()?;
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    read_exact_at(&*file, &mut bytes, 0).unwrap();
    Some(bytes)
}

/// What the file may hold after power was lost.
fn outcomes(disk: &SimDisk) -> BTreeSet<Option<Vec<u8>>> {
    (0..2000).map(|seed| read(&disk.power_loss(seed), path())).collect()
}

#[test]
fn what_is_synced_survives_and_what_is_not_may_be_lost_sector_by_sector() {
    let (disk, file) = holding(&[1; 1536]);
    assert_eq!(outcomes(&disk), BTreeSet::from([Some(vec![1; 1536])]));
    file.write_at(&[2; 1536], 0).unwrap();
    let found = outcomes(&disk);
    let of = |sectors: [u8; 3]| Some(sectors.iter().flat_map(|byte| [*byte; 512]).collect::<Vec<u8>>());
    for number in 0..8 {
        let sectors = [1 + (number & 1), 1 + (number >> 1 & 1), 1 + (number >> 2 & 1)];
        assert!(found.contains(&of(sectors)), "{sectors:?} never came");
    }
    let torn = found.iter().flatten().filter(|bytes| bytes.chunks(512).any(|sector| sector[0] != sector[511]));
    let torn: Vec<_> = torn.collect();
    assert!(!torn.is_empty());
    for bytes in torn {
        let torn: Vec<_> = bytes.chunks(512).filter(|sector| sector[0] != sector[511]).collect();
        assert!(torn.len() == 1 && torn[0].is_sorted_by(|a, b| a >= b), "one sector, its first bytes new");
    }
    file.sync_data().unwrap();
    assert_eq!(outcomes(&disk), BTreeSet::from([Some(vec![2; 1536])]));
    assert_eq!(disk.power_loss_by(&mut |_| panic!("nothing is unsynced")).syncs(), disk.syncs());
}

#[test]
fn a_sector_written_twice_may_be_there_as_it_was_in_between() {
    let (disk, file) = holding(&[1; 512]);
    file.write_at(&[2; 512], 0).unwrap();
    file.write_at(&[3; 512], 0).unwrap();
    let found = outcomes(&disk);
    for byte in 1..=3 {
        assert!(found.contains(&Some(vec![byte; 512])), "{byte}");
    }
}

#[test]
fn lengths_arrive_in_order_or_not_at_all() {
    let (disk, file) = holding(&[1; 1024]);
    file.set_len(100).unwrap();
    file.write_at(&[2; 924], 100).unwrap();
    let found = outcomes(&disk);
    assert!(found.contains(&Some(vec![1; 1024])), "nothing came");
    assert!(found.contains(&Some(vec![1; 100])), "the cut came");
    let cut_zeros = [vec![1; 100], vec![0; 924]].concat();
    assert!(found.contains(&Some(cut_zeros)), "the cut and the new length came, the bytes did not");
    let whole = [vec![1; 100], vec![2; 924]].concat();
    assert!(found.contains(&Some(whole)));
    let beside =
        found.iter().flatten().find(|bytes| bytes.len() == 1024 && bytes[512..] == [1; 512] && bytes[100] == 0);
    assert_eq!(beside, None, "bytes that were cut off do not come back");
}

#[test]
fn names_are_durable_with_their_directory_only() {
    let disk = SimDisk::new(9);
    let (new, old) = (Path::new("/new"), Path::new("/old"));
    let file = disk.create(old).unwrap();
    file.write_at(b"bytes", 0).unwrap();
    file.sync_data().unwrap();
    let seen = |disk: &SimDisk| -> BTreeSet<(bool, bool)> {
        let lost = (0..500).map(|seed| disk.power_loss(seed));
        lost.map(|lost| (lost.exists(old).unwrap(), lost.exists(new).unwrap())).collect()
    };
    assert_eq!(seen(&disk), BTreeSet::from([(false, false), (true, false)]), "synced bytes make no name");
    disk.sync_dir(Path::new("/")).unwrap();
    disk.rename_new(old, new).unwrap();
    assert_eq!(seen(&disk), BTreeSet::from([(true, false), (false, true)]), "never both, never none");
    disk.sync_dir(Path::new("/")).unwrap();
    assert_eq!(seen(&disk), BTreeSet::from([(false, true)]));
    disk.remove(new).unwrap();
    disk.create(old).unwrap();
    let any = BTreeSet::from([(false, true), (false, false), (true, true), (true, false)]);
    assert_eq!(seen(&disk), any, "changes of different names are not in order");
    disk.sync_dir(Path::new("/")).unwrap();
    assert_eq!(seen(&disk), BTreeSet::from([(true, false)]));
    assert_eq!(read(&disk.power_loss(1), old).unwrap(), b"");
}

#[test]
fn a_file_in_a_lost_directory_is_lost_and_a_replaced_name_is_old_or_new() {
    let disk = SimDisk::new(1);
    disk.create_dir(Path::new("/d")).unwrap();
    disk.create(Path::new("/d/a")).unwrap();
    disk.sync_dir(Path::new("/d")).unwrap();
    assert!(disk.power_loss_by(&mut |_| Fate::Lost).exists(Path::new("/d/a")).unwrap(), "a name brings its directory");
    disk.create_dir(Path::new("/e")).unwrap();
    disk.create(Path::new("/e/a")).unwrap();
    for seed in 0..200 {
        let lost = disk.power_loss(seed);
        assert!(lost.exists(Path::new("/e")).unwrap() || !lost.exists(Path::new("/e/a")).unwrap());
    }
    let (disk, _) = holding(b"old");
    let other = disk.create(Path::new("/other")).unwrap();
    other.write_at(b"new", 0).unwrap();
    other.sync_data().unwrap();
    disk.rename(Path::new("/other"), path()).unwrap();
    assert_eq!(outcomes(&disk), BTreeSet::from([Some(b"old".to_vec()), Some(b"new".to_vec())]));
}

#[test]
fn a_killed_process_leaves_the_page_cache() {
    let (disk, file) = holding(b"old");
    file.write_at(b"new bytes", 0).unwrap();
    let held = disk.lock(path()).unwrap();
    let after = disk.crash();
    assert_eq!(read(&after, path()).unwrap(), b"new bytes");
    assert!(after.lock(path()).is_ok(), "its locks are gone");
    assert_eq!(read(&after.power_loss_by(&mut |_| Fate::Lost), path()).unwrap(), b"old");
    after.open_write(path()).unwrap().write_at(b"else", 0).unwrap();
    assert_eq!(read(&disk, path()).unwrap(), b"new bytes", "a copy of its own");
    assert_ne!(disk.random().unwrap(), after.random().unwrap());
    drop(held);
}

#[test]
fn a_failed_sync_leaves_clean_pages_that_the_medium_does_not_hold() {
    for (fault, fails) in [(SyncFault::Reported, true), (SyncFault::Swallowed, false)] {
        let mut lossy = 0;
        for seed in 0..50 {
            let disk = SimDisk::new(seed);
            let file = disk.create(path()).unwrap();
            file.fill_zero(0, 2048).unwrap();
            file.sync_data().unwrap();
            disk.sync_dir(Path::new("/")).unwrap();
            file.write_at(&[9; 2048], 0).unwrap();
            disk.fail_sync(2, fault);
            disk.sync_dir(Path::new("/")).unwrap();
            assert_eq!(file.sync_data().is_err(), fails);
            file.sync_data().unwrap();
            assert_eq!(read(&disk, path()).unwrap(), [9; 2048], "the cache shows all");
            let medium = read(&disk.power_loss(0), path()).unwrap();
            assert_eq!(read(&disk.crash(), path()).unwrap(), [9; 2048]);
            file.forget(0, 2048).unwrap();
            assert_eq!(read(&disk, path()).unwrap(), medium);
            lossy += u32::from(medium != [9; 2048]);
        }
        assert!((10..50).contains(&lossy), "{fault:?}: {lossy}");
    }
}

#[test]
fn a_failed_sync_of_a_directory_leaves_its_names_to_the_next() {
    let disk = SimDisk::new(4);
    disk.create(path()).unwrap();
    disk.fail_sync(1, SyncFault::Reported);
    assert!(disk.sync_dir(Path::new("/")).is_err());
    disk.sync_dir(Path::new("/")).unwrap();
    assert!(disk.power_loss(1).exists(path()).unwrap());
}

#[test]
fn rot_shows_once_the_page_is_forgotten() {
    let (disk, file) = holding(&[0; 5000]);
    disk.rot(path(), 4999, 0x80).unwrap();
    assert_eq!(read(&disk, path()).unwrap(), [0; 5000]);
    assert_eq!(read(&disk.power_loss(0), path()).unwrap()[4999], 0x80);
    file.write_at(&[1], 0).unwrap();
    disk.drop_caches();
    let bytes = read(&disk, path()).unwrap();
    assert_eq!((bytes[0], bytes[4999]), (1, 0x80), "unsynced bytes are kept");
    assert_eq!(disk.rot(Path::new("/none"), 0, 1).unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn a_full_disk_refuses_new_blocks_only_and_gives_removed_ones_back() {
    let (disk, file) = holding(&[1; 4096]);
    disk.set_capacity(Some(3 * 4096));
    assert_eq!(disk.free_bytes(path()).unwrap(), 2 * 4096);
    file.fill_zero(4096, 2 * 4096).unwrap();
    file.write_at(&[2; 4096], 8192).unwrap();
    assert_eq!(file.write_at(&[2; 2], 12_287).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(file.len().unwrap(), 12_288, "a refused write left no trace");
    file.set_len(1 << 30).unwrap();
    let error = file.write_at(&[2], 1 << 20).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull, "a hole takes no block before it is written");
    file.set_len(4096).unwrap();
    assert_eq!(disk.free_bytes(path()).unwrap(), 2 * 4096);
    disk.remove(path()).unwrap();
    assert_eq!(disk.free_bytes(path()).unwrap(), 2 * 4096);
    disk.sync_dir(Path::new("/")).unwrap();
    assert_eq!(disk.free_bytes(path()).unwrap(), 3 * 4096);
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let run = || {
        let (disk, file) = holding(&[1; 9000]);
        file.write_at(&[2; 9000], 100).unwrap();
        disk.create(Path::new("/b")).unwrap();
        disk.fail_sync(1, SyncFault::Swallowed);
        file.sync_data().unwrap();
        file.write_at(&[3; 9000], 50).unwrap();
        let after = disk.power_loss(77);
        (read(&after, path()), after.list(Path::new("/")).unwrap(), after.random().unwrap())
    };
    assert_eq!(run(), run());
}
