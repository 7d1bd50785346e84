//! What goes before what on the wire.

use duologue::proto::Config;
use duologue::testing::LinkOptions;
use duologue::wire::Side;

use super::proto_util::{Frame, client, finish_all, frames, kinds, millis, offer, open, open_with};

/// A link that takes little at a time, so that frames are decided late.
fn narrow() -> LinkOptions {
    LinkOptions { rate: Some(1_000_000), buffer: 4096, segment: 1400, ..LinkOptions::default() }
}

#[test]
fn both_sides_full_of_messages_and_files_never_wait_for_each_other() {
    for link in [LinkOptions::default(), narrow()] {
        let mut pair = open_with(Config::default(), Config::default(), link);
        let now = pair.now();
        for side in [Side::Client, Side::Server] {
            let end = pair.end(side);
            for number in 0..10 {
                end.offer(now, number, 150_000, number % 2 == 0).unwrap();
            }
            for _ in 0..12 {
                end.tell(now, &[7; 60_000]).unwrap();
                end.say(now, &"x".repeat(3000)).unwrap();
            }
        }
        finish_all(&mut pair);
        pair.drive(100_000, |pair| {
            pair.client.receipts.len() >= 24 && pair.server().receipts.len() >= 24
        })
        .unwrap();
        // A second is 1 MB here, and 2.3 MB had to go each way.
        assert!(pair.now() < now.saturating_add(millis(5000)), "{:?}", pair.now());
    }
}
