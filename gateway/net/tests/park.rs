//! Parking in a glommio executor.
#![forbid(unsafe_code)]
#![cfg(feature = "glommio")]

mod common;

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use common::{listener, small};
use glommio::{LocalExecutorBuilder, Placement};
use net::{
    Event, Sockets, Waker,
    uring::{Parker, Ring},
};

/// The shard's settings. glommio 0.9's preemption timer, if it ever fires, can let it park with a task still
/// runnable, and the test would hang.
fn executor() -> LocalExecutorBuilder {
    LocalExecutorBuilder::new(Placement::Unbound)
        .io_memory(0)
        .ring_depth(128)
        .preempt_timer(Duration::from_secs(86_400))
}

#[test]
fn no_call_from_another_thread_is_lost() {
    const CALLS: u64 = 20_000;
    let waker = Waker::new().unwrap();
    let sent = Arc::new(AtomicU64::new(0));
    let (done, seen) = mpsc::channel();
    let shard = executor()
        .spawn({
            let (waker, sent) = (waker.clone(), sent.clone());
            move || async move {
                let mut ring = Ring::new(&small(), waker).unwrap();
                let parker = Parker::new(&ring);
                let mut last = 0;
                while last < CALLS {
                    parker.park(&mut ring, || sent.load(Ordering::Relaxed) == last).await.unwrap();
                    let now = sent.load(Ordering::Relaxed);
                    if now != last && now.is_multiple_of(4) {
                        done.send(now).unwrap();
                    }
                    last = now;
                    glommio::yield_if_needed().await;
                }
            }
        })
        .unwrap();
    for call in 1..=CALLS {
        sent.store(call, Ordering::Relaxed);
        waker.wake();
        if call.is_multiple_of(4) {
            assert_eq!(seen.recv_timeout(Duration::from_secs(5)), Ok(call), "call {call} was lost");
        }
    }
    shard.join().unwrap();
}

#[test]
fn messages_end_the_sleep_of_an_idle_executor() {
    const MESSAGES: u32 = 5000;
    let listener = listener("127.0.0.1:0");
    let address = listener.local_addr().unwrap();
    let shard = executor()
        .spawn(move || async move {
            let mut ring = Ring::new(&small(), Waker::new().unwrap()).unwrap();
            ring.listen(listener).unwrap();
            let parker = Parker::new(&ring);
            let mut parks = 0;
            loop {
                while let Some(event) = ring.next() {
                    match event {
                        Event::Received { conn, bytes } => ring.send(conn, Bytes::copy_from_slice(&bytes)),
                        Event::ReceiveEnded { .. } => return parks,
                        _ => {}
                    }
                }
                parker.park(&mut ring, || true).await.unwrap();
                parks += 1;
            }
        })
        .unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    client.set_nodelay(true).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    for message in 0..MESSAGES {
        client.write_all(&message.to_le_bytes()).unwrap();
        let mut echo = [0; 4];
        client.read_exact(&mut echo).unwrap_or_else(|error| panic!("message {message}: {error}"));
        assert_eq!(echo, message.to_le_bytes());
    }
    drop(client);
    let parks = shard.join().unwrap();
    assert!(parks >= MESSAGES, "it slept only {parks} times");
}

#[test]
fn timers_end_a_sleep_also_when_moved_back_and_forth() {
    let shard = executor()
        .spawn(|| async {
            let mut ring = Ring::new(&small(), Waker::new().unwrap()).unwrap();
            let parker = Parker::new(&ring);
            // Later, earlier, later: the kernel's timer is kept, moved and kept.
            for after_ms in [10, 4, 20, 6, 15] {
                let after = Duration::from_millis(after_ms);
                let begin = Instant::now();
                ring.wake_at(Some(Duration::from_secs(60)));
                ring.wake_at(Some(after));
                while begin.elapsed() < after {
                    parker.park(&mut ring, || true).await.unwrap();
                    assert!(ring.next().is_none(), "time brings no event");
                }
                assert!(begin.elapsed() < after + Duration::from_secs(1));
                // Leaves a far timer with the kernel.
                ring.wake_at(Some(Duration::from_secs(60)));
                ring.waker().wake();
                parker.park(&mut ring, || true).await.unwrap();
            }
        })
        .unwrap();
    shard.join().unwrap();
}

#[test]
fn a_busy_ring_is_woken_without_a_system_call() {
    let waker = Waker::new().unwrap();
    let shard = executor()
        .spawn({
            let waker = waker.clone();
            move || async move {
                let mut ring = Ring::new(&small(), waker.clone()).unwrap();
                let parker = Parker::new(&ring);
                let caller = thread::spawn(move || (0..1000).for_each(|_| waker.wake()));
                caller.join().unwrap();
                let begin = Instant::now();
                parker.park(&mut ring, || true).await.unwrap();
                ring.wake_at(Some(Duration::from_millis(20)));
                while begin.elapsed() < Duration::from_millis(20) {
                    parker.park(&mut ring, || true).await.unwrap();
                }
                ring.counters().enters
            }
        })
        .unwrap();
    let enters = shard.join().unwrap();
    assert!(enters < 20, "{enters} system calls for two sleeps");
}
