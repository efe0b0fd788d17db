//! Limits of a topic against a venue's book that is cut to its depth.
#![forbid(unsafe_code)]

mod contract;
mod upstream;

use std::{
    net::SocketAddr,
    sync::{
        Mutex,
        mpsc::{Sender, channel},
    },
    thread::sleep,
    time::{Duration, Instant},
};

use contract::{Gateway, http};
use serde_json::{Value, json};

const WAIT: Duration = Duration::from_secs(10);

/// A venue that sends what it is given.
fn venue() -> (SocketAddr, Sender<String>) {
    let (say, said) = channel::<String>();
    let said = Mutex::new(said);
    let addr = upstream::start(move |_, mut peer| {
        peer.accept()?;
        let said = said.lock().unwrap();
        for message in said.iter() {
            peer.text(&message)?;
        }
        peer.wait()
    });
    (addr, say)
}

/// Books with a bound of `keys`, cut to the best three of each side.
fn start(addr: SocketAddr, keys: &str, value_bytes: usize) -> Gateway {
    let map = |kind, reset| {
        format!(
            "[[source.map]]\nwhen = {{ \"/t\" = \"{kind}\" }}\neach = \"/d\"\ntopic = \"x.{{/s}}\"\nreset = {reset}\ndepth = 3\n\
             levels = [{{ path = \"/b\", key = \"b\" }}, {{ path = \"/a\", key = \"a\" }}]\n"
        )
    };
    let (whole, update) = (map("whole", true), map("update", false));
    let counted = |kind, reset| map(kind, reset) + "seq = \"/u\"\n";
    let (books, steps) = (counted("books", true), counted("steps", false));
    Gateway::start_config(&format!(
        "[server]\ndata = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n[limits]\nvalue_bytes = \"{value_bytes}B\"\n\
         [[topic]]\npattern = \"x.*\"\nmode = \"keyed\"\n{keys}\n\
         [[source]]\nkind = \"websocket\"\nurl = \"ws://{addr}/\"\n{whole}{update}{books}{steps}"
    ))
}

/// Prices with their sizes.
type Levels<'a> = &'a [(u32, u32)];

/// `elements`: bids and asks of each.
fn message(kind: &str, elements: &[(Levels<'_>, Levels<'_>)]) -> String {
    let levels =
        |levels: Levels<'_>| levels.iter().map(|(p, s)| json!([p.to_string(), s])).collect::<Vec<_>>();
    let elements: Vec<Value> =
        elements.iter().map(|(b, a)| json!({"s": "A", "b": levels(b), "a": levels(a)})).collect();
    json!({"t": kind, "d": elements}).to_string()
}

/// `elements`: the count and the bids of each.
fn counted(kind: &str, elements: &[(u64, Levels<'_>)]) -> String {
    let levels =
        |levels: Levels<'_>| levels.iter().map(|(p, s)| json!([p.to_string(), s])).collect::<Vec<_>>();
    let elements: Vec<Value> =
        elements.iter().map(|(u, b)| json!({"s": "A", "u": u, "b": levels(b), "a": []})).collect();
    json!({"t": kind, "d": elements}).to_string()
}

fn await_keys(gateway: &Gateway, keys: &[&str]) {
    let end = Instant::now() + WAIT;
    loop {
        let answer = http(&gateway.admin, "GET", "/topics/x.A", "", "");
        let value: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        if value["data"].as_object().is_some_and(|data| data.keys().eq(keys)) {
            return;
        }
        let log = http(&gateway.admin, "GET", "/status", "", "").body;
        assert!(Instant::now() < end, "{keys:?}: {answer:?} {log}");
        sleep(Duration::from_millis(10));
    }
}

fn is_live(gateway: &Gateway) -> bool {
    !http(&gateway.admin, "GET", "/status", "", "").body.contains("\"gap\"")
}

fn await_gap(gateway: &Gateway, reason: &str) {
    let end = Instant::now() + WAIT;
    loop {
        let statuses = http(&gateway.admin, "GET", "/status", "", "").body;
        if statuses.contains("\"gap\"") && statuses.contains(reason) {
            return;
        }
        assert!(Instant::now() < end, "{reason}: {statuses}");
        sleep(Duration::from_millis(10));
    }
}

#[test]
fn limits_hold_for_the_levels_that_stay() {
    let (addr, say) = venue();
    // As many keys as the depth leaves, and hardly bytes for them.
    let gateway = start(addr, "keys = 6", 80);
    let far: Vec<(u32, u32)> = (10..100).map(|price| (price, 1)).collect();
    let far_asks: Vec<(u32, u32)> = (200..300).rev().map(|price| (price, 1)).collect();
    say.send(message("whole", &[(&far, &far_asks)])).unwrap();
    await_keys(&gateway, &["a200", "a201", "a202", "b97", "b98", "b99"]);
    say.send(message("update", &[(&[(100, 1), (101, 1)], &[(199, 1)])])).unwrap();
    await_keys(&gateway, &["a199", "a200", "a201", "b100", "b101", "b99"]);
    let worse: Vec<(u32, u32)> = (1..90).map(|price| (price, 2)).collect();
    say.send(message("update", &[(&worse, &[(201, 0)])])).unwrap();
    await_keys(&gateway, &["a199", "a200", "b100", "b101", "b99"]);
    assert!(is_live(&gateway), "nothing of it was refused");
}

#[test]
fn a_message_is_cut_once_all_its_updates_of_a_topic_are_made() {
    let (addr, say) = venue();
    let gateway = start(addr, "keys = 6", 80);
    say.send(message("whole", &[(&[(97, 1), (98, 1), (99, 1)], &[(101, 1)])])).unwrap();
    await_keys(&gateway, &["a101", "b97", "b98", "b99"]);
    // Cut after its first element, the best three would lack 97 once the second takes 100 away.
    let better: Vec<(u32, u32)> = vec![(100, 1), (95, 1), (94, 1)];
    say.send(message("update", &[(&better, &[]), (&[(100, 0)], &[(102, 1)])])).unwrap();
    await_keys(&gateway, &["a101", "a102", "b97", "b98", "b99"]);
    assert!(is_live(&gateway));
}

#[test]
fn after_each_message_only_the_best_levels_stay_whatever_became_of_its_last_update() {
    let (addr, say) = venue();
    let gateway = start(addr, "keys = 6", 80);
    let better = |from: u32| (from..from + 5).map(|price| (price, 1)).collect::<Vec<_>>();
    say.send(counted("books", &[(10, &better(10))])).unwrap();
    await_keys(&gateway, &["b12", "b13", "b14"]);
    say.send(counted("steps", &[(11, &better(20)), (11, &better(20))])).unwrap();
    await_keys(&gateway, &["b22", "b23", "b24"]);
    let many: Vec<Vec<(u32, u32)>> = (0..60).map(|n| better(10_000 - 10 * n)).collect();
    let mut steps: Vec<(u64, Levels<'_>)> = (12..).zip(many.iter().map(|levels| &levels[..])).collect();
    steps.push((5, &[(30, 1)]));
    say.send(counted("steps", &steps)).unwrap();
    await_keys(&gateway, &["b10002", "b10003", "b10004"]);
    say.send(counted("books", &[(100, &better(40)), (100, &better(50))])).unwrap();
    await_keys(&gateway, &["b42", "b43", "b44"]);
    assert!(is_live(&gateway), "nothing is missing");
    let long = counted("steps", &[(101, &better(60)), (102, &[(9, 1)])]);
    say.send(long.replace("\"9\"", &format!("\"9.{}\"", "0".repeat(300)))).unwrap();
    await_keys(&gateway, &["b62", "b63", "b64"]);
    await_gap(&gateway, "a key has 303 bytes");
}

#[test]
fn what_falls_out_of_the_depth_is_no_part_of_the_message() {
    let (addr, say) = venue();
    let gateway = start(addr, "", 80);
    for from in (1000..1400).step_by(8) {
        let set: Value = (from..from + 8).map(|price| (format!("b{price}"), json!(1))).collect();
        let body = json!({"topic": "x.A", "set": set}).to_string();
        let answer = http(&gateway.admin, "POST", "/publish", "Content-Type: application/json\r\n", &body);
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    say.send(message("update", &[(&[(5000, 1)], &[])])).unwrap();
    await_keys(&gateway, &["b1398", "b1399", "b5000"]);
    assert!(is_live(&gateway));
    let long: Vec<(u32, u32)> = (6000..6003).map(|price| (price, 1_000_000_000)).collect();
    say.send(message("update", &[(&long, &long)])).unwrap();
    say.send(message("update", &[(&[(7000, 1)], &[])])).unwrap();
    await_keys(&gateway, &["b1399", "b5000", "b7000"]);
    await_gap(&gateway, "[limits] value_bytes");
}
