//! Each model is run once for every order in which its threads can meet at a lock. One that waits for a
//! wake-up which never comes is a deadlock, and fails.

mod pipes;
mod sessions;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A thread is interrupted so often at most where it need not be.
const INTERRUPTIONS: usize = 4;

/// Runs `model` in all orders, of which there have to be some.
fn check(model: impl Fn() + Send + Sync + 'static) {
    let orders = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&orders);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(INTERRUPTIONS);
    builder.max_branches = 100_000;
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        model();
    });
    let orders = orders.load(Ordering::Relaxed);
    println!("{orders} orders");
    assert!(orders >= 10, "{orders}");
}
