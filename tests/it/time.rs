//! The three timers keep one contract; `Time` never overflows.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::{Duration, Instant};

use duologue::time::{AsyncIoTimer, Stuck, Time, Timer, TokioTimer, VirtualClock};
use futures_test::task::new_count_waker;

use crate::support::{seconds, yield_now};

async fn wait(timer: &mut (impl Timer + Unpin), duration: Duration) -> (Time, Time) {
    let started = timer.now();
    Pin::new(&mut *timer).reset(started.saturating_add(duration));
    poll_fn(|cx| Pin::new(&mut *timer).poll(cx)).await;
    (started, timer.now())
}

/// Never ready unarmed; ready at the deadline and not before; moved by `reset`; `MAX` disarms.
async fn keeps_the_contract(mut timer: impl Timer + Unpin) {
    let is_ready = |timer: &mut _| {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        Timer::poll(Pin::new(timer), &mut cx).is_ready()
    };
    assert!(!is_ready(&mut timer), "unarmed");
    let short = Duration::from_millis(5);
    let (started, ended) = wait(&mut timer, short).await;
    assert!(ended >= started.saturating_add(short));

    Pin::new(&mut timer).reset(ended.saturating_add(Duration::from_secs(3600)));
    assert!(!is_ready(&mut timer), "an hour early");
    wait(&mut timer, short).await; // re-armed to an earlier moment
    Pin::new(&mut timer).reset(Time::MAX);
    assert!(!is_ready(&mut timer), "never");
    Pin::new(&mut timer).reset(Time::ZERO);
    poll_fn(|cx| Pin::new(&mut timer).poll(cx)).await; // a moment in the past is due
}

#[test]
fn async_io_keeps_the_contract() {
    futures::executor::block_on(keeps_the_contract(AsyncIoTimer::new()));
}

#[test]
fn tokio_keeps_the_contract_on_both_flavours() {
    let mut current = tokio::runtime::Builder::new_current_thread();
    current.enable_time().build().unwrap().block_on(keeps_the_contract(TokioTimer::new()));
    let mut multi = tokio::runtime::Builder::new_multi_thread();
    multi.enable_time().build().unwrap().block_on(keeps_the_contract(TokioTimer::new()));
}

#[test]
fn a_virtual_clock_keeps_the_contract_without_waiting() {
    let clock = VirtualClock::new();
    let started = Instant::now();
    clock.block_on(keeps_the_contract(clock.timer())).unwrap();
    let week = Duration::from_secs(7 * 24 * 3600);
    clock.block_on(wait(&mut clock.timer(), week)).unwrap();
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_borrowed_timer_is_a_timer() {
    let clock = VirtualClock::new();
    let mut timer = clock.timer();
    clock.block_on(wait(&mut &mut timer, Duration::from_secs(1))).unwrap();
    assert_eq!(clock.now(), seconds(1));
}

#[test]
fn tokios_paused_clock_moves_the_timer() {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    let started = Instant::now();
    let (from, to) = runtime.block_on(wait(&mut TokioTimer::new(), Duration::from_secs(3600)));
    let passed = to.saturating_duration_since(from);
    assert!(passed >= Duration::from_secs(3600) && passed < Duration::from_secs(3601));
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[test]
fn timers_of_a_kind_share_an_epoch() {
    let (first, second) = (AsyncIoTimer::new(), AsyncIoTimer::new());
    let (a, b, c) = (first.now(), second.now(), first.now());
    assert!(a <= b && b <= c);
    let (first, second) = (TokioTimer::new(), TokioTimer::new());
    let (a, b, c) = (first.now(), second.now(), first.now());
    assert!(a <= b && b <= c);
}

#[test]
fn the_clock_wakes_exactly_what_is_due() {
    let clock = VirtualClock::new();
    let (waker, wakes) = new_count_waker();
    let mut cx = std::task::Context::from_waker(&waker);
    let mut timers: Vec<_> = (1..=3).map(|_| clock.timer()).collect();
    for (n, timer) in timers.iter_mut().enumerate() {
        Pin::new(&mut *timer).reset(seconds(n as u64 + 1));
        assert!(Pin::new(timer).poll(&mut cx).is_pending());
    }
    assert_eq!(clock.next_deadline(), Some(seconds(1)));
    clock.advance(Duration::from_micros(999_999));
    assert_eq!(wakes.get(), 0);
    clock.advance(Duration::from_micros(1));
    assert_eq!(wakes.get(), 1);
    drop(timers.pop());
    clock.advance_to(seconds(100));
    assert_eq!(wakes.get(), 2, "the dropped timer is forgotten");
    clock.advance_to(seconds(50));
    assert_eq!(clock.now(), seconds(100), "time never runs backwards");
    assert_eq!(clock.next_deadline(), None);
}

#[test]
fn a_future_that_nothing_can_wake_is_called_stuck() {
    let clock = VirtualClock::new();
    clock.advance(Duration::from_secs(1));
    let at = seconds(1);
    let stuck = clock.block_on(std::future::pending::<()>()).unwrap_err();
    assert_eq!(stuck, Stuck::Deadlock { at });
    assert_eq!(stuck.to_string(), "deadlock at Time(1000000us): nothing is left to wake");
    let stuck = clock
        .block_on(async {
            loop {
                yield_now().await;
            }
        })
        .map(|never: std::convert::Infallible| match never {})
        .unwrap_err();
    assert_eq!(stuck, Stuck::LiveLock { at });
}

#[test]
fn moments_saturate_and_round_up() {
    let one = Time::from_micros(1);
    assert_eq!(one.saturating_add(Duration::from_nanos(1)), Time::from_micros(2));
    assert_eq!(one.saturating_add(Duration::MAX), Time::MAX);
    assert_eq!(Time::MAX.saturating_add(Duration::from_micros(1)), Time::MAX);
    assert_eq!(Time::ZERO.saturating_duration_since(Time::MAX), Duration::ZERO);
    assert_eq!(Time::MAX.saturating_duration_since(Time::ZERO), Duration::from_micros(u64::MAX));
    assert_eq!(format!("{:?} {:?}", one, Time::MAX), "Time(1us) Time(never)");
}
