//! What the short ways for ACKs, lines and data leave to the long one, whatever they could take.

use core::time::Duration;

use duologue::proto::{Acceptance, ActionError, Config, Connection, Event};
use duologue::time::Time;
use duologue::wire::{Chat, CloseCode, Frame, Header, Kind, Offer, Start};

use crate::proto_duo::{Duo, frame, read_with, said, tell};

/// A server that has an open file that has started, and what its client might say next: an ACK of four
/// lines, a line, and data.
fn server() -> (Connection, Time, [Vec<u8>; 3]) {
    let config = Config::builder().queued_items(4).build().unwrap();
    let mut duo = Duo::open(Config::default(), config);
    let file = duo.client.offer(&Offer::new("file"), duo.now).unwrap();
    duo.settle();
    duo.server.accept(file, Acceptance::default(), duo.now).unwrap();
    duo.run_for(Duration::from_millis(50));
    for _ in 0..4 {
        duo.server.send_chat(&Chat::new("x")).unwrap();
    }
    assert_eq!(duo.server.send_chat(&Chat::new("x")), Err(ActionError::Blocked));
    let bytes = said(&mut duo.server, duo.now);
    tell(&mut duo.client, duo.now, &bytes, true).unwrap();
    let now = duo.now.saturating_add(Duration::from_millis(30));
    duo.client.handle_timeout(now);
    let ack = said(&mut duo.client, now);
    assert_eq!(ack[3], Kind::ACK.to_u8());
    let start = frame(file.to_wire(), &Frame::Start(Start { offset: 0 }));
    let events = tell(&mut duo.server, now, &start, true).unwrap();
    assert!(matches!(events[..], [Event::Started { .. }]), "{events:?}");
    let header = Header { length: 2000, kind: Kind::DATA, id: file.to_wire() };
    let data = [&header.encode()[..], &[7; 2000]].concat();
    (duo.server, now, [ack, frame(0, &Frame::Chat(Chat::new("line"))), data])
}

/// What the short ways take of each.
fn taken(machine: &mut Connection, now: Time, [ack, line, data]: &[Vec<u8>; 3]) -> [usize; 3] {
    [
        machine.handle_acknowledgement(now, ack),
        machine.handle_chats(now, line, |_, _| {}),
        machine.handle_bulk(now, data, |_, _, _| {}),
    ]
}

#[test]
fn nothing_is_taken_before_an_event_that_waits() {
    let (mut server, now, input) = server();
    // There is room in the lane again, which nobody polls for.
    server.handle_input(now, &input[0]).unwrap();
    let again = input.clone();
    assert_eq!(taken(&mut server, now, &again), [0; 3]);
    let events: Vec<_> = core::iter::from_fn(|| server.poll_event()).collect();
    assert!(matches!(events[..], [Event::Receipts { .. }, Event::LaneWritable(_)]), "{events:?}");
    assert_eq!(taken(&mut server, now, &input), input.map(|bytes| bytes.len()));
}

#[test]
fn nothing_is_taken_after_our_goodbye() {
    let (mut server, mut now, input) = server();
    server.close(CloseCode::DONE, "", now).unwrap();
    // The lines are not acknowledged in time.
    now = now.saturating_add(server.config().close_timeout());
    server.handle_timeout(now);
    said(&mut server, now);
    assert!(server.is_write_closed());
    assert_eq!(taken(&mut server, now, &input), [0; 3]);
    assert_eq!(server.handle_input(now, &input[0]), Ok((input[0].len(), None)));
}

/// Reads lines as the driver does.
fn read(machine: &mut Connection, now: Time, input: &[u8]) -> Option<CloseCode> {
    let read = read_with(machine, now, input, |machine, input, _| {
        machine.handle_chats(now, input, |_, text| assert!(!text.is_empty()))
    });
    read.err().and_then(|error| error.code())
}

#[test]
fn a_line_that_is_too_long_is_one_by_the_short_way_as_well() {
    let (mut server, now, _) = server();
    let most = server.config().limits().fragment;
    let line = |length: u32| {
        let header = Header { length, kind: Kind::CHAT, id: 0 }.encode();
        [&header[..], &[0, 0], &vec![b'x'; length as usize - 2]].concat()
    };
    assert_eq!(read(&mut server, now, &line(most)), None);
    assert_eq!(read(&mut server, now, &line(most + 1)), Some(CloseCode::TOO_LARGE));
}

#[test]
fn lines_of_nothing_are_a_flood_by_the_short_way_as_well() {
    let (mut server, now, _) = server();
    let empty = frame(0, &Frame::Chat(Chat::new("")));
    assert_eq!(read(&mut server, now, &empty.repeat(900)), None);
    assert_eq!(read(&mut server, now, &empty.repeat(200)), Some(CloseCode::FLOOD));
}
