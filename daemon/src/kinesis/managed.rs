//! The Kinesis streams that the YAML manages: at every start they become what it says.
//!
//! Invariant: a stream that has records does not go because a line of YAML went.

use hydrant_config::DataStream;
use hydrant_ingest::{CatalogError, KinesisSettings, StoredKinesis, StoredStatus, StreamMode};
use hydrant_record::StreamId;
use hydrant_shardlog::{Clock as _, Reshard, ShardLog, SystemClock};

use super::{flag, open_at_start};
use crate::engine::Engine;
use crate::exit::{Exit, Failure, chain};
use crate::store::random_id;

/// A stream of the catalog as it is to be opened; `None` if it is no more in the YAML and is deleted.
pub(super) fn settle(
    engine: &Engine,
    stored: StoredKinesis,
    discard: &[String],
) -> Result<Option<StoredKinesis>, Failure> {
    if !stored.from_yaml {
        return Ok(Some(stored));
    }
    let Some(wanted) = engine.config.streams.iter().find(|wanted| is_of(wanted, &stored)) else {
        return retire(engine, &stored, discard).map(|()| None);
    };
    let settings =
        KinesisSettings { mode: mode(wanted), retention_hours: wanted.retention_hours, ..stored.settings.clone() };
    let settled = StoredKinesis { settings, ..stored.clone() };
    if settled != stored {
        engine.catalog.update_kinesis(settled.clone()).map_err(|error| Failure::of(Exit::Io, &error))?;
        tracing::info!(stream = settled.name, "the Kinesis stream was changed as the configuration says");
    }
    Ok(Some(settled))
}

/// Those of the YAML that the catalog does not have.
pub(super) fn new_ones(engine: &Engine) -> Result<Vec<StoredKinesis>, Failure> {
    let known = engine.catalog.kinesis_streams();
    let is_new = |wanted: &&DataStream| !known.iter().any(|stored| stored.from_yaml && is_of(wanted, stored));
    engine.config.streams.iter().filter(is_new).map(new).collect()
}

fn new(wanted: &DataStream) -> Result<StoredKinesis, Failure> {
    Ok(StoredKinesis {
        id: random_id().map_err(|error| Failure::of(Exit::Runtime, &error))?,
        name: wanted.name.to_string(),
        region: region(wanted).to_owned(),
        status: StoredStatus::Active,
        created_at: SystemClock.now(),
        shards: wanted.shards,
        from_yaml: true,
        settings: KinesisSettings { retention_hours: wanted.retention_hours, ..KinesisSettings::new(mode(wanted)) },
    })
}

/// Brings the open shards to the number that the YAML says.
pub(super) fn divide(engine: &Engine, stored: &StoredKinesis, log: &ShardLog) -> Result<(), Failure> {
    let wanted = engine.config.streams.iter().find(|wanted| stored.from_yaml && is_of(wanted, stored));
    let Some(count) = wanted.map(|wanted| wanted.shards) else { return Ok(()) };
    let before = log.shards().open().count();
    if before == count as usize {
        return Ok(());
    }
    log.reshard(Reshard::Uniform { count }).map_err(|error| {
        let text = format!("Kinesis stream `{}` cannot get {count} shards: {}", stored.name, chain(&error));
        Failure::new(Exit::Io, text)
    })?;
    tracing::info!(
        stream = stored.name,
        before,
        now = count,
        "the Kinesis stream was divided as the configuration says"
    );
    Ok(())
}

/// A name that a stream of the API has already.
pub(super) fn taken(name: &str) -> Failure {
    let text = format!("streams: there is a Kinesis stream `{name}` already, made by the API");
    Failure::new(Exit::Config, text).hint("choose another name, or pin a `region` in which there is none")
}

fn retire(engine: &Engine, stored: &StoredKinesis, discard: &[String]) -> Result<(), Failure> {
    let name = &stored.name;
    let flag = flag(name);
    if !discard.contains(&flag) {
        let log = open_at_start(engine, stored)?;
        let (records, id) = (log.first().is_some(), stored.id);
        forget(engine, id);
        if records {
            let text = format!("Kinesis stream `{name}` is not in the configuration any more, but it has records");
            return Err(Failure::new(Exit::Config, text)
                .hint(format!("put it back, or run once with `--discard-backlog {flag}` to delete them")));
        }
    }
    let gone = StoredKinesis { status: StoredStatus::Deleting, ..stored.clone() };
    engine.catalog.update_kinesis(gone).map_err(|error| match error {
        CatalogError::InUse { .. } => {
            let text = format!("Kinesis stream `{name}` is not in the configuration any more, but {error}");
            Failure::new(Exit::Config, text).hint("put the stream back until the delivery stream is gone")
        }
        error => Failure::of(Exit::Io, &error),
    })?;
    engine.store.remove_stream_dirs(stored.id).map_err(|error| Failure::of(Exit::Io, &error))?;
    engine.catalog.remove_kinesis(stored.id).map_err(|error| Failure::of(Exit::Io, &error))?;
    tracing::info!(stream = name, "the Kinesis stream left the configuration and is deleted");
    Ok(())
}

/// Closes a log that was only looked into.
fn forget(engine: &Engine, id: StreamId) {
    let log = engine.kinesis.write().remove(&id);
    if let Some(Err(error)) = log.map(|(_, log)| log.close()) {
        tracing::debug!(%error, "a log that was looked into was not closed cleanly");
    }
}

fn is_of(wanted: &DataStream, stored: &StoredKinesis) -> bool {
    wanted.name.as_str() == stored.name && region(wanted) == stored.region
}

fn region(wanted: &DataStream) -> &str {
    wanted.region.as_deref().unwrap_or_default()
}

fn mode(wanted: &DataStream) -> StreamMode {
    if wanted.on_demand { StreamMode::OnDemand } else { StreamMode::Provisioned }
}
