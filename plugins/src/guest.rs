//! One living instance of a plugin. It is called until it traps, has served its number of batches, or is dropped; after a
//! trap it is dead for ever.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use wasmtime::component::HasSelf;
use wasmtime::{ResourceLimiter, Store, Trap, UpdateDeadline};

use crate::Input;
use crate::bindings::hydrant::transform::{host, types};
use crate::bindings::{Transform as Exports, TransformPre};
use crate::loaded::Loaded;
use crate::voice::tally;

/// Beyond this, plus four times its input, a call answers too much.
const OUTPUT_BYTES_SPARE: usize = 16 << 20;
/// Entries of all tables of an instance; function pointers, in the main.
const TABLE_ENTRIES_MAX: usize = 1 << 20;

pub(crate) type Pre = TransformPre<State>;
pub(crate) type Linker = wasmtime::component::Linker<State>;
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

pub(crate) struct Guest {
    store: Store<State>,
    exports: Exports,
    calls: u32,
}

/// How a call ended without a trap.
pub(crate) enum Answer {
    Outcomes(Vec<types::Outcome>),
    Retry(String),
    Fatal(String),
}

/// What the host keeps for one instance.
pub(crate) struct State {
    loaded: Arc<Loaded>,
    memory: MemoryLimit,
    /// Of this thread, since it began.
    cpu_deadline: Duration,
    batch_time_ms: u64,
    counts: BTreeMap<String, u64>,
    /// Of the records of the call that is under way.
    subsequences: Vec<Option<u64>>,
}

struct MemoryLimit {
    bytes_max: usize,
    /// Over all memories of the instance.
    bytes: usize,
    table_entries: usize,
    refused: bool,
}

/// Everything a guest may import: `host`, and nothing of WASI.
pub(crate) fn linker(engine: &wasmtime::Engine) -> Result<Linker, BoxError> {
    let mut linker = Linker::new(engine);
    Exports::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    Ok(linker)
}

/// CPU time of the calling thread: a busy machine must not fail a record.
pub(crate) fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

impl Guest {
    /// An error is a guest that cannot start under its limits, or a host out of address space.
    pub(crate) fn start(loaded: &Arc<Loaded>) -> Result<Guest, BoxError> {
        let info = &loaded.info;
        let memory = MemoryLimit {
            bytes_max: usize::try_from(info.memory_bytes_max).unwrap_or(usize::MAX),
            bytes: 0,
            table_entries: 0,
            refused: false,
        };
        let state = State {
            loaded: Arc::clone(loaded),
            memory,
            cpu_deadline: cpu_time() + info.cpu_per_batch,
            batch_time_ms: 0,
            counts: BTreeMap::new(),
            subsequences: Vec::new(),
        };
        let mut store = Store::new(&loaded.engine, state);
        store.limiter(|state| &mut state.memory);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|context| Ok(continue_unless_late(context.data())));
        let running = loaded.ticker.run();
        let exports = loaded.pre.instantiate(&mut store)?;
        drop(running);
        Ok(Guest { store, exports, calls: 0 })
    }

    pub(crate) fn calls(&self) -> u32 {
        self.calls
    }

    /// One batch. An error is a trap, told as the guest's doing; the guest must then be dropped.
    pub(crate) fn process(&mut self, records: &[Input], batch_time_ms: u64) -> Result<Answer, String> {
        let loaded = Arc::clone(&self.store.data().loaded);
        let input: usize = records.iter().map(|record| record.data.len()).sum();
        self.store.set_hostcall_fuel(input.saturating_mul(4).saturating_add(OUTPUT_BYTES_SPARE));
        let state = self.store.data_mut();
        state.cpu_deadline = cpu_time() + loaded.info.cpu_per_batch;
        state.batch_time_ms = batch_time_ms;
        state.memory.refused = false;
        state.subsequences = records.iter().map(|r| r.source.as_ref().map(|source| source.subsequence)).collect();
        self.calls += 1;

        let ids: Vec<String> = records.iter().map(|r| format!("{}.{}", r.unit.lsn, r.unit.sub)).collect();
        let given: Vec<_> = records.iter().zip(&ids).map(|(record, id)| given(record, id)).collect();
        let running = loaded.ticker.run();
        self.store.set_epoch_deadline(1);
        let answer = self.exports.call_process(&mut self.store, &given);
        drop(running);

        let counts = std::mem::take(&mut self.store.data_mut().counts);
        let answer = answer.map_err(|error| self.cause(&error))?;
        loaded.voice.count(counts);
        Ok(match answer {
            Ok(outcomes) => Answer::Outcomes(outcomes),
            Err(types::BatchError::Retry(text)) => Answer::Retry(text),
            Err(types::BatchError::Fatal(text)) => Answer::Fatal(text),
        })
    }

    fn cause(&self, error: &wasmtime::Error) -> String {
        let state = self.store.data();
        let info = &state.loaded.info;
        tracing::debug!(target: "hydrant::plugin", plugin = %info.path.display(), error = ?error, "plugin trapped");
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => format!("used more CPU time than its `cpu_per_batch` of {:?}", info.cpu_per_batch),
            Some(trap) if state.memory.refused => {
                format!("{trap}, after it asked for more than its `memory` of {}", mebibytes(info.memory_bytes_max))
            }
            Some(trap) => trap.to_string(),
            None if error.to_string().contains("fuel allocated for hostcalls") => {
                format!("gave more than four times its input plus {} at once", mebibytes(OUTPUT_BYTES_SPARE as u64))
            }
            None => error.root_cause().to_string(),
        }
    }
}

impl types::Host for State {}

impl host::Host for State {
    fn log(&mut self, level: host::Level, message: String) {
        self.loaded.voice.log(level, &message);
    }

    fn config(&mut self, key: String) -> Option<String> {
        self.loaded.config.get(&key).cloned()
    }

    fn count(&mut self, metric: String, delta: u64) {
        tally(&mut self.counts, metric, delta);
    }

    fn batch_time_ms(&mut self) -> u64 {
        self.batch_time_ms
    }

    fn stream_name(&mut self) -> String {
        self.loaded.stream.clone()
    }

    fn subsequence(&mut self, index: u32) -> Option<u64> {
        self.subsequences.get(index as usize).copied().flatten()
    }
}

/// `memory.grow` beyond the limit answers -1 inside the guest; what the guest does then is its own affair.
impl ResourceLimiter for MemoryLimit {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let bytes = self.bytes.saturating_add(desired.saturating_sub(current));
        if bytes > self.bytes_max {
            self.refused = true;
            return Ok(false);
        }
        self.bytes = bytes;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let entries = self.table_entries.saturating_add(desired.saturating_sub(current));
        if entries > TABLE_ENTRIES_MAX {
            return Ok(false);
        }
        self.table_entries = entries;
        Ok(true)
    }

    fn instances(&self) -> usize {
        64
    }

    fn tables(&self) -> usize {
        64
    }

    fn memories(&self) -> usize {
        16
    }
}

fn continue_unless_late(state: &State) -> UpdateDeadline {
    if cpu_time() >= state.cpu_deadline { UpdateDeadline::Interrupt } else { UpdateDeadline::Continue(1) }
}

fn given<'a>(record: &'a Input, id: &'a str) -> types::InputRecord<'a> {
    let source = record.source.as_ref().map(|source| types::SourceMeta {
        shard: &source.shard,
        sequence: &source.sequence,
        partition_key: source.partition_key.as_deref(),
    });
    types::InputRecord { id, arrival_ms: record.arrived_at.as_millis(), source, data: &record.data }
}

pub(crate) fn mebibytes(bytes: u64) -> String {
    if bytes.is_multiple_of(1 << 20) { format!("{} MiB", bytes >> 20) } else { format!("{bytes} bytes") }
}
