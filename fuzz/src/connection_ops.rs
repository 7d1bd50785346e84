//! One machine, its application and a scripted peer against a model of plain data: the events, the
//! frames and the refusals that the model says, no others.

mod app;
mod model;
mod outputs;
mod peer;

use arbitrary::{Arbitrary, Unstructured};
use duologue::proto::{
    Acceptor, Config, Connection, Error, Event, Lane, Opening, Receipt, StreamParameters,
};
use duologue::time::Time;
use duologue::wire::{
    CloseCode, ConversationId, Frame, Hello, Limits, PREFACE, Resume, Side, TransferId,
};

use self::model::Model;
use super::machine::{Input, Sent, Sizes, after};

/// Operations at most.
const STEPS: usize = 500;

pub struct World {
    machine: Connection,
    config: Config,
    /// What transfers may have of flow control: all together, and each.
    window: (u64, u64),
    limits: Limits,
    now: Time,
    sent: Sent,
    model: Model,
    /// What was told since the last look.
    events: Vec<Event<'static>>,
    fed: u64,
    /// Payload of the item that the peer says.
    said_size: usize,
    /// A rule was broken: the end.
    is_over: bool,
}

pub fn run(data: &[u8]) {
    let mut unstructured = Unstructured::new(data);
    let Ok((sizes, peer)) = <(Sizes, Sizes)>::arbitrary(&mut unstructured) else { return };
    let mut input = Input(unstructured.take_rest());
    let side = if input.flag() { Side::Server } else { Side::Client };
    let mut world = World::open(side, sizes, *peer.config().limits());
    for _ in 0..STEPS {
        if input.is_empty() || world.is_over {
            break;
        }
        let choice = input.byte();
        match choice & 0x1F {
            0..=13 => world.act(choice, &mut input),
            14..=28 => world.say(choice, &mut input),
            29 => world.drain(input.number() as usize),
            30 => world.wait(input.number() & 0xF_FFFF),
            _ => world.break_a_rule(&mut input),
        }
        world.check();
    }
    if !world.is_over {
        world.settle();
    }
}

impl World {
    /// A handshake as it should be.
    fn open(side: Side, sizes: Sizes, limits: Limits) -> Self {
        let config = sizes.config();
        let window = (sizes.receive_window().into(), sizes.reserved_window().into());
        let now = Time::from_micros(1);
        let stream = StreamParameters::new([1; 32]);
        let mut hello = Hello {
            lowest_version: 1,
            highest_version: 1,
            side: side.opposite(),
            nonce: [2; 32],
            conversation: ConversationId::new([9; 16]),
            attach: 0,
            stream: 0,
            features: 0,
            limits,
            unknown_critical: None,
        };
        let mut first = PREFACE.to_vec();
        let secret = (side == Side::Client).then_some([7; 32]);
        let resume = Frame::Resume(Resume { secret, ..Resume::default() });
        let machine = if side == Side::Client {
            let machine = Connection::client(config.clone(), stream, now);
            hello.conversation = machine.conversation();
            Frame::Hello(hello).encode(0, &mut first).expect("it is valid");
            machine
        } else {
            Frame::Hello(hello).encode(0, &mut first).expect("it is valid");
            let mut acceptor = Acceptor::new(config.clone(), stream, now);
            let taken = acceptor.handle_input(now, &first).expect("it is valid");
            assert!(taken.1.is_some());
            first.clear();
            acceptor.accept(now).expect("it asked")
        };
        let mut world = Self {
            machine,
            config,
            window,
            limits,
            now,
            sent: Sent::new(limits),
            model: Model::default(),
            events: Vec::new(),
            fed: 0,
            said_size: 0,
            is_over: false,
        };
        world.feed(&first).expect("it is valid");
        world.machine.accept_peer(now).expect("its HELLO came");
        let mut last = Vec::new();
        resume.encode(0, &mut last).expect("it is valid");
        world.feed(&last).expect("it is valid");
        assert_eq!(world.events.pop(), Some(Event::Open(Opening::New)));
        assert!(matches!(world.events.pop(), Some(Event::PeerHello { .. })));
        let limits = world.limits;
        let bytes: Vec<u8> =
            world.machine.poll_transmit(now).into_iter().flatten().copied().collect();
        world.machine.advance_transmit(bytes.len());
        world.sent.limits = limits;
        world.sent.read(&bytes, |_, _| {});
        world
    }

    /// Hands bytes to the machine, and notes what it tells.
    fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        self.fed += bytes.len() as u64;
        while !bytes.is_empty() {
            let (used, event) = self.machine.handle_input(self.now, bytes)?;
            assert!(used > 0 && used <= bytes.len());
            bytes = &bytes[used..];
            if let Some(event) = event {
                self.note(event.into_owned());
            }
            self.poll();
        }
        Ok(())
    }

    fn poll(&mut self) {
        while let Some(event) = self.machine.poll_event() {
            self.note(event);
        }
    }

    fn note(&mut self, event: Event<'static>) {
        if let Some(item) = event.item() {
            let lane = &mut self.model.lanes[usize::from(item.lane == Lane::Control)];
            lane.untaken.push_back((item.number, self.said_size));
        }
        let is_told_at_will =
            matches!(event, Event::Writable { .. } | Event::LaneWritable(_) | Event::MayOffer);
        if !is_told_at_will {
            self.events.push(event);
        }
    }

    /// Panics unless the machine told just this.
    fn told(&mut self, expected: &[Event<'static>]) {
        let told = std::mem::take(&mut self.events);
        assert_eq!(told, expected);
    }

    /// Takes at most `most` bytes of what the machine says.
    fn drain(&mut self, most: usize) {
        let mut bytes = Vec::new();
        for slice in self.machine.poll_transmit(self.now) {
            bytes.extend_from_slice(&slice[..slice.len().min(most - bytes.len())]);
        }
        self.machine.advance_transmit(bytes.len());
        let Self { sent, model, window, limits, .. } = self;
        sent.read(&bytes, |header, frame| outputs::hear(model, *window, limits, header, frame));
        for lane in &mut model.lanes {
            lane.ends.resize(lane.unacknowledged.len(), sent.bytes);
        }
        self.poll();
        self.told(&[]);
    }

    fn wait(&mut self, micros: u64) {
        // Not so long that anything expires.
        if self.now.as_micros() > 3_000_000 {
            return;
        }
        self.now = after(self.now, micros);
        self.machine.handle_timeout(self.now);
        assert!(self.machine.poll_timeout().is_none_or(|at| at > self.now));
        self.poll();
        self.told(&[]);
    }

    fn check(&mut self) {
        let held = self.machine.memory_usage();
        assert!(held <= self.config.worst_case_memory(), "{held}");
        let statistics = self.machine.statistics();
        // Planned credit counts before it is heard.
        let heard: u64 = self
            .model
            .theirs
            .values()
            .filter(|t| t.state == model::State::Open)
            .map(|t| t.limit.saturating_sub(t.sent))
            .sum();
        assert!(self.is_over || statistics.receive_window >= heard, "less than was granted");
    }

    /// Everything is acknowledged, granted, taken and said: nothing may be left.
    fn settle(&mut self) {
        for _ in 0..300 {
            let before = self.sent.bytes;
            self.drain(usize::MAX);
            self.grant_all();
            self.acknowledge([u64::MAX, u64::MAX], u64::MAX);
            self.take(usize::MAX);
            self.now = after(self.now, 5_000);
            self.machine.handle_timeout(self.now);
            self.poll();
            self.told(&[]);
            let is_quiet = self.sent.bytes == before;
            if is_quiet && self.is_settled() {
                return;
            }
        }
        panic!("it does not come to rest: {:?} {:?}", self.model, self.machine);
    }

    fn is_settled(&self) -> bool {
        let is_said = |t: &model::Mine| {
            let is_held = t.is_paused || t.is_paused_by_peer;
            t.state != model::State::Open || is_held || t.heard == t.pushed
        };
        self.model
            .lanes
            .iter()
            .all(|lane| lane.expected.is_empty() && lane.machine_acknowledged == lane.said)
            && self.model.mine.values().all(is_said)
    }

    /// The peer acknowledges up to these numbers, as far as it heard so many.
    fn acknowledge(&mut self, upto: [u64; 2], received: u64) {
        let mut receipts = Vec::new();
        let (mut next, mut least) = ([0, 0], self.model.reported);
        let kinds = [Lane::Chat, Lane::Control];
        for ((lane, upto), (next, kind)) in
            self.model.lanes.iter_mut().zip(upto).zip(next.iter_mut().zip(kinds))
        {
            *next = upto.clamp(lane.acknowledged, lane.heard);
            if *next > lane.acknowledged {
                let numbers = lane.acknowledged..*next;
                let count = (*next - lane.acknowledged) as usize;
                lane.unacknowledged.drain(..count);
                // Who took them has all their bytes.
                least = lane.ends.drain(..count).fold(least, u64::max);
                receipts.push(Event::Receipts { lane: kind, numbers, receipt: Receipt::Delivered });
                lane.acknowledged = *next;
            }
        }
        self.model.reported = received.clamp(least, self.sent.bytes);
        let ack = duologue::wire::Ack { next, received: self.model.reported };
        self.frame(0, &Frame::Ack(ack));
        self.told(&receipts);
    }

    /// One frame of the peer's, which has to be taken.
    fn frame(&mut self, id: u32, frame: &Frame<'_>) {
        let mut bytes = Vec::new();
        frame.encode(id, &mut bytes).expect("it is valid");
        if let Err(error) = self.feed(&bytes) {
            panic!("{frame:?} of {id:#x} is allowed: {error}");
        }
    }

    /// Panics unless the machine refuses this, and goes on refusing.
    fn refuse(&mut self, bytes: &[u8], code: CloseCode) {
        self.events.clear();
        let error = self.feed(bytes).expect_err("it breaks a rule");
        assert_eq!(error.code(), Some(code), "{error}");
        assert_eq!(self.machine.handle_input(self.now, b"x"), Err(error));
        assert!(self.machine.is_closed() && self.machine.error() == Some(&error));
        self.is_over = true;
        let last: Vec<u8> =
            self.machine.poll_transmit(self.now).into_iter().flatten().copied().collect();
        self.machine.advance_transmit(last.len());
        let mut goodbyes = Vec::new();
        self.sent.read(&last, |_, frame| {
            if let Frame::Goodbye(goodbye) = frame {
                goodbyes.push(goodbye.code);
            }
        });
        assert_eq!(goodbyes, [code]);
        assert!(self.machine.is_write_closed());
    }

    fn transfer(&self, ours: bool, number: usize) -> TransferId {
        let side = self.machine.side();
        let side = if ours { side } else { side.opposite() };
        TransferId::new(side, number as u32).expect("it is small")
    }
}
