//! Every limit, hit exactly and by one more.

use std::time::Duration;

use duologue::proto::{ActionError, Config, ConfigBuilder, Event, Lane};
use duologue::testing::{Call, Done, LinkOptions, Pair};
use duologue::time::Time;
use duologue::wire::{
    Batch, Chat, CloseCode, Frame, Kind, Message, Offer, Side, Signal, TransferCode, TransferId,
};

use super::proto_util::{
    client, finish_all, frames, millis, offer, open, open_to, open_with, pick, server,
};

type Setter = fn(ConfigBuilder, u32) -> ConfigBuilder;

#[test]
fn settings_have_the_ranges_that_they_say() {
    let settings: [(&str, Setter, u32, u32); 14] = [
        ("max_frame", ConfigBuilder::max_frame, 1024, 65_536),
        ("max_fragment", ConfigBuilder::max_fragment, 1024, 16_384),
        ("max_item", ConfigBuilder::max_item, 16_384, 16 << 20),
        ("max_untaken", ConfigBuilder::max_untaken, 1, 65_536),
        ("max_untaken_bytes", ConfigBuilder::max_untaken_bytes, 16_384, 1 << 31),
        ("max_transfers", ConfigBuilder::max_transfers, 0, 4096),
        ("max_undecided", ConfigBuilder::max_undecided, 0, 4096),
        ("member_credit", ConfigBuilder::member_credit, 0, 1 << 31),
        ("receive_window", ConfigBuilder::receive_window, 65_536, 1 << 30),
        ("reserved_window", ConfigBuilder::reserved_window, 4096, 1 << 20),
        ("send_buffer", ConfigBuilder::send_buffer, 32_768, 1 << 30),
        ("outgoing_transfers", ConfigBuilder::outgoing_transfers, 0, 4096),
        ("queued_items", ConfigBuilder::queued_items, 1, 1 << 20),
        ("queued_bytes", ConfigBuilder::queued_bytes, 16_384, 1 << 30),
    ];
    for (name, set, least, most) in settings {
        let begin = || match name {
            // What has to hold an item, and the item that it has to hold.
            "max_untaken_bytes" => Config::builder().max_item(16_384),
            "max_item" => Config::builder().max_untaken_bytes(16 << 20),
            _ => Config::builder(),
        };
        for value in [least, most] {
            let config = set(begin(), value).build().unwrap();
            // It is also one with which a conversation opens.
            let mut pair = Pair::new(config.clone(), config, LinkOptions::default());
            pair.open().unwrap_or_else(|error| panic!("{name} of {value}: {error}"));
        }
        for value in [least.checked_sub(1), most.checked_add(1)].into_iter().flatten() {
            let error = set(begin(), value).build().unwrap_err();
            assert_eq!(error.setting(), name);
        }
    }
    let less = Config::builder().max_item(20_000).max_untaken_bytes(19_999).build();
    assert_eq!(less.unwrap_err().setting(), "max_untaken_bytes");
    let often = Config::builder().keep_alive_interval(millis(999)).build().unwrap_err();
    assert_eq!(often.setting(), "keep_alive_interval");
    let said =
        "keep_alive_interval is out of its range: 1 s or more, and shorter than idle_timeout";
    assert_eq!(often.to_string(), said);
    assert!(Config::builder().keep_alive_interval(millis(1000)).build().is_ok());
    let second = millis(1000);
    let same = Config::builder().keep_alive_interval(second).idle_timeout(second).build();
    assert_eq!(same.unwrap_err().setting(), "keep_alive_interval");
}

/// A message whose item has this many bytes.
fn message(bytes: usize) -> Call {
    let body = vec![1; bytes - 11].into();
    Call::SendMessage(Message { message_type: 1, is_reply: false, correlation: 0, body })
}

fn arrived(pair: &Pair) -> usize {
    pair.server().messages.len()
}

#[test]
fn untaken_messages_are_bounded_by_number_and_by_bytes() {
    let cases = [
        (&[100, 100, 100, 100][..], 3),
        (&[8192, 8192, 11], 2),
        (&[8192, 8193], 1),
        (&[16_384, 11], 1),
        (&[11, 16_384], 1),
    ];
    // In one frame, and in several: an item that has begun counts once.
    for ((sizes, fit), fragment) in
        cases.into_iter().flat_map(|case| [(case, 16_384), (case, 1024)])
    {
        let config = Config::builder().max_untaken(3).max_item(16_384).max_untaken_bytes(16_384);
        let mut pair = open_to(config.max_fragment(fragment));
        pair.server_mut().behaviour.takes = false;
        for &size in sizes {
            client(&mut pair, message(size)).unwrap();
        }
        pair.run_for(millis(2000));
        assert_eq!(arrived(&pair), fit, "{sizes:?}");
        // Chat has a limit of its own.
        let now = pair.now();
        pair.client.say(now, "meanwhile").unwrap();
        pair.run_for(millis(100));
        assert_eq!(pair.server().chats.len(), 1);
        let now = pair.now();
        pair.server_mut().take_all(now);
        pair.server_mut().behaviour.takes = true;
        pair.run_for(millis(2000));
        assert_eq!(arrived(&pair), sizes.len(), "{sizes:?}");
        assert_eq!(pair.client.receipts.len(), sizes.len() + 1);
    }
}

#[test]
fn the_queue_is_bounded_by_number_and_by_bytes() {
    let sender = Config::builder().queued_items(4).queued_bytes(20_000).build().unwrap();
    let mut pair = open_with(sender, Config::default(), LinkOptions::default());
    pair.server_mut().behaviour.takes = false;
    for (sizes, over) in [
        (&[100, 100, 100, 100][..], 11),
        (&[10_000, 10_000], 11),
        (&[19_989], 12),
        // The only one always fits.
        (&[69_632], 11),
    ] {
        for &size in sizes {
            client(&mut pair, message(size)).unwrap();
        }
        assert_eq!(client(&mut pair, message(over)), Err(ActionError::Blocked), "{sizes:?}");
        pair.run_for(millis(200));
        assert_eq!(client(&mut pair, message(over)), Err(ActionError::Blocked), "{sizes:?}");
        let before = pair.client.events.len();
        let now = pair.now();
        pair.server_mut().take_all(now);
        pair.run_for(millis(200));
        let writable = &pair.client.events[before..];
        assert_eq!(writable, [Event::LaneWritable(Lane::Control)]);
        client(&mut pair, message(over)).unwrap();
        let now = pair.now();
        pair.run_for(millis(200));
        pair.server_mut().take_all(now);
        pair.run_for(millis(200));
    }
}

#[test]
fn a_peer_that_takes_small_frames_only_is_sent_small_frames_only() {
    for (frame, fragment) in [(1024, 16_384), (65_536, 1024), (1024, 1024), (5000, 16_384)] {
        let small = Config::builder().max_frame(frame).max_fragment(fragment).build().unwrap();
        let mut pair = open_with(small.clone(), small, LinkOptions::default());
        let now = pair.now();
        let offer = Offer::new("file-1").metadata(vec![1; 4096]);
        let id = pair.client.offer_as(now, offer, 1, 200_000).unwrap();
        pair.server_mut().behaviour.concludes = false;
        pair.client.say(now, &"x".repeat(65_000)).unwrap();
        client(&mut pair, message(60_000)).unwrap();
        let largest = frame.min(1026) as usize;
        let signal =
            |len: usize| Call::SendSignal(Signal { signal_type: 1, payload: vec![0; len].into() });
        client(&mut pair, signal(largest - 2)).unwrap();
        let error = client(&mut pair, signal(largest - 1)).unwrap_err();
        let is_right = match error {
            ActionError::TooLarge { max } => max as usize == largest - 2,
            ActionError::Invalid(_) => largest == 1026,
            _ => false,
        };
        assert!(is_right, "{error:?}");
        pair.run_for(millis(3000));
        server(&mut pair, Call::Stored(id, "n".repeat(4096))).unwrap();
        finish_all(&mut pair);
        pair.drive(1000, |pair| pair.client.receipts.len() >= 2).unwrap();
        for side in [Side::Client, Side::Server] {
            let sent = frames(&pair.tapped(side));
            for seen in &sent {
                let most = if seen.kind == Kind::SIGNAL { frame } else { frame.min(fragment) };
                assert!(seen.payload.len() <= most as usize, "{} of {most}", seen.payload.len());
            }
        }
    }
}

fn batch(pair: &mut Pair) -> Result<Done, ActionError> {
    let batch = Batch { name: "b".into(), count: 9, bytes: 9, metadata: b""[..].into() };
    client(pair, Call::OfferBatch(batch))
}

#[test]
fn open_transfers_are_bounded_and_batches_and_members_count() {
    let mut pair = open_to(Config::builder().max_transfers(4));
    pair.server_mut().behaviour.concludes = false;
    let Ok(Done::Transfer(outer)) = batch(&mut pair) else { panic!("no batch") };
    pair.run_for(millis(100));
    let member = |pair: &mut Pair| client(pair, Call::Offer(Offer::new("m").batch(outer)));
    member(&mut pair).unwrap();
    member(&mut pair).unwrap();
    let file = offer(&mut pair, Offer::new("file-1").size(0));
    pair.run_for(millis(100));
    let limit = Err(ActionError::PeerLimit);
    assert_eq!(member(&mut pair), limit);
    assert_eq!(batch(&mut pair), limit);
    assert_eq!(client(&mut pair, Call::Offer(Offer::new("x"))), limit);
    server(&mut pair, Call::Failed(file, TransferCode::NO_SPACE, String::new())).unwrap();
    assert_eq!(member(&mut pair), limit, "the verdict is not there yet");
    pair.run_for(millis(100));
    member(&mut pair).unwrap();
    assert_eq!(member(&mut pair), limit);
    pair.run_for(millis(100));
    assert_eq!(pair.server().machine.error(), None);
}

#[test]
fn undecided_offers_are_bounded() {
    let mut pair = open_to(Config::builder().max_undecided(3));
    pair.server_mut().behaviour.accepts_offers = false;
    let first = offer(&mut pair, Offer::new("a"));
    batch(&mut pair).unwrap();
    let third = offer(&mut pair, Offer::new("c"));
    let limit = Err(ActionError::PeerLimit);
    assert_eq!(batch(&mut pair), limit);
    // One that is cancelled counts until it is answered.
    client(&mut pair, Call::Cancel(third, TransferCode::CANCELLED, String::new())).unwrap();
    assert_eq!(client(&mut pair, Call::Offer(Offer::new("d"))), limit);
    pair.run_for(millis(100));
    batch(&mut pair).unwrap();
    server(&mut pair, Call::Accept(first, Default::default())).unwrap();
    pair.run_for(millis(100));
    offer(&mut pair, Offer::new("e"));
    assert_eq!(client(&mut pair, Call::Offer(Offer::new("f"))), limit);
    pair.run_for(millis(100));
    assert_eq!(pair.server().machine.error(), None);
}

#[test]
fn who_met_a_limit_of_offers_is_told_once_when_there_is_room() {
    let mut pair = open_to(Config::builder().max_undecided(2).max_transfers(3));
    pair.server_mut().behaviour.accepts_offers = false;
    pair.server_mut().behaviour.concludes = false;
    let told = |pair: &mut Pair| {
        let told = pick(&pair.client, |event| matches!(event, Event::MayOffer).then_some(()));
        pair.client.events.clear();
        told.len()
    };
    let [first, second] = ["a", "b"].map(|name| offer(&mut pair, Offer::new(name).size(0)));
    pair.run_for(millis(100));
    assert_eq!(told(&mut pair), 0, "nobody was refused");
    let another = |pair: &mut Pair| client(pair, Call::Offer(Offer::new("c").size(0)));
    assert_eq!(another(&mut pair), Err(ActionError::PeerLimit));
    assert_eq!(another(&mut pair), Err(ActionError::PeerLimit));
    pair.run_for(millis(100));
    assert_eq!(told(&mut pair), 0, "nothing has changed");
    for id in [first, second] {
        server(&mut pair, Call::Accept(id, Default::default())).unwrap();
    }
    pair.run_for(millis(100));
    assert_eq!(told(&mut pair), 1);
    another(&mut pair).unwrap();
    assert_eq!(another(&mut pair), Err(ActionError::PeerLimit), "three have not ended");
    server(&mut pair, Call::Failed(first, TransferCode::NO_SPACE, String::new())).unwrap();
    pair.run_for(millis(100));
    assert_eq!(told(&mut pair), 1);
    another(&mut pair).unwrap();
    // One that accepts none tells nothing.
    let mut pair = open_to(Config::builder().max_transfers(0));
    assert_eq!(another(&mut pair), Err(ActionError::PeerLimit));
    pair.run_for(millis(100));
    assert_eq!(told(&mut pair), 0);
}

#[test]
fn who_waits_to_offer_a_batch_is_told_once_when_another_has_ended() {
    let mut pair = open_to(Config::builder().max_transfers(3));
    let told = |pair: &mut Pair| {
        let told = pick(&pair.client, |event| matches!(event, Event::MayOffer).then_some(()));
        pair.client.events.clear();
        told.len()
    };
    let Ok(Done::Transfer(first)) = batch(&mut pair) else { panic!("no batch") };
    batch(&mut pair).unwrap();
    assert_eq!(batch(&mut pair), Err(ActionError::PeerLimit), "no place would be left");
    pair.run_for(millis(100));
    assert_eq!(told(&mut pair), 0, "there is a place, but not for a batch");
    server(&mut pair, Call::Failed(first, TransferCode::NO_SPACE, String::new())).unwrap();
    pair.run_for(millis(100));
    assert_eq!(told(&mut pair), 1);
    batch(&mut pair).unwrap();
    // What is no batch may take the place.
    client(&mut pair, Call::Offer(Offer::new("x"))).unwrap();
    pair.run_for(millis(100));
    assert_eq!(told(&mut pair), 0, "only once");
}

#[test]
fn none_means_none() {
    for config in [Config::builder().max_transfers(0), Config::builder().max_undecided(0)] {
        let mut pair = open_to(config);
        let limit = Err(ActionError::PeerLimit);
        assert_eq!(batch(&mut pair), limit);
        assert_eq!(client(&mut pair, Call::Offer(Offer::new("x"))), limit);
        // The other direction is the other side's own.
        let now = pair.now();
        pair.server_mut().offer(now, 1, 1000, true).unwrap();
        finish_all(&mut pair);
    }
    let own = Config::builder().outgoing_transfers(0).build().unwrap();
    let mut pair = open_with(own, Config::default(), LinkOptions::default());
    assert_eq!(batch(&mut pair), Err(ActionError::PeerLimit));
}

#[test]
fn our_own_transfers_are_bounded_too() {
    let own = Config::builder().outgoing_transfers(2).build().unwrap();
    let mut pair = open_with(own, Config::default(), LinkOptions::default());
    pair.server_mut().behaviour.concludes = false;
    offer(&mut pair, Offer::new("a"));
    offer(&mut pair, Offer::new("b"));
    let over = client(&mut pair, Call::Offer(Offer::new("c")));
    assert_eq!(over, Err(ActionError::PeerLimit));
}

#[test]
fn a_peer_that_takes_nothing_cannot_make_answers_pile_up() {
    let mut pair = open();
    pair.server_mut().behaviour.accepts_offers = false;
    let now = pair.now();
    let worst = pair.server().machine.config().worst_case_memory();
    let mut most = 0;
    for number in 1..20_000 {
        // By hand, as our own machine does not do this: it never takes a rejection.
        let mut bytes = Vec::new();
        Frame::Offer(Offer::new("x")).encode(number, &mut bytes).unwrap();
        if !pair.server_mut().receive(now, &bytes) {
            break;
        }
        let id = TransferId::new(Side::Client, number).unwrap();
        let reject = Call::Reject(id, TransferCode::DECLINED, "n".repeat(255));
        server(&mut pair, reject).unwrap();
        pair.server_mut().machine.transmit(now, <[u8]>::len);
        most = most.max(pair.server().machine.memory_usage());
    }
    println!("answers that nobody takes: at most {most} bytes of {worst}");
    let Some(duologue::proto::Error::Violation(violation)) = pair.server().machine.error() else {
        panic!("{most} bytes and no end");
    };
    assert_eq!((violation.code(), violation.kind()), (CloseCode::LIMIT, Kind::OFFER));
    assert!(most < worst / 4, "{most}");
}

#[test]
fn a_saturated_conversation_keeps_to_its_worst_case_and_comes_near_it() {
    for config in [
        Config::default(),
        Config::builder().receive_window(16 << 20).send_buffer(64 << 10).build().unwrap(),
        Config::builder()
            .max_item(1 << 20)
            .max_untaken_bytes(4 << 20)
            .queued_bytes(4 << 20)
            .build()
            .unwrap(),
    ] {
        let mut pair = open_with(config.clone(), config.clone(), LinkOptions::default());
        for side in [Side::Client, Side::Server] {
            let end = pair.end(side);
            (end.behaviour.takes, end.behaviour.releases) = (true, false);
        }
        let mut most = 0;
        for round in 0..40 {
            for side in [Side::Client, Side::Server] {
                let now = pair.now();
                let end = pair.end(side);
                while end.offer(now, round, 1 << 30, false).is_ok() {}
                if round == 10 {
                    end.behaviour.takes = false;
                }
                if round > 10 {
                    while end.say(now, &"x".repeat(1000)).is_ok() {}
                    while end.tell(now, &[1; 16_000]).is_ok() {}
                }
            }
            pair.run_for(millis(50));
            most = most.max(held(&pair));
            assert!(held(&pair) <= config.worst_case_memory());
        }
        assert_eq!(pair.client.outgoing.len(), 80);
        let worst = config.worst_case_memory();
        println!("worst case {worst} bytes; a saturated pair reaches {most}");
        assert!(most >= worst / 4, "{most} of {worst}");
        assert_eq!(pair.client.machine.error(), None);
        assert_eq!(pair.server().machine.error(), None);
    }
}

/// What the server holds, and what its application holds of the peer's.
fn held(pair: &Pair) -> usize {
    let end = pair.server();
    let files: u64 = end.incoming.values().map(|t| t.received).sum();
    end.machine.memory_usage() + files as usize
}

#[test]
fn an_idle_conversation_is_small() {
    let mut pair = open();
    pair.run_for(millis(5000));
    let idle = pair.client.machine.memory_usage();
    println!("idle: {idle} bytes; default worst case {}", Config::default().worst_case_memory());
    assert!(idle < 8192, "{idle}");
    // After much has gone through, it is again.
    let now = pair.now();
    for seed in 0..50 {
        let _ = pair.client.offer(now, seed, 200_000, seed % 2 == 0);
        pair.client.say(now, &"x".repeat(5000)).unwrap();
    }
    finish_all(&mut pair);
    pair.run_for(millis(5000));
    for end in [&pair.client, pair.server()] {
        let after = end.machine.memory_usage();
        assert!(after < 48 << 10, "{after}");
    }
}

#[test]
fn what_is_too_large_is_refused_before_it_is_queued() {
    let mut pair = open_to(Config::builder().max_item(16_384).max_untaken_bytes(16_384));
    let max = ActionError::TooLarge { max: 16_384 };
    assert_eq!(client(&mut pair, message(16_385)), Err(max));
    let chat = Call::SendChat(Chat::new("x".repeat(16_383)));
    assert_eq!(client(&mut pair, chat), Err(max));
    client(&mut pair, message(16_384)).unwrap();
    pair.run_for(millis(500));
    assert_eq!(arrived(&pair), 1);
    assert_eq!(pick(&pair.client, |e| matches!(e, Event::LaneWritable(_)).then_some(())), []);
    assert!(pair.now() > Time::ZERO);
}

/// Ten years of leap years are the longest time that may be asked for.
#[test]
fn a_configuration_takes_times_of_up_to_ten_years_and_hands_back_what_it_was_given() {
    let longest = Duration::from_secs(10 * 366 * 24 * 60 * 60);
    let with = |time| Config::builder().handshake_timeout(time).max_transfers(7).build();
    let config = with(longest).unwrap();
    assert_eq!((config.handshake_timeout(), config.limits().transfers), (longest, 7));
    assert!(with(longest + Duration::from_micros(1)).is_err());
    assert!(with(Duration::from_micros(999)).is_err());
}
