//! Chat, messages and signals through the driver, and what their receipts say.

use std::time::Duration;

use duologue::proto::{ActionError, CloseReason, Config, Receipt as Fate};
use duologue::session::{Event, Outcome, SessionError};
use duologue::wire::{Chat, CloseCode, Message, Signal};
use futures::StreamExt;
use futures::future::{join, join_all};

use super::session_util::{World, pipes};
use super::support::{is_pending, poll_once};

#[test]
fn a_line_is_delivered_once_the_peer_has_taken_it() {
    World::run_at_once(async |world| {
        let (near, mut far) = world.connect().await;
        let mut receipt = near.session.send_chat(&Chat::new("hello")).await.unwrap();
        world.sleep(Duration::from_secs(1)).await;
        assert!(is_pending(&mut receipt), "it arrived, but nobody has taken it");
        assert_eq!(receipt.fate(), None);
        let Event::Chat(chat) = far.event().await else { panic!() };
        assert_eq!(chat.text, "hello");
        let before = world.clock.now();
        assert_eq!(receipt.await, Fate::Delivered);
        let passed = world.clock.now().saturating_duration_since(before);
        assert!(passed <= Duration::from_millis(25), "{passed:?}");
    });
}

#[test]
fn messages_and_signals_keep_their_fields() {
    World::run_at_once(async |world| {
        let (near, mut far) = world.connect().await;
        let message =
            Message { message_type: 7, is_reply: true, correlation: 99, body: b"tea"[..].into() };
        let signal = Signal { signal_type: 3, payload: b"typing"[..].into() };
        let receipt = near.session.send_message(&message).await.unwrap();
        near.session.send_signal(&signal).unwrap();
        let mut heard = [far.event().await, far.event().await].map(|event| format!("{event:?}"));
        heard.sort();
        assert_eq!(heard[0], format!("{:?}", Event::Message(message.into_owned())));
        assert_eq!(heard[1], format!("{:?}", Event::Signal(signal.into_owned())));
        assert_eq!(receipt.await, Fate::Delivered);
    });
}

#[test]
fn many_lines_go_with_one_receipt_for_all() {
    World::run_at_once(async |world| {
        // The lane takes 10 lines at a time, of which there are 35.
        let config = Config::builder().queued_items(10).build().unwrap();
        let (near, far) = world.connect_with((config, Config::default())).await;
        let mut events = far.events;
        let lines: Vec<String> = (0..35).map(|n| format!("line {n}")).collect();
        let listening = world.spawn(async move {
            let mut heard = Vec::new();
            while heard.len() < 35 {
                if let Some(Event::Chat(chat)) = events.next().await {
                    heard.push(chat.text.into_owned());
                }
            }
            heard
        });
        let chats: Vec<Chat<'_>> = lines.iter().map(|line| Chat::new(line.as_str())).collect();
        let mut rest = &chats[..];
        let receipt = near.session.send_chats(&mut rest).await.unwrap().unwrap();
        assert!(rest.is_empty());
        assert_eq!(receipt.item().number, 34);
        assert_eq!(receipt.await, Fate::Delivered);
        assert_eq!(listening.await.unwrap(), lines);
        assert!(near.session.send_chats(&mut &[][..]).await.unwrap().is_none());
    });
}

#[test]
fn sending_many_lines_given_up_in_the_middle_goes_on_where_it_was() {
    World::run_at_once(async |world| {
        let config = Config::builder().queued_items(10).build().unwrap();
        let (near, mut far) = world.connect_with((config, Config::default())).await;
        let chats: Vec<Chat<'_>> = (0..35).map(|n| Chat::new(format!("{n}"))).collect();
        let mut rest = &chats[..];
        {
            let mut sending = Box::pin(near.session.send_chats(&mut rest));
            assert!(is_pending(&mut sending));
        }
        assert_eq!(rest.len(), 25);
        let heard = async {
            for n in 0..35 {
                assert_eq!(far.chat().await, n.to_string());
            }
        };
        let (sent, ()) = join(near.session.send_chats(&mut rest), heard).await;
        assert_eq!(sent.unwrap().unwrap().await, Fate::Delivered);
    });
}

#[test]
fn a_line_that_can_never_go_stops_the_batch_before_it() {
    World::run_at_once(async |world| {
        let (near, mut far) = world.connect().await;
        let chats = [Chat::new("fits"), Chat::new("x".repeat(1 << 20)), Chat::new("after")];
        let mut rest = &chats[..];
        let error = near.session.send_chats(&mut rest).await.unwrap_err();
        assert!(matches!(error, SessionError::Refused(ActionError::TooLarge { .. })));
        assert_eq!(rest.len(), 2);
        assert_eq!(far.chat().await, "fits");
    });
}

#[test]
fn lines_sent_one_by_one_leave_together() {
    let (near, far) = pipes(1 << 20);
    World::run_at_once(async |world| {
        let counting = super::session_streams::Counting::new(near);
        let writes = counting.writes();
        let (near, mut far) = world.connect_over(counting, far, Default::default()).await;
        world.sleep(Duration::from_secs(1)).await;
        let before = writes.get();
        for n in 0..200 {
            drop(near.session.send_chat(&Chat::new(format!("line {n}"))).await.unwrap());
        }
        for n in 0..200 {
            assert_eq!(far.chat().await, format!("line {n}"));
        }
        let writes = writes.get() - before;
        assert!(writes <= 5, "200 lines in {writes} writes");
    });
}

#[test]
fn a_full_lane_makes_its_senders_wait_and_no_others() {
    World::run_at_once(async |world| {
        let config = Config::builder().queued_items(4).build().unwrap();
        let (near, mut far) = world.connect_with((config, Config::default())).await;
        let line = Chat::new("line");
        for _ in 0..4 {
            drop(near.session.send_chat(&line).await.unwrap());
        }
        // Two tasks wait for room.
        let (one, other) = (near.session.clone(), near.session.clone());
        let mut waiting = Box::pin(join(one.send_chat(&line), other.send_chat(&line)));
        assert!(is_pending(&mut waiting));
        let message =
            Message { message_type: 1, is_reply: false, correlation: 0, body: b""[..].into() };
        assert!(poll_once(&mut Box::pin(near.session.send_message(&message))).is_ready());
        let (both, ()) = join(waiting, async {
            let mut lines = 0;
            while lines < 6 {
                lines += usize::from(matches!(far.event().await, Event::Chat(_)));
            }
        })
        .await;
        let fates = join_all([both.0.unwrap(), both.1.unwrap()]).await;
        assert_eq!(fates, [Fate::Delivered, Fate::Delivered]);
    });
}

#[test]
fn closing_ends_the_receipts_of_what_was_not_taken_as_unknown() {
    World::run(async |world| {
        let (near, far) = world.connect().await;
        let receipt = near.session.send_chat(&Chat::new("into the void")).await.unwrap();
        world.settle().await;
        near.session.close(CloseCode::DONE, "").unwrap();
        // The peer's application never takes it, so it cannot be known.
        assert_eq!(receipt.await, Fate::Unknown);
        assert!(matches!(near.session.closed().await, CloseReason::Local { .. }));
        drop(far.events);
    });
}

#[test]
fn what_never_left_was_not_sent() {
    World::run_at_once(async |world| {
        let (near, far) = pipes(64);
        let (mut near, far) = world.connect_over(near, far, Default::default()).await;
        let first = near.session.send_chat(&Chat::new("x".repeat(60_000))).await.unwrap();
        let second = near.session.send_chat(&Chat::new("y")).await.unwrap();
        near.session.close(CloseCode::SHUTDOWN, "no time").unwrap();
        let refused = near.session.send_chat(&Chat::new("late")).await.unwrap_err();
        assert_eq!(refused, SessionError::Refused(ActionError::Closed));
        assert!(!near.session.is_open());
        drop(far.events);
        drop(far.session);
        let (first, second) = join(first, second).await;
        assert!(matches!(first, Fate::Unknown | Fate::NotSent));
        assert!(matches!(second, Fate::Unknown | Fate::NotSent));
        while near.events.next().await.is_some() {}
        let ended = near.session.send_chat(&Chat::new("later")).await.unwrap_err();
        assert!(matches!(ended, SessionError::Ended(_)) && !ended.can_retry());
    });
}

#[test]
fn both_sides_learn_the_code_and_the_text() {
    World::run_at_once(async |world| {
        let (near, far) = world.connect().await;
        let code = CloseCode::application(40_000).unwrap();
        assert!(near.session.close(code, &"x".repeat(256)).is_err());
        assert!(near.session.is_open(), "nothing has changed");
        let last = near.session.send_chat(&Chat::new("one more thing")).await.unwrap();
        near.session.close(code, "bye \u{2603}").unwrap();
        let sessions = (near.session.clone(), far.session.clone());
        let (near, far) = join(near.into_the_end(), far.into_the_end()).await;
        assert_eq!(last.await, Fate::Delivered);
        assert_eq!(near.1, CloseReason::Local { code, is_answered: true });
        assert_eq!(far.1, CloseReason::Peer(code));
        assert!(matches!(&far.0[0], Event::Chat(chat) if chat.text == "one more thing"));
        assert!(
            matches!(&far.0[1], Event::Goodbye { code: c, text } if *c == code && text == "bye \u{2603}")
        );
        assert_eq!(sessions.0.closed().await, near.1);
        assert_eq!(sessions.1.closed().await, far.1);
        let error = sessions.0.close(code, "").unwrap_err();
        assert_eq!(error, SessionError::Ended(near.1));
        for (outcome, reason) in [(near.2, near.1), (far.2, far.1)] {
            let Outcome::Ended(ended) = outcome else { panic!() };
            assert_eq!((ended.reason, ended.transport), (reason, None));
        }
    });
}

#[test]
fn both_may_close_at_once() {
    World::run_at_once(async |world| {
        let (near, far) = world.connect().await;
        near.session.close(CloseCode::DONE, "").unwrap();
        far.session.close(CloseCode::SHUTDOWN, "").unwrap();
        let (near, far) = join(near.into_the_end(), far.into_the_end()).await;
        // Whose goodbye is first on its way is the closing side.
        let own = |code| CloseReason::Local { code, is_answered: true };
        assert!([own(CloseCode::DONE), CloseReason::Peer(CloseCode::SHUTDOWN)].contains(&near.1));
        assert!([own(CloseCode::SHUTDOWN), CloseReason::Peer(CloseCode::DONE)].contains(&far.1));
        assert!(world.clock.now().as_micros() < 1_000_000, "nobody waits for a time-out");
    });
}

#[test]
fn nothing_is_taken_before_the_conversation_is_open() {
    World::run_at_once(async |world| {
        let (near, _far) = pipes(1000);
        let (session, _events, _driver) = world.client(near, Config::default());
        let error = session.send_chat(&Chat::new("early")).await.unwrap_err();
        assert_eq!(error, SessionError::Refused(ActionError::NotOpen));
        assert!(error.can_retry() && !session.is_open());
    });
}
