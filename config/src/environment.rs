//! The process environment as configuration sees it, so that tests need none. Only [`Environment::interpolate`]
//! puts a variable into a text.

use std::collections::BTreeMap;
use std::env::VarError;
use std::fmt;

/// Where `${NAME}`, `env:NAME`, `$STATE_DIRECTORY` and `$CREDENTIALS_DIRECTORY` are looked up.
#[derive(Clone)]
pub struct Environment(Option<BTreeMap<String, String>>);

impl Environment {
    /// The variables of this process.
    #[must_use]
    pub fn process() -> Environment {
        Environment(None)
    }

    /// Exactly these variables.
    #[must_use]
    pub fn of<const N: usize>(variables: [(&str, &str); N]) -> Environment {
        Environment(Some(variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
    }

    pub(crate) fn get(&self, name: &str) -> Result<String, VarError> {
        match &self.0 {
            None => std::env::var(name),
            Some(variables) => variables.get(name).cloned().ok_or(VarError::NotPresent),
        }
    }

    /// Puts the values of `${NAME}` into a text; `$${` is a literal `${`. What a variable holds is never looked at again,
    /// so it can bring neither YAML nor another variable. The error is a message and a hint.
    pub(crate) fn interpolate(&self, text: &str) -> Result<String, (String, String)> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            if rest[..start].ends_with('$') {
                out.push_str(&rest[..start - 1]);
                out.push_str("${");
                rest = &rest[start + 2..];
                continue;
            }
            out.push_str(&rest[..start]);
            let after = &rest[start + 2..];
            let name =
                after.find('}').map(|end| &after[..end]).filter(|name| is_variable_name(name)).ok_or_else(|| {
                    let message = "`${` must begin `${NAME}`, where NAME is letters, digits and `_`".to_owned();
                    (message, "for the text `${` itself write `$${`".to_owned())
                })?;
            out.push_str(&self.get(name).map_err(|error| unset(name, &error))?);
            rest = &after[name.len() + 1..];
        }
        out.push_str(rest);
        Ok(out)
    }
}

/// Message and hint for a variable that cannot be read.
pub(crate) fn unset(name: &str, error: &VarError) -> (String, String) {
    match error {
        VarError::NotPresent => (
            format!("the environment variable `{name}` is not set"),
            format!("set it for the daemon, for example `Environment={name}=…` in its systemd unit"),
        ),
        VarError::NotUnicode(_) => {
            (format!("the environment variable `{name}` is not valid UTF-8"), "set it to plain text".to_owned())
        }
    }
}

/// Names only: the values may be secrets.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("Environment(process)"),
            Some(variables) => f.debug_tuple("Environment").field(&variables.keys()).finish(),
        }
    }
}

fn is_variable_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_put_in_once() {
        let env = Environment::of([("HOST", "h1"), ("SLY", "${HOST}"), ("EMPTY", "")]);
        assert_eq!(env.interpolate("no variable").unwrap(), "no variable");
        assert_eq!(env.interpolate("http://${HOST}:9000/${HOST}").unwrap(), "http://h1:9000/h1");
        assert_eq!(env.interpolate("${SLY}").unwrap(), "${HOST}");
        assert_eq!(env.interpolate("a${EMPTY}b").unwrap(), "ab");
        assert_eq!(env.interpolate("$${HOST} $5 !{timestamp:yyyy}").unwrap(), "${HOST} $5 !{timestamp:yyyy}");
    }

    #[test]
    fn what_cannot_be_put_in_is_told() {
        let env = Environment::of([]);
        assert_eq!(env.interpolate("${NOPE}").unwrap_err().0, "the environment variable `NOPE` is not set");
        for wrong in ["${", "${}", "${A", "${A-B}", "${1A}", "${A:-b}"] {
            assert!(env.interpolate(wrong).unwrap_err().0.starts_with("`${` must begin"), "{wrong}");
        }
    }

    #[test]
    fn debug_shows_no_value() {
        assert_eq!(format!("{:?}", Environment::of([("SECRET", "hunter2")])), r#"Environment(["SECRET"])"#);
    }
}
