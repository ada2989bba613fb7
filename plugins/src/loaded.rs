//! A plugin that was compiled, checked and started once: what every instance of it shares.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hydrant_config::OnError;
use hydrant_record::{Lsn, Timestamp, Unit};
use wasmtime::Engine;

use crate::guest::Pre;
use crate::processor::Processor;
use crate::ticker::Ticker;
use crate::voice::Voice;
use crate::{Input, Outcome, PluginName, Transform, TransformError};

/// Cheap to clone. [`crate::Host::load`] makes one.
#[derive(Clone)]
pub struct LoadedPlugin(pub(crate) Arc<Loaded>);

/// What `hydrant check` tells of a plugin.
#[derive(Clone, Debug)]
pub struct PluginInfo {
    pub path: PathBuf,
    /// In error records.
    pub name: PluginName,
    pub size_bytes: u64,
    pub sha256: [u8; 32],
    pub memory_bytes_max: u64,
    pub cpu_per_batch: Duration,
    pub on_error: OnError,
    /// It was compiled before, by this version of the host.
    pub from_cache: bool,
}

pub(crate) struct Loaded {
    pub(crate) info: PluginInfo,
    pub(crate) config: BTreeMap<String, String>,
    pub(crate) stream: String,
    pub(crate) batches_per_instance: u32,
    pub(crate) voice: Voice,
    pub(crate) pre: Pre,
    pub(crate) engine: Engine,
    pub(crate) ticker: Arc<Ticker>,
}

impl LoadedPlugin {
    /// A transform with instances of its own. Several may run at once, each on its own thread.
    #[must_use]
    pub fn transform(&self) -> Box<dyn Transform> {
        Box::new(Processor::new(Arc::clone(&self.0)))
    }

    #[must_use]
    pub fn info(&self) -> &PluginInfo {
        &self.0.info
    }

    /// Sums of what the guest has counted, over all its instances. At most 64 names.
    #[must_use]
    pub fn counters(&self) -> BTreeMap<String, u64> {
        self.0.voice.counters()
    }

    /// Gives the plugin one record, `{}`. Any verdict will do, also a failure; an error is a plugin that traps, exceeds a
    /// limit, gives the wrong number of answers or fails the batch.
    pub fn sample(&self) -> Result<Outcome, TransformError> {
        let record = Input {
            unit: Unit { lsn: Lsn::FIRST, sub: 0 },
            arrived_at: Timestamp::from_millis(0),
            source: None,
            data: Bytes::from_static(b"{}"),
        };
        let mut outcomes = Processor::stopping(Arc::clone(&self.0)).transform(&[record])?;
        Ok(outcomes.remove(0))
    }
}

impl fmt::Debug for LoadedPlugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LoadedPlugin").field(&self.0.info).finish()
    }
}
