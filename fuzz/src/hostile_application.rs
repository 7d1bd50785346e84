//! A listener or a client with a stock application, and peers of the public kit that misbehave as the
//! input says, several at the same time, over pipes of any size: each is answered as it should be, an
//! honest peer beside them notices nothing, everything ends, and nothing is left.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use bytes::Bytes;
use duologue::fs::{Inbox, InboxOptions};
use duologue::proto::{Config, Connection, StreamParameters};
use duologue::session::{
    Accepted, Conversations, Event, Events, IncomingOffer, Outcome as Driven, Session,
    TransferError, session,
};
use duologue::testing::hostile::{Culprit, Expected, HostilePeer, Misbehaviour, Outcome, Report};
use duologue::testing::{Duplex, Faulty, ShadowDisk, duplex};
use duologue::time::{Timer, VirtualClock};
use duologue::wire::{Chat, CloseCode, Offer, Side, TransferCode};
use futures::future::{LocalBoxFuture, join, join3};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};

use super::program;

// What the tests attack says and takes the same.
#[allow(dead_code, reason = "some of it is for the tests")]
#[allow(
    clippy::duplicate_mod,
    reason = "the integration tests have both, this body and the attacks"
)]
#[path = "../../tests/attacks/talk.rs"]
mod talk;

/// Bytes of the file that the application offers to whoever comes.
const GIFT: usize = 70_000;
/// Lines that it says, and how often.
const LINES: usize = 20;
const EACH: Duration = Duration::from_secs(7);

type Stream = Faulty<Duplex>;
type Tasks<'a> = FuturesUnordered<LocalBoxFuture<'a, ()>>;

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Attack {
    which: u8,
    seed: u16,
    capacity: u16,
    /// When it begins, in milliseconds.
    after: u16,
}

#[derive(Arbitrary, Debug)]
struct Plan {
    against_client: bool,
    attacks: Vec<Attack>,
}

impl Attack {
    /// One of those that are possible on this side.
    fn misbehaviour(self, side: Side) -> &'static Misbehaviour {
        let possible = Misbehaviour::all().filter(|m| {
            m.culprit() != Culprit::Storage && m.side().is_none_or(|only| only == side)
        });
        let count = possible.clone().count();
        possible.clone().nth(usize::from(self.which) % count).expect("it is less than that")
    }

    fn pipe(self) -> (Duplex, Duplex) {
        duplex(usize::from(self.capacity % 8192) + 512)
    }
}

pub fn run(data: &[u8]) {
    let Ok(mut plan) = Plan::arbitrary(&mut Unstructured::new(data)) else { return };
    plan.attacks.truncate(4);
    let side = if plan.against_client { Side::Server } else { Side::Client };
    for attack in &plan.attacks {
        let shown =
            format!("{:?} {}", attack.misbehaviour(side), attack.misbehaviour(side).about());
        assert!(!shown.is_empty());
    }
    let world = World { clock: VirtualClock::new(), seed: Cell::new(0) };
    if plan.against_client {
        for attack in plan.attacks {
            world.against_client(attack);
        }
    } else {
        world.against_listener(&plan.attacks);
    }
}

struct World {
    clock: VirtualClock,
    seed: Cell<u8>,
}

impl World {
    fn parameters(&self) -> StreamParameters<'static> {
        self.seed.set(self.seed.get().wrapping_add(1));
        StreamParameters::new([self.seed.get(); 32])
    }

    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.clock.block_on(future).expect("nobody waits for ever")
    }

    async fn sleep(&self, time: Duration) {
        program::sleep(&self.clock, time).await;
    }

    /// All of them at one listener, and an honest client beside them.
    fn against_listener(&self, attacks: &[Attack]) {
        let conversations = Conversations::new(Config::default());
        let all = attacks.iter().map(|attack| async {
            self.sleep(Duration::from_millis(attack.after.into())).await;
            let (near, far) = attack.pipe();
            let (peer, far) = self.begin(*attack, Side::Client, far);
            let serving = self.listen(&conversations, far);
            join(peer.run(near, self.clock.timer()), serving).await.0
        });
        let honest = async {
            let (near, far) = duplex(4096);
            let far = Faulty::new(far, Default::default(), &self.clock);
            join(self.be_honest(near), self.listen(&conversations, far)).await;
        };
        let (reports, ()) = self.block_on(join(futures::future::join_all(all), honest));
        reports.iter().for_each(check);
        assert!(conversations.is_empty(), "a conversation is left");
    }

    /// One after the other, each against a client of its own.
    fn against_client(&self, attack: Attack) {
        let (near, far) = attack.pipe();
        let (peer, far) = self.begin(attack, Side::Server, far);
        let timer = self.clock.timer();
        let connection = Connection::client(Config::default(), self.parameters(), timer.now());
        let (session, events, driver) = session(far, connection, timer);
        let driving = async {
            match driver.await {
                Driven::Ended(_) => {}
                // It is not dialled again.
                Driven::Detached(detached) => drop(detached),
            }
        };
        let peer = peer.run(near, self.clock.timer());
        let (report, (), ()) = self.block_on(join3(peer, driving, self.serve(session, events)));
        check(&report);
    }

    fn begin(&self, attack: Attack, side: Side, far: Duplex) -> (HostilePeer, Stream) {
        let misbehaviour = attack.misbehaviour(side);
        // Two that are alike would say that they are the same conversation.
        let seed = u64::from(attack.seed) << 8 | u64::from(self.seed.get());
        self.seed.set(self.seed.get().wrapping_add(1));
        let script = misbehaviour.script(seed).unwrap_or_default();
        let peer = HostilePeer::new(misbehaviour, side, seed);
        (peer, Faulty::new(far, script, &self.clock))
    }

    async fn listen(&self, conversations: &Conversations<Stream>, stream: Stream) {
        let accepted = conversations.accept(stream, self.parameters(), self.clock.timer()).await;
        if let Ok(Accepted::New(session, events, driver)) = accepted {
            join(driver, self.serve(session, events)).await;
        }
    }

    /// Talks, gives a file, and takes what it is sent.
    async fn serve(&self, session: Session, mut events: Events) {
        let disk = ShadowDisk::new();
        let inbox = InboxOptions::new().keep_free(0).open_on(Arc::new(disk.clone()));
        let inbox = inbox.expect("it is well");
        let mut reason = None;
        {
            let mut tasks: Tasks<'_> = FuturesUnordered::new();
            tasks.push(self.talk(&session).boxed_local());
            tasks.push(give(&session).map(drop).boxed_local());
            poll_fn(|cx| {
                loop {
                    while let Poll::Ready(Some(())) = tasks.poll_next_unpin(cx) {}
                    match events.poll_next_unpin(cx) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(None) => return Poll::Ready(()),
                        Poll::Ready(Some(Event::Closed(why))) => reason = Some(why),
                        Poll::Ready(Some(Event::Offer(offer))) => {
                            tasks.push(self.store(offer, &inbox).boxed_local());
                        }
                        Poll::Ready(Some(Event::Batch(batch))) => {
                            tasks.push(talk::keep_nothing(batch).boxed_local());
                        }
                        Poll::Ready(Some(event)) => assert!(!format!("{event:?}").is_empty()),
                    }
                }
            })
            .await;
        }
        let reason = reason.expect("somebody is told of the end");
        talk::stays_ended(&session, reason).await.unwrap_or_else(|error| panic!("{error}"));
    }

    async fn talk(&self, session: &Session) {
        if session.opened().await.is_err() {
            return;
        }
        for _ in 0..LINES {
            if session.send_chat(&Chat::new("are you still there?")).await.is_err() {
                return;
            }
            self.sleep(EACH).await;
        }
    }

    /// Stores a file, if it may be.
    async fn store(&self, offer: IncomingOffer, inbox: &Inbox) {
        let mut receiver = match inbox.receive(Some(b"the peer"), offer.offer()) {
            Ok(receiver) => receiver,
            Err(error) => return drop(offer.reject(error.code(), "")),
        };
        let Ok(mut incoming) = offer.accept() else { return };
        loop {
            match incoming.next().await {
                Ok(Some(chunk)) => {
                    if let Err(error) = receiver.write(&[chunk.data]) {
                        return drop(incoming.failed(error.code(), ""));
                    }
                    // As a disk does.
                    self.sleep(Duration::from_millis(1)).await;
                }
                Ok(None) => break,
                Err(_) => {
                    receiver.discard();
                    return drop(incoming.failed(TransferCode::CANCELLED, ""));
                }
            }
        }
        let Some(finish) = incoming.finish() else { return };
        let _ = match receiver.finish(finish.total, finish.digest) {
            Ok(path) => incoming.stored(path.as_str()),
            Err(error) => incoming.failed(error.code(), ""),
        };
    }

    /// A client that means well: it is heard, and its gift comes whole.
    async fn be_honest(&self, stream: Duplex) {
        let timer = self.clock.timer();
        let connection = Connection::client(Config::default(), self.parameters(), timer.now());
        let (session, mut events, driver) = session(stream, connection, timer);
        let mut gifts = 0;
        let talking = async {
            while let Some(event) = events.next().await {
                match event {
                    Event::Open(_) => {
                        let said = session.send_chat(&Chat::new("good morning")).await;
                        assert!(said.is_ok(), "it is open");
                    }
                    Event::Offer(offer) => {
                        let mut incoming = offer.accept().expect("it was offered");
                        let mut at = 0;
                        while let Some(chunk) = incoming.next().await.expect("it comes") {
                            assert_eq!(chunk.offset, at);
                            at += chunk.data.len() as u64;
                        }
                        assert_eq!(at, GIFT as u64);
                        incoming.stored("gift").expect("it is whole");
                        gifts += 1;
                        session.close(CloseCode::DONE, "").expect("it is open");
                    }
                    _ => {}
                }
            }
        };
        join(driver.map(drop), talking).await;
        assert_eq!(gifts, 1, "somebody got no gift");
    }
}

/// What is over several limits is over one of them first: which one, the size of the pipe decides.
fn check(report: &Report) {
    let is_over = |code| matches!(code, CloseCode::LIMIT | CloseCode::FLOOD);
    let is_either = matches!(
        (report.misbehaviour.expected(), report.outcome),
        (Expected::Closed(expected), Outcome::Closed(code)) if is_over(expected) && is_over(code)
    );
    // Beside others that hold the application up there may be no occasion for it.
    let is_tried = report.outcome != Outcome::NoOccasion;
    if report.misbehaviour.culprit() == Culprit::Peer && is_tried && !is_either {
        if let Err(unexpected) = report.check() {
            panic!("{unexpected}");
        }
    }
}

async fn give(session: &Session) -> Result<(), TransferError> {
    if session.opened().await.is_err() {
        return Ok(());
    }
    let offer = Offer::new("gift").size(GIFT as u64).modified(1).seekable();
    let Ok(outgoing) = session.offer(&offer).await else { return Ok(()) };
    talk::send(outgoing, &Bytes::from(vec![7; GIFT])).await
}
