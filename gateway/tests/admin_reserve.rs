//! The admin listener of a real gateway stays reachable, whatever a crowd does there.
#![forbid(unsafe_code)]

mod contract;

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use contract::{Gateway, http};
use socket2::{Domain, Socket, Type};

const CROWD: usize = 300;
/// Far below the time after which a client tries to connect again, and what slow readers are given.
const SOON: Duration = Duration::from_secs(1);
const CONFIG: &str = "[limits]\nadmin_connections = 8\n";
/// Begins a publish that goes on.
const PUBLISH: &str = "POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
    Content-Length: 22\r\n\r\n{";

fn connect(gateway: &Gateway, said: &str) -> TcpStream {
    let mut stream = TcpStream::connect(&gateway.admin).unwrap();
    // It may have been reset.
    let _ = stream.write_all(said.as_bytes());
    stream
}

/// `GET /healthz` on a connection of its own.
fn assert_healthy(gateway: &Gateway) {
    let mut stream = connect(gateway, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut answer = String::new();
    while !answer.ends_with("ok") {
        let mut some = [0; 1000];
        let bytes = stream.read(&mut some).unwrap();
        assert!(bytes > 0, "{answer}");
        answer.push_str(std::str::from_utf8(&some[..bytes]).unwrap());
    }
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[test]
fn health_is_told_whatever_a_crowd_asks_and_does_not_read() {
    for asked in ["GET /metrics", "GET /healthz", "GET /", "GET /topics", "GET /heal"] {
        let gateway = Gateway::start("shards = 1", CONFIG);
        let said = match asked {
            "GET /heal" => asked.to_owned(),
            _ => format!("{asked} HTTP/1.1\r\nHost: localhost\r\n\r\n").repeat(400),
        };
        let mut crowd: Vec<TcpStream> = (0..CROWD).map(|_| connect(&gateway, &said)).collect();
        for (at, held) in crowd.iter_mut().enumerate() {
            // Whoever lost its place comes back at once.
            *held = connect(&gateway, &said);
            if at % 10 == 0 {
                assert_healthy(&gateway);
            }
        }
    }
}

#[test]
fn what_is_asked_in_reserve_ends_its_connection_and_publishers_keep_theirs() {
    let gateway = Gateway::start("shards = 1", CONFIG);
    let mut publishers: Vec<TcpStream> = (0..8).map(|_| connect(&gateway, PUBLISH)).collect();
    let wait = || http(&gateway.admin, "GET", "/topics", "", "").status == 503;
    while !wait() {}
    for path in ["/healthz", "/metrics", "/readyz"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").repeat(2);
        let mut answers = String::new();
        connect(&gateway, &request).read_to_string(&mut answers).unwrap();
        assert_eq!(answers.matches("HTTP/1.1 200 ").count(), 1, "{answers}");
        assert!(answers.contains("\r\nconnection: close\r\n"), "{answers}");
    }
    // Who says nothing there is gone soon.
    let _ = connect(&gateway, "").read_to_end(&mut Vec::new());
    let crowd: Vec<TcpStream> = (0..CROWD).map(|_| connect(&gateway, "GET /metrics HTTP/1.1\r\n")).collect();
    assert_healthy(&gateway);
    drop(crowd);
    for (n, publisher) in publishers.iter_mut().enumerate() {
        publisher.write_all(format!("\"topic\":\"{n}\",\"data\":1}}").as_bytes()).unwrap();
        let mut answer = [0; 12];
        publisher.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
    }
    // There is room again.
    gateway.publish("a", "1");
}

#[test]
fn who_asks_in_reserve_how_the_gateway_is_closes_no_idle_connection() {
    let gateway = Gateway::start("shards = 1", CONFIG);
    let mut publishers: Vec<TcpStream> = (0..8).map(|_| connect(&gateway, PUBLISH)).collect();
    while http(&gateway.admin, "GET", "/topics", "", "").status != 503 {}
    let mut probe = connect(&gateway, "");
    // It came after the probe, which has its place by now.
    assert_healthy(&gateway);
    let mut publish = |said: &str| {
        let publisher = &mut publishers[0];
        publisher.write_all(said.as_bytes()).unwrap();
        let mut answer = String::new();
        while !answer.ends_with("{\"accepted\":1}") {
            let mut some = [0; 1000];
            let bytes = publisher.read(&mut some).unwrap();
            assert!(bytes > 0, "{answer}");
            answer.push_str(std::str::from_utf8(&some[..bytes]).unwrap());
        }
    };
    let rest = "\"topic\":\"0\",\"data\":1}";
    publish(rest);
    probe.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    probe.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    publish(&format!("{PUBLISH}{rest}"));
}

/// From another address than all others have.
fn connect_from(address: [u8; 4], gateway: &Gateway, said: &str) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::from((address, 0)).into()).unwrap();
    socket.connect(&gateway.admin.parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    let mut stream = TcpStream::from(socket);
    let _ = stream.write_all(said.as_bytes());
    stream
}

#[test]
fn a_crowd_of_one_address_whose_bodies_do_not_come_keeps_nobody_else_from_publishing() {
    let gateway = Gateway::start("shards = 1", CONFIG);
    let begin = || connect_from([127, 0, 0, 9], &gateway, PUBLISH);
    let mut crowd: Vec<TcpStream> = (0..50).map(|_| begin()).collect();
    let refused_same = || {
        let request = "GET /topics HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let mut answer = String::new();
        let _ = connect_from([127, 0, 0, 9], &gateway, request).read_to_string(&mut answer);
        answer.starts_with("HTTP/1.1 503 ")
    };
    while !refused_same() {}
    // Who has begun to publish goes on.
    let mut publisher = connect(&gateway, PUBLISH);
    for held in &mut crowd {
        gateway.publish("a", "1");
        assert_eq!(http(&gateway.admin, "GET", "/topics", "", "").status, 200);
        *held = begin();
    }
    publisher.write_all(b"\"topic\":\"0\",\"data\":1}").unwrap();
    let mut answer = [0; 12];
    publisher.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[test]
fn who_asks_and_goes_away_costs_nobody_else_the_answer() {
    let gateway = Gateway::start("shards = 2", "");
    for path in ["/healthz", "/metrics"] {
        for _ in 0..30 {
            for _ in 0..20 {
                drop(connect(&gateway, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")));
            }
            assert_healthy(&gateway);
        }
    }
}

#[test]
fn an_address_that_holds_all_long_bodies_keeps_no_other_from_sending_one() {
    let gateway = Gateway::start("shards = 1", "[limits]\nadmin_publishes = 2\n");
    let long = format!("{{\"topic\":\"a\",\"data\":\"{}\"}}", "x".repeat(200_000));
    let head = PUBLISH.replace("22\r\n\r\n{", &format!("{}\r\n\r\n", long.len()));
    let begun = format!("{head}{}", &long[..long.len() - 1]);
    let crowd: Vec<TcpStream> = (0..6).map(|_| connect_from([127, 0, 0, 9], &gateway, &begun)).collect();
    let waited = || {
        let metrics = http(&gateway.admin, "GET", "/metrics", "", "").body;
        metrics.contains("\nfanwire_admin_publishes_waited_total 4\n")
    };
    while !waited() {}
    for _ in 0..3 {
        let mut stream = connect(&gateway, &format!("{head}{long}"));
        stream.set_read_timeout(Some(SOON)).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
    }
    drop(crowd);
}
