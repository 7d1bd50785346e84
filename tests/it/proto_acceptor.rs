//! What the server's end of a new stream takes, and what it leaves.

use duologue::proto::{Acceptor, Config, Connection, StreamParameters};
use duologue::time::Time;

/// What comes behind the HELLO is for the connection, whoever hands it over.
#[test]
fn nothing_behind_the_hello_is_taken_before_it_is_decided() {
    let stream = |seed| StreamParameters::new([seed; 32]);
    let mut client = Connection::client(Config::default(), stream(1), Time::ZERO);
    let mut hello = Vec::new();
    while let Some(bytes) = client.poll_transmit(Time::ZERO).first() {
        let len = bytes.len();
        hello.extend_from_slice(bytes);
        client.advance_transmit(len);
    }
    let mut acceptor = Acceptor::new(Config::default(), stream(2), Time::ZERO);
    assert_eq!(acceptor.handle_input(Time::ZERO, &[]), Ok((0, None)));
    let mut at = 0;
    while acceptor.request().is_none() {
        let (used, _) = acceptor.handle_input(Time::ZERO, &hello[at..]).unwrap();
        assert!(used > 0, "it waits at {at} of {}", hello.len());
        at += used;
    }
    assert_eq!(acceptor.handle_input(Time::ZERO, b"\0\0\x08\x08"), Ok((0, None)));
    assert_eq!(acceptor.error(), None);
}
