//! One engine for all plugins of the daemon.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use hydrant_config::Plugin;
use wasmtime::component::Component;
use wasmtime::{Config, Engine};

use crate::cache::{Cache, CacheError, sha256};
use crate::guest::{BoxError, Guest, Linker, linker};
use crate::loaded::{Loaded, LoadedPlugin, PluginInfo};
use crate::ticker::Ticker;
use crate::voice::Voice;
use crate::{LoadError, PluginName, load};

/// Compiles and checks plugins. Blocks; call it off the async threads.
pub struct Host {
    engine: Engine,
    linker: Linker,
    ticker: Arc<Ticker>,
    cache: Option<Cache>,
    options: HostOptions,
}

#[derive(Clone, Debug)]
pub struct HostOptions {
    /// Where compiled plugins are kept; it must be this user's alone. `None`: compile at every start.
    pub cache_dir: Option<PathBuf>,
    /// An instance that leaks is replaced after so many batches, or when it traps.
    pub batches_per_instance: u32,
}

impl Default for HostOptions {
    fn default() -> HostOptions {
        HostOptions { cache_dir: None, batches_per_instance: 256 }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error("cannot start the WebAssembly engine on this machine")]
    Engine(#[source] BoxError),
    #[error("cannot start the thread that watches plugins")]
    Thread(#[source] std::io::Error),
}

impl Host {
    pub fn new(options: HostOptions) -> Result<Host, HostError> {
        let cache = options.cache_dir.clone().map(Cache::open).transpose()?;
        let mut config = Config::new();
        config.epoch_interruption(true);
        let engine = Engine::new(&config).map_err(|error| HostError::Engine(error.into()))?;
        let linker = linker(&engine).map_err(HostError::Engine)?;
        let ticker = Arc::new(Ticker::start(engine.clone()).map_err(HostError::Thread)?);
        Ok(Host { engine, linker, ticker, cache, options })
    }

    /// Reads, checks, compiles and starts a plugin once. `stream_name` is what its guest is told.
    pub fn load(&self, plugin: &Plugin, stream_name: &str) -> Result<LoadedPlugin, LoadError> {
        let path = &plugin.path;
        let bytes = load::read(path)?;
        let digest = sha256(&bytes);
        load::check_pin(path, plugin.sha256, digest)?;
        load::check_kind(path, &bytes)?;
        let (component, from_cache) = self
            .compiled(&bytes, &digest)
            .map_err(|error| LoadError::Compile { path: path.clone(), source: error.into() })?;
        let pre = load::check_world(path, &component, &self.linker)?;
        let info = PluginInfo {
            path: path.clone(),
            name: PluginName(plugin_name(plugin, &digest).into()),
            size_bytes: bytes.len() as u64,
            sha256: digest,
            memory_bytes_max: plugin.memory,
            cpu_per_batch: plugin.cpu_per_batch,
            on_error: plugin.on_error,
            from_cache,
        };
        let loaded = Arc::new(Loaded {
            info,
            config: plugin.config.clone(),
            stream: stream_name.to_owned(),
            batches_per_instance: self.options.batches_per_instance.max(1),
            voice: Voice::new(path.display().to_string(), stream_name.to_owned()),
            pre,
            engine: self.engine.clone(),
            ticker: Arc::clone(&self.ticker),
        });
        Guest::start(&loaded).map_err(|source| LoadError::Start { path: path.clone(), source })?;
        Ok(LoadedPlugin(loaded))
    }

    /// True: it came out of the cache.
    fn compiled(&self, bytes: &[u8], digest: &[u8; 32]) -> wasmtime::Result<(Component, bool)> {
        let Some(cache) = &self.cache else {
            return Ok((Component::from_binary(&self.engine, bytes)?, false));
        };
        if let Some(component) = cache.get(&self.engine, digest) {
            return Ok((component, true));
        }
        let component = Component::from_binary(&self.engine, bytes)?;
        cache.put(digest, &component);
        Ok((component, false))
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("options", &self.options).finish_non_exhaustive()
    }
}

fn plugin_name(plugin: &Plugin, digest: &[u8; 32]) -> String {
    plugin.arn.clone().unwrap_or_else(|| format!("urn:hydrant:plugin:{}", hex::encode(digest)))
}
