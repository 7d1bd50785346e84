//! What is measured in a process of its own, with an allocator that counts.
//!
//! Counting costs time in each allocation, so the rows that are about speed do without.

mod growth;
mod idle;

use std::env;
use std::process::Command;

use cap::Cap;

use crate::Result;

/// The allocator of the other program.
pub type Heap = Cap<std::alloc::System>;

const PROGRAM: &str = "duologue-benches-memory";

/// Builds the other program, beside this one.
///
/// # Errors
///
/// When it cannot be built.
pub fn build() -> Result<()> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--quiet", "--locked", "--bin", PROGRAM]);
    let status = command.args(["--manifest-path", manifest]).status()?;
    if status.success() { Ok(()) } else { Err(format!("{PROGRAM} was not built").into()) }
}

/// Runs the other program, which prints figures.
///
/// # Errors
///
/// When it fails.
pub fn run(words: &[&str]) -> Result<Vec<f64>> {
    let program = env::current_exe()?.with_file_name(PROGRAM);
    let output = Command::new(program).args(words).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let text = String::from_utf8(output.stdout)?;
    Ok(text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
}

/// The other program: does what it is told to, and prints figures.
///
/// # Errors
///
/// Whatever goes wrong.
pub fn main(heap: &'static Heap) -> Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let figures = match words[..] {
        ["idle", peer, count] => idle::run(heap, peer, count.parse()?)?,
        ["growth", what, count, folder] => growth::run(heap, what, count.parse()?, folder)?,
        _ => return Err("idle PEER COUNT, or growth WHAT COUNT FOLDER".into()),
    };
    let figures: Vec<String> = figures.iter().map(f64::to_string).collect();
    println!("{}", figures.join(" "));
    Ok(())
}
