//! Who signs: the keys of the configuration, a profile, or the ordinary chain of a machine in AWS.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hydrant_config::{Profile, S3Connection, S3Keys};
use hydrant_disk::{Disk as _, RealDisk, read_exact_at};
use object_store::aws::{AmazonS3Builder, AwsCredential, AwsCredentialProvider};
use object_store::{Certificate, ClientOptions, RetryConfig, StaticCredentialProvider};

use crate::SinkError;

/// More is no file of profiles.
const FILE_BYTES_MAX: u64 = 1 << 20;
const TOKEN_FILE: &str = "AWS_WEB_IDENTITY_TOKEN_FILE";
const NEXT_WITH_TOKEN: &str = "the file that AWS_WEB_IDENTITY_TOKEN_FILE names must be readable and hold a token that the service at AWS_ENDPOINT_URL_STS (https, or AWS's own) takes for AWS_ROLE_ARN";
const NEXT: &str = "set `access_key_id` and `secret_access_key`, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a role";

/// Gives the credentials of the moment.
pub(super) enum Signer {
    Provider {
        provider: AwsCredentialProvider,
        /// What to do when there are none.
        next: &'static str,
    },
    /// Its file is read for every request, for whoever writes it renews what is in it.
    Profile(Profile),
}

impl Signer {
    /// The keys or the profile as configured; without any: `AWS_ACCESS_KEY_ID` and its like, a web identity token, a
    /// container's credentials, the instance's role, in this order.
    pub(super) fn new(connection: &S3Connection) -> Result<Signer, SinkError> {
        if let Some(profile) = &connection.profile {
            return Ok(Signer::Profile(profile.clone()));
        }
        let provider: AwsCredentialProvider = match &connection.keys {
            Some(keys) => Arc::new(StaticCredentialProvider::new(credential(keys))),
            None => return Signer::chain(connection, std::env::vars().collect()),
        };
        Ok(Signer::Provider { provider, next: "" })
    }

    fn chain(connection: &S3Connection, variables: HashMap<String, String>) -> Result<Signer, SinkError> {
        let next = if variables.contains_key(TOKEN_FILE) { NEXT_WITH_TOKEN } else { NEXT };
        Ok(Signer::Provider { provider: chain(connection, variables)?, next })
    }

    pub(super) async fn credential(&self) -> Result<Arc<AwsCredential>, SinkError> {
        match self {
            Signer::Provider { provider, next } => {
                provider.get_credential().await.map_err(|error| missing(error, next))
            }
            Signer::Profile(profile) => {
                let path = profile.file.clone();
                let read = tokio::task::spawn_blocking(move || whole(&path)).await;
                let file = read.unwrap_or_else(|stopped| Err(io::Error::other(stopped))).map_err(|error| {
                    let path = profile.file.display();
                    no_credentials(&format!("cannot read `{path}`: {error}; it must hold the profile"))
                        .with_source(error)
                })?;
                section(&file, &profile.name).map(Arc::new).ok_or_else(|| {
                    let (path, name) = (profile.file.display(), &profile.name);
                    no_credentials(&format!(
                        "`{path}` has no section `[{name}]` with `aws_access_key_id` and `aws_secret_access_key`; add it"
                    ))
                })
            }
        }
    }
}

fn credential(keys: &S3Keys) -> AwsCredential {
    AwsCredential {
        key_id: keys.access_key_id.reveal().to_owned(),
        secret_key: keys.secret_access_key.reveal().to_owned(),
        token: keys.session_token.as_ref().map(|token| token.reveal().to_owned()),
    }
}

fn whole(path: &Path) -> io::Result<String> {
    let file = RealDisk::new().open(path)?;
    let mut bytes = vec![0; usize::try_from(file.len()?.min(FILE_BYTES_MAX)).unwrap_or(0)];
    read_exact_at(&*file, &mut bytes, 0)?;
    String::from_utf8(bytes).map_err(io::Error::other)
}

/// One profile of a shared credentials file.
fn section(file: &str, profile: &str) -> Option<AwsCredential> {
    let mut inside = false;
    let (mut key_id, mut secret_key, mut token) = (None, None, None);
    for line in file.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            inside = name.trim() == profile;
        } else if inside && let Some((name, text)) = line.split_once('=') {
            let text = Some(text.trim().to_owned());
            match name.trim() {
                "aws_access_key_id" => key_id = text,
                "aws_secret_access_key" => secret_key = text,
                "aws_session_token" => token = text,
                _ => {}
            }
        }
    }
    Some(AwsCredential { key_id: key_id?, secret_key: secret_key?, token })
}

fn chain(connection: &S3Connection, variables: HashMap<String, String>) -> Result<AwsCredentialProvider, SinkError> {
    if variables.contains_key(TOKEN_FILE) && !variables.contains_key("AWS_ROLE_ARN") {
        return Err(no_credentials(
            "AWS_WEB_IDENTITY_TOKEN_FILE is set, but AWS_ROLE_ARN is not; set it to the role to assume",
        ));
    }
    let retry = RetryConfig { max_retries: 2, retry_timeout: Duration::from_secs(15), ..RetryConfig::default() };
    let known = variables
        .into_iter()
        .filter(|(name, _)| name.starts_with("AWS_"))
        .filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse().ok()?, value)));
    let store = known
        .fold(AmazonS3Builder::new(), |builder, (key, value)| builder.with_config(key, value))
        .with_region(&connection.region)
        .with_bucket_name("credentials-only")
        .with_retry(retry)
        .with_client_options(trusting(connection)?)
        .build()
        .map_err(|error| missing(error, NEXT))?;
    Ok(store.credentials().clone())
}

/// A store with a certificate of its own gives credentials by the same.
fn trusting(connection: &S3Connection) -> Result<ClientOptions, SinkError> {
    let Some(ca) = &connection.ca else { return Ok(ClientOptions::new()) };
    let certificates = Certificate::from_pem_bundle(&ca.pem).map_err(|error| missing(error, "correct `ca`"))?;
    Ok(certificates.into_iter().fold(ClientOptions::new(), ClientOptions::with_root_certificate))
}

/// There are no credentials now. On a machine whose role service is away for a moment a slow repeat finds them again.
fn missing(error: object_store::Error, next: &str) -> SinkError {
    no_credentials(&format!("{error}; {next}")).with_source(error)
}

fn no_credentials(why: &str) -> SinkError {
    SinkError::misconfigured("S3.NoCredentials", format!("no credentials for S3: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SinkErrorKind;
    use crate::loopback::{Loopback, Reply};

    #[test]
    fn a_profile_is_read_by_its_name() {
        let file = "# comment\n[default]\naws_access_key_id = A\naws_secret_access_key=B\n\n[ other ]\n\
                    aws_access_key_id=C\naws_secret_access_key = d=e\naws_session_token = F\nregion = x\n[half]\naws_access_key_id=G\n";
        let credential = section(file, "other").unwrap();
        assert_eq!(
            (&*credential.key_id, &*credential.secret_key, credential.token.as_deref()),
            ("C", "d=e", Some("F"))
        );
        let credential = section(file, "default").unwrap();
        assert_eq!((&*credential.key_id, &*credential.secret_key, credential.token), ("A", "B", None));
        assert!(section(file, "half").is_none() && section(file, "none").is_none());
    }

    #[tokio::test]
    async fn a_profile_that_is_renewed_is_used_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("credentials");
        let signer = Signer::Profile(Profile { name: "p".to_owned(), file: file.clone() });
        let error = signer.credential().await.unwrap_err();
        assert!(error.kind == SinkErrorKind::Misconfigured && error.message.contains("cannot read"), "{error}");
        for key in ["one", "two"] {
            std::fs::write(&file, format!("[p]\naws_access_key_id={key}\naws_secret_access_key=s3cret\n")).unwrap();
            assert_eq!(signer.credential().await.unwrap().key_id, key);
        }
        std::fs::write(&file, "[q]\n").unwrap();
        let error = signer.credential().await.unwrap_err();
        assert!(error.message.contains("no section `[p]`"), "{error}");
    }

    fn signer(variables: &[(&str, &str)]) -> Result<Signer, SinkError> {
        let (region, path_style) = ("eu-west-1".to_owned(), true);
        let connection = S3Connection { endpoint: None, region, keys: None, profile: None, ca: None, path_style };
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Signer::chain(&connection, variables.collect())
    }

    #[tokio::test]
    async fn a_token_that_is_not_there_says_what_to_set() {
        let of = |role| [("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere/token"), (role, "arn:aws:iam::1:role/r")];
        let error = signer(&of("AWS_ROLE_ARN")).unwrap().credential().await.unwrap_err();
        assert_eq!((error.kind, &*error.code), (SinkErrorKind::Misconfigured, "S3.NoCredentials"));
        assert!(error.message.contains("/nowhere/token") && error.message.contains("must be readable"), "{error}");
        let Err(error) = signer(&of("AWS_ROLE")) else { panic!("there is no role") };
        assert!(error.message.contains("AWS_ROLE_ARN is not"), "{error}");
    }

    #[tokio::test]
    async fn the_environment_comes_before_the_instance() {
        let variables =
            [("AWS_ACCESS_KEY_ID", "A"), ("AWS_SECRET_ACCESS_KEY", "B"), ("AWS_SESSION_TOKEN", "C"), ("PATH", "x")];
        let signer = signer(&variables).unwrap();
        let credential = signer.credential().await.unwrap();
        assert_eq!((&*credential.key_id, &*credential.secret_key, credential.token.as_deref()), ("A", "B", Some("C")));
    }

    /// An instance's metadata service, version 2.
    #[tokio::test]
    async fn an_instance_signs_by_its_role() {
        let service = Loopback::start(|_, request| match (&*request.method, &*request.path) {
            ("PUT", "/latest/api/token") => Reply::of(200, "", "the-token"),
            (_, _) if request.header("x-aws-ec2-metadata-token") != Some("the-token") => Reply::of(401, "", ""),
            ("GET", "/latest/meta-data/iam/security-credentials/") => Reply::of(200, "", "role"),
            ("GET", "/latest/meta-data/iam/security-credentials/role") => Reply::json(
                200,
                r#"{"AccessKeyId":"AKROLE","SecretAccessKey":"secret","Token":"session","Expiration":"2999-01-01T00:00:00Z"}"#,
            ),
            _ => Reply::of(404, "", ""),
        })
        .await;
        let signer = signer(&[("AWS_METADATA_ENDPOINT", &service.url(""))]).unwrap();
        let credential = signer.credential().await.unwrap();
        assert_eq!((&*credential.key_id, credential.token.as_deref()), ("AKROLE", Some("session")));
        signer.credential().await.unwrap();
        assert_eq!(service.requests().len(), 3, "what is valid is kept");
    }

    #[tokio::test]
    async fn a_machine_without_any_says_what_to_set() {
        let nobody = Loopback::start(|_, _| Reply::of(404, "", "")).await;
        let signer = signer(&[("AWS_METADATA_ENDPOINT", &nobody.url(""))]).unwrap();
        let error = signer.credential().await.unwrap_err();
        assert_eq!((error.kind, &*error.code), (SinkErrorKind::Misconfigured, "S3.NoCredentials"));
        assert!(error.message.contains("access_key_id"), "{error}");
    }
}
