//! Where the records of chunks that are done went, for a while: what `hydrant explain` reads once the journal has let go of them.
//!
//! ```text
//! history/  00000000000000000017-01795266000000.jsonl     first chunk in it, and when that was done, in milliseconds
//! line =    first 16 hexadecimal digits of the JSON's SHA-256, a space, the JSON of a `Settled`, a newline
//! ```
//!
//! Invariant: delivery never waits for it and never fails by it. Lines are not synced: a power failure may take the last ones,
//! a killed process takes none. What is not there is told as not known, never guessed.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use hydrant_config::HistoryPolicy;
use hydrant_disk::{Disk, DiskFile, read_exact_at};
use hydrant_record::Timestamp;
use serde::{Deserialize, Serialize};

use crate::journal::StagedChunk;
use crate::manifest::StagedObject;

/// Files that the history is made of, unless each would be too large to be read at once; a whole one goes at a time.
const FILES: u32 = 8;
const FILE_BYTES_MAX: u64 = 32 << 20;
/// A daemon that restarts for ever begins a file each time.
const FILES_MAX: usize = 4096;
/// A disk that has less left is not for memories.
const FREE_BYTES_MIN: u64 = 64 << 20;
const DIGEST_DIGITS: usize = 16;

/// A chunk that is done, with all that was sent for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settled {
    pub(crate) done_ms: u64,
    /// Without the bytes that it had inline.
    pub(crate) chunk: StagedChunk,
    pub(crate) objects: Vec<SentObject>,
    /// There were more objects than could be remembered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) cut: bool,
}

/// An object or a request that arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SentObject {
    pub(crate) object: StagedObject,
    /// Since the last start of the daemon; 0: it was sent before that.
    pub(crate) attempts: u32,
    /// What the last attempt but one met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trouble: Option<String>,
    /// It is where an operator has redirected its chunk to.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) redirected: bool,
}

impl SentObject {
    /// Sent in the life of an earlier process.
    pub(crate) fn before(object: StagedObject) -> SentObject {
        SentObject { object, attempts: 0, trouble: None, redirected: false }
    }
}

/// The history of one delivery stream, being written.
#[derive(Debug)]
pub(crate) struct History {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    policy: HistoryPolicy,
    stream: String,
    files: Mutex<Option<Files>>,
}

#[derive(Debug, Default)]
struct Files {
    /// Oldest first, the last one is written to.
    kept: VecDeque<Kept>,
    current: Option<Arc<dyn DiskFile>>,
    /// Said once.
    failing: bool,
}

#[derive(Debug)]
struct Kept {
    path: PathBuf,
    began: u64,
    bytes: u64,
}

impl History {
    /// Nothing is read or made before the first chunk is noted.
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: PathBuf, policy: HistoryPolicy, stream: String) -> History {
        History { disk, dir, policy, stream, files: Mutex::default() }
    }

    /// To be called before the chunk is done in the journal: what is noted twice is the same. Blocks on the page cache.
    pub(crate) fn note(&self, chunk: StagedChunk, mut objects: Vec<SentObject>, now: Timestamp) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        objects.sort_by_key(|sent| (sent.object.to as u8, sent.object.offset));
        let settled = Settled { done_ms: now.as_millis(), chunk: chunk.without_inline(), objects, cut: false };
        match self.write(&mut files, settled) {
            Ok(()) => files.iter_mut().for_each(|files| files.failing = false),
            Err(error) => {
                let files = files.get_or_insert_default();
                // What the file holds now is not known; its lines prove themselves.
                files.current = None;
                if !std::mem::replace(&mut files.failing, true) {
                    tracing::warn!(
                        delivery_stream = self.stream,
                        "the history of delivered records has a gap, delivery goes on: {error}"
                    );
                }
            }
        }
    }

    fn write(&self, files: &mut Option<Files>, settled: Settled) -> io::Result<()> {
        if files.is_none() {
            *files = Some(self.known()?);
        }
        let Some(files) = files else { return Ok(()) };
        let now = settled.done_ms;
        if self.policy.retention.is_zero() {
            return self.forget(files, now);
        }
        if self.disk.free_bytes(self.dir.parent().unwrap_or(&self.dir))? < FREE_BYTES_MIN {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let chunk = settled.chunk.chunk;
        let share = (self.policy.size_max / u64::from(FILES)).min(FILE_BYTES_MAX);
        let line = line_within(settled, (self.policy.size_max / 2).min(2 * FILE_BYTES_MAX));
        let age = self.policy.retention.as_millis() / u128::from(FILES);
        let full =
            |last: &Kept| last.bytes + line.len() as u64 > share || u128::from(now.saturating_sub(last.began)) > age;
        if files.current.is_none() || files.kept.back().is_none_or(full) {
            files.current = Some(self.begin(files, chunk, now)?);
        }
        let (Some(file), Some(last)) = (&files.current, files.kept.back_mut()) else { return Ok(()) };
        file.write_at(&line, last.bytes)?;
        last.bytes += line.len() as u64;
        self.forget(files, now)
    }

    /// A file of its own at every start: what a crash left of the last line is behind it.
    fn begin(&self, files: &mut Files, chunk: u64, now: u64) -> io::Result<Arc<dyn DiskFile>> {
        if !self.disk.exists(&self.dir)? {
            self.disk.create_dir(&self.dir)?;
        }
        let path = self.dir.join(format!("{chunk:020}-{now:014}.jsonl"));
        if self.disk.exists(&path)? {
            self.disk.remove(&path)?;
            files.kept.retain(|kept| kept.path != path);
        }
        let file = self.disk.create(&path)?;
        files.kept.push_back(Kept { path, began: now, bytes: 0 });
        Ok(file)
    }

    /// Lets the oldest files go that are too many, or whose last line is too old.
    fn forget(&self, files: &mut Files, now: u64) -> io::Result<()> {
        let oldest = u128::from(now).saturating_sub(self.policy.retention.as_millis());
        loop {
            let total: u64 = files.kept.iter().map(|kept| kept.bytes).sum();
            // A file ends where the next one begins.
            let ended = files.kept.get(1).map(|next| u128::from(next.began));
            let unwanted = self.policy.retention.is_zero() && !files.kept.is_empty();
            let too_old = ended.is_some_and(|ended| ended < oldest);
            let too_many = ended.is_some() && (total > self.policy.size_max || files.kept.len() > FILES_MAX);
            if !(unwanted || too_old || too_many) {
                return Ok(());
            }
            let Some(kept) = files.kept.pop_front() else { return Ok(()) };
            self.disk.remove(&kept.path)?;
        }
    }

    fn known(&self) -> io::Result<Files> {
        let mut files = Files::default();
        for path in paths(&*self.disk, &self.dir)? {
            let began = began(&path).unwrap_or(0);
            let bytes = self.disk.open(&path)?.len()?;
            files.kept.push_back(Kept { path, began, bytes });
        }
        Ok(files)
    }
}

/// Without rows, and without its objects, if it would be too much otherwise.
fn line_within(mut settled: Settled, bytes_max: u64) -> Vec<u8> {
    let whole = line(&settled);
    if whole.len() as u64 <= bytes_max {
        return whole;
    }
    for sent in &mut settled.objects {
        sent.object.rows = None;
        // A request without its items must not pass for an object.
        settled.cut |= sent.object.items.is_some();
    }
    settled.objects.retain(|sent| sent.object.items.is_none());
    let shorter = line(&settled);
    if shorter.len() as u64 <= bytes_max {
        return shorter;
    }
    line(&Settled { objects: Vec::new(), cut: true, ..settled })
}

fn line(settled: &Settled) -> Vec<u8> {
    let json = serde_json::to_vec(settled).expect("a chunk has string keys and no floats");
    let mut line = proof(&json).into_bytes();
    line.push(b' ');
    line.extend(json);
    line.push(b'\n');
    line
}

fn proof(json: &[u8]) -> String {
    hex::encode(&digest(&SHA256, json).as_ref()[..DIGEST_DIGITS / 2])
}

fn read_line(line: &[u8]) -> Option<Settled> {
    let (told, json) = line.split_at_checked(DIGEST_DIGITS)?;
    let json = json.strip_prefix(b" ")?;
    (told == proof(json).as_bytes()).then(|| serde_json::from_slice(json).ok()).flatten()
}

/// Shows `take` every chunk that is remembered, from the oldest. A chunk may come twice. Lines that do not prove themselves are
/// passed over; a file that goes meanwhile is no error.
pub(crate) fn read(disk: &dyn Disk, dir: &Path, take: &mut dyn FnMut(Settled)) -> io::Result<()> {
    for path in paths(disk, dir)? {
        let file = match disk.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
        read_exact_at(&*file, &mut bytes, 0)?;
        bytes.split(|byte| *byte == b'\n').filter_map(read_line).for_each(&mut *take);
    }
    Ok(())
}

/// In the order of their chunks.
fn paths(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<PathBuf>> {
    if !disk.exists(dir)? {
        return Ok(Vec::new());
    }
    let mut paths = disk.list(dir)?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    Ok(paths.into_iter().map(|name| dir.join(name)).collect())
}

fn began(path: &Path) -> Option<u64> {
    path.file_stem()?.to_str()?.split_once('-')?.1.parse().ok()
}

#[cfg(test)]
mod tests;
