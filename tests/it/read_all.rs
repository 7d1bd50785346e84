use std::time::Duration;

use duologue::io::{Cursor, Limits, ReadError, read_all_with};
use duologue::testing::{Fault, Faulty, Script, duplex};
use duologue::time::VirtualClock;
use futures::AsyncWriteExt;

#[test]
fn silence_ends_after_exactly_the_idle_limit() {
    let clock = VirtualClock::new();
    let (mut near, mut far) = duplex(64);
    clock.block_on(far.write_all(b"abc")).unwrap().unwrap();
    let mut cursor = Cursor::new([0; 5]);
    let read = read_all_with(&mut near, &mut cursor, clock.timer());
    let error = clock.block_on(read).unwrap().unwrap_err();
    assert_eq!(error, ReadError::Idle { filled: 3, limit: Duration::from_secs(20) });
    assert_eq!(clock.now().as_micros(), 20_000_000);
    assert_eq!(cursor.filled(), b"abc");
}

#[test]
fn every_byte_starts_the_idle_limit_anew() {
    let clock = VirtualClock::new();
    let pause = || Fault::Delay(Duration::from_secs(19));
    let script = Script::new()
        .reads((0..10).flat_map(|_| [pause(), Fault::Split(1)]).filter(|f| *f != Fault::Split(1)));
    let data = [7_u8; 10];
    let mut stream = Faulty::new(&data[..], script, &clock);
    let mut cursor = Cursor::new([0; 10]);
    let read = read_all_with(&mut stream, &mut cursor, clock.timer());
    let _ = clock.block_on(read.limits(Limits::default())).unwrap();
}
