//! What an application makes of the events that it is told.

use duologue::proto::{Event, ItemId, Lane, Opening, Receipt};
use duologue::wire::TransferCode;

use super::super::super::machine::content;
use super::super::ledger::{Ledger, Spec, text};
use super::{App, In, RIGHT, Untaken, index};

/// What the machine says.
impl App {
    pub fn on_event(&mut self, ledger: &mut Ledger, event: Event<'_>) {
        assert!(self.closed.is_none(), "{event:?} after the last event");
        match event {
            Event::PeerHello { .. } => self.wants_acceptance = true,
            Event::Authentication(bytes) => assert!(bytes.iter().all(|byte| *byte == 7)),
            Event::Open(opening) => self.on_open(opening),
            Event::Chat { item, chat } => {
                self.hand_out(item, chat.text.len(), false);
                let seen = ledger.of(self.conversation, self.side).chats_seen;
                assert_eq!(item, ItemId { lane: Lane::Chat, number: seen as u64 });
                let len = ledger.of(self.conversation, self.side.opposite()).chats[seen];
                assert_eq!(chat.text, text(seen, len));
                ledger.of(self.conversation, self.side).chats_seen += 1;
            }
            Event::Message { item, message } => {
                self.hand_out(item, message.body.len(), true);
                let seen = ledger.of(self.conversation, self.side).messages_seen;
                let sent = ledger.of(self.conversation, self.side.opposite()).messages[seen];
                assert_eq!((message.correlation, item.number), (seen as u64, sent.0));
                assert_eq!(&message.body[..], &content(seen as u32, 0, sent.1));
                ledger.of(self.conversation, self.side).messages_seen += 1;
            }
            Event::Signal(signal) => assert_eq!(&signal.payload[..], b"typing"),
            Event::Receipts { lane, numbers, receipt } => {
                assert_eq!(numbers.start, self.resolved[index(lane)]);
                assert!(numbers.start < numbers.end);
                self.resolved[index(lane)] = numbers.end;
                self.check_receipts(ledger, lane, numbers, receipt);
            }
            Event::LaneWritable(_) | Event::MayOffer => {}
            Event::Detached(_) => assert!(self.is_open),
            Event::Goodbye { .. } => {}
            Event::Closed(reason) => {
                self.closed = Some(reason);
                self.kept.clear();
                assert!(self.outgoing.is_empty() && self.incoming.is_empty());
                let own = ledger.of(self.conversation, self.side);
                if self.is_open {
                    assert_eq!(self.resolved[0], own.chats.len() as u64);
                    assert!(own.messages.iter().all(|message| message.0 < self.resolved[1]));
                }
            }
            Event::Abandoned { transfer } => {
                let was_there = self.outgoing.remove(&transfer).is_some()
                    || self.incoming.remove(&transfer).is_some();
                assert!(was_there, "{transfer}");
            }
            Event::Expired { transfer } => {
                self.expired += 1;
                if let Some(out) = self.outgoing.get_mut(&transfer) {
                    assert!(!std::mem::replace(&mut out.is_cancelled, true));
                } else {
                    let t = self.incoming.remove(&transfer).expect("it is open");
                    let own = ledger.of(self.conversation, self.side);
                    if t.is_accepted || t.is_cancel_asked {
                        own.verdicts.insert(transfer, (TransferCode::STALLED, t.received));
                    } else {
                        own.rejected.insert(transfer, TransferCode::STALLED);
                    }
                }
            }
            event => self.on_transfer_event(ledger, event),
        }
    }

    fn on_open(&mut self, opening: Opening) {
        match opening {
            Opening::New => assert!(!self.is_open),
            Opening::Resumed => assert!(self.is_open),
            Opening::Fresh => {
                assert!(self.is_open && self.outgoing.is_empty() && self.incoming.is_empty());
                self.resolved = [0; 2];
                for lane in &mut self.untaken {
                    lane.clear();
                }
            }
        }
        self.is_open = true;
    }

    fn hand_out(&mut self, item: ItemId, size: usize, is_message: bool) {
        let lane = &mut self.untaken[index(item.lane)];
        assert!(lane.back().is_none_or(|last| last.item < item));
        lane.push_back(Untaken { item, size, is_message });
    }

    fn check_receipts(
        &self,
        ledger: &mut Ledger,
        lane: Lane,
        numbers: std::ops::Range<u64>,
        receipt: Receipt,
    ) {
        let sent: Vec<u64> =
            ledger.of(self.conversation, self.side).messages.iter().map(|m| m.0).collect();
        let peer = ledger.of(self.conversation, self.side.opposite());
        let (taken, seen) = match lane {
            Lane::Chat => (peer.chats_taken, peer.chats_seen),
            Lane::Control => (peer.messages_taken, peer.messages_seen),
        };
        // How many of the numbers up to this one count: of lane 1 the messages.
        let up_to = |end: u64| match lane {
            Lane::Chat => end as usize,
            Lane::Control => sent.iter().filter(|number| **number < end).count(),
        };
        match receipt {
            Receipt::Delivered => assert!(up_to(numbers.end) <= taken, "{numbers:?} not taken"),
            Receipt::NotSent => assert!(up_to(numbers.start) >= seen, "{numbers:?} was seen"),
            Receipt::Unknown => {}
        }
    }

    fn on_transfer_event(&mut self, ledger: &mut Ledger, event: Event<'_>) {
        match event {
            Event::Offered { item, transfer, offer } => {
                self.hand_out(item, 64, false);
                let spec = ledger.of(self.conversation, self.side.opposite()).files[&transfer];
                assert_eq!(offer.name, format!("f{}", spec.seed));
                assert_eq!(offer.size, spec.is_size_known.then_some(spec.len));
                assert!(self.incoming.insert(transfer, In::new(spec, None)).is_none());
                if let Some(batch) = offer.batch {
                    let batch = self.incoming.get_mut(&batch).expect("its batch is open");
                    assert!(batch.is_accepted);
                    batch.members += 1;
                }
            }
            Event::Refused { item, offer, .. } => {
                self.hand_out(item, 64, false);
                let batch = offer.batch.and_then(|id| self.incoming.get_mut(&id));
                batch.expect("it is a member").members += 1;
            }
            Event::BatchOffered { item, transfer, batch } => {
                self.hand_out(item, 64, false);
                let new = In::new(Spec::NONE, Some(batch.count));
                assert!(self.incoming.insert(transfer, new).is_none());
            }
            Event::Accepted { item, transfer, accept } => {
                self.hand_out(item, 64, false);
                let out = self.outgoing.get_mut(&transfer).expect("it is open");
                assert!(!std::mem::replace(&mut out.is_accepted, true));
                out.position = accept.offset;
                out.prefix = accept.prefix.map(|digest| digest == RIGHT);
            }
            Event::Rejected { item, transfer, code, .. } => {
                self.hand_out(item, 64, false);
                self.outgoing.remove(&transfer).expect("it is open");
                let peer = ledger.of(self.conversation, self.side.opposite());
                assert_eq!(peer.rejected.get(&transfer), Some(&code));
            }
            Event::Verdict { item, transfer, code, .. } => {
                self.hand_out(item, 64, false);
                let out = self.outgoing.remove(&transfer).expect("it is open");
                let peer = ledger.of(self.conversation, self.side.opposite());
                match peer.verdicts.get(&transfer) {
                    Some((said, received)) => {
                        assert_eq!(*said, code);
                        if code == TransferCode::STORED && out.members.is_none() {
                            assert_eq!(*received, out.spec.len);
                        }
                    }
                    // The machine answers alone to what named a batch that had ended.
                    None => assert!(out.spec.batch.is_some() && code != TransferCode::STORED),
                }
            }
            Event::Writable { transfer, offset } => {
                let out = self.outgoing.get_mut(&transfer).expect("it is open");
                assert_eq!(out.position, offset);
                out.is_blocked = false;
            }
            Event::Rewind { transfer, offset } => {
                let out = self.outgoing.get_mut(&transfer).expect("it is open");
                assert!(out.spec.is_seekable, "{out:?} cannot go back to {offset}");
                out.position = offset;
                out.is_blocked = false;
            }
            Event::Progress { transfer, received, durable } => {
                assert!(durable <= received && self.outgoing[&transfer].spec.len >= received);
            }
            Event::Paused { item, .. } => self.hand_out(item, 1, false),
            Event::Started { transfer, offset } => {
                let t = self.incoming.get_mut(&transfer).expect("it is open");
                if offset == 0 {
                    (t.received, t.is_sound) = (0, true);
                }
                assert_eq!(t.received, offset);
            }
            Event::Data { transfer, offset, data } => {
                let t = self.incoming.get_mut(&transfer).expect("it is open");
                assert_eq!(t.received, offset, "{transfer}");
                let is_right = data[..] == content(t.spec.seed, offset, data.len());
                assert!(is_right, "{transfer} at {offset}");
                t.received += data.len() as u64;
                *self.kept.entry(transfer).or_default() += data.len();
                assert!(t.received <= t.spec.len);
            }
            Event::Finished { item, transfer, finish } => {
                self.hand_out(item, 41, false);
                let t = self.incoming.get_mut(&transfer).expect("it is open");
                assert_eq!(finish.total, t.spec.len);
                assert!(t.total.replace(finish.total).is_none());
            }
            Event::CancelAsked { item, transfer, .. } => {
                self.hand_out(item, 4, false);
                let t = self.incoming.get_mut(&transfer).expect("it is open");
                assert!(!std::mem::replace(&mut t.is_cancel_asked, true));
            }
            other => panic!("an event that the model does not know: {other:?}"),
        }
    }
}
