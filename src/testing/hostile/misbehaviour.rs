use core::fmt;

use super::catalogue;
use super::past::Leg;
use super::speaker::{Fields, Said, Speaker};
use crate::testing::{Script, SplitMix64};
use crate::wire::{CloseCode, Side};

/// Something that a peer, a transport or a disk does and should not, by name.
///
/// [`all`](Self::all) lists them. What a peer does is done by a
/// [`HostilePeer`](super::HostilePeer); what a transport does is a [`script`](Self::script) for a
/// [`Faulty`](crate::testing::Faulty) stream; what a disk does [`befalls`](Self::befall) a
/// [`ShadowDisk`](crate::testing::ShadowDisk).
///
/// # Examples
///
/// ```
/// use duologue::testing::hostile::{Expected, Misbehaviour};
/// use duologue::wire::CloseCode;
///
/// let flood = Misbehaviour::by_name("flood-of-pings").unwrap();
/// assert_eq!(flood.expected(), Expected::Closed(CloseCode::FLOOD));
/// for misbehaviour in Misbehaviour::all() {
///     println!("{:<32} {}", misbehaviour.name(), misbehaviour.about());
/// }
/// ```
pub struct Misbehaviour {
    pub(super) name: &'static str,
    pub(super) rows: &'static str,
    pub(super) about: &'static str,
    pub(super) expected: Expected,
    pub(super) side: Option<Side>,
    pub(super) act: Act,
}

/// Who misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Culprit {
    /// The peer, in what it says and when.
    Peer,
    /// The stream below.
    Transport,
    /// The disk that files are received onto.
    Storage,
}

/// What becomes of it at a victim that keeps to `PROTOCOL.md`, and whose application takes what it is
/// sent, files into an [`Inbox`](crate::fs::Inbox).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Expected {
    /// The victim says GOODBYE with this code: a violation, but for
    /// [`DONE`](CloseCode::DONE).
    Closed(CloseCode),
    /// The victim ends the stream without a word.
    Dropped,
    /// The victim ends the stream when a time is up, and may say so.
    TimedOut,
    /// The victim takes none of the transfer, and the conversation goes on.
    Refused,
    /// Nothing is wrong, or nothing that matters: the conversation goes on.
    Tolerated,
    /// The stream or the disk is given up; what the conversation has is not lost.
    Broken,
}

/// What is done, and where.
pub(super) enum Act {
    /// Instead of all that a peer says.
    Instead(fn(&mut Speaker) -> Said),
    /// With the fields of HELLO.
    Hello(fn(&mut Fields)),
    /// Between HELLO and RESUME.
    Greeted(fn(&mut Speaker) -> Said),
    /// When the conversation is open.
    Open(fn(&mut Speaker) -> Said),
    /// Over several streams, one after the other.
    Streams(&'static [Leg]),
    /// By the transport.
    Transport(fn(&mut SplitMix64) -> Script),
    /// By the disk, on which a file of that name is received in so many calls.
    #[cfg(feature = "fs")]
    Storage(fn(&crate::testing::ShadowDisk, &str, u64, &mut SplitMix64)),
}

impl Misbehaviour {
    /// All of them: those of a peer, then those of a transport, then those of a disk.
    pub fn all() -> impl Iterator<Item = &'static Self> + Clone {
        catalogue::ALL.iter().copied().flatten()
    }

    /// Those of a peer that can be on this side of a conversation.
    pub fn of_peer(side: Side) -> impl Iterator<Item = &'static Self> + Clone {
        let is_possible =
            move |m: &&Self| m.culprit() == Culprit::Peer && m.side.is_none_or(|s| s == side);
        Self::all().filter(is_possible)
    }

    /// The one of this name.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        Self::all().find(|misbehaviour| misbehaviour.name == name)
    }

    /// Its name: lower-case words with hyphens.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// What is done, in one line.
    pub const fn about(&self) -> &'static str {
        self.about
    }

    /// The rows of the project's list of what is tried, `tests/rows.md`, that it belongs to.
    pub fn rows(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.rows.split(' ')
    }

    /// What becomes of it at a victim that is in order.
    pub const fn expected(&self) -> Expected {
        self.expected
    }

    /// Who does it.
    pub const fn culprit(&self) -> Culprit {
        match self.act {
            Act::Transport(_) => Culprit::Transport,
            #[cfg(feature = "fs")]
            Act::Storage(_) => Culprit::Storage,
            _ => Culprit::Peer,
        }
    }

    /// The only side of a conversation whose peer can do it; `None` if either can.
    pub const fn side(&self) -> Option<Side> {
        self.side
    }

    /// How many streams it takes, one after the other: 1 but for what a peer does to a conversation that
    /// goes on over another one, which wants [`run_over`](super::HostilePeer::run_over).
    pub const fn streams(&self) -> usize {
        match self.act {
            Act::Streams(legs) => legs.len(),
            _ => 1,
        }
    }

    /// What a transport does to a stream: for [`Faulty`](crate::testing::Faulty). The same seed gives the
    /// same script. `None` if it is not the transport's.
    pub fn script(&self, seed: u64) -> Option<Script> {
        match self.act {
            Act::Transport(draw) => Some(draw(&mut SplitMix64::new(seed))),
            _ => None,
        }
    }

    /// Does to a disk what befalls it while a file named `name` is received onto it: at once, or
    /// from one of its next `calls` calls on. Returns `false`, and does nothing, if it is not the
    /// disk's.
    ///
    /// It is certain to happen if that many calls are made where nothing befalls the disk: count them
    /// with [`calls`](crate::testing::ShadowDisk::calls).
    #[cfg(feature = "fs")]
    #[cfg_attr(docsrs, doc(cfg(feature = "fs")))]
    pub fn befall(
        &self,
        disk: &crate::testing::ShadowDisk,
        name: &str,
        calls: u64,
        seed: u64,
    ) -> bool {
        match self.act {
            Act::Storage(befall) => befall(disk, name, calls, &mut SplitMix64::new(seed)),
            _ => return false,
        }
        true
    }
}

impl fmt::Debug for Misbehaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Misbehaviour")
            .field("name", &self.name)
            .field("rows", &self.rows)
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Misbehaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name)
    }
}
