//! YAML to values that cannot be wrong. A [`Config`] that exists is valid; all problems of a file are reported at once.
//!
//! `raw` knows YAML, `keys` knows every key, `load` makes a [`Config`] of both. [`DeliveryStream::new`], [`Naming::new`]
//! and [`Schema::new`] hold the rules that the AWS API shares with YAML.

mod destination;
mod environment;
mod fit;
mod jq;
mod keys;
mod load;
mod model;
mod naming;
mod policy;
mod prefix;
mod problem;
mod quantity;
mod raw;
mod reference;
mod schema;
mod secret;
mod stream;
mod time_pattern;

pub use destination::*;
pub use environment::Environment;
pub use jq::{JqError, JqKeys};
pub use load::{Loaded, load, load_text};
pub use model::*;
pub use naming::{NamingMember, NamingProblem};
pub use policy::{ACTIONS, Pattern, Policy, Statement, Verdict};
pub use prefix::{KeySource, Partition, Prefix, PrefixError, PrefixKind, PrefixValues};
pub use problem::{At, Problem, Problems, Warning};
pub use reference::{reference, template};
pub use secret::Secret;
pub use stream::{DataStream, DataStreamName, KinesisLimits};
