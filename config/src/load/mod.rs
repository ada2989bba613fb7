//! From a YAML file to a [`Config`]. All problems are found in one reading; with any of them there is no `Config`.

mod access;
mod data_streams;
mod destination;
mod sections;
mod source;
mod stream;

use std::collections::BTreeSet;
use std::path::Path;

use crate::environment::Environment;
use crate::model::Config;
use crate::problem::{Findings, Problems, Warning};
use crate::raw::{self, Fields, Reader, Value};

/// A valid configuration and what its author should know.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    pub warnings: Vec<Warning>,
}

/// Reads a file. Relative paths in it begin at its directory.
pub fn load(path: &Path, env: &Environment) -> Result<Loaded, Problems> {
    match std::fs::read_to_string(path) {
        Ok(text) => load_text(&text, path, env),
        Err(error) => {
            let mut findings = Findings::new(path.display().to_string());
            let hint = match error.kind() {
                std::io::ErrorKind::NotFound => "`hydrant init` writes one to start from",
                std::io::ErrorKind::InvalidData => "save it as UTF-8",
                _ => "the daemon's user must be able to read it",
            };
            findings.problem(None, "", format!("cannot be read: {error}"), Some(hint.to_owned()));
            findings.conclude().map(|_| unreachable!("there is a problem"))
        }
    }
}

/// As [`load`], for a text that stands, or would stand, at `path`.
pub fn load_text(text: &str, path: &Path, env: &Environment) -> Result<Loaded, Problems> {
    load_and_trace(text, path, env).0
}

/// Also gives the paths of all keys that were asked for.
fn load_and_trace(text: &str, path: &Path, env: &Environment) -> (Result<Loaded, Problems>, BTreeSet<String>) {
    let findings = Findings::new(path.display().to_string());
    let base = path.parent().map(Path::to_path_buf).unwrap_or_default();
    let mut reader = Reader { env, base, findings, asked: BTreeSet::new() };
    let config = raw::parse(text, &mut reader.findings)
        .and_then(|root| Value::root(&root).fields(&mut reader).and_then(|fields| read_config(&fields, &mut reader)));
    let Reader { findings, asked, .. } = reader;
    let loaded = findings.conclude().map(|warnings| {
        let config = config.expect("whatever keeps a configuration from being made is reported as a problem");
        Loaded { config, warnings }
    });
    (loaded, asked)
}

fn read_config(root: &Fields<'_>, reader: &mut Reader<'_>) -> Option<Config> {
    let data_dir = sections::data_dir(root, reader);
    let data_dir_encrypted = root.boolean(reader, "data_dir_encrypted").unwrap_or(false);
    let memory = root.size(reader, "memory");
    let account = sections::account(root, reader);
    let (access::Api { listen: api, tls }, admin) = access::addresses(root, reader);
    let credentials = access::credentials(root, reader);
    access::check_access(root, reader, &api, credentials.as_deref());
    let s3 = sections::s3(root, reader);
    let lambda = sections::lambda(root, reader);
    let glue = sections::glue(root, reader);
    let opensearch = destination::domains(root, reader);
    let api_destinations_ca = sections::authorities(&root.section_or_empty(reader, "api_destinations"), reader, "ca");
    let limits = data_streams::limits(root, reader);
    let streams = data_streams::streams(root, reader);
    let delivery_streams = stream::delivery_streams(root, reader, (&account, s3.as_ref()))?;
    let (api, admin) = (api.address, admin.address);
    Some(Config {
        data_dir,
        data_dir_encrypted,
        memory,
        account,
        api,
        tls,
        admin,
        credentials,
        s3,
        lambda,
        glue,
        opensearch,
        api_destinations_ca,
        limits,
        streams,
        delivery_streams,
    })
}

#[cfg(test)]
mod tests;
