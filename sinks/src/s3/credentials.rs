//! Who signs: the keys of the configuration, or the ordinary chain of a machine in AWS.

use std::sync::Arc;
use std::time::Duration;

use hydrant_config::{S3Connection, S3Keys};
use object_store::aws::{AmazonS3Builder, AwsCredential, AwsCredentialProvider};
use object_store::{RetryConfig, StaticCredentialProvider};

use crate::SinkError;

/// The keys as configured; without any: `AWS_ACCESS_KEY_ID` and its like, a web identity token, a container's
/// credentials, the instance's role, in this order. Profiles in `~/.aws` are not read: a service has no home.
pub(super) fn provider(connection: &S3Connection) -> Result<AwsCredentialProvider, SinkError> {
    match &connection.keys {
        Some(keys) => Ok(Arc::new(StaticCredentialProvider::new(credential(keys)))),
        None => chain(&connection.region),
    }
}

fn credential(keys: &S3Keys) -> AwsCredential {
    AwsCredential {
        key_id: keys.access_key_id.reveal().to_owned(),
        secret_key: keys.secret_access_key.reveal().to_owned(),
        token: keys.session_token.as_ref().map(|token| token.reveal().to_owned()),
    }
}

fn chain(region: &str) -> Result<AwsCredentialProvider, SinkError> {
    let retry = RetryConfig { max_retries: 2, retry_timeout: Duration::from_secs(15), ..RetryConfig::default() };
    let store = AmazonS3Builder::from_env()
        .with_region(region)
        .with_bucket_name("credentials-only")
        .with_retry(retry)
        .build()
        .map_err(missing)?;
    Ok(store.credentials().clone())
}

/// There are no credentials now. On a machine whose role service is away for a moment a slow repeat finds them again.
pub(super) fn missing(error: object_store::Error) -> SinkError {
    let next = "set `access_key_id` and `secret_access_key`, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a role";
    SinkError::misconfigured("S3.NoCredentials", format!("no credentials for S3: {error}; {next}")).with_source(error)
}
