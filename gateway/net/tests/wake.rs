//! Ending a thread's wait: waker, timers and timeouts.
#![forbid(unsafe_code)]

mod common;

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use common::{Host, small};
use net::{Event, Waker, uring::Ring};

#[test]
fn no_call_from_another_thread_is_lost() {
    const CALLS: u64 = 20_000;
    let waker = Waker::new().unwrap();
    let mut ring = Ring::new(&small(), waker.clone()).unwrap();
    let sent = Arc::new(AtomicU64::new(0));
    let (done, seen) = mpsc::channel();
    let caller = thread::spawn({
        let sent = sent.clone();
        move || {
            for call in 1..=CALLS {
                sent.store(call, Ordering::Relaxed);
                waker.wake();
                // In turns, so that a lost call stops everything.
                if call.is_multiple_of(2) {
                    assert_eq!(seen.recv_timeout(Duration::from_secs(5)), Ok(call), "lost");
                }
            }
        }
    });
    let mut last = 0;
    while last < CALLS {
        ring.wait(Some(Duration::from_secs(5))).unwrap();
        let now = sent.load(Ordering::Relaxed);
        if now != last && now.is_multiple_of(2) {
            done.send(now).unwrap();
        }
        last = now;
    }
    caller.join().unwrap();
}

#[test]
fn a_call_before_the_wait_ends_it_at_once_and_only_it() {
    let waker = Waker::new().unwrap();
    let mut ring = Ring::new(&small(), waker.clone()).unwrap();
    waker.wake();
    waker.wake();
    let begin = Instant::now();
    ring.wait(Some(Duration::from_secs(5))).unwrap();
    assert!(begin.elapsed() < Duration::from_secs(1));
    ring.wait(Some(Duration::from_millis(30))).unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(30), "the call counted twice");
}

#[test]
fn a_wait_ends_at_its_timer_or_timeout_whichever_is_first() {
    let mut ring = Ring::new(&small(), Waker::new().unwrap()).unwrap();
    for (timer_ms, timeout_ms) in
        [(Some(20), Some(5000)), (Some(5000), Some(20)), (Some(20), None), (None, Some(20))]
    {
        let begin = Instant::now();
        ring.wake_at(timer_ms.map(Duration::from_millis));
        while begin.elapsed() < Duration::from_millis(20) {
            ring.wait(timeout_ms.map(Duration::from_millis)).unwrap();
        }
        assert!(begin.elapsed() < Duration::from_secs(2), "{timer_ms:?} {timeout_ms:?}");
        assert!(ring.next().is_none(), "time brings no event");
    }
}

#[test]
fn bytes_end_a_wait() {
    let mut host = Host::new(&small());
    let (mut client, _) = host.client();
    let writer = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        client.write_all(b"x").unwrap();
        client
    });
    assert!(matches!(host.event(), Event::Received { .. }));
    writer.join().unwrap();
}
