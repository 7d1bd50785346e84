//! Streams for tests of protocols: in memory, deterministic, and as unfriendly as the script says.
//!
//! - [`duplex`] makes a connected pair of streams with a bounded buffer each way. It never returns
//!   `Pending` at random: the same calls give the same results.
//! - [`Faulty`] wraps any stream and splits, delays, stalls, cuts and breaks it by a [`Script`],
//!   written by hand or drawn from a seed.
//! - [`Pair`] is a whole conversation on virtual time: two machines of [`proto`](crate::proto)
//!   with a link between them.
//! - [`ShadowDisk`] is a folder that fails by the call and loses power, for
//!   [`fs::Inbox`](crate::fs::Inbox).
//! - [`hostile`] is a catalogue of what peers, streams and disks do and should not, by name; a
//!   [`HostilePeer`] does it to a server or a client of yours, and tells what came of it.
//! - [`VirtualClock`](crate::time::VirtualClock) makes hours pass at once.
//!
//! # Examples
//!
//! A peer whose bytes arrive one by one, with a pause of a second before the last one:
//!
//! ```
//! use core::time::Duration;
//! use duologue::io::{Cursor, read_all_with};
//! use duologue::testing::{Fault, Faulty, Script};
//! use duologue::time::VirtualClock;
//!
//! let clock = VirtualClock::new();
//! let script = Script::new()
//!     .reads([Fault::Split(1), Fault::Split(1), Fault::Delay(Duration::from_secs(1))]);
//! let mut stream = Faulty::new(&b"abc"[..], script, &clock);
//!
//! let mut cursor = Cursor::new([0; 3]);
//! let read = read_all_with(&mut stream, &mut cursor, clock.timer());
//! assert_eq!(clock.block_on(read), Ok(Ok(3)));
//! assert_eq!(clock.now().as_micros(), 1_000_000);
//! ```

pub mod hostile;

mod conversation;
mod duplex;
mod faulty;
mod random;
mod script;
#[cfg(feature = "fs")]
mod shadow_disk;

pub use conversation::{
    Behaviour, Call, Divergence, Done, Endpoint, Incoming, LinkOptions, NotIdle, Outgoing, Pair,
    Pattern, Recorder, Recording,
};
pub use duplex::{Duplex, duplex};
pub use faulty::Faulty;
pub use hostile::{HostilePeer, Misbehaviour};
pub use random::SplitMix64;
pub use script::{Fault, Profile, Script};
#[cfg(feature = "fs")]
#[cfg_attr(docsrs, doc(cfg(feature = "fs")))]
pub use shadow_disk::{Barrier, ShadowDisk};
