//! Two drivers, a listener and a client over streams that fail as the input says, with all that a
//! handle can do: what is delivered comes once, in order and whole, everything ends, and nobody waits
//! for ever.

mod cable;
mod client;
mod listening;
mod receiving;
mod sending;
mod server;
mod talk;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use duologue::proto::Config;
use duologue::testing::Script;
use duologue::time::{Time, VirtualClock};
use futures::channel::mpsc;
use futures::future::join3;

use self::cable::Cable;
use self::sending::Shape;
use self::talk::{Minutes, Talk};
use super::program::{self, show};

/// Far more than anything here takes: time-outs of all kinds, one after the other.
const PATIENCE: Duration = Duration::from_secs(48 * 60 * 60);

/// What an application does next. The last number says how: by which of two ways, and with what.
#[derive(Arbitrary, Clone, Debug)]
enum Action {
    Say {
        len: u16,
        how: u8,
    },
    SayMany {
        count: u8,
        len: u8,
        how: u8,
    },
    Message {
        len: u16,
        how: u8,
    },
    Signal(u8),
    Send(Shape),
    Batch {
        members: Vec<Shape>,
        more: u8,
        how: u8,
    },
    Limit(Option<u16>),
    Wait(u16),
    Look,
    Close(u8),
    /// Nobody listens any more.
    Leave,
    /// Nothing is waited for any more.
    Forget,
}

/// How the two programs are written.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Habits {
    client: u8,
    server: u8,
    /// Whether the peer is asked for, and what is said to that.
    peers: [u8; 2],
    /// Of the settings, when it is not the default.
    windows: u8,
    /// When the client drops its driver, in 100 ms; 0: never.
    drops: u8,
}

#[derive(Arbitrary, Debug)]
struct Plan {
    capacity: u16,
    habits: Habits,
    scripts: Vec<Script>,
    client: Vec<Action>,
    server: Vec<Action>,
}

impl Plan {
    /// Keeps it within what can be done in a moment.
    fn bound(&mut self) {
        self.client.truncate(12);
        self.server.truncate(12);
        // A pipe of a byte carries megabytes, but not while somebody waits.
        let most = (self.capacity % 4096 + 1).saturating_mul(256);
        for action in self.client.iter_mut().chain(&mut self.server) {
            match action {
                Action::Say { len, .. } | Action::Message { len, .. } => *len = (*len).min(most),
                Action::Send(shape) => shape.bound(most),
                Action::Batch { members, .. } => {
                    members.truncate(6);
                    members.iter_mut().for_each(|shape| shape.bound(most / 4));
                }
                _ => {}
            }
        }
    }

    fn config(&self) -> Config {
        let windows = self.habits.windows;
        if windows & 1 == 0 {
            return Config::default();
        }
        let builder = Config::builder()
            .max_frame(1024 << (windows >> 1 & 3))
            .receive_window(16 << 10 << (windows >> 3 & 3));
        let builder = if windows & 0x20 == 0 { builder } else { builder.max_transfers(2) };
        let builder = if windows & 0x40 == 0 { builder } else { builder.queued_items(4) };
        builder.build().unwrap_or_default()
    }
}

/// What all parts of it know.
#[derive(Clone)]
struct World {
    clock: VirtualClock,
    config: Config,
    habits: Habits,
    minutes: Arc<Mutex<Minutes>>,
}

impl World {
    async fn sleep(&self, time: Duration) {
        program::sleep(&self.clock, time).await;
    }

    fn talk(&self, side: usize, actions: Vec<Action>) -> Talk {
        Talk::new(self.clone(), side, actions)
    }
}

pub fn run(data: &[u8]) {
    let Ok(mut plan) = Plan::arbitrary(&mut Unstructured::new(data)) else { return };
    plan.bound();
    let world = World {
        clock: VirtualClock::new(),
        config: plan.config(),
        habits: plan.habits,
        minutes: Arc::default(),
    };
    let (sender, streams) = mpsc::unbounded();
    let one_sided = (plan.habits.peers[0] & 0x20 != 0).then(|| 4 + usize::from(plan.habits.drops));
    let cable = Cable::new(&world.clock, plan.capacity, plan.scripts, sender, one_sided);
    let server = server::run(&world, streams, plan.server);
    let client = client::run(&world, cable.clone(), plan.client);
    let rival = client::rival(&world, cable);
    let _ended = world.clock.block_on(join3(client, rival, server)).expect("nobody waits for ever");
    assert!(world.clock.now().saturating_duration_since(Time::ZERO) < PATIENCE);
    world.minutes.lock().unwrap().check();
}
