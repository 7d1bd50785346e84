//! Items that are too long, too many, or wrong by what was said before.

use core::time::Duration;

use super::{Expected, Misbehaviour, open};
use crate::testing::hostile::speaker::Next;
use crate::wire::{Ack, Chat, CloseCode, Frame, Kind};

const PROTOCOL: Expected = Expected::Closed(CloseCode::PROTOCOL);

pub(super) static LIST: &[Misbehaviour] = &[
    open(
        "item-byte-by-byte",
        "H4 H10 T1",
        "sends a long chat in pieces of a byte, characters cut by frames",
        Expected::Tolerated,
        |s| {
            s.piece = Some((1, Duration::ZERO));
            let mut payload = std::vec![0, 0];
            payload.extend_from_slice("é".repeat(10_000).as_bytes());
            let (first, rest) = payload.split_at(9_001);
            s.raw(Kind::PART, 0, first);
            s.raw(Kind::CHAT, 0, rest);
            Ok(Next::Done)
        },
    ),
    open(
        "item-without-end",
        "H16 A7",
        "sends parts of an item that never ends",
        Expected::Closed(CloseCode::TOO_LARGE),
        |s| s.again(4096, |s, _| s.raw(Kind::PART, 1, &[0; 1024])),
    ),
    open(
        "items-of-both-lanes-at-once",
        "H16",
        "sends the parts of two items by turns",
        Expected::Tolerated,
        |s| {
            for _ in 0..4 {
                s.raw(Kind::PART, 0, &[0; 1024]);
                s.raw(Kind::PART, 1, &[0; 1024]);
            }
            s.raw(Kind::CHAT, 0, b"end");
            s.raw(Kind::MESSAGE, 0, b"end");
            Ok(Next::Done)
        },
    ),
    open(
        "acknowledgement-beyond-what-was-sent",
        "A6",
        "acknowledges bytes that were never sent",
        PROTOCOL,
        |s| {
            let ack = Ack { next: s.heard.next, received: s.heard.bytes.saturating_add(1 << 40) };
            s.frame(0, &Frame::Ack(ack));
            Ok(Next::Done)
        },
    ),
    open("acknowledgement-that-goes-back", "A6", "takes an acknowledgement back", PROTOCOL, |s| {
        for less in 0..2 {
            let received = s.heard.bytes.saturating_sub(less);
            s.frame(0, &Frame::Ack(Ack { next: s.heard.next, received }));
        }
        Ok(Next::Done)
    }),
    open(
        "many-chats",
        "H5 A8",
        "sends two thousand short lines as fast as they are taken",
        Expected::Tolerated,
        |s| {
            // A pause now and then: more than the victim has taken would be too many.
            let before = s.step;
            let said = s.again(2000, |s, n| {
                let text = std::format!("{n}");
                s.frame(0, &Frame::Chat(Chat::new(text)));
            });
            match said {
                Ok(Next::Go) if before < s.step => Ok(Next::Wait(Duration::from_millis(20))),
                said => said,
            }
        },
    ),
    open(
        "all-before-it-reads",
        "H14 A8 A16",
        "takes the victim's file, and says all that it has before it reads any of it",
        Expected::Tolerated,
        |s| {
            s.taken(1 << 30)?;
            s.is_deaf = true;
            let text = "x".repeat(1000);
            let said = s.again(400, |s, _| s.frame(0, &Frame::Chat(Chat::new(&*text))));
            s.is_deaf = said != Ok(Next::Done);
            said
        },
    ),
    open(
        "nothing-acknowledged",
        "H13 A8",
        "reads what it is sent, and acknowledges nothing for a while",
        Expected::Tolerated,
        |s| {
            s.has_manners = s.step > 0;
            s.step = s.step.saturating_add(1);
            Ok(if s.step > 1 { Next::Done } else { Next::Wait(Duration::from_secs(5)) })
        },
    ),
];
