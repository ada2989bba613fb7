//! What is known of the buckets that delivery streams deliver to.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use hydrant_config::{DeliveryStream, ObjectStore, Place};
use hydrant_sinks::Sink;

use super::{Engine, Running};
use crate::probed::{self, StoreStatus, StreamStores};

/// The buckets that a delivery stream delivers to, as their sinks call them.
#[derive(Clone, Debug)]
pub(super) struct Buckets {
    destination: Option<String>,
    backup: Option<String>,
}

impl Buckets {
    pub(super) fn of(stream: &DeliveryStream, destination: &dyn Sink, backup: Option<&dyn Sink>) -> Buckets {
        let is_bucket = |store: &ObjectStore| matches!(store.place, Place::S3 { .. });
        let to_bucket = stream.destination.objects().is_some_and(is_bucket);
        let backed_up = stream.backup.as_ref().is_some_and(|backup| is_bucket(&backup.store));
        Buckets {
            destination: to_bucket.then(|| destination.to_string()),
            backup: backup.filter(|_| backed_up).map(ToString::to_string),
        }
    }
}

impl Engine {
    /// By the names of the delivery streams.
    pub(crate) fn stores(&self) -> BTreeMap<String, StreamStores> {
        let found = self.probed.lock().unwrap_or_else(PoisonError::into_inner);
        let known = |bucket: Option<&String>| bucket.map(|bucket| StoreStatus::of(bucket, &found));
        let told = |one: &Running| {
            let Buckets { destination, backup } = &one.buckets;
            (
                one.name.clone(),
                StreamStores { store: known(destination.as_ref()), backup_store: known(backup.as_ref()) },
            )
        };
        self.running().values().map(told).collect()
    }

    /// Looks what `hydrant check` has found out since. Blocks on the disk.
    pub(crate) fn look_up_probes(&self) {
        let found = probed::findings(&*self.store.disk(), &self.config.data_dir);
        *self.probed.lock().unwrap_or_else(PoisonError::into_inner) = found;
    }
}
