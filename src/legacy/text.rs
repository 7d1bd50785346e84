use alloc::string::String;
use core::fmt;
use core::str;

/// Turns the bytes of a chat into text, however they were cut: UTF-8 unless told otherwise.
///
/// A character whose last bytes have not arrived is held back. What is not text in the encoding
/// becomes U+FFFD, one for each maximal invalid part as the Unicode and Encoding Standards have it,
/// and is counted. A byte order mark is passed on like any other character.
///
/// # Examples
///
/// ```
/// use duologue::legacy::TextDecoder;
///
/// let mut decoder = TextDecoder::new();
/// let mut text = String::new();
/// decoder.decode(b"\xEC\x95\x88\xEB\x85", &mut text); // the last byte is still on the way
/// assert_eq!(text, "안");
/// decoder.decode(b"\x95", &mut text);
/// decoder.finish(&mut text);
/// assert_eq!(text, "안녕");
/// assert_eq!(decoder.replaced(), 0);
/// ```
pub struct TextDecoder {
    inner: Inner,
    replaced: u64,
}

enum Inner {
    Utf8(Held),
    #[cfg(feature = "encoding")]
    Other(encoding_rs::Decoder),
}

/// The first bytes of a character: one to three of them, or none.
#[derive(Default)]
struct Held {
    bytes: [u8; 4],
    len: usize,
}

impl TextDecoder {
    /// A decoder of UTF-8.
    pub fn new() -> Self {
        Self { inner: Inner::Utf8(Held::default()), replaced: 0 }
    }

    /// A decoder of the encoding that the [Encoding Standard] calls `label`, say `euc-kr` (which
    /// includes all of CP949, the original's) or `shift_jis`.
    ///
    /// Without feature `encoding` it knows `utf-8` only.
    ///
    /// # Errors
    ///
    /// [`UnknownEncoding`] for a label that is unknown, or whose encoding the standard retired.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "encoding")] {
    /// use duologue::legacy::TextDecoder;
    ///
    /// let mut decoder = TextDecoder::for_label("euc-kr").unwrap();
    /// let mut text = String::new();
    /// decoder.decode(b"\xBE\xC8\xB3\xE7", &mut text);
    /// assert_eq!(text, "안녕");
    /// # }
    /// ```
    ///
    /// [Encoding Standard]: https://encoding.spec.whatwg.org/#names-and-labels
    pub fn for_label(label: &str) -> Result<Self, UnknownEncoding> {
        if is_utf8(label) {
            return Ok(Self::new());
        }
        #[cfg(feature = "encoding")]
        if let Some(encoding) = encoding_rs::Encoding::for_label_no_replacement(label.as_bytes()) {
            let decoder = encoding.new_decoder_without_bom_handling();
            return Ok(Self { inner: Inner::Other(decoder), replaced: 0 });
        }
        Err(UnknownEncoding::new(label))
    }

    /// The name of the encoding in the Encoding Standard, `UTF-8` or `EUC-KR` say.
    pub fn encoding(&self) -> &'static str {
        match &self.inner {
            Inner::Utf8(_) => "UTF-8",
            #[cfg(feature = "encoding")]
            Inner::Other(decoder) => decoder.encoding().name(),
        }
    }

    /// How many times U+FFFD stood in for bytes that were not text.
    pub const fn replaced(&self) -> u64 {
        self.replaced
    }

    /// Takes bytes that have arrived and appends their text to `output`.
    ///
    /// At most three bytes of text are appended for each byte of input and each one held back.
    pub fn decode(&mut self, input: &[u8], output: &mut String) {
        let replaced = match &mut self.inner {
            Inner::Utf8(held) => held.decode(input, output),
            #[cfg(feature = "encoding")]
            Inner::Other(decoder) => decode_other(decoder, input, output, false),
        };
        self.replaced = self.replaced.saturating_add(replaced);
    }

    /// Ends the text: the part of a character that is still held back becomes U+FFFD.
    ///
    /// The decoder is then as new, but for its count.
    pub fn finish(&mut self, output: &mut String) {
        let replaced = match &mut self.inner {
            Inner::Utf8(held) => held.finish(output),
            #[cfg(feature = "encoding")]
            Inner::Other(decoder) => {
                let replaced = decode_other(decoder, &[], output, true);
                *decoder = decoder.encoding().new_decoder_without_bom_handling();
                replaced
            }
        };
        self.replaced = self.replaced.saturating_add(replaced);
    }
}

impl Default for TextDecoder {
    fn default() -> Self {
        Self::new()
    }
}

// Not the bytes held back: they are the peer's.
impl fmt::Debug for TextDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextDecoder")
            .field("encoding", &self.encoding())
            .field("replaced", &self.replaced)
            .finish_non_exhaustive()
    }
}

impl Held {
    /// Appends what can be decoded; the number of replacements.
    fn decode(&mut self, mut input: &[u8], output: &mut String) -> u64 {
        let mut replaced = self.complete(&mut input, output);
        let mut rest = input.len();
        for chunk in input.utf8_chunks() {
            output.push_str(chunk.valid());
            let invalid = chunk.invalid();
            rest = rest.saturating_sub(chunk.valid().len()).saturating_sub(invalid.len());
            if rest == 0 && is_cut(invalid) {
                invalid.iter().for_each(|byte| self.push(*byte));
            } else if !invalid.is_empty() {
                output.push(char::REPLACEMENT_CHARACTER);
                replaced = replaced.saturating_add(1);
            }
        }
        replaced
    }

    /// Goes on with the character that an earlier input had begun.
    fn complete(&mut self, input: &mut &[u8], output: &mut String) -> u64 {
        while let (1.., Some((byte, rest))) = (self.len, input.split_first()) {
            let before = self.len;
            self.push(*byte);
            if let Ok(text) = str::from_utf8(self.filled()) {
                output.push_str(text);
                self.len = 0;
            } else if !is_cut(self.filled()) {
                // The new byte does not belong to it, and is looked at again on its own.
                self.len = before;
                return self.finish(output);
            }
            *input = rest;
        }
        0
    }

    fn finish(&mut self, output: &mut String) -> u64 {
        if self.len == 0 {
            return 0;
        }
        self.len = 0;
        output.push(char::REPLACEMENT_CHARACTER);
        1
    }

    fn filled(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn push(&mut self, byte: u8) {
        if let Some(room) = self.bytes.get_mut(self.len) {
            *room = byte;
            self.len = self.len.saturating_add(1);
        }
    }
}

/// Whether `bytes` are the beginning of a character, and nothing else.
fn is_cut(bytes: &[u8]) -> bool {
    str::from_utf8(bytes)
        .is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
}

#[cfg(feature = "encoding")]
fn decode_other(
    decoder: &mut encoding_rs::Decoder,
    mut input: &[u8],
    output: &mut String,
    last: bool,
) -> u64 {
    let mut replaced = 0_u64;
    // encoding_rs 0.8.35 forgets the first byte of a Korean, Japanese or Chinese character when it is
    // given no input before the second.
    if input.is_empty() && !last {
        return replaced;
    }
    loop {
        let room = decoder.max_utf8_buffer_length_without_replacement(input.len());
        output.reserve(room.unwrap_or(usize::MAX).min(MAX_ROOM));
        let (result, used) = decoder.decode_to_string_without_replacement(input, output, last);
        input = input.get(used..).unwrap_or_default();
        match result {
            encoding_rs::DecoderResult::InputEmpty => return replaced,
            encoding_rs::DecoderResult::OutputFull => {}
            encoding_rs::DecoderResult::Malformed(..) => {
                output.push(char::REPLACEMENT_CHARACTER);
                replaced = replaced.saturating_add(1);
                if input.is_empty() && !last {
                    return replaced;
                }
            }
        }
    }
}

/// Most room asked for at once; a longer text takes several turns.
#[cfg(feature = "encoding")]
const MAX_ROOM: usize = 64 * 1024;

/// Whether `label` is one of UTF-8's usual labels.
pub(super) fn is_utf8(label: &str) -> bool {
    let label = label.trim();
    label.eq_ignore_ascii_case("utf-8") || label.eq_ignore_ascii_case("utf8")
}

/// No encoding has this label, or none that this build knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownEncoding {
    label: String,
}

impl UnknownEncoding {
    /// Most characters of a label that are kept.
    const MAX_LABEL: usize = 64;

    pub(super) fn new(label: &str) -> Self {
        Self { label: label.chars().take(Self::MAX_LABEL).collect() }
    }

    /// The label, cut to 64 characters.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Whether trying again can help: it cannot.
    pub const fn can_retry(&self) -> bool {
        false
    }
}

impl fmt::Display for UnknownEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown encoding {:?}", self.label)?;
        if cfg!(not(feature = "encoding")) {
            f.write_str("; without the feature `encoding` only UTF-8 is known")?;
        }
        Ok(())
    }
}

impl core::error::Error for UnknownEncoding {}
