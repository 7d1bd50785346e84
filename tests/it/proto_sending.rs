//! What a lane that sends counts, holds, and takes back.

use core::time::Duration;

use duologue::proto::{Config, ConfigBuilder, Event};
use duologue::wire::{Chat, Message};

use crate::proto_duo::{Duo, said, seconds};

/// A message whose item has this many bytes.
fn message(bytes: usize) -> Message<'static> {
    let body = vec![1; bytes - 11].into();
    Message { message_type: 1, is_reply: false, correlation: 0, body }
}

/// An open pair of which the server takes nothing by itself.
fn open_to(server: ConfigBuilder) -> Duo {
    let mut duo = Duo::open(Config::default(), server.build().unwrap());
    duo.takes = false;
    duo
}

fn messages(duo: &Duo) -> usize {
    duo.server_events.iter().filter(|event| matches!(event, Event::Message { .. })).count()
}

/// The server takes all that came, and says so.
fn take_all(duo: &mut Duo) {
    let now = duo.now;
    for item in duo.server_events.iter().filter_map(Event::item) {
        duo.server.take(now, item);
    }
    duo.run_for(seconds(1));
}

#[test]
fn what_is_planned_anew_counts_once_against_what_the_peer_takes() {
    for again in [0, 5] {
        let config = Config::builder().max_item(16_384).max_untaken_bytes(16_384);
        let mut duo = open_to(config.max_fragment(1024));
        duo.client.send_message(&message(6000)).unwrap();
        duo.run_for(seconds(1));
        duo.client.send_message(&message(9000)).unwrap();
        // One byte too many.
        duo.client.send_message(&message(1385)).unwrap();
        for _ in 0..again {
            assert!(!duo.client.poll_transmit(duo.now).is_empty());
            // A line goes first: the message is taken back.
            duo.client.send_chat(&Chat::new("first")).unwrap();
        }
        duo.run_for(seconds(1));
        assert_eq!(messages(&duo), 2);
        take_all(&mut duo);
        assert_eq!(messages(&duo), 3);
    }
}

#[test]
fn before_any_rate_is_known_one_large_message_is_under_way() {
    let mut duo = open_to(Config::builder());
    for _ in 0..3 {
        duo.client.send_message(&message(12_000)).unwrap();
    }
    // What waits for its pace holds no chat back.
    duo.client.send_chat(&Chat::new("x".repeat(3000))).unwrap();
    let sent = said(&mut duo.client, duo.now).len();
    assert!((15_000..20_000).contains(&sent), "{sent}");
}

#[test]
fn memory_usage_counts_what_is_queued_and_shrinks_once_it_was_taken() {
    let mut duo = open_to(Config::builder());
    duo.run_for(seconds(5));
    duo.client.shrink_to_fit();
    let idle = duo.client.memory_usage();
    let mut queued = 0;
    for (len, count) in [(10, 1500), (900, 80), (30_000, 4)] {
        for _ in 0..count {
            duo.client.send_chat(&Chat::new("x".repeat(len))).unwrap();
            queued += len;
        }
        duo.run_for(Duration::from_millis(500));
        let held = duo.client.memory_usage();
        assert!(held > idle + queued, "{held} bytes for {queued}, {idle} before");
    }
    take_all(&mut duo);
    duo.client.shrink_to_fit();
    let after = duo.client.memory_usage();
    println!("{idle} bytes idle, {queued} queued, {after} at last");
    assert!(after <= idle, "{after} bytes, {idle} before");
}
