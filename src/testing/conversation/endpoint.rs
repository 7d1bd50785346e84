use std::collections::{BTreeMap, VecDeque};

use super::call::{Call, Done};
use super::pattern::Pattern;
use super::recorder::Recorder;
use crate::proto::{Acceptance, ActionError, CloseReason, Event, ItemId, Opening, Receipt};
use crate::time::Time;
use crate::wire::{Chat, Finish, Message, Offer, TransferCode, TransferId};

/// A machine with an application that talks, sends files of a [`Pattern`], and checks those that it
/// receives.
#[derive(Debug)]
pub struct Endpoint {
    /// The machine.
    pub machine: Recorder,
    /// What the application does by itself.
    pub behaviour: Behaviour,
    /// Texts of chat that came, in order.
    pub chats: Vec<String>,
    /// Bodies of application messages that came, in order.
    pub messages: Vec<Vec<u8>>,
    /// What became of items of ours.
    pub receipts: Vec<(ItemId, Receipt)>,
    /// Files that are being sent, and those that have ended.
    pub outgoing: BTreeMap<TransferId, Outgoing>,
    /// Files that are being received, and those that have ended.
    pub incoming: BTreeMap<TransferId, Incoming>,
    /// How the conversation was opened, each time.
    pub openings: Vec<Opening>,
    /// How it ended.
    pub closed: Option<CloseReason>,
    /// All other events, the data apart.
    pub events: Vec<Event<'static>>,
    /// When the last chat came.
    pub last_chat_at: Time,
    untaken: VecDeque<ItemId>,
}

/// What an [`Endpoint`] does by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behaviour {
    /// Accepts the peer. Yes by default.
    pub accepts_peer: bool,
    /// Takes items as they come. Yes by default.
    pub takes: bool,
    /// Accepts offers. Yes by default.
    pub accepts_offers: bool,
    /// Releases data as it comes. Yes by default.
    pub releases: bool,
    /// Concludes transfers once they are whole, or their sender cancels. Yes by default.
    pub concludes: bool,
    /// Confirms the digest of any prefix. Yes by default.
    pub confirms_prefixes: bool,
    /// Bytes that are queued of a file at a time.
    pub chunk: usize,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            accepts_peer: true,
            takes: true,
            accepts_offers: true,
            releases: true,
            concludes: true,
            confirms_prefixes: true,
            chunk: 32 * 1024,
        }
    }
}

/// A file that is sent.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// What its bytes are.
    pub pattern: Pattern,
    /// How many there are.
    pub size: u64,
    /// How far the application has queued it.
    pub queued: u64,
    /// Whether it may be sent, as far as the application knows.
    pub is_accepted: bool,
    /// Whether `finish` was called.
    pub is_finished: bool,
    /// The peer's last word.
    pub verdict: Option<(TransferCode, u64, String)>,
    /// It ended without one.
    pub is_abandoned: bool,
    /// Bytes of it that the peer reported.
    pub received: u64,
}

/// A file that is received.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// What its bytes should be, by the number at the end of its name.
    pub pattern: Pattern,
    /// Bytes that came.
    pub received: u64,
    /// A byte was wrong, or at the wrong place.
    pub is_wrong: bool,
    /// What its sender said in the end.
    pub finish: Option<Finish>,
    /// The sender asked to cancel.
    pub is_cancel_asked: bool,
    /// Whether it ended, and how.
    pub concluded: Option<TransferCode>,
    /// Whether it ended with the conversation.
    pub is_abandoned: bool,
    is_directory: bool,
}

impl Endpoint {
    /// An application with a machine.
    pub fn new(machine: Recorder) -> Self {
        Self {
            machine,
            behaviour: Behaviour::default(),
            chats: Vec::new(),
            messages: Vec::new(),
            receipts: Vec::new(),
            outgoing: BTreeMap::new(),
            incoming: BTreeMap::new(),
            openings: Vec::new(),
            closed: None,
            events: Vec::new(),
            last_chat_at: Time::ZERO,
            untaken: VecDeque::new(),
        }
    }

    /// Says something.
    ///
    /// # Errors
    ///
    /// Those of [`Connection::send_chat`](crate::proto::Connection::send_chat).
    pub fn say(&mut self, now: Time, text: &str) -> Result<ItemId, ActionError> {
        let chat = Chat::new(text.to_owned());
        self.item(now, Call::SendChat(chat))
    }

    /// Sends an application message.
    ///
    /// # Errors
    ///
    /// Those of [`Connection::send_message`](crate::proto::Connection::send_message).
    pub fn tell(&mut self, now: Time, body: &[u8]) -> Result<ItemId, ActionError> {
        let message = Message {
            message_type: 1,
            is_reply: false,
            correlation: 0,
            body: body.to_vec().into(),
        };
        self.item(now, Call::SendMessage(message))
    }

    fn item(&mut self, now: Time, call: Call) -> Result<ItemId, ActionError> {
        match self.machine.call(now, call)? {
            Done::Item(item) => Ok(item),
            Done::Nothing | Done::Transfer(_) => Err(ActionError::NotOpen),
        }
    }

    /// Offers a file of the pattern that `seed` makes.
    ///
    /// # Errors
    ///
    /// Those of [`Connection::offer`](crate::proto::Connection::offer).
    pub fn offer(
        &mut self,
        now: Time,
        seed: u64,
        size: u64,
        is_seekable: bool,
    ) -> Result<TransferId, ActionError> {
        let mut offer = Offer::new(format!("file-{seed}"));
        offer.size = Some(size);
        offer.is_seekable = is_seekable;
        self.offer_as(now, offer, seed, size)
    }

    /// Offers it in these words; the name has to end in `-` and the seed.
    ///
    /// # Errors
    ///
    /// Those of [`Connection::offer`](crate::proto::Connection::offer).
    pub fn offer_as(
        &mut self,
        now: Time,
        offer: Offer<'static>,
        seed: u64,
        size: u64,
    ) -> Result<TransferId, ActionError> {
        let is_member = offer.batch.is_some();
        let is_directory = offer.is_directory;
        let Done::Transfer(transfer) = self.machine.call(now, Call::Offer(offer))? else {
            return Err(ActionError::NotOpen);
        };
        let outgoing = Outgoing {
            pattern: Pattern::new(seed),
            size,
            queued: 0,
            is_accepted: is_member && !is_directory,
            is_finished: is_directory,
            verdict: None,
            is_abandoned: false,
            received: 0,
        };
        self.outgoing.insert(transfer, outgoing);
        self.feed(now, transfer);
        Ok(transfer)
    }

    /// Sends a file from its beginning, as the digest of the peer's prefix is not that of ours.
    ///
    /// # Errors
    ///
    /// Those of [`Connection::restart`](crate::proto::Connection::restart).
    pub fn restart(&mut self, now: Time, transfer: TransferId) -> Result<(), ActionError> {
        self.machine.call(now, Call::Restart(transfer))?;
        self.go_on(now, transfer, |t| t.queued = 0);
        Ok(())
    }

    /// Takes everything that was not taken by itself.
    pub fn take_all(&mut self, now: Time) {
        while let Some(item) = self.untaken.pop_front() {
            let _ = self.machine.call(now, Call::Take(item));
        }
    }

    /// Whether every file that was offered has ended.
    pub fn has_sent_all(&self) -> bool {
        self.outgoing.values().all(|t| t.verdict.is_some() || t.is_abandoned)
    }

    /// Takes input until it is used up; `false` if the machine refused it.
    pub fn receive(&mut self, now: Time, mut input: &[u8]) -> bool {
        while !input.is_empty() {
            let used = self.machine.handle_acknowledgement(now, input);
            if used > 0 {
                input = input.get(used..).unwrap_or_default();
                self.poll(now);
                continue;
            }
            let (used, lines) = self.machine.handle_chats(now, input);
            lines.into_iter().for_each(|line| self.handle(now, line));
            input = input.get(used..).unwrap_or_default();
            let (used, pieces) = self.machine.handle_bulk(now, input);
            pieces.into_iter().for_each(|piece| self.handle(now, piece));
            input = input.get(used..).unwrap_or_default();
            match self.machine.handle_input(now, input) {
                Ok((used, event)) => {
                    input = input.get(used..).unwrap_or_default();
                    if let Some(event) = event {
                        self.handle(now, event);
                    }
                }
                Err(_) => {
                    self.poll(now);
                    return false;
                }
            }
            self.poll(now);
        }
        true
    }

    /// Handles the events that wait.
    pub fn poll(&mut self, now: Time) {
        while let Some(event) = self.machine.poll_event(now) {
            self.handle(now, event);
        }
    }

    /// Queues data of a file as far as there is room, and finishes it.
    pub fn feed(&mut self, now: Time, transfer: TransferId) {
        let chunk = self.behaviour.chunk;
        loop {
            let Some(t) = self.outgoing.get_mut(&transfer) else { return };
            if !t.is_accepted || t.verdict.is_some() || t.is_abandoned {
                return;
            }
            let left = t.size.saturating_sub(t.queued);
            if left == 0 {
                if !t.is_finished && self.machine.call(now, Call::Finish(transfer, None)).is_ok() {
                    t.is_finished = true;
                }
                return;
            }
            let len = chunk.min(usize::try_from(left).unwrap_or(chunk));
            let data = t.pattern.bytes(t.queued, len);
            let len = data.len() as u64;
            if self.machine.call(now, Call::SendData(transfer, t.queued, data)).is_err() {
                return;
            }
            t.queued = t.queued.saturating_add(len);
        }
    }

    fn handle(&mut self, now: Time, event: Event<'_>) {
        if let Some(item) = event.item() {
            if self.behaviour.takes {
                let _ = self.machine.call(now, Call::Take(item));
            } else {
                self.untaken.push_back(item);
            }
        }
        match event {
            Event::PeerHello { .. } if self.behaviour.accepts_peer => {
                let _ = self.machine.call(now, Call::AcceptPeer);
            }
            Event::Chat { chat, .. } => {
                self.last_chat_at = now;
                self.chats.push(chat.text.into_owned());
            }
            Event::Message { message, .. } => self.messages.push(message.body.into_owned()),
            Event::Receipts { lane, numbers, receipt } => {
                self.receipts.extend(numbers.map(|number| (ItemId { lane, number }, receipt)))
            }
            Event::Open(opening) => self.openings.push(opening),
            Event::Closed(reason) => self.closed = Some(reason),
            event => self.handle_transfer(now, event),
        }
    }

    fn handle_transfer(&mut self, now: Time, event: Event<'_>) {
        match event {
            Event::Offered { transfer, ref offer, .. } => self.on_offer(now, transfer, offer),
            Event::BatchOffered { transfer, .. } if self.behaviour.accepts_offers => {
                let _ = self.machine.call(now, Call::Accept(transfer, Acceptance::default()));
            }
            Event::Accepted { transfer, ref accept, .. } => {
                if accept.offset > 0 && self.behaviour.confirms_prefixes {
                    let _ = self.machine.call(now, Call::ConfirmPrefix(transfer));
                }
                let at = accept.offset;
                self.go_on(now, transfer, |t| {
                    t.is_accepted = true;
                    t.queued = at;
                });
            }
            Event::Writable { transfer, .. } => self.feed(now, transfer),
            Event::Rewind { transfer, offset } => {
                self.go_on(now, transfer, |t| t.queued = offset);
            }
            Event::Progress { transfer, received, .. } => {
                self.go_on(now, transfer, |t| t.received = received);
            }
            Event::Rejected { transfer, code, ref text, .. } => {
                let text = text.clone().into_owned();
                self.go_on(now, transfer, |t| t.verdict = Some((code, 0, text)));
            }
            Event::Verdict { transfer, code, total, ref text, .. } => {
                let text = text.clone().into_owned();
                self.go_on(now, transfer, |t| t.verdict = Some((code, total, text)));
            }
            Event::Abandoned { transfer } => {
                if let Some(t) = self.outgoing.get_mut(&transfer) {
                    t.is_abandoned = true;
                }
                if let Some(t) = self.incoming.get_mut(&transfer) {
                    t.is_abandoned = t.concluded.is_none();
                }
            }
            Event::Data { transfer, offset, data } => {
                self.on_data(now, transfer, offset, &data);
                return;
            }
            Event::Started { transfer, offset } => {
                if let Some(t) = self.incoming.get_mut(&transfer) {
                    t.received = offset;
                }
            }
            Event::Finished { transfer, finish, .. } => {
                if let Some(t) = self.incoming.get_mut(&transfer) {
                    t.finish = Some(finish);
                }
                self.conclude_if_whole(now, transfer);
            }
            Event::CancelAsked { transfer, .. } => {
                if let Some(t) = self.incoming.get_mut(&transfer) {
                    t.is_cancel_asked = true;
                }
                self.conclude_if_whole(now, transfer);
            }
            _ => {}
        }
        self.events.push(event.into_owned());
    }

    fn go_on(&mut self, now: Time, transfer: TransferId, change: impl FnOnce(&mut Outgoing)) {
        if let Some(t) = self.outgoing.get_mut(&transfer) {
            change(t);
        }
        self.feed(now, transfer);
    }

    fn on_offer(&mut self, now: Time, transfer: TransferId, offer: &Offer<'_>) {
        let seed = offer.name.rsplit('-').next().and_then(|seed| seed.parse().ok());
        let incoming = Incoming {
            pattern: Pattern::new(seed.unwrap_or(0)),
            received: 0,
            is_wrong: false,
            finish: None,
            is_cancel_asked: false,
            concluded: None,
            is_abandoned: false,
            is_directory: offer.is_directory,
        };
        self.incoming.insert(transfer, incoming);
        if offer.batch.is_none() && self.behaviour.accepts_offers {
            let _ = self.machine.call(now, Call::Accept(transfer, Acceptance::default()));
        }
        self.conclude_if_whole(now, transfer);
    }

    fn on_data(&mut self, now: Time, transfer: TransferId, offset: u64, data: &[u8]) {
        let Some(t) = self.incoming.get_mut(&transfer) else { return };
        t.is_wrong |= offset != t.received || !t.pattern.matches(offset, data);
        t.received = offset.saturating_add(data.len() as u64);
        if self.behaviour.releases {
            let _ = self.machine.call(now, Call::Release(transfer, data.len()));
        }
        self.conclude_if_whole(now, transfer);
    }

    /// Concludes a transfer that is whole, or was cancelled.
    pub fn conclude_if_whole(&mut self, now: Time, transfer: TransferId) {
        let Some(t) = self.incoming.get_mut(&transfer) else { return };
        if !self.behaviour.concludes || t.concluded.is_some() {
            return;
        }
        let is_whole = t.is_directory || t.finish.is_some_and(|finish| finish.total == t.received);
        let (call, code) = if is_whole && !t.is_cancel_asked {
            let name = format!("stored-{}", transfer.number());
            (Call::Stored(transfer, name), TransferCode::STORED)
        } else if t.is_cancel_asked {
            let code = TransferCode::CANCELLED;
            (Call::Failed(transfer, code, "as asked".into()), code)
        } else {
            return;
        };
        if self.machine.call(now, call).is_ok() {
            t.concluded = Some(code);
        }
    }
}
