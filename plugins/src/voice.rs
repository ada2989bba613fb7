//! What a guest says besides its answers: log lines and counters. Both are bounded, for a guest may say anything.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::bindings::hydrant::transform::host::Level;

const LINES_PER_WINDOW: u32 = 100;
const WINDOW: Duration = Duration::from_secs(10);
const LINE_BYTES_MAX: usize = 2048;
const COUNTERS_MAX: usize = 64;
const COUNTER_NAME_BYTES_MAX: usize = 64;

/// One per loaded plugin, so that more instances do not mean more noise.
#[derive(Debug)]
pub(crate) struct Voice {
    plugin: String,
    stream: String,
    window: Mutex<Window>,
    counters: Mutex<BTreeMap<String, u64>>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    lines: u32,
    suppressed: u64,
}

impl Voice {
    pub(crate) fn new(plugin: String, stream: String) -> Voice {
        let window = Window { began: Instant::now(), lines: 0, suppressed: 0 };
        Voice { plugin, stream, window: Mutex::new(window), counters: Mutex::default() }
    }

    pub(crate) fn log(&self, level: Level, message: &str) {
        if !self.may_speak() {
            return;
        }
        let (plugin, stream, text) = (&*self.plugin, &*self.stream, shortened(message, LINE_BYTES_MAX));
        match level {
            Level::Trace => tracing::trace!(target: "hydrant::plugin", plugin, stream, text, "plugin says"),
            Level::Debug => tracing::debug!(target: "hydrant::plugin", plugin, stream, text, "plugin says"),
            Level::Info => tracing::info!(target: "hydrant::plugin", plugin, stream, text, "plugin says"),
            Level::Warn => tracing::warn!(target: "hydrant::plugin", plugin, stream, text, "plugin says"),
            Level::Error => tracing::error!(target: "hydrant::plugin", plugin, stream, text, "plugin says"),
        }
    }

    /// What one successful call counted. A call that failed and is repeated must not count twice.
    pub(crate) fn count(&self, counts: BTreeMap<String, u64>) {
        if counts.is_empty() {
            return;
        }
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, delta) in counts {
            if let Some(sum) = counters.get_mut(&name) {
                *sum = sum.saturating_add(delta);
            } else if counters.len() < COUNTERS_MAX {
                counters.insert(name, delta);
            }
        }
    }

    pub(crate) fn counters(&self) -> BTreeMap<String, u64> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn may_speak(&self) -> bool {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.began.elapsed() >= WINDOW {
            if window.suppressed > 0 {
                let (plugin, stream, lines) = (&*self.plugin, &*self.stream, window.suppressed);
                tracing::warn!(target: "hydrant::plugin", plugin, stream, lines, "plugin logged too much; lines left out");
            }
            *window = Window { began: Instant::now(), lines: 0, suppressed: 0 };
        }
        if window.lines == LINES_PER_WINDOW {
            window.suppressed += 1;
            return false;
        }
        window.lines += 1;
        true
    }
}

/// Adds to what one call has counted so far; a name that is too long, or one too many, is left out.
pub(crate) fn tally(counts: &mut BTreeMap<String, u64>, name: String, delta: u64) {
    if let Some(sum) = counts.get_mut(&name) {
        *sum = sum.saturating_add(delta);
    } else if counts.len() < COUNTERS_MAX && name.len() <= COUNTER_NAME_BYTES_MAX {
        counts.insert(name, delta);
    }
}

/// At most so many bytes, cut between characters.
pub(crate) fn shortened(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}
