//! A table with fewer slots than peers.

mod common;

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use bytes::Bytes;
use common::{Host, small};
use net::{Backend, Close, Event, Io, Options, SetupError, Sockets, Waker};

common::on_each! {
    a_full_table_pauses_accepting_and_a_free_slot_resumes_it
    connects_need_a_slot_too
}

fn a_full_table_pauses_accepting_and_a_free_slot_resumes_it(io: Io) {
    // More accepts are wanted than there are slots.
    let mut host = Host::new(io, &Options { slots: 5, accepts: 16, ..small() });
    let mut clients: Vec<_> = (0..8).map(|_| TcpStream::connect(host.address).unwrap()).collect();
    let conns = host.accept_all(&clients[..5]);
    assert_eq!(host.sockets.open(), 5, "every slot can be used");
    assert!(host.events_for(Duration::from_millis(30)).is_empty(), "the rest waits in the backlog");
    let enters = host.sockets.counters().enters;
    for _ in 0..100 {
        host.sockets.submit().unwrap();
    }
    // epoll has to be asked.
    let asked = if io == Io::Epoll { 100 } else { 0 };
    assert_eq!(host.sockets.counters().enters, enters + asked, "waiting costs no system call");

    for i in 0..3 {
        host.sockets.close(conns[i], Close::Orderly);
        host.closed(conns[i]);
        let Event::Accepted { conn, peer, .. } = host.event() else { panic!("not accepted") };
        assert_eq!(peer, clients[5 + i].local_addr().unwrap(), "in the order of the backlog");
        assert_eq!((conn.slot, conn.generation), (conns[i].slot, conns[i].generation + 1));
        host.sockets.send(conn, Bytes::from_static(b"welcome"));
        while !matches!(host.event(), Event::Sent { done: true, .. }) {}
        let mut answer = [0; 7];
        clients[5 + i].read_exact(&mut answer).unwrap();
        clients[5 + i].write_all(b"hi").unwrap();
        assert_eq!(host.receive(conn, 2), b"hi");
    }
}

fn connects_need_a_slot_too(io: Io) {
    let mut sockets = Backend::new(io, &Options { slots: 2, ..small() }, Waker::new().unwrap()).unwrap();
    let listener = common::listener("127.0.0.1:0");
    let target = listener.local_addr().unwrap();
    assert!(sockets.connect(None, target).is_some());
    assert!(sockets.connect(None, target).is_some());
    assert!(sockets.connect(None, target).is_none());
    assert_eq!(sockets.open(), 2);
}

#[test]
fn a_table_larger_than_the_limit_of_files_is_refused_with_the_numbers() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a valid rlimit to write to.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) }, 0);
    if limit.rlim_cur >= 1 << 24 {
        return;
    }
    let slots = limit.rlim_cur as u32 + 1;
    let error = Backend::new(Io::IoUring, &Options { slots, ..small() }, Waker::unconnected()).err().unwrap();
    assert!(matches!(error, SetupError::TableTooLarge { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&slots.to_string()) && text.contains(&limit.rlim_cur.to_string()), "{text}");
}
