//! What clients write: `publish`, by whom, once, refused and limited, through the gateway's own binary.
#![forbid(unsafe_code)]

mod access;
mod contract;
mod jose;

use std::net::TcpStream;

use access::{access, connect, token};
use contract::{Gateway, Socket, http};
use serde_json::{Value, json};

const TOPICS: &str = "[[topic]]\npattern = \"table.*\"\nmode = \"keyed\"\n[[topic]]\npattern = \"chat.*\"\nmode = \"stream\"\nhistory = 10\n";

fn gateway(rest: &str) -> Gateway {
    Gateway::start("shards = 2\n", &format!("{}{TOPICS}{rest}", access("")))
}

fn writer(gateway: &Gateway, sub: Option<&str>, publish: &[&str]) -> Socket<TcpStream> {
    let mut claims = json!({ "fanwire": { "subscribe": ["*"], "publish": publish } });
    if let Some(sub) = sub {
        claims["sub"] = json!(sub);
    }
    connect(gateway, &token(claims)).ok().unwrap()
}

/// Sends an op, and gives what answers it.
fn ask(client: &mut Socket<TcpStream>, op: Value) -> Value {
    client.send(&op.to_string());
    loop {
        let message: Value = serde_json::from_slice(&client.message()).unwrap();
        if message["op"] == "published" || message["op"] == "error" {
            return message;
        }
    }
}

fn publish(topic: &str, data: Value) -> Value {
    json!({ "op": "publish", "id": 1, "topic": topic, "data": data })
}

fn held(gateway: &Gateway, topic: &str) -> Value {
    let answer = http(&gateway.admin, "GET", &format!("/topics/{topic}"), "", "");
    serde_json::from_str(&answer.body).unwrap_or(Value::Null)
}

#[test]
fn what_a_client_writes_is_numbered_says_who_wrote_it_and_reaches_clients_of_other_shards() {
    let gateway = gateway("");
    let mut alice = writer(&gateway, Some("alice@example.com"), &["chat.*", "table.*", "now.*"]);
    let mut readers: Vec<_> = (0..4).map(|_| writer(&gateway, None, &[])).collect();
    for reader in &mut readers {
        reader.send(r#"{"op":"subscribe","topics":["chat.a"],"interval_ms":0}"#);
        reader.until("subscribed");
    }
    let first = ask(&mut alice, publish("chat.a", json!({ "text": "hi" })));
    assert_eq!(
        (&first["op"], &first["id"], &first["topic"]),
        (&json!("published"), &json!(1), &json!("chat.a"))
    );
    assert_eq!(first["v"], 1);
    for reader in &mut readers {
        let update = reader.update("chat.a", |_| true);
        assert_eq!(update["by"], "alice@example@x2Ecom");
        assert_eq!((&update["data"]["text"], &update["v"]), (&json!("hi"), &json!(1)));
    }
    let second = ask(&mut alice, publish("chat.a", json!("again")));
    assert_eq!(second["v"], 2);
    assert!(second["version"].as_u64() > first["version"].as_u64());
    let row = held(&gateway, "chat.a");
    assert_eq!((&row["by"], &row["data"]), (&json!("alice@example@x2Ecom"), &json!("again")));
    // Keyed updates say nothing of who wrote them.
    let set = ask(&mut alice, json!({ "op": "publish", "topic": "table.x", "set": { "k": 1, "l": 2 } }));
    assert_eq!((&set["op"], set.get("id")), (&json!("published"), None));
    let row = held(&gateway, "table.x");
    assert_eq!((row.get("by"), &row["data"]), (None, &json!({ "k": 1, "l": 2 })));
    // What changes nothing is not numbered again.
    let same =
        ask(&mut alice, json!({ "op": "publish", "topic": "table.x", "set": { "l": 2 }, "del": ["m"] }));
    assert_eq!((&same["v"], &same["version"]), (&set["v"], &set["version"]));
    // Without a subject nobody wrote it.
    let mut nobody = writer(&gateway, None, &["now.*"]);
    ask(&mut nobody, publish("now.a", json!(1)));
    assert_eq!(held(&gateway, "now.a").get("by"), None);
    // A publisher's update is nobody's either.
    gateway.publish("chat.a", "3");
    assert_eq!(held(&gateway, "chat.a").get("by"), None);
}

#[test]
fn who_reads_after_published_sees_it_on_any_connection() {
    let gateway = gateway("");
    let mut alice = writer(&gateway, Some("alice"), &["now.*"]);
    let mut others: Vec<_> = (0..4).map(|_| writer(&gateway, None, &[])).collect();
    for n in 0..200 {
        let published = ask(&mut alice, publish("now.a", json!(n)));
        assert_eq!(published["op"], "published", "{published}");
        let other = &mut others[n % 4];
        other.send(r#"{"op":"subscribe","topics":["now.a"],"sub":"x"}"#);
        let snapshot = other.until("snapshot");
        assert_eq!(snapshot["updates"][0]["data"], n, "{snapshot}");
        assert!(snapshot["version"].as_u64() >= published["version"].as_u64());
        other.send(r#"{"op":"unsubscribe","sub":"x"}"#);
        other.until("unsubscribed");
        assert_eq!(held(&gateway, "now.a")["data"], n);
    }
}

#[test]
fn each_refusal_has_its_code_and_a_reason_and_writes_nothing() {
    let gateway = gateway("[limits]\nvalue_bytes = \"1KiB\"\nmessage_bytes = \"16KiB\"\n");
    let mut alice = writer(&gateway, Some("alice"), &["chat.*", "table.*", "now.*"]);
    let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
    let deep: Value = serde_json::from_str(&deep).unwrap();
    for (op, code, part) in [
        (publish("other.a", json!(1)), 4403, "other.a"),
        (publish("now", json!(1)), 4403, "now"),
        (publish("now.*", json!(1)), 4000, "now.*"),
        (publish("now.a", json!("x".repeat(1023))), 4000, "1025"),
        (publish("now.a", deep), 4000, "64"),
        (publish("now.a", json!({ "a": [{ "__proto__": 1 }] })), 4000, "__proto__"),
        (json!({ "op": "publish", "id": 1, "topic": "now.a" }), 4000, "data is missing"),
        (json!({ "op": "publish", "id": 1, "data": 1 }), 4000, "topic is missing"),
        (json!({ "op": "publish", "id": 1, "topic": "now.a", "data": 1, "ts": 1 }), 4000, "ts"),
        (json!({ "op": "publish", "id": 1, "topic": "now.a", "data": 1, "by": "bob" }), 4000, "by"),
        (json!({ "op": "publish", "id": 1, "topic": "now.a", "set": { "k": 1 } }), 4000, "not keyed"),
        (json!({ "op": "publish", "id": 1, "topic": "table.a", "data": { "k": 1 } }), 4000, "keyed"),
        (
            json!({ "op": "publish", "id": 1, "topic": "table.a", "set": { "prototype": 1 } }),
            4000,
            "prototype",
        ),
        (
            json!({ "op": "publish", "id": 1, "topic": "table.a", "set": { "k": { "constructor": 1 } } }),
            4000,
            "constructor",
        ),
        (json!({ "op": "publish", "id": 1, "topic": "table.a", "set": { "k".repeat(256): 1 } }), 4000, "255"),
    ] {
        let answer = ask(&mut alice, op.clone());
        assert_eq!((&answer["op"], &answer["id"]), (&json!("error"), &json!(1)), "{op}: {answer}");
        assert_eq!(answer["code"], code, "{op}: {answer}");
        assert!(answer["reason"].as_str().unwrap().contains(part), "{op}: {answer}");
    }
    for topic in ["now.a", "now", "other.a", "table.a"] {
        assert_eq!(held(&gateway, topic)["code"], 404, "{topic}");
    }
    // Escapes hide nothing.
    alice.send(r#"{"op":"publish","id":2,"topic":"now.a","data":{"\u005f_proto__":1}}"#);
    assert_eq!(alice.until("error")["code"], 4000);
    // The connection is as it was.
    assert_eq!(ask(&mut alice, publish("now.a", json!("x".repeat(1022))))["op"], "published");
}

#[test]
fn with_clients_open_one_reads_without_a_grant_and_writes_with_one() {
    let config = format!(
        "{}\n[access.anonymous]\npublish = [\"lobby.*\"]\n",
        access("").replace("clients = \"token\"", "clients = \"open\"")
    );
    let gateway = Gateway::start("shards = 1\n", &config);
    let mut anyone = Socket::connect(&gateway.data, "/ws").unwrap();
    assert_eq!(ask(&mut anyone, publish("lobby.a", json!(1)))["op"], "published");
    assert_eq!(ask(&mut anyone, publish("now.a", json!(1)))["code"], 4403);
    let open = Gateway::start("shards = 1\n", "");
    let mut anyone = Socket::connect(&open.data, "/ws").unwrap();
    assert_eq!(ask(&mut anyone, publish("lobby.a", json!(1)))["code"], 4403);
}

#[test]
fn what_is_named_by_once_is_written_once() {
    let gateway = gateway("");
    let mut alice = writer(&gateway, Some("alice"), &["chat.*"]);
    let named = |topic: &str, once: &str, id: u64| json!({ "op": "publish", "id": id, "once": once, "topic": topic, "data": id });
    let first = ask(&mut alice, named("chat.a", "x", 1));
    let again = ask(&mut alice, named("chat.a", "x", 2));
    assert_eq!((&again["id"], &again["v"], &again["version"]), (&json!(2), &first["v"], &first["version"]));
    // Also after she has come back.
    drop(alice);
    let mut alice = writer(&gateway, Some("alice"), &["chat.*"]);
    assert_eq!(ask(&mut alice, named("chat.a", "x", 3))["v"], first["v"]);
    // Another topic, name or subject is another write.
    assert_eq!(ask(&mut alice, named("chat.b", "x", 4))["v"], 1);
    assert_eq!(ask(&mut alice, named("chat.a", "y", 5))["v"], 2);
    let mut bob = writer(&gateway, Some("bob"), &["chat.*"]);
    assert_eq!(ask(&mut bob, named("chat.a", "x", 6))["v"], 3);
    // A refused one is forgotten.
    assert_eq!(
        ask(&mut bob, json!({ "op": "publish", "once": "z", "topic": "chat.a", "set": {} }))["code"],
        4000
    );
    assert_eq!(ask(&mut bob, named("chat.a", "z", 7))["v"], 4);
    // Without a subject names are of the connection.
    let (mut one, mut other) = (writer(&gateway, None, &["chat.*"]), writer(&gateway, None, &["chat.*"]));
    assert_eq!(ask(&mut one, named("chat.c", "x", 8))["v"], 1);
    assert_eq!(ask(&mut other, named("chat.c", "x", 9))["v"], 2);
    assert_eq!(ask(&mut one, named("chat.c", "x", 10))["v"], 1);
    assert_eq!(held(&gateway, "chat.a")["data"], 7);
}

#[test]
fn a_client_over_its_rate_is_told_when_to_come_back_and_goes_on() {
    let gateway = gateway("[limits]\npublishes = \"3/10m\"\n");
    let mut alice = writer(&gateway, Some("alice"), &["chat.*"]);
    for n in 1..=3 {
        assert_eq!(ask(&mut alice, publish("chat.a", json!(n)))["v"], n);
    }
    let limited = ask(&mut alice, publish("chat.a", json!(4)));
    assert_eq!(
        (&limited["op"], &limited["id"], &limited["code"]),
        (&json!("error"), &json!(1), &json!(4429))
    );
    let wait_ms = limited["retry_after_ms"].as_u64().unwrap();
    assert!((100_000..=200_000).contains(&wait_ms), "{limited}");
    let mut bob = writer(&gateway, Some("bob"), &["chat.*"]);
    assert_eq!(ask(&mut bob, publish("chat.a", json!(4)))["v"], 4);
    let metrics = http(&gateway.admin, "GET", "/metrics", "", "").body;
    assert!(metrics.contains("fanwire_writes_total 4\n"), "{metrics}");
    assert!(metrics.contains("fanwire_writes_limited_total 1\n"), "{metrics}");
}

#[test]
fn many_under_way_are_answered_in_the_order_sent() {
    let gateway = gateway("[limits]\nmessages_per_s = 10000\n");
    let mut alice = writer(&gateway, Some("alice"), &["chat.*"]);
    for n in 1..=1000u64 {
        let mut op = publish("chat.a", json!(n));
        op["id"] = json!(n);
        alice.send(&op.to_string());
    }
    for n in 1..=1000u64 {
        let published = alice.until("published");
        assert_eq!((&published["id"], &published["v"]), (&json!(n), &json!(n)));
    }
}

#[test]
fn a_publisher_names_what_is_written_once_too_in_a_body_of_any_form() {
    let gateway = gateway("");
    let post = |kind: &str, body: &str| {
        let headers = format!("Content-Type: application/{kind}\r\n");
        let answer = http(&gateway.admin, "POST", "/publish", &headers, body);
        (answer.status, serde_json::from_str::<Value>(&answer.body).unwrap())
    };
    let taken = |count: u64| (200, json!({ "accepted": count }));
    let one = |once: &str, data: u64| json!({ "topic": "chat.a", "once": once, "data": data }).to_string();
    assert_eq!(post("json", &one("x", 1)), taken(1));
    assert_eq!(post("json", &one("x", 2)), taken(1));
    assert_eq!((&held(&gateway, "chat.a")["data"], &held(&gateway, "chat.a")["v"]), (&json!(1), &json!(1)));
    // In an array what was written is left out, and so is what stands in it twice.
    let array = format!("[{},{},{}]", one("x", 3), one("y", 4), one("y", 5));
    assert_eq!(post("json", &array), taken(3));
    assert_eq!((&held(&gateway, "chat.a")["data"], &held(&gateway, "chat.a")["v"]), (&json!(4), &json!(2)));
    let lines = format!("{}\n{}\n{}\n", one("y", 6), r#"{"topic":"chat.a","data":7}"#, one("z", 8));
    assert_eq!(post("x-ndjson", &lines), taken(3));
    assert_eq!((&held(&gateway, "chat.a")["data"], &held(&gateway, "chat.a")["v"]), (&json!(8), &json!(4)));
    // A refused one is forgotten, with all of its array.
    let array = format!("[{},{}]", one("w", 9), r#"{"topic":"chat..a","data":1}"#);
    let (status, refusal) = post("json", &array);
    assert_eq!((status, &refusal["index"]), (400, &json!(1)), "{refusal}");
    assert_eq!(post("json", &one("w", 10)), taken(1));
    assert_eq!((&held(&gateway, "chat.a")["data"], &held(&gateway, "chat.a")["v"]), (&json!(10), &json!(5)));
    for bad in [r#""""#, "7", &format!("{:?}", "x".repeat(65))] {
        let (status, refusal) = post("json", &format!(r#"{{"topic":"chat.a","data":1,"once":{bad}}}"#));
        assert_eq!(status, 400, "{bad}: {refusal}");
    }
}
