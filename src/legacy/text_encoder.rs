use alloc::vec::Vec;
use core::fmt;

use super::UnknownEncoding;
use super::text::is_utf8;

/// Turns text into the bytes of a chat: UTF-8 unless told otherwise.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "encoding")] {
/// use duologue::legacy::TextEncoder;
///
/// let mut encoder = TextEncoder::for_label("euc-kr").unwrap();
/// let mut bytes = Vec::new();
/// encoder.encode("안녕", &mut bytes).unwrap();
/// assert_eq!(bytes, b"\xBE\xC8\xB3\xE7");
///
/// let error = encoder.encode("안녕 🙂", &mut bytes).unwrap_err();
/// assert_eq!(error.character(), '🙂');
/// assert_eq!(bytes.len(), 4); // all of a text is encoded, or nothing
/// # }
/// ```
pub struct TextEncoder {
    inner: Inner,
}

enum Inner {
    Utf8,
    // The Encoding Standard has no encoder for these two.
    #[cfg(feature = "encoding")]
    Utf16Le,
    #[cfg(feature = "encoding")]
    Utf16Be,
    #[cfg(feature = "encoding")]
    Other(encoding_rs::Encoder),
}

impl TextEncoder {
    /// An encoder to UTF-8, which can write every text.
    pub const fn new() -> Self {
        Self { inner: Inner::Utf8 }
    }

    /// An encoder to the encoding that the [Encoding Standard] calls `label`; see
    /// [`TextDecoder::for_label`](super::TextDecoder::for_label).
    ///
    /// UTF-16 is written without a byte order mark.
    ///
    /// # Errors
    ///
    /// [`UnknownEncoding`] for a label that is unknown, or whose encoding the standard retired.
    ///
    /// [Encoding Standard]: https://encoding.spec.whatwg.org/#names-and-labels
    pub fn for_label(label: &str) -> Result<Self, UnknownEncoding> {
        if is_utf8(label) {
            return Ok(Self::new());
        }
        #[cfg(feature = "encoding")]
        if let Some(encoding) = encoding_rs::Encoding::for_label_no_replacement(label.as_bytes()) {
            let inner = if encoding == encoding_rs::UTF_16LE {
                Inner::Utf16Le
            } else if encoding == encoding_rs::UTF_16BE {
                Inner::Utf16Be
            } else {
                Inner::Other(encoding.new_encoder())
            };
            return Ok(Self { inner });
        }
        Err(UnknownEncoding::new(label))
    }

    /// The name of the encoding in the Encoding Standard, `UTF-8` or `EUC-KR` say.
    pub fn encoding(&self) -> &'static str {
        match &self.inner {
            Inner::Utf8 => "UTF-8",
            #[cfg(feature = "encoding")]
            Inner::Utf16Le => "UTF-16LE",
            #[cfg(feature = "encoding")]
            Inner::Utf16Be => "UTF-16BE",
            #[cfg(feature = "encoding")]
            Inner::Other(encoder) => encoder.encoding().name(),
        }
    }

    /// Appends the bytes of `text` to `output`: all of them, or none.
    ///
    /// A text may be cut between any two characters: the same bytes come out.
    ///
    /// # Errors
    ///
    /// [`Unmappable`] names the first character that the encoding cannot write. Nothing is put in
    /// its place; `output` and the encoder are as before.
    pub fn encode(&mut self, text: &str, output: &mut Vec<u8>) -> Result<(), Unmappable> {
        match &mut self.inner {
            Inner::Utf8 => output.extend_from_slice(text.as_bytes()),
            #[cfg(feature = "encoding")]
            Inner::Utf16Le => output.extend(text.encode_utf16().flat_map(u16::to_le_bytes)),
            #[cfg(feature = "encoding")]
            Inner::Utf16Be => output.extend(text.encode_utf16().flat_map(u16::to_be_bytes)),
            #[cfg(feature = "encoding")]
            Inner::Other(encoder) => {
                // On a spare encoder first: a stateful one cannot be put back.
                let mut spare = encoder.encoding().new_encoder();
                encode_other(&mut spare, text, false, |_| {})?;
                encode_other(encoder, text, false, |bytes| output.extend_from_slice(bytes))?;
            }
        }
        Ok(())
    }

    /// Bytes that [`encode`](Self::encode) makes of `text`, or what comes before a character that
    /// it refuses; an encoding with states counts from the initial one.
    #[cfg(feature = "std")]
    pub(super) fn encoded_len(&self, text: &str) -> usize {
        match &self.inner {
            Inner::Utf8 => text.len(),
            #[cfg(feature = "encoding")]
            Inner::Utf16Le | Inner::Utf16Be => text.encode_utf16().count().saturating_mul(2),
            #[cfg(feature = "encoding")]
            Inner::Other(encoder) => {
                let mut spare = encoder.encoding().new_encoder();
                let mut len = 0_usize;
                let count = |bytes: &[u8]| len = len.saturating_add(bytes.len());
                let _ = encode_other(&mut spare, text, false, count);
                len
            }
        }
    }

    /// Ends the text: appends what brings the peer back to the initial state, which for all
    /// encodings but ISO-2022-JP is nothing.
    ///
    /// The encoder is then as new.
    pub fn finish(&mut self, output: &mut Vec<u8>) {
        #[cfg(feature = "encoding")]
        if let Inner::Other(encoder) = &mut self.inner {
            // No text, so nothing to be unmappable.
            let _ = encode_other(encoder, "", true, |bytes| output.extend_from_slice(bytes));
            *encoder = encoder.encoding().new_encoder();
        }
        let _ = output;
    }
}

impl Default for TextEncoder {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for TextEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextEncoder").field("encoding", &self.encoding()).finish()
    }
}

#[cfg(feature = "encoding")]
fn encode_other(
    encoder: &mut encoding_rs::Encoder,
    mut text: &str,
    last: bool,
    mut output: impl FnMut(&[u8]),
) -> Result<(), Unmappable> {
    let mut piece = [0; 256];
    loop {
        let (result, used, written) =
            encoder.encode_from_utf8_without_replacement(text, &mut piece, last);
        output(piece.get(..written).unwrap_or_default());
        let done = text.get(..used).unwrap_or_default();
        text = text.get(used..).unwrap_or_default();
        match result {
            encoding_rs::EncoderResult::InputEmpty => return Ok(()),
            encoding_rs::EncoderResult::OutputFull => {}
            encoding_rs::EncoderResult::Unmappable(character) => {
                // ISO-2022-JP names U+FFFD for a control character that it refuses.
                let character = done.chars().next_back().unwrap_or(character);
                return Err(Unmappable { character, encoding: encoder.encoding().name() });
            }
        }
    }
}

/// The encoding of a chat has no bytes for a character.
///
/// Trying again with the same text cannot help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unmappable {
    character: char,
    encoding: &'static str,
}

impl Unmappable {
    /// The first character that the encoding cannot write.
    pub const fn character(&self) -> char {
        self.character
    }

    /// The name of the encoding.
    pub const fn encoding(&self) -> &'static str {
        self.encoding
    }

    /// Whether trying again can help: it cannot.
    pub const fn can_retry(&self) -> bool {
        false
    }
}

impl fmt::Display for Unmappable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { character, encoding } = self;
        write!(f, "{encoding} cannot write U+{:04X}", u32::from(*character))
    }
}

impl core::error::Error for Unmappable {}
