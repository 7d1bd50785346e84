//! The two machines, the queues between them, and what holds after every operation.

use std::collections::VecDeque;

use duologue::proto::{Acceptor, Connection, Event, StreamParameters};
use duologue::time::Time;
use duologue::wire::{Frame, Header, Kind, Side, TransferId};

use super::super::machine::{Sent, Sizes, after};
use super::app::{App, Peer};

/// What a machine has put on the wire.
#[derive(Debug)]
struct Wire {
    sent: Sent,
    queue: VecDeque<u8>,
    /// Sizes of the items whole on the wire, by lane; and how many of them were acknowledged.
    items: [Vec<u32>; 2],
}

pub struct World {
    pub now: Time,
    machines: [Connection; 2],
    apps: [App; 2],
    wires: [Wire; 2],
}

impl World {
    pub fn new(sizes: [Sizes; 2]) -> Self {
        let configs = sizes.map(|sizes| sizes.config());
        let now = Time::from_micros(1_000_000);
        let limits = [*configs[1].limits(), *configs[0].limits()];
        let [client_config, server_config] = configs;
        let apps = [App::new(Side::Client, sizes[0]), App::new(Side::Server, sizes[1])];
        let mut wires = limits.map(|limits| Wire {
            sent: Sent::new(limits),
            queue: VecDeque::new(),
            items: Default::default(),
        });
        let mut client = Connection::client(client_config, StreamParameters::new([1; 32]), now);
        let hello: Vec<u8> = client.poll_transmit(now).into_iter().flatten().copied().collect();
        client.advance_transmit(hello.len());
        wires[0].sent.read(&hello, |_, _| {});
        let mut acceptor = Acceptor::new(server_config, StreamParameters::new([2; 32]), now);
        let (used, request) = acceptor.handle_input(now, &hello).expect("an honest HELLO");
        assert!(used == hello.len() && request.is_some());
        let server = acceptor.accept(now).expect("nothing is wrong");
        let mut world = Self { now, machines: [client, server], apps, wires };
        for _ in 0..4 {
            world.exchange();
            for machine in &mut world.machines {
                let _ = machine.accept_peer(now);
            }
        }
        world.exchange();
        world.check();
        assert!(world.machines.iter().all(Connection::is_open), "a valid handshake opens");
        world
    }

    pub fn with(&mut self, side: usize, call: impl FnOnce(&mut App, &mut Connection)) {
        let (app, machine) = (&mut self.apps[side], &mut self.machines[side]);
        call(app, machine);
        self.poll(side);
    }

    /// Moves at most `most` bytes from a machine into its queue.
    pub fn transmit(&mut self, side: usize, most: usize) {
        let Wire { sent, queue, items } = &mut self.wires[side];
        let app = &mut self.apps[side];
        let transmit = self.machines[side].poll_transmit(self.now);
        let mut bytes: Vec<u8> = transmit.into_iter().flatten().copied().collect();
        bytes.truncate(most);
        self.machines[side].advance_transmit(bytes.len());
        sent.read(&bytes, |header, frame| {
            if let Some(lane) = header.kind.lane() {
                items[usize::from(lane)].push(header.length);
            }
            on_frame(app, header, frame);
        });
        queue.extend(bytes);
        self.poll(side);
    }

    /// Hands at most `most` bytes to a machine, in pieces.
    pub fn deliver(&mut self, side: usize, most: usize, piece: usize) {
        let queue = &mut self.wires[1 - side].queue;
        let bytes: Vec<u8> = queue.drain(..queue.len().min(most)).collect();
        let piece = piece.max(bytes.len() / 512).max(1);
        for mut rest in bytes.chunks(piece) {
            while !rest.is_empty() {
                let (used, event) = match self.machines[side].handle_input(self.now, rest) {
                    Ok(done) => done,
                    Err(error) => panic!("an honest peer was accused: {error}"),
                };
                assert!(used > 0 && used <= rest.len());
                rest = &rest[used..];
                let event = event.map(Event::into_owned);
                if let Some(event) = event {
                    self.on_event(side, event);
                }
                self.poll(side);
            }
        }
    }

    fn on_event(&mut self, side: usize, event: Event<'_>) {
        let [client, server] = &mut self.apps;
        let (app, peer) = if side == 0 { (client, server) } else { (server, client) };
        let wire = &self.wires[side];
        let sent = [0, 1].map(|lane| wire.items[lane].len() as u64);
        let peer = Peer { truth: &mut peer.truth, untaken: &peer.untaken, sent };
        app.on_event(peer, event);
    }

    fn poll(&mut self, side: usize) {
        while let Some(event) = self.machines[side].poll_event() {
            self.on_event(side, event);
        }
    }

    /// The application takes what was handed out, up to the `last`-th.
    pub fn take(&mut self, side: usize, lane: usize, last: usize) {
        let now = self.now;
        self.with(side, |app, machine| app.take(machine, lane, last, now));
    }

    /// Everything goes everywhere; whether anything did.
    pub fn exchange(&mut self) -> bool {
        let mut has_moved = false;
        for side in [0, 1] {
            self.transmit(side, usize::MAX);
            has_moved |= !self.wires[side].queue.is_empty();
            self.deliver(1 - side, usize::MAX, usize::MAX);
        }
        has_moved
    }

    /// Time passes. When it is long nothing stays under way, so that no stream seems dead.
    pub fn wait(&mut self, micros: u64) {
        let end = after(self.now, micros.min(1_000_000_000));
        // Less than what any time-out of the stream leaves, however often.
        if micros < 1000 {
            self.set_time(end);
            return;
        }
        for _ in 0..2000 {
            for _ in 0..200 {
                if !self.exchange() {
                    break;
                }
            }
            if self.now >= end {
                return;
            }
            let next = self.machines.iter().filter_map(Connection::poll_timeout).min();
            self.set_time(next.map_or(end, |next| next.min(end)));
        }
    }

    pub fn wait_for_deadline(&mut self) {
        let Some(next) = self.machines.iter().filter_map(Connection::poll_timeout).min() else {
            return;
        };
        let micros = next.saturating_duration_since(self.now).as_micros();
        self.wait(u64::try_from(micros).unwrap_or(u64::MAX));
    }

    fn set_time(&mut self, now: Time) {
        self.now = now;
        for side in [0, 1] {
            self.machines[side].handle_timeout(now);
            let timeout = self.machines[side].poll_timeout();
            assert!(timeout.is_none_or(|at| at > now), "{timeout:?} was handled at {now:?}");
            self.poll(side);
        }
    }

    /// What holds at any time.
    pub fn check(&self) {
        for side in [0, 1] {
            let (machine, app) = (&self.machines[side], &self.apps[side]);
            assert_eq!(machine.error(), None);
            assert!(machine.is_open() && !machine.is_detached());
            let timeout = machine.poll_timeout().expect("an open stream has deadlines");
            // What just came may be due at once.
            assert!(timeout >= self.now, "{timeout:?} was handled at {:?}", self.now);
            let held = machine.memory_usage() + app.held();
            let most = machine.config().worst_case_memory();
            assert!(held <= most, "{held} bytes, more than {most}");
            app.check_credit(machine.config());
            app.check_capacity(machine);
            let limits = machine.peer_limits().expect("it is open");
            for lane in [0, 1] {
                let items = &self.wires[side].items[lane];
                let waiting = &items[usize::try_from(app.resolved[lane]).expect("few")..];
                assert!(waiting.len() <= limits.items as usize, "{} items", waiting.len());
                let bytes: u64 = waiting.iter().map(|len| u64::from(*len)).sum();
                assert!(waiting.len() < 2 || bytes <= limits.item_bytes.into(), "{bytes} bytes");
            }
        }
    }

    /// Whoever takes everything has everything in the end.
    pub fn settle(&mut self) {
        let is_done = |world: &Self| {
            let [client, server] = &world.apps;
            client.is_done(&server.truth) && server.is_done(&client.truth)
        };
        for _ in 0..3000 {
            for side in [0, 1] {
                self.take(side, 0, usize::MAX);
                self.take(side, 1, usize::MAX);
                let now = self.now;
                self.with(side, |app, machine| app.release_all(machine, now));
            }
            let has_moved = self.exchange();
            self.check();
            if is_done(self) {
                return;
            }
            if !has_moved {
                self.wait_for_deadline();
            }
        }
        panic!("what was said does not arrive: {:?}", self.apps);
    }
}

fn on_frame(app: &mut App, header: Header, frame: &Frame<'_>) {
    let Some(transfer) = TransferId::from_wire(header.id) else { return };
    match frame {
        Frame::Credit(credit) => app.on_credit_sent(transfer, *credit),
        Frame::Data(data) => app.on_data_sent(transfer, data),
        Frame::Start(start) => app.on_start_sent(transfer, start.offset),
        _ => assert_ne!(header.kind, Kind::DATA),
    }
}
