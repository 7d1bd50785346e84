//! An honest client of the same listener, or of another one in the same program.

use std::time::Duration;

use duologue::proto::{Config, Connection};
use duologue::session::{Accepted, Conversations, Session, session};
use duologue::testing::{Script, duplex};
use duologue::time::{Timer, VirtualClock};
use duologue::wire::CloseCode;
use futures::StreamExt;
use futures::future::{join, join4};

use super::talk::{Talk, hear};
use super::{Below, Faulty, parameters};

const TALK: Talk = Talk { lines: 20, file: 200_000 };
/// It needs no time at all.
const SOON: Duration = Duration::from_secs(5);

/// Talks and sends a file, and hears of both that they have arrived.
pub(super) async fn beside(
    conversations: &Conversations<Below>,
    clock: &VirtualClock,
    seed: u64,
) -> Result<(), String> {
    let began = clock.now();
    let (near, far) = duplex(8 << 10);
    let far = Faulty::new(far, Script::new(), clock);
    let timer = clock.timer();
    let connection = Connection::client(Config::default(), parameters(seed, 3), timer.now());
    let (client, mut events, driver) = session(near, connection, timer);
    let accepting = async {
        let accepted = conversations.accept(far, parameters(seed, 4), clock.timer()).await;
        match accepted {
            Ok(Accepted::New(session, events, driver)) => {
                drop(session);
                let (heard, _) = join(hear(events), driver).await;
                heard
            }
            other => Err(format!("{other:?}")),
        }
    };
    let hearing = async { while events.next().await.is_some() {} };
    let (said, (), _, heard) = join4(speak(client), hearing, driver, accepting).await;
    said?;
    TALK.check(heard?)?;
    let passed = clock.now().saturating_duration_since(began);
    if passed > SOON { Err(format!("it took {passed:?}")) } else { Ok(()) }
}

async fn speak(session: Session) -> Result<(), String> {
    session.opened().await.map_err(|error| error.to_string())?;
    TALK.say(&session).await?;
    session.close(CloseCode::DONE, "").map_err(|error| error.to_string())
}
