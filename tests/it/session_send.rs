//! What can be sent to another thread: everything whose parts can.

use std::future::Future;

use duologue::proto::{Config, StreamParameters};
use duologue::session::{
    Accepted, BatchOffer, Conversations, Detached, Driver, Event, Events, HostedDriver, Incoming,
    IncomingBatch, IncomingOffer, Outcome, Outgoing, OutgoingBatch, Receipt, Reconnecting, Session,
    accept,
};
use duologue::testing::Duplex;
use duologue::time::VirtualTimer;
use duologue::wire::{Chat, Offer};

type Connecting = futures::future::BoxFuture<'static, Result<Duplex, duologue::io::TransportError>>;

fn is_send<T: Send>() {}
fn is_shared<T: Send + Sync>() {}
fn send_future<F: Future + Send>(_: F) {}

#[test]
fn handles_and_drivers_are_send() {
    is_shared::<Session>();
    is_shared::<Receipt>();
    is_shared::<Conversations<Duplex>>();
    is_send::<Events>();
    is_send::<Event>();
    is_send::<Driver<Duplex, VirtualTimer>>();
    is_send::<Outcome<VirtualTimer>>();
    is_send::<Detached<VirtualTimer>>();
    is_send::<HostedDriver<Duplex, VirtualTimer>>();
    is_send::<Accepted<Duplex, VirtualTimer>>();
    is_send::<Reconnecting<fn() -> Connecting, VirtualTimer>>();
    is_send::<(Incoming, Outgoing, IncomingBatch, OutgoingBatch, IncomingOffer, BatchOffer)>();
}

/// Compiled, never called.
#[expect(dead_code, reason = "it is enough that it compiles")]
fn futures_are_send(
    session: &Session,
    outgoing: &mut Outgoing,
    incoming: &mut Incoming,
    conversations: &Conversations<Duplex>,
    [one, other]: [Duplex; 2],
    timer: impl Fn() -> VirtualTimer,
) {
    send_future(session.send_chat(&Chat::new("x")));
    send_future(session.offer(&Offer::new("x")));
    send_future(session.closed());
    send_future(outgoing.finish(None));
    send_future(incoming.next());
    let stream = || StreamParameters::new([1; 32]);
    send_future(accept(one, Config::default(), stream(), timer()));
    send_future(conversations.accept(other, stream(), timer()));
}
