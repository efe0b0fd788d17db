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

/// Books of at most `keys` keys, cut to the best three of each side.
fn start(addr: SocketAddr, keys: usize, value_bytes: usize) -> Gateway {
    let map = |kind, reset| {
        format!(
            "[[source.map]]\nwhen = {{ \"/t\" = \"{kind}\" }}\neach = \"/d\"\ntopic = \"x.{{/s}}\"\nreset = {reset}\ndepth = 3\n\
             levels = [{{ path = \"/b\", key = \"b\" }}, {{ path = \"/a\", key = \"a\" }}]\n"
        )
    };
    let (whole, update) = (map("whole", true), map("update", false));
    Gateway::start_config(&format!(
        "[server]\ndata = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n[limits]\nvalue_bytes = \"{value_bytes}B\"\n\
         [[topic]]\npattern = \"x.*\"\nmode = \"keyed\"\nkeys = {keys}\n\
         [[source]]\nkind = \"websocket\"\nurl = \"ws://{addr}/\"\n{whole}{update}"
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

#[test]
fn limits_hold_for_the_levels_that_stay() {
    let (addr, say) = venue();
    // As many keys as the depth leaves, and hardly bytes for them.
    let gateway = start(addr, 6, 80);
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
    let gateway = start(addr, 6, 80);
    say.send(message("whole", &[(&[(97, 1), (98, 1), (99, 1)], &[(101, 1)])])).unwrap();
    await_keys(&gateway, &["a101", "b97", "b98", "b99"]);
    // Cut after its first element, the best three would lack 97 once the second takes 100 away.
    let better: Vec<(u32, u32)> = vec![(100, 1), (95, 1), (94, 1)];
    say.send(message("update", &[(&better, &[]), (&[(100, 0)], &[(102, 1)])])).unwrap();
    await_keys(&gateway, &["a101", "a102", "b97", "b98", "b99"]);
    assert!(is_live(&gateway));
}
