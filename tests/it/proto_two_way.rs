//! Both sides send as much as they can, and neither waits for the other for ever.

use std::time::Duration;

use duologue::proto::Config;
use duologue::testing::{LinkOptions, Pair};
use duologue::wire::Side;

#[test]
fn messages_that_wait_for_the_path_do_not_hold_back_acknowledgements() {
    let link = LinkOptions {
        latency: Duration::from_millis(20),
        rate: Some(1_000_000),
        ..LinkOptions::default()
    };
    let mut pair = Pair::new(Config::default(), Config::default(), link);
    pair.open().unwrap();
    let now = pair.now();
    for side in [Side::Client, Side::Server] {
        pair.end(side).offer(now, 1, 100_000_000, true).unwrap();
    }
    for _ in 0..20 {
        // More control than may go before an item, and bulk that fills the path both ways.
        pair.run_for(Duration::from_secs(1));
        let now = pair.now();
        for side in [Side::Client, Side::Server] {
            pair.end(side).tell(now, &[7; 30_000]).unwrap();
        }
    }
    pair.run_for(Duration::from_secs(1));
    assert_eq!((pair.client.messages.len(), pair.server().messages.len()), (20, 20));
}
