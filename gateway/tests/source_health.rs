//! Whether a topic can be relied upon: told to whom it concerns, on change and after they subscribed, by
//! sources, topics and publishers.
#![forbid(unsafe_code)]

mod contract;
mod upstream;

use std::{
    io::{Read, Write},
    thread::sleep,
    time::Duration,
};

use contract::{Answer, Gateway, Socket, http, until};
use serde_json::{Value, json};

const JSON: &str = "Content-Type: application/json\r\n";

fn post(gateway: &Gateway, path: &str, body: &str) -> Answer {
    http(&gateway.admin, "POST", path, JSON, body)
}

fn set(gateway: &Gateway, topics: &[&str], state: &str, reason: &str) {
    let body = json!({"topics": topics, "state": state, "reason": reason}).to_string();
    let answer = post(gateway, "/status", &body);
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// Topics, state and reason of the next status.
fn status(socket: &mut Socket) -> (Value, String, String) {
    let status = socket.until("status");
    assert!(status["since"].as_i64().unwrap() > 1_700_000_000_000_000);
    let text = |key: &str| status[key].as_str().unwrap_or_default().to_owned();
    (status["topics"].clone(), text("state"), text("reason"))
}

fn subscriber(gateway: &Gateway, topics: &str) -> Socket {
    let path = format!("/ws?topics={topics}&interval_ms=10");
    let mut socket = Socket::connect(&gateway.data, &path).ok().unwrap();
    socket.until("snapshot");
    socket
}

fn metric(gateway: &Gateway, begin: &str) -> f64 {
    let text = http(&gateway.admin, "GET", "/metrics", "", "").body;
    let line = text.lines().find(|line| line.starts_with(begin)).unwrap_or_else(|| panic!("{begin}: {text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_status_goes_to_whom_it_concerns_on_change_and_to_those_who_come_later() {
    let gateway = Gateway::start("shards = 2", "");
    let mut concerned: Vec<Socket> =
        ["*", "a.*", "a.b.c", "x,a.b.*"].iter().map(|topics| subscriber(&gateway, topics)).collect();
    let mut others = [subscriber(&gateway, "b.*"), subscriber(&gateway, "a.c")];
    set(&gateway, &["a.b.*"], "stale", "the line is down");
    let stale = (json!(["a.b.*"]), "stale".to_owned(), "the line is down".to_owned());
    for socket in &mut concerned {
        assert_eq!(status(socket), stale);
    }
    let mut late = subscriber(&gateway, "a.b.c");
    assert_eq!(status(&mut late), stale);
    set(&gateway, &["a.b.*"], "gap", "three are missing");
    set(&gateway, &["a.b.*"], "live", "");
    sleep(Duration::from_millis(1200));
    for socket in concerned.iter_mut().chain([&mut late]) {
        assert_eq!(status(socket).1, "gap", "a gap is told although it ended at once");
        assert_eq!(status(socket).1, "live");
    }
    // Who is not concerned is told nothing, and who comes after it was live again neither.
    let mut later = subscriber(&gateway, "a.b.c");
    for socket in others.iter_mut().chain([&mut later]) {
        socket.send(r#"{"op":"ping"}"#);
        let (_, payload) = socket.frame();
        assert!(payload.starts_with(br#"{"op":"pong""#), "{}", String::from_utf8_lossy(&payload));
    }
}

#[test]
fn only_the_topics_that_concern_stand_in_what_a_newcomer_gets() {
    let gateway = Gateway::start("", "");
    set(&gateway, &["a", "b", "c.*"], "stale", "");
    assert_eq!(status(&mut subscriber(&gateway, "b,c.d")).0, json!(["b", "c.*"]));
    let list: Value = serde_json::from_str(&http(&gateway.admin, "GET", "/status", "", "").body).unwrap();
    assert_eq!((&list[0]["topics"], &list[0]["state"]), (&json!(["a", "b", "c.*"]), &json!("stale")));
}

#[test]
fn a_second_subscription_is_told_of_its_topics() {
    let gateway = Gateway::start("", "");
    let mut socket = subscriber(&gateway, "a.*");
    set(&gateway, &["b.c"], "stale", "");
    sleep(Duration::from_millis(200));
    socket.send(r#"{"op":"subscribe","sub":"two","topics":["b.*"]}"#);
    socket.until("snapshot");
    assert_eq!(status(&mut socket).0, json!(["b.c"]));
}

#[test]
fn a_status_that_is_none_is_refused_by_name_and_their_number_is_bounded() {
    let gateway = Gateway::start("", "[limits]\nstatuses = 2");
    for (body, reason) in [
        (r#"{"topics":["a*.b"],"state":"stale"}"#, "bad pattern: a*.b"),
        (r#"{"topics":[],"state":"stale"}"#, "there are 0 topics"),
        (r#"{"topics":["a"],"state":"dead"}"#, "state \"dead\": write \"live\", \"stale\" or \"gap\""),
        (r#"{"topics":["a"]}"#, "missing field `state`"),
        ("stale", "not like"),
    ] {
        let answer = post(&gateway, "/status", body);
        answer.assert_refusal_open(400, body);
        let told: Value = serde_json::from_str(&answer.body).unwrap();
        assert!(told["reason"].as_str().unwrap().contains(reason), "{answer:?}");
    }
    set(&gateway, &["a"], "stale", "");
    set(&gateway, &["b"], "gap", "");
    let answer = post(&gateway, "/status", r#"{"topics":["c"],"state":"stale"}"#);
    assert!(answer.status == 400 && answer.body.contains("[limits] statuses"), "{answer:?}");
    assert_eq!(metric(&gateway, "fanwire_statuses_refused_total"), 1.0);
    assert_eq!(metric(&gateway, "fanwire_statuses{state=\"stale\"}"), 1.0);
    set(&gateway, &["a"], "live", "");
    set(&gateway, &["c"], "stale", "");
}

const MAP: &str = "[[source.map]]\ntopic = \"x.{/s}\"\ndata = \"/d\"\n";

fn feed(address: std::net::SocketAddr) -> String {
    format!(
        "[[source]]\nkind = \"websocket\"\nname = \"feed\"\nurl = \"ws://{address}/\"\nstale_after = \"300ms\"\n\
         backoff_min = \"10ms\"\nbackoff_max = \"20ms\"\n{MAP}"
    )
}

#[test]
fn a_source_that_is_silent_or_gone_is_stale_until_it_brings_something() {
    let (go, goes) = std::sync::mpsc::channel::<()>();
    let goes = std::sync::Mutex::new(goes);
    let address = upstream::start(move |n, mut peer| {
        if n > 0 && goes.lock().unwrap().try_recv().is_err() {
            // Silent: the gateway leaves.
            peer.accept()?;
            return peer.wait();
        }
        peer.accept()?;
        peer.text(&format!(r#"{{"s":"a","d":{n}}}"#))?;
        sleep(Duration::from_millis(100));
        peer.close(1001, "good night")
    });
    let gateway = Gateway::start("", &feed(address));
    let mut socket = subscriber(&gateway, "x.a");
    let mut other = subscriber(&gateway, "y.*");
    await_status(&mut socket, json!(["x.*"]), "stale");
    until("its silence is told", || {
        let list = http(&gateway.admin, "GET", "/status", "", "").body;
        list.contains("source feed: nothing came for 300ms that made an update")
    });
    go.send(()).unwrap();
    await_status(&mut socket, json!(["x.*"]), "live");
    // The server leaves again.
    await_status(&mut socket, json!(["x.*"]), "stale");
    other.send(r#"{"op":"ping"}"#);
    assert!(other.frame().1.starts_with(br#"{"op":"pong""#));
    assert!(metric(&gateway, "fanwire_source_age_seconds{source=\"feed\"}") < 10.0);
}

#[test]
fn a_source_that_cannot_be_reached_is_stale_by_name_and_the_gateway_is_not_ready_before_it_reports() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = Gateway::start("", &feed(closed).replace("300ms", "2s"));
    let ready = || http(&gateway.admin, "GET", "/readyz", "", "");
    let answer = ready();
    assert!(answer.status == 503 && answer.body.contains("warming: sources feed"), "{answer:?}");
    let (_, state, reason) = status(&mut subscriber(&gateway, "x.*"));
    assert!(state == "stale" && reason.contains("source feed: cannot connect to"), "{reason}");
    until("twice its time is over", || ready().status == 200);
}

#[test]
fn a_feed_file_that_ends_leaves_its_topics_stale() {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("health.ndjson");
    std::fs::write(&path, "{\"at_us\":0,\"topic\":\"r.a\",\"data\":1}\n").unwrap();
    let source = format!(
        "[[source]]\nkind = \"replay\"\npath = \"{}\"\nrepeat = false\nstale_after = \"10s\"\ntopics = [\"r.*\"]\n",
        path.display()
    );
    let gateway = Gateway::start("", &source);
    let (topics, state, reason) = status(&mut subscriber(&gateway, "r.a"));
    assert_eq!(
        (topics, state.as_str(), reason.as_str()),
        (json!(["r.*"]), "stale", "source replay: it has ended")
    );
}

#[test]
fn a_topic_that_falls_silent_is_stale_and_one_whose_seq_skips_has_a_gap() {
    let gateway = Gateway::start("", "[[topic]]\npattern = \"q.*\"\nstale_after = \"200ms\"\n");
    let mut socket = subscriber(&gateway, "*");
    let publish = |topic: &str, seq: u64| {
        let answer = post(&gateway, "/publish", &format!(r#"{{"topic":"{topic}","data":1,"seq":{seq}}}"#));
        assert_eq!(answer.status, 200);
    };
    publish("q.a", 1);
    let seen = status(&mut socket);
    assert_eq!(seen, (json!(["q.a"]), "stale".to_owned(), "nothing came for 200ms".to_owned()));
    publish("q.a", 2);
    assert_eq!(status(&mut socket).1, "live");
    publish("r.b", 5);
    publish("r.b", 9);
    publish("r.b", 10);
    loop {
        let (topics, state, reason) = status(&mut socket);
        if topics == json!(["r.b"]) {
            assert_eq!(
                (state.as_str(), reason.as_str()),
                ("gap", "seq stepped from 5 to 9: 3 updates are missing")
            );
            break;
        }
    }
    while status(&mut socket) != (json!(["r.b"]), "live".to_owned(), String::new()) {}
}

/// Reads until the topic's status is this one.
fn await_status(socket: &mut Socket, topics: Value, state: &str) -> String {
    loop {
        let (told, now, reason) = status(socket);
        if (&told, now.as_str()) == (&topics, state) {
            return reason;
        }
    }
}

#[test]
fn a_connection_that_brings_no_update_is_stale_and_made_anew_though_it_is_alive() {
    let address = upstream::start(|n, mut peer| {
        peer.accept()?;
        if n % 4 == 3 {
            peer.text(r#"{"s":"a","d":1}"#)?;
        }
        // Acknowledgements, heartbeats, rubbish and pongs are no data.
        loop {
            for text in [r#"{"ok":true}"#, r#"{"s":"","d":1}"#, "heartbeat", r#"{"s":"old","d":1}"#] {
                peer.text(text)?;
            }
            sleep(Duration::from_millis(50));
        }
    });
    let map =
        "[[source.map]]\nwhen = { \"/s\" = \"old\" }\ntopic = \"y.{/s}\"\nseq = \"/d\"\ndata = \"/d\"\n";
    let gateway = Gateway::start("", &feed(address).replace(MAP, &format!("topics = [\"x.*\"]\n{map}{MAP}")));
    let held = post(&gateway, "/publish", r#"{"topic":"y.old","data":1,"seq":9}"#);
    assert_eq!(held.status, 200);
    let mut socket = subscriber(&gateway, "x.*");
    let reason = await_status(&mut socket, json!(["x.*"]), "stale");
    assert_eq!(reason, "source feed: nothing came for 300ms that made an update");
    await_status(&mut socket, json!(["x.*"]), "live");
    assert_eq!(await_status(&mut socket, json!(["x.*"]), "stale"), reason);
    assert!(metric(&gateway, "fanwire_source_ended_total{source=\"feed\",reason=\"stale\"}") >= 4.0);
}

#[test]
fn a_server_that_never_answers_is_left_after_stale_after_however_long_it_may_be_idle() {
    let address = upstream::start(|n, mut peer| {
        match n {
            // It says nothing at all, or does not end what it began.
            0 => {}
            1 => peer.stream.write_all(b"HTTP/1.1 101")?,
            _ => {
                peer.accept()?;
                peer.text(r#"{"s":"a","d":1}"#)?;
            }
        }
        peer.stream.read_to_end(&mut Vec::new()).map(drop)
    });
    let gateway = Gateway::start("", &feed(address).replace(MAP, &format!("idle = \"60s\"\n{MAP}")));
    until("the third answers", || http(&gateway.admin, "GET", "/topics/x.a", "", "").status == 200);
    assert!(metric(&gateway, "fanwire_source_ended_total{source=\"feed\",reason=\"connect\"}") >= 2.0);
}

#[test]
fn a_venue_that_confirms_with_the_same_count_is_not_stale_nor_are_its_topics() {
    let address = upstream::start(|_, mut peer| {
        peer.accept()?;
        loop {
            peer.text(r#"{"s":"a","d":5}"#)?;
            sleep(Duration::from_millis(50));
        }
    });
    let map = MAP.replace("data =", "seq = \"/d\"\ndata =");
    let topic = "[[topic]]\npattern = \"x.*\"\nstale_after = \"300ms\"\n";
    let gateway = Gateway::start("", &format!("{}{topic}", feed(address).replace(MAP, &map)));
    until("it arrives", || http(&gateway.admin, "GET", "/topics/x.a", "", "").status == 200);
    let mut socket = subscriber(&gateway, "x.*");
    sleep(Duration::from_millis(1200));
    socket.send(r#"{"op":"ping"}"#);
    assert!(socket.frame().1.starts_with(br#"{"op":"pong""#), "nothing is told");
    assert_eq!(metric(&gateway, "fanwire_source_connects_total"), 1.0);
    assert_eq!(metric(&gateway, "fanwire_updates_total"), 1.0);
}

#[test]
fn after_a_reconnect_each_topic_is_live_when_it_came_itself() {
    let (go, goes) = std::sync::mpsc::channel::<&str>();
    let goes = std::sync::Mutex::new(goes);
    let address = upstream::start(move |n, mut peer| {
        peer.accept()?;
        if n == 0 {
            peer.text(r#"{"s":"a","d":1}"#)?;
            peer.text(r#"{"s":"b","d":1}"#)?;
        }
        for text in goes.lock().unwrap().iter() {
            match text {
                "cut" => return Ok(()),
                text => peer.text(text)?,
            }
        }
        Ok(())
    });
    let gateway = Gateway::start("", &feed(address).replace("300ms", "10s"));
    until("both arrive", || http(&gateway.admin, "GET", "/topics/x.b", "", "").status == 200);
    let mut socket = subscriber(&gateway, "x.*");
    go.send("cut").unwrap();
    await_status(&mut socket, json!(["x.*"]), "stale");
    go.send(r#"{"s":"a","d":2}"#).unwrap();
    let (topics, state, reason) = status(&mut socket);
    let expected = (json!(["x.b"]), "stale", "its source is connected again and has not brought it since");
    assert_eq!((topics, state.as_str(), reason.as_str()), expected);
    assert_eq!(status(&mut socket), (json!(["x.a"]), "live".to_owned(), String::new()));
    let mut late = subscriber(&gateway, "x.*");
    assert_eq!(status(&mut late).0, json!(["x.b"]), "who comes now is told what is not back");
    go.send(r#"{"s":"c","d":1}"#).unwrap();
    assert_eq!(status(&mut socket), (json!(["x.c"]), "live".to_owned(), String::new()));
    let list: Value = serde_json::from_str(&http(&gateway.admin, "GET", "/status", "", "").body).unwrap();
    assert_eq!((list.as_array().unwrap().len(), &list[0]["topics"]), (1, &json!(["x.b"])));
    go.send(r#"{"s":"b","d":2}"#).unwrap();
    let live = [status(&mut socket), status(&mut socket)].map(|(topics, state, _)| (topics, state));
    assert_eq!(live, [json!(["x.b"]), json!(["x.*"])].map(|topics| (topics, "live".to_owned())));
    assert_eq!(http(&gateway.admin, "GET", "/status", "", "").body.trim(), "[]");
    // What came after the cut is not told to be missing once more when the next one is cut in between.
    go.send("cut").unwrap();
    await_status(&mut socket, json!(["x.*"]), "stale");
    go.send(r#"{"s":"c","d":2}"#).unwrap();
    assert_eq!(status(&mut socket).0, json!(["x.a", "x.b"]));
    go.send("cut").unwrap();
    await_status(&mut socket, json!(["x.*"]), "stale");
    let list: Value = serde_json::from_str(&http(&gateway.admin, "GET", "/status", "", "").body).unwrap();
    assert_eq!((list.as_array().unwrap().len(), &list[0]["topics"]), (1, &json!(["x.*"])));
}

#[test]
fn a_topic_that_ends_while_its_source_is_away_or_not_back_is_not_waited_for() {
    let (go, goes) = std::sync::mpsc::channel::<&str>();
    let goes = std::sync::Mutex::new(goes);
    let address = upstream::start(move |n, mut peer| {
        peer.accept()?;
        for topic in ["a", "away", "late", "old"].iter().filter(|_| n == 0) {
            peer.text(&format!(r#"{{"s":"{topic}","d":1}}"#))?;
        }
        for text in goes.lock().unwrap().iter() {
            match text {
                "cut" => return Ok(()),
                text => peer.text(text)?,
            }
        }
        Ok(())
    });
    let expiry = "[[topic]]\npattern = \"x.old\"\nmode = \"latest\"\nexpiry = \"500ms\"\n";
    let feed = feed(address).replace("300ms", "10s") + expiry;
    let gateway = Gateway::start("", &feed);
    let is_there =
        |topic: &str| http(&gateway.admin, "GET", &format!("/topics/x.{topic}"), "", "").status == 200;
    let remove = |topic: &str| {
        let answer = http(&gateway.admin, "DELETE", &format!("/topics/x.{topic}"), "", "");
        assert!(answer.status < 300, "{answer:?}");
    };
    until("all arrive", || is_there("late") && is_there("old"));
    let mut socket = subscriber(&gateway, "x.*");
    go.send("cut").unwrap();
    await_status(&mut socket, json!(["x.*"]), "stale");
    remove("away");
    until("it expires", || !is_there("old"));
    go.send(r#"{"s":"a","d":2}"#).unwrap();
    let reason = await_status(&mut socket, json!(["x.late"]), "stale");
    assert_eq!(reason, "its source is connected again and has not brought it since");
    remove("late");
    await_status(&mut socket, json!(["x.*"]), "live");
    assert_eq!(http(&gateway.admin, "GET", "/status", "", "").body.trim(), "[]");
    // One that comes again is expected again.
    go.send(r#"{"s":"late","d":3}"#).unwrap();
    until("it is there again", || is_there("late"));
    go.send("cut").unwrap();
    await_status(&mut socket, json!(["x.*"]), "stale");
    go.send(r#"{"s":"a","d":3}"#).unwrap();
    await_status(&mut socket, json!(["x.late"]), "stale");
}

#[test]
fn a_subscription_that_is_refused_is_a_gap_until_it_comes_after_all() {
    let (go, goes) = std::sync::mpsc::channel::<()>();
    let goes = std::sync::Mutex::new(goes);
    let address = upstream::start(move |_, mut peer| {
        peer.accept()?;
        peer.text(r#"{"s":"a","d":1}"#)?;
        peer.text(r#"{"error":"no such market","s":"b"}"#)?;
        goes.lock().unwrap().recv().unwrap();
        peer.text(r#"{"s":"b","d":1}"#)?;
        peer.wait()
    });
    let denied = "[[source.map]]\nwhen = { \"/error\" = \"*\" }\ngap = [\"x.{/s}\"]\nreason = \"/error\"\n";
    let gateway =
        Gateway::start("", &feed(address).replace("300ms", "10s").replace(MAP, &format!("{denied}{MAP}")));
    let mut socket = subscriber(&gateway, "x.b");
    let gap = (json!(["x.b"]), "gap".to_owned(), "the venue refuses it: no such market".to_owned());
    assert_eq!(status(&mut socket), gap);
    assert_eq!(metric(&gateway, "fanwire_source_bad_total{source=\"feed\",kind=\"denied\"}"), 1.0);
    go.send(()).unwrap();
    assert_eq!(status(&mut socket), (json!(["x.b"]), "live".to_owned(), String::new()));
}

#[test]
fn a_pattern_that_is_refused_is_a_gap_until_a_topic_of_it_comes() {
    let (go, goes) = std::sync::mpsc::channel::<()>();
    let goes = std::sync::Mutex::new(goes);
    let address = upstream::start(move |_, mut peer| {
        peer.accept()?;
        peer.text(r#"{"s":"a","d":1}"#)?;
        peer.text(r#"{"error":"too many","s":"b"}"#)?;
        goes.lock().unwrap().recv().unwrap();
        peer.text(r#"{"s":"b.c","d":1}"#)?;
        peer.wait()
    });
    let denied = "[[source.map]]\nwhen = { \"/error\" = \"*\" }\ngap = [\"x.{/s}.*\"]\n";
    let gateway =
        Gateway::start("", &feed(address).replace("300ms", "10s").replace(MAP, &format!("{denied}{MAP}")));
    let mut socket = subscriber(&gateway, "x.b.*");
    assert_eq!(status(&mut socket).1, "gap");
    go.send(()).unwrap();
    assert_eq!(status(&mut socket), (json!(["x.b.*"]), "live".to_owned(), String::new()));
    assert_eq!(http(&gateway.admin, "GET", "/status", "", "").body.trim(), "[]");
}

#[test]
fn a_connection_that_is_made_anew_at_once_is_one_all_the_same() {
    let (go, goes) = std::sync::mpsc::channel::<()>();
    let goes = std::sync::Mutex::new(goes);
    let address = upstream::start(move |n, mut peer| {
        peer.accept()?;
        peer.text(&format!(r#"{{"s":"a","d":{n}}}"#))?;
        if n != 1 {
            peer.text(&format!(r#"{{"s":"b","d":{n}}}"#))?;
        }
        goes.lock().unwrap().recv().unwrap();
        Ok(())
    });
    let feed = feed(address).replace("300ms", "10s").replace("\"10ms\"", "\"1ms\"").replace("20ms", "2ms");
    let gateway = Gateway::start("", &feed);
    until("both arrive", || http(&gateway.admin, "GET", "/topics/x.b", "", "").status == 200);
    let mut socket = subscriber(&gateway, "x.b");
    go.send(()).unwrap();
    await_status(&mut socket, json!(["x.b"]), "stale");
    go.send(()).unwrap();
    loop {
        // Of the whole source once all of it is back, or of this topic before.
        if status(&mut socket).1 == "live" {
            break;
        }
    }
    assert!(http(&gateway.admin, "GET", "/topics/x.b", "", "").body.contains("\"data\":2"));
}
