//! Pausing and resuming receives.
#![forbid(unsafe_code)]

mod common;

use std::{
    io::Write,
    time::{Duration, Instant},
};

use common::{Host, pattern, small};
use net::{Event, Events, Io, Options, Sockets};

common::on_each! {
    nothing_is_received_while_paused_and_nothing_is_lost
    an_end_of_stream_waits_too
    with_one_read_at_a_time_at_most_one_more_comes_after_a_pause
    pausing_at_random_under_traffic_keeps_every_byte_in_order
}

fn nothing_is_received_while_paused_and_nothing_is_lost(io: Io) {
    let mut host = Host::new(io, &small());
    let (mut client, conn) = host.client();
    host.sockets.pause_receive(conn);
    assert!(host.events_for(Duration::from_millis(20)).is_empty());
    client.write_all(b"waits").unwrap();
    assert!(host.events_for(Duration::from_millis(50)).is_empty(), "received while paused");
    host.sockets.resume_receive(conn);
    assert_eq!(host.receive(conn, 5), b"waits");
}

fn an_end_of_stream_waits_too(io: Io) {
    let mut host = Host::new(io, &small());
    let (client, conn) = host.client();
    host.sockets.pause_receive(conn);
    host.events_for(Duration::from_millis(10));
    drop(client);
    assert!(host.events_for(Duration::from_millis(30)).is_empty());
    host.sockets.resume_receive(conn);
    assert!(matches!(host.event(), Event::ReceiveEnded { error: None, .. }));
}

fn with_one_read_at_a_time_at_most_one_more_comes_after_a_pause(io: Io) {
    const BYTES: usize = 50_000;
    let options = Options { recv_single: true, recv_buffer_bytes: 100, ..small() };
    let mut host = Host::new(io, &options);
    let (mut client, conn) = host.client();
    client.write_all(&pattern(1, BYTES)).unwrap();
    let mut received = Vec::new();
    while received.len() < BYTES {
        let Event::Received { bytes, .. } = host.event() else { panic!("nothing else happens") };
        received.extend_from_slice(&bytes);
        host.sockets.pause_receive(conn);
        for more in host.events_for(Duration::from_millis(1)) {
            let Event::Received { bytes, .. } = more else { panic!("nothing else happens") };
            received.extend_from_slice(&bytes);
            assert!(host.events_for(Duration::from_millis(1)).is_empty(), "more than one more read");
        }
        host.sockets.resume_receive(conn);
    }
    assert!(received == pattern(1, BYTES));
}

fn pausing_at_random_under_traffic_keeps_every_byte_in_order(io: Io) {
    for recv_single in [false, true] {
        pause_at_random(io, &Options { recv_single, ..small() });
    }
}

fn pause_at_random(io: Io, options: &Options) {
    const BYTES: usize = 4 << 20;
    let seed = 5;
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut host = Host::new(io, options);
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
            0 => host.sockets.pause_receive(conn),
            1 => {
                host.sockets.pause_receive(conn);
                host.sockets.resume_receive(conn);
                host.sockets.pause_receive(conn);
            }
            2 => {
                host.sockets.pause_receive(conn);
                // Settled: from now on nothing may come.
                for event in host.events_for(Duration::from_millis(2)) {
                    let Event::Received { bytes, .. } = event else { panic!("unexpected {event:?}") };
                    received.extend_from_slice(&bytes);
                }
                assert!(
                    host.events_for(Duration::from_millis(2)).is_empty(),
                    "received while paused, seed {seed}"
                );
                host.sockets.resume_receive(conn);
            }
            _ => host.sockets.resume_receive(conn),
        }
        host.sockets.submit().unwrap();
        while let Some(event) = host.sockets.next() {
            let Event::Received { bytes, .. } = event else { panic!("unexpected {event:?}") };
            received.extend_from_slice(&bytes);
        }
    }
    assert!(received == pattern(seed, BYTES), "seed {seed}");
    drop(writer.join().unwrap());
}
