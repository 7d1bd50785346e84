//! Handing the machine's output to the transport.

use core::pin::Pin;
use core::task::{Context, Poll};
use std::io::{self, ErrorKind, IoSlice};
use std::vec::Vec;

use futures::io::AsyncWrite;

use crate::io::TransportError;
use crate::proto::{Connection, Transmit};
use crate::time::Time;

/// Slices in one vectored write: a full plan of 16 KiB frames with their headers.
const SLICES: usize = 64;
/// Bytes that are gathered for a transport that takes one slice at a time.
pub(super) const GATHERED: usize = 64 << 10;
/// Bytes that are offered at least: a transport that takes a few bytes at a time would have the rest
/// copied each time, or looked at.
const LEAST: usize = 512;

/// Writes, as one slice or many, whichever the transport can.
pub(super) struct Writer {
    /// The transport wrote the first slice alone, as the default of `poll_write_vectored` does: the
    /// rest is gathered into one from now on.
    gathers: bool,
    gathered: Vec<u8>,
    /// How much is offered at a time: the transport took half of it or more last time.
    worthwhile: usize,
    needs_flush: bool,
}

/// What one call brought.
pub(super) struct Written {
    pub(super) bytes: usize,
    /// The transport takes no more for now, or there is no more to write.
    pub(super) is_done: bool,
    /// There is more to write: the transport wakes the driver when it takes it.
    pub(super) is_blocked: bool,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self { gathers: false, gathered: Vec::new(), worthwhile: usize::MAX, needs_flush: false }
    }

    /// Writes until there is no more, the transport takes no more, or about `most` bytes went.
    pub(super) fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut W,
        connection: &mut Connection,
        now: Time,
        most: usize,
    ) -> Result<Written, TransportError> {
        let mut bytes: usize = 0;
        let mut interruptions: u32 = 0;
        // The transport took less than there was and most likely takes no more: nothing is planned
        // for a write that is only made to be woken.
        let mut is_full = false;
        while bytes < most {
            let transmit = if is_full && connection.has_planned() {
                connection.planned()
            } else if bytes == 0 || connection.has_anything_to_send() {
                connection.poll_transmit(now)
            } else {
                Transmit::none()
            };
            if transmit.is_empty() {
                self.poll_flush(cx, io)?;
                return Ok(Written { bytes, is_done: true, is_blocked: false });
            }
            let (offered, written) = self.poll_write_some(cx, io, transmit);
            match written {
                Poll::Ready(Ok(0)) => return Err(TransportError::WriteZero),
                Poll::Ready(Ok(len)) => {
                    connection.advance_transmit(len);
                    is_full = len < offered;
                    bytes = bytes.saturating_add(len);
                    self.needs_flush = true;
                    interruptions = 0;
                }
                Poll::Ready(Err(error)) if error.kind() == ErrorKind::Interrupted => {
                    interruptions = interruptions.saturating_add(1);
                    if interruptions >= TransportError::MAX_INTERRUPTIONS {
                        connection.advance_transmit(offered);
                        return Err(TransportError::Interrupted);
                    }
                }
                Poll::Ready(Err(error)) => {
                    // A part may have left before it failed, as of a TLS stream that writes record by
                    // record: the peer may have all of it.
                    connection.advance_transmit(offered);
                    return Err(error);
                }
                Poll::Pending => {
                    return Ok(Written { bytes, is_done: true, is_blocked: true });
                }
            }
        }
        Ok(Written { bytes, is_done: false, is_blocked: false })
    }

    /// Offers bytes to the transport; returns how many, and what came of it.
    fn poll_write_some<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut W,
        transmit: Transmit<'_>,
    ) -> (usize, Poll<Result<usize, TransportError>>) {
        let first = transmit.first().unwrap_or_default();
        let (offered, written) = if first.len() == transmit.len() {
            (first.len(), Pin::new(io).poll_write(cx, first))
        } else if self.gathers {
            self.gather(transmit);
            (self.gathered.len(), Pin::new(io).poll_write(cx, &self.gathered))
        } else {
            poll_write_vectored(cx, io, transmit, self.worthwhile)
        };
        let written = match written {
            Poll::Ready(Ok(claimed)) if claimed > offered => {
                Poll::Ready(Err(TransportError::Overrun { claimed, offered }))
            }
            Poll::Ready(Ok(len)) => {
                // Twice what it took is enough, and all that there is if it takes all.
                self.worthwhile = if len < offered {
                    len.saturating_mul(2).max(LEAST)
                } else {
                    self.worthwhile.max(LEAST).saturating_mul(2)
                };
                // A header alone is what no transport with vectors ever stops after.
                self.gathers |= len == first.len() && offered > len;
                Poll::Ready(Ok(len))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
            Poll::Pending => Poll::Pending,
        };
        (offered, written)
    }

    fn gather(&mut self, transmit: Transmit<'_>) {
        self.gathered.clear();
        for slice in transmit {
            let room = self.worthwhile.min(GATHERED).saturating_sub(self.gathered.len());
            if room == 0 {
                break;
            }
            self.gathered.extend_from_slice(slice.get(..room).unwrap_or(slice));
        }
    }

    /// Sees that what was written leaves; whether it has.
    pub(super) fn poll_flush<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut W,
    ) -> Result<(), TransportError> {
        if !self.needs_flush {
            return Ok(());
        }
        for _ in 0..TransportError::MAX_INTERRUPTIONS {
            return match Pin::new(&mut *io).poll_flush(cx) {
                Poll::Ready(Ok(())) => {
                    self.needs_flush = false;
                    Ok(())
                }
                Poll::Ready(Err(error)) if error.kind() == ErrorKind::Interrupted => continue,
                Poll::Ready(Err(error)) => Err(error.into()),
                Poll::Pending => Ok(()),
            };
        }
        Err(TransportError::Interrupted)
    }

    /// Gives the memory back.
    pub(super) fn shrink(&mut self) {
        self.gathered = Vec::new();
    }
}

/// Writes as many pieces as one call takes and are worthwhile; returns how many bytes these are, and
/// what came of it.
fn poll_write_vectored<W: AsyncWrite + Unpin>(
    cx: &mut Context<'_>,
    io: &mut W,
    transmit: Transmit<'_>,
    worthwhile: usize,
) -> (usize, Poll<io::Result<usize>>) {
    let mut slices = [IoSlice::new(&[]); SLICES];
    let (mut count, mut offered) = (0_usize, 0_usize);
    for (place, piece) in slices.iter_mut().zip(transmit) {
        *place = IoSlice::new(piece);
        count = count.saturating_add(1);
        offered = offered.saturating_add(piece.len());
        if offered >= worthwhile {
            break;
        }
    }
    let slices = slices.get(..count).unwrap_or_default();
    (offered, Pin::new(io).poll_write_vectored(cx, slices))
}
