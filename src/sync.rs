//! The lock of what two tasks share. A checker of all orders in which threads can meet takes its place in
//! `tests/loom`.

#[cfg(loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard};
#[cfg(not(loom))]
pub(crate) use std::sync::{Mutex, MutexGuard};
