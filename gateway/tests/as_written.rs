//! However a client or a publisher writes it: whole numbers, byte order marks, and how deep values may be.
#![forbid(unsafe_code)]

mod contract;
mod upstream;

use std::{fs, path::Path};

use contract::{Answer, Gateway, Socket, http};
use proto::{encode::Opcode, encode::masked_frame, msgpack};
use serde_json::{Value, json};

const HUNDRED: [&str; 6] = ["100", "100.0", "1e2", "1E+2", "1000e-1", "1.00e2"];
const MARK: &str = "\u{feff}";
const KEYED: &str = "[[topic]]\npattern = \"k.*\"\nmode = \"keyed\"\n";

fn post(gateway: &Gateway, path: &str, content_type: &str, body: &str) -> Answer {
    http(&gateway.admin, "POST", path, &format!("Content-Type: {content_type}\r\n"), body)
}

fn publish(gateway: &Gateway, body: &str) -> Answer {
    post(gateway, "/publish", "application/json", body)
}

fn topic(gateway: &Gateway, name: &str) -> Value {
    let answer = http(&gateway.admin, "GET", &format!("/topics/{name}"), "", "");
    assert_eq!(answer.status, 200, "{name}: {answer:?}");
    serde_json::from_str(&answer.body).unwrap()
}

fn nested(levels: usize) -> String {
    format!("{}{}", "[".repeat(levels), "]".repeat(levels))
}

/// A client that speaks MessagePack.
struct Packed(Socket);

impl Packed {
    fn connect(gateway: &Gateway) -> Self {
        let mut stream = contract::dial(&gateway.data);
        let headers = format!("{}Sec-WebSocket-Protocol: fanwire.msgpack.v1\r\n", contract::UPGRADE);
        use std::io::{Read, Write};
        stream.write_all(format!("GET /ws HTTP/1.1\r\n{headers}\r\n").as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        Self(Socket::established(stream))
    }

    fn ask(&mut self, op: &[u8]) -> Value {
        use std::io::Write;
        let mut frame = Vec::new();
        masked_frame(&mut frame, Opcode::Binary, op, [1, 2, 3, 4]);
        self.0.stream().write_all(&frame).unwrap();
        let mut text = Vec::new();
        msgpack::to_json(&self.0.frame().1, &mut text).unwrap();
        serde_json::from_slice(&text).unwrap()
    }
}

#[test]
fn a_whole_number_is_one_in_ops_and_urls_however_it_is_written() {
    let gateway = Gateway::start("", "");
    let mut socket = Socket::connect(&gateway.data, "/ws").ok().unwrap();
    for number in HUNDRED {
        socket.send(&format!(r#"{{"op":"subscribe","id":{number},"topics":["a"],"interval_ms":{number}}}"#));
        let (_, payload) = socket.frame();
        let answer: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(answer["interval_ms"], 100, "{number}: {answer}");
        let shown = String::from_utf8(payload).unwrap();
        assert!(shown.contains(&format!(r#""id":{number},"#)), "the id as it was given: {shown}");
        socket.until("snapshot");
        let number = number.replace('+', "%2B");
        let path = format!("/ws?topics=a&interval_ms={number}");
        let mut socket =
            Socket::connect(&gateway.data, &path).unwrap_or_else(|status| panic!("{path}: {status}"));
        assert_eq!(socket.until("subscribed")["interval_ms"], 100);
    }
    for number in ["1.5", "1e-1", "-1", "1e30", "\"100\"", "true"] {
        socket.send(&format!(r#"{{"op":"subscribe","topics":["a"],"interval_ms":{number}}}"#));
        let error = socket.until("error");
        assert!(error["reason"].as_str().unwrap().contains("interval_ms"), "{error}");
    }
}

#[test]
fn a_float_in_messagepack_is_a_whole_number() {
    let gateway = Gateway::start("", "");
    let mut packed = Packed::connect(&gateway);
    let op = |number: &[u8]| {
        let head = b"\x83\xa2op\xa9subscribe\xa6topics\x91\xa1a\xabinterval_ms";
        [&head[..], number].concat()
    };
    for number in [&[0xcb, 0x40, 0x59, 0, 0, 0, 0, 0, 0][..], &[0xca, 0x42, 0xc8, 0, 0], &[100], &[0xcc, 100]]
    {
        let answer = packed.ask(&op(number));
        assert_eq!((&answer["op"], &answer["interval_ms"]), (&json!("subscribed"), &json!(100)), "{answer}");
        packed.0.frame();
    }
    let answer = packed.ask(b"\x82\xa2op\xa4ping\xa2id\xcb\x40\x59\0\0\0\0\0\0");
    assert_eq!((&answer["op"], &answer["id"]), (&json!("pong"), &json!(100)), "{answer}");
    let answer = packed.ask(&op(&[0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0]));
    assert_eq!(answer["op"], "error", "1.5: {answer}");
}

#[test]
fn a_whole_number_is_one_in_what_is_published_and_no_digit_is_lost() {
    let gateway = Gateway::start("", "");
    let now_us =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as i64 | 1;
    let (high, low) = (now_us / 1_000_000, now_us % 1_000_000);
    for (n, ts) in [
        format!("{now_us}"),
        format!("{now_us}.0"),
        format!("{now_us}.000e0"),
        format!("{high}.{low:06}e6"),
        format!("{high}.{low:06}E+6"),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = publish(&gateway, &format!(r#"{{"topic":"t{n}","data":1,"ts":{ts}}}"#));
        assert_eq!(answer.status, 200, "{ts}: {answer:?}");
        assert_eq!(topic(&gateway, &format!("t{n}"))["ts"], now_us, "{ts}");
    }
    // The highest count, and one below: as floats of fewer bits both would be one.
    for (seq, v) in [("9007199254740990.0", 1), ("9.007199254740991e15", 2), ("9007199254740991", 2)] {
        let answer = publish(&gateway, &format!(r#"{{"topic":"s","data":1,"seq":{seq}}}"#));
        assert_eq!((answer.status, &topic(&gateway, "s")["v"]), (200, &json!(v)), "{seq}: {answer:?}");
    }
    for (field, bad) in
        [("seq", "1.5"), ("seq", "9007199254740992.0"), ("seq", "-1"), ("ts", "1.5"), ("ts", "1e40")]
    {
        let answer = publish(&gateway, &format!(r#"{{"topic":"s","data":1,"{field}":{bad}}}"#));
        assert!(
            answer.status == 400 && answer.body.contains(&format!("{field} = {bad}: write ")),
            "{answer:?}"
        );
    }
    let listed = http(&gateway.admin, "GET", "/topics?limit=2.0", "", "");
    assert_eq!(serde_json::from_str::<Value>(&listed.body).unwrap().as_array().unwrap().len(), 2);
}

#[test]
fn a_byte_order_mark_before_json_and_toml_is_skipped() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("marks-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let feed = directory.join("feed.ndjson");
    fs::write(&feed, format!("{MARK}\n\n{MARK}{{\"at_us\":0.0,\"topic\":\"fed\",\"data\":1}}\n")).unwrap();
    let config = format!(
        "{MARK}[server]\ndata = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n[[source]]\nkind = \"replay\"\n\
         path = \"{}\"\nrepeat = false\nspeed = 0\n",
        feed.display()
    );
    let gateway = Gateway::start_config(&config);
    let mut socket = Socket::connect(&gateway.data, "/ws").ok().unwrap();
    socket.send(&format!("{MARK}{{\"op\":\"subscribe\",\"topics\":[\"fed\"],\"interval_ms\":0}}"));
    assert_eq!(socket.until("subscribed")["topics"], json!(["fed"]));
    socket.update("fed", |update| update["data"] == 1);
    for (content_type, body, accepted) in [
        ("application/json", r#"{"topic":"a","data":1}"#, 1),
        ("application/json", r#"[{"topic":"a","data":1},{"topic":"b","data":1}]"#, 2),
        ("application/json", " \n[{\"topic\":\"a\",\"data\":1}]", 1),
        ("application/x-ndjson", "{\"topic\":\"a\",\"data\":1}\n{\"topic\":\"b\",\"data\":1}\n", 2),
        ("application/x-ndjson", "\r\n{\"topic\":\"a\",\"data\":1}", 1),
        // Files that were joined, and a mark behind a blank line.
        ("application/x-ndjson", "{\"topic\":\"a\",\"data\":1}\n\u{feff}{\"topic\":\"b\",\"data\":1}\n", 2),
        ("application/x-ndjson", "\r\n\u{feff}\n\u{feff}{\"topic\":\"a\",\"data\":1}", 1),
    ] {
        let answer = post(&gateway, "/publish", content_type, &format!("{MARK}{body}"));
        assert_eq!(answer.body, format!(r#"{{"accepted":{accepted}}}"#), "{body:?}");
    }
    let status = format!("{MARK}{{\"topics\":[\"a\"],\"state\":\"stale\"}}");
    assert_eq!(post(&gateway, "/status", "application/json", &status).status, 200);
    // Within a text it is a character like any other.
    publish(&gateway, &format!(r#"{{"topic":"a","data":"{MARK}x"}}"#));
    assert_eq!(topic(&gateway, "a")["data"], format!("{MARK}x"));
    // One is skipped, not many.
    let twice = format!("{MARK}{MARK}{{\"topic\":\"a\",\"data\":1}}");
    for content_type in ["application/json", "application/x-ndjson"] {
        assert_eq!(post(&gateway, "/publish", content_type, &twice).status, 400);
    }
}

#[test]
fn values_are_64_levels_deep_at_most_wherever_they_come_in() {
    let gateway = Gateway::start("", KEYED);
    let bodies = |value: &str| {
        [
            ("application/json", format!(r#"{{"topic":"a","data":{value}}}"#)),
            ("application/json", format!(r#"[{{"topic":"a","data":{value}}}]"#)),
            ("application/x-ndjson", format!(r#"{{"topic":"a","data":{value}}}"#)),
            ("application/json", format!(r#"{{"topic":"k.a","set":{{"x":{value}}}}}"#)),
        ]
    };
    for (value, is_taken) in [(nested(64), true), (nested(65), false), (nested(100_000), false)] {
        for (content_type, body) in bodies(&value) {
            let answer = post(&gateway, "/publish", content_type, &body);
            assert_eq!(answer.status, if is_taken { 200 } else { 400 }, "{answer:?}");
            assert!(is_taken || answer.body.contains("more than 64 arrays and objects"), "{answer:?}");
        }
    }
    for (levels, status) in [(64, 200), (65, 400)] {
        let said = format!(r#"{{"topics":["a"],"state":"live","more":{}}}"#, nested(levels));
        assert_eq!(post(&gateway, "/status", "application/json", &said).status, status, "{levels}");
    }
    let table = format!(r#"{{"x":{}}}"#, nested(63));
    assert_eq!(publish(&gateway, &format!(r#"{{"topic":"k.b","data":{table}}}"#)).status, 200);
    // Brackets in a text are none.
    assert_eq!(publish(&gateway, &format!(r#"{{"topic":"a","data":"\"{}"}}"#, "[".repeat(1000))).status, 200);

    let mut socket = Socket::connect(&gateway.data, "/ws").ok().unwrap();
    for (levels, op) in [(64, "pong"), (65, "error"), (10_000, "error"), (64, "pong")] {
        socket.send(&format!(r#"{{"op":"ping","more":{}}}"#, nested(levels)));
        let (_, payload) = socket.frame();
        let answer: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(answer["op"], op, "{levels}: {answer}");
    }
    let mut packed = Packed::connect(&gateway);
    for (levels, op) in [(64, "pong"), (65, "error"), (200, "error"), (10_000, "error")] {
        let head = b"\x82\xa2op\xa4ping\xa4more";
        let value = [vec![0x91; levels - 1], vec![0x90]].concat();
        let answer = packed.ask(&[&head[..], &value].concat());
        assert_eq!(answer["op"], op, "{levels}: {answer}");
    }
    // What was taken reaches a client of either kind.
    let op = b"\x82\xa2op\xa9subscribe\xa6topics\x91\xa1*";
    packed.ask(op);
    let mut text = Vec::new();
    msgpack::to_json(&packed.0.frame().1, &mut text).unwrap();
    assert!(String::from_utf8(text).unwrap().contains(&format!(r#""x":{}"#, nested(64))));
}

#[test]
fn a_feed_file_with_a_deeper_value_goes_on_without_it_and_the_log_says_why() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("deep-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let feed = directory.join("feed.ndjson");
    let line =
        |topic: &str, levels| format!("{{\"at_us\":0,\"topic\":\"{topic}\",\"data\":{}}}\n", nested(levels));
    fs::write(&feed, line("whole", 64) + &line("deep", 65) + &line("after", 64)).unwrap();
    let log = directory.join("log");
    let config = format!(
        "[server]\ndata = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n[[source]]\nkind = \"replay\"\npath = \"{}\"\n",
        feed.display()
    );
    let mut command = contract::command(&config);
    command.env("RUST_LOG", "info").stderr(fs::File::create(&log).unwrap());
    let gateway = Gateway::spawn(&mut command);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let told = || fs::read_to_string(&log).unwrap();
    let exists = |name| http(&gateway.admin, "GET", &format!("/topics/{name}"), "", "").status == 200;
    while !(told().contains("topic deep: a value has more than 64 arrays and objects") && exists("after")) {
        assert!(std::time::Instant::now() < until, "{}", told());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(exists("whole") && !exists("deep"));
}

#[test]
fn a_venue_may_send_64_levels_and_a_gateway_behind_takes_them_over() {
    let server = upstream::start(|_, mut peer| {
        peer.accept()?;
        for (topic, levels) in [("deep", 65), ("whole", 64)] {
            peer.text(&format!("{MARK}{{\"s\":\"{topic}\",\"d\":{}}}", nested(levels)))?;
        }
        peer.wait()
    });
    let source = format!(
        "[[source]]\nkind = \"websocket\"\nname = \"venue\"\nurl = \"ws://{server}/\"\n\
         [[source.map]]\ntopic = \"{{/s}}\"\ndata = \"/d\"\n"
    );
    let gateway = Gateway::start("", &source);
    let mut socket = Socket::connect(&gateway.data, "/ws?topics=*&interval_ms=0").ok().unwrap();
    assert_eq!(socket.update("whole", |_| true)["data"].to_string(), nested(64));
    let deep = http(&gateway.admin, "GET", "/topics/deep", "", "");
    assert_eq!(deep.status, 404, "{deep:?}");
    let metrics = http(&gateway.admin, "GET", "/metrics", "", "").body;
    assert!(metrics.contains("fanwire_source_bad_total{source=\"venue\",kind=\"refused\"} 1\n"), "{metrics}");
    let chain = format!("[[source]]\nkind = \"fanwire\"\nurl = \"ws://{}/ws\"\n", gateway.data);
    let behind = Gateway::start("", &chain);
    let mut socket = Socket::connect(&behind.data, "/ws?topics=*&interval_ms=0").ok().unwrap();
    assert_eq!(socket.update("whole", |_| true)["data"].to_string(), nested(64));
}
