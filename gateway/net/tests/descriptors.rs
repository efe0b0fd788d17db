//! A process that has no descriptor left. By itself, as it lowers the limit of its process.
#![forbid(unsafe_code)]

mod common;

use std::{
    fs::File,
    io::{Read, Write},
    net::TcpStream,
    os::fd::AsRawFd,
    time::Duration,
};

use common::{Host, small};
use net::{Close, Event, Io, Sockets};
use rlimit::Resource;

const CLIENTS: usize = 30;
const ROOM: usize = 10;

/// Those who find no room are refused at once, as nobody could tell when there will be some; the others go on, and
/// whoever comes when there is room is taken.
#[test]
fn without_descriptors_epoll_refuses_and_goes_on() {
    let mut host = Host::new(Io::Epoll, &small());
    let clients: Vec<_> = (0..CLIENTS).map(|_| TcpStream::connect(host.address).unwrap()).collect();
    let (soft, hard) = Resource::NOFILE.get().unwrap();
    // The lowest that is free. Those above it are too, as far as this test needs them.
    let next = File::open("/dev/null").unwrap().as_raw_fd() as u64;
    Resource::NOFILE.set(next + ROOM as u64, hard).unwrap();

    let events = host.events_for(Duration::from_millis(300));
    let accepted: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Accepted { conn, .. } => Some(*conn),
            _ => None,
        })
        .collect();
    let refused = events.iter().filter(|event| matches!(event, Event::AcceptFailed { .. })).count();
    assert_eq!((accepted.len(), refused), (ROOM, CLIENTS - ROOM));

    let mut clients = clients.into_iter();
    let mut served: Vec<_> = clients.by_ref().take(ROOM).collect();
    for mut client in clients {
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        assert!(client.read(&mut [0]).map_or(true, |count| count == 0), "it is still connected");
    }
    served[0].write_all(b"still").unwrap();
    assert_eq!(host.receive(accepted[0], 5), b"still");

    // Those that were refused, and one that leaves, make room.
    host.sockets.close(accepted[1], Close::Orderly);
    host.closed(accepted[1]);
    let (mut client, conn) = host.client();
    client.write_all(b"new").unwrap();
    assert_eq!(host.receive(conn, 3), b"new");
    Resource::NOFILE.set(soft, hard).unwrap();
}
