//! What a program hears.

use duologue::proto::Opening;
use duologue::session::{Event, Events, Session};
use duologue::wire::CloseCode;
use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::BoxFuture;
use futures::stream::{FusedStream, FuturesUnordered};

use super::program;
use super::receiving;
use super::talk::Talk;

type Tasks<'a> = FuturesUnordered<BoxFuture<'a, ()>>;

impl Talk {
    pub(super) async fn listen(
        &self,
        handle: &Session,
        mut events: Events,
        mut opened: Option<oneshot::Sender<()>>,
    ) {
        assert!(!format!("{events:?}").is_empty());
        program::listen(&mut events, |events, event, tasks| {
            assert!(!format!("{event:?}").is_empty());
            self.hear(handle, event, &mut opened, tasks);
            if self.world.habits.server & 8 != 0 {
                self.hear_ready(events);
            }
        })
        .await;
        assert!(events.is_terminated());
    }

    /// All lines that wait, without an event for each.
    fn hear_ready(&self, events: &mut Events) {
        let chats = events.ready_chats();
        assert_eq!(chats.is_empty(), chats.iter().next().is_none());
        assert!(!format!("{chats:?}").is_empty() && chats.len() == chats.iter().count());
        let heard = &mut self.world.minutes.lock().unwrap().heard[self.side];
        heard.extend(chats.iter().map(str::to_owned));
    }

    fn hear<'a>(
        &'a self,
        handle: &Session,
        event: Event,
        opened: &mut Option<oneshot::Sender<()>>,
        tasks: &mut Tasks<'a>,
    ) {
        match event {
            Event::Chat(chat) => {
                let text = chat.text.into_owned();
                self.world.minutes.lock().unwrap().heard[self.side].push(text);
            }
            Event::Message(message) => {
                let body = message.body.into_owned();
                self.world.minutes.lock().unwrap().learnt[self.side].push(body);
            }
            Event::Signal(signal) => {
                let first = signal.payload.first();
                assert!(signal.payload.iter().all(|byte| Some(byte) == first));
            }
            Event::Open(opening) => {
                self.world.minutes.lock().unwrap().is_fresh |= opening == Opening::Fresh;
                opened.take().map(|opened| opened.send(()));
            }
            Event::Closed(_) => drop(opened.take()),
            Event::PeerHello { handshake_hash, .. } => self.meet(handle, &handshake_hash),
            Event::Authentication(words) => assert_eq!(words, b"it is me"),
            Event::Offer(offer) => tasks.push(receiving::decide(self, offer).boxed()),
            Event::Batch(batch) => tasks.push(receiving::batch(self, batch).boxed()),
            _ => {}
        }
    }

    /// Somebody wants to be accepted.
    fn meet(&self, handle: &Session, handshake_hash: &[u8; 32]) {
        let habit = self.world.habits.peers[self.side];
        if habit & 2 != 0 {
            let _ = handle.authenticate(handshake_hash, b"it is me");
        }
        let _ = match habit & 0x1C {
            0x04 => handle.refuse_peer(handshake_hash, CloseCode::new(habit.into()), "no"),
            // Nobody answers: a time-out ends it.
            0x08 => Ok(()),
            _ => handle.accept_peer(handshake_hash),
        };
    }
}
