//! A delivery stream as a whole, on real files.

#![cfg(test)]

mod aggregated;
mod chunks;
mod crash;
mod explain;
mod flow;
mod loss;
mod object_size;
mod requests;
mod resend;
mod retention;
mod server;
mod support;
