//! What is wrong with files that the peer sends.

use core::time::Duration;
use std::string::String;

use super::{Expected, Misbehaviour, open};
use crate::testing::hostile::speaker::{Next, NotYet, Speaker};
use crate::wire::{
    Batch, Cancel, CloseCode, Digest, Finish, Frame, Kind, MAX_INTEGER, Offer, Pause, Start,
    TransferCode, TransferId,
};

const PROTOCOL: Expected = Expected::Closed(CloseCode::PROTOCOL);
const CREDIT: Expected = Expected::Closed(CloseCode::CREDIT);
const LIMIT: Expected = Expected::Closed(CloseCode::LIMIT);

fn finish(total: u64, digest: Option<Digest>) -> Frame<'static> {
    Frame::Finish(Finish { total, digest })
}

fn cancel() -> Frame<'static> {
    Frame::Cancel(Cancel { code: TransferCode::CANCELLED, text: "".into() })
}

/// Waits until the file has ended.
fn ended(s: &Speaker, id: u32) -> Result<(), NotYet> {
    match s.heard.ours.get(&id).and_then(|answer| answer.ended) {
        Some(_) => Ok(()),
        None => Err(NotYet::Hear),
    }
}

/// Offers a name, and waits for what becomes of it.
fn offered(s: &mut Speaker, name: &str) -> Result<Next, NotYet> {
    if s.offered() == 0 {
        s.offer(&Offer::new(name).size(3));
    }
    ended(s, s.ours(1)).map(|()| Next::Done)
}

/// Names that lead elsewhere.
const ELSEWHERE: &[&str] = &[
    "../x",
    "a/../../x",
    "/etc/x",
    "\\\\srv\\share",
    "C:x",
    "C:\\x",
    "a\\..\\b",
    ".",
    "..",
    "a/b",
    "x.",
    "x ",
    " x",
];
/// Names of devices and streams.
const DEVICES: &[&str] =
    &["CON", "nul.txt", "COM1", "COM\u{b9}", "LPT\u{b2}.log", "CONIN$", "file:stream", "a:b"];
/// Names that show otherwise than they are.
const DISGUISED: &[&str] =
    &["\u{1b}[2Jx", "a\nb", "gpj\u{202e}.exe", "\u{feff}x", "a\u{200b}b", "\u{9b}31m", "a\u{7f}"];
/// Names that programs treat specially.
const SPECIAL: &[&str] = &[".bashrc", ".ssh", ".git", ".profile", "-rf", "~root"];

pub(super) static LIST: &[Misbehaviour] = &[
    open(
        "empty-data",
        "H5 A5",
        "sends data of nothing",
        Expected::Closed(CloseCode::MALFORMED),
        |s| {
            let id = s.started(&Offer::new("file"), 1)?;
            s.raw(Kind::DATA, id, &[]);
            Ok(Next::Done)
        },
    ),
    open("data-beyond-credit", "H12 A5", "sends a byte more than it was allowed", CREDIT, |s| {
        let id = s.started(&Offer::new("file"), 1)?;
        // Credit that is on its way while this leaves would make it right: so it is a lot more.
        let fragment = s.heard.limits().fragment as usize;
        s.again(4096, |s, _| s.data(id, fragment))
    }),
    open(
        "data-for-nobody",
        "H12 A4",
        "sends data of a file that it did not offer",
        PROTOCOL,
        |s| {
            s.data(s.ours(1), 2000);
            Ok(Next::Done)
        },
    ),
    open("data-before-accept", "H12 A5", "sends data before it is accepted", PROTOCOL, |s| {
        let id = s.offer(&Offer::new("file"));
        s.frame(id, &Frame::Start(Start { offset: 0 }));
        s.data(id, 2000);
        Ok(Next::Done)
    }),
    open("data-before-start", "A5", "sends data without START", PROTOCOL, |s| {
        let id = s.accepted(&Offer::new("file"))?;
        s.data(id, 2000);
        Ok(Next::Done)
    }),
    open("data-beyond-the-size", "H12 A5 A10 H33", "sends more than it offered", CREDIT, |s| {
        let id = s.started(&Offer::new("file").size(3000), 3000)?;
        s.data(id, 2000);
        s.data(id, 1001);
        Ok(Next::Done)
    }),
    open("data-after-finish", "A5 H33", "sends more than it said in the end", CREDIT, |s| {
        let id = s.started(&Offer::new("file"), 4096)?;
        s.frame(id, &finish(1500, None));
        s.data(id, 1501);
        Ok(Next::Done)
    }),
    open("start-twice", "A5", "begins a file twice", PROTOCOL, |s| {
        let id = s.started(&Offer::new("file"), 1)?;
        s.frame(id, &Frame::Start(Start { offset: 0 }));
        Ok(Next::Done)
    }),
    open("start-elsewhere", "A5 H12 H16", "begins where nobody told it to", PROTOCOL, |s| {
        let id = s.accepted(&Offer::new("file").size(3000))?;
        s.frame(id, &Frame::Start(Start { offset: 1 }));
        Ok(Next::Done)
    }),
    open("start-at-the-end-of-numbers", "H2 H33", "begins at 2^53 - 1", PROTOCOL, |s| {
        let id = s.accepted(&Offer::new("file"))?;
        s.frame(id, &Frame::Start(Start { offset: MAX_INTEGER }));
        Ok(Next::Done)
    }),
    open("finish-too-early", "A10 H33", "ends with less than it offered", PROTOCOL, |s| {
        let id = s.started(&Offer::new("file").size(10_000), 1)?;
        s.data(id, 1);
        s.frame(id, &finish(1, None));
        Ok(Next::Done)
    }),
    open("finish-below-what-came", "A10", "ends with less than it sent", PROTOCOL, |s| {
        let id = s.started(&Offer::new("file"), 2000)?;
        s.data(id, 2000);
        s.frame(id, &finish(1999, None));
        Ok(Next::Done)
    }),
    open(
        "digest-of-another-algorithm",
        "A11 H36",
        "ends with a digest of another algorithm than it offered",
        PROTOCOL,
        |s| {
            let id = s.accepted(&Offer::new("file").digest(Digest::Blake3([1; 32])))?;
            s.frame(id, &finish(0, Some(Digest::Sha256([1; 32]))));
            Ok(Next::Done)
        },
    ),
    open(
        "digest-that-differs",
        "A11 H36",
        "ends with the digest of something else",
        Expected::Refused,
        |s| {
            let id = s.started(&Offer::new("file").size(2000), 2000)?;
            if s.step == 0 {
                s.step = 1;
                s.data(id, 2000);
                s.frame(id, &finish(2000, Some(Digest::Blake3([1; 32]))));
            }
            ended(s, id).map(|()| Next::Done)
        },
    ),
    open(
        "a-bit-flipped",
        "T12 A11",
        "sends a file of which one bit was flipped on the way",
        Expected::Refused,
        |s| {
            let id = s.started(&Offer::new("file").size(2000), 2000)?;
            if s.step == 0 {
                s.step = 1;
                let mut content = s.noise(2000);
                let digest = Digest::Blake3(*blake3::hash(&content).as_bytes());
                let at = usize::try_from(s.random.below(2000)).unwrap_or_default();
                if let Some(byte) = content.get_mut(at) {
                    *byte ^= 1 << s.random.below(8);
                }
                s.raw(Kind::DATA, id, &content);
                s.frame(id, &finish(2000, Some(digest)));
            }
            ended(s, id).map(|()| Next::Done)
        },
    ),
    open(
        "an-endless-size",
        "H33 H34 A10",
        "offers 2^53 - 1 bytes, and sends three",
        Expected::Refused,
        |s| {
            let id = s.started(&Offer::new("vast").size(MAX_INTEGER), 3)?;
            s.data(id, 3);
            Ok(Next::Done)
        },
    ),
    open("offers-without-number", "H15 A9 A7", "offers files for ever", LIMIT, |s| {
        s.again(6000, |s, n| {
            s.offer(&Offer::new(std::format!("{n:0>200}")).metadata(&[1; 2048][..]));
        })
    }),
    open(
        "equal-offers",
        "H44 H39",
        "offers the same file again and again",
        Expected::Tolerated,
        |s| {
            s.again(12, |s, _| {
                s.offer(&Offer::new("same").size(9).modified(1));
            })
        },
    ),
    open("open-and-cancel", "A7 H7 H38", "offers and cancels in pairs", LIMIT, |s| {
        s.again(3000, |s, _| {
            let id = s.offer(&Offer::new("now you see me"));
            s.frame(id, &cancel());
        })
    }),
    open(
        "open-and-cancel-one-by-one",
        "A7 H7 H38",
        "offers, cancels, hears of it, and does it again",
        Expected::Closed(CloseCode::FLOOD),
        |s| {
            let number = u32::try_from(s.step).unwrap_or(u32::MAX);
            if number > 0 {
                ended(s, s.ours(number))?;
            }
            s.step = s.step.saturating_add(1);
            let id = s.offer(&Offer::new("now you see me"));
            s.frame(id, &cancel());
            Ok(if number < 3000 { Next::Go } else { Next::Done })
        },
    ),
    open(
        "cancel-in-each-state",
        "H38 A17 A4",
        "cancels files before, during and after what becomes of them",
        Expected::Tolerated,
        |s| {
            let id = s.started(&Offer::new("a"), 2000)?;
            s.frame(id, &cancel());
            let id = s.offer(&Offer::new("b"));
            s.frame(id, &Frame::Pause(Pause { is_paused: true }));
            s.frame(id, &cancel());
            s.step = 1;
            Ok(Next::Done)
        },
    ),
    open("cancel-twice", "A17 H38", "cancels a file twice", PROTOCOL, |s| {
        let id = s.accepted(&Offer::new("file"))?;
        s.frame(id, &cancel());
        s.frame(id, &cancel());
        Ok(Next::Done)
    }),
    open("id-of-the-other-side", "H15 A4", "offers with the victim's ids", PROTOCOL, |s| {
        s.frame(s.theirs(1), &Frame::Offer(Offer::new("file")));
        Ok(Next::Done)
    }),
    open("id-with-a-gap", "H15 A4", "leaves an id out", PROTOCOL, |s| {
        s.frame(s.ours(2), &Frame::Offer(Offer::new("file")));
        Ok(Next::Done)
    }),
    open("id-at-the-end", "H15 A4 H2", "offers with the last id there is", PROTOCOL, |s| {
        s.frame(s.ours(TransferId::MAX_NUMBER), &Frame::Offer(Offer::new("file")));
        Ok(Next::Done)
    }),
    open("id-used-again", "H15 A4", "offers with an id that it has used", PROTOCOL, |s| {
        let id = s.offer(&Offer::new("file"));
        s.frame(id, &Frame::Offer(Offer::new("file")));
        Ok(Next::Done)
    }),
    open(
        "id-zero",
        "H15 A4",
        "offers with an id that is none",
        Expected::Closed(CloseCode::MALFORMED),
        |s| {
            s.raw(Kind::OFFER, 0, b"\x81\0\x01n");
            Ok(Next::Done)
        },
    ),
    open(
        "member-of-no-batch",
        "H12 A4",
        "offers a file of a batch that there is not",
        PROTOCOL,
        |s| {
            let batch = TransferId::new(s.side, 9);
            s.offer(&Offer { batch, ..Offer::new("dir/file") });
            Ok(Next::Done)
        },
    ),
    open(
        "more-members-than-announced",
        "H12 A9",
        "offers two files of a batch of one",
        PROTOCOL,
        |s| {
            if s.step == 0 {
                s.step = 1;
                let batch =
                    Batch { name: "b".into(), count: 1, bytes: 9, metadata: (&[][..]).into() };
                s.frame(s.ours(1), &Frame::Batch(batch));
            }
            match s.heard.ours.get(&s.ours(1)) {
                Some(answer) if answer.ended.is_some() => return Err(NotYet::Never),
                Some(answer) if answer.is_accepted => {}
                _ => return Err(NotYet::Hear),
            }
            let batch = TransferId::new(s.side, 1);
            for number in [2, 3] {
                let offer = Offer { batch, ..Offer::new(std::format!("file {number}")) };
                s.frame(s.ours(number), &Frame::Offer(offer));
            }
            Ok(Next::Done)
        },
    ),
    open(
        "name-that-leads-elsewhere",
        "H25 A15",
        "offers a name that leads elsewhere",
        Expected::Refused,
        |s| {
            let name = String::from(s.one_of(ELSEWHERE).unwrap_or(".."));
            offered(s, &name)
        },
    ),
    open(
        "name-of-a-device",
        "H26 A15",
        "offers a name of a device or stream",
        Expected::Refused,
        |s| {
            let name = String::from(s.one_of(DEVICES).unwrap_or("CON"));
            offered(s, &name)
        },
    ),
    open(
        "name-in-disguise",
        "H30 A15",
        "offers a name that shows otherwise than it is",
        Expected::Refused,
        |s| {
            let name = String::from(s.one_of(DISGUISED).unwrap_or("a\nb"));
            offered(s, &name)
        },
    ),
    open(
        "name-with-a-meaning",
        "H27 A15",
        "offers a name that programs treat specially",
        Expected::Refused,
        |s| {
            let name = String::from(s.one_of(SPECIAL).unwrap_or(".bashrc"));
            offered(s, &name)
        },
    ),
    open(
        "file-that-stands-still",
        "H24 A6",
        "is alive, but sends nothing of its file",
        Expected::Refused,
        |s| {
            let id = s.started(&Offer::new("file"), 1)?;
            if s.heard.ours.get(&id).is_some_and(|answer| answer.ended.is_some()) || s.step > 60 {
                return Ok(Next::Done);
            }
            s.step = s.step.saturating_add(1);
            s.frame(0, &Frame::Ping(crate::wire::Ping { token: [1; 8] }));
            Ok(Next::Wait(Duration::from_secs(10)))
        },
    ),
];
