use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;

use super::fields::{Fields, required};
use super::redacted::Bytes;
use super::writer::{put_bytes, put_field, put_text, put_u64, whole};
use super::{DecodeError, EncodeError, Kind};

/// BATCH: a directory, whose entries follow as offers once it is accepted.
///
/// # Examples
///
/// ```
/// use duologue::wire::Batch;
///
/// let batch = Batch { name: "photos".into(), count: 3, bytes: 9000, metadata: [][..].into() };
/// let mut payload = Vec::new();
/// batch.encode(&mut payload)?;
/// assert_eq!(Batch::decode(&payload).unwrap(), batch);
/// # Ok::<(), duologue::wire::EncodeError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Batch<'a> {
    /// A proposal for a name: 1 to 255 bytes without a NUL.
    pub name: Cow<'a, str>,
    /// Members. Never more are offered, and just as many before the batch can be stored: a sender that
    /// has fewer in the end cancels it.
    pub count: u32,
    /// Bytes of their content in all.
    pub bytes: u64,
    /// The application's own, at most 4096 bytes.
    pub metadata: Cow<'a, [u8]>,
}

impl<'a> Batch<'a> {
    /// Reads the payload of a whole item.
    ///
    /// # Errors
    ///
    /// [`DecodeError`].
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        const KIND: Kind = Kind::BATCH;
        let (mut name, mut count, mut bytes) = (None, None, None);
        let mut metadata = Cow::Borrowed(&[][..]);
        let mut fields = Fields::new(KIND, payload);
        while let Some(field) = fields.next()? {
            match field.tag {
                0x81 => name = Some(field.text("name", 1, 255)?),
                0x82 => count = Some(field.u32("count")?),
                0x83 => bytes = Some(field.u64("bytes")?),
                0x04 => metadata = field.bytes("metadata", 1, 4096)?,
                _ => field.skip(4)?,
            }
        }
        Ok(Self {
            name: required(KIND, "name", name)?,
            count: required(KIND, "count", count)?,
            bytes: required(KIND, "bytes", bytes)?,
            metadata,
        })
    }

    /// Appends the payload of the whole item to `out`, or nothing.
    ///
    /// # Errors
    ///
    /// [`EncodeError`].
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        whole(out, |out| {
            put_field(out, "name", 0x81, |out| put_text(out, "name", &self.name, 1, 255))?;
            put_field(out, "count", 0x82, |out| {
                out.extend_from_slice(&self.count.to_be_bytes());
                Ok(())
            })?;
            put_field(out, "bytes", 0x83, |out| put_u64(out, "bytes", self.bytes))?;
            if self.metadata.is_empty() {
                return Ok(());
            }
            put_field(out, "metadata", 0x04, |out| {
                put_bytes(out, "metadata", &self.metadata, 1, 4096)
            })
        })
    }

    /// The same, without borrowing.
    pub fn into_owned(self) -> Batch<'static> {
        Batch {
            name: Cow::Owned(self.name.into_owned()),
            count: self.count,
            bytes: self.bytes,
            metadata: Cow::Owned(self.metadata.into_owned()),
        }
    }
}

impl fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("name", &Bytes(self.name.len()))
            .field("count", &self.count)
            .field("bytes", &self.bytes)
            .field("metadata", &Bytes(self.metadata.len()))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::super::tables::{accepts, cannot_encode, hex, refuses};
    use super::super::{EncodeReason, MAX_INTEGER};
    use super::*;

    #[test]
    fn batches() {
        let batch = |name: &'static str, metadata: &'static [u8]| Batch {
            name: name.into(),
            count: u32::MAX,
            bytes: MAX_INTEGER,
            metadata: metadata.into(),
        };
        let three = "81 0001 61 82 0004 ffffffff 83 0008 001fffffffffffff";
        accepts! { Batch:
            batch("a", b"") => three,
            batch("a", b"m") => format!("{three} 04 0001 6d"),
        }
        refuses! { Batch:
            "" => "name", Missing;
            "81 0001 61" => "count", Missing;
            "81 0001 61 82 0004 ffffffff" => "bytes", Missing;
            "81 0000" => "name", OutOfRange;
            format!("81 0100 {}", "61".repeat(256)) => "name", OutOfRange;
            "81 0001 61 82 0003 ffffff" => "count", Truncated;
            "81 0001 61 82 0004 ffffffff 83 0008 0020000000000000" => "bytes", OutOfRange;
            "81 0001 61 02 0004 ffffffff" => "type of a field", NotCanonical;
            format!("{three} 84 0001 6d") => "type of a field", NotCanonical;
            format!("{three} 04 0000") => "metadata", OutOfRange;
            format!("{three} 04 1001 {}", "00".repeat(4097)) => "metadata", OutOfRange;
            format!("{three} 85 0000") => "unknown field", Unsupported;
            format!("{three} 05") => "length of a field", Truncated;
        }
        cannot_encode! {
            batch("", b"") => "name", EncodeReason::TooShort;
            batch("a\0", b"") => "name", EncodeReason::Nul;
            batch("a", &[0; 4097]) => "metadata", EncodeReason::TooLong { max: 4096 };
            Batch { bytes: 1 << 53, ..batch("a", b"") } => "bytes", EncodeReason::OutOfRange;
        }
        let skipped = hex(&format!("{three} 05 0001 ff"));
        assert_eq!(Batch::decode(&skipped), Ok(batch("a", b"").into_owned()));
        assert!(!format!("{:?}", batch("secret", b"")).contains("secret"));
    }
}
