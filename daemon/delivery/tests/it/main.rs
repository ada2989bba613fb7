//! A delivery stream as a whole, on real files.

mod crash;
mod flow;
mod support;
