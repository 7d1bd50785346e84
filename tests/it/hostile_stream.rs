//! A peer that speaks the wire by hand, over a stream to a real session.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use duologue::testing::Duplex;
use duologue::wire::{
    ConversationId, Decoder, Frame, Header, Hello, Kind, Limits, PREFACE, Piece, Resume, Side,
};
use futures::io::{AsyncRead, AsyncWriteExt};

/// The client's end of a stream, and what has been heard on it.
pub(crate) struct Wire {
    pub(crate) stream: Duplex,
    decoder: Decoder,
    header: Option<Header>,
    payload: Vec<u8>,
    preface: usize,
}

impl Wire {
    /// Begins a conversation that allows its server as much as can be said.
    pub(crate) async fn open(stream: Duplex, limits: Limits) -> Self {
        let (decoder, header, payload) = Default::default();
        let mut wire = Self { stream, decoder, header, payload, preface: 0 };
        wire.stream.write_all(&PREFACE).await.unwrap();
        let hello = Hello {
            lowest_version: 1,
            highest_version: 1,
            side: Side::Client,
            nonce: [5; 32],
            conversation: ConversationId::new([7; 16]),
            attach: 0,
            stream: 0,
            features: 0,
            limits,
            unknown_critical: None,
        };
        wire.send(0, Frame::Hello(hello)).await;
        wire.send(0, Frame::Resume(Resume::default())).await;
        wire.hear_until(|header, _| header.kind == Kind::RESUME).await;
        wire
    }

    pub(crate) async fn send(&mut self, id: u32, frame: Frame<'_>) {
        let mut bytes = Vec::new();
        frame.encode(id, &mut bytes).unwrap();
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// Any header and payload.
    pub(crate) async fn send_raw(&mut self, kind: Kind, id: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap();
        self.stream.write_all(&Header { length, kind, id }.encode()).await.unwrap();
        self.stream.write_all(payload).await.unwrap();
    }

    /// Hears until there is such a frame.
    pub(crate) async fn hear_until(&mut self, is_it: impl Fn(Header, &Frame<'_>) -> bool) {
        let mut found = false;
        while !found {
            self.hear(|header, frame| found |= is_it(header, &frame)).await;
        }
    }

    /// Waits for bytes, and hears all frames that end in them.
    pub(crate) async fn hear(&mut self, mut each: impl FnMut(Header, Frame<'_>)) {
        let mut buffer = [0; 4096];
        let len = poll_fn(|cx| Pin::new(&mut self.stream).poll_read(cx, &mut buffer)).await;
        let len = len.unwrap();
        assert!(len > 0, "the victim has ended the stream");
        let preface = len.min(PREFACE.len() - self.preface);
        self.preface += preface;
        let mut rest = &buffer[preface..len];
        while !rest.is_empty() {
            let (taken, piece) = self.decoder.decode(rest);
            rest = &rest[taken..];
            match piece {
                Some(Piece::Header(header)) if header.length == 0 => {
                    each(header, Frame::decode(header, &[]).unwrap());
                }
                Some(Piece::Header(header)) => self.header = Some(header),
                Some(Piece::Payload { data, last }) => {
                    self.payload.extend_from_slice(data);
                    if last {
                        let header = self.header.take().unwrap();
                        each(header, Frame::decode(header, &self.payload).unwrap());
                        self.payload.clear();
                    }
                }
                None => {}
            }
        }
    }

    /// Hears what has come already.
    pub(crate) async fn hear_now(&mut self, mut each: impl FnMut(Header, Frame<'_>)) {
        while self.stream.readable() > 0 {
            self.hear(&mut each).await;
        }
    }
}

/// A future whose memory the counting allocator leaves out.
pub(crate) struct Uncounted<F>(pub(crate) Pin<Box<F>>);

impl<F: Future> Future for Uncounted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut polled = Poll::Pending;
        allocation_counter::opt_out(|| polled = self.0.as_mut().poll(cx));
        polled
    }
}
