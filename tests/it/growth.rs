//! What ten times as much costs, in allocations and bytes, which repeat where times do not: not much
//! more than ten times, and beside a thousand others no more than beside one.

use std::io::IoSlice;

use bytes::Bytes;
use duologue::fs::store::Store;
use duologue::proto::{Config, Receipt as Fate};
use duologue::testing::ShadowDisk;
use duologue::wire::{Chat, Message, Offer};
use futures::future::join;

use super::session_util::{World, pipes};

/// Allocations and bytes that something takes, and the most bytes at one time.
#[derive(Debug, Clone, Copy)]
struct Cost {
    count: f64,
    total: f64,
    most: f64,
}

/// What doing it `count` times costs, beside doing nothing in a world that is as large.
fn cost(count: u32, work: impl Fn(u32)) -> Cost {
    let counted = allocation_counter::measure(|| work(count));
    Cost {
        count: counted.count_total as f64,
        total: counted.bytes_total as f64,
        most: counted.bytes_max as f64,
    }
}

/// Does it once, ten times, a hundred times and a thousand times: from ten on each ten times as many
/// may cost that, and a quarter more.
fn assert_linear(work: impl Fn(u32)) {
    // What a thread or a process has once, it has then.
    work(1);
    let costs = [1, 10, 100, 1000].map(|count| (count, cost(count, &work)));
    for &(count, cost) in &costs {
        let each = |figure: f64| figure / f64::from(count);
        let (allocations, bytes, most) = (each(cost.count), each(cost.total), each(cost.most));
        println!(
            "{count:>5}: {allocations:.1} allocations each, {bytes:.0} bytes, {most:.0} at a time"
        );
    }
    for pair in costs.windows(2) {
        let [(_, few), (count, many)] = pair else { unreachable!() };
        for (less, more) in
            [(few.count, many.count), (few.total, many.total), (few.most, many.most)]
        {
            assert!(more <= less * 12.5, "{count}: {more} after {less}, {pair:?}");
        }
    }
}

#[test]
fn a_session_costs_the_same_however_many_there_are() {
    assert_linear(|count| {
        World::run(async |world| {
            let mut peers = Vec::new();
            for _ in 0..count {
                // A small pipe, so that what a session has weighs more than the pipe.
                let (near, far) = pipes(2048);
                let (near, mut far) = world.connect_over(near, far, Default::default()).await;
                let receipt = near.session.send_chat(&Chat::new("there")).await.unwrap();
                assert_eq!(far.chat().await, "there");
                assert_eq!(receipt.await, Fate::Delivered);
                peers.push((near, far));
            }
        });
    });
}

/// Room for all of them at once.
fn config(count: u32) -> Config {
    let many = count.max(8);
    Config::builder()
        .max_transfers(many)
        .max_undecided(many)
        .outgoing_transfers(many)
        .max_untaken(many)
        .build()
        .unwrap()
}

#[test]
fn a_transfer_costs_the_same_however_many_there_are_at_once() {
    assert_linear(|count| {
        World::run(async |world| {
            let (near, mut far) = world.connect_with((config(count), config(count))).await;
            let mut sent = Vec::new();
            for _ in 0..count {
                let session = near.session.clone();
                sent.push(world.spawn(async move {
                    let mut outgoing = session.offer(&Offer::new("file")).await.unwrap();
                    outgoing.accepted().await.unwrap();
                    outgoing.send(Bytes::from_static(&[7; 4096])).await.unwrap();
                    outgoing.finish(None).await.unwrap();
                }));
            }
            // All are open before the first of them ends.
            let mut open = Vec::new();
            for _ in 0..count {
                open.push(far.offer().await.accept().unwrap());
            }
            for mut incoming in open {
                let mut received = 0;
                while let Some(chunk) = incoming.next().await.unwrap() {
                    received += chunk.data.len();
                }
                assert_eq!(received, 4096);
                incoming.stored("file").unwrap();
            }
            for sent in sent {
                sent.await.unwrap();
            }
        });
    });
}

#[test]
fn a_line_costs_the_same_however_many_there_are() {
    assert_linear(|count| {
        World::run(async |world| {
            let (near, mut far) = world.connect().await;
            let sending = async {
                let mut last = None;
                for _ in 0..count {
                    last = Some(near.session.send_chat(&Chat::new("a line")).await.unwrap());
                }
                assert_eq!(last.unwrap().await, Fate::Delivered);
            };
            let receiving = async {
                for _ in 0..count {
                    assert_eq!(far.chat().await, "a line");
                }
            };
            join(sending, receiving).await;
        });
    });
}

/// Messages of so many bytes, a few of them.
fn messages(len: usize) {
    World::run(async |world| {
        let (near, mut far) = world.connect().await;
        let body = vec![7; len];
        for _ in 0..8 {
            let message = Message {
                message_type: 1,
                is_reply: false,
                correlation: 0,
                body: (&body[..]).into(),
            };
            let receipt = near.session.send_message(&message).await.unwrap();
            match far.event().await {
                duologue::session::Event::Message(message) => assert_eq!(message.body.len(), len),
                other => panic!("{other:?}"),
            }
            assert_eq!(receipt.await, Fate::Delivered);
        }
    });
}

#[test]
fn a_message_costs_by_its_bytes_and_one_of_two_frames_little_more_than_of_one() {
    messages(1);
    // With its header of 11 bytes the first fills a frame, and the next has to have two.
    let sizes = [4096, 16_373, 16_374, 32_768, 65_525];
    let costs = sizes.map(|len| {
        let cost = cost(1, |_| messages(len));
        println!("{len:>7}: {cost:?}, {:.2} bytes for each", cost.total / (8 * len) as f64);
        (len, cost)
    });
    for pair in costs.windows(2) {
        let [(less, few), (more, many)] = pair else { unreachable!() };
        let step = *more as f64 / *less as f64;
        // A buffer that grows by doubling has at most twice of what is in it, and was copied once.
        assert!(many.total <= few.total * step * 2.0, "{pair:?}");
        assert!(many.most <= few.most * step * 1.5, "{pair:?}");
    }
}

#[test]
fn a_shadow_disk_that_takes_little_at_a_time_copies_no_more_than_it_takes() {
    let disk = ShadowDisk::new().longest_write(500);
    let mut file = Store::create_new(&disk, "x").unwrap();
    let rest = vec![7; 1 << 20];
    let counted = allocation_counter::measure(|| {
        assert_eq!(file.write_at(0, &[IoSlice::new(&rest)]).unwrap(), 500);
    });
    assert!(counted.bytes_total < 20_000, "{counted:?}");
}
