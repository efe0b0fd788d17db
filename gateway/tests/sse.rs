//! Server-sent events and lines of NDJSON: the same messages over an HTTP answer that goes on.
#![forbid(unsafe_code)]

mod support;

use std::time::Duration;

use serde_json::Value;

use support::{EPOCH, World, config};

/// One event: its name, its message, its id.
#[derive(Debug, Default, Clone, PartialEq)]
struct Event {
    name: String,
    data: Value,
    id: Option<String>,
    retry: Option<u64>,
}

fn world() -> World {
    World::new(config(), 64, 1)
}

/// A request for a stream, and what else its head says.
fn ask(world: &mut World, target: &str, fields: &str) -> usize {
    ask_by(world, "GET", target, fields)
}

fn ask_by(world: &mut World, method: &str, target: &str, fields: &str) -> usize {
    let peer = world.dial();
    let request = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
    world.send_raw(peer, request.as_bytes());
    world.settle();
    peer
}

/// Status, head in lower case, and body so far.
fn answer(world: &World, peer: usize) -> (u16, String, String) {
    let text = String::from_utf8(world.peers[peer].http.clone()).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no whole head: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), body.to_owned())
}

/// As a browser reads them (WHATWG HTML, section 9.2.6), but that each has its message in one line.
fn events(world: &World, peer: usize) -> Vec<Event> {
    let (status, _, body) = answer(world, peer);
    assert_eq!(status, 200, "{body}");
    let blocks: Vec<&str> = body.split("\n\n").collect();
    assert_eq!(blocks.last(), Some(&""), "the last event is whole: {body:?}");
    let mut events = Vec::new();
    for block in &blocks[..blocks.len() - 1] {
        let mut event = Event::default();
        for line in block.lines().filter(|line| !line.starts_with(':')) {
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("no field: {line:?}"));
            match name {
                "event" => event.name = value.to_owned(),
                "data" => {
                    assert!(event.data.is_null(), "two lines of data: {block:?}");
                    event.data = serde_json::from_str(value).unwrap_or_else(|e| panic!("{e}: {value}"));
                }
                "id" => event.id = Some(value.to_owned()),
                "retry" => event.retry = Some(value.parse().unwrap()),
                other => panic!("a field {other:?}"),
            }
        }
        if !event.name.is_empty() {
            assert_eq!(event.data["op"], event.name, "{block}");
        }
        events.push(event);
    }
    events
}

fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| &*event.name).collect()
}

#[test]
fn a_client_gets_the_messages_of_a_websocket_as_events() {
    let mut world = world();
    world.publish("a.b", "{\"bid\":\r\n 1}");
    let peer = ask(&mut world, "/sse?topics=a.*&interval_ms=100", "");
    let (_, head, _) = answer(&world, peer);
    for field in [
        "content-type: text/event-stream",
        "cache-control: no-store",
        "x-accel-buffering: no",
        "connection: close",
    ] {
        assert!(head.lines().any(|line| line == field), "{field}: {head}");
    }
    assert!(!head.contains("content-length") && !head.contains("transfer-encoding"), "{head}");
    let first = events(&world, peer);
    assert_eq!(names(&first), ["subscribed", "snapshot"]);
    assert_eq!(first[0].id, None);
    assert_eq!(first[1].id, Some(format!("{EPOCH}:{}", first[1].data["version"])));
    assert_eq!(first[1].data["updates"][0]["data"]["bid"], 1);
    world.publish("a.b", "2");
    world.publish("a.c", "3");
    world.advance(Duration::from_millis(200));
    let events = events(&world, peer);
    assert_eq!(names(&events), ["subscribed", "snapshot", "batch"]);
    let batch = &events[2];
    assert_eq!(batch.data["updates"].as_array().unwrap().len(), 2);
    assert_eq!(batch.id, Some(format!("{EPOCH}:{}", batch.data["version"])));
}
