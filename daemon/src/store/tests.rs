//! Which directories are opened, which are refused, and what an adoption leaves behind.

use std::fs;

use hydrant_disk::faulty::Fault;
use hydrant_disk::{FaultyDisk, RealDisk};

use super::*;

struct Place {
    root: tempfile::TempDir,
}

fn machine(id: &str) -> Machine {
    Machine { id: Some(id.to_owned()) }
}

fn real() -> Arc<dyn Disk> {
    Arc::new(RealDisk::new())
}

impl Place {
    fn new() -> Place {
        Place { root: tempfile::tempdir().unwrap() }
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn open(&self, name: &str, on: &Machine) -> Result<StreamId, Failure> {
        Store::open(real(), &self.dir(name), Opener { machine: on, adopt: false }).map(|store| store.id())
    }

    fn adopt(&self, name: &str, on: &Machine) -> Result<StreamId, Failure> {
        Store::open(real(), &self.dir(name), Opener { machine: on, adopt: true }).map(|store| store.id())
    }

    fn copy(&self, from: &str, to: &str) {
        fs::create_dir(self.dir(to)).unwrap();
        for name in DIRECTORIES {
            fs::create_dir(self.dir(to).join(name)).unwrap();
        }
        fs::copy(self.dir(from).join("STORE"), self.dir(to).join("STORE")).unwrap();
    }
}

fn refusal(opened: Result<StreamId, Failure>, exit: Exit) -> String {
    let failure = opened.unwrap_err();
    assert_eq!(failure.exit_code(), std::process::ExitCode::from(exit as u8), "{failure}");
    failure.to_string()
}

#[test]
fn a_restart_and_another_path_are_no_alarm() {
    let place = Place::new();
    let id = place.open("a", &machine("one")).unwrap();
    assert_eq!(place.open("a", &machine("one")).unwrap(), id);
    std::os::unix::fs::symlink(place.dir("a"), place.dir("link")).unwrap();
    assert_eq!(place.open("link", &machine("one")).unwrap(), id);
    fs::rename(place.dir("a"), place.dir("b")).unwrap();
    assert_eq!(place.open("b", &machine("one")).unwrap(), id, "renamed, there is still only one");
}

#[test]
fn without_a_machine_id_a_restart_is_no_alarm_and_a_copy_is() {
    let (place, nowhere) = (Place::new(), Machine { id: None });
    let id = place.open("a", &nowhere).unwrap();
    assert_eq!(place.open("a", &nowhere).unwrap(), id);
    place.copy("a", "b");
    refusal(place.open("b", &nowhere), Exit::Config);
    assert_eq!(place.open("a", &machine("one")).unwrap(), id, "it was not known where it was made");
}

#[test]
fn a_copy_is_refused_until_it_is_adopted_and_then_is_another_store() {
    let place = Place::new();
    let id = place.open("a", &machine("one")).unwrap();
    place.copy("a", "b");
    let text = refusal(place.open("b", &machine("one")), Exit::Config);
    assert!(text.contains("is a copy: its STORE was inode") && text.contains("`--adopt /"), "{text}");
    let adopted = place.adopt("b", &machine("one")).unwrap();
    assert_ne!(adopted, id);
    assert_eq!(place.open("b", &machine("one")).unwrap(), adopted, "for good");
    assert!(fs::read_to_string(place.dir("b").join("STORE")).unwrap().contains(&format!("\"adopted_from\":\"{id}\"")));
    assert_eq!(place.open("a", &machine("one")).unwrap(), id, "the original is untouched");
    assert_eq!(place.adopt("a", &machine("one")).unwrap(), id, "nothing was to be adopted");
}

#[test]
fn another_machine_is_refused_until_it_adopts() {
    let place = Place::new();
    let id = place.open("a", &machine("one")).unwrap();
    let text = refusal(place.open("a", &machine("two")), Exit::Config);
    assert!(text.contains("it was made on machine `one`, and this is `two`"), "{text}");
    let text = refusal(place.open("a", &Machine { id: None }), Exit::Config);
    assert!(text.contains("and this is one without an id"), "{text}");
    assert_ne!(place.adopt("a", &machine("two")).unwrap(), id);
    assert!(place.open("a", &machine("two")).is_ok());
    refusal(place.open("a", &machine("one")), Exit::Config);
}

#[test]
fn a_copy_on_the_inode_of_its_original_is_younger() {
    let label = |born, file_system| label::Label {
        store: StreamId([1; 16]),
        machine: machine("one"),
        file: hydrant_disk::FileIdentity { inode: 12, born, file_system },
        adopted_from: None,
    };
    let here = |born, file_system| hydrant_disk::FileIdentity { inode: 12, born, file_system };
    let moved = |made: label::Label, here| made.moved(&machine("one"), here).is_some();
    assert!(moved(label(Some(5), 1), here(Some(6), 1)));
    assert!(!moved(label(Some(5), 1), here(Some(5), 2)), "XFS may call itself another after a reboot");
    assert!(moved(label(None, 1), here(None, 2)));
    assert!(!moved(label(None, 1), here(None, 1)));
    assert!(!moved(label(None, 1), here(Some(5), 1)), "a newer kernel tells the time of birth");
}

#[test]
fn the_first_format_is_upgraded_durably() {
    let place = Place::new();
    let id = StreamId([7; 16]);
    fs::create_dir(place.dir("a")).unwrap();
    let old = format!("{{\"format\":1,\"store\":\"{id}\"}}");
    fs::write(place.dir("a").join("STORE"), &old).unwrap();
    assert_eq!(place.open("a", &machine("one")).unwrap(), id);
    place.copy("a", "b");
    refusal(place.open("b", &machine("one")), Exit::Config);
    // Every call fails once: the old label or the new one is there, and the next start goes on.
    for call in 1.. {
        let dir = place.dir(&format!("faulty-{call}"));
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("STORE"), &old).unwrap();
        let disk = FaultyDisk::new(real());
        disk.inject(Fault::Call(call));
        let on = machine("one");
        let opened = Store::open(Arc::new(disk.clone()), &dir, Opener { machine: &on, adopt: false });
        let done = opened.is_ok();
        drop(opened);
        assert_eq!(place.open(&format!("faulty-{call}"), &on).unwrap(), id, "call {call}");
        let left: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(!left.iter().any(|name| name.to_string_lossy().contains("tmp")), "call {call}: {left:?}");
        if done && disk.calls() < call {
            break;
        }
    }
}

#[test]
fn an_upgrade_waits_for_space_and_the_daemon_does_not() {
    let place = Place::new();
    let (dir, id) = (place.dir("a"), StreamId([7; 16]));
    for name in DIRECTORIES {
        fs::create_dir_all(dir.join(name)).unwrap();
    }
    fs::write(dir.join("STORE"), format!("{{\"format\":1,\"store\":\"{id}\"}}")).unwrap();
    let disk = FaultyDisk::new(real());
    disk.set_full(true);
    let on = machine("one");
    Store::open(Arc::new(disk.clone()), &dir, Opener { machine: &on, adopt: false }).unwrap();
    assert!(fs::read_to_string(dir.join("STORE")).unwrap().contains("\"format\":1"));
    assert_eq!(place.open("a", &on).unwrap(), id);
    assert!(fs::read_to_string(dir.join("STORE")).unwrap().contains("\"format\":2"));
}

#[test]
fn a_label_that_cannot_be_understood_is_never_an_empty_directory() {
    let place = Place::new();
    for (bytes, exit) in [
        ("", Exit::CorruptStore),
        ("{\"format\":2", Exit::CorruptStore),
        ("{\"format\":1,\"store\":\"../..\"}", Exit::CorruptStore),
        ("{\"format\":2,\"store\":\"07070707070707070707070707070707\"}", Exit::CorruptStore),
        ("{\"format\":99}", Exit::CorruptStore),
    ] {
        let dir = place.dir("a");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("STORE"), bytes).unwrap();
        let text = refusal(place.open("a", &machine("one")), exit);
        assert!(text.contains("STORE` cannot be understood: "), "{text}");
        assert_eq!(fs::read_to_string(dir.join("STORE")).unwrap(), bytes);
    }
    refusal(place.adopt("a", &machine("one")), Exit::CorruptStore);
    fs::write(place.dir("a").join("STORE"), "rot").unwrap();
    let id = place.adopt("a", &machine("one")).unwrap();
    assert_eq!(place.open("a", &machine("one")).unwrap(), id);
}

#[test]
fn a_directory_that_lost_its_label_is_not_a_new_one() {
    let place = Place::new();
    place.open("a", &machine("one")).unwrap();
    fs::remove_file(place.dir("a").join("STORE")).unwrap();
    let text = refusal(place.open("a", &machine("one")), Exit::CorruptStore);
    assert!(text.contains("has a `catalog`, but no STORE"), "{text}");
    assert!(place.adopt("a", &machine("one")).is_ok());
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let place = Place::new();
    fs::create_dir(place.dir("a")).unwrap();
    fs::write(place.dir("a").join("thesis.txt"), "years of work").unwrap();
    let text = refusal(place.open("a", &machine("one")), Exit::Config);
    assert!(text.contains("it is not empty: there is `thesis.txt`"), "{text}");
    assert_eq!(fs::read_dir(place.dir("a")).unwrap().count(), 1);
    let text = refusal(place.open("a/thesis.txt", &machine("one")), Exit::Config);
    assert!(text.contains("give `data_dir` a directory, not a file"), "{text}");
    fs::create_dir(place.dir("empty")).unwrap();
    let text = refusal(place.adopt("empty", &machine("one")), Exit::Config);
    assert!(text.contains("nothing to adopt"), "{text}");
    fs::create_dir(place.dir("empty/lost+found")).unwrap();
    place.open("empty", &machine("one")).unwrap();
}

#[test]
fn one_process_at_a_time_also_while_it_adopts() {
    let place = Place::new();
    let on = machine("one");
    place.open("a", &on).unwrap();
    place.copy("a", "b");
    let held = Store::open(real(), &place.dir("b"), Opener { machine: &on, adopt: true }).unwrap();
    for adopt in [false, true] {
        let second = Store::open(real(), &place.dir("b"), Opener { machine: &on, adopt }).map(|store| store.id());
        assert!(refusal(second, Exit::Runtime).contains("in use by another hydrant"));
    }
    drop(held);
    assert!(place.open("b", &on).is_ok());
}
