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
