use alloc::vec::Vec;
use core::fmt;

use super::fields::{Fields, required};
use super::redacted::Bytes;
use super::writer::{put_field, put_u64, whole};
use super::{
    ConversationId, DecodeError, DecodeReason, EncodeError, EncodeReason, Kind, Limits, Side,
};

/// HELLO: the first frame of each direction.
///
/// Two things that end the handshake are no [`DecodeError`], because the versions are judged before
/// them: a [`stream`](Self::stream) other than 0, and an
/// [unknown critical field](Self::unknown_critical).
///
/// # Examples
///
/// ```
/// use duologue::wire::{ConversationId, Hello, Limits, Side};
///
/// let hello = Hello {
///     lowest_version: 1,
///     highest_version: 1,
///     side: Side::Client,
///     nonce: [3; 32],
///     conversation: ConversationId::new([4; 16]),
///     attach: 0,
///     stream: 0,
///     features: 0,
///     limits: Limits::default(),
///     unknown_critical: None,
/// };
/// let mut payload = Vec::new();
/// hello.encode(&mut payload)?;
/// assert_eq!(Hello::decode(&payload).unwrap(), hello);
/// # Ok::<(), duologue::wire::EncodeError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Hello {
    /// The lowest version that the sender speaks; at least 1.
    pub lowest_version: u8,
    /// The highest one; at least the lowest.
    pub highest_version: u8,
    /// Who the sender is.
    pub side: Side,
    /// Random bytes.
    pub nonce: [u8; 32],
    /// The conversation that the stream is for.
    pub conversation: ConversationId,
    /// 0 for a new conversation, else more than in any earlier HELLO of it.
    pub attach: u64,
    /// 0; anything else is refused for now, though not here.
    pub stream: u8,
    /// Bits of what the sender offers, in the lower 53.
    pub features: u64,
    /// What the sender accepts.
    pub limits: Limits,
    /// When decoded: the type of the first field that is unknown and may not be skipped. When
    /// encoded it has to be `None`.
    pub unknown_critical: Option<u8>,
}

impl Hello {
    /// Reads the payload.
    ///
    /// # Errors
    ///
    /// [`DecodeError`].
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        const KIND: Kind = Kind::HELLO;
        let (mut versions, mut side, mut nonce, mut conversation) = (None, None, None, None);
        let (mut attach, mut stream, mut features, mut limits) = (None, None, None, None);
        let mut unknown_critical = None;
        let mut fields = Fields::new(KIND, payload);
        while let Some(field) = fields.next()? {
            match field.tag {
                0x81 => {
                    let range = field.array("version")?;
                    let [lowest, highest] = range;
                    if lowest == 0 || lowest > highest {
                        return Err(DecodeError::new(KIND, "version", DecodeReason::OutOfRange));
                    }
                    versions = Some((lowest, highest));
                }
                0x82 => {
                    side = Some(match field.u8("role")? {
                        0 => Side::Client,
                        1 => Side::Server,
                        _ => return Err(DecodeError::new(KIND, "role", DecodeReason::OutOfRange)),
                    });
                }
                0x83 => nonce = Some(field.array("nonce")?),
                0x84 => conversation = Some(ConversationId::new(field.array("conversation")?)),
                0x85 => attach = Some(field.u64("attach")?),
                0x86 => stream = Some(field.u8("stream")?),
                0x07 => {
                    let bits = field.u64("features")?;
                    if bits == 0 {
                        return Err(DecodeError::new(KIND, "features", DecodeReason::NotCanonical));
                    }
                    features = Some(bits);
                }
                0x88 => limits = Some(field.read("limits", Limits::read)?),
                _ => unknown_critical = unknown_critical.or(field.unknown(8)?),
            }
        }
        let (lowest_version, highest_version) = required(KIND, "version", versions)?;
        Ok(Self {
            lowest_version,
            highest_version,
            side: required(KIND, "role", side)?,
            nonce: required(KIND, "nonce", nonce)?,
            conversation: required(KIND, "conversation", conversation)?,
            attach: required(KIND, "attach", attach)?,
            stream: required(KIND, "stream", stream)?,
            features: features.unwrap_or(0),
            limits: required(KIND, "limits", limits)?,
            unknown_critical,
        })
    }

    /// Appends the payload to `out`, or nothing.
    ///
    /// # Errors
    ///
    /// [`EncodeError`], also if there is an [unknown field](Self::unknown_critical).
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.lowest_version == 0 || self.lowest_version > self.highest_version {
            return Err(EncodeError::new("version", EncodeReason::OutOfRange));
        }
        if self.unknown_critical.is_some() {
            return Err(EncodeError::new("unknown field", EncodeReason::Unexpected));
        }
        whole(out, |out| {
            let mut bytes = |field, tag, value: &[u8]| {
                put_field(out, field, tag, |out| {
                    out.extend_from_slice(value);
                    Ok(())
                })
            };
            bytes("version", 0x81, &[self.lowest_version, self.highest_version])?;
            bytes("role", 0x82, &[self.side.to_u8()])?;
            bytes("nonce", 0x83, &self.nonce)?;
            bytes("conversation", 0x84, self.conversation.as_bytes())?;
            put_field(out, "attach", 0x85, |out| put_u64(out, "attach", self.attach))?;
            put_field(out, "stream", 0x86, |out| {
                out.push(self.stream);
                Ok(())
            })?;
            if self.features != 0 {
                put_field(out, "features", 0x07, |out| put_u64(out, "features", self.features))?;
            }
            put_field(out, "limits", 0x88, |out| self.limits.put(out))
        })
    }
}

impl fmt::Debug for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hello")
            .field("lowest_version", &self.lowest_version)
            .field("highest_version", &self.highest_version)
            .field("side", &self.side)
            .field("nonce", &Bytes(self.nonce.len()))
            .field("conversation", &self.conversation)
            .field("attach", &self.attach)
            .field("stream", &self.stream)
            .field("features", &self.features)
            .field("limits", &self.limits)
            .field("unknown_critical", &self.unknown_critical)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use super::super::MAX_INTEGER;
    use super::super::tables::{accepts, cannot_encode, hex, refuses};
    use super::*;

    fn hello() -> Hello {
        Hello {
            lowest_version: 1,
            highest_version: 2,
            side: Side::Server,
            nonce: [0x33; 32],
            conversation: ConversationId::new([0x44; 16]),
            attach: 5,
            stream: 0,
            features: 6,
            limits: Limits::default(),
            unknown_critical: None,
        }
    }

    const FIELDS: [&str; 8] = [
        "81 0002 0102",
        "82 0001 01",
        "83 0020 3333333333333333333333333333333333333333333333333333333333333333",
        "84 0010 44444444444444444444444444444444",
        "85 0008 0000000000000005",
        "86 0001 00",
        "07 0008 0000000000000006",
        "88 0020 00010000 00004000 00011000 00000800 00080000 00000050 00000010 00004000",
    ];

    /// The fields with one of them, from 0 on, replaced.
    fn with(index: usize, field: &str) -> String {
        let mut fields = FIELDS;
        fields[index] = field;
        fields.concat()
    }

    #[test]
    fn accepted() {
        accepts! { Hello:
            hello() => FIELDS.concat(),
            Hello { features: 0, ..hello() } => with(6, ""),
            Hello { features: MAX_INTEGER, ..hello() } => with(6, "07 0008 001fffffffffffff"),
            Hello { stream: 7, ..hello() } => with(5, "86 0001 07"),
            Hello { side: Side::Client, ..hello() } => with(1, "82 0001 00"),
            Hello { lowest_version: 255, highest_version: 255, ..hello() } =>
                with(0, "81 0002 ffff"),
        }
        assert!(format!("{:?}", hello()).contains("nonce: 32 bytes"));
    }

    #[test]
    fn refused() {
        refuses! { Hello:
            "" => "version", Missing;
            with(0, "") => "version", Missing;
            with(1, "") => "role", Missing;
            with(2, "") => "nonce", Missing;
            with(3, "") => "conversation", Missing;
            with(4, "") => "attach", Missing;
            with(5, "") => "stream", Missing;
            with(7, "") => "limits", Missing;
            with(0, "81 0002 0001") => "version", OutOfRange;
            with(0, "81 0002 0201") => "version", OutOfRange;
            with(0, "81 0003 010200") => "version", Trailing;
            with(0, "01 0002 0102") => "type of a field", NotCanonical;
            with(1, "82 0001 02") => "role", OutOfRange;
            with(4, "85 0008 0020000000000000") => "attach", OutOfRange;
            with(6, "07 0008 0000000000000000") => "features", NotCanonical;
            with(6, "07 0008 0020000000000000") => "features", OutOfRange;
            with(6, "87 0008 0000000000000006") => "type of a field", NotCanonical;
            with(7, "88 0000") => "limits", Truncated;
            with(7, &format!("{} 00", FIELDS[7].replace("88 0020", "88 0021"))) =>
                "limits", Trailing;
            with(7, &FIELDS[7].replace("00004000 0001", "00004001 0001")) =>
                "limit of a fragment", OutOfRange;
            with(2, FIELDS[1]) => "type of a field", OutOfOrder;
            with(7, &FIELDS[7][..16]) => "value of a field", Truncated;
        }
        cannot_encode! {
            Hello { lowest_version: 0, ..hello() } => "version", EncodeReason::OutOfRange;
            Hello { lowest_version: 3, ..hello() } => "version", EncodeReason::OutOfRange;
            Hello { unknown_critical: Some(0x89), ..hello() } =>
                "unknown field", EncodeReason::Unexpected;
            Hello { attach: 1 << 53, ..hello() } => "attach", EncodeReason::OutOfRange;
            Hello { features: 1 << 53, ..hello() } => "features", EncodeReason::OutOfRange;
            Hello { limits: Limits { frame: 0, ..Limits::default() }, ..hello() } =>
                "limit of a frame", EncodeReason::OutOfRange;
        }
    }

    #[test]
    fn unknown_fields() {
        let decode = |more: &str| Hello::decode(&hex(&format!("{} {more}", FIELDS.concat())));
        assert_eq!(decode("09 0001 ff"), Ok(hello()));
        let critical = Hello { unknown_critical: Some(0x8A), ..hello() };
        assert_eq!(decode("09 0001 ff 8a 0000 8b 0000"), Ok(critical));
        // What is wrong after it is still wrong.
        assert_eq!(decode("8a 0000 8a 0000").unwrap_err().reason(), DecodeReason::OutOfOrder);
    }
}
