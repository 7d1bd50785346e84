//! What the tests of the machine share.

use core::time::Duration;

use duologue::proto::{ActionError, Config, ConfigBuilder, Event};
use duologue::testing::{Call, Done, Endpoint, LinkOptions, Pair};
use duologue::time::Time;
use duologue::wire::{Decoder, Header, Kind, Offer, Piece, Side, TransferCode, TransferId};

/// A frame that was seen on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) at: Time,
    pub(crate) kind: Kind,
    pub(crate) id: u32,
    pub(crate) payload: Vec<u8>,
}

/// Cuts what was tapped into frames; the last may be cut short.
pub(crate) fn frames(tapped: &[(Time, Vec<u8>)]) -> Vec<Frame> {
    let mut decoder = Decoder::new();
    let mut frames: Vec<Frame> = Vec::new();
    for (at, bytes) in tapped {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (used, piece) = decoder.decode(rest);
            rest = &rest[used..];
            match piece {
                Some(Piece::Header(Header { kind, id, .. })) => {
                    frames.push(Frame { at: *at, kind, id, payload: Vec::new() });
                }
                Some(Piece::Payload { data, .. }) => {
                    frames.last_mut().unwrap().payload.extend_from_slice(data);
                }
                None => {}
            }
        }
    }
    frames
}

pub(crate) fn kinds(frames: &[Frame]) -> Vec<Kind> {
    frames.iter().map(|frame| frame.kind).collect()
}

/// An open pair with these configurations and this link, tapped.
pub(crate) fn open_with(client: Config, server: Config, link: LinkOptions) -> Pair {
    let mut pair = Pair::new(client, server, link);
    pair.open().unwrap();
    // The first ACK and PING are out of the way.
    pair.run_for(Duration::from_millis(100));
    pair.tap();
    pair
}

/// An open pair with the defaults.
pub(crate) fn open() -> Pair {
    open_with(Config::default(), Config::default(), LinkOptions::default())
}

/// An open pair of which the server has this configuration.
pub(crate) fn open_to(server: ConfigBuilder) -> Pair {
    open_with(Config::default(), server.build().unwrap(), LinkOptions::default())
}

/// Drives until every file of both sides has ended, and checks all that came.
#[track_caller]
pub(crate) fn finish_all(pair: &mut Pair) {
    pair.drive(200_000, |pair| pair.client.has_sent_all() && pair.server().has_sent_all())
        .unwrap_or_else(|error| panic!("{error}: {:?}", pair.client.outgoing));
    assert_eq!(pair.client.machine.error(), None);
    assert_eq!(pair.server().machine.error(), None);
    for side in [Side::Client, Side::Server] {
        assert_whole(pair, side);
    }
}

/// Every file that this side sent was stored, whole.
#[track_caller]
fn assert_whole(pair: &mut Pair, side: Side) {
    let sent = pair.end(side).outgoing.clone();
    let other = side.opposite();
    for (id, outgoing) in sent {
        let (code, total, _) = outgoing.verdict.expect("a verdict");
        if code == TransferCode::STORED {
            let incoming = &pair.end(other).incoming[&id];
            assert!(!incoming.is_wrong, "{id}");
            assert_eq!((total, incoming.received), (outgoing.size, outgoing.size), "{id}");
        }
    }
}

/// The events of an end that `pick` finds, in order.
pub(crate) fn pick<T>(end: &Endpoint, pick: impl FnMut(&Event<'static>) -> Option<T>) -> Vec<T> {
    end.events.iter().filter_map(pick).collect()
}

/// Does it at the client, now.
pub(crate) fn client(pair: &mut Pair, call: Call) -> Result<Done, ActionError> {
    let now = pair.now();
    let result = pair.client.machine.call(now, call);
    pair.client.poll(now);
    result
}

/// Does it at the server, now.
pub(crate) fn server(pair: &mut Pair, call: Call) -> Result<Done, ActionError> {
    let now = pair.now();
    let result = pair.server_mut().machine.call(now, call);
    pair.server_mut().poll(now);
    result
}

/// Offers a file by hand: the endpoint feeds it nothing.
#[track_caller]
pub(crate) fn offer(pair: &mut Pair, offer: Offer<'static>) -> TransferId {
    match client(pair, Call::Offer(offer)) {
        Ok(Done::Transfer(transfer)) => transfer,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
