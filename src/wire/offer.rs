use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;

use super::fields::{Field, Fields, required};
use super::redacted::{Bytes, optional};
use super::writer::{put_bytes, put_digest, put_field, put_text, put_u64, whole};
use super::{DecodeError, DecodeReason, Digest, EncodeError, EncodeReason, Kind, TransferId};

/// Most bytes of a file's name.
const NAME: usize = 255;
/// Most bytes of the path of a batch's member.
const PATH: usize = 4096;

/// OFFER: a file, or an entry of a batch.
///
/// # Examples
///
/// ```
/// use duologue::wire::{Digest, Offer};
///
/// let offer = Offer::new("notes.txt").size(1234).seekable().digest(Digest::Blake3([9; 32]));
/// let mut payload = Vec::new();
/// offer.encode(&mut payload)?;
/// assert_eq!(Offer::decode(&payload).unwrap(), offer);
/// # Ok::<(), duologue::wire::EncodeError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Offer<'a> {
    /// A proposal for a name, 1 to 255 bytes without a NUL. Of a batch's member it is a path with
    /// `/` between the components, 1 to 4096 bytes.
    pub name: Cow<'a, str>,
    /// Bytes of content, if that is known.
    pub size: Option<u64>,
    /// When it was modified: milliseconds since 1970-01-01T00:00Z.
    pub modified: Option<u64>,
    /// What the content is: 1 to 127 bytes without a NUL.
    pub media_type: Option<Cow<'a, str>>,
    /// The application's own, at most 4096 bytes.
    pub metadata: Cow<'a, [u8]>,
    /// Whether the sender can go back to any offset, and will when it is asked to after a break.
    pub is_seekable: bool,
    /// The digest of the content, if it is known.
    pub digest: Option<Digest>,
    /// The batch that it is a member of.
    pub batch: Option<TransferId>,
    /// Whether it is a directory: a member of a batch, and without size, media type and digest,
    /// nor seekable.
    pub is_directory: bool,
}

impl<'a> Offer<'a> {
    /// A file of unknown size, with nothing else said about it.
    pub fn new(name: impl Into<Cow<'a, str>>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Sets [`size`](Self::size).
    #[must_use]
    pub fn size(mut self, bytes: u64) -> Self {
        self.size = Some(bytes);
        self
    }

    /// Sets [`modified`](Self::modified).
    #[must_use]
    pub fn modified(mut self, milliseconds: u64) -> Self {
        self.modified = Some(milliseconds);
        self
    }

    /// Sets [`media_type`](Self::media_type).
    #[must_use]
    pub fn media_type(mut self, media_type: impl Into<Cow<'a, str>>) -> Self {
        self.media_type = Some(media_type.into());
        self
    }

    /// Sets [`metadata`](Self::metadata).
    #[must_use]
    pub fn metadata(mut self, metadata: impl Into<Cow<'a, [u8]>>) -> Self {
        self.metadata = metadata.into();
        self
    }

    /// Says that it [can be sent from any offset](Self::is_seekable).
    ///
    /// It is a promise: the machine then lets go of bytes that have left, instead of keeping them
    /// until the peer has received them, and after a break asks for them with `proto`'s
    /// `Event::Rewind`, also after FINISH. If the application does not answer that, the transfer
    /// stalls until the receiver gives it up.
    #[must_use]
    pub fn seekable(mut self) -> Self {
        self.is_seekable = true;
        self
    }

    /// Sets [`digest`](Self::digest).
    #[must_use]
    pub fn digest(mut self, digest: Digest) -> Self {
        self.digest = Some(digest);
        self
    }

    /// Makes it a member of [`batch`](Self::batch).
    #[must_use]
    pub fn batch(mut self, batch: TransferId) -> Self {
        self.batch = Some(batch);
        self
    }

    /// Makes it a [directory](Self::is_directory).
    #[must_use]
    pub fn directory(mut self) -> Self {
        self.is_directory = true;
        self
    }

    /// Reads the payload of a whole item.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]; any content encoding is [`Unsupported`](DecodeReason::Unsupported).
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        const KIND: Kind = Kind::OFFER;
        let mut offer = Self::default();
        let mut name = None;
        let mut fields = Fields::new(KIND, payload);
        while let Some(field) = fields.next()? {
            match field.tag {
                0x81 => name = Some(field.text("name", 1, PATH)?),
                _ => offer.read_field(field)?,
            }
        }
        offer.name = required(KIND, "name", name)?;
        if offer.name.len() > offer.max_name() {
            return Err(DecodeError::new(KIND, "name", DecodeReason::OutOfRange));
        }
        match offer.wrong_of_directory() {
            Some(("batch", _)) => Err(DecodeError::new(KIND, "batch", DecodeReason::Missing)),
            Some((field, _)) => Err(DecodeError::new(KIND, field, DecodeReason::Unexpected)),
            None => Ok(offer),
        }
    }

    fn read_field(&mut self, field: Field<'a>) -> Result<(), DecodeError> {
        match field.tag {
            0x02 => self.size = Some(field.u64("size")?),
            0x03 => self.modified = Some(field.u64("modified")?),
            0x04 => self.media_type = Some(field.text("media type", 1, 127)?),
            0x05 => self.metadata = field.bytes("metadata", 1, 4096)?,
            0x06 => self.is_seekable = field.empty("seekable")?,
            0x87 => {
                const NAME: &str = "content encoding";
                field.u8(NAME)?;
                return Err(DecodeError::new(Kind::OFFER, NAME, DecodeReason::Unsupported));
            }
            0x08 => self.digest = Some(field.digest("digest")?),
            0x89 => self.batch = Some(field.transfer("batch")?),
            0x8A => self.is_directory = field.empty("directory")?,
            _ => field.skip(10)?,
        }
        Ok(())
    }

    const fn max_name(&self) -> usize {
        if self.batch.is_some() { PATH } else { NAME }
    }

    /// What a directory has and may not have, or the other way round.
    const fn wrong_of_directory(&self) -> Option<(&'static str, EncodeReason)> {
        if !self.is_directory {
            return None;
        }
        if self.batch.is_none() {
            return Some(("batch", EncodeReason::Missing));
        }
        let field = if self.size.is_some() {
            "size"
        } else if self.media_type.is_some() {
            "media type"
        } else if self.is_seekable {
            "seekable"
        } else if self.digest.is_some() {
            "digest"
        } else {
            return None;
        };
        Some((field, EncodeReason::Unexpected))
    }

    /// Appends the payload of the whole item to `out`, or nothing.
    ///
    /// # Errors
    ///
    /// [`EncodeError`].
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if let Some((field, reason)) = self.wrong_of_directory() {
            return Err(EncodeError::new(field, reason));
        }
        whole(out, |out| self.put(out))
    }

    fn put(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        put_field(out, "name", 0x81, |out| put_text(out, "name", &self.name, 1, self.max_name()))?;
        if let Some(size) = self.size {
            put_field(out, "size", 0x02, |out| put_u64(out, "size", size))?;
        }
        if let Some(modified) = self.modified {
            put_field(out, "modified", 0x03, |out| put_u64(out, "modified", modified))?;
        }
        if let Some(text) = &self.media_type {
            put_field(out, "media type", 0x04, |out| put_text(out, "media type", text, 1, 127))?;
        }
        if !self.metadata.is_empty() {
            put_field(out, "metadata", 0x05, |out| {
                put_bytes(out, "metadata", &self.metadata, 1, 4096)
            })?;
        }
        if self.is_seekable {
            put_field(out, "seekable", 0x06, |_| Ok(()))?;
        }
        if self.digest.is_some() {
            put_field(out, "digest", 0x08, |out| {
                put_digest(out, self.digest.as_ref());
                Ok(())
            })?;
        }
        if let Some(batch) = self.batch {
            put_field(out, "batch", 0x89, |out| {
                out.extend_from_slice(&batch.to_wire().to_be_bytes());
                Ok(())
            })?;
        }
        if self.is_directory {
            put_field(out, "directory", 0x8A, |_| Ok(()))?;
        }
        Ok(())
    }

    /// The same, without borrowing.
    pub fn into_owned(self) -> Offer<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Offer {
            name: owned(self.name),
            size: self.size,
            modified: self.modified,
            media_type: self.media_type.map(owned),
            metadata: Cow::Owned(self.metadata.into_owned()),
            is_seekable: self.is_seekable,
            digest: self.digest,
            batch: self.batch,
            is_directory: self.is_directory,
        }
    }
}

impl fmt::Debug for Offer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offer")
            .field("name", &Bytes(self.name.len()))
            .field("size", &self.size)
            .field("modified", &self.modified)
            .field("media_type", &optional(self.media_type.as_deref()))
            .field("metadata", &Bytes(self.metadata.len()))
            .field("is_seekable", &self.is_seekable)
            .field("digest", &self.digest)
            .field("batch", &self.batch)
            .field("is_directory", &self.is_directory)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::super::Side;
    use super::super::tables::{accepts, cannot_encode, hex, refuses};
    use super::*;

    fn batch() -> TransferId {
        TransferId::new(Side::Server, 2).unwrap()
    }

    #[test]
    fn files() {
        let whole = Offer::new("a.txt")
            .size(5)
            .modified(6)
            .media_type("text/plain")
            .metadata(&b"m"[..])
            .seekable()
            .digest(Digest::Sha256([0x33; 32]))
            .batch(batch());
        let fields = [
            "81 0005 612e747874",
            "02 0008 0000000000000005",
            "03 0008 0000000000000006",
            "04 000a 746578742f706c61696e",
            "05 0001 6d",
            "06 0000",
            "08 0021 02 3333333333333333333333333333333333333333333333333333333333333333",
            "89 0004 80000002",
        ];
        accepts! { Offer:
            Offer::new("a") => "81 0001 61",
            Offer::new("a").size(0) => "81 0001 61 02 0008 0000000000000000",
            whole.clone() => fields.concat(),
            Offer::new("n".repeat(255)) => format!("81 00ff {}", "6e".repeat(255)),
            Offer::new("n".repeat(4096)).batch(batch()) =>
                format!("81 1000 {} 89 0004 80000002", "6e".repeat(4096)),
        }
        assert_eq!(whole.clone().into_owned(), whole);
        assert!(!format!("{whole:?}").contains("a.txt"));
        let unknown = hex("81 0001 61 0b 0001 ff 06 0000");
        assert_eq!(Offer::decode(&unknown).unwrap_err().reason(), DecodeReason::OutOfOrder);
        let unknown = hex("81 0001 61 06 0000 0b 0001 ff");
        assert_eq!(Offer::decode(&unknown), Ok(Offer::new("a").seekable()));
    }

    #[test]
    fn what_is_refused() {
        refuses! { Offer:
            "" => "name", Missing;
            "02 0008 0000000000000005" => "name", Missing;
            "81 0000" => "name", OutOfRange;
            "81 0001 00" => "name", Nul;
            "81 0001 ff" => "name", NotUtf8;
            "01 0001 61" => "type of a field", NotCanonical;
            format!("81 0100 {}", "6e".repeat(256)) => "name", OutOfRange;
            format!("81 1001 {} 89 0004 80000002", "6e".repeat(4097)) => "name", OutOfRange;
            "81 0001 61 02 0008 0020000000000000" => "size", OutOfRange;
            "81 0001 61 02 0004 00000001" => "size", Truncated;
            "81 0001 61 04 0000" => "media type", OutOfRange;
            "81 0001 61 05 0000" => "metadata", OutOfRange;
            format!("81 0001 61 05 1001 {}", "00".repeat(4097)) => "metadata", OutOfRange;
            "81 0001 61 06 0001 01" => "seekable", Trailing;
            "81 0001 61 87 0001 01" => "content encoding", Unsupported;
            "81 0001 61 87 0001 00" => "content encoding", Unsupported;
            "81 0001 61 87 0000" => "content encoding", Truncated;
            "81 0001 61 07 0001 01" => "type of a field", NotCanonical;
            "81 0001 61 08 0001 00" => "digest", NotCanonical;
            "81 0001 61 08 0001 03" => "digest", Unsupported;
            "81 0001 61 08 0002 01 11" => "digest", Truncated;
            format!("81 0001 61 08 0022 01 {}", "11".repeat(33)) => "digest", Trailing;
            "81 0001 61 89 0004 00000000" => "batch", OutOfRange;
            "81 0001 61 89 0004 80000000" => "batch", OutOfRange;
            "81 0001 61 8b 0000" => "unknown field", Unsupported;
            "81 0001 61 81 0001 61" => "type of a field", OutOfOrder;
        }
        cannot_encode! {
            Offer::new("n".repeat(256)) => "name", EncodeReason::TooLong { max: 255 };
            Offer::new("n".repeat(4097)).batch(batch()) =>
                "name", EncodeReason::TooLong { max: 4096 };
            Offer::new("a\0") => "name", EncodeReason::Nul;
            Offer::new("a").size(1 << 53) => "size", EncodeReason::OutOfRange;
            Offer::new("a").modified(1 << 53) => "modified", EncodeReason::OutOfRange;
            Offer::new("a").media_type("") => "media type", EncodeReason::TooShort;
            Offer::new("a").metadata(&[0; 4097][..]) =>
                "metadata", EncodeReason::TooLong { max: 4096 };
        }
    }

    #[test]
    fn directories() {
        let directory = Offer::new("a").batch(batch()).directory();
        let end = "89 0004 80000002 8a 0000";
        accepts! { Offer:
            directory.clone() => format!("81 0001 61 {end}"),
            directory.clone().modified(1).metadata(&b"m"[..]) =>
                format!("81 0001 61 03 0008 0000000000000001 05 0001 6d {end}"),
        }
        let digest = format!("08 0021 01 {}", "11".repeat(32));
        refuses! { Offer:
            "81 0001 61 8a 0000" => "batch", Missing;
            format!("81 0001 61 02 0008 0000000000000000 {end}") => "size", Unexpected;
            format!("81 0001 61 04 0001 61 {end}") => "media type", Unexpected;
            format!("81 0001 61 06 0000 {end}") => "seekable", Unexpected;
            format!("81 0001 61 {digest} {end}") => "digest", Unexpected;
            format!("81 0001 61 89 0004 80000002 8a 0001 01") => "directory", Trailing;
        }
        cannot_encode! {
            Offer::new("a").directory() => "batch", EncodeReason::Missing;
            directory.clone().size(0) => "size", EncodeReason::Unexpected;
            directory.clone().media_type("m") => "media type", EncodeReason::Unexpected;
            directory.clone().seekable() => "seekable", EncodeReason::Unexpected;
            directory.digest(Digest::Blake3([0; 32])) => "digest", EncodeReason::Unexpected;
        }
    }
}
