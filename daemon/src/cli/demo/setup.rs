//! The demo's directory: its YAML, its plugin, its secret. What a person changed there is left as it is.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use hydrant_config::{Config, Environment};

use crate::exit::{Exit, Failure};

const PLUGIN: &[u8] = include_bytes!("../../../../examples/plugins/access_log.wasm");
const YAML: &str = include_str!("hydrant.yaml");

pub(crate) fn yaml_path(dir: &Path) -> PathBuf {
    dir.join("hydrant.yaml")
}

/// Writes what is missing and loads the configuration.
pub(crate) fn prepare(dir: &Path) -> Result<Config, Failure> {
    std::fs::create_dir_all(dir)
        .map_err(|error| Failure::new(Exit::Runtime, format!("cannot make `{}`: {error}", dir.display())))?;
    write_new(&dir.join("access_log.wasm"), PLUGIN)?;
    write_new(&dir.join("secret"), secret()?.as_bytes())?;
    let yaml = yaml_path(dir);
    write_new(&yaml, YAML.as_bytes())?;
    let loaded = hydrant_config::load(&yaml, &Environment::process());
    loaded.map(|loaded| loaded.config).map_err(|problems| Failure::new(Exit::Config, problems))
}

/// A new one for every demo directory: nobody gets a well-known key.
fn secret() -> Result<String, Failure> {
    let mut bytes = [0; 20];
    getrandom::fill(&mut bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(hex::encode(bytes))
}

fn write_new(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = match file {
        Ok(mut file) => file.write_all(content),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    };
    written.map_err(|error| {
        Failure::new(Exit::Runtime, format!("cannot write `{}`: {error}", path.display()))
            .hint("choose another directory: `hydrant demo --dir D`")
    })
}
