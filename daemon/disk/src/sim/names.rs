//! Names of the simulated file system: those that everybody sees, and those that are on the medium.
//!
//! Invariant: what is on the medium came there by whole changes, each after the changes that it rests on.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::file::File;
use super::{Fate, Unsynced};

#[derive(Clone, Debug)]
pub(super) enum Node {
    Dir,
    File(Inode),
}

/// A file under whatever name. Numbers grow with the order of creation.
#[derive(Clone, Debug)]
pub(super) struct Inode {
    pub(super) number: u64,
    pub(super) file: Arc<Mutex<File>>,
}

type Map = BTreeMap<PathBuf, Node>;

#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    seen: Map,
    medium: Map,
    /// Changes that are not durable, in order.
    unsynced: Vec<Unfinished>,
}

#[derive(Clone, Debug)]
struct Unfinished {
    change: Change,
    /// Directories that must still be synced.
    dirs: Vec<PathBuf>,
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    Add(PathBuf, Node),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl Names {
    pub(super) fn get(&self, path: &Path) -> Option<&Node> {
        if is_root(path) { Some(&Node::Dir) } else { self.seen.get(path) }
    }

    pub(super) fn file(&self, path: &Path) -> io::Result<&Inode> {
        match self.get(path) {
            Some(Node::File(inode)) => Ok(inode),
            Some(Node::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn dir(&self, path: &Path) -> io::Result<()> {
        match self.get(path) {
            Some(Node::Dir) => Ok(()),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Names below a directory, sorted: its own children only.
    pub(super) fn children(&self, dir: &Path) -> Vec<PathBuf> {
        let of_dir = self.seen.keys().filter(|path| parent(path) == root_name(dir));
        of_dir.filter_map(|path| path.file_name().map(PathBuf::from)).collect()
    }

    /// A directory and all below it, innermost first.
    pub(super) fn tree(&self, path: &Path) -> Vec<PathBuf> {
        self.seen.keys().rev().filter(|other| other.starts_with(path)).cloned().collect()
    }

    pub(super) fn change(&mut self, change: Change) {
        change.apply(&mut self.seen);
        let mut dirs: Vec<_> = change.paths().into_iter().map(|path| parent(path).to_owned()).collect();
        dirs.dedup();
        self.unsynced.push(Unfinished { change, dirs });
    }

    pub(super) fn sync_dir(&mut self, dir: &Path) {
        for unfinished in &mut self.unsynced {
            unfinished.dirs.retain(|other| other != root_name(dir));
        }
        let durable: Vec<_> = self.unsynced.iter().map(|unfinished| unfinished.dirs.is_empty()).collect();
        self.arrive(durable);
    }

    /// A sync that failed: some changes came to the medium, and none is durable that was not before. A journal keeps
    /// the others, so they may still come later.
    pub(super) fn sync_badly(&mut self, decide: &mut dyn FnMut(Unsynced) -> Fate) {
        let arrived = self.decided(decide);
        self.arrive(arrived);
    }

    /// The names that are found after power was lost.
    pub(super) fn after_power_loss(&self, decide: &mut dyn FnMut(Unsynced) -> Fate) -> Names {
        let mut names = self.clone();
        let arrived = names.decided(decide);
        names.arrive(arrived);
        names.unsynced.clear();
        names.seen = names.medium.clone();
        names
    }

    /// Every file that any name stands for, or could after power was lost, by its number.
    pub(super) fn inodes(&self) -> BTreeMap<u64, Inode> {
        let added = self.unsynced.iter().filter_map(|unfinished| match &unfinished.change {
            Change::Add(_, node) => Some(node),
            _ => None,
        });
        let nodes = self.seen.values().chain(self.medium.values()).chain(added);
        nodes
            .filter_map(|node| match node {
                Node::File(inode) => Some((inode.number, inode.clone())),
                Node::Dir => None,
            })
            .collect()
    }

    /// Puts copies in the place of all files.
    pub(super) fn replace_files(&mut self, copies: &BTreeMap<u64, Arc<Mutex<File>>>) {
        let added = self.unsynced.iter_mut().filter_map(|unfinished| match &mut unfinished.change {
            Change::Add(_, node) => Some(node),
            _ => None,
        });
        for node in self.seen.values_mut().chain(self.medium.values_mut()).chain(added) {
            if let Node::File(inode) = node {
                inode.file = Arc::clone(&copies[&inode.number]);
            }
        }
    }

    fn decided(&self, decide: &mut dyn FnMut(Unsynced) -> Fate) -> Vec<bool> {
        let mut arrived: Vec<bool> = Vec::new();
        for (at, unfinished) in self.unsynced.iter().enumerate() {
            // What rests on a change that was lost is lost with it.
            let possible =
                (0..at).all(|before| arrived[before] || !unfinished.change.rests_on(&self.unsynced[before].change));
            arrived.push(possible && decide(Unsynced::Name) == Fate::Arrived);
        }
        arrived
    }

    /// Applies the marked changes, and those that they rest on, to the medium.
    fn arrive(&mut self, mut marked: Vec<bool>) {
        for at in (0..marked.len()).rev() {
            for before in 0..at {
                marked[before] |= marked[at] && self.unsynced[at].change.rests_on(&self.unsynced[before].change);
            }
        }
        let mut marks = marked.into_iter();
        let medium = &mut self.medium;
        self.unsynced.retain(|unfinished| {
            let arrives = marks.next().unwrap_or(false);
            if arrives {
                unfinished.change.apply(medium);
            }
            !arrives
        });
    }
}

impl Change {
    fn paths(&self) -> Vec<&Path> {
        match self {
            Change::Add(path, _) | Change::Remove(path) => vec![path],
            Change::Rename(from, to) => vec![from, to],
        }
    }

    /// They touch the same name, or one is inside the directory that the other is about.
    fn rests_on(&self, earlier: &Change) -> bool {
        let earlier = earlier.paths();
        self.paths().iter().any(|path| earlier.iter().any(|other| path.starts_with(other) || other.starts_with(path)))
    }

    fn apply(&self, map: &mut Map) {
        match self {
            Change::Add(path, node) => {
                map.insert(path.clone(), node.clone());
            }
            Change::Remove(path) => {
                map.remove(path);
            }
            Change::Rename(from, to) => {
                let moved: Vec<_> = map.keys().filter(|path| path.starts_with(from)).cloned().collect();
                for path in moved {
                    let node = map.remove(&path).expect("it was just found");
                    let below = path.strip_prefix(from).expect("it starts with it");
                    let target = if below.as_os_str().is_empty() { to.clone() } else { to.join(below) };
                    map.insert(target, node);
                }
            }
        }
    }
}

pub(super) fn parent(path: &Path) -> &Path {
    root_name(path.parent().unwrap_or(Path::new("")))
}

/// `.` and the empty path are one directory.
fn root_name(path: &Path) -> &Path {
    if path == Path::new(".") { Path::new("") } else { path }
}

fn is_root(path: &Path) -> bool {
    matches!(path.to_str(), Some("" | "." | "/"))
}
