//! What the application was handed and keeps, however its transfers end: it counts until it is
//! released.

use std::collections::BTreeMap;
use std::time::Duration;

use duologue::proto::{ActionError, Conclusion, Config, Event};
use duologue::wire::{
    Chat, CloseCode, Credit, Frame, Held, Kind, Limits, Offer, Resume, Side, TransferCode,
    TransferId,
};

use crate::hostile_flow::FAILED;
use crate::raw_peer::{ROLES, RawPeer};
use crate::state_transfers::{accept, cancel, data, finish, offer, offer_batch, start, transfer};

const WINDOW: u64 = 128 << 10;
const RESERVED: u64 = 8 << 10;
const GIFT: u64 = 16 << 10;
const TRANSFERS: u64 = 8;
/// What `worst_case_memory` allows for file data.
const BOUND: u64 = WINDOW + TRANSFERS * GIFT;

fn config() -> Config {
    Config::builder()
        .receive_window(WINDOW as u32)
        .reserved_window(RESERVED as u32)
        .member_credit(GIFT as u32)
        .max_transfers(TRANSFERS as u32)
        .stall_timeout(Duration::from_secs(5))
        .build()
        .unwrap()
}

/// A raw peer against an application that keeps all data.
struct Keeper {
    peer: RawPeer,
    held: BTreeMap<TransferId, u64>,
    /// Limits that the raw peer was told.
    limits: BTreeMap<TransferId, u64>,
    seen: usize,
    refused: u32,
}

impl Keeper {
    fn open(victim: Side) -> Self {
        let peer = RawPeer::open_with(victim, config(), Limits::default());
        Self { peer, held: BTreeMap::new(), limits: BTreeMap::new(), seen: 0, refused: 0 }
    }

    fn id(&self, number: u32) -> TransferId {
        transfer(self.peer.ours(number))
    }

    /// Takes and counts what came.
    #[track_caller]
    fn note(&mut self) {
        self.peer.take_all();
        self.peer.converse();
        for event in std::mem::take(&mut self.peer.events) {
            match event {
                Event::Data { transfer, data, .. } => {
                    *self.held.entry(transfer).or_default() += data.len() as u64;
                }
                Event::Refused { .. } => self.refused += 1,
                _ => {}
            }
        }
        let frames = &self.peer.stream.frames;
        for seen in &frames[self.seen.min(frames.len())..] {
            if let Frame::Credit(Credit { limit, .. }) = seen.frame() {
                self.limits.insert(transfer(seen.header.id), limit);
            }
        }
        self.seen = frames.len();
        let held = self.all();
        assert!(held <= BOUND, "{held} of {BOUND}");
    }

    fn all(&self) -> u64 {
        self.held.values().sum()
    }

    /// Sends all that the limit allows, from `sent` on.
    #[track_caller]
    fn fill(&mut self, number: u32, mut sent: u64) -> u64 {
        self.note();
        loop {
            let limit = self.limits.get(&self.id(number)).copied().unwrap_or(0);
            let len = limit.saturating_sub(sent).min(16 << 10);
            if len == 0 {
                return sent;
            }
            data(&mut self.peer, number, len as usize).unwrap();
            sent += len;
            self.note();
        }
    }

    fn release_all(&mut self) {
        for (id, len) in std::mem::take(&mut self.held) {
            let now = self.peer.now;
            self.peer.victim().release(id, len as usize, now);
        }
        self.note();
    }

    /// A file gets what is reserved for each at least.
    #[track_caller]
    fn assert_serves(&mut self, number: u32) {
        offer(&mut self.peer, number, &Offer::new("file")).unwrap();
        accept(&mut self.peer, number);
        start(&mut self.peer, number, 0).unwrap();
        assert!(self.fill(number, 0) >= RESERVED);
    }
}

/// How a transfer ends while the application keeps its bytes.
#[derive(Debug, Clone, Copy)]
enum End {
    Cancelled,
    Failed,
    Expired,
    Stored,
}

#[test]
fn what_the_application_keeps_of_transfers_that_ended_counts_until_it_is_released() {
    for end in [End::Cancelled, End::Failed, End::Expired, End::Stored] {
        for victim in ROLES {
            let mut keeper = Keeper::open(victim);
            for number in 1..=60 {
                offer(&mut keeper.peer, number, &Offer::new("file")).unwrap();
                accept(&mut keeper.peer, number);
                start(&mut keeper.peer, number, 0).unwrap();
                let sent = keeper.fill(number, 0);
                let id = keeper.id(number);
                match end {
                    End::Cancelled => cancel(&mut keeper.peer, number).unwrap(),
                    End::Expired => keeper.peer.wait(Duration::from_secs(6)),
                    End::Stored => finish(&mut keeper.peer, number, sent).unwrap(),
                    End::Failed => {}
                }
                let stored = Conclusion::Stored { name: "file" };
                let how = if matches!(end, End::Stored) { &stored } else { &FAILED };
                match keeper.peer.victim().conclude(id, how) {
                    Ok(_) => {}
                    // It was given up, or waits: what it is owed has no room.
                    Err(ActionError::UnknownTransfer(_)) => {}
                    Err(error) => panic!("{end:?} {error}"),
                }
                keeper.note();
            }
            assert!(keeper.all() >= WINDOW, "{end:?}: {} were enough", keeper.all());
            keeper.release_all();
            keeper.assert_serves(61);
        }
    }
}

#[test]
fn members_that_ended_count_until_they_are_released_and_later_ones_are_told_to_wait() {
    for victim in ROLES {
        let mut keeper = Keeper::open(victim);
        offer_batch(&mut keeper.peer, 1, 200).unwrap();
        accept(&mut keeper.peer, 1);
        let member = Offer { batch: Some(keeper.id(1)), ..Offer::new("dir/name") };
        let mut busy = 0;
        for number in 2..=100 {
            offer(&mut keeper.peer, number, &member).unwrap();
            start(&mut keeper.peer, number, 0).unwrap();
            data(&mut keeper.peer, number, GIFT as usize).unwrap();
            keeper.note();
            let id = keeper.id(number);
            busy += u32::from(keeper.peer.victim().conclude(id, &FAILED).is_err());
            keeper.note();
        }
        assert!((50..99).contains(&busy), "{busy}");
        assert_eq!(keeper.refused, busy, "the application is told");
        let verdicts = keeper.peer.frames_of(Kind::VERDICT);
        let are_busy = |frame: &&Frame<'_>| matches!(frame, Frame::Verdict(verdict) if verdict.code == TransferCode::BUSY);
        assert_eq!(verdicts.iter().filter(are_busy).count(), busy as usize);
        keeper.release_all();
        offer(&mut keeper.peer, 101, &member).unwrap();
        start(&mut keeper.peer, 101, 0).unwrap();
        data(&mut keeper.peer, 101, GIFT as usize).unwrap();
        keeper.note();
        assert_eq!(keeper.all(), GIFT);
    }
}

#[test]
fn a_start_at_0_after_each_attach_gives_no_window_over_what_is_kept() {
    for victim in ROLES {
        let mut keeper = Keeper::open(victim);
        offer(&mut keeper.peer, 1, &Offer::new("file")).unwrap();
        accept(&mut keeper.peer, 1);
        start(&mut keeper.peer, 1, 0).unwrap();
        let mut sent = keeper.fill(1, 0);
        for _ in 0..40 {
            keeper.peer.cut();
            keeper.peer.reattach();
            keeper.seen = 0;
            let next = [0, 1];
            let resume = keeper.peer.resume_from(next);
            keeper.peer.resume_with(resume).unwrap();
            keeper.note();
            // Something that brings the conversation on.
            keeper.peer.send(0, Frame::Chat(Chat::new("still here"))).unwrap();
            if sent > 0 {
                keeper.limits.clear();
            }
            start(&mut keeper.peer, 1, 0).unwrap();
            sent = keeper.fill(1, 0);
        }
        keeper.release_all();
        assert!(keeper.fill(1, sent) >= RESERVED);
    }
}

#[test]
fn a_conversation_begun_anew_still_counts_what_is_kept_of_the_old_one() {
    let mut keeper = Keeper::open(Side::Client);
    for _ in 0..20 {
        for number in 1..=TRANSFERS as u32 {
            offer(&mut keeper.peer, number, &Offer::new("file")).unwrap();
            accept(&mut keeper.peer, number);
            start(&mut keeper.peer, number, 0).unwrap();
            keeper.fill(number, 0);
        }
        // The server has forgotten it: it answers 0.
        keeper.peer.cut();
        keeper.peer.attach += 1;
        keeper.peer.begin_attach();
        let mut hello = keeper.peer.hello();
        hello.attach = 0;
        keeper.peer.greet_with(&hello).unwrap();
        keeper.peer.accept_victim();
        keeper.peer.victim_accepts();
        assert!(keeper.peer.victim().is_open() && !keeper.peer.victim().is_detached());
        keeper.limits.clear();
        keeper.seen = 0;
        keeper.note();
    }
    assert!(keeper.all() >= WINDOW);
    keeper.release_all();
    keeper.assert_serves(1);
}

#[test]
fn what_is_released_of_the_old_content_gives_no_credit_for_the_new() {
    for victim in ROLES {
        let mut keeper = Keeper::open(victim);
        offer(&mut keeper.peer, 1, &Offer::new("file")).unwrap();
        let (id, now) = (keeper.id(1), keeper.peer.now);
        let prefix = Some((500, duologue::wire::Digest::Blake3([1; 32])));
        let acceptance = duologue::proto::Acceptance { prefix };
        keeper.peer.victim().accept(id, acceptance, now).unwrap();
        start(&mut keeper.peer, 1, 500).unwrap();
        data(&mut keeper.peer, 1, 10_000).unwrap();
        keeper.note();
        start(&mut keeper.peer, 1, 0).unwrap();
        data(&mut keeper.peer, 1, 4000).unwrap();
        keeper.note();
        let limit = keeper.limits[&id];
        // The application speaks of the old content.
        keeper.peer.victim().release(id, 10_000, now);
        keeper.peer.victim().set_durable(id, 3000, now);
        keeper.peer.wait(Duration::from_secs(1));
        keeper.note();
        let told = keeper.peer.frames_of(Kind::CREDIT);
        let Some(Frame::Credit(last)) = told.last() else { panic!("{told:?}") };
        assert_eq!((last.limit, last.received, last.durable), (limit, 4000, 0));
        // And now of the new.
        keeper.peer.victim().release(id, 4000, now);
        keeper.peer.victim().set_durable(id, 3000, now);
        keeper.peer.wait(Duration::from_secs(1));
        keeper.note();
        let told = keeper.peer.frames_of(Kind::CREDIT);
        let Some(Frame::Credit(last)) = told.last() else { panic!("{told:?}") };
        assert_eq!((last.limit, last.received, last.durable), (limit + 4000, 4000, 3000));
    }
}

#[test]
fn a_transfer_is_not_failed_as_stored() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        offer(&mut peer, 1, &Offer::new("file")).unwrap();
        accept(&mut peer, 1);
        start(&mut peer, 1, 0).unwrap();
        finish(&mut peer, 1, 0).unwrap();
        let id = transfer(peer.ours(1));
        let failed = Conclusion::Failed { code: TransferCode::STORED, text: "" };
        let result = peer.victim().conclude(id, &failed);
        assert!(matches!(result, Err(ActionError::Invalid(_))), "{result:?}");
        peer.victim().conclude(id, &FAILED).unwrap();
    }
}

/// A file of the victim's, accepted, with data under way; what the peer has of its items.
fn sending(peer: &mut RawPeer) -> TransferId {
    let now = peer.now;
    let id = peer.victim().offer(&Offer::new("file"), now).unwrap();
    peer.converse();
    peer.send(id.to_wire(), Frame::Accept(Default::default())).unwrap();
    let credit = Credit { limit: 50_000, received: 0, durable: 0 };
    peer.send(id.to_wire(), Frame::Credit(credit)).unwrap();
    peer.victim().send_data(id, 0, vec![1; 30_000].into()).unwrap();
    peer.converse();
    id
}

fn resume_with(
    peer: &mut RawPeer,
    next: [u64; 2],
    held: &[Held],
) -> Result<(), duologue::proto::Error> {
    peer.cut();
    peer.reattach();
    let resume = Resume { transfers: held.to_vec().into(), ..peer.resume_from(next) };
    peer.resume_with(resume)
}

#[test]
fn a_transfer_that_resume_does_not_list_keeps_nothing_and_is_not_waited_for_for_ever() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        let id = sending(&mut peer);
        let next = peer.stream.next;
        let before = peer.victim().memory_usage();
        resume_with(&mut peer, next, &[]).unwrap();
        peer.converse();
        assert!(peer.victim().memory_usage() + 25_000 < before, "the buffer is kept");
        peer.events.clear();
        for _ in 0..13 {
            peer.wait(Duration::from_secs(10));
            peer.send(0, Frame::Ping(duologue::wire::Ping { token: [1; 8] })).unwrap();
            peer.converse();
        }
        assert!(peer.events.contains(&Event::Abandoned { transfer: id }));
        assert!(!peer.kinds().contains_key(&Kind::CANCEL), "nothing more is sent of it");
        // Its verdict, late as it is, is no violation, and no event.
        peer.events.clear();
        let verdict =
            duologue::wire::Verdict { code: TransferCode::STALLED, total: 0, text: "".into() };
        peer.send(id.to_wire(), Frame::Verdict(verdict.clone())).unwrap();
        assert!(peer.events.is_empty(), "{:?}", peer.events);
        // A second one is.
        let result = peer.send(id.to_wire(), Frame::Verdict(verdict));
        peer.assert_refused(result, CloseCode::PROTOCOL);
    }
}

#[test]
fn a_transfer_that_resume_left_out_does_not_come_back() {
    for victim in ROLES {
        let mut peer = RawPeer::open(victim);
        let id = sending(&mut peer);
        let next = peer.stream.next;
        resume_with(&mut peer, next, &[Held { transfer: id, received: 10 }]).unwrap();
        peer.send(0, Frame::Chat(Chat::new("x"))).unwrap();
        resume_with(&mut peer, next, &[]).unwrap();
        peer.send(0, Frame::Chat(Chat::new("x"))).unwrap();
        let result = resume_with(&mut peer, next, &[Held { transfer: id, received: 10 }]);
        assert_eq!(result.unwrap_err().code(), Some(CloseCode::PROTOCOL));
    }
}

#[test]
fn a_cancel_that_is_never_answered_ends_as_unknown_and_frees_its_place() {
    for victim in ROLES {
        let config = Config::builder().outgoing_transfers(1).build().unwrap();
        let mut peer =
            RawPeer::open_with(victim, config, Limits { transfers: 2, ..Limits::default() });
        let id = sending(&mut peer);
        peer.victim().cancel(id, TransferCode::CANCELLED, "").unwrap();
        peer.converse();
        let mut waited = 0;
        while !peer.events.contains(&Event::Abandoned { transfer: id }) {
            assert!(waited < 130, "it waits for ever");
            let now = peer.now;
            assert_eq!(peer.victim().offer(&Offer::new("b"), now), Err(ActionError::PeerLimit));
            peer.wait(Duration::from_secs(10));
            peer.send(0, Frame::Ping(duologue::wire::Ping { token: [1; 8] })).unwrap();
            peer.converse();
            waited += 10;
        }
        assert_eq!(waited, 120);
        // There is room of our own; the peer still counts it.
        let now = peer.now;
        let second = peer.victim().offer(&Offer::new("b"), now).unwrap();
        peer.converse();
        peer.send(
            second.to_wire(),
            Frame::Reject(duologue::wire::Reject { code: TransferCode::DECLINED, text: "".into() }),
        )
        .unwrap();
        let third = peer.victim().offer(&Offer::new("c"), now).unwrap();
        peer.victim().cancel(third, TransferCode::CANCELLED, "").unwrap();
        peer.converse();
        for _ in 0..13 {
            peer.wait(Duration::from_secs(10));
            peer.send(0, Frame::Ping(duologue::wire::Ping { token: [1; 8] })).unwrap();
            peer.converse();
        }
        assert!(peer.events.contains(&Event::Abandoned { transfer: third }));
        let now = peer.now;
        assert_eq!(peer.victim().offer(&Offer::new("d"), now), Err(ActionError::PeerLimit));
        // A break changes nothing; then the answers come.
        let next = peer.stream.next;
        resume_with(&mut peer, next, &[Held { transfer: id, received: 20_000 }]).unwrap();
        let verdict =
            duologue::wire::Verdict { code: TransferCode::CANCELLED, total: 0, text: "".into() };
        peer.send(id.to_wire(), Frame::Verdict(verdict.clone())).unwrap();
        let now = peer.now;
        peer.victim().offer(&Offer::new("d"), now).unwrap();
        peer.send(third.to_wire(), Frame::Accept(Default::default())).unwrap();
        peer.send(third.to_wire(), Frame::Verdict(verdict)).unwrap();
        assert!(peer.victim().is_open());
    }
}

/// What was given up is judged as before.
#[test]
fn what_was_given_up_is_not_listed_with_more_nor_after_it_was_left_out_nor_accepted_again() {
    for victim in ROLES {
        for what in ["more than was sent", "left out before", "accepted again"] {
            let mut peer = RawPeer::open(victim);
            let id = sending(&mut peer);
            if what == "left out before" {
                let next = peer.stream.next;
                resume_with(&mut peer, next, &[]).unwrap();
            } else {
                peer.victim().cancel(id, TransferCode::CANCELLED, "").unwrap();
            }
            for step in 0..13 {
                peer.converse();
                peer.wait(Duration::from_secs(10));
                peer.send(0, Frame::Ping(duologue::wire::Ping { token: [step; 8] })).unwrap();
            }
            peer.converse();
            assert!(peer.events.contains(&Event::Abandoned { transfer: id }), "{what}");
            let next = peer.stream.next;
            let held = |received| [Held { transfer: id, received }];
            let result = match what {
                "more than was sent" => resume_with(&mut peer, next, &held(30_001)),
                "left out before" => resume_with(&mut peer, next, &held(10)),
                _ => peer.send(id.to_wire(), Frame::Accept(Default::default())),
            };
            let code = result.err().and_then(|error| error.code());
            assert_eq!(code, Some(CloseCode::PROTOCOL), "{what}");
        }
    }
}

/// What was given up while nobody had decided on it counts as undecided until the late answer.
#[test]
fn a_late_accept_of_what_was_given_up_makes_room_for_an_undecided_offer() {
    for victim in ROLES {
        let limits = Limits { transfers: 8, undecided: 1, ..Limits::default() };
        let mut peer = RawPeer::open_with(victim, Config::default(), limits);
        let now = peer.now;
        let id = peer.victim().offer(&Offer::new("a"), now).unwrap();
        peer.converse();
        peer.victim().cancel(id, TransferCode::CANCELLED, "").unwrap();
        peer.converse();
        for _ in 0..13 {
            peer.wait(Duration::from_secs(10));
            peer.send(0, Frame::Ping(duologue::wire::Ping { token: [1; 8] })).unwrap();
            peer.converse();
        }
        assert!(peer.events.contains(&Event::Abandoned { transfer: id }));
        let now = peer.now;
        assert_eq!(peer.victim().offer(&Offer::new("b"), now), Err(ActionError::PeerLimit));
        let accept = duologue::wire::Accept { offset: 0, prefix: None };
        peer.send(id.to_wire(), Frame::Accept(accept)).unwrap();
        peer.converse();
        let now = peer.now;
        peer.victim().offer(&Offer::new("b"), now).unwrap();
        peer.converse();
        assert_eq!(peer.victim().offer(&Offer::new("c"), now), Err(ActionError::PeerLimit));
    }
}

/// What an application gives back bit by bit goes, bit by bit, to whoever has too little.
#[test]
fn what_is_given_back_in_pieces_reaches_a_transfer_that_had_no_room() {
    for victim in ROLES {
        let mut peer = RawPeer::open_with(victim, config(), Limits::default());
        let limit = |peer: &RawPeer, number| {
            let frames = peer.stream.frames.iter().rev();
            let mut of = frames.filter(|f| f.header.id == peer.ours(number));
            of.find_map(|seen| match seen.frame() {
                Frame::Credit(credit) => Some(credit.limit),
                _ => None,
            })
            .unwrap_or(0)
        };
        let mut kept = Vec::new();
        let starved = (1..200)
            .find(|&number| {
                offer(&mut peer, number, &Offer::new("file")).unwrap();
                accept(&mut peer, number);
                let granted = limit(&peer, number);
                if granted < RESERVED {
                    return true;
                }
                start(&mut peer, number, 0).unwrap();
                for _ in 0..granted / 4096 {
                    data(&mut peer, number, 4096).unwrap();
                }
                let id = transfer(peer.ours(number));
                peer.victim().conclude(id, &FAILED).unwrap();
                kept.push((id, granted / 4096 * 4096));
                peer.take_all();
                peer.converse();
                false
            })
            .unwrap();
        let now = peer.now;
        for (id, bytes) in kept {
            for _ in 0..bytes / 1024 {
                peer.victim().release(id, 1024, now);
                peer.converse();
            }
        }
        peer.wait(Duration::from_secs(1));
        assert_eq!(limit(&peer, starved), RESERVED);
        // Nothing of what was kept counts any more.
        offer(&mut peer, starved + 1, &Offer::new("file")).unwrap();
        accept(&mut peer, starved + 1);
        assert_eq!(limit(&peer, starved + 1), WINDOW / 4);
    }
}
