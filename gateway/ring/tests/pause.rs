//! Pausing and resuming receives.
#![forbid(unsafe_code)]

mod common;

use std::{
    io::Write,
    time::{Duration, Instant},
};

use common::{Host, pattern, small};
use ring::{Event, Sockets};

#[test]
fn nothing_is_received_while_paused_and_nothing_is_lost() {
    let mut host = Host::new(&small());
    let (mut client, conn) = host.client();
    host.ring.pause_receive(conn);
    assert!(host.events_for(Duration::from_millis(20)).is_empty());
    client.write_all(b"waits").unwrap();
    assert!(host.events_for(Duration::from_millis(50)).is_empty(), "received while paused");
    host.ring.resume_receive(conn);
    assert_eq!(host.receive(conn, 5), b"waits");
}

#[test]
fn an_end_of_stream_waits_too() {
    let mut host = Host::new(&small());
    let (client, conn) = host.client();
    host.ring.pause_receive(conn);
    host.events_for(Duration::from_millis(10));
    drop(client);
    assert!(host.events_for(Duration::from_millis(30)).is_empty());
    host.ring.resume_receive(conn);
    assert!(matches!(host.event(), Event::ReceiveEnded { error: None, .. }));
}

#[test]
fn pausing_at_random_under_traffic_keeps_every_byte_in_order() {
    const BYTES: usize = 4 << 20;
    let seed = 5;
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut host = Host::new(&small());
    let (mut client, conn) = host.client();
    let writer = std::thread::spawn(move || {
        client.write_all(&pattern(seed, BYTES)).unwrap();
        client
    });
    let mut received = Vec::with_capacity(BYTES);
    let begin = Instant::now();
    while received.len() < BYTES {
        assert!(
            begin.elapsed() < Duration::from_secs(30),
            "{} of {BYTES} bytes, seed {seed}",
            received.len()
        );
        match rng.u8(..8) {
            0 => host.ring.pause_receive(conn),
            1 => {
                host.ring.pause_receive(conn);
                host.ring.resume_receive(conn);
                host.ring.pause_receive(conn);
            }
            2 => {
                host.ring.pause_receive(conn);
                // Settled: from now on nothing may come.
                for event in host.events_for(Duration::from_millis(2)) {
                    let Event::Received { bytes, .. } = event else { panic!("unexpected {event:?}") };
                    received.extend_from_slice(&bytes);
                }
                assert!(
                    host.events_for(Duration::from_millis(2)).is_empty(),
                    "received while paused, seed {seed}"
                );
                host.ring.resume_receive(conn);
            }
            _ => host.ring.resume_receive(conn),
        }
        host.ring.submit().unwrap();
        while let Some(event) = host.ring.next() {
            let Event::Received { bytes, .. } = event else { panic!("unexpected {event:?}") };
            received.extend_from_slice(&bytes);
        }
    }
    assert!(received == pattern(seed, BYTES), "seed {seed}");
    drop(writer.join().unwrap());
}
