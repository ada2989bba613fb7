//! A journal that somebody else may be writing: what it says, without its lock and without changing anything.

use std::ops::ControlFlow;
use std::path::Path;

use hydrant_disk::Disk;
use hydrant_shardlog::{Dumped, OpenError, Selection, dump};

use super::{Entry, State, VERSION};

/// A daemon that trims its journal meanwhile can take away what is being read; then it is read once more.
const ATTEMPTS: usize = 5;

/// What a delivery stream has decided cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    #[error("cannot read the journal of a delivery stream")]
    Open(#[from] OpenError),
    #[error("the journal of a delivery stream is damaged: {0}")]
    Damaged(String),
    #[error("the journal of a delivery stream changed all the time while it was read; try again")]
    Busy,
}

/// The state that the journal in `dir` adds up to; `None` if nothing was decided yet.
pub(crate) fn look(disk: &dyn Disk, dir: &Path) -> Result<Option<State>, LookError> {
    for _ in 0..ATTEMPTS {
        let mut looking = Looking::default();
        dump(disk, dir, &Selection::default(), &mut |met| looking.take(met))?;
        match (looking.damage, looking.torn) {
            (Some(damage), _) => return Err(LookError::Damaged(damage)),
            (None, false) => return Ok(looking.state),
            (None, true) => {}
        }
    }
    Err(LookError::Busy)
}

#[derive(Default)]
struct Looking {
    state: Option<State>,
    /// Entries are missing that were there a moment ago.
    torn: bool,
    damage: Option<String>,
}

impl Looking {
    fn take(&mut self, met: Dumped) -> ControlFlow<()> {
        let record = match met {
            Dumped::Record(record) => record,
            Dumped::Lost { first, .. } => return self.damaged(format!("entries from {first} on are lost")),
            Dumped::Damage(damage) => return self.damaged(format!("{} at entry {}", damage.reason, damage.first)),
        };
        let applied = match (serde_json::from_slice(&record.data), &mut self.state) {
            (Err(error), _) => return self.damaged(format!("entry {}: {error}", record.lsn)),
            (Ok(Entry::Snapshot(state)), _) if state.version != VERSION => {
                return self.damaged(format!("version {} is not known, only {VERSION}", state.version));
            }
            (Ok(Entry::Snapshot(state)), known) => {
                *known = Some(state);
                true
            }
            (Ok(entry), Some(state)) => state.apply(entry).is_ok(),
            (Ok(_), None) => false,
        };
        self.torn = !applied;
        if applied { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn damaged(&mut self, what: String) -> ControlFlow<()> {
        self.damage = Some(what);
        ControlFlow::Break(())
    }
}
