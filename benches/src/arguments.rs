//! The command line.

use std::path::PathBuf;

use crate::Result;

/// What `--help` prints.
pub const HELP: &str = "\
Usage: duologue-benches [OPTIONS] all | ROW...

Rows: b1 b1d b2 b3 b4 b4r b5 b5s b6 b7 b7p growth pace

  --rounds N   interleaved rounds, 5 by default
  --quick      a quarter of the bytes and messages
  --only PART  only what has this in its name, to look at with a profiler
  --json FILE  JSON lines go there instead of after the tables
  --dir DIR    where b2 and growth keep their files, the folder for temporary files by default";

/// What was asked for.
#[derive(Debug, Clone)]
pub struct Arguments {
    /// Rows by their names, in the order given.
    pub rows: Vec<String>,
    /// Interleaved rounds.
    pub rounds: usize,
    /// Less work in each of them.
    pub quick: bool,
    /// A part of the names of what is run; all otherwise.
    pub only: Option<String>,
    /// Where JSON lines go; standard output otherwise.
    pub json: Option<PathBuf>,
    /// Where files go.
    pub dir: PathBuf,
}

impl Arguments {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// For an option that there is not, and a value that is missing or no number.
    pub fn parse(words: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut arguments = Self {
            rows: Vec::new(),
            rounds: 5,
            quick: false,
            only: None,
            json: None,
            dir: std::env::temp_dir(),
        };
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "--rounds" => arguments.rounds = value()?.parse::<usize>()?.max(1),
                "--json" => arguments.json = Some(value()?.into()),
                "--only" => arguments.only = Some(value()?),
                "--dir" => arguments.dir = value()?.into(),
                "--quick" => arguments.quick = true,
                _ if word.starts_with('-') => return Err(format!("there is no {word}").into()),
                _ => arguments.rows.push(word),
            }
        }
        Ok(arguments)
    }

    /// The same with so many rounds at most.
    #[must_use]
    pub fn at_most(&self, rounds: usize) -> Self {
        Self { rounds: self.rounds.min(rounds), ..self.clone() }
    }

    /// So much work, or a quarter of it.
    pub fn amount(&self, whole: u64) -> u64 {
        if self.quick { whole / 4 } else { whole }
    }
}
