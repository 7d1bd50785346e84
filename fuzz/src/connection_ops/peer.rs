//! What the peer says: what the model allows, and at last what it does not.

use duologue::proto::{Event, ItemId, Lane};
use duologue::wire::{
    Accept, Ack, Cancel, Chat, CloseCode, Credit, Finish, Frame, Header, Kind, Message, Offer,
    Pause, Ping, Reject, Signal, Start, TransferCode, TransferId, Verdict,
};

use super::super::machine::Input;
use super::World;
use super::model::{Mine, State, Theirs};

const LANES: [Lane; 2] = [Lane::Chat, Lane::Control];

impl World {
    /// Says something that is allowed, if it is.
    pub fn say(&mut self, choice: u8, input: &mut Input<'_>) {
        let pick = input.pick(8);
        match choice & 0x1F {
            14 => self.say_chat(input.number() as usize % 30_000),
            15 => self.say_message(input.number() as usize % 20_000),
            16 => self.say_aside(input),
            17 => {
                let [chat, control] = [input.byte(), input.byte()].map(u64::from);
                let [heard_chat, heard] =
                    [&self.model.lanes[0], &self.model.lanes[1]].map(|l| l.heard);
                let received = input.number();
                self.acknowledge(
                    [heard_chat.saturating_sub(chat), heard.saturating_sub(control)],
                    self.sent.bytes.saturating_sub(received),
                );
            }
            18 | 19 => self.say_offer(input),
            20 => self.say_start(pick),
            21 | 22 => self.say_data(pick, input.number() as usize),
            23 => self.say_finish(pick, input.byte().into()),
            24 => self.say_cancel(pick),
            25 => self.say_pause(pick, input.byte()),
            26 => self.decide(pick, input.byte()),
            27 => self.say_verdict(pick, input.byte()),
            _ => self.say_credit(pick, input),
        }
    }

    /// An item of the peer's, cut as small as has to be.
    fn item(&mut self, kind: Kind, id: u32, payload: &[u8], event: Option<Event<'static>>) {
        let lane = usize::from(kind != Kind::CHAT);
        let bytes = self.cut(kind, id, payload);
        self.said_size = payload.len();
        self.model.lanes[lane].said += 1;
        if let Err(error) = self.feed(&bytes) {
            panic!("{kind} of {id:#x} is allowed: {error}");
        }
        self.told(event.as_slice());
    }

    fn cut(&self, kind: Kind, id: u32, payload: &[u8]) -> Vec<u8> {
        let limits = self.config.limits();
        let most = limits.frame.min(limits.fragment) as usize;
        let lane = u32::from(kind != Kind::CHAT);
        let mut bytes = Vec::new();
        let mut rest = payload;
        while rest.len() > most {
            let (part, others) = rest.split_at(most);
            bytes.extend(Header { length: most as u32, kind: Kind::PART, id: lane }.encode());
            bytes.extend_from_slice(part);
            rest = others;
        }
        bytes.extend(Header { length: rest.len() as u32, kind, id }.encode());
        bytes.extend_from_slice(rest);
        bytes
    }

    /// The machine has to take one more item of this length.
    fn fits(&self, lane: usize, len: usize) -> bool {
        let limits = self.config.limits();
        let lane = &self.model.lanes[lane];
        let is_over = lane.untaken.len() >= limits.items as usize
            || lane.untaken_bytes() + len > limits.item_bytes as usize;
        len <= limits.item as usize && (lane.untaken.is_empty() || !is_over)
    }

    fn next(&self, lane: usize) -> ItemId {
        ItemId { lane: LANES[lane], number: self.model.lanes[lane].said }
    }

    fn say_chat(&mut self, len: usize) {
        let chat = Chat::new("y".repeat(len));
        let mut payload = Vec::new();
        chat.encode(&mut payload).expect("it is valid");
        if self.fits(0, payload.len()) {
            let item = self.next(0);
            self.item(Kind::CHAT, 0, &payload, Some(Event::Chat { item, chat: chat.into_owned() }));
        }
    }

    fn say_message(&mut self, len: usize) {
        let body = vec![6; len].into();
        let message = Message { message_type: 9, is_reply: true, correlation: 4, body };
        let mut payload = Vec::new();
        message.encode(&mut payload).expect("it is valid");
        if self.fits(1, payload.len()) {
            let event = Event::Message { item: self.next(1), message };
            self.item(Kind::MESSAGE, 0, &payload, Some(event));
        }
    }

    /// What is not numbered and belongs to no transfer.
    fn say_aside(&mut self, input: &mut Input<'_>) {
        match input.byte() & 3 {
            0 => self.frame(0, &Frame::Ping(Ping { token: [3; 8] })),
            1 => self.frame(0, &Frame::Pong(Ping { token: [0xFF; 8] })),
            2 => {
                let signal = Signal { signal_type: 1, payload: vec![8; 30].into() };
                self.frame(0, &Frame::Signal(signal.clone()));
                self.told(&[Event::Signal(signal)]);
            }
            _ => {
                let kind = Kind::new(0x80 | (input.byte() & 0x3F));
                if !kind.is_known() {
                    self.frame(0, &Frame::Unknown { kind, payload: vec![1; 9].into() });
                }
            }
        }
        self.told(&[]);
    }

    /// An item of lane 1 that fits on one frame.
    fn decision(&mut self, id: TransferId, frame: &Frame<'_>, event: Option<Event<'static>>) {
        let mut bytes = Vec::new();
        frame.encode(id.to_wire(), &mut bytes).expect("it is valid");
        self.item(frame.kind(), id.to_wire(), &bytes[duologue::wire::HEADER_LEN..], event);
    }

    fn may_decide(&self) -> bool {
        self.fits(1, 64)
    }

    fn say_offer(&mut self, input: &mut Input<'_>) {
        let limits = self.config.limits();
        let is_allowed = self.model.theirs_count() < limits.transfers as usize
            && self.model.theirs_undecided() < limits.undecided as usize;
        if !is_allowed || !self.may_decide() {
            return;
        }
        let transfer = self.transfer(false, self.model.theirs.len() + 1);
        let size = input.flag().then(|| input.number().min(100_000));
        let mut offer = Offer::new("theirs");
        offer.size = size;
        self.model.theirs.insert(transfer, Theirs::new(size));
        let event = Event::Offered { item: self.next(1), transfer, offer: offer.clone() };
        self.decision(transfer, &Frame::Offer(offer), Some(event));
    }

    fn say_start(&mut self, pick: usize) {
        let may = |t: &Theirs| t.is_accept_heard && !t.is_started && !t.is_cancel_asked;
        let Some(transfer) = self.model.theirs_like(pick, may) else { return };
        let t = self.model.theirs.get_mut(&transfer).expect("it is there");
        t.is_started = true;
        let is_late = t.state == State::Ended;
        self.frame(transfer.to_wire(), &Frame::Start(Start { offset: 0 }));
        let event = Event::Started { transfer, offset: 0 };
        self.told(if is_late { &[] } else { std::slice::from_ref(&event) });
    }

    fn say_data(&mut self, pick: usize, len: usize) {
        let may = |t: &Theirs| t.is_started && !t.is_cancel_asked && t.room() > 0;
        let Some(transfer) = self.model.theirs_like(pick, may) else { return };
        let limits = self.config.limits();
        let most = u64::from(limits.frame.min(limits.fragment));
        let t = self.model.theirs.get_mut(&transfer).expect("it is there");
        let len = (len as u64 + 1).min(most).min(t.room());
        let (offset, is_late) = (t.sent, t.state == State::Ended);
        t.sent += len;
        let data = vec![5; len as usize];
        self.frame(transfer.to_wire(), &Frame::Data((&data[..]).into()));
        let event = Event::Data { transfer, offset, data: data.into() };
        self.told(if is_late { &[] } else { std::slice::from_ref(&event) });
    }

    fn say_finish(&mut self, pick: usize, more: u64) {
        let may = |t: &Theirs| {
            let is_right = t.size.is_none_or(|size| size >= t.sent);
            t.is_accept_heard && t.total.is_none() && !t.is_cancel_asked && is_right
        };
        let Some(transfer) = self.model.theirs_like(pick, may) else { return };
        if !self.may_decide() {
            return;
        }
        let t = self.model.theirs.get_mut(&transfer).expect("it is there");
        let total = t.size.unwrap_or(t.sent + more);
        t.total = Some(total);
        let is_late = t.state == State::Ended;
        let finish = Finish { total, digest: None };
        let event = Event::Finished { item: self.next(1), transfer, finish };
        self.decision(transfer, &Frame::Finish(finish), Some(event).filter(|_| !is_late));
    }

    fn say_cancel(&mut self, pick: usize) {
        let may = |t: &Theirs| !t.is_cancel_asked && !t.is_end_heard;
        let Some(transfer) = self.model.theirs_like(pick, may) else { return };
        if !self.may_decide() {
            return;
        }
        let t = self.model.theirs.get_mut(&transfer).expect("it is there");
        t.is_cancel_asked = true;
        let is_late = t.state == State::Ended;
        let code = TransferCode::SOURCE_CHANGED;
        let event = Event::CancelAsked { item: self.next(1), transfer, code, text: "".into() };
        let frame = Frame::Cancel(Cancel { code, text: "".into() });
        self.decision(transfer, &frame, Some(event).filter(|_| !is_late));
    }

    fn say_pause(&mut self, pick: usize, flags: u8) {
        let is_paused = flags & 1 != 0;
        if !self.may_decide() {
            return;
        }
        let (transfer, is_news) = if flags & 2 == 0 {
            let may = |t: &Theirs| !t.is_cancel_asked && !t.is_end_heard;
            let Some(id) = self.model.theirs_like(pick, may) else { return };
            let t = self.model.theirs.get_mut(&id).expect("it is there");
            let was_paused = std::mem::replace(&mut t.is_paused_by_peer, is_paused);
            (id, was_paused != is_paused && t.state != State::Ended)
        } else {
            let may = |t: &Mine| t.is_heard && t.state != State::Ended;
            let Some(id) = self.model.mine_like(pick, may) else { return };
            let t = self.model.mine.get_mut(&id).expect("it is there");
            if matches!(t.state, State::Cancelled { .. }) {
                (id, false)
            } else {
                let was_paused = std::mem::replace(&mut t.is_paused_by_peer, is_paused);
                if is_paused {
                    t.is_silent = self.sent.is_between_frames();
                } else if !t.is_paused {
                    t.is_silent = false;
                }
                (id, was_paused != is_paused)
            }
        };
        let event = Event::Paused { item: self.next(1), transfer, is_paused };
        let frame = Frame::Pause(Pause { is_paused });
        self.decision(transfer, &frame, Some(event).filter(|_| is_news));
    }

    /// Accepts or rejects.
    fn decide(&mut self, pick: usize, flags: u8) {
        let may = |t: &Mine| t.is_heard && t.is_undecided();
        let Some(transfer) = self.model.mine_like(pick, may) else { return };
        if !self.may_decide() {
            return;
        }
        let item = self.next(1);
        let t = self.model.mine.get_mut(&transfer).expect("it is there");
        if flags & 3 == 0 {
            t.state = State::Ended;
            let code = TransferCode::DECLINED;
            let event = Event::Rejected { item, transfer, code, text: "".into() };
            let frame = Frame::Reject(Reject { code, text: "".into() });
            return self.decision(transfer, &frame, Some(event));
        }
        let accept = Accept::default();
        let event =
            (t.state == State::Offered).then_some(Event::Accepted { item, transfer, accept });
        t.state = match t.state {
            State::Offered => State::Open,
            _ => State::Cancelled { was_offered: false },
        };
        self.decision(transfer, &Frame::Accept(accept), event);
    }

    fn say_verdict(&mut self, pick: usize, flags: u8) {
        let may =
            |t: &Mine| matches!(t.state, State::Open | State::Cancelled { was_offered: false });
        let Some(transfer) = self.model.mine_like(pick, may) else { return };
        if !self.may_decide() {
            return;
        }
        let item = self.next(1);
        let t = self.model.mine.get_mut(&transfer).expect("it is there");
        let is_whole = t.is_finish_heard && t.total == Some(t.heard);
        let is_stored = is_whole && flags & 1 == 0;
        let code = if is_stored { TransferCode::STORED } else { TransferCode::NO_SPACE };
        t.state = State::Ended;
        let verdict = Verdict { code, total: t.heard, text: "name".into() };
        let event = Event::Verdict { item, transfer, code, total: t.heard, text: "name".into() };
        self.decision(transfer, &Frame::Verdict(verdict), Some(event));
    }

    fn say_credit(&mut self, pick: usize, input: &mut Input<'_>) {
        let may =
            |t: &Mine| matches!(t.state, State::Open | State::Cancelled { was_offered: false });
        let Some(transfer) = self.model.mine_like(pick, may) else { return };
        let (more, less, safe) = (input.number() & 0xF_FFFF, input.number(), input.number());
        self.credit(transfer, more, less, safe);
    }

    fn credit(&mut self, transfer: TransferId, more: u64, less: u64, safe: u64) {
        let t = self.model.mine.get_mut(&transfer).expect("it is there");
        let received = t.heard.saturating_sub(less).max(t.received);
        let durable = safe.clamp(t.durable, received);
        let limit = (t.limit + more).max(received);
        let has_news = t.state == State::Open && (received > t.received || durable > t.durable);
        (t.limit, t.received, t.durable) = (limit, received, durable);
        self.frame(transfer.to_wire(), &Frame::Credit(Credit { limit, received, durable }));
        let event = Event::Progress { transfer, received, durable };
        self.told(if has_news { std::slice::from_ref(&event) } else { &[] });
    }

    /// All that is open gets all the credit it can use.
    pub fn grant_all(&mut self) {
        let open: Vec<_> = self
            .model
            .mine
            .iter()
            .filter(|(_, t)| t.state == State::Open && t.limit < t.pushed)
            .map(|(id, t)| (*id, t.pushed - t.limit))
            .collect();
        for (id, more) in open {
            self.credit(id, more, 0, 0);
        }
    }

    /// Bytes that the peer was told it may send.
    fn granted_in_all(&self) -> u64 {
        let open = self.model.theirs.values().filter(|t| t.state != State::Ended);
        open.map(|t| t.limit.saturating_sub(t.sent)).sum()
    }

    /// Breaks a rule, and is told which.
    pub fn break_a_rule(&mut self, input: &mut Input<'_>) {
        let (what, pick) = (input.byte(), input.pick(8));
        let mut bytes = Vec::new();
        let mut push = |id: u32, frame: Frame<'_>| {
            frame.encode(id, &mut bytes).expect("it is valid");
        };
        let limits = *self.config.limits();
        let unknown = self.transfer(false, 1 << 20).to_wire();
        let open = |t: &Theirs| t.state == State::Open && !t.is_cancel_asked;
        let code = match what % 14 {
            0 => {
                push(unknown, Frame::Data(vec![1].into()));
                CloseCode::PROTOCOL
            }
            1 => {
                let like = |t: &Theirs| open(t) && t.is_started;
                let Some(id) = self.model.theirs_like(pick, like) else { return };
                // Credit may be planned that the peer has not heard of.
                let granted = self.machine.statistics().receive_window;
                if granted != self.granted_in_all() {
                    return;
                }
                let mut left = self.model.theirs[&id].room();
                while left > 0 {
                    let len = left.min(limits.fragment.min(limits.frame).into());
                    push(id.to_wire(), Frame::Data(vec![5; len as usize].into()));
                    left -= len;
                }
                push(id.to_wire(), Frame::Data(vec![1; 1].into()));
                CloseCode::CREDIT
            }
            2 => {
                let like = |t: &Theirs| open(t) && !t.is_started;
                let Some(id) = self.model.theirs_like(pick, like) else { return };
                push(id.to_wire(), Frame::Data(vec![1].into()));
                CloseCode::PROTOCOL
            }
            3 => {
                push(unknown, Frame::Offer(Offer::new("gap")));
                CloseCode::PROTOCOL
            }
            4 => {
                let open = self.model.theirs.values().filter(|t| t.state != State::Ended).count();
                if open < limits.transfers as usize {
                    return;
                }
                let id = self.transfer(false, self.model.theirs.len() + 1).to_wire();
                push(id, Frame::Offer(Offer::new("one more")));
                CloseCode::LIMIT
            }
            5 => {
                let like = |t: &Theirs| open(t) && t.total.is_some();
                let Some(id) = self.model.theirs_like(pick, like) else { return };
                push(id.to_wire(), Frame::Finish(Finish { total: 0, digest: None }));
                CloseCode::PROTOCOL
            }
            6 => {
                let like =
                    |t: &Mine| t.state == State::Open && !t.is_finish_heard && t.total.is_none();
                let Some(id) = self.model.mine_like(pick, like) else { return };
                let verdict =
                    Verdict { code: TransferCode::STORED, total: 0, text: "early".into() };
                push(id.to_wire(), Frame::Verdict(verdict));
                CloseCode::PROTOCOL
            }
            7 => {
                let next = [self.model.lanes[0].heard + 1 + pick as u64 * 1000, 0];
                let next = [next[0] + 100, self.model.lanes[1].acknowledged];
                push(0, Frame::Ack(Ack { next, received: self.model.reported }));
                CloseCode::PROTOCOL
            }
            8 => {
                let like = |t: &Mine| t.state == State::Open && t.limit > 0;
                let Some(id) = self.model.mine_like(pick, like) else { return };
                push(id.to_wire(), Frame::Credit(Credit { limit: 0, received: 0, durable: 0 }));
                CloseCode::PROTOCOL
            }
            9 => {
                let like = |t: &Mine| t.state == State::Open;
                let Some(id) = self.model.mine_like(pick, like) else { return };
                let received = self.model.mine[&id].pushed + 1;
                let limit = received + self.model.mine[&id].limit;
                push(id.to_wire(), Frame::Credit(Credit { limit, received, durable: 0 }));
                CloseCode::PROTOCOL
            }
            10 => {
                let lane = &self.model.lanes[0];
                if lane.untaken.len() < limits.items as usize {
                    return;
                }
                push(0, Frame::Chat(Chat::new("one more")));
                CloseCode::LIMIT
            }
            11 => {
                let like = |t: &Theirs| t.is_cancel_asked && t.state != State::Ended;
                let Some(id) = self.model.theirs_like(pick, like) else { return };
                push(id.to_wire(), Frame::Pause(Pause { is_paused: true }));
                CloseCode::PROTOCOL
            }
            12 => {
                let header = Header { length: limits.frame + 1, kind: Kind::CHAT, id: 0 };
                bytes.extend(header.encode());
                CloseCode::TOO_LARGE
            }
            _ => {
                let kind = Kind::new(0x30);
                bytes.extend(Header { length: 0, kind, id: 0 }.encode());
                CloseCode::UNSUPPORTED
            }
        };
        // Of lane 1, only if one more item is taken at all.
        let is_item = bytes.get(3).is_some_and(|kind| Kind::new(*kind).lane() == Some(1));
        if !is_item || self.may_decide() {
            self.refuse(&bytes, code);
        }
    }
}
