//! TLS for the API. Certificates are renewed while the server runs: the files are looked at every few seconds, and connections
//! that begin afterwards get what is new. Files that cannot be used change nothing, so a renewal that fails cuts nobody off.

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hydrant_config::TlsFiles;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

const LOOK_EVERY: Duration = Duration::from_secs(3);

/// Certificates in use, and where they come from.
pub struct Tls {
    files: TlsFiles,
    current: Mutex<Current>,
}

struct Current {
    config: Arc<ServerConfig>,
    /// Of the files that were read last, whether or not they could be used.
    stamps: Vec<Stamp>,
}

/// What changes when a file or a link to it does: inode, length and time of the last write. `None` if there is no such file.
type Stamp = Option<(u64, u64, i64, i64)>;

/// The files of `api.tls` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read `{}`", .path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("`{}` must hold PEM: {what}", .path.display())]
    NotPem {
        path: PathBuf,
        what: &'static str,
        #[source]
        source: pem::Error,
    },
    #[error("`{}` holds no certificate", .path.display())]
    Empty { path: PathBuf },
    #[error("`{}` and `{}` do not make a certificate that can be shown", .certificate.display(), .key.display())]
    Refused {
        certificate: PathBuf,
        key: PathBuf,
        #[source]
        source: rustls::Error,
    },
    #[error("`{}` holds a certificate that cannot sign those of clients", .path.display())]
    Authority {
        path: PathBuf,
        #[source]
        source: rustls::Error,
    },
    #[error("`{}` cannot verify clients", .path.display())]
    Verifier {
        path: PathBuf,
        #[source]
        source: VerifierBuilderError,
    },
}

impl Tls {
    /// Reads the files. Blocks.
    pub fn load(files: &TlsFiles) -> Result<Tls, TlsError> {
        let stamps = stamps(files);
        let config = Arc::new(server_config(files)?);
        Ok(Tls { files: files.clone(), current: Mutex::new(Current { config, stamps }) })
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.lock().config))
    }

    /// Looks at the files every few seconds, for ever.
    pub(super) async fn renew(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let tls = Arc::clone(&self);
            match tokio::task::spawn_blocking(move || tls.look()).await {
                Ok(Ok(false)) => {}
                Ok(Ok(true)) => tracing::info!("new connections to the API get the new certificate"),
                Ok(Err(error)) => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::error!(cause, "api.tls: {error}; the certificate in use stays");
                }
                Err(error) => tracing::error!("api.tls: cannot look at the certificates: {error}"),
            }
        }
    }

    /// Takes what is new; whether anything was. Files are tried once for each change of theirs.
    fn look(&self) -> Result<bool, TlsError> {
        // Before they are read: what changes meanwhile is seen at the next look.
        let stamps = stamps(&self.files);
        if self.lock().stamps == stamps {
            return Ok(false);
        }
        let fresh = server_config(&self.files);
        let mut current = self.lock();
        current.stamps = stamps;
        current.config = Arc::new(fresh?);
        Ok(true)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

fn stamps(files: &TlsFiles) -> Vec<Stamp> {
    let paths = [&files.certificate, &files.key].into_iter().chain(&files.client_ca);
    let stamp =
        |path: &PathBuf| std::fs::metadata(path).ok().map(|it| (it.ino(), it.len(), it.mtime(), it.mtime_nsec()));
    paths.map(stamp).collect()
}

fn server_config(files: &TlsFiles) -> Result<ServerConfig, TlsError> {
    let TlsFiles { certificate, key, client_ca } = files;
    let chain = certificates(certificate)?;
    let secret = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|source| TlsError::NotPem {
        path: key.clone(),
        what: "a private key",
        source,
    })?;
    let refused = |source| TlsError::Refused { certificate: certificate.clone(), key: key.clone(), source };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(refused)?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(path)? {
                roots.add(authority).map_err(|source| TlsError::Authority { path: path.clone(), source })?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(
                verifier.map_err(|source| TlsError::Verifier { path: path.clone(), source })?,
            )
        }
    };
    let mut config = builder.with_single_cert(chain, secret).map_err(refused)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let not_pem = |source| TlsError::NotPem { path: path.to_owned(), what: "certificates", source };
    let bytes = read(path)?;
    let all = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>().map_err(not_pem)?;
    if all.is_empty() { Err(TlsError::Empty { path: path.to_owned() }) } else { Ok(all) }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Unreadable { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(dir: &Path, name: &str) {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls");
        for kind in ["pem", "key"] {
            std::fs::copy(from.join(format!("{name}.{kind}")), dir.join(format!("in-use.{kind}"))).unwrap();
        }
    }

    #[test]
    fn what_is_new_is_taken_and_what_cannot_be_used_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "first");
        let [certificate, key] = ["pem", "key"].map(|kind| dir.path().join(format!("in-use.{kind}")));
        let tls = Tls::load(&TlsFiles { certificate, key: key.clone(), client_ca: None }).unwrap();
        let config = || Arc::clone(&tls.lock().config);
        let first = config();
        assert!(!tls.look().unwrap());
        std::fs::write(&key, "half a file").unwrap();
        assert!(matches!(tls.look(), Err(TlsError::NotPem { what: "a private key", .. })));
        assert!(!tls.look().unwrap(), "it is tried and told once");
        put(dir.path(), "second");
        std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls/first.key"), &key).unwrap();
        assert!(matches!(tls.look(), Err(TlsError::Refused { .. })), "the key is of another certificate");
        assert!(Arc::ptr_eq(&first, &config()));
        put(dir.path(), "second");
        assert!(tls.look().unwrap());
        assert!(!Arc::ptr_eq(&first, &config()));
        std::fs::remove_file(&key).unwrap();
        assert!(matches!(tls.look(), Err(TlsError::Unreadable { .. })));
    }
}
