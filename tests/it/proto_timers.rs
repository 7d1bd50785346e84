//! Deadlines, to the microsecond.

use core::time::Duration;

use bytes::Bytes;
use duologue::proto::{
    Acceptance, Acceptor, CloseReason, Conclusion, Config, Connection, DetachReason, Error, Event,
    StreamParameters,
};
use duologue::time::Time;
use duologue::wire::{Chat, CloseCode, Frame, Offer, Ping, Side, TransferCode, TransferId};

use crate::proto_duo::{Duo, frame, said, seconds, tell};

fn open() -> Duo {
    Duo::open(Config::default(), Config::default())
}

/// A microsecond before.
fn before(time: Time) -> Time {
    Time::from_micros(time.as_micros() - 1)
}

fn after(duo: &Duo, number: u64) -> Time {
    duo.now.saturating_add(seconds(number))
}

fn file(duo: &mut Duo, size: u64) -> TransferId {
    let offer = Offer::new("file").size(size);
    let id = duo.client.offer(&offer, duo.now).unwrap();
    duo.settle();
    id
}

fn accepted(duo: &mut Duo, size: u64) -> TransferId {
    let id = file(duo, size);
    duo.server.accept(id, Acceptance::default(), duo.now).unwrap();
    duo.settle();
    id
}

fn send(duo: &mut Duo, id: TransferId, offset: u64, len: usize) {
    duo.client.send_data(id, offset, Bytes::from(vec![1; len])).unwrap();
    duo.settle();
}

/// Runs to just before `time`, where nothing has expired, and then to it, where `id` has.
fn assert_expires(duo: &mut Duo, side: Side, id: TransferId, time: Time) {
    let expired = Event::Expired { transfer: id };
    duo.run_until(before(time));
    assert!(!duo.events(side).contains(&expired), "too early");
    duo.run_until(time);
    assert!(duo.events(side).contains(&expired), "not in time");
}

fn has_verdict(duo: &Duo, id: TransferId, expected: TransferCode) -> bool {
    duo.client_events.iter().any(|event| {
        matches!(event, Event::Verdict { transfer, code, .. } if *transfer == id && *code == expected)
    })
}

#[test]
fn a_handshake_that_nobody_answers_ends_in_time() {
    let now = Time::from_micros(3_000_000);
    let end = now.saturating_add(seconds(10));
    let mut client = Connection::client(Config::default(), StreamParameters::new([1; 32]), now);
    let hello = said(&mut client, now);
    assert_eq!(client.poll_timeout(), Some(end));
    client.handle_timeout(before(end));
    assert!(!client.is_closed());
    client.handle_timeout(end);
    let failed = CloseReason::Failed(Error::HandshakeTimedOut);
    assert_eq!(client.poll_event(), Some(Event::Closed(failed)));
    assert_eq!(client.poll_timeout(), None);
    assert!(said(&mut client, end).is_empty(), "to nobody that speaks this protocol");

    // A drip does not put it off.
    let mut acceptor = Acceptor::new(Config::default(), StreamParameters::new([2; 32]), now);
    for (second, byte) in hello.iter().enumerate().take(9) {
        let at = now.saturating_add(seconds(second as u64 + 1));
        acceptor.handle_input(at, &[*byte]).unwrap();
        assert_eq!(acceptor.poll_timeout(), Some(end));
    }
    acceptor.handle_timeout(end);
    assert_eq!(acceptor.error(), Some(&Error::HandshakeTimedOut));
    let last: Vec<u8> = acceptor.poll_transmit().into_iter().flatten().copied().collect();
    assert!(last.is_empty(), "nothing is said before the HELLO");
}

#[test]
fn an_application_that_does_not_decide_is_given_as_long() {
    for side in [Side::Client, Side::Server] {
        let mut duo = Duo::new(Config::default(), Config::default());
        let end = after(&duo, 10);
        duo.settle();
        let now = duo.now;
        duo.end(side).accept_peer(now).unwrap();
        duo.run_until(before(end));
        assert!(!duo.client.is_closed() && !duo.server.is_closed());
        duo.run_until(end);
        assert!(duo.client.is_closed() && duo.server.is_closed());
        let error = Some(&Error::HandshakeTimedOut);
        assert!(duo.client.error() == error || duo.server.error() == error);
    }
}

#[test]
fn a_handshake_that_ends_at_the_deadline_is_in_time() {
    let mut duo = Duo::new(Config::default(), Config::default());
    duo.settle();
    duo.client.accept_peer(duo.now).unwrap();
    let resume = said(&mut duo.client, duo.now);
    let end = after(&duo, 10);
    duo.server.accept_peer(duo.now).unwrap();
    tell(&mut duo.server, end, &resume, true).unwrap();
    duo.server.handle_timeout(end);
    assert!(duo.server.is_open() && duo.server.error().is_none());
}

#[test]
fn a_ping_after_20_seconds_and_the_end_after_60() {
    let mut duo = open();
    duo.run_for(seconds(1));
    // The last input of both was at the opening, acknowledged 25 ms later.
    let sent = duo.client.statistics().sent.control.frames;
    duo.is_linked = false;
    let last = duo.client.poll_timeout().unwrap();
    let heard = Time::from_micros(last.as_micros() - 20_000_000);
    duo.run_until(before(last));
    assert_eq!(duo.client.statistics().sent.control.frames, sent);
    duo.run_until(last);
    duo.settle();
    assert_eq!(duo.client.statistics().sent.control.frames, sent + 1, "a ping");
    let end = heard.saturating_add(seconds(60));
    assert_eq!(duo.client.poll_timeout(), Some(end), "one at a time");
    duo.run_until(before(end));
    assert!(!duo.client.is_detached());
    duo.run_until(end);
    assert!(duo.client.is_detached() && duo.server.is_detached());
    assert_eq!(duo.client_events, [Event::Detached(DetachReason::Idle)]);
    assert_eq!(duo.client.poll_timeout(), Some(end.saturating_add(seconds(300))));
}

#[test]
fn a_live_peer_never_idles_out_in_seven_days_and_memory_stays_where_it_was() {
    let mut duo = open();
    duo.run_for(seconds(60));
    let baseline = (duo.client.memory_usage(), duo.server.memory_usage());
    let frames = duo.client.statistics().sent.control.frames;
    let week = 7 * 24 * 60 * 60;
    duo.run_for(seconds(week));
    assert!(duo.client_events.is_empty() && duo.server_events.is_empty());
    assert!(!duo.client.is_detached() && !duo.server.is_detached());
    let now = (duo.client.memory_usage(), duo.server.memory_usage());
    assert_eq!(now, baseline);
    let frames = duo.client.statistics().sent.control.frames - frames;
    println!("{frames} frames in a week, {baseline:?} bytes");
    assert!(frames <= 2 * week / 20);
}

#[test]
fn input_at_the_deadline_wins() {
    let mut duo = open();
    duo.run_for(seconds(1));
    let chat = frame(0, &Frame::Chat(Chat::new("in time")));
    duo.is_linked = false;
    duo.run_for(seconds(30));
    let end = Time::from_micros(duo.client.poll_timeout().unwrap().as_micros());
    tell(&mut duo.client, end, &chat, true).unwrap();
    duo.client.handle_timeout(end);
    assert!(!duo.client.is_detached());
    assert!(duo.client.poll_timeout().unwrap() > end);
}

#[test]
fn a_ping_is_answered_while_chat_and_files_wait() {
    let mut duo = open();
    let id = accepted(&mut duo, 1 << 30);
    duo.client.send_data(id, 0, Bytes::from(vec![1; 256 << 10])).unwrap();
    duo.client.send_chat(&Chat::new("x".repeat(50_000))).unwrap();
    // Nothing of these has begun to leave.
    let _ = duo.client.poll_transmit(duo.now).len();
    let ping = Ping { token: *b"question" };
    tell(&mut duo.client, duo.now, &frame(0, &Frame::Ping(ping)), true).unwrap();
    let next = said(&mut duo.client, duo.now);
    let pong = frame(0, &Frame::Pong(ping));
    let place = next.windows(pong.len()).position(|window| window == pong).unwrap();
    println!("the answer comes after {place} bytes");
    assert!(place <= 16 * 1024 + 8 + 1024);
}

/// Fills what may be queued, from `offset` on; returns where it ends.
fn fill(duo: &mut Duo, id: TransferId, mut offset: u64) -> u64 {
    while duo.client.capacity(id) > 0 {
        send(duo, id, offset, 32 << 10);
        offset += 32 << 10;
    }
    offset
}

#[test]
fn a_sender_without_credit_gives_up() {
    let mut duo = open();
    let id = accepted(&mut duo, 10 << 20);
    // The receiver's application releases nothing: all credit is used up within a second.
    let began = duo.now;
    let offset = fill(&mut duo, id, 0);
    duo.run_for(seconds(1));
    fill(&mut duo, id, offset);
    let expired = Event::Expired { transfer: id };
    duo.run_until(began.saturating_add(seconds(120)));
    assert!(!duo.client_events.contains(&expired));
    duo.run_until(began.saturating_add(seconds(121)));
    assert!(duo.client_events.contains(&expired));
    duo.settle();
    let asked =
        |event: &Event<'_>| matches!(event, Event::CancelAsked { code: TransferCode::STALLED, .. });
    assert!(duo.server_events.iter().any(asked));
    let failed = Conclusion::Failed { code: TransferCode::STALLED, text: "" };
    duo.server.conclude(id, &failed).unwrap();
    duo.settle();
    assert!(has_verdict(&duo, id, TransferCode::STALLED));
}

#[test]
fn a_sender_whose_own_source_is_slow_is_not_blamed_on_the_peer() {
    let config = Config::builder().stall_timeout(seconds(10_000)).build().unwrap();
    let mut duo = Duo::open(Config::default(), config);
    let id = accepted(&mut duo, 10 << 20);
    send(&mut duo, id, 0, 100 << 10);
    // Nothing to send for longer than the time-out; then more than there is credit for.
    duo.run_for(seconds(500));
    fill(&mut duo, id, 100 << 10);
    let began = duo.now;
    let expired = Event::Expired { transfer: id };
    duo.run_until(began.saturating_add(seconds(120)));
    assert!(!duo.client_events.contains(&expired));
    duo.run_until(began.saturating_add(seconds(121)));
    assert!(duo.client_events.contains(&expired));
}

#[test]
fn a_receiver_that_waits_for_data_gives_up() {
    let config = Config::builder().stall_timeout(seconds(10_000)).build().unwrap();
    let mut duo = Duo::open(config, Config::default());
    let id = accepted(&mut duo, 1 << 20);
    duo.run_for(seconds(30));
    send(&mut duo, id, 0, 50 << 10);
    let end = after(&duo, 120);
    assert_expires(&mut duo, Side::Server, id, end);
    assert!(has_verdict(&duo, id, TransferCode::STALLED));
    // What was on its way is forgiven.
    duo.settle();
    assert!(duo.client.is_open() && duo.server.is_open());
}

#[test]
fn a_receiver_whose_own_application_is_slow_does_not_blame_the_sender() {
    let config = Config::builder().stall_timeout(seconds(10_000)).build().unwrap();
    let mut duo = Duo::open(config, Config::default());
    let id = accepted(&mut duo, 10 << 20);
    fill(&mut duo, id, 0);
    // All credit is used up; the application is busy for long, and then releases.
    duo.run_for(seconds(500));
    assert!(duo.server_events.iter().all(|event| !matches!(event, Event::Expired { .. })));
    duo.is_linked = true;
    duo.server.release(id, 256 << 10, duo.now);
    let released = duo.now;
    duo.settle();
    duo.run_for(seconds(1));
    assert!(duo.server_events.iter().all(|event| !matches!(event, Event::Expired { .. })));
    duo.server.release(id, 1 << 20, duo.now);
    duo.run_until(released.saturating_add(seconds(100)));
    assert!(duo.server_events.iter().all(|event| !matches!(event, Event::Expired { .. })));
}

#[test]
fn a_sender_waits_for_its_verdict_only_so_long() {
    for size in [0, 1000] {
        let mut duo = open();
        let id = accepted(&mut duo, size);
        if size > 0 {
            send(&mut duo, id, 0, 1000);
            duo.server.release(id, 1000, duo.now);
            // Longer than the time-out, with nothing that the peer owes but data of ours.
            duo.run_for(seconds(100));
        }
        duo.client.finish(id, None).unwrap();
        duo.settle();
        let end = after(&duo, 120);
        assert_expires(&mut duo, Side::Client, id, end);
        // The verdict may still be that it is stored.
        duo.server.conclude(id, &Conclusion::Stored { name: "late" }).unwrap();
        duo.settle();
        assert!(has_verdict(&duo, id, TransferCode::STORED));
    }
}

#[test]
fn a_verdict_is_waited_for_since_its_finish_left() {
    let config = Config::builder().stall_timeout(seconds(30)).build().unwrap();
    let mut duo = Duo::open(config, Config::default());
    let id = accepted(&mut duo, 0);
    duo.client.finish(id, None).unwrap();
    // The transport takes nothing.
    duo.now = after(&duo, 20);
    duo.client.handle_timeout(duo.now);
    let end = after(&duo, 30);
    assert_expires(&mut duo, Side::Client, id, end);
}

#[test]
fn a_paused_transfer_is_not_stalled() {
    for side in [Side::Client, Side::Server] {
        let mut duo = open();
        let id = accepted(&mut duo, 10 << 20);
        send(&mut duo, id, 0, 200 << 10);
        duo.end(side).pause(id, true).unwrap();
        duo.run_for(seconds(3600));
        let expired = Event::Expired { transfer: id };
        assert!(!duo.client_events.contains(&expired) && !duo.server_events.contains(&expired));
        duo.end(side).pause(id, false).unwrap();
        duo.settle();
        // The sender owes data from now on.
        let end = after(&duo, 120);
        assert_expires(&mut duo, Side::Server, id, end);
    }
}

#[test]
fn a_whole_transfer_has_a_deadline() {
    let config = Config::builder().transfer_timeout(seconds(1000)).build().unwrap();
    for side in [Side::Client, Side::Server] {
        let other = Config::default();
        let (client, server) = match side {
            Side::Client => (config.clone(), other),
            Side::Server => (other, config.clone()),
        };
        let mut duo = Duo::open(client, server);
        let end = after(&duo, 1000);
        let id = accepted(&mut duo, 10 << 20);
        duo.client.pause(id, true).unwrap();
        assert_expires(&mut duo, side, id, end);
    }
}

#[test]
fn an_offer_that_nobody_decides_on_ends_in_time() {
    let config = Config::builder().transfer_timeout(seconds(1000)).build().unwrap();
    let mut duo = Duo::open(Config::default(), config);
    let end = after(&duo, 1000);
    let id = file(&mut duo, 100);
    assert_expires(&mut duo, Side::Server, id, end);
    let rejected =
        |event: &Event<'_>| matches!(event, Event::Rejected { code: TransferCode::STALLED, .. });
    duo.settle();
    assert!(duo.client_events.iter().any(rejected));
}

#[test]
fn a_peer_that_answers_pings_and_takes_no_data_is_noticed() {
    let mut duo = open();
    duo.run_for(seconds(1));
    let id = accepted(&mut duo, 10 << 20);
    duo.client.send_data(id, 0, Bytes::from(vec![1; 200 << 10])).unwrap();
    // Somebody reads and answers pings, and says nothing of the data: no ACK, no CREDIT.
    duo.is_linked = false;
    let began = duo.now;
    let end = began.saturating_add(seconds(125));
    let expired = Event::Expired { transfer: id };
    let mut seen = None;
    while duo.now < end && seen.is_none() {
        let bytes = said(&mut duo.client, duo.now);
        for token in pings(&bytes) {
            let pong = frame(0, &Frame::Pong(Ping { token }));
            tell(&mut duo.client, duo.now, &pong, true).unwrap();
        }
        duo.now = duo.client.poll_timeout().unwrap().min(end);
        duo.client.handle_timeout(duo.now);
        let events = core::iter::from_fn(|| duo.client.poll_event());
        seen = events.filter(|event| *event == expired).map(|_| duo.now).last();
    }
    assert_eq!(seen, Some(began.saturating_add(seconds(120))));
    assert!(!duo.client.is_detached());
}

/// Tokens of the pings among frames that come alone.
fn pings(bytes: &[u8]) -> Vec<[u8; 8]> {
    if bytes.len() == 16 && bytes[..4] == [0, 0, 8, 0x08] {
        vec![bytes[8..].try_into().unwrap()]
    } else {
        Vec::new()
    }
}

#[test]
fn nothing_expires_while_closing_or_detached() {
    let config =
        Config::builder().transfer_timeout(seconds(10)).close_timeout(seconds(60)).build().unwrap();
    for closes in [true, false] {
        let mut duo = Duo::open(config.clone(), config.clone());
        duo.takes = false;
        file(&mut duo, 100);
        duo.client.send_chat(&Chat::new("not taken")).unwrap();
        duo.settle();
        if closes {
            duo.client.close(CloseCode::DONE, "", duo.now).unwrap();
        } else {
            duo.cut();
        }
        duo.run_for(seconds(30));
        let expired = |event: &Event<'_>| matches!(event, Event::Expired { .. });
        assert!(!duo.client_events.iter().any(expired), "{:?}", duo.client_events);
        if !closes {
            // Time without a stream counts for the whole, not for a stall.
            duo.attach();
            duo.run_for(Duration::from_millis(1));
            assert!(duo.client_events.iter().any(expired));
        }
    }
}

#[test]
fn a_clock_that_jumps_does_no_harm() {
    // Back: as if no time had passed.
    let mut duo = open();
    duo.run_for(seconds(1));
    let chat = frame(0, &Frame::Chat(Chat::new("from the past")));
    tell(&mut duo.client, Time::ZERO, &chat, true).unwrap();
    duo.client.handle_timeout(Time::ZERO);
    duo.client.handle_timeout(duo.now);
    assert!(!duo.client.is_detached(), "the peer was heard just now");
    assert!(duo.client.poll_timeout().unwrap() >= duo.now);
    said(&mut duo.client, duo.now);
    // Ahead: it counts as silence, unless there is input.
    let ahead = after(&duo, 3600);
    let chat = frame(0, &Frame::Chat(Chat::new("from the future")));
    tell(&mut duo.client, ahead, &chat, true).unwrap();
    duo.client.handle_timeout(ahead);
    assert!(!duo.client.is_detached());
    // To the end of time.
    duo.client.handle_timeout(Time::MAX);
    assert!(duo.client.is_detached());
    duo.client.handle_timeout(Time::MAX);
    assert_eq!(duo.client.poll_timeout().into_iter().find(|&time| time != Time::MAX), None);
}

#[test]
fn calls_too_early_do_nothing() {
    let mut duo = open();
    let id = accepted(&mut duo, 1 << 20);
    send(&mut duo, id, 0, 10_000);
    let before = (duo.client.statistics(), duo.client.poll_timeout());
    for _ in 0..1000 {
        duo.client.handle_timeout(duo.now);
        assert_eq!(said(&mut duo.client, duo.now), b"");
    }
    assert_eq!((duo.client.statistics(), duo.client.poll_timeout()), before);
}

#[test]
fn a_deadline_that_passed_without_a_stream_is_due_when_there_is_one_again() {
    let config = Config::builder().transfer_timeout(seconds(100)).build().unwrap();
    let mut duo = Duo::open(config, Config::default());
    let id = file(&mut duo, 1000);
    duo.settle();
    duo.cut();
    duo.run_for(seconds(120));
    duo.attach();
    assert_eq!(duo.client.poll_timeout(), Some(duo.now), "not in the past");
    duo.run_for(seconds(0));
    assert!(duo.client_events.contains(&Event::Expired { transfer: id }));
}

#[test]
fn pings_however_often_they_are_wanted_keep_within_the_budget() {
    // As often as may be, and with a time-out that every one of them has to keep off.
    let often = Config::builder().keep_alive_interval(seconds(1));
    let often = often.idle_timeout(Duration::from_millis(1500)).build().unwrap();
    let mut duo = Duo::open(often.clone(), often);
    duo.run_for(seconds(4000));
    assert!(duo.client.is_open() && !duo.client.is_detached());
    assert!(duo.server.is_open() && !duo.server.is_detached());
    let pings = duo.client.statistics().sent.control.frames;
    assert!((3500..8100).contains(&pings), "{pings}");
}
