//! Readers of long answers on the admin listener: one copy for all of them, and none of it for good.
#![forbid(unsafe_code)]

mod contract;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use contract::{Gateway, http, until};
use socket2::{Domain, Socket, Type};

const TABLES: &str = "[[topic]]\npattern = \"*\"\nmode = \"keyed\"\nkeys = 20000\n";
const LINES: &str = "Content-Type: application/x-ndjson\r\n";

/// A table of some MiB.
fn fill(gateway: &Gateway, topic: &str) {
    let value = "x".repeat(900);
    let line = |part: usize| {
        let set: Vec<_> = (0..500).map(|key| format!("\"{part}.{key}\":\"{value}\"")).collect();
        format!("{{\"topic\":\"{topic}\",\"set\":{{{}}}}}\n", set.join(","))
    };
    let body: String = (0..16).map(line).collect();
    assert_eq!(http(&gateway.admin, "POST", "/publish", LINES, &body).status, 200);
}

/// Asks and reads nothing of the answer.
fn ask(gateway: &Gateway, path: &str) -> TcpStream {
    let address: SocketAddr = gateway.admin.parse().unwrap();
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&address.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

fn metric(gateway: &Gateway, name: &str) -> u64 {
    let metrics = http(&gateway.admin, "GET", "/metrics", "", "").body;
    let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("{name} is not in\n{metrics}")).parse().unwrap()
}

#[test]
fn readers_of_a_large_table_share_one_copy() {
    let gateway = Gateway::start("shards = 1", TABLES);
    fill(&gateway, "a");
    let whole = http(&gateway.admin, "GET", "/topics/a", "", "");
    let bytes = whole.body.len() as u64;
    assert!(bytes > 6 << 20, "{bytes}");
    assert_eq!(metric(&gateway, "fanwire_admin_answer_bytes"), 0, "nobody reads it any more");
    let mut readers: Vec<TcpStream> = (0..30).map(|_| ask(&gateway, "/topics/a")).collect();
    until("one copy is held", || metric(&gateway, "fanwire_admin_answer_bytes") == bytes);
    // Each of them has asked by the time that the last one is answered.
    let mut first = [0; 12];
    readers.iter_mut().for_each(|reader| reader.read_exact(&mut first).unwrap());
    assert_eq!(&first, b"HTTP/1.1 200");
    assert_eq!(metric(&gateway, "fanwire_admin_answer_bytes"), bytes);
    // What has changed since is another answer.
    assert_eq!(
        http(&gateway.admin, "POST", "/publish", LINES, r#"{"topic":"a","set":{"new":1}}"#).status,
        200
    );
    let newer = http(&gateway.admin, "GET", "/topics/a", "", "");
    assert!(newer.body.contains(r#""new":1"#));
    drop(readers);
    until("it is given back", || metric(&gateway, "fanwire_admin_answer_bytes") == 0);
}

#[test]
fn copies_are_bounded_and_the_limit_is_told() {
    let gateway = Gateway::start("shards = 1", &format!("{TABLES}[limits]\nadmin_answer_bytes = \"1KiB\""));
    fill(&gateway, "a");
    fill(&gateway, "b");
    let reader = ask(&gateway, "/topics/a");
    until("one copy is held", || metric(&gateway, "fanwire_admin_answer_bytes") > 0);
    let second = http(&gateway.admin, "GET", "/topics/b", "", "");
    second.assert_refusal(503, "b");
    assert!(
        second.head.contains("\r\nretry-after: 1") && second.body.contains("admin_answer_bytes"),
        "{second:?}"
    );
    assert_eq!(http(&gateway.admin, "GET", "/topics/a", "", "").status, 200, "it is there");
    assert_eq!(http(&gateway.admin, "GET", "/topics", "", "").status, 200, "it is short");
    assert_eq!(metric(&gateway, "fanwire_admin_answers_refused_total"), 1);
    drop(reader);
    until("there is room again", || http(&gateway.admin, "GET", "/topics/b", "", "").status == 200);
}

#[test]
fn who_reads_an_answer_too_slowly_is_reset() {
    let gateway = Gateway::start("shards = 1", &format!("{TABLES}[limits]\nadmin_bytes_per_s = \"1MiB\""));
    fill(&gateway, "a");
    let mut reader = ask(&gateway, "/topics/a");
    until("it is reset", || metric(&gateway, "fanwire_admin_answers_slow_total") == 1);
    assert_eq!(metric(&gateway, "fanwire_admin_answer_bytes"), 0);
    let mut read = Vec::new();
    let ended = reader.read_to_end(&mut read);
    assert!(ended.is_err() || read.len() < 6 << 20, "{ended:?}, {} bytes", read.len());
}
