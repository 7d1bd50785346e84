//! `testing::duplex`.

use duologue::testing::duplex;
use futures::{AsyncReadExt, AsyncWriteExt};
use loom::future::block_on;

use super::{check, spawn};

#[test]
fn who_waits_for_room_or_for_bytes_is_woken() {
    check(|| {
        let (mut near, mut far) = duplex(1);
        let writer = spawn(move || {
            block_on(async {
                near.write_all(b"abc").await.unwrap();
                near.close().await.unwrap();
            });
        });
        let mut text = String::new();
        block_on(far.read_to_string(&mut text)).unwrap();
        assert_eq!(text, "abc");
        writer.join().unwrap();
    });
}

#[test]
fn both_directions_at_once_through_the_smallest_pipe() {
    check(|| {
        let (mut near, mut far) = duplex(1);
        let one = spawn(move || {
            block_on(async {
                near.write_all(b"ab").await.unwrap();
                let mut byte = [0];
                near.read_exact(&mut byte).await.unwrap();
                assert_eq!(&byte, b"c");
            });
        });
        block_on(async {
            let mut bytes = [0; 2];
            far.read_exact(&mut bytes).await.unwrap();
            assert_eq!(&bytes, b"ab");
            far.write_all(b"c").await.unwrap();
        });
        one.join().unwrap();
    });
}

#[test]
fn who_waits_when_the_other_end_is_dropped_is_woken() {
    check(|| {
        let (mut near, far) = duplex(1);
        let one = spawn(move || drop(far));
        let written = block_on(near.write_all(b"two"));
        assert!(written.is_err());
        one.join().unwrap();
        let (near, mut far) = duplex(1);
        let one = spawn(move || drop(near));
        assert_eq!(block_on(far.read(&mut [0])).unwrap(), 0);
        one.join().unwrap();
    });
}
