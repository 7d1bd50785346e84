#![allow(clippy::unwrap_used)]

use super::*;
use crate::wire::{CloseCode, Frame, Goodbye, Hello, PREFACE};

#[test]
fn a_client_that_is_refused_at_its_hello_is_told_why() {
    let mut pair = Pair::new(Config::default(), Config::default(), LinkOptions::default());
    pair.open().unwrap();
    pair.cut();
    pair.attach().unwrap();
    pair.open().unwrap();
    // The same counter once more is stale, and a peer of the same role is refused at once.
    for (side, refusal) in [(Side::Client, CloseCode::STALE), (Side::Server, CloseCode::ROLE)] {
        let hello = Hello {
            lowest_version: 1,
            highest_version: 1,
            side,
            nonce: [3; 32],
            conversation: pair.client.machine.conversation(),
            attach: 1,
            stream: 0,
            features: 0,
            limits: *pair.client.machine.config().limits(),
            unknown_critical: None,
        };
        let mut bytes = PREFACE.to_vec();
        Frame::Hello(hello).encode(0, &mut bytes).unwrap();
        pair.new_stream();
        pair.tap();
        pair.receive_at_server(&bytes);
        pair.receive_at_server(b"and more");
        pair.transmit();
        let said: Vec<u8> =
            pair.tapped(Side::Server).into_iter().flat_map(|(_, bytes)| bytes).collect();
        let goodbye = said.get(PREFACE.len() + 8..).unwrap();
        assert_eq!(Goodbye::decode(goodbye).unwrap().code, refusal);
        assert!(!pair.server().machine.is_closed(), "what it has is not touched");
    }
}
