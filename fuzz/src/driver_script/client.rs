//! The client's program, and one more that wants a place at the same listener.

use std::pin::pin;
use std::time::Duration;

use duologue::proto::{Connection, StreamParameters};
use duologue::session::{Backoff, Connect, Driver, Ended, Outcome, session};
use duologue::time::{Timer, VirtualTimer};
use futures::FutureExt;
use futures::future::{BoxFuture, Either, join, select};

use super::cable::{Cable, Stream};
use super::{Action, World, show};

/// Streams that a client without a connector makes at most.
const BY_HAND: u8 = 8;

pub(super) async fn run(world: &World, cable: Cable, actions: Vec<Action>) {
    let timer = world.clock.timer();
    let parameters = StreamParameters::new([1; 32]).channel_binding(b"none");
    let connection = Connection::client(world.config.clone(), parameters, timer.now());
    let (handle, events, driver) = session(cable.make(), connection, timer);
    let asks = world.habits.peers[0] & 1 != 0;
    let driver = if asks { driver.ask_for_peer() } else { driver };
    let driver: BoxFuture<'_, Option<Ended>> = match world.habits.client & 3 {
        0 => {
            let backoff = Backoff::new([2; 32]).max_attempts(20);
            let dial = world.habits.client & 4 != 0;
            let connector = Dialler { cable, refuses: dial };
            let driver = driver.reconnecting(connector, backoff);
            assert!(!format!("{driver:?}").is_empty());
            driver.map(Some).boxed()
        }
        1 => {
            let backoff = Backoff::new([3; 32])
                .max_attempts(3)
                .first(Duration::from_millis(world.habits.client.into()))
                .most(Duration::from_secs(2));
            assert!(!format!("{backoff:?}").is_empty());
            let connector = move || {
                let stream = cable.make();
                async move { Ok(stream) }
            };
            driver.reconnecting(connector, backoff).map(Some).boxed()
        }
        _ => by_hand(world, driver, cable).boxed(),
    };
    let drops = if world.habits.peers[0] & 0x20 == 0 { world.habits.drops } else { 0 };
    let driving = async {
        let dropping = pin!(async {
            match drops {
                0 => std::future::pending().await,
                drops => world.sleep(Duration::from_millis(100) * drops.into()).await,
            }
        });
        match select(driver, dropping).await {
            Either::Left((Some(ended), _)) => {
                assert!(!ended.reason.to_string().is_empty());
                if let Some(error) = &ended.transport {
                    show(error);
                }
            }
            Either::Left((None, _)) => {}
            // All that wait for it learn that it is gone.
            Either::Right(((), driver)) => drop(driver),
        }
    };
    join(driving, world.talk(0, actions).run(handle, events)).await;
}

struct Dialler {
    cable: Cable,
    refuses: bool,
}

impl Connect for Dialler {
    type Io = Stream;
    type Connecting = BoxFuture<'static, Result<Stream, duologue::io::TransportError>>;

    fn connect(&mut self) -> Self::Connecting {
        let (cable, refuses) = (self.cable.clone(), self.refuses);
        async move { cable.dial(refuses) }.boxed()
    }

    fn channel_binding(&self, _io: &Stream) -> Vec<u8> {
        b"none".to_vec()
    }
}

/// Attaches each next stream itself, or waits for the end.
async fn by_hand(
    world: &World,
    mut driver: Driver<Stream, VirtualTimer>,
    cable: Cable,
) -> Option<Ended> {
    assert!(!format!("{driver:?}").is_empty());
    for number in 0..BY_HAND {
        let outcome = driver.await;
        assert!(!format!("{outcome:?}").is_empty());
        let detached = match outcome {
            Outcome::Ended(ended) => return Some(ended),
            Outcome::Detached(detached) => detached,
        };
        assert!(!format!("{detached:?}").is_empty());
        if let Some(error) = detached.transport_error() {
            show(error);
        }
        match world.habits.client >> 2 & 3 {
            0 if number == 1 => return Some(detached.await),
            1 => world.sleep(Duration::from_secs(u64::from(world.habits.client))).await,
            2 if number == 2 => return None,
            _ => {}
        }
        let parameters = StreamParameters::new([100 + number; 32]);
        driver = match detached.attach(cable.make(), parameters) {
            Ok(driver) => driver,
            // It has ended meanwhile.
            Err((detached, _stream, error)) => {
                show(&error);
                assert!(!error.can_retry() || detached.transport_error().is_some());
                return Some(detached.await);
            }
        };
    }
    None
}

/// Another client: it is served, or there is no place for it.
pub(super) async fn rival(world: &World, cable: Cable) {
    if world.habits.server & 0x40 == 0 {
        return;
    }
    world.sleep(Duration::from_millis(u64::from(world.habits.server) * 7)).await;
    let timer = world.clock.timer();
    let parameters = StreamParameters::new([77; 32]);
    let connection = Connection::client(world.config.clone(), parameters, timer.now());
    let (handle, events, driver) = session(cable.make(), connection, timer);
    let own = World { minutes: Default::default(), ..world.clone() };
    let driving = async {
        if let Outcome::Detached(detached) = driver.await {
            drop(detached);
        }
    };
    join(driving, own.talk(0, vec![Action::Look]).run(handle, events)).await;
}
