use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::{fmt, str};

use super::fields::Fields;
use super::reader::Reader;
use super::redacted::{Bytes, optional};
use super::writer::{put_field, put_sized, put_text, put_u64, whole};
use super::{DecodeError, EncodeError, EncodeReason, Kind, MAX_ITEM};

/// CHAT: a text, and what is said about it.
///
/// # Examples
///
/// ```
/// use duologue::wire::Chat;
///
/// let chat = Chat::new("Guten Tag").author("Ada").time(1_700_000_000_000);
/// let mut payload = Vec::new();
/// chat.encode(&mut payload)?;
/// assert_eq!(Chat::decode(&payload).unwrap(), chat);
///
/// payload.clear();
/// Chat::new("hi").encode(&mut payload)?;
/// assert_eq!(payload, b"\0\0hi");
/// # Ok::<(), duologue::wire::EncodeError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Chat<'a> {
    /// Made by the author, to be named in replies.
    pub id: Option<[u8; 16]>,
    /// Who wrote it: 1 to 255 bytes without a NUL.
    pub author: Option<Cow<'a, str>>,
    /// When: milliseconds since 1970-01-01T00:00Z.
    pub time: Option<u64>,
    /// What the text is written in: 1 to 127 bytes without a NUL.
    pub media_type: Option<Cow<'a, str>>,
    /// The id of the text that it answers.
    pub in_reply_to: Option<[u8; 16]>,
    /// The text. It may have a NUL.
    pub text: Cow<'a, str>,
}

impl<'a> Chat<'a> {
    /// A text, and nothing said about it.
    pub fn new(text: impl Into<Cow<'a, str>>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// Sets [`id`](Self::id).
    #[must_use]
    pub fn id(mut self, id: [u8; 16]) -> Self {
        self.id = Some(id);
        self
    }

    /// Sets [`author`](Self::author).
    #[must_use]
    pub fn author(mut self, author: impl Into<Cow<'a, str>>) -> Self {
        self.author = Some(author.into());
        self
    }

    /// Sets [`time`](Self::time).
    #[must_use]
    pub fn time(mut self, milliseconds: u64) -> Self {
        self.time = Some(milliseconds);
        self
    }

    /// Sets [`media_type`](Self::media_type).
    #[must_use]
    pub fn media_type(mut self, media_type: impl Into<Cow<'a, str>>) -> Self {
        self.media_type = Some(media_type.into());
        self
    }

    /// Sets [`in_reply_to`](Self::in_reply_to).
    #[must_use]
    pub fn in_reply_to(mut self, id: [u8; 16]) -> Self {
        self.in_reply_to = Some(id);
        self
    }

    /// Reads the payload of a whole item.
    ///
    /// # Errors
    ///
    /// [`DecodeError`].
    #[inline]
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        if let Some(([0, 0], text)) = payload.split_first_chunk() {
            if let Ok(text) = str::from_utf8(text) {
                return Ok(Self::new(text));
            }
        }
        let mut reader = Reader::new(Kind::CHAT, payload);
        let length = reader.u16("length of the attributes")?;
        let attributes = reader.take("attributes", length.into())?;
        let mut chat = Self::default();
        if !attributes.is_empty() {
            chat.read_attributes(attributes)?;
        }
        chat.text = reader.any_text("text")?;
        Ok(chat)
    }

    fn read_attributes(&mut self, attributes: &'a [u8]) -> Result<(), DecodeError> {
        let mut fields = Fields::new(Kind::CHAT, attributes);
        while let Some(field) = fields.next()? {
            match field.tag {
                1 => self.id = Some(field.array("id")?),
                2 => self.author = Some(field.text("author", 1, 255)?),
                3 => self.time = Some(field.u64("time")?),
                4 => self.media_type = Some(field.text("media type", 1, 127)?),
                5 => self.in_reply_to = Some(field.array("in reply to")?),
                _ => field.skip(5)?,
            }
        }
        Ok(())
    }

    /// Appends the payload of the whole item to `out`, or nothing.
    ///
    /// # Errors
    ///
    /// [`EncodeError`]; a payload has at most 16 MiB.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let before = out.len();
        if self.is_plain() && self.text.len() <= MAX_ITEM - 2 {
            out.reserve(self.text.len().saturating_add(2));
            out.extend_from_slice(&[0, 0]);
            out.extend_from_slice(self.text.as_bytes());
            return Ok(());
        }
        whole(out, |out| {
            put_sized(out, "attributes", |out| self.put_attributes(out))?;
            out.extend_from_slice(self.text.as_bytes());
            if out.len().saturating_sub(before) > MAX_ITEM {
                return Err(EncodeError::new("text", EncodeReason::TooLong { max: MAX_ITEM }));
            }
            Ok(())
        })
    }

    /// Whether nothing is said about the text.
    #[inline]
    fn is_plain(&self) -> bool {
        self.id.is_none()
            && self.author.is_none()
            && self.time.is_none()
            && self.media_type.is_none()
            && self.in_reply_to.is_none()
    }

    fn put_attributes(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if let Some(id) = &self.id {
            put_field(out, "id", 1, |out| {
                out.extend_from_slice(id);
                Ok(())
            })?;
        }
        if let Some(author) = &self.author {
            put_field(out, "author", 2, |out| put_text(out, "author", author, 1, 255))?;
        }
        if let Some(time) = self.time {
            put_field(out, "time", 3, |out| put_u64(out, "time", time))?;
        }
        if let Some(text) = &self.media_type {
            put_field(out, "media type", 4, |out| put_text(out, "media type", text, 1, 127))?;
        }
        if let Some(id) = &self.in_reply_to {
            put_field(out, "in reply to", 5, |out| {
                out.extend_from_slice(id);
                Ok(())
            })?;
        }
        Ok(())
    }

    /// The same, without borrowing.
    pub fn into_owned(self) -> Chat<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Chat {
            id: self.id,
            author: self.author.map(owned),
            time: self.time,
            media_type: self.media_type.map(owned),
            in_reply_to: self.in_reply_to,
            text: owned(self.text),
        }
    }
}

impl fmt::Debug for Chat<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chat")
            .field("id", &optional(self.id))
            .field("author", &optional(self.author.as_deref()))
            .field("time", &self.time)
            .field("media_type", &optional(self.media_type.as_deref()))
            .field("in_reply_to", &optional(self.in_reply_to))
            .field("text", &Bytes(self.text.len()))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::vec;

    use super::super::MAX_INTEGER;
    use super::super::tables::{accepts, cannot_encode, hex, refuses};
    use super::*;

    #[test]
    fn with_and_without_attributes() {
        let whole = Chat::new("hi")
            .id([0x11; 16])
            .author("Ada")
            .time(MAX_INTEGER)
            .media_type("text/plain")
            .in_reply_to([0x22; 16]);
        let attributes = [
            "01 0010 11111111111111111111111111111111",
            "02 0003 416461",
            "03 0008 001fffffffffffff",
            "04 000a 746578742f706c61696e",
            "05 0010 22222222222222222222222222222222",
        ];
        accepts! { Chat:
            Chat::default() => "0000",
            Chat::new("hi") => "0000 6869",
            Chat::new("a\0b") => "0000 610062",
            Chat::new("").author("Ada") => "0006 02 0003 416461",
            whole.clone() => format!("0044 {} 6869", attributes.concat()),
        }
        refuses! { Chat:
            "" => "length of the attributes", Truncated;
            "00" => "length of the attributes", Truncated;
            "0001" => "attributes", Truncated;
            "0000 ff" => "text", NotUtf8;
            "0001 02" => "length of a field", Truncated;
            "0003 02 0001" => "value of a field", Truncated;
            "0003 02 0000" => "author", OutOfRange;
            "0004 02 0001 00" => "author", Nul;
            "0004 02 0001 ff" => "author", NotUtf8;
            format!("0103 02 0100 {}", "61".repeat(256)) => "author", OutOfRange;
            format!("0083 04 0080 {}", "61".repeat(128)) => "media type", OutOfRange;
            "000a 03 0007 00000000000000" => "time", Truncated;
            "000c 03 0009 000000000000000000" => "time", Trailing;
            "000b 03 0008 0020000000000000" => "time", OutOfRange;
            "0012 01 000f 111111111111111111111111111111" => "id", Truncated;
            "0008 02 0001 61 02 0001 61" => "type of a field", OutOfOrder;
            "000f 03 0008 0000000000000000 02 0001 61" => "type of a field", OutOfOrder;
            "0004 82 0001 61" => "type of a field", NotCanonical;
            "0003 86 0000" => "unknown field", Unsupported;
            "0003 80 0000" => "unknown field", Unsupported;
        }
        cannot_encode! {
            Chat::new("").author("") => "author", EncodeReason::TooShort;
            Chat::new("").author("a\0") => "author", EncodeReason::Nul;
            Chat::new("").media_type("m".repeat(128)) =>
                "media type", EncodeReason::TooLong { max: 127 };
            Chat::new("").time(1 << 53) => "time", EncodeReason::OutOfRange;
            Chat::new("t".repeat(MAX_ITEM - 1)) => "text", EncodeReason::TooLong { max: MAX_ITEM };
        }
        assert_eq!(whole.clone().into_owned(), whole);
        assert!(!format!("{whole:?}").contains("Ada"));
    }

    #[test]
    fn unknown_attributes_are_skipped_and_still_in_order() {
        let bytes = hex("000e 00 0000 02 0001 61 06 0001 ff 7f 0000 6869");
        assert_eq!(Chat::decode(&bytes), Ok(Chat::new("hi").author("a")));
        refuses! { Chat: "0006 7f 0000 06 0000" => "type of a field", OutOfOrder; }
    }

    #[test]
    fn it_borrows() {
        let bytes = vec![0, 4, 2, 0, 1, b'a', b'h', b'i'];
        let chat = Chat::decode(&bytes).unwrap();
        assert!(matches!(chat.text, Cow::Borrowed("hi")));
        assert!(matches!(chat.author, Some(Cow::Borrowed("a"))));
    }
}
