//! YAML to values that cannot be wrong. A [`Config`] that exists is valid; all problems of a file are reported at once.

mod jq;
mod model;
mod prefix;
mod secret;

pub use jq::{JqKeys, JqError};
pub use model::*;
pub use prefix::{Partition, Prefix, PrefixError, PrefixKind, PrefixValues, KeySource};
pub use secret::Secret;
