//! What a venue wants beside its messages: snapshots by HTTP, a pace, texts by the clock, answers, packed frames,
//! tokens, signatures, a new connection in time.
#![forbid(unsafe_code)]

mod contract;
mod upstream;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    sync::mpsc,
    thread::{self, sleep},
    time::{Duration, Instant},
};

use flate2::{Compression, write::GzEncoder};
use proto::encode::Opcode;
use serde_json::{Value, json};

use contract::{Gateway, http};
use upstream::{Peer, Said};

const WAIT: Duration = Duration::from_secs(10);
const BOOK: &str = r#"
[[source.map]]
when = { "/ch" = "book.{symbol}" }
topic = "x.book.{symbol}"
seq = "/u"
levels = [{ path = "/b", key = "b" }]
[source.map.snapshot]
url = "http://HTTP/depth/{symbol}?limit=5"
seq = "/id"
levels = [{ path = "/bids", key = "b" }]
every = "1ms"
[[topic]]
pattern = "x.book.*"
mode = "keyed"
"#;

/// A source called `x` that comes back quickly.
fn source(addr: SocketAddr, keys: &str, map: &str) -> String {
    format!(
        "[[source]]\nkind = \"websocket\"\nname = \"x\"\nurl = \"ws://{addr}/feed\"\n\
         backoff_min = \"10ms\"\nbackoff_max = \"40ms\"\n{keys}\n{map}"
    )
}

/// Answers each request, from the number of those before it and its head, with a status, header lines and a body.
fn http_server(answer: impl Fn(usize, &str) -> (u16, &'static str, String) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let (mut stream, mut head) = (stream.unwrap(), Vec::new());
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            let (status, headers, body) = answer(number, &String::from_utf8(head).unwrap());
            let length = body.len();
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n{headers}\r\n{body}");
            // Who asked may have gone.
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    addr
}

fn change(symbol: &str, u: u64, price: &str, size: &str) -> String {
    json!({"ch": format!("book.{symbol}"), "u": u, "b": [[price, size]]}).to_string()
}

fn get(gateway: &Gateway, path: &str) -> Option<Value> {
    let answer = http(&gateway.admin, "GET", path, "", "");
    (answer.status == 200).then(|| serde_json::from_str(&answer.body).unwrap())
}

fn await_that(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + WAIT;
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        sleep(Duration::from_millis(5));
    }
}

fn await_book(gateway: &Gateway, topic: &str, book: &Value) {
    let path = format!("/topics/{topic}");
    await_that(&format!("{topic} is not {book}"), || {
        get(gateway, &path).is_some_and(|topic| topic["data"] == *book)
    });
}

/// What `GET /status` says of a topic.
fn status_of(gateway: &Gateway, topic: &str) -> Option<(String, String)> {
    let rows = get(gateway, "/status").unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let of = |row: &&Value| row["topics"].as_array().unwrap().iter().any(|told| told == topic);
    rows.as_array().unwrap().iter().find(of).map(|row| (text(&row["state"]), text(&row["reason"])))
}

#[test]
fn changes_wait_for_a_snapshot_go_on_from_it_and_a_gap_asks_for_another() {
    let (asked, asks) = mpsc::channel();
    let http = http_server(move |number, head| {
        asked.send(head.lines().next().unwrap().to_owned()).unwrap();
        match number {
            0 => (429, "Retry-After: 0\r\n", String::new()),
            // Older than what waits.
            1 => (200, "", json!({"id": 1, "bids": [["1", "1"]]}).to_string()),
            2 => (200, "", json!({"id": 3, "bids": [["10", "1"], ["9", "1"]]}).to_string()),
            _ => (200, "", json!({"id": 7, "bids": [["7", "7"]]}).to_string()),
        }
    });
    let (go, went) = mpsc::channel::<()>();
    let went = std::sync::Mutex::new(went);
    let addr = upstream::start(move |_, mut peer| {
        peer.accept()?;
        for u in 3..6 {
            peer.text(&change("a/b", u, "10", &u.to_string()))?;
        }
        went.lock().unwrap().recv().unwrap();
        peer.text(&change("a/b", 6, "9", "0"))?;
        peer.text(&change("a/b", 8, "8", "8"))?;
        peer.wait()
    });
    let gateway = Gateway::start("", &source(addr, "", &BOOK.replace("HTTP", &http.to_string())));
    await_book(&gateway, "x.book.a/b", &json!({"b10": "5", "b9": "1"}));
    for _ in 0..3 {
        assert_eq!(asks.recv_timeout(WAIT).unwrap(), "GET /depth/a%2Fb?limit=5 HTTP/1.1");
    }
    await_that("it is told", || status_of(&gateway, "x.book.a/b").is_some());
    await_that("its gap ends", || status_of(&gateway, "x.book.a/b").is_none());
    go.send(()).unwrap();
    await_book(&gateway, "x.book.a/b", &json!({"b7": "7", "b8": "8"}));
    await_that("its gap is told", || status_of(&gateway, "x.book.a/b").is_some());
    let (state, reason) = status_of(&gateway, "x.book.a/b").unwrap();
    assert_eq!((&*state, reason.contains("seq stepped from 6 to 8: 1 updates")), ("gap", true), "{reason}");
    await_that("its gap ends", || status_of(&gateway, "x.book.a/b").is_none());
    let metrics = contract::http(&gateway.admin, "GET", "/metrics", "", "").body;
    assert!(metrics.contains("fanwire_source_snapshots_total{source=\"x\"} 4"), "{metrics}");
    assert!(metrics.contains("fanwire_source_snapshots_failed_total{source=\"x\"} 2"), "{metrics}");
}

#[test]
fn a_book_whose_snapshot_does_not_come_is_told_and_one_that_never_changes_is_there() {
    let http = http_server(|_, head| match head.contains("/depth/silent") {
        true => (200, "", json!({"id": 1, "bids": [["1", "1"]]}).to_string()),
        false => (404, "", "{}".to_owned()),
    });
    let addr = upstream::start(|_, mut peer| {
        peer.accept()?;
        peer.text(&change("lost", 5, "1", "1"))?;
        peer.wait()
    });
    let keys = "symbols = [\"silent\"]";
    let gateway = Gateway::start("", &source(addr, keys, &BOOK.replace("HTTP", &http.to_string())));
    await_book(&gateway, "x.book.silent", &json!({"b1": "1"}));
    let told = || status_of(&gateway, "x.book.lost");
    await_that("it is told", || told().is_some());
    assert_eq!(told(), Some(("gap".to_owned(), "no snapshot: it answered 404 Not Found".to_owned())));
    assert!(get(&gateway, "/topics/x.book.lost").is_none());
}

#[test]
fn texts_go_out_for_each_symbol_at_their_pace_and_others_by_the_clock_and_as_answers() {
    let (heard, hears) = mpsc::channel();
    let addr = upstream::start(move |_, mut peer| {
        peer.accept()?;
        peer.text(r#"{"ping":1.50,"to":"a.b"}"#)?;
        let begun = Instant::now();
        loop {
            let Said::Text(text) = peer.hear()? else { continue };
            heard.send((begun.elapsed(), text)).unwrap();
        }
    });
    let keys = r#"
symbols = ["a", "b/c"]
send = ['{"sub":"{symbol}"}', '{"at":{time_s},"sign":"{sign}"}']
send_every = "60ms"
ping = { every = "150ms", text = "beat" }
[[source.reply]]
when = { "/ping" = "*", "/to" = "{x}.b" }
send = '{"pong":{/ping},"x":"{x}"}'
[source.sign]
secret = "k"
text = "{time_s}"
"#;
    let _gateway = Gateway::start("", &source(addr, keys, "[[source.map]]\ntopic = \"x\"\ndata = \"\""));
    let mut all = Vec::new();
    while all.iter().filter(|(_, text)| text == "beat").count() < 2 {
        all.push(hears.recv_timeout(WAIT).unwrap());
    }
    let said = |wanted: &str| {
        let found = all.iter().find(|(_, text)| text == wanted).map(|(at, _)| *at);
        found.unwrap_or_else(|| panic!("{wanted}: {all:?}"))
    };
    said(r#"{"pong":1.50,"x":"a"}"#);
    let (first, second) = (said(r#"{"sub":"a"}"#), said(r#"{"sub":"b/c"}"#));
    assert!(second >= first + Duration::from_millis(40), "{all:?}");
    let signed = all.iter().find_map(|(_, text)| text.starts_with("{\"at\":").then_some(text)).unwrap();
    let signed: Value = serde_json::from_str(signed).unwrap();
    assert!(signed["at"].is_u64() && signed["sign"].as_str().unwrap().len() == 64, "{signed}");
}

#[test]
fn packed_frames_are_read_and_what_is_none_is_counted() {
    let addr = upstream::start(|_, mut peer| {
        peer.accept()?;
        peer.send(Opcode::Binary, b"no gzip")?;
        peer.text(r#"{"s":"plain"}"#)?;
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(br#"{"s":"packed"}"#)?;
        peer.send(Opcode::Binary, &packed.finish()?)?;
        peer.wait()
    });
    let map = "[[source.map]]\ntopic = \"x.{/s}\"\ndata = \"\"";
    let gateway = Gateway::start("", &source(addr, "encoding = \"gzip\"", map));
    await_book(&gateway, "x.packed", &json!({"s": "packed"}));
    await_book(&gateway, "x.plain", &json!({"s": "plain"}));
    let metrics = http(&gateway.admin, "GET", "/metrics", "", "").body;
    assert!(metrics.contains("fanwire_source_bad_total{source=\"x\",kind=\"encoding\"} 1"), "{metrics}");
}

#[test]
fn a_token_is_asked_for_first_and_headers_are_shown() {
    let (seen, sees) = mpsc::channel();
    let told = seen.clone();
    let venue = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = venue.local_addr().unwrap();
    let http = http_server(move |_, head| {
        told.send(head.to_owned()).unwrap();
        (200, "", json!({"data": {"url": format!("ws://{addr}/in"), "t": "a/b=="}}).to_string())
    });
    thread::spawn(move || {
        let mut stream = venue.accept().unwrap().0;
        let mut head = [0; 4096];
        let bytes = stream.read(&mut head).unwrap();
        seen.send(String::from_utf8_lossy(&head[..bytes]).into_owned()).unwrap();
        sleep(WAIT);
    });
    let config = format!(
        r#"[[source]]
kind = "websocket"
name = "x"
url = "{{@token/data/url}}?t={{@token/data/t}}"
headers = {{ Authorization = "Bearer {{@token/data/t}}", User-Agent = "me" }}
[source.token]
url = "http://{http}/token"
method = "POST"
headers = {{ X-Key = "k" }}
[[source.map]]
topic = "x"
data = ""
"#
    );
    let _gateway = Gateway::start("", &config);
    let asked = sees.recv_timeout(WAIT).unwrap().to_lowercase();
    assert!(asked.starts_with("post /token http/1.1") && asked.contains("x-key: k"), "{asked}");
    let request = sees.recv_timeout(WAIT).unwrap();
    assert!(request.starts_with("GET /in?t=a%2Fb== HTTP/1.1\r\n"), "{request}");
    assert!(
        request.contains("Authorization: Bearer a/b==\r\n") && request.contains("User-Agent: me\r\n"),
        "{request}"
    );
    assert!(!request.contains("fanwire/") && request.contains(&format!("Host: {addr}\r\n")), "{request}");
}

#[test]
fn a_book_that_begins_with_a_change_lacks_something_and_a_deletion_may_write_its_price_otherwise() {
    let addr = upstream::start(|_, mut peer| {
        peer.accept()?;
        peer.text(r#"{"k":"c","s":"part","b":[["1.10","1"]]}"#)?;
        peer.text(r#"{"k":"w","s":"whole","b":[[1.7e-7,5],[100.0,1],["1.10","1"],["2.5","2"]]}"#)?;
        peer.text(r#"{"k":"c","s":"whole","b":[[0.00000017,0],[100,0],["1.1","0"],["2","0"]]}"#)?;
        peer.wait()
    });
    let entry = |kind: &str, rest: &str| {
        format!(
            "[[source.map]]\nwhen = {{ \"/k\" = \"{kind}\" }}\ntopic = \"x.book.{{/s}}\"\n\
             levels = [{{ path = \"/b\", key = \"b\" }}]\n{rest}\n"
        )
    };
    let topic = "[[topic]]\npattern = \"x.book.*\"\nmode = \"keyed\"";
    let map = [entry("w", "reset = true"), entry("c", ""), topic.to_owned()].concat();
    let gateway = Gateway::start("", &source(addr, "", &map));
    await_book(&gateway, "x.book.whole", &json!({"b2.5": "2"}));
    await_book(&gateway, "x.book.part", &json!({"b1.10": "1"}));
    await_that("it is told", || status_of(&gateway, "x.book.part").is_some());
    assert_eq!(status_of(&gateway, "x.book.part").unwrap().0, "gap");
    assert_eq!(status_of(&gateway, "x.book.whole"), None);
}

#[test]
fn without_its_token_no_connect_is_made_and_it_is_asked_for_again() {
    let (asked, asks) = mpsc::channel();
    let http = http_server(move |number, _| {
        asked.send(Instant::now()).unwrap();
        match number {
            0 => (200, "", "no JSON".to_owned()),
            1 => (429, "Retry-After: 1\r\n", String::new()),
            _ => (200, "", json!({"t": "good"}).to_string()),
        }
    });
    let (seen, sees) = mpsc::channel();
    let addr = upstream::start(move |_, mut peer| {
        seen.send(peer.accept()?).unwrap();
        peer.wait()
    });
    let map =
        format!("[source.token]\nurl = \"http://{http}/token\"\n[[source.map]]\ntopic = \"x\"\ndata = \"\"");
    let config = source(addr, "", &map).replace("/feed", "/feed?t={@token/t}");
    let gateway = Gateway::start("", &config);
    assert_eq!(sees.recv_timeout(WAIT).unwrap(), "/feed?t=good", "the venue saw a connect without its token");
    let at: Vec<Instant> = asks.try_iter().collect();
    assert_eq!(at.len(), 3);
    assert!(at[2] - at[1] >= Duration::from_millis(900), "it was not left alone");
    let metrics = contract::http(&gateway.admin, "GET", "/metrics", "", "").body;
    assert!(metrics.contains("fanwire_source_ended_total{source=\"x\",reason=\"connect\"} 2"), "{metrics}");
}

#[test]
fn a_gap_that_only_a_new_connection_mends_makes_one() {
    let addr = upstream::start(|number, mut peer| {
        peer.accept()?;
        peer.text(r#"{"k":"w","u":1,"b":[["1","1"]]}"#)?;
        let next = if number == 0 { 3 } else { 2 };
        peer.text(&format!(r#"{{"k":"c","u":{next},"b":[["2","{number}"]]}}"#))?;
        peer.wait()
    });
    let map = r#"
[[source.map]]
when = { "/k" = "w" }
topic = "x.book"
seq = "/u"
levels = [{ path = "/b", key = "b" }]
reset = true
[[source.map]]
topic = "x.book"
seq = "/u"
levels = [{ path = "/b", key = "b" }]
on_gap = "reconnect"
[[topic]]
pattern = "x.book"
mode = "keyed"
"#;
    let gateway = Gateway::start("", &source(addr, "", map));
    await_book(&gateway, "x.book", &json!({"b1": "1", "b2": "1"}));
    let metrics = http(&gateway.admin, "GET", "/metrics", "", "").body;
    assert!(metrics.contains("fanwire_source_ended_total{source=\"x\",reason=\"gap\"} 1"), "{metrics}");
    await_that("its gap ends", || status_of(&gateway, "x.book").is_none());
}

/// Brings the venue's trades from now on, once it has heard the subscription: one each 10 ms since it opened, with the
/// number of the connection.
fn trade(
    number: usize,
    mut peer: Peer,
    opened: Instant,
    ended: &mpsc::Sender<(usize, Instant)>,
) -> std::io::Result<()> {
    const EVERY: Duration = Duration::from_millis(10);
    peer.accept()?;
    peer.hear()?;
    peer.stream.set_read_timeout(Some(Duration::from_millis(1)))?;
    for n in (opened.elapsed().as_millis() / EVERY.as_millis()) as u32.. {
        sleep((opened + EVERY * n).saturating_duration_since(Instant::now()));
        peer.text(&format!(r#"{{"n":{n},"c":{number}}}"#))?;
        if matches!(peer.hear(), Ok(Said::Close(_))) {
            ended.send((number, Instant::now())).unwrap();
            return Ok(());
        }
    }
    Ok(())
}

#[test]
fn a_connection_is_followed_by_one_that_is_there_before_it_ends() {
    let (ended, ends) = mpsc::channel();
    let (began, begins) = mpsc::channel();
    let opened = Instant::now();
    let addr = upstream::start(move |number, peer| {
        began.send((number, Instant::now())).unwrap();
        trade(number, peer, opened, &ended)
    });
    let map = "[[source.map]]\ntopic = \"x.trade\"\nseq = \"/n\"\ndata = \"/c\"\n\
               [[topic]]\npattern = \"x.trade\"\nmode = \"stream\"";
    let keys = "send = [\"sub\"]\nrenew = \"300ms\"";
    let gateway = Gateway::start("", &source(addr, keys, map));
    let mut socket = contract::Socket::connect(&gateway.data, "/ws?topics=x.*&interval_ms=0").ok().unwrap();
    let (first, at) = ends.recv_timeout(WAIT).unwrap();
    assert_eq!(first, 0, "the older one ends");
    let second = begins.iter().find(|(number, _)| *number == 1).unwrap();
    assert!(second.1 < at, "the other one was there before");
    socket.update("x.trade", |update| {
        assert!(update["gap"].is_null(), "{update}");
        update["data"] == 1
    });
    let metrics = http(&gateway.admin, "GET", "/metrics", "", "").body;
    assert!(metrics.contains("fanwire_source_connected{source=\"x\"} 1"), "{metrics}");
    for reason in ["closed", "cut", "stale", "idle"] {
        let none = format!("fanwire_source_ended_total{{source=\"x\",reason=\"{reason}\"}} 0");
        assert!(metrics.contains(&none), "{none}: {metrics}");
    }
}

#[test]
fn a_connection_takes_over_when_it_is_answered_and_has_the_books_whole() {
    let (ended, ends) = mpsc::channel();
    let (whole, wholes) = mpsc::channel();
    let addr = upstream::start(move |number, mut peer| {
        peer.accept()?;
        peer.hear()?;
        peer.text(r#"{"k":"t","c":1}"#)?;
        if number > 0 {
            // Until it is answered it brings trades and no book.
            peer.text(r#"{"ping":7}"#)?;
            assert!(matches!(peer.hear()?, Said::Text(text) if text == r#"{"pong":7}"#));
            sleep(Duration::from_millis(300));
            whole.send((number, Instant::now())).unwrap();
        }
        peer.text(&format!(r#"{{"k":"w","u":{},"b":[["1","{number}"]]}}"#, 1 + number))?;
        loop {
            if let Said::Close(_) = peer.hear()? {
                ended.send((number, Instant::now())).unwrap();
                return Ok(());
            }
        }
    });
    let map = r#"
[[source.reply]]
when = { "/ping" = "*" }
send = '{"pong":{/ping}}'
[[source.map]]
when = { "/k" = "w" }
topic = "x.book"
seq = "/u"
levels = [{ path = "/b", key = "b" }]
reset = true
[[source.map]]
when = { "/k" = "t" }
topic = "x.trade"
data = "/c"
[[topic]]
pattern = "x.book"
mode = "keyed"
"#;
    let gateway = Gateway::start("", &source(addr, "send = [\"sub\"]\nrenew = \"200ms\"", map));
    let (number, came) = wholes.recv_timeout(WAIT).unwrap();
    let (first, gone) = ends.recv_timeout(WAIT).unwrap();
    assert_eq!((number, first), (1, 0));
    assert!(gone >= came, "the older one ended {:?} too early", came - gone);
    await_book(&gateway, "x.book", &json!({"b1": "1"}));
}
