//! What a peer that breaks no rule can make one session hold, counted by the allocator: driver,
//! handles and all that waits in them. It is at most what [`worst_case_memory`] says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use duologue::proto::{Config, ConfigBuilder};
use duologue::session::{Event, Session, accept, worst_case_memory};
use duologue::testing::{Duplex, duplex};
use duologue::wire::{
    Accept, Chat, Credit, Frame, Header, Kind, Limits, Message, Offer, Side, Start, TransferId,
};
use futures::StreamExt;

use super::hostile_stream::{Uncounted, Wire};
use super::session_util::World;

/// How the peer goes about it.
#[derive(Clone, Copy, Debug)]
struct Attack {
    /// Transfers that the victim's application offers, and that the peer does.
    files: [u32; 2],
    /// Bytes of its DATA frames, and of what it sends between them to be skipped.
    data: usize,
    between: usize,
    /// Messages in each lane, and their bytes.
    messages: usize,
    message: usize,
    /// Bytes that the victim can read at a time.
    pipe: usize,
}

const GREEDY: Attack = Attack {
    files: [80, 80],
    data: 16_000,
    between: 0,
    messages: 500,
    message: 1000,
    pipe: 256 << 10,
};

/// The peer, and what the victim told it.
struct Hostile {
    wire: Wire,
    world: World,
    attack: Attack,
    offered: Vec<u32>,
    accepted: BTreeSet<u32>,
    limits: BTreeMap<u32, u64>,
}

impl Hostile {
    async fn open(stream: Duplex, world: World, attack: Attack) -> Self {
        // It allows its victim as much as can be said.
        let most = Limits {
            items: 65_536,
            item_bytes: 1 << 30,
            transfers: 4096,
            undecided: 4096,
            ..Limits::default()
        };
        let wire = Wire::open(stream, most).await;
        let (offered, accepted, limits) = Default::default();
        Self { wire, world, attack, offered, accepted, limits }
    }

    /// Lets the victim do what it can, and hears what it says.
    async fn hear(&mut self) {
        for _ in 0..3 {
            self.world.sleep(Duration::from_millis(1)).await;
            let Self { wire, offered, accepted, limits, .. } = self;
            wire.hear_now(|Header { kind, id, .. }, frame| match frame {
                Frame::Credit(credit) => drop(limits.insert(id, credit.limit)),
                _ if kind == Kind::OFFER => offered.push(id),
                _ if kind == Kind::ACCEPT => drop(accepted.insert(id)),
                Frame::Goodbye(goodbye) => panic!("{goodbye:?}"),
                _ => {}
            })
            .await;
        }
    }

    /// Takes all that is offered, and says of nothing that it has come.
    async fn take_offers(&mut self) {
        while self.offered.len() < self.attack.files[0] as usize {
            self.hear().await;
        }
        for id in std::mem::take(&mut self.offered) {
            self.wire.send(id, Frame::Accept(Accept { offset: 0, prefix: None })).await;
            let credit = Credit { limit: 1 << 50, received: 0, durable: 0 };
            self.wire.send(id, Frame::Credit(credit)).await;
        }
        self.hear().await;
    }

    /// Sends as much of files as it may.
    async fn send_files(&mut self, undecided: u32) {
        let id = |number| TransferId::new(Side::Client, number).unwrap().to_wire();
        let ids: Vec<u32> = (1..=self.attack.files[1]).map(id).collect();
        for ids in ids.chunks(undecided as usize) {
            for &id in ids {
                self.wire.send(id, Frame::Offer(Offer::new("x"))).await;
            }
            while !ids.iter().all(|id| self.accepted.contains(id)) {
                self.hear().await;
            }
        }
        for &id in &ids {
            self.wire.send(id, Frame::Start(Start { offset: 0 })).await;
        }
        let mut sent = BTreeMap::new();
        loop {
            self.hear().await;
            let mut is_done = true;
            for &id in &ids {
                let sent = sent.entry(id).or_insert(0);
                let limit = self.limits.get(&id).copied().unwrap_or(0);
                while *sent < limit {
                    let len = (limit - *sent).min(self.attack.data as u64);
                    let data = vec![1; len as usize];
                    self.wire.send(id, Frame::Data(data.into())).await;
                    if self.attack.between > 0 {
                        self.wire.send_raw(Kind::new(0x80), 0, &vec![1; self.attack.between]).await;
                    }
                    *sent += len;
                    is_done = false;
                }
            }
            if is_done {
                return;
            }
        }
    }

    /// Sends messages that nobody takes.
    async fn send_messages(&mut self) {
        let len = self.attack.message;
        for _ in 0..self.attack.messages {
            let chat = Chat::new("x".repeat(len - 2));
            self.wire.send(0, Frame::Chat(chat)).await;
            let (message_type, is_reply, correlation) = (1, false, 0);
            let body = vec![1; len.saturating_sub(11)].into();
            let message = Message { message_type, is_reply, correlation, body };
            self.wire.send(0, Frame::Message(message)).await;
        }
        self.hear().await;
    }
}

async fn push(world: World, session: Session) {
    let mut outgoing = session.offer(&Offer::new("x")).await.unwrap();
    world.clone().detach(async move {
        outgoing.accepted().await.unwrap();
        while outgoing.send(Bytes::from(vec![1; 64 << 10])).await.is_ok() {}
    });
}

/// What the allocator counted at most while a session was attacked.
fn peak(config: &Config, attack: Attack) -> usize {
    let mut streams = None;
    allocation_counter::opt_out(|| streams = Some(duplex(attack.pipe)));
    let (near, far) = streams.unwrap();
    let undecided = config.limits().undecided;
    let counted = allocation_counter::measure(|| {
        World::run(async |world| {
            let inner = world.clone();
            let attacking = world.spawn(Uncounted(Box::pin(async move {
                let mut peer = Hostile::open(near, inner, attack).await;
                peer.take_offers().await;
                peer.send_files(undecided).await;
                peer.send_messages().await;
                peer
            })));
            let accepted = accept(far, config.clone(), world.parameters(), world.timer()).await;
            let (session, mut events, driver) = accepted.unwrap();
            let _driver = world.spawn(driver);
            assert!(matches!(events.next().await, Some(Event::Open(_))));
            for _ in 0..attack.files[0] {
                push(world.clone(), session.clone()).await;
            }
            let mut kept = Vec::new();
            while kept.len() < attack.files[1] as usize {
                if let Some(Event::Offer(offer)) = events.next().await {
                    kept.push(offer.accept().unwrap());
                }
            }
            for is_chat in [true, false] {
                let session = session.clone();
                world.detach(async move {
                    let text = Chat::new("x".repeat(1000));
                    let (message_type, is_reply, correlation) = (1, false, 0);
                    let body = vec![1; 16_000].into();
                    let message = Message { message_type, is_reply, correlation, body };
                    loop {
                        let sent = match is_chat {
                            true => session.send_chat(&text).await.map(drop),
                            false => session.send_message(&message).await.map(drop),
                        };
                        if sent.is_err() {
                            return;
                        }
                    }
                });
            }
            // Nothing else is taken from here on.
            let _peer = attacking.await.unwrap();
            assert!(session.is_open() && !session.is_detached());
            drop((kept, events));
        });
    });
    usize::try_from(counted.bytes_max).unwrap()
}

/// Returns how many times what was counted would fit into the bound.
fn assert_bounded(set: impl FnOnce(ConfigBuilder) -> ConfigBuilder, attack: Attack) -> usize {
    let config = set(Config::builder()).build().unwrap();
    let (peak, most) = (peak(&config, attack), worst_case_memory(&config));
    println!("{peak} of {most} bytes: {attack:?}");
    assert!(peak <= most, "{peak} of {most} bytes: {attack:?}");
    most / peak
}

#[test]
fn a_session_that_is_attacked_with_all_that_is_allowed_keeps_to_its_worst_case() {
    assert!(assert_bounded(|config| config, GREEDY) < 4);
}

#[test]
fn buffers_that_are_half_for_nothing_count_as_well() {
    let attack = Attack { data: 8200, between: 8100, ..GREEDY };
    assert!(assert_bounded(|config| config, attack) < 4);
}

#[test]
fn many_small_messages_count_as_well() {
    let attack = Attack { files: [0, 0], messages: 20_000, message: 12, ..GREEDY };
    let set = |config: ConfigBuilder| config.max_untaken(20_000).max_untaken_bytes(1 << 20);
    assert_bounded(|config| set(config).outgoing_transfers(0), attack);
}

#[test]
fn data_that_comes_byte_by_byte_counts_as_well() {
    let attack = Attack { files: [0, 8], pipe: 1, messages: 0, ..GREEDY };
    // As little as can be of anything else.
    let set = |config: ConfigBuilder| {
        let config = config.outgoing_transfers(0).max_transfers(8).receive_window(64 << 10);
        let config = config.max_item(16_384).max_untaken(8).max_untaken_bytes(16_384);
        config.queued_items(8).queued_bytes(16_384)
    };
    assert_bounded(set, attack);
}

#[test]
fn the_shortest_frames_count_as_well() {
    let attack = Attack { data: 1024, between: 1016, ..GREEDY };
    assert_bounded(|config| config, attack);
}
