use alloc::borrow::{Cow, ToOwned};
use core::fmt;
use core::ops::Range;

use super::Error;
use crate::wire::{
    Accept, Batch, CloseCode, Digest, Finish, Message, Offer, Signal, TransferCode, TransferId,
};

/// Something that the application should know.
///
/// File data borrows from the input it came in; so do messages that came in one piece. Events that
/// carry an [`ItemId`] are to be [taken](super::Connection::take), every one of them: the peer counts
/// them until then, and waits for them when it closes.
///
/// `Debug` shows lengths instead of what the peer wrote.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The peer's HELLO came: decide, after any authentication, with
    /// [`accept_peer`](super::Connection::accept_peer) or
    /// [`refuse_peer`](super::Connection::refuse_peer).
    PeerHello {
        /// BLAKE3 over both sides' HELLO and the channel binding, for authentication to sign.
        handshake_hash: [u8; 32],
        /// Whether the conversation is to be resumed.
        is_resuming: bool,
    },
    /// The peer sent authentication bytes.
    Authentication(Cow<'a, [u8]>),
    /// Both sides have accepted: the conversation is open.
    Open(Opening),
    /// The peer says something.
    Chat {
        /// To be taken.
        item: ItemId,
        /// What it says.
        chat: crate::wire::Chat<'a>,
    },
    /// An application message.
    Message {
        /// To be taken.
        item: ItemId,
        /// The message.
        message: Message<'a>,
    },
    /// A signal, which is not numbered and may get lost.
    Signal(Signal<'a>),
    /// Items of ours ended: their numbers in their lane, and how. [`Receipt`] says which of them are
    /// messages.
    Receipts {
        /// The lane.
        lane: Lane,
        /// The numbers, as [`ItemId::number`] counts them.
        numbers: Range<u64>,
        /// What became of them.
        receipt: Receipt,
    },
    /// A lane that was full, so that an action was [`Blocked`](super::ActionError::Blocked), has
    /// room again.
    LaneWritable(Lane),
    /// After [`PeerLimit`](super::ActionError::PeerLimit) for an offer: one more is allowed again.
    MayOffer,
    /// The peer offers a file. In a batch it is accepted already: begin to receive.
    Offered {
        /// To be taken.
        item: ItemId,
        /// Its id.
        transfer: TransferId,
        /// What is offered.
        offer: Offer<'a>,
    },
    /// The peer offers a file of a batch, which this side has refused as
    /// [`BUSY`](TransferCode::BUSY) at once: beside what the application has not
    /// [released](super::Connection::release) of transfers that are over there is no room for its
    /// first bytes. It has ended.
    Refused {
        /// To be taken.
        item: ItemId,
        /// Its id.
        transfer: TransferId,
        /// What was offered.
        offer: Offer<'a>,
    },
    /// The peer offers many files at once.
    BatchOffered {
        /// To be taken.
        item: ItemId,
        /// Its id.
        transfer: TransferId,
        /// What is offered.
        batch: Batch<'a>,
    },
    /// The peer accepted an offer, from an offset on.
    ///
    /// If that is not 0, compute the digest of what comes before and call
    /// [`confirm_prefix`](super::Connection::confirm_prefix) or
    /// [`restart`](super::Connection::restart); data can flow meanwhile.
    Accepted {
        /// To be taken.
        item: ItemId,
        /// Our offer.
        transfer: TransferId,
        /// The offset and the digest of what comes before it.
        accept: Accept,
    },
    /// The peer does not want what was offered. The transfer has ended.
    Rejected {
        /// To be taken.
        item: ItemId,
        /// Our offer.
        transfer: TransferId,
        /// Why.
        code: TransferCode,
        /// Why, in the peer's words: escape them before showing them.
        text: Cow<'a, str>,
    },
    /// There is room for data again, after it was
    /// [`Blocked`](super::ActionError::Blocked): send from this offset on.
    Writable {
        /// Our offer.
        transfer: TransferId,
        /// The offset of the next byte that is wanted.
        offset: u64,
    },
    /// After a break the data has to come once more from this offset on, up to the end: the source was
    /// offered as [seekable](crate::wire::Offer::seekable), and the peer does not have what was
    /// sent.
    ///
    /// It may come after [`finish`](super::Connection::finish). That still counts: send the data, and
    /// do not finish again. A digest that is computed while the file is sent must not take in these
    /// bytes twice. [`send_data`](super::Connection::send_data) has an example.
    Rewind {
        /// Our offer.
        transfer: TransferId,
        /// The offset of the next byte that is wanted.
        offset: u64,
    },
    /// The peer reports how far it got with a transfer of ours.
    Progress {
        /// Our offer.
        transfer: TransferId,
        /// Bytes it received.
        received: u64,
        /// Bytes of these that survive a loss of power there.
        durable: u64,
    },
    /// The peer begins to send data at this offset. It is 0 when it could not go on from where it
    /// was asked to: what is there of the file is void then, though its bytes are still to be
    /// [released](super::Connection::release).
    Started {
        /// The peer's offer.
        transfer: TransferId,
        /// Where it begins.
        offset: u64,
    },
    /// Bytes of a file. [Release](super::Connection::release) them once they are dealt with, whatever
    /// has become of the transfer.
    Data {
        /// The peer's offer.
        transfer: TransferId,
        /// Where they belong.
        offset: u64,
        /// The bytes.
        data: Cow<'a, [u8]>,
    },
    /// The peer asks to pause a transfer, or to go on.
    Paused {
        /// To be taken.
        item: ItemId,
        /// The transfer.
        transfer: TransferId,
        /// Whether it is paused by the peer now.
        is_paused: bool,
    },
    /// The peer says how many bytes there are in all, and their digest. The data may still be on
    /// its way; when all is there and stored, or not, [conclude](super::Connection::conclude).
    Finished {
        /// To be taken.
        item: ItemId,
        /// The peer's offer.
        transfer: TransferId,
        /// The total and the digest.
        finish: Finish,
    },
    /// The peer asks to end a transfer: [conclude](super::Connection::conclude) it.
    CancelAsked {
        /// To be taken.
        item: ItemId,
        /// The peer's offer.
        transfer: TransferId,
        /// Why.
        code: TransferCode,
        /// Why, in the peer's words: escape them before showing them.
        text: Cow<'a, str>,
    },
    /// The peer's verdict on a transfer of ours, which has ended.
    Verdict {
        /// To be taken.
        item: ItemId,
        /// Our offer.
        transfer: TransferId,
        /// [`STORED`](TransferCode::STORED), or why not.
        code: TransferCode,
        /// Bytes stored or received; files stored, of a batch.
        total: u64,
        /// The name under which it is stored, or why not, in the peer's words: escape them before
        /// showing them.
        text: Cow<'a, str>,
    },
    /// A transfer took too long or made no progress, and was cancelled or concluded for that.
    Expired {
        /// The transfer. One of ours ends with the peer's verdict, or is
        /// [abandoned](Self::Abandoned); one of the peer's has ended.
        transfer: TransferId,
    },
    /// A transfer ended with its conversation, or because that was begun anew, or the peer owed the
    /// end of one of ours for longer than the [stall
    /// time-out](super::ConfigBuilder::stall_timeout): what became of it at the peer is unknown.
    Abandoned {
        /// The transfer.
        transfer: TransferId,
    },
    /// The stream broke. The conversation can go on over another one.
    Detached(DetachReason),
    /// The peer says goodbye. The conversation ends when the last words are exchanged.
    Goodbye {
        /// Why.
        code: CloseCode,
        /// Why, in the peer's words: escape them before showing them.
        text: Cow<'a, str>,
    },
    /// The conversation has ended. It is the last event.
    Closed(CloseReason),
}

/// How a conversation came to be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// It is new.
    New,
    /// It goes on where it broke.
    Resumed,
    /// The server had forgotten it, so it began anew: receipts of before are resolved, and
    /// transfers abandoned. Items and transfers are numbered from the beginning again.
    Fresh,
}

/// The two sequences of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Chat.
    Chat,
    /// Application messages, and all that changes the fate of a transfer.
    Control,
}

impl Lane {
    pub(crate) const ALL: [Self; 2] = [Self::Chat, Self::Control];

    /// The id of its PART frames.
    pub(super) fn id(self) -> u32 {
        match self {
            Self::Chat => 0,
            Self::Control => 1,
        }
    }
}

/// The number of an item in its lane, for one direction of one conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemId {
    /// The lane.
    pub lane: Lane,
    /// Its number, from 0.
    pub number: u64,
}

/// What became of an item that was sent.
///
/// Whatever changes the fate of a transfer is an item, too, and has its receipt: offers, acceptances,
/// pauses, FINISH, verdicts and so on, all in [`Lane::Control`] with the application's messages. So
/// an application remembers the [`ItemId`] of each call whose receipt it wants, and passes over the
/// numbers that it does not know. Receipts of a lane come in its order, each number once. After
/// [`Opening::Fresh`] numbers begin at 0 again.
///
/// # Examples
///
/// ```
/// use std::collections::BTreeMap;
///
/// use duologue::proto::{Event, ItemId, Receipt};
/// # use duologue::time::Time;
/// use duologue::wire::{Chat, Message, Offer};
/// # mod machines { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/support/machines.rs")); }
/// # use machines::{carry, open};
///
/// # let mut now = Time::ZERO;
/// let (mut client, mut server) = open(now)?;
/// let mut waiting: BTreeMap<ItemId, &str> = BTreeMap::new();
/// waiting.insert(client.send_chat(&Chat::new("Are you there?"))?, "the question");
/// client.offer(&Offer::new("notes.txt"), now)?; // an item, but it is the answer that matters
/// let order = Message { message_type: 7, is_reply: false, correlation: 1, body: b"tea"[..].into() };
/// waiting.insert(client.send_message(&order)?, "the order");
///
/// for event in carry(&mut client, &mut server, now) {
///     event.item().into_iter().for_each(|item| server.take(now, item));
/// }
/// # now = server.poll_timeout().unwrap();
/// # server.handle_timeout(now);
/// let mut delivered = Vec::new();
/// for event in carry(&mut server, &mut client, now) {
///     if let Event::Receipts { lane, numbers, receipt } = event {
///         for what in numbers.filter_map(|number| waiting.remove(&ItemId { lane, number })) {
///             assert_eq!(receipt, Receipt::Delivered, "{what}");
///             delivered.push(what);
///         }
///     }
/// }
/// assert_eq!(delivered, ["the question", "the order"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    /// The peer's application took it.
    Delivered,
    /// It never left.
    NotSent,
    /// It left, and the conversation ended before an answer: nobody can know.
    Unknown,
}

/// Why a conversation is without a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DetachReason {
    /// The stream ended without a goodbye.
    StreamEnded,
    /// The peer was silent for too long.
    Idle,
    /// The caller says that the stream is broken.
    Transport,
    /// The client came back over another stream before this one was known to be broken.
    Superseded,
    /// An attempt to resume it failed before it took effect.
    AttachFailed(Error),
    /// The peer said goodbye for now while the conversation was being resumed.
    Goodbye(CloseCode),
}

/// Why a conversation has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// This side closed it, with this code; whether the peer answered.
    Local {
        /// Our code.
        code: CloseCode,
        /// Whether the peer said goodbye, too.
        is_answered: bool,
    },
    /// The peer closed it, with this code.
    Peer(CloseCode),
    /// It failed.
    Failed(Error),
    /// Nobody resumed it in time.
    DetachedTimedOut,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local { code, is_answered: true } => write!(f, "closed by this side ({code})"),
            Self::Local { code, is_answered: false } => {
                write!(f, "closed by this side ({code}), without an answer")
            }
            Self::Peer(code) => write!(f, "closed by the peer ({code})"),
            Self::Failed(error) => error.fmt(f),
            Self::DetachedTimedOut => {
                f.write_str("its stream broke, and nobody resumed it in time")
            }
        }
    }
}

/// How the receiver ends a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conclusion<'a> {
    /// It is stored under this name, whole: all bytes came, and their digest is right.
    Stored {
        /// The name, which the sender is told.
        name: &'a str,
    },
    /// It is not.
    Failed {
        /// Why.
        code: TransferCode,
        /// Why, in words: 0 to 4096 bytes.
        text: &'a str,
    },
}

/// How the receiver begins a transfer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Acceptance {
    /// What is there already: its length, which is not 0, and its digest.
    pub prefix: Option<(u64, Digest)>,
}

impl Event<'_> {
    /// The item to be [taken](super::Connection::take) once the application has dealt with the
    /// event, if there is one.
    ///
    /// # Examples
    ///
    /// ```
    /// use duologue::proto::{Event, ItemId, Lane};
    /// use duologue::wire::Chat;
    ///
    /// let item = ItemId { lane: Lane::Chat, number: 7 };
    /// assert_eq!(Event::Chat { item, chat: Chat::new("hello") }.item(), Some(item));
    /// assert_eq!(Event::LaneWritable(Lane::Chat).item(), None);
    /// ```
    pub fn item(&self) -> Option<ItemId> {
        match *self {
            Self::Chat { item, .. }
            | Self::Message { item, .. }
            | Self::Offered { item, .. }
            | Self::Refused { item, .. }
            | Self::BatchOffered { item, .. }
            | Self::Accepted { item, .. }
            | Self::Rejected { item, .. }
            | Self::Paused { item, .. }
            | Self::Finished { item, .. }
            | Self::CancelAsked { item, .. }
            | Self::Verdict { item, .. } => Some(item),
            _ => None,
        }
    }

    /// The same event, owning all that it borrowed.
    pub fn into_owned(self) -> Event<'static> {
        match self {
            Self::PeerHello { handshake_hash, is_resuming } => {
                Event::PeerHello { handshake_hash, is_resuming }
            }
            Self::Authentication(bytes) => Event::Authentication(own(bytes)),
            Self::Open(opening) => Event::Open(opening),
            Self::Chat { item, chat } => Event::Chat { item, chat: chat.into_owned() },
            Self::Message { item, message } => {
                Event::Message { item, message: message.into_owned() }
            }
            Self::Signal(signal) => Event::Signal(signal.into_owned()),
            Self::Receipts { lane, numbers, receipt } => Event::Receipts { lane, numbers, receipt },
            Self::LaneWritable(lane) => Event::LaneWritable(lane),
            Self::MayOffer => Event::MayOffer,
            Self::Offered { item, transfer, offer } => {
                Event::Offered { item, transfer, offer: offer.into_owned() }
            }
            Self::Refused { item, transfer, offer } => {
                Event::Refused { item, transfer, offer: offer.into_owned() }
            }
            Self::BatchOffered { item, transfer, batch } => {
                Event::BatchOffered { item, transfer, batch: batch.into_owned() }
            }
            Self::Accepted { item, transfer, accept } => Event::Accepted { item, transfer, accept },
            Self::Rejected { item, transfer, code, text } => {
                Event::Rejected { item, transfer, code, text: own(text) }
            }
            Self::Writable { transfer, offset } => Event::Writable { transfer, offset },
            Self::Rewind { transfer, offset } => Event::Rewind { transfer, offset },
            Self::Progress { transfer, received, durable } => {
                Event::Progress { transfer, received, durable }
            }
            Self::Started { transfer, offset } => Event::Started { transfer, offset },
            Self::Data { transfer, offset, data } => {
                Event::Data { transfer, offset, data: own(data) }
            }
            Self::Paused { item, transfer, is_paused } => {
                Event::Paused { item, transfer, is_paused }
            }
            Self::Finished { item, transfer, finish } => Event::Finished { item, transfer, finish },
            Self::CancelAsked { item, transfer, code, text } => {
                Event::CancelAsked { item, transfer, code, text: own(text) }
            }
            Self::Verdict { item, transfer, code, total, text } => {
                Event::Verdict { item, transfer, code, total, text: own(text) }
            }
            Self::Expired { transfer } => Event::Expired { transfer },
            Self::Abandoned { transfer } => Event::Abandoned { transfer },
            Self::Detached(reason) => Event::Detached(reason),
            Self::Goodbye { code, text } => Event::Goodbye { code, text: own(text) },
            Self::Closed(reason) => Event::Closed(reason),
        }
    }
}

fn own<T: ToOwned + ?Sized>(value: Cow<'_, T>) -> Cow<'static, T> {
    Cow::Owned(value.into_owned())
}
