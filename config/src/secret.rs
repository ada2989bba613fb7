//! A secret that cannot be printed by accident.

/// Resolved from `env:`, `file:`, `credential:` or `plain:` at load. No `Debug`, no `Display`, no `Serialize`.
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
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}
