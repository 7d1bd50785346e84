//! Input of an open stream: from bytes to frames, judged by their headers.

use alloc::borrow::Cow;

use super::connection::{Connection, usize_from};
use super::error::Error;
use super::event::{DetachReason, Event, Lane};
use super::link::{Link, Phase};
use crate::time::Time;
use crate::wire::{
    Ack, CloseCode, Credit, Goodbye, HEADER_LEN, Header, Kind, Piece, Ping, Signal, Start,
    TransferId, max_length,
};

/// Bytes of an ACK's payload, and of all of it.
const ACK_PAYLOAD: u32 = 24;
const ACK_LEN: usize = HEADER_LEN + 24;

impl Connection {
    /// Takes bytes that came, and says how many it took and what they meant.
    ///
    /// Takes at least one byte of input that is not empty, and gives at most one event a call: call
    /// it again with the rest. Events that other things cause are left to
    /// [`poll_event`](Self::poll_event); polled after each call they stand in the order in which
    /// they happened.
    ///
    /// # Errors
    ///
    /// [`Error`], which is the peer's or the stream's doing and sticky. The conversation has ended
    /// then, or is detached if it was being resumed; its last words are there to be transmitted.
    ///
    /// Without a stream, while the conversation is [detached](Self::is_detached), all input is
    /// [`Error::Closed`]: bytes of the stream that broke, which are to be thrown away. It is not kept
    /// as the conversation's [`error`](Self::error), and goes with the next stream.
    pub fn handle_input<'a>(
        &mut self,
        now: Time,
        input: &'a [u8],
    ) -> Result<(usize, Option<Event<'a>>), Error> {
        if input.is_empty() {
            return Ok((0, None));
        }
        if let Some(&error) = self.error.as_deref() {
            return Err(error);
        }
        let now = self.advance(now);
        let Some(link) = &mut self.link else { return Err(Error::Closed) };
        if link.phase == Phase::Closed {
            return Err(link.error.as_deref().copied().unwrap_or(Error::Closed));
        }
        let result = match link.phase {
            Phase::Open => {
                let result = self.receive(now, input);
                if let Some(link) = &mut self.link {
                    link.note_bytes(now);
                }
                result
            }
            Phase::Closing => self.receive_last(now, input),
            Phase::Closed => Err(Error::Closed),
            Phase::Hello | Phase::Authenticating | Phase::Waiting => {
                link.last_input = now;
                self.receive_handshake(now, input)
            }
        };
        result.map_err(|error| self.on_error(error, now))
    }

    /// Takes an ACK that the input begins with, if all of it is there and it is as it should be;
    /// returns how many bytes that was, or 0.
    ///
    /// It does what [`handle_input`](Self::handle_input) does with it, for less: where both sides talk
    /// every other frame is one. All other input is left to that, and with it the error of an ACK that
    /// is a violation.
    ///
    /// # Examples
    ///
    /// Input is offered here first, and the rest there:
    ///
    /// ```
    /// use duologue::proto::{Connection, Error};
    /// use duologue::time::Time;
    ///
    /// fn input(machine: &mut Connection, now: Time, mut input: &[u8]) -> Result<(), Error> {
    ///     while !input.is_empty() {
    ///         let mut taken = machine.handle_acknowledgement(now, input);
    ///         if taken == 0 {
    ///             let (used, _event) = machine.handle_input(now, input)?;
    ///             taken = used;
    ///         }
    ///         input = &input[taken..];
    ///         while let Some(_event) = machine.poll_event() { /* receipts, above all */ }
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn handle_acknowledgement(&mut self, now: Time, input: &[u8]) -> usize {
        const HEADER: [u8; HEADER_LEN] =
            Header { length: ACK_PAYLOAD, kind: Kind::ACK, id: 0 }.encode();
        let frame = input.first_chunk::<ACK_LEN>().and_then(|frame| frame.split_first_chunk());
        let Some((_, payload)) = frame.filter(|(header, _)| **header == HEADER) else { return 0 };
        let now = self.advance(now);
        let Some(link) = &mut self.link else { return 0 };
        let is_ordinary = link.phase == Phase::Open
            && link.decoder.is_between_frames()
            && self.error.is_none()
            && self.events.is_empty();
        if !is_ordinary {
            return 0;
        }
        let Ok(ack) = Ack::decode(payload) else { return 0 };
        link.received = link.received.saturating_add(HEADER_LEN as u64);
        link.note_frame(now);
        link.received = link.received.saturating_add(ACK_PAYLOAD.into());
        self.is_confirmed = true;
        self.statistics.received.control.add(ACK_LEN);
        match self.handle_ack(now, ack) {
            Ok(()) => ACK_LEN,
            Err(error) => {
                // It is sticky: what comes next is told of it.
                self.on_error(error, now);
                0
            }
        }
    }

    /// The stream ended: no more input will come.
    ///
    /// Without a goodbye the conversation is detached, or has failed if it was not open yet.
    pub fn handle_eof(&mut self, now: Time) {
        let now = self.advance(now);
        let Some(link) = &mut self.link else { return };
        match link.phase {
            Phase::Open => self.detach(now, DetachReason::StreamEnded),
            Phase::Closing => {
                self.finish_closing(false);
                self.abort_link();
            }
            Phase::Closed => {}
            Phase::Hello | Phase::Authenticating | Phase::Waiting => {
                self.fail_handshake(Error::Incomplete, now);
            }
        }
    }

    fn receive<'a>(
        &mut self,
        now: Time,
        input: &'a [u8],
    ) -> Result<(usize, Option<Event<'a>>), Error> {
        let mut used: usize = 0;
        // Receipts that nobody polled for wait for more of them.
        let had_delivered = self.has_delivered();
        while let Some(rest) = input.get(used..).filter(|rest| !rest.is_empty()) {
            let Some(link) = &mut self.link else { break };
            let (taken, piece) = link.decoder.decode(rest);
            used = used.saturating_add(taken);
            link.received = link.received.saturating_add(taken as u64);
            let event = match piece {
                None => None,
                Some(Piece::Header(header)) => {
                    link.header = Some(header);
                    link.note_frame(now);
                    self.is_confirmed = true;
                    self.check_header(now, header)?;
                    if header.length == 0 {
                        self.handle_frame(now, header, Cow::Borrowed(&[]))?
                    } else {
                        None
                    }
                }
                Some(Piece::Payload { data, last }) => self.handle_piece(now, data, last)?,
            };
            let is_done = event.is_some()
                || !self.events.is_empty()
                || (self.has_delivered() && !had_delivered)
                || self.phase() != Some(Phase::Open);
            if is_done {
                return Ok((used, event));
            }
        }
        Ok((used, None))
    }

    /// Judges a frame before its payload comes: its length, its kind, and what the tables say.
    fn check_header(&mut self, now: Time, header: Header) -> Result<(), Error> {
        let Header { length, kind, id } = header;
        let violation = |code, rule| Err(Error::violation(code, kind, rule));
        let len = usize_from(length);
        if length > max_length(kind, &self.config.limits) {
            return violation(CloseCode::TOO_LARGE, "over its limit");
        }
        self.statistics_of(kind, id).add(len.saturating_add(HEADER_LEN));
        if !kind.is_known() && !kind.is_skippable() {
            return violation(CloseCode::UNSUPPORTED, "unknown kind");
        }
        if matches!(kind, Kind::HELLO | Kind::AUTH | Kind::RESUME) {
            return violation(CloseCode::PROTOCOL, "the handshake is over");
        }
        if kind.is_known() {
            header.check_id()?;
        }
        if let Some(lane) = lane_of(kind, id) {
            if kind == Kind::PART && length < 1024 {
                return violation(CloseCode::MALFORMED, "a fragment below 1024 bytes");
            }
            if let Err(code) = self.receive.get(lane).check(len, self.accepts()) {
                return violation(code, "more than is accepted of a lane");
            }
        } else if kind == Kind::DATA {
            if length == 0 {
                return violation(CloseCode::MALFORMED, "empty");
            }
            self.check_data(now, header)?;
        }
        Ok(())
    }

    fn handle_piece<'a>(
        &mut self,
        now: Time,
        data: &'a [u8],
        last: bool,
    ) -> Result<Option<Event<'a>>, Error> {
        let Some(link) = &mut self.link else { return Ok(None) };
        let Some(header) = link.header else { return Ok(None) };
        if header.kind == Kind::DATA {
            return Ok(self.handle_data(now, header, data, last));
        }
        let whole = last && data.len() == usize_from(header.length);
        if let Some(lane) = lane_of(header.kind, header.id) {
            let lane = self.receive.get_mut(lane);
            if whole && header.kind != Kind::PART && !lane.is_in_item() {
                return self.handle_frame(now, header, Cow::Borrowed(data));
            }
            lane.append(data);
            if !last {
                return Ok(None);
            }
            if header.kind == Kind::PART {
                self.owe_for_bulk(now, usize_from(header.length), true);
                self.budget.earn(usize_from(header.length));
                return Ok(None);
            }
            let parts = lane.take_parts();
            return self.handle_frame(now, header, Cow::Owned(parts));
        }
        if whole {
            return self.handle_frame(now, header, Cow::Borrowed(data));
        }
        link.assembly.extend_from_slice(data);
        if !last {
            return Ok(None);
        }
        let assembly = core::mem::take(&mut link.assembly);
        self.handle_frame(now, header, Cow::Owned(assembly))
    }

    /// A frame, or an item put together, is whole.
    fn handle_frame<'a>(
        &mut self,
        now: Time,
        header: Header,
        payload: Cow<'a, [u8]>,
    ) -> Result<Option<Event<'a>>, Error> {
        let payload = match (payload, lane_of(header.kind, header.id)) {
            // An empty frame ends an item that came in parts.
            (Cow::Borrowed([]), Some(lane)) if self.receive.get(lane).is_in_item() => {
                Cow::Owned(self.receive.get_mut(lane).take_parts())
            }
            (payload, _) => payload,
        };
        match payload {
            Cow::Borrowed(payload) => self.dispatch(now, header, payload),
            Cow::Owned(payload) => Ok(self.dispatch(now, header, &payload)?.map(Event::into_owned)),
        }
    }

    fn dispatch<'a>(
        &mut self,
        now: Time,
        header: Header,
        payload: &'a [u8],
    ) -> Result<Option<Event<'a>>, Error> {
        let kind = header.kind;
        if let Some(lane) = lane_of(kind, header.id) {
            return self.handle_item(now, lane, header, payload);
        }
        match kind {
            Kind::ACK => self.handle_ack(now, Ack::decode(payload)?)?,
            Kind::PING => {
                let ping = Ping::decode(payload)?;
                self.spend(now, kind)?;
                if let Some(link) = &mut self.link {
                    link.ping.answer = Some(ping.token);
                }
            }
            Kind::PONG => self.handle_pong(now, &Ping::decode(payload)?)?,
            Kind::CREDIT => {
                let credit = Credit::decode(payload)?;
                self.handle_credit(now, self.transfer_of(header)?, credit)?;
            }
            Kind::START => {
                let start = Start::decode(payload)?;
                let transfer = self.transfer_of(header)?;
                self.owe_ack(now);
                return self.handle_start(now, transfer, start.offset);
            }
            Kind::SIGNAL => {
                let signal = Signal::decode(payload)?;
                self.spend(now, kind)?;
                self.owe_ack(now);
                return Ok(Some(Event::Signal(signal)));
            }
            Kind::GOODBYE => {
                let goodbye = Goodbye::decode(payload)?;
                self.handle_goodbye(now, goodbye.code);
                return Ok(Some(Event::Goodbye { code: goodbye.code, text: goodbye.text }));
            }
            _ => {
                self.spend(now, kind)?;
                self.statistics.late_frames = self.statistics.late_frames.saturating_add(1);
                self.owe_ack(now);
            }
        }
        Ok(None)
    }

    /// After our GOODBYE: acknowledgements count, and the peer's GOODBYE.
    fn receive_last<'a>(
        &mut self,
        now: Time,
        input: &'a [u8],
    ) -> Result<(usize, Option<Event<'a>>), Error> {
        let mut used: usize = 0;
        while let Some(rest) = input.get(used..).filter(|rest| !rest.is_empty()) {
            let Some(link) = &mut self.link else { break };
            let (taken, piece) = link.decoder.decode(rest);
            used = used.saturating_add(taken);
            link.received = link.received.saturating_add(taken as u64);
            let (data, last) = match piece {
                None => continue,
                Some(Piece::Header(header)) => {
                    link.assembly.clear();
                    link.header = Some(header);
                    continue;
                }
                Some(Piece::Payload { data, last }) => (data, last),
            };
            let Some(header) = link.header else { continue };
            let is_heard = matches!(header.kind, Kind::ACK | Kind::GOODBYE)
                && header.length <= max_length(header.kind, &self.config.limits);
            if !is_heard {
                continue;
            }
            link.assembly.extend_from_slice(data);
            if !last {
                continue;
            }
            let payload = core::mem::take(&mut link.assembly);
            if header.kind == Kind::ACK {
                self.handle_ack(now, Ack::decode(&payload)?)?;
            } else {
                let goodbye = Goodbye::decode(&payload)?.into_owned();
                self.finish_closing(true);
                self.abort_link();
                let event = Event::Goodbye { code: goodbye.code, text: goodbye.text };
                return Ok((input.len(), Some(event)));
            }
        }
        Ok((used, None))
    }

    fn handle_ack(&mut self, now: Time, ack: Ack) -> Result<(), Error> {
        let violation = |rule| Err(Error::violation(CloseCode::PROTOCOL, Kind::ACK, rule));
        let Some(link) = &mut self.link else { return Ok(()) };
        if ack.received > link.sent || ack.received < link.reported {
            return violation("bytes that were not sent");
        }
        let mut has_news = ack.received > link.reported;
        link.reported = ack.received;
        link.pacer.on_received(now, ack.received);
        let [chat, control] = ack.next;
        for (lane, next) in [(Lane::Chat, chat), (Lane::Control, control)] {
            let delivered = match self.send.made(lane) {
                Some(sent) => sent.acknowledge(next, ack.received),
                None => (next == 0).then_some(0..0),
            };
            let Some(delivered) = delivered else {
                return violation("items that were not sent, or have not arrived");
            };
            if !delivered.is_empty() {
                has_news = true;
                self.on_delivered(lane, delivered);
            }
        }
        if has_news { Ok(()) } else { self.spend(now, Kind::ACK) }
    }

    fn handle_pong(&mut self, now: Time, pong: &Ping) -> Result<(), Error> {
        let Some(link) = &mut self.link else { return Ok(()) };
        match link.ping.outstanding {
            Some((token, Some(sent))) if token.to_be_bytes() == pong.token => {
                link.ping.outstanding = None;
                link.pacer.add_round_trip(now, now.saturating_duration_since(sent));
                Ok(())
            }
            _ => self.spend(now, Kind::PONG),
        }
    }

    /// The transfer that a header names, which `check_id` has found well-formed.
    pub(super) fn transfer_of(&self, header: Header) -> Result<TransferId, Error> {
        TransferId::from_wire(header.id).ok_or_else(|| {
            Error::violation(CloseCode::MALFORMED, header.kind, "the id of a transfer")
        })
    }

    /// A frame made no progress.
    pub(super) fn spend(&mut self, now: Time, kind: Kind) -> Result<(), Error> {
        if self.budget.spend(now) {
            Ok(())
        } else {
            Err(Error::violation(CloseCode::FLOOD, kind, "too many frames without progress"))
        }
    }

    /// An ACK is owed for what came.
    pub(super) fn owe_ack(&mut self, now: Time) {
        if let Some(link) = &mut self.link {
            link.acknowledgement.owe(now);
        }
    }

    pub(super) fn owe_for_bulk(&mut self, now: Time, len: usize, is_end: bool) {
        if let Some(link) = &mut self.link {
            link.acknowledgement.owe_for_bulk(now, len, is_end);
        }
    }

    fn statistics_of(&mut self, kind: Kind, id: u32) -> &mut super::statistics::Count {
        let received = &mut self.statistics.received;
        match lane_of(kind, id) {
            Some(Lane::Chat) => &mut received.chat,
            Some(Lane::Control) => &mut received.messages,
            None if kind == Kind::DATA => &mut received.data,
            None => &mut received.control,
        }
    }

    pub(super) fn abort_link(&mut self) {
        if let Some(link) = &mut self.link {
            Link::abort(link);
        }
    }
}

/// The lane that a frame is part of, if any.
pub(super) fn lane_of(kind: Kind, id: u32) -> Option<Lane> {
    match kind {
        Kind::CHAT => Some(Lane::Chat),
        Kind::PART if id == 0 => Some(Lane::Chat),
        Kind::PART => Some(Lane::Control),
        kind if kind.ends_item() => Some(Lane::Control),
        _ => None,
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use alloc::vec::Vec;
    use core::time::Duration;

    use super::*;
    use crate::proto::{Acceptor, Config, StreamParameters};

    const NOW: Time = Time::from_micros(1_000_000);

    fn sent(machine: &mut Connection, now: Time) -> Vec<u8> {
        let bytes: Vec<u8> = machine.poll_transmit(now).into_iter().flatten().copied().collect();
        machine.advance_transmit(bytes.len());
        bytes
    }

    /// Takes input frame by frame, and all that it tells.
    fn give(machine: &mut Connection, now: Time, mut input: &[u8]) {
        while !input.is_empty() {
            let (taken, event) = machine.handle_input(now, input).unwrap();
            input = &input[taken..];
            if let Some(item) = event.and_then(|event| event.item()) {
                machine.take(now, item);
            }
            while machine.poll_event().is_some() {}
        }
    }

    /// A client whose two lines are taken, and the ACK that says so.
    fn acknowledged() -> (Connection, Time, Vec<u8>) {
        let parameters = |seed| StreamParameters::new([seed; 32]);
        let mut client = Connection::client(Config::default(), parameters(1), NOW);
        let mut acceptor = Acceptor::new(Config::default(), parameters(2), NOW);
        acceptor.handle_input(NOW, &sent(&mut client, NOW)).unwrap();
        let mut server = acceptor.accept(NOW).unwrap();
        for is_open in [false, true] {
            for _ in 0..2 {
                give(&mut client, NOW, &sent(&mut server, NOW));
                give(&mut server, NOW, &sent(&mut client, NOW));
            }
            if !is_open {
                client.accept_peer(NOW).unwrap();
                server.accept_peer(NOW).unwrap();
            }
        }
        for text in ["one", "two"] {
            client.send_chat(&crate::wire::Chat::new(text)).unwrap();
        }
        give(&mut server, NOW, &sent(&mut client, NOW));
        let later = NOW.saturating_add(Duration::from_millis(30));
        server.handle_timeout(later);
        let ack = sent(&mut server, later);
        assert_eq!(ack.len(), ACK_LEN);
        (client, later, ack)
    }

    #[test]
    fn an_ack_by_the_short_way_does_what_it_does_by_the_long_one() {
        let told = |is_short: bool| {
            let (mut client, now, ack) = acknowledged();
            let taken = if is_short {
                client.handle_acknowledgement(now, &ack)
            } else {
                client.handle_input(now, &ack).unwrap().0
            };
            assert_eq!(taken, ACK_LEN);
            let events: Vec<_> = core::iter::from_fn(|| client.poll_event()).collect();
            assert_eq!(events.len(), 1);
            let link = client.link.as_ref().unwrap();
            let counts = (link.received, link.reported, link.last_input);
            (events, counts, client.statistics(), client.poll_timeout())
        };
        assert_eq!(told(true), told(false));
    }

    #[test]
    fn an_ack_that_is_not_whole_or_not_as_it_should_be_goes_the_long_way() {
        let (mut client, now, ack) = acknowledged();
        for place in [0, 2, 3, 7] {
            let mut other = ack.clone();
            other[place] ^= 1;
            assert_eq!(client.handle_acknowledgement(now, &other), 0, "byte {place}");
        }
        assert_eq!(client.handle_acknowledgement(now, &ack[..ACK_LEN - 1]), 0);
        assert_eq!(client.handle_input(now, &ack[..1]).unwrap().0, 1);
        assert_eq!(client.handle_acknowledgement(now, &ack), 0, "it is in a frame");
        assert_eq!(client.handle_input(now, &ack[1..]).unwrap().0, ACK_LEN - 1);

        let (mut client, now, mut ack) = acknowledged();
        ack[ACK_LEN - 4] = 1;
        assert_eq!(client.handle_acknowledgement(now, &ack), 0);
        let error = client.handle_input(now, &ack).unwrap_err();
        assert_eq!(error.code(), Some(CloseCode::PROTOCOL), "bytes that were not sent");
    }
}
