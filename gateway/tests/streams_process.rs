//! Streams and bare values through the gateway's own binary, on real sockets, by io_uring and by epoll.
#![forbid(unsafe_code)]

mod access;
mod contract;
mod jose;

use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use access::{access, bearer, token};
use contract::{Gateway, Socket, command, dial};
use serde_json::{Value, json};

const BACKENDS: [&str; 2] = ["auto", "epoll"];

fn gateway(io: &str, rest: &str) -> Gateway {
    let head = "[server]\ndata = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nshards = 2\n";
    Gateway::spawn(command(&format!("{head}{rest}")).env("FANWIRE_SERVER__IO", io))
}

/// An HTTP answer that goes on, behind its head.
fn ask(gateway: &Gateway, target: &str, fields: &str) -> BufReader<TcpStream> {
    let mut stream = dial(&gateway.data);
    write!(stream, "GET {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").unwrap();
    let mut stream = BufReader::new(stream);
    assert_eq!(line(&mut stream), "HTTP/1.1 200 OK\r");
    while line(&mut stream) != "\r" {}
    stream
}

fn line(stream: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    line.strip_suffix('\n').expect("a whole line").to_owned()
}

/// Name, message and id of the next event.
fn event(stream: &mut BufReader<TcpStream>) -> (String, Value, Option<String>) {
    let mut said = (String::new(), Value::Null, None);
    loop {
        let line = line(stream);
        match line.split_once(": ") {
            Some(("event", name)) => said.0 = name.to_owned(),
            Some(("data", json)) => said.1 = serde_json::from_str(json).unwrap(),
            Some(("id", id)) => said.2 = Some(id.to_owned()),
            _ if line.is_empty() && !said.0.is_empty() => return said,
            _ => {}
        }
    }
}

/// Until an event tells of an update.
fn updates(stream: &mut BufReader<TcpStream>) -> (Vec<Value>, String) {
    loop {
        let (_, message, id) = event(stream);
        if let Some(updates) = message["updates"].as_array().filter(|updates| !updates.is_empty()) {
            return (updates.iter().map(|update| update["data"].clone()).collect(), id.unwrap());
        }
    }
}

#[test]
fn a_client_of_events_that_is_cut_off_goes_on_where_it_was() {
    for io in BACKENDS {
        let gateway = gateway(io, "[[topic]]\npattern = \"s.*\"\nmode = \"stream\"\n");
        let mut seen = Vec::new();
        let mut id = String::new();
        for n in 0..20 {
            let fields = if id.is_empty() { String::new() } else { format!("Last-Event-ID: {id}\r\n") };
            let mut stream = ask(&gateway, "/sse?topics=s.a&interval_ms=0", &fields);
            while event(&mut stream).0 != "subscribed" {}
            gateway.publish("s.a", &(2 * n).to_string());
            let (more, last) = updates(&mut stream);
            seen.extend(more);
            id = last;
            drop(stream);
            gateway.publish("s.a", &(2 * n + 1).to_string());
        }
        let mut lines = ask(&gateway, "/stream?topics=s.a&interval_ms=0", "");
        let first: Value = serde_json::from_str(&line(&mut lines)).unwrap();
        assert_eq!(first["op"], "subscribed");
        // What came while it was away is in the first batch of the next connection, except the last.
        let expected: Vec<Value> = (0..39).map(Value::from).collect();
        let mut all = seen.clone();
        all.dedup();
        assert_eq!(all.len(), seen.len(), "{io}: something came twice: {seen:?}");
        assert!(expected.starts_with(&seen[..seen.len().min(39)]) && seen.len() >= 38, "{io}: {seen:?}");
    }
}

#[test]
fn who_takes_nothing_is_reset_and_who_is_there_is_not() {
    for io in BACKENDS {
        let limits =
            "[limits]\nping = \"1s\"\npong = \"1s\"\nstall = \"1m\"\n[fanout]\nheartbeat = \"200ms\"\n";
        let gateway = gateway(io, limits);
        let mut there = ask(&gateway, "/sse?topics=a", "");
        let gone = ask(&gateway, "/sse?topics=b&interval_ms=0", "");
        let long = format!("{:?}", "x".repeat(500_000));
        let end = Instant::now() + Duration::from_secs(6);
        let mut gone = gone.into_inner();
        let mut is_reset = false;
        while Instant::now() < end && !is_reset {
            gateway.publish("b", &long);
            while event(&mut there).0 != "batch" {}
            thread::sleep(Duration::from_millis(50));
            gone.set_nonblocking(true).unwrap();
            // Nothing is taken out: what is looked at stays.
            is_reset = gone.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::ConnectionReset);
        }
        gone.set_nonblocking(false).unwrap();
        let mut rest = Vec::new();
        let reset =
            is_reset || gone.read_to_end(&mut rest).is_err_and(|e| e.kind() == ErrorKind::ConnectionReset);
        assert!(reset, "{io}: it is still there, or ended in order");
    }
}

fn room(gateway: &Gateway, grants: &[&str]) -> Socket<TcpStream> {
    let claims = json!({ "sub": "a", "fanwire": { "subscribe": ["*"], "publish": grants } });
    Socket::with(dial(&gateway.data), "/chat/lobby?interval_ms=0", &bearer(&token(claims))).ok().unwrap()
}

#[test]
fn what_one_says_in_a_room_all_hear_and_who_may_not_is_closed_if_he_goes_on() {
    for io in BACKENDS {
        let config = "[[raw]]\npath = \"/chat/{room}\"\ntopic = \"chat.{room}\"\n\
            [[topic]]\npattern = \"chat.*\"\nmode = \"stream\"\n";
        let gateway = gateway(io, &format!("{}{config}", access("")));
        let mut all: Vec<_> = (0..3).map(|_| room(&gateway, &["chat.*"])).collect();
        let mut mute = room(&gateway, &["other"]);
        let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
        for (said, heard) in [
            ("hello", "hello"),
            (r#"{"text": "hi"}"#, r#"{"text": "hi"}"#),
            (r#""quoted""#, "quoted"),
            ("{broken", "{broken"),
            ("1.50", "1.50"),
        ] {
            mute.send("nobody hears this");
            all[0].send(&deep);
            all[0].send(said);
            for client in all.iter_mut().chain([&mut mute]) {
                assert_eq!(String::from_utf8(client.message()).unwrap(), heard, "{io}");
            }
        }
        (0..16).for_each(|_| mute.send("nobody hears this"));
        assert_eq!(mute.close_code(), 4403, "{io}");
        (0..16).for_each(|_| all[0].send(&deep));
        assert_eq!(all[0].close_code(), 4000, "{io}");
    }
}
