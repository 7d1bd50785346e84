//! An honest client of the same listener.

use std::time::Duration;

use bytes::Bytes;
use duologue::proto::{Config, Connection, Receipt as Fate};
use duologue::session::{Accepted, Conversations, Event, Events, Session, session};
use duologue::testing::{Script, duplex};
use duologue::time::{Timer, VirtualClock};
use duologue::wire::{Chat, CloseCode, Offer};
use futures::StreamExt;
use futures::future::{join, join4};

use super::{Below, Faulty, parameters};

const FILE: usize = 200_000;
const LINES: usize = 20;
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
    let (client, events, driver) = session(near, connection, timer);
    let accepting = async {
        let accepted = conversations.accept(far, parameters(seed, 4), clock.timer()).await;
        match accepted {
            Ok(Accepted::New(session, events, driver)) => {
                drop(session);
                let (received, _) = join(receive(events), driver).await;
                received
            }
            other => Err(format!("{other:?}")),
        }
    };
    let (said, heard, _, received) = join4(speak(client), listen(events), driver, accepting).await;
    said?;
    heard?;
    let (lines, bytes) = received?;
    if (lines, bytes) != (LINES, FILE) {
        return Err(format!("{lines} lines and {bytes} bytes arrived"));
    }
    let passed = clock.now().saturating_duration_since(began);
    if passed > SOON { Err(format!("it took {passed:?}")) } else { Ok(()) }
}

async fn speak(session: Session) -> Result<(), String> {
    let fail = |error: &dyn std::fmt::Display| error.to_string();
    session.opened().await.map_err(|e| fail(&e))?;
    let sending = async {
        let offer = Offer::new("file").size(FILE as u64);
        let mut outgoing = session.offer(&offer).await.map_err(|e| fail(&e))?;
        outgoing.accepted().await.map_err(|e| fail(&e))?;
        for _ in 0..FILE / 20_000 {
            outgoing.send(Bytes::from(vec![3; 20_000])).await.map_err(|e| fail(&e))?;
        }
        outgoing.finish(None).await.map_err(|e| fail(&e)).map(drop)
    };
    let talking = async {
        for n in 0..LINES {
            let receipt = session.send_chat(&Chat::new(n.to_string())).await;
            if receipt.map_err(|e| fail(&e))?.await != Fate::Delivered {
                return Err("a line was lost".to_owned());
            }
        }
        Ok(())
    };
    let (sent, said) = join(sending, talking).await;
    session.close(CloseCode::DONE, "").map_err(|e| fail(&e))?;
    sent.and(said)
}

async fn listen(mut events: Events) -> Result<(), String> {
    while events.next().await.is_some() {}
    Ok(())
}

/// How many lines and bytes came.
async fn receive(mut events: Events) -> Result<(usize, usize), String> {
    let (mut lines, mut bytes, mut storing) = (0, 0, Vec::new());
    while let Some(event) = events.next().await {
        match event {
            Event::Chat(chat) if chat.text == lines.to_string() => lines += 1,
            Event::Chat(chat) => return Err(format!("{:?} after {lines}", chat.text)),
            Event::Offer(offer) => storing.push(offer),
            _ => {}
        }
        // Here and not before: lines go on while the file comes.
        if let Some(offer) = storing.pop() {
            let mut incoming = offer.accept().map_err(|e| e.to_string())?;
            while let Some(chunk) = incoming.next().await.map_err(|e| e.to_string())? {
                bytes += chunk.data.len();
            }
            incoming.stored("file").map_err(|e| e.to_string())?;
        }
    }
    Ok((lines, bytes))
}
