//! Chat, application messages and signals: what arrives, when, and what receipts say.

use duologue::proto::{ActionError, CloseReason, Config, Event, ItemId, Lane, Receipt};
use duologue::testing::{Call, LinkOptions, Pair};
use duologue::wire::{Ack, Chat, CloseCode, Kind, Message, Side, Signal};

use super::proto_util::{client, frames, kinds, millis, open, open_to, pick, server};

fn full_chat(text: &str) -> Chat<'static> {
    Chat::new(text.to_owned())
        .id([7; 16])
        .author("Анна")
        .time(1_700_000_000_000)
        .media_type("text/markdown")
        .in_reply_to([9; 16])
}

/// The chats that came to an end, which keeps their texts only: so it is driven by hand.
fn exchange(pair: &mut Pair, from: Side) -> Vec<Event<'static>> {
    let now = pair.now();
    let mut bytes = Vec::new();
    pair.end(from).machine.transmit(now, |next| {
        bytes.extend_from_slice(next);
        next.len()
    });
    let end = pair.end(from.opposite());
    let mut events = Vec::new();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let (used, event) = end.machine.handle_input(now, rest).unwrap();
        rest = &rest[used..];
        events.extend(event.map(Event::into_owned));
    }
    events
}

#[test]
fn every_attribute_arrives_both_ways() {
    let mut pair = open();
    for (from, text) in [(Side::Client, "from the client\0"), (Side::Server, "и обратно")] {
        let chat = full_chat(text);
        let now = pair.now();
        pair.end(from).machine.call(now, Call::SendChat(chat.clone())).unwrap();
        let events = exchange(&mut pair, from);
        let item = ItemId { lane: Lane::Chat, number: 0 };
        assert_eq!(events, [Event::Chat { item, chat }]);
    }
}

#[test]
fn a_text_of_64_kib_comes_in_fragments_and_whole() {
    let mut pair = open();
    let text: String = "0123456789abcdef".repeat(4096);
    let now = pair.now();
    pair.client.machine.call(now, Call::SendChat(full_chat(&text))).unwrap();
    pair.drive(1000, |pair| !pair.server().chats.is_empty()).unwrap();
    assert_eq!(pair.server().chats, [text]);
    let sent = frames(&pair.tapped(Side::Client));
    let of_lane: Vec<_> =
        sent.iter().filter(|f| [Kind::PART, Kind::CHAT].contains(&f.kind)).collect();
    assert!(of_lane.len() >= 5, "{}", of_lane.len());
    assert!(of_lane.iter().all(|frame| frame.payload.len() <= 16_384 && frame.id == 0));
    assert!(of_lane.iter().rev().skip(1).all(|frame| frame.kind == Kind::PART));
    assert_eq!(of_lane.last().unwrap().kind, Kind::CHAT);
}

#[test]
fn the_largest_item_fits_and_one_byte_more_does_not() {
    let mut pair = open();
    let body = |len: usize| Message {
        message_type: 65535,
        is_reply: true,
        correlation: (1 << 53) - 1,
        body: vec![5; len].into(),
    };
    // Type, flags and correlation are 11 bytes.
    let too_large = ActionError::TooLarge { max: 69_632 };
    assert_eq!(client(&mut pair, Call::SendMessage(body(69_632 - 10))), Err(too_large));
    client(&mut pair, Call::SendMessage(body(69_632 - 11))).unwrap();
    // An empty list of attributes is 2 bytes.
    let chat = |len: usize| Call::SendChat(Chat::new("x".repeat(len)));
    assert_eq!(client(&mut pair, chat(69_632 - 1)), Err(too_large));
    client(&mut pair, chat(69_632 - 2)).unwrap();
    pair.drive(1000, |pair| pair.client.receipts.len() == 2).unwrap();
    assert_eq!(pair.server().messages[0].len(), 69_621);
    assert_eq!(pair.server().chats[0].len(), 69_630);
}

#[test]
fn an_application_message_keeps_its_type_correlation_and_flag() {
    let mut pair = open();
    for (number, is_reply) in [(0, false), (1, true)] {
        let message = Message {
            message_type: 4711,
            is_reply,
            correlation: (1 << 53) - 1,
            body: b"body"[..].into(),
        };
        client(&mut pair, Call::SendMessage(message.clone())).unwrap();
        let item = ItemId { lane: Lane::Control, number };
        assert_eq!(exchange(&mut pair, Side::Client), [Event::Message { item, message }]);
        // Until its rate is known, one message is under way at a time.
        pair.run_for(millis(100));
    }
}

#[test]
fn what_the_application_has_not_taken_is_not_delivered() {
    let mut pair = open();
    pair.server_mut().behaviour.takes = false;
    let now = pair.now();
    for text in ["one", "two", "three", "four"] {
        pair.client.say(now, text).unwrap();
    }
    pair.run_for(millis(5000));
    assert_eq!(pair.server().chats.len(), 4);
    assert_eq!(pair.client.receipts, []);
    // Taking one takes those before it.
    server(&mut pair, Call::Take(ItemId { lane: Lane::Chat, number: 2 })).unwrap();
    pair.run_for(millis(100));
    let delivered = |number| (ItemId { lane: Lane::Chat, number }, Receipt::Delivered);
    assert_eq!(pair.client.receipts, [0, 1, 2].map(delivered));
    server(&mut pair, Call::Take(ItemId { lane: Lane::Chat, number: 3 })).unwrap();
    pair.run_for(millis(100));
    assert_eq!(pair.client.receipts, [0, 1, 2, 3].map(delivered));
}

#[test]
fn receipts_of_many_are_one_range() {
    let mut pair = open();
    let now = pair.now();
    for number in 0..300 {
        pair.client.say(now, &format!("{number}")).unwrap();
    }
    exchange(&mut pair, Side::Client);
    // Two acknowledgements before anybody polls are one event.
    let now = pair.now();
    let ack = |next, received| {
        let mut bytes = Vec::new();
        let ack = duologue::wire::Frame::Ack(Ack { next: [next, 0], received });
        ack.encode(0, &mut bytes).unwrap();
        bytes
    };
    let received = pair.client.machine.statistics().sent.total().bytes;
    for next in [100, 300] {
        let bytes = ack(next, received - 300 + next);
        pair.client.machine.handle_input(now, &bytes).unwrap();
    }
    let event = pair.client.machine.poll_event(now);
    let receipt = Receipt::Delivered;
    assert_eq!(event, Some(Event::Receipts { lane: Lane::Chat, numbers: 0..300, receipt }));
    assert_eq!(pair.client.machine.poll_event(now), None);
}

#[test]
fn a_close_says_which_items_never_left_and_which_nobody_knows_of() {
    // The peer takes nothing, so that its limit holds the rest back.
    let config = Config::builder().max_untaken(3).close_timeout(millis(200));
    let mut pair = Pair::new(
        Config::builder().close_timeout(millis(200)).build().unwrap(),
        config.build().unwrap(),
        LinkOptions::default(),
    );
    pair.open().unwrap();
    pair.server_mut().behaviour.takes = false;
    let now = pair.now();
    for number in 0..5 {
        pair.client.say(now, &format!("{number}")).unwrap();
    }
    pair.run_for(millis(50));
    assert_eq!(pair.server().chats.len(), 3);
    server(&mut pair, Call::Take(ItemId { lane: Lane::Chat, number: 0 })).unwrap();
    pair.server_mut().behaviour.takes = false;
    pair.run_for(millis(50));
    client(&mut pair, Call::Close(CloseCode::DONE, "enough".into())).unwrap();
    pair.drive(1000, |pair| pair.client.closed.is_some()).unwrap();
    // One was taken, so one more could leave.
    let of = |number| ItemId { lane: Lane::Chat, number };
    use Receipt::{Delivered, NotSent, Unknown};
    assert_eq!(
        pair.client.receipts,
        [
            (of(0), Delivered),
            (of(1), Unknown),
            (of(2), Unknown),
            (of(3), Unknown),
            (of(4), NotSent)
        ]
    );
    let code = CloseCode::DONE;
    assert_eq!(pair.client.closed, Some(CloseReason::Local { code, is_answered: true }));
    assert_eq!(pair.server().closed, Some(CloseReason::Peer(code)));
    assert_eq!(client(&mut pair, Call::SendChat(Chat::new("late"))), Err(ActionError::Closed));
}

#[test]
fn a_message_is_acknowledged_within_25_ms() {
    let mut pair = open();
    let now = pair.now();
    pair.client.say(now, "hello").unwrap();
    pair.drive(1000, |pair| !pair.client.receipts.is_empty()).unwrap();
    // 25 ms, and the link twice.
    assert!(pair.now() <= now.saturating_add(millis(27)), "{:?} after {now:?}", pair.now());
    let acks: Vec<_> = frames(&pair.tapped(Side::Server)).into_iter().collect();
    assert_eq!(kinds(&acks), [Kind::ACK]);
    assert!(acks[0].at > now.saturating_add(millis(20)), "it waited for company");
}

#[test]
fn an_acknowledgement_goes_with_the_next_write() {
    let mut pair = open();
    let now = pair.now();
    pair.client.say(now, "hello").unwrap();
    pair.run_for(millis(5));
    let at = pair.now();
    pair.server_mut().say(at, "hello yourself").unwrap();
    pair.run_for(millis(5));
    let sent = frames(&pair.tapped(Side::Server));
    assert_eq!(kinds(&sent), [Kind::ACK, Kind::CHAT]);
    assert_eq!((sent[0].at, sent[1].at), (at, at));
    assert_eq!(pair.client.receipts.len(), 1);
}

fn signal(number: u16) -> Signal<'static> {
    Signal { signal_type: number, payload: vec![1, 2, 3].into() }
}

fn signals(pair: &Pair) -> Vec<u16> {
    pick(pair.server(), |event| match event {
        Event::Signal(signal) => Some(signal.signal_type),
        _ => None,
    })
}

#[test]
fn signals_come_once_and_the_oldest_of_many_are_dropped() {
    let mut pair = open();
    for number in 0..20 {
        client(&mut pair, Call::SendSignal(signal(number))).unwrap();
    }
    pair.run_for(millis(100));
    assert_eq!(signals(&pair), (4..20).collect::<Vec<u16>>());
    let most = Signal { signal_type: 1, payload: vec![0; 1024].into() };
    client(&mut pair, Call::SendSignal(most)).unwrap();
    pair.run_for(millis(100));
    assert_eq!(signals(&pair).len(), 17);
    let over = Signal { signal_type: 1, payload: vec![0; 1025].into() };
    assert!(matches!(client(&mut pair, Call::SendSignal(over)), Err(ActionError::Invalid(_))));
}

#[test]
fn signals_that_are_planned_but_not_sent_are_not_lost_to_others() {
    let mut pair = open();
    let now = pair.now();
    for number in 0..3 {
        client(&mut pair, Call::SendSignal(signal(number))).unwrap();
        // The transport takes nothing.
        pair.client.machine.transmit(now, |_| 0);
    }
    pair.client.say(now, "and a line").unwrap();
    pair.run_for(millis(100));
    assert_eq!(signals(&pair), [0, 1, 2]);
}

#[test]
fn signals_without_a_stream_are_dropped() {
    let mut pair = open();
    client(&mut pair, Call::SendSignal(signal(1))).unwrap();
    pair.cut();
    client(&mut pair, Call::SendSignal(signal(2))).unwrap();
    pair.attach().unwrap();
    pair.open().unwrap();
    client(&mut pair, Call::SendSignal(signal(3))).unwrap();
    pair.run_for(millis(100));
    assert_eq!(signals(&pair), [3]);
}

#[test]
fn many_empty_messages_are_no_flood() {
    let mut pair = open();
    let now = pair.now();
    for _ in 0..1024 {
        client(&mut pair, Call::SendChat(Chat::default())).unwrap();
        pair.client.tell(now, b"").unwrap();
    }
    // What is over the budget of frames without progress leaves one a second.
    pair.drive(100_000, |pair| pair.client.receipts.len() == 2048).unwrap();
    assert_eq!(pair.server().machine.error(), None);
}

#[test]
fn a_full_lane_says_when_it_has_room_again() {
    let mut pair = open_to(Config::builder().max_untaken(5));
    pair.server_mut().behaviour.takes = false;
    let now = pair.now();
    for number in 0..4096 {
        pair.client.say(now, &format!("{number}")).unwrap();
    }
    assert_eq!(pair.client.say(now, "one more"), Err(ActionError::Blocked));
    pair.client.tell(now, b"the other lane has room").unwrap();
    pair.run_for(millis(1000));
    assert_eq!(pair.server().chats.len(), 5);
    let writable = |pair: &Pair| {
        pick(&pair.client, |event| matches!(event, Event::LaneWritable(Lane::Chat)).then_some(()))
            .len()
    };
    assert_eq!(writable(&pair), 0);
    let now = pair.now();
    pair.server_mut().take_all(now);
    pair.run_for(millis(100));
    assert_eq!(writable(&pair), 1);
    let now = pair.now();
    pair.client.say(now, "one more").unwrap();
}
