//! Each model is run once for every order in which its threads can meet at a lock, interrupted at most
//! [`INTERRUPTIONS`] times. One that waits for a
//! wake-up which never comes is a deadlock, and fails.

mod pipes;
mod sessions;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use loom::thread::{self, JoinHandle};

/// In words: a megabyte.
const STACK_WORDS: usize = 128 << 10;
/// A thread is interrupted so often at most where it need not be.
const INTERRUPTIONS: usize = 4;

/// Runs `model` in all orders, of which there have to be some.
fn check(model: impl Fn() + Send + Sync + 'static) {
    let orders = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&orders);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(INTERRUPTIONS);
    builder.max_branches = 100_000;
    let model = Arc::new(model);
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        let model = Arc::clone(&model);
        spawn(move || model()).join().unwrap();
    });
    let orders = orders.load(Ordering::Relaxed);
    println!("{orders} orders");
    assert!(orders >= 10, "{orders}");
}

/// A thread with a stack of the usual size: the checker's own are too small for a driver.
fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    thread::Builder::new().stack_size(STACK_WORDS).spawn(work).unwrap()
}
