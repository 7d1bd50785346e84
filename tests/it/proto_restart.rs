//! Files of which the receiver has a part: confirmed, or begun anew at 0, over breaks.

use core::time::Duration;

use duologue::proto::{Acceptance, Config, Event};
use duologue::testing::{Call, LinkOptions, Pair};
use duologue::wire::{Digest, Side, TransferCode, TransferId};

const STEPS: usize = 50_000;
const SIZE: u64 = 150_000;
const PREFIX: u64 = 50_000;

/// When the sender finds that its prefix is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Restart {
    Never,
    /// When the peer's offset is known.
    AtOnce,
    /// While the rest of the file is under way.
    After(u64),
}

fn begin(restart: Restart, is_seekable: bool) -> (Pair, TransferId) {
    let link = LinkOptions { rate: Some(1_000_000), ..LinkOptions::default() };
    let mut pair = Pair::new(Config::default(), Config::default(), link);
    pair.open().unwrap();
    pair.run_for(Duration::from_millis(50));
    pair.client.behaviour.confirms_prefixes = restart == Restart::Never;
    pair.server_mut().behaviour.accepts_offers = false;
    let now = pair.now();
    let id = pair.client.offer(now, 1, SIZE, is_seekable).unwrap();
    pair.drive(STEPS, |pair| pair.server().incoming.contains_key(&id)).unwrap();
    let prefix = Some((PREFIX, Digest::Blake3([1; 32])));
    let now = pair.now();
    let accept = Call::Accept(id, Acceptance { prefix });
    pair.server_mut().machine.call(now, accept).unwrap();
    (pair, id)
}

fn drive(pair: &mut Pair, id: TransferId, restart: Restart) {
    let mut has_restarted = restart == Restart::Never;
    pair.drive(STEPS, |pair| {
        let now = pair.now();
        let is_time = match restart {
            Restart::Never => false,
            Restart::AtOnce => pair.client.outgoing[&id].is_accepted,
            Restart::After(bytes) => pair.server().incoming[&id].received > PREFIX + bytes,
        };
        if is_time && !has_restarted {
            pair.client.restart(now, id).unwrap();
            has_restarted = true;
        }
        if pair.is_cut() {
            pair.attach().unwrap();
        }
        pair.client.has_sent_all() || pair.client.closed.is_some() || pair.server().closed.is_some()
    })
    .unwrap();
    assert_eq!((pair.client.closed, pair.server().closed), (None, None), "{restart:?}");
    let verdict = pair.client.outgoing[&id].verdict.as_ref().unwrap();
    assert_eq!((verdict.0, verdict.1), (TransferCode::STORED, SIZE));
    let received = &pair.server().incoming[&id];
    assert!(!received.is_wrong && received.received == SIZE);
}

fn starts(pair: &Pair) -> Vec<u64> {
    let offset = |event: &Event<'_>| match *event {
        Event::Started { offset, .. } => Some(offset),
        _ => None,
    };
    pair.server().events.iter().filter_map(offset).collect()
}

#[test]
fn a_part_is_gone_on_with_or_begun_anew() {
    for (restart, expected) in [
        (Restart::Never, &[PREFIX][..]),
        (Restart::AtOnce, &[PREFIX, 0]),
        (Restart::After(0), &[PREFIX, 0]),
        (Restart::After(40_000), &[PREFIX, 0]),
    ] {
        for is_seekable in [true, false] {
            let (mut pair, id) = begin(restart, is_seekable);
            drive(&mut pair, id, restart);
            assert_eq!(starts(&pair), expected, "{restart:?}");
        }
    }
}

#[test]
fn a_restart_survives_a_break_anywhere() {
    let mut cuts = 0;
    for restart in [Restart::Never, Restart::AtOnce, Restart::After(0), Restart::After(40_000)] {
        for side in [Side::Client, Side::Server] {
            // Finely around the beginning, where START and the first CREDIT cross.
            let most = if side == Side::Client { 200_000 } else { 3000 };
            let fine = (0..600).step_by(13);
            for bytes in fine.chain((600..most).step_by(most as usize / 30)) {
                let (mut pair, id) = begin(restart, cuts % 2 == 0);
                pair.cut_after(side, bytes);
                drive(&mut pair, id, restart);
                cuts += 1;
            }
        }
    }
    println!("{cuts} cuts");
}
