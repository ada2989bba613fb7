//! What was replayed, on disk, so that a replay can be interrupted and repeated.
//!
//! ```text
//! {"hydrant_replay":1,"stream":"events"}
//! {"put":{"object":"events-1-…","sha256":"9f…","lines":[[0,499]]}}      synced before the request leaves
//! {"taken":{"object":"events-1-…","sha256":"9f…","lines":[[0,499]]}}    what was acked; synced before the next `put`
//! {"refused":{"object":"events-1-…","sha256":"9f…","lines":[[7,7]]}}    what certainly was not stored
//! {"staged":{"object":…,"sha256":…,"lines":…,"batch":{…}}}              synced before the batch leaves for the destination
//! {"delivered":{"object":…,"sha256":…,"lines":…,"refused":[[9,9]]}}     all of it but `refused` is there; synced
//! ```
//!
//! Invariant: a line that may have been stored stands in the journal. Lines of a `put` that neither was taken nor refused were
//! under way when the process or its connection ended: whether they were stored, nobody can tell. A batch that is staged and not
//! delivered is sent as it is by the next run, before anything else; so of it nothing is in doubt.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hydrant_delivery::StagedBatch;
use hydrant_disk::{Disk, DiskFile, create_dir_durable, create_durable, read_exact_at};
use serde::{Deserialize, Serialize};

use crate::exit::{Exit, Failure};

const VERSION: u32 = 1;

/// An object, wherever a copy of it is: the last part of its name, and its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct ObjectId {
    pub(super) object: String,
    pub(super) sha256: String,
}

/// Numbers of lines, as ranges with both ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    fn add(&mut self, first: u64, last: u64) {
        match self.0.last_mut() {
            Some((_, end)) if *end + 1 == first => *end = last,
            _ => self.0.push((first, last)),
        }
    }

    fn contains(&self, line: u64) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&line))
    }

    fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().flat_map(|&(first, last)| first..=last)
    }
}

impl FromIterator<u64> for Ranges {
    fn from_iter<I: IntoIterator<Item = u64>>(lines: I) -> Ranges {
        let mut ranges = Ranges::default();
        lines.into_iter().for_each(|line| ranges.add(line, line));
        ranges
    }
}

/// What became of a line that an earlier run looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    New,
    Taken,
    /// It was under way when that run ended.
    InDoubt,
}

/// What replays have done with a failed record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Replayed {
    /// It is another record since, or several.
    PutAgain,
    /// It was under way when that run ended, so it may have been put again.
    InDoubt,
    /// For the destination, by a run that has not ended.
    Staged,
    /// At the destination, or dropped by a plugin on its way.
    Delivered,
}

#[derive(Serialize, Deserialize)]
struct Header {
    hydrant_replay: u32,
    stream: String,
}

#[derive(Serialize, Deserialize)]
struct Lines {
    #[serde(flatten)]
    id: ObjectId,
    lines: Ranges,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Entry {
    Put(Lines),
    Taken(Lines),
    Refused(Lines),
    Staged(Open),
    Delivered(Delivered),
}

/// A batch on its way to the destination.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Open {
    #[serde(flatten)]
    pub(super) id: ObjectId,
    lines: Ranges,
    pub(super) batch: StagedBatch,
}

impl Open {
    pub(super) fn lines(&self) -> u64 {
        self.lines.0.iter().map(|(first, last)| last - first + 1).sum()
    }
}

#[derive(Serialize, Deserialize)]
struct Delivered {
    #[serde(flatten)]
    id: ObjectId,
    lines: Ranges,
    refused: Ranges,
}

#[derive(Debug, Default)]
struct Known {
    taken: Ranges,
    /// Those of them that went to the destination.
    delivered: Ranges,
    in_doubt: BTreeSet<u64>,
}

/// What is known of every object.
#[derive(Debug, Default)]
pub(crate) struct History {
    objects: HashMap<ObjectId, Known>,
    open: Option<Open>,
}

impl History {
    pub(super) fn of(&self, id: &ObjectId, line: u64) -> Before {
        match self.objects.get(id) {
            Some(known) if known.taken.contains(line) => Before::Taken,
            Some(known) if known.in_doubt.contains(&line) => Before::InDoubt,
            _ => Before::New,
        }
    }

    /// What has become of a line since it failed; `None`: nothing.
    pub(crate) fn replayed(&self, object: &str, sha256: &str, line: u64) -> Option<Replayed> {
        let id = ObjectId { object: object.to_owned(), sha256: sha256.to_owned() };
        if self.open.as_ref().is_some_and(|open| open.id == id && open.lines.contains(line)) {
            return Some(Replayed::Staged);
        }
        match self.of(&id, line) {
            Before::New => None,
            Before::InDoubt => Some(Replayed::InDoubt),
            Before::Taken if self.objects[&id].delivered.contains(line) => Some(Replayed::Delivered),
            Before::Taken => Some(Replayed::PutAgain),
        }
    }

    /// What an interrupted run has staged for the destination.
    pub(super) fn open(&self) -> Option<&Open> {
        self.open.as_ref()
    }

    fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::Put(Lines { id, lines }) => self.known(id).in_doubt.extend(lines.iter()),
            Entry::Taken(Lines { id, lines }) => self.known(id).settle(lines, |_| true),
            Entry::Refused(Lines { id, lines }) => self.known(id).settle(lines, |_| false),
            Entry::Staged(open) => self.open = Some(open.clone()),
            Entry::Delivered(Delivered { id, lines, refused }) => {
                self.open = None;
                let known = self.known(id);
                known.settle(lines, |line| !refused.contains(line));
                lines.iter().filter(|line| !refused.contains(*line)).for_each(|line| known.delivered.add(line, line));
            }
        }
    }

    fn known(&mut self, id: &ObjectId) -> &mut Known {
        self.objects.entry(id.clone()).or_default()
    }
}

impl Known {
    fn settle(&mut self, lines: &Ranges, is_taken: impl Fn(u64) -> bool) {
        for line in lines.iter() {
            self.in_doubt.remove(&line);
            if is_taken(line) {
                self.taken.add(line, line);
            }
        }
    }
}

/// The journal of one delivery stream, which this process has to itself.
pub(super) struct Journal {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    end: u64,
    history: History,
    _lock: Box<dyn Send + Sync>,
}

impl Journal {
    /// Opens the journal, or makes one.
    pub(super) fn open(disk: &dyn Disk, path: &Path, stream: &str) -> Result<Journal, Failure> {
        let failed = |error: io::Error| unusable(path, &error);
        if !disk.exists(path).map_err(failed)? {
            if let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                create_dir_durable(disk, directory).map_err(failed)?;
            }
            let header = Header { hydrant_replay: VERSION, stream: stream.to_owned() };
            create_durable(disk, path, &line(&header)).map_err(failed)?;
        }
        let lock = disk.lock(path).map_err(|error| {
            let text = format!("the journal `{}` cannot be locked: {error}", path.display());
            Failure::new(Exit::Runtime, text).hint("wait for the other replay that uses it to end")
        })?;
        let (history, end) = read(disk, path, stream)?;
        let file = disk.open_write(path).map_err(failed)?;
        // What a crash left half written is not an entry.
        file.set_len(end).map_err(failed)?;
        Ok(Journal { path: path.to_owned(), file, end, history, _lock: lock })
    }

    /// What it holds, without a change to it; nothing if there is none.
    pub(super) fn peek(disk: &dyn Disk, path: &Path, stream: &str) -> Result<History, Failure> {
        match disk.exists(path).map_err(|error| unusable(path, &error))? {
            true => Ok(read(disk, path, stream)?.0),
            false => Ok(History::default()),
        }
    }

    pub(super) fn history(&self) -> &History {
        &self.history
    }

    /// Durable on return: these lines are about to be put.
    pub(super) fn put(&mut self, id: &ObjectId, lines: impl IntoIterator<Item = u64>) -> Result<(), Failure> {
        self.append(&Entry::Put(Lines { id: id.clone(), lines: lines.into_iter().collect() }))?;
        self.sync()
    }

    pub(super) fn taken(&mut self, id: &ObjectId, lines: impl IntoIterator<Item = u64>) -> Result<(), Failure> {
        self.append(&Entry::Taken(Lines { id: id.clone(), lines: lines.into_iter().collect() }))
    }

    pub(super) fn refused(&mut self, id: &ObjectId, lines: impl IntoIterator<Item = u64>) -> Result<(), Failure> {
        self.append(&Entry::Refused(Lines { id: id.clone(), lines: lines.into_iter().collect() }))
    }

    /// Durable on return: the batch may be sent now.
    pub(super) fn staged(
        &mut self,
        id: &ObjectId,
        lines: impl IntoIterator<Item = u64>,
        batch: StagedBatch,
    ) -> Result<Open, Failure> {
        let open = Open { id: id.clone(), lines: lines.into_iter().collect(), batch };
        self.append(&Entry::Staged(open.clone()))?;
        self.sync()?;
        Ok(open)
    }

    /// Durable on return: what was staged is not needed any more. `refused` ascends.
    pub(super) fn delivered(&mut self, open: &Open, refused: impl IntoIterator<Item = u64>) -> Result<(), Failure> {
        let (id, lines, refused) = (open.id.clone(), open.lines.clone(), refused.into_iter().collect());
        self.append(&Entry::Delivered(Delivered { id, lines, refused }))?;
        self.sync()
    }

    /// All entries are durable on return.
    pub(super) fn sync(&self) -> Result<(), Failure> {
        self.file.sync_data().map_err(|error| unusable(&self.path, &error))
    }

    fn append(&mut self, entry: &Entry) -> Result<(), Failure> {
        let bytes = line(entry);
        self.file.write_at(&bytes, self.end).map_err(|error| unusable(&self.path, &error))?;
        self.end += bytes.len() as u64;
        self.history.apply(entry);
        Ok(())
    }
}

/// The history, and where the last whole entry ends.
fn read(disk: &dyn Disk, path: &Path, stream: &str) -> Result<(History, u64), Failure> {
    let load = || {
        let file = disk.open(path)?;
        let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
        read_exact_at(&*file, &mut bytes, 0).map(|()| bytes)
    };
    let bytes = load().map_err(|error| unusable(path, &error))?;
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let mut lines = bytes[..end].split_inclusive(|byte| *byte == b'\n');
    let header = lines.next().and_then(|line| serde_json::from_slice::<Header>(line).ok());
    let header = header.filter(|header| header.hydrant_replay == VERSION).ok_or_else(|| damaged(path, 1))?;
    if header.stream != stream {
        let text = format!("`{}` is the journal of a replay into `{}`, not `{stream}`", path.display(), header.stream);
        return Err(Failure::new(Exit::Usage, text).hint("name another file with --journal"));
    }
    let mut history = History::default();
    for (number, line) in lines.enumerate() {
        let entry = serde_json::from_slice(line).map_err(|_| damaged(path, number + 2))?;
        history.apply(&entry);
    }
    Ok((history, end as u64))
}

fn line<T: Serialize>(entry: &T) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(entry).expect("strings and numbers into memory");
    bytes.push(b'\n');
    bytes
}

fn unusable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Io, format!("the journal `{}` cannot be read or written: {error}", path.display()))
        .hint("name a file that can be written with --journal")
}

fn damaged(path: &Path, line: usize) -> Failure {
    Failure::new(Exit::CorruptStore, format!("line {line} of the journal `{}` is damaged", path.display()))
        .hint("what it says was replayed is not known any more: mend the line, or begin with a new --journal and look for doubles")
}

#[cfg(test)]
mod tests {
    use hydrant_disk::RealDisk;

    use super::*;

    fn id(object: &str) -> ObjectId {
        ObjectId { object: object.to_owned(), sha256: "9f".to_owned() }
    }

    fn states(history: &History, object: &str) -> Vec<Before> {
        (0..6).map(|line| history.of(&id(object), line)).collect()
    }

    #[test]
    fn what_was_taken_is_known_after_a_crash_and_what_was_under_way_is_in_doubt() {
        use Before::{InDoubt, New, Taken};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/events.journal");
        let disk = RealDisk::new();
        let mut journal = Journal::open(&disk, &path, "events").unwrap();
        journal.put(&id("a"), 0..3).unwrap();
        journal.taken(&id("a"), 0..3).unwrap();
        journal.put(&id("a"), 3..6).unwrap();
        journal.refused(&id("a"), [4]).unwrap();
        journal.put(&id("b"), [1]).unwrap();
        let expected = [Taken, Taken, Taken, InDoubt, New, InDoubt];
        assert_eq!(states(journal.history(), "a"), expected);
        assert!(Journal::open(&disk, &path, "events").is_err(), "it is locked");
        drop(journal);
        // A crash in the middle of an entry.
        let file = disk.open_write(&path).unwrap();
        file.write_at(b"{\"taken\":{\"obj", file.len().unwrap()).unwrap();
        for _ in 0..2 {
            let journal = Journal::open(&disk, &path, "events").unwrap();
            assert_eq!(states(journal.history(), "a"), expected);
            assert_eq!(states(journal.history(), "b"), [New, InDoubt, New, New, New, New]);
        }
        assert_eq!(states(&Journal::peek(&disk, &path, "events").unwrap(), "a"), expected);
    }

    #[test]
    fn a_batch_that_was_staged_is_open_until_it_was_delivered() {
        use Before::{New, Taken};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.journal");
        let disk = RealDisk::new();
        let batch: StagedBatch = serde_json::from_str(r#"{"destination":"file:/lake","manifest":null}"#).unwrap();
        let mut journal = Journal::open(&disk, &path, "events").unwrap();
        journal.staged(&id("a"), [0, 1, 3], batch.clone()).unwrap();
        drop(journal);
        let mut journal = Journal::open(&disk, &path, "events").unwrap();
        let open = journal.history().open().cloned().unwrap();
        assert_eq!((open.lines(), &open.batch, open.id == id("a")), (3, &batch, true));
        journal.delivered(&open, [1]).unwrap();
        drop(journal);
        let history = Journal::peek(&disk, &path, "events").unwrap();
        assert!(history.open().is_none());
        assert_eq!(states(&history, "a"), [Taken, New, New, Taken, New, New]);
        let mut journal = Journal::open(&disk, &path, "events").unwrap();
        journal.put(&id("a"), [4, 5]).unwrap();
        journal.taken(&id("a"), [4]).unwrap();
        journal.staged(&id("a"), [1], batch).unwrap();
        let replayed = (0..6).map(|line| journal.history().replayed("a", "9f", line));
        let (delivered, staged) = (Some(Replayed::Delivered), Some(Replayed::Staged));
        let (put_again, in_doubt) = (Some(Replayed::PutAgain), Some(Replayed::InDoubt));
        assert_eq!(replayed.collect::<Vec<_>>(), [delivered, staged, None, delivered, put_again, in_doubt]);
        assert_eq!(journal.history().replayed("a", "8e", 0), None);
    }

    #[test]
    fn another_stream_and_damage_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let disk = RealDisk::new();
        drop(Journal::open(&disk, &path, "events").unwrap());
        let text = |result: Result<History, Failure>| result.unwrap_err().to_string();
        assert!(text(Journal::peek(&disk, &path, "other")).contains("is the journal of a replay into `events`"));
        std::fs::write(&path, "{\"hydrant_replay\":1,\"stream\":\"events\"}\nx\n").unwrap();
        assert!(text(Journal::peek(&disk, &path, "events")).contains("line 2"));
        for not_ours in ["", "notes\n", "{\"hydrant_replay\":2,\"stream\":\"events\"}\n"] {
            std::fs::write(&path, not_ours).unwrap();
            assert!(text(Journal::peek(&disk, &path, "events")).contains("line 1"));
        }
    }
}
