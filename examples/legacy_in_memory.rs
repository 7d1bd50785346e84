//! The old formats of `legacy`, from a textbook's chapter on sockets: its scenario without
//! a network, a runtime or real time.
//!
//! Teaches: a protocol test. Both ends run in one task over `testing::duplex`, on a virtual clock
//! that would find a deadlock at once.

mod support;

use duologue::testing::duplex;
use duologue::time::VirtualClock;
use support::programs::Failure;
use support::scenario::{connecting_side, listening_side};

fn main() -> Result<(), Failure> {
    let clock = VirtualClock::new();
    let (near_chat, far_chat) = duplex(64);
    let (near_file, far_file) = duplex(4096);
    let both = async {
        futures::join!(
            connecting_side(near_chat, near_file, || clock.timer()),
            listening_side(far_chat, far_file, || clock.timer()),
        )
    };
    let (connecting, listening) = clock.block_on(both)?;
    connecting.and(listening)
}
