//! The real server over loopback, spoken to byte by byte, with the real log in a temporary directory below it.

mod client;
mod house;
mod operations;
mod refusals;
