//! The old formats of `legacy`, from a textbook's chapter on sockets: its scenario on plain
//! threads, over TCP.
//!
//! Teaches: `block_on` makes every call a blocking one, a thread for each peer as in the chapter.
//! No runtime is set up: the sockets of `net` wait on async-io's own thread.

mod support;

use std::thread;

use duologue::net::{Listener, connect};
use duologue::time::AsyncIoTimer;
use futures::executor::block_on;
use support::programs::Failure;
use support::scenario::{connecting_side, listening_side};

fn main() -> Result<(), Failure> {
    let mut listener = block_on(Listener::bind(&"127.0.0.1:0".parse()?))?;
    let target = listener.local_address().to_string().parse()?;
    let listening = thread::spawn(move || {
        let chat = block_on(listener.accept())?;
        let transfer = block_on(listener.accept())?;
        block_on(listening_side(chat, transfer, AsyncIoTimer::new))
    });
    let chat = block_on(connect(&target))?;
    let transfer = block_on(connect(&target))?;
    block_on(connecting_side(chat, transfer, AsyncIoTimer::new))?;
    listening.join().map_err(|_| "the listening thread panicked")?
}
