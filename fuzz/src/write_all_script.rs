//! `io::write_all_chunked` over a scripted transport equals a synchronous model of it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use arbitrary::{Arbitrary, Unstructured};
use duologue::io::{ChunkSize, Cursor, WriteError, write_all_chunked_with};
use duologue::testing::Faulty;
use duologue::time::VirtualClock;
use futures::io::AsyncWrite;

use super::script::{Plan, Run, run as run_future};

/// Takes all it is given, and checks that no call is larger than the chunk.
struct Sink {
    taken: Vec<u8>,
    chunk: usize,
}

impl AsyncWrite for Sink {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        assert!(!buf.is_empty() && buf.len() <= self.chunk);
        self.taken.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        panic!("the routine writes one slice")
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        panic!("the routine does not flush")
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        panic!("the routine does not close")
    }
}

pub fn run(data: &[u8]) {
    let Ok(plan) = Plan::arbitrary(&mut Unstructured::new(data)) else { return };
    let chunk = usize::from(plan.chunk).max(1);
    let size = ChunkSize::new(chunk).expect("within 1 B to 1 MiB");
    let clock = VirtualClock::new();
    let bytes = plan.data();
    let sink = Sink { taken: Vec::new(), chunk };
    let mut stream = Faulty::new(sink, plan.script(), &clock);
    let mut cursor = Cursor::new(&bytes[..]);
    let mut drops = plan.drops.iter().copied();
    for _ in 0..plan.rounds() {
        let write = write_all_chunked_with(&mut stream, &mut cursor, clock.timer())
            .chunk(size)
            .limits(plan.limits());
        let before = clock.now();
        let ended = run_future(write, &clock, drops.next());
        let took = clock.now().saturating_duration_since(before);
        plan.check_time(took);
        let taken = &stream.get_ref().taken;
        assert_eq!(cursor.position(), taken.len(), "no byte is left out or written twice");
        assert_eq!(&bytes[..taken.len()], &taken[..]);
        match ended {
            Run::Ended(Ok(n)) => {
                assert_eq!((n, taken.len()), (bytes.len(), bytes.len()));
                return;
            }
            Run::Ended(Err(error)) => {
                assert_eq!(error.written(), taken.len());
                match &error {
                    WriteError::Stalled { limit, .. } => plan.check_idle(*limit, took),
                    WriteError::Deadline { limit, .. } => plan.check_deadline(*limit, took),
                    WriteError::TooSlow { minimum, .. } => plan.check_rate(*minimum, took),
                    WriteError::Transport { error, .. } => plan.check_transport(error),
                    other => panic!("an error the model does not know: {other}"),
                }
            }
            Run::Dropped => {}
            Run::Stuck => panic!("waits although the idle limit is finite"),
        }
    }
    assert!(!plan.always_goes_on(), "an end was due");
}
