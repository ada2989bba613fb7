//! What a delivery stream has decided, durably: a log of `Entry` in the shard log's own file format.
//!
//! Invariant: chunks tile. The first chunk begins behind the origin, each next one where the one before ended, and the cursor
//! is the end of the last chunk that is done.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use hydrant_disk::Disk;
use hydrant_record::{Lsn, NewRecord, Placement, StreamId};
use hydrant_shardlog::{AppendError, LogOptions, OpenError, ReadError, ShardLog};
use serde::{Deserialize, Serialize};

use crate::accounting::Counts;
use crate::bounds::Bounds;
use crate::pipeline::Claim;

/// Bytes of entries between two snapshots; then older segments go.
const BYTES_PER_SNAPSHOT: u64 = 16 << 20;
const READ_BYTES: usize = 1 << 20;
/// How often an entry that waits for space asks for it.
const FULL_PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Entry {
    /// All that matters of what came before; the first entry of every journal, and of the segments that survive a trim.
    Snapshot(State),
    Staged(StagedChunk),
    /// Of a chunk that is staged and not done: once, before an error object of what was refused leaves.
    Verdicts {
        chunk: u64,
        verdicts: Verdicts,
    },
    Done {
        chunk: u64,
    },
    /// An operator has given up what was left to send of an open chunk.
    Discarded {
        chunk: u64,
    },
    /// An operator has written what was left to send of an open chunk to this place.
    Redirected {
        chunk: u64,
        to: String,
    },
    /// The log may have let go of undelivered records up to here, because the stream's policy said so at the time.
    LetGo {
        through: u64,
    },
}

/// The state that the entries add up to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    version: u32,
    delivery_stream: String,
    log: String,
    /// The LSN before the first record that is this stream's; 0 is the start of the log.
    origin: u64,
    /// All through here is settled.
    cursor: u64,
    next_chunk: u64,
    settled: Counts,
    /// Staged and not done, by chunk number.
    open: BTreeMap<u64, StagedChunk>,
    /// Records up to here may be gone, undelivered, by a policy that was.
    #[serde(default, skip_serializing_if = "is_zero")]
    let_go: u64,
}

const VERSION: u32 = 1;

impl State {
    pub(crate) fn cursor(&self) -> Option<Lsn> {
        Lsn::new(self.cursor)
    }

    /// Where the next chunk begins: behind everything staged.
    pub(crate) fn staged_through(&self) -> Option<Lsn> {
        Lsn::new(self.open.values().next_back().map_or(self.cursor, |chunk| chunk.to))
    }

    pub(crate) fn next_chunk(&self) -> u64 {
        self.next_chunk
    }

    pub(crate) fn open_chunks(&self) -> impl Iterator<Item = &StagedChunk> {
        self.open.values()
    }

    /// What the open chunks hold in memory.
    pub(crate) fn inline_bytes(&self) -> usize {
        self.open.values().map(StagedChunk::inline_bytes).sum()
    }

    pub(crate) fn settled(&self) -> Counts {
        self.settled
    }

    /// Records settled since the origin.
    pub(crate) fn settled_records(&self) -> u64 {
        self.cursor - self.origin
    }

    pub(crate) fn origin(&self) -> u64 {
        self.origin
    }

    /// Whether a record that is gone, and was not delivered, may have expired by what the policy was.
    pub(crate) fn has_let_go(&self, lsn: Lsn) -> bool {
        lsn.get() <= self.let_go
    }

    /// The id of the log that the records are in.
    pub(crate) fn log(&self) -> &str {
        &self.log
    }

    /// Whether what was decided adds up: chunks tile from the origin on, and every record in them has one verdict.
    pub(crate) fn adds_up(&self) -> Result<(), String> {
        let settled = self.settled.total();
        if settled != self.settled_records() + self.settled.split_off {
            let (records, more) = (self.settled_records(), self.settled.split_off);
            return Err(format!(
                "{records} records are settled, {more} were split off them, and their verdicts are {settled}"
            ));
        }
        let mut through = self.cursor;
        for chunk in self.open.values() {
            let verdicts = chunk.counts.total();
            if chunk.from != through + 1 || verdicts != chunk.to - through + chunk.counts.split_off {
                let StagedChunk { chunk, from, to, .. } = chunk;
                return Err(format!("chunk {chunk} has {verdicts} verdicts on {from} to {to}, behind {through}"));
            }
            through = chunk.to;
        }
        Ok(())
    }

    fn apply(&mut self, entry: Entry) -> Result<(), &'static str> {
        match entry {
            Entry::Snapshot(state) => {
                if state != *self {
                    return Err("a snapshot differs from what the entries before it add up to");
                }
            }
            Entry::Staged(chunk) => self.staged(chunk)?,
            Entry::Verdicts { chunk, verdicts } => self.verdicts(chunk, verdicts)?,
            Entry::Done { chunk } => self.done(chunk)?,
            Entry::Discarded { chunk } => {
                let counts = &mut self.decided(chunk)?.counts;
                counts.discarded += counts.delivered + counts.failed;
                (counts.delivered, counts.failed) = (0, 0);
            }
            Entry::Redirected { chunk, to } => self.decided(chunk)?.about.redirected = Some(to),
            Entry::LetGo { through } => self.let_go = self.let_go.max(through),
        }
        Ok(())
    }

    fn staged(&mut self, chunk: StagedChunk) -> Result<(), &'static str> {
        let from = Lsn::after(self.staged_through()).get();
        if chunk.chunk != self.next_chunk || chunk.from != from || chunk.to < chunk.from {
            return Err("a staged chunk does not begin where the one before ended");
        }
        if chunk.counts.total() != chunk.to - chunk.from + 1 + chunk.counts.split_off {
            return Err("the verdicts of a chunk do not add up to its records");
        }
        self.next_chunk += 1;
        self.open.insert(chunk.chunk, chunk);
        Ok(())
    }

    fn verdicts(&mut self, chunk: u64, verdicts: Verdicts) -> Result<(), &'static str> {
        let open = self.open.get_mut(&chunk).filter(|open| open.verdicts.is_none() && open.manifest.is_some());
        let Some(open) = open else { return Err("verdicts are given once, on a chunk that is open") };
        let Some(taken) = open.counts.delivered.checked_sub(verdicts.refused + verdicts.expired) else {
            return Err("more records of a chunk were refused than were sent");
        };
        open.counts.delivered = taken;
        open.counts.failed += verdicts.refused;
        open.counts.expired += verdicts.expired;
        open.verdicts = Some(verdicts);
        Ok(())
    }

    /// Nothing is left to be sent of it; it is done when its turn comes.
    fn decided(&mut self, chunk: u64) -> Result<&mut StagedChunk, &'static str> {
        let open = self.open.get_mut(&chunk).filter(|open| open.manifest.is_some());
        let Some(open) = open else { return Err("a decision was made on a chunk that has nothing to send") };
        open.decide();
        Ok(open)
    }

    fn done(&mut self, chunk: u64) -> Result<(), &'static str> {
        let in_order = self.open.first_key_value().is_some_and(|(&first, _)| first == chunk);
        let Some(chunk) = in_order.then(|| self.open.remove(&chunk)).flatten() else {
            return Err("a chunk is done before the one in front of it");
        };
        self.cursor = chunk.to;
        self.settled.add(chunk.counts);
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("cannot open the journal of a delivery stream")]
    Open(#[from] OpenError),
    #[error("cannot read the journal of a delivery stream")]
    Read(#[from] ReadError),
    #[error("cannot write the journal of a delivery stream")]
    Append(#[from] AppendError),
    #[error("cannot trim the journal of a delivery stream")]
    Trim(#[from] std::io::Error),
    #[error("journal entry {entry} is not valid: {reason}")]
    Invalid { entry: Lsn, reason: String },
    #[error(
        "the journal belongs to delivery stream {journal_stream} over log {journal_log}, the directory to {stream} over {log}; \
         a part of the data directory was replaced: restore all of it, or none"
    )]
    Foreign { journal_stream: String, journal_log: String, stream: String, log: String },
    #[error("the log ends at {last}, the journal has staged through {staged}: synced records are gone")]
    LogBehind { staged: u64, last: u64 },
}

/// The open journal of one delivery stream.
#[derive(Debug)]
pub(crate) struct Journal {
    log: ShardLog,
    bounds: Bounds,
    /// Held over the sync, so that entries stand in the journal in the order decided.
    writing: Mutex<SinceSnapshot>,
    /// What is on the medium. Held for moments only, so that a status page never waits for a disk.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct SinceSnapshot {
    entries: u64,
    bytes: u64,
}

impl Journal {
    /// Opens or creates the journal in `dir`, which must exist. A new one begins at the first record of its own log, or
    /// where it is told to in another's.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        stream: StreamId,
        (source, claim): (&ShardLog, Claim),
        options: LogOptions,
    ) -> Result<Journal, JournalError> {
        let (log, _) = ShardLog::open(disk, dir, options)?;
        let origin = match claim {
            Claim::Own => source.first().map_or(source.last(), Lsn::previous),
            Claim::Shared { after } => after,
        };
        let origin = origin.map_or(0, Lsn::get);
        let (stream, source_id) = (stream.to_string(), source.id().to_string());
        let read = replay(&log)?;
        let written = read.is_some();
        let state = read.unwrap_or_else(|| State {
            version: VERSION,
            delivery_stream: stream.clone(),
            log: source_id.clone(),
            origin,
            cursor: origin,
            next_chunk: 1,
            settled: Counts::default(),
            open: BTreeMap::new(),
            let_go: 0,
        });
        if state.delivery_stream != stream || state.log != source_id {
            return Err(JournalError::Foreign {
                journal_stream: state.delivery_stream,
                journal_log: state.log,
                stream,
                log: source_id,
            });
        }
        let (staged, last) = (state.staged_through().map_or(0, Lsn::get), source.last().map_or(0, Lsn::get));
        if staged > last {
            return Err(JournalError::LogBehind { staged, last });
        }
        // No patience: at a start nobody gives up the reserve yet, and each delivery stream would hold up all others.
        let bounds = Bounds { full_patience: Duration::ZERO, ..Bounds::default() };
        let journal = Journal { log, bounds, writing: Mutex::default(), state: Mutex::new(state) };
        // Every opening begins a segment; with a snapshot in it the older ones can go, however often the daemon restarts.
        match journal.write_snapshot(&mut journal.writing()) {
            // What is there already is enough to go on with, and delivery is what frees the disk.
            Err(JournalError::Append(AppendError::DiskFull)) if written => {}
            other => other?,
        }
        Ok(journal.within(Bounds::default()))
    }

    pub(crate) fn within(self, bounds: Bounds) -> Journal {
        Journal { bounds, ..self }
    }

    /// What a further chunk may hold inline.
    pub(crate) fn inline_room(&self) -> usize {
        self.bounds.inline_bytes.saturating_sub(self.with(State::inline_bytes))
    }

    /// A copy of the state as it is on the medium.
    pub(crate) fn snapshot(&self) -> State {
        self.state().clone()
    }

    pub(crate) fn with<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.state())
    }

    /// Durable on return: from here on the chunk's bytes and names are fixed. Blocks.
    pub(crate) fn staged(&self, chunk: StagedChunk) -> Result<(), JournalError> {
        self.append(Entry::Staged(chunk))
    }

    /// Durable on return: from here on the requests of the chunk are not sent again. The chunk as it is now. Blocks.
    pub(crate) fn verdicts(&self, chunk: u64, verdicts: Verdicts) -> Result<StagedChunk, JournalError> {
        self.append(Entry::Verdicts { chunk, verdicts })?;
        Ok(self.state().open.get(&chunk).cloned().expect("it was just judged, and is not done"))
    }

    /// Durable on return: only then may the staged file go and the log be trimmed. Blocks.
    pub(crate) fn done(&self, chunk: u64) -> Result<(), JournalError> {
        self.append(Entry::Done { chunk })
    }

    /// Durable on return. For a delivery stream that is not running. Blocks.
    pub(crate) fn discarded(&self, chunk: u64) -> Result<(), JournalError> {
        self.append(Entry::Discarded { chunk })
    }

    /// Durable on return. For a delivery stream that is not running. Blocks.
    pub(crate) fn redirected(&self, chunk: u64, to: String) -> Result<(), JournalError> {
        self.append(Entry::Redirected { chunk, to })
    }

    /// Durable on return: records up to here may now go undelivered. Blocks.
    pub(crate) fn let_go(&self, through: Lsn) -> Result<(), JournalError> {
        if self.with(|state| state.has_let_go(through)) {
            return Ok(());
        }
        self.append(Entry::LetGo { through: through.get() })
    }

    pub(crate) fn close(&self) -> Result<(), std::io::Error> {
        self.log.close()
    }

    fn append(&self, entry: Entry) -> Result<(), JournalError> {
        let mut since_snapshot = self.writing();
        let mut next = self.snapshot();
        let encoded = encode(&entry);
        let refused = |reason: &str| JournalError::Invalid { entry: Lsn::FIRST, reason: reason.to_owned() };
        next.apply(entry).map_err(refused)?;
        let bytes = encoded.len() as u64;
        self.append_bytes(encoded)?;
        *self.state() = next;
        since_snapshot.entries += 1;
        since_snapshot.bytes += bytes;
        Ok(())
    }

    /// Lets old entries go when there are many. By itself, for what is done is done, even if this fails. Blocks.
    pub(crate) fn compact(&self) -> Result<(), JournalError> {
        let mut since_snapshot = self.writing();
        if since_snapshot.entries < self.bounds.entries_per_snapshot && since_snapshot.bytes < BYTES_PER_SNAPSHOT {
            return Ok(());
        }
        self.log.roll()?;
        self.write_snapshot(&mut since_snapshot)
    }

    fn write_snapshot(&self, since_snapshot: &mut SinceSnapshot) -> Result<(), JournalError> {
        let at = self.append_bytes(encode(&Entry::Snapshot(self.snapshot())))?;
        *since_snapshot = SinceSnapshot::default();
        if let Some(before) = at.previous() {
            self.log.trim(before)?;
        }
        Ok(())
    }

    /// A disk that is full is so for a moment only, as far as a journal is concerned: the reserve is given up for what it
    /// writes.
    fn append_bytes(&self, data: Bytes) -> Result<Lsn, AppendError> {
        let record = NewRecord { placement: Placement::Any, partition_key: None, data };
        let append = || self.log.append(vec![record.clone()]).map(|appended| appended.last);
        for _ in 0..self.bounds.full_patience.as_millis() / FULL_PAUSE.as_millis() {
            match append() {
                Err(AppendError::DiskFull) => std::thread::park_timeout(FULL_PAUSE),
                done => return done,
            }
        }
        append()
    }

    fn writing(&self) -> MutexGuard<'_, SinceSnapshot> {
        self.writing.lock().expect("no thread panics while it writes the journal")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics while it holds the state")
    }
}

/// The last record that the journal in `dir` names.
pub(crate) fn staged_through(
    disk: Arc<dyn Disk>,
    dir: &Path,
    options: LogOptions,
) -> Result<Option<Lsn>, JournalError> {
    let (log, _) = ShardLog::open(disk, dir, options)?;
    let state = replay(&log)?;
    log.close().map_err(JournalError::Trim)?;
    Ok(state.and_then(|state| state.staged_through()))
}

/// The state that the entries add up to; `None` for a journal without entries.
fn replay(log: &ShardLog) -> Result<Option<State>, JournalError> {
    let mut tail = log.tail(log.first().map_or(log.last(), Lsn::previous));
    let mut read: Option<State> = None;
    while let Some(batch) = tail.next(READ_BYTES)? {
        for record in batch.records() {
            let invalid = |reason: String| JournalError::Invalid { entry: record.lsn, reason };
            let entry: Entry = serde_json::from_slice(&record.data).map_err(|e| invalid(e.to_string()))?;
            read = Some(match (read, entry) {
                (None, Entry::Snapshot(state)) if state.version == VERSION => state,
                (None, Entry::Snapshot(state)) => {
                    return Err(invalid(format!("version {} is not known, only {VERSION}", state.version)));
                }
                (None, _) => return Err(invalid("a journal begins with a snapshot".to_owned())),
                (Some(mut state), entry) => {
                    state.apply(entry).map_err(|reason| invalid(reason.to_owned()))?;
                    state
                }
            });
        }
    }
    Ok(read)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn encode(entry: &Entry) -> Bytes {
    serde_json::to_vec(entry).expect("journal entries have string keys and no floats").into()
}

mod chunk;
mod look;

pub(crate) use chunk::{About, ManifestAt, StagedChunk, Verdicts};
pub use look::LookError;
pub(crate) use look::look;

#[cfg(test)]
mod tests;
