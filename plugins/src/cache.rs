//! Compiled plugins on disk, so that a restart does not compile again.
//!
//! Compiled code is run as it is, so only what this host wrote may be read: the directory belongs to this user and to
//! nobody else, and every file carries the digest of its code.
//!
//! ```text
//! <sha256 of the plugin>-<engine>.cwasm:  SHA-256 of the code (32 bytes) | code
//! ```

use std::collections::hash_map::DefaultHasher;
use std::fs::{self, DirBuilder};
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use wasmtime::Engine;
use wasmtime::component::Component;

const DIGEST_BYTES: usize = 32;

/// The directory cannot be trusted with code.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    #[error("plugin cache `{path}`: cannot be used; name another directory")]
    Io { path: PathBuf, source: io::Error },
    #[error("plugin cache `{path}`: is not a directory; name another")]
    NotADirectory { path: PathBuf },
    #[error(
        "plugin cache `{path}`: belongs to user {owner} with mode {mode:03o}; code is only read from a directory of this \
         user with mode 700: run `chmod 700`, or name another"
    )]
    NotPrivate { path: PathBuf, owner: u32, mode: u32 },
}

#[derive(Debug)]
pub(crate) struct Cache {
    dir: PathBuf,
}

impl Cache {
    /// Makes the directory if there is none.
    pub(crate) fn open(dir: PathBuf) -> Result<Cache, CacheError> {
        let failed = |source| CacheError::Io { path: dir.clone(), source };
        match DirBuilder::new().mode(0o700).create(&dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
            _ => {}
        }
        // Of the name itself: a link could be turned elsewhere after the check.
        let metadata = fs::symlink_metadata(&dir).map_err(failed)?;
        if !metadata.is_dir() {
            return Err(CacheError::NotADirectory { path: dir });
        }
        let (owner, mode) = (metadata.uid(), metadata.mode() & 0o777);
        if owner != rustix::process::geteuid().as_raw() || mode & 0o077 != 0 {
            return Err(CacheError::NotPrivate { path: dir, owner, mode });
        }
        Ok(Cache { dir })
    }

    /// `None` for what is not there, damaged, or of another engine: then it is compiled.
    pub(crate) fn get(&self, engine: &Engine, plugin: &[u8; 32]) -> Option<Component> {
        let file = fs::read(self.path(engine, plugin)).ok()?;
        let (digest, code) = file.split_at_checked(DIGEST_BYTES)?;
        if digest != sha256(code) {
            return None;
        }
        revive(engine, code)
    }

    /// Not being able to keep it is no error: the next start compiles again.
    pub(crate) fn put(&self, plugin: &[u8; 32], component: &Component) {
        if let Err(error) = self.write(plugin, component) {
            tracing::warn!(dir = %self.dir.display(), %error, "compiled plugin not kept in the cache");
        }
    }

    fn write(&self, plugin: &[u8; 32], component: &Component) -> io::Result<()> {
        let code = component.serialize().map_err(io::Error::other)?;
        let mut file = NamedTempFile::new_in(&self.dir)?;
        file.write_all(&sha256(&code))?;
        file.write_all(&code)?;
        // Not synced: after a crash the digest tells a torn file.
        file.persist(self.path(component.engine(), plugin)).map_err(|error| error.error)?;
        Ok(())
    }

    fn path(&self, engine: &Engine, plugin: &[u8; 32]) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        self.dir.join(Path::new(&format!("{}-{:016x}.cwasm", hex::encode(plugin), hasher.finish())))
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut digest = [0; 32];
    digest.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref());
    digest
}

#[expect(unsafe_code, reason = "wasmtime cannot check compiled code; the cache vouches for it")]
fn revive(engine: &Engine, code: &[u8]) -> Option<Component> {
    // SAFETY: `code` must come from `Component::serialize`. It was read into memory from a file that only this user can
    // write, in a directory that `Cache::open` found private, and it matches the digest that `Cache::write` put before
    // it, so it is what `serialize` gave. wasmtime itself refuses code of another version or configuration.
    unsafe { Component::deserialize(engine, code) }.ok()
}
