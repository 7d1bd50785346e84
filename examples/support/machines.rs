// What the examples in the documentation of `proto` share, so that each shows only what it is about:
// two machines in one program. They are written out in the first example of the module.

use std::error::Error;

use duologue::proto::{Acceptor, Config, Connection, Event, StreamParameters};
use duologue::time::Time;

/// A client and a server that have accepted each other.
pub fn open(now: Time) -> Result<(Connection, Connection), Box<dyn Error>> {
    let (mut client, mut server) = meet(now)?;
    server.accept_peer(now)?;
    carry(&mut server, &mut client, now);
    client.accept_peer(now)?;
    carry(&mut client, &mut server, now);
    carry(&mut server, &mut client, now);
    assert!(client.is_open() && server.is_open());
    Ok((client, server))
}

/// A client and a server that have not decided about each other. A real program has random seeds.
pub fn meet(now: Time) -> Result<(Connection, Connection), Box<dyn Error>> {
    let mut client = Connection::client(Config::default(), StreamParameters::new([1; 32]), now);
    let hello: Vec<u8> = client.poll_transmit(now).into_iter().flatten().copied().collect();
    client.advance_transmit(hello.len());
    let mut acceptor = Acceptor::new(Config::default(), StreamParameters::new([2; 32]), now);
    acceptor.handle_input(now, &hello)?;
    Ok((client, acceptor.accept(now)?))
}

/// Carries all that `from` has to send to `to`, and returns what `to` makes of it.
pub fn carry(from: &mut Connection, to: &mut Connection, now: Time) -> Vec<Event<'static>> {
    let mut events: Vec<_> = std::iter::from_fn(|| to.poll_event()).collect();
    loop {
        let bytes: Vec<u8> = from.poll_transmit(now).into_iter().flatten().copied().collect();
        from.advance_transmit(bytes.len());
        if bytes.is_empty() {
            return events;
        }
        let mut input = &bytes[..];
        while let Ok((used @ 1.., event)) = to.handle_input(now, input) {
            input = &input[used..];
            events.extend(event.map(Event::into_owned));
            events.extend(std::iter::from_fn(|| to.poll_event()));
        }
    }
}
