//! Where a record's document goes: into which index, and under which id.
//!
//! Invariant: both follow from what the record is and when it arrived, so every repeat names the same document.

use aws_lc_rs::digest::{Context, SHA256};
use chrono::{DateTime, Utc};
use hydrant_config::{DocumentId, IndexRotation, OpenSearch};
use hydrant_record::{Timestamp, Unit};

use crate::RequestIdentity;

/// Bytes of the digest that make an id: no two documents of one index meet by chance.
const ID_BYTES: usize = 20;
/// Bytes of an action line at most, without the names in it.
const ACTION_BYTES_MAX: usize = 128;
const HOUR_MILLIS: u64 = 3_600_000;

/// The addresses of one delivery stream's documents.
#[derive(Debug)]
pub struct Documents {
    index: String,
    rotation: IndexRotation,
    type_name: Option<String>,
    document_id: DocumentId,
    /// The index of the last record, with the hour for which it is right.
    latest: Option<(u64, String)>,
}

impl Documents {
    #[must_use]
    pub fn new(search: &OpenSearch) -> Documents {
        Documents {
            index: search.index.clone(),
            rotation: search.rotation,
            type_name: search.type_name.clone(),
            document_id: search.document_id,
            latest: None,
        }
    }

    /// The index, with its rotation's suffix as Firehose writes it: from the arrival, in UTC, weeks by ISO 8601. And the
    /// `_type`, which only servers before Elasticsearch 7 want.
    pub fn place(&mut self, arrived_at: Timestamp) -> (&str, Option<&str>) {
        let hour = arrived_at.as_millis() / HOUR_MILLIS;
        if self.latest.as_ref().is_none_or(|(of, _)| *of != hour) {
            self.latest = Some((hour, self.rotated(hour)));
        }
        (self.latest.as_ref().map_or("", |(_, index)| index), self.type_name.as_deref())
    }

    /// `None` where the server makes the ids. The arrival is part of it, for a log that was restored from a snapshot may give
    /// a number again within a chunk that begins with a record from before.
    #[must_use]
    pub fn id(&self, identity: &RequestIdentity, unit: Unit, arrived_at: Timestamp) -> Option<String> {
        if self.document_id == DocumentId::None {
            return None;
        }
        let mut context = Context::new(&SHA256);
        context.update(&identity.log.0);
        context.update(&identity.epoch.0.to_be_bytes());
        context.update(&identity.delivery_stream.0);
        context.update(&unit.lsn.get().to_be_bytes());
        context.update(&unit.sub.to_be_bytes());
        context.update(&arrived_at.as_millis().to_be_bytes());
        Some(base64_simd::URL_SAFE_NO_PAD.encode_to_string(&context.finish().as_ref()[..ID_BYTES]))
    }

    /// Bytes of an action line at most.
    pub(super) fn action_bytes_max(&self) -> u64 {
        // A type's name may be written with escapes.
        let names = self.index.len() + self.type_name.as_ref().map_or(0, |name| 6 * name.len());
        (names + ACTION_BYTES_MAX) as u64
    }

    fn rotated(&self, hour: u64) -> String {
        let pattern = match self.rotation {
            IndexRotation::None => return self.index.clone(),
            IndexRotation::OneHour => "%Y-%m-%d-%H",
            IndexRotation::OneDay => "%Y-%m-%d",
            IndexRotation::OneWeek => "%G-w%V",
            IndexRotation::OneMonth => "%Y-%m",
        };
        let millis = i64::try_from(hour.saturating_mul(HOUR_MILLIS)).unwrap_or(i64::MAX);
        let arrived = DateTime::from_timestamp_millis(millis).unwrap_or(DateTime::<Utc>::MAX_UTC);
        format!("{}-{}", self.index, arrived.format(pattern))
    }
}
