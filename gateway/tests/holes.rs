//! What a source's updates lack is told for as long as it is missing, whether the venue lost it or this
//! gateway refused it; a whole book makes up for it.
#![forbid(unsafe_code)]

mod contract;
mod upstream;

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    sync::{Mutex, mpsc},
};

use contract::{Gateway, Socket, command, http, until};
use serde_json::{Value, json};

const MAP: &str = r#"
[[source.map]]
when = { "/type" = "whole" }
topic = "x.book.{/s}"
seq = "/n"
levels = [{ path = "/b", key = "b" }]
reset = true
[[source.map]]
when = { "/type" = "change" }
topic = "x.book.{/s}"
seq = "/n"
levels = [{ path = "/b", key = "b" }]
[[source.map]]
when = { "/type" = "trade" }
topic = "x.trade.{/s}"
data = "/d"
[[source.map]]
when = { "/type" = "quote" }
topic = "x.quote.{/s}"
data = "/d"
[[source.map]]
when = { "/type" = "refuse" }
gap = ["x.book.{/s}"]
[[source.map]]
when = { "/type" = "busy" }
gap = ["x.book.*"]
[[topic]]
pattern = "x.book.*"
mode = "keyed"
keys = 3
[[topic]]
pattern = "x.trade.*"
mode = "stream"
"#;

/// Says what it is told to; `"cut"` ends the connection.
fn venue() -> (SocketAddr, mpsc::Sender<String>) {
    let (say, says) = mpsc::channel::<String>();
    let says = Mutex::new(says);
    let address = upstream::start(move |_, mut peer| {
        peer.accept()?;
        loop {
            let text = says.lock().unwrap().recv().unwrap_or("cut".to_owned());
            if text == "cut" {
                return Ok(());
            }
            peer.text(&text)?;
        }
    });
    (address, say)
}

/// A gateway behind it that writes its logs to a file.
fn start(name: &str, limits: &str, address: SocketAddr) -> (Gateway, PathBuf) {
    let log = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}.log", std::process::id()));
    let config = format!(
        "[server]\ndata = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nshards = 2\n[limits]\n{limits}\n\
         [[source]]\nkind = \"websocket\"\nname = \"x\"\nurl = \"ws://{address}/\"\n\
         backoff_min = \"10ms\"\nbackoff_max = \"20ms\"\n{MAP}"
    );
    let mut command = command(&config);
    command.env("RUST_LOG", "gateway=info").stderr(fs::File::create(&log).unwrap());
    (Gateway::spawn(&mut command), log)
}

fn levels(kind: &str, n: u64, prices: &[u32]) -> String {
    let levels: Vec<[String; 2]> = prices.iter().map(|price| [price.to_string(), "1".to_owned()]).collect();
    json!({"type": kind, "s": "a", "n": n, "b": levels}).to_string()
}

fn value(kind: &str, topic: &str, data: &str) -> String {
    json!({"type": kind, "s": topic, "d": data}).to_string()
}

fn subscriber(gateway: &Gateway) -> Socket {
    let mut socket = Socket::connect(&gateway.data, "/ws?topics=*&interval_ms=0").ok().unwrap();
    socket.until("snapshot");
    socket
}

/// Topics, state and reason of the next status about `topic`.
fn status(socket: &mut Socket, topic: &str) -> (String, String) {
    loop {
        let status = socket.until("status");
        if status["topics"] == json!([topic]) {
            let text = |key: &str| status[key].as_str().unwrap_or_default().to_owned();
            return (text("state"), text("reason"));
        }
    }
}

fn data(gateway: &Gateway, topic: &str) -> Value {
    let answer = http(&gateway.admin, "GET", &format!("/topics/{topic}"), "", "");
    serde_json::from_str::<Value>(&answer.body).unwrap()["data"].clone()
}

fn statuses(gateway: &Gateway) -> String {
    http(&gateway.admin, "GET", "/status", "", "").body.trim().to_owned()
}

fn refused(gateway: &Gateway) -> u64 {
    let text = http(&gateway.admin, "GET", "/metrics", "", "").body;
    let begin = "fanwire_source_bad_total{source=\"x\",kind=\"refused\"} ";
    text.lines().find_map(|line| line.strip_prefix(begin)).unwrap().parse().unwrap()
}

#[test]
fn a_book_that_lacks_an_update_is_a_gap_until_it_comes_whole_also_with_the_count_that_is_held() {
    let (address, say) = venue();
    let (gateway, _) = start("lacks", "", address);
    let mut socket = subscriber(&gateway);
    let whole = [
        // The one after it would have deleted b1.
        (
            levels("change", 4, &[2]),
            "seq stepped from 1 to 4: 2 updates are missing",
            levels("whole", 4, &[2]),
        ),
        (
            levels("change", 9, &[3]),
            "seq stepped from 4 to 9: 4 updates are missing",
            levels("whole", 3, &[3]),
        ),
    ];
    say.send(levels("whole", 1, &[1])).unwrap();
    for (change, reason, whole) in whole {
        say.send(change).unwrap();
        assert_eq!(status(&mut socket, "x.book.a"), ("gap".to_owned(), reason.to_owned()));
        assert!(statuses(&gateway).contains(reason));
        say.send("cut".to_owned()).unwrap();
        say.send(whole).unwrap();
        assert_eq!(status(&mut socket, "x.book.a").0, "live");
        until("it is in the list for as long as it is told", || statuses(&gateway) == "[]");
        assert_eq!(data(&gateway, "x.book.a").as_object().unwrap().len(), 1);
    }
}

#[test]
fn an_update_that_is_refused_is_a_hole_that_its_topic_tells_with_the_limit_that_the_log_names() {
    let (address, say) = venue();
    let (gateway, log) = start("refused", "value_bytes = \"64B\"\ntopics = 3", address);
    let (mut told, mut values) = (subscriber(&gateway), subscriber(&gateway));
    let long = "x".repeat(70);

    say.send(levels("whole", 1, &[1, 2])).unwrap();
    say.send(levels("change", 2, &[3, 4])).unwrap();
    let (state, reason) = status(&mut told, "x.book.a");
    assert_eq!(state, "gap");
    assert!(reason.contains("would have 4 keys, [[topic]] keys is 3"), "{reason}");
    say.send(levels("change", 3, &[3])).unwrap();
    values.update("x.book.a", |update| update["set"]["b3"] == "1");
    assert!(statuses(&gateway).contains("\"gap\""), "it goes on from what it should not");
    say.send(levels("whole", 4, &[3])).unwrap();
    while status(&mut told, "x.book.a").0 != "live" {}
    say.send(levels("whole", 5, &[1, 2, 3, 4])).unwrap();
    assert_eq!(status(&mut told, "x.book.a").0, "gap", "also where all of it is refused");
    say.send(levels("whole", 6, &[1])).unwrap();
    assert_eq!(status(&mut told, "x.book.a").0, "live");

    for text in [value("trade", "a", "1"), value("trade", "a", &long), value("trade", "a", &long)] {
        say.send(text).unwrap();
    }
    let (state, reason) = status(&mut told, "x.trade.a");
    assert_eq!(state, "gap");
    assert!(reason.contains("[limits] value_bytes is 64"), "{reason}");
    say.send(value("trade", "a", "4")).unwrap();
    let update = values.update("x.trade.a", |update| update["data"] == "4");
    assert_eq!((&update["v"], &update["gap"]), (&json!(4), &json!(2)));
    say.send(value("trade", "a", "5")).unwrap();
    assert_eq!(values.update("x.trade.a", |update| update["data"] == "5").get("gap"), None);
    while status(&mut told, "x.trade.a").0 != "live" {}

    say.send(value("quote", "a", "1")).unwrap();
    say.send(value("quote", "a", &long)).unwrap();
    assert_eq!(status(&mut told, "x.quote.a").0, "gap", "what is held is out of date");
    say.send(value("quote", "a", "2")).unwrap();
    assert_eq!(status(&mut told, "x.quote.a").0, "live");

    // Of topics that there are not nobody can be told.
    say.send(value("quote", "b", "1")).unwrap();
    say.send(value("quote", "c", &long)).unwrap();
    until("two more are refused", || refused(&gateway) == 7);
    until("nothing is missing", || statuses(&gateway) == "[]");
    drop(gateway);
    let log = fs::read_to_string(log).unwrap();
    for limit in ["[[topic]] keys is 3", "[limits] value_bytes is 64", "raise [limits] topics"] {
        assert_eq!(log.matches(limit).count(), 1, "each once a minute: {limit} in {log}");
    }
}

#[test]
fn what_was_refused_is_missing_after_a_kill_also_where_nothing_was_taken_since() {
    let (address, say) = venue();
    let state =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("holes-{}.state", std::process::id()));
    let _ = fs::remove_file(&state);
    let config =
        format!("value_bytes = \"64B\"\n[state]\npath = \"{}\"\ncheckpoint = \"100ms\"", state.display());
    let saved = |what: &str| String::from_utf8_lossy(&fs::read(&state).unwrap_or_default()).contains(what);
    let (gateway, _) = start("killed", &config, address);
    say.send(levels("whole", 1, &[1])).unwrap();
    say.send(value("trade", "a", "1")).unwrap();
    until("both are saved", || saved("x.book.a") && saved("x.trade.a"));
    for text in [value("trade", "a", &"x".repeat(70)), value("trade", "a", &"x".repeat(70))] {
        say.send(text).unwrap();
    }
    until("what a stream lacks is saved", || saved("\"refused\":2"));
    say.send(levels("change", 2, &[2, 3, 4])).unwrap();
    until("that a book is incomplete is saved", || saved("\"gap\":true"));
    gateway.signal("KILL");
    drop(gateway);
    say.send("cut".to_owned()).unwrap();

    let (gateway, _) = start("killed-2", &config, address);
    let mut socket = subscriber(&gateway);
    say.send(value("trade", "a", "4")).unwrap();
    let update = socket.update("x.trade.a", |update| update["data"] == "4");
    assert_eq!((&update["v"], &update["gap"]), (&json!(4), &json!(2)));
    say.send(levels("change", 3, &[5])).unwrap();
    while status(&mut socket, "x.book.a").0 != "gap" {}
    say.send(levels("whole", 4, &[5])).unwrap();
    while status(&mut socket, "x.book.a").0 != "live" {}
}

#[test]
fn a_book_of_which_the_first_was_refused_begins_with_a_gap() {
    let (address, say) = venue();
    let (gateway, _) = start("first", "", address);
    let mut socket = subscriber(&gateway);
    say.send(levels("whole", 1, &[1, 2, 3, 4])).unwrap();
    say.send(levels("change", 2, &[1])).unwrap();
    let gap = ("gap".to_owned(), "it was refused before and did not come whole since".to_owned());
    assert_eq!(status(&mut socket, "x.book.a"), gap);
    say.send(levels("change", 3, &[2])).unwrap();
    say.send(levels("whole", 4, &[1, 2])).unwrap();
    assert_eq!(status(&mut socket, "x.book.a").0, "live");
    assert_eq!(data(&gateway, "x.book.a"), json!({"b1": "1", "b2": "1"}));
}

#[test]
fn a_key_that_is_too_long_is_a_hole_like_any_other() {
    let (address, say) = venue();
    let (gateway, log) = start("long", "", address);
    let mut socket = subscriber(&gateway);
    say.send(levels("whole", 1, &[1])).unwrap();
    let price = format!("1.{}", "0".repeat(300));
    say.send(json!({"type": "change", "s": "a", "n": 2, "b": [["2", "1"], [price, "1"]]}).to_string())
        .unwrap();
    let (state, reason) = status(&mut socket, "x.book.a");
    assert!(state == "gap" && reason.contains("a key has 303 bytes, the most is 255"), "{state} {reason}");
    say.send(levels("whole", 3, &[2])).unwrap();
    assert_eq!(status(&mut socket, "x.book.a").0, "live");
    drop(gateway);
    assert!(fs::read_to_string(log).unwrap().contains("a key has 303 bytes"));
}

#[test]
fn what_a_venue_refused_ends_with_a_whole_book_whatever_its_count_and_with_no_repeat() {
    let (address, say) = venue();
    let (gateway, _) = start("denied", "", address);
    let mut socket = subscriber(&gateway);
    say.send(levels("whole", 1, &[1])).unwrap();
    say.send(json!({"type": "refuse", "s": "a"}).to_string()).unwrap();
    assert_eq!(status(&mut socket, "x.book.a").0, "gap");
    say.send(levels("change", 1, &[3])).unwrap();
    say.send(value("quote", "a", "1")).unwrap();
    socket.update("x.quote.a", |_| true);
    assert!(statuses(&gateway).contains("\"gap\""), "what repeats the old book does not mend it");
    say.send(levels("whole", 1, &[2])).unwrap();
    assert_eq!(status(&mut socket, "x.book.a").0, "live");
    assert_eq!(data(&gateway, "x.book.a"), json!({"b2": "1"}));

    let say_so = |state: &str| {
        let body = format!(r#"{{"topics":["x.book.*"],"state":"{state}"}}"#);
        let answer = http(&gateway.admin, "POST", "/status", "Content-Type: application/json\r\n", &body);
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    say_so("gap");
    say.send(levels("whole", 1, &[3])).unwrap();
    until("it repairs", || data(&gateway, "x.book.a") == json!({"b3": "1"}));
    say_so("live");
    say.send(levels("whole", 1, &[1])).unwrap();
    say.send(value("quote", "a", "2")).unwrap();
    until("what comes after it is there", || data(&gateway, "x.quote.a") == "2");
    assert_eq!(data(&gateway, "x.book.a"), json!({"b3": "1"}), "a repeat again");
}

#[test]
fn once_a_book_came_whole_after_a_refused_pattern_an_older_one_of_another_source_is_a_repeat() {
    let ((address, say), (other, also_say)) = (venue(), venue());
    let (maps, topics) = MAP.split_at(MAP.find("[[topic]]").unwrap());
    let source = |url: SocketAddr| format!("[[source]]\nkind = \"websocket\"\nurl = \"ws://{url}/\"\n{maps}");
    let (a, b) = (source(address), source(other));
    let gateway = Gateway::start_config(&format!(
        "[server]\ndata = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n{a}{b}{topics}"
    ));
    let mut socket = subscriber(&gateway);
    say.send(levels("whole", 8, &[1])).unwrap();
    say.send(json!({"type": "busy"}).to_string()).unwrap();
    assert_eq!(status(&mut socket, "x.book.*").0, "gap");
    say.send(levels("whole", 10, &[2])).unwrap();
    assert_eq!(status(&mut socket, "x.book.*").0, "live");
    also_say.send(levels("whole", 9, &[3])).unwrap();
    also_say.send(value("quote", "b", "1")).unwrap();
    socket.update("x.quote.b", |_| true);
    assert_eq!(data(&gateway, "x.book.a"), json!({"b2": "1"}));
    also_say.send(levels("whole", 11, &[3])).unwrap();
    until("what is newer comes", || data(&gateway, "x.book.a") == json!({"b3": "1"}));
}
