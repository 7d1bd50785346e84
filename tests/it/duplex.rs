//! `testing::duplex`: back-pressure, half-close, wakers, and nothing at random.

use std::io::{ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use duologue::testing::{SplitMix64, duplex};
use duologue::time::{Stuck, VirtualClock};
use futures::executor::block_on;
use futures::io::{AsyncRead, AsyncWrite};
use futures::{AsyncReadExt, AsyncWriteExt};
use futures_test::task::new_count_waker;

use crate::support::write_now;

#[test]
fn carries_bytes_both_ways_in_order() {
    let (mut near, mut far) = duplex(16);
    write_now(&mut near, b"there");
    write_now(&mut far, b"back");
    let mut buffer = [0; 16];
    assert_eq!(block_on(far.read(&mut buffer)).unwrap(), 5);
    assert_eq!(&buffer[..5], b"there");
    assert_eq!(block_on(near.read(&mut buffer)).unwrap(), 4);
    assert_eq!(&buffer[..4], b"back");
    assert_eq!((near.bytes_written(), far.bytes_written()), (5, 4));
}

#[test]
fn a_full_pipe_takes_what_fits_then_waits_and_wakes_the_writer_once() {
    let (mut near, mut far) = duplex(4);
    let (waker, wakes) = new_count_waker();
    let mut cx = Context::from_waker(&waker);
    assert!(matches!(Pin::new(&mut near).poll_write(&mut cx, b"hello"), Poll::Ready(Ok(4))));
    for _ in 0..3 {
        assert!(Pin::new(&mut near).poll_write(&mut cx, b"o").is_pending());
    }
    assert_eq!((near.writable(), far.readable(), wakes.get()), (0, 4, 0));
    assert_eq!(block_on(far.read(&mut [0; 2])).unwrap(), 2);
    assert_eq!((near.writable(), wakes.get()), (2, 1));
    assert_eq!(block_on(far.read(&mut [0; 2])).unwrap(), 2);
    assert_eq!(wakes.get(), 1, "nobody waits any more");
}

#[test]
fn an_empty_pipe_wakes_the_last_reader_that_waited() {
    let (mut near, mut far) = duplex(4);
    let (first, first_wakes) = new_count_waker();
    let (second, second_wakes) = new_count_waker();
    for waker in [&first, &second] {
        let mut cx = Context::from_waker(waker);
        assert!(Pin::new(&mut far).poll_read(&mut cx, &mut [0; 4]).is_pending());
    }
    write_now(&mut near, b"x");
    assert_eq!((first_wakes.get(), second_wakes.get()), (0, 1));
}

#[test]
fn closing_ends_one_direction_only() {
    let (mut near, mut far) = duplex(8);
    write_now(&mut near, b"last");
    let (waker, wakes) = new_count_waker();
    block_on(near.close()).unwrap();
    let mut text = String::new();
    assert_eq!(block_on(far.read_to_string(&mut text)).unwrap(), 4);
    assert_eq!(text, "last");
    assert_eq!(block_on(near.write(b"x")).unwrap_err().kind(), ErrorKind::BrokenPipe);

    let mut cx = Context::from_waker(&waker);
    assert!(Pin::new(&mut near).poll_read(&mut cx, &mut [0; 4]).is_pending());
    write_now(&mut far, b"reply");
    assert_eq!(wakes.get(), 1);
    assert_eq!(block_on(near.read(&mut [0; 8])).unwrap(), 5);
}

#[test]
fn dropping_an_end_wakes_both_waiters_of_the_other() {
    let (mut near, far) = duplex(1);
    write_now(&mut near, b"x");
    let (reader, reads) = new_count_waker();
    let (writer, writes) = new_count_waker();
    assert!(
        Pin::new(&mut near).poll_read(&mut Context::from_waker(&reader), &mut [0; 1]).is_pending()
    );
    assert!(Pin::new(&mut near).poll_write(&mut Context::from_waker(&writer), b"y").is_pending());
    drop(far);
    assert_eq!((reads.get(), writes.get()), (1, 1));
    assert_eq!(block_on(near.read(&mut [0; 1])).unwrap(), 0);
    assert_eq!(block_on(near.write(b"y")).unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn bytes_written_before_a_drop_still_arrive() {
    let (mut near, mut far) = duplex(8);
    write_now(&mut near, b"farewell");
    drop(near);
    let mut text = String::new();
    block_on(far.read_to_string(&mut text)).unwrap();
    assert_eq!(text, "farewell");
}

#[test]
fn empty_buffers_are_neither_an_end_nor_a_wait() {
    let (mut near, mut far) = duplex(1);
    assert_eq!(block_on(near.read(&mut [])).unwrap(), 0);
    write_now(&mut near, b"x");
    assert_eq!(block_on(near.write(b"")).unwrap(), 0);
    assert_eq!(block_on(far.read(&mut [])).unwrap(), 0);
    assert_eq!(far.readable(), 1);
}

#[test]
fn vectored_writes_fill_the_pipe_across_slices() {
    let (mut near, mut far) = duplex(6);
    let slices = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cdefgh")];
    assert_eq!(block_on(near.write_vectored(&slices)).unwrap(), 6);
    let mut buffer = [0; 6];
    block_on(far.read_exact(&mut buffer)).unwrap();
    assert_eq!(&buffer, b"abcdef");
}

#[test]
fn the_ring_wraps_at_every_offset() {
    for capacity in 1..=9_usize {
        let (mut near, mut far) = duplex(capacity);
        let mut random = SplitMix64::new(capacity as u64);
        let (mut sent, mut received) = (0_u8, 0_u8);
        for _ in 0..1000 {
            let n = (random.below(10) as usize).min(near.writable());
            let bytes: Vec<u8> = (0..n as u8).map(|i| sent.wrapping_add(i)).collect();
            sent = sent.wrapping_add(n as u8);
            write_now(&mut near, &bytes);
            let n = (random.below(10) as usize).min(far.readable());
            let mut bytes = vec![0; n];
            block_on(far.read_exact(&mut bytes)).unwrap();
            for byte in bytes {
                assert_eq!(byte, received);
                received = received.wrapping_add(1);
            }
        }
        assert_eq!(sent.wrapping_sub(received) as usize, far.readable());
    }
}

#[test]
fn both_ends_write_before_they_read_and_the_clock_calls_it_a_deadlock() {
    let clock = VirtualClock::new();
    let (mut near, mut far) = duplex(4);
    let both = async {
        let _ = futures::join!(near.write_all(b"too much"), far.write_all(b"too much"));
    };
    assert_eq!(clock.block_on(both), Err(Stuck::Deadlock { at: clock.now() }));
}

#[test]
fn two_threads_move_a_mebibyte() {
    let (mut near, mut far) = duplex(1000);
    let data: Vec<u8> = (0..1 << 20).map(|n: u32| (n >> 3) as u8).collect();
    let expected = data.clone();
    let writer = std::thread::spawn(move || block_on(near.write_all(&data)).unwrap());
    let mut received = Vec::new();
    block_on(far.read_to_end(&mut received)).unwrap();
    writer.join().unwrap();
    assert!(received == expected);
}
