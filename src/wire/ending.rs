use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;

use super::reader::Reader;
use super::redacted::Bytes;
use super::writer::{put_digest, put_text, put_u64, whole};
use super::{DecodeError, Digest, EncodeError, Kind, TransferCode};

/// FINISH: how long the content is, all in all.
///
/// # Examples
///
/// ```
/// use duologue::wire::Finish;
///
/// let finish = Finish { total: 5, digest: None };
/// let mut payload = Vec::new();
/// finish.encode(&mut payload)?;
/// assert_eq!(payload, [0, 0, 0, 0, 0, 0, 0, 5, 0]);
/// assert_eq!(Finish::decode(&payload), Ok(finish));
/// # Ok::<(), duologue::wire::EncodeError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Finish {
    /// Bytes of content.
    pub total: u64,
    /// The digest of all of it, if the sender has made one.
    pub digest: Option<Digest>,
}

impl Finish {
    /// Reads the payload.
    ///
    /// # Errors
    ///
    /// [`DecodeError`].
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(Kind::FINISH, payload);
        let total = reader.u64("total")?;
        let digest = reader.digest("digest")?;
        reader.finish("payload")?;
        Ok(Self { total, digest })
    }

    /// Appends the payload to `out`, or nothing.
    ///
    /// # Errors
    ///
    /// [`EncodeError`].
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        put_u64(out, "total", self.total)?;
        put_digest(out, self.digest.as_ref());
        Ok(())
    }
}

/// VERDICT: the receiver's last word on a transfer.
///
/// # Examples
///
/// ```
/// use duologue::wire::{TransferCode, Verdict};
///
/// let verdict =
///     Verdict { code: TransferCode::STORED, total: 5, text: "notes (2).txt".into() };
/// let mut payload = Vec::new();
/// verdict.encode(&mut payload)?;
/// assert_eq!(Verdict::decode(&payload).unwrap(), verdict);
/// # Ok::<(), duologue::wire::EncodeError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Verdict<'a> {
    /// How it ended.
    pub code: TransferCode,
    /// Bytes received; of a batch, members stored.
    pub total: u64,
    /// The name it is stored under, else a reason for a log: at most 4096 bytes, without a NUL.
    pub text: Cow<'a, str>,
}

impl<'a> Verdict<'a> {
    /// Reads the payload of a whole item.
    ///
    /// # Errors
    ///
    /// [`DecodeError`].
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(Kind::VERDICT, payload);
        let code = TransferCode::new(reader.u16("code")?);
        let total = reader.u64("total")?;
        Ok(Self { code, total, text: reader.text("text", 0, 4096)? })
    }

    /// Appends the payload of the whole item to `out`, or nothing.
    ///
    /// # Errors
    ///
    /// [`EncodeError`].
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        whole(out, |out| {
            out.extend_from_slice(&self.code.to_u16().to_be_bytes());
            put_u64(out, "total", self.total)?;
            put_text(out, "text", &self.text, 0, 4096)
        })
    }

    /// The same, without borrowing.
    pub fn into_owned(self) -> Verdict<'static> {
        Verdict { code: self.code, total: self.total, text: Cow::Owned(self.text.into_owned()) }
    }
}

impl fmt::Debug for Verdict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verdict")
            .field("code", &self.code)
            .field("total", &self.total)
            .field("text", &Bytes(self.text.len()))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::super::tables::{accepts, cannot_encode, refuses};
    use super::super::{EncodeReason, MAX_INTEGER};
    use super::*;

    const DIGEST: &str = "2222222222222222222222222222222222222222222222222222222222222222";

    #[test]
    fn finish() {
        let finish = |total, digest| Finish { total, digest };
        accepts! { Finish:
            finish(0, None) => "0000000000000000 00",
            finish(5, Some(Digest::Blake3([0x22; 32]))) => format!("0000000000000005 01 {DIGEST}"),
            finish(MAX_INTEGER, Some(Digest::Sha256([0x22; 32]))) =>
                format!("001fffffffffffff 02 {DIGEST}"),
        }
        refuses! { Finish:
            "" => "total", Truncated;
            "0020000000000000 00" => "total", OutOfRange;
            "0000000000000000" => "digest", Truncated;
            "0000000000000000 0000" => "payload", Trailing;
            "0000000000000000 03" => "digest", Unsupported;
            "0000000000000000 02 22" => "digest", Truncated;
            format!("0000000000000000 02 {DIGEST} 00") => "payload", Trailing;
        }
        cannot_encode! { finish(1 << 53, None) => "total", EncodeReason::OutOfRange; }
    }

    #[test]
    fn verdict() {
        let verdict = |number, total, text: &'static str| Verdict {
            code: TransferCode::new(number),
            total,
            text: text.into(),
        };
        let longest = Verdict { text: "n".repeat(4096).into(), ..verdict(0, 0, "") };
        accepts! { Verdict:
            verdict(0, 5, "a.txt") => "0000 0000000000000005 612e747874",
            verdict(4, MAX_INTEGER, "") => "0004 001fffffffffffff",
            verdict(u16::MAX, 0, "") => "ffff 0000000000000000",
            longest.clone() => format!("0000 0000000000000000 {}", "6e".repeat(4096)),
        }
        refuses! { Verdict:
            "00" => "code", Truncated;
            "0000 00000000000000" => "total", Truncated;
            "0000 0020000000000000" => "total", OutOfRange;
            "0000 0000000000000000 ff" => "text", NotUtf8;
            "0000 0000000000000000 00" => "text", Nul;
            format!("0000 0000000000000000 {}", "6e".repeat(4097)) => "text", OutOfRange;
        }
        cannot_encode! {
            verdict(0, 1 << 53, "") => "total", EncodeReason::OutOfRange;
            verdict(0, 0, "a\0") => "text", EncodeReason::Nul;
            Verdict { text: "n".repeat(4097).into(), ..longest.clone() } =>
                "text", EncodeReason::TooLong { max: 4096 };
        }
        let shown = "Verdict { code: stored, total: 5, text: 5 bytes }";
        assert_eq!(format!("{:?}", verdict(0, 5, "a.txt").into_owned()), shown);
    }
}
