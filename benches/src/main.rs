//! `cargo run --release --manifest-path benches/Cargo.toml -- all`, or the names of rows.
//!
//! On a machine that others use, go by ratios, and by CPU time where one thread does it all. On Linux
//! `nice` does nothing against what runs in another session; `echo -15 > /proc/self/autogroup` does,
//! as root, in the shell that runs this.

use duologue_benches::Result;
use duologue_benches::arguments::{Arguments, HELP};
use duologue_benches::report::Report;
use duologue_benches::rows;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.is_empty() || words.iter().any(|word| word == "--help") {
        println!("{HELP}");
        return Ok(());
    }
    let arguments = Arguments::parse(words)?;
    let mut report = Report::new(&arguments);
    let outcome = rows::run(&arguments, &mut report);
    report.finish()?;
    outcome
}
