//! Ending a thread's wait: waker and timeouts.
#![forbid(unsafe_code)]

mod common;

use std::{
    io::{Read, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use common::{Host, small};
use net::{Event, Sockets, Waker, uring::Ring};

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
fn a_wait_ends_when_its_time_is_over() {
    let mut ring = Ring::new(&small(), Waker::new().unwrap()).unwrap();
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(20) {
        ring.wait(Some(Duration::from_millis(20))).unwrap();
    }
    assert!(ring.next().is_none(), "time brings no event");
}

#[test]
fn one_call_submits_short_sends_and_sleeps_until_its_time_is_over() {
    let mut host = Host::new(&small());
    let (mut client, conn) = host.client();
    let before = host.ring.counters().enters;
    for _ in 0..10 {
        host.ring.send(conn, Bytes::from_static(b"tick"));
        // As the kernel takes it at once its end is there when the millisecond is over.
        host.ring.rest(Some(Duration::from_millis(1)), false).unwrap();
        assert!(matches!(host.ring.next(), Some(Event::Sent { done: true, .. })));
        assert!(host.ring.next().is_none());
    }
    assert_eq!(host.ring.counters().enters - before, 10);
    client.read_exact(&mut [0; 40]).unwrap();
}

#[test]
fn what_else_happens_ends_the_sleep_that_short_sends_do_not_end() {
    let mut host = Host::new(&small());
    let (mut client, conn) = host.client();
    client.write_all(b"x").unwrap();
    thread::sleep(Duration::from_millis(50));
    host.ring.send(conn, Bytes::from_static(b"tick"));
    host.ring.rest(Some(Duration::from_millis(1)), false).unwrap();
    let events: Vec<Event> = std::iter::from_fn(|| host.ring.next()).collect();
    assert!(events.iter().any(|event| matches!(event, Event::Received { .. })), "{events:?}");
}

#[test]
fn an_urgent_call_ends_a_sleep_in_which_updates_wait() {
    let waker = Waker::new().unwrap();
    let mut ring = Ring::new(&small(), waker.clone()).unwrap();
    let caller = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        waker.nudge();
        waker.wake();
    });
    ring.rest(None, true).unwrap();
    caller.join().unwrap();
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
