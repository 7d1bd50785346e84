//! `cargo run --release --manifest-path benches/Cargo.toml -- all`, or the names of rows.

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
