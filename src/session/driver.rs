use core::fmt;
use core::future::Future;
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

use super::accept::Resumption;
use super::detached::Detached;
use super::outcome::{Ended, Outcome};
use super::read_buffer::{ReadBuffer, SMALL};
use super::shared::{Shared, State};
use super::transmit::Writer;
use crate::io::TransportError;
use crate::proto::Event;
use crate::time::{Time, Timer};
use crate::wire::TransferId;

/// Bytes that one poll reads and writes about at most before other tasks get a turn.
const WORK: usize = 1 << 20;
/// Turns that one poll takes at most, for transports that move a few bytes at a time.
const TURNS: usize = 64;
/// After so many bytes without a chance to write, a read that was filled to its end is not read on from:
/// an acknowledgement for each read costs a system call, which one for a few of them does not.
const READ_AHEAD: usize = 512 << 10;
/// After so long without a byte the memory that queues keep for the next ones is given back. It is more
/// than a turn of many conversations takes, so that one that talks in turn with others keeps its memory.
const IDLE: Duration = Duration::from_millis(250);

/// Moves the bytes of a conversation: the one place that does I/O.
///
/// Spawn it, or poll it beside the application; nothing moves otherwise. It resolves to
/// [`Outcome::Ended`] once the conversation has ended and its last words are written, or to
/// [`Outcome::Detached`] when the stream broke and the conversation can go on over another one.
///
/// One poll does a bounded amount of work. Reads never wait for writes, nor for the application:
/// all that comes in is bounded by what the peer may send ahead.
///
/// # Cancel safety
///
/// Dropping it aborts the conversation: every handle is told that it has ended, and the peer finds
/// its stream broken.
#[must_use = "nothing moves unless the driver is polled"]
pub struct Driver<IO, T> {
    io: IO,
    timer: Option<T>,
    shared: Arc<Shared>,
    reader: ReadBuffer,
    writer: Writer,
    /// Bytes that were read before the driver began.
    head: Bytes,
    pieces: Vec<Piece>,
    armed: Option<Time>,
    /// When the machine wants to be called, as it said last.
    due: Option<Time>,
    linger: Option<Time>,
    /// When memory is given back, if no byte comes or goes until then; or the end of time.
    idle_due: Time,
    transport_error: Option<TransportError>,
    /// Nothing can be written any more; what has come is read first.
    write_error: Option<TransportError>,
    is_read_ended: bool,
    /// Bytes that were read since there was a chance to write.
    unanswered: usize,
    /// What still comes is thrown away.
    discards: bool,
    is_write_closed: bool,
}

/// Data of one frame, by its place in the buffer that was read.
struct Piece {
    transfer: TransferId,
    offset: u64,
    start: usize,
    end: usize,
}

impl<IO, T> fmt::Debug for Driver<IO, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("is_read_ended", &self.is_read_ended)
            .field("is_write_closed", &self.is_write_closed)
            .finish_non_exhaustive()
    }
}

impl<IO, T> Driver<IO, T> {
    pub(super) fn new(io: IO, timer: T, shared: Arc<Shared>, head: Bytes) -> Self {
        let window = shared.with(|state| {
            state.is_write_blocked = false;
            state.connection.config().receive_window()
        });
        Self {
            io,
            timer: Some(timer),
            shared,
            reader: ReadBuffer::new(window),
            writer: Writer::new(),
            head,
            pieces: Vec::new(),
            armed: None,
            due: None,
            linger: None,
            idle_due: Time::MAX,
            transport_error: None,
            write_error: None,
            is_read_ended: false,
            unanswered: 0,
            discards: false,
            is_write_closed: false,
        }
    }

    /// Leaves it to the application to decide on the peer: [`Event::PeerHello`] and
    /// [`Event::Authentication`] wait for [`accept_peer`] or [`refuse_peer`], on every stream. By
    /// default every peer is accepted, which is right where the stream has authenticated it already,
    /// or nobody is refused.
    ///
    /// [`Event::PeerHello`]: super::Event::PeerHello
    /// [`Event::Authentication`]: super::Event::Authentication
    /// [`accept_peer`]: super::Session::accept_peer
    /// [`refuse_peer`]: super::Session::refuse_peer
    pub fn ask_for_peer(self) -> Self {
        self.shared.with(|state| state.asks_for_peer = true);
        self
    }
}

impl<IO, T: Timer + Unpin> Driver<IO, T> {
    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Goes on over the stream that the client came back with, before this one was known to be
    /// broken.
    pub(super) fn supersede(
        mut self,
        resumption: Resumption<IO>,
    ) -> Result<Self, Box<(Self, Resumption<IO>)>> {
        let Some(timer) = &self.timer else { return Err(Box::new((self, resumption))) };
        let now = timer.now();
        let Resumption { io, resuming, head } = resumption;
        let resumed = self.shared.with(|state| {
            state.now = now;
            state.connection.resume(*resuming, now)
        });
        match (resumed, self.timer.take()) {
            (Ok(()), Some(timer)) => Ok(Self::new(io, timer, Arc::clone(&self.shared), head)),
            (Ok(()), None) => Ok(self),
            (Err(resuming), timer) => {
                self.timer = timer;
                Err(Box::new((self, Resumption { io, resuming, head })))
            }
        }
    }
}

impl<IO, T> Drop for Driver<IO, T> {
    fn drop(&mut self) {
        // Without its timer it has resolved.
        if self.timer.is_some() {
            self.shared.with(State::abort);
        }
    }
}

impl<IO, T> Future for Driver<IO, T>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    T: Timer + Unpin,
{
    type Output = Outcome<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome<T>> {
        let this = &mut *self;
        let mut work: usize = 0;
        // All is done but what has not come: until when.
        let mut settled = None;
        for _ in 0..TURNS {
            if this.timer.is_none() {
                return Poll::Pending;
            }
            if let Some(turn) = this.turn(cx, settled.is_some()) {
                if turn.is_over {
                    if let Some(outcome) = this.outcome() {
                        return Poll::Ready(outcome);
                    }
                }
                work = work.saturating_add(turn.moved);
                settled = (!turn.has_more).then_some((turn.now, turn.deadline));
                if turn.has_read && work < WORK {
                    continue;
                }
            }
            if work >= WORK {
                break;
            }
            if let Some((now, deadline)) = settled.take() {
                if this.poll_timer(cx, now, deadline) {
                    return Poll::Pending;
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// What a turn brought.
struct Turn {
    now: Time,
    /// Whether anything was read: more may be there.
    has_read: bool,
    /// Bytes read and written.
    moved: usize,
    /// Whether there is more to do, whatever comes.
    has_more: bool,
    is_over: bool,
    deadline: Option<Time>,
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

impl<IO, T> Driver<IO, T>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    T: Timer + Unpin,
{
    /// Reads once, lets the machine and the handles have it, and writes what there is to write;
    /// `None` if that was settled and nothing has come.
    fn turn(&mut self, cx: &mut Context<'_>, is_settled: bool) -> Option<Turn> {
        if !self.head.is_empty() {
            let head = mem::take(&mut self.head);
            return Some(self.process(cx, Input::Bytes(head.len()), &head, None));
        }
        let Some(mut memory) = self.reader.take() else {
            let mut small = [0; SMALL];
            let input = self.poll_read(cx, &mut small);
            let is_idle = is_settled && input.is_pending();
            return (!is_idle).then(|| self.process(cx, input, &small, None));
        };
        let input = self.poll_read(cx, &mut memory);
        if is_settled && input.is_pending() {
            self.reader.put(memory);
            return None;
        }
        Some(self.process(cx, input, &[], Some(memory)))
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
        input: Input,
        borrowed: &[u8],
        owned: Option<Box<[u8]>>,
    ) -> Turn {
        let now = self.timer.as_ref().map_or(Time::ZERO, Timer::now);
        let shared = Arc::clone(&self.shared);
        shared.with(|state| {
            state.apply_requests(now);
            let (mut moved, mut fills) = (0, false);
            match input {
                Input::Bytes(len) => {
                    moved = len;
                    fills = owned.as_ref().is_some_and(|memory| memory.len() == len);
                    let bytes = owned.as_deref().unwrap_or(borrowed);
                    self.feed(state, now, bytes.get(..len).unwrap_or_default());
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
                return Turn {
                    now,
                    has_read: true,
                    moved,
                    has_more: true,
                    is_over: false,
                    deadline: None,
                };
            }
            self.finish_turn(cx, state, now, moved)
        })
    }

    /// Gives the machine what was read, and remembers where in it data is.
    fn feed(&mut self, state: &mut State, now: Time, input: &[u8]) {
        let mut used: usize = 0;
        while let Some(rest) = input.get(used..).filter(|rest| !rest.is_empty()) {
            if self.discards {
                return;
            }
            let lines = state.take_chats(now, rest);
            if lines > 0 {
                used = used.saturating_add(lines);
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
                        None if taken == 0 => return,
                        None => {}
                    }
                    state.route_all();
                }
                // An event tells why.
                Err(_) => self.discards = true,
            }
        }
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
        self.tell_pieces(state, |piece| memory.slice(piece.start..piece.end));
    }

    fn copy_pieces(&mut self, state: &mut State, input: &[u8]) {
        self.tell_pieces(state, |piece| {
            Bytes::copy_from_slice(input.get(piece.start..piece.end).unwrap_or_default())
        });
    }

    /// Hands on what came, those of one transfer together.
    fn tell_pieces(&mut self, state: &mut State, mut data: impl FnMut(&Piece) -> Bytes) {
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
        self.unanswered = 0;
        if self.due.is_none_or(|due| due <= now) {
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
        // What they caused may have to be written.
        has_more |= state.route_all() || self.write_error.is_some();
        let is_over = self.is_over(state, now);
        if !state.driver.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            let replaced = state.driver.replace(cx.waker().clone());
            state.wake.forget(replaced);
        }
        self.give_back_when_idle(state, now, moved);
        self.due = state.connection.poll_timeout();
        let own = [state.rates_due, state.rate_limit.deadline(), state.alarms.deadline()];
        let deadline = [self.due, self.linger]
            .into_iter()
            .chain(own)
            .fold(self.idle_due, |first, due| first.min(due.unwrap_or(Time::MAX)));
        let deadline = (deadline < Time::MAX).then_some(deadline);
        Turn { now, has_read, moved, has_more, is_over, deadline }
    }

    /// Gives back what queues keep for the next frames once nothing has come or gone for a while.
    fn give_back_when_idle(&mut self, state: &mut State, now: Time, moved: usize) {
        if moved > 0 {
            self.idle_due = now.saturating_add(IDLE);
        } else if self.idle_due <= now {
            self.idle_due = Time::MAX;
            state.shrink_to_fit();
            self.pieces = Vec::new();
            self.writer.shrink();
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
        let is_detached = state.connection.is_detached() && state.connection.is_stream_over();
        if !state.connection.is_closed() && !is_detached {
            return false;
        }
        self.discards = true;
        let timeout = state.connection.config().close_timeout();
        let linger = *self.linger.get_or_insert_with(|| now.saturating_add(timeout));
        // Closing while bytes of the peer's come would reset the stream, and destroy last words.
        (self.is_write_closed && (is_detached || self.is_read_ended)) || linger <= now
    }

    /// Arms the timer if it has to fire earlier than it would; whether there is anything to wait for.
    fn poll_timer(&mut self, cx: &mut Context<'_>, now: Time, deadline: Option<Time>) -> bool {
        let Some(timer) = &mut self.timer else { return true };
        let Some(deadline) = deadline else { return true };
        if deadline <= now {
            return false;
        }
        if self.armed.is_none_or(|armed| deadline < armed) {
            Pin::new(&mut *timer).reset(deadline);
            self.armed = Some(deadline);
        }
        if Pin::new(&mut *timer).poll(cx).is_pending() {
            return true;
        }
        if self.armed.take().is_some_and(|armed| armed > timer.now()) {
            // It fired before its time: others may have a turn first.
            cx.waker().wake_by_ref();
            return true;
        }
        self.reader.on_timer(now);
        false
    }

    /// Lets go of the conversation.
    fn outcome(&mut self) -> Option<Outcome<T>> {
        let timer = self.timer.take()?;
        let transport = self.transport_error.take();
        let reason = self.shared.with(|state| {
            state.has_driver = false;
            state.is_write_blocked = false;
            let driver = state.driver.take();
            state.wake.forget(driver);
            state.shrink_to_fit();
            state.ended()
        });
        Some(match reason {
            Some(reason) => Outcome::Ended(Ended { reason, transport }),
            None => Outcome::Detached(Detached::new(Arc::clone(&self.shared), timer, transport)),
        })
    }
}

impl Piece {
    fn len(&self) -> usize {
        self.end.saturating_sub(self.start)
    }
}
