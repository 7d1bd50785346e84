//! Bytes to frames and back: the wire format of `PROTOCOL.md`.
