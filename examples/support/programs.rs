//! What the programs share: how they end, how they show progress, what they let on a terminal.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use duologue::legacy::Progress;
use duologue::net::Target;
use futures::SinkExt;
use futures::channel::mpsc;
use futures::future::{Either, select};
use indicatif::{ProgressBar, ProgressStyle};

pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// A call that the program does not understand; it ends with exit code 2.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl From<lexopt::Error> for Usage {
    fn from(error: lexopt::Error) -> Self {
        Self(error.to_string())
    }
}

/// Who calls whom.
pub(crate) enum Mode {
    Listen(Target),
    /// With the target as it was given.
    Connect(Target, String),
}

/// 32 random bytes: the seed of a stream.
pub(crate) fn random() -> Result<[u8; 32], Failure> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    Ok(seed)
}

/// The lines of standard input but for empty ones, read on a thread of its own, as that can only
/// block. A line is read when the one before was taken.
pub(crate) fn input_lines() -> mpsc::Receiver<String> {
    let (mut sender, receiver) = mpsc::channel(0);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().split(b'\n') {
            let Ok(line) = line else { return };
            let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line));
            if !line.is_empty() && smol::block_on(sender.send(line.into_owned())).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Prints a line on standard output, at once.
///
/// # Errors
///
/// When nobody reads it any more: without its output a program that scripts drive is of no use.
pub(crate) fn say(line: impl AsRef<[u8]>) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    let written = output.write_all(&[line.as_ref(), b"\n"].concat()).and_then(|()| output.flush());
    written.map_err(|error| OutputClosed(error).into())
}

/// Prints a line on standard error, if anybody reads it.
pub(crate) fn tell(line: impl fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Nobody reads standard output any more.
#[derive(Debug)]
pub(crate) struct OutputClosed(std::io::Error);

impl fmt::Display for OutputClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "standard output is closed: {}", self.0)
    }
}

impl Error for OutputClosed {}

/// A path as its bytes, so that scripts can use it; control characters are escaped.
pub(crate) fn path_line(before: &str, path: &Path, after: impl fmt::Display) -> Vec<u8> {
    let mut line = before.as_bytes().to_vec();
    for byte in path.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_control() {
            line.extend(byte.escape_ascii());
        } else {
            line.push(*byte);
        }
    }
    line.extend(after.to_string().into_bytes());
    line
}

/// Runs a program: exit code 0, or one clear line and 1, or how to call it and 2. Without options it was
/// asked for its usage.
pub(crate) fn start<O, F>(
    options: Result<Option<O>, Usage>,
    usage: &str,
    run: impl FnOnce(O) -> F,
) -> ExitCode
where
    F: Future<Output = Result<(), Failure>>,
{
    match options {
        Ok(None) => {
            if say(usage).is_ok() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Ok(Some(options)) => match smol::block_on(run(options)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tell(printable(&error.to_string()));
                ExitCode::FAILURE
            }
        },
        Err(Usage(error)) => {
            let calls = usage.split("\n\n").next().unwrap_or_default();
            tell(format_args!("{}\n{calls}\n--help says more.", printable(&error)));
            ExitCode::from(2)
        }
    }
}

/// Text from a peer on one line of a terminal: what could move the cursor, colour the text or turn
/// its direction is escaped.
pub(crate) fn printable(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        let turns = matches!(character,
            '\u{061C}' | '\u{200B}' | '\u{FEFF}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
        if character.is_control() || turns {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

/// Runs `transfer` beside a bar on standard error, if that is a terminal.
pub(crate) async fn with_bar<F: Future>(progress: Progress, transfer: F) -> F::Output {
    if !std::io::stderr().is_terminal() {
        return transfer.await;
    }
    let bar = ProgressBar::no_length().with_style(
        ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
            .expect("a valid template"),
    );
    let refresh = async {
        loop {
            if let Some(size) = progress.size() {
                bar.set_length(size);
            }
            bar.set_position(progress.moved());
            smol::Timer::after(Duration::from_millis(100)).await;
        }
    };
    let outcome = match select(Box::pin(transfer), Box::pin(refresh)).await {
        Either::Left((outcome, _)) => outcome,
        Either::Right((never, _)) => never,
    };
    bar.finish_and_clear();
    outcome
}
