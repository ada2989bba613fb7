//! YAML as a tree whose every node knows its place, and a typed walk over it. Nothing outside this module and `load`
//! sees YAML. The tree gives scalars as they were written: `no`, `on` and `0777` become what the reader of the key
//! asks for, or a problem, and never something else silently.

mod read;
mod tree;

pub(crate) use read::{Fields, Reader, Value};
pub(crate) use tree::{Entry, Kind, Node, Scalar, parse};
