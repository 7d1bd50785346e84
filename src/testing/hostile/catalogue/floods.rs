//! Frames that are right, and bring nothing on.

use super::{Expected, Misbehaviour, open};
use crate::testing::hostile::speaker::{Next, Said, Speaker};
use crate::wire::{
    Ack, Cancel, Chat, CloseCode, Credit, Frame, Kind, Offer, Pause, Ping, Signal, Start,
    TransferCode,
};

const FLOOD: Expected = Expected::Closed(CloseCode::FLOOD);

/// More than any budget.
const MANY: u64 = 30_000;

fn ping() -> Frame<'static> {
    Frame::Ping(Ping { token: [1; 8] })
}

fn pauses(s: &mut Speaker, id: u32) -> Said {
    s.again(MANY, |s, n| s.frame(id, &Frame::Pause(Pause { is_paused: n % 2 == 0 })))
}

pub(super) static LIST: &[Misbehaviour] = &[
    open("flood-of-pings", "H6 A7", "sends PINGs without end", FLOOD, |s| {
        s.again(MANY, |s, _| s.frame(0, &ping()))
    }),
    open("flood-of-pongs", "H6 A7", "answers PINGs that nobody sent", FLOOD, |s| {
        s.again(MANY, |s, _| s.frame(0, &Frame::Pong(Ping { token: [0xEE; 8] })))
    }),
    open("flood-of-acknowledgements", "H6 A7", "acknowledges the same for ever", FLOOD, |s| {
        s.has_manners = false;
        if s.step == 0 {
            s.offer(&Offer::new("unused"));
        }
        let (next, received) = ([0, 0], 0);
        s.again(MANY, |s, _| s.frame(0, &Frame::Ack(Ack { next, received })))
    }),
    open("flood-of-signals", "H6 A7", "signals without end", FLOOD, |s| {
        s.again(MANY, |s, n| {
            let payload = std::vec![1; usize::try_from(n % 64).unwrap_or_default()].into();
            s.frame(0, &Frame::Signal(Signal { signal_type: 1, payload }));
        })
    }),
    open(
        "flood-of-what-is-skipped",
        "H6 A7 A18",
        "sends what is skipped without end",
        FLOOD,
        |s| {
            s.again(MANY, |s, n| {
                let kind = if n % 2 == 0 { 0x8F } else { 0xCF };
                s.raw(Kind::new(kind), 0, &[1; 5]);
            })
        },
    ),
    open("flood-of-large-frames-that-are-skipped", "H6 A7", "fills what is skipped", FLOOD, |s| {
        s.again(MANY, |s, _| s.raw(Kind::new(0x8F), 0, &[1; 60_000]))
    }),
    open("empty-chats", "H5 A7", "says nothing, without end", FLOOD, |s| {
        s.again(MANY, |s, _| s.frame(0, &Frame::Chat(Chat::new(""))))
    }),
    open("data-of-a-byte", "H5 H6 A7", "sends a file in frames of a byte", FLOOD, |s| {
        let id = s.started(&Offer::new("file"), 5000)?;
        s.again(5000, |s, _| s.raw(Kind::DATA, id, &[1]))
    }),
    open("flood-of-pauses", "H6 A7 H38", "pauses its file and goes on, without end", FLOOD, |s| {
        let id = s.accepted(&Offer::new("file"))?;
        pauses(s, id)
    }),
    open(
        "flood-of-pauses-of-the-victims-file",
        "H6 A7 H38",
        "pauses the victim's file",
        FLOOD,
        |s| {
            let id = s.taken(0)?;
            pauses(s, id)
        },
    ),
    open("flood-of-credit", "H6 A7 A6", "gives the same credit for ever", FLOOD, |s| {
        let id = s.taken(0)?;
        s.again(MANY, |s, _| s.frame(id, &Frame::Credit(Credit::default())))
    }),
    open("flood-of-starts-after-a-cancel", "A4 A7", "begins what it cancelled", FLOOD, |s| {
        let id = s.ours(1);
        if s.step == 0 {
            s.accepted(&Offer::new("file"))?;
            let code = TransferCode::CANCELLED;
            s.frame(id, &Frame::Cancel(Cancel { code, text: "".into() }));
        }
        s.again(MANY, |s, _| s.frame(id, &Frame::Start(Start { offset: 0 })))
    }),
    open(
        "deaf-flood",
        "H6 H13 A8 H7",
        "sends PINGs without end, and never reads an answer",
        FLOOD,
        |s| {
            s.is_deaf = true;
            let said = s.again(MANY, |s, _| s.frame(0, &ping()));
            s.is_deaf = said != Ok(Next::Done);
            said
        },
    ),
];
