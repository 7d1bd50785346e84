//! A slow file becomes durable by time, and a part that is large is looked at while more comes.

use std::cell::Cell;
use std::fs;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use duologue::fs::{Inbox, receive};
use duologue::proto::{Config, Connection, StreamParameters};
use duologue::session::{Event, accept, session};
use duologue::testing::duplex;
use duologue::time::{Timer, VirtualClock};
use duologue::wire::Offer;
use futures::executor::block_on;
use futures::future::{self, Either};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};

use super::fs_transfer::random;

/// No more than so much time passes: then only the disk is waited for.
const MOST: Duration = Duration::from_secs(30);

#[test]
fn what_came_is_durable_after_a_second_though_no_more_comes() {
    let to = tempfile::tempdir().unwrap();
    let inbox = Inbox::open(to.path()).unwrap();
    let content = random((3 << 20) + 1000, 5);
    let clock = VirtualClock::new();
    let (near, far) = duplex(64 << 10);
    let durable = Cell::new(0);

    let client = async {
        let timer = clock.timer();
        let stream = StreamParameters::new([1; 32]);
        let connection = Connection::client(Config::default(), stream, timer.now());
        let (handle, mut events, driver) = session(near, connection, timer);
        let sending = async {
            while !handle.is_open() {
                events.next().await;
            }
            let offer = Offer::new("slow.bin").size(100 << 20);
            let mut outgoing = handle.offer(&offer).await.unwrap();
            outgoing.accepted().await.unwrap();
            for chunk in content.chunks(64 << 10) {
                outgoing.send(chunk.to_vec().into()).await.unwrap();
            }
            // No more comes, and the conversation stays.
            future::pending::<()>().await
        };
        future::join(driver, sending).await;
    };
    let server = async {
        let stream = StreamParameters::new([2; 32]);
        let accepted = accept(far, Config::default(), stream, clock.timer()).await;
        let (_handle, mut events, driver) = accepted.unwrap();
        let receiving = async {
            while let Some(event) = events.next().await {
                let Event::Offer(offer) = event else { continue };
                let seen = |progress: duologue::session::Progress| durable.set(progress.durable);
                let receiving = receive(offer, &inbox, Some(b"peer"), seen);
                future::select(Box::pin(receiving), Box::pin(until(|| durable.get() >= 3 << 20)))
                    .await;
                return;
            }
        };
        // Polled only when it was woken itself, not whenever the driver is.
        let mut alone = FuturesUnordered::from_iter([receiving]);
        future::select(driver, alone.next()).await;
    };
    let time = poll_fn(|cx| {
        if clock.now().as_micros() < u64::try_from(MOST.as_micros()).unwrap() {
            clock.advance(Duration::from_millis(1));
            cx.waker().wake_by_ref();
        }
        Poll::<()>::Pending
    });
    let late = smol::Timer::after(Duration::from_secs(20));
    let all = future::select(Box::pin(server), Box::pin(future::join(client, time)));
    if let Either::Right(_) = block_on(future::select(all.map(drop), Box::pin(late))) {
        panic!("nothing became durable");
    }
    assert_eq!(durable.get(), 3 << 20);
    assert_eq!(fs::read_dir(to.path()).unwrap().count(), 2);
}

/// Looks at a condition whenever it is polled with what it depends on.
async fn until(is_so: impl Fn() -> bool) {
    poll_fn(|_| if is_so() { Poll::Ready(()) } else { Poll::Pending }).await;
}
