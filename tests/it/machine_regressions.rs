//! What fuzzing found in the machine, one test for each defect.

use std::collections::VecDeque;
use std::time::Duration;

use duologue::proto::{
    Acceptor, Conclusion, Config, ConfigBuilder, Connection, Event, StreamParameters,
};
use duologue::time::Time;
use duologue::wire::{
    Batch, Chat, CloseCode, Message, Offer, Side, Signal, TransferCode, TransferId,
};

/// Two open machines with nothing but memory between them.
struct Pair {
    now: Time,
    client: Connection,
    server: Connection,
    /// What each was told, and bytes on their way.
    told: [Vec<Event<'static>>; 2],
    up: Vec<u8>,
    down: Vec<u8>,
}

fn bytes(machine: &mut Connection, now: Time) -> Vec<u8> {
    let bytes: Vec<u8> = machine.poll_transmit(now).into_iter().flatten().copied().collect();
    machine.advance_transmit(bytes.len());
    bytes
}

fn feed(machine: &mut Connection, now: Time, mut input: &[u8], told: &mut Vec<Event<'static>>) {
    while !input.is_empty() {
        let (used, event) = machine.handle_input(now, input).expect("the peer is honest");
        input = &input[used..];
        told.extend(event.map(Event::into_owned));
        told.extend(std::iter::from_fn(|| machine.poll_event()));
    }
}

impl Pair {
    fn new(client: ConfigBuilder, server: ConfigBuilder) -> Self {
        let now = Time::from_micros(1);
        let config = client.build().unwrap();
        let client = Connection::client(config, StreamParameters::new([1; 32]), now);
        let config = server.build().unwrap();
        let mut pair = Self {
            now,
            server: Connection::client(config.clone(), StreamParameters::new([0; 32]), now),
            client,
            told: Default::default(),
            up: Vec::new(),
            down: Vec::new(),
        };
        let hello = bytes(&mut pair.client, now);
        let mut acceptor = Acceptor::new(config, StreamParameters::new([2; 32]), now);
        acceptor.handle_input(now, &hello).unwrap().1.expect("the HELLO is whole");
        pair.server = acceptor.accept(now).unwrap();
        pair.server.accept_peer(now).unwrap();
        pair.exchange();
        pair.client.accept_peer(now).unwrap();
        pair.settle();
        assert!(pair.client.is_open() && pair.server.is_open());
        pair
    }

    fn machine(&mut self, side: Side) -> &mut Connection {
        if side == Side::Client { &mut self.client } else { &mut self.server }
    }

    /// Everything that either has to send arrives, once.
    fn exchange(&mut self) -> bool {
        let now = self.now;
        self.up.extend(bytes(&mut self.client, now));
        self.down.extend(bytes(&mut self.server, now));
        let (up, down) = (std::mem::take(&mut self.up), std::mem::take(&mut self.down));
        feed(&mut self.server, now, &up, &mut self.told[1]);
        feed(&mut self.client, now, &down, &mut self.told[0]);
        let is_quiet = up.is_empty() && down.is_empty();
        self.take_all();
        !is_quiet
    }

    fn take_all(&mut self) {
        for (told, machine) in self.told.iter().zip([&mut self.client, &mut self.server]) {
            for event in told {
                if let Some(item) = event.item() {
                    machine.take(self.now, item);
                }
            }
        }
    }

    fn wait(&mut self, duration: Duration) {
        self.now = self.now.saturating_add(duration);
        self.client.handle_timeout(self.now);
        self.server.handle_timeout(self.now);
    }

    /// Until nothing more happens within 30 ms.
    fn settle(&mut self) {
        for _ in 0..30 {
            while self.exchange() {}
            self.wait(Duration::from_millis(1));
        }
    }

    /// Over a new stream, after a break that only the client noticed.
    fn reattach(&mut self) {
        self.try_reattach().expect("it is proved");
        self.settle();
        assert!(!self.client.is_detached() && !self.server.is_detached());
    }

    fn try_reattach(&mut self) -> Result<(), Option<CloseCode>> {
        let (now, seed) = (self.now, self.client.statistics().streams as u8);
        let attached = self.client.attach(StreamParameters::new([seed + 100; 32]), now);
        attached.unwrap();
        let hello = bytes(&mut self.client, now);
        let config = self.server.config().clone();
        let mut acceptor = Acceptor::new(config, StreamParameters::new([seed; 32]), now);
        acceptor.handle_input(now, &hello).unwrap().1.expect("the HELLO is whole");
        let mut resuming = acceptor.resume(&self.server, now).expect("it is there");
        let answer: Vec<u8> = resuming.poll_transmit().into_iter().flatten().copied().collect();
        resuming.advance_transmit(answer.len());
        resuming.accept_peer();
        feed(&mut self.client, now, &answer, &mut self.told[0]);
        self.client.accept_peer(now).unwrap();
        let proof = bytes(&mut self.client, now);
        assert_eq!(resuming.handle_input(now, &proof), Ok((proof.len(), None)));
        let result = self.server.resume(resuming, now);
        result.map_err(|mut refused| {
            let last = refused.poll_transmit().into_iter().flatten().copied().collect::<Vec<u8>>();
            feed(&mut self.client, now, &last, &mut self.told[0]);
            refused.error().and_then(duologue::proto::Error::code)
        })
    }

    /// The client offers a file, and the server accepts it.
    fn offer(&mut self, offer: &Offer<'_>) -> TransferId {
        let now = self.now;
        let transfer = self.client.offer(offer, now).unwrap();
        self.settle();
        let now = self.now;
        self.server.accept(transfer, Default::default(), now).unwrap();
        self.settle();
        transfer
    }
}

#[test]
fn a_peer_with_small_frames_gets_small_frames() {
    let small = Config::builder().max_frame(1024);
    let mut pair = Pair::new(Config::builder(), small);
    pair.client.send_chat(&Chat::new("x".repeat(5000))).unwrap();
    let body = vec![1; 5000].into();
    let message = Message { message_type: 1, is_reply: false, correlation: 0, body };
    pair.client.send_message(&message).unwrap();
    pair.settle();
    let heard = |wanted: fn(&Event<'_>) -> bool| pair.told[1].iter().any(wanted);
    assert!(heard(|event| matches!(event, Event::Chat { .. })));
    assert!(heard(|event| matches!(event, Event::Message { .. })));

    let long = Signal { signal_type: 1, payload: vec![0; 1023].into() };
    assert!(pair.client.send_signal(&long).is_err());
    let fits = Signal { signal_type: 1, payload: vec![0; 1022].into() };
    pair.client.send_signal(&fits).unwrap();
    pair.settle();
    assert!(pair.told[1].iter().any(|event| matches!(event, Event::Signal(_))));
}

#[test]
fn limits_that_no_hello_can_say_are_refused() {
    let build =
        |item, bytes| Config::builder().max_item(item).max_untaken_bytes(bytes).build().map(|_| ());
    assert_eq!(build(20_000, 20_000), Ok(()));
    assert_eq!(build(20_000, 19_999).unwrap_err().setting(), "max_untaken_bytes");
}

#[test]
fn a_transfer_that_expires_while_closing_does_not_spin() {
    let config = Config::builder().transfer_timeout(Duration::from_secs(1));
    let mut pair = Pair::new(config.clone(), config);
    let now = pair.now;
    pair.client.offer(&Offer::new("a"), now).unwrap();
    pair.exchange();
    // Not taken by the server, so that closing waits for it.
    pair.client.send_chat(&Chat::new("hold")).unwrap();
    pair.client.close(CloseCode::DONE, "", now).unwrap();
    pair.server.close(CloseCode::DONE, "", now).unwrap();
    let mut told = 0;
    for _ in 0..3 {
        pair.wait(Duration::from_secs(1));
        for side in [Side::Client, Side::Server] {
            let now = pair.now;
            let machine = pair.machine(side);
            assert!(machine.poll_timeout().is_none_or(|at| at > now), "{side:?} at {now:?}");
            told += std::iter::from_fn(|| machine.poll_event())
                .filter(|event| matches!(event, Event::Expired { .. }))
                .count();
        }
    }
    assert!(told <= 2, "told {told} times");
}

#[test]
fn the_error_of_an_attach_is_sticky() {
    let mut pair = Pair::new(Config::builder(), Config::builder());
    let now = pair.now;
    pair.client.handle_eof(now);
    pair.client.attach(StreamParameters::new([3; 32]), now).unwrap();
    let error = pair.client.handle_input(now, b"HTTP/1.1").unwrap_err();
    assert_eq!(error, duologue::proto::Error::NotDuologue);
    assert_eq!(pair.client.handle_input(now, b"x"), Err(error));
    pair.client.attach(StreamParameters::new([4; 32]), now).unwrap();
    assert_eq!(pair.client.handle_input(now, &duologue::wire::PREFACE), Ok((8, None)));
}

#[test]
fn credit_that_crosses_a_restart_is_no_violation() {
    let mut pair = Pair::new(Config::builder(), Config::builder());
    let now = pair.now;
    let transfer = pair.client.offer(&Offer::new("a").size(100_000), now).unwrap();
    pair.settle();
    let prefix = Some((50_000, duologue::wire::Digest::Blake3([0; 32])));
    let acceptance = duologue::proto::Acceptance { prefix };
    let now = pair.now;
    pair.server.accept(transfer, acceptance, now).unwrap();
    pair.settle();
    let now = pair.now;
    pair.client.send_data(transfer, 50_000, vec![1; 40_000].into()).unwrap();
    let sent = bytes(&mut pair.client, now);
    feed(&mut pair.server, now, &sent, &mut pair.told[1]);
    pair.server.release(transfer, 10_000, now);
    // The digest differs; the new data is not there yet, so neither is its START.
    pair.client.restart(transfer).unwrap();
    pair.settle();
    pair.client.send_data(transfer, 0, vec![2; 100_000].into()).unwrap();
    pair.client.finish(transfer, None).unwrap();
    pair.settle();
    let mut received = 0;
    for event in &pair.told[1] {
        match event {
            Event::Started { offset, .. } => received = *offset,
            Event::Data { data, .. } => received += data.len() as u64,
            _ => {}
        }
    }
    assert_eq!(received, 100_000);
}

#[test]
fn a_member_of_a_batch_that_was_given_up_may_have_sent_its_first_credit() {
    let mut pair = Pair::new(Config::builder(), Config::builder());
    let now = pair.now;
    let batch = Batch { name: "b".into(), count: 2, bytes: 0, metadata: Default::default() };
    let batch = pair.client.offer_batch(&batch, now).unwrap();
    pair.settle();
    let now = pair.now;
    pair.server.accept(batch, Default::default(), now).unwrap();
    pair.settle();
    let gone = Conclusion::Failed { code: TransferCode::NO_SPACE, text: "" };
    pair.server.conclude(batch, &gone).unwrap();
    let now = pair.now;
    let member = pair.client.offer(&Offer::new("b/a").batch(batch), now).unwrap();
    pair.client.send_data(member, 0, vec![1; 20_000].into()).unwrap();
    pair.settle();
    let ended = pair.told[0].iter().filter(|event| matches!(event, Event::Verdict { .. })).count();
    assert_eq!(ended, 2);
}

#[test]
fn a_cancel_that_crossed_an_acceptance_survives_a_break() {
    let mut pair = Pair::new(Config::builder(), Config::builder());
    let now = pair.now;
    let transfer = pair.client.offer(&Offer::new("a").size(1000), now).unwrap();
    pair.settle();
    pair.client.cancel(transfer, TransferCode::CANCELLED, "").unwrap();
    let prefix = Some((500, duologue::wire::Digest::Blake3([0; 32])));
    let acceptance = duologue::proto::Acceptance { prefix };
    let now = pair.now;
    pair.server.accept(transfer, acceptance, now).unwrap();
    pair.settle();
    pair.reattach();
    let gone = Conclusion::Failed { code: TransferCode::CANCELLED, text: "" };
    pair.server.conclude(transfer, &gone).unwrap();
    pair.settle();
    assert!(pair.told[0].iter().any(|event| matches!(event, Event::Verdict { .. })));
}

#[test]
fn a_restart_that_is_cancelled_at_once_is_not_taken_for_the_rest() {
    let mut pair = Pair::new(Config::builder(), Config::builder());
    let now = pair.now;
    let transfer = pair.client.offer(&Offer::new("a"), now).unwrap();
    pair.settle();
    let prefix = Some((500, duologue::wire::Digest::Blake3([0; 32])));
    let now = pair.now;
    pair.server.accept(transfer, duologue::proto::Acceptance { prefix }, now).unwrap();
    pair.settle();
    pair.client.send_data(transfer, 500, vec![1; 500].into()).unwrap();
    pair.settle();
    pair.client.restart(transfer).unwrap();
    pair.client.send_data(transfer, 0, vec![2; 1000].into()).unwrap();
    pair.client.finish(transfer, None).unwrap();
    pair.client.cancel(transfer, TransferCode::CANCELLED, "").unwrap();
    pair.settle();
    let whole = Conclusion::Stored { name: "a" };
    assert!(pair.server.conclude(transfer, &whole).is_err(), "the prefix was another file's");
}

#[test]
fn coming_back_often_with_nothing_to_say_ends_no_conversation() {
    let mut pair = Pair::new(Config::builder(), Config::builder());
    let outcomes: Vec<_> = (0..12).map(|_| pair.try_reattach()).collect();
    assert!(outcomes[..8].iter().all(Result::is_ok));
    assert_eq!(outcomes[11], Err(Some(CloseCode::LIMIT)));
    assert!(pair.client.is_open() && pair.server.is_open());
    pair.wait(Duration::from_secs(10));
    pair.reattach();
}

#[test]
fn a_stall_is_counted_from_what_left_and_not_from_what_waited_to_leave() {
    let config = Config::builder().stall_timeout(Duration::from_secs(5));
    let mut pair = Pair::new(config, Config::builder());
    let transfer = pair.offer(&Offer::new("a").size(1000));
    // The source is slow, and so is the stream.
    pair.wait(Duration::from_secs(4));
    pair.client.send_data(transfer, 0, vec![1; 1000].into()).unwrap();
    pair.client.finish(transfer, None).unwrap();
    pair.wait(Duration::from_secs(6));
    let now = pair.now;
    let sent = bytes(&mut pair.client, now);
    assert!(!sent.is_empty());
    assert!(pair.client.poll_timeout().is_some_and(|at| at >= now));
    pair.client.handle_timeout(now);
    let expired = |event: Event<'_>| matches!(event, Event::Expired { .. });
    assert!(!std::iter::from_fn(|| pair.client.poll_event()).any(expired));
}

#[test]
fn what_is_released_between_two_streams_leaves_no_deadline_behind() {
    let mut pair = Pair::new(Config::builder(), Config::builder());
    let transfer = pair.offer(&Offer::new("a"));
    pair.client.send_data(transfer, 0, vec![1; 1000].into()).unwrap();
    pair.settle();
    let now = pair.now;
    pair.server.handle_eof(now);
    pair.server.release(transfer, 1000, now);
    pair.wait(Duration::from_secs(1));
    pair.try_reattach().unwrap();
    let now = pair.now;
    assert!(pair.server.poll_timeout().is_some_and(|at| at >= now));
}

#[test]
fn what_is_released_between_two_streams_does_not_silence_later_credit() {
    let mut pair = Pair::new(Config::builder(), Config::builder());
    // The window reaches to the end: all that credit still tells is how much has come.
    let transfer = pair.offer(&Offer::new("a").size(100_000));
    pair.client.send_data(transfer, 0, vec![1; 1000].into()).unwrap();
    while pair.exchange() {}
    let now = pair.now;
    pair.server.handle_eof(now);
    pair.server.release(transfer, 1000, now);
    pair.reattach();
    pair.client.send_data(transfer, 1000, vec![1; 5000].into()).unwrap();
    pair.settle();
    let told = |event: &Event<'_>| matches!(event, Event::Progress { received: 6000, .. });
    assert!(pair.told[0].iter().any(told), "{:?}", pair.told[0]);
}

#[test]
fn a_source_that_was_slow_is_not_the_fault_of_the_peer() {
    let stall = Duration::from_secs(5);
    // Small frames, so that the window is used up before the pace holds any back.
    let small = Config::builder().receive_window(65_536).reserved_window(4096).max_fragment(1024);
    let mut pair = Pair::new(Config::builder().stall_timeout(stall), small);
    let now = pair.now;
    let transfer = pair.client.offer(&Offer::new("a").size(100_000), now).unwrap();
    pair.settle();
    pair.server.accept(transfer, Default::default(), pair.now).unwrap();
    pair.settle();
    pair.wait(2 * stall);
    // More than the peer takes at once: now it is waited for, and not since its first credit.
    pair.client.send_data(transfer, 0, vec![1; 50_000].into()).unwrap();
    let now = pair.now;
    pair.up.extend(bytes(&mut pair.client, now));
    assert!(pair.client.poll_timeout().unwrap() > now);
    pair.client.handle_timeout(now);
    assert_eq!(pair.client.poll_event(), None);
}

#[test]
fn breaks_with_many_open_transfers_are_no_flood() {
    let mut pair = Pair::new(Config::builder(), Config::builder());
    for number in 0..80 {
        let transfer = pair.offer(&Offer::new(number.to_string()));
        pair.client.send_data(transfer, 0, vec![1; 10].into()).unwrap();
    }
    pair.settle();
    for _ in 0..30 {
        // Something to say, so that no attach is idle.
        pair.client.send_chat(&Chat::new("still here")).unwrap();
        pair.settle();
        pair.reattach();
    }
    assert!(pair.client.is_open() && pair.server.is_open());
}

#[test]
fn a_receiver_that_lets_go_of_few_bytes_at_a_time_does_not_make_its_sender_a_flood() {
    let mut pair = Pair::new(Config::builder(), Config::builder().receive_window(65_536));
    let transfer = pair.offer(&Offer::new("a"));
    let mut sent = 0;
    let mut on_the_way = VecDeque::from([(Vec::new(), Vec::new()), (Vec::new(), Vec::new())]);
    // 60 ms there and back, and 100 bytes each 30 ms.
    for _ in 0..4000 {
        pair.wait(Duration::from_millis(30));
        let now = pair.now;
        let room = pair.client.capacity(transfer).min(100_000 - sent % 100_000);
        if room > 0 && pair.client.send_data(transfer, sent as u64, vec![1; room].into()).is_ok() {
            sent += room;
        }
        pair.server.release(transfer, 100, now);
        on_the_way.push_back((bytes(&mut pair.client, now), bytes(&mut pair.server, now)));
        let (up, down) = on_the_way.pop_front().unwrap();
        feed(&mut pair.server, now, &up, &mut pair.told[1]);
        feed(&mut pair.client, now, &down, &mut pair.told[0]);
        pair.take_all();
    }
    assert!(pair.client.is_open() && pair.server.is_open());
}

#[test]
fn small_files_that_a_receiver_cannot_store_are_no_flood() {
    let mut pair = Pair::new(Config::builder(), Config::builder());
    let now = pair.now;
    let batch = Batch { name: "b".into(), count: 2000, bytes: 0, metadata: Default::default() };
    let batch = pair.client.offer_batch(&batch, now).unwrap();
    pair.settle();
    let now = pair.now;
    pair.server.accept(batch, Default::default(), now).unwrap();
    pair.settle();
    let full = Conclusion::Failed { code: TransferCode::NO_SPACE, text: "" };
    for _ in 0..50 {
        let now = pair.now;
        for number in 0..40 {
            let offer = Offer::new(format!("b/{number}")).batch(batch).size(10);
            let Ok(member) = pair.client.offer(&offer, now) else { break };
            pair.client.send_data(member, 0, vec![1; 10].into()).unwrap();
            pair.client.finish(member, None).unwrap();
        }
        // Each ends as soon as it is offered: what follows is late.
        let sent = bytes(&mut pair.client, now);
        let mut rest = &sent[..];
        while !rest.is_empty() {
            let (used, event) = pair.server.handle_input(now, rest).expect("it is honest");
            rest = &rest[used..];
            if let Some(Event::Offered { item, transfer, .. }) = &event {
                pair.server.take(now, *item);
                pair.server.conclude(*transfer, &full).unwrap();
            }
        }
        pair.settle();
    }
    assert!(pair.client.is_open() && pair.server.is_open());
}
