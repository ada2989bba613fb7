//! What the YAML's `config:` may say. A value that is not allowed fails the batch instead of meaning the default.

/// Paths that monitors and crawlers ask for on their own.
const HEALTH_PATHS: &str = "/health,/healthz,/ping,/robots.txt";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mask {
    /// The last octet of IPv4, the last 80 bits of IPv6; a host name becomes null.
    Ip,
    None,
}

#[derive(Debug)]
pub struct Settings {
    pub mask: Mask,
    health_paths: Vec<String>,
}

impl Settings {
    /// Asks `config` for each key. The error names the key and what is allowed.
    pub fn read(config: impl Fn(&str) -> Option<String>) -> Result<Settings, String> {
        let mask = match config("mask").as_deref() {
            None | Some("ip") => Mask::Ip,
            Some("none") => Mask::None,
            Some(other) => return Err(format!("config `mask` must be `ip` or `none`, got `{other}`")),
        };
        let paths = config("health_paths").unwrap_or_else(|| HEALTH_PATHS.to_owned());
        let health_paths: Vec<String> =
            paths.split(',').map(|path| path.trim().to_owned()).filter(|path| !path.is_empty()).collect();
        match health_paths.iter().find(|path| !path.starts_with('/')) {
            Some(path) => Err(format!("config `health_paths` must be paths that begin with `/`, got `{path}`")),
            None => Ok(Settings { mask, health_paths }),
        }
    }

    /// The query string does not count.
    #[must_use]
    pub fn is_probe(&self, path: &str) -> bool {
        let path = path.split('?').next().unwrap_or(path);
        self.health_paths.iter().any(|health| health == path)
    }
}
