//! One machine and a hostile peer, from the first byte on: no panic, memory and output within their
//! bounds, errors that stay, time-outs that lie ahead, and nothing before both sides have accepted.

mod peer;
mod victim;

use arbitrary::{Arbitrary, Unstructured};
use duologue::wire::Side;

use self::peer::Peer;
use self::victim::Victim;
use super::machine::{Input, Sizes};

/// Steps at most.
const STEPS: usize = 400;

/// Bytes before the script, or the stream: the sizes of both sides, the mode, habits.
pub const OWN: usize = 11 + 11 + 2;

/// Whether what follows these bytes is no script but the peer's frames as they are.
pub fn is_stream(data: &[u8]) -> bool {
    data.get(OWN - 2).is_some_and(|mode| mode >> 4 == 0xF)
}

pub fn run(data: &[u8]) {
    let mut unstructured = Unstructured::new(data);
    let Ok((sizes, peer_sizes)) = <(Sizes, Sizes)>::arbitrary(&mut unstructured) else { return };
    let mut input = Input(unstructured.take_rest());
    let mode = input.byte();
    let side = if mode & 1 == 0 { Side::Client } else { Side::Server };
    let limits = *peer_sizes.config().limits();
    let mut victim = Victim::new(side, sizes.config(), limits, input.byte());
    let mut peer = Peer::new(side.opposite(), limits);
    if mode & 2 == 0 {
        // A handshake as it should be; then the hostile part.
        peer.hello(&mut victim, 0);
        victim.accept_peer();
        victim.drain(usize::MAX);
        peer.resume(&mut victim, &mut Input(&[]));
        assert!(victim.is_open(), "a valid handshake opens: {victim:?}");
    }
    if is_stream(data) {
        stream(&mut victim, &mut peer, mode, input.0);
        input = Input(&[]);
    }
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        step(&mut victim, &mut peer, &mut input);
        victim.check();
    }
    victim.wait(u64::MAX >> 1);
    victim.check();
}

fn step(victim: &mut Victim, peer: &mut Peer, input: &mut Input<'_>) {
    let choice = input.byte();
    match choice & 0x1F {
        0..=9 => {
            peer.frame(input);
            peer.send(victim, usize::from(choice >> 5));
        }
        10 => {
            let len = input.pick(64);
            peer.raw(input.bytes(len));
            peer.send(victim, usize::from(choice >> 5));
        }
        11 => {
            // The last frame over and over.
            let times = u32::from(input.byte()) << (choice >> 5);
            for _ in 0..times.min(4000) {
                if choice & 0x80 == 0 {
                    peer.again()
                } else {
                    peer.offer()
                }
                peer.send(victim, 0);
            }
        }
        12 => victim.drain(input.number() as usize),
        13 => victim.wait(input.number() << (choice >> 5)),
        14 => victim.wait_for_deadline(),
        15 => victim.end(input.byte()),
        16 => {
            let counter = u64::from(choice >> 5);
            victim.attach();
            peer.begin();
            peer.hello(victim, counter + 1);
            victim.drain(usize::MAX);
            peer.resume(victim, input);
        }
        17 => peer.hello(victim, input.byte().into()),
        18 => peer.resume(victim, input),
        19 => victim.spurious(),
        _ => victim.act(choice, input),
    }
}

/// Frame by frame, in reads of some size; now and then the answers leave.
fn stream(victim: &mut Victim, peer: &mut Peer, mode: u8, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let length = match bytes.first_chunk() {
            Some([l0, l1, l2]) => u32::from_be_bytes([0, *l0, *l1, *l2]) as usize,
            None => 0,
        };
        let (frame, rest) = bytes.split_at(bytes.len().min(8 + length));
        bytes = rest;
        peer.raw(frame);
        peer.send(victim, usize::from(mode >> 2 & 3) + 3);
        victim.drain(usize::MAX);
        victim.check();
    }
}
