//! File data that is taken many frames at a time does all that frames one by one do: the same input
//! goes to two machines, and everything that can be seen of them is the same.

use core::time::Duration;

use duologue::proto::{Acceptance, Conclusion, Config, Connection, Error, Event};
use duologue::testing::SplitMix64;
use duologue::time::Time;
use duologue::wire::{
    Cancel, Chat, Finish, Frame, Header, Kind, Offer, Pause, Ping, Side, Start, TransferCode,
    TransferId,
};

use crate::proto_duo::{Duo, frame, read_with, said};

/// Takes input, with or without the short cut.
fn read(
    machine: &mut Connection,
    now: Time,
    input: &[u8],
    many: bool,
) -> Result<Vec<Event<'static>>, Error> {
    read_with(machine, now, input, |machine, input, events| {
        if !many {
            return 0;
        }
        machine.handle_bulk(now, input, |transfer, offset, place| {
            let data = input[place].to_vec().into();
            events.push(Event::Data { transfer, offset, data });
        })
    })
}

/// A peer that offers files and sends data of them, most of it as it should.
struct Peer {
    random: SplitMix64,
    is_hostile: bool,
    /// Of each file its size and what was sent.
    files: Vec<(u64, u64)>,
    pings: u64,
}

impl Peer {
    fn id(number: usize) -> u32 {
        TransferId::new(Side::Client, number as u32 + 1).unwrap().to_wire()
    }

    fn offer(&mut self) -> Vec<u8> {
        let size = [100, 5000, 100_000, 3_000_000][self.random.below(4) as usize];
        let number = self.files.len();
        self.files.push((size, 0));
        let offer = Offer::new("file").size(size);
        [frame(Self::id(number), &Frame::Offer(offer))].concat()
    }

    fn data(&mut self, number: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let (size, mut sent) = self.files[number];
        for _ in 0..1 + self.random.below(12) {
            let len = [1, 700, 1024, 3000, 16_384, 16_384, 16_384][self.random.below(7) as usize];
            let len = if self.is_hostile && self.random.below(60) == 0 {
                len + 16_384
            } else {
                len.min(size - sent)
            };
            if len == 0 && !self.is_hostile {
                break;
            }
            let header = Header { length: len as u32, kind: Kind::DATA, id: Self::id(number) };
            bytes.extend(header.encode());
            bytes.extend((0..len).map(|at| (sent + at).wrapping_mul(31) as u8));
            sent = size.min(sent + len);
        }
        self.files[number].1 = sent;
        bytes
    }

    fn frames(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..self.random.below(12) {
            let number = self.random.below(self.files.len() as u64) as usize;
            let (size, sent) = self.files[number];
            let id = Self::id(number);
            match self.random.below(if self.is_hostile { 40 } else { 36 }) {
                0 => bytes.extend(frame(0, &Frame::Chat(Chat::new("beside")))),
                1 => {
                    self.pings += 1;
                    bytes.extend(frame(0, &Frame::Ping(Ping { token: self.pings.to_be_bytes() })));
                }
                2 if sent == size => {
                    let finish = Finish { total: size, digest: None };
                    bytes.extend(frame(id, &Frame::Finish(finish)));
                }
                3 if self.random.below(4) == 0 => {
                    let cancel = Cancel { code: TransferCode::CANCELLED, text: "".into() };
                    bytes.extend(frame(id, &Frame::Cancel(cancel)));
                }
                4 => bytes.extend(frame(id, &Frame::Pause(Pause { is_paused: true }))),
                5 => bytes.extend(frame(id, &Frame::Pause(Pause { is_paused: false }))),
                36 => bytes.extend(frame(id, &Frame::Start(Start { offset: 0 }))),
                37 => bytes.extend(Header { length: 9, kind: Kind::DATA, id: 77 }.encode()),
                38 => bytes.extend(Header { length: 0, kind: Kind::DATA, id }.encode()),
                39 => bytes.extend(Header { length: 1 << 20, kind: Kind::DATA, id }.encode()),
                _ => bytes.extend(self.data(number)),
            }
        }
        bytes
    }
}

/// All that can be seen of a machine from outside.
fn look(machine: &mut Connection, now: Time) -> String {
    let bytes = said(machine, now);
    let (timeout, statistics) = (machine.poll_timeout(), machine.statistics());
    let memory = machine.memory_usage();
    format!("{bytes:?} {timeout:?} {statistics:?} {memory} {:?} {machine:?}", machine.error())
}

/// What an application does with what came; the same with both machines.
fn act(machine: &mut Connection, now: Time, events: &[Event<'_>], random: &mut SplitMix64) {
    for event in events {
        match *event {
            Event::Offered { transfer, .. } => {
                machine.accept(transfer, Acceptance::default(), now).unwrap();
            }
            Event::Data { transfer, ref data, .. } if random.below(4) > 0 => {
                machine.release(transfer, data.len(), now);
                if random.below(40) == 0 {
                    let (code, text) = (TransferCode::NO_SPACE, "");
                    let _ = machine.conclude(transfer, &Conclusion::Failed { code, text });
                }
            }
            Event::CancelAsked { transfer, code, .. } if random.below(2) == 0 => {
                let _ = machine.conclude(transfer, &Conclusion::Failed { code, text: "" });
            }
            Event::Finished { transfer, .. } => {
                let _ = machine.conclude(transfer, &Conclusion::Stored { name: "file" });
            }
            _ => {}
        }
        event.item().into_iter().for_each(|item| machine.take(now, item));
    }
}

#[test]
fn much_data_at_once_is_the_same_as_frame_by_frame() {
    let (mut pieces, mut taken, mut errors) = (0, 0, 0);
    for seed in 0..300 {
        let mut random = SplitMix64::new(seed);
        let window = [64 << 10, 256 << 10, 4 << 20][(seed % 3) as usize];
        let config =
            || Config::builder().receive_window(window).reserved_window(16 << 10).build().unwrap();
        let (mut one, mut many) = (Duo::open(config(), config()), Duo::open(config(), config()));
        let mut peer = Peer {
            random: SplitMix64::new(seed ^ 0xF00D),
            is_hostile: seed % 4 == 0,
            files: Vec::new(),
            pings: 0,
        };
        let mut now = one.now;
        let mut bytes = Vec::new();
        let count = 1 + random.below(3);
        for _ in 0..count {
            bytes.extend(peer.offer());
        }
        for round in 0..30 {
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let len = 1 + random.below([50, 5000, 300_000][(seed % 3) as usize]) as usize;
                let (input, after) = rest.split_at(len.min(rest.len()));
                rest = after;
                let once = read(&mut one.server, now, input, false);
                let all = read(&mut many.server, now, input, true);
                assert_eq!(once, all, "seed {seed}");
                let Ok(events) = once else {
                    errors += 1;
                    break;
                };
                pieces += events.iter().filter(|event| matches!(event, Event::Data { .. })).count();
                let choices = random.below(u64::MAX);
                act(&mut one.server, now, &events, &mut SplitMix64::new(choices));
                act(&mut many.server, now, &events, &mut SplitMix64::new(choices));
                assert_eq!(look(&mut one.server, now), look(&mut many.server, now), "seed {seed}");
                now = now.saturating_add(Duration::from_micros(random.below(30_000)));
                one.server.handle_timeout(now);
                many.server.handle_timeout(now);
            }
            if one.server.error().is_some() {
                break;
            }
            bytes = Vec::new();
            if round == 0 {
                for number in 0..count as usize {
                    let start = Frame::Start(Start { offset: 0 });
                    bytes.extend(frame(Peer::id(number), &start));
                }
            }
            bytes.extend(peer.frames());
            taken += bytes.len();
        }
    }
    assert!(pieces > 10_000 && errors > 20, "{pieces} pieces, {errors} errors, {taken} bytes");
}

#[test]
fn without_an_open_stream_or_a_transfer_nothing_is_taken() {
    let mut data = Header { length: 2000, kind: Kind::DATA, id: Peer::id(0) }.encode().to_vec();
    data.extend([7; 2000]);
    let nothing = |_: TransferId, _: u64, _: core::ops::Range<usize>| unreachable!("taken");
    let mut duo = Duo::new(Config::default(), Config::default());
    assert_eq!(duo.server.handle_bulk(duo.now, &data, nothing), 0);
    let mut duo = Duo::open(Config::default(), Config::default());
    assert_eq!(duo.server.handle_bulk(duo.now, &data, nothing), 0, "nothing was offered");
    let transfer = duo.client.offer(&Offer::new("file"), duo.now).unwrap();
    duo.settle();
    assert_eq!(duo.server.handle_bulk(duo.now, &data, nothing), 0, "it is not accepted");
    duo.server.accept(transfer, Acceptance::default(), duo.now).unwrap();
    duo.settle();
    assert_eq!(duo.server.handle_bulk(duo.now, &data, nothing), 0, "it has not started");
    let start = frame(transfer.to_wire(), &Frame::Start(Start { offset: 0 }));
    duo.server.handle_input(duo.now, &start).unwrap();
    assert_eq!(duo.server.handle_bulk(duo.now, &data[..8], nothing), 0, "none of it is there");
    let mut told = Vec::new();
    let input = [&data[..], &data, &data[..10]].concat();
    let used =
        duo.server.handle_bulk(duo.now, &input, |_, offset, place| told.push((offset, place)));
    assert_eq!(used, input.len());
    assert_eq!(told, [(0, 8..2008), (2000, 2016..4016), (4000, 4024..4026)]);
    let used = duo.server.handle_bulk(duo.now, &data[10..], |_, offset, place| {
        assert_eq!((offset, place), (4002, 0..1998));
    });
    assert_eq!(used, 1998);
    duo.server.handle_eof(duo.now);
    assert_eq!(duo.server.handle_bulk(duo.now, &data, nothing), 0, "there is no stream");
}
