//! Where failed records are read from: a directory, one file, or a prefix of a bucket.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use hydrant_config::{Config, DeliveryStream, ObjectStore as Store, Place, S3Connection};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::{ObjectStore, ObjectStoreExt};

use crate::exit::{Exit, Failure};

/// Firehose's objects have at most 128 MiB, Hydrant's at most 1 GiB, but few so large hold error records.
const OBJECT_BYTES_MAX: u64 = 1 << 30;

pub(super) enum Source {
    /// A directory and all below it, or one file.
    Local(PathBuf),
    S3 {
        bucket: String,
        prefix: String,
        store: Arc<AmazonS3>,
    },
}

/// An object that may hold error records.
#[derive(Debug)]
pub(super) struct Found {
    /// Key, or path.
    pub(super) name: String,
    pub(super) bytes: u64,
}

impl Source {
    /// What a person typed: `s3://BUCKET/PREFIX` or a path. Without it, the error output of the delivery stream.
    pub(super) fn new(
        typed: Option<&str>,
        (name, own): (&str, Option<&DeliveryStream>),
        config: &Config,
    ) -> Result<Source, Failure> {
        match typed.map(|typed| (typed, typed.strip_prefix("s3://"))) {
            Some((_, Some(address))) => {
                let (bucket, prefix) = address.split_once('/').unwrap_or((address, ""));
                let connection = own.and_then(|stream| connection_to(stream, bucket)).or(config.s3.as_ref());
                let connection = connection.ok_or_else(|| {
                    Failure::new(Exit::Usage, format!("nothing says how `s3://{bucket}` is reached"))
                        .hint("add the section `s3` to the configuration")
                })?;
                Source::s3(bucket, prefix, connection)
            }
            Some((path, None)) => Ok(Source::Local(PathBuf::from(path))),
            None => own.map_or_else(|| Err(unknown(name)), |stream| Source::error_output(stream.error_store())),
        }
    }

    fn error_output(store: &Store) -> Result<Source, Failure> {
        // Up to the first expression: what lies below, its lines will tell.
        let prefix = store.naming.error_output_prefix.text();
        let prefix = prefix.split_once("!{").map_or(prefix, |(before, _)| before);
        match &store.place {
            Place::File { directory } => {
                let below = prefix.rsplit_once('/').map_or("", |(directories, _)| directories);
                Ok(Source::Local(directory.join(below)))
            }
            Place::S3 { bucket, connection, .. } => Source::s3(bucket, prefix, connection),
        }
    }

    fn s3(bucket: &str, prefix: &str, connection: &S3Connection) -> Result<Source, Failure> {
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_region(&connection.region)
            .with_virtual_hosted_style_request(!connection.path_style);
        if let Some(endpoint) = &connection.endpoint {
            builder = builder
                .with_endpoint(endpoint.as_str().trim_end_matches('/'))
                .with_allow_http(endpoint.scheme() == "http");
        }
        if let Some(keys) = &connection.keys {
            builder = builder
                .with_access_key_id(keys.access_key_id.reveal())
                .with_secret_access_key(keys.secret_access_key.reveal());
            if let Some(token) = &keys.session_token {
                builder = builder.with_token(token.reveal());
            }
        }
        let store = Arc::new(builder.build()?);
        Ok(Source::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned(), store })
    }

    /// Everything that is there, by name.
    pub(super) async fn list(&self) -> Result<Vec<Found>, Failure> {
        let mut found = match self {
            Source::Local(path) => {
                let mut found = Vec::new();
                walk(path, &mut found).map_err(|error| {
                    Failure::new(Exit::Runtime, format!("cannot read `{}`: {error}", path.display()))
                })?;
                found
            }
            Source::S3 { prefix, store, .. } => {
                // The store's own prefixes end at a `/`; the rest is compared here.
                let directory = prefix.rsplit_once('/').map(|(directory, _)| object_store::path::Path::from(directory));
                let listed = store
                    .list(directory.as_ref())
                    .map_ok(|meta| Found { name: meta.location.to_string(), bytes: meta.size });
                let all: Vec<Found> = listed.try_collect().await?;
                all.into_iter().filter(|found| found.name.starts_with(prefix.as_str())).collect()
            }
        };
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    pub(super) async fn read(&self, found: &Found) -> Result<Bytes, Failure> {
        let name = &found.name;
        if found.bytes > OBJECT_BYTES_MAX {
            let text = format!("`{name}` has {} bytes, and at most {OBJECT_BYTES_MAX} are read at once", found.bytes);
            return Err(
                Failure::new(Exit::Runtime, text).hint("split it by lines, and name the directory of the parts")
            );
        }
        let cannot = |error: &dyn std::error::Error| {
            Failure::new(Exit::Runtime, format!("cannot read `{name}`: {}", crate::exit::chain(error)))
        };
        match self {
            Source::Local(_) => tokio::fs::read(name).await.map(Bytes::from).map_err(|error| cannot(&error)),
            Source::S3 { store, .. } => {
                let path = object_store::path::Path::parse(name).map_err(|error| cannot(&error))?;
                let got = store.get(&path).await.map_err(|error| cannot(&error))?;
                got.bytes().await.map_err(|error| cannot(&error))
            }
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Local(path) => path.display().fmt(f),
            Source::S3 { bucket, prefix, .. } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

pub(super) fn unknown(stream: &str) -> Failure {
    Failure::new(
        Exit::Usage,
        format!("the configuration has no delivery stream `{stream}`, so where its output is, is not known"),
    )
    .hint("name one that it has, or, to put records into it, the directory or `s3://BUCKET/PREFIX` behind its name")
}

/// How the delivery stream itself reaches this bucket.
fn connection_to<'a>(stream: &'a DeliveryStream, bucket: &str) -> Option<&'a S3Connection> {
    match &stream.error_store().place {
        Place::S3 { bucket: own, connection, .. } if own == bucket => Some(connection),
        _ => None,
    }
}

/// Names with a dot before them are not finished, or nobody's business.
fn walk(path: &Path, found: &mut Vec<Found>) -> std::io::Result<()> {
    let about = std::fs::metadata(path)?;
    if about.is_file() {
        found.push(Found { name: path.to_string_lossy().into_owned(), bytes: about.len() });
        return Ok(());
    }
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            walk(&entry.path(), found)?;
        }
    }
    Ok(())
}
