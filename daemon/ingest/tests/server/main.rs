//! The real server over loopback, spoken to byte by byte, with the real log in a temporary directory below it.

#![allow(clippy::unwrap_used, reason = "all of this is a test; clippy only knows functions that are marked so")]

mod cbor;
mod client;
mod hostile;
mod house;
mod http2;
mod kinesis;
mod operations;
mod policies;
mod rates;
mod refusals;
mod rest;
mod signatures;
mod tls;
mod unread;
