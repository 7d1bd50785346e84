//! One turn of the driver: what came goes to the machine and the handles, and what there is to send
//! to the transport.

use core::mem;
use core::pin::Pin;
use core::ptr;
use core::task::{Context, Poll};
use core::time::Duration;
use std::boxed::Box;
use std::io::ErrorKind;
use std::sync::Arc;
use std::vec::Vec;

use bytes::Bytes;
use futures::io::{AsyncRead, AsyncWrite};

use super::read_buffer::{ReadBuffer, Room, SMALL, TINY};
use super::shared::{Shared, State};
use super::transmit::Writer;
use crate::io::TransportError;
use crate::proto::Event;
use crate::time::{Time, Timer};
use crate::wire::TransferId;

/// Bytes that one poll reads and writes about at most before other tasks get a turn.
pub(super) const WORK: usize = 1 << 20;
/// After so many bytes without a chance to write, a read that was filled to its end is not read on from:
/// an acknowledgement for each read costs a system call, which one for a few of them does not.
const READ_AHEAD: usize = 512 << 10;
/// After so long without a byte the memory that queues keep for the next ones is given back. It is more
/// than a turn of many conversations takes, so that one that talks in turn with others keeps its memory.
const IDLE: Duration = Duration::from_millis(250);

/// What the driver moves bytes with, under the lock of the conversation.
pub(super) struct Pump<IO> {
    io: IO,
    reader: ReadBuffer,
    writer: Writer,
    /// Bytes that were read before the driver began.
    head: Bytes,
    pieces: Vec<Piece>,
    /// The time of this turn, and when the next is due if nothing happens before; or the end of time.
    pub(super) now: Time,
    pub(super) deadline: Time,
    /// When the machine wants to be called, as it said last; or the end of time, as of what follows.
    due: Time,
    linger: Time,
    /// When memory is given back, if no byte comes or goes until then.
    idle_due: Time,
    transport_error: Option<TransportError>,
    /// Nothing can be written any more; what has come is read first.
    write_error: Option<TransportError>,
    pub(super) is_read_ended: bool,
    /// Bytes that were read since there was a chance to write.
    unanswered: usize,
    /// The application was given its turn since there was a chance to write.
    gave_way: bool,
    /// What still comes is thrown away.
    discards: bool,
    pub(super) is_write_closed: bool,
}

/// What a turn brought: small, as there are two of them for each line.
pub(super) struct Turn {
    /// Bytes read and written.
    pub(super) moved: usize,
    /// Whether anything was read: more may be there.
    pub(super) has_read: bool,
    /// Whether there is more to do, whatever comes.
    pub(super) has_more: bool,
    pub(super) is_over: bool,
    /// Whether the application has the next turn, and the driver is woken to go on after it.
    pub(super) gives_way: bool,
}

impl Turn {
    /// One that has read, and has more to do.
    fn unfinished(moved: usize, gives_way: bool) -> Self {
        Self { moved, has_read: true, has_more: true, is_over: false, gives_way }
    }
}

/// What a read brought.
enum Input {
    Bytes(usize),
    Ended,
    Failed(TransportError),
    Pending,
}

impl Input {
    fn is_pending(&self) -> bool {
        matches!(self, Self::Pending)
    }
}

/// Data of one frame, by its place in the buffer that was read.
struct Piece {
    transfer: TransferId,
    offset: u64,
    start: usize,
    end: usize,
}

impl<IO> Pump<IO> {
    /// One that reads into `reader`, and begins with `head`.
    pub(super) fn new(io: IO, reader: ReadBuffer, head: Bytes) -> Self {
        Self {
            io,
            reader,
            writer: Writer::new(),
            head,
            pieces: Vec::new(),
            now: Time::ZERO,
            deadline: Time::MAX,
            due: Time::ZERO,
            linger: Time::MAX,
            idle_due: Time::MAX,
            transport_error: None,
            write_error: None,
            is_read_ended: false,
            unanswered: 0,
            gave_way: false,
            discards: false,
            is_write_closed: false,
        }
    }

    /// What the stream failed with.
    pub(super) fn take_error(&mut self) -> Option<TransportError> {
        self.transport_error.take()
    }
}

impl<IO> Pump<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    /// Reads once, lets the machine and the handles have it, and writes what there is to write;
    /// `None` if that was settled and nothing has come.
    pub(super) fn turn<T: Timer>(
        &mut self,
        cx: &mut Context<'_>,
        shared: &Shared,
        timer: &T,
        is_settled: bool,
    ) -> Option<Turn> {
        if !self.head.is_empty() {
            let head = mem::take(&mut self.head);
            let input = Input::Bytes(head.len());
            let now = timer.now();
            return Some(shared.with(|state| self.process(cx, state, now, input, &head, None)));
        }
        let mut memory = match self.reader.take() {
            Room::Tiny => return self.turn_with(cx, shared, timer, is_settled, &mut [0; TINY]),
            Room::Small => return self.turn_with(cx, shared, timer, is_settled, &mut [0; SMALL]),
            Room::Large(memory) => memory,
        };
        let input = self.poll_read(cx, &mut memory);
        if is_settled && input.is_pending() {
            self.reader.put(memory);
            return None;
        }
        let now = timer.now();
        Some(shared.with(|state| self.process(cx, state, now, input, &[], Some(memory))))
    }

    /// A turn that reads into memory that is not kept.
    fn turn_with<T: Timer>(
        &mut self,
        cx: &mut Context<'_>,
        shared: &Shared,
        timer: &T,
        is_settled: bool,
        memory: &mut [u8],
    ) -> Option<Turn> {
        let input = self.poll_read(cx, memory);
        if is_settled && input.is_pending() {
            return None;
        }
        let now = timer.now();
        Some(shared.with(|state| self.process(cx, state, now, input, memory, None)))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Input {
        if self.is_read_ended {
            return Input::Pending;
        }
        for _ in 0..TransportError::MAX_INTERRUPTIONS {
            return match Pin::new(&mut self.io).poll_read(cx, buffer) {
                Poll::Ready(Ok(0)) => Input::Ended,
                Poll::Ready(Ok(claimed)) if claimed > buffer.len() => {
                    let offered = buffer.len();
                    Input::Failed(TransportError::Overrun { claimed, offered })
                }
                Poll::Ready(Ok(len)) => {
                    self.reader.note(len, buffer.len());
                    Input::Bytes(len)
                }
                Poll::Ready(Err(error)) if error.kind() == ErrorKind::Interrupted => continue,
                Poll::Ready(Err(error)) => Input::Failed(error.into()),
                Poll::Pending => Input::Pending,
            };
        }
        Input::Failed(TransportError::Interrupted)
    }

    fn process(
        &mut self,
        cx: &mut Context<'_>,
        state: &mut State,
        now: Time,
        input: Input,
        borrowed: &[u8],
        owned: Option<Box<[u8]>>,
    ) -> Turn {
        self.now = now;
        state.apply_requests(now);
        let (mut moved, mut fills, mut is_awaited) = (0, false, false);
        match input {
            Input::Bytes(len) => {
                moved = len;
                fills = owned.as_ref().is_some_and(|memory| memory.len() == len);
                let bytes = owned.as_deref().unwrap_or(borrowed);
                is_awaited = self.feed(state, now, bytes.get(..len).unwrap_or_default());
                self.hand_out(state, borrowed, owned);
            }
            other => {
                if let Some(memory) = owned {
                    self.reader.put(memory);
                }
                match other {
                    Input::Ended => {
                        self.is_read_ended = true;
                        state.connection.handle_eof(now);
                    }
                    Input::Failed(error) => self.fail(state, now, error),
                    Input::Bytes(_) | Input::Pending => {}
                }
            }
        }
        self.unanswered = self.unanswered.saturating_add(moved);
        if fills && self.unanswered <= READ_AHEAD {
            state.route_all();
            return Turn::unfinished(moved, false);
        }
        if is_awaited && self.may_give_way(state) {
            self.gave_way = true;
            state.wake_again(cx);
            return Turn::unfinished(moved, true);
        }
        self.finish_turn(cx, state, now, moved)
    }

    /// Whether the application, which waits for what came, may have its turn before this one is
    /// finished: what it does wakes the driver in any case, if only to take what came, and an answer
    /// goes with all that is left to do. Not twice in a row, and not while something is to be sent.
    fn may_give_way(&self, state: &State) -> bool {
        !self.gave_way && !self.discards && !state.connection.has_anything_to_send()
    }

    /// Gives the machine what was read, and remembers where in it data is. Says whether somebody waited
    /// for a line that was in it.
    fn feed(&mut self, state: &mut State, now: Time, input: &[u8]) -> bool {
        let (mut used, mut is_awaited) = (0_usize, false);
        while let Some(rest) = input.get(used..).filter(|rest| !rest.is_empty()) {
            if self.discards {
                break;
            }
            let acknowledged = state.connection.handle_acknowledgement(now, rest);
            if acknowledged > 0 {
                used = used.saturating_add(acknowledged);
                state.route_all();
                continue;
            }
            let (lines, is_awaited_now) = state.take_chats(now, rest);
            if lines > 0 {
                used = used.saturating_add(lines);
                is_awaited |= is_awaited_now;
                continue;
            }
            let pieces = &mut self.pieces;
            let bulk = state.connection.handle_bulk(now, rest, |transfer, offset, place| {
                let start = used.saturating_add(place.start);
                pieces.push(Piece { transfer, offset, start, end: used.saturating_add(place.end) });
            });
            if bulk > 0 {
                used = used.saturating_add(bulk);
                continue;
            }
            match state.connection.handle_input(now, rest) {
                Ok((taken, event)) => {
                    used = used.saturating_add(taken);
                    match event {
                        Some(Event::Data { transfer, offset, data }) => {
                            // The machine stops after a frame's data: it is the end of what it took.
                            let (start, end) = (used.saturating_sub(data.len()), used);
                            if input.get(start..end).is_some_and(|tail| ptr::eq(tail, &*data)) {
                                self.pieces.push(Piece { transfer, offset, start, end });
                            } else {
                                self.copy_pieces(state, input);
                                state.on_data(transfer, [(offset, Bytes::copy_from_slice(&data))]);
                            }
                        }
                        Some(event) => {
                            if matches!(event, Event::Started { .. }) {
                                self.copy_pieces(state, input);
                            }
                            state.route(event);
                        }
                        None if taken == 0 => break,
                        None => {}
                    }
                    state.route_all();
                }
                // An event tells why.
                Err(_) => self.discards = true,
            }
        }
        is_awaited
    }

    /// Hands out the data of what was read: slices of the buffer if it is mostly data, or copies.
    fn hand_out(&mut self, state: &mut State, borrowed: &[u8], owned: Option<Box<[u8]>>) {
        let Some(memory) = owned else {
            self.copy_pieces(state, borrowed);
            return;
        };
        let data = self.pieces.iter().fold(0_usize, |sum, piece| sum.saturating_add(piece.len()));
        if data == 0 || !self.reader.may_pin(&memory, data) {
            self.copy_pieces(state, &memory);
            self.reader.put(memory);
            return;
        }
        let memory = self.reader.pin(memory);
        state.read_pool.get_or_insert_with(|| Arc::clone(self.reader.pool()));
        self.tell_pieces(state, |piece| memory.slice(piece.start..piece.end));
    }

    fn copy_pieces(&mut self, state: &mut State, input: &[u8]) {
        self.tell_pieces(state, |piece| {
            Bytes::copy_from_slice(input.get(piece.start..piece.end).unwrap_or_default())
        });
    }

    /// Hands on what came, those of one transfer together.
    fn tell_pieces(&mut self, state: &mut State, mut data: impl FnMut(&Piece) -> Bytes) {
        if self.pieces.is_empty() {
            return;
        }
        for run in self.pieces.chunk_by(|one, next| one.transfer == next.transfer) {
            let Some(first) = run.first() else { continue };
            state.on_data(first.transfer, run.iter().map(|piece| (piece.offset, data(piece))));
        }
        self.pieces.clear();
    }

    /// The stream is broken.
    fn fail(&mut self, state: &mut State, now: Time, error: TransportError) {
        self.is_read_ended = true;
        self.is_write_closed = true;
        self.transport_error = Some(error);
        state.connection.handle_disconnect(now);
    }

    /// Lets time pass, writes, and finds out what to wait for.
    fn finish_turn(
        &mut self,
        cx: &mut Context<'_>,
        state: &mut State,
        now: Time,
        mut moved: usize,
    ) -> Turn {
        let has_read = moved > 0;
        // Turns that were not finished have read, too.
        let read = mem::take(&mut self.unanswered);
        self.gave_way = false;
        if self.due <= now {
            state.connection.handle_timeout(now);
        }
        if let Some(limit) = state.rate_limit.made() {
            limit.fill(now, &mut state.wake);
        }
        state.let_rates_fall(now);
        state.ring(now);
        let mut has_more = false;
        state.is_write_blocked = false;
        if !self.is_write_closed {
            let (io, connection) = (&mut self.io, &mut state.connection);
            match self.writer.poll_write(cx, io, connection, now, WORK) {
                Ok(written) => {
                    moved = moved.saturating_add(written.bytes);
                    has_more = !written.is_done;
                    state.is_write_blocked = written.is_blocked;
                    self.close_write(cx, state);
                }
                Err(error) => {
                    self.is_write_closed = true;
                    self.write_error = Some(error);
                }
            }
        }
        if let Some(error) = self.write_error.take_if(|_| moved == 0) {
            self.fail(state, now, error);
        }
        // What they caused may have to be written, and what they took to be acknowledged.
        has_more |= state.route_all() || state.has_requests() || self.write_error.is_some();
        let is_over = self.is_over(state, now);
        if !state.driver.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            let replaced = state.driver.replace(cx.waker().clone());
            state.wake.forget(replaced);
        }
        self.give_back_when_idle(state, now, moved.max(read));
        self.due = state.connection.poll_timeout().unwrap_or(Time::MAX);
        let mut deadline = self.idle_due;
        let mut at = |due: Option<Time>| deadline = deadline.min(due.unwrap_or(Time::MAX));
        at(Some(self.due));
        at(Some(self.linger));
        at(state.rates_due);
        at(state.rate_limit.deadline());
        at(state.alarms.deadline());
        self.deadline = deadline;
        Turn { moved, has_read, has_more, is_over, gives_way: false }
    }

    /// Gives back what reads and queues keep for the next frames once nothing has come or gone for a while.
    fn give_back_when_idle(&mut self, state: &mut State, now: Time, moved: usize) {
        if moved > 0 {
            self.idle_due = now.saturating_add(IDLE);
        } else if self.idle_due <= now {
            self.idle_due = Time::MAX;
            state.shrink_to_fit();
            self.pieces = Vec::new();
            self.writer.shrink();
            self.reader.shrink();
        }
    }

    /// Ends our half of the stream once the last words are written.
    fn close_write(&mut self, cx: &mut Context<'_>, state: &State) {
        if !state.connection.is_write_closed() || self.is_write_closed {
            return;
        }
        let mut failed = None;
        for _ in 0..TransportError::MAX_INTERRUPTIONS {
            match Pin::new(&mut self.io).poll_close(cx) {
                Poll::Pending => return,
                Poll::Ready(Err(error)) if error.kind() == ErrorKind::Interrupted => {
                    failed = Some(TransportError::Interrupted);
                }
                Poll::Ready(closed) => {
                    failed = closed.err().map(TransportError::from);
                    break;
                }
            }
        }
        // All was written before: if it failed, what the peer still says decides.
        self.is_write_closed = true;
        if let Some(error) = failed {
            self.transport_error.get_or_insert(error);
        }
    }

    /// Whether there is nothing more to do with this stream.
    fn is_over(&mut self, state: &State, now: Time) -> bool {
        if !state.connection.is_closed() && !state.connection.is_stream_over() {
            return false;
        }
        let is_detached = state.connection.is_detached();
        if !state.connection.is_closed() && !is_detached {
            return false;
        }
        self.discards = true;
        let timeout = state.connection.config().close_timeout();
        self.linger = self.linger.min(now.saturating_add(timeout));
        // Closing while bytes of the peer's come would reset the stream, and destroy last words.
        (self.is_write_closed && (is_detached || self.is_read_ended)) || self.linger <= now
    }
}

impl Piece {
    fn len(&self) -> usize {
        self.end.saturating_sub(self.start)
    }
}
