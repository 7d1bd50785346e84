//! What each misbehaviour does.

mod floods;
mod framing;
mod handshake;
mod items;
mod receiving;
mod resuming;
mod sending;
#[cfg(feature = "fs")]
mod storage;
mod time;
mod transport;

use super::misbehaviour::{Act, Expected, Misbehaviour};
use super::speaker::{Fields, Said, Speaker};
use crate::wire::Side;

/// Those of a peer, of a transport, of a disk.
pub(super) static ALL: &[&[Misbehaviour]] = &[
    handshake::LIST,
    framing::LIST,
    items::LIST,
    sending::LIST,
    receiving::LIST,
    floods::LIST,
    time::LIST,
    resuming::LIST,
    transport::LIST,
    #[cfg(feature = "fs")]
    storage::LIST,
];

const fn new(
    name: &'static str,
    rows: &'static str,
    about: &'static str,
    expected: Expected,
    act: Act,
) -> Misbehaviour {
    Misbehaviour { name, rows, about, expected, side: None, act }
}

/// Something done once the conversation is open.
const fn open(
    name: &'static str,
    rows: &'static str,
    about: &'static str,
    expected: Expected,
    act: fn(&mut Speaker) -> Said,
) -> Misbehaviour {
    new(name, rows, about, expected, Act::Open(act))
}

/// Something done between HELLO and RESUME.
const fn greeted(
    name: &'static str,
    rows: &'static str,
    about: &'static str,
    expected: Expected,
    act: fn(&mut Speaker) -> Said,
) -> Misbehaviour {
    new(name, rows, about, expected, Act::Greeted(act))
}

/// A HELLO that is not as it should be.
const fn hello(
    name: &'static str,
    rows: &'static str,
    about: &'static str,
    expected: Expected,
    alter: fn(&mut Fields),
) -> Misbehaviour {
    new(name, rows, about, expected, Act::Hello(alter))
}

/// Something said instead of everything.
const fn instead(
    name: &'static str,
    rows: &'static str,
    about: &'static str,
    expected: Expected,
    act: fn(&mut Speaker) -> Said,
) -> Misbehaviour {
    new(name, rows, about, expected, Act::Instead(act))
}

impl Misbehaviour {
    const fn only(mut self, side: Side) -> Self {
        self.side = Some(side);
        self
    }
}
