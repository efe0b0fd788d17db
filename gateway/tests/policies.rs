//! What `[[topic]]` says of topics that clients and publishers write, through the gateway's own binary.
#![forbid(unsafe_code)]

mod access;
mod contract;
mod jose;

use std::{
    fs,
    net::TcpStream,
    time::{Duration, Instant},
};

use access::{access, connect, token};
use contract::{Answer, Gateway, Socket, config_file, http};
use serde_json::{Value, json};

const JSON: &str = "Content-Type: application/json\r\n";
const SCHEMA: &str =
    r#"{"type":"object","required":["text"],"properties":{"text":{"type":"string","maxLength":20}}}"#;

fn gateway(topics: &str) -> Gateway {
    Gateway::start("shards = 2\n", &format!("{}{topics}", access("")))
}

/// A client of a subject that may write everything.
fn writer(gateway: &Gateway, sub: Option<&str>) -> Socket<TcpStream> {
    let mut claims = json!({ "fanwire": { "subscribe": ["*"], "publish": ["*"] } });
    if let Some(sub) = sub {
        claims["sub"] = json!(sub);
    }
    connect(gateway, &token(claims)).ok().unwrap()
}

/// Publishes as a client does, and gives the answer.
fn write(client: &mut Socket<TcpStream>, mut op: Value) -> Value {
    op["op"] = json!("publish");
    client.send(&op.to_string());
    loop {
        let message: Value = serde_json::from_slice(&client.message()).unwrap();
        if message["op"] == "published" || message["op"] == "error" {
            return message;
        }
    }
}

fn code(client: &mut Socket<TcpStream>, op: Value) -> u64 {
    write(client, op)["code"].as_u64().unwrap_or_default()
}

fn publish(gateway: &Gateway, body: &Value) -> (u16, Value) {
    let Answer { status, body, .. } = http(&gateway.admin, "POST", "/publish", JSON, &body.to_string());
    (status, serde_json::from_str(&body).unwrap())
}

fn data(gateway: &Gateway, topic: &str) -> Value {
    let answer = http(&gateway.admin, "GET", &format!("/topics/{topic}"), "", "");
    serde_json::from_str::<Value>(&answer.body).unwrap()["data"].clone()
}

/// Waits until a topic holds `wanted`.
fn until(gateway: &Gateway, topic: &str, wanted: &Value) -> Duration {
    let began = Instant::now();
    while data(gateway, topic) != *wanted {
        assert!(began.elapsed() < Duration::from_secs(10), "{}", data(gateway, topic));
        std::thread::sleep(Duration::from_millis(5));
    }
    began.elapsed()
}

#[test]
fn members_of_a_room_are_there_for_as_long_as_a_connection_of_theirs_and_linger() {
    let gateway = gateway(
        "[[topic]]\npattern = \"room.*\"\nmode = \"keyed\"\nwrite = \"own-key\"\nbound = true\nlinger = \"300ms\"\ncount = true\n",
    );
    let mut reader = writer(&gateway, None);
    reader.send(r#"{"op":"subscribe","topics":["room.*"],"interval_ms":0}"#);
    reader.until("subscribed");
    let mut alice = writer(&gateway, Some("alice"));
    let mut other_tab = writer(&gateway, Some("alice"));
    let mut bob = writer(&gateway, Some("bob"));
    for (client, key) in [(&mut alice, "alice"), (&mut other_tab, "alice"), (&mut bob, "bob")] {
        assert_eq!(write(client, json!({ "topic": "room.a", "set": { key: 1 } }))["op"], "published");
    }
    let both = json!({ "alice": 1, "bob": 1 });
    assert_eq!((data(&gateway, "room.a"), data(&gateway, "room.a.count")), (both.clone(), json!(2)));
    drop(alice);
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(data(&gateway, "room.a"), both, "the other tab is open");
    drop(other_tab);
    let took = until(&gateway, "room.a", &json!({ "bob": 1 }));
    assert!(took >= Duration::from_millis(200), "{took:?}: it lingers");
    assert_eq!(data(&gateway, "room.a.count"), 1);
    // A leave of one's own is at once.
    assert_eq!(write(&mut bob, json!({ "topic": "room.a", "del": ["bob"] }))["op"], "published");
    assert_eq!((data(&gateway, "room.a"), data(&gateway, "room.a.count")), (json!({}), json!(0)));
    // Table and number are never told apart.
    loop {
        let batch: Value = serde_json::from_slice(&reader.message()).unwrap();
        let Some(updates) = batch["updates"].as_array().filter(|updates| !updates.is_empty()) else {
            continue;
        };
        let topics: Vec<&Value> = updates.iter().map(|update| &update["topic"]).collect();
        if topics.contains(&&json!("room.a")) && updates.iter().any(|u| u["del"] == json!(["bob"])) {
            assert!(topics.contains(&&json!("room.a.count")), "{batch}");
            break;
        }
    }
}

#[test]
fn who_is_not_meant_to_write_is_refused_with_4403() {
    let gateway = gateway(
        "[[topic]]\npattern = \"room.*\"\nmode = \"keyed\"\nwrite = \"own-key\"\ncount = true\n\
         [[topic]]\npattern = \"news.*\"\nwrite = \"none\"\n",
    );
    let (mut alice, mut nobody) = (writer(&gateway, Some("a b")), writer(&gateway, None));
    for own in ["a@x20b", "a@x20b/phone"] {
        assert_eq!(code(&mut alice, json!({ "topic": "room.a", "set": { own: 1 } })), 0);
    }
    for op in [
        json!({ "topic": "room.a", "set": { "bob": 1 } }),
        json!({ "topic": "room.a", "set": { "a@x20bc": 1 } }),
        json!({ "topic": "room.a", "del": ["bob"] }),
        json!({ "topic": "room.a.count", "data": 7 }),
        json!({ "topic": "news.a", "data": 7 }),
    ] {
        assert_eq!(code(&mut alice, op.clone()), 4403, "{op}");
    }
    assert_eq!(code(&mut nobody, json!({ "topic": "room.a", "set": { "a@x20b": 1 } })), 4403);
    assert_eq!(code(&mut alice, json!({ "topic": "room.a", "data": { "a@x20b": 1 } })), 4000);
    // Publishers write all of it, but no number.
    assert_eq!(publish(&gateway, &json!({ "topic": "room.a", "set": { "bob": 1 } })).0, 200);
    assert_eq!(publish(&gateway, &json!({ "topic": "news.a", "data": 7 })).0, 200);
    let (status, answer) = publish(&gateway, &json!({ "topic": "room.a.count", "data": 7 }));
    assert!(status == 400 && answer["reason"].as_str().unwrap().contains("keys of room.a"), "{answer}");
    assert_eq!(http(&gateway.admin, "DELETE", "/topics/room.a.count", "", "").status, 400);
    assert_eq!(data(&gateway, "room.a.count"), 3);
    assert_eq!(http(&gateway.admin, "DELETE", "/topics/room.a", "", "").status, 204);
    assert_eq!(http(&gateway.admin, "GET", "/topics/room.a.count", "", "").status, 404);
}

#[test]
fn a_key_that_nobody_writes_again_goes_whoever_wrote_it() {
    let gateway = gateway("[[topic]]\npattern = \"typing.*\"\nmode = \"keyed\"\nkey_expiry = \"400ms\"\n");
    let mut alice = writer(&gateway, Some("alice"));
    write(&mut alice, json!({ "topic": "typing.a", "set": { "alice": true } }));
    assert_eq!(publish(&gateway, &json!({ "topic": "typing.a", "set": { "bob": true } })).0, 200);
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(150));
        let again = write(&mut alice, json!({ "topic": "typing.a", "set": { "alice": true } }));
        assert_eq!(again["op"], "published");
    }
    assert_eq!(data(&gateway, "typing.a"), json!({ "alice": true }));
    until(&gateway, "typing.a", &json!({}));
    let metrics = http(&gateway.admin, "GET", "/metrics", "", "").body;
    assert!(metrics.contains("\nfanwire_keys_expired_total 2\n"), "{metrics}");
    assert!(metrics.contains("\nfanwire_timed_keys 0\n"), "{metrics}");
}

#[test]
fn values_are_cleaned_and_then_held_against_the_schema_whoever_gives_them() {
    let schema = config_file(SCHEMA);
    let entry = |pattern: &str, mode: &str| {
        format!(
            "[[topic]]\npattern = \"{pattern}\"\nmode = \"{mode}\"\nschema = \"{}\"\nsanitize = [\"/text\"]\n",
            schema.display()
        )
    };
    let gateway = gateway(&format!("{}{}", entry("chat.*", "stream"), entry("table.*", "keyed")));
    let mut alice = writer(&gateway, Some("alice"));
    let dirty = json!({ "text": "<b>hi</b><script>alert('long')</script>", "n": 1 });
    let clean = json!({ "text": "<b>hi</b>", "n": 1 });
    assert_eq!(code(&mut alice, json!({ "topic": "chat.a", "data": dirty })), 0);
    assert_eq!(data(&gateway, "chat.a"), clean);
    let refused = write(&mut alice, json!({ "id": 3, "topic": "chat.a", "data": { "text": 7 } }));
    assert_eq!((&refused["code"], &refused["id"]), (&json!(4000), &json!(3)), "{refused}");
    assert!(refused["reason"].as_str().unwrap().contains("/text"), "{refused}");
    assert_eq!(code(&mut alice, json!({ "topic": "table.a", "set": { "k": dirty }, "del": ["l"] })), 0);
    assert_eq!(data(&gateway, "table.a"), json!({ "k": clean }));
    assert_eq!(code(&mut alice, json!({ "topic": "table.a", "set": { "k": 1 } })), 4000);

    assert_eq!(publish(&gateway, &json!({ "topic": "table.b", "data": { "k": dirty } })).0, 200);
    assert_eq!(data(&gateway, "table.b"), json!({ "k": clean }));
    let array = json!([{ "topic": "chat.a", "data": dirty }, { "topic": "chat.a", "data": {} }]);
    let (status, answer) = publish(&gateway, &array);
    assert_eq!((status, &answer["index"], &answer["accepted"]), (400, &json!(1), &json!(0)), "{answer}");
    let lines = "{\"topic\":\"other\",\"data\":1}\n{\"topic\":\"chat.a\",\"data\":{\"text\":\"a text that is much too long\"}}";
    let answer = http(&gateway.admin, "POST", "/publish", "Content-Type: application/x-ndjson\r\n", lines);
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((answer.status, &body["index"], &body["accepted"]), (400, &json!(1), &json!(1)));
    assert!(body["reason"].as_str().unwrap().contains("topic chat.a: data at /text: "), "{body}");
    // A long one is worked on beside everybody else's.
    let long = format!("<script>{}</script>short", "x".repeat(100_000));
    assert_eq!(publish(&gateway, &json!({ "topic": "chat.a", "data": { "text": long } })).0, 200);
    assert_eq!(data(&gateway, "chat.a"), json!({ "text": "short" }));
}

#[test]
fn a_reload_takes_another_schema_while_topics_are_there() {
    let schema = config_file(SCHEMA);
    let gateway = gateway(&format!("[[topic]]\npattern = \"chat.*\"\nschema = \"{}\"\n", schema.display()));
    assert_eq!(publish(&gateway, &json!({ "topic": "chat.a", "data": { "text": "a" } })).0, 200);
    assert_eq!(publish(&gateway, &json!({ "topic": "chat.a", "data": 1 })).0, 400);
    fs::write(&schema, r#"{"type":"integer"}"#).unwrap();
    let Answer { status, body, .. } = http(&gateway.admin, "POST", "/reload", "", "");
    assert!(status == 200 && body.contains("topic: changed"), "{body}");
    assert_eq!(publish(&gateway, &json!({ "topic": "chat.a", "data": 1 })).0, 200);
    assert_eq!(publish(&gateway, &json!({ "topic": "chat.a", "data": { "text": "a" } })).0, 400);
    fs::write(&schema, r#"{"type":"whatever"}"#).unwrap();
    let Answer { status, body, .. } = http(&gateway.admin, "POST", "/reload", "", "");
    assert!(status == 400 && body.contains("no JSON Schema"), "{body}");
    assert_eq!(publish(&gateway, &json!({ "topic": "chat.a", "data": 2 })).0, 200, "what held holds");
}
