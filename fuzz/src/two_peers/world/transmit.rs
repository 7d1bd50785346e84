//! From the machines into their streams.

use std::collections::VecDeque;

use duologue::proto::{Connection, Transmit};
use duologue::time::Time;

use super::{End, Stream};

pub(super) fn take(transmit: Transmit<'_>, most: usize, pipe: &mut VecDeque<u8>) -> usize {
    let before = pipe.len();
    assert_eq!(transmit.clone().into_iter().map(<[u8]>::len).sum::<usize>(), transmit.len());
    for slice in transmit {
        let room = most - (pipe.len() - before);
        pipe.extend(&slice[..slice.len().min(room)]);
    }
    pipe.len() - before
}

pub(super) fn transmit_down(
    stream: &mut Stream,
    server: Option<&mut Connection>,
    now: Time,
    most: usize,
) -> usize {
    match &mut stream.server {
        End::Acceptor(acceptor) => {
            let taken = take(acceptor.poll_transmit(), most, &mut stream.down);
            acceptor.advance_transmit(taken);
            if acceptor.error().is_some() && acceptor.poll_transmit().is_empty() {
                stream.is_down_closed = true;
                stream.server = End::Gone;
            }
            taken
        }
        End::Resuming(resuming) => {
            let taken = take(resuming.poll_transmit(), most, &mut stream.down);
            resuming.advance_transmit(taken);
            if resuming.error().is_some() && resuming.poll_transmit().is_empty() {
                stream.is_down_closed = true;
                stream.server = End::Gone;
            }
            taken
        }
        End::Attached => {
            let Some(server) = server else { return 0 };
            let taken = take(server.poll_transmit(now), most, &mut stream.down);
            server.advance_transmit(taken);
            stream.is_down_closed |= server.is_write_closed();
            taken
        }
        End::Gone => 0,
    }
}
