//! What one frame costs the machine, with one transfer open and with a thousand.
//!
//! `cargo bench --bench machine` lets two machines talk in one thread, without a stream between
//! them, and prints nanoseconds for both ends together: a DATA frame, a line of chat beside open
//! files that are idle, and a file from its offer to its verdict.

use std::time::{Duration, Instant};

use bytes::Bytes;
use duologue::proto::{
    Acceptance, Acceptor, Conclusion, Config, Connection, Event, StreamParameters,
};
use duologue::time::Time;
use duologue::wire::{Chat, Offer, TransferId};

const ROUNDS: usize = 5;
const FRAMES: u64 = 40_000;
const CHUNK: usize = 16 * 1024;

/// Two machines that are open, and a clock.
struct Duo {
    client: Connection,
    server: Connection,
    now: Time,
    buffer: Vec<u8>,
    frames: u64,
    writable: Vec<(TransferId, u64)>,
    chats: u64,
    stored: u64,
}

fn config(transfers: u32) -> Config {
    Config::builder()
        .max_transfers(transfers)
        .max_undecided(transfers)
        .outgoing_transfers(transfers)
        .receive_window(1 << 30)
        .reserved_window(65_536)
        .max_untaken(8192)
        .max_untaken_bytes(16 << 20)
        .queued_items(8192)
        .queued_bytes(16 << 20)
        .build()
        .unwrap()
}

impl Duo {
    fn open(config: &Config) -> Self {
        let now = Time::from_micros(1_000_000);
        let mut client = Connection::client(config.clone(), StreamParameters::new([1; 32]), now);
        let hello: Vec<u8> = client.poll_transmit(now).into_iter().flatten().copied().collect();
        client.advance_transmit(hello.len());
        let mut acceptor = Acceptor::new(config.clone(), StreamParameters::new([2; 32]), now);
        acceptor.handle_input(now, &hello).unwrap();
        let server = acceptor.accept(now).unwrap();
        let (buffer, writable) = (Vec::new(), Vec::new());
        let mut duo =
            Self { client, server, now, buffer, frames: 0, writable, chats: 0, stored: 0 };
        duo.exchange();
        duo.client.accept_peer(now).unwrap();
        duo.server.accept_peer(now).unwrap();
        duo.settle();
        duo
    }

    /// Carries what each side has to say to the other, which does what an application would.
    fn exchange(&mut self) -> bool {
        self.now = self.now.saturating_add(Duration::from_micros(300));
        let up = self.carry(true);
        let down = self.carry(false);
        for machine in [&mut self.client, &mut self.server] {
            if machine.poll_timeout().is_some_and(|due| due <= self.now) {
                machine.handle_timeout(self.now);
            }
        }
        up || down
    }

    fn settle(&mut self) {
        let mut quiet = 0;
        while quiet < 200 {
            quiet = if self.exchange() { 0 } else { quiet + 1 };
        }
    }

    fn carry(&mut self, is_up: bool) -> bool {
        let now = self.now;
        let (from, to) = if is_up {
            (&mut self.client, &mut self.server)
        } else {
            (&mut self.server, &mut self.client)
        };
        self.buffer.clear();
        for slice in from.poll_transmit(now) {
            self.buffer.extend_from_slice(slice);
        }
        from.advance_transmit(self.buffer.len());
        let mut rest = &self.buffer[..];
        while !rest.is_empty() {
            let (used, event) = to.handle_input(now, rest).unwrap();
            rest = &rest[used..];
            let Some(event) = event else { continue };
            let item = event.item();
            match event {
                Event::Data { transfer, data, .. } => {
                    self.frames += 1;
                    to.release(transfer, data.len(), now);
                }
                Event::Offered { transfer, offer, .. } if offer.batch.is_none() => {
                    to.accept(transfer, Acceptance::default(), now).unwrap();
                }
                Event::Accepted { transfer, .. } => self.writable.push((transfer, 0)),
                Event::Chat { .. } => self.chats += 1,
                Event::Finished { transfer, .. } => {
                    to.conclude(transfer, &Conclusion::Stored { name: "n" }).unwrap();
                }
                Event::Verdict { .. } => self.stored += 1,
                _ => {}
            }
            if let Some(item) = item {
                to.take(now, item);
            }
        }
        for machine in [&mut self.client, &mut self.server] {
            while let Some(event) = machine.poll_event() {
                if let Event::Writable { transfer, offset } = event {
                    self.writable.push((transfer, offset));
                }
            }
        }
        !self.buffer.is_empty()
    }

    /// Opens so many files.
    fn offer(&mut self, count: u32) {
        for _ in 0..count {
            self.client.offer(&Offer::new("file").seekable(), self.now).unwrap();
            if self.client.statistics().sent.messages.frames % 64 == 0 {
                self.exchange();
            }
        }
        self.settle();
        assert_eq!(self.writable.len(), count as usize);
    }

    /// Queues what there is room for.
    fn fill(&mut self, chunk: &Bytes) {
        for (transfer, mut offset) in std::mem::take(&mut self.writable) {
            while self.client.send_data(transfer, offset, chunk.clone()).is_ok() {
                offset += chunk.len() as u64;
            }
        }
    }
}

/// Nanoseconds a DATA frame, all files in turn.
fn data(transfers: u32) -> f64 {
    let mut duo = Duo::open(&config(transfers));
    duo.offer(transfers);
    let chunk = Bytes::from(vec![7; CHUNK]);
    let run = |duo: &mut Duo, frames: u64| {
        let until = duo.frames + frames;
        while duo.frames < until {
            duo.fill(&chunk);
            duo.exchange();
        }
    };
    run(&mut duo, FRAMES / 4);
    let (before, started) = (duo.frames, Instant::now());
    run(&mut duo, FRAMES);
    started.elapsed().as_secs_f64() * 1e9 / (duo.frames - before) as f64
}

/// Nanoseconds a line of chat beside files that are open and idle.
fn chat(transfers: u32) -> f64 {
    let mut duo = Duo::open(&config(transfers));
    duo.offer(transfers);
    let (before, started) = (duo.chats, Instant::now());
    while duo.chats < before + FRAMES {
        duo.client.send_chat(&Chat::new("A line of text.")).unwrap();
        duo.exchange();
    }
    started.elapsed().as_secs_f64() * 1e9 / (duo.chats - before) as f64
}

/// Nanoseconds from offer to verdict of an empty file, all of them at once.
fn whole(transfers: u32) -> f64 {
    let mut duo = Duo::open(&config(transfers));
    let (mut count, started) = (0, Instant::now());
    while count < 4000 {
        for _ in 0..transfers {
            duo.client.offer(&Offer::new("file"), duo.now).unwrap();
        }
        count += u64::from(transfers);
        while duo.stored < count {
            duo.exchange();
            for (transfer, _) in std::mem::take(&mut duo.writable) {
                duo.client.finish(transfer, None).unwrap();
            }
        }
    }
    started.elapsed().as_secs_f64() * 1e9 / count as f64
}

/// What is measured, in nanoseconds, with so many transfers.
type Subject = (&'static str, fn(u32) -> f64);

fn main() {
    println!("{ROUNDS} rounds in turn, ns for both ends: median (least to most)");
    let subjects: [Subject; 3] =
        [("16 KiB DATA", data), ("chat beside files", chat), ("offer to verdict", whole)];
    for (name, subject) in subjects {
        let mut figures = [1, 10, 100, 1000].map(|transfers| (transfers, Vec::new()));
        for _ in 0..ROUNDS {
            for (transfers, rounds) in &mut figures {
                rounds.push(subject(*transfers));
            }
        }
        for (transfers, rounds) in &mut figures {
            rounds.sort_by(f64::total_cmp);
            let (least, most) = (rounds[0], rounds[ROUNDS - 1]);
            let middle = rounds[ROUNDS / 2];
            println!("{name:<18} {transfers:>5} open {middle:>9.0} ns ({least:.0} to {most:.0})");
        }
    }
}
