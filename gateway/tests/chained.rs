//! What a gateway chained behind another promises: the same `v`, versions and epoch, only whole batches,
//! and no word of its own.
#![forbid(unsafe_code)]

mod contract;
mod upstream;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, mpsc},
    thread::sleep,
    time::{Duration, Instant},
};

use contract::{Gateway, Socket, http};
use serde_json::{Value, json};
use upstream::{Peer, Said};

const WAIT: Duration = Duration::from_secs(10);
const EPOCH: &str = "0123456789abcdef";
const MODES: &str = "[fanout]\ninterval_ms = 20\n[[topic]]\npattern = \"*.book.*\"\nmode = \"keyed\"\n\
                     [[topic]]\npattern = \"*.trade.*\"\nmode = \"stream\"\nhistory = 2\nring_updates = 50\n";

fn chained(address: &str, keys: &str) -> Gateway {
    let source = format!(
        "[[source]]\nkind = \"fanwire\"\nname = \"up\"\nurl = \"ws://{address}/ws\"\n\
         backoff_min = \"10ms\"\nbackoff_max = \"40ms\"\n{keys}\n"
    );
    Gateway::start("shards = 2", &format!("{MODES}{source}"))
}

fn publish(gateway: &Gateway, line: &str) {
    let answer = http(&gateway.admin, "POST", "/publish", "Content-Type: application/json\r\n", line);
    assert_eq!(answer.status, 200, "{answer:?}");
}

fn topic(gateway: &Gateway, name: &str) -> Option<Value> {
    let answer = http(&gateway.admin, "GET", &format!("/topics/{name}"), "", "");
    (answer.status == 200).then(|| serde_json::from_str(&answer.body).unwrap())
}

fn await_topic(gateway: &Gateway, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + WAIT;
    loop {
        match topic(gateway, name) {
            Some(update) if wanted(&update) => return update,
            seen => assert!(Instant::now() < end, "{name}: {seen:?}"),
        }
        sleep(Duration::from_millis(5));
    }
}

/// Of a metric, whatever its labels; all added up.
fn metric(gateway: &Gateway, begin: &str) -> f64 {
    let text = http(&gateway.admin, "GET", "/metrics", "", "").body;
    let lines = text.lines().filter(|line| line.starts_with(begin));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

fn await_metric(gateway: &Gateway, begin: &str, value: f64) {
    let end = Instant::now() + WAIT;
    while metric(gateway, begin) != value {
        assert!(Instant::now() < end, "{begin} is {}", metric(gateway, begin));
        sleep(Duration::from_millis(5));
    }
}

/// Subscribes to everything; gives `subscribed` and what follows it.
fn subscribe(gateway: &Gateway, since: &str) -> (Socket, Value, Value) {
    let since = if since.is_empty() { String::new() } else { format!("&since={since}") };
    let mut socket = Socket::connect(&gateway.data, &format!("/ws?topics=*{since}")).ok().unwrap();
    let subscribed = socket.until("subscribed");
    let (_, payload) = socket.frame();
    (socket, subscribed, serde_json::from_slice(&payload).unwrap())
}

fn since(subscribed: &Value, frame: &Value) -> String {
    format!("{}:{}", subscribed["epoch"].as_str().unwrap(), frame["version"])
}

#[test]
fn counts_versions_and_the_epoch_are_the_upstreams() {
    let first = Gateway::start("shards = 2", MODES);
    let second = chained(&first.data, "");
    let third = chained(&second.data, "");
    for n in 1..=3 {
        publish(&first, &format!(r#"{{"topic":"x.quote","data":{{"n":{n}}},"ts":{}}}"#, first_ts(n)));
        publish(&first, &format!(r#"{{"topic":"x.book.a","set":{{"b{n}":{n}}}}}"#));
        publish(&first, &format!(r#"{{"topic":"x.trade.a","data":{n}}}"#));
    }
    publish(&first, r#"{"topic":"x.book.a","del":["b2"]}"#);
    let seen: Vec<(Value, Value)> = [&first, &second, &third]
        .map(|gateway| {
            await_topic(gateway, "x.book.a", |update| update["v"] == 4);
            let (_, subscribed, snapshot) = subscribe(gateway, "");
            // What came in one frame has one version behind it.
            let mut updates = snapshot["updates"].as_array().unwrap().clone();
            updates.sort_by_key(|update| update["topic"].to_string() + &update["v"].to_string());
            (json!([subscribed["epoch"], snapshot["version"]]), json!(updates))
        })
        .into();
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0], seen[2]);
    for name in ["x.quote", "x.book.a", "x.trade.a"] {
        assert_eq!(topic(&first, name), topic(&third, name));
    }
}

fn first_ts(n: i64) -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    now.as_micros() as i64 - n
}

#[test]
fn clients_move_between_gateways_of_one_upstream_by_since() {
    let first = Gateway::start("shards = 2", MODES);
    let others = [chained(&first.data, ""), chained(&first.data, "")];
    let gateways = [&first, &others[0], &others[1]];
    publish(&first, r#"{"topic":"x.book.a","set":{"b1":1,"b2":2}}"#);
    publish(&first, r#"{"topic":"x.gone","data":1}"#);
    gateways.iter().for_each(|gateway| drop(await_topic(gateway, "x.gone", |_| true)));
    let (_, subscribed, mut frame) = subscribe(&first, "");
    for n in 0..30 {
        publish(&first, &format!(r#"{{"topic":"x.book.a","set":{{"k{n}":{n}}},"del":["b{}"]}}"#, n % 3));
        publish(&first, &format!(r#"{{"topic":"x.trade.a","data":{n}}}"#));
        let gateway = gateways[n % 3];
        await_topic(gateway, "x.trade.a", |update| update["data"] == n);
        let (_, again, batch) = subscribe(gateway, &since(&subscribed, &frame));
        assert_eq!((&batch["op"], &again["epoch"]), (&json!("batch"), &subscribed["epoch"]), "{n}: {batch}");
        assert_eq!(batch["from"], frame["version"], "{n}: {again} {batch} after {frame}");
        let updates = batch["updates"].as_array().unwrap();
        // What this client has already may come again: frames of the upstream end elsewhere for each gateway.
        let of = |name: &str| updates.iter().rfind(|update| update["topic"] == name);
        assert_eq!(of("x.book.a").unwrap()["set"][format!("k{n}")], n);
        assert_eq!(of("x.trade.a").unwrap()["data"], n);
        frame = batch;
    }
}

#[test]
fn a_since_that_is_ahead_waits_until_the_gateway_gets_there() {
    let first = Gateway::start("", MODES);
    let second = chained(&first.data, "");
    publish(&first, r#"{"topic":"a","data":1}"#);
    await_topic(&second, "a", |_| true);
    let (_, subscribed, snapshot) = subscribe(&second, "");
    let version = snapshot["version"].as_u64().unwrap();
    let epoch = subscribed["epoch"].as_str().unwrap();
    let url = format!("/ws?topics=*&since={epoch}:{}", version + 3);
    let mut early = Socket::connect(&second.data, &url).ok().unwrap();
    sleep(Duration::from_millis(100));
    for n in 2..=4 {
        publish(&first, &format!(r#"{{"topic":"a","data":{n}}}"#));
    }
    assert_eq!(early.until("subscribed")["version"], version + 3);
    let batch = early.until("batch");
    assert_eq!((&batch["from"], &batch["updates"]), (&json!(version + 3), &json!([])));
    // One that is never reached.
    let began = Instant::now();
    let url = format!("/ws?topics=*&since={epoch}:{}", version + 1_000_000);
    let mut lost = Socket::connect(&second.data, &url).ok().unwrap();
    assert_eq!(lost.until("notice")["code"], "behind");
    assert_eq!(lost.close_code(), 1013);
    assert!(began.elapsed() >= Duration::from_secs(2));
    assert_eq!(metric(&second, "fanwire_ended_total{reason=\"ahead\"}"), 1.0);
}

#[test]
fn another_epoch_upstream_is_a_snapshot_for_everyone_that_names_it() {
    let first = Gateway::start("", MODES);
    let address = first.data.clone();
    let second = chained(&address, "");
    publish(&first, r#"{"topic":"old","data":1}"#);
    publish(&first, r#"{"topic":"x.book.a","set":{"k":1}}"#);
    await_topic(&second, "x.book.a", |_| true);
    let (mut socket, subscribed, snapshot) = subscribe(&second, "");
    assert_eq!(snapshot["updates"].as_array().unwrap().len(), 2);
    drop(first);
    let server = format!("[server]\ndata = \"{address}\"\nadmin = \"127.0.0.1:0\"\n{MODES}");
    let again = start_when_free(&server);
    // At version 0, before there is any topic.
    let snapshot = socket.until("snapshot");
    assert_eq!((&snapshot["version"], &snapshot["updates"]), (&json!(0), &json!([])));
    let epoch = snapshot["epoch"].as_str().unwrap().to_owned();
    assert!(epoch.len() == 16 && epoch != subscribed["epoch"].as_str().unwrap());
    assert_eq!(topic(&second, "old"), None);
    publish(&again, r#"{"topic":"new","data":2}"#);
    let batch = socket.until("batch");
    assert_eq!((&batch["from"], &batch["updates"][0]["topic"]), (&json!(0), &json!("new")));
    let (_, resubscribed, batch) = subscribe(&second, &format!("{epoch}:0"));
    assert_eq!((&resubscribed["epoch"], &batch["op"]), (&json!(epoch), &json!("batch")));
}

/// A killed gateway's port is taken for a moment still.
fn start_when_free(config: &str) -> Gateway {
    let end = Instant::now() + WAIT;
    loop {
        let gateway = Gateway::start_config(config);
        if gateway.first_line.starts_with("listening") {
            return gateway;
        }
        assert!(Instant::now() < end);
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn publishing_is_for_the_upstream() {
    let first = Gateway::start("", MODES);
    let second = chained(&first.data, "");
    let json = "Content-Type: application/json\r\n";
    let answer = http(&second.admin, "POST", "/publish", json, r#"{"topic":"a","data":1}"#);
    answer.assert_refusal(403, "publish");
    assert!(answer.body.contains(&format!("ws://{}/ws", first.data)), "{answer:?}");
    http(&second.admin, "DELETE", "/topics/a", "", "").assert_refusal(403, "delete");
}

// Below, upstreams that nobody should have.

fn subscribed(class: u64) -> String {
    format!(
        r#"{{"op":"subscribed","sub":"","class":{class},"topics":["*"],"interval_ms":0,"epoch":"{EPOCH}","version":5}}"#
    )
}

fn frame(op: &str, head: &str, updates: &str) -> String {
    format!(r#"{{"op":"{op}","class":1,"ts":1,{head},"updates":[{updates}]}}"#)
}

fn update(topic: &str, v: u64) -> String {
    format!(r#"{{"topic":"{topic}","v":{v},"ts":1700000000000000,"data":{v}}}"#)
}

/// An upstream that says this on its first connection and is cut, and is honest on all others, which
/// begin with a snapshot or an empty batch. Gives its address and what it was asked.
fn liar(texts: Vec<String>) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let said = asked.clone();
    let address = upstream::start(move |n, mut peer: Peer| {
        peer.accept()?;
        let Said::Text(text) = peer.hear()? else { panic!("an op comes first") };
        let has_since = text.contains("since");
        said.lock().unwrap().push(text);
        peer.text(&subscribed(1))?;
        if n == 0 {
            for text in &texts {
                peer.text(text)?;
            }
            sleep(Duration::from_millis(100));
            return Ok(());
        }
        match has_since {
            true => peer.text(&frame("batch", r#""from":5,"version":9"#, &update("b", 3)))?,
            false => peer.text(&frame("snapshot", r#""version":9"#, &update("b", 3)))?,
        }
        peer.wait()
    });
    (address, asked)
}

#[test]
fn a_batch_that_was_cut_off_in_its_parts_is_not_applied() {
    let texts = vec![
        frame("snapshot", r#""version":5"#, &update("a", 1)),
        frame("batch", r#""from":5,"version":8,"more":true"#, &update("a", 2)),
        frame("batch", r#""from":5,"version":8,"more":true"#, &update("c", 1)),
    ];
    let (address, asked) = liar(texts);
    let gateway = chained(&address.to_string(), "");
    await_topic(&gateway, "b", |update| update["v"] == 3);
    assert_eq!(topic(&gateway, "a").unwrap()["v"], 1);
    assert_eq!(topic(&gateway, "c"), None);
    let asked = asked.lock().unwrap();
    assert!(
        !asked[0].contains("since") && asked[1].contains(&format!("\"since\":\"{EPOCH}:5\"")),
        "{asked:?}"
    );
}

#[test]
fn an_upstream_that_lies_is_left_and_asked_again_and_harms_nothing() {
    for (lie, reason) in [
        (
            frame("batch", r#""from":7,"version":8"#, &update("a", 2)),
            "a batch from 7, but only 5 was reached",
        ),
        (frame("batch", r#""from":5,"version":4"#, &update("a", 2)), "a batch from 5 back to 4"),
        (frame("batch", r#""version":8"#, &update("a", 2)), "a batch without from"),
        (frame("batch", r#""from":5"#, &update("a", 2)), "a frame without version"),
        (frame("batch", r#""from":5,"version":8"#, r#"{"topic":"a","v":2,"ts":1}"#), "with neither data"),
        (
            frame("batch", r#""from":5,"version":9007199254740992"#, ""),
            "version = 9007199254740992 is not a whole number from 0 to 9007199254740991",
        ),
        (
            frame("batch", r#""from":5,"version":8"#, &update("a", 1 << 53)),
            "topic a: v = 9007199254740992 is not a whole number from 1 to 9007199254740991",
        ),
        (frame("batch", r#""from":5,"version":8"#, &update("c", 0)), "topic c: v = 0 is not a whole number"),
        ("no JSON".to_owned(), "not a message of fanwire.json.v1"),
        (r#"{"op":"error","code":4000,"reason":"no such thing"}"#.to_owned(), "it refuses: no such thing"),
    ] {
        let (address, asked) = liar(vec![frame("snapshot", r#""version":5"#, &update("a", 1)), lie]);
        let mut command = contract::command(&format!(
            "[server]\ndata = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n{MODES}[[source]]\nkind = \"fanwire\"\n\
             name = \"up\"\nurl = \"ws://{address}/ws\"\nbackoff_min = \"10ms\"\nbackoff_max = \"40ms\"\n"
        ));
        let log =
            std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("chained-{}.log", address.port()));
        command.env("RUST_LOG", "warn").stderr(std::fs::File::create(&log).unwrap());
        let gateway = Gateway::spawn(&mut command);
        await_topic(&gateway, "b", |update| update["v"] == 3);
        assert_eq!(topic(&gateway, "a").unwrap()["v"], 1, "{reason}");
        assert_eq!(metric(&gateway, "fanwire_source_ended_total{source=\"up\",reason=\"protocol\"}"), 1.0);
        let log = std::fs::read_to_string(log).unwrap();
        assert!(log.contains(reason), "{reason}: {log}");
        assert!(asked.lock().unwrap()[1].contains("since"));
    }
}

#[test]
fn what_there_is_no_room_or_no_mode_for_is_left_out_by_name_and_the_rest_goes_on() {
    let keyed = r#"{"topic":"no.table","v":2,"ts":1,"set":{"k":1}}"#;
    let bad = r#"{"topic":"a..b","v":1,"ts":1,"data":1}"#;
    let delta = r#"{"topic":"x.book.a","v":7,"ts":1,"set":{"k":1}}"#;
    let updates = [bad, keyed, &update("a", 4), delta].join(",");
    let (address, _) = liar(vec![frame("snapshot", r#""version":5"#, &updates)]);
    let gateway = chained(&address.to_string(), "");
    await_topic(&gateway, "a", |update| update["v"] == 4);
    await_metric(&gateway, "fanwire_source_bad_total{source=\"up\",kind=\"refused\"}", 3.0);
    await_topic(&gateway, "b", |_| true);
    assert_eq!((topic(&gateway, "no.table"), topic(&gateway, "x.book.a")), (None, None));
}

#[test]
fn a_snapshot_in_the_same_epoch_ends_what_is_not_in_it() {
    let address = upstream::start(|n, mut peer| {
        peer.accept()?;
        peer.hear()?;
        peer.text(&subscribed(1))?;
        let book = |v: u64, set: &str| {
            format!(r#"{{"topic":"x.book.a","v":{v},"ts":1,"reset":true,"set":{{{set}}}}}"#)
        };
        if n == 0 {
            let updates = [update("a", 1), update("b", 1), book(2, r#""k":1,"l":2"#)].join(",");
            peer.text(&frame("snapshot", r#""version":5"#, &updates))?;
            sleep(Duration::from_millis(300));
            return Ok(());
        }
        let updates = [update("b", 4), book(9, r#""l":2,"m":3"#)].join(",");
        peer.text(&frame("snapshot", r#""version":90"#, &updates))?;
        peer.wait()
    });
    let gateway = chained(&address.to_string(), "");
    await_topic(&gateway, "a", |_| true);
    let (mut socket, _, snapshot) = subscribe(&gateway, "");
    assert_eq!((&snapshot["version"], snapshot["updates"].as_array().unwrap().len()), (&json!(5), 3));
    let batch = socket.until("batch");
    assert_eq!((&batch["from"], &batch["version"]), (&json!(5), &json!(90)));
    let updates = batch["updates"].as_array().unwrap();
    let of = |name: &str| updates.iter().find(|update| update["topic"] == name).unwrap();
    assert_eq!(of("a")["gone"], true);
    assert_eq!(of("b")["data"], 4);
    let book = of("x.book.a");
    assert_eq!((&book["set"], &book["del"], book.get("reset")), (&json!({"m": 3}), &json!(["k"]), None));
}

#[test]
fn a_table_of_which_a_change_was_refused_is_told_as_a_gap_and_stands_still_until_it_is_asked_for_whole() {
    let (told, tells) = mpsc::channel();
    let tells = Mutex::new(tells);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let said = asked.clone();
    let address = upstream::start(move |n, mut peer| {
        peer.accept()?;
        said.lock().unwrap().push(peer.hear()?);
        peer.text(&subscribed(1))?;
        let book = |v: u64, fields: &str| format!(r#"{{"topic":"x.book.a","v":{v},"ts":1,{fields}}}"#);
        let trade = |v: u64, data: &str| format!(r#"{{"topic":"x.trade.a","v":{v},"ts":1,"data":{data}}}"#);
        let long = format!("\"{}\"", "x".repeat(2000));
        if n == 0 {
            let updates = [book(2, r#""reset":true,"set":{"k":1}"#), trade(1, "1")].join(",");
            peer.text(&frame("snapshot", r#""version":5"#, &updates))?;
            let updates = [book(3, &format!(r#""set":{{"long":{long}}}"#)), trade(2, &long)].join(",");
            peer.text(&frame("batch", r#""from":5,"version":7"#, &updates))?;
            let updates = [book(4, r#""set":{"l":2}"#), trade(3, "3")].join(",");
            peer.text(&frame("batch", r#""from":7,"version":9"#, &updates))?;
            tells.lock().unwrap().recv().unwrap();
            return Ok(());
        }
        let updates = [book(4, r#""reset":true,"set":{"k":1,"l":2}"#), trade(3, "3")].join(",");
        peer.text(&frame("snapshot", r#""version":9"#, &updates))?;
        peer.wait()
    });
    let gateway = Gateway::start(
        "",
        &format!(
            "{MODES}[limits]\ntopics_bytes = \"2KiB\"\nvalue_bytes = \"2KiB\"\n[[source]]\nkind = \"fanwire\"\n\
             name = \"up\"\nurl = \"ws://{address}/ws\"\nbackoff_min = \"10ms\"\nbackoff_max = \"40ms\"\n"
        ),
    );
    let trade = await_topic(&gateway, "x.trade.a", |update| update["data"] == 3);
    assert_eq!(trade["v"], 3);
    assert_eq!(topic(&gateway, "x.book.a").unwrap()["v"], 2, "it does not go on from what it lacks");
    let status = || http(&gateway.admin, "GET", "/status", "", "").body;
    let await_status = |wanted: &dyn Fn(&str) -> bool| {
        let end = Instant::now() + WAIT;
        while !wanted(&status()) {
            assert!(Instant::now() < end, "{}", status());
            sleep(Duration::from_millis(5));
        }
    };
    await_status(&|status| status.contains("x.book.a") && status.contains("topics_bytes is 2048"));
    let (_, _, snapshot) = subscribe(&gateway, "");
    assert_eq!(snapshot["version"], 9);
    told.send(()).unwrap();
    let book = await_topic(&gateway, "x.book.a", |update| update["v"] == 4);
    assert_eq!(book["data"], json!({"k": 1, "l": 2}));
    await_status(&|status| status.trim() == "[]");
    let asked = asked.lock().unwrap();
    let since = |said: &Said| matches!(said, Said::Text(text) if text.contains("since"));
    assert!(!since(&asked[1]), "all there is: {asked:?}");
}

#[test]
fn a_batch_in_parts_beyond_its_bound_ends_the_connection_with_the_key_to_raise() {
    let long = format!(r#"{{"topic":"a","v":9,"ts":1,"data":"{}"}}"#, "x".repeat(900));
    let parts = vec![
        frame("snapshot", r#""version":5,"more":true"#, &long),
        frame("snapshot", r#""version":5"#, &long.replace("\"a\"", "\"c\"")),
    ];
    let (address, _) = liar(parts);
    let gateway = chained(&address.to_string(), "batch_bytes = \"1KiB\"");
    await_topic(&gateway, "b", |_| true);
    assert_eq!((topic(&gateway, "a"), topic(&gateway, "c")), (None, None));
    assert_eq!(metric(&gateway, "fanwire_source_ended_total{source=\"up\",reason=\"protocol\"}"), 1.0);
}

#[test]
fn without_its_upstream_a_gateway_lives_and_is_not_ready() {
    let (go, gone) = mpsc::channel();
    let gone = Mutex::new(gone);
    let address = upstream::start(move |n, mut peer| {
        if n > 0 {
            return peer.refuse(503).map(drop);
        }
        peer.accept()?;
        peer.hear()?;
        peer.text(&subscribed(1))?;
        peer.text(&frame("snapshot", r#""version":5"#, &update("a", 1)))?;
        let _ = gone.lock().unwrap().recv_timeout(WAIT);
        Ok(())
    });
    let gateway = chained(&address.to_string(), "");
    let status = |listener: &str, path: &str| http(listener, "GET", path, "", "").status;
    let until = |wanted: u16| {
        let end = Instant::now() + WAIT;
        let ready = || [&gateway.admin, &gateway.data].map(|listener| status(listener, "/readyz"));
        while ready() != [wanted; 2] {
            assert!(Instant::now() < end, "/readyz is {:?}", ready());
            sleep(Duration::from_millis(5));
        }
    };
    until(200);
    go.send(()).unwrap();
    until(503);
    let reason = http(&gateway.admin, "GET", "/readyz", "", "").body;
    assert!(reason.contains("behind: the gateway that this one is chained to is away"), "{reason}");
    assert_eq!([&gateway.admin, &gateway.data].map(|listener| status(listener, "/livez")), [200; 2]);
}

#[test]
fn what_the_upstream_says_of_topics_is_passed_on_and_ends_with_its_connection() {
    let address = upstream::start(|n, mut peer| {
        peer.accept()?;
        peer.hear()?;
        // A byte order mark before a message says nothing.
        peer.text(&format!("\u{feff}{}", subscribed(1)))?;
        peer.text(&format!("\u{feff}{}", frame("snapshot", r#""version":5"#, &update("a", 1))))?;
        if n == 0 {
            peer.text(
                r#"{"op":"status","topics":["a"],"state":"stale","since":1,"reason":"the line is down"}"#,
            )?;
            sleep(Duration::from_millis(500));
            return Ok(());
        }
        peer.wait()
    });
    let gateway = chained(&address.to_string(), "");
    let (mut socket, ..) = subscribe(&gateway, "");
    let mut states = Vec::new();
    while states.last().is_none_or(|state| state != "a live") {
        let status = socket.until("status");
        states.push(format!(
            "{} {}",
            status["topics"][0].as_str().unwrap(),
            status["state"].as_str().unwrap()
        ));
    }
    states.retain(|state| state.starts_with("a "));
    assert_eq!(states, ["a stale", "a live"]);
}

#[test]
fn a_slow_client_with_two_subscriptions_gets_nothing_of_an_epoch_that_ended() {
    const OTHER: &str = "fedcba9876543210";
    let address = upstream::start(|n, mut peer| {
        peer.accept()?;
        peer.hear()?;
        let value = |v: u64, what: &str| {
            format!(r#"{{"topic":"a","v":{v},"ts":1700000000000000,"data":"{what}{}"}}"#, what.repeat(60_000))
        };
        if n > 0 {
            peer.text(&subscribed(1).replace(EPOCH, OTHER))?;
            peer.text(&frame("snapshot", r#""version":3"#, &value(1, "n")))?;
            return peer.wait();
        }
        peer.text(&subscribed(1))?;
        peer.text(&frame("snapshot", r#""version":5"#, &value(1, "o")))?;
        for v in 2..100 {
            peer.text(&frame("batch", &format!(r#""from":{},"version":{}"#, v + 3, v + 4), &value(v, "o")))?;
            sleep(Duration::from_millis(5));
        }
        Ok(())
    });
    let gateway = chained(&address.to_string(), "");
    await_topic(&gateway, "a", |_| true);
    let mut socket = Socket::connect(&gateway.data, "/ws?topics=a&interval_ms=0").ok().unwrap();
    socket.send(r#"{"op":"subscribe","sub":"two","topics":["*"],"interval_ms":20}"#);
    // It reads nothing until the other epoch is there.
    await_topic(&gateway, "a", |update| update["data"].as_str().unwrap().starts_with('n'));
    sleep(Duration::from_millis(200));
    let (mut old, mut new) = (0, std::collections::BTreeSet::new());
    while new.len() < 2 {
        let (_, payload) = socket.frame();
        let frame: Value = serde_json::from_slice(&payload).unwrap();
        let Some(update) = frame["updates"].get(0) else { continue };
        if update["data"].as_str().unwrap().starts_with('o') {
            assert!(!new.contains(&frame["class"].to_string()), "an old value after the new epoch");
            old += 1;
        } else {
            assert_eq!(
                (&frame["op"], &frame["epoch"], &frame["version"]),
                (&json!("snapshot"), &json!(OTHER), &json!(3))
            );
            assert!(new.insert(frame["class"].to_string()), "told twice");
        }
    }
    assert!(old > 0, "it was slow while there were old values");
}
