//! What a conversation that is silent holds in memory, and that one which talks does not pay for that.

use std::pin::pin;
use std::time::Duration;

use duologue::proto::Config;
use duologue::session::{Chunk, Driver, Event, Events, Outcome, Session, accept};
use duologue::testing::{Duplex, duplex};
use duologue::time::VirtualTimer;
use duologue::wire::{Chat, Offer, TransferCode};
use futures::{FutureExt, StreamExt};

use super::session_util::World;
use super::support::is_pending;

/// Bytes of each of the two pipes, which do not count.
const PIPE: usize = 4096;
/// Bytes of heap and of the two drivers: 5938 when this was written, and 5 %.
const MOST: u64 = 6240;

/// One end.
struct End {
    session: Session,
    events: Events,
    driver: Driver<Duplex, VirtualTimer>,
}

impl End {
    fn say(&self) {
        let sent = self.session.send_chat(&Chat::new("a line of twenty-six bytes")).now_or_never();
        drop(sent.expect("there is room").unwrap());
    }

    fn hear(&mut self) {
        match self.events.next().now_or_never() {
            Some(Some(Event::Chat(_))) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Both ends, polled by hand.
struct Conversation {
    near: End,
    far: End,
}

impl Conversation {
    fn open(world: &World) -> Self {
        let (near, far) = duplex(PIPE);
        Self::over(world, near, far)
    }

    fn over(world: &World, near: Duplex, far: Duplex) -> Self {
        Self::configured(world, (near, far), Config::default())
    }

    fn configured(world: &World, (near, far): (Duplex, Duplex), config: Config) -> Self {
        let (session, events, mut driver) = world.client(near, Config::default());
        assert!(is_pending(&mut driver));
        let near = End { session, events, driver };
        let accepted = {
            let far = accept(far, config, world.parameters(), world.timer());
            pin!(far).now_or_never().expect("a whole HELLO is there").unwrap()
        };
        let far = End { session: accepted.0, events: accepted.1, driver: accepted.2 };
        let mut conversation = Self { near, far };
        conversation.settle();
        for end in [&mut conversation.near, &mut conversation.far] {
            assert!(matches!(end.events.next().now_or_never(), Some(Some(Event::Open(_)))));
        }
        conversation
    }

    /// Lets everything go on that can.
    fn settle(&mut self) {
        for _ in 0..3 {
            assert!(is_pending(&mut self.near.driver) && is_pending(&mut self.far.driver));
        }
    }

    /// A line there, and one back.
    fn talk(&mut self) {
        self.near.say();
        self.settle();
        self.far.hear();
        self.far.say();
        self.settle();
        self.near.hear();
        self.settle();
    }

    /// Nothing is said for so long.
    fn pause(&mut self, world: &World, duration: Duration) {
        const STEP: Duration = Duration::from_millis(10);
        let until = world.clock.now().saturating_add(duration);
        while world.clock.now() < until {
            world.clock.advance(STEP);
            self.settle();
        }
    }
}

#[test]
fn an_idle_conversation_holds_little() {
    let world = World::default();
    let mut kept = Vec::with_capacity(2);
    // What there is once for all comes with the first.
    for _ in 0..2 {
        let counted = allocation_counter::measure(|| {
            let mut conversation = Conversation::open(&world);
            conversation.talk();
            conversation.pause(&world, Duration::from_secs(1));
            kept.push(conversation);
        });
        let pipes = 2 * PIPE as u64;
        let drivers = 2 * size_of::<Driver<Duplex, VirtualTimer>>() as u64;
        let held = u64::try_from(counted.bytes_current).unwrap() - pipes + drivers;
        println!("{held} bytes, {drivers} of them in the two drivers");
        if kept.len() == 2 {
            assert!(held <= MOST, "{held} bytes");
        }
    }
    // It goes on as if nothing had been given back.
    let mut conversation = kept.pop().unwrap();
    for _ in 0..3 {
        conversation.talk();
        conversation.pause(&world, Duration::from_secs(30));
    }
}

#[test]
fn after_a_transfer_an_idle_conversation_holds_little_more() {
    let world = World::default();
    let held = |transfers: usize| {
        let mut kept = None;
        let counted = allocation_counter::measure(|| {
            let mut conversation = Conversation::open(&world);
            for _ in 0..transfers {
                let offered = conversation.near.session.offer(&Offer::new("x")).now_or_never();
                let outgoing = offered.expect("it is allowed").unwrap();
                conversation.settle();
                match conversation.far.events.next().now_or_never() {
                    Some(Some(Event::Offer(offer))) => drop(offer),
                    other => panic!("{other:?}"),
                }
                conversation.settle();
                drop(outgoing);
            }
            conversation.talk();
            conversation.pause(&world, Duration::from_secs(1));
            kept = Some(conversation);
        });
        drop(kept);
        counted.bytes_current
    };
    held(1);
    let [none, one, many] = [0, 1, 20].map(held);
    println!("{none} bytes after none, {one} after one, {many} after twenty");
    assert!(one - none < 1024, "two lanes of control come with the first");
    assert_eq!(one, many);
}

/// A conversation after a burst, with what the application took of it.
fn after_a_burst(world: &World, chunks: usize) -> (Conversation, Vec<Chunk>) {
    let patient = Config::builder().keep_alive_interval(Duration::from_secs(25)).build().unwrap();
    let mut conversation = Conversation::configured(world, duplex(256 << 10), patient);
    let offered = conversation.near.session.offer(&Offer::new("x")).now_or_never();
    let mut outgoing = offered.expect("it is allowed").unwrap();
    conversation.settle();
    let Some(Some(Event::Offer(offer))) = conversation.far.events.next().now_or_never() else {
        panic!("it is offered");
    };
    let mut incoming = offer.accept().unwrap();
    conversation.settle();
    let (mut taken, mut received) = (Vec::new(), 0);
    for sent in 1..=chunks {
        let sending = outgoing.send(vec![7; 64 << 10].into()).now_or_never();
        sending.expect("there is room").unwrap();
        while received < sent << 16 {
            conversation.pause(world, Duration::from_millis(10));
            while let Some(chunk) = incoming.next().now_or_never() {
                let chunk = chunk.unwrap().unwrap();
                received += chunk.data.len();
                taken.push(chunk);
            }
        }
    }
    let _ = incoming.failed(TransferCode::DECLINED, "");
    conversation.settle();
    (conversation, taken)
}

/// What a burst was read into goes, however late the application is done with it, and whoever asks from
/// time to time whether the other is still there.
#[test]
fn a_burst_leaves_no_buffer_behind() {
    let world = World::default();
    let held = |chunks: usize| {
        let mut kept = None;
        let counted = allocation_counter::measure(|| {
            let (mut conversation, taken) = after_a_burst(&world, chunks);
            // One of them asks first each time, and answers only come to that one.
            conversation.pause(&world, Duration::from_secs(40));
            drop(taken);
            kept = Some(conversation);
        });
        drop(kept);
        counted.bytes_current
    };
    held(1);
    let [none, some] = [0, 20].map(held);
    println!("{none} bytes after nothing, {some} after a burst");
    assert!(some - none < 1024, "{none} bytes after nothing, {some} after a burst");
}

#[test]
fn a_stream_that_breaks_right_after_a_burst_leaves_no_buffer_behind() {
    let world = World::default();
    let held = |chunks: usize| {
        let mut kept = None;
        let counted = allocation_counter::measure(|| {
            let (conversation, taken) = after_a_burst(&world, chunks);
            let Conversation { near, mut far } = conversation;
            drop(near);
            let outcome = (&mut far.driver).now_or_never();
            assert!(matches!(outcome, Some(Outcome::Detached(_) | Outcome::Ended(_))));
            let one = taken.into_iter().next();
            kept = Some((far.session, far.events, outcome, one));
        });
        drop(kept);
        counted.bytes_current
    };
    held(1);
    let [none, some] = [0, 20].map(held);
    println!("{none} bytes after nothing, {some} after a burst");
    // One of its chunks is still there.
    assert!(some - none < (64 << 10) + 1024, "{none} bytes after nothing, {some} after a burst");
}

#[test]
fn who_talks_again_and_again_keeps_the_memory_that_it_takes() {
    let world = World::default();
    let mut conversation = Conversation::open(&world);
    let mut allocations = |pause: u64| {
        conversation.talk();
        conversation.pause(&world, Duration::from_millis(pause));
        let counted = allocation_counter::measure(|| {
            for _ in 0..20 {
                conversation.talk();
                // The clock allocates, too.
                let pause = || conversation.pause(&world, Duration::from_millis(pause));
                allocation_counter::opt_out(pause);
            }
        });
        counted.count_total
    };
    let [busy, slow, silent] = [0, 200, 1000].map(&mut allocations);
    println!("{busy} allocations without pauses, {slow} with short ones, {silent} with long ones");
    // A timer that fired in between is set once more.
    assert!(slow < busy + busy / 10);
    assert!(silent > busy + busy / 2, "it was given back");
}

/// A turn that reads and then gives way to who waits for a line ends without a byte of its own: what it
/// read counts all the same.
#[test]
fn who_is_waited_for_keeps_the_memory_that_it_takes() {
    let world = World::default();
    let held = |is_awaited: bool| {
        let mut conversation = Conversation::open(&world);
        conversation.talk();
        conversation.pause(&world, Duration::from_millis(100));
        // It is time to give memory back just when a line comes.
        world.clock.advance(Duration::from_millis(300));
        let counted = allocation_counter::measure(|| {
            conversation.near.say();
            assert!(is_pending(&mut conversation.near.driver));
            if is_awaited {
                assert!(conversation.far.events.next().now_or_never().is_none());
            }
            for _ in 0..3 {
                assert!(is_pending(&mut conversation.far.driver));
            }
            conversation.far.hear();
        });
        counted.bytes_current
    };
    held(false);
    let [waiting, awaited] = [false, true].map(held);
    println!("{waiting} bytes more without, {awaited} with somebody who waits");
    assert_eq!(waiting, awaited);
}

#[test]
fn bursts_of_lines_of_any_size_find_their_memory_where_the_last_one_left_it() {
    let world = World::default();
    let (near, far) = duplex(64 << 10);
    let mut conversation = Conversation::over(&world, near, far);
    let chats = vec![Chat::new("x".repeat(64)); 256];
    let burst = |conversation: &mut Conversation, lines: usize| {
        let sent = conversation.near.session.send_chats(&mut &chats[..lines]).now_or_never();
        drop(sent.expect("there is room").unwrap());
        let mut heard = 0;
        while heard < lines {
            conversation.settle();
            conversation.far.hear();
            heard += 1 + conversation.far.events.ready_chats().len();
        }
        conversation.settle();
    };
    for lines in [256, 1, 256] {
        burst(&mut conversation, lines);
    }
    let sizes = [200, 2, 100, 256, 50, 3, 256, 128];
    let counted = allocation_counter::measure(|| {
        for lines in sizes {
            burst(&mut conversation, lines);
        }
    });
    let text = 64 * sizes.iter().sum::<usize>() as u64;
    println!(
        "{} allocations of {} bytes for {text} of text",
        counted.count_total, counted.bytes_total
    );
    // The texts, where each ends, and the blocks that lines wait in for their acknowledgement.
    assert!(counted.bytes_total < 4 * text + sizes.len() as u64 * 4096);
}
