//! `io::read_all` over a scripted transport equals a synchronous model of it.

use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use duologue::io::{Cursor, ReadError, SizePrefix, SizedCursor, read_all_with};
use duologue::testing::{Fault, Faulty};
use duologue::time::VirtualClock;

use super::script::{Plan, Run, run as run_future};

/// What the model says must be true of an outcome that ended a read with `filled` of `len` bytes.
fn check(plan: &Plan, error: &ReadError, filled: usize, len: usize, took: Duration) {
    assert_eq!(error.filled(), filled, "the error tells the position");
    assert!(filled <= len);
    match error {
        ReadError::EndOfStream { .. } => {
            let ends = plan.count(|fault| matches!(fault, Fault::Zero | Fault::Cut));
            assert!(ends > 0, "the stream had more");
        }
        ReadError::Idle { limit, .. } => plan.check_idle(*limit, took),
        ReadError::Deadline { limit, .. } => plan.check_deadline(*limit, took),
        ReadError::TooSlow { minimum, .. } => plan.check_rate(*minimum, took),
        ReadError::Transport { error, .. } => plan.check_transport(error),
        other => panic!("an error the model does not know: {other}"),
    }
}

pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let (Ok(sized), Ok(plan)) = (bool::arbitrary(&mut input), Plan::arbitrary(&mut input)) else {
        return;
    };
    if sized { read_sized(&plan) } else { read_exactly(&plan) }
}

/// Reads until the cursor is full, or the stream is at its end or stalls, dropping on the way.
fn read_exactly(plan: &Plan) {
    let clock = VirtualClock::new();
    let bytes = plan.data();
    let mut stream = Faulty::new(&bytes[..], plan.script(), &clock);
    let mut cursor = Cursor::new(vec![0xEE; bytes.len()]);
    let mut drops = plan.drops.iter().copied();
    for _ in 0..plan.rounds() {
        let read = read_all_with(&mut stream, &mut cursor, clock.timer()).limits(plan.limits());
        let before = clock.now();
        let ended = run_future(read, &clock, drops.next());
        let took = clock.now().saturating_duration_since(before);
        plan.check_time(took);
        // Whatever happened: what the cursor shows is what the stream has lost, in order.
        let taken = bytes.len() - stream.get_ref().len();
        assert_eq!(cursor.position(), taken, "no byte is lost or made up");
        assert_eq!(cursor.filled(), &bytes[..taken]);
        assert!(cursor.buffer()[taken..].iter().all(|byte| *byte == 0xEE));
        match ended {
            Run::Ended(Ok(n)) => {
                assert_eq!((n, cursor.remaining()), (bytes.len(), 0));
                return;
            }
            Run::Ended(Err(error)) => {
                check(plan, &error, taken, bytes.len(), took);
            }
            Run::Dropped => {}
            Run::Stuck => panic!("waits although the idle limit is finite"),
        }
    }
    assert!(!plan.always_goes_on(), "an end was due");
}

/// The same with a size before the bytes, which may be over the limit.
fn read_sized(plan: &Plan) {
    let clock = VirtualClock::new();
    let body = plan.data();
    let limit = u64::from(plan.chunk % 5000);
    let mut bytes = SizePrefix::U32Be.encode(body.len() as u64).expect("small").to_vec();
    bytes.extend_from_slice(&body);
    let mut stream = Faulty::new(&bytes[..], plan.script(), &clock);
    let mut cursor = SizedCursor::new(SizePrefix::U32Be, limit);
    let mut drops = plan.drops.iter().copied();
    for _ in 0..plan.rounds() {
        let read = read_all_with(&mut stream, &mut cursor, clock.timer()).limits(plan.limits());
        let before = clock.now();
        let ended = run_future(read, &clock, drops.next());
        let took = clock.now().saturating_duration_since(before);
        plan.check_time(took);
        let taken = bytes.len() - stream.get_ref().len();
        assert_eq!(cursor.body(), &body[..taken.saturating_sub(SizePrefix::LEN)]);
        assert!(cursor.clone().into_body().capacity() <= (2 * taken).max(16 * 1024));
        match ended {
            Run::Ended(Ok(n)) => {
                assert_eq!(n, body.len());
                assert!(n as u64 <= limit);
                return;
            }
            Run::Ended(Err(ReadError::Size { .. })) => {
                assert!(body.len() as u64 > limit && cursor.body().is_empty());
                return;
            }
            Run::Ended(Err(error)) => {
                check(plan, &error, cursor.body().len(), body.len(), took);
            }
            Run::Dropped => {}
            Run::Stuck => panic!("waits although the idle limit is finite"),
        }
    }
    assert!(!plan.always_goes_on(), "an end was due");
}
