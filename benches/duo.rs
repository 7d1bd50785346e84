//! Two machines that talk in one thread, without a stream between them.

use std::time::Duration;

use bytes::Bytes;
use duologue::proto::{
    Acceptance, Acceptor, Conclusion, Config, Connection, Event, StreamParameters,
};
use duologue::time::Time;
use duologue::wire::{Offer, TransferId};

/// Two machines that are open, and a clock.
pub(crate) struct Duo {
    pub(crate) client: Connection,
    pub(crate) server: Connection,
    pub(crate) now: Time,
    buffer: Vec<u8>,
    /// Bytes that the client has sent.
    pub(crate) sent: u64,
    pub(crate) frames: u64,
    pub(crate) writable: Vec<(TransferId, u64)>,
    pub(crate) chats: u64,
    pub(crate) stored: u64,
}

/// Limits that none of this comes near.
pub(crate) fn config(transfers: u32) -> Config {
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
    pub(crate) fn open(config: &Config) -> Self {
        let now = Time::from_micros(1_000_000);
        let mut client = Connection::client(config.clone(), StreamParameters::new([1; 32]), now);
        let hello: Vec<u8> = client.poll_transmit(now).into_iter().flatten().copied().collect();
        client.advance_transmit(hello.len());
        let sent = hello.len() as u64;
        let mut acceptor = Acceptor::new(config.clone(), StreamParameters::new([2; 32]), now);
        acceptor.handle_input(now, &hello).unwrap();
        let server = acceptor.accept(now).unwrap();
        let (buffer, writable) = (Vec::new(), Vec::new());
        let mut duo =
            Self { client, server, now, buffer, sent, frames: 0, writable, chats: 0, stored: 0 };
        duo.exchange();
        duo.client.accept_peer(now).unwrap();
        duo.server.accept_peer(now).unwrap();
        duo.settle();
        duo
    }

    /// Carries what each side has to say to the other, which does what an application would.
    pub(crate) fn exchange(&mut self) -> bool {
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

    pub(crate) fn settle(&mut self) {
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
        self.sent += if is_up { self.buffer.len() as u64 } else { 0 };
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
    pub(crate) fn offer(&mut self, count: u32) {
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
    pub(crate) fn fill(&mut self, chunk: &Bytes) {
        for (transfer, mut offset) in std::mem::take(&mut self.writable) {
            while self.client.send_data(transfer, offset, chunk.clone()).is_ok() {
                offset += chunk.len() as u64;
            }
        }
    }
}
