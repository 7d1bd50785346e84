//! Who decides on the peer, and how.

use duologue::proto::{ActionError, CloseReason, Config, Opening};
use duologue::session::{Event, SessionError, accept};
use duologue::testing::duplex;
use duologue::wire::CloseCode;
use futures::StreamExt;

use super::session_util::{Peer, World};

/// A client and a server, both of which ask.
async fn meet(world: &World) -> (Peer, Peer) {
    let (near, far) = duplex(64 << 10);
    let (session, events, driver) = world.client(near, Config::default());
    let client = Peer { session, events, driver: world.spawn(driver.ask_for_peer()) };
    let accepted = accept(far, Config::default(), world.parameters(), world.timer()).await;
    let (session, events, driver) = accepted.unwrap();
    let server = Peer { session, events, driver: world.spawn(driver.ask_for_peer()) };
    (client, server)
}

async fn hello(peer: &mut Peer) -> [u8; 32] {
    let event = peer.event().await;
    let Event::PeerHello { handshake_hash, is_resuming: false } = event else {
        panic!("{event:?}")
    };
    assert_eq!(peer.session.handshake_hash(), Some(handshake_hash));
    handshake_hash
}

#[test]
fn each_side_accepts_the_other_after_authentication() {
    World::run(async |world| {
        let (mut client, mut server) = meet(world).await;
        let hash = hello(&mut client).await;
        assert_eq!(hello(&mut server).await, hash, "both have the same to sign");
        client.session.authenticate(&hash, b"it is me").unwrap();
        let event = server.event().await;
        assert!(matches!(&event, Event::Authentication(bytes) if bytes == b"it is me"));
        server.session.authenticate(&hash, b"and it is me").unwrap();
        let event = client.event().await;
        assert!(matches!(&event, Event::Authentication(bytes) if bytes == b"and it is me"));
        client.session.accept_peer(&hash).unwrap();
        world.settle().await;
        assert!(!client.session.is_open(), "not before both have");
        server.session.accept_peer(&hash).unwrap();
        assert!(matches!(client.event().await, Event::Open(Opening::New)));
        assert!(matches!(server.event().await, Event::Open(Opening::New)));
        client.session.accept_peer(&hash).unwrap(); // once more does nothing
        assert!(client.session.authenticate(&hash, b"late").is_err());
        assert!(client.session.peer_limits().is_some());
    });
}

#[test]
fn a_refused_peer_is_told_why() {
    World::run(async |world| {
        let (mut client, mut server) = meet(world).await;
        let hash = hello(&mut client).await;
        hello(&mut server).await;
        client.session.accept_peer(&hash).unwrap();
        assert!(server.session.refuse_peer(&hash, CloseCode::REFUSED, &"x".repeat(300)).is_err());
        server.session.refuse_peer(&hash, CloseCode::REFUSED, "not on the list").unwrap();
        let (events, reason, _) = client.into_the_end().await;
        assert_eq!(reason, CloseReason::Peer(CloseCode::REFUSED));
        assert!(events.iter().any(
            |event| matches!(event, Event::Goodbye { text, .. } if text == "not on the list")
        ));
        while server.events.next().await.is_some() {}
        assert!(matches!(server.session.closed().await, CloseReason::Local { .. }));
    });
}

#[test]
fn nobody_decides_within_the_time_for_it() {
    World::run(async |world| {
        let (mut client, mut server) = meet(world).await;
        let hash = hello(&mut client).await;
        hello(&mut server).await;
        while client.events.next().await.is_some() {}
        assert!(world.clock.now().as_micros() <= 11_000_000);
        let reason = client.session.closed().await;
        assert!(matches!(reason, CloseReason::Failed(_) | CloseReason::Peer(_)), "{reason}");
        let error = client.session.accept_peer(&hash).unwrap_err();
        assert_eq!(error, SessionError::Ended(reason));
        server.session.closed().await;
    });
}

#[test]
fn before_its_hello_there_is_no_peer() {
    World::run(async |world| {
        let (near, _far) = duplex(64);
        let (session, _events, _driver) = world.client(near, Config::default());
        let error = session.accept_peer(&[0; 32]).unwrap_err();
        assert!(matches!(error, SessionError::Refused(ActionError::NotOpen)), "{error:?}");
        assert_eq!(session.authenticate(&[0; 32], b""), Err(error.clone()));
        assert_eq!(session.refuse_peer(&[0; 32], CloseCode::REFUSED, ""), Err(error));
        assert_eq!((session.handshake_hash(), session.peer_limits()), (None, None));
    });
}
