//! A slot's next user never sees anything of the one before.
#![forbid(unsafe_code)]

mod common;

use std::{
    collections::HashMap,
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use bytes::Bytes;
use common::{Host, small};
use net::{Close, ConnId, Event, Io, Options, Sockets};
use socket2::SockRef;

common::on_each! {
    thousands_of_users_of_three_slots_are_never_mixed_up
}

/// Clients come and go on three slots, each with a byte of its own that is echoed, and end in every
/// way: either side first, with sends stalled or queries and pauses under way.
fn thousands_of_users_of_three_slots_are_never_mixed_up(io: Io) {
    const CLIENTS: u32 = 3000;
    let seed = 11;
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut host = Host::new(io, &Options { slots: 3, accepts: 2, ..small() });
    let mut marks: HashMap<ConnId, u8> = HashMap::new();
    let mut clients: HashMap<ConnId, TcpStream> = HashMap::new();
    let mut gone: HashMap<ConnId, ()> = HashMap::new();
    for number in 0..CLIENTS {
        let mark = number as u8;
        let mut client = TcpStream::connect(host.address).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        client.write_all(&[mark; 10]).unwrap();
        let local = client.local_addr().unwrap();
        let conn = loop {
            let event = host.event();
            if let Event::Accepted { conn, peer, .. } = event {
                assert_eq!(peer, local);
                assert!(!gone.contains_key(&conn), "{conn:?} came twice, seed {seed}");
                break conn;
            }
            note(&event, &marks, &mut gone);
        };
        marks.insert(conn, mark);
        let mut count = 0;
        while count < 10 {
            let event = host.event();
            note(&event, &marks, &mut gone);
            if let Event::Received { conn: from, bytes } = event {
                assert_eq!(from, conn);
                count += bytes.len();
            }
        }
        host.sockets.send(conn, Bytes::from(vec![mark; if rng.u8(..4) == 0 { 8 << 20 } else { 10 }]));
        let mut echo = [0; 10];
        host.sockets.submit().unwrap();
        client.read_exact(&mut echo).unwrap();
        assert_eq!(echo, [mark; 10]);
        clients.insert(conn, client);
        while clients.len() > rng.usize(..3) {
            let victim = *clients.keys().min().unwrap();
            let client = clients.remove(&victim).unwrap();
            end(&mut host, victim, client, &mut rng);
        }
    }
    for conn in clients.keys() {
        host.sockets.close(*conn, Close::Reset);
    }
    while host.sockets.open() > 0 {
        let event = host.event();
        note(&event, &marks, &mut gone);
    }
    assert_eq!(gone.len() as u32, CLIENTS);
}

fn end(host: &mut Host, conn: ConnId, client: TcpStream, rng: &mut fastrand::Rng) {
    match rng.u8(..5) {
        0 => host.sockets.query_unsent(conn),
        1 => host.sockets.pause_receive(conn),
        2 => drop(client.try_clone().unwrap().write_all(b"never to be received by another")),
        3 => SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap(),
        _ => {}
    }
    if rng.bool() {
        drop(client);
        if rng.bool() {
            host.sockets.submit().unwrap();
        }
    }
    host.sockets.close(conn, if rng.bool() { Close::Reset } else { Close::Orderly });
}

/// Events belong to users that are there, and bytes to the one who sent them.
fn note(event: &Event, marks: &HashMap<ConnId, u8>, gone: &mut HashMap<ConnId, ()>) {
    let conn = match event {
        Event::Received { conn, bytes } => {
            assert!(bytes.iter().all(|byte| *byte == marks[conn]), "{conn:?} received another's bytes");
            conn
        }
        Event::Sent { conn, .. }
        | Event::SendFailed { conn, .. }
        | Event::ReceiveEnded { conn, .. }
        | Event::Unsent { conn, .. } => conn,
        Event::Closed { conn } => {
            assert!(gone.insert(*conn, ()).is_none(), "{conn:?} closed twice");
            return;
        }
        other => panic!("unexpected {other:?}"),
    };
    assert!(!gone.contains_key(conn), "{event:?} after Closed");
}
