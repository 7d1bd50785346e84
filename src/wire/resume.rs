use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;

use super::fields::{Fields, required};
use super::reader::Reader;
use super::redacted::optional;
use super::writer::{put_field, put_u64, whole};
use super::{DecodeError, DecodeReason, EncodeError, EncodeReason, Kind, TransferId};

/// RESUME: what its sender has of the conversation, and that it accepts the peer.
///
/// In a new conversation only [`secret`](Self::secret) may be there, and `next` is 0; a
/// [`proof`](Self::proof) makes it one of a conversation that goes on.
///
/// # Examples
///
/// ```
/// use duologue::wire::Resume;
///
/// let resume = Resume { secret: Some([5; 32]), ..Resume::default() };
/// let mut payload = Vec::new();
/// resume.encode(&mut payload)?;
/// assert_eq!(Resume::decode(&payload).unwrap(), resume);
/// # Ok::<(), duologue::wire::EncodeError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Resume<'a> {
    /// For each lane, the number of the peer's item after the last that was received whole.
    pub next: [u64; 2],
    /// Random bytes from the server of a new conversation.
    pub secret: Option<[u8; 32]>,
    /// The keyed hash that proves the secret, on resuming.
    pub proof: Option<[u8; 32]>,
    /// The peer's transfers of which something may have been received, ascending by id.
    pub transfers: Cow<'a, [Held]>,
}

/// How much a side has of one of its peer's transfers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Held {
    /// Which.
    pub transfer: TransferId,
    /// Bytes received from the beginning on.
    pub received: u64,
}

impl<'a> Resume<'a> {
    /// Reads the payload.
    ///
    /// # Errors
    ///
    /// [`DecodeError`].
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        const KIND: Kind = Kind::RESUME;
        let (mut next, mut secret, mut proof, mut transfers) = (None, None, None, None);
        let mut fields = Fields::new(KIND, payload);
        while let Some(field) = fields.next()? {
            match field.tag {
                0x81 => {
                    let read = |r: &mut Reader<'_>, field| Ok([r.u64(field)?, r.u64(field)?]);
                    next = Some(field.read("next", read)?);
                }
                0x82 => secret = Some(field.array("secret")?),
                0x83 => proof = Some(field.array("proof")?),
                0x84 => transfers = Some(held(field.value())?),
                _ => field.skip(4)?,
            }
        }
        let next = required(KIND, "next", next)?;
        let unexpected = |field| Err(DecodeError::new(KIND, field, DecodeReason::Unexpected));
        if proof.is_some() && secret.is_some() {
            return unexpected("secret");
        }
        if proof.is_none() && transfers.is_some() {
            return unexpected("transfers");
        }
        if proof.is_none() && next != [0, 0] {
            return Err(DecodeError::new(KIND, "next", DecodeReason::OutOfRange));
        }
        Ok(Self { next, secret, proof, transfers: Cow::Owned(transfers.unwrap_or_default()) })
    }

    /// Appends the payload to `out`, or nothing.
    ///
    /// # Errors
    ///
    /// [`EncodeError`].
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let wrong = |field, reason| Err(EncodeError::new(field, reason));
        if self.proof.is_some() && self.secret.is_some() {
            return wrong("secret", EncodeReason::Unexpected);
        }
        if self.proof.is_none() && !self.transfers.is_empty() {
            return wrong("transfers", EncodeReason::Unexpected);
        }
        if self.proof.is_none() && self.next != [0, 0] {
            return wrong("next", EncodeReason::OutOfRange);
        }
        if !self.transfers.is_sorted_by(|one, other| one.transfer < other.transfer) {
            return wrong("transfers", EncodeReason::OutOfOrder);
        }
        whole(out, |out| {
            put_field(out, "next", 0x81, |out| {
                self.next.iter().try_for_each(|next| put_u64(out, "next", *next))
            })?;
            for (field, tag, value) in [("secret", 0x82, self.secret), ("proof", 0x83, self.proof)]
            {
                let Some(value) = value else { continue };
                put_field(out, field, tag, |out| {
                    out.extend_from_slice(&value);
                    Ok(())
                })?;
            }
            if self.transfers.is_empty() {
                return Ok(());
            }
            put_field(out, "transfers", 0x84, |out| {
                self.transfers.iter().try_for_each(|held| {
                    out.extend_from_slice(&held.transfer.to_wire().to_be_bytes());
                    put_u64(out, "received", held.received)
                })
            })
        })
    }

    /// The same, without borrowing.
    pub fn into_owned(self) -> Resume<'static> {
        Resume {
            next: self.next,
            secret: self.secret,
            proof: self.proof,
            transfers: Cow::Owned(self.transfers.into_owned()),
        }
    }
}

/// Bytes of one entry.
const HELD: usize = 4 + 8;

fn held(mut list: Reader<'_>) -> Result<Vec<Held>, DecodeError> {
    if list.is_empty() {
        return Err(list.error("transfers", DecodeReason::NotCanonical));
    }
    let mut transfers = Vec::<Held>::with_capacity(list.remaining() / HELD);
    while !list.is_empty() {
        let transfer = list.transfer("transfers")?;
        if transfers.last().is_some_and(|before| before.transfer >= transfer) {
            return Err(list.error("transfers", DecodeReason::OutOfOrder));
        }
        transfers.push(Held { transfer, received: list.u64("received")? });
    }
    Ok(transfers)
}

impl fmt::Debug for Resume<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resume")
            .field("next", &self.next)
            .field("secret", &optional(self.secret))
            .field("proof", &optional(self.proof))
            .field("transfers", &self.transfers)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::super::MAX_INTEGER;
    use super::super::tables::{accepts, cannot_encode, hex, refuses};
    use super::*;

    const NONE: &str = "81 0010 0000000000000000 0000000000000000";
    const SECRET: &str = "82 0020 5555555555555555555555555555555555555555555555555555555555555555";
    const PROOF: &str = "83 0020 6666666666666666666666666666666666666666666666666666666666666666";
    const HELD: &str = "84 0018 00000001 0000000000000000 80000001 001fffffffffffff";

    fn held() -> [Held; 2] {
        let held = |id, received| Held { transfer: TransferId::from_wire(id).unwrap(), received };
        [held(1, 0), held(0x8000_0001, MAX_INTEGER)]
    }

    fn proved() -> Resume<'static> {
        Resume { proof: Some([0x66; 32]), next: [1, MAX_INTEGER], ..Resume::default() }
    }

    #[test]
    fn accepted() {
        let next = "81 0010 0000000000000001 001fffffffffffff";
        let all = Resume { transfers: held().to_vec().into(), ..proved() };
        accepts! { Resume:
            Resume::default() => NONE,
            Resume { secret: Some([0x55; 32]), ..Resume::default() } => format!("{NONE} {SECRET}"),
            proved() => format!("{next} {PROOF}"),
            all.clone() => format!("{next} {PROOF} {HELD}"),
        }
        let skipped = hex(&format!("{NONE} 05 0001 ff"));
        assert_eq!(Resume::decode(&skipped), Ok(Resume::default()));
        assert_eq!(all.clone().into_owned(), all);
        assert!(format!("{all:?}").contains("secret: None, proof: Some(32 bytes)"));
    }

    #[test]
    fn refused() {
        let wrong = |held: &str| format!("{NONE} {PROOF} {held}");
        refuses! { Resume:
            "" => "next", Missing;
            PROOF => "next", Missing;
            "81 0008 0000000000000000" => "next", Truncated;
            "81 0010 0000000000000000 0020000000000000" => "next", OutOfRange;
            "81 0010 0000000000000001 0000000000000000" => "next", OutOfRange;
            format!("{NONE} {SECRET} {PROOF}") => "secret", Unexpected;
            format!("{NONE} {HELD}") => "transfers", Unexpected;
            format!("{NONE} {PROOF} {SECRET}") => "type of a field", OutOfOrder;
            wrong("84 0000") => "transfers", NotCanonical;
            wrong("84 0003 000000") => "transfers", Truncated;
            wrong("84 0004 00000001") => "received", Truncated;
            wrong("84 000c 00000000 0000000000000000") => "transfers", OutOfRange;
            wrong("84 000c 80000000 0000000000000000") => "transfers", OutOfRange;
            wrong("84 000c 00000001 0020000000000000") => "received", OutOfRange;
            wrong("84 0018 00000001 0000000000000000 00000001 0000000000000000") =>
                "transfers", OutOfOrder;
            wrong("84 0018 80000001 0000000000000000 00000001 0000000000000000") =>
                "transfers", OutOfOrder;
            wrong("85 0000") => "unknown field", Unsupported;
        }
        let mut backwards = held();
        backwards.reverse();
        let twice = [held()[0], held()[0]];
        let many: Vec<_> = (1..=5462)
            .map(|id| Held { transfer: TransferId::from_wire(id).unwrap(), received: 0 })
            .collect();
        cannot_encode! {
            Resume { secret: Some([0; 32]), ..proved() } => "secret", EncodeReason::Unexpected;
            Resume { proof: None, ..proved() } => "next", EncodeReason::OutOfRange;
            Resume { transfers: held()[..].into(), ..Resume::default() } =>
                "transfers", EncodeReason::Unexpected;
            Resume { transfers: backwards[..].into(), ..proved() } =>
                "transfers", EncodeReason::OutOfOrder;
            Resume { transfers: twice[..].into(), ..proved() } =>
                "transfers", EncodeReason::OutOfOrder;
            Resume { next: [1 << 53, 0], ..proved() } => "next", EncodeReason::OutOfRange;
            Resume { transfers: many[..].into(), ..proved() } =>
                "transfers", EncodeReason::TooLong { max: 65_535 };
        }
    }
}
