use super::FileError;
use crate::io::SizePrefix;

/// What [`FileDecoder::decode`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileEvent<'a> {
    /// The announced size in bytes, within the limit. It comes once, before any data.
    Size(u64),
    /// The next bytes of the file, never empty; a part of the input.
    Data(&'a [u8]),
}

/// Takes the chapter's file format apart, without I/O and without a buffer.
///
/// It keeps at most the four bytes of a size and owns no memory. The whole file has arrived when
/// [`is_complete`](Self::is_complete) says so, and is good once [`handle_eof`](Self::handle_eof)
/// does.
///
/// # Examples
///
/// ```
/// use duologue::legacy::{FileDecoder, FileEvent};
///
/// let mut decoder = FileDecoder::new(1024);
/// let (mut input, mut file) = (&b"\x05\0\0\0hello"[..], Vec::new());
/// while !input.is_empty() {
///     let (used, event) = decoder.decode(input)?;
///     if let Some(FileEvent::Data(data)) = event {
///         file.extend_from_slice(data);
///     }
///     input = &input[used..];
/// }
/// decoder.handle_eof()?;
/// assert_eq!(file, b"hello");
/// # Ok::<(), duologue::legacy::FileError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileDecoder {
    limit: u64,
    state: Result<State, FileError>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size { bytes: [u8; SizePrefix::LEN], filled: usize },
    Body { size: u64, received: u64 },
}

impl FileDecoder {
    /// A decoder that accepts a file of at most `limit` bytes.
    ///
    /// A limit over 2,147,483,647 has no effect: the format knows no larger size.
    pub const fn new(limit: u64) -> Self {
        let state = State::Size { bytes: [0; SizePrefix::LEN], filled: 0 };
        Self { limit, state: Ok(state) }
    }

    /// The announced size in bytes, once it is known and accepted.
    pub const fn size(&self) -> Option<u64> {
        match self.state {
            Ok(State::Body { size, .. }) => Some(size),
            _ => None,
        }
    }

    /// Bytes of the file that are still to come, once the size is known.
    pub const fn remaining(&self) -> Option<u64> {
        match self.state {
            Ok(State::Body { size, received }) => Some(size.saturating_sub(received)),
            _ => None,
        }
    }

    /// Whether every byte of the file has arrived, and none behind it.
    pub const fn is_complete(&self) -> bool {
        matches!(self.remaining(), Some(0))
    }

    /// Takes bytes that have arrived; returns how many it used, and what they were.
    ///
    /// Non-empty input is used by at least one byte, or refused; what is not used belongs to the
    /// next call. Input may be cut anywhere.
    ///
    /// # Errors
    ///
    /// [`FileError::Size`] and [`FileError::TrailingData`]. Errors are final: each later call
    /// repeats the first one.
    pub fn decode<'a>(
        &mut self,
        input: &'a [u8],
    ) -> Result<(usize, Option<FileEvent<'a>>), FileError> {
        match self.state? {
            State::Size { bytes, filled } => self.decode_size(bytes, filled, input),
            State::Body { size, received } => {
                if input.is_empty() {
                    return Ok((0, None));
                }
                let rest = usize::try_from(size.saturating_sub(received)).unwrap_or(usize::MAX);
                if rest == 0 {
                    return Err(self.fail(FileError::TrailingData));
                }
                let data = input.get(..rest).unwrap_or(input);
                let received = received.saturating_add(data.len() as u64);
                self.state = Ok(State::Body { size, received });
                Ok((data.len(), Some(FileEvent::Data(data))))
            }
        }
    }

    /// Tells the decoder that the peer has closed the connection.
    ///
    /// # Errors
    ///
    /// [`FileError::NothingSent`] and [`FileError::Truncated`], or the error that ended decoding
    /// before. Errors are final.
    pub fn handle_eof(&mut self) -> Result<(), FileError> {
        let error = match self.state? {
            State::Size { filled: 0, .. } => FileError::NothingSent,
            State::Size { filled, .. } => {
                FileError::Truncated { received: filled as u64, size: None }
            }
            State::Body { size, received } if received < size => {
                FileError::Truncated { received, size: Some(size) }
            }
            State::Body { .. } => return Ok(()),
        };
        Err(self.fail(error))
    }

    fn decode_size<'a>(
        &mut self,
        mut bytes: [u8; SizePrefix::LEN],
        mut filled: usize,
        input: &[u8],
    ) -> Result<(usize, Option<FileEvent<'a>>), FileError> {
        let mut used = 0_usize;
        for (room, byte) in bytes.iter_mut().skip(filled).zip(input) {
            *room = *byte;
            used = used.saturating_add(1);
        }
        filled = filled.saturating_add(used);
        if filled < SizePrefix::LEN {
            self.state = Ok(State::Size { bytes, filled });
            return Ok((used, None));
        }
        let size = SizePrefix::I32Le
            .decode(bytes, self.limit)
            .map_err(|error| self.fail(FileError::Size(error)))?;
        self.state = Ok(State::Body { size, received: 0 });
        Ok((used, Some(FileEvent::Size(size))))
    }

    fn fail(&mut self, error: FileError) -> FileError {
        self.state = Err(error);
        error
    }
}

/// Puts the chapter's file format together, without I/O: a size, and as many bytes as that.
///
/// It passes the file through and counts, so that neither fewer nor more bytes than announced go
/// out unnoticed.
///
/// # Examples
///
/// ```
/// use duologue::legacy::FileEncoder;
///
/// let mut encoder = FileEncoder::new(5)?;
/// let mut wire = encoder.header().to_vec();
/// wire.extend_from_slice(encoder.encode(b"hello")?);
/// encoder.finish()?;
/// assert_eq!(wire, [0x05, 0, 0, 0, 0x68, 0x65, 0x6C, 0x6C, 0x6F]);
/// # Ok::<(), duologue::legacy::FileError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEncoder {
    size: u64,
    header: [u8; SizePrefix::LEN],
    encoded: Result<u64, FileError>,
}

impl FileEncoder {
    /// The largest file that the format can announce: 2,147,483,647 bytes.
    pub const MAX_SIZE: u64 = SizePrefix::I32Le.max();

    /// An encoder for a file of `size` bytes.
    ///
    /// # Errors
    ///
    /// [`FileError::TooLarge`] for 2 GiB and more: no size is ever cut down to 32 bits.
    pub const fn new(size: u64) -> Result<Self, FileError> {
        match SizePrefix::I32Le.encode(size) {
            Ok(header) => Ok(Self { size, header, encoded: Ok(0) }),
            Err(_) => Err(FileError::TooLarge { size, limit: Self::MAX_SIZE }),
        }
    }

    /// The four bytes that go out first.
    pub const fn header(&self) -> [u8; SizePrefix::LEN] {
        self.header
    }

    /// The announced size in bytes.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Bytes of the file that are still to be encoded; 0 after an error.
    pub const fn remaining(&self) -> u64 {
        match self.encoded {
            Ok(encoded) => self.size.saturating_sub(encoded),
            Err(_) => 0,
        }
    }

    /// Takes the next bytes of the file; returns what to send for them, which is the same bytes.
    ///
    /// # Errors
    ///
    /// [`FileError::SourceGrew`] when they exceed the announced size: then none of them may be
    /// sent, and the connection is to be closed, so that the peer sees a short transfer. Errors
    /// are final.
    pub fn encode<'a>(&mut self, data: &'a [u8]) -> Result<&'a [u8], FileError> {
        let encoded = self.encoded?.saturating_add(data.len() as u64);
        self.encoded = if encoded > self.size {
            Err(FileError::SourceGrew { size: self.size })
        } else {
            Ok(encoded)
        };
        self.encoded.map(|_| data)
    }

    /// Tells the encoder that the source has ended.
    ///
    /// # Errors
    ///
    /// [`FileError::SourceTooShort`] when bytes are missing; the connection is to be closed, so
    /// that the peer sees a short transfer. Errors are final.
    pub fn finish(&mut self) -> Result<(), FileError> {
        let available = self.encoded?;
        if available < self.size {
            self.encoded = Err(FileError::SourceTooShort { available, size: self.size });
        }
        self.encoded.map(drop)
    }
}
