//! Bars of several transfers at once, on standard error if that is a terminal.

use std::io::IsTerminal;

use duologue::session::Progress;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::programs::{Failure, printable, say, tell};

/// The bars of a program. Lines are printed between them.
#[derive(Clone)]
pub(crate) struct Bars(Option<MultiProgress>);

/// A bar, which goes when it is dropped.
pub(crate) struct Bar(Option<ProgressBar>);

impl Bars {
    pub(crate) fn new() -> Self {
        Self(std::io::stderr().is_terminal().then(MultiProgress::new))
    }

    /// Prints a line on standard output.
    pub(crate) fn say(&self, line: impl AsRef<[u8]>) -> Result<(), Failure> {
        match &self.0 {
            Some(bars) => bars.suspend(|| say(line)),
            None => say(line),
        }
    }

    /// Prints a line on standard error.
    pub(crate) fn tell(&self, line: impl std::fmt::Display) {
        match &self.0 {
            Some(bars) => bars.suspend(|| tell(line)),
            None => tell(line),
        }
    }

    /// A bar for a file.
    pub(crate) fn file(&self, name: &str) -> Bar {
        self.add(name, "{bar:30} {bytes:>11}/{total_bytes:<11} {bytes_per_sec:>12} {eta:>4} {msg}")
    }

    /// A count of the files of a folder.
    pub(crate) fn folder(&self, name: &str) -> Bar {
        self.add(name, "{spinner} {pos} files {msg}")
    }

    fn add(&self, name: &str, template: &str) -> Bar {
        Bar(self.0.as_ref().map(|bars| {
            let style = ProgressStyle::with_template(template).expect("a valid template");
            let bar = ProgressBar::no_length().with_style(style);
            bar.set_message(printable(name));
            bars.add(bar)
        }))
    }
}

impl Bar {
    pub(crate) fn show(&self, progress: Progress) {
        let Some(bar) = &self.0 else { return };
        if let Some(total) = progress.total {
            bar.set_length(total);
        }
        bar.set_position(progress.received);
    }

    /// One file more.
    pub(crate) fn count(&self) {
        if let Some(bar) = &self.0 {
            bar.inc(1);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
