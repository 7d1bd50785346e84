use bytes::Bytes;

use crate::proto::{Acceptance, ActionError, Conclusion, Connection, ItemId, StreamParameters};
use crate::time::Time;
use crate::wire::{
    Batch, Chat, CloseCode, Digest, Message, Offer, Signal, TransferCode, TransferId,
};

/// An action of the application on a [`Connection`], as a value: to record it, to play it again,
/// or to make one up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Call {
    /// [`Connection::accept_peer`].
    AcceptPeer,
    /// [`Connection::refuse_peer`].
    RefusePeer(CloseCode, String),
    /// [`Connection::authenticate`].
    Authenticate(Vec<u8>),
    /// [`Connection::send_chat`].
    SendChat(Chat<'static>),
    /// [`Connection::send_message`].
    SendMessage(Message<'static>),
    /// [`Connection::send_signal`].
    SendSignal(Signal<'static>),
    /// [`Connection::take`].
    Take(ItemId),
    /// [`Connection::offer`].
    Offer(Offer<'static>),
    /// [`Connection::offer_batch`].
    OfferBatch(Batch<'static>),
    /// [`Connection::accept`].
    Accept(TransferId, Acceptance),
    /// [`Connection::reject`].
    Reject(TransferId, TransferCode, String),
    /// [`Connection::send_data`].
    SendData(TransferId, u64, Bytes),
    /// [`Connection::confirm_prefix`].
    ConfirmPrefix(TransferId),
    /// [`Connection::restart`].
    Restart(TransferId),
    /// [`Connection::finish`].
    Finish(TransferId, Option<Digest>),
    /// [`Connection::cancel`].
    Cancel(TransferId, TransferCode, String),
    /// [`Connection::pause`].
    Pause(TransferId, bool),
    /// [`Connection::release`].
    Release(TransferId, usize),
    /// [`Connection::set_durable`].
    SetDurable(TransferId, u64),
    /// [`Connection::conclude`] with [`Conclusion::Stored`].
    Stored(TransferId, String),
    /// [`Connection::conclude`] with [`Conclusion::Failed`].
    Failed(TransferId, TransferCode, String),
    /// [`Connection::close`].
    Close(CloseCode, String),
    /// [`Connection::attach`], with this seed.
    Attach([u8; 32]),
}

/// What an action gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// Nothing but success.
    Nothing,
    /// The item that was queued.
    Item(ItemId),
    /// The transfer that was offered.
    Transfer(TransferId),
}

impl Call {
    /// Does it.
    ///
    /// # Errors
    ///
    /// The action's own.
    pub fn apply(&self, connection: &mut Connection, now: Time) -> Result<Done, ActionError> {
        let nothing = |()| Done::Nothing;
        match self {
            Self::AcceptPeer => connection.accept_peer(now).map(nothing),
            Self::RefusePeer(code, text) => connection.refuse_peer(*code, text, now).map(nothing),
            Self::Authenticate(bytes) => connection.authenticate(bytes).map(nothing),
            Self::SendChat(chat) => connection.send_chat(chat).map(Done::Item),
            Self::SendMessage(message) => connection.send_message(message).map(Done::Item),
            Self::SendSignal(signal) => connection.send_signal(signal).map(nothing),
            Self::Take(item) => {
                connection.take(now, *item);
                Ok(Done::Nothing)
            }
            Self::Offer(offer) => connection.offer(offer, now).map(Done::Transfer),
            Self::OfferBatch(batch) => connection.offer_batch(batch, now).map(Done::Transfer),
            Self::Accept(id, acceptance) => {
                connection.accept(*id, *acceptance, now).map(Done::Item)
            }
            Self::Reject(id, code, text) => connection.reject(*id, *code, text).map(Done::Item),
            Self::SendData(id, offset, data) => {
                connection.send_data(*id, *offset, data.clone()).map(nothing)
            }
            Self::ConfirmPrefix(id) => connection.confirm_prefix(*id).map(nothing),
            Self::Restart(id) => connection.restart(*id).map(nothing),
            Self::Finish(id, digest) => connection.finish(*id, *digest).map(Done::Item),
            Self::Cancel(id, code, text) => connection.cancel(*id, *code, text).map(Done::Item),
            Self::Pause(id, is_paused) => connection.pause(*id, *is_paused).map(nothing),
            Self::Release(id, len) => {
                connection.release(*id, *len, now);
                Ok(Done::Nothing)
            }
            Self::SetDurable(id, offset) => {
                connection.set_durable(*id, *offset, now);
                Ok(Done::Nothing)
            }
            Self::Stored(id, name) => {
                connection.conclude(*id, &Conclusion::Stored { name }).map(Done::Item)
            }
            Self::Failed(id, code, text) => {
                let conclusion = Conclusion::Failed { code: *code, text };
                connection.conclude(*id, &conclusion).map(Done::Item)
            }
            Self::Close(code, text) => connection.close(*code, text, now).map(nothing),
            Self::Attach(seed) => connection.attach(StreamParameters::new(*seed), now).map(nothing),
        }
    }
}
