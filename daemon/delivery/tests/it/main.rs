//! A delivery stream as a whole, on real files.

#![cfg(test)]

mod crash;
mod flow;
mod loss;
mod retention;
mod support;
