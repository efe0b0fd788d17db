//! The PROXY protocol at a running gateway, without and with TLS, and who asks such a gateway how it is.
#![forbid(unsafe_code)]

mod contract;
mod wss;

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

use contract::{Gateway, Socket, command, dial, output};
use rustls::StreamOwned;
use wss::{Files, client, connect, metric, wait_until};

const KEYS: &str = "trusted_proxies = [\"127.0.0.1\"]\nproxy_protocol = \"require\"\n";
const ONE_EACH: &str = "[limits]\nconnections_per_ip = 1\nhandshake = \"2s\"\n";

fn header(ip: &str) -> String {
    format!("PROXY TCP4 {ip} 10.0.0.9 4711 80\r\n")
}

/// A connection that begins with that.
fn dial_with(address: &str, begin: &str) -> TcpStream {
    let mut stream = dial(address);
    stream.write_all(begin.as_bytes()).unwrap();
    stream
}

/// All that is said until the end, which may be a reset.
fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    said
}

#[test]
fn clients_are_served_and_counted_by_the_address_that_a_header_names() {
    let gateway = Gateway::start(KEYS, ONE_EACH);
    gateway.publish("a", "1");
    let open = |ip: &str| Socket::over(dial_with(&gateway.data, &header(ip)), "/ws?topics=a");
    let mut first = open("192.0.2.1").unwrap();
    assert_eq!(open("192.0.2.1").err(), Some(429));
    let mut second = open("192.0.2.2").unwrap();
    assert_eq!(first.update("a", |_| true), second.update("a", |_| true));
    let long = format!("\"{}\"", "x".repeat(100_000));
    gateway.publish("a", &long);
    let whole = [&mut first, &mut second].map(|client| client.update("a", |update| update["v"] == 2));
    assert_eq!(whole[0], whole[1]);
    assert_eq!(metric(&gateway, "fanwire_proxy_headers_total "), 3);
}

#[test]
fn a_header_stands_before_tls() {
    let files = Files::new("localhost");
    let gateway = Gateway::start(&format!("{KEYS}{}", files.server()), ONE_EACH);
    let config = client(&[&files], rustls::ALL_VERSIONS);
    let open = |ip: &str| {
        let StreamOwned { conn, sock } = connect(&gateway.tls, &config, "localhost");
        (&sock).write_all(header(ip).as_bytes()).unwrap();
        Socket::over(StreamOwned { conn, sock }, "/ws?topics=a")
    };
    let mut first = open("192.0.2.1").unwrap();
    first.until("subscribed");
    assert_eq!((open("192.0.2.1").err(), open("192.0.2.2").err()), (Some(429), None));
    // Within TLS it is no header.
    let mut inside = connect(&gateway.tls, &config, "localhost");
    assert!(inside.write_all(header("192.0.2.3").as_bytes()).is_err() || inside.read(&mut [0]).is_err());
    wait_until(|| metric(&gateway, "fanwire_proxy_refused_total{reason=\"missing\"} ") == 1);
}

#[test]
fn others_are_closed_without_an_answer_and_counted_by_reason() {
    let gateway = Gateway::start(KEYS, ONE_EACH);
    for (begin, reason) in [
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", "missing"),
        ("PROXY TCP4 somewhere\r\n", "malformed"),
        (&format!("PROXY UNKNOWN {}\r\n", "x".repeat(100)), "too_long"),
        ("PROXY TCP4 192.0.2.1 10.", "late"),
        ("", "late"),
    ] {
        let began = Instant::now();
        assert_eq!(rest(dial_with(&gateway.data, begin)), b"", "{begin}");
        let at_once = began.elapsed() < Duration::from_millis(1500);
        assert_eq!(at_once, reason != "late", "{begin:?} took {:?}", began.elapsed());
    }
    drop(dial_with(&gateway.data, "PROXY "));
    let counted =
        |reason: &str| metric(&gateway, &format!("fanwire_proxy_refused_total{{reason=\"{reason}\"}} "));
    wait_until(|| counted("ended") == 1);
    let all = ["untrusted", "missing", "malformed", "too_long", "late"].map(counted);
    assert_eq!((all, metric(&gateway, "fanwire_proxy_waiting ")), ([0, 1, 1, 1, 2], 0));
    let strict = Gateway::start("trusted_proxies = [\"10.0.0.0/8\"]\nproxy_protocol = \"require\"\n", "");
    assert_eq!(rest(dial_with(&strict.data, &header("192.0.2.1"))), b"");
    assert_eq!(metric(&strict, "fanwire_proxy_refused_total{reason=\"untrusted\"} "), 1);
}

#[test]
fn who_supervises_it_asks_for_itself() {
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = |trusted: &str, data| {
        format!("[server]\ndata = \"{data}\"\nadmin = \"\"\nproxy_protocol = \"require\"\n{trusted}")
    };
    let asked = |config: &str| {
        let _gateway = Gateway::start_config(config);
        let out = output(command(config).arg("--health"));
        (out.status.code(), String::from_utf8(out.stderr).unwrap())
    };
    let trusting = asked(&config("trusted_proxies = [\"127.0.0.0/8\"]\n", free()));
    assert_eq!(trusting, (Some(0), String::new()));
    let (code, told) = asked(&config("trusted_proxies = [\"10.0.0.1\"]\n", free()));
    assert_eq!(code, Some(1));
    assert!(told.contains("name 127.0.0.1 there"), "{told}");
}
