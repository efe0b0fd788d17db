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
use net::{Backend, Event, Events, Io, Sockets, Waker};

common::on_each! {
    no_call_from_another_thread_is_lost
    a_call_before_the_wait_ends_it_at_once_and_only_it
    a_wait_ends_when_its_time_is_over
    what_else_happens_ends_the_sleep_that_short_sends_do_not_end
    an_urgent_call_ends_a_sleep_in_which_updates_wait
    bytes_end_a_wait
}

fn no_call_from_another_thread_is_lost(io: Io) {
    const CALLS: u64 = 20_000;
    let waker = Waker::new().unwrap();
    let mut sockets = Backend::new(io, &small(), waker.clone()).unwrap();
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
        sockets.wait(Some(Duration::from_secs(5))).unwrap();
        let now = sent.load(Ordering::Relaxed);
        if now != last && now.is_multiple_of(2) {
            done.send(now).unwrap();
        }
        last = now;
    }
    caller.join().unwrap();
}

fn a_call_before_the_wait_ends_it_at_once_and_only_it(io: Io) {
    let waker = Waker::new().unwrap();
    let mut sockets = Backend::new(io, &small(), waker.clone()).unwrap();
    waker.wake();
    waker.wake();
    let begin = Instant::now();
    sockets.wait(Some(Duration::from_secs(5))).unwrap();
    assert!(begin.elapsed() < Duration::from_secs(1));
    sockets.wait(Some(Duration::from_millis(30))).unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(30), "the call counted twice");
}

fn a_wait_ends_when_its_time_is_over(io: Io) {
    let mut sockets = Backend::new(io, &small(), Waker::new().unwrap()).unwrap();
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(20) {
        sockets.wait(Some(Duration::from_millis(20))).unwrap();
    }
    assert!(sockets.next().is_none(), "time brings no event");
}

#[test]
fn one_call_submits_short_sends_and_sleeps_until_its_time_is_over() {
    let mut host = Host::new(Io::IoUring, &small());
    let (mut client, conn) = host.client();
    let before = host.sockets.counters().enters;
    for _ in 0..10 {
        host.sockets.send(conn, Bytes::from_static(b"tick"));
        // As the kernel takes it at once its end is there when the millisecond is over.
        host.sockets.rest(Some(Duration::from_millis(1)), false).unwrap();
        assert!(matches!(host.sockets.next(), Some(Event::Sent { done: true, .. })));
        assert!(host.sockets.next().is_none());
    }
    assert_eq!(host.sockets.counters().enters - before, 10);
    client.read_exact(&mut [0; 40]).unwrap();
}

fn what_else_happens_ends_the_sleep_that_short_sends_do_not_end(io: Io) {
    let mut host = Host::new(io, &small());
    let (mut client, conn) = host.client();
    client.write_all(b"x").unwrap();
    thread::sleep(Duration::from_millis(50));
    host.sockets.send(conn, Bytes::from_static(b"tick"));
    host.sockets.rest(Some(Duration::from_millis(1)), false).unwrap();
    let events: Vec<Event> = std::iter::from_fn(|| host.sockets.next()).collect();
    assert!(events.iter().any(|event| matches!(event, Event::Received { .. })), "{events:?}");
}

fn an_urgent_call_ends_a_sleep_in_which_updates_wait(io: Io) {
    let waker = Waker::new().unwrap();
    let mut sockets = Backend::new(io, &small(), waker.clone()).unwrap();
    let caller = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        waker.nudge();
        waker.wake();
    });
    sockets.rest(None, true).unwrap();
    caller.join().unwrap();
}

fn bytes_end_a_wait(io: Io) {
    let mut host = Host::new(io, &small());
    let (mut client, _) = host.client();
    let writer = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        client.write_all(b"x").unwrap();
        client
    });
    assert!(matches!(host.event(), Event::Received { .. }));
    writer.join().unwrap();
}
