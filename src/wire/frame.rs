use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;

use super::reader::Reader;
use super::redacted::Bytes;
use super::writer::{put_bytes, whole};
use super::{
    Accept, Ack, Batch, Cancel, Chat, Credit, DecodeError, DecodeReason, EncodeError, EncodeReason,
    Finish, Goodbye, HEADER_LEN, Header, Hello, Kind, Limits, Message, Offer, Pause, Ping, Reject,
    Resume, Signal, Start, Verdict, max_length,
};

/// Least bytes of a PART.
const PART: usize = 1024;

/// Any frame, or an item that fits into one.
///
/// What is longer goes into PART frames and an end; its payload is written by its own `encode`.
///
/// # Examples
///
/// ```
/// use duologue::wire::{Frame, Header, Kind, Pause};
///
/// let frame = Frame::Pause(Pause { is_paused: true });
/// let mut bytes = Vec::new();
/// frame.encode(7, &mut bytes)?;
/// let header = Header { length: 1, kind: Kind::PAUSE, id: 7 };
/// assert_eq!(bytes, [&header.encode()[..], &[1]].concat());
/// assert_eq!(Frame::decode(header, &bytes[8..]).unwrap(), frame);
/// # Ok::<(), duologue::wire::EncodeError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Frame<'a> {
    /// HELLO.
    Hello(Hello),
    /// AUTH, at most 16384 bytes.
    Auth(Cow<'a, [u8]>),
    /// RESUME.
    Resume(Resume<'a>),
    /// START.
    Start(Start),
    /// DATA, at least one byte.
    Data(Cow<'a, [u8]>),
    /// CREDIT.
    Credit(Credit),
    /// ACK.
    Ack(Ack),
    /// PING.
    Ping(Ping),
    /// PONG.
    Pong(Ping),
    /// GOODBYE.
    Goodbye(Goodbye<'a>),
    /// PART, at least 1024 bytes.
    Part(Cow<'a, [u8]>),
    /// SIGNAL.
    Signal(Signal<'a>),
    /// CHAT.
    Chat(Chat<'a>),
    /// MESSAGE.
    Message(Message<'a>),
    /// OFFER.
    Offer(Offer<'a>),
    /// BATCH.
    Batch(Batch<'a>),
    /// ACCEPT.
    Accept(Accept),
    /// REJECT.
    Reject(Reject<'a>),
    /// PAUSE.
    Pause(Pause),
    /// FINISH.
    Finish(Finish),
    /// CANCEL.
    Cancel(Cancel<'a>),
    /// VERDICT.
    Verdict(Verdict<'a>),
    /// One of a kind that has no meaning in this version and may be skipped.
    Unknown {
        /// The kind.
        kind: Kind,
        /// All of its payload.
        payload: Cow<'a, [u8]>,
    },
}

impl<'a> Frame<'a> {
    /// Reads the payload that came with `header`, whose id is checked as well.
    ///
    /// # Errors
    ///
    /// [`DecodeError`], also if the payload is not as long as the header says. Limits of length are
    /// not looked at; see [`max_length`].
    pub fn decode(header: Header, payload: &'a [u8]) -> Result<Self, DecodeError> {
        let kind = header.kind;
        let wrong = |field, reason| Err(DecodeError::new(kind, field, reason));
        let length = usize::try_from(header.length).unwrap_or(usize::MAX);
        if payload.len() != length {
            let short = payload.len() < length;
            let reason = if short { DecodeReason::Truncated } else { DecodeReason::Trailing };
            return wrong("payload", reason);
        }
        header.check_id()?;
        let reader = Reader::new(kind, payload);
        Ok(match kind {
            Kind::HELLO => Self::Hello(Hello::decode(payload)?),
            Kind::AUTH => Self::Auth(reader.bytes("payload", 0, 16_384)?),
            Kind::RESUME => Self::Resume(Resume::decode(payload)?),
            Kind::START => Self::Start(Start::decode(payload)?),
            Kind::DATA => Self::Data(reader.bytes("payload", 1, usize::MAX)?),
            Kind::CREDIT => Self::Credit(Credit::decode(payload)?),
            Kind::ACK => Self::Ack(Ack::decode(payload)?),
            Kind::PING => Self::Ping(Ping::decode(payload)?),
            Kind::PONG => Self::Pong(Ping::decode_pong(payload)?),
            Kind::GOODBYE => Self::Goodbye(Goodbye::decode(payload)?),
            Kind::PART => Self::Part(reader.bytes("payload", PART, usize::MAX)?),
            Kind::SIGNAL => Self::Signal(Signal::decode(payload)?),
            Kind::CHAT => Self::Chat(Chat::decode(payload)?),
            Kind::MESSAGE => Self::Message(Message::decode(payload)?),
            Kind::OFFER => Self::Offer(Offer::decode(payload)?),
            Kind::BATCH => Self::Batch(Batch::decode(payload)?),
            Kind::ACCEPT => Self::Accept(Accept::decode(payload)?),
            Kind::REJECT => Self::Reject(Reject::decode(payload)?),
            Kind::PAUSE => Self::Pause(Pause::decode(payload)?),
            Kind::FINISH => Self::Finish(Finish::decode(payload)?),
            Kind::CANCEL => Self::Cancel(Cancel::decode(payload)?),
            Kind::VERDICT => Self::Verdict(Verdict::decode(payload)?),
            _ if kind.is_skippable() => Self::Unknown { kind, payload: Cow::Borrowed(payload) },
            _ => return wrong("kind", DecodeReason::Unsupported),
        })
    }

    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Hello(_) => Kind::HELLO,
            Self::Auth(_) => Kind::AUTH,
            Self::Resume(_) => Kind::RESUME,
            Self::Start(_) => Kind::START,
            Self::Data(_) => Kind::DATA,
            Self::Credit(_) => Kind::CREDIT,
            Self::Ack(_) => Kind::ACK,
            Self::Ping(_) => Kind::PING,
            Self::Pong(_) => Kind::PONG,
            Self::Goodbye(_) => Kind::GOODBYE,
            Self::Part(_) => Kind::PART,
            Self::Signal(_) => Kind::SIGNAL,
            Self::Chat(_) => Kind::CHAT,
            Self::Message(_) => Kind::MESSAGE,
            Self::Offer(_) => Kind::OFFER,
            Self::Batch(_) => Kind::BATCH,
            Self::Accept(_) => Kind::ACCEPT,
            Self::Reject(_) => Kind::REJECT,
            Self::Pause(_) => Kind::PAUSE,
            Self::Finish(_) => Kind::FINISH,
            Self::Cancel(_) => Kind::CANCEL,
            Self::Verdict(_) => Kind::VERDICT,
            Self::Unknown { kind, .. } => *kind,
        }
    }

    /// Appends header and payload to `out`, or nothing.
    ///
    /// # Errors
    ///
    /// [`EncodeError`]: a field's, `id` for one that the kind may not have, and `payload` for more
    /// than [`max_length`] allows under the default limits, which are the widest there are.
    pub fn encode(&self, id: u32, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let kind = self.kind();
        let before = out.len();
        let limit = max_length(kind, &Limits::default());
        if (Header { length: 0, kind, id }).check_id().is_err() {
            return Err(EncodeError::new("id", EncodeReason::OutOfRange));
        }
        whole(out, |out| {
            out.extend_from_slice(&[0; HEADER_LEN]);
            self.put(out)?;
            let payload = out.len().saturating_sub(before).saturating_sub(HEADER_LEN);
            let length = u32::try_from(payload).ok().filter(|length| *length <= limit);
            let Some(length) = length else {
                let max = usize::try_from(limit).unwrap_or(usize::MAX);
                return Err(EncodeError::new("payload", EncodeReason::TooLong { max }));
            };
            if let Some(slot) = out.get_mut(before..).and_then(<[u8]>::first_chunk_mut) {
                *slot = Header { length, kind, id }.encode();
            }
            Ok(())
        })
    }

    fn put(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Self::Hello(hello) => hello.encode(out),
            Self::Auth(bytes) => put_bytes(out, "payload", bytes, 0, 16_384),
            Self::Resume(resume) => resume.encode(out),
            Self::Start(start) => start.encode(out),
            Self::Data(bytes) => put_bytes(out, "payload", bytes, 1, 16_384),
            Self::Credit(credit) => credit.encode(out),
            Self::Ack(ack) => ack.encode(out),
            Self::Ping(ping) | Self::Pong(ping) => ping.encode(out),
            Self::Goodbye(goodbye) => goodbye.encode(out),
            Self::Part(bytes) => put_bytes(out, "payload", bytes, PART, 16_384),
            Self::Signal(signal) => signal.encode(out),
            Self::Chat(chat) => chat.encode(out),
            Self::Message(message) => message.encode(out),
            Self::Offer(offer) => offer.encode(out),
            Self::Batch(batch) => batch.encode(out),
            Self::Accept(accept) => accept.encode(out),
            Self::Reject(reject) => reject.encode(out),
            Self::Pause(pause) => pause.encode(out),
            Self::Finish(finish) => finish.encode(out),
            Self::Cancel(cancel) => cancel.encode(out),
            Self::Verdict(verdict) => verdict.encode(out),
            Self::Unknown { kind, payload } => {
                if kind.is_known() || !kind.is_skippable() {
                    return Err(EncodeError::new("kind", EncodeReason::OutOfRange));
                }
                put_bytes(out, "payload", payload, 0, 65_536)
            }
        }
    }

    /// The same, without borrowing.
    pub fn into_owned(self) -> Frame<'static> {
        let owned = |bytes: Cow<'_, [u8]>| Cow::Owned(bytes.into_owned());
        match self {
            Self::Hello(hello) => Frame::Hello(hello),
            Self::Auth(bytes) => Frame::Auth(owned(bytes)),
            Self::Resume(resume) => Frame::Resume(resume.into_owned()),
            Self::Start(start) => Frame::Start(start),
            Self::Data(bytes) => Frame::Data(owned(bytes)),
            Self::Credit(credit) => Frame::Credit(credit),
            Self::Ack(ack) => Frame::Ack(ack),
            Self::Ping(ping) => Frame::Ping(ping),
            Self::Pong(ping) => Frame::Pong(ping),
            Self::Goodbye(goodbye) => Frame::Goodbye(goodbye.into_owned()),
            Self::Part(bytes) => Frame::Part(owned(bytes)),
            Self::Signal(signal) => Frame::Signal(signal.into_owned()),
            Self::Chat(chat) => Frame::Chat(chat.into_owned()),
            Self::Message(message) => Frame::Message(message.into_owned()),
            Self::Offer(offer) => Frame::Offer(offer.into_owned()),
            Self::Batch(batch) => Frame::Batch(batch.into_owned()),
            Self::Accept(accept) => Frame::Accept(accept),
            Self::Reject(reject) => Frame::Reject(reject.into_owned()),
            Self::Pause(pause) => Frame::Pause(pause),
            Self::Finish(finish) => Frame::Finish(finish),
            Self::Cancel(cancel) => Frame::Cancel(cancel.into_owned()),
            Self::Verdict(verdict) => Frame::Verdict(verdict.into_owned()),
            Self::Unknown { kind, payload } => Frame::Unknown { kind, payload: owned(payload) },
        }
    }
}

impl fmt::Debug for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hello(hello) => hello.fmt(f),
            Self::Resume(resume) => resume.fmt(f),
            Self::Start(start) => start.fmt(f),
            Self::Credit(credit) => credit.fmt(f),
            Self::Ack(ack) => ack.fmt(f),
            Self::Ping(ping) => ping.fmt(f),
            Self::Pong(ping) => f.debug_struct("Pong").field("token", &ping.token).finish(),
            Self::Goodbye(goodbye) => goodbye.fmt(f),
            Self::Signal(signal) => signal.fmt(f),
            Self::Chat(chat) => chat.fmt(f),
            Self::Message(message) => message.fmt(f),
            Self::Offer(offer) => offer.fmt(f),
            Self::Batch(batch) => batch.fmt(f),
            Self::Accept(accept) => accept.fmt(f),
            Self::Reject(reject) => reject.fmt(f),
            Self::Pause(pause) => pause.fmt(f),
            Self::Finish(finish) => finish.fmt(f),
            Self::Cancel(cancel) => cancel.fmt(f),
            Self::Verdict(verdict) => verdict.fmt(f),
            Self::Auth(bytes) => f.debug_tuple("Auth").field(&Bytes(bytes.len())).finish(),
            Self::Data(bytes) => f.debug_tuple("Data").field(&Bytes(bytes.len())).finish(),
            Self::Part(bytes) => f.debug_tuple("Part").field(&Bytes(bytes.len())).finish(),
            Self::Unknown { kind, payload } => f
                .debug_struct("Unknown")
                .field("kind", kind)
                .field("payload", &Bytes(payload.len()))
                .finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::vec;

    use super::*;

    fn decode(
        kind: u8,
        id: u32,
        payload: &[u8],
    ) -> Result<Frame<'_>, (&'static str, DecodeReason)> {
        let length = payload.len().try_into().unwrap();
        let header = Header { length, kind: Kind::new(kind), id };
        Frame::decode(header, payload).map_err(|error| (error.field(), error.reason()))
    }

    #[test]
    fn bare_payloads() {
        for (kind, id, least, most) in
            [(0x02, 0, 0, 16_384), (0x05, 1, 1, 16_384), (0x0B, 1, 1024, 16_384)]
        {
            for length in [least, most] {
                let payload = vec![7; length];
                let frame = decode(kind, id, &payload).unwrap();
                let mut out = vec![1];
                frame.encode(id, &mut out).unwrap();
                assert_eq!(&out[9..], payload);
                assert_eq!(frame.clone().into_owned(), frame);
                assert!(format!("{frame:?}").contains(&format!("({length} bytes)")));
            }
        }
        assert_eq!(decode(0x02, 0, &[0; 16_385]), Err(("payload", DecodeReason::OutOfRange)));
        assert_eq!(decode(0x05, 1, &[]), Err(("payload", DecodeReason::OutOfRange)));
        assert_eq!(decode(0x0B, 1, &[0; 1023]), Err(("payload", DecodeReason::OutOfRange)));
    }

    #[test]
    fn unknown_kinds() {
        for kind in [0x8D, 0xC0, 0xFF, 0x81] {
            let frame = decode(kind, 77, b"later").unwrap();
            let unknown = Frame::Unknown { kind: Kind::new(kind), payload: b"later"[..].into() };
            assert_eq!(frame, unknown);
            let mut out = Vec::new();
            frame.encode(77, &mut out).unwrap();
            assert_eq!(out, [&[0, 0, 5, kind, 0, 0, 0, 77], &b"later"[..]].concat());
        }
        for kind in [0x00, 0x0C, 0x3F, 0x4A, 0x7F] {
            assert_eq!(decode(kind, 0, b"later"), Err(("kind", DecodeReason::Unsupported)));
        }
    }

    #[test]
    fn header_and_payload_agree() {
        let header = Header { length: 1, kind: Kind::PAUSE, id: 1 };
        let reason = |payload| Frame::decode(header, payload).map_err(|error| error.reason());
        assert_eq!(reason(&[]), Err(DecodeReason::Truncated));
        assert_eq!(reason(&[1]), Ok(Frame::Pause(Pause { is_paused: true })));
        assert_eq!(reason(&[1, 1]), Err(DecodeReason::Trailing));
        assert_eq!(decode(0x46, 0, &[1]), Err(("id", DecodeReason::OutOfRange)));
        assert_eq!(decode(0x40, 1, &[0, 0]), Err(("id", DecodeReason::Unsupported)));
    }

    #[test]
    fn what_is_not_written() {
        let pause = Frame::Pause(Pause { is_paused: true });
        let bytes = |length| Cow::Owned(vec![0; length]);
        let unknown = |kind| Frame::Unknown { kind: Kind::new(kind), payload: bytes(0) };
        for (frame, id, field, reason) in [
            (pause.clone(), 0, "id", EncodeReason::OutOfRange),
            (pause, 1 << 31, "id", EncodeReason::OutOfRange),
            (Frame::Part(bytes(1024)), 2, "id", EncodeReason::OutOfRange),
            (Frame::Part(bytes(1023)), 0, "payload", EncodeReason::TooShort),
            (Frame::Data(bytes(0)), 1, "payload", EncodeReason::TooShort),
            (Frame::Data(bytes(16_385)), 1, "payload", EncodeReason::TooLong { max: 16_384 }),
            (Frame::Auth(bytes(16_385)), 0, "payload", EncodeReason::TooLong { max: 16_384 }),
            (unknown(0x40), 0, "kind", EncodeReason::OutOfRange),
            (unknown(0x8C), 0, "kind", EncodeReason::OutOfRange),
            (unknown(0x0C), 0, "kind", EncodeReason::OutOfRange),
            (
                Frame::Chat(Chat::new("x".repeat(16_383))),
                0,
                "payload",
                EncodeReason::TooLong { max: 16_384 },
            ),
        ] {
            let mut out = b"before".to_vec();
            let error = frame.encode(id, &mut out).unwrap_err();
            assert_eq!((error.field(), error.reason()), (field, reason), "{frame:?}");
            assert_eq!(out, b"before");
        }
    }
}
