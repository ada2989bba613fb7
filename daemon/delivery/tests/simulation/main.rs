//! A delivery stream from its log to its destination, under everything that can befall it, repeated by a number.
//!
//! `world` lets random things happen to one delivery stream: the real log, planner, journal, staging and sending, on a disk
//! simulated by the sector, under a clock that jumps. `outside` is what the process talks to: stores and endpoints that lose
//! answers, hang, refuse and are down. `truth` knows every record and judges every attempt and every count. `settings` is the
//! configuration, another one after a restart. `scenarios` runs many worlds, each from its seed.
//!
//! There is one thread: the log's committers and the pool of delivery work inline, timers fire in order, and all dice are the
//! world's. So a seed gives the same run, byte for byte, on every machine; `scenarios` tests that.

#![cfg(test)]

mod clock;
mod outside;
mod parse;
mod record;
mod scenarios;
mod settings;
mod sinks;
mod truth;
mod world;
