//! The limits of a transfer hold for the whole of it, however the peer and our own side behave.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use duologue::io::Limits;
use duologue::legacy::{FileReceiver, FileSender};
use duologue::time::VirtualClock;
use futures::io::{AsyncRead, AsyncWrite};

use crate::support::seconds;

/// Always ready, and each call takes a second: a peer that never makes anybody wait.
struct Ponderous<S>(S, VirtualClock);

impl<S: AsyncRead + Unpin> AsyncRead for Ponderous<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.1.advance(Duration::from_secs(1));
        let len = buf.len().min(8192);
        Pin::new(&mut self.0).poll_read(cx, &mut buf[..len])
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Ponderous<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.1.advance(Duration::from_secs(1));
        let len = buf.len().min(8192);
        Pin::new(&mut self.0).poll_write(cx, &buf[..len])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

#[test]
fn a_transfer_that_never_waits_is_held_to_its_limits_all_the_same() {
    let (file, deadline) = (vec![7; 5_000_000], Duration::from_secs(10));
    let mut wire = 5_000_000_i32.to_le_bytes().to_vec();
    wire.extend_from_slice(&file);
    for limits in
        [Limits::default().deadline(deadline), Limits::default().minimum_rate(1_000_000, deadline)]
    {
        let clock = VirtualClock::new();
        let mut stream = Ponderous(&wire[..], clock.clone());
        let mut receiver = FileReceiver::new(1 << 30).limits(limits);
        let mut sink = futures::io::sink();
        let received = receiver.receive_with(&mut stream, &mut sink, clock.timer());
        let error = clock.block_on(received).unwrap().unwrap_err();
        assert!(error.can_retry(), "{error}");
        // The buffer that was being filled, eight calls of a second, is filled first.
        assert!(clock.now() >= seconds(10) && clock.now() <= seconds(19), "{:?}", clock.now());

        let clock = VirtualClock::new();
        let mut stream = Ponderous(Vec::new(), clock.clone());
        let mut sender = FileSender::new(5_000_000).unwrap().limits(limits);
        let mut source = &file[..];
        let sent = sender.send_with(&mut source, &mut stream, clock.timer());
        let error = clock.block_on(sent).unwrap().unwrap_err();
        assert!(error.can_retry(), "{error}");
        assert!(clock.now() >= seconds(10) && clock.now() <= seconds(19), "{:?}", clock.now());
    }
}
