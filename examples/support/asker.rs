//! Questions to whoever sits at the terminal.

use std::io::{BufRead, BufReader, Stdin};

use smol::Unblock;
use smol::lock::Mutex;

use super::bars::Bars;

/// Asks on the terminal, one question at a time.
pub(crate) struct Asker(Mutex<Option<Unblock<Stdin>>>);

impl Asker {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Some(Unblock::new(std::io::stdin()))))
    }

    /// Whether the answer begins with `y`. At the end of input it is no.
    pub(crate) async fn ask(&self, bars: &Bars, question: &str) -> bool {
        let mut input = self.0.lock().await;
        bars.tell(format_args!("{question}: y or n?"));
        let Some(stdin) = &mut *input else { return false };
        let read = |stdin: &mut Stdin| {
            let mut line = String::new();
            let read = BufReader::with_capacity(1, stdin).read_line(&mut line);
            read.map(|_| line)
        };
        match stdin.with_mut(read).await {
            Ok(line) if !line.is_empty() => line.trim_start().starts_with(['y', 'Y']),
            _ => {
                *input = None;
                false
            }
        }
    }
}
