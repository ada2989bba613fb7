//! SIGHUP: the delivery streams of the YAML go on as it says now. Producers notice nothing.
//!
//! Invariant: a file that cannot be followed as a whole changes nothing.

use std::sync::Arc;

use hydrant_config::{Config, DeliveryStream};
use hydrant_ingest::{Entry, Origin, Registry, StoredOrigin, StoredStatus, StoredStream};
use hydrant_record::StreamId;
use sd_notify::NotifyState;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::cli::ConfigFile;
use crate::engine::Engine;
use crate::exit::{Exit, Failure};
use crate::{control, sources};

/// What a daemon needs to read its configuration again.
#[derive(Clone, Debug)]
pub(crate) struct Reload {
    pub(crate) file: ConfigFile,
    pub(crate) engine: Arc<Engine>,
    pub(crate) registry: Arc<Registry>,
}

/// What becomes of one delivery stream.
enum Step {
    Change(StreamId, Arc<Entry>, DeliveryStream),
    /// With its entry of the catalog, if an earlier reload came no further than that.
    Open(DeliveryStream, Option<StoredStream>),
}

impl Reload {
    /// Follows each request until `stop`; one that is under way is finished.
    pub(crate) async fn serve(self, mut asked: mpsc::Receiver<()>, stop: CancellationToken) {
        while let Some(Some(())) = stop.run_until_cancelled(asked.recv()).await {
            tell_systemd(true);
            match self.reload().await {
                Ok(streams) => {
                    tracing::info!(streams, "reloaded: the delivery streams go on as the configuration says now");
                }
                Err(failure) => tracing::error!("not reloaded: {failure}"),
            }
            tell_systemd(false);
        }
    }

    /// How many delivery streams the YAML has now.
    async fn reload(&self) -> Result<usize, Failure> {
        let reload = self.clone();
        let planned = tokio::task::spawn_blocking(move || reload.plan(&reload.file.load()?)).await;
        let steps = planned.map_err(|error| Failure::of(Exit::Runtime, &error))??;
        let (count, mut failed) = (steps.len(), Vec::new());
        for step in steps {
            if let Err(problem) = self.take(step).await {
                failed.push(problem);
            }
        }
        if failed.is_empty() {
            return Ok(count);
        }
        Err(Failure::new(Exit::Runtime, failed.join("; ")).hint(
            "the other delivery streams go on as the configuration says now; send SIGHUP again when this is repaired",
        ))
    }

    /// Everything that can be known to fail is found here, before anything changes. Blocks.
    fn plan(&self, wanted: &Config) -> Result<Vec<Step>, Failure> {
        check_sections(&self.engine.config, wanted)?;
        let mut stored = self.engine.catalog.streams();
        stored.retain(|one| one.origin == StoredOrigin::Yaml && one.status == StoredStatus::Active);
        let streams = &wanted.delivery_streams;
        if let Some(gone) = stored.iter().find(|one| streams.iter().all(|stream| stream.name != one.name)) {
            return Err(restart(format!("delivery stream `{}` is not in the configuration any more", gone.name)));
        }
        let entries = self.registry.all();
        let step = |stream: &DeliveryStream| {
            let known = stored.iter().find(|one| one.name == stream.name);
            self.engine.check_tools(stream).map_err(|error| Failure::of(error.exit(), &error))?;
            let entry =
                known.and_then(|one| entries.iter().find(|entry| entry.handle().is_some_and(|at| at.id == one.id)));
            let (Some(known), Some(entry)) = (known, entry) else {
                let free = self.registry.check_free(&stream.name, stream.region.as_deref());
                free.map_err(|error| Failure::of(Exit::Config, &error))?;
                return Ok(Step::Open(stream.clone(), known.cloned()));
            };
            sources::check_unchanged(&self.engine, stream, known)?;
            check_fixed(entry, stream)?;
            Ok(Step::Change(known.id, Arc::clone(entry), stream.clone()))
        };
        streams.iter().map(step).collect()
    }

    async fn take(&self, step: Step) -> Result<(), String> {
        match step {
            Step::Change(id, entry, stream) => {
                let name = stream.name.clone();
                let changed = self.engine.change_stream(id, stream.clone(), |_| Ok(())).await;
                changed.map_err(|error| format!("delivery stream `{name}`: {error}"))?;
                entry.change_origin(Origin::Yaml(Arc::new(stream))).await;
                Ok(())
            }
            Step::Open(stream, stored) => {
                let (engine, registry) = (Arc::clone(&self.engine), Arc::clone(&self.registry));
                let opened = tokio::task::spawn_blocking(move || {
                    control::open_of_yaml(&engine, &registry, &stream, stored.as_ref())
                });
                opened.await.map_err(|error| error.to_string())?.map_err(|failure| failure.to_string())
            }
        }
    }
}

/// All but `delivery_streams` is read at a start only. What a secret says does not count: it is not shown.
fn check_sections(now: &Config, wanted: &Config) -> Result<(), Failure> {
    let sections = |config: &Config| {
        let Config { data_dir, data_dir_encrypted, memory, account, api, tls, admin, credentials, .. } = config;
        let Config { s3, lambda, glue, opensearch, api_destinations_ca, limits, streams, .. } = config;
        [
            ("data_dir", format!("{data_dir:?}")),
            ("data_dir_encrypted", format!("{data_dir_encrypted:?}")),
            ("memory", format!("{memory:?}")),
            ("account", format!("{account:?}")),
            ("api", format!("{api:?} {tls:?}")),
            ("admin", format!("{admin:?}")),
            ("credentials", format!("{credentials:?}")),
            ("s3", format!("{s3:?}")),
            ("lambda", format!("{lambda:?}")),
            ("glue", format!("{glue:?}")),
            ("opensearch", format!("{opensearch:?}")),
            ("api_destinations", format!("{api_destinations_ca:?}")),
            ("limits", format!("{limits:?}")),
            ("streams", format!("{streams:?}")),
        ]
    };
    let pairs = sections(now).into_iter().zip(sections(wanted));
    let changed: Vec<String> =
        pairs.filter(|(now, wanted)| now.1 != wanted.1).map(|((name, _), _)| format!("`{name}`")).collect();
    if changed.is_empty() { Ok(()) } else { Err(restart(format!("{} changed", changed.join(", ")))) }
}

/// What a delivery stream keeps while it is open.
fn check_fixed(entry: &Entry, stream: &DeliveryStream) -> Result<(), Failure> {
    let definition = entry.definition();
    let Origin::Yaml(now) = &definition.origin else { return Ok(()) };
    let fixed =
        [("region", now.region == stream.region), ("log.compression", now.log.compression == stream.log.compression)];
    match fixed.into_iter().find(|(_, same)| !same) {
        Some((key, _)) => Err(restart(format!("`{key}` of delivery stream `{}` changed", stream.name))),
        None => Ok(()),
    }
}

fn restart(text: String) -> Failure {
    Failure::new(Exit::Config, text)
        .hint("a reload follows `delivery_streams` only; restart the daemon. Nothing was changed")
}

/// For units with `Type=notify-reload`; without systemd there is nobody to tell.
fn tell_systemd(begins: bool) {
    let told = match (begins, NotifyState::monotonic_usec_now()) {
        (true, Ok(now)) => sd_notify::notify(&[NotifyState::Reloading, now]),
        _ => sd_notify::notify(&[NotifyState::Ready]),
    };
    if let Err(error) = told {
        tracing::debug!("systemd was not told: {error}");
    }
}
