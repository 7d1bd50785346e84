//! The listener's program.

use duologue::proto::StreamParameters;
use duologue::session::{Accepted, Conversations, Outcome, accept};
use duologue::time::VirtualClock;
use futures::FutureExt;
use futures::channel::mpsc;
use futures::future::join;

use super::cable::Stream;
use super::{Action, World, program, show};

/// Serves every stream that comes, beside each other.
pub(super) async fn run(
    world: &World,
    streams: mpsc::UnboundedReceiver<Stream>,
    actions: Vec<Action>,
) {
    let conversations = Conversations::new(world.config.clone());
    let conversations = match world.habits.server & 3 {
        2 => conversations.max_conversations(1),
        3 => conversations.max_memory(64 << 20),
        _ => conversations,
    };
    let mut actions = Some(actions);
    let serve_one = |stream, seed| {
        let actions = actions.take().unwrap_or_default();
        if world.habits.server & 3 == 1 {
            forget(world, stream, seed, actions).boxed()
        } else {
            serve(world, conversations.clone(), stream, seed, actions).boxed()
        }
    };
    program::serve(streams, serve_one).await;
    assert!(conversations.is_empty(), "{conversations:?}");
}

fn parameters(seed: u8) -> StreamParameters<'static> {
    StreamParameters::new([seed; 32])
}

async fn serve(
    world: &World,
    conversations: Conversations<Stream>,
    stream: Stream,
    seed: u8,
    actions: Vec<Action>,
) {
    let timer = |clock: &VirtualClock| clock.timer();
    let accepted = conversations.accept(stream, parameters(seed), timer(&world.clock)).await;
    match &accepted {
        Ok(accepted) => assert!(!format!("{accepted:?} {conversations:?}").is_empty()),
        Err(error) => {
            let _ = error.can_retry();
            show(error);
        }
    }
    let Ok(Accepted::New(handle, events, driver)) = accepted else { return };
    let driver = if world.habits.peers[1] & 1 != 0 { driver.ask_for_peer() } else { driver };
    assert!(!format!("{driver:?}").is_empty());
    let drops = world.habits.server & 0x80 != 0;
    let driving = async {
        let is_left = async {
            world
                .sleep(std::time::Duration::from_secs(u64::from(world.habits.server & 0x3F)))
                .await;
        };
        if drops {
            let waited = futures::future::select(driver, Box::pin(is_left));
            drop(waited.await);
        } else {
            let ended = driver.await;
            assert!(!ended.reason.to_string().is_empty());
        }
    };
    join(driving, world.talk(1, actions).run(handle, events)).await;
}

/// Serves a stream without remembering whose it was.
async fn forget(world: &World, stream: Stream, seed: u8, actions: Vec<Action>) {
    let timer = world.clock.timer();
    let accepted = accept(stream, world.config.clone(), parameters(seed), timer).await;
    let (handle, events, driver) = match accepted {
        Ok(accepted) => accepted,
        Err(error) => return show(&error),
    };
    let waits = world.habits.server & 4 != 0;
    let driving = async {
        match driver.await {
            Outcome::Ended(_) => {}
            Outcome::Detached(detached) if waits => _ = detached.await,
            Outcome::Detached(detached) => drop(detached),
        }
    };
    join(driving, world.talk(1, actions).run(handle, events)).await;
}
