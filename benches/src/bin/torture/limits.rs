//! What an attack may cost, by name, in `benches/torture.limits`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

use crate::Result;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/torture.limits");
/// Of what was measured when the file was written: other seeds, compilers and C libraries.
const MARGIN: f64 = 1.5;
/// Bytes on top of that, for what holds next to nothing.
const LITTLE: u64 = 4096;

const HEAD: &str = "\
# What each attack of `--bin torture` may make its victim hold, in bytes, and what it may cost, in
# instructions for each byte that is said, both ends included; `-` where too little is said to tell, which is
# counted together as `the-rest`. Half as much again as was measured when this was written, and 4 KiB.
# Write it anew when something costs more for a reason that is wanted, and say which:
# cargo run --release --manifest-path benches/Cargo.toml --bin torture -- --only attacks --write-limits
";

/// What one may cost, or did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cost {
    pub(crate) peak: u64,
    pub(crate) instructions: Option<f64>,
}

impl Cost {
    /// What is beyond the limit, in words. Without valgrind nothing is counted, and nothing beyond.
    pub(crate) fn beyond(self, limit: Option<Self>, has_valgrind: bool) -> Option<String> {
        let Some(limit) = limit else {
            return Some("it has no limit: see benches/torture.limits".to_owned());
        };
        if self.peak > limit.peak {
            return Some(format!("{} bytes, of {} that it may hold", self.peak, limit.peak));
        }
        match (self.instructions, limit.instructions) {
            (Some(_), None) => Some("it has no limit of instructions".to_owned()),
            (None, Some(_)) if has_valgrind => {
                Some("it says too little to be counted alone, and has a limit".to_owned())
            }
            (Some(count), Some(most)) if count > most => {
                Some(format!("{count:.0} instructions a byte, of {most:.0} that it may cost"))
            }
            _ => None,
        }
    }
}

pub(crate) fn read() -> Result<BTreeMap<String, Cost>> {
    let text = fs::read_to_string(FILE).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [name, "=", peak, instructions] = words[..] else {
                return Err(format!("no limit: {line}").into());
            };
            let instructions = Some(instructions).filter(|word| *word != "-");
            let instructions = instructions.map(str::parse).transpose()?;
            Ok((name.to_owned(), Cost { peak: peak.parse()?, instructions }))
        })
        .collect()
}

pub(crate) fn write<'a>(costs: impl Iterator<Item = (&'a str, Cost)>) -> Result<()> {
    let mut text = HEAD.to_owned();
    for (name, Cost { peak, instructions }) in costs {
        let peak = (peak as f64 * MARGIN) as u64 + LITTLE;
        let instructions =
            instructions.map_or("-".to_owned(), |count| format!("{:.0}", count * MARGIN));
        writeln!(text, "{name} = {peak} {instructions}")?;
    }
    fs::write(FILE, text)?;
    println!("written: {FILE}");
    Ok(())
}
