use std::net::SocketAddr;

use crate::Result;
use crate::simulator::FIRST_OF_LOOKS;

pub(crate) struct Arguments {
    pub(crate) seconds: u64,
    pub(crate) seed: u64,
    pub(crate) seeds: Option<u64>,
    pub(crate) only: Option<String>,
    /// What attacks cost is written down as what they may.
    pub(crate) writes_limits: bool,
    /// What cannot be tried here has failed.
    pub(crate) is_strict: bool,
    pub(crate) mode: Mode,
}

pub(crate) enum Mode {
    Sections,
    /// One seed of the simulator.
    One(u64),
    /// One attack.
    Attack(String),
    /// One way to receive, whose power fails at every call.
    Crash(String),
    /// One fault of a call of a stream, all that its beginning names, or what befalls a disk.
    Fault(String),
    /// The same, or some, with commas between them, so many times, for their instructions.
    Counted {
        name: String,
        times: u64,
    },
    /// One of the programs that connect.
    Crowd {
        what: String,
        address: SocketAddr,
        count: usize,
    },
}

pub(crate) fn read() -> Result<Arguments> {
    let mut arguments = Arguments {
        seconds: 60,
        seed: FIRST_OF_LOOKS,
        seeds: None,
        only: None,
        writes_limits: false,
        is_strict: false,
        mode: Mode::Sections,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut next = || words.next().ok_or("a word is missing");
        match &*word {
            "--seconds" => arguments.seconds = next()?.parse()?,
            "--seed" => arguments.seed = next()?.parse()?,
            "--seeds" => arguments.seeds = Some(next()?.parse()?),
            "--only" => arguments.only = Some(next()?),
            "--write-limits" => arguments.writes_limits = true,
            "--strict" => arguments.is_strict = true,
            "--one" => arguments.mode = Mode::One(next()?.parse()?),
            "--attack" => arguments.mode = Mode::Attack(next()?),
            "--crash" => arguments.mode = Mode::Crash(next()?),
            "--fault" => arguments.mode = Mode::Fault(next()?),
            "--counted" => {
                arguments.mode = Mode::Counted { name: next()?, times: next()?.parse()? };
            }
            "--crowd" => {
                let (what, address) = (next()?, next()?.parse()?);
                arguments.mode = Mode::Crowd { what, address, count: next()?.parse()? };
            }
            other => return Err(format!("there is no option {other}").into()),
        }
    }
    Ok(arguments)
}
