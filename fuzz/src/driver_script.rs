//! Two drivers, a listener and a client that reconnects over streams that fail as the input says: what
//! is delivered comes once, in order and whole, everything ends, and nobody waits for ever.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use bytes::Bytes;
use duologue::io::TransportError;
use duologue::proto::{Config, Connection, Opening, Receipt as Fate, StreamParameters};
use duologue::session::{
    Accepted, Backoff, Conversations, Event, Events, Incoming, Session, TransferError, session,
};
use duologue::testing::{Duplex, Faulty, Script, duplex};
use duologue::time::{Timer, VirtualClock};
use duologue::wire::{Chat, CloseCode, Offer};
use futures::channel::{mpsc, oneshot};
use futures::future::{BoxFuture, join};
use futures::stream::{FusedStream, FuturesUnordered};
use futures::{FutureExt, StreamExt};

/// Streams that may fail; the next one is sound, so that everything can end.
const FAULTY_STREAMS: usize = 4;
/// Far more than anything here takes: time-outs of all kinds, one after the other.
const PATIENCE: Duration = Duration::from_secs(48 * 60 * 60);

#[derive(Arbitrary, Debug)]
enum Action {
    Say(u16),
    Send { chunks: u8, len: u16 },
    DropAfter { chunks: u8, len: u16 },
    Limit(Option<u16>),
}

#[derive(Arbitrary, Debug)]
struct Plan {
    capacity: u16,
    scripts: Vec<Script>,
    client: Vec<Action>,
    server: Vec<Action>,
}

type Stream = Faulty<Duplex>;

/// What one side said, and what the other heard.
#[derive(Default)]
struct Minutes {
    said: [Vec<String>; 2],
    heard: [Vec<String>; 2],
    is_fresh: bool,
}

pub fn run(data: &[u8]) {
    let Ok(mut plan) = Plan::arbitrary(&mut Unstructured::new(data)) else { return };
    plan.client.truncate(12);
    plan.server.truncate(12);
    // A pipe of a byte carries megabytes, but not while somebody waits.
    let most = (plan.capacity % 4096 + 1).saturating_mul(256);
    for action in plan.client.iter_mut().chain(&mut plan.server) {
        if let Action::Send { len, .. } | Action::DropAfter { len, .. } | Action::Say(len) = action
        {
            *len = (*len).min(most);
        }
    }
    let clock = VirtualClock::new();
    let minutes = Arc::new(Mutex::new(Minutes::default()));
    let (sender, streams) = mpsc::unbounded();
    let mut cable = Cable {
        clock: clock.clone(),
        capacity: plan.capacity,
        scripts: plan.scripts,
        made: 0,
        sender,
    };
    let server = serve(streams, &clock, plan.server, Arc::clone(&minutes));
    let client = async {
        let timer = clock.timer();
        let parameters = StreamParameters::new([1; 32]);
        let connection = Connection::client(Config::default(), parameters, timer.now());
        let (handle, events, driver) = session(cable.make(), connection, timer);
        let connector = move || {
            let stream = cable.make();
            async move { Ok::<_, TransportError>(stream) }
        };
        let backoff = Backoff::new([2; 32]).max_attempts(20);
        let driver = driver.reconnecting(connector, backoff);
        let talk = talk(0, handle, events, plan.client, Arc::clone(&minutes));
        join(driver, talk).await
    };
    let _ended = clock.block_on(join(client, server)).expect("nobody waits for ever");
    assert!(clock.now().saturating_duration_since(duologue::time::Time::ZERO) < PATIENCE);
    let minutes = minutes.lock().unwrap();
    for (said, heard) in [(0, 1), (1, 0)] {
        if minutes.is_fresh {
            continue;
        }
        let (said, heard) = (&minutes.said[said], &minutes.heard[heard]);
        assert!(said.starts_with(heard), "lines came twice, out of order, or were made up");
    }
}

/// Makes streams between the two; the first ones fail as the scripts say.
struct Cable {
    clock: VirtualClock,
    capacity: u16,
    scripts: Vec<Script>,
    made: usize,
    sender: mpsc::UnboundedSender<Stream>,
}

impl Cable {
    fn make(&mut self) -> Stream {
        let (near, far) = duplex(usize::from(self.capacity % 4096) + 1);
        let mut script = || {
            let script = self.scripts.get(self.made).filter(|_| self.made < 2 * FAULTY_STREAMS);
            self.made += 1;
            script.cloned().unwrap_or_default()
        };
        let (near_script, far_script) = (script(), script());
        // A listener that is gone refuses: the stream ends at once.
        let _ = self.sender.unbounded_send(Faulty::new(far, far_script, &self.clock));
        Faulty::new(near, near_script, &self.clock)
    }
}

async fn serve(
    mut streams: mpsc::UnboundedReceiver<Stream>,
    clock: &VirtualClock,
    actions: Vec<Action>,
    minutes: Arc<Mutex<Minutes>>,
) {
    let conversations = Conversations::new(Config::default());
    let mut running: FuturesUnordered<BoxFuture<'_, ()>> = FuturesUnordered::new();
    let mut actions = Some(actions);
    let mut seed = 10;
    poll_fn(|cx| {
        loop {
            let mut moved = false;
            while let Poll::Ready(Some(stream)) = streams.poll_next_unpin(cx) {
                seed += 1;
                let (conversations, minutes) = (conversations.clone(), Arc::clone(&minutes));
                let actions = actions.take().unwrap_or_default();
                let (seed, timer) = ([seed; 32], clock.timer());
                moved = true;
                running.push(
                    async move {
                        let parameters = StreamParameters::new(seed);
                        let accepted = conversations.accept(stream, parameters, timer).await;
                        if let Ok(Accepted::New(handle, events, driver)) = accepted {
                            join(driver, talk(1, handle, events, actions, minutes)).await;
                        }
                    }
                    .boxed(),
                );
            }
            while let Poll::Ready(Some(())) = running.poll_next_unpin(cx) {
                moved = true;
            }
            if !moved {
                let has_ended = streams.is_terminated() && running.is_empty();
                return if has_ended { Poll::Ready(()) } else { Poll::Pending };
            }
        }
    })
    .await;
}

/// Does what the plan says, beside listening, and closes when all of it has ended.
async fn talk(
    side: usize,
    handle: Session,
    events: Events,
    actions: Vec<Action>,
    minutes: Arc<Mutex<Minutes>>,
) {
    let (tell, opened) = oneshot::channel();
    let listening = listen(side, events, Arc::clone(&minutes), Some(tell));
    let acting = async {
        let _ = opened.await;
        let mut sending = FuturesUnordered::new();
        let mut receipts = Vec::new();
        for (number, action) in actions.into_iter().enumerate() {
            match action {
                Action::Say(len) => {
                    let text = format!("{number} {}", "x".repeat(usize::from(len)));
                    minutes.lock().unwrap().said[side].push(text.clone());
                    match handle.send_chat(&Chat::new(&*text)).await {
                        Ok(receipt) => receipts.push(receipt),
                        Err(_) => drop(minutes.lock().unwrap().said[side].pop()),
                    }
                }
                Action::Send { chunks, len } => {
                    sending.push(send(&handle, number, chunks, len, true).boxed());
                }
                Action::DropAfter { chunks, len } => {
                    sending.push(send(&handle, number, chunks, len, false).boxed());
                }
                Action::Limit(rate) => {
                    handle.set_rate_limit(rate.map(|rate| u64::from(rate).max(500)));
                }
            }
        }
        while sending.next().await.is_some() {}
        for receipt in receipts {
            let item = receipt.item();
            let fate = receipt.await;
            assert!(
                fate != Fate::NotSent || closed(&handle) || minutes.lock().unwrap().is_fresh,
                "{item:?}"
            );
        }
        let _ = handle.close(CloseCode::DONE, "");
        handle.closed().await
    };
    join(listening, acting).await;
}

fn closed(handle: &Session) -> bool {
    handle.closed().now_or_never().is_some()
}

/// The bytes of a file, by its number.
fn byte(number: usize, offset: u64) -> u8 {
    (offset as u8).wrapping_mul(31).wrapping_add(number as u8)
}

async fn send(handle: &Session, number: usize, chunks: u8, len: u16, finishes: bool) {
    let Ok(mut outgoing) = handle.offer(&Offer::new(number.to_string())).await else { return };
    for _ in 0..chunks % 16 {
        let at = outgoing.position();
        let chunk: Vec<u8> = (at..at + u64::from(len)).map(|offset| byte(number, offset)).collect();
        if outgoing.send(Bytes::from(chunk)).await.is_err() {
            return;
        }
    }
    if finishes {
        match outgoing.finish(None).await {
            Ok(verdict) => assert_eq!(verdict.total(), outgoing.position()),
            Err(TransferError::NotStored(verdict)) => panic!("not stored: {verdict}"),
            Err(_) => {}
        }
    }
}

async fn listen(
    side: usize,
    mut events: Events,
    minutes: Arc<Mutex<Minutes>>,
    mut opened: Option<oneshot::Sender<()>>,
) {
    let mut receiving: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
    poll_fn(|cx| {
        loop {
            while let Poll::Ready(Some(())) = receiving.poll_next_unpin(cx) {}
            match events.poll_next_unpin(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) if receiving.is_empty() => return Poll::Ready(()),
                Poll::Ready(None) => return Poll::Pending,
                Poll::Ready(Some(event)) => match event {
                    Event::Chat(chat) => {
                        minutes.lock().unwrap().heard[side].push(chat.text.into_owned());
                    }
                    Event::Open(opening) => {
                        minutes.lock().unwrap().is_fresh |= opening == Opening::Fresh;
                        opened.take().map(|opened| opened.send(()));
                    }
                    Event::Closed(_) => drop(opened.take()),
                    Event::Offer(offer) => {
                        let number = offer.offer().name.parse().expect("a number");
                        if let Ok(incoming) = offer.accept() {
                            receiving.push(receive(incoming, number).boxed());
                        }
                    }
                    _ => {}
                },
            }
        }
    })
    .await;
}

async fn receive(mut incoming: Incoming, number: usize) {
    let mut at = 0;
    while let Ok(Some(chunk)) = incoming.next().await {
        assert_eq!(chunk.offset, at, "a gap, or bytes that came twice");
        for byte_here in &chunk.data {
            assert_eq!(*byte_here, byte(number, at));
            at += 1;
        }
    }
    if incoming.finish().is_some_and(|finish| finish.total == at) {
        let _ = incoming.stored("memory");
    }
}
