//! A secret that cannot be printed by accident: no message of this module holds the secret, or what may be one.

use std::path::PathBuf;

use crate::environment::{Environment, unset};

/// Resolved from `env:`, `file:`, `credential:` or `plain:` at load. No `Display`, no `Serialize`; `Debug` shows nothing.
#[derive(Clone)]
pub struct Secret(std::sync::Arc<str>);

impl Secret {
    #[must_use]
    pub fn new(text: &str) -> Secret {
        Secret(text.into())
    }

    /// The secret itself, for the signer that needs it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Follows a reference. The error is a message and a hint.
    pub(crate) fn resolve(
        reference: &str,
        path_of: &dyn Fn(&str) -> PathBuf,
        env: &Environment,
    ) -> Result<Secret, (String, String)> {
        let text = match reference.split_once(':') {
            Some(("env", name)) => env.get(name).map_err(|error| unset(name, &error))?,
            Some(("file", path)) => read(&path_of(path))?,
            Some(("credential", name)) => read(&credential_path(name, env)?)?,
            Some(("plain", text)) => text.to_owned(),
            _ => {
                let message = "must be `env:NAME`, `file:PATH`, `credential:NAME` or `plain:TEXT`, got a text without one of these";
                return Err((message.to_owned(), "put `plain:` before it to keep it in this file".to_owned()));
            }
        };
        if text.is_empty() {
            return Err(("the secret is empty".to_owned(), "check what the reference points to".to_owned()));
        }
        Ok(Secret::new(&text))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

fn credential_path(name: &str, env: &Environment) -> Result<PathBuf, (String, String)> {
    if name.is_empty() || name.contains('/') || name == ".." {
        return Err((
            format!("must be `credential:NAME` without a path, got `{name}`"),
            "for a path write `file:PATH`".to_owned(),
        ));
    }
    let directory = env.get("CREDENTIALS_DIRECTORY").map_err(|_| {
        let message = "systemd passed no credentials: `$CREDENTIALS_DIRECTORY` is not set".to_owned();
        (message, format!("add `LoadCredential={name}:PATH` to the unit, or use `file:PATH`"))
    })?;
    Ok(PathBuf::from(directory).join(name))
}

fn read(path: &std::path::Path) -> Result<String, (String, String)> {
    match std::fs::read_to_string(path) {
        // Editors and `echo` end a file with a newline that is no part of the secret.
        Ok(text) => Ok(text.trim_end_matches(['\n', '\r']).to_owned()),
        Err(error) => {
            let hint = "the daemon's user must be able to read it".to_owned();
            Err((format!("cannot read `{}`: {error}", path.display()), hint))
        }
    }
}
