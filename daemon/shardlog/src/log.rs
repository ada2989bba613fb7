//! The log itself: who waits, what is visible, what may go.
//!
//! Invariant: what readers may see (`State::next` and the ends of segments) moves only after the sync that covers it.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use hydrant_disk::Disk;
use hydrant_record::{Epoch, LogId, Lsn, NewRecord, ShardIx};

use crate::commit;
use crate::layout::{APPEND_BYTES_MAX, FRAME_HEADER_BYTES, Sealed, record_bytes, storable};
use crate::recover::{Found, recover};
use crate::segment::{Prepared, Request, Segment};
use crate::shards::{Reshard, ReshardError, ShardMap};
use crate::sync::mpsc::sync_channel;
use crate::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use crate::trim::Trimming;
use crate::writer::{CommitError, Writer};
use crate::{AppendError, Appended, Completion, LogOptions, OpenError, Progress, Recovery, ShardTail, Tail};

/// One log in one directory. Cheap to share; all methods may be called from many threads.
#[derive(Clone)]
pub struct ShardLog {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) options: LogOptions,
    pub(crate) id: LogId,
    pub(crate) epoch: Epoch,
    state: Mutex<State>,
    /// No commit is queued or under way.
    pub(crate) idle: Condvar,
    pub(crate) writer: Mutex<Writer>,
    spare: Mutex<Spare>,
    pub(crate) trimming: Mutex<Trimming>,
}

/// Held for moments only, never across I/O.
pub(crate) struct State {
    pub(crate) queue: VecDeque<Submission>,
    /// Of the queue and of the commit under way.
    pub(crate) queued_bytes: u64,
    pub(crate) committing: bool,
    /// Groups that ended.
    pub(crate) commits: u64,
    pub(crate) roll: bool,
    pub(crate) closed: bool,
    pub(crate) poisoned: Option<Arc<io::Error>>,
    /// Oldest first, never empty once open, each with its durable end.
    pub(crate) segments: Vec<(Arc<Segment>, u64)>,
    /// The LSN after the last durable record.
    pub(crate) next: Lsn,
    pub(crate) shards: Arc<ShardMap>,
    pub(crate) wakers: Vec<(u64, Arc<dyn Fn() + Send + Sync>)>,
    pub(crate) tails: u64,
}

pub(crate) struct Submission {
    pub(crate) work: Work,
    pub(crate) bytes: u64,
}

pub(crate) type RestartCompletion = Box<dyn FnOnce(Result<(), AppendError>) + Send>;
pub(crate) type ChangeCompletion = Box<dyn FnOnce(Result<Arc<ShardMap>, ReshardError>) + Send>;

pub(crate) enum Work {
    Append {
        records: Vec<NewRecord>,
        done: Completion,
    },
    Reshard {
        change: Reshard,
        done: ChangeCompletion,
    },
    /// Ends the segment in use, and goes on in a small one.
    Restart {
        done: RestartCompletion,
    },
}

/// The files of the next segments: one made ready before it is needed, or those of segments that were trimmed.
#[derive(Debug, Default)]
pub(crate) struct Spare {
    pub(crate) wanted: Option<Request>,
    /// At most [`LogOptions::spares_max`].
    pub(crate) ready: Vec<Prepared>,
}

impl Spare {
    /// The last one that holds so many bytes.
    pub(crate) fn take(&mut self, least: u64) -> Option<Prepared> {
        let at = self.ready.iter().rposition(|ready| ready.capacity >= least)?;
        Some(self.ready.remove(at))
    }

    /// Frees all but so many.
    pub(crate) fn give_back(&mut self, kept: usize, disk: &dyn Disk) {
        self.ready.drain(kept.min(self.ready.len())..).for_each(|ready| ready.discard(disk));
    }
}

impl ShardLog {
    /// Opens the log in an existing directory, or creates it there if the directory is empty.
    ///
    /// A full disk is no error here: the log can be read and trimmed, and appends are [`AppendError::DiskFull`].
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, options: LogOptions) -> Result<(ShardLog, Recovery), OpenError> {
        let io = |error| OpenError::io(dir, error);
        let found = recover(&*disk, dir, &options)?;
        let fresh = found.is_none();
        let found = match found {
            Some(found) => found,
            None => Found::new(new_id(&*disk).map_err(io)?, &options),
        };
        let epoch = Epoch(disk.random().map_err(io)?);
        let newest = found.segments.last().map_or((0, 0), |(segment, end)| (segment.header.number, *end));
        let log = ShardLog {
            shared: Arc::new(Shared {
                disk,
                dir: dir.to_owned(),
                options,
                id: found.log_id,
                epoch,
                state: Mutex::new(State::new(found.segments, found.next, found.shards)),
                idle: Condvar::new(),
                writer: Mutex::new(Writer::new(newest, found.next)),
                spare: Mutex::default(),
                trimming: Mutex::new(found.trimming),
            }),
        };
        let mut rolled = log.shared.writer().roll(&log.shared, 0);
        if matches!(rolled, Err(CommitError::DiskFull)) && !fresh {
            // What was trimmed before may still take space.
            log.shared.disk.sync_dir(dir).and_then(|()| log.shared.clear_leftover()).map_err(io)?;
            rolled = log.shared.writer().roll(&log.shared, 0);
        }
        match rolled {
            Ok(()) => log.shared.clear_trimmed().map_err(io)?,
            // Those that can be read and trimmed are of use on a full disk too.
            Err(CommitError::DiskFull) if !fresh => {}
            Err(CommitError::Failed(error)) => return Err(io(error)),
            Err(CommitError::DiskFull | CommitError::Refused(_)) => return Err(io(io::ErrorKind::StorageFull.into())),
        }
        log.shared.remove_while(|oldest, next| oldest.base == next.base).map_err(io)?;
        let (id, first, last) = (found.log_id, log.first(), log.last());
        let (clean, torn_bytes, lost) = (found.clean, found.torn_bytes, found.lost);
        Ok((log, Recovery { log_id: id, epoch, first, last, clean, torn_bytes, lost }))
    }

    /// Queues records as one group member; `done` runs after the `fdatasync` that covers them. Errors that need no I/O
    /// come back at once and `done` is dropped uncalled.
    ///
    /// # Panics
    /// If there are no records, or one is over 64 MiB or has a partition key over 64 KiB, or all are over 128 MiB: whoever
    /// takes records in has refused those.
    pub fn submit(&self, records: Vec<NewRecord>, done: Completion) -> Result<(), AppendError> {
        assert!(!records.is_empty(), "an append has records");
        assert!(records.iter().all(storable), "records are limited where they are taken in");
        let bytes = records.iter().map(record_bytes).sum::<usize>() + FRAME_HEADER_BYTES;
        assert!(bytes <= APPEND_BYTES_MAX, "an append is limited where its records are taken in");
        self.enqueue(Submission { work: Work::Append { records, done }, bytes: bytes as u64 })
    }

    pub(crate) fn enqueue(&self, submission: Submission) -> Result<(), AppendError> {
        let bytes = submission.bytes;
        let mut state = self.shared.state();
        state.usable()?;
        // A single submission over the limit would otherwise never get in.
        if state.queued_bytes > 0 && state.queued_bytes + bytes > self.shared.options.queue_bytes_max as u64 {
            return Err(AppendError::Full);
        }
        state.queued_bytes += bytes;
        state.queue.push_back(submission);
        let start = !std::mem::replace(&mut state.committing, true);
        drop(state);
        if start {
            commit::schedule(&self.shared);
        }
        Ok(())
    }

    /// `submit`, awaited on this thread, which must not be one of the log's own.
    pub fn append(&self, records: Vec<NewRecord>) -> Result<Appended, AppendError> {
        let (sender, receiver) = sync_channel(1);
        let done = move |result| {
            let _ = sender.send(result);
        };
        self.submit(records, Box::new(done))?;
        receiver.recv().unwrap_or(Err(AppendError::Closed))
    }

    /// Reads what is durable after `after` (`None`: from LSN 1), then waits for more. A place whose next record was
    /// trimmed is [`crate::ReadError::Trimmed`]: nothing is ever skipped in silence.
    pub fn tail(&self, after: Option<Lsn>) -> Tail {
        Tail::new(Arc::clone(&self.shared), after)
    }

    /// Reads the records of one shard after `after`, without the bodies of the others.
    pub fn shard_tail(&self, shard: ShardIx, after: Option<Lsn>) -> ShardTail {
        ShardTail::new(Arc::clone(&self.shared), shard, after)
    }

    /// Divides the stream anew, in one commit: records that were submitted before lie in the old shards and before it,
    /// later ones in the new. Durable on return. Waits on this thread, which must not be one of the log's own.
    pub fn reshard(&self, change: Reshard) -> Result<Arc<ShardMap>, ReshardError> {
        let (sender, receiver) = sync_channel(1);
        let done = move |result| {
            let _ = sender.send(result);
        };
        let submission = Submission { work: Work::Reshard { change, done: Box::new(done) }, bytes: 0 };
        self.enqueue(submission)?;
        receiver.recv().unwrap_or(Err(AppendError::Closed.into()))
    }

    /// The shards as the last durable change left them.
    pub fn shards(&self) -> Arc<ShardMap> {
        Arc::clone(&self.shared.state().shards)
    }

    /// Records through `through` are not needed any more; whole segments of them are removed. Durable on return. The
    /// segment in use stays.
    pub fn trim(&self, through: Lsn) -> Result<(), io::Error> {
        self.shared.remove_while(|_, next| next.base <= through.next()).map(drop)
    }

    /// Starts a new segment with the next append, so that what came before can be trimmed as a whole.
    pub fn roll(&self) -> Result<(), AppendError> {
        let mut state = self.shared.state();
        state.usable()?;
        state.roll = true;
        Ok(())
    }

    /// The last durable record, also if it was trimmed since.
    pub fn last(&self) -> Option<Lsn> {
        self.shared.state().next.previous()
    }

    /// The first record that is still there.
    pub fn first(&self) -> Option<Lsn> {
        let state = self.shared.state();
        state.segments.first().map(|(segment, _)| segment.header.base).filter(|base| *base < state.next)
    }

    /// For a watch over syncs that do not come back.
    pub fn progress(&self) -> Progress {
        let state = self.shared.state();
        Progress { committing: state.committing, commits: state.commits }
    }

    pub fn id(&self) -> LogId {
        self.shared.id
    }

    pub fn epoch(&self) -> Epoch {
        self.shared.epoch
    }

    /// `Some` once a write or sync failed: the daemon exits 74.
    pub fn poisoned(&self) -> Option<Arc<io::Error>> {
        self.shared.state().poisoned.clone()
    }

    /// Finishes what is queued, seals the last segment (a clean stop), and refuses more. Idempotent. Not to be called
    /// from a completion or waker, for it waits for them.
    pub fn close(&self) -> Result<(), io::Error> {
        let mut state = self.shared.state();
        state.closed = true;
        while state.committing {
            state = self.shared.idle.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let poisoned = state.poisoned.clone();
        drop(state);
        if let Some(error) = poisoned {
            return Err(io::Error::new(error.kind(), error));
        }
        self.shared.give_back_spare();
        self.shared.writer().seal(&self.shared, Sealed::Closed).map_err(|error| {
            let error = self.shared.poison(error);
            io::Error::new(error.kind(), error)
        })
    }
}

impl fmt::Debug for ShardLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardLog").field("dir", &self.shared.dir).field("id", &self.shared.id).finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn spare(&self) -> MutexGuard<'_, Spare> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing more is accepted; the first reason is kept.
    pub(crate) fn poison(&self, error: io::Error) -> Arc<io::Error> {
        Arc::clone(self.state().poisoned.get_or_insert_with(|| Arc::new(error)))
    }

    /// Has the committers fill a segment; rolling waits for it or does it itself.
    pub(crate) fn prepare_later(self: &Arc<Self>, request: Request) {
        self.spare().wanted = Some(request);
        let shared = Arc::clone(self);
        self.options.committers.run(Box::new(move || {
            let mut spare = shared.spare();
            let Some(request) = spare.wanted.take() else { return };
            // Half of what was wanted is better than twice the writes.
            if spare.ready.iter().any(|ready| ready.capacity >= request.wanted / 2) {
                return;
            }
            spare.give_back(0, &*shared.disk);
            // A failure here is met again, and reported, when the segment is really needed.
            spare.ready.extend(Prepared::new(&*shared.disk, &shared.dir, &request));
        }));
    }
}

impl State {
    /// Who reads along is told of every commit by one waker, a new one in the place of the old.
    pub(crate) fn replace_waker(&mut self, reader: u64, wake: Arc<dyn Fn() + Send + Sync>) {
        self.remove_waker(reader);
        self.wakers.push((reader, wake));
    }

    pub(crate) fn remove_waker(&mut self, reader: u64) {
        self.wakers.retain(|(id, _)| *id != reader);
    }

    /// The number of a reader.
    pub(crate) fn new_reader(&mut self) -> u64 {
        self.tails += 1;
        self.tails
    }

    fn new(segments: Vec<(Arc<Segment>, u64)>, next: Lsn, shards: ShardMap) -> State {
        State {
            queue: VecDeque::new(),
            queued_bytes: 0,
            committing: false,
            commits: 0,
            roll: false,
            closed: false,
            poisoned: None,
            segments,
            next,
            shards: Arc::new(shards),
            wakers: Vec::new(),
            tails: 0,
        }
    }

    /// Where the log begins, as LSN and segment, when segment `number` is about to begin at `next`; and the shards.
    pub(crate) fn kept(&self, next: Lsn, number: u32) -> ((Lsn, u32), Arc<ShardMap>) {
        let first = self.segments.first().map(|(segment, _)| (segment.header.base, segment.header.number));
        (first.unwrap_or((next, number)), Arc::clone(&self.shards))
    }

    fn usable(&self) -> Result<(), AppendError> {
        match &self.poisoned {
            Some(error) => Err(AppendError::Poisoned(Arc::clone(error))),
            None if self.closed => Err(AppendError::Closed),
            None => Ok(()),
        }
    }
}

pub(crate) fn new_id(disk: &dyn Disk) -> io::Result<LogId> {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&disk.random()?.to_le_bytes());
    id[8..].copy_from_slice(&disk.random()?.to_le_bytes());
    Ok(LogId(id))
}
