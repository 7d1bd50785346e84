//! Instructions, which repeat where times do not.

use std::io::{Error, ErrorKind, Result};
use std::process::Command;

/// Instructions of this program itself when it is run with these words; `None` without valgrind.
pub(crate) fn instructions(words: &[&str]) -> Result<Option<u64>> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    let output = match command.arg(std::env::current_exe()?).args(words).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        output => output?,
    };
    let report = String::from_utf8_lossy(&output.stderr);
    let count =
        report.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    match count.filter(|_| output.status.success()) {
        Some(count) => Ok(Some(count)),
        None => Err(Error::other(report.into_owned())),
    }
}
