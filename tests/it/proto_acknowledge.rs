//! When an ACK goes: what the peer may be waiting for is acknowledged without waiting for a clock. And how
//! one is taken: by the short way as by the long one.

use core::time::Duration;

use bytes::Bytes;
use duologue::proto::{Acceptance, Config, Connection, Error, Event, Lane, Receipt};
use duologue::testing::SplitMix64;
use duologue::time::Time;
use duologue::wire::{
    Ack, Chat, CloseCode, Decoder, Frame, HEADER_LEN, Header, Kind, Message, Offer, Piece, Ping,
    Signal,
};

use super::proto_duo::{Duo, frame, read_with, said, tell};
use super::raw_peer::{ROLES, RawPeer};
use super::state_transfers::{accept, data, offer, start};

/// Taken a few at a time, chat is acknowledged together; a quarter of what may be sent ahead at once.
#[test]
fn a_quarter_of_a_lane_is_acknowledged_at_once() {
    let config = Config::builder().max_untaken(512).build().unwrap();
    let mut duo = Duo::open(config.clone(), config);
    for _ in 0..128 {
        duo.client.send_chat(&Chat::new("x")).unwrap();
    }
    let bytes = said(&mut duo.client, duo.now);
    let events = tell(&mut duo.server, duo.now, &bytes, false).unwrap();
    let items: Vec<_> = events.iter().filter_map(Event::item).collect();
    assert_eq!(items.len(), 128);

    duo.server.take(duo.now, items[126]);
    assert!(said(&mut duo.server, duo.now).is_empty(), "it waits for company, or 25 ms");
    duo.server.take(duo.now, items[127]);
    let bytes = said(&mut duo.server, duo.now);
    let events = tell(&mut duo.client, duo.now, &bytes, true).unwrap();
    assert!(events.iter().any(|event| matches!(event, Event::Receipts { .. })), "{events:?}");
}

#[test]
fn a_quarter_of_the_bytes_of_a_lane_is_acknowledged_at_once() {
    let mut duo = Duo::open(Config::default(), Config::default());
    let text = "x".repeat(15 * 1024);
    let mut taken = 0;
    for _ in 0..9 {
        duo.client.send_chat(&Chat::new(&*text)).unwrap();
        let bytes = said(&mut duo.client, duo.now);
        let events = tell(&mut duo.server, duo.now, &bytes, false).unwrap();
        let item = events.iter().find_map(Event::item).unwrap();
        duo.server.take(duo.now, item);
        taken += text.len();
        let is_said = !said(&mut duo.server, duo.now).is_empty();
        assert_eq!(is_said, taken >= 128 * 1024, "{taken} bytes were taken");
    }
    assert!(taken >= 128 * 1024);
}

/// Less waits for 200 µs, which do not pass here.
#[test]
fn much_of_a_file_is_acknowledged_at_once() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        offer(&mut peer, 1, &Offer::new("file")).unwrap();
        accept(&mut peer, 1);
        start(&mut peer, 1, 0).unwrap();
        peer.take_all();
        peer.wait(Duration::from_millis(100));
        data(&mut peer, 1, 16_384).unwrap();
        peer.settle();
        for round in 0..3 {
            data(&mut peer, 1, 16_384).unwrap();
            assert_eq!(peer.kinds().get(&Kind::ACK), None, "round {round}");
            data(&mut peer, 1, 16_384).unwrap();
            assert_eq!(peer.kinds().get(&Kind::ACK), Some(&1), "round {round}");
            peer.stream.frames.clear();
        }
    }
}

/// Once the rate is known, a file goes on while the clock stands still, which only acknowledgements
/// and credit that wait for no timer make possible.
#[test]
fn bulk_does_not_wait_for_a_clock() {
    const CHUNK: usize = 256 << 10;
    const CHUNKS: usize = 16;
    let mut duo = Duo::open(Config::default(), Config::default());
    let mut now = duo.now;
    let size = (CHUNK * CHUNKS) as u64;
    let file = duo.client.offer(&Offer::new("large").size(size), now).unwrap();
    duo.settle();
    duo.server.accept(file, Acceptance::default(), now).unwrap();
    duo.settle();

    let chunk = Bytes::from(vec![7; CHUNK]);
    let (mut queued, mut received) = (0, 0);
    for round in 0..10_000 {
        if round < 20 {
            now = now.saturating_add(Duration::from_micros(200));
            duo.server.handle_timeout(now);
        }
        while queued < size && duo.client.send_data(file, queued, chunk.clone()).is_ok() {
            queued += CHUNK as u64;
        }
        let bytes = said(&mut duo.client, now);
        for event in tell(&mut duo.server, now, &bytes, true).unwrap() {
            if let Event::Data { transfer, data, .. } = event {
                received += data.len() as u64;
                duo.server.release(transfer, data.len(), now);
            }
        }
        let bytes = said(&mut duo.server, now);
        tell(&mut duo.client, now, &bytes, true).unwrap();
        if received == size {
            return;
        }
    }
    panic!("{received} of {size} bytes came, and nothing moves without a timer");
}

/// What asks for no answer and is no item of a lane.
#[test]
fn what_is_not_taken_is_acknowledged_within_25_ms() {
    for victim in ROLES {
        for what in ["START", "SIGNAL", "an unknown kind"] {
            let mut peer = RawPeer::open(victim);
            offer(&mut peer, 1, &Offer::new("file")).unwrap();
            accept(&mut peer, 1);
            peer.take_all();
            peer.wait(Duration::from_millis(100));
            peer.settle();
            peer.stream.frames.clear();
            match what {
                "START" => start(&mut peer, 1, 0).unwrap(),
                "SIGNAL" => {
                    let signal = Signal { signal_type: 1, payload: b"s"[..].into() };
                    peer.send(0, Frame::Signal(signal)).unwrap();
                }
                _ => peer.send_raw(Kind::new(0xBF), 0, b"later").unwrap(),
            }
            assert_eq!(peer.kinds().get(&Kind::ACK), None, "{what}: it waits for company");
            peer.wait(Duration::from_millis(25));
            assert_eq!(peer.kinds().get(&Kind::ACK), Some(&1), "{what}");
        }
    }
}

/// Two equal servers: one takes an ACK by the long way, the other by the short one, and what they tell and
/// how they look has to be the same. The client is what a test makes it say.
struct Twins {
    one: Connection,
    two: Connection,
    now: Time,
    decoder: Decoder,
    /// Bytes that the servers have put on their stream, and where in it items of each lane ended.
    sent: u64,
    ends: [Vec<u64>; 2],
}

impl Twins {
    fn open() -> Self {
        let open = || Duo::open(Config::default(), Config::default());
        let (mut one, mut two) = (open(), open());
        // How many bytes they have said so far, the client's ACK of a signal says.
        let signal = Signal { signal_type: 1, payload: b"s"[..].into() };
        let [bytes, again] = [&mut one, &mut two].map(|duo| {
            duo.server.send_signal(&signal).unwrap();
            said(&mut duo.server, duo.now)
        });
        assert_eq!(bytes, again);
        tell(&mut one.client, one.now, &bytes, true).unwrap();
        let now = one.now.saturating_add(Duration::from_millis(25));
        one.client.handle_timeout(now);
        let said = said(&mut one.client, now);
        assert_eq!(said[..HEADER_LEN], Header { length: 24, kind: Kind::ACK, id: 0 }.encode());
        let sent = Ack::decode(&said[HEADER_LEN..]).unwrap().received;
        let (one, two, decoder) = (one.server, two.server, Decoder::new());
        let mut twins = Self { one, two, now, decoder, sent, ends: Default::default() };
        twins.wait(Duration::ZERO);
        twins
    }

    fn do_both(&mut self, mut action: impl FnMut(&mut Connection)) {
        action(&mut self.one);
        action(&mut self.two);
        self.look();
    }

    /// All that can be seen of them is the same.
    fn look(&mut self) {
        let [one, two] = [&mut self.one, &mut self.two].map(|machine| {
            let bytes = said(machine, self.now);
            let (timeout, statistics) = (machine.poll_timeout(), machine.statistics());
            let memory = machine.memory_usage();
            (
                bytes,
                format!("{timeout:?} {statistics:?} {memory} {:?} {machine:?}", machine.error()),
            )
        });
        assert_eq!(one, two);
        let mut rest = &one.0[..];
        while !rest.is_empty() {
            let (used, piece) = self.decoder.decode(rest);
            rest = &rest[used..];
            self.sent += used as u64;
            if let Some(Piece::Header(header)) = piece {
                if let Some(lane) = header.kind.lane() {
                    self.ends[usize::from(lane)].push(self.sent + u64::from(header.length));
                }
            }
        }
    }

    /// What both say of it.
    fn tell(&mut self, input: &[u8]) -> Result<Vec<Event<'static>>, Error> {
        let long = read_with(&mut self.one, self.now, input, |_, _, _| 0);
        let short = read_with(&mut self.two, self.now, input, |machine, input, events| {
            let mut used = 0;
            while let taken @ 1.. = machine.handle_acknowledgement(self.now, &input[used..]) {
                used += taken;
                events.extend(core::iter::from_fn(|| machine.poll_event()));
            }
            used
        });
        assert_eq!(long, short);
        let [one, two] = [&mut self.one, &mut self.two]
            .map(|machine| core::iter::from_fn(|| machine.poll_event()).collect::<Vec<_>>());
        assert_eq!(one, two);
        self.look();
        let mut events = long?;
        events.extend(one);
        for item in events.iter().filter_map(Event::item) {
            self.one.take(self.now, item);
            self.two.take(self.now, item);
        }
        self.look();
        Ok(events)
    }

    /// Items of each lane that end within so many bytes.
    fn next(&self, received: u64) -> [u64; 2] {
        self.ends.each_ref().map(|ends| ends.iter().filter(|&&end| end <= received).count() as u64)
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now.saturating_add(time);
        let now = self.now;
        self.do_both(|machine| machine.handle_timeout(now));
    }
}

fn ack(next: [u64; 2], received: u64) -> Vec<u8> {
    frame(0, &Frame::Ack(Ack { next, received }))
}

/// An ACK that is as it should be does its work by either way, with whatever stands beside it, and however
/// the input is cut.
#[test]
fn an_ack_by_the_short_way_is_the_same_as_by_the_long_one() {
    let (mut receipts, mut parts) = (0, 0);
    for seed in 0..120 {
        let mut random = SplitMix64::new(seed);
        let mut twins = Twins::open();
        let (mut last, mut received) = ([0; 2], twins.sent);
        for _ in 0..40 {
            let mut bytes = Vec::new();
            for _ in 0..random.below(5) {
                match random.below(8) {
                    0 => bytes.extend(frame(0, &Frame::Chat(Chat::new("beside")))),
                    1 => bytes.extend(frame(0, &Frame::Ping(Ping { token: [9; 8] }))),
                    2 => {
                        // Between the parts of a line.
                        bytes.extend(Header { length: 1024, kind: Kind::PART, id: 0 }.encode());
                        bytes.extend([&[0, 0][..], &[b'x'; 1022]].concat());
                        bytes.extend(ack(last, received));
                        bytes.extend(Header { length: 1, kind: Kind::CHAT, id: 0 }.encode());
                        bytes.push(b'y');
                        parts += 1;
                    }
                    3 => bytes.extend(ack(last, received)),
                    _ => {
                        received += random.below(twins.sent - received + 1);
                        let may = twins.next(received);
                        last =
                            [0, 1].map(|lane| may[lane] - random.below(may[lane] - last[lane] + 1));
                        bytes.extend(ack(last, received));
                    }
                }
            }
            let most = [20, 50, 5000][(seed % 3) as usize];
            while !bytes.is_empty() {
                let len = (1 + random.below(most) as usize).min(bytes.len());
                let events = twins.tell(&bytes[..len]).unwrap();
                receipts += events.iter().filter(|e| matches!(e, Event::Receipts { .. })).count();
                bytes.drain(..len);
            }
            let (lines, text) = (random.below(4), "x".repeat(random.below(3000) as usize));
            twins.do_both(|machine| {
                for _ in 0..lines {
                    machine.send_chat(&Chat::new(&*text)).unwrap();
                    let body = text.as_bytes().into();
                    let (message_type, is_reply, correlation) = (1, false, 2);
                    let message = Message { message_type, is_reply, correlation, body };
                    machine.send_message(&message).unwrap();
                }
            });
            twins.wait(Duration::from_millis(random.below(40)));
        }
    }
    assert!(receipts > 1000 && parts > 300, "{receipts} times receipts, {parts} lines in parts");
}

type Crafted = fn(&Twins) -> Vec<u8>;

/// One that is not ends the conversation by either way, at once, with the same code and last words.
#[test]
fn an_ack_that_is_a_violation_is_one_by_the_short_way_as_well() {
    let cases: [(&str, CloseCode, Crafted); 9] = [
        ("more bytes than were sent", CloseCode::PROTOCOL, |t| ack([0; 2], t.sent + 1)),
        ("fewer bytes than before", CloseCode::PROTOCOL, |t| ack([1, 1], t.sent - 1)),
        ("a line that was not sent", CloseCode::PROTOCOL, |t| ack([3, 1], t.sent)),
        ("a message that was not sent", CloseCode::PROTOCOL, |t| ack([1, 3], t.sent)),
        ("a line less than before", CloseCode::PROTOCOL, |t| ack([0, 1], t.sent)),
        ("a message less than before", CloseCode::PROTOCOL, |t| ack([1, 0], t.sent)),
        ("a line that has not arrived", CloseCode::PROTOCOL, |t| ack([2, 1], t.ends[0][1] - 1)),
        ("no number", CloseCode::MALFORMED, |_| {
            [&Header { length: 24, kind: Kind::ACK, id: 0 }.encode()[..], &[0xFF; 24]].concat()
        }),
        ("too often", CloseCode::FLOOD, |t| ack([1, 1], t.sent).repeat(1100)),
    ];
    for (what, code, bytes) in cases {
        for is_in_pieces in [false, true] {
            let mut twins = Twins::open();
            let message =
                Message { message_type: 1, is_reply: false, correlation: 2, body: b"m"[..].into() };
            twins.do_both(|machine| {
                machine.send_chat(&Chat::new("one")).unwrap();
                machine.send_message(&message).unwrap();
            });
            // Of the second line and message nothing was told.
            let honest = if what.starts_with("fewer") || code == CloseCode::FLOOD {
                ack([1, 1], twins.sent)
            } else {
                let (all, next) = (twins.sent, [1, 1]);
                twins.do_both(|machine| {
                    machine.send_chat(&Chat::new("two")).unwrap();
                    machine.send_message(&message).unwrap();
                });
                ack(next, all)
            };
            assert_eq!(twins.tell(&honest).unwrap().len(), 2, "{what}");
            let input = bytes(&twins);
            let len = if is_in_pieces { 20 } else { input.len() };
            let told = input.chunks(len).find_map(|input| twins.tell(input).err());
            assert_eq!(told.and_then(|error| error.code()), Some(code), "{what}");
            assert!(twins.two.is_closed(), "{what}");
            assert_eq!(twins.two.handle_acknowledgement(twins.now, &honest), 0, "{what}");
        }
    }
}

/// What an ACK tells comes before what was behind it, in one piece of input or in two.
#[test]
fn receipts_stand_before_what_came_behind_their_ack() {
    let mut twins = Twins::open();
    twins.do_both(|machine| {
        machine.send_chat(&Chat::new("question")).unwrap();
    });
    let answer = frame(0, &Frame::Chat(Chat::new("answer")));
    let events = twins.tell(&[ack([1, 0], twins.sent), answer].concat()).unwrap();
    let delivered =
        Event::Receipts { lane: Lane::Chat, numbers: 0..1, receipt: Receipt::Delivered };
    assert_eq!(events[0], delivered);
    assert!(matches!(events[1..], [Event::Chat { .. }]), "{events:?}");
}
