//! Presets load servers that keep the rules of their protocols: those who break one are closed or get no answer.
#![forbid(unsafe_code)]

mod support;

use std::{
    io,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use support::{CONNECTIONS, Peer, loadgen_at, other_server};

const TICK: Duration = Duration::from_millis(20);

fn now_us() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()
}

fn heard(peer: &mut Peer) -> io::Result<Value> {
    serde_json::from_str(&peer.hear()?).map_err(io::Error::other)
}

/// Goes on only where the client keeps the rule; else with a close.
fn must(peer: &mut Peer, keeps: bool, code: u16, reason: &str) -> io::Result<()> {
    if keeps { Ok(()) } else { peer.close(code, reason).and(Err(io::ErrorKind::InvalidData.into())) }
}

/// Runs a preset against `talk` for half a second: everyone is established and stays, and messages have ages.
fn run(
    preset: &str,
    path: &str,
    choose: fn(&[&str]) -> Option<String>,
    flags: &[&str],
    talk: impl Fn(&mut Peer) -> io::Result<()> + Send + Clone + 'static,
) {
    let url = format!("ws://{}{path}", other_server(choose, talk));
    let words = ["--scenario", preset, "--ramp", "0s", "--duration", "500ms"];
    let (output, report) = loadgen_at(&url, &[&words, flags].concat());
    assert_eq!(output.status.code(), Some(0), "{preset}: {report:#}");
    let connections = &report["connections"];
    assert_eq!((&connections["established"], &connections["closed"]), (&json!(CONNECTIONS), &json!(0)));
    assert!(report["arrival_ms"]["p95"].is_number(), "{preset}: {report:#}");
    assert_eq!((&report["updates"]["lost"], &report["failures"]), (&Value::Null, &json!({})));
}

/// Says what `message` makes of the time, each tick; the client may only end it.
fn ticks(peer: &mut Peer, message: impl Fn(u128) -> String) -> io::Result<()> {
    loop {
        peer.say(&message(now_us()))?;
        std::thread::sleep(TICK);
    }
}

#[test]
fn centrifugo_is_connected_to_before_a_subscribe_and_its_pings_are_answered() {
    run(
        "centrifugo",
        "/connection/websocket",
        |_| None,
        &["--topics", "a,user#42"],
        |peer| {
            let connect = heard(peer)?;
            must(peer, connect == json!({"id": 1, "connect": {}}), 3501, "bad request")?;
            peer.say(r#"{"id":1,"connect":{"client":"c0","version":"6","ping":25,"pong":true}}"#)?;
            for (channel, id) in ["a", "user#42"].into_iter().zip(11..) {
                let subscribe = heard(peer)?;
                must(peer, subscribe["subscribe"]["channel"] == channel, 3501, "bad request")?;
                must(peer, subscribe["id"] == id, 3501, "an id that was used")?;
                peer.say(&format!(r#"{{"id":{id},"subscribe":{{}}}}"#))?;
            }
            peer.say("{}")?;
            let pong = peer.hear()?;
            must(peer, pong == "{}", 3012, "no pong")?;
            ticks(peer, |ts| format!(r#"{{"push":{{"channel":"a","pub":{{"data":{{"ts":{ts}}}}}}}}}"#))
        },
    );
}

#[test]
fn socket_io_opens_then_joins_a_namespace_and_its_pings_are_answered() {
    run(
        "socketio",
        "/socket.io/?EIO=4&transport=websocket",
        |_| None,
        &[],
        |peer| {
            peer.say(r#"0{"sid":"e","upgrades":[],"pingInterval":25000,"pingTimeout":20000}"#)?;
            let join = peer.hear()?;
            must(peer, join == "40", 1000, "parse error")?;
            peer.say(r#"40{"sid":"s"}"#)?;
            peer.say(r#"42["tick",{"ts":1}]"#)?;
            peer.say("2")?;
            let pong = peer.hear()?;
            must(peer, pong == "3", 1000, "ping timeout")?;
            ticks(peer, |ts| format!(r#"42["tick",{{"ts":{ts}}}]"#))
        },
    );
}

#[test]
fn phoenix_has_a_join_for_each_topic_and_heartbeats_that_are_no_joins() {
    let flags = ["--topics", "room:a,room:b", "--send-every", "50ms"];
    run(
        "phoenix",
        "/socket/websocket?vsn=2.0.0",
        |_| None,
        &flags,
        |peer| {
            must(peer, peer.head.starts_with("GET /socket/websocket?vsn=2.0.0 "), 1002, "version")?;
            for (topic, place) in [("room:a", "1"), ("room:b", "2")] {
                let join = heard(peer)?;
                must(peer, join == json!([place, place, topic, "phx_join", {}]), 1011, "no such topic")?;
                let reply = json!([place, place, topic, "phx_reply", {"status": "ok", "response": {}}]);
                peer.say(&reply.to_string())?;
            }
            let beat = heard(peer)?;
            must(peer, beat == json!([null, "beat", "phoenix", "heartbeat", {}]), 1011, "not a heartbeat")?;
            peer.say(r#"[null,"beat","phoenix","phx_reply",{"status":"ok","response":{}}]"#)?;
            ticks(peer, |ts| format!(r#"[null,null,"room:a","tick",{{"ts":{ts}}}]"#))
        },
    );
}

#[test]
fn graphql_ws_is_subscribed_to_once_it_acknowledged_and_its_pings_are_answered() {
    let choose = |offered: &[&str]| {
        offered.iter().find(|name| **name == "graphql-transport-ws").map(|_| "graphql-transport-ws".into())
    };
    run("graphql", "/graphql", choose, &["--topics", r#"a(symbol:"A"),b { ts }"#], |peer| {
        let init = heard(peer)?;
        must(peer, init["type"] == "connection_init", 4401, "Unauthorized")?;
        peer.say(r#"{"type":"connection_ack"}"#)?;
        for (field, id) in [(r#"a(symbol:"A")"#, "1"), ("b { ts }", "2")] {
            let subscribe = heard(peer)?;
            must(peer, subscribe["type"] == "subscribe" && subscribe["id"] == id, 4409, "Subscriber exists")?;
            let query = format!("subscription {{ {field} }}");
            must(peer, subscribe["payload"]["query"] == query, 4400, "Syntax error")?;
        }
        peer.say(r#"{"type":"ping"}"#)?;
        let pong = heard(peer)?;
        must(peer, pong == json!({"type": "pong"}), 4499, "Terminated")?;
        ticks(peer, |ts| format!(r#"{{"id":"1","type":"next","payload":{{"data":{{"a":{{"ts":{ts}}}}}}}}}"#))
    });
}

#[test]
fn action_cable_welcomes_then_confirms_each_identifier_byte_for_byte() {
    let choose = |offered: &[&str]| {
        offered.first().filter(|name| **name == "actioncable-v1-json").map(|name| (*name).into())
    };
    run("actioncable", "/cable", choose, &["--topics", "AChannel,B\"Channel"], |peer| {
        peer.say(r#"{"type":"welcome"}"#)?;
        peer.say(r#"{"type":"ping","message":1700000000}"#)?;
        for channel in ["AChannel", "B\"Channel"] {
            let subscribe = heard(peer)?;
            let identifier = json!({"channel": channel}).to_string();
            must(
                peer,
                subscribe == json!({"command": "subscribe", "identifier": identifier}),
                1002,
                "unknown",
            )?;
            peer.say(&json!({"identifier": identifier, "type": "confirm_subscription"}).to_string())?;
        }
        ticks(peer, |ts| {
            json!({"identifier": r#"{"channel":"AChannel"}"#, "message": {"ts": ts as u64}}).to_string()
        })
    });
}

#[test]
fn nats_knows_its_subscriptions_when_it_answers_a_ping_and_its_own_are_answered() {
    run(
        "nats",
        "/",
        |_| None,
        &["--topics", "a.>,b#42"],
        |peer| {
            peer.say("INFO {\"server_id\":\"n\",\"max_payload\":1048576}\r\n")?;
            let connect = peer.hear()?;
            must(
                peer,
                connect.starts_with("CONNECT {\"verbose\":false") && connect.ends_with("}\r\n"),
                1002,
                "Parser Error",
            )?;
            for wanted in ["SUB a.> 1\r\n", "SUB b#42 2\r\n", "PING\r\n"] {
                let said = peer.hear()?;
                must(peer, said == wanted, 1002, "Unknown Protocol Operation")?;
            }
            peer.say("PONG\r\n")?;
            peer.say("PING\r\n")?;
            let pong = peer.hear()?;
            must(peer, pong == "PONG\r\n", 1002, "Stale Connection")?;
            ticks(peer, |ts| {
                let body = format!(r#"{{"ts":{ts}}}"#);
                format!("MSG a 1 {}\r\n{body}\r\n", body.len())
            })
        },
    );
}
