//! Bodies of requests to the admin listener: encodings, bounds, and answers that arrive.
#![forbid(unsafe_code)]

mod contract;

use std::io::{Read, Write};

use contract::{Gateway, dial};
use flate2::{Compression, write::GzEncoder};
use serde_json::Value;

const JSON: &str = "Content-Type: application/json\r\n";
const LINES: &str = "Content-Type: application/x-ndjson\r\n";

/// Status, head in lower case and body of what a POST is answered.
fn post(gateway: &Gateway, path: &str, headers: &str, body: &[u8]) -> (u16, String, Value) {
    let mut stream = dial(&gateway.admin);
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    // As most clients do, all is sent before anything is read.
    stream.write_all(body).unwrap();
    answer(stream)
}

fn answer(mut stream: impl Read) -> (u16, String, Value) {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {answer:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), serde_json::from_str(body).unwrap())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn encoded(content_type: &str, encoding: &str) -> String {
    format!("{content_type}Content-Encoding: {encoding}\r\n")
}

#[test]
fn a_body_in_gzip_is_as_good_as_one_without() {
    let gateway = Gateway::start("", "");
    let one = br#"{"topic":"a","data":1}"#;
    let line = |n: usize| format!("{{\"topic\":\"b.{n}\",\"data\":\"{}\"}}\n", "x".repeat(100));
    let many: String = (0..20_000).map(line).collect();
    for (headers, body, accepted) in [
        (encoded(JSON, "gzip"), gzip(one), 1),
        (encoded(JSON, "GZIP"), gzip(one), 1),
        (encoded(JSON, "x-gzip"), gzip(one), 1),
        (encoded(JSON, "identity, gzip"), gzip(one), 1),
        (encoded(JSON, "identity"), one.to_vec(), 1),
        (encoded(LINES, "gzip"), gzip(many.as_bytes()), 20_000),
        // Members one after the other, as `cat a.gz b.gz` makes them.
        (encoded(LINES, "gzip"), [gzip(line(1).as_bytes()), gzip(line(2).as_bytes())].concat(), 2),
        (encoded(LINES, "gzip"), gzip(b""), 0),
    ] {
        let (status, _, body) = post(&gateway, "/publish", &headers, &body);
        assert_eq!((status, &body["accepted"]), (200, &accepted.into()), "{headers}: {body}");
    }
    let status = br#"{"topics":["a.*"],"state":"stale"}"#;
    assert_eq!(post(&gateway, "/status", &encoded(JSON, "gzip"), &gzip(status)).0, 200);
}

#[test]
fn what_is_no_gzip_or_another_encoding_is_refused_with_what_to_send() {
    let gateway = Gateway::start("", "");
    let one = br#"{"topic":"a","data":1}"#;
    let good = gzip(one);
    let cut = &good[..good.len() - 3];
    let mut damaged = good.clone();
    *damaged.last_mut().unwrap() ^= 1;
    for body in [&one[..], cut, b"", &damaged, &[&good[..], b"more"].concat()] {
        let (status, _, answer) = post(&gateway, "/publish", &encoded(JSON, "gzip"), body);
        assert_eq!(status, 400, "{body:x?} {answer}");
        assert!(answer["reason"].as_str().unwrap().contains("gzip"), "{answer}");
        assert_eq!((&answer["accepted"], &answer["index"]), (&0.into(), &0.into()), "{answer}");
    }
    for encoding in ["br", "deflate", "zstd", "gzip, gzip", "gzip, br", "compress"] {
        for path in ["/publish", "/status"] {
            let (status, head, answer) = post(&gateway, path, &encoded(JSON, encoding), &good);
            assert_eq!(status, 415, "{encoding}: {answer}");
            assert!(head.contains("\r\naccept-encoding: gzip"), "{head}");
        }
    }
    assert_eq!(contract::http(&gateway.admin, "GET", "/topics", "", "").body, "[]");
}

#[test]
fn an_array_has_a_bound_in_keys_of_whole_tables_and_each_table_by_itself_has_none() {
    let config = "[limits]\natomic_updates = 30\n[[topic]]\npattern = \"k.*\"\nmode = \"keyed\"\n";
    let gateway = Gateway::start("shards = 1", config);
    let members: Vec<String> = (0..20).map(|key| format!("\"{key}\":1")).collect();
    let whole = |topic| format!("{{\"topic\":\"k.{topic}\",\"data\":{{{}}}}}", members.join(","));
    let reset = |topic| format!("{{\"topic\":\"k.{topic}\",\"reset\":true}}");
    let array = |items: [String; 2]| format!("[{}]", items.join(","));
    let lines = [whole("a"), whole("b")].join("\n");
    for (headers, body, expected) in [
        (JSON, array([whole("a"), whole("b")]), 413),
        (LINES, lines.clone(), 200),
        (LINES, lines, 200),
        (JSON, array([reset("a"), reset("b")]), 413),
        (JSON, format!("[{}]", whole("a")), 413),
        (JSON, format!("[{}]", reset("a")), 200),
        (JSON, format!("[{}]", whole("a")), 200),
    ] {
        let (status, _, answer) = post(&gateway, "/publish", headers, body.as_bytes());
        assert_eq!(status, expected, "{answer}");
        if status == 413 {
            assert_eq!(answer["accepted"], 0, "{answer}");
            assert!(answer["index"].is_u64(), "{answer}");
            assert!(answer["reason"].as_str().unwrap().contains("[limits] atomic_updates = 30"), "{answer}");
        }
    }
}

#[test]
fn the_limit_holds_for_what_a_body_becomes() {
    let gateway = Gateway::start("", "[limits]\npublish_bytes = \"1MiB\"\nvalue_bytes = \"1MiB\"");
    // A thousand times as long as what is sent, in one member and in very many.
    let zeros = gzip(&vec![b'\n'; 8 << 20]);
    let members = gzip(&vec![b'\n'; 64 << 10]).repeat(1000);
    assert!(zeros.len() < 64 << 10 && members.len() < 1 << 20);
    for body in [&zeros, &members] {
        let (status, _, answer) = post(&gateway, "/publish", &encoded(LINES, "gzip"), body);
        assert_eq!(status, 413, "{answer}");
        assert!(answer["reason"].as_str().unwrap().contains("[limits] publish_bytes = 1048576"), "{answer}");
    }
    let fits = gzip(&vec![b'\n'; 1 << 20]);
    assert_eq!(post(&gateway, "/publish", &encoded(LINES, "gzip"), &fits).0, 200);
}

#[test]
fn a_body_that_says_it_is_too_long_is_refused_before_it_is_asked_for() {
    let gateway = Gateway::start("", "[limits]\npublish_bytes = \"1MiB\"\nvalue_bytes = \"1MiB\"");
    let head = |path: &str, length: u64| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nExpect: 100-continue\r\n{JSON}\
             Content-Length: {length}\r\n\r\n"
        )
    };
    for (path, length) in [("/publish", (1 << 20) + 1), ("/publish", 1 << 40), ("/status", (1 << 20) + 1)] {
        let mut stream = dial(&gateway.admin);
        stream.write_all(head(path, length).as_bytes()).unwrap();
        let (status, head, _) = answer(&mut stream);
        assert_eq!(status, 413, "{path}: nothing else came before it");
        assert!(head.contains("\r\nconnection: close"), "{head}");
    }
    let mut stream = dial(&gateway.admin);
    stream.write_all(head("/publish", 22).as_bytes()).unwrap();
    let mut asked = [0; 25];
    stream.read_exact(&mut asked).unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(br#"{"topic":"a","data":1}"#).unwrap();
    assert_eq!(answer(stream).0, 200);
}

#[test]
fn who_ends_its_side_after_a_request_is_answered_like_any_other() {
    let gateway = Gateway::start("", "");
    let (short, long) =
        (r#"{"topic":"t","data":1}"#, format!(r#"{{"topic":"t","data":"{}"}}"#, "x".repeat(200_000)));
    let status = r#"{"topics":["a.*"],"state":"stale"}"#;
    for (request, body) in [
        ("GET /healthz", ""),
        ("GET /metrics", ""),
        ("GET /topics/t", ""),
        ("POST /publish", short),
        ("POST /publish", &long),
        ("POST /status", status),
    ] {
        for _ in 0..10 {
            gateway.publish("t", "0");
            let mut stream = dial(&gateway.admin);
            let length = body.len();
            let head =
                format!("{request} HTTP/1.1\r\nHost: localhost\r\n{JSON}Content-Length: {length}\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(body.as_bytes()).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 "), "{request}: {answer}");
        }
    }
    // A part of a body is none.
    let mut stream = dial(&gateway.admin);
    let head =
        format!("POST /publish HTTP/1.1\r\nHost: localhost\r\n{JSON}Content-Length: 100\r\n\r\n{short}");
    stream.write_all(head.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let (status, _, body) = answer(stream);
    assert_eq!((status, &body["accepted"]), (400, &0.into()), "{body}");
}

#[test]
fn who_sends_too_much_all_the_same_reads_why() {
    let gateway = Gateway::start("", "[limits]\npublish_bytes = \"4MiB\"");
    let long = vec![b' '; 8 << 20];
    for (headers, status) in [
        (JSON.to_owned(), 413),
        ("Content-Type: text/plain\r\n".to_owned(), 415),
        (format!("Origin: http://evil.example\r\n{JSON}"), 403),
    ] {
        let (got, _, answer) = post(&gateway, "/publish", &headers, &long);
        assert_eq!(got, status, "{answer}");
    }
    let mut stream = dial(&gateway.admin);
    let head = format!(
        "POST /publish HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{JSON}Transfer-Encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    for _ in 0..8 {
        stream.write_all(format!("{:x}\r\n", 1 << 20).as_bytes()).unwrap();
        stream.write_all(&long[..1 << 20]).unwrap();
        stream.write_all(b"\r\n").unwrap();
    }
    assert_eq!(answer(stream).0, 413);
}
