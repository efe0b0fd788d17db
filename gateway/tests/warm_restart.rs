//! What a gateway with `[state]` promises across the end of its process, clean or not.
#![forbid(unsafe_code)]

mod contract;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    thread::sleep,
    time::{Duration, Instant},
};

use contract::{Gateway, Socket, command, http};
use serde_json::{Value, json};

const WAIT: Duration = Duration::from_secs(10);
const MODES: &str = "[[topic]]\npattern = \"*.book.*\"\nmode = \"keyed\"\n\
                     [[topic]]\npattern = \"*.trade.*\"\nmode = \"stream\"\n";

/// A directory of its own for each test.
fn directory(name: &str) -> PathBuf {
    let directory =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("restart-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    directory
}

/// A gateway with its state and its log in a directory.
fn start(directory: &Path, modes: &str) -> Gateway {
    let state = directory.join("state");
    let mut command = command(&format!(
        "[server]\ndata = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nshards = 2\ndrain = \"1s\"\n\
         [fanout]\ninterval_ms = 10\n[state]\npath = \"{}\"\ncheckpoint = \"100ms\"\n{modes}",
        state.display()
    ));
    let log = fs::File::create(directory.join("log")).unwrap();
    command.env("RUST_LOG", "info").stderr(Stdio::from(log));
    Gateway::spawn(&mut command)
}

fn log(directory: &Path) -> String {
    fs::read_to_string(directory.join("log")).unwrap()
}

fn publish(gateway: &Gateway, line: &str) {
    let answer = http(&gateway.admin, "POST", "/publish", "Content-Type: application/json\r\n", line);
    assert_eq!(answer.status, 200, "{answer:?}");
}

fn topic(gateway: &Gateway, name: &str) -> Option<Value> {
    let answer = http(&gateway.admin, "GET", &format!("/topics/{name}"), "", "");
    (answer.status == 200).then(|| serde_json::from_str(&answer.body).unwrap())
}

fn metric(gateway: &Gateway, begin: &str) -> f64 {
    let text = http(&gateway.admin, "GET", "/metrics", "", "").body;
    let line = text.lines().find(|line| line.starts_with(begin)).unwrap_or_else(|| panic!("{begin}: {text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// Waits for a checkpoint that was begun after this call.
fn checkpoint(directory: &Path) {
    let modified = || fs::metadata(directory.join("state")).and_then(|found| found.modified()).ok();
    let (before, end) = (modified(), Instant::now() + WAIT);
    while modified() == before {
        assert!(Instant::now() < end, "no checkpoint");
        sleep(Duration::from_millis(5));
    }
    sleep(Duration::from_millis(5));
}

fn subscribe(gateway: &Gateway, query: &str) -> (Socket, Value, Value) {
    let mut socket = Socket::connect(&gateway.data, &format!("/ws?{query}")).ok().unwrap();
    let subscribed = socket.until("subscribed");
    let (_, payload) = socket.frame();
    (socket, subscribed, serde_json::from_slice(&payload).unwrap())
}

fn end(mut gateway: Gateway) {
    gateway.signal("TERM");
    assert_eq!(gateway.exit_code(WAIT), Some(0));
}

#[test]
fn killed_in_mid_feed_it_comes_back_with_every_topic_stale_until_confirmed() {
    let directory = directory("killed");
    let gateway = start(&directory, MODES);
    let silent: Vec<String> = (0..20).map(|n| format!("s.quote.t{n:02}")).collect();
    for (n, name) in silent.iter().enumerate() {
        publish(&gateway, &format!(r#"{{"topic":"{name}","data":{{ "n":{n} }}}}"#));
    }
    publish(&gateway, r#"{"topic":"s.book.a","set":{"b1":"1.50","b2":"2"},"seq":4}"#);
    publish(&gateway, r#"{"topic":"s.book.a","set":{"b3":"3"},"del":["b1"],"seq":5}"#);
    publish(&gateway, r#"{"topic":"s.trade.a","data":1}"#);
    publish(&gateway, r#"{"topic":"s.trade.a","data":2}"#);
    let (_, before, _) = subscribe(&gateway, "topics=*");
    checkpoint(&directory);
    // What was published before a checkpoint began is kept: the second that is written from here on.
    let (mut busy, mut kept, mut written) = (0, 0, Vec::new());
    let until = Instant::now() + WAIT;
    while written.len() < 4 {
        assert!(Instant::now() < until, "no checkpoint");
        busy += 1;
        publish(&gateway, &format!(r#"{{"topic":"busy","data":{busy}}}"#));
        let modified = fs::metadata(directory.join("state")).unwrap().modified().unwrap();
        if written.last() != Some(&modified) {
            written.push(modified);
        }
        if written.len() < 3 {
            kept = busy;
        }
    }
    gateway.signal("KILL");
    drop(gateway);

    let gateway = start(&directory, MODES);
    let (mut socket, after, snapshot) = subscribe(&gateway, "topics=*");
    assert_ne!(after["epoch"], before["epoch"]);
    let updates = snapshot["updates"].as_array().unwrap();
    let held: BTreeMap<&str, &Value> = updates.iter().map(|u| (u["topic"].as_str().unwrap(), u)).collect();
    for (n, name) in silent.iter().enumerate() {
        assert_eq!((&held[&**name]["data"], &held[&**name]["v"]), (&json!({"n": n}), &json!(1)));
    }
    assert_eq!(held["s.book.a"]["set"], json!({"b2": "2", "b3": "3"}));
    assert_eq!((&held["s.book.a"]["v"], &held["s.trade.a"]["v"]), (&json!(2), &json!(2)));
    assert_eq!(held["s.trade.a"]["data"], 2);
    let last = held["busy"]["data"].as_u64().unwrap();
    assert!(
        (kept..=busy).contains(&last),
        "{last} of {busy}, of which {kept} came before the last checkpoint began"
    );

    let status = socket.until("status");
    let all: Vec<&str> = held.keys().copied().collect();
    assert_eq!((&status["topics"], &status["state"]), (&json!(all), &json!("stale")));
    assert_eq!(topic(&gateway, "s.quote.t00").unwrap()["stale"], true);
    assert_eq!(metric(&gateway, "fanwire_topics_unconfirmed"), all.len() as f64);
    publish(&gateway, r#"{"topic":"s.quote.t00","data":0}"#);
    publish(&gateway, r#"{"topic":"s.book.a","set":{"b9":"9"},"seq":5}"#);
    publish(&gateway, r#"{"topic":"s.book.a","set":{"b9":"9"},"seq":6}"#);
    let mut confirmed = Vec::new();
    while confirmed.len() < 2 {
        let live = socket.until("status");
        assert_eq!(live["state"], "live");
        confirmed.extend(live["topics"].as_array().unwrap().iter().cloned());
    }
    assert_eq!(confirmed, [json!("s.book.a"), json!("s.quote.t00")]);
    let book = topic(&gateway, "s.book.a").unwrap();
    assert_eq!((&book["v"], book.get("stale")), (&json!(3), None), "a repeat by seq is one still");
    let (mut late, ..) = subscribe(&gateway, "topics=s.quote.*");
    let status = late.until("status");
    assert_eq!(status["topics"].as_array().unwrap().len(), silent.len() - 1);
}

#[test]
fn a_table_longer_than_one_update_may_be_is_restored_and_taken_over_whole() {
    let directory = directory("long");
    let modes = format!("[limits]\nvalue_bytes = \"1KiB\"\n{MODES}");
    let gateway = start(&directory, &modes);
    for n in 0..4 {
        publish(&gateway, &format!(r#"{{"topic":"x.book.a","set":{{"k{n}":"{}"}}}}"#, "9".repeat(600)));
    }
    let table = topic(&gateway, "x.book.a").unwrap()["data"].clone();
    end(gateway);
    let gateway = start(&directory, &modes);
    assert_eq!(topic(&gateway, "x.book.a").unwrap()["data"], table);
    let source = format!("[[source]]\nkind = \"fanwire\"\nurl = \"ws://{}/ws\"\n", gateway.data);
    let second = Gateway::start("", &format!("{modes}{source}"));
    let end = Instant::now() + WAIT;
    while topic(&second, "x.book.a").is_none_or(|update| update["data"] != table) {
        assert!(Instant::now() < end);
        sleep(Duration::from_millis(10));
    }
}

#[test]
fn after_a_clean_end_the_epoch_goes_on_once() {
    let directory = directory("clean");
    let gateway = start(&directory, MODES);
    publish(&gateway, r#"{"topic":"a","data":1}"#);
    publish(&gateway, r#"{"topic":"gone","data":1}"#);
    publish(&gateway, r#"{"topic":"x.book.a","set":{"k":1,"l":2}}"#);
    let (_, first, early) = subscribe(&gateway, "topics=*");
    assert_eq!(http(&gateway.admin, "DELETE", "/topics/gone", "", "").status, 204);
    publish(&gateway, r#"{"topic":"x.book.a","del":["k"]}"#);
    let (_, _, snapshot) = subscribe(&gateway, "topics=*");
    let (epoch, version) = (first["epoch"].as_str().unwrap(), snapshot["version"].as_u64().unwrap());
    end(gateway);

    let gateway = start(&directory, MODES);
    let since = |version: &Value| format!("topics=*&since={epoch}:{version}");
    let (mut socket, again, batch) = subscribe(&gateway, &since(&json!(version)));
    assert_eq!(again["epoch"], epoch);
    assert_eq!((&batch["op"], &batch["updates"]), (&json!("batch"), &json!([])));
    publish(&gateway, r#"{"topic":"x.book.a","set":{"m":3}}"#);
    let batch = socket.until("batch");
    assert_eq!(batch["from"], version);
    let update = &batch["updates"][0];
    assert_eq!((&update["v"], &update["set"], update.get("reset")), (&json!(3), &json!({"m": 3}), None));
    // From before the last position nothing is known but what there is.
    let (_, _, frame) = subscribe(&gateway, &since(&early["version"]));
    assert_eq!(frame["op"], "snapshot");
    assert_eq!(topic(&gateway, "gone"), None);
    publish(&gateway, r#"{"topic":"gone","data":2}"#);
    assert_eq!(topic(&gateway, "gone").unwrap()["v"], 3, "v never goes back within an epoch");
    checkpoint(&directory);
    gateway.signal("KILL");
    drop(gateway);

    let gateway = start(&directory, MODES);
    let (_, third, _) = subscribe(&gateway, "topics=*");
    assert_ne!(third["epoch"], epoch);
    assert_eq!(topic(&gateway, "gone").unwrap()["v"], 3);
}

#[test]
fn line_breaks_in_what_is_published_survive_an_end_of_either_kind() {
    let directory = directory("breaks");
    let values = [
        ("a", "{\n  \"x\": [1,\r\n2],\t\"y\":\"\u{2028}\\n\"\n}"),
        ("s.trade.a", "[\n\n]"),
        ("c", "\"\\ud800\\u001e\""),
    ];
    let raw = |gateway: &Gateway, name: &str| {
        http(&gateway.admin, "GET", &format!("/topics/{name}"), "", "").body.replace(",\"stale\":true}", "}")
    };
    let mut gateway = start(&directory, MODES);
    for (name, data) in values {
        publish(&gateway, &format!("{{\"topic\":\"{name}\",\"data\":{data}}}"));
    }
    publish(&gateway, "{\"topic\":\"x.book.a\",\"set\":{\"k\\n\":{\n\"x\":1\r}}}");
    let names = || values.map(|(name, _)| name).into_iter().chain(["x.book.a"]);
    let before: Vec<String> = names().map(|name| raw(&gateway, name)).collect();
    assert!(before.iter().zip(values).all(|(update, (_, data))| update.ends_with(&format!("{data}}}"))));
    for is_clean in [false, true] {
        if is_clean {
            end(gateway);
        } else {
            checkpoint(&directory);
            gateway.signal("KILL");
            drop(gateway);
        }
        gateway = start(&directory, MODES);
        let after: Vec<String> = names().map(|name| raw(&gateway, name)).collect();
        assert_eq!(after, before);
    }
}

#[test]
fn one_damaged_topic_costs_that_topic_and_who_held_it_learns_it() {
    let directory = directory("damaged");
    let gateway = start(&directory, MODES);
    for n in 0..5 {
        publish(&gateway, &format!(r#"{{"topic":"t{n}","data":"value {n}"}}"#));
    }
    publish(&gateway, r#"{"topic":"t2","data":"value 2"}"#);
    let (_, before, snapshot) = subscribe(&gateway, "topics=*");
    assert_eq!(snapshot["updates"].as_array().unwrap().len(), 5);
    end(gateway);
    let state = directory.join("state");
    let mut bytes = fs::read(&state).unwrap();
    let at = bytes.windows(7).position(|seven| seven == b"value 2").unwrap();
    bytes[at] = b'V';
    fs::write(&state, &bytes).unwrap();

    let gateway = start(&directory, MODES);
    let held: Vec<bool> = (0..5).map(|n| topic(&gateway, &format!("t{n}")).is_some()).collect();
    assert_eq!(held, [true, true, false, true, true]);
    assert_eq!(metric(&gateway, "fanwire_state_lost"), 1.0);
    let log = log(&directory);
    assert!(log.contains("is damaged in 1 places") && log.contains("1 topics are lost"), "{log}");
    assert_eq!(fs::read(directory.join("state.refused")).unwrap(), bytes);
    let since = format!("{}:{}", before["epoch"].as_str().unwrap(), snapshot["version"]);
    let (_, after, frame) = subscribe(&gateway, &format!("topics=*&since={since}"));
    assert_ne!(after["epoch"], before["epoch"], "t2 may be born again below the v that a client holds");
    assert_eq!((&frame["op"], frame["updates"].as_array().unwrap().len()), (&json!("snapshot"), 4));
}

#[test]
fn a_torn_end_costs_what_stood_there_and_a_foreign_file_is_refused_by_name() {
    let directory = directory("torn");
    let gateway = start(&directory, MODES);
    for name in ["a", "b"] {
        publish(&gateway, &format!(r#"{{"topic":"{name}","data":"value {name}"}}"#));
    }
    end(gateway);
    let state = directory.join("state");
    let whole = fs::read(&state).unwrap();
    let at = whole.windows(7).position(|seven| seven == b"value b").unwrap();
    for (n, (bytes, a, reason)) in [
        (&whole[..at], true, "1 topics are lost"),
        (&whole[..whole.len() - 9], true, "0 topics are lost"),
        (b"# a note\nof somebody\n", false, "is not restored: it holds nothing of a state"),
        (b"", false, "is not restored: it holds nothing of a state"),
    ]
    .into_iter()
    .enumerate()
    {
        fs::write(&state, bytes).unwrap();
        let gateway = start(&directory, MODES);
        assert_eq!(topic(&gateway, "a").is_some(), a, "{reason}");
        let log = log(&directory);
        assert!(log.contains(reason), "{reason}: {log}");
        // The earlier ones stay.
        let aside = if n == 0 { "state.refused".to_owned() } else { format!("state.refused.{}", n + 1) };
        publish(&gateway, r#"{"topic":"c","data":1}"#);
        checkpoint(&directory);
        assert_eq!(fs::read(directory.join(aside)).unwrap(), bytes);
        gateway.signal("KILL");
        drop(gateway);
        fs::remove_file(&state).unwrap();
    }
}

#[test]
fn a_last_checkpoint_that_fails_is_told_ends_with_1_and_leaves_no_part() {
    let directory = directory("last");
    let mut gateway = start(&directory, MODES);
    publish(&gateway, r#"{"topic":"a","data":1}"#);
    checkpoint(&directory);
    // Whoever runs this may write everywhere, so that a name that cannot be taken stands for a full disk.
    fs::create_dir_all(directory.join("state.tmp")).unwrap();
    publish(&gateway, r#"{"topic":"a","data":2}"#);
    let until = Instant::now() + WAIT;
    while metric(&gateway, "fanwire_state_errors_total") < 1.0 {
        assert!(Instant::now() < until);
        sleep(Duration::from_millis(10));
    }
    gateway.signal("TERM");
    assert_eq!(gateway.exit_code(WAIT), Some(1));
    let log = log(&directory);
    assert!(log.trim_end().lines().last().unwrap().contains("the last state is not saved: "), "{log}");
    fs::remove_dir(directory.join("state.tmp")).unwrap();
    fs::write(directory.join("state.tmp"), "of a run that was killed").unwrap();
    let gateway = start(&directory, MODES);
    assert!(!directory.join("state.tmp").exists());
    assert_eq!(topic(&gateway, "a").unwrap()["data"], 1);
}

#[test]
fn a_table_that_was_incomplete_is_incomplete_after_a_restart_until_it_comes_whole() {
    let directory = directory("incomplete");
    let gateway = start(&directory, MODES);
    publish(&gateway, r#"{"topic":"x.book.a","set":{"k":1},"seq":1}"#);
    publish(&gateway, r#"{"topic":"x.book.a","set":{"l":2},"seq":5}"#);
    end(gateway);
    let gateway = start(&directory, MODES);
    let (mut socket, ..) = subscribe(&gateway, "topics=*");
    assert_eq!(socket.until("status")["state"], "stale");
    publish(&gateway, r#"{"topic":"x.book.a","set":{"m":3},"seq":6}"#);
    let mut states = vec![];
    while states.last() != Some(&json!("gap")) {
        assert!(states.len() < 3, "{states:?}");
        states.push(socket.until("status")["state"].clone());
    }
    publish(&gateway, r#"{"topic":"x.book.a","reset":true,"set":{"m":3},"seq":7}"#);
    assert_eq!(socket.until("status")["state"], "live");
}

#[test]
fn a_topic_whose_mode_is_another_now_begins_anew_and_the_others_are_there() {
    let directory = directory("mode");
    let gateway = start(&directory, "");
    publish(&gateway, r#"{"topic":"x.book.a","data":{"k":1}}"#);
    publish(&gateway, r#"{"topic":"a","data":1}"#);
    let (_, before, _) = subscribe(&gateway, "topics=*");
    end(gateway);
    let gateway = start(&directory, MODES);
    let (_, after, _) = subscribe(&gateway, "topics=*");
    assert_ne!(after["epoch"], before["epoch"], "who comes back must not keep what was left out");
    assert_eq!(
        (topic(&gateway, "x.book.a"), topic(&gateway, "a").unwrap()["data"].clone()),
        (None, json!(1))
    );
    let log = log(&directory);
    assert!(log.contains("topic x.book.a was latest when it was saved and is keyed now"), "{log}");
    assert_eq!(metric(&gateway, "fanwire_state_left_out"), 1.0);
}

#[test]
fn where_there_is_no_room_for_all_topics_any_more_some_are_there_the_others_are_named_and_the_file_is_kept() {
    let directory = directory("room");
    let gateway = start(&directory, "");
    for n in 0..5 {
        publish(&gateway, &format!(r#"{{"topic":"t{n}","data":{n}}}"#));
    }
    end(gateway);
    let state = fs::read(directory.join("state")).unwrap();
    // Three topics of 512 B, their names and values.
    let gateway = start(&directory, "[limits]\ntopics_bytes = \"1600B\"\n");
    let held: Vec<bool> = (0..5).map(|n| topic(&gateway, &format!("t{n}")).is_some()).collect();
    assert_eq!(held, [true, true, true, false, false]);
    assert_eq!(metric(&gateway, "fanwire_state_left_out"), 2.0);
    assert_eq!(metric(&gateway, "fanwire_topics_bytes "), 3.0 * 515.0);
    checkpoint(&directory);
    let log = log(&directory);
    for part in ["not restored: topic t3 would", "topic t4 would", "topics_bytes is 1600", "2 topics of the"]
    {
        assert!(log.contains(part), "{part}: {log}");
    }
    assert!(log.contains("the file is kept as") && log.contains("state.refused"), "{log}");
    assert_eq!(fs::read(directory.join("state.refused")).unwrap(), state);
}

#[test]
fn a_checkpoint_that_cannot_be_written_is_told_and_counted_and_the_gateway_goes_on() {
    let directory = directory("full");
    let gateway = start(&directory, MODES);
    fs::create_dir_all(directory.join("state.tmp")).unwrap();
    publish(&gateway, r#"{"topic":"a","data":1}"#);
    let end = Instant::now() + WAIT;
    while metric(&gateway, "fanwire_state_errors_total") < 1.0 {
        assert!(Instant::now() < end);
        sleep(Duration::from_millis(10));
    }
    assert!(log(&directory).contains("no checkpoint: "), "{}", log(&directory));
    fs::remove_dir(directory.join("state.tmp")).unwrap();
    checkpoint(&directory);
    assert!(metric(&gateway, "fanwire_state_bytes") > 0.0);
}

#[test]
fn a_value_that_a_deadband_holds_back_survives_a_clean_end_and_may_be_sent_again_after_another() {
    let modes = "[[topic]]\npattern = \"d.*\"\ndeadband = 5\ndeadband_max = \"1h\"\n";
    let directory = directory("held");
    let gateway = start(&directory, modes);
    publish(&gateway, r#"{"topic":"d.a","data":1,"seq":1}"#);
    publish(&gateway, r#"{"topic":"d.a","data":2,"seq":2}"#);
    assert_eq!(topic(&gateway, "d.a").unwrap()["data"], 1, "held back");
    publish(&gateway, r#"{"topic":"b","data":1}"#);
    checkpoint(&directory);
    gateway.signal("KILL");
    drop(gateway);
    let gateway = start(&directory, modes);
    assert_eq!(topic(&gateway, "d.a").unwrap()["data"], 1);
    publish(&gateway, r#"{"topic":"d.a","data":2,"seq":2}"#);
    assert_eq!(metric(&gateway, "fanwire_seq_repeats_total"), 0.0);
    publish(&gateway, r#"{"topic":"d.a","data":3,"seq":3}"#);
    end(gateway);
    let gateway = start(&directory, modes);
    assert_eq!(topic(&gateway, "d.a").unwrap()["data"], 3);
}

#[test]
fn two_gateways_do_not_share_a_state() {
    let directory = directory("shared");
    let gateway = start(&directory, MODES);
    publish(&gateway, r#"{"topic":"a","data":1}"#);
    let state = format!(
        "[server]\ndata = \"127.0.0.1:0\"\nadmin = \"\"\n[state]\npath = \"{}/state\"\n",
        directory.display()
    );
    let ended = contract::output(&mut command(&state));
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{told}");
    assert!(told.contains("another gateway uses the state") && told.contains("[state] path"), "{told}");
    gateway.signal("KILL");
    drop(gateway);
    assert!(topic(&start(&directory, MODES), "b").is_none(), "one that was killed holds nothing");
}

#[test]
fn a_place_that_cannot_be_written_to_ends_the_start_with_what_to_do() {
    let state = "/proc/state";
    let mut command = command(&format!("[server]\ndata = \"127.0.0.1:0\"\n[state]\npath = \"{state}\"\n"));
    let ended = contract::output(&mut command);
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{told}");
    assert!(told.contains("/proc/state") && told.contains("[state] path"), "{told}");
}
