//! What objects are called. Invariant: a name depends on the chunk's identity and the object's bytes alone, never on a clock
//! or dice at send time, so different bytes never share a name and the same bytes always do.

use std::fmt::Write as _;

use aws_lc_rs::digest::{Context, SHA256};
use chrono::TimeZone as _;
use chrono_tz::Tz;
use hydrant_config::{DeliveryStreamSpec, Naming, Partition, PrefixValues};
use hydrant_record::{Epoch, StreamId, Timestamp};

use crate::manifest::Route;

/// S3's limit on a key, in bytes.
const KEY_BYTES_MAX: usize = 1024;
/// A file system's limit on one name of a path.
const COMPONENT_BYTES_MAX: usize = 255;

/// The chunk a name is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChunkId {
    pub(crate) delivery_stream: StreamId,
    /// Of the chunk's first record.
    pub(crate) epoch: Epoch,
    pub(crate) chunk: u64,
}

/// The object within the chunk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ObjectId<'a> {
    pub(crate) chunk: ChunkId,
    pub(crate) to: Route,
    pub(crate) partition: &'a Partition,
    pub(crate) part: u64,
    pub(crate) sha256: &'a [u8; 32],
}

impl ObjectId<'_> {
    /// The `counter`-th 16 bytes that belong to this object.
    fn derive(&self, counter: u64) -> [u8; 16] {
        let mut context = Context::new(&SHA256);
        context.update(b"hydrant object name v1\0");
        context.update(&self.chunk.delivery_stream.0);
        context.update(&self.chunk.epoch.0.to_be_bytes());
        context.update(&self.chunk.chunk.to_be_bytes());
        context.update(&self.part.to_be_bytes());
        context.update(&counter.to_be_bytes());
        if self.to == Route::Backup {
            // The backup may be the very place of the destination, and the bytes the same.
            context.update(b"backup");
        }
        context.update(self.sha256);
        context.update(self.partition.as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&context.finish().as_ref()[..16]);
        bytes
    }
}

/// What else goes into a key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyParts<'a> {
    pub(crate) stream: &'a DeliveryStreamSpec,
    /// Of the place that the object goes to.
    pub(crate) naming: &'a Naming,
    /// Arrival of the oldest record in the object.
    pub(crate) oldest: Timestamp,
    /// `None` for the output itself.
    pub(crate) error_output_type: Option<&'a str>,
    pub(crate) extension: &'a str,
}

/// Evaluated prefix + `<stream>-<version>-<yyyy-MM-dd-HH-mm-ss>-<uuid>` + extension, as Firehose names objects.
pub(crate) fn object_key(id: &ObjectId<'_>, parts: &KeyParts<'_>) -> Result<String, KeyTooLong> {
    let naming = parts.naming;
    let mut key = prefix(id, parts, naming);
    let version = parts.stream.version_id;
    let name = &parts.stream.name;
    let extension = match (&naming.file_extension, parts.error_output_type) {
        (Some(extension), None) => extension,
        _ => parts.extension,
    };
    let (time, uuid) = (seconds(parts.oldest, naming.time_zone), uuid(id.derive(0)));
    write!(key, "{name}-{version}-{time}-{uuid}{extension}").expect("a String takes everything");
    let component = key.split('/').map(str::len).max().unwrap_or(0);
    if key.len() > KEY_BYTES_MAX || component > COMPONENT_BYTES_MAX {
        return Err(KeyTooLong { bytes: key.len(), component });
    }
    Ok(key)
}

fn prefix(id: &ObjectId<'_>, parts: &KeyParts<'_>, naming: &Naming) -> String {
    let mut counter = 0;
    let mut random = || {
        counter += 1;
        id.derive(counter)
    };
    let mut values = PrefixValues {
        time: parts.oldest,
        time_zone: naming.time_zone,
        error_output_type: parts.error_output_type,
        random: &mut random,
    };
    let prefix = if parts.error_output_type.is_some() { &naming.error_output_prefix } else { &naming.prefix };
    prefix.evaluate(id.partition, &mut values)
}

/// The partition values made a name that no store takes; the records go to the error output.
#[derive(Debug, thiserror::Error)]
#[error(
    "the object key would have {bytes} bytes and its longest part {component}; at most {KEY_BYTES_MAX} and \
     {COMPONENT_BYTES_MAX} are allowed: shorten the partition keys"
)]
pub(crate) struct KeyTooLong {
    bytes: usize,
    component: usize,
}

fn seconds(at: Timestamp, zone: Tz) -> String {
    let millis = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
    let time = zone.timestamp_millis_opt(millis).single().unwrap_or_else(|| zone.timestamp_nanos(0));
    time.format("%Y-%m-%d-%H-%M-%S").to_string()
}

/// A version 8 (custom) UUID of derived bytes.
fn uuid(bytes: [u8; 16]) -> String {
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use hydrant_config::{DeliveryStream, Environment};

    use super::*;

    fn stream() -> DeliveryStream {
        let yaml = "delivery_streams:\n  - name: logs\n    destination:\n      file:\n        directory: ./lake\n        \
                    prefix: \"p/!{timestamp:yyyy-MM-dd-HH}/!{firehose:random-string}/\"\n        \
                    error_output_prefix: \"e/!{firehose:error-output-type}/\"\n        time_zone: Europe/Berlin\n";
        let loaded = hydrant_config::load_text(yaml, Path::new("t.yaml"), &Environment::of([]));
        loaded.unwrap_or_else(|problems| panic!("{problems}")).config.delivery_streams[0].clone()
    }

    fn key(change: impl FnOnce(&mut ChunkId, &mut [u8; 32], &mut u64)) -> String {
        key_to(Route::Destination, change)
    }

    fn key_to(to: Route, change: impl FnOnce(&mut ChunkId, &mut [u8; 32], &mut u64)) -> String {
        let stream = stream();
        let mut chunk = ChunkId { delivery_stream: StreamId([1; 16]), epoch: Epoch(2), chunk: 3 };
        let (mut sha256, mut part) = ([4; 32], 0);
        change(&mut chunk, &mut sha256, &mut part);
        let partition = stream.error_store().naming.prefix.partition(&|_, _| None).unwrap();
        let id = ObjectId { chunk, to, partition: &partition, part, sha256: &sha256 };
        let parts = KeyParts {
            stream: &stream,
            naming: &stream.error_store().naming,
            // 2026-07-01T22:30:00Z, which is the next day in Berlin.
            oldest: Timestamp::from_millis(1_782_945_000_000),
            error_output_type: None,
            extension: ".gz",
        };
        object_key(&id, &parts).unwrap()
    }

    #[test]
    fn a_name_is_firehoses_in_the_time_zone_of_the_destination() {
        let key = key(|_, _, _| {});
        let name = key.strip_prefix("p/2026-07-02-00/").expect(&key);
        let (random, name) = name.split_once('/').unwrap();
        assert_eq!(random.len(), 11);
        let uuid =
            name.strip_prefix("logs-1-2026-07-02-00-30-00-").and_then(|rest| rest.strip_suffix(".gz")).expect(name);
        assert_eq!(uuid.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
    }

    #[test]
    fn the_same_object_has_the_same_name_and_any_other_has_another() {
        let name = key(|_, _, _| {});
        assert_eq!(name, key(|_, _, _| {}));
        assert_ne!(name, key(|chunk, _, _| chunk.delivery_stream = StreamId([9; 16])));
        assert_ne!(name, key(|chunk, _, _| chunk.epoch = Epoch(9)), "a restored snapshot");
        assert_ne!(name, key(|chunk, _, _| chunk.chunk = 9));
        assert_ne!(name, key(|_, sha256, _| sha256[31] = 9), "other bytes");
        assert_ne!(name, key(|_, _, part| *part = 9));
        assert_ne!(name, key_to(Route::Backup, |_, _, _| {}), "a backup in the same place");
    }
}
