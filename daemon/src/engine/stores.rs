//! What is known of the buckets that delivery streams deliver to.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use super::{Engine, Running};
use crate::probed::{self, StoreStatus};

impl Engine {
    /// By the names of the delivery streams.
    pub(crate) fn stores(&self) -> BTreeMap<String, StoreStatus> {
        let found = self.probed.lock().unwrap_or_else(PoisonError::into_inner);
        let running = self.running();
        let told = |one: &Running| Some((one.name.clone(), StoreStatus::of(one.bucket.as_ref()?, &found)));
        running.values().filter_map(told).collect()
    }

    /// Looks what `hydrant check` has found out since. Blocks on the disk.
    pub(crate) fn look_up_probes(&self) {
        let found = probed::findings(&*self.store.disk(), &self.config.data_dir);
        *self.probed.lock().unwrap_or_else(PoisonError::into_inner) = found;
    }
}
