//! What the threads of the log share with each other, and how they wait.
//!
//! Invariant: the rest of the crate takes these from here and from nowhere else. So the feature `shuttle` can put the whole
//! log under a scheduler that decides who runs next: then only `tests::interleavings` can run. Builds without tests never change.

#[cfg(not(all(test, feature = "shuttle")))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, mpsc};
#[cfg(not(all(test, feature = "shuttle")))]
pub(crate) use std::thread;

#[cfg(all(test, feature = "shuttle"))]
pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard, mpsc};
#[cfg(all(test, feature = "shuttle"))]
pub(crate) use shuttle::thread;

// These make nobody wait: what they decide is decided beside one of the others.
pub(crate) use std::sync::{Arc, OnceLock, PoisonError, atomic};
