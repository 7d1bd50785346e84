use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;

use super::reader::Reader;
use super::redacted::Bytes;
use super::writer::{put_digest, put_text, put_u64, whole};
use super::{DecodeError, DecodeReason, Digest, EncodeError, EncodeReason, Kind, TransferCode};

/// ACCEPT: the receiver wants it, from an offset on.
///
/// # Examples
///
/// ```
/// use duologue::wire::{Accept, Digest};
///
/// let accept = Accept { offset: 1 << 20, prefix: Some(Digest::Blake3([1; 32])) };
/// let mut payload = Vec::new();
/// accept.encode(&mut payload)?;
/// assert_eq!(Accept::decode(&payload), Ok(accept));
/// # Ok::<(), duologue::wire::EncodeError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Accept {
    /// Where to begin: what is before it, the receiver has.
    pub offset: u64,
    /// The digest of what is before the offset; `None` if and only if that is 0.
    pub prefix: Option<Digest>,
}

impl Accept {
    /// Reads the payload.
    ///
    /// # Errors
    ///
    /// [`DecodeError`].
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(Kind::ACCEPT, payload);
        let offset = reader.u64("offset")?;
        let mut prefix = None;
        if offset != 0 {
            prefix = reader.digest("prefix")?;
            if prefix.is_none() {
                return Err(reader.error("prefix", DecodeReason::Missing));
            }
        }
        reader.finish("payload")?;
        Ok(Self { offset, prefix })
    }

    /// Appends the payload to `out`, or nothing.
    ///
    /// # Errors
    ///
    /// [`EncodeError`].
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match (self.offset, &self.prefix) {
            (0, Some(_)) => return Err(EncodeError::new("prefix", EncodeReason::Unexpected)),
            (1.., None) => return Err(EncodeError::new("prefix", EncodeReason::Missing)),
            _ => {}
        }
        whole(out, |out| {
            put_u64(out, "offset", self.offset)?;
            if self.prefix.is_some() {
                put_digest(out, self.prefix.as_ref());
            }
            Ok(())
        })
    }
}

/// REJECT: the receiver does not want it.
#[derive(Clone, PartialEq, Eq)]
pub struct Reject<'a> {
    /// Why; not [`STORED`](TransferCode::STORED).
    pub code: TransferCode,
    /// For a log, and to be escaped there: at most 255 bytes, without a NUL.
    pub text: Cow<'a, str>,
}

/// CANCEL: the sender would like to give the transfer up.
#[derive(Clone, PartialEq, Eq)]
pub struct Cancel<'a> {
    /// Why; not [`STORED`](TransferCode::STORED).
    pub code: TransferCode,
    /// For a log, and to be escaped there: at most 255 bytes, without a NUL.
    pub text: Cow<'a, str>,
}

/// The two have one form.
macro_rules! refusal {
    ($frame:ident, $kind:expr) => {
        impl<'a> $frame<'a> {
            /// Reads the payload.
            ///
            /// # Errors
            ///
            /// [`DecodeError`].
            pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
                let mut reader = Reader::new($kind, payload);
                let code = TransferCode::new(reader.u16("code")?);
                if code == TransferCode::STORED {
                    return Err(reader.error("code", DecodeReason::OutOfRange));
                }
                Ok(Self { code, text: reader.text("text", 0, 255)? })
            }

            /// Appends the payload to `out`, or nothing.
            ///
            /// # Errors
            ///
            /// [`EncodeError`].
            pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
                if self.code == TransferCode::STORED {
                    return Err(EncodeError::new("code", EncodeReason::OutOfRange));
                }
                whole(out, |out| {
                    out.extend_from_slice(&self.code.to_u16().to_be_bytes());
                    put_text(out, "text", &self.text, 0, 255)
                })
            }

            /// The same, without borrowing.
            pub fn into_owned(self) -> $frame<'static> {
                $frame { code: self.code, text: Cow::Owned(self.text.into_owned()) }
            }
        }

        impl fmt::Debug for $frame<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($frame))
                    .field("code", &self.code)
                    .field("text", &Bytes(self.text.len()))
                    .finish()
            }
        }
    };
}

refusal!(Reject, Kind::REJECT);
refusal!(Cancel, Kind::CANCEL);

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::super::tables::{accepts, cannot_encode, refuses};
    use super::*;

    const DIGEST: &str = "1111111111111111111111111111111111111111111111111111111111111111";

    #[test]
    fn accept() {
        let from = |offset, prefix| Accept { offset, prefix };
        let digest = Digest::Blake3([0x11; 32]);
        accepts! { Accept:
            from(0, None) => "0000000000000000",
            from(1, Some(digest)) => format!("0000000000000001 01 {DIGEST}"),
            from(1 << 52, Some(Digest::Sha256([0x11; 32]))) =>
                format!("0010000000000000 02 {DIGEST}"),
        }
        refuses! { Accept:
            "00000000000000" => "offset", Truncated;
            "0020000000000000" => "offset", OutOfRange;
            "0000000000000000 00" => "payload", Trailing;
            "0000000000000001" => "prefix", Truncated;
            "0000000000000001 00" => "prefix", Missing;
            "0000000000000001 03" => "prefix", Unsupported;
            "0000000000000001 01 11" => "prefix", Truncated;
            format!("0000000000000001 01 {DIGEST} 00") => "payload", Trailing;
            format!("0000000000000000 01 {DIGEST}") => "payload", Trailing;
        }
        cannot_encode! {
            from(0, Some(digest)) => "prefix", EncodeReason::Unexpected;
            from(1, None) => "prefix", EncodeReason::Missing;
            from(1 << 53, Some(digest)) => "offset", EncodeReason::OutOfRange;
        }
        assert!(format!("{:?}", from(1, Some(digest))).contains("Some(Blake3)"));
    }

    #[test]
    fn reject_and_cancel() {
        let reject = |number, text: &'static str| Reject {
            code: TransferCode::new(number),
            text: text.into(),
        };
        accepts! { Reject:
            reject(1, "") => "0001",
            reject(13, "no") => "000d 6e6f",
        }
        accepts! { Cancel:
            Cancel { code: TransferCode::CANCELLED, text: "no".into() } => "0002 6e6f",
        }
        refuses! { Reject:
            "00" => "code", Truncated;
            "0000" => "code", OutOfRange;
            "0001 ff" => "text", NotUtf8;
            "0001 00" => "text", Nul;
            format!("0001 {}", "61".repeat(256)) => "text", OutOfRange;
        }
        refuses! { Cancel: "0000 6e6f" => "code", OutOfRange; }
        cannot_encode! {
            reject(0, "") => "code", EncodeReason::OutOfRange;
            reject(1, "a\0") => "text", EncodeReason::Nul;
            Cancel { code: TransferCode::STORED, text: "".into() } =>
                "code", EncodeReason::OutOfRange;
        }
        assert_eq!(Cancel::decode(&[]).unwrap_err().kind(), Kind::CANCEL);
        let shown = "Reject { code: declined, text: 6 bytes }";
        assert_eq!(format!("{:?}", reject(1, "secret").into_owned()), shown);
    }
}
