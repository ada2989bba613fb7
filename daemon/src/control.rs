//! Which delivery streams there are, from the YAML and from the API, and what the API may do to them.

use std::sync::{Arc, PoisonError};

use futures::future::{BoxFuture, FutureExt as _};
use hydrant_config::DeliveryStream;
use hydrant_ingest::{
    CatalogError, ControlError, ControlPlane, DeliveryStreamDefinition, Entry, Mappings, NewDeliveryStream, Origin,
    Registry, StoredOrigin, StoredStatus, StoredStream, StreamHandle, StreamSettings, delivery_stream_from_request,
};
use hydrant_record::{StreamId, Timestamp};
use hydrant_shardlog::{Clock as _, SystemClock};

use crate::engine::{Engine, OpenStreamError};
use crate::exit::{Exit, Failure, chain};
use crate::store::random_id;
use crate::{kinesis, sources};

/// What the front door calls to create and delete.
pub(crate) fn plane(engine: &Arc<Engine>) -> Arc<dyn ControlPlane> {
    Arc::new(Plane { engine: Arc::clone(engine) })
}

/// Opens every delivery stream of the YAML and of the catalog, and finishes deletions that were cut off. Blocks.
pub(crate) fn open_all(engine: &Arc<Engine>, registry: &Registry, discard: &[String]) -> Result<(), Failure> {
    let stored = finish_deletions(engine)?;
    check_names(engine, &stored)?;
    for stream in &engine.config.delivery_streams {
        let known = stored.iter().find(|known| known.origin == StoredOrigin::Yaml && known.name == stream.name);
        open_of_yaml(engine, registry, stream, known)?;
    }
    for stored in stored {
        match &stored.origin {
            StoredOrigin::Yaml => retired(engine, &stored, discard)?,
            StoredOrigin::Api { region, request } => {
                let stream =
                    delivery_stream_from_request(request, (region, stored.version_id), &Mappings::from(&engine.config))
                        .map_err(|error| {
                            Failure::new(
                                Exit::Config,
                                format!("delivery stream `{}`, made by the API: {error}", stored.name),
                            )
                            .hint("put back what the configuration said when it was created")
                        })?;
                let definition = DeliveryStreamDefinition {
                    name: stored.name.clone(),
                    region: Some(region.clone()),
                    version_id: stored.version_id,
                    created_at: stored.created_at,
                    origin: Origin::Api { request: request.clone() },
                    source: sources::shown(engine, &stored),
                    settings: stored.settings.clone(),
                };
                open(engine, registry, &stream, (&stored, definition))?;
            }
        }
    }
    Ok(())
}

/// Opens a delivery stream of the YAML, `known` in the catalog or new.
pub(crate) fn open_of_yaml(
    engine: &Arc<Engine>,
    registry: &Registry,
    stream: &DeliveryStream,
    known: Option<&StoredStream>,
) -> Result<(), Failure> {
    let stored = match known {
        Some(known) => {
            sources::check_unchanged(engine, stream, known)?;
            known.clone()
        }
        None => adopt(engine, stream)?,
    };
    let definition = DeliveryStreamDefinition {
        name: stream.name.clone(),
        region: stream.region.clone(),
        version_id: stored.version_id,
        created_at: stored.created_at,
        origin: Origin::Yaml(stream.clone().into()),
        source: sources::shown(engine, &stored),
        settings: stored.settings.clone(),
    };
    open(engine, registry, stream, (&stored, definition))
}

fn open(
    engine: &Arc<Engine>,
    registry: &Registry,
    stream: &DeliveryStream,
    (stored, definition): (&StoredStream, DeliveryStreamDefinition),
) -> Result<(), Failure> {
    let handle = engine.open_stream(stream, (stored.id, stored.source)).map_err(|error| cannot_open(&error, stream))?;
    registry.insert(Entry::active(definition, handle)).map_err(|error| {
        // It must not deliver unseen, and be opened once more by a reload.
        tokio::runtime::Handle::current().block_on(engine.stop_stream(stored.id));
        Failure::of(Exit::Config, &error).hint("rename the one in the YAML, or pin its `region`")
    })
}

fn cannot_open(error: &OpenStreamError, stream: &DeliveryStream) -> Failure {
    let failure = Failure::of(error.exit(), error);
    let log = stream.source.as_ref().map_or_else(|| stream.name.to_string(), |source| kinesis::flag(&source.name));
    match error.hint(&log) {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// A name that is mistyped must not look as if its loss had been accepted.
fn check_names(engine: &Engine, stored: &[StoredStream]) -> Result<(), Failure> {
    let yaml = engine.config.delivery_streams.iter().map(|stream| stream.name.as_str());
    let delivery = yaml.chain(stored.iter().map(|stored| stored.name.as_str())).map(str::to_owned);
    let known: Vec<String> =
        delivery.chain(engine.catalog.kinesis_streams().iter().map(|stream| kinesis::flag(&stream.name))).collect();
    let Some(unknown) = engine.accept_loss().iter().find(|name| !known.contains(name)) else { return Ok(()) };
    Err(Failure::new(Exit::Config, format!("`--accept-loss {unknown}`: there is no stream of that name"))
        .hint("take the name from the message that told the loss"))
}

/// Gives a delivery stream that is new in the YAML its id, durably.
fn adopt(engine: &Engine, stream: &DeliveryStream) -> Result<StoredStream, Failure> {
    let _placing = engine.placing.lock().unwrap_or_else(PoisonError::into_inner);
    let source = sources::place(engine, stream);
    let stored = StoredStream {
        id: random_id().map_err(|error| Failure::of(Exit::Runtime, &error))?,
        name: stream.name.clone(),
        version_id: stream.version_id,
        status: StoredStatus::Active,
        created_at: SystemClock.now(),
        origin: StoredOrigin::Yaml,
        source: source.map_err(|error| error.failure(&stream.name))?,
        settings: StreamSettings::default(),
    };
    engine.catalog.insert(stored.clone()).map_err(|error| Failure::of(Exit::Io, &error))?;
    Ok(stored)
}

/// Deletes what was promised to be deleted, and directories that never made it into the catalog. The rest is returned.
fn finish_deletions(engine: &Engine) -> Result<Vec<StoredStream>, Failure> {
    let io = |error: std::io::Error| Failure::of(Exit::Io, &error);
    let (deleting, active): (Vec<_>, Vec<_>) =
        engine.catalog.streams().into_iter().partition(|stream| stream.status == StoredStatus::Deleting);
    for stream in deleting {
        engine.store.remove_stream_dirs(stream.id).map_err(io)?;
        engine.catalog.remove(stream.id).map_err(|error| Failure::of(Exit::Io, &error))?;
        tracing::info!(delivery_stream = %stream.name, "its deletion is finished");
    }
    let kinesis = engine.catalog.kinesis_streams();
    let known: Vec<StreamId> =
        active.iter().map(|stream| stream.id).chain(kinesis.iter().map(|stream| stream.id)).collect();
    for id in engine.store.unknown_stream_dirs(&known).map_err(io)? {
        tracing::warn!(%id, "the catalog does not know this directory below streams/ or delivery/; it is left alone");
    }
    Ok(active)
}

/// A delivery stream that is in the catalog but no more in the YAML: its backlog must not vanish silently.
fn retired(engine: &Engine, stored: &StoredStream, discard: &[String]) -> Result<(), Failure> {
    if engine.config.delivery_streams.iter().any(|stream| stream.name == stored.name) {
        return Ok(());
    }
    let name = &stored.name;
    let backlog = engine.backlog(stored)?;
    if backlog > 0 && !discard.iter().any(|discarded| discarded == name.as_str()) {
        let text = format!(
            "delivery stream `{name}` is not in the configuration any more, but {backlog} of its records are not delivered"
        );
        return Err(Failure::new(Exit::Config, text)
            .hint(format!("put it back until they are, or run once with `--discard-backlog {name}` to delete them")));
    }
    engine.catalog.mark_deleting(stored.id).map_err(|error| Failure::of(Exit::Io, &error))?;
    engine.store.remove_stream_dirs(stored.id).map_err(|error| Failure::of(Exit::Io, &error))?;
    engine.catalog.remove(stored.id).map_err(|error| Failure::of(Exit::Io, &error))?;
    tracing::info!(delivery_stream = %name, discarded = backlog, "it left the configuration and is deleted");
    Ok(())
}

#[derive(Debug)]
struct Plane {
    engine: Arc<Engine>,
}

impl ControlPlane for Plane {
    fn create(&self, new: NewDeliveryStream) -> BoxFuture<'_, Result<StreamHandle, ControlError>> {
        let engine = Arc::clone(&self.engine);
        blocking(move || create(&engine, &new)).boxed()
    }

    fn store(&self, entry: Arc<Entry>, changed: DeliveryStreamDefinition) -> BoxFuture<'_, Result<(), ControlError>> {
        let engine = Arc::clone(&self.engine);
        blocking(move || {
            let id = entry.handle().ok_or_else(not_open)?.id;
            let stored = engine.catalog.update(id, |stored| stored.settings = changed.settings);
            stored.map_err(|error| unavailable(&error))
        })
        .boxed()
    }

    fn update(&self, entry: Arc<Entry>, changed: NewDeliveryStream) -> BoxFuture<'_, Result<(), ControlError>> {
        let engine = Arc::clone(&self.engine);
        async move {
            let id = entry.handle().ok_or_else(not_open)?.id;
            let NewDeliveryStream { definition, spec } = changed;
            let store = move |engine: &Engine| {
                engine.catalog.update(id, |stored| {
                    stored.version_id = definition.version_id;
                    stored.settings = definition.settings;
                    if let (StoredOrigin::Api { request, .. }, Origin::Api { request: changed }) =
                        (&mut stored.origin, definition.origin)
                    {
                        *request = changed;
                    }
                })
            };
            engine.change_stream(id, spec, store).await
        }
        .boxed()
    }

    fn begin_delete(&self, entry: Arc<Entry>) -> BoxFuture<'_, Result<(), ControlError>> {
        let engine = Arc::clone(&self.engine);
        blocking(move || match entry.handle() {
            Some(handle) => engine.catalog.mark_deleting(handle.id).map_err(|error| unavailable(&error)),
            None => Ok(()),
        })
        .boxed()
    }

    fn finish_delete(&self, entry: Arc<Entry>) -> BoxFuture<'_, Result<(), ControlError>> {
        let engine = Arc::clone(&self.engine);
        async move {
            let Some(id) = entry.handle().map(|handle| handle.id) else { return Ok(()) };
            engine.stop_stream(id).await;
            blocking(move || {
                engine.store.remove_stream_dirs(id).map_err(|error| unavailable(&error))?;
                engine.catalog.remove(id).map_err(|error| unavailable(&error))
            })
            .await
        }
        .boxed()
    }
}

fn create(engine: &Arc<Engine>, new: &NewDeliveryStream) -> Result<StreamHandle, ControlError> {
    let Origin::Api { request } = &new.definition.origin else {
        return Err(ControlError::Refused("a stream of the YAML is not created by the API".to_owned()));
    };
    let id = random_id().map_err(|error| unavailable(&error))?;
    let placing = engine.placing.lock().unwrap_or_else(PoisonError::into_inner);
    let source = sources::place(engine, &new.spec).map_err(|error| ControlError::Refused(error.to_string()))?;
    let stored = StoredStream {
        id,
        name: new.definition.name.clone(),
        version_id: new.definition.version_id,
        status: StoredStatus::Active,
        created_at: Timestamp::from_millis(new.definition.created_at.as_millis()),
        origin: StoredOrigin::Api {
            region: new.definition.region.clone().unwrap_or_default(),
            request: request.clone(),
        },
        source,
        settings: new.definition.settings.clone(),
    };
    engine.catalog.insert(stored).map_err(|error| match error {
        CatalogError::TooMany => ControlError::LimitExceeded(error.to_string()),
        CatalogError::NoSource => ControlError::Refused(error.to_string()),
        error => unavailable(&error),
    })?;
    drop(placing);
    engine.open_stream(&new.spec, (id, source)).map_err(|error| {
        let undone = engine.store.remove_stream_dirs(id).map_err(|error| error.to_string());
        let undone = undone.and_then(|()| engine.catalog.remove(id).map_err(|error| error.to_string()));
        if let Err(undo) = undone {
            tracing::error!("a creation failed and could not be undone: {undo}");
        }
        match error.exit() {
            Exit::Config => ControlError::Refused(chain(&error)),
            _ => unavailable(&error),
        }
    })
}

fn not_open() -> ControlError {
    ControlError::Unavailable("the delivery stream is not open".to_owned())
}

pub(crate) fn unavailable(error: &dyn std::error::Error) -> ControlError {
    ControlError::Unavailable(chain(error))
}

/// Runs to its end even if the caller goes away.
pub(crate) async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> Result<T, ControlError> + Send + 'static,
) -> Result<T, ControlError> {
    match tokio::task::spawn_blocking(act).await {
        Ok(done) => done,
        Err(panicked) => Err(ControlError::Unavailable(panicked.to_string())),
    }
}
