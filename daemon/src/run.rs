//! The main path: config -> log -> pipelines -> server -> shutdown. A record's way in eight hops begins here:
//!
//! 1. `ingest` reads one request under limits, verifies SigV4, decodes it;
//! 2. and finds the record's delivery stream.
//! 3. `ShardLog::submit` completes after `fdatasync`; only then is the producer answered.
//! 4. `delivery` takes the next batch from the tail of the log,
//! 5. has the WASM plugins transform it,
//! 6. groups it by evaluated prefix and cuts a chunk by size and interval,
//! 7. encodes each group and stages bytes and names in the outbox, synced,
//! 8. and a sink sends what is staged, until it is there; then the cursor moves.
//!
//! Hops 1 to 3 are started by `Server::bind`, hops 4 to 8 by `Engine::open_stream`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hydrant_config::Config;
use hydrant_disk::RealDisk;
use hydrant_ingest::{Auth, Counters, Front, Keys, Kinesis, Limits, Mappings, Registry, Server, Tls};
use hydrant_shardlog::SystemClock;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::admin::Admin;
use crate::cli::ConfigFile;
use crate::control;
use crate::engine::Engine;
use crate::exit::{Exit, Failure, chain};
use crate::kinesis;
use crate::reload::Reload;
use crate::store::{Machine, Opener, Store};
use crate::watch::{self, Alarm};

/// How long a stop waits for buffered records to be delivered; what is not delivered by then is at the next start.
pub(crate) const DRAIN_GRACE: Duration = Duration::from_secs(60);

/// What the command line adds to the configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// Delivery streams that may be deleted with their backlog, because they left the YAML.
    pub(crate) discard_backlog: Vec<String>,
    /// Delivery streams whose damaged records are given up.
    pub(crate) accept_loss: Vec<String>,
    /// The data directory, if it may be a copy or come from another machine.
    pub(crate) adopt: Option<PathBuf>,
}

/// A daemon that takes records.
pub(crate) struct Daemon {
    pub(crate) api: SocketAddr,
    pub(crate) engine: Arc<Engine>,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
    administering: tokio::task::JoinHandle<()>,
    registry: Arc<Registry>,
    reloading: Option<tokio::task::JoinHandle<()>>,
    broken: mpsc::Receiver<Failure>,
}

impl Daemon {
    /// Starts everything, or nothing: on `Err` no port is open and no record was taken.
    pub(crate) async fn start(config: Config, options: Options) -> Result<Daemon, Failure> {
        let (broken_sender, broken) = mpsc::channel(1);
        let tls = load_tls(&config)?.map(Arc::new);
        let (api, admin_address) = (config.api, config.admin);
        let opened = tokio::task::spawn_blocking(move || {
            let store = open_store(&config.data_dir, options.adopt.as_deref())?;
            let engine = Arc::new(Engine::open(config, store, options.accept_loss, broken_sender)?);
            let registry = Arc::new(Registry::new());
            // First, for delivery streams may read them.
            let kinesis = kinesis::open_all(&engine, &options.discard_backlog)?;
            control::open_all(&engine, &registry, &options.discard_backlog)?;
            Ok::<_, Failure>((engine, registry, kinesis))
        });
        let (engine, registry, kinesis) = opened.await.map_err(|error| Failure::of(Exit::Runtime, &error))??;

        let counters = Arc::new(Counters::default());
        let front = Front { tls, ..front(&engine, Arc::clone(&registry), kinesis, Arc::clone(&counters)) };
        let server = Server::bind(api, front).await.map_err(|error| cannot_listen("api", api, &error))?;
        let stop = CancellationToken::new();
        let admin = Admin::bind(admin_address, Arc::clone(&engine), counters, stop.clone())
            .await
            .map_err(|error| cannot_listen("admin", admin_address, &error))?;
        let (api, admin_address) = (server.local_addr(), admin.local_addr());

        let serving = tokio::spawn(server.serve(stop.clone().cancelled_owned()));
        let administering = tokio::spawn(admin.serve());
        tracing::info!(%api, admin = %admin_address, "ready");
        Ok(Daemon { api, engine, stop, serving, administering, registry, reloading: None, broken })
    }

    /// Follows what the file says whenever `asked` has a message.
    pub(crate) fn reload_from(&mut self, file: ConfigFile, asked: mpsc::Receiver<()>) {
        let reload = Reload { file, engine: Arc::clone(&self.engine), registry: Arc::clone(&self.registry) };
        self.reloading = Some(tokio::spawn(reload.serve(asked, self.stop.clone())));
    }

    /// Serves until `stop` completes or the storage fails, then drains. `Err` if it was the storage; where the device hangs
    /// nothing is drained, and tasks are left behind that wait for it.
    pub(crate) async fn serve_until(mut self, stop: impl Future<Output = std::io::Result<()>>) -> Result<(), Failure> {
        let ended = tokio::select! {
            stopped = stop => stopped.map_err(|error| Failure::of(Exit::Runtime, &error)),
            Some(failure) = self.broken.recv() => Err(failure),
            alarm = watch::watch(&self.engine) => match alarm {
                Alarm::Failed(failure) => Err(failure),
                Alarm::Stuck(failure) => return Err(failure),
            },
        };
        // On a device that failed there is nothing to wait for: only a restart recovers, and it should begin at once.
        self.shut_down(if ended.is_ok() { DRAIN_GRACE } else { Duration::ZERO }).await;
        ended
    }

    /// Hops in reverse: no new requests, answers for those under way, then what is buffered goes out.
    async fn shut_down(self, grace: Duration) {
        self.stop.cancel();
        if let Err(error) = self.serving.await {
            tracing::error!("the servers ended badly: {error}");
        }
        // It must start nothing behind the drain.
        if let Some(Err(error)) = futures::future::OptionFuture::from(self.reloading).await {
            tracing::error!("the reload ended badly: {error}");
        }
        self.engine.drain(grace).await;
        // Last, so that the drain can be watched; and cut off, so that no slow peer of it can hold up the end.
        self.administering.abort();
        tracing::info!("stopped");
    }
}

/// Only the data directory itself can be adopted: the name is asked for so that the flag, left in a unit, adopts nothing else.
pub(crate) fn open_store(dir: &Path, adopt: Option<&Path>) -> Result<Store, Failure> {
    if let Some(named) = adopt.filter(|named| !is_same(named, dir)) {
        let text = format!("`--adopt {}` is not the data directory, which is `{}`", named.display(), dir.display());
        return Err(
            Failure::new(Exit::Config, text).hint("name the `data_dir` of this configuration, if that is the copy")
        );
    }
    let opener = Opener { machine: &Machine::this()?, adopt: adopt.is_some() };
    Store::open(Arc::new(RealDisk::new()), dir, opener)
}

fn is_same(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// The front door; what requests hold in memory comes out of the one ceiling.
fn front(engine: &Arc<Engine>, registry: Arc<Registry>, kinesis: Kinesis, counters: Arc<Counters>) -> Front {
    let config = &engine.config;
    let auth = config.credentials.as_deref().map_or(Auth::Open, |credentials| Auth::Keys(Keys::new(credentials)));
    let budget = config.memory / 4 - kinesis::event_bytes(config.memory);
    let budget = usize::try_from(budget).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
    Front {
        registry,
        auth,
        control: control::plane(engine),
        kinesis,
        mappings: Mappings::from(config),
        clock: Arc::new(SystemClock),
        counters,
        budget: Arc::new(Semaphore::new(budget)),
        limits: Limits::default(),
        tls: None,
    }
}

/// The certificates of the API.
pub(crate) fn load_tls(config: &Config) -> Result<Option<Tls>, Failure> {
    let load = |files| {
        Tls::load(files).map_err(|error| {
            Failure::new(Exit::Config, format!("config error: api.tls: {}", chain(&error))).hint(
                "the daemon's user must be able to read both files, and the key must be the one of the certificate",
            )
        })
    };
    config.tls.as_ref().map(load).transpose()
}

fn cannot_listen(what: &str, address: SocketAddr, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Runtime, format!("{what}.listen: cannot listen on {address}: {error}"))
        .hint("stop what listens there, or choose another port")
}
