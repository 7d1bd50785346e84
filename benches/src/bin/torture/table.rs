use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is printed, and what did not hold.
#[derive(Default)]
pub(crate) struct Table {
    failures: Vec<Failure>,
    is_strict: bool,
}

struct Failure {
    what: String,
    again: String,
}

/// Failures that are printed.
const PRINTED: usize = 20;

impl Table {
    pub(crate) fn new(is_strict: bool) -> Self {
        Self { is_strict, ..Self::default() }
    }

    pub(crate) fn begin(&mut self, section: &str) {
        println!("\n{section}");
    }

    pub(crate) fn row(&mut self, name: &str, value: impl Display) {
        println!("  {name:<44}{value:>20}");
    }

    /// Something did not hold; how to run it alone.
    pub(crate) fn fail(&mut self, what: impl Into<String>, again: impl Into<String>) {
        self.failures.push(Failure { what: what.into(), again: again.into() });
    }

    /// Something was not tried here, or less of it: a failure only for who wants all of it.
    pub(crate) fn skip(&mut self, what: impl Into<String>, again: impl Into<String>) {
        if self.is_strict {
            self.fail(what, format!("{} --strict", again.into()));
        }
    }

    pub(crate) fn end(self) -> ExitCode {
        println!("\n{:<46}{:>20}", "failures", self.failures.len());
        for Failure { what, again } in self.failures.iter().take(PRINTED) {
            println!("\n{what}\n  again, alone: --bin torture -- {again}");
        }
        if self.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// What it says, or that it panicked.
pub(crate) fn caught<R>(call: impl FnOnce() -> Result<R, String>) -> Result<R, String> {
    // Nothing that it may have left half done is looked at again.
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("a panic: {}", text.unwrap_or_default()))
    })
}

/// Does each on all cores, in any order; one that panics has failed, and the others go on.
pub(crate) fn on_all_cores<T: Sync, R: Send>(
    work: &[T],
    each: impl Fn(&T) -> Result<R, String> + Sync,
) -> Vec<Result<R, String>> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = work.get(index) else { return };
                    let result = caught(|| each(item));
                    done.lock().expect("no thread panics with it").push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no thread panics with it");
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}
