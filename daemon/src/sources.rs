//! Which Kinesis stream a delivery stream reads, and from where on.
//!
//! Invariant: the place is found once and is in the catalog before the delivery stream is opened; `latest` means the same
//! after any restart.

use hydrant_config::{DeliveryStream, SourceStart, StreamName};
use hydrant_ingest::{KinesisSource, StoredKinesis, StoredSource, StoredStatus, StoredStream};
use hydrant_record::Lsn;
use hydrant_shardlog::ReadError;

use crate::engine::Engine;
use crate::exit::{Exit, Failure, chain};

/// Why a delivery stream cannot read the Kinesis stream that it names.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    #[error("there is no Kinesis stream `{name}`{}", region.as_ref().map(|region| format!(" in the region {region}")).unwrap_or_default())]
    Missing { name: String, region: Option<String> },
    #[error("there are Kinesis streams `{name}` in several regions: {}", regions.join(", "))]
    Ambiguous { name: String, regions: Vec<String> },
    #[error("the place in the Kinesis stream `{name}` cannot be found")]
    Unreadable {
        name: String,
        #[source]
        source: ReadError,
    },
}

impl SourceError {
    /// For a delivery stream of the YAML.
    pub(crate) fn failure(self, stream: &StreamName) -> Failure {
        let text = format!("delivery stream `{stream}`: from_stream: {}", chain(&self));
        match self {
            SourceError::Missing { name, .. } => Failure::new(Exit::Config, text).hint(format!(
                "add `streams: [{{ name: {name} }}]`; or leave the delivery stream out, start, make the stream by the API, and put the \
                 delivery stream back"
            )),
            SourceError::Ambiguous { .. } => {
                Failure::new(Exit::Config, text).hint("give the delivery stream the `region` of the one that is meant")
            }
            SourceError::Unreadable { .. } => Failure::new(Exit::CorruptStore, text),
        }
    }
}

/// Where a new delivery stream begins; `None` if records are put to it. `Engine::placing` is held until this is in the
/// catalog. Blocks on the disk.
pub(crate) fn place(engine: &Engine, stream: &DeliveryStream) -> Result<Option<StoredSource>, SourceError> {
    let Some(source) = &stream.source else { return Ok(None) };
    let kinesis = find(engine, stream)?;
    let missing = || SourceError::Missing { name: source.name.clone(), region: stream.region.clone() };
    let log = engine.kinesis.log(kinesis.id).ok_or_else(missing)?;
    let after = match source.start {
        SourceStart::Latest => log.last(),
        SourceStart::TrimHorizon => log.first().map_or(log.last(), Lsn::previous),
        SourceStart::At(time) => {
            log.seek_time(time).map_err(|error| SourceError::Unreadable { name: source.name.clone(), source: error })?
        }
    };
    Ok(Some(StoredSource { stream: kinesis.id, after }))
}

/// What a delivery stream reads, for those who look at it.
pub(crate) fn shown(engine: &Engine, stored: &StoredStream) -> Option<KinesisSource> {
    let source = stored.source?;
    let kinesis = engine.catalog.kinesis_streams().into_iter().find(|one| one.id == source.stream)?;
    let region = Some(kinesis.region).filter(|region| !region.is_empty());
    Some(KinesisSource { name: kinesis.name, region })
}

/// A delivery stream keeps its source for life: its cursor is a place in that log and in no other.
pub(crate) fn check_unchanged(engine: &Engine, stream: &DeliveryStream, stored: &StoredStream) -> Result<(), Failure> {
    let now = match &stream.source {
        None => None,
        Some(_) => Some(find(engine, stream).map_err(|error| error.failure(&stream.name))?.id),
    };
    if now == stored.source.map(|source| source.stream) {
        return Ok(());
    }
    let was = match shown(engine, stored) {
        Some(source) => format!("reads the Kinesis stream `{}`", source.name),
        None => "takes records that are put to it".to_owned(),
    };
    let text = format!("delivery stream `{}` {was}, and its source cannot be changed", stream.name);
    Err(Failure::new(Exit::Config, text).hint("put `from_stream` back as it was, or give the new one another name"))
}

fn find(engine: &Engine, stream: &DeliveryStream) -> Result<StoredKinesis, SourceError> {
    let (name, region) = (stream.source.as_ref().map_or("", |source| &source.name), &stream.region);
    let mut found = engine.catalog.kinesis_streams();
    found.retain(|one| one.status == StoredStatus::Active && one.name == name);
    found.retain(|one| one.region.is_empty() || region.as_ref().is_none_or(|region| *region == one.region));
    match found.len() {
        0 => Err(SourceError::Missing { name: name.to_owned(), region: region.clone() }),
        1 => Ok(found.remove(0)),
        _ => {
            let regions = found.into_iter().map(|one| one.region).collect();
            Err(SourceError::Ambiguous { name: name.to_owned(), regions })
        }
    }
}
